#include "skipstream/stages/find_clusters.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/base/memory.hpp"
#include "skipstream/kernels/location.hpp"
#include "skipstream/kernels/threshold.hpp"

namespace skipstream {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The columns of table "clusters", in its order.
enum Column : std::size_t {
  cluster_id,
  n_pixels,
  charge,
  energy_kev,
  peak_charge,
  peak_x,
  peak_y,
  centre_x,
  centre_y,
  mean_x,
  mean_y,
  x_min,
  x_max,
  y_min,
  y_max,
  width_x,
  width_y,
  std_x,
  std_y,
  std_xy,
  spread_x,
  spread_y,
  cov_xy,
  has_seed,
  n_sigma_min,
  n_sigma_max,
  touches_edge,
  nearest_distance,
  flags,
  n_columns,
};

TableInfo cluster_table(const std::string& unit) {
  constexpr auto integer = CellType::integer;
  constexpr auto floating = CellType::floating;
  return {
      "clusters",
      {
          {"cluster_id", "", "1 + y * n_cols + x of the first pixel in raster order", integer},
          {"n_pixels", "pixel", "number of pixels", integer},
          {"charge", unit, "sum of the pixels", floating},
          {"energy_kev", "keV", "charge in electrons times the energy per electron", floating},
          {"peak_charge", unit, "largest pixel", floating},
          {"peak_x", "pixel", "column of the largest pixel, 0-based; the first of equal ones",
           integer},
          {"peak_y", "pixel", "row of the largest pixel, 0-based", integer},
          {"x", "pixel", "column of the centre, weighted with charge, 0-based", floating},
          {"y", "pixel", "row of the centre, weighted with charge, 0-based", floating},
          {"mean_x", "pixel", "mean column of the pixels, not weighted, 0-based", floating},
          {"mean_y", "pixel", "mean row of the pixels, not weighted, 0-based", floating},
          {"x_min", "pixel", "first column, 0-based", integer},
          {"x_max", "pixel", "last column, inclusive", integer},
          {"y_min", "pixel", "first row, 0-based", integer},
          {"y_max", "pixel", "last row, inclusive", integer},
          {"width_x", "pixel", "x_max - x_min + 1", integer},
          {"width_y", "pixel", "y_max - y_min + 1", integer},
          {"std_x", "pixel", "standard deviation of the columns, weighted with charge", floating},
          {"std_y", "pixel", "standard deviation of the rows, weighted with charge", floating},
          {"std_xy", "pixel", "sqrt((std_x^2 + std_y^2) / 2)", floating},
          {"spread_x", "pixel", "standard deviation of the columns, not weighted", floating},
          {"spread_y", "pixel", "standard deviation of the rows, not weighted", floating},
          {"cov_xy", "pixel2", "covariance of column and row, weighted with charge", floating},
          {"has_seed", "", "1: a pixel is at or above the seed threshold", integer},
          {"n_sigma_min", "", "smallest pixel over the noise", floating},
          {"n_sigma_max", "", "largest pixel over the noise", floating},
          {"touches_edge", "", "1: reaches the first or last active column or row", integer},
          {"nearest_distance", "pixel", "from (x, y) to that of the nearest other cluster",
           floating},
          {"flags", "", "1 saturated pixel, 2 missing skips, 4 pixels lost", integer},
      }};
}

TableInfo pixel_table(const std::string& unit) {
  return {"cluster_pixels",
          {
              {"cluster_id", "", "as in table clusters", CellType::integer},
              {"x", "pixel", "column, 0-based", CellType::integer},
              {"y", "pixel", "row, 0-based", CellType::integer},
              {"charge", unit, "value of the pixel", CellType::floating},
          }};
}
constexpr std::size_t n_pixel_columns = 4;

/// A cluster that may still grow. Sums are relative to (x0, y0), its first pixel in raster order;
/// the unweighted ones are integers, and exact as doubles below 2^53.
struct OpenCluster {
  double n = 0;
  double sum_x = 0;
  double sum_y = 0;
  double sum_xx = 0;
  double sum_yy = 0;
  double charge = 0;
  double charge_x = 0;
  double charge_y = 0;
  double charge_xx = 0;
  double charge_yy = 0;
  double charge_xy = 0;
  double largest = 0;
  double smallest = 0;
  std::int64_t y0 = 0;
  std::int64_t largest_y = 0;
  std::int32_t x0 = 0;
  std::int32_t largest_x = 0;
  std::int32_t first_x = 0;
  std::int32_t last_x = 0;
  std::int32_t first_pixel = -1;  ///< of the kept ones
  std::int32_t last_pixel = -1;
  std::uint32_t mask = 0;
  bool pixels_lost = false;
  std::int64_t serial = 0;
};

/// A pixel of an open cluster, for table cluster_pixels.
struct KeptPixel {
  double value;
  std::int64_t y;
  std::int32_t x;
  std::int32_t next;
};

/// The runs of one row of active pixels, and each one's label; columns count from the first active.
class LabelledRow {
 public:
  explicit LabelledRow(std::size_t n_active)
      : labels(n_active / 2 + 2), numbers_(2 * labels.size()), marks_(2 * (n_active / 64 + 2)) {}

  [[nodiscard]] kernels::RowRuns runs() {
    return {numbers_.data(), numbers_.data() + labels.size(), marks_.data(),
            marks_.data() + marks_.size() / 2};
  }
  [[nodiscard]] std::int32_t begin(std::size_t i) const { return numbers_[i]; }
  [[nodiscard]] std::int32_t end(std::size_t i) const { return numbers_[labels.size() + i]; }
  [[nodiscard]] std::size_t bytes() const {
    return numbers_.size() * sizeof(std::int32_t) + marks_.size() * sizeof(kernels::Marks) +
           labels.size() * sizeof(std::int32_t);
  }

  std::size_t n_runs = 0;
  Array<std::int32_t> labels;

