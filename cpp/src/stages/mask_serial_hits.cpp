#include "skipstream/stages/mask_serial_hits.hpp"

#include <algorithm>

#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskSerialHits::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  n_cols_ = image.n_cols;
  constexpr std::size_t n_sums = 3;
  held_ = RowRing(image, planes.size(), 2);
  sums_.resize(n_sums);
  for (auto& sums : sums_) sums.resize(static_cast<std::size_t>(n_cols_) + 1);
  return {.planes = planes,
          .delay_rows = 1,
          .state_bytes = held_.bytes() +
                         static_cast<std::int64_t>(n_sums * sums_[0].size() * sizeof(std::int64_t)),
          .barrier = false,
          .tables = {}};
}

void MaskSerialHits::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    held_.append(chunk, r);
    const std::int64_t row = held_.end() - 1;
    auto& sums = sums_of(row);
    const double* values = held_.values(row);
    const std::uint32_t* mask = held_.mask(row);
    for (std::int64_t c = 0; c < n_cols_; ++c) {
      const bool is_hit = (mask[c] & unusable_bits) == 0 && values[c] >= config_.threshold;
      const auto i = static_cast<std::size_t>(c);
      sums[i + 1] = sums[i] + (is_hit ? 1 : 0);
    }
    if (row > 0) judge(row - 1);
    if (held_.is_full()) held_.send_first(output);
  }
}

/// The rows before the first and after the last one have no hits.
void MaskSerialHits::judge(std::int64_t row) {
  const auto& before = sums_of(row - 1);
  const auto& own = sums_of(row);
  const auto& after = sums_of(row + 1);
  std::uint32_t* mask = held_.mask(row);
  const std::int64_t beside = config_.windows_beside * config_.window;
  std::int64_t done = 0;
  for (std::int64_t c = 0; c < n_cols_; ++c) {
    const auto from = static_cast<std::size_t>(c);
    if (own[from + 1] == own[from]) continue;
    const std::int64_t end = std::min(c + config_.window, n_cols_);
    const auto to = static_cast<std::size_t>(end);
    if (own[to] - own[from] < config_.min_hits || before[to] - before[from] > config_.max_beside ||
        after[to] - after[from] > config_.max_beside) {
      continue;
    }
    const std::int64_t flagged_end = std::min(end + beside, n_cols_);
    for (auto i = std::max(done, c - beside); i < flagged_end; ++i) mask[i] |= mask_bit::serial_hit;
    done = std::max(done, flagged_end);
  }
}

void MaskSerialHits::finish(StageOutput& output) {
  if (held_.end() > 0) {
    auto& after = sums_of(held_.end());
    std::fill(after.begin(), after.end(), 0);
    judge(held_.end() - 1);
  }
  while (held_.begin() < held_.end()) held_.send_first(output);
}

}  // namespace skipstream
