#include "skipstream/kernels/distance.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace skipstream::kernels {

void distances_along_columns(std::span<const std::uint8_t> pixels, std::int64_t n_rows,
                             std::int64_t n_cols, std::int32_t most,
                             std::span<std::int32_t> distances) noexcept {
  const auto n = static_cast<std::size_t>(n_cols);
  const auto row = [&](std::int64_t r) {
    return distances.subspan(static_cast<std::size_t>(r) * n, n);
  };
  for (std::int64_t r = 0; r < n_rows; ++r) {
    const auto here = pixels.subspan(static_cast<std::size_t>(r) * n, n);
    for (std::size_t c = 0; c < n; ++c) {
      const std::int32_t above = r > 0 ? row(r - 1)[c] : most;
      row(r)[c] = here[c] != 0 ? 0 : std::min(above, most) + 1;
    }
  }
  for (std::int64_t r = n_rows - 1; r-- > 0;) {
    for (std::size_t c = 0; c < n; ++c) row(r)[c] = std::min(row(r)[c], row(r + 1)[c] + 1);
  }
}

void squares_in_plane(std::span<const std::int32_t> distances, std::int32_t most,
                      std::span<std::int64_t> squares, std::span<double> work) noexcept {
  const std::size_t n = distances.size();
  const auto centre = work.first(n);       // of the parabolas of the envelope,
  const auto height = work.subspan(n, n);  // the squares there,
  const auto begin = work.subspan(2 * n);  // and from where on one is the lowest
  std::size_t n_parabolas = 0;
  for (std::size_t c = 0; c < n; ++c) {
    if (distances[c] > most) continue;
    const auto x = static_cast<double>(c);
    const double y = static_cast<double>(distances[c]) * distances[c];
    double from = -std::numeric_limits<double>::infinity();
    for (; n_parabolas > 0; --n_parabolas) {
      const double other = centre[n_parabolas - 1];
      from = (y + x * x - height[n_parabolas - 1] - other * other) / (2 * (x - other));
      if (from > begin[n_parabolas - 1]) break;  // at the latest at the first, which is everywhere
    }
    centre[n_parabolas] = x;
    height[n_parabolas] = y;
    begin[n_parabolas++] = from;
  }
  const std::int64_t farthest = std::int64_t{most} * most;
  const std::int64_t far = farthest + 2 * std::int64_t{most} + 1;
  if (n_parabolas == 0) {
    std::fill(squares.begin(), squares.end(), far);
    return;
  }
  begin[n_parabolas] = std::numeric_limits<double>::infinity();
  std::size_t k = 0;
  for (std::size_t c = 0; c < n; ++c) {
    const auto x = static_cast<double>(c);
    while (begin[k + 1] < x) ++k;
    const auto square = static_cast<std::int64_t>((x - centre[k]) * (x - centre[k]) + height[k]);
    squares[c] = square > farthest ? far : square;
  }
}

namespace {

template <class T>
void count_as(std::span<const T> pixels, std::span<const std::uint8_t> there,
              std::span<const std::int64_t> squares, double hit, std::span<std::int64_t> counts,
              std::span<std::int64_t> hits) noexcept {
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    const auto square = static_cast<std::size_t>(squares[i]);
    if (there[i] == 0 || square == 0 || square >= counts.size()) continue;
    ++counts[square];
    if (static_cast<double>(pixels[i]) >= hit) ++hits[square];
  }
}

}  // namespace

void count_by_distance(std::span<const float> pixels, std::span<const std::uint8_t> there,
                       std::span<const std::int64_t> squares, double hit,
                       std::span<std::int64_t> counts, std::span<std::int64_t> hits) noexcept {
  count_as(pixels, there, squares, hit, counts, hits);
}

void count_by_distance(std::span<const double> pixels, std::span<const std::uint8_t> there,
                       std::span<const std::int64_t> squares, double hit,
                       std::span<std::int64_t> counts, std::span<std::int64_t> hits) noexcept {
  count_as(pixels, there, squares, hit, counts, hits);
}

}  // namespace skipstream::kernels
