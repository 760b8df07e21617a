// Statistics of rows and the alarms on them, against their definitions; and what is refused.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/config/toml.hpp"
#include "skipstream/pipeline/alarms.hpp"

using namespace skipstream;

namespace {

const double nan = std::numeric_limits<double>::quiet_NaN();

struct Told {
  std::size_t alarm;
  std::int64_t first_row;
  std::int64_t row;
  double value;
  bool operator==(const Told&) const = default;
};

/// Rows of one pixel each of the value and mask given.
struct Image {
  std::int64_t n_cols = 1;
  std::vector<double> values;
  std::vector<std::uint32_t> mask;
  [[nodiscard]] std::int64_t n_rows() const {
    return static_cast<std::int64_t>(values.size()) / n_cols;
  }
};

struct Watching {
  std::vector<RowStatistics> rows;
  std::vector<Told> told;
};

ImageInfo info_of(const Image& image) {
  ImageInfo info;
  info.n_cols = image.n_cols;
  return info;
}

/// What a watch tells of an image that comes in chunks of so many rows.
Watching watch(Image image, const ImageInfo& info, double gain,
               const std::vector<Alarm::Config>& alarms, std::int64_t rows_together = 3,
               std::int64_t n_clusters = 0) {
  Watching found;
  RowWatch watch;
  watch.row_taps.emplace_back([&](const RowStatistics& row) { found.rows.push_back(row); });
  watch.alarm_taps.emplace_back([&](const AlarmEvent& event) {
    found.told.push_back({event.alarm, event.first_row, event.row, event.value});
    const auto& alarm = alarms.at(event.alarm);
    check::that(event.name == alarm.name && event.when == alarm.when);
  });
  watch.begin(info, gain, true, alarms);
  for (std::int64_t row = 0; row < image.n_rows(); row += rows_together) {
    double* plane = image.values.data() + row * image.n_cols;
    PixelChunk chunk;
    chunk.planes = {&plane, 1};
    chunk.mask = image.mask.data() + row * image.n_cols;
    chunk.first_row = row;
    chunk.n_rows = std::min(rows_together, image.n_rows() - row);
    chunk.n_cols = image.n_cols;
    watch.observe(chunk);
  }
  watch.finish(n_clusters);
  return found;
}

double middle_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= 1e-12 * std::abs(b);
}

void statistics_of_rows_are_their_definition() {
  std::mt19937 random(3);
  Image image;
  image.n_cols = 12;
  for (std::int64_t i = 0; i < 40 * image.n_cols; ++i) {
    const bool lost = i / image.n_cols == 7 || random() % 9 == 0;
    image.values.push_back(lost ? nan : static_cast<double>(random() % 1000));
    std::uint32_t bits = 0;
    if (random() % 2 == 0) bits = 1U << random() % 15;
    if (random() % 9 == 0) bits |= 1U << random() % 15;
    image.mask.push_back(bits);
  }
  for (const std::int64_t prescan : {0, 2}) {
    for (const std::int64_t overscan : {0, 1, 2, 3, 4, 10}) {
      for (const bool add_maximum : {false, true}) {
        for (const double gain : {1.0, 2.5, nan}) {
          ImageInfo info = info_of(image);
          info.prescan_cols = prescan;
          info.overscan_cols = overscan;
          info.add_maximum = add_maximum;
          const Watching found = watch(image, info, gain, {}, 7);
          check::equal(found.rows.size(), std::size_t{40});
          for (std::int64_t r = 0; r < 40; ++r) {
            const auto& row = found.rows[static_cast<std::size_t>(r)];
            std::vector<double> usable;
            std::int64_t n_flagged = 0;
            std::int64_t n_saturated = 0;
            std::int64_t n_missing = 0;
            for (std::int64_t c = 0; c < 12; ++c) {
              const auto i = static_cast<std::size_t>(12 * r + c);
              const std::uint32_t bits = image.mask[i];
              n_flagged += bits != 0;
              n_saturated += (bits & mask_bit::saturated) != 0;
              n_missing += (bits & mask_bit::no_data) != 0 || (bits & mask_bit::missing_skips) != 0;
              const bool is_in =
                  overscan >= 3 ? c >= 12 - overscan : c >= prescan && c < 12 - overscan;
              if (is_in && (bits & unusable_bits) == 0 && std::isfinite(image.values[i])) {
                usable.push_back(image.values[i]);
              }
            }
            check::equal(row.row, r);
            check::equal(row.n_flagged, n_flagged);
            check::equal(row.n_saturated, n_saturated);
            check::equal(row.n_missing, n_missing);
            double median = nan;
            double noise = nan;
            if (!usable.empty()) {
              median = middle_of(usable);
              for (double& value : usable) value = std::abs(value - median);
              noise = middle_of(usable) / 0.6744897501960817;
            }
            check::that(same(row.pedestal, add_maximum ? nan : median), "pedestal");
            check::that(same(row.noise, noise), "noise");
            check::that(same(row.noise_e, noise / gain), "noise_e");
          }
        }
      }
    }
  }
}

