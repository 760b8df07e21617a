#include "skipstream/pipeline/alarms.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <system_error>
#include <utility>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/location.hpp"

namespace skipstream {

namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t begin = text.find_first_not_of(' ');
    if (begin == std::string_view::npos) return words;
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

template <class Number>
bool read_number(std::string_view word, Number& number) {
  const auto read = std::from_chars(word.data(), word.data() + word.size(), number);
  return read.ec == std::errc() && read.ptr == word.data() + word.size();
}

}  // namespace

bool RowWatch::Watched::holds(double value) const {
  return (above ? value > limit : value < limit) || (or_equal && value == limit);
}

/// What is wrong with a condition, in words; empty: nothing.
std::string RowWatch::parse(const std::string& when, Watched& watched) {
  const auto words = words_of(when);
  const bool has_rows = words.size() == 6 && words[3] == "for" &&
                        (words[5] == "rows" || words[5] == "row") &&
                        read_number(words[4], watched.n_rows) && watched.n_rows >= 1;
  const bool is_comparison = words.size() >= 3 && (words[1] == ">" || words[1] == ">=" ||
                                                   words[1] == "<" || words[1] == "<=");
  if (!is_comparison || !(words.size() == 3 || has_rows) || !read_number(words[2], watched.limit) ||
      !std::isfinite(watched.limit)) {
    return "must be such as \"noise_e > 0.25\" or \"noise_e > 0.25 for 5 rows\"; got " +
           Value(when).text();
  }
  watched.above = words[1][0] == '>';
  watched.or_equal = words[1].size() == 2;
  std::vector<std::string> names;
  for (const auto& statistic : alarm_statistics) {
    if (statistic.name == words[0]) watched.statistic = names.size();
    names.emplace_back(statistic.name);
  }
  if (names[watched.statistic] != words[0]) return "no statistic " + unknown_name(words[0], names);
  if (has_rows && alarm_statistics[watched.statistic].of_image) {
    return std::string(words[0]) + " is of the whole image; remove \"for " + std::string(words[4]) +
           " rows\"";
  }
  return "";
}

std::vector<Alarm::Config> make_alarms(const Value& tables, Problems& problems) {
  std::vector<Alarm::Config> alarms;
  const auto* list = tables.get_if<Value::List>();
  if (list == nullptr) {
    problems.emplace_back("alarm: must be tables, [[alarm]]");
    return alarms;
  }
  for (const auto& table : *list) {
    std::string where = "alarm[";
    where.append(std::to_string(alarms.size())).append("]");
    if (table.get_if<Value::Table>() == nullptr) {
      problems.push_back(where + ": must be a table, [[alarm]]");
    }
    alarms.push_back(parse_stage<Alarm>(table, where, problems));
    RowWatch::Watched watched;
    const Value* when = table.find("when");
    if (when == nullptr) {
      problems.push_back(where + ".when: is missing; such as \"noise_e > 0.25 for 5 rows\"");
    } else if (when->get_if<std::string>() != nullptr) {
      const std::string wrong = RowWatch::parse(alarms.back().when, watched);
      if (!wrong.empty()) problems.push_back(where + ".when: " + wrong);
    }
    if (alarms.back().name.empty()) alarms.back().name = alarms.back().when;
  }
  return alarms;
}

void RowWatch::begin(const ImageInfo& image, double gain, bool has_clusters,
                     const std::vector<Alarm::Config>& alarms) {
  constexpr std::int64_t min_overscan = 3;
  const bool in_overscan = image.overscan_cols >= min_overscan;
  begin_col_ = in_overscan ? image.end_active_col() : image.begin_active_col();
  end_col_ = in_overscan ? image.n_cols : image.end_active_col();
  gain_ = gain;
  has_pedestal_ = !image.add_maximum;
  for (const auto& alarm : alarms) {
    Watched watched{.alarm = alarm};
    const std::string where = "alarm[" + std::to_string(watched_.size()) + "].when: ";
    const std::string wrong = parse(alarm.when, watched);
    if (!wrong.empty()) throw ConfigError(where + wrong);
    const std::string_view name = alarm_statistics[watched.statistic].name;
    if (name.ends_with("noise_e") && std::isnan(gain_)) {
      throw ConfigError(where + std::string(name) +
                        " needs a gain that is known before the first row; add the stage calibrate "
                        "with a number, or use noise");
    }
    if (name.ends_with("pedestal") && !has_pedestal_) {
      throw ConfigError(where + std::string(name) +
                        " is not known before the last row with correct_polarity.method = \"max\"");
    }
    if (name == "n_clusters" && !has_clusters) {
      throw ConfigError(where + "n_clusters needs the stage find_clusters");
    }
    watched_.push_back(std::move(watched));
  }
  values_.reserve(static_cast<std::size_t>(end_col_ - begin_col_));
  work_.resize(values_.capacity());
}

