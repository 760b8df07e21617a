#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Flags rows whose active pixels scatter too much.
class MaskNoisyRows : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_noisy_rows",
                                    "Flag rows that scatter too much: NOISYROW."};
  struct Config {
    std::optional<double> max_noise;
    double window = 1.0;
    double max_outside = 1.0;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("max_noise", &C::max_noise,
              "A row is flagged where 1.4826 MAD of its usable active pixels is above this, in the "
              "unit of the pixels.")
            .above(0),
        field("window", &C::window,
              "A pixel farther than this from the median of its row, in the unit of the pixels, is "
              "outside.")
            .above(0),
        field("max_outside", &C::max_outside,
              "A row is flagged where more than this part of its usable active pixels is outside; "
              "1: none is.")
            .above(0)
            .at_most(1));
  }

  explicit MaskNoisyRows(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  [[nodiscard]] bool is_noisy(const PixelChunk& chunk, std::int64_t r);

  Config config_;
  std::int64_t begin_col_ = 0;
  std::int64_t end_col_ = 0;
  Array<double> values_;
  Array<double> work_;
  std::int64_t n_noisy_ = 0;
};

}  // namespace skipstream
