#include "skipstream/stages/subtract_pedestal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/base/memory.hpp"
#include "skipstream/kernels/spline.hpp"

namespace skipstream {

namespace {

constexpr std::size_t max_bins = 1000;

bool contains(const IndexRanges& indices, std::int64_t index) {
  return std::any_of(indices.ranges.begin(), indices.ranges.end(), [&](const auto& range) {
    return range.first <= index && index <= range.second;
  });
}

template <class... T>
std::int64_t bytes_of(const Array<T>&... arrays) {
  return static_cast<std::int64_t>(((arrays.capacity() * sizeof(T)) + ... + 0U));
}

}  // namespace

StagePlan SubtractPedestal::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  planes_ = planes;
  n_cols_ = image.n_cols;
  begin_region(image);
  const auto n_cols = static_cast<std::size_t>(n_cols_);
  const bool of_columns = config_.axis != PedestalAxis::row;
  const bool spline = config_.between_rows == BetweenRows::spline;
  const bool barrier = of_columns || spline;
  const auto group = static_cast<std::size_t>(config_.rebin_rows);
  if (config_.between_rows != BetweenRows::step) {
    const std::string where = "subtract_pedestal.between_rows: ";
    if (of_columns) {
      throw ConfigError(where + "line and spline need axis = \"row\"; for columns, too, add a " +
                        "second subtract_pedestal with axis = \"column\"");
    }
    if (!spline && config_.rebin_rows > 1) {
      throw ConfigError(where + "line needs rebin_rows = 1; use \"spline\"");
    }
    along_row_.resize(n_cols);
  }

  keep_values_ =
      of_columns && (config_.method != PedestalMethod::mean || config_.n_sigma_to_mask.has_value());
  if ((keep_values_ || spline) && image.n_rows < 0) {
    throw ConfigError(
        spline ? "subtract_pedestal.between_rows: spline needs the number of rows beforehand; use "
                 "\"line\""
               : "subtract_pedestal.axis: column and both keep every pixel, so the number of rows "
                 "must be known beforehand; use axis = \"row\", or method = \"mean\" without "
                 "n_sigma_to_mask");
  }
  const bool holds = barrier ? config_.axis != PedestalAxis::column : group > 1;
  const std::size_t n_planes = barrier ? 1 : planes.size();
  const std::size_t column_bytes =
      (of_columns ? sizeof(Pedestal) : 0) +
      group * (sizeof(double) + (holds ? n_planes * sizeof(double) + sizeof(std::uint32_t) : 0));
  require_memory(image, static_cast<std::int64_t>(n_cols * column_bytes));
  const auto n_rows = static_cast<std::size_t>(std::max<std::int64_t>(image.n_rows, 0));
  if (of_columns) {
    column_pedestals_.resize(n_cols);
    if (keep_values_) {
      column_values_.reserve(n_rows * n_cols);
    } else {
      column_sums_.resize(n_cols);
      column_shifts_.resize(n_cols);
      column_counts_.resize(n_cols);
    }
  }
  if (config_.axis == PedestalAxis::both || spline) skipped_row_.resize(group);
  if (config_.axis == PedestalAxis::both) row_pedestals_.reserve(n_rows / group + 1);
  if (spline) {
    for (auto* nodes : {&node_times_, &node_values_, &curvatures_}) {
      nodes->reserve(n_rows / group + 1);
    }
  }
  if (holds) {
    held_.resize(group * n_cols * n_planes);
    held_mask_.resize(group * n_cols);
    for (std::size_t p = 0; p < n_planes; ++p) {
      held_planes_.push_back(held_.data() + p * group * n_cols);
    }
  }
  values_.reserve(std::max(group * n_cols, keep_values_ || spline ? n_rows : 0));
  work_.resize(values_.capacity());
  if (config_.method == PedestalMethod::gaussian_fit) bins_.resize(max_bins);
  if (config_.method == PedestalMethod::lowest_peak) bins_.resize(2 * max_bins);
  return {.planes = planes,
          .delay_rows = barrier ? 0 : config_.rebin_rows - 1,
          .state_bytes =
              bytes_of(in_region_, values_, work_, bins_, held_, held_mask_, row_pedestals_,
                       column_values_, column_sums_, column_shifts_, column_counts_,
                       column_pedestals_, along_row_, node_times_, node_values_, curvatures_),
          .barrier = barrier,
          .tables = {}};
}