RowStatistics RowWatch::statistics_of(const PixelChunk& chunk, std::int64_t r) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto row = chunk.row(0, r);
  const auto mask = chunk.mask_row(r);
  values_.clear();
  for (auto i = static_cast<std::size_t>(begin_col_); i < static_cast<std::size_t>(end_col_); ++i) {
    if ((mask[i] & unusable_bits) == 0 && std::isfinite(row[i])) values_.push_back(row[i]);
  }
  RowStatistics found{.row = chunk.first_row + r, .pedestal = nan, .noise = nan, .noise_e = nan};
  if (!values_.empty()) {
    const auto location = kernels::median_and_mad(values_, work_);
    if (has_pedestal_) found.pedestal = location.value;
    found.noise = location.sigma;
    found.noise_e = location.sigma / gain_;
  }
  for (const std::uint32_t bits : mask) {
    found.n_flagged += bits != 0 ? 1 : 0;
    found.n_saturated += (bits & mask_bit::saturated) != 0 ? 1 : 0;
    found.n_missing += (bits & (mask_bit::no_data | mask_bit::missing_skips)) != 0 ? 1 : 0;
  }
  return found;
}

void RowWatch::raise(std::size_t number, std::int64_t row, double value) {
  const auto& watched = watched_[number];
  const bool of_image = alarm_statistics[watched.statistic].of_image;
  const AlarmEvent event{
      number, watched.alarm.name, watched.alarm.when, of_image ? 0 : row - watched.n_rows + 1, row,
      value};
  for (const auto& tap : alarm_taps) tap(event);
}

void RowWatch::observe(const PixelChunk& chunk) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const RowStatistics found = statistics_of(chunk, r);
    last_row_ = found.row;
    if (!std::isnan(found.noise)) {
      ++n_known_;
      sums_[0] += found.pedestal;
      sums_[1] += found.noise;
      sums_[2] += found.noise_e;
    }
    totals_[0] += found.n_flagged;
    totals_[1] += found.n_saturated;
    totals_[2] += found.n_missing;
    for (const auto& tap : row_taps) tap(found);
    const std::array<double, 6> values{found.pedestal,
                                       found.noise,
                                       found.noise_e,
                                       static_cast<double>(found.n_flagged),
                                       static_cast<double>(found.n_saturated),
                                       static_cast<double>(found.n_missing)};
    for (std::size_t i = 0; i < watched_.size(); ++i) {
      auto& watched = watched_[i];
      if (alarm_statistics[watched.statistic].of_image) continue;
      const double value = values[watched.statistic];
      watched.n_so_far = watched.holds(value) ? watched.n_so_far + 1 : 0;
      if (watched.n_so_far == watched.n_rows) raise(i, found.row, value);
    }
  }
}

void RowWatch::finish(std::int64_t n_clusters) {
  const auto n = static_cast<double>(n_known_);
  const std::array<double, 7> values{sums_[0] / n,
                                     sums_[1] / n,
                                     sums_[2] / n,
                                     static_cast<double>(totals_[0]),
                                     static_cast<double>(totals_[1]),
                                     static_cast<double>(totals_[2]),
                                     static_cast<double>(n_clusters)};
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    if (!alarm_statistics[watched_[i].statistic].of_image) continue;
    const double value = values[watched_[i].statistic - (alarm_statistics.size() - values.size())];
    if (watched_[i].holds(value)) raise(i, last_row_, value);
  }
}

}  // namespace skipstream
