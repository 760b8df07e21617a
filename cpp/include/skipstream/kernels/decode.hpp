#pragma once

#include <cstddef>
#include <cstdint>

#include "skipstream/base/sample.hpp"

namespace skipstream::kernels {

/// `n` encoded samples as numbers, scaled; missing ones are NaN. Integers beyond 2^53 are rounded.
void decode_samples(const std::byte* samples, std::int64_t n, const SampleFormat& format,
                    double* values) noexcept;

}  // namespace skipstream::kernels
