#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace skipstream::kernels {

/// Room for `sort_finite`: counts of digits.
inline constexpr std::size_t n_sort_counts = 6 << 11;

/// Sorts the finite values among `values`, and returns how many there are, at the begin of
/// `sorted`. Where `left_out` is not empty, values at which it is not 0 are not taken. `sorted` has
/// room for all values, `scratch` for twice as many, `counts` for `n_sort_counts`.
std::int64_t sort_finite(std::span<const float> values, std::span<const std::uint8_t> left_out,
                         std::span<std::uint32_t> scratch, std::span<std::uint64_t> counts,
                         std::span<double> sorted) noexcept;
std::int64_t sort_finite(std::span<const double> values, std::span<const std::uint8_t> left_out,
                         std::span<std::uint64_t> scratch, std::span<std::uint64_t> counts,
                         std::span<double> sorted) noexcept;

}  // namespace skipstream::kernels
