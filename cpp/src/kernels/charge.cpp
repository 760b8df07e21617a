#include "skipstream/kernels/charge.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace skipstream::kernels {
namespace {

/// Calls `each(i, begin, end)` for every bin that a peak reaches, with the distances of its edges
/// from the peak in sigma. Beyond 9 sigma there is less than 2e-19 of a peak.
template <class Each>
void for_bins_of(std::span<const double> edges, double place, double noise, Each each) noexcept {
  constexpr double reach = 9;
  const auto first = std::lower_bound(edges.begin(), edges.end(), place - reach * noise);
  auto i = static_cast<std::size_t>(first - edges.begin());
  if (i > 0) --i;
  for (; i + 1 < edges.size() && edges[i] < place + reach * noise; ++i) {
    each(i, (edges[i] - place) / noise, (edges[i + 1] - place) / noise);
  }
}

double part_below(double distance) noexcept {
  constexpr double sqrt_half = 0.70710678118654752440;
  return 0.5 * std::erfc(-distance * sqrt_half);
}

double density_at(double distance) noexcept {
  constexpr double inverse_sqrt_2_pi = 0.39894228040143267794;
  return inverse_sqrt_2_pi * std::exp(-0.5 * distance * distance);
}

constexpr double least = 1e-300;  // counts that are expected where no peak reaches

/// Calls `each(i, part)` for every bin that a peak reaches, with its part of the peak.
template <class Each>
void for_parts_of(std::span<const double> edges, double place, double noise, Each each) noexcept {
  double below = -1;  // not known yet
  for_bins_of(edges, place, noise, [&](std::size_t i, double begin, double end) {
    if (below < 0) below = part_below(begin);
    const double next = part_below(end);
    each(i, next - below);
    below = next;
  });
}

}  // namespace

void expected_counts(std::span<const double> edges, double n, double offset, double noise,
                     double rate, double gain, std::int64_t n_peaks,
                     std::span<double> counts) noexcept {
  std::fill(counts.begin(), counts.end(), 0.0);
  double weight = std::exp(-rate);
  for (std::int64_t k = 0; k < n_peaks; ++k) {
    if (k > 0) weight *= rate / static_cast<double>(k);
    for_parts_of(edges, offset + gain * static_cast<double>(k), noise,
                 [&](std::size_t i, double part) { counts[i] += n * weight * part; });
  }
}

double charge_cost(std::span<const double> edges, std::span<const double> counts,
                   const ChargeModel& model, std::int64_t n_peaks,
                   std::span<double> expected) noexcept {
  expected_counts(edges, model.n, model.offset, model.noise, model.rate, model.gain, n_peaks,
                  expected);
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double m = std::max(expected[i], least);
    sum += m - counts[i];
    if (counts[i] > 0) sum += counts[i] * std::log(std::max(counts[i], 1.0) / m);
  }
  return 2 * sum;
}

void charge_shape_costs(std::span<const double> edges, std::span<const double> counts,
                        const ChargeModel& model, std::int64_t n_peaks,
                        std::span<const double> rates, std::span<double> peaks,
                        std::span<double> expected, std::span<double> costs) noexcept {
  // The peaks are where they are for any rate, and take longer than all that follows.
  const std::size_t n_bins = counts.size();
  const auto n = static_cast<std::size_t>(n_peaks);
  for (std::size_t k = 0; k < n; ++k) {
    const auto peak = peaks.subspan(k * n_bins, n_bins);
    std::fill(peak.begin(), peak.end(), 0.0);
    for_parts_of(edges, model.offset + model.gain * static_cast<double>(k), model.noise,
                 [&](std::size_t i, double part) { peak[i] = part; });
  }
  double n_counted = 0;
  for (const double count : counts) n_counted += count;
  for (std::size_t r = 0; r < rates.size(); ++r) {
    std::fill(expected.begin(), expected.end(), 0.0);
    double weight = std::exp(-rates[r]);
    for (std::size_t k = 0; k < n; ++k) {
      if (k > 0) weight *= rates[r] / static_cast<double>(k);
      const auto peak = peaks.subspan(k * n_bins, n_bins);
      for (std::size_t i = 0; i < n_bins; ++i) expected[i] += weight * peak[i];
    }
    double n_expected = 0;
    for (std::size_t i = 0; i < n_bins; ++i) n_expected += expected[i];
    const double scale = n_counted / std::max(n_expected, least);
    double sum = 0;
    for (std::size_t i = 0; i < n_bins; ++i) {
      if (counts[i] > 0) sum -= counts[i] * std::log(std::max(scale * expected[i], 1e-12));
    }
    costs[r] = sum;
  }
}

