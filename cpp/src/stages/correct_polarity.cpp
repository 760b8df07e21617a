#include "skipstream/stages/correct_polarity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace skipstream {

SampleStagePlan CorrectPolarity::begin(ImageInfo& image) {
  image.format.scale = -image.format.scale;
  image.format.zero = -image.format.zero;
  if (config_.method == PolarityMethod::offset) image.format.zero += config_.offset;
  if (config_.method == PolarityMethod::max) image.add_maximum = true;
  return {.delay_rows = 0, .state_bytes = 0, .format_only = true};
}

std::vector<std::string> AddMaximum::needs(const std::vector<std::string>& statistics) {
  const auto asked = [&](std::string_view name) {
    return std::find(statistics.begin(), statistics.end(), name) != statistics.end();
  };
  std::vector<std::string> needed{"min"};
  if (asked("sum")) needed.emplace_back("count");
  if (asked("rms")) needed.emplace_back("mean");
  return needed;
}

StagePlan AddMaximum::begin(const ImageInfo& /*image*/, const std::vector<PlaneInfo>& planes) {
  planes_ = planes;
  smallest_ = std::numeric_limits<double>::infinity();
  return {.planes = {planes.begin(), planes.begin() + static_cast<std::ptrdiff_t>(n_planes_kept_)},
          .delay_rows = 0,
          .state_bytes = 0,
          .barrier = true,
          .tables = {}};
}

std::size_t AddMaximum::plane(std::string_view name) const {
  const auto found = std::find_if(planes_.begin(), planes_.end(),
                                  [&](const PlaneInfo& p) { return p.name == name; });
  return static_cast<std::size_t>(found - planes_.begin());
}

void AddMaximum::observe(const PixelChunk& chunk) {
  const std::size_t min = plane("min");
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    for (const double value : chunk.row(min, r)) {
      if (value < smallest_) smallest_ = value;  // false for NaN
    }
  }
}

void AddMaximum::settle() { maximum_ = std::isinf(smallest_) ? 0.0 : -smallest_; }

void AddMaximum::push(PixelChunk& chunk, StageOutput& output) {
  const std::size_t mean = plane("mean");
  const std::size_t count = plane("count");
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    // rms and sum first: they need planes that are about to change.
    for (std::size_t p = 0; p < n_planes_kept_; ++p) {
      const auto row = chunk.row(p, r);
      for (std::size_t c = 0; c < row.size(); ++c) {
        if (planes_[p].name == "sum") {
          row[c] += chunk.row(count, r)[c] * maximum_;
        } else if (planes_[p].name == "rms") {
          const double m = chunk.row(mean, r)[c];
          row[c] = std::sqrt(maximum_ * maximum_ + 2 * maximum_ * m + row[c] * row[c]);
        }
      }
    }
    for (std::size_t p = 0; p < n_planes_kept_; ++p) {
      if (planes_[p].kind != PlaneKind::location) continue;
      for (double& value : chunk.row(p, r)) value += maximum_;
    }
  }
  PixelChunk kept = chunk;
  kept.planes = chunk.planes.first(n_planes_kept_);
  output.push(kept);
}

std::vector<Finding> AddMaximum::findings() const {
  return {
      {"maximum", maximum_, "adu", "largest sample of the image, from which all are subtracted"}};
}

}  // namespace skipstream