 private:
  Array<std::int32_t> numbers_;
  Array<kernels::Marks> marks_;
};

/// Neighbouring pixels of one row, half-open.
struct Run {
  std::int32_t begin;
  std::int32_t end;
};

/// What a run adds to its cluster.
struct RowSums {
  double n;
  double sum_x;
  double sum_xx;
  double charge;
  double charge_x;
  double charge_xx;
  double largest;
  double smallest;
  std::int32_t largest_x;
};

/// Adds the sums of `b` to those of `a`, whose first pixel comes earlier.
void add_sums(OpenCluster& a, const OpenCluster& b) {
  const double dx = static_cast<double>(b.x0 - a.x0);
  const double dy = static_cast<double>(b.y0 - a.y0);
  a.sum_xx += b.sum_xx + dx * (2 * b.sum_x + dx * b.n);
  a.sum_yy += b.sum_yy + dy * (2 * b.sum_y + dy * b.n);
  a.sum_x += b.sum_x + dx * b.n;
  a.sum_y += b.sum_y + dy * b.n;
  a.n += b.n;
  a.charge_xx += b.charge_xx + dx * (2 * b.charge_x + dx * b.charge);
  a.charge_yy += b.charge_yy + dy * (2 * b.charge_y + dy * b.charge);
  a.charge_xy += b.charge_xy + dx * b.charge_y + dy * b.charge_x + dx * dy * b.charge;
  a.charge_x += b.charge_x + dx * b.charge;
  a.charge_y += b.charge_y + dy * b.charge;
  a.charge += b.charge;
  if (b.largest > a.largest ||
      (b.largest == a.largest &&
       std::pair(b.largest_y, b.largest_x) < std::pair(a.largest_y, a.largest_x))) {
    a.largest = b.largest;
    a.largest_x = b.largest_x;
    a.largest_y = b.largest_y;
  }
  a.smallest = std::min(a.smallest, b.smallest);
  a.first_x = std::min(a.first_x, b.first_x);
  a.last_x = std::max(a.last_x, b.last_x);
  a.mask |= b.mask;
  a.pixels_lost = a.pixels_lost || b.pixels_lost;
}

/// 1.4826 times the median absolute deviation.
double robust_sigma(std::span<double> values) {
  const double median = kernels::median_of(values);
  for (double& value : values) value = std::fabs(value - median);
  return kernels::sigma_per_mad * kernels::median_of(values);
}

}  // namespace

/// All that a FindClusters holds for one image.
class FindClusters::Finder {
 public:
  Finder(const Config& config, const ImageInfo& image, const std::vector<PlaneInfo>& planes)
      : config_(config),
        measures_noise_(measures_noise(config)),
        n_cols_(image.n_cols),
        begin_col_(std::clamp<std::int64_t>(image.begin_active_col(), 0, image.n_cols)),
        end_col_(std::clamp<std::int64_t>(image.end_active_col(), begin_col_, image.n_cols)),
        begin_row_(image.prescan_rows),
        overscan_cols_(image.overscan_cols),
        unit_(planes.at(0).unit),
        energy_factor_(unit_ == "electron" ? config.energy_per_electron / 1000 : nan) {
    constexpr std::string_view stage = "find_clusters";
    if (config.connectivity != 4 && config.connectivity != 8) {
      throw ConfigError(std::string(stage) + ".connectivity: must be 4 or 8; got " +
                        std::to_string(config.connectivity));
    }
    if (image.n_cols > std::numeric_limits<std::int32_t>::max() - 64) {
      throw ConfigError(std::string(stage) + ": at most 2147483583 columns; got " +
                        std::to_string(image.n_cols));
    }
    if (config.label_image && measures_noise_) {
      throw ConfigError(std::string(stage) +
                        ".label_image: needs the noise before the first row, and noise is "
                        "\"measured\"; give a number, a header keyword, or absolute thresholds");
    }
    if (image.n_rows >= 0) end_row_ = image.n_rows - image.overscan_rows;
    if (!is_measured(config)) {
      noise_ = resolve(config.noise, image, std::string(stage) + ".noise");
      if (!(noise_ > 0)) {
        throw ConfigError(std::string(stage) + ".noise: must be above 0 " + unit_ + "; got " +
                          std::to_string(noise_));
      }
    }
    configured_threshold_ = resolve(config.threshold, image, std::string(stage) + ".threshold");
    configured_seed_ = resolve(config.seed, image, std::string(stage) + ".seed");
    set_thresholds();

    const auto n_active = static_cast<std::size_t>(end_col_ - begin_col_);
    if (config.link_distance) {
      const double reach = *config.link_distance;
      for (double dy = 0; dy <= reach; ++dy) {
        reaches_.push_back(static_cast<std::int32_t>(std::sqrt(reach * reach - dy * dy)));
      }
    }
    // At most every second pixel begins a run, in the rows that can be reached and the current one.
    const std::size_t n_older = reaches_.empty() ? 0 : reaches_.size() - 2;
    n_labels_ = (n_older + 2) * (n_active / 2 + 1);
    require_memory(image, static_cast<std::int64_t>(n_labels_ * sizeof(OpenCluster)));
    older_.assign(n_older, LabelledRow(n_active));
    words_.resize(n_active / 64 + 2);
    previous_ = LabelledRow(n_active);
    current_ = LabelledRow(n_active);
    first_touching_.resize(n_active / 2 + 1);
    past_touching_.resize(n_active / 2 + 1);
    for (auto* runs : {&new_runs_, &old_runs_, &joining_runs_}) runs->resize(n_active / 2 + 2);
    left_.resize(n_active / 2 + 2);
    last_rows_.resize(n_labels_);
    clusters_.resize(n_labels_);
    parents_.resize(n_labels_);
    free_.resize(n_labels_);
    joined_.reserve(n_labels_);
    rows_.resize(rows_at_once * n_columns);
    if (measures_noise_) usable_.resize(static_cast<std::size_t>(n_cols_));
    if (config_.keep_pixels) {
      pixels_.resize(static_cast<std::size_t>(config_.max_pixels));
      pixel_rows_.resize(pixels_at_once * n_pixel_columns);
    }
    if (config_.label_image) {
      labels_.resize(static_cast<std::size_t>(label_rows * n_cols_));
      planes_.resize(planes.size() + 1);
      // Each is the label of a run, so no more than every second pixel has one.
      final_labels_.reserve(static_cast<std::size_t>(std::max<std::int64_t>(image.n_rows, 0)) *
                            (n_active / 2 + 1));
    }
    restart();
  }

  static bool is_measured(const Config& config) {
    const auto* word = std::get_if<std::string>(&config.noise.source);
    return word != nullptr && *word == "measured";
  }
  static bool measures_noise(const Config& config) {
    return is_measured(config) && config.threshold_unit == ThresholdUnit::sigma;
  }

