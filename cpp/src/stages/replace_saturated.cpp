#include "skipstream/stages/replace_saturated.hpp"

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan ReplaceSaturated::begin(const ImageInfo& /*image*/,
                                  const std::vector<PlaneInfo>& planes) {
  for (first_plane_ = 0; first_plane_ < planes.size(); ++first_plane_) {
    if (planes[first_plane_].name == "first") break;
  }
  if (first_plane_ == planes.size() || first_plane_ == 0) {
    throw ConfigError(
        "replace_saturated: needs the plane \"first\" behind the value; add it to "
        "compress_skips.statistics, such as [\"mean\", \"first\"]");
  }
  StagePlan plan;
  plan.planes = planes;
  return plan;
}

void ReplaceSaturated::push(PixelChunk& chunk, StageOutput& output) {
  double* values = chunk.planes[0];
  const double* first = chunk.planes[first_plane_];
  for (std::int64_t i = 0; i < chunk.n_rows * chunk.n_cols; ++i) {
    if (!(first[i] - values[i] > config_.limit)) continue;
    values[i] = first[i];
    chunk.mask[i] |= mask_bit::saturated;
    ++n_replaced_;
  }
  output.push(chunk);
}

std::vector<Finding> ReplaceSaturated::findings() const {
  return {{"replaced", static_cast<double>(n_replaced_), "pixel",
           "pixels that have the value of their first sample"}};
}

}  // namespace skipstream
