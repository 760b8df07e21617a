#include "skipstream/stages/mask_edges.hpp"

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskEdges::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  if (image.n_rows < 0 && config_.rows > 0) {
    throw ConfigError("mask_edges.rows: needs the number of rows beforehand; use rows = 0");
  }
  begin_row_ = image.prescan_rows;
  end_row_ = image.n_rows - image.overscan_rows;
  begin_col_ = image.begin_active_col();
  end_col_ = image.end_active_col();
  return {.planes = planes, .delay_rows = 0, .state_bytes = 0, .barrier = false, .tables = {}};
}

void MaskEdges::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    const bool at_edge =
        config_.rows > 0 && ((row >= begin_row_ && row < begin_row_ + config_.rows) ||
                             (row < end_row_ && row >= end_row_ - config_.rows));
    const auto mask = chunk.mask_row(r);
    for (auto c = begin_col_; c < end_col_; ++c) {
      if (at_edge || c < begin_col_ + config_.columns || c >= end_col_ - config_.columns) {
        mask[static_cast<std::size_t>(c)] |= mask_bit::edge;
      }
    }
  }
  output.push(chunk);
}

}  // namespace skipstream
