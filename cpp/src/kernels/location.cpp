#include "skipstream/kernels/location.hpp"

#include <algorithm>
#include <cmath>

#include "skipstream/kernels/select.hpp"

namespace skipstream::kernels {

double median_of(std::span<double> values) noexcept {
  const std::size_t half = values.size() / 2;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(half);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

Location median_and_mad(std::span<double> values, std::span<double> work) noexcept {
  const double median = median_of(values);
  for (std::size_t i = 0; i < values.size(); ++i) work[i] = std::abs(values[i] - median);
  return {median, sigma_per_mad * median_of(work.first(values.size()))};
}

namespace {

/// Mean of the differences to the first value, summed in the order given.
double mean_above_first(std::span<const double> values) noexcept {
  const double shift = values[0];
  double sum = 0;
  for (const double value : values) sum += value - shift;
  return sum / static_cast<double>(values.size());
}

}  // namespace

Location mean_and_std(std::span<const double> values) noexcept {
  const double shift = values[0];
  const auto n = static_cast<double>(values.size());
  const double mean = mean_above_first(values);
  double squares = 0;
  for (const double value : values) {
    const double d = value - shift - mean;
    squares += d * d;
  }
  return {shift + mean, std::sqrt(squares / n)};
}

Location clipped_mean(std::span<double> values, double n_sigma,
                      std::int64_t n_iterations) noexcept {
  Location location = mean_and_std(values);
  for (std::int64_t i = 0; i < n_iterations; ++i) {
    const auto kept = std::stable_partition(values.begin(), values.end(), [&](double value) {
      return std::abs(value - location.value) <= n_sigma * location.sigma;
    });
    const auto n = static_cast<std::size_t>(kept - values.begin());
    if (n == values.size() || n < 2) break;
    values = values.first(n);
    location = mean_and_std(values);
  }
  return location;
}

namespace {

/// Solves the symmetric 3 x 3 system; false when it is singular.
bool solve(double a[3][3], double b[3]) noexcept {
  for (int i = 0; i < 3; ++i) {
    int pivot = i;
    for (int r = i + 1; r < 3; ++r) {
      if (std::abs(a[r][i]) > std::abs(a[pivot][i])) pivot = r;
    }
    if (!(std::abs(a[pivot][i]) > 0)) return false;
    std::swap(b[i], b[pivot]);
    for (int c = 0; c < 3; ++c) std::swap(a[i][c], a[pivot][c]);
    for (int r = i + 1; r < 3; ++r) {
      const double factor = a[r][i] / a[i][i];
      for (int c = i; c < 3; ++c) a[r][c] -= factor * a[i][c];
      b[r] -= factor * b[i];
    }
  }
  for (int i = 2; i >= 0; --i) {
    for (int c = i + 1; c < 3; ++c) b[i] -= a[i][c] * b[c];
    b[i] /= a[i][i];
  }
  return true;
}

}  // namespace

std::optional<Location> fit_gaussian(std::span<double> values, std::span<double> work,
                                     std::span<double> bins, double n_sigma) noexcept {
  const Location start = median_and_mad(values, work);
  if (!(start.sigma > 0) || values.size() < 8) return std::nullopt;
  const double low = start.value - n_sigma * start.sigma;
  const double high = start.value + n_sigma * start.sigma;
  // The IQR of a Gaussian is 2 MAD.
  const double width =
      2 * (2 * start.sigma / sigma_per_mad) / std::cbrt(static_cast<double>(values.size()));
  const auto n_bins = static_cast<std::size_t>(
      std::clamp((high - low) / width, 6.0, static_cast<double>(bins.size())));
  const double bin = (high - low) / static_cast<double>(n_bins);
  std::fill_n(bins.begin(), n_bins, 0.0);
  for (const double value : values) {
    if (value < low || value >= high) continue;
    bins[std::min(static_cast<std::size_t>((value - low) / bin), n_bins - 1)] += 1;
  }

  // Parameters in units of the start: height, centre and width.
  double p[3] = {
      *std::max_element(bins.begin(), bins.begin() + static_cast<std::ptrdiff_t>(n_bins)), 0.0,
      1.0};
  const auto position = [&](std::size_t i) {
    return (low + (static_cast<double>(i) + 0.5) * bin - start.value) / start.sigma;
  };
  const auto chi2_of = [&](const double q[3]) {
    double chi2 = 0;
    for (std::size_t i = 0; i < n_bins; ++i) {
      const double u = (position(i) - q[1]) / q[2];
      const double d = bins[i] - q[0] * std::exp(-u * u / 2);
      chi2 += d * d / std::max(1.0, bins[i]);
    }
    return chi2;
  };
  double damping = 1e-3;
  double chi2 = chi2_of(p);
  constexpr int max_iterations = 100;
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    double a[3][3] = {};
    double b[3] = {};
    for (std::size_t i = 0; i < n_bins; ++i) {
      const double u = (position(i) - p[1]) / p[2];
      const double shape = std::exp(-u * u / 2);
      const double gradient[3] = {shape, p[0] * shape * u / p[2], p[0] * shape * u * u / p[2]};
      const double weight = 1 / std::max(1.0, bins[i]);
      for (int r = 0; r < 3; ++r) {
        b[r] += weight * gradient[r] * (bins[i] - p[0] * shape);
        for (int c = 0; c < 3; ++c) a[r][c] += weight * gradient[r] * gradient[c];
      }
    }
    for (int r = 0; r < 3; ++r) a[r][r] *= 1 + damping;
    if (!solve(a, b)) return std::nullopt;
    const double next[3] = {p[0] + b[0], p[1] + b[1], p[2] + b[2]};
    const double next_chi2 = next[2] > 0 ? chi2_of(next) : chi2 + 1;
    if (next_chi2 <= chi2) {
      const bool settled = std::abs(b[1]) < 1e-10 && std::abs(b[2]) < 1e-10;
      std::copy(next, next + 3, p);
      chi2 = next_chi2;
      damping /= 10;
      if (settled) {
        if (std::abs(p[1]) > n_sigma || p[2] > n_sigma) return std::nullopt;
        return Location{start.value + p[1] * start.sigma, p[2] * start.sigma};
      }
    } else {
      damping *= 10;
      if (damping > 1e12) return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<double> width_of_counts(double first, std::span<const std::int64_t> counts) noexcept {
  const auto n = static_cast<std::int64_t>(counts.size());
  const auto at = [&](std::int64_t i) {
    const bool is_left_out = first + static_cast<double>(i) == 0;
    return is_left_out ? 0.0 : static_cast<double>(counts[static_cast<std::size_t>(i)]);
  };
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += at(i);
  if (total < 10) return std::nullopt;
  std::int64_t median = 0;
  for (double below = at(0); below < total / 2; below += at(median)) ++median;
  std::int64_t mad = 0;  // to either side of the median is half of all: it stays within the bins
  for (double near = at(median); near < total / 2; near += at(median - mad) + at(median + mad)) {
    ++mad;
  }
  const double sigma = sigma_per_mad * std::max(static_cast<double>(mad), 0.5);
  const auto reach = static_cast<std::int64_t>(3 * sigma);
  const std::int64_t begin = std::max<std::int64_t>(0, median - reach);
  const std::int64_t end = std::min(n, median + reach + 1);
  double most = 0;
  int n_seen = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    most = std::max(most, at(i));
    n_seen += at(i) > 0 ? 1 : 0;
  }
  if (n_seen < 4) return std::nullopt;
  double p[3] = {std::log(most), 0.0, -0.5};
  constexpr int max_iterations = 50;
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    double a[3][3] = {};
    double step[3] = {};
    for (std::int64_t i = begin; i < end; ++i) {
      if (first + static_cast<double>(i) == 0) continue;
      const double u = static_cast<double>(i - median) / sigma;
      const double powers[3] = {1.0, u, u * u};
      const double height = p[0] + p[1] * u + p[2] * u * u;
      const double expected = std::exp(std::clamp(height, -50.0, 50.0));
      for (int r = 0; r < 3; ++r) {
        step[r] += powers[r] * (at(i) - expected);
        for (int c = 0; c < 3; ++c) a[r][c] += expected * powers[r] * powers[c];
      }
    }
    if (!solve(a, step)) return std::nullopt;
    double largest = 0;
    for (int r = 0; r < 3; ++r) {
      p[r] += step[r];
      largest = std::max(largest, std::abs(step[r]));
    }
    if (largest < 1e-9) break;
  }
  if (!(p[2] < 0)) return std::nullopt;
  return sigma / std::sqrt(-2 * p[2]);
}

namespace {

/// Sorted values in bins of `step` from `low` on, counted one bin after another.
template <class T>
class SortedBins {
 public:
  SortedBins(std::span<const T> values, double low, double step) noexcept
      : values_(values), low_(low), step_(step) {
    skip_below(0);
  }

  double next() noexcept {
    const std::size_t begin = at_;
    skip_below(++n_counted_);
    return static_cast<double>(at_ - begin);
  }

 private:
  /// Where a bin begins, in units of the values above `low`: a quotient that is rounded is on the
  /// same side of its number as a value is of the edge, but for values next to it.
  struct Edge {
    double bin;
    double surely_below;
    double surely_above;
  };

  [[nodiscard]] bool is_below(std::size_t i, const Edge& edge) const noexcept {
    const double above_low = static_cast<double>(values_[i]) - low_;
    if (above_low < edge.surely_below) return true;
    if (above_low > edge.surely_above) return false;
    return above_low / step_ < edge.bin;
  }

  /// One by one at first, since most bins end nearby; then in strides that double, and by halves.
  void skip_below(std::size_t bin) noexcept {
    constexpr double rounding = 1e-15;  // of the quotient and of the edge, in parts of them
    const double at = static_cast<double>(bin) * step_;
    const Edge edge{static_cast<double>(bin), at * (1 - rounding), at * (1 + rounding)};
    constexpr std::size_t nearby = 12;
    const std::size_t end_nearby = std::min(at_ + nearby, values_.size());
    while (at_ < end_nearby && is_below(at_, edge)) ++at_;
    if (at_ < end_nearby) return;
    std::size_t stride = 1;
    for (; at_ + stride <= values_.size() && is_below(at_ + stride - 1, edge); stride *= 2) {
      at_ += stride;
    }
    for (std::size_t end = std::min(at_ + stride, values_.size()); at_ < end;) {
      const std::size_t middle = at_ + (end - at_) / 2;
      if (is_below(middle, edge)) {
        at_ = middle + 1;
      } else {
        end = middle;
      }
    }
  }

  std::span<const T> values_;
  double low_;
  double step_;
  std::size_t at_ = 0;
  std::size_t n_counted_ = 0;
};

/// A Gaussian of four bins' width, cut off at four of its widths.
struct SmoothingKernel {
  static constexpr std::size_t half = 16;
  double weights[2 * half + 1];
  double squares = 0;  ///< the sum of them

  SmoothingKernel() noexcept {
    double sum = 0;
    for (std::size_t k = 0; k < 2 * half + 1; ++k) {
      const double u = (static_cast<double>(k) - static_cast<double>(half)) / 4;
      weights[k] = std::exp(-u * u / 2);
      sum += weights[k];
    }
    for (double& weight : weights) {
      weight /= sum;
      squares += weight * weight;
    }
  }
};

/// Bins under a kernel, counted and smoothed from the lower end on as far as they are asked for;
/// behind the ends there is nothing.
template <class T>
class SmoothBins {
 public:
  SmoothBins(SortedBins<T> counts, const SmoothingKernel& kernel, std::span<double> bins,
             std::span<double> smooth) noexcept
      : counts_(counts), kernel_(kernel), bins_(bins), smooth_(smooth) {}

  double operator[](std::size_t i) noexcept {
    while (i >= n_made_) make_block();
    return smooth_[i];
  }

  double highest() noexcept {
    while (n_made_ < bins_.size()) make_block();
    return *std::max_element(smooth_.begin(),
                             smooth_.begin() + static_cast<std::ptrdiff_t>(n_made_));
  }

 private:
  // Each density is summed in the order of the kernel, eight at a time; most blocks are empty.
  static constexpr std::size_t block = 8;
  static constexpr std::size_t half = SmoothingKernel::half;

  void make_block() noexcept {
    const std::size_t first = n_made_;
    for (; seen_ < std::min(bins_.size(), first + block + half); ++seen_) {
      bins_[seen_] = counts_.next();
      if (bins_[seen_] > 0) end_filled_ = seen_ + 1;
    }
    double density[block] = {};
    if (end_filled_ + half > first) {
      double around[block + 2 * half] = {};
      const std::size_t begin = first > half ? first - half : 0;
      std::copy(bins_.data() + begin, bins_.data() + seen_, around + (begin + half - first));
      for (std::size_t k = 0; k < 2 * half + 1; ++k) {
        for (std::size_t j = 0; j < block; ++j) density[j] += kernel_.weights[k] * around[j + k];
      }
    }
    n_made_ = std::min(bins_.size(), first + block);
    std::copy_n(density, n_made_ - first, smooth_.begin() + static_cast<std::ptrdiff_t>(first));
  }

  SortedBins<T> counts_;
  const SmoothingKernel& kernel_;
  std::span<double> bins_;
  std::span<double> smooth_;
  std::size_t n_made_ = 0;
  std::size_t seen_ = 0;
  std::size_t end_filled_ = 0;  // behind the last bin that was seen to hold something
};

/// Sum of what values are above `shift`, from eight sums of every eighth: none waits for another.
template <class T>
double sum_above(std::span<const T> values, double shift) noexcept {
  constexpr std::size_t n_sums = 8;
  const std::size_t n_even = values.size() - values.size() % n_sums;
  double sums[n_sums] = {};
  for (std::size_t i = 0; i < n_even; i += n_sums) {
    for (std::size_t j = 0; j < n_sums; ++j) {
      sums[j] += static_cast<double>(values[i + j]) - shift;
    }
  }
  for (std::size_t i = n_even; i < values.size(); ++i) {
    sums[i - n_even] += static_cast<double>(values[i]) - shift;
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

/// Mean of the values from `first` to before `last`, which move by a little from call to call: only
/// what comes in and goes out is summed.
template <class T>
class MovingMean {
 public:
  explicit MovingMean(std::span<const T> values) : values_(values) {}

  double operator()(std::size_t first, std::size_t last) noexcept {
    if (last_ == 0) {
      shift_ = static_cast<double>(values_[first]);
      sum_ = sum_above(values_.subspan(first, last - first), shift_);
    } else {
      sum_ += between(first, first_) - between(last, last_);
    }
    first_ = first;
    last_ = last;
    return shift_ + sum_ / static_cast<double>(last - first);
  }

 private:
  /// Of the values from one place to another; negative where the other one comes first.
  [[nodiscard]] double between(std::size_t from, std::size_t to) const noexcept {
    return from <= to ? sum_above(values_.subspan(from, to - from), shift_)
                      : -sum_above(values_.subspan(to, from - to), shift_);
  }

  std::span<const T> values_;
  std::size_t first_ = 0;
  std::size_t last_ = 0;
  double shift_ = 0;
  double sum_ = 0;
};

template <class T>
Location lowest_peak_as(std::span<const T> values, std::span<double> bins,
                        std::span<double> smooth) noexcept {
  const auto at_place = [&](std::size_t i) { return static_cast<double>(values[i]); };
  const std::size_t n = values.size();
  const std::size_t tenth = std::max<std::size_t>(1, std::min(n - 1, n / 10));
  double band = at_place(tenth) - at_place(0);
  std::size_t densest = 0;
  for (std::size_t begin = 0; begin + tenth < n;) {
    // Only a block that holds a new least one is looked at.
    const std::size_t end = std::min(begin + 1024, n - tenth);
    const double least = least_difference(values.subspan(begin, end + tenth - begin), tenth, band);
    for (std::size_t i = begin; least < band; ++i) {
      if (!(at_place(i + tenth) - at_place(i) < band)) continue;
      band = at_place(i + tenth) - at_place(i);
      densest = i;
    }
    begin = end;
  }
  if (!(band > 0)) return {at_place(densest), 0.0};
  // Values so far apart that their differences are beyond a double have no peak that can be told.
  if (!std::isfinite(at_place(n - 1) - at_place(0) + 8 * band)) return {at_place(n / 2), 0.0};

  // Only the lowest peak is sought: what lies too far above it is left out.
  const double step = band / 4;
  const double low = at_place(n / 2000) - 4 * band;
  const double reach = (at_place(n - 1 - n / 2000) - low) / step + 16;
  const auto n_bins =
      static_cast<std::size_t>(std::clamp(reach, 32.0, static_cast<double>(bins.size())));
  static const SmoothingKernel kernel;
  SmoothBins<T> density(SortedBins<T>(values, low, step), kernel, bins.first(n_bins), smooth);
  // No density is above this one; only a peak that is low against it has to know the highest.
  const double most = kernel.weights[kernel.half] * static_cast<double>(n);
  std::size_t top = 0;  // the highest place since the last valley
  for (std::size_t i = 1; i < n_bins; ++i) {
    if (density[i] > smooth[top]) top = i;
    const double fall = smooth[top] - smooth[i];
    if (!(fall > 0.1 * smooth[top] && fall > 5 * std::sqrt(smooth[top] * kernel.squares))) continue;
    if (smooth[top] > 0.01 * most || smooth[top] > 0.01 * density.highest()) break;
    top = i;
  }
  const double flank = std::exp(-0.5) * smooth[top];
  std::size_t left = top;
  while (left > 0 && smooth[left] > flank) --left;
  const double fall = smooth[left + 1] - smooth[left];
  const double at = static_cast<double>(left) + (fall > 0 ? (flank - smooth[left]) / fall : 0.0);
  const double wide = (static_cast<double>(top) - at) * step;
  Location peak{low + (static_cast<double>(top) + 0.5) * step,
                std::sqrt(std::max(wide * wide - band * band, band * band / 4))};
  constexpr int max_iterations = 20;
  MovingMean<T> mean(values);
  for (int iteration = 0; iteration < max_iterations; ++iteration) {
    const auto first =
        std::lower_bound(values.begin(), values.end(), peak.value - 1.2 * peak.sigma);
    const auto last = std::upper_bound(first, values.end(), peak.value + 1.2 * peak.sigma);
    if (first == last) break;
    const double centre = mean(static_cast<std::size_t>(first - values.begin()),
                               static_cast<std::size_t>(last - values.begin()));
    const bool stays = centre == peak.value;
    peak.value = centre;
    if (stays) break;
  }
  return peak;
}

}  // namespace

Location lowest_peak(std::span<double> values, std::span<double> bins,
                     std::span<double> smooth) noexcept {
  if (!std::is_sorted(values.begin(), values.end())) std::sort(values.begin(), values.end());
  return lowest_peak_of_sorted(values, bins, smooth);
}

Location lowest_peak_of_sorted(std::span<const double> values, std::span<double> bins,
                               std::span<double> smooth) noexcept {
  return lowest_peak_as(values, bins, smooth);
}

Location lowest_peak_of_sorted(std::span<const float> values, std::span<double> bins,
                               std::span<double> smooth) noexcept {
  return lowest_peak_as(values, bins, smooth);
}

}  // namespace skipstream::kernels