  [[nodiscard]] std::int64_t state_bytes() const {
    std::size_t bytes =
        sizeof(*this) + words_.size() * sizeof(std::uint64_t) +
        (older_.size() + 2) * current_.bytes() + 6 * left_.size() * sizeof(std::int32_t) +
        n_labels_ * (sizeof(OpenCluster) + 3 * sizeof(std::int32_t) + sizeof(std::int64_t)) +
        (rows_.size() + pixel_rows_.size()) * sizeof(Cell) +
        (usable_.size() + labels_.size()) * sizeof(double) +
        final_labels_.capacity() * sizeof(std::int64_t);
    if (config_.keep_pixels) {
      bytes += static_cast<std::size_t>(config_.max_pixels) * sizeof(KeptPixel);
    }
    return static_cast<std::int64_t>(bytes);
  }
  [[nodiscard]] const std::string& unit() const { return unit_; }
  [[nodiscard]] std::int64_t n_cols() const { return n_cols_; }

  void measure(const PixelChunk& chunk) {
    constexpr std::int64_t min_overscan = 3;
    const bool in_overscan = overscan_cols_ >= min_overscan;
    const std::int64_t begin = in_overscan ? end_col_ : begin_col_;
    const std::int64_t end = in_overscan ? n_cols_ : end_col_;
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      if (!is_active_row(chunk.first_row + r)) continue;
      const auto values = chunk.row(0, r);
      const auto mask = chunk.mask_row(r);
      std::size_t n = 0;
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        if ((mask[i] & unusable_bits) == 0 && std::isfinite(values[i])) usable_[n++] = values[i];
      }
      if (n == 0) continue;
      sum_of_sigmas_ += robust_sigma({usable_.data(), n});
      ++n_sigmas_;
    }
  }

  void settle_noise() {
    noise_ = n_sigmas_ == 0 ? nan : sum_of_sigmas_ / static_cast<double>(n_sigmas_);
    set_thresholds();
  }

  /// First pass for a label image: clusters are numbered as they begin, and each number is told
  /// what it becomes.
  void number(const PixelChunk& chunk) {
    learning_ = true;
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) add_row(chunk, r, nullptr);
  }

  void settle_labels() {
    close_all(nullptr);
    // A part joins one that began earlier, so the goal of each reference is final already.
    for (auto& label : final_labels_) {
      if (label < 0) label = final_labels_[static_cast<std::size_t>(-label - 1)];
    }
    learning_ = false;
    restart();
  }

  void push(PixelChunk& chunk, StageOutput& output) {
    if (!config_.label_image) {
      for (std::int64_t r = 0; r < chunk.n_rows; ++r) add_row(chunk, r, &output);
      flush(output);
      output.push(chunk);
      return;
    }
    for (std::int64_t r = 0; r < chunk.n_rows; r += label_rows) {
      const std::int64_t n = std::min(label_rows, chunk.n_rows - r);
      std::fill(labels_.begin(), labels_.end(), 0.0);
      for (std::int64_t k = 0; k < n; ++k) {
        add_row(chunk, r + k, &output);
        double* label_row = labels_.data() + k * n_cols_ + begin_col_;
        for (std::size_t i = 0; i < previous_.n_runs; ++i) {
          const auto serial = clusters_[static_cast<std::size_t>(previous_.labels[i])].serial;
          const auto label = final_labels_[static_cast<std::size_t>(serial)];
          if (label == 0) continue;
          std::fill(label_row + previous_.begin(i), label_row + previous_.end(i),
                    static_cast<double>(label));
          std::uint32_t* mask = chunk.mask + (r + k) * n_cols_ + begin_col_;
          for (auto x = previous_.begin(i); x < previous_.end(i); ++x) mask[x] |= mask_bit::cluster;
        }
      }
      flush(output);
      for (std::size_t p = 0; p + 1 < planes_.size(); ++p) {
        planes_[p] = chunk.planes[p] + r * n_cols_;
      }
      planes_.back() = labels_.data();
      PixelChunk part{planes_, chunk.mask + r * n_cols_, chunk.first_row + r, n, n_cols_};
      output.push(part);
    }
  }

  void finish(StageOutput& output) {
    close_all(&output);
    flush(output);
  }

  [[nodiscard]] std::vector<Finding> findings() const {
    std::vector<Finding> found;
    if (!std::isnan(noise_) || measures_noise_) {
      found.push_back({"noise", noise_, unit_,
                       measures_noise_ ? "mean over rows of 1.4826 MAD" : "as configured"});
    }
    if (config_.keep_pixels) {
      found.push_back({"pixels_lost", static_cast<double>(n_lost_), "pixel",
                       "pixels of clusters that found no place in max_pixels"});
    }
    return found;
  }

 private:
  static constexpr std::size_t rows_at_once = 64;
  static constexpr std::size_t pixels_at_once = 512;
  static constexpr std::int64_t label_rows = 16;

  void set_thresholds() {
    const double unit = config_.threshold_unit == ThresholdUnit::sigma ? noise_ : 1.0;
    // No pixel is at or above NaN: without a noise there are no clusters.
    threshold_ = unit > 0 ? configured_threshold_ * unit : nan;
    seed_ = unit > 0 ? configured_seed_ * unit : nan;
  }

  void restart() {
    previous_.n_runs = 0;
    for (auto& row : older_) row.n_runs = 0;
    n_free_ = n_labels_;
    for (std::size_t i = 0; i < n_labels_; ++i) {
      free_[i] = static_cast<std::int32_t>(n_labels_ - 1 - i);
    }
    next_serial_ = 0;
    n_used_pixels_ = 0;
    free_pixel_ = -1;
    n_lost_ = 0;
    n_rows_ = 0;
    n_row_cells_ = 0;
    n_pixel_cells_ = 0;
  }

  [[nodiscard]] bool is_active_row(std::int64_t y) const { return y >= begin_row_ && y < end_row_; }

  std::int32_t root_of(std::int32_t label) {
    auto at = static_cast<std::size_t>(label);
    while (parents_[at] != static_cast<std::int32_t>(at)) {
      auto& parent = parents_[at];
      parent = parents_[static_cast<std::size_t>(parent)];
      at = static_cast<std::size_t>(parent);
    }
    return static_cast<std::int32_t>(at);
  }

  /// Finds the runs of a row, and closes the clusters that do not reach it.
  void add_row(const PixelChunk& chunk, std::int64_t r, StageOutput* output) {
    const std::int64_t y = chunk.first_row + r;
    n_rows_ = y + 1;
    const double* values = chunk.planes[0] + r * n_cols_ + begin_col_;
    const std::uint32_t* mask = chunk.mask + r * n_cols_ + begin_col_;
    current_.n_runs = 0;
    std::uint32_t any_mask = 0;
    if (is_active_row(y)) {
      any_mask = kernels::mark_above(values, mask, end_col_ - begin_col_, threshold_, unusable_bits,
                                     words_.data());
      current_.n_runs = static_cast<std::size_t>(kernels::find_runs(
          words_.data(), static_cast<std::int64_t>(words_.size()), current_.runs()));
    }
    if (reaches_.empty()) {
      if (current_.n_runs == 0 && previous_.n_runs == 0) return;
      connect_runs(values, y);
    } else {
      link_runs(values, y);
    }
    constexpr std::uint32_t flagged = mask_bit::saturated | mask_bit::missing_skips;
    if ((any_mask & flagged) != 0) {
      for (std::size_t i = 0; i < current_.n_runs; ++i) {
        auto& cluster = clusters_[static_cast<std::size_t>(current_.labels[i])];
        for (auto x = current_.begin(i); x < current_.end(i); ++x) cluster.mask |= mask[x];
      }
    }
    if (config_.keep_pixels && output != nullptr) keep_pixels(values, y);
    if (reaches_.empty()) {
      close_left_behind(y, output);
    } else {
      const auto last_reached = y + 2 - static_cast<std::int64_t>(reaches_.size());
      close_ended(older_.empty() ? previous_ : older_.back(), last_reached - 1, output);
    }
    for (const auto label : joined_) free_[n_free_++] = label;
    joined_.clear();
    std::swap(previous_, current_);
    for (auto& row : older_) std::swap(row, current_);
  }

  /// Gives each current run the clusters within link_distance, joined, or a new one.
  void link_runs(const double* values, std::int64_t y) {
    const std::size_t n = current_.n_runs;
    std::fill_n(current_.labels.begin(), n, -1);
    const auto meet = [this](std::size_t i, std::int32_t label) {
      auto& own = current_.labels[i];
      label = root_of(label);
      own = own < 0 || own == label ? label : join(own, label);
    };
    for (std::size_t dy = 1; dy < reaches_.size(); ++dy) {
      const LabelledRow& above = dy == 1 ? previous_ : older_[dy - 2];
      const std::int32_t reach = reaches_[dy];
      std::size_t first = 0;
      for (std::size_t i = 0; i < n; ++i) {
        // Distances are between pixels: from the last one of a run to the first one of another.
        while (first < above.n_runs && above.end(first) - 1 + reach < current_.begin(i)) ++first;
        for (auto k = first; k < above.n_runs; ++k) {
          if (above.begin(k) - reach > current_.end(i) - 1) break;
          if (current_.labels[i] >= 0) current_.labels[i] = root_of(current_.labels[i]);
          meet(i, above.labels[k]);
        }
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const Run run{current_.begin(i), current_.end(i)};
      auto& label = current_.labels[i];
      if (label >= 0) label = root_of(label);
      if (i > 0 && run.begin - (current_.end(i - 1) - 1) <= reaches_[0]) {
        meet(i, current_.labels[i - 1]);
      }
      if (label < 0) {
        label = open(run, values, y);
      } else {
        grow(clusters_[static_cast<std::size_t>(label)], run, values, y);
        last_rows_[static_cast<std::size_t>(label)] = y;
      }
    }
    if (joined_.empty()) return;
    const auto update = [this](LabelledRow& row) {
      for (std::size_t i = 0; i < row.n_runs; ++i) row.labels[i] = root_of(row.labels[i]);
    };
    update(current_);
    update(previous_);
    for (auto& row : older_) update(row);
  }

  /// Closes the clusters whose last row is `y`, which no later row reaches.
  void close_ended(LabelledRow& row, std::int64_t y, StageOutput* output) {
    for (std::size_t i = 0; i < row.n_runs; ++i) {
      const auto label = static_cast<std::size_t>(row.labels[i]);
      if (last_rows_[label] != y) continue;
      close(clusters_[label], y, y == n_rows_ - 1, output);
      last_rows_[label] = -1;  // its other runs must not close it again
      free_[n_free_++] = row.labels[i];
    }
    row.n_runs = 0;
  }

  /// Gives each current run the cluster of the previous runs that it touches, or a new one: first
  /// the joins, then the new clusters, then the growth, each along a list of runs. The lists are
  /// made without a jump, which could not be foreseen on noise, and would cost more than the work.
  void connect_runs(const double* values, std::int64_t y) {
    const std::size_t n = current_.n_runs;
    if (previous_.n_runs > 0) {
      kernels::find_touching(previous_.runs(), current_.runs(), static_cast<std::int64_t>(n),
                             config_.connectivity == 8 ? 1 : 0, first_touching_.data(),
                             past_touching_.data());
    } else {
      std::fill_n(first_touching_.begin(), n, 0);
      std::fill_n(past_touching_.begin(), n, 0);
    }
    std::size_t n_new = 0;
    std::size_t n_old = 0;
    std::size_t n_joining = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::int32_t n_touching = past_touching_[i] - first_touching_[i];
      new_runs_[n_new] = old_runs_[n_old] = joining_runs_[n_joining] =
          static_cast<std::uint32_t>(i);
      n_new += n_touching == 0 ? 1 : 0;
      n_old += n_touching > 0 ? 1 : 0;
      n_joining += n_touching > 1 ? 1 : 0;
    }
    for (std::size_t k = 0; k < n_joining; ++k) {
      const std::size_t i = joining_runs_[k];
      const auto first = static_cast<std::size_t>(first_touching_[i]);
      const auto past = static_cast<std::size_t>(past_touching_[i]);
      std::int32_t label = root_of(previous_.labels[first]);
      for (std::size_t above = first + 1; above < past; ++above) {
        const std::int32_t other = root_of(previous_.labels[above]);
        if (other != label) label = join(label, other);
      }
    }
    if (!joined_.empty()) {
      for (std::size_t i = 0; i < previous_.n_runs; ++i) {
        previous_.labels[i] = root_of(previous_.labels[i]);
      }
    }
    for (std::size_t k = 0; k < n_new; ++k) {
      const std::size_t i = new_runs_[k];
      current_.labels[i] = open({current_.begin(i), current_.end(i)}, values, y);
    }
    for (std::size_t k = 0; k < n_old; ++k) {
      const std::size_t i = old_runs_[k];
      const std::int32_t label = previous_.labels[static_cast<std::size_t>(first_touching_[i])];
      current_.labels[i] = label;
      last_rows_[static_cast<std::size_t>(label)] = y;
      grow(clusters_[static_cast<std::size_t>(label)], {current_.begin(i), current_.end(i)}, values,
           y);
    }
  }

  /// The moments of a run about column `origin` and its own row.
  static RowSums sums_of(const Run& run, const double* values, std::int32_t origin) {
    // Most runs are of one or two pixels: two are always added, the second one as 0 if need be.
    const std::int32_t second = run.end - run.begin > 1 ? 1 : 0;
    const double more = static_cast<double>(second);
    double dx = static_cast<double>(run.begin - origin);
    const double value = values[run.begin];
    const double other = values[run.begin + second];
    const double added = second != 0 ? other : 0.0;
    const double at = dx + more;
    RowSums sums;
    sums.n = 1 + more;
    sums.sum_x = dx + at * more;
    sums.sum_xx = dx * dx + at * at * more;
    sums.charge = value + added;
    sums.charge_x = value * dx + added * at;
    sums.charge_xx = value * dx * dx + added * at * at;
    sums.largest = std::max(value, other);
    sums.smallest = std::min(value, other);
    sums.largest_x = run.begin + (other > value ? 1 : 0);
    dx = at;
    for (std::int32_t x = run.begin + 2; x < run.end; ++x) {
      dx += 1;
      const double next = values[x];
      sums.n += 1;
      sums.sum_x += dx;
      sums.sum_xx += dx * dx;
      sums.charge += next;
      sums.charge_x += next * dx;
      sums.charge_xx += next * dx * dx;
      sums.largest_x = next > sums.largest ? x : sums.largest_x;
      sums.largest = std::max(sums.largest, next);
      sums.smallest = std::min(sums.smallest, next);
    }
    return sums;
  }

  std::int32_t open(const Run& run, const double* values, std::int64_t y) {
    const std::int32_t label = free_[--n_free_];
    parents_[static_cast<std::size_t>(label)] = label;
    const RowSums sums = sums_of(run, values, run.begin);
    auto& cluster = clusters_[static_cast<std::size_t>(label)];
    cluster.n = sums.n;
    cluster.sum_x = sums.sum_x;
    cluster.sum_xx = sums.sum_xx;
    cluster.sum_y = cluster.sum_yy = 0;
    cluster.charge = sums.charge;
    cluster.charge_x = sums.charge_x;
    cluster.charge_xx = sums.charge_xx;
    cluster.charge_y = cluster.charge_yy = cluster.charge_xy = 0;
    cluster.largest = sums.largest;
    cluster.smallest = sums.smallest;
    cluster.largest_x = sums.largest_x;
    cluster.y0 = cluster.largest_y = y;
    cluster.x0 = cluster.first_x = run.begin;
    cluster.last_x = run.end - 1;
    cluster.first_pixel = cluster.last_pixel = -1;
    cluster.mask = 0;
    cluster.pixels_lost = false;
    cluster.serial = next_serial_++;
    last_rows_[static_cast<std::size_t>(label)] = y;
    if (learning_) final_labels_.push_back(0);
    return label;
  }

  static void grow(OpenCluster& cluster, const Run& run, const double* values, std::int64_t y) {
    const RowSums sums = sums_of(run, values, cluster.x0);
    const double dy = static_cast<double>(y - cluster.y0);
    cluster.n += sums.n;
    cluster.sum_x += sums.sum_x;
    cluster.sum_xx += sums.sum_xx;
    cluster.sum_y += sums.n * dy;
    cluster.sum_yy += sums.n * dy * dy;
    cluster.charge += sums.charge;
    cluster.charge_x += sums.charge_x;
    cluster.charge_xx += sums.charge_xx;
    cluster.charge_y += sums.charge * dy;
    cluster.charge_yy += sums.charge * dy * dy;
    cluster.charge_xy += sums.charge_x * dy;
    if (sums.largest > cluster.largest) {
      cluster.largest = sums.largest;
      cluster.largest_x = sums.largest_x;
      cluster.largest_y = y;
    }
    cluster.smallest = std::min(cluster.smallest, sums.smallest);
    cluster.first_x = std::min(cluster.first_x, run.begin);
    cluster.last_x = std::max(cluster.last_x, run.end - 1);
  }

  std::int32_t join(std::int32_t label, std::int32_t other) {
    const auto place = [this](std::int32_t of) {
      const auto& cluster = clusters_[static_cast<std::size_t>(of)];
      return std::pair(cluster.y0, cluster.x0);
    };
    if (place(other) < place(label)) std::swap(label, other);
    auto& kept = clusters_[static_cast<std::size_t>(label)];
    auto& gone = clusters_[static_cast<std::size_t>(other)];
    add_sums(kept, gone);
    if (gone.first_pixel >= 0) {
      if (kept.first_pixel >= 0) {
        pixels_[static_cast<std::size_t>(kept.last_pixel)].next = gone.first_pixel;
      } else {
        kept.first_pixel = gone.first_pixel;
      }
      kept.last_pixel = gone.last_pixel;
    }
    if (learning_) final_labels_[static_cast<std::size_t>(gone.serial)] = -kept.serial - 1;
    parents_[static_cast<std::size_t>(other)] = label;
    joined_.push_back(other);
    return label;
  }

  void keep_pixels(const double* values, std::int64_t y) {
    for (std::size_t i = 0; i < current_.n_runs; ++i) {
      auto& cluster = clusters_[static_cast<std::size_t>(current_.labels[i])];
      for (auto x = current_.begin(i); x < current_.end(i); ++x) {
        std::int32_t place = free_pixel_;
        if (place >= 0) {
          free_pixel_ = pixels_[static_cast<std::size_t>(place)].next;
        } else if (n_used_pixels_ < config_.max_pixels) {
          place = static_cast<std::int32_t>(n_used_pixels_++);
        } else {
          cluster.pixels_lost = true;
          ++n_lost_;
          continue;
        }
        pixels_[static_cast<std::size_t>(place)] = {values[x], y, x, -1};
        if (cluster.first_pixel < 0) {
          cluster.first_pixel = place;
        } else {
          pixels_[static_cast<std::size_t>(cluster.last_pixel)].next = place;
        }
        cluster.last_pixel = place;
      }
    }
  }

  void close_left_behind(std::int64_t y, StageOutput* output) {
    std::size_t n_left = 0;
    for (std::size_t i = 0; i < previous_.n_runs; ++i) {
      const std::int32_t label = previous_.labels[i];
      left_[n_left] = label;
      auto& last_row = last_rows_[static_cast<std::size_t>(label)];
      n_left += last_row != y ? 1 : 0;
      last_row = y;  // its other runs must not close it again
    }
    for (std::size_t k = 0; k < n_left; ++k) {
      close(clusters_[static_cast<std::size_t>(left_[k])], y - 1, false, output);
      free_[n_free_++] = left_[k];
    }
  }

  /// At the end of the image.
  void close_all(StageOutput* output) {
    for (auto k = older_.size(); k-- > 0;) {
      close_ended(older_[k], n_rows_ - 2 - static_cast<std::int64_t>(k), output);
    }
    close_ended(previous_, n_rows_ - 1, output);
  }

  void close(const OpenCluster& cluster, std::int64_t last_y, bool at_last_row,
             StageOutput* output) {
    const bool seeded = cluster.largest >= seed_;
    const bool wanted = (seeded || !config_.require_seed) &&
                        cluster.n >= static_cast<double>(config_.min_pixels) &&
                        (!config_.min_charge || cluster.charge >= *config_.min_charge);
    const std::int64_t id = 1 + cluster.y0 * n_cols_ + begin_col_ + cluster.x0;
    if (learning_) {
      final_labels_[static_cast<std::size_t>(cluster.serial)] = wanted ? id : 0;
      return;
    }
    if (wanted) {
      if (n_row_cells_ == rows_.size()) flush(*output);
      write_row(cluster, id, seeded, last_y, at_last_row, rows_.data() + n_row_cells_);
      n_row_cells_ += n_columns;
    }
    if (cluster.first_pixel < 0) return;
    for (auto place = cluster.first_pixel; wanted && place >= 0;) {
      const KeptPixel& pixel = pixels_[static_cast<std::size_t>(place)];
      if (n_pixel_cells_ == pixel_rows_.size()) flush(*output);
      Cell* cells = pixel_rows_.data() + n_pixel_cells_;
      cells[0].integer = id;
      cells[1].integer = begin_col_ + pixel.x;
      cells[2].integer = pixel.y;
      cells[3].floating = pixel.value;
      n_pixel_cells_ += n_pixel_columns;
      place = pixel.next;
    }
    pixels_[static_cast<std::size_t>(cluster.last_pixel)].next = free_pixel_;
    free_pixel_ = cluster.first_pixel;
  }

  void write_row(const OpenCluster& cluster, std::int64_t id, bool seeded, std::int64_t last_y,
                 bool at_last_row, Cell* row) const {
    const double x0 = static_cast<double>(begin_col_ + cluster.x0);
    const double y0 = static_cast<double>(cluster.y0);
    row[cluster_id].integer = id;
    row[n_pixels].integer = static_cast<std::int64_t>(cluster.n);
    row[charge].floating = cluster.charge;
    row[energy_kev].floating = cluster.charge * energy_factor_;
    row[peak_charge].floating = cluster.largest;
    row[peak_x].integer = begin_col_ + cluster.largest_x;
    row[peak_y].integer = cluster.largest_y;
    row[x_min].integer = begin_col_ + cluster.first_x;
    row[x_max].integer = begin_col_ + cluster.last_x;
    row[y_min].integer = cluster.y0;
    row[y_max].integer = last_y;
    row[width_x].integer = cluster.last_x - cluster.first_x + 1;
    row[width_y].integer = last_y - cluster.y0 + 1;
    if (cluster.charge > 0) {
      const double dx = cluster.charge_x / cluster.charge;
      const double dy = cluster.charge_y / cluster.charge;
      const double var_x = std::max(0.0, cluster.charge_xx / cluster.charge - dx * dx);
      const double var_y = std::max(0.0, cluster.charge_yy / cluster.charge - dy * dy);
      row[centre_x].floating = x0 + dx;
      row[centre_y].floating = y0 + dy;
      row[std_x].floating = std::sqrt(var_x);
      row[std_y].floating = std::sqrt(var_y);
      row[std_xy].floating = std::sqrt((var_x + var_y) / 2);
      row[cov_xy].floating = cluster.charge_xy / cluster.charge - dx * dy;
    } else {
      for (const auto column : {centre_x, centre_y, std_x, std_y, std_xy, cov_xy}) {
        row[column].floating = nan;
      }
    }
    const double n = cluster.n;
    row[mean_x].floating = (x0 * n + cluster.sum_x) / n;
    row[mean_y].floating = (y0 * n + cluster.sum_y) / n;
    // Exact but for the division and the root while the products are below 2^53.
    const double scatter_x = n * cluster.sum_xx - cluster.sum_x * cluster.sum_x;
    const double scatter_y = n * cluster.sum_yy - cluster.sum_y * cluster.sum_y;
    row[spread_x].floating = std::sqrt(std::max(0.0, scatter_x)) / n;
    row[spread_y].floating = std::sqrt(std::max(0.0, scatter_y)) / n;
    row[has_seed].integer = seeded ? 1 : 0;
    row[n_sigma_min].floating = cluster.smallest / noise_;
    row[n_sigma_max].floating = cluster.largest / noise_;
    row[touches_edge].integer = at_last_row || cluster.first_x == 0 ||
                                        cluster.last_x == end_col_ - begin_col_ - 1 ||
                                        cluster.y0 == begin_row_ || last_y == end_row_ - 1
                                    ? 1
                                    : 0;
    row[nearest_distance].floating = nan;
    row[flags].integer =
        ((cluster.mask & mask_bit::saturated) != 0 ? cluster_flag::saturated : 0) |
        ((cluster.mask & mask_bit::missing_skips) != 0 ? cluster_flag::missing_skips : 0) |
        (cluster.pixels_lost ? cluster_flag::pixels_lost : 0);
  }

  void flush(StageOutput& output) {
    if (n_row_cells_ > 0) output.append(0, {rows_.data(), n_row_cells_});
    if (n_pixel_cells_ > 0) output.append(1, {pixel_rows_.data(), n_pixel_cells_});
    n_row_cells_ = 0;
    n_pixel_cells_ = 0;
  }

  const Config config_;
  const bool measures_noise_;
  const std::int64_t n_cols_;
  const std::int64_t begin_col_;
  const std::int64_t end_col_;
  const std::int64_t begin_row_;
  std::int64_t end_row_ = std::numeric_limits<std::int64_t>::max();
  const std::int64_t overscan_cols_;
  const std::string unit_;
  const double energy_factor_;  ///< keV per unit of charge
  double noise_ = nan;
  double configured_threshold_ = nan;
  double configured_seed_ = nan;
  double threshold_ = nan;  ///< in the unit of the pixels
  double seed_ = nan;

  Array<double> usable_;
  double sum_of_sigmas_ = 0;
  std::int64_t n_sigmas_ = 0;

  std::int64_t n_rows_ = 0;
  Array<std::uint64_t> words_;
  LabelledRow previous_{0};  ///< the row above
  LabelledRow current_{0};
  Array<LabelledRow> older_;            ///< that link_distance reaches above `previous_`
  Array<std::int32_t> reaches_;         ///< columns that a link spans, by rows; none: connectivity
  Array<std::int32_t> first_touching_;  ///< of the runs above, for each current run
  Array<std::int32_t> past_touching_;
  Array<std::uint32_t> new_runs_;
  Array<std::uint32_t> old_runs_;
  Array<std::uint32_t> joining_runs_;
  Array<std::int32_t> left_;
  std::size_t n_labels_ = 0;
  Array<OpenCluster> clusters_;    ///< by label
  Array<std::int32_t> parents_;    ///< by label; itself: a cluster of its own
  Array<std::int64_t> last_rows_;  ///< by label; the last row that it reaches
  Array<std::int32_t> free_;       ///< labels to be used again
  Array<std::int32_t> joined_;     ///< labels that become free with the end of the row
  std::size_t n_free_ = 0;

  Array<Cell> rows_;
  std::size_t n_row_cells_ = 0;

  UnsetArray<KeptPixel> pixels_;
  std::int64_t n_used_pixels_ = 0;
  std::int32_t free_pixel_ = -1;
  std::int64_t n_lost_ = 0;
  Array<Cell> pixel_rows_;
  std::size_t n_pixel_cells_ = 0;

  bool learning_ = false;
  std::int64_t next_serial_ = 0;
  Array<std::int64_t> final_labels_;  ///< by serial; below 0: that of serial -value - 1
  Array<double> labels_;
  Array<double*> planes_;
};