Alarm::Config alarm(const std::string& when) {
  return {.when = when, .name = "name of " + when, .command = {}};
}

/// Rows of one pixel have their value as pedestal, and no noise.
Image rows_of(const std::vector<double>& values) {
  return {1, values, std::vector<std::uint32_t>(values.size())};
}

void an_alarm_is_told_once_for_each_stretch_of_rows() {
  const std::vector<double> values{1, 3, 4, 5, 3, 2, 4, nan, 4, 4, 3, 9, 9, 0, 4, 4, 4, 4};
  const Image image = rows_of(values);
  for (const std::string sign : {">", ">=", "<", "<="}) {
    for (const std::int64_t n_rows : {0, 1, 2, 3}) {
      std::string when = "pedestal " + sign + " 3";
      if (n_rows > 0) when += " for " + std::to_string(n_rows) + (n_rows == 1 ? " row" : " rows");
      std::vector<Told> expected;
      const auto needed = static_cast<std::size_t>(std::max<std::int64_t>(n_rows, 1));
      const auto holds = [&](std::size_t i) {
        const double x = values[i];
        return sign == ">" ? x > 3 : sign == ">=" ? x >= 3 : sign == "<" ? x < 3 : x <= 3;
      };
      for (std::size_t begin = 0; begin < values.size(); ++begin) {
        if (!holds(begin) || (begin > 0 && holds(begin - 1))) continue;
        std::size_t end = begin;
        while (end < values.size() && holds(end)) ++end;
        if (end - begin < needed) continue;
        const std::size_t last = begin + needed - 1;
        expected.push_back(
            {0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(last), values[last]});
      }
      for (const std::int64_t rows_together : {1, 4, 100}) {
        const auto found = watch(image, info_of(image), 1, {alarm(when)}, rows_together);
        check::that(found.told == expected, when);
      }
    }
  }
}

void every_statistic_of_rows_can_be_watched() {
  using namespace mask_bit;
  Image image;
  image.n_cols = 3;
  image.values = {10, 12, 17, 10, 10, 10};
  image.mask = {0, 0, 0, saturated, no_data, missing_skips | saturated};
  const double noise = 2 / 0.6744897501960817;
  const std::vector<Alarm::Config> alarms{alarm("pedestal > 11"),  alarm("noise > 2"),
                                          alarm("noise_e > 1"),    alarm("n_flagged > 2"),
                                          alarm("n_missing > 1"),  alarm("n_saturated >= 2"),
                                          alarm("n_saturated > 2")};
  auto found = watch(image, info_of(image), 2.0, alarms).told;
  check::equal(found.size(), std::size_t{6});
  if (found.size() != 6) return;
  for (const std::size_t i : {1, 2}) {
    check::that(same(found[i].value, i == 1 ? noise : noise / 2), "noise");
    found[i].value = 0;
  }
  const std::vector<Told> expected{{0, 0, 0, 12}, {1, 0, 0, 0}, {2, 0, 0, 0},
                                   {3, 1, 1, 3},  {4, 1, 1, 2}, {5, 1, 1, 2}};
  check::that(found == expected);
}

