#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// A reducer that the library does not know: `values` is (n_pixels, n_skips), NaN where missing.
using ForeignStatistic = std::function<void(const double* values, std::int64_t n_pixels,
                                            std::int64_t n_skips, double* result)>;
using ForeignStatistics = std::map<std::string, ForeignStatistic>;

/// Reduces the skips of each pixel to one or more statistics in a single read of the samples.
class CompressSkips {
 public:
  static constexpr StageTitle title{"compress_skips",
                                    "Reduce the skips of each pixel to statistics."};
  struct Config {
    std::vector<std::string> statistics{"mean"};
    std::optional<std::int64_t> begin_skip;
    std::optional<std::int64_t> end_skip;
    std::int64_t ddof = 0;
    double clip_sigma = 3.0;
    std::int64_t clip_iterations = 5;
    double trim_fraction = 0.1;
    std::optional<double> saturation;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("statistics", &C::statistics,
              "What to compute; the first flows on, the others are named planes."),
        field("begin_skip", &C::begin_skip,
              "First skip used; negative counts from the end. Default: [input].")
            .unit("skips"),
        field("end_skip", &C::end_skip,
              "Skip after the last one used; negative counts from the end. Default: [input].")
            .unit("skips"),
        field("ddof", &C::ddof, "std and var divide by the number of samples minus this.")
            .at_least(0),
        field("clip_sigma", &C::clip_sigma, "clipped_mean leaves out samples beyond this.")
            .unit("sigma")
            .above(0),
        field("clip_iterations", &C::clip_iterations, "clipped_mean clips at most this often.")
            .at_least(1),
        field("trim_fraction", &C::trim_fraction,
              "trimmed_mean leaves out this fraction of the samples at each end.")
            .at_least(0)
            .at_most(0.499999),
        field("saturation", &C::saturation,
              "A pixel with a sample at or above this is flagged saturated. Default: either limit "
              "of the integer type.")
            .unit("ADU"));
  }

  explicit CompressSkips(Config config, ForeignStatistics foreign = {});

  /// Throws ConfigError for the first statistic that neither the library nor `foreign` knows.
  void check_statistics() const;

  /// Whether the library itself computes a statistic of that name.
  static bool knows(const std::string& statistic);

  /// Adds statistics (as trailing planes) that a later step needs; those already there stay.
  void require(const std::vector<std::string>& statistics);

  /// Checks everything and fixes the planes. `state_bytes` is one thread's scratch.
  /// Throws ConfigError.
  StagePlan begin(const ImageInfo& image);

  /// Skips in use: half-open, after negative indices are resolved. Valid after begin.
  [[nodiscard]] std::int64_t first_used_skip() const { return begin_skip_; }
  [[nodiscard]] std::int64_t n_used_skips() const { return end_skip_ - begin_skip_; }

  /// Whether no statistic is of all samples: they are means of the first n, or single ones.
  [[nodiscard]] bool takes_parts() const { return takes_parts_; }

  /// Memory that `reduce` needs for itself, per thread.
  [[nodiscard]] std::int64_t scratch_bytes() const { return scratch_bytes_; }

  /// Reduces `n_pixels` pixels; `samples` is (n_pixels, n_skips), encoded, skip fastest.
  /// `planes[i]` and `mask` point at the first of these pixels; where `takes_parts` there may be no
  /// mask, and samples that no statistic takes are not looked at. Safe to call from several
  /// threads, each with a scratch of its own (64-byte aligned). Only a foreign statistic may throw.
  void reduce(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
              std::uint32_t* mask, std::byte* scratch) const;

  /// Reduces one pixel without the samples that were lost, which are overwritten. `lost` counts
  /// from the begin of a row, of which the pixel's first sample is number `first_sample`.
  void reduce_without(std::span<const SampleRange> lost, std::byte* samples,
                      std::int64_t first_sample, double* const* planes, std::uint32_t* mask,
                      std::byte* scratch);

 private:
  enum class Kind : std::uint8_t {
    mean,
    median,
    std,
    var,
    min,
    max,
    ptp,
    sum,
    rms,
    mad,
    quantile,
    clipped_mean,
    trimmed_mean,
    first,
    last,
    count,
    sample,
    mean_of_first,
    foreign
  };
  struct Statistic {
    Kind kind = Kind::mean;
    double q = 0.5;  ///< of a quantile
    const ForeignStatistic* foreign = nullptr;
    std::int64_t number = 0;  ///< of a sample, or of samples
  };
  template <class Key>
  struct Integers;
  template <class Real, class Key>
  struct Reals;

  Statistic parse(const std::string& name) const;
  void check_numbers() const;
  void resolve_range(const ImageInfo& image);
  [[nodiscard]] std::int64_t scratch_samples() const;
  template <class Source>
  void reduce_single(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
                     std::uint32_t* mask, std::byte* scratch) const;
  template <class Source>
  void reduce_as(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
                 std::uint32_t* mask, std::byte* scratch) const;
  template <class Source>
  std::uint32_t reduce_group(Source& source, const std::byte* samples, std::int64_t n_pixels,
                             std::int64_t at, double* const* planes, std::uint32_t* mask) const;
  template <class Source>
  void reduce_pixel(Source& pixel, const std::byte* samples, std::int64_t at, double* const* planes,
                    std::uint32_t* mask) const;
  void make_missing(double* const* planes, std::int64_t at, std::uint32_t* mask) const;
  void reduce_parts(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
                    std::byte* scratch) const;
  template <class Key>
  void reduce_exact_parts(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
                          std::byte* scratch) const;
  void take_samples(const std::byte* samples, std::int64_t n_pixels, double* const* planes) const;
  void reduce_foreign(const std::byte* samples, std::int64_t n_pixels, double* const* planes) const;

  Config config_;
  ForeignStatistics foreign_;
  std::vector<Statistic> statistics_;
  SampleFormat format_;
  std::int64_t n_skips_ = 1;
  std::int64_t begin_skip_ = 0;
  std::int64_t end_skip_ = 0;
  std::int64_t scratch_bytes_ = 0;
  std::int64_t group_offset_ = 0;  ///< of the group's samples in the scratch
  bool has_foreign_ = false;
  bool takes_parts_ = false;
  Array<std::size_t> growing_means_;  ///< statistics mean(n), by n
  Array<std::size_t> lone_samples_;   ///< statistics sample(s)
  bool wants_sums_ = false;
  bool wants_order_ = false;     ///< the order of floating samples
  bool wants_ends_ = false;      ///< the first sample and the last
  bool reduces_groups_ = false;  ///< many pixels side by side
  bool wants_spread_ = false;    ///< std, var, rms, or a first guess for order statistics
};

}  // namespace skipstream