FindClusters::FindClusters(Config config) : config_(std::move(config)) {}
FindClusters::~FindClusters() = default;

StagePlan FindClusters::begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) {
  finder_ = std::make_unique<Finder>(config_, image, planes);
  StagePlan plan;
  plan.planes = planes;
  if (config_.label_image) plan.planes.push_back({"label", "", PlaneKind::label});
  plan.barrier = config_.label_image || Finder::measures_noise(config_);
  plan.state_bytes = finder_->state_bytes();
  plan.tables.push_back(cluster_table(finder_->unit()));
  if (config_.keep_pixels) plan.tables.push_back(pixel_table(finder_->unit()));
  return plan;
}

void FindClusters::observe(const PixelChunk& chunk) {
  if (config_.label_image) {
    finder_->number(chunk);
  } else {
    finder_->measure(chunk);
  }
}

void FindClusters::settle() {
  if (config_.label_image) {
    finder_->settle_labels();
  } else {
    finder_->settle_noise();
  }
}

void FindClusters::push(PixelChunk& chunk, StageOutput& output) { finder_->push(chunk, output); }

void FindClusters::finish(StageOutput& output) { finder_->finish(output); }

std::vector<Finding> FindClusters::findings() const {
  return finder_ ? finder_->findings() : std::vector<Finding>{};
}

