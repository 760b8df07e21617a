#include "skipstream/kernels/select.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "skipstream/kernels/dispatch.hpp"

namespace skipstream::kernels {

namespace baseline {
extern const AllLineKernels line_kernels;
}
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
extern const AllLineKernels line_kernels;
}
namespace v4 {
extern const AllLineKernels line_kernels;
}
#endif

const AllLineKernels& line_kernels() noexcept {
  switch (chosen_level()) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
    case SimdLevel::v4:
      return v4::line_kernels;
    case SimdLevel::v3:
      return v3::line_kernels;
#endif
    default:
      return baseline::line_kernels;
  }
}

namespace {

template <class T>
const LineKernels<T>& kernels_for() noexcept {
  if constexpr (sizeof(T) == sizeof(float)) {
    return line_kernels().float32;
  } else {
    return line_kernels().float64;
  }
}

template <class T>
std::int64_t size_of(std::span<T> values) noexcept {
  return static_cast<std::int64_t>(values.size());
}

constexpr std::int64_t few = 16;            // values, which are sorted as far as needed
constexpr std::size_t n_sample = 16;        // of more
constexpr std::array around{-4, -1, 1, 4};  // places in the sample, from where the value should be
using Counts = std::array<std::int64_t, 8>;
template <class T>
using Bounds = std::array<T, 8>;
template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

/// Values of a sample around place `k`, and the next number above each: what is below the one and
/// not below the other is that value.
template <class T>
Bounds<T> bounds_of_sample(std::span<const T> values, std::int64_t k) noexcept {
  const std::size_t n = values.size();
  std::array<T, n_sample> sample;
  for (std::size_t i = 0; i < n_sample; ++i) {
    const T value = values[(2 * i + 1) * n / (2 * n_sample)];
    std::size_t place = i;
    for (; place > 0 && sample[place - 1] > value; --place) sample[place] = sample[place - 1];
    sample[place] = value;
  }
  Bounds<T> bounds;
  constexpr auto last = static_cast<std::int64_t>(n_sample) - 1;
  const auto expected = k * static_cast<std::int64_t>(n_sample) / size_of(values);
  for (std::size_t i = 0; i < around.size(); ++i) {
    const auto place = std::clamp<std::int64_t>(expected + around[i], 0, last);
    bounds[2 * i] = sample[static_cast<std::size_t>(place)];
    bounds[2 * i + 1] = std::nextafter(bounds[2 * i], infinity<T>);
  }
  return bounds;
}

template <class T>
Bounds<T> even_bounds(T low, T high) noexcept {
  Bounds<T> bounds;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    const double part = static_cast<double>(i + 1) / static_cast<double>(bounds.size() + 1);
    bounds[i] =
        static_cast<T>(static_cast<double>(low) * (1 - part) + static_cast<double>(high) * part);
  }
  return bounds;
}

/// The value at place `k` of the sorted ones.
template <class T>
T nth(std::span<const T> values, std::int64_t k, std::span<T> work) noexcept {
  const auto& kernels = kernels_for<T>();
  T low = -infinity<T>;  // between these two it is
  T high = infinity<T>;
  bool are_fewer = true;
  while (size_of(values) > few && are_fewer) {
    const bool has_ends = std::isfinite(low) && std::isfinite(high);
    const Bounds<T> bounds = has_ends ? even_bounds(low, high) : bounds_of_sample(values, k);
    Counts counts;
    kernels.count_below(values.data(), size_of(values), bounds.data(), counts.data());
    const auto past = std::find_if(counts.begin(), counts.end(), [k](auto c) { return k < c; });
    const auto place = static_cast<std::size_t>(past - counts.begin());
    if (!has_ends && place % 2 == 1) return bounds[place - 1];
    if (place > 0) low = bounds[place - 1];
    if (place < bounds.size()) high = std::nextafter(bounds[place], -infinity<T>);
    const auto found = kernels.collect(values.data(), size_of(values), low, high, work.data());
    if (place > 0) k -= counts[place - 1];
    are_fewer = 2 * found < size_of(values);
    values = work.first(static_cast<std::size_t>(found));
  }
  if (values.data() != work.data()) std::copy(values.begin(), values.end(), work.begin());
  const auto end = work.begin() + static_cast<std::ptrdiff_t>(values.size());
  const auto at = work.begin() + static_cast<std::ptrdiff_t>(k);
  std::nth_element(work.begin(), at, end);
  return *at;
}

template <class T>
double median_as(std::span<const T> values, std::span<T> work) noexcept {
  const std::int64_t half = size_of(values) / 2;
  const T high = nth(values, half, work);
  if (values.size() % 2 == 1) return static_cast<double>(high);
  std::int64_t n_below = 0;
  const T low = kernels_for<T>().largest_below(values.data(), size_of(values), high, &n_below);
  if (n_below < half) return static_cast<double>(high);  // so often is it there
  return std::midpoint(static_cast<double>(low), static_cast<double>(high));
}

template <class T>
Location median_and_mad_as(std::span<const T> values, std::span<T> away,
                           std::span<T> work) noexcept {
  const double median = median_as(values, work);
  kernels_for<T>().distances(values.data(), size_of(values), median, away.data());
  return {median, sigma_per_mad * median_as(std::span<const T>(away.first(values.size())), work)};
}

}  // namespace

std::int64_t collect(std::span<const float> values, float low, float high, float* out) noexcept {
  return line_kernels().float32.collect(values.data(), size_of(values), low, high, out);
}
std::int64_t collect(std::span<const double> values, double low, double high,
                     double* out) noexcept {
  return line_kernels().float64.collect(values.data(), size_of(values), low, high, out);
}

double median_of(std::span<const float> values, std::span<float> work) noexcept {
  return median_as(values, work);
}
double median_of(std::span<const double> values, std::span<double> work) noexcept {
  return median_as(values, work);
}

Location median_and_mad(std::span<const float> values, std::span<float> away,
                        std::span<float> work) noexcept {
  return median_and_mad_as(values, away, work);
}
Location median_and_mad(std::span<const double> values, std::span<double> away,
                        std::span<double> work) noexcept {
  return median_and_mad_as(values, away, work);
}

Within sum_within(std::span<const float> values, double centre, double reach,
                  double highest) noexcept {
  return line_kernels().float32.sum_within(values.data(), size_of(values), centre, reach, highest);
}
Within sum_within(std::span<const double> values, double centre, double reach,
                  double highest) noexcept {
  return line_kernels().float64.sum_within(values.data(), size_of(values), centre, reach, highest);
}

double least_difference(std::span<const float> values, std::size_t reach, double least) noexcept {
  return line_kernels().float32.least_difference(values.data(), size_of(values),
                                                 static_cast<std::int64_t>(reach), least);
}
double least_difference(std::span<const double> values, std::size_t reach, double least) noexcept {
  return line_kernels().float64.least_difference(values.data(), size_of(values),
                                                 static_cast<std::int64_t>(reach), least);
}

}  // namespace skipstream::kernels
