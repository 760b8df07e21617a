#include "skipstream/stages/mask_rows.hpp"

#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskRows::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  for (const auto& [first, last] : config_.rows.ranges) {
    if (image.n_rows >= 0 && last >= image.n_rows) {
      throw ConfigError("mask_rows.rows: must be below the " + std::to_string(image.n_rows) +
                        " rows of the image; got " + std::to_string(last));
    }
  }
  return {.planes = planes, .delay_rows = 0, .state_bytes = 0, .barrier = false, .tables = {}};
}

void MaskRows::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    for (const auto& [first, last] : config_.rows.ranges) {
      if (chunk.first_row + r < first || chunk.first_row + r > last) continue;
      for (auto& bits : chunk.mask_row(r)) bits |= mask_bit::bad_row;
    }
  }
  output.push(chunk);
}

}  // namespace skipstream
