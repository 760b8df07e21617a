#include "skipstream/stages/mask_halo.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskHalo::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  n_cols_ = image.n_cols;
  if (n_cols_ > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError("mask_halo: at most 2147483647 columns; got " + std::to_string(n_cols_));
  }
  const bool has_labels = std::any_of(planes.begin(), planes.end(),
                                      [](const PlaneInfo& plane) { return plane.name == "label"; });
  if (!config_.threshold && !has_labels) {
    throw ConfigError(
        "mask_halo.threshold: give a number, or put find_clusters with label_image = true before");
  }
  const auto radius = static_cast<double>(config_.radius);
  for (double dy = 0; dy <= radius; ++dy) {
    const double reach =
        config_.shape == HaloShape::box ? radius : std::sqrt(radius * radius - dy * dy);
    reaches_.push_back(static_cast<std::int64_t>(reach));
  }
  held_ = RowRing(image, planes.size(), config_.radius + 1);
  runs_.resize(reaches_.size());
  const auto most = static_cast<std::size_t>(n_cols_ / 2 + 1);
  for (auto& runs : runs_) runs.reserve(most);
  return {
      .planes = planes,
      .delay_rows = config_.radius,
      .state_bytes = held_.bytes() + static_cast<std::int64_t>(runs_.size() * most * sizeof(Run)),
      .barrier = false,
      .tables = {}};
}

void MaskHalo::find_bright(const double* values, const std::uint32_t* mask,
                           Array<Run>& runs) const {
  runs.clear();
  for (std::int32_t c = 0; c < n_cols_; ++c) {
    const bool is_bright = config_.threshold
                               ? (mask[c] & unusable_bits) == 0 && values[c] >= *config_.threshold
                               : (mask[c] & mask_bit::cluster) != 0;
    if (!is_bright) continue;
    if (!runs.empty() && runs.back().end == c) {
      ++runs.back().end;
    } else {
      runs.push_back({c, c + 1});
    }
  }
}

void MaskHalo::flag(std::uint32_t* mask, const Array<Run>& runs, std::int64_t distance) {
  const std::int64_t reach = reaches_[static_cast<std::size_t>(distance)];
  std::int64_t done = 0;
  for (const auto& run : runs) {
    const std::int64_t end = std::min(run.end + reach, n_cols_);
    for (auto c = std::max(done, run.begin - reach); c < end; ++c) mask[c] |= mask_bit::halo;
    done = std::max(done, end);
  }
}

void MaskHalo::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    held_.append(chunk, r);
    const std::int64_t row = held_.end() - 1;
    const auto runs_of = [this](std::int64_t of) -> Array<Run>& {
      return runs_[static_cast<std::size_t>(of) % runs_.size()];
    };
    find_bright(held_.values(row), held_.mask(row), runs_of(row));
    flag(held_.mask(row), runs_of(row), 0);
    for (auto other = held_.begin(); other < row; ++other) {
      flag(held_.mask(row), runs_of(other), row - other);
      flag(held_.mask(other), runs_of(row), row - other);
    }
    if (held_.is_full()) held_.send_first(output);
  }
}

void MaskHalo::finish(StageOutput& output) {
  while (held_.begin() < held_.end()) held_.send_first(output);
}

}  // namespace skipstream
