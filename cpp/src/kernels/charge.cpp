#include "skipstream/kernels/charge.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace skipstream::kernels {

void expected_counts(std::span<const double> edges, double n, double offset, double noise,
                     double rate, double gain, std::int64_t n_peaks,
                     std::span<double> counts) noexcept {
  std::fill(counts.begin(), counts.end(), 0.0);
  double weight = std::exp(-rate);
  for (std::int64_t k = 0; k < n_peaks; ++k) {
    if (k > 0) weight *= rate / static_cast<double>(k);
    const double place = offset + gain * static_cast<double>(k);
    // Beyond 9 sigma there is less than 2e-19 of a peak.
    constexpr double reach = 9;
    const auto first = std::lower_bound(edges.begin(), edges.end(), place - reach * noise);
    auto i = static_cast<std::size_t>(first - edges.begin());
    double below = 0;
    if (i > 0) --i;
    const auto part_below = [&](std::size_t edge) {
      constexpr double sqrt_half = 0.70710678118654752440;
      return 0.5 * std::erfc((place - edges[edge]) / noise * sqrt_half);
    };
    if (i < edges.size()) below = part_below(i);
    for (; i + 1 < edges.size() && below < 1; ++i) {
      const double next = part_below(i + 1);
      counts[i] += n * weight * (next - below);
      below = next;
    }
  }
}

}  // namespace skipstream::kernels
