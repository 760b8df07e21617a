#include "skipstream/stages/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <variant>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"

namespace skipstream {

StagePlan Calibrate::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  const auto* word = std::get_if<std::string>(&config_.gain.source);
  is_fitted_ = word != nullptr && *word == "fit";
  if (is_fitted_) {
    if (!fit_ || image.n_rows < 0) {
      throw ConfigError(std::string("calibrate.gain: \"fit\" needs ") +
                        (fit_ ? "the number of rows beforehand" : "a function that fits") +
                        "; give a number, a header keyword, or a calibration file");
    }
    begin_row_ = image.prescan_rows;
    end_row_ = image.n_rows - image.overscan_rows;
    begin_col_ = static_cast<std::size_t>(image.begin_active_col());
    end_col_ = static_cast<std::size_t>(image.end_active_col());
    pixels_.reserve(static_cast<std::size_t>(std::max<std::int64_t>(0, end_row_ - begin_row_)) *
                    (end_col_ - begin_col_));
  } else {
    gain_ = resolve(config_.gain, image, "calibrate.gain");
    if (!(gain_ > 0)) {
      throw ConfigError("calibrate.gain: must be above 0 ADU/e-; got " + Value(gain_).text() +
                        " for " + image.amplifier);
    }
  }
  if (planes.at(0).unit == "electron") {
    throw ConfigError("calibrate: the pixels are in electrons already; remove the stage");
  }
  planes_ = planes;
  if (!is_fitted_) set_divisors();
  StagePlan plan{.planes = planes,
                 .delay_rows = 0,
                 .state_bytes = static_cast<std::int64_t>(pixels_.capacity() * sizeof(float)),
                 .barrier = is_fitted_,
                 .tables = {}};
  const std::string unit = planes.at(0).unit;
  for (auto& plane : plan.planes) {
    if (plane.unit == unit) plane.unit = "electron";
    if (plane.unit == unit + "2") plane.unit = "electron2";
  }
  return plan;
}

double Calibrate::known_gain() const {
  return is_fitted_ ? std::numeric_limits<double>::quiet_NaN() : gain_;
}

void Calibrate::set_divisors() {
  const std::string& unit = planes_.at(0).unit;
  for (const auto& plane : planes_) {
    divisors_.push_back(plane.unit == unit         ? gain_
                        : plane.unit == unit + "2" ? gain_ * gain_
                                                   : 1.0);
  }
}

void Calibrate::observe(const PixelChunk& chunk) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    if (row < begin_row_ || row >= end_row_) continue;
    const auto values = chunk.row(0, r);
    const auto mask = chunk.mask_row(r);
    for (auto c = begin_col_; c < end_col_; ++c) {
      const bool usable = (mask[c] & (unusable_bits | mask_bit::saturated)) == 0;
      const auto value = static_cast<float>(values[c]);
      if (usable && std::isfinite(value)) pixels_.push_back(value);
    }
  }
}

void Calibrate::settle() {
  gain_ = fit_(pixels_);
  if (!(gain_ > 0) || !std::isfinite(gain_)) {
    throw Error("calibrate.gain: the fit gave " + Value(gain_).text() + " ADU/e-");
  }
  set_divisors();
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
  return {{"gain", gain_, "adu/electron",
           is_fitted_ ? "fitted to single electrons" : "by which the pixels were divided"}};
}

}  // namespace skipstream
