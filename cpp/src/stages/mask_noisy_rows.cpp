#include "skipstream/stages/mask_noisy_rows.hpp"

#include <cmath>
#include <span>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/location.hpp"

namespace skipstream {

StagePlan MaskNoisyRows::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  if (!config_.max_noise && config_.max_outside >= 1) {
    throw ConfigError("mask_noisy_rows: flags nothing; give max_noise or max_outside");
  }
  begin_col_ = image.begin_active_col();
  end_col_ = image.end_active_col();
  values_.reserve(static_cast<std::size_t>(image.n_cols));
  work_.resize(static_cast<std::size_t>(image.n_cols));
  return {.planes = planes,
          .delay_rows = 0,
          .state_bytes = 2 * image.n_cols * static_cast<std::int64_t>(sizeof(double)),
          .barrier = false,
          .tables = {}};
}

bool MaskNoisyRows::is_noisy(const PixelChunk& chunk, std::int64_t r) {
  const auto row = chunk.row(0, r);
  const auto mask = chunk.mask_row(r);
  values_.clear();
  for (auto c = begin_col_; c < end_col_; ++c) {
    const auto i = static_cast<std::size_t>(c);
    if ((mask[i] & unusable_bits) == 0 && !std::isnan(row[i])) values_.push_back(row[i]);
  }
  if (values_.empty()) return false;
  const auto location = kernels::median_and_mad(values_, work_);
  if (config_.max_noise && location.sigma > *config_.max_noise) return true;
  std::size_t n_outside = 0;
  for (const double value : values_) {
    n_outside += std::fabs(value - location.value) > config_.window ? 1U : 0U;
  }
  return static_cast<double>(n_outside) > config_.max_outside * static_cast<double>(values_.size());
}

void MaskNoisyRows::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    if (!is_noisy(chunk, r)) continue;
    for (auto& bits : chunk.mask_row(r)) bits |= mask_bit::noisy_row;
    ++n_noisy_;
  }
  output.push(chunk);
}

std::vector<Finding> MaskNoisyRows::findings() const {
  return {{"noisy_rows", static_cast<double>(n_noisy_), "", "rows that were flagged"}};
}

}  // namespace skipstream
