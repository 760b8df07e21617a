#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Bits of the clusters' column "flags".
namespace cluster_flag {
inline constexpr std::int64_t saturated = 1;      ///< a pixel is saturated
inline constexpr std::int64_t missing_skips = 2;  ///< samples of a pixel are missing
inline constexpr std::int64_t pixels_lost = 4;    ///< not all pixels are in table cluster_pixels
}  // namespace cluster_flag

enum class ThresholdUnit : std::uint8_t { sigma, absolute };
constexpr auto choice_names(ThresholdUnit /*unit*/) {
  return std::array<std::string_view, 2>{"sigma", "absolute"};
}

/// Connected pixels above a threshold, one table row per cluster, as the rows stream by.
///
/// Held are the clusters that reach the current row (the last link_distance rows): memory is
/// O(columns), however many rows they span. Sums grow row by row, from left to right, relative to
/// the cluster's first pixel, and parts that meet are joined at that place of the raster: the
/// result does not depend on chunks. Only a label image needs more memory: up to 4 bytes per pixel.
/// Coordinates are 0-based, in the full image: x the column (prescan included), y the row.
class FindClusters : public PixelStage {
 public:
  static constexpr StageTitle title{"find_clusters",
                                    "Find connected pixels above a threshold, and measure them."};
  struct Config {
    Quantity threshold{4.0};
    Quantity seed{10.0};
    bool require_seed = true;
    ThresholdUnit threshold_unit = ThresholdUnit::sigma;
    Quantity noise{std::string("measured")};
    std::int64_t connectivity = 8;
    std::optional<double> link_distance;
    std::int64_t min_pixels = 1;
    std::optional<double> min_charge;
    double energy_per_electron = 3.74;
    bool keep_pixels = false;
    std::int64_t max_pixels = 1 << 20;
    bool label_image = false;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("threshold", &C::threshold,
              "Pixels at or above this, in threshold_unit, belong to a cluster: a number, a header "
              "keyword, or a table amplifier = number."),
        field("seed", &C::seed,
              "A pixel at or above this, in threshold_unit, is a seed; given like threshold."),
        field("require_seed", &C::require_seed, "Leave out clusters without a seed."),
        field(
            "threshold_unit", &C::threshold_unit,
            "sigma: threshold and seed are multiples of the noise; absolute: they are in the unit "
            "of the pixels."),
        field("noise", &C::noise,
              "Standard deviation of an empty pixel, in the unit of the pixels: a number, a header "
              "keyword, a table amplifier = number, or \"measured\": the mean over rows of 1.4826 "
              "MAD of the overscan (of the active pixels where the overscan has less than 3 "
              "columns), which needs the whole image first. With absolute thresholds \"measured\" "
              "measures nothing, and n_sigma_min and n_sigma_max are NaN."),
        field("connectivity", &C::connectivity,
              "4: pixels that share an edge are connected; 8: those that share a corner, too.")
            .at_least(4)
            .at_most(8),
        field("link_distance", &C::link_distance,
              "In place of connectivity: pixels whose centres are at most this far apart belong "
              "together, whatever lies between them (single linkage). 1 is connectivity 4, 1.5 is "
              "connectivity 8.")
            .unit("pixel")
            .at_least(1)
            .at_most(64),
        field("min_pixels", &C::min_pixels, "Leave out clusters with fewer pixels.")
            .unit("pixel")
            .at_least(1),
        field("min_charge", &C::min_charge,
              "Leave out clusters with less charge. Default: keep all."),
        field("energy_per_electron", &C::energy_per_electron,
              "Energy that frees one electron; energy_kev is NaN for pixels in another unit than "
              "electrons.")
            .unit("eV/e-")
            .above(0),
        field("keep_pixels", &C::keep_pixels, "Also make the table cluster_pixels."),
        field("max_pixels", &C::max_pixels,
              "keep_pixels holds at most so many pixels of clusters that are still open; a cluster "
              "that loses pixels is flagged.")
            .unit("pixel")
            .at_least(1)
            .at_most(1e9),
        field("label_image", &C::label_image,
              "Add the plane \"label\": the cluster_id of each pixel, 0 outside of the clusters of "
              "the table. It needs the whole image first, and so a noise that is not measured."));
  }

  explicit FindClusters(Config config);
  FindClusters(const FindClusters&) = delete;
  FindClusters& operator=(const FindClusters&) = delete;
  ~FindClusters() override;

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void observe(const PixelChunk& chunk) override;
  void settle() override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  void finish(StageOutput& output) override;
  void complete_table(std::size_t table, std::span<Cell> cells) const override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  class Finder;

  Config config_;
  std::unique_ptr<Finder> finder_;  ///< null before begin
};

}  // namespace skipstream
