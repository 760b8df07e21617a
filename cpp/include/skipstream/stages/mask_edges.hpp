#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Flags the pixels near the borders of the active region.
class MaskEdges : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_edges", "Flag pixels near the edges: EDGE."};
  struct Config {
    std::int64_t rows = 5;
    std::int64_t columns = 5;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("rows", &C::rows, "Active rows at the first and the last edge.").at_least(0),
        field("columns", &C::columns, "Active columns at the first and the last edge.")
            .at_least(0));
  }

  explicit MaskEdges(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;

 private:
  Config config_;
  std::int64_t begin_row_ = 0;
  std::int64_t end_row_ = 0;
  std::int64_t begin_col_ = 0;
  std::int64_t end_col_ = 0;
};

}  // namespace skipstream
