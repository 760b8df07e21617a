#include "skipstream/stages/mask_crowded.hpp"

#include <algorithm>
#include <cmath>

#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskCrowded::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  n_cols_ = image.n_cols;
  const auto radius = static_cast<double>(config_.radius);
  for (double dy = 0; dy <= radius; ++dy) {
    reaches_.push_back(static_cast<std::int64_t>(std::sqrt(radius * radius - dy * dy)));
  }
  const std::int64_t n_held = 2 * config_.radius + 1;
  held_ = RowRing(image, planes.size(), n_held);
  sums_.resize(static_cast<std::size_t>(n_held));
  for (auto& sums : sums_) sums.resize(static_cast<std::size_t>(n_cols_) + 1);
  return {.planes = planes,
          .delay_rows = n_held - 1,
          .state_bytes = held_.bytes() +
                         n_held * (n_cols_ + 1) * static_cast<std::int64_t>(sizeof(std::int64_t)),
          .barrier = false,
          .tables = {}};
}

void MaskCrowded::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    held_.append(chunk, r);
    const std::int64_t row = held_.end() - 1;
    auto& sums = sums_[static_cast<std::size_t>(row) % sums_.size()];
    const double* values = held_.values(row);
    const std::uint32_t* mask = held_.mask(row);
    for (std::int64_t c = 0; c < n_cols_; ++c) {
      const bool is_hit = (mask[c] & unusable_bits) == 0 && values[c] >= config_.threshold &&
                          !(config_.below && values[c] >= *config_.below);
      const auto i = static_cast<std::size_t>(c);
      sums[i + 1] = sums[i] + (is_hit ? 1 : 0);
    }
    if (row >= config_.radius) judge(row - config_.radius);
    if (held_.is_full()) held_.send_first(output);
  }
}

/// The circles around the hits of a row, as far as the image reaches.
void MaskCrowded::judge(std::int64_t row) {
  const auto& own = sums_of(row);
  const std::int64_t first = std::max<std::int64_t>(held_.begin(), row - config_.radius);
  const std::int64_t end = std::min(held_.end(), row + config_.radius + 1);
  for (std::int64_t c = 0; c < n_cols_; ++c) {
    if (own[static_cast<std::size_t>(c) + 1] == own[static_cast<std::size_t>(c)]) continue;
    const auto columns = [this, row, c](std::int64_t other) {
      const std::int64_t reach = reaches_[static_cast<std::size_t>(std::abs(other - row))];
      return std::pair(std::max<std::int64_t>(0, c - reach), std::min(n_cols_, c + reach + 1));
    };
    std::int64_t n_hits = 0;
    for (auto other = first; other < end; ++other) {
      const auto [left, right] = columns(other);
      const auto& sums = sums_of(other);
      n_hits += sums[static_cast<std::size_t>(right)] - sums[static_cast<std::size_t>(left)];
    }
    if (n_hits < config_.min_hits) continue;
    for (auto other = first; other < end; ++other) {
      const auto [left, right] = columns(other);
      std::uint32_t* mask = held_.mask(other);
      for (auto i = left; i < right; ++i) mask[i] |= mask_bit::crowded;
    }
  }
}

void MaskCrowded::finish(StageOutput& output) {
  for (auto row = std::max<std::int64_t>(0, held_.end() - config_.radius); row < held_.end();
       ++row) {
    judge(row);
  }
  while (held_.begin() < held_.end()) held_.send_first(output);
}

}  // namespace skipstream