namespace {

struct Point {
  double x;
  double y;
};

/// The distance of each point to the nearest other one; NaN where there is none, and for points
/// that are NaN.
///
/// The points are sorted into square cells, one point per cell on average. A point's nearest
/// neighbour is sought in its cell and the eight around it, then in ever wider frames until no
/// nearer one can exist: exact, and in linear time where points keep a distance from each other,
/// as the centres of clusters do.
class NearestNeighbours {
 public:
  explicit NearestNeighbours(const LargeVector<Point>& points) {
    Point low{infinity, infinity};
    Point high{-infinity, -infinity};
    std::size_t n = 0;
    for (const Point& p : points) {
      if (!is_valid(p)) continue;
      low = {std::min(low.x, p.x), std::min(low.y, p.y)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y)};
      ++n;
    }
    distances_.assign(points.size(), nan);
    if (n < 2) return;
    const double width = high.x - low.x;
    const double height = high.y - low.y;
    const auto count = static_cast<double>(n);
    side_ = std::max({std::sqrt(width * height / count), width / count, height / count, 1e-3});
    const auto cell_of = [&](const Point& p) {
      const auto cx = static_cast<std::size_t>((p.x - low.x) / side_);
      const auto cy = static_cast<std::size_t>((p.y - low.y) / side_);
      return (cy + 1) * stride_ + cx + 1;
    };
    // A frame of empty cells around spares the search the edges.
    n_wide_ = static_cast<std::size_t>(width / side_) + 1;
    n_high_ = static_cast<std::size_t>(height / side_) + 1;
    stride_ = n_wide_ + 2;
    begins_.assign(stride_ * (n_high_ + 2) + 1, 0);
    LargeVector<std::uint32_t> cells(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (!is_valid(points[i])) continue;
      cells[i] = static_cast<std::uint32_t>(cell_of(points[i]));
      ++begins_[cells[i]];
    }
    std::uint32_t end = 0;
    for (auto& begin : begins_) begin = end += begin;
    sorted_.resize(n);
    numbers_.resize(n);
    for (std::size_t i = points.size(); i-- > 0;) {
      if (!is_valid(points[i])) continue;
      const std::uint32_t at = --begins_[cells[i]];
      sorted_[at] = points[i];
      numbers_[at] = static_cast<std::uint32_t>(i);
    }
    search();
  }

