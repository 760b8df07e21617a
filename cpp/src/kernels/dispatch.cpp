#include "skipstream/kernels/dispatch.hpp"

#include <cstdlib>
#include <string_view>

namespace skipstream::kernels {

namespace baseline {
extern const SkipKernels skip_kernels;
}
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
extern const SkipKernels skip_kernels;
}
namespace v4 {
extern const SkipKernels skip_kernels;
}
#endif

namespace {

SimdLevel choose() noexcept {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
  const char* word = std::getenv("SKIPSTREAM_SIMD");
  const std::string_view most = word == nullptr ? "" : word;
  if (most == "baseline") return SimdLevel::baseline;
  // Not every compiler knows the levels by name; no processor has these and not the rest of a
  // level.
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                      __builtin_cpu_supports("fma");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
  if (most != "v3" && has_v4) return SimdLevel::v4;
  if (has_v3) return SimdLevel::v3;
#endif
  return SimdLevel::baseline;
}

}  // namespace

SimdLevel chosen_level() noexcept {
  static const SimdLevel level = choose();
  return level;
}

const SkipKernels& skip_kernels() noexcept {
  switch (chosen_level()) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
    case SimdLevel::v4:
      return v4::skip_kernels;
    case SimdLevel::v3:
      return v3::skip_kernels;
#endif
    default:
      return baseline::skip_kernels;
  }
}

const char* simd_level() noexcept { return skip_kernels().level; }

}  // namespace skipstream::kernels