void an_image_is_judged_at_its_end() {
  using namespace mask_bit;
  // The third row has no usable pixel, and is not in the means.
  Image image;
  image.n_cols = 3;
  image.values = {10, 12, 14, 20, 21, 29, nan, nan, nan, 1, 2, 3};
  image.mask = {0,       0,       0,       saturated, 0,    saturated | missing_skips,
                no_data, no_data, no_data, 0,         edge, saturated};
  const double mad = (2 + 1 + 1) / 3.0 / 0.6744897501960817;
  const std::vector<std::pair<std::string, double>> statistics{
      {"mean_pedestal", (12 + 21 + 2) / 3.0},
      {"mean_noise", mad},
      {"mean_noise_e", mad / 4},
      {"total_flagged", 7},
      {"total_saturated", 3},
      {"total_missing", 4},
      {"n_clusters", 11}};
  for (const auto& [name, value] : statistics) {
    const auto below = std::to_string(value - 0.01);
    const auto above = std::to_string(value + 0.01);
    const auto found = watch(image, info_of(image), 4.0,
                             {alarm(name + " > " + below), alarm(name + " > " + above),
                              alarm(name + " <= " + above), alarm(name + " < " + below)},
                             3, 11)
                           .told;
    check::equal(found.size(), std::size_t{2}, name);
    if (found.size() != 2) continue;
    check::equal(found[0].alarm, std::size_t{0}, name);
    check::equal(found[1].alarm, std::size_t{2}, name);
    for (const auto& told : found) {
      check::that(told.first_row == 0 && told.row == 3 && same(told.value, value), name);
    }
  }
  // Of rows without a usable pixel there is no mean, which is neither high nor low.
  const auto nothing = watch(rows_of({nan, nan}), info_of(rows_of({nan})), 1,
                             {alarm("mean_noise > -1"), alarm("mean_pedestal <= 9"),
                              alarm("noise >= 0"), alarm("total_missing < 1")});
  check::that(nothing.told == std::vector<Told>{{3, 0, 1, 0}});
}

void conditions_are_read_or_refused_in_words() {
  const Image image = rows_of({7});
  const auto begin = [&](const std::string& when, const ImageInfo& info, double gain = 1,
                         bool has_clusters = true) {
    RowWatch watch;
    watch.begin(info, gain, has_clusters, {alarm("noise > 1"), alarm(when)});
  };
  for (const char* good :
       {"pedestal > 6", "  pedestal   >  6  ", "pedestal >= 7.0", "pedestal < 7.5e0 for 1 row",
        "pedestal <= 7 for 1 rows", "pedestal > -1e300"}) {
    check::equal(watch(image, info_of(image), 1, {alarm(good)}).told.size(), std::size_t{1}, good);
  }
  for (const char* wrong : {"",
                            "pedestal",
                            "pedestal >",
                            "> 6",
                            "pedestal = 6",
                            "pedestal == 6",
                            "pedestal => 6",
                            "pedestal > x",
                            "pedestal > 6x",
                            "pedestal > inf",
                            "pedestal > nan",
                            "pedestal > 6 for",
                            "pedestal > 6 for 2",
                            "pedestal > 6 for 0 rows",
                            "pedestal > 6 for -1 rows",
                            "pedestal > 6 for 2.5 rows",
                            "pedestal > 6 for x rows",
                            "pedestal > 6 for 2 cols",
                            "pedestal > 6 in 2 rows",
                            "pedestal > 6 for 2 rows more",
                            "pedestal > 6 or",
                            "x 6 > 5",
                            "pedestal x 6 for 2 rows",
                            "pedestal > x for 2 rows"}) {
    const std::string message =
        "alarm[1].when: must be such as \"noise_e > 0.25\" or \"noise_e > "
        "0.25 for 5 rows\"; got \"" +
        std::string(wrong) + "\"";
    check::throws<ConfigError>([&] { begin(wrong, info_of(image)); }, message);
  }
  check::throws<ConfigError>([&] { begin("pedestl > 6", info_of(image)); },
                             "alarm[1].when: no statistic \"pedestl\"; did you mean \"pedestal\"?");
  check::throws<ConfigError>([&] { begin("x > 6", info_of(image)); },
                             "known: pedestal, noise, noise_e");
  check::throws<ConfigError>(
      [&] { begin("mean_noise > 6 for 2 rows", info_of(image)); },
      "alarm[1].when: mean_noise is of the whole image; remove \"for 2 rows\"");
  for (const std::string name : {"noise_e", "mean_noise_e"}) {
    check::throws<ConfigError>([&] { begin(name + " > 6", info_of(image), nan); },
                               "alarm[1].when: " + name + " needs a gain");
  }
  begin("noise > 6", info_of(image), nan);
  ImageInfo turned = info_of(image);
  turned.add_maximum = true;
  for (const std::string name : {"pedestal", "mean_pedestal"}) {
    check::throws<ConfigError>([&] { begin(name + " > 6", turned); },
                               "alarm[1].when: " + name +
                                   " is not known before the last row with "
                                   "correct_polarity.method = \"max\"");
  }
  begin("mean_noise > 6", turned);
  check::throws<ConfigError>([&] { begin("n_clusters > 6", info_of(image), 1, false); },
                             "alarm[1].when: n_clusters needs the stage find_clusters");
  begin("total_flagged > 6", info_of(image), 1, false);
}

