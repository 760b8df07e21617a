#include "skipstream/kernels/entropy.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <vector>

namespace skipstream::kernels {

double entropy_of(std::span<const std::int64_t> counts) noexcept {
  double total = 0;
  for (const std::int64_t count : counts) total += static_cast<double>(count);
  if (!(total > 0)) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const std::int64_t count : counts) {
    const double part = static_cast<double>(count) / total;
    if (count > 0) sum -= part * std::log(part);
  }
  return sum;
}

namespace {

template <class T>
double entropy_of_floors(std::span<const T> values) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const T value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, static_cast<double>(value));
    high = std::max(high, static_cast<double>(value));
  }
  if (!(low <= high)) return entropy_of({});  // none is finite
  low = std::floor(low);
  std::vector<std::int64_t> counts;
  constexpr double most_bins = 1 << 20;
  if (high - low < most_bins) {
    counts.resize(static_cast<std::size_t>(high - low) + 1);
    for (const T value : values) {
      if (!std::isfinite(value)) continue;
      ++counts[static_cast<std::size_t>(static_cast<double>(value) - low)];
    }
  } else {
    std::map<double, std::int64_t> all;
    for (const T value : values) {
      if (std::isfinite(value)) ++all[std::floor(static_cast<double>(value))];
    }
    for (const auto& [number, count] : all) counts.push_back(count);
  }
  return entropy_of(counts);
}

}  // namespace

double entropy_of_wholes(std::span<const float> values) { return entropy_of_floors(values); }
double entropy_of_wholes(std::span<const double> values) { return entropy_of_floors(values); }

}  // namespace skipstream::kernels
