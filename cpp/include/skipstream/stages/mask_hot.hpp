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

/// Excludes active columns and rows of which too many pixels hold charge.
class MaskHot : public PixelStage {
 public:
  static constexpr StageTitle title{
      "mask_hot", "Exclude columns and rows with charge in too many pixels: BADCOL, BADROW."};
  struct Config {
    double threshold = 3.0;
    std::optional<double> below;
    double column_fraction = 0.2;
    double row_fraction = 0.2;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("threshold", &C::threshold,
              "A pixel at or above this, in the unit of the pixels, is hot."),
        field("below", &C::below,
              "Pixels at or above this are not counted as hot: tracks. Default: all are."),
        field("column_fraction", &C::column_fraction,
              "A column is excluded where more than this part of its usable pixels is hot, which "
              "needs the whole image first (a barrier); 1: no column is.")
            .above(0)
            .at_most(1),
        field("row_fraction", &C::row_fraction, "The same for rows.").above(0).at_most(1));
  }

  explicit MaskHot(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void observe(const PixelChunk& chunk) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  struct Count {
    std::int64_t usable = 0;
    std::int64_t hot = 0;
  };

  void count(double value, std::uint32_t mask, Count& in) const;
  [[nodiscard]] static bool exceeds(const Count& count, double fraction);

  Config config_;
  std::int64_t begin_row_ = 0;
  std::int64_t end_row_ = 0;
  std::int64_t begin_col_ = 0;
  std::int64_t end_col_ = 0;
  Array<Count> columns_;
  std::int64_t n_hot_rows_ = 0;
};

}  // namespace skipstream
