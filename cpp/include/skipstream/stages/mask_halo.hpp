#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/row_ring.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

enum class HaloShape : std::uint8_t { circle, box };
constexpr auto choice_names(HaloShape /*choice*/) {
  return std::array<std::string_view, 2>{"circle", "box"};
}

/// Flags the pixels around bright ones, or around clusters. Rows wait until the rows that may
/// reach them are there.
class MaskHalo : public PixelStage {
 public:
  static constexpr StageTitle title{"mask_halo",
                                    "Flag pixels around bright ones or clusters: HALO."};
  struct Config {
    std::optional<double> threshold;
    HaloShape shape = HaloShape::circle;
    std::int64_t radius = 60;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field(
            "threshold", &C::threshold,
            "A pixel at or above this, in the unit of the pixels, has a halo. Default: the pixels "
            "of clusters have, which find_clusters marks with label_image = true."),
        field("shape", &C::shape,
              "circle: pixels whose centre is within the radius; box: as many rows and columns."),
        field("radius", &C::radius,
              "Of the halo; so many rows are held back. The pixel itself is flagged, too.")
            .unit("pixel")
            .at_least(1)
            .at_most(4096));
  }

  explicit MaskHalo(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  void finish(StageOutput& output) override;

 private:
  struct Run {
    std::int32_t begin;
    std::int32_t end;
  };

  void find_bright(const double* values, const std::uint32_t* mask, Array<Run>& runs) const;
  void flag(std::uint32_t* mask, const Array<Run>& runs, std::int64_t distance);

  Config config_;
  std::int64_t n_cols_ = 0;
  RowRing held_;
  Array<std::int64_t> reaches_;  ///< columns, by distance in rows
  Array<Array<Run>> runs_;       ///< bright ones of the last rows
};

}  // namespace skipstream
