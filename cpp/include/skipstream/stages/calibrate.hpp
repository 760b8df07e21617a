#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Converts ADU to electrons.
class Calibrate : public PixelStage {
 public:
  static constexpr StageTitle title{"calibrate", "Divide by the gain: ADU become electrons."};
  struct Config {
    Quantity gain{5.3};
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field(
            "gain", &C::gain,
            "A number, a header keyword, a table of amplifier = number, or the name of a file that "
            "skipstream calibrate wrote, such as \"calibration.toml\".")
            .unit("ADU/e-")
            .above(0));
  }

  explicit Calibrate(Config config) : config_(std::move(config)) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  Config config_;
  double gain_ = 1.0;
  std::vector<double> divisors_;  ///< per plane
};

}  // namespace skipstream
