#include "skipstream/stages/mask_bleeding.hpp"

#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskBleeding::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  last_rows_.assign(static_cast<std::size_t>(image.n_cols), -1);
  return {.planes = planes,
          .delay_rows = 0,
          .state_bytes = image.n_cols * static_cast<std::int64_t>(sizeof(std::int64_t)),
          .barrier = false,
          .tables = {}};
}

void MaskBleeding::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    const auto values = chunk.row(0, r);
    const auto mask = chunk.mask_row(r);
    std::int64_t last_col = -1;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto c = static_cast<std::int64_t>(i);
      const bool is_bright = (mask[i] & unusable_bits) == 0 && values[i] >= config_.threshold;
      if (c <= last_col || row <= last_rows_[i]) mask[i] |= mask_bit::bleed;
      if (!is_bright) continue;
      last_col = c + config_.columns;
      last_rows_[i] = row + config_.rows;
    }
  }
  output.push(chunk);
}

}  // namespace skipstream