void SubtractPedestal::begin_region(const ImageInfo& image) {
  if (config_.region == PedestalRegion::overscan && image.overscan_cols == 0) {
    throw ConfigError(
        "subtract_pedestal.region: \"overscan\", but the image has none; set overscan_cols in "
        "[input], or use \"active\"");
  }
  const bool overscan = config_.region == PedestalRegion::overscan ||
                        (config_.region == PedestalRegion::automatic && image.overscan_cols >= 3);
  const std::int64_t begin = overscan ? image.end_active_col() : image.begin_active_col();
  const std::int64_t end = overscan ? image.n_cols : image.end_active_col();
  in_region_.resize(static_cast<std::size_t>(n_cols_));
  double sum = 0;
  double n = 0;
  for (std::int64_t c = begin; c < end; ++c) {
    if (contains(config_.skip_columns, c)) continue;
    in_region_[static_cast<std::size_t>(c)] = 1;
    sum += static_cast<double>(c);
    n += 1;
  }
  region_middle_ = n > 0 ? sum / n : 0;
}

std::optional<kernels::Location> SubtractPedestal::estimate(std::span<double> values) {
  if (values.size() >= 2 && config_.n_sigma_to_mask) {
    const auto rough = kernels::median_and_mad(values, work_);
    const double reach = *config_.n_sigma_to_mask * rough.sigma;
    const auto kept = std::remove_if(values.begin(), values.end(), [&](double value) {
      return (config_.mask_left && value < rough.value - reach) ||
             (config_.mask_right && value > rough.value + reach);
    });
    values = values.first(static_cast<std::size_t>(kept - values.begin()));
  }
  if (values.size() < 2) return std::nullopt;
  switch (config_.method) {
    case PedestalMethod::mean:
      return kernels::mean_and_std(values);
    case PedestalMethod::clipped_mean:
      return kernels::clipped_mean(values, config_.clip_sigma, config_.clip_iterations);
    case PedestalMethod::gaussian_fit:
      if (const auto fitted = kernels::fit_gaussian(values, work_, bins_, config_.fit_window)) {
        return fitted;
      }
      break;
    case PedestalMethod::lowest_peak:
      return kernels::lowest_peak(values, std::span(bins_).first(max_bins),
                                  std::span(bins_).last(max_bins));
    case PedestalMethod::median:
      break;
  }
  return kernels::median_and_mad(values, work_);
}

/// One estimate for all rows of a group.
SubtractPedestal::Pedestal SubtractPedestal::estimate_rows(const PixelChunk& rows) {
  values_.clear();
  for (std::int64_t r = 0; r < rows.n_rows; ++r) {
    const auto row = rows.row(0, r);
    const auto mask = rows.mask_row(r);
    for (std::size_t c = 0; c < row.size(); ++c) {
      const bool usable =
          in_region_[c] != 0 && (mask[c] & unusable_bits) == 0 && !std::isnan(row[c]);
      if (usable) values_.push_back(row[c]);
    }
  }
  const auto location = estimate(values_);
  if (!location) return {};
  sum_of_pedestals_ += location->value;
  sum_of_sigmas_ += location->sigma;
  ++n_estimates_;
  return {location->value, true};
}

void SubtractPedestal::subtract(const PixelChunk& chunk, std::int64_t r, Pedestal pedestal) const {
  if (!pedestal.known) {
    for (auto& bits : chunk.mask_row(r)) bits |= mask_bit::no_pedestal;
    return;
  }
  for (std::size_t p = 0; p < planes_.size(); ++p) {
    if (planes_[p].kind != PlaneKind::location) continue;
    for (double& value : chunk.row(p, r)) value -= pedestal.value;
  }
}