void charge_gradient(std::span<const double> edges, std::span<const double> counts,
                     const ChargeModel& model, std::int64_t n_peaks, std::span<double> expected,
                     std::span<double, 5> gradient) noexcept {
  expected_counts(edges, model.n, model.offset, model.noise, model.rate, model.gain, n_peaks,
                  expected);
  double by_n = 0;
  double by_offset = 0;
  double by_noise = 0;
  double by_rate = 0;
  double by_gain = 0;
  double weight = std::exp(-model.rate);
  double weight_before = 0;  // of one electron less: the derivative by the rate is w_(k-1) - w_k
  for (std::int64_t k = 0; k < n_peaks; ++k) {
    if (k > 0) {
      weight_before = weight;
      weight *= model.rate / static_cast<double>(k);
    }
    double below = -1;
    double density = 0;
    double area = 0;      // of the peak, each bin times what the cost gains by a count more in it
    double slope = 0;     // the same of its derivative by the place, times sigma
    double widening = 0;  // and by sigma, times sigma
    for_bins_of(edges, model.offset + model.gain * static_cast<double>(k), model.noise,
                [&](std::size_t i, double begin, double end) {
                  if (below < 0) {
                    below = part_below(begin);
                    density = density_at(begin);
                  }
                  const double next = part_below(end);
                  const double next_density = density_at(end);
                  const double m = expected[i];
                  const double r = m > least ? 1 - counts[i] / m : 0.0;
                  area += r * (next - below);
                  slope -= r * (next_density - density);
                  widening -= r * (end * next_density - begin * density);
                  below = next;
                  density = next_density;
                });
    by_n += weight * area;
    by_rate += (weight_before - weight) * area;
    by_offset += weight * slope;
    by_gain += weight * static_cast<double>(k) * slope;
    by_noise += weight * widening;
  }
  gradient[0] = 2 * by_n;
  gradient[1] = 2 * model.n * by_offset / model.noise;
  gradient[2] = 2 * model.n * by_noise / model.noise;
  gradient[3] = 2 * model.n * by_rate;
  gradient[4] = 2 * model.n * by_gain / model.noise;
}

namespace {

/// Part of a bin that each Gaussian has; those that have none at all are far away.
void shares_of(double centre, std::span<const double> means, std::span<const double> sizes,
               double sigma, std::span<double> shares) noexcept {
  const std::size_t n = means.size();
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double u = (centre - means[i]) / sigma;
    constexpr double too_far = 40;  // where the exponential is 0
    const double density = std::abs(u) < too_far ? sizes[i] * std::exp(-0.5 * u * u) : 0.0;
    shares[i] = i + 1 < n ? density : 2 * density;
    sum += shares[i];
  }
  for (double& share : shares) share /= std::max(sum, least);
}

}  // namespace

double fit_mixture(std::span<const double> centres, std::span<const double> counts,
                   std::span<const double> starts, double sigma, std::span<double> means,
                   std::span<double> sizes, std::span<double> information,
                   std::span<double> scores) noexcept {
  const std::size_t n = starts.size();
  const double reach = (starts[n - 1] - starts[0]) / static_cast<double>(n - 1) / 3;
  const auto shares = scores.first(n);
  const auto sums = information.first(3 * n);  // counts, and their distances and squares of them
  std::copy(starts.begin(), starts.end(), means.begin());
  std::fill(sizes.begin(), sizes.end(), 1.0);
  constexpr int max_iterations = 500;
  constexpr double settled = 1e-7;
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::size_t b = 0; b < centres.size(); ++b) {
      if (!(counts[b] > 0)) continue;
      shares_of(centres[b], means, sizes, sigma, shares);
      for (std::size_t i = 0; i < n; ++i) {
        const double weight = shares[i] * counts[b];
        const double distance = centres[b] - means[i];
        sums[i] += weight;
        sums[n + i] += weight * distance;
        sums[2 * n + i] += weight * distance * distance;
      }
    }
    double squares = 0;
    double counted = 0;
    bool is_done = true;
    for (std::size_t i = 0; i < n; ++i) sizes[i] = std::max(sums[i], 1e-12);
    for (std::size_t i = 0; i + 1 < n; ++i) {
      const double moved =
          std::clamp(means[i] + sums[n + i] / sizes[i], starts[i] - reach, starts[i] + reach);
      const double by = moved - means[i];
      squares += sums[2 * n + i] - 2 * by * sums[n + i] + by * by * sums[i];
      counted += sizes[i];
      is_done = is_done && std::abs(by) < settled * sigma;
      means[i] = moved;
    }
    const double width = std::sqrt(std::max(squares, 0.0) / std::max(counted, 1e-12));
    is_done = is_done && std::abs(width - sigma) < settled * sigma;
    sigma = std::max(width, 1e-12);
    if (is_done) break;
  }
  std::fill(information.begin(), information.end(), 0.0);
  for (std::size_t b = 0; b < centres.size(); ++b) {
    if (!(counts[b] > 0)) continue;
    const auto of_sizes = scores.subspan(n, n);
    shares_of(centres[b], means, sizes, sigma, of_sizes);
    scores[n - 1] = 0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      const double u = (centres[b] - means[i]) / sigma;
      scores[i] = of_sizes[i] * u / sigma;
      scores[n - 1] += of_sizes[i] * (u * u - 1) / sigma;
    }
    for (std::size_t i = 0; i < 2 * n; ++i) {
      if (scores[i] == 0) continue;
      for (std::size_t j = 0; j < 2 * n; ++j) {
        information[i * 2 * n + j] += counts[b] * scores[i] * scores[j];
      }
    }
  }
  return sigma;
}

}  // namespace skipstream::kernels
