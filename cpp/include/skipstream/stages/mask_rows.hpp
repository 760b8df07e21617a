#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Excludes rows by hand: their values stay, their mask says BADROW.
class MaskRows : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_rows",
                                    "Exclude rows from pedestals, noise and clusters."};
  struct Config {
    IndexRanges rows;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("rows", &C::rows, "Indices from 0, each alone or as [first, last], both included."));
  }

  explicit MaskRows(Config config) : config_(std::move(config)) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;

 private:
  Config config_;
};

}  // namespace skipstream
