#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Excludes columns by hand: their values stay, their mask says BADCOL.
class MaskColumns : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_columns",
                                    "Exclude columns from pedestals, noise and clusters."};
  struct Config {
    IndexRanges columns;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(field("columns", &C::columns,
                            "Indices from 0, each alone or as [first, last], both included."));
  }

  explicit MaskColumns(Config config) : config_(std::move(config)) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;

 private:
  Config config_;
};

}  // namespace skipstream
