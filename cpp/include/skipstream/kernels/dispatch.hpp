#pragma once

#include "skipstream/kernels/skips.hpp"

namespace skipstream::kernels {

enum class SimdLevel { baseline, v3, v4 };

/// The best level that this processor has, or a lower one that the environment variable
/// SKIPSTREAM_SIMD names (baseline, v3, v4). Chosen at the first call.
SimdLevel chosen_level() noexcept;

/// Its name.
const char* simd_level() noexcept;

/// The passes over samples, compiled for that level.
const SkipKernels& skip_kernels() noexcept;

}  // namespace skipstream::kernels
