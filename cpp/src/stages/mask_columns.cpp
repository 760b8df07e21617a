#include "skipstream/stages/mask_columns.hpp"

#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan MaskColumns::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  for (const auto& [first, last] : config_.columns.ranges) {
    if (last >= image.n_cols) {
      throw ConfigError("mask_columns.columns: must be below the " + std::to_string(image.n_cols) +
                        " columns of the image; got " + std::to_string(last));
    }
  }
  return {.planes = planes, .delay_rows = 0, .state_bytes = 0, .barrier = false, .tables = {}};
}

void MaskColumns::push(PixelChunk& chunk, StageOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const auto mask = chunk.mask_row(r);
    for (const auto& [first, last] : config_.columns.ranges) {
      for (auto c = first; c <= last; ++c)
        mask[static_cast<std::size_t>(c)] |= mask_bit::bad_column;
    }
  }
  output.push(chunk);
}

}  // namespace skipstream