void tables_become_alarms_with_all_their_mistakes() {
  const auto tables_of = [](const char* text) { return *parse_toml(text).root.find("alarm"); };
  Problems problems;
  const auto good = make_alarms(
      tables_of("[[alarm]]\nwhen = 'noise > 2'\n[[alarm]]\nwhen = 'noise < 1 for 3 rows'\n"
                "name = 'quiet'\ncommand = ['a', 'b']"),
      problems);
  check::that(problems.empty());
  check::equal(good.size(), std::size_t{2});
  check::that(good[0].when == "noise > 2" && good[0].name == "noise > 2");
  check::that(good[0].command.empty());
  check::that(good[1].when == "noise < 1 for 3 rows" && good[1].name == "quiet");
  check::that(good[1].command == std::vector<std::string>{"a", "b"});
  const auto problems_of = [&](const char* text) {
    Problems found;
    make_alarms(tables_of(text), found);
    std::string all;
    for (const auto& problem : found) all += problem + "\n";
    return all;
  };
  check::equal(problems_of("alarm = 3"), std::string("alarm: must be tables, [[alarm]]\n"));
  check::equal(problems_of("alarm = [3]"),
               std::string("alarm[0]: must be a table, [[alarm]]\n"
                           "alarm[0].when: is missing; such as \"noise_e > 0.25 for 5 rows\"\n"));
  check::equal(problems_of("[[alarm]]\nwhen = 'noise > 2'\n[[alarm]]\nnam = 'x'\nwhen = 4\n"
                           "[[alarm]]\nwhen = 'nois > 2'"),
               std::string("alarm[1].when: must be a string; got 4\n"
                           "alarm[1]: no key \"nam\"; did you mean \"name\"?\n"
                           "alarm[2].when: no statistic \"nois\"; did you mean \"noise\"?\n"));
}

void memory_is_what_is_told() {
  ImageInfo info;
  info.n_cols = 100;
  info.prescan_cols = 10;
  info.overscan_cols = 20;
  RowWatch watch;
  watch.begin(info, 1, false, {});
  // Twice the 20 columns of the overscan, in doubles.
  check::equal(watch.bytes(), std::int64_t{320});
}

}  // namespace

int main() {
  statistics_of_rows_are_their_definition();
  an_alarm_is_told_once_for_each_stretch_of_rows();
  every_statistic_of_rows_can_be_watched();
  an_image_is_judged_at_its_end();
  conditions_are_read_or_refused_in_words();
  tables_become_alarms_with_all_their_mistakes();
  memory_is_what_is_told();
  return check::failures();
}