  [[nodiscard]] const LargeVector<double>& distances() const { return distances_; }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  static bool is_valid(const Point& p) { return std::isfinite(p.x) && std::isfinite(p.y); }

  /// The least squared distance to points [begin, end), if below `best`.
  [[nodiscard]] double nearer(const Point& p, std::uint32_t begin, std::uint32_t end,
                              double best) const {
    for (std::uint32_t j = begin; j < end; ++j) {
      const double dx = sorted_[j].x - p.x;
      const double dy = sorted_[j].y - p.y;
      best = std::min(best, dx * dx + dy * dy);
    }
    return best;
  }

  void search() {
    for (std::size_t cy = 1; cy <= n_high_; ++cy) {
      for (std::size_t cx = 1; cx <= n_wide_; ++cx) {
        const std::size_t cell = cy * stride_ + cx;
        for (std::uint32_t i = begins_[cell]; i < begins_[cell + 1]; ++i) {
          const Point& p = sorted_[i];
          double best = infinity;
          best = nearer(p, begins_[cell - stride_ - 1], begins_[cell - stride_ + 2], best);
          best = nearer(p, begins_[cell - 1], i, best);
          best = nearer(p, i + 1, begins_[cell + 2], best);
          best = nearer(p, begins_[cell + stride_ - 1], begins_[cell + stride_ + 2], best);
          if (best > reach_of(1)) best = search_further(p, cx, cy, best);
          distances_[numbers_[i]] = std::sqrt(best);
        }
      }
    }
  }

