#include "skipstream/stages/mask_hot.hpp"

#include <cmath>
#include <limits>

#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskHot::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  begin_row_ = image.prescan_rows;
  end_row_ = image.n_rows < 0 ? std::numeric_limits<std::int64_t>::max()
                              : image.n_rows - image.overscan_rows;
  begin_col_ = image.begin_active_col();
  end_col_ = image.end_active_col();
  columns_.resize(static_cast<std::size_t>(image.n_cols));
  return {.planes = planes,
          .delay_rows = 0,
          .state_bytes = static_cast<std::int64_t>(columns_.size() * sizeof(Count)),
          .barrier = config_.column_fraction < 1,
          .tables = {}};
}

void MaskHot::count(double value, std::uint32_t mask, Count& in) const {
  if ((mask & unusable_bits) != 0 || std::isnan(value)) return;
  ++in.usable;
  if (value >= config_.threshold && !(config_.below && value >= *config_.below)) ++in.hot;
}

bool MaskHot::exceeds(const Count& count, double fraction) {
  return static_cast<double>(count.hot) > fraction * static_cast<double>(count.usable);
}

void MaskHot::observe(const PixelChunk& chunk) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    if (row < begin_row_ || row >= end_row_) continue;
    const auto values = chunk.row(0, r);
    const auto mask = chunk.mask_row(r);
    for (auto c = begin_col_; c < end_col_; ++c) {
      const auto i = static_cast<std::size_t>(c);
      count(values[i], mask[i], columns_[i]);
    }
  }
}

void MaskHot::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    const auto values = chunk.row(0, r);
    const auto mask = chunk.mask_row(r);
    Count in_row;
    for (auto c = begin_col_; c < end_col_; ++c) {
      const auto i = static_cast<std::size_t>(c);
      count(values[i], mask[i], in_row);
    }
    const bool is_active = row >= begin_row_ && row < end_row_;
    if (is_active && exceeds(in_row, config_.row_fraction)) {
      for (auto& bits : mask) bits |= mask_bit::bad_row;
      ++n_hot_rows_;
    }
    for (std::size_t c = 0; c < mask.size(); ++c) {
      if (exceeds(columns_[c], config_.column_fraction)) mask[c] |= mask_bit::bad_column;
    }
  }
  output.push(chunk);
}

std::vector<Finding> MaskHot::findings() const {
  std::int64_t n_columns = 0;
  for (const auto& column : columns_) n_columns += exceeds(column, config_.column_fraction) ? 1 : 0;
  return {{"hot_columns", static_cast<double>(n_columns), "", "columns that were excluded"},
          {"hot_rows", static_cast<double>(n_hot_rows_), "", "rows that were excluded"}};
}

}  // namespace skipstream
