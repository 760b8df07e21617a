#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Flags the pixels into which a bright one bleeds: those read after it, in its row and column.
class MaskBleeding : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_bleeding",
                                    "Flag pixels that are read after a bright one: BLEED."};
  struct Config {
    double threshold = 100.0;
    std::int64_t columns = 50;
    std::int64_t rows = 50;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("threshold", &C::threshold,
              "A pixel at or above this, in the unit of the pixels, bleeds."),
        field("columns", &C::columns, "Pixels after it in its row that are flagged.").at_least(0),
        field("rows", &C::rows, "Pixels after it in its column that are flagged.").at_least(0));
  }

  explicit MaskBleeding(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;

 private:
  Config config_;
  Array<std::int64_t> last_rows_;  ///< of each column that are flagged
};

}  // namespace skipstream
