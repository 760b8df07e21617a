#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"
#include "skipstream/kernels/location.hpp"

namespace skipstream {

enum class PedestalMethod : std::uint8_t { mean, median, gaussian_fit, clipped_mean, lowest_peak };
constexpr auto choice_names(PedestalMethod /*choice*/) {
  return std::array<std::string_view, 5>{"mean", "median", "gaussian_fit", "clipped_mean",
                                         "lowest_peak"};
}

enum class PedestalRegion : std::uint8_t { automatic, overscan, active };
constexpr auto choice_names(PedestalRegion /*choice*/) {
  return std::array<std::string_view, 3>{"auto", "overscan", "active"};
}

enum class PedestalAxis : std::uint8_t { row, column, both };
constexpr auto choice_names(PedestalAxis /*choice*/) {
  return std::array<std::string_view, 3>{"row", "column", "both"};
}

enum class BetweenRows : std::uint8_t { step, line, spline };
constexpr auto choice_names(BetweenRows /*choice*/) {
  return std::array<std::string_view, 3>{"step", "line", "spline"};
}

/// Estimates the pedestal of rows, columns or both, and subtracts it from every location plane.
class SubtractPedestal : public PixelStage {
 public:
  static constexpr StageTitle title{
      "subtract_pedestal", "Estimate the pedestal of each row or column, and subtract it."};
  struct Config {
    PedestalMethod method = PedestalMethod::median;
    PedestalRegion region = PedestalRegion::automatic;
    PedestalAxis axis = PedestalAxis::row;
    BetweenRows between_rows = BetweenRows::step;
    std::int64_t rebin_rows = 1;
    std::optional<double> n_sigma_to_mask;
    bool mask_left = true;
    bool mask_right = true;
    double clip_sigma = 3.0;
    std::int64_t clip_iterations = 5;
    double fit_window = 3.0;
    IndexRanges skip_columns;
    IndexRanges skip_rows;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("method", &C::method,
              "How the pedestal is estimated; gaussian_fit fits a histogram and falls back to the "
              "median where the fit fails; lowest_peak is the place of empty pixels among single "
              "electrons, for much dark current or no overscan."),
        field("region", &C::region,
              "Columns that a row's pedestal comes from; auto: the overscan where it has at least "
              "3 columns, else the active columns."),
        field("axis", &C::axis,
              "row streams; column and both need the whole image (a barrier) and, but for the mean "
              "without n_sigma_to_mask, 8 bytes per pixel. Columns use all rows; both subtracts "
              "the rows first."),
        field(
            "between_rows", &C::between_rows,
            "How the pedestal goes from row to row, with axis = \"row\". step: one number for a "
            "row. line: along the columns from the pedestal of the row before, which was measured "
            "at its end, to the row's own. spline: a natural cubic spline through the pedestals "
            "at the times they were read, r + (c - middle of the region) / n_cols, which needs "
            "the whole image (a barrier) and spans rows without a pedestal; with fewer than 4 "
            "pedestals, their mean."),
        field("rebin_rows", &C::rebin_rows, "Rows that share one estimate; the last may be fewer.")
            .unit("rows")
            .at_least(1),
        field("n_sigma_to_mask", &C::n_sigma_to_mask,
              "Before the estimate, leave out pixels farther than this from the median, in units "
              "of 1.4826 MAD.")
            .unit("sigma")
            .above(0),
        field("mask_left", &C::mask_left, "n_sigma_to_mask leaves out low pixels."),
        field("mask_right", &C::mask_right, "n_sigma_to_mask leaves out high pixels."),
        field("clip_sigma", &C::clip_sigma, "clipped_mean leaves out pixels beyond this.")
            .unit("sigma")
            .above(0),
        field("clip_iterations", &C::clip_iterations, "clipped_mean clips at most this often.")
            .at_least(1),
        field("fit_window", &C::fit_window,
              "gaussian_fit uses pixels within this of the median, in units of 1.4826 MAD.")
            .unit("sigma")
            .above(0.5),
        field("skip_columns", &C::skip_columns, "Columns left out of the estimate of rows."),
        field("skip_rows", &C::skip_rows, "Rows left out of the estimate of columns."));
  }

  explicit SubtractPedestal(Config config) : config_(std::move(config)) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void observe(const PixelChunk& chunk) override;
  void settle() override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  void finish(StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  struct Pedestal {
    double value = 0.0;
    bool known = false;
  };

  void begin_region(const ImageInfo& image);
  [[nodiscard]] std::optional<kernels::Location> estimate(std::span<double> values);
  [[nodiscard]] Pedestal estimate_rows(const PixelChunk& rows);
  void subtract(const PixelChunk& chunk, std::int64_t r, Pedestal pedestal) const;
  void subtract_line(const PixelChunk& chunk, std::int64_t r, Pedestal pedestal);
  void subtract_spline(const PixelChunk& chunk, std::int64_t r);
  void subtract_along(const PixelChunk& chunk, std::int64_t r) const;
  void subtract_columns(const PixelChunk& chunk, std::int64_t r) const;
  void settle_spline();
  void collect_columns(std::span<const double> values, std::span<const std::uint32_t> mask,
                       double pedestal);
  void close_observed_group();
  void emit_held(StageOutput& output);
  [[nodiscard]] PixelChunk held_rows();

  Config config_;
  std::vector<PlaneInfo> planes_;
  std::int64_t n_cols_ = 0;
  Array<std::uint8_t> in_region_;    ///< per column
  Array<std::uint8_t> skipped_row_;  ///< of the group that is observed
  Array<double> values_;             ///< of the region of one group, or of one column
  Array<double> work_;
  Array<double> bins_;

  // Rows that wait for the rest of their group.
  Array<double> held_;
  Array<std::uint32_t> held_mask_;
  Array<double*> held_planes_;
  std::int64_t n_held_ = 0;
  std::int64_t first_held_row_ = 0;

  // What the barrier gathers.
  bool keep_values_ = false;
  Array<Pedestal> row_pedestals_;  ///< per group
  Array<double> column_values_;    ///< (n_rows, n_cols), NaN: left out
  Array<double> column_sums_;
  Array<double> column_shifts_;  ///< first value of each column
  Array<std::int64_t> column_counts_;
  Array<Pedestal> column_pedestals_;

  // Between rows.
  Pedestal previous_;         ///< of the row before
  Array<double> along_row_;   ///< what is subtracted from each column
  Array<double> node_times_;  ///< in rows
  Array<double> node_values_;
  Array<double> curvatures_;
  std::size_t segment_ = 0;
  double region_middle_ = 0;     ///< column
  std::int64_t n_observed_ = 0;  ///< rows

  double sum_of_pedestals_ = 0.0;
  double sum_of_sigmas_ = 0.0;
  std::int64_t n_estimates_ = 0;
};

}  // namespace skipstream
