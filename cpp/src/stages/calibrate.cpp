#include "skipstream/stages/calibrate.hpp"

#include "skipstream/base/error.hpp"

namespace skipstream {

StagePlan Calibrate::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  gain_ = resolve(config_.gain, image, "calibrate.gain");
  if (!(gain_ > 0)) {
    throw ConfigError("calibrate.gain: must be above 0 ADU/e-; got " + Value(gain_).text() +
                      " for " + image.amplifier);
  }
  const std::string unit = planes.at(0).unit;
  if (unit == "electron") {
    throw ConfigError("calibrate: the pixels are in electrons already; remove the stage");
  }
  StagePlan plan{
      .planes = planes, .delay_rows = 0, .state_bytes = 0, .barrier = false, .tables = {}};
  for (auto& plane : plan.planes) {
    divisors_.push_back(plane.unit == unit         ? gain_
                        : plane.unit == unit + "2" ? gain_ * gain_
                                                   : 1.0);
    if (plane.unit == unit) plane.unit = "electron";
    if (plane.unit == unit + "2") plane.unit = "electron2";
  }
  return plan;
}

void Calibrate::push(PixelChunk& chunk, StageOutput& output) {
  const std::int64_t n = chunk.n_rows * chunk.n_cols;
  for (std::size_t p = 0; p < divisors_.size(); ++p) {
    if (divisors_[p] == 1.0) continue;
    double* values = chunk.planes[p];
    for (std::int64_t i = 0; i < n; ++i) values[i] /= divisors_[p];
  }
  output.push(chunk);
}

std::vector<Finding> Calibrate::findings() const {
  return {{"gain", gain_, "adu/electron", "by which the pixels were divided"}};
}

}  // namespace skipstream
