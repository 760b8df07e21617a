#pragma once

#include <cstdint>
#include <span>

namespace skipstream::kernels {

/// Distances of all pixels, `(n_rows, n_cols)`, from the nearest one of their column that is not 0;
/// `most + 1` where none is within `most`, which is at least 0.
void distances_along_columns(std::span<const std::uint8_t> pixels, std::int64_t n_rows,
                             std::int64_t n_cols, std::int32_t most,
                             std::span<std::int32_t> distances) noexcept;

/// From those of a row, squares of its pixels' distances in the plane; `(most + 1)^2` where there
/// is nothing within `most`.
///
/// Exact: the lower envelope of the parabolas of the columns (P. Felzenszwalb and D. Huttenlocher,
/// Theory of Computing 8 (2012) 415). `work` has room for 3 n_cols + 1 numbers.
void squares_in_plane(std::span<const std::int32_t> distances, std::int32_t most,
                      std::span<std::int64_t> squares, std::span<double> work) noexcept;

/// Adds pixels that are there, and are not 0 away, to `counts` by the square of their distance, and
/// those of at least `hit` to `hits`. Farther ones than there are counts for do not count.
void count_by_distance(std::span<const float> pixels, std::span<const std::uint8_t> there,
                       std::span<const std::int64_t> squares, double hit,
                       std::span<std::int64_t> counts, std::span<std::int64_t> hits) noexcept;
void count_by_distance(std::span<const double> pixels, std::span<const std::uint8_t> there,
                       std::span<const std::int64_t> squares, double hit,
                       std::span<std::int64_t> counts, std::span<std::int64_t> hits) noexcept;

}  // namespace skipstream::kernels
