#include "skipstream/kernels/rice.hpp"

#include "skipstream/kernels/dispatch.hpp"

namespace skipstream::kernels {

template <class Sample>
using RiceDecode = std::int64_t(const std::byte*, std::int64_t, bool, std::int64_t, RiceState&,
                                Sample*, std::int64_t) noexcept;

namespace baseline {
RiceDecode<std::uint8_t> rice_decode8;
RiceDecode<std::int16_t> rice_decode16;
RiceDecode<std::int32_t> rice_decode32;
}  // namespace baseline
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
RiceDecode<std::uint8_t> rice_decode8;
RiceDecode<std::int16_t> rice_decode16;
RiceDecode<std::int32_t> rice_decode32;
}  // namespace v3
#endif

namespace {

// A higher level than v3 has nothing for bits.
template <class Sample>
RiceDecode<Sample>* choose(RiceDecode<Sample>* baseline, [[maybe_unused]] RiceDecode<Sample>* v3) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
  if (chosen_level() != SimdLevel::baseline) return v3;
#endif
  return baseline;
}

#ifdef SKIPSTREAM_HAVE_X86_LEVELS
#define SKIPSTREAM_RICE(width) choose(baseline::rice_decode##width, v3::rice_decode##width)
#else
#define SKIPSTREAM_RICE(width) choose(baseline::rice_decode##width, nullptr)
#endif

}  // namespace

std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::uint8_t* samples,
                         std::int64_t n) noexcept {
  static const auto function = SKIPSTREAM_RICE(8);
  return function(window, n_bytes, last, block, state, samples, n);
}
std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::int16_t* samples,
                         std::int64_t n) noexcept {
  static const auto function = SKIPSTREAM_RICE(16);
  return function(window, n_bytes, last, block, state, samples, n);
}
std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::int32_t* samples,
                         std::int64_t n) noexcept {
  static const auto function = SKIPSTREAM_RICE(32);
  return function(window, n_bytes, last, block, state, samples, n);
}

}  // namespace skipstream::kernels
