#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/chunk.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/parse.hpp"

namespace skipstream {

/// What a row is like when its skips have been reduced: in the overscan where that has 3 columns or
/// more, else in the active pixels. Pixels that are masked as unusable are left out.
struct RowStatistics {
  std::int64_t row = 0;
  double pedestal = 0;         ///< median of the first plane, in its unit; NaN: no pixel is usable
  double noise = 0;            ///< 1.4826 MAD
  double noise_e = 0;          ///< in electrons; NaN where the gain is not known
  std::int64_t n_flagged = 0;  ///< pixels of the row with any bit of the mask
  std::int64_t n_saturated = 0;  ///< pixels of the row
  std::int64_t n_missing = 0;    ///< pixels of the row that lack samples, some or all
};

/// What an alarm may look at.
struct AlarmStatistic {
  std::string_view name;
  std::string_view doc;
  bool of_image = false;  ///< known when the image has ended
};
inline constexpr std::array<AlarmStatistic, 13> alarm_statistics{{
    {"pedestal", "median of the row's overscan, in the unit of the samples", false},
    {"noise", "1.4826 MAD of the row's overscan, in the unit of the samples", false},
    {"noise_e", "the same in electrons; needs a calibrate with a known gain", false},
    {"n_flagged", "pixels of the row with a bit in the mask, before stages on pixels", false},
    {"n_saturated", "saturated pixels of the row", false},
    {"n_missing", "pixels of the row that lack samples, some or all", false},
    {"mean_pedestal", "mean of the rows' pedestals", true},
    {"mean_noise", "mean of the rows' noises", true},
    {"mean_noise_e", "mean of the rows' noises, in electrons", true},
    {"total_flagged", "flagged pixels of all rows", true},
    {"total_saturated", "saturated pixels of all rows", true},
    {"total_missing", "pixels of all rows that lack samples", true},
    {"n_clusters", "clusters of the image; needs find_clusters", true},
}};

/// A `[[alarm]]` of a config.
struct Alarm {
  static constexpr StageTitle title{"alarm",
                                    "Tell when rows, or a whole image, are not as they should be."};
  struct Config {
    std::string when;
    std::string name;
    std::vector<std::string> command;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("when", &C::when,
              "The condition: statistic, >, >=, < or <=, number, and perhaps \"for N rows\" one "
              "after "
              "another, such as \"noise_e > 0.25 for 5 rows\". It is told once, and again only "
              "after a "
              "row that is fine."),
        field("name", &C::name, "What the alarm is called in messages. Default: the condition."),
        field("command", &C::command,
              "Program and arguments to start, without a shell; only where the user allows it "
              "(--alarm-commands). SKIPSTREAM_ALARM, _PATH, _AMPLIFIER, _ROW and _VALUE tell it "
              "what has happened."));
  }
};

/// Reads `[[alarm]]` tables; every mistake is added to `problems`, beginning with `alarm[0]`.
std::vector<Alarm::Config> make_alarms(const Value& tables, Problems& problems);

/// An alarm that has come. The texts live as long as the pipeline.
struct AlarmEvent {
  std::size_t alarm = 0;  ///< its number in the config
  std::string_view name;
  std::string_view when;
  std::int64_t first_row = 0;  ///< since which the condition holds; 0 of an image
  std::int64_t row = 0;        ///< the last row so far
  double value = 0;            ///< of that row, or of the image
};

/// Looks at every row that leaves the reduction, and compares it with the alarms.
class RowWatch {
 public:
  using RowTap = std::function<void(const RowStatistics& row)>;
  using AlarmTap = std::function<void(const AlarmEvent& event)>;

  RowWatch() = default;
  /// `gain` is NaN where it is not known, 1 of pixels in electrons. Throws ConfigError where an
  /// alarm needs what is not known of the image.
  void begin(const ImageInfo& image, double gain, bool has_clusters,
             const std::vector<Alarm::Config>& alarms);
  [[nodiscard]] std::int64_t bytes() const {
    return static_cast<std::int64_t>((values_.capacity() + work_.capacity()) * sizeof(double));
  }

  void observe(const PixelChunk& chunk);
  /// The image has ended.
  void finish(std::int64_t n_clusters);

  std::vector<RowTap> row_taps;
  std::vector<AlarmTap> alarm_taps;

 private:
  struct Watched {
    Alarm::Config alarm;
    std::size_t statistic = 0;  ///< number in alarm_statistics
    bool above = true;
    bool or_equal = false;
    double limit = 0;
    std::int64_t n_rows = 1;
    std::int64_t n_so_far = 0;

    [[nodiscard]] bool holds(double value) const;
  };

  friend std::vector<Alarm::Config> make_alarms(const Value& tables, Problems& problems);
  static std::string parse(const std::string& when, Watched& watched);
  [[nodiscard]] RowStatistics statistics_of(const PixelChunk& chunk, std::int64_t r);
  void raise(std::size_t number, std::int64_t row, double value);

  std::int64_t begin_col_ = 0;
  std::int64_t end_col_ = 0;
  double gain_ = 1;
  bool has_pedestal_ = true;  ///< not while samples have their largest one still to be added
  std::vector<Watched> watched_;
  Array<double> values_;
  Array<double> work_;
  std::array<double, 3> sums_{};          ///< of pedestal, noise, noise_e
  std::array<std::int64_t, 3> totals_{};  ///< of flagged, saturated, missing
  std::int64_t n_known_ = 0;              ///< rows with a noise
  std::int64_t last_row_ = 0;
};

}  // namespace skipstream