  /// The square of a distance within which frames 0 to `frame` hold every point. A point may stand
  /// in the cell beside its own by a rounding error: hence a little less than `frame` sides.
  [[nodiscard]] double reach_of(std::size_t frame) const {
    const double reach = static_cast<double>(frame) * side_ * (1 - 1e-9);
    return reach * reach;
  }

  [[nodiscard]] double search_further(const Point& p, std::size_t cx, std::size_t cy,
                                      double best) const {
    const std::size_t n_frames = std::max(n_wide_, n_high_);
    for (std::size_t frame = 2; frame <= n_frames; ++frame) {
      const std::size_t left = cx > frame ? cx - frame : 1;
      const std::size_t right = std::min(cx + frame, n_wide_);
      const std::size_t bottom = cy > frame ? cy - frame : 1;
      const std::size_t top = std::min(cy + frame, n_high_);
      for (std::size_t y = bottom; y <= top; ++y) {
        const std::size_t row = y * stride_;
        if (y + frame == cy || y == cy + frame) {
          best = nearer(p, begins_[row + left], begins_[row + right + 1], best);
          continue;
        }
        if (left + frame == cx)
          best = nearer(p, begins_[row + left], begins_[row + left + 1], best);
        if (right == cx + frame) {
          best = nearer(p, begins_[row + right], begins_[row + right + 1], best);
        }
      }
      if (best <= reach_of(frame)) break;
    }
    return best;
  }

