#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstream::kernels {

/// Writes `n` values as big-endian samples, and returns the sum of the 32-bit words that they make
/// (n < 2^31). The number that a type cannot hold becomes what the processor's conversion gives:
/// an infinity beyond float32.
std::uint64_t encode_float32(const double* values, std::int64_t n, std::byte* bytes) noexcept;
std::uint64_t encode_float64(const double* values, std::int64_t n, std::byte* bytes) noexcept;
/// Whole numbers, as int32.
std::uint64_t encode_whole(const double* values, std::int64_t n, std::byte* bytes) noexcept;
std::uint64_t encode_int32(const std::uint32_t* values, std::int64_t n, std::byte* bytes) noexcept;

}  // namespace skipstream::kernels
