#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "skipstream/kernels/location.hpp"

namespace skipstream::kernels {

/// Values from `low` to `high`, in their order, to `out`, which may be the values themselves; it
/// has room for as many. NaN is left behind. Returns how many.
std::int64_t collect(std::span<const float> values, float low, float high, float* out) noexcept;
std::int64_t collect(std::span<const double> values, double low, double high, double* out) noexcept;

/// Exact median of values without NaN, of which there is at least one: the mean of both in the
/// middle. `work` has room for as many.
///
/// A sample of the values tells between which of them the median is; those are counted, and what is
/// between is looked at alone. So a line of a thousand pixels is passed over three times.
double median_of(std::span<const float> values, std::span<float> work) noexcept;
double median_of(std::span<const double> values, std::span<double> work) noexcept;

/// The same, and 1.4826 times the median of the absolute deviations from it, which are put into
/// `away` and, as differences of pixels are small, of their type.
Location median_and_mad(std::span<const float> values, std::span<float> away,
                        std::span<float> work) noexcept;
Location median_and_mad(std::span<const double> values, std::span<double> away,
                        std::span<double> work) noexcept;

/// What values make up that are within a reach of a centre.
struct Within {
  std::int64_t n = 0;
  double sum = 0.0;      // of the differences from the centre,
  double squares = 0.0;  // and of their squares
};
/// Those up to `reach` away from `centre`, and up to `highest`; NaN is not.
Within sum_within(std::span<const float> values, double centre, double reach,
                  double highest) noexcept;
Within sum_within(std::span<const double> values, double centre, double reach,
                  double highest) noexcept;

/// The least of `least` and the differences `values[i + reach] - values[i]`; NaN is none.
double least_difference(std::span<const float> values, std::size_t reach, double least) noexcept;
double least_difference(std::span<const double> values, std::size_t reach, double least) noexcept;

/// Passes over values, compiled for a level.
template <class T>
struct LineKernels {
  /// How many are below each of 8 bounds.
  void (*count_below)(const T* values, std::int64_t n, const T* bounds, std::int64_t* counts);
  std::int64_t (*collect)(const T* values, std::int64_t n, T low, T high, T* out);
  /// The largest one below a bound, and how many are; the lowest number where there is none.
  T (*largest_below)(const T* values, std::int64_t n, T bound, std::int64_t* count);
  void (*distances)(const T* values, std::int64_t n, double centre, T* away);
  Within (*sum_within)(const T* values, std::int64_t n, double centre, double reach,
                       double highest);
  /// Of n values, those behind the last one of which there are not `reach`.
  double (*least_difference)(const T* values, std::int64_t n, std::int64_t reach, double least);
};
struct AllLineKernels {
  LineKernels<float> float32;
  LineKernels<double> float64;
};
/// Those of the level that is in use.
const AllLineKernels& line_kernels() noexcept;

}  // namespace skipstream::kernels
