#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/row_ring.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Flags circles in which more pixels hold a little charge than chance would put there.
class MaskCrowded : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_crowded",
                                    "Flag regions crowded with small charges: CROWDED."};
  struct Config {
    double threshold = 0.5;
    std::optional<double> below;
    std::int64_t radius = 20;
    std::int64_t min_hits = 10;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("threshold", &C::threshold,
              "A pixel at or above this, in the unit of the pixels, is a hit."),
        field("below", &C::below, "Pixels at or above this are no hits. Default: all are."),
        field(
            "radius", &C::radius,
            "Of the circle around each hit in which hits are counted, and which is flagged; twice "
            "so many rows are held back.")
            .unit("pixel")
            .at_least(1)
            .at_most(2048),
        field("min_hits", &C::min_hits,
              "So many hits in the circle, with the one in its middle, are a crowd.")
            .at_least(2));
  }

  explicit MaskCrowded(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  void finish(StageOutput& output) override;

 private:
  void judge(std::int64_t row);
  const Array<std::int64_t>& sums_of(std::int64_t row) const {
    return sums_[static_cast<std::size_t>(row) % sums_.size()];
  }

  Config config_;
  std::int64_t n_cols_ = 0;
  RowRing held_;
  Array<std::int64_t> reaches_;      ///< columns, by distance in rows
  Array<Array<std::int64_t>> sums_;  ///< hits in the columns before, of the held rows
};

}  // namespace skipstream
