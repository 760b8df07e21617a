#include "skipstream/kernels/encode.hpp"

#include "skipstream/kernels/dispatch.hpp"

namespace skipstream::kernels {

using EncodeReals = decltype(encode_float32);
using EncodeIntegers = decltype(encode_int32);

namespace baseline {
EncodeReals encode_float32;
EncodeReals encode_float64;
EncodeReals encode_whole;
EncodeIntegers encode_int32;
}  // namespace baseline
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
EncodeReals encode_float32;
EncodeReals encode_float64;
EncodeReals encode_whole;
EncodeIntegers encode_int32;
}  // namespace v3
namespace v4 {
EncodeReals encode_float32;
EncodeReals encode_float64;
EncodeReals encode_whole;
EncodeIntegers encode_int32;
}  // namespace v4
#endif

namespace {

struct Functions {
  EncodeReals* float32;
  EncodeReals* float64;
  EncodeReals* whole;
  EncodeIntegers* int32;
};

const Functions& chosen() noexcept {
  static const Functions functions = [] {
    switch (chosen_level()) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
      case SimdLevel::v4:
        return Functions{v4::encode_float32, v4::encode_float64, v4::encode_whole,
                         v4::encode_int32};
      case SimdLevel::v3:
        return Functions{v3::encode_float32, v3::encode_float64, v3::encode_whole,
                         v3::encode_int32};
#endif
      default:
        return Functions{baseline::encode_float32, baseline::encode_float64, baseline::encode_whole,
                         baseline::encode_int32};
    }
  }();
  return functions;
}

}  // namespace

std::uint64_t encode_float32(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  return chosen().float32(values, n, bytes);
}
std::uint64_t encode_float64(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  return chosen().float64(values, n, bytes);
}
std::uint64_t encode_whole(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  return chosen().whole(values, n, bytes);
}
std::uint64_t encode_int32(const std::uint32_t* values, std::int64_t n, std::byte* bytes) noexcept {
  return chosen().int32(values, n, bytes);
}

}  // namespace skipstream::kernels