/// From the pedestal of the row before at the first column to that of the row at the last one.
void SubtractPedestal::subtract_line(const PixelChunk& chunk, std::int64_t r, Pedestal pedestal) {
  const Pedestal before = previous_.known ? previous_ : pedestal;
  previous_ = pedestal;
  if (!pedestal.known) {
    subtract(chunk, r, pedestal);
    return;
  }
  const auto steps = static_cast<double>(std::max<std::int64_t>(1, n_cols_ - 1));
  for (std::size_t c = 0; c < along_row_.size(); ++c) {
    along_row_[c] =
        before.value + (pedestal.value - before.value) * (static_cast<double>(c) / steps);
  }
  subtract_along(chunk, r);
}

void SubtractPedestal::subtract_spline(const PixelChunk& chunk, std::int64_t r) {
  if (node_times_.empty()) {
    subtract(chunk, r, {});
    return;
  }
  const double start = static_cast<double>(chunk.first_row + r);
  const auto n_cols = static_cast<double>(n_cols_);
  for (std::size_t c = 0; c < along_row_.size(); ++c) {
    const double time = start + (static_cast<double>(c) - region_middle_) / n_cols;
    along_row_[c] = node_times_.size() == 1 ? node_values_[0]
                                            : kernels::spline_at(node_times_, node_values_,
                                                                 curvatures_, time, segment_);
  }
  subtract_along(chunk, r);
}

void SubtractPedestal::subtract_along(const PixelChunk& chunk, std::int64_t r) const {
  for (std::size_t p = 0; p < planes_.size(); ++p) {
    if (planes_[p].kind != PlaneKind::location) continue;
    const auto row = chunk.row(p, r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] -= along_row_[c];
  }
}

void SubtractPedestal::subtract_columns(const PixelChunk& chunk, std::int64_t r) const {
  for (std::size_t p = 0; p < planes_.size(); ++p) {
    if (planes_[p].kind != PlaneKind::location) continue;
    const auto row = chunk.row(p, r);
    for (std::size_t c = 0; c < row.size(); ++c) row[c] -= column_pedestals_[c].value;
  }
  const auto mask = chunk.mask_row(r);
  for (std::size_t c = 0; c < mask.size(); ++c) {
    if (!column_pedestals_[c].known) mask[c] |= mask_bit::no_pedestal;
  }
}

void SubtractPedestal::collect_columns(std::span<const double> values,
                                       std::span<const std::uint32_t> mask, double pedestal) {
  for (std::size_t c = 0; c < values.size(); ++c) {
    const bool usable = (mask[c] & unusable_bits) == 0 && !std::isnan(values[c]);
    const double value = usable ? values[c] - pedestal : std::numeric_limits<double>::quiet_NaN();
    if (keep_values_) {
      column_values_.push_back(value);
    } else if (usable) {
      if (column_counts_[c]++ == 0) column_shifts_[c] = value;
      column_sums_[c] += value - column_shifts_[c];
    }
  }
}

void SubtractPedestal::observe(const PixelChunk& chunk) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::int64_t row = chunk.first_row + r;
    const bool skipped = contains(config_.skip_rows, row);
    if (config_.axis == PedestalAxis::column) {
      if (!skipped) collect_columns(chunk.row(0, r), chunk.mask_row(r), 0.0);
      continue;
    }
    skipped_row_[static_cast<std::size_t>(n_held_)] = skipped ? 1 : 0;
    std::copy_n(chunk.row(0, r).begin(), n_cols_, held_.begin() + n_held_ * n_cols_);
    std::copy_n(chunk.mask_row(r).begin(), n_cols_, held_mask_.begin() + n_held_ * n_cols_);
    if (++n_held_ == config_.rebin_rows) close_observed_group();
  }
}

PixelChunk SubtractPedestal::held_rows() {
  return {held_planes_, held_mask_.data(), first_held_row_, n_held_, n_cols_};
}

void SubtractPedestal::close_observed_group() {
  const PixelChunk rows = held_rows();
  const Pedestal pedestal = estimate_rows(rows);
  n_observed_ += n_held_;
  if (config_.between_rows == BetweenRows::spline) {
    if (pedestal.known) {
      node_times_.push_back(static_cast<double>(n_observed_) -
                            static_cast<double>(n_held_ + 1) / 2.0);
      node_values_.push_back(pedestal.value);
    }
    n_held_ = 0;
    return;
  }
  row_pedestals_.push_back(pedestal);
  for (std::int64_t r = 0; r < rows.n_rows; ++r) {
    if (skipped_row_[static_cast<std::size_t>(r)] != 0) continue;
    collect_columns(rows.row(0, r), rows.mask_row(r), pedestal.value);
  }
  n_held_ = 0;
}

