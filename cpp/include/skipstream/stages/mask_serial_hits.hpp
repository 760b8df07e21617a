#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/row_ring.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Flags stretches of a row with several pixels of charge where the rows beside it have hardly any:
/// charge that fell on the serial register.
class MaskSerialHits : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_serial_hits",
                                    "Flag charge that fell on the serial register: SERIALHIT."};
  struct Config {
    double threshold = 0.5;
    std::int64_t window = 30;
    std::int64_t min_hits = 3;
    std::int64_t max_beside = 1;
    std::int64_t windows_beside = 2;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("threshold", &C::threshold,
              "A pixel at or above this, in the unit of the pixels, is a hit."),
        field("window", &C::window, "Columns in which hits are counted, from each hit on.")
            .unit("pixel")
            .at_least(2),
        field("min_hits", &C::min_hits, "So many hits in a window make a serial hit.").at_least(2),
        field("max_beside", &C::max_beside,
              "The rows before and after have at most so many hits in the same columns.")
            .at_least(0),
        field("windows_beside", &C::windows_beside,
              "So many windows to the left and the right of it are flagged, too.")
            .at_least(0));
  }

  explicit MaskSerialHits(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  void finish(StageOutput& output) override;

 private:
  void judge(std::int64_t row);
  Array<std::int64_t>& sums_of(std::int64_t row) {
    return sums_[static_cast<std::size_t>(row + 1) % sums_.size()];
  }

  Config config_;
  std::int64_t n_cols_ = 0;
  RowRing held_;
  Array<Array<std::int64_t>> sums_;  ///< hits in the columns before, of three rows
};

}  // namespace skipstream
