#pragma once

#include <functional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// The gain (ADU per electron) of pixels with single electrons. Throws Error where it finds none.
using FitGain = std::function<double(std::span<const float> pixels)>;

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
            "A number, a header keyword, a table of amplifier = number, the name of a file that "
            "skipstream calibrate wrote, such as \"calibration.toml\", or \"fit\": from the single "
            "electrons in the active pixels of the image itself, which needs the whole image first "
            "(a barrier) and 8 bytes per pixel.")
            .unit("ADU/e-")
            .above(0));
  }

  explicit Calibrate(Config config) : config_(std::move(config)) {}

  /// What gain = "fit" calls, once all pixels are there; before `begin`.
  void use(FitGain fit) { fit_ = std::move(fit); }

  /// ADU per electron after `begin`; NaN where it is fitted to the whole image.
  [[nodiscard]] double known_gain() const;

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void observe(const PixelChunk& chunk) override;
  void settle() override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  void set_divisors();

  Config config_;
  FitGain fit_;
  bool is_fitted_ = false;
  std::vector<PlaneInfo> planes_;
  std::int64_t begin_row_ = 0;
  std::int64_t end_row_ = 0;
  std::size_t begin_col_ = 0;
  std::size_t end_col_ = 0;
  Array<float> pixels_;  ///< active and usable, as planes are kept
  double gain_ = 1.0;
  Array<double> divisors_;  ///< per plane
};

}  // namespace skipstream