  double side_ = 1;
  std::size_t n_wide_ = 0;
  std::size_t n_high_ = 0;
  std::size_t stride_ = 0;
  LargeVector<std::uint32_t> begins_;  ///< of each cell's points in `sorted_`
  LargeVector<Point> sorted_;
  LargeVector<std::uint32_t> numbers_;  ///< of the sorted points
  LargeVector<double> distances_;
};

/// The order that sorts distinct ids `1 + y * n_cols + x`: by row, then by marks in a row of bits.
/// A row of the table has few neighbours in its image row, so that is linear in their number.
LargeVector<std::uint32_t> raster_order(const LargeVector<std::int64_t>& ids, std::int64_t n_cols) {
  LargeVector<std::uint32_t> order(ids.size());
  if (ids.empty()) return order;
  const auto [low, high] = std::minmax_element(ids.begin(), ids.end());
  const std::int64_t first_y = (*low - 1) / n_cols;
  const std::int64_t last_y = (*high - 1) / n_cols;
  std::vector<std::uint32_t> begins(static_cast<std::size_t>(last_y - first_y) + 2);
  const auto row_of = [&](std::int64_t id) {
    return static_cast<std::size_t>((id - 1) / n_cols - first_y);
  };
  for (const auto id : ids) ++begins[row_of(id)];
  std::uint32_t end = 0;
  for (auto& begin : begins) begin = end += begin;
  for (std::size_t i = ids.size(); i-- > 0;) {
    order[--begins[row_of(ids[i])]] = static_cast<std::uint32_t>(i);
  }
  std::vector<std::uint64_t> marks((static_cast<std::size_t>(n_cols) + 63) / 64);
  std::vector<std::uint32_t> at(static_cast<std::size_t>(n_cols));
  for (std::size_t r = 0; r + 1 < begins.size(); ++r) {
    if (begins[r + 1] - begins[r] < 2) continue;
    for (std::uint32_t i = begins[r]; i < begins[r + 1]; ++i) {
      const auto x = static_cast<std::size_t>((ids[order[i]] - 1) % n_cols);
      marks[x / 64] |= std::uint64_t{1} << (x % 64);
      at[x] = order[i];
    }
    std::uint32_t i = begins[r];
    for (std::size_t w = 0; w < marks.size(); ++w) {
      for (; marks[w] != 0; marks[w] &= marks[w] - 1) {
        order[i++] = at[64 * w + static_cast<std::size_t>(std::countr_zero(marks[w]))];
      }
    }
  }
  return order;
}

/// Row i becomes what row `from[i]` was, along the cycles of the permutation, which is used up;
/// `arrived(row, from)` is called once for each row.
template <std::size_t n, class Arrived>
void permute_rows(std::span<Cell> cells, LargeVector<std::uint32_t>& from, Arrived&& arrived) {
  const auto row = [&cells](std::size_t r) { return cells.data() + r * n; };
  std::array<Cell, n> spare;
  for (std::size_t start = 0; start < from.size(); ++start) {
    constexpr std::uint32_t done = 0xffffffff;
    if (from[start] == done) continue;
    std::copy_n(row(start), n, spare.data());
    std::size_t to = start;
    while (from[to] != start) {
      const std::size_t next = from[to];
      std::copy_n(row(next), n, row(to));
      arrived(row(to), next);
      from[to] = done;
      to = next;
    }
    std::copy_n(spare.data(), n, row(to));
    arrived(row(to), start);
    from[to] = done;
  }
}

void complete_clusters(std::span<Cell> cells, std::int64_t n_cols) {
  const std::size_t n = cells.size() / n_columns;
  LargeVector<std::int64_t> ids(n);
  LargeVector<Point> centres(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Cell* row = cells.data() + i * n_columns;
    ids[i] = row[cluster_id].integer;
    centres[i] = {row[centre_x].floating, row[centre_y].floating};
  }
  const NearestNeighbours nearest(centres);
  auto order = raster_order(ids, n_cols);
  permute_rows<n_columns>(cells, order, [&nearest](Cell* row, std::size_t from) {
    row[nearest_distance].floating = nearest.distances()[from];
  });
}

void complete_pixels(std::span<Cell> cells, std::int64_t n_cols) {
  struct Key {
    std::int64_t id;
    std::int64_t pixel;
    std::uint32_t row;
  };
  LargeVector<Key> keys(cells.size() / n_pixel_columns);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Cell* row = cells.data() + i * n_pixel_columns;
    keys[i] = {row[0].integer, row[2].integer * n_cols + row[1].integer,
               static_cast<std::uint32_t>(i)};
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    return a.id != b.id ? a.id < b.id : a.pixel < b.pixel;
  });
  LargeVector<std::uint32_t> order(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) order[i] = keys[i].row;
  permute_rows<n_pixel_columns>(cells, order, [](Cell* /*row*/, std::size_t /*from*/) {});
}

}  // namespace

void FindClusters::complete_table(std::size_t table, std::span<Cell> cells) const {
  if (table == 0) {
    complete_clusters(cells, finder_->n_cols());
  } else {
    complete_pixels(cells, finder_->n_cols());
  }
}

}  // namespace skipstream