void SubtractPedestal::settle() {
  if (n_held_ > 0) close_observed_group();
  if (config_.between_rows == BetweenRows::spline) {
    settle_spline();
    return;
  }
  const auto n_cols = static_cast<std::size_t>(n_cols_);
  for (std::size_t c = 0; c < n_cols; ++c) {
    if (!keep_values_) {
      if (column_counts_[c] >= 2) {
        column_pedestals_[c] = {
            column_shifts_[c] + column_sums_[c] / static_cast<double>(column_counts_[c]), true};
      }
      continue;
    }
    values_.clear();
    for (std::size_t i = c; i < column_values_.size(); i += n_cols) {
      if (!std::isnan(column_values_[i])) values_.push_back(column_values_[i]);
    }
    if (const auto location = estimate(values_)) column_pedestals_[c] = {location->value, true};
  }
}

void SubtractPedestal::settle_spline() {
  constexpr std::size_t min_nodes = 4;
  const std::size_t n = node_times_.size();
  if (n >= min_nodes) {
    curvatures_.resize(n);
    kernels::natural_spline(node_times_, node_values_, curvatures_, std::span(work_).first(n));
  } else if (n > 0) {
    double sum = 0;
    for (const double value : node_values_) sum += value;
    node_values_.assign(1, sum / static_cast<double>(n));
    node_times_.resize(1);
  }
}

void SubtractPedestal::push(PixelChunk& chunk, StageOutput& output) {
  if (config_.between_rows == BetweenRows::spline) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) subtract_spline(chunk, r);
    output.push(chunk);
    return;
  }
  if (config_.axis != PedestalAxis::row) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      if (config_.axis == PedestalAxis::both) {
        const auto group = static_cast<std::size_t>((chunk.first_row + r) / config_.rebin_rows);
        subtract(chunk, r, row_pedestals_[group]);
      }
      subtract_columns(chunk, r);
    }
    output.push(chunk);
    return;
  }
  if (config_.rebin_rows == 1) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      PixelChunk row = chunk;
      double* value = chunk.row(0, r).data();
      row.planes = {&value, 1};
      row.mask = chunk.mask_row(r).data();
      row.n_rows = 1;
      const Pedestal pedestal = estimate_rows(row);
      if (config_.between_rows == BetweenRows::line) {
        subtract_line(chunk, r, pedestal);
      } else {
        subtract(chunk, r, pedestal);
      }
    }
    output.push(chunk);
    return;
  }
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    if (n_held_ == 0) first_held_row_ = chunk.first_row + r;
    for (std::size_t p = 0; p < held_planes_.size(); ++p) {
      std::copy_n(chunk.row(p, r).begin(), n_cols_, held_planes_[p] + n_held_ * n_cols_);
    }
    std::copy_n(chunk.mask_row(r).begin(), n_cols_, held_mask_.begin() + n_held_ * n_cols_);
    if (++n_held_ == config_.rebin_rows) emit_held(output);
  }
}

void SubtractPedestal::emit_held(StageOutput& output) {
  PixelChunk rows = held_rows();
  const Pedestal pedestal = estimate_rows(rows);
  for (std::int64_t r = 0; r < rows.n_rows; ++r) subtract(rows, r, pedestal);
  n_held_ = 0;
  output.push(rows);
}

void SubtractPedestal::finish(StageOutput& output) {
  if (config_.axis == PedestalAxis::row && n_held_ > 0) emit_held(output);
}

std::vector<Finding> SubtractPedestal::findings() const {
  if (n_estimates_ == 0) return {};
  const auto n = static_cast<double>(n_estimates_);
  const std::string unit = planes_.at(0).unit;
  return {{"pedestal_mean", sum_of_pedestals_ / n, unit, "mean of the rows' pedestals"},
          {"pedestal_sigma", sum_of_sigmas_ / n, unit,
           "mean of the rows' widths in the region of the pedestal"}};
}

}  // namespace skipstream
