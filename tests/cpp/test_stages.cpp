// Each stage alone, pushed rows one by one, several at once and all at once, against values worked
// out by hand or by a slow definition.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/location.hpp"
#include "skipstream/kernels/spline.hpp"
#include "skipstream/stages/calibrate.hpp"
#include "skipstream/stages/correct_leach.hpp"
#include "skipstream/stages/correct_polarity.hpp"
#include "skipstream/stages/mask_bleeding.hpp"
#include "skipstream/stages/mask_columns.hpp"
#include "skipstream/stages/mask_crowded.hpp"
#include "skipstream/stages/mask_edges.hpp"
#include "skipstream/stages/mask_halo.hpp"
#include "skipstream/stages/mask_hot.hpp"
#include "skipstream/stages/mask_noisy_rows.hpp"
#include "skipstream/stages/mask_rows.hpp"
#include "skipstream/stages/mask_serial_hits.hpp"
#include "skipstream/stages/replace_saturated.hpp"
#include "skipstream/stages/subtract_baseline.hpp"
#include "skipstream/stages/subtract_pedestal.hpp"

using namespace skipstream;

namespace {

const double nan = std::numeric_limits<double>::quiet_NaN();

using Plane = std::vector<double>;

/// Pixels as they enter a stage, or leave it.
struct Pixels {
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;
  std::vector<PlaneInfo> infos;
  std::vector<Plane> planes;
  std::vector<std::uint32_t> mask;
};

bool same(const Plane& a, const Plane& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double x, double y) {
    return (std::isnan(x) && std::isnan(y)) ||
           std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
  });
}

Pixels pixels(std::int64_t n_cols, const std::vector<Plane>& planes,
              std::vector<PlaneInfo> infos = {}) {
  Pixels made;
  made.n_cols = n_cols;
  made.n_rows = static_cast<std::int64_t>(planes[0].size()) / n_cols;
  for (std::size_t p = infos.size(); p < planes.size(); ++p) {
    infos.push_back({"plane" + std::to_string(p), "adu", PlaneKind::location});
  }
  made.infos = infos;
  made.planes = planes;
  made.mask.assign(planes[0].size(), 0);
  return made;
}

ImageInfo image_of(const Pixels& input) {
  ImageInfo image;
  image.n_rows = input.n_rows;
  image.n_cols = input.n_cols;
  return image;
}

/// Appends the rows that leave a stage, which must come in order.
class Collector : public StageOutput {
 public:
  explicit Collector(Pixels& result) : result_(result) {}
  void push(PixelChunk& chunk) override {
    check::equal(chunk.first_row, result_.n_rows, "rows leave in order");
    check::equal(chunk.n_cols, result_.n_cols);
    check::equal(chunk.planes.size(), result_.planes.size(), "planes");
    result_.n_rows += chunk.n_rows;
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (std::size_t p = 0; p < chunk.planes.size(); ++p) {
        const auto row = chunk.row(p, r);
        result_.planes[p].insert(result_.planes[p].end(), row.begin(), row.end());
      }
      const auto mask = chunk.mask_row(r);
      result_.mask.insert(result_.mask.end(), mask.begin(), mask.end());
    }
  }
  void append(std::size_t /*table*/, std::span<const Cell> /*cells*/) override {
    check::that(false, "these stages have no table");
  }

 private:
  Pixels& result_;
};

struct Outcome {
  StagePlan plan;
  Pixels pixels;
  std::vector<Finding> findings;
};

Outcome push_through(PixelStage& stage, const ImageInfo& image, const Pixels& input,
                     std::int64_t rows_at_once) {
  Outcome outcome;
  outcome.plan = stage.begin(image, input.infos);
  outcome.pixels.n_cols = input.n_cols;
  outcome.pixels.infos = outcome.plan.planes;
  outcome.pixels.planes.resize(outcome.plan.planes.size());
  Collector collector(outcome.pixels);
  std::int64_t latest = 0;
  for (const bool observing : {true, false}) {
    if (observing && !outcome.plan.barrier) continue;
    for (std::int64_t row = 0; row < input.n_rows; row += rows_at_once) {
      const std::int64_t n = std::min(rows_at_once, input.n_rows - row);
      // Copies with a row behind the last, a noisy one, that is not for the stage.
      const auto beyond = [&](std::size_t plane) {
        Plane values;
        for (std::int64_t c = 0; c < input.n_cols; ++c) {
          values.push_back((plane == 0 ? -1e7 : -1e6) * static_cast<double>(1 + c % 3));
        }
        return values;
      };
      constexpr std::uint32_t mask_beyond = 0xff00;
      std::vector<Plane> planes;
      std::vector<double*> pointers;
      for (const auto& plane : input.planes) {
        auto& copy = planes.emplace_back(plane.begin() + row * input.n_cols,
                                         plane.begin() + (row + n) * input.n_cols);
        const Plane last = beyond(planes.size() - 1);
        copy.insert(copy.end(), last.begin(), last.end());
      }
      for (auto& plane : planes) pointers.push_back(plane.data());
      std::vector<std::uint32_t> mask(input.mask.begin() + row * input.n_cols,
                                      input.mask.begin() + (row + n) * input.n_cols);
      mask.insert(mask.end(), static_cast<std::size_t>(input.n_cols), mask_beyond);
      PixelChunk chunk{pointers, mask.data(), row, n, input.n_cols};
      if (observing) {
        stage.observe(chunk);
      } else {
        stage.push(chunk, collector);
        latest = std::max(latest, row + n - outcome.pixels.n_rows);
      }
      bool stay = std::all_of(mask.begin() + n * input.n_cols, mask.end(),
                              [&](std::uint32_t bits) { return bits == mask_beyond; });
      for (std::size_t p = 0; p < planes.size(); ++p) {
        const Plane last = beyond(p);
        stay = stay && std::equal(last.begin(), last.end(), planes[p].begin() + n * input.n_cols);
      }
      check::that(stay, "rows beyond stay");
    }
    if (observing) stage.settle();
  }
  stage.finish(collector);
  check::equal(outcome.pixels.n_rows, input.n_rows, "every row leaves");
  check::that(latest <= outcome.plan.delay_rows, "no more delay than the plan says");
  if (rows_at_once == 1 && input.n_rows > outcome.plan.delay_rows) {
    check::equal(latest, outcome.plan.delay_rows, "and no less");
  }
  outcome.findings = stage.findings();
  return outcome;
}

/// The outcome, which must not depend on how many rows come at once.
template <class Stage>
Outcome outcome_of(const typename Stage::Config& config, const Pixels& input,
                   const ImageInfo& image) {
  Stage whole(config);
  Outcome outcome = push_through(whole, image, input, std::max<std::int64_t>(input.n_rows, 1));
  for (const std::int64_t rows_at_once : {1, 2, 3}) {
    Stage stage(config);
    const Outcome other = push_through(stage, image, input, rows_at_once);
    for (std::size_t p = 0; p < outcome.pixels.planes.size(); ++p) {
      check::that(same(other.pixels.planes[p], outcome.pixels.planes[p]), "the same rows");
    }
    check::that(other.pixels.mask == outcome.pixels.mask, "the same mask");
    for (std::size_t i = 0; i < outcome.findings.size(); ++i) {
      check::equal(other.findings.at(i).value, outcome.findings[i].value, "the same finding");
    }
  }
  return outcome;
}

// ---- stages on samples ----------------------------------------------------------------------

class SampleCollector : public SampleOutput {
 public:
  explicit SampleCollector(std::size_t row_bytes) : row_bytes_(row_bytes) {}
  void push(const SampleChunk& chunk) override {
    check::equal(chunk.first_row, n_rows, "rows leave in order");
    n_rows += chunk.n_rows;
    bytes.insert(bytes.end(), chunk.samples,
                 chunk.samples + static_cast<std::size_t>(chunk.n_rows) * row_bytes_);
  }
  std::int64_t n_rows = 0;
  std::vector<std::byte> bytes;

 private:
  std::size_t row_bytes_;
};

/// The samples that leave, for rows that come in one by one, in twos, threes and all at once.
template <class Out, class In, class Stage>
std::vector<Out> samples_of(const typename Stage::Config& config, const ImageInfo& image,
                            const std::vector<In>& samples) {
  const auto row_samples = static_cast<std::size_t>(image.n_cols * image.n_skips);
  const auto n_rows = static_cast<std::int64_t>(samples.size() / row_samples);
  std::vector<std::vector<std::byte>> results;
  for (const std::int64_t rows_at_once :
       {n_rows, std::int64_t{1}, std::int64_t{2}, std::int64_t{3}}) {
    Stage stage(config);
    ImageInfo after = image;
    const SampleStagePlan plan = stage.begin(after);
    SampleCollector collector(row_samples * sizeof(Out));
    for (std::int64_t row = 0; row < n_rows; row += rows_at_once) {
      const std::int64_t n = std::min(rows_at_once, n_rows - row);
      const auto* begin = samples.data() + static_cast<std::size_t>(row) * row_samples;
      const std::vector<In> part(begin, begin + static_cast<std::size_t>(n) * row_samples);
      stage.push({reinterpret_cast<const std::byte*>(part.data()), row, n}, collector);
      check::that(row + n - collector.n_rows <= plan.delay_rows, "no more delay than planned");
    }
    stage.finish(collector);
    check::equal(collector.n_rows, n_rows, "every row leaves");
    results.push_back(collector.bytes);
    check::that(collector.bytes == results[0], "the same samples");
  }
  std::vector<Out> found(results[0].size() / sizeof(Out));
  if (!found.empty()) std::memcpy(found.data(), results[0].data(), results[0].size());
  return found;
}

void leach_moves_the_stream_and_wraps() {
  for (const std::int64_t n_rows : {1, 2, 5}) {
    for (const std::int64_t n_cols : {1, 4}) {
      for (const std::int64_t n_skips : {1, 3}) {
        for (std::int64_t shift = 1; shift <= n_cols * n_skips; ++shift) {
          ImageInfo image;
          image.n_cols = n_cols;
          image.n_skips = n_skips;
          std::vector<std::uint16_t> samples;
          for (std::int64_t i = 0; i < n_rows * n_cols * n_skips; ++i) {
            samples.push_back(static_cast<std::uint16_t>(300 * i));
          }
          auto expected = samples;
          std::rotate(expected.begin(), expected.begin() + shift, expected.end());
          check::that(samples_of<std::uint16_t, std::uint16_t, CorrectLeach>(
                          {.shift = shift}, image, samples) == expected);
        }
      }
    }
  }
  ImageInfo image;
  image.n_cols = 3;
  image.n_skips = 4;
  check::throws<ConfigError>(
      [&] { CorrectLeach({.shift = 13}).begin(image); },
      "correct_leach.shift: must be at most the 12 samples of a row; got 13");
  const auto plan = CorrectLeach({.shift = 5}).begin(image);
  check::equal(plan.delay_rows, std::int64_t{1});
  check::equal(plan.state_bytes, std::int64_t{2 * (12 + 5 + 5)}, "a row, and its ends");
  check::that(!plan.format_only);
  check::that(
      samples_of<std::uint16_t, std::uint16_t, CorrectLeach>({.shift = 1}, image, {}).empty());
}

void polarity_changes_what_samples_mean() {
  ImageInfo image;
  image.format.scale = 2;
  image.format.zero = 100;
  for (const auto& [method, zero] : {std::pair{PolarityMethod::negate, -100.0},
                                     {PolarityMethod::offset, 900.0},
                                     {PolarityMethod::max, -100.0}}) {
    ImageInfo after = image;
    const auto plan = CorrectPolarity({.method = method, .offset = 1000}).begin(after);
    check::equal(after.format.scale, -2.0);
    check::equal(after.format.zero, zero);
    check::equal(after.add_maximum, method == PolarityMethod::max);
    check::equal(plan.delay_rows, std::int64_t{0});
    check::equal(plan.state_bytes, std::int64_t{0});
    check::that(plan.format_only);
  }
  image.n_cols = 2;
  const std::vector<std::uint16_t> samples{1, 2, 3, 4, 5, 6};
  check::that(
      samples_of<std::uint16_t, std::uint16_t, CorrectPolarity>({}, image, samples) == samples,
      "the samples stay");
}

void the_maximum_is_added_to_what_moves_with_it() {
  using List = std::vector<std::string>;
  check::that(AddMaximum::needs({"mean", "std"}) == List{"min"});
  check::that(AddMaximum::needs({"sum"}) == List{"min", "count"});
  check::that(AddMaximum::needs({"median", "rms"}) == List{"min", "mean"});
  check::that(AddMaximum::needs({"rms", "sum"}) == List{"min", "count", "mean"});

  // Samples q, of two or three a pixel; the largest is 40.
  const std::vector<std::vector<double>> q{{1, 3}, {7, 7, 10}, {40, 20}, {5}, {6, 8}, {30, 31}};
  const std::vector<PlaneInfo> infos{
      {"mean", "adu", PlaneKind::location}, {"sum", "adu", PlaneKind::other},
      {"rms", "adu", PlaneKind::other},     {"max", "adu", PlaneKind::location},
      {"ptp", "adu", PlaneKind::spread},    {"count", "", PlaneKind::other},
      {"min", "adu", PlaneKind::location}};
  const auto planes_of = [&](auto turned) {
    std::vector<Plane> planes(7);
    for (const auto& skips : q) {
      double sum = 0;
      double squares = 0;
      double low = turned(skips[0]);
      double high = low;
      for (const double skip : skips) {
        const double x = turned(skip);
        sum += x;
        squares += x * x;
        low = std::min(low, x);
        high = std::max(high, x);
      }
      const auto n = static_cast<double>(skips.size());
      const double all[] = {sum / n, sum, std::sqrt(squares / n), high, high - low, n, low};
      for (std::size_t p = 0; p < 7; ++p) planes[p].push_back(all[p]);
    }
    return planes;
  };
  Pixels input = pixels(2, planes_of([](double x) { return -x; }), infos);
  const auto expected = planes_of([](double x) { return 40 - x; });
  for (const std::int64_t rows_at_once : {1, 2, 3}) {
    AddMaximum stage(5);
    const Outcome outcome = push_through(stage, image_of(input), input, rows_at_once);
    check::equal(outcome.plan.planes.size(), std::size_t{5}, "count and min end here");
    check::that(outcome.plan.barrier);
    check::equal(outcome.plan.delay_rows + outcome.plan.state_bytes, std::int64_t{0});
    for (const std::size_t p : {0, 1, 2, 3, 4}) {
      for (std::size_t i = 0; i < q.size(); ++i) {
        // A mean of 7, 7 and 10 and the roots are rounded, once here and once there.
        check::that(std::abs(outcome.pixels.planes[p][i] - expected[p][i]) < 1e-13,
                    infos[p].name + " " + std::to_string(outcome.pixels.planes[p][i]));
      }
    }
    check::equal(outcome.findings.size(), std::size_t{1});
    check::equal(outcome.findings[0].name, std::string("maximum"));
    check::equal(outcome.findings[0].value, 40.0);
  }
  // The root stands first, and no sample is above 0: the maximum is the smallest loss.
  const Pixels losses = pixels(2, {{5, 3}, {4, 3}, {4, 3}, {4, 3}},
                               {infos[2], infos[0], {"min", "adu", PlaneKind::location}});
  AddMaximum below(2);
  const Outcome lost = push_through(below, image_of(losses), losses, 1);
  check::equal(lost.findings[0].value, -3.0);
  check::that(same(lost.pixels.planes[0], {std::sqrt(9.0 - 2 * 3 * 4 + 25), 0.0}));
  check::that(same(lost.pixels.planes[1], {1.0, 0.0}));

  input.planes[6].assign(q.size(), nan);
  AddMaximum stage(5);
  const Outcome outcome = push_through(stage, image_of(input), input, 2);
  check::equal(outcome.findings[0].value, 0.0, "no sample, no maximum");
  check::that(same(outcome.pixels.planes[0], input.planes[0]));
}

void a_baseline_is_that_of_the_same_sample() {
  std::mt19937 random(1);
  for (const auto method : {BaselineMethod::mean, BaselineMethod::median}) {
    for (const std::int64_t overscan : {1, 2, 3, 5, 9}) {
      ImageInfo image;
      image.n_cols = 5;
      image.n_skips = 3;
      image.overscan_cols = overscan;
      image.format.scale = 0.5;
      image.format.zero = 7;
      image.format.blank = 99;
      constexpr std::size_t n_rows = 4;
      std::vector<std::int16_t> samples;
      std::vector<double> values;
      for (std::size_t i = 0; i < n_rows * 15; ++i) {
        samples.push_back(static_cast<std::int16_t>(random() % 90));
        // The second samples of the third row are missing in all of the overscan, and only there.
        const bool in_overscan = static_cast<std::int64_t>(i / 3 % 5) >= 5 - overscan;
        const bool lacking = i / 15 == 2 && i % 3 == 1;
        if (lacking ? in_overscan : random() % 9 == 0) samples.back() = 99;
        values.push_back(samples.back() == 99 ? nan : 0.5 * samples.back() + 7);
      }
      auto expected = values;
      const auto width = static_cast<std::size_t>(std::min<std::int64_t>(overscan, 5));
      for (std::size_t r = 0; r < n_rows; ++r) {
        for (std::size_t s = 0; s < 3; ++s) {
          std::vector<double> region;
          for (std::size_t c = 5 - width; c < 5; ++c) {
            const double value = values[15 * r + 3 * c + s];
            if (!std::isnan(value)) region.push_back(value);
          }
          double level = nan;
          if (!region.empty()) {
            level = method == BaselineMethod::median ? kernels::median_of(region)
                                                     : kernels::mean_and_std(region).value;
          }
          for (std::size_t c = 0; c < 5; ++c) expected[15 * r + 3 * c + s] -= level;
        }
      }
      const auto found =
          samples_of<double, std::int16_t, SubtractBaseline>({.method = method}, image, samples);
      check::that(same(found, expected), "a baseline of " + std::to_string(overscan));
      ImageInfo after = image;
      const auto plan = SubtractBaseline({.method = method}).begin(after);
      check::that(after.format.kind == SampleKind::floating);
      check::equal(after.format.n_bytes, 8);
      check::equal(after.format.big_endian, std::endian::native == std::endian::big);
      check::that(!after.format.is_unsigned);
      check::equal(after.format.scale, 1.0);
      check::equal(after.format.zero, 0.0);
      check::that(!after.format.blank.has_value());
      check::equal(plan.delay_rows, std::int64_t{0});
      check::equal(plan.state_bytes, static_cast<std::int64_t>(8 * (15 + width)));
      check::that(!plan.format_only);
    }
  }
  ImageInfo image;
  image.n_cols = 5;
  check::throws<ConfigError>([&] { SubtractBaseline({}).begin(image); },
                             "set overscan_cols in [input]; EXT1 has none");
}

// ---- stages on pixels -----------------------------------------------------------------------

void check_stateless(const StagePlan& plan, const std::vector<PlaneInfo>& planes) {
  check::equal(plan.planes.size(), planes.size());
  check::equal(plan.delay_rows, std::int64_t{0});
  check::equal(plan.state_bytes, std::int64_t{0});
  check::that(!plan.barrier && plan.tables.empty());
}

void masks_are_those_rows_and_columns() {
  Pixels input = pixels(4, {Plane(24, 1.5), Plane(24, 2.5)});
  input.mask[5] = mask_bit::saturated;
  for (const auto& ranges : {IndexRanges{}, IndexRanges{{{0, 0}}}, IndexRanges{{{1, 2}}},
                             IndexRanges{{{3, 3}, {0, 1}}}, IndexRanges{{{0, 3}}}}) {
    std::vector<std::uint32_t> of_rows = input.mask;
    std::vector<std::uint32_t> of_columns = input.mask;
    for (std::size_t i = 0; i < 24; ++i) {
      for (const auto& [first, last] : ranges.ranges) {
        const auto row = static_cast<std::int64_t>(i / 4);
        const auto column = static_cast<std::int64_t>(i % 4);
        if (row >= first && row <= last) of_rows[i] |= mask_bit::bad_row;
        if (column >= first && column <= last) of_columns[i] |= mask_bit::bad_column;
      }
    }
    const Outcome rows = outcome_of<MaskRows>({.rows = ranges}, input, image_of(input));
    check::that(rows.pixels.mask == of_rows);
    check_stateless(rows.plan, input.infos);
    const Outcome columns = outcome_of<MaskColumns>({.columns = ranges}, input, image_of(input));
    check::that(columns.pixels.mask == of_columns);
    check_stateless(columns.plan, input.infos);
    for (const std::size_t p : {0, 1}) {
      check::that(same(rows.pixels.planes[p], input.planes[p]), "values stay");
      check::that(same(columns.pixels.planes[p], input.planes[p]), "values stay");
    }
  }
  ImageInfo image = image_of(input);
  check::throws<ConfigError>(
      [&] {
        MaskRows({.rows = {{{0, 1}, {2, 6}}}}).begin(image, input.infos);
      },
      "mask_rows.rows: must be below the 6 rows of the image; got 6");
  check::throws<ConfigError>(
      [&] {
        MaskColumns({.columns = {{{0, 1}, {2, 4}}}}).begin(image, input.infos);
      },
      "mask_columns.columns: must be below the 4 columns of the image; got 4");
  MaskRows({.rows = {{{5, 5}}}}).begin(image, input.infos);
  image.n_rows = 0;
  check::throws<ConfigError>(
      [&] {
        MaskRows({.rows = {{{0, 0}}}}).begin(image, input.infos);
      },
      "below the 0 rows");
  image.n_rows = -1;
  MaskRows({.rows = {{{100, 100}}}}).begin(image, input.infos);
}

void a_gain_divides_values_and_its_square_variances() {
  const std::vector<PlaneInfo> infos{{"mean", "adu", PlaneKind::location},
                                     {"var", "adu2", PlaneKind::spread},
                                     {"count", "", PlaneKind::other}};
  const Pixels input =
      pixels(2, {{1, 2, nan, 4, 5, 6}, {1, 4, 9, 16, 25, 36}, {3, 3, 3, 3, 3, 3}}, infos);
  for (const double gain : {0.5, 1.0, 2.5}) {
    const Outcome outcome = outcome_of<Calibrate>({.gain = {gain}}, input, image_of(input));
    for (std::size_t i = 0; i < 6; ++i) {
      const double value = input.planes[0][i] / gain;
      check::that(same({outcome.pixels.planes[0][i]}, {value}));
      check::equal(outcome.pixels.planes[1][i], input.planes[1][i] / (gain * gain));
      check::equal(outcome.pixels.planes[2][i], 3.0);
    }
    check::equal(outcome.plan.planes[0].unit, std::string("electron"));
    check::equal(outcome.plan.planes[1].unit, std::string("electron2"));
    check::equal(outcome.plan.planes[2].unit, std::string());
    check_stateless(outcome.plan, infos);
    check::equal(outcome.findings.at(0).name, std::string("gain"));
    check::equal(outcome.findings.at(0).value, gain);
  }
  for (const double gain : {0.0, -1.0, nan}) {
    check::throws<ConfigError>([&] { Calibrate({.gain = {gain}}).begin(image_of(input), infos); },
                               "calibrate.gain: must be above 0 ADU/e-; got ");
  }
  auto done = infos;
  done[0].unit = "electron";
  check::throws<ConfigError>([&] { Calibrate({}).begin(image_of(input), done); },
                             "the pixels are in electrons already");
}

void a_gain_may_be_fitted_to_the_active_pixels() {
  Plane values;
  for (int i = 0; i < 48; ++i) values.push_back(i);
  values[21] = nan;
  values[22] = std::numeric_limits<double>::infinity();
  Pixels input = pixels(8, {values, Plane(48, 9.0)},
                        {{"mean", "adu", PlaneKind::location}, {"var", "adu2", PlaneKind::spread}});
  input.mask[10] = mask_bit::saturated;
  input.mask[11] = mask_bit::bad_column;
  input.mask[12] = mask_bit::missing_skips;
  ImageInfo image = image_of(input);
  image.prescan_rows = 1;
  image.overscan_rows = 2;
  image.prescan_cols = 2;
  image.overscan_cols = 1;
  const Plane active{12, 13, 14, 18, 19, 20, 26, 27, 28, 29, 30};
  for (const std::int64_t rows_at_once : {1, 2, 6}) {
    Calibrate stage({.gain = {std::string("fit")}});
    Plane seen;
    stage.use([&](std::span<const float> fitted) {
      seen.assign(fitted.begin(), fitted.end());
      return 4.0;
    });
    const Outcome outcome = push_through(stage, image, input, rows_at_once);
    check::that(seen == active, "active and usable");
    check::that(outcome.plan.barrier);
    check::equal(outcome.plan.delay_rows, std::int64_t{0});
    check::equal(outcome.plan.state_bytes, std::int64_t{4 * 3 * 5}, "of the active pixels");
    check::equal(outcome.pixels.planes[0][9], 9 / 4.0);
    check::equal(outcome.pixels.planes[1][9], 9 / 16.0);
    check::equal(outcome.plan.planes[0].unit, std::string("electron"));
    check::equal(outcome.findings.at(0).value, 4.0);
  }
  const auto begin = [&](bool with_function) {
    Calibrate stage({.gain = {std::string("fit")}});
    if (with_function) stage.use([](std::span<const float> /*pixels*/) { return 1.0; });
    return stage.begin(image, input.infos).state_bytes;
  };
  check::throws<ConfigError>([&] { begin(false); }, "\"fit\" needs a function that fits");
  image.overscan_rows = 9;
  check::equal(begin(true), std::int64_t{0}, "more overscan than rows");
  image.n_rows = 0;
  check::equal(begin(true), std::int64_t{0});
  image.n_rows = -1;
  check::throws<ConfigError>([&] { begin(true); }, "\"fit\" needs the number of rows beforehand");
  for (const double gain : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()}) {
    Calibrate stage({.gain = {std::string("fit")}});
    stage.use([&](std::span<const float> /*pixels*/) { return gain; });
    stage.begin(image_of(input), input.infos);
    check::throws<Error>([&] { stage.settle(); }, "calibrate.gain: the fit gave ");
  }
}

void a_pixel_far_below_its_first_sample_is_replaced() {
  const std::vector<PlaneInfo> infos{{"mean", "adu", PlaneKind::location},
                                     {"std", "adu", PlaneKind::spread},
                                     {"first", "adu", PlaneKind::location}};
  const Pixels input =
      pixels(2, {{1, 2, 3, 4, nan, 6}, {0, 0, 0, 0, 0, 0}, {1, 52, 54, 54, 900, 56.5}}, infos);
  const Outcome outcome = outcome_of<ReplaceSaturated>({.limit = 50}, input, image_of(input));
  check::that(same(outcome.pixels.planes[0], {1, 2, 54, 4, nan, 56.5}));
  check::that(same(outcome.pixels.planes[1], input.planes[1]));
  check::that(same(outcome.pixels.planes[2], input.planes[2]));
  constexpr auto s = mask_bit::saturated;
  check::that(outcome.pixels.mask == std::vector<std::uint32_t>{0, 0, s, 0, 0, s});
  check::equal(outcome.findings.at(0).value, 2.0);
  check_stateless(outcome.plan, infos);
  for (const auto& wrong : {std::vector{infos[0], infos[1]}, std::vector{infos[2], infos[0]}}) {
    check::throws<ConfigError>([&] { ReplaceSaturated({}).begin(image_of(input), wrong); },
                               "replace_saturated: needs the plane \"first\" behind the value");
  }
}

// ---- stages that flag -----------------------------------------------------------------------

/// Charges 0 to 3, some bright pixels, missing and masked ones.
Pixels image_with_hits(std::int64_t n_rows, std::int64_t n_cols, unsigned seed) {
  std::mt19937 random(seed);
  Plane values;
  std::vector<std::uint32_t> mask;
  for (std::int64_t i = 0; i < n_rows * n_cols; ++i) {
    const auto word = random();
    values.push_back(word % 31 == 0  ? 9.0
                     : word % 4 == 0 ? static_cast<double>(word / 4 % 4)
                                     : 0.0);
    if (word % 29 == 1) values.back() = nan;
    mask.push_back(word % 23 == 0 ? mask_bit::bad_column : word % 13 == 0 ? mask_bit::cluster : 0);
  }
  Pixels made = pixels(n_cols, {values, values});
  made.mask = mask;
  return made;
}

/// A stage must add just those bits of `bit` that `is_flagged(row, column)` tells, and leave the
/// values; `usable(row, column)` tells what it may look at.
template <class Stage, class IsFlagged>
Outcome flags(const typename Stage::Config& config, const Pixels& input, const ImageInfo& image,
              std::uint32_t bit, const std::string& what, IsFlagged is_flagged) {
  const Outcome outcome = outcome_of<Stage>(config, input, image);
  auto expected = input.mask;
  for (std::int64_t r = 0; r < input.n_rows; ++r) {
    for (std::int64_t c = 0; c < input.n_cols; ++c) {
      if (is_flagged(r, c)) expected[static_cast<std::size_t>(r * input.n_cols + c)] |= bit;
    }
  }
  check::that(outcome.pixels.mask == expected, what);
  for (const std::size_t p : {0, 1}) {
    check::that(same(outcome.pixels.planes[p], input.planes[p]), "values stay");
  }
  return outcome;
}

void flags_are_those_of_slow_definitions() {
  for (const auto& [n_rows, n_cols] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 12}, {9, 1}, {2, 3}, {7, 9}, {16, 21}}) {
    const Pixels input =
        image_with_hits(n_rows, n_cols, static_cast<unsigned>(n_rows + 7 * n_cols));
    const std::string size = std::to_string(n_rows) + " x " + std::to_string(n_cols);
    const auto value = [&, cols = n_cols](std::int64_t r, std::int64_t c) {
      const auto i = static_cast<std::size_t>(r * cols + c);
      return (input.mask[i] & unusable_bits) != 0 ? nan : input.planes[0][i];
    };
    const auto any_pixel = [rows = n_rows, cols = n_cols](auto&& test) {
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
          if (test(r, c)) return true;
        }
      }
      return false;
    };
    ImageInfo image = image_of(input);

    for (const auto& [columns, rows] : {std::pair{0, 0}, {1, 0}, {0, 1}, {3, 2}, {50, 50}}) {
      const Outcome outcome = flags<MaskBleeding>(
          {.threshold = 9, .columns = columns, .rows = rows}, input, image, mask_bit::bleed,
          "bleeding of " + size, [&, cs = columns, rs = rows](std::int64_t r, std::int64_t c) {
            return any_pixel([&](std::int64_t y, std::int64_t x) {
              const bool behind_in_row = y == r && x < c && c - x <= cs;
              const bool behind_in_column = x == c && y < r && r - y <= rs;
              return value(y, x) >= 9 && (behind_in_row || behind_in_column);
            });
          });
      check::equal(outcome.plan.state_bytes, 8 * n_cols);
      check::equal(outcome.plan.delay_rows, std::int64_t{0});
      check::that(!outcome.plan.barrier);
    }

    for (const auto shape : {HaloShape::circle, HaloShape::box}) {
      for (const std::int64_t radius : {1, 2, 5}) {
        for (const bool of_clusters : {false, true}) {
          MaskHalo::Config config;
          if (!of_clusters) config.threshold = 9;
          config.shape = shape;
          config.radius = radius;
          Pixels labelled = input;
          if (of_clusters) labelled.infos[1].name = "label";
          const Outcome outcome = flags<MaskHalo>(
              config, labelled, image, mask_bit::halo, "halo of " + size,
              [&](std::int64_t r, std::int64_t c) {
                return any_pixel([&](std::int64_t y, std::int64_t x) {
                  const auto i = static_cast<std::size_t>(y * image.n_cols + x);
                  const bool bright =
                      of_clusters ? (input.mask[i] & mask_bit::cluster) != 0 : value(y, x) >= 9;
                  const std::int64_t dy = y - r;
                  const std::int64_t dx = x - c;
                  return bright && (shape == HaloShape::circle
                                        ? dy * dy + dx * dx <= radius * radius
                                        : std::max(std::abs(dy), std::abs(dx)) <= radius);
                });
              });
          check::equal(outcome.plan.delay_rows, radius);
          check::that(!outcome.plan.barrier);
          const std::int64_t held = (radius + 1) * n_cols * (4 + 2 * 8);
          check::equal(outcome.plan.state_bytes, held + (radius + 1) * (n_cols / 2 + 1) * 8);
        }
      }
    }

    for (const std::int64_t radius : {1, 3}) {
      for (const std::int64_t min_hits : {1, 2, 6}) {
        for (const bool has_below : {false, true}) {
          MaskCrowded::Config config;
          config.threshold = 1;
          if (has_below) config.below = 3;
          config.radius = radius;
          config.min_hits = min_hits;
          const auto is_hit = [&](std::int64_t r, std::int64_t c) {
            return value(r, c) >= 1 && !(has_below && value(r, c) >= 3);
          };
          const auto is_near_by = [&](std::int64_t dy, std::int64_t dx) {
            return dy * dy + dx * dx <= radius * radius;
          };
          const Outcome outcome =
              flags<MaskCrowded>(config, input, image, mask_bit::crowded, "crowd of " + size,
                                 [&](std::int64_t r, std::int64_t c) {
                                   return any_pixel([&](std::int64_t y, std::int64_t x) {
                                     if (!is_hit(y, x) || !is_near_by(y - r, x - c)) return false;
                                     std::int64_t n = 0;
                                     any_pixel([&](std::int64_t b, std::int64_t a) {
                                       n += is_hit(b, a) && is_near_by(b - y, a - x) ? 1 : 0;
                                       return false;
                                     });
                                     return n >= min_hits;
                                   });
                                 });
          check::equal(outcome.plan.delay_rows, 2 * radius);
          check::equal(outcome.plan.state_bytes,
                       (2 * radius + 1) * (n_cols * (4 + 2 * 8) + 8 * (n_cols + 1)));
        }
      }
    }

    for (const std::int64_t window : {2, 5}) {
      for (const std::int64_t min_hits : {1, 2, 3}) {
        for (const std::int64_t max_beside : {0, 1, 2}) {
          const MaskSerialHits::Config config{.threshold = 1,
                                              .window = window,
                                              .min_hits = min_hits,
                                              .max_beside = max_beside,
                                              .windows_beside = min_hits - 1};
          const auto hits = [&](std::int64_t r, std::int64_t begin) {
            std::int64_t n = 0;
            if (r < 0 || r >= image.n_rows) return n;
            const std::int64_t end = std::min(begin + window, image.n_cols);
            for (auto c = begin; c < end; ++c) n += value(r, c) >= 1 ? 1 : 0;
            return n;
          };
          const std::int64_t beside = (min_hits - 1) * window;
          const Outcome outcome = flags<MaskSerialHits>(
              config, input, image, mask_bit::serial_hit, "serial hits of " + size,
              [&](std::int64_t r, std::int64_t c) {
                for (std::int64_t x = 0; x < image.n_cols; ++x) {
                  if (!(value(r, x) >= 1) || hits(r, x) < min_hits) continue;
                  if (hits(r - 1, x) > max_beside || hits(r + 1, x) > max_beside) continue;
                  const std::int64_t end = std::min(x + window, image.n_cols) + beside;
                  if (c >= x - beside && c < end) return true;
                }
                return false;
              });
          check::equal(outcome.plan.delay_rows, std::int64_t{1});
          check::equal(outcome.plan.state_bytes, 2 * n_cols * (4 + 2 * 8) + 3 * 8 * (n_cols + 1));
        }
      }
    }

    // The others look at active pixels only.
    for (const auto& [prescan, overscan] : {std::pair<std::int64_t, std::int64_t>{0, 0}, {1, 2}}) {
      if (prescan + overscan > std::min(n_rows, n_cols)) continue;
      image.prescan_cols = image.prescan_rows = prescan;
      image.overscan_cols = image.overscan_rows = overscan;
      const std::int64_t end_row = n_rows - overscan;
      const std::int64_t end_col = n_cols - overscan;
      for (const auto& [rows, columns] : {std::pair{0, 0}, {1, 0}, {0, 2}, {2, 1}, {50, 1}}) {
        const Outcome outcome = flags<MaskEdges>(
            {.rows = rows, .columns = columns}, input, image, mask_bit::edge, "edges of " + size,
            [&, rs = rows, cs = columns, first = prescan](std::int64_t r, std::int64_t c) {
              const auto is_between = [](std::int64_t x, std::int64_t low, std::int64_t high) {
                return x >= low && x < high;
              };
              const bool near_row =
                  is_between(r, first, first + rs) || is_between(r, end_row - rs, end_row);
              const bool near_column =
                  is_between(c, first, first + cs) || is_between(c, end_col - cs, end_col);
              return is_between(c, first, end_col) && (near_row || near_column);
            });
        check_stateless(outcome.plan, input.infos);
      }

      const auto active_of_row = [&, first = prescan](std::int64_t r) {
        Plane found;
        for (auto c = first; c < end_col; ++c) {
          if (!std::isnan(value(r, c))) found.push_back(value(r, c));
        }
        return found;
      };
      for (const double max_noise : {0.0, 0.5, 1.4826}) {
        for (const double max_outside : {0.0, 0.25, 1.0}) {
          MaskNoisyRows::Config config;
          if (max_noise > 0) config.max_noise = max_noise;
          config.window = 2;
          config.max_outside = max_outside;
          if (max_noise == 0 && max_outside == 1) continue;
          double n_noisy = 0;
          const Outcome outcome = flags<MaskNoisyRows>(
              config, input, image, mask_bit::noisy_row, "noisy rows of " + size,
              [&](std::int64_t r, std::int64_t c) {
                Plane row = active_of_row(r);
                if (row.empty()) return false;
                Plane work(row.size());
                const auto location = kernels::median_and_mad(row, work);
                const auto n_outside = std::count_if(row.begin(), row.end(), [&](double x) {
                  return std::abs(x - location.value) > 2;
                });
                const bool is_noisy =
                    (max_noise > 0 && location.sigma > max_noise) ||
                    static_cast<double>(n_outside) > max_outside * static_cast<double>(row.size());
                n_noisy += is_noisy && c == 0 ? 1 : 0;
                return is_noisy;
              });
          check::equal(outcome.findings.at(0).value, n_noisy);
          check::equal(outcome.plan.state_bytes, 16 * n_cols);
          check::that(!outcome.plan.barrier);
        }
      }

      for (const double fraction : {0.1, 0.25, 1.0}) {
        for (const double row_fraction : {0.2, 0.5, 1.0}) {
          for (const bool has_below : {false, true}) {
            MaskHot::Config config;
            config.threshold = 2;
            if (has_below) config.below = 9;
            config.column_fraction = fraction;
            config.row_fraction = row_fraction;
            const auto is_hot = [&](double x) { return x >= 2 && !(has_below && x >= 9); };
            const auto part_is_hot = [&](const Plane& of, double limit) {
              const auto n = std::count_if(of.begin(), of.end(), is_hot);
              return static_cast<double>(n) > limit * static_cast<double>(of.size());
            };
            const auto is_bad_row = [&, first = prescan](std::int64_t r) {
              return r >= first && r < end_row && row_fraction < 1 &&
                     part_is_hot(active_of_row(r), row_fraction);
            };
            const auto is_bad_column = [&, first = prescan](std::int64_t c) {
              Plane column;
              for (auto r = first; r < end_row; ++r) {
                if (!std::isnan(value(r, c))) column.push_back(value(r, c));
              }
              return c >= first && c < end_col && fraction < 1 && part_is_hot(column, fraction);
            };
            Pixels rows_flagged = input;
            double n_rows_hot = 0;
            double n_columns_hot = 0;
            for (std::int64_t r = 0; r < n_rows; ++r) n_rows_hot += is_bad_row(r) ? 1 : 0;
            for (std::int64_t c = 0; c < n_cols; ++c) n_columns_hot += is_bad_column(c) ? 1 : 0;
            const Outcome outcome = outcome_of<MaskHot>(config, input, image);
            auto expected = input.mask;
            for (std::int64_t i = 0; i < n_rows * n_cols; ++i) {
              auto& bits = expected[static_cast<std::size_t>(i)];
              if (is_bad_row(i / n_cols)) bits |= mask_bit::bad_row;
              if (is_bad_column(i % n_cols)) bits |= mask_bit::bad_column;
            }
            check::that(outcome.pixels.mask == expected, "hot lines of " + size);
            check::equal(outcome.findings.at(0).value, n_columns_hot);
            check::equal(outcome.findings.at(1).value, n_rows_hot);
            check::equal(outcome.plan.barrier, fraction < 1);
            check::equal(outcome.plan.state_bytes, 16 * n_cols);
            if (overscan > 0) continue;
            ImageInfo endless = image;
            endless.n_rows = -1;
            check::that(outcome_of<MaskHot>(config, input, endless).pixels.mask == expected,
                        "hot lines of so many rows as come");
          }
        }
      }
    }
  }

  // Two of four pixels are hot, and one in the overscan that is not counted.
  const Pixels half = pixels(5, {{9, 0, 9, 0, 9}});
  ImageInfo with_overscan = image_of(half);
  with_overscan.overscan_cols = 1;
  MaskHot::Config hot;
  hot.column_fraction = 1;
  hot.row_fraction = 0.5;
  check::that(outcome_of<MaskHot>(hot, half, with_overscan).pixels.mask ==
              std::vector<std::uint32_t>(5, 0));
  const Pixels missing = pixels(3, {{nan, nan, nan}});
  MaskNoisyRows::Config noisy;
  noisy.max_noise = 1;
  check::that(outcome_of<MaskNoisyRows>(noisy, missing, image_of(missing)).pixels.mask ==
              std::vector<std::uint32_t>(3, 0));

  const Pixels no_rows = pixels(4, {Plane{}, Plane{}});
  const Outcome nothing = outcome_of<MaskSerialHits>({.threshold = 1}, no_rows, image_of(no_rows));
  check::that(nothing.pixels.n_rows == 0 && nothing.pixels.mask.empty());

  const Pixels input = image_with_hits(3, 4, 1);
  ImageInfo image = image_of(input);
  check::throws<ConfigError>([&] { MaskHalo({}).begin(image, input.infos); },
                             "mask_halo.threshold: give a number, or put find_clusters");
  check::throws<ConfigError>([&] { MaskNoisyRows({}).begin(image, input.infos); },
                             "mask_noisy_rows: flags nothing; give max_noise or max_outside");
  image.n_rows = -1;
  check::throws<ConfigError>([&] { MaskEdges({}).begin(image, input.infos); },
                             "mask_edges.rows: needs the number of rows beforehand");
  check::throws<ConfigError>([&] { MaskEdges({.rows = 1}).begin(image, input.infos); },
                             "mask_edges.rows: needs the number of rows beforehand");
  MaskEdges({.rows = 0}).begin(image, input.infos);
  image.n_cols = std::int64_t{1} << 31;
  check::throws<ConfigError>([&] { MaskHalo({.threshold = 1}).begin(image, input.infos); },
                             "mask_halo: at most 2147483647 columns; got 2147483648");
}

// ---- subtract_pedestal ----------------------------------------------------------------------

bool is_in(const IndexRanges& ranges, std::size_t index) {
  for (const auto& [first, last] : ranges.ranges) {
    for (auto i = first; i <= last; ++i) {
      if (i == static_cast<std::int64_t>(index)) return true;
    }
  }
  return false;
}

std::optional<kernels::Location> slow_estimate(const SubtractPedestal::Config& config,
                                               Plane values) {
  Plane work(values.size());
  if (config.n_sigma_to_mask && values.size() >= 2) {
    // Which reorders the values: sums are rounded in that order.
    const auto rough = kernels::median_and_mad(values, work);
    const double reach = *config.n_sigma_to_mask * rough.sigma;
    Plane kept;
    for (const double value : values) {
      const bool is_low = value < rough.value - reach;
      const bool is_high = value > rough.value + reach;
      if ((is_low && config.mask_left) || (is_high && config.mask_right)) continue;
      kept.push_back(value);
    }
    values = kept;
  }
  if (values.size() < 2) return std::nullopt;
  Plane bins(1000);
  Plane smooth(1000);
  std::optional<kernels::Location> found;
  switch (config.method) {
    case PedestalMethod::mean:
      return kernels::mean_and_std(values);
    case PedestalMethod::clipped_mean:
      return kernels::clipped_mean(values, config.clip_sigma, config.clip_iterations);
    case PedestalMethod::lowest_peak:
      return kernels::lowest_peak(values, bins, smooth);
    case PedestalMethod::gaussian_fit:
      found = kernels::fit_gaussian(values, work, bins, config.fit_window);
      break;
    case PedestalMethod::median:
      break;
  }
  return found ? found : kernels::median_and_mad(values, work);
}

/// Rows in groups, or columns, or rows and then columns; the findings are means over the groups.
Pixels slow_pedestal(const SubtractPedestal::Config& config, const ImageInfo& image, Pixels input,
                     std::vector<double>& findings) {
  const auto n_cols = static_cast<std::size_t>(input.n_cols);
  const auto n_rows = static_cast<std::size_t>(input.n_rows);
  const bool overscan = config.region == PedestalRegion::overscan ||
                        (config.region == PedestalRegion::automatic && image.overscan_cols >= 3);
  const auto first_overscan = static_cast<std::size_t>(image.n_cols - image.overscan_cols);
  const auto usable = [&](std::size_t i) {
    return (input.mask[i] & unusable_bits) == 0 && !std::isnan(input.planes[0][i]);
  };
  const auto subtract = [&](std::size_t i, const std::optional<kernels::Location>& pedestal) {
    if (!pedestal) return mask_bit::no_pedestal;
    for (std::size_t p = 0; p < input.planes.size(); ++p) {
      if (input.infos[p].kind == PlaneKind::location) input.planes[p][i] -= pedestal->value;
    }
    return 0U;
  };
  double sum = 0;
  double sum_of_sigmas = 0;
  double n_groups = 0;
  std::vector<std::uint32_t> flags(n_rows * n_cols);
  if (config.axis != PedestalAxis::column) {
    const auto group = static_cast<std::size_t>(config.rebin_rows);
    std::vector<std::optional<kernels::Location>> groups;
    Plane times;
    Plane levels;
    const auto is_inside = [&](std::size_t c) {
      const bool active = c >= static_cast<std::size_t>(image.prescan_cols) && c < first_overscan;
      return (overscan ? c >= first_overscan : active) && !is_in(config.skip_columns, c);
    };
    for (std::size_t begin = 0; begin < n_rows; begin += group) {
      const std::size_t end = std::min(begin + group, n_rows);
      Plane values;
      for (std::size_t i = begin * n_cols; i < end * n_cols; ++i) {
        const std::size_t c = i % n_cols;
        if (is_inside(c) && usable(i)) values.push_back(input.planes[0][i]);
      }
      const auto pedestal = slow_estimate(config, values);
      if (pedestal) {
        sum += pedestal->value;
        sum_of_sigmas += pedestal->sigma;
        n_groups += 1;
      }
      groups.push_back(pedestal);
      if (pedestal) {
        times.push_back(static_cast<double>(begin + end - 1) / 2);
        levels.push_back(pedestal->value);
      }
    }
    double middle = 0;
    double width = 0;
    for (std::size_t c = 0; c < n_cols; ++c) {
      if (!is_inside(c)) continue;
      middle += static_cast<double>(c);
      width += 1;
    }
    middle = width > 0 ? middle / width : 0;
    double mean = 0;
    for (const double level : levels) mean += level;
    mean /= static_cast<double>(levels.size());
    Plane curvatures(levels.size());
    Plane work(levels.size());
    if (levels.size() >= 4) kernels::natural_spline(times, levels, curvatures, work);
    for (std::size_t i = 0; i < n_rows * n_cols; ++i) {
      const std::size_t r = i / n_cols;
      const auto c = static_cast<double>(i % n_cols);
      auto pedestal = groups[r / group];
      if (config.between_rows == BetweenRows::line && pedestal && r > 0 && groups[r - 1]) {
        const double before = groups[r - 1]->value;
        const double last = std::max(1.0, static_cast<double>(n_cols) - 1);
        pedestal->value = before + (pedestal->value - before) * (c / last);
      }
      if (config.between_rows == BetweenRows::spline) {
        std::size_t segment = 0;
        const double time = static_cast<double>(r) + (c - middle) / static_cast<double>(n_cols);
        pedestal.reset();
        if (levels.size() >= 4) {
          pedestal = {kernels::spline_at(times, levels, curvatures, time, segment), 0};
        } else if (!levels.empty()) {
          pedestal = {mean, 0};
        }
      }
      flags[i] |= subtract(i, pedestal);
    }
  }
  if (config.axis != PedestalAxis::row) {
    for (std::size_t c = 0; c < n_cols; ++c) {
      Plane values;
      for (std::size_t r = 0; r < n_rows; ++r) {
        const std::size_t i = r * n_cols + c;
        if (!is_in(config.skip_rows, r) && usable(i)) values.push_back(input.planes[0][i]);
      }
      const auto pedestal = slow_estimate(config, values);
      for (std::size_t r = 0; r < n_rows; ++r) {
        flags[r * n_cols + c] |= subtract(r * n_cols + c, pedestal);
      }
    }
  }
  for (std::size_t i = 0; i < flags.size(); ++i) input.mask[i] |= flags[i];
  findings.clear();
  if (n_groups > 0) findings = {sum / n_groups, sum_of_sigmas / n_groups};
  return input;
}

/// Rows and columns of their own level, charge, missing and masked pixels.
Pixels image_with_levels(std::int64_t n_rows, std::int64_t n_cols) {
  std::mt19937 random(static_cast<unsigned>(n_rows * 100 + n_cols));
  std::normal_distribution<double> normal;
  const std::vector<PlaneInfo> infos{{"mean", "adu", PlaneKind::location},
                                     {"std", "adu", PlaneKind::spread},
                                     {"median", "adu", PlaneKind::location}};
  std::vector<Plane> planes(3);
  std::vector<std::uint32_t> mask;
  for (std::int64_t r = 0; r < n_rows; ++r) {
    for (std::int64_t c = 0; c < n_cols; ++c) {
      double value = 100 + 13.0 * static_cast<double>(r % 7) - 3.0 * static_cast<double>(c % 5);
      value += normal(random);
      if (random() % 11 == 0) value += 40;
      if (random() % 23 == 0 || (n_rows > 4 && r == 4)) value = nan;
      planes[0].push_back(value);
      planes[1].push_back(static_cast<double>(r));
      planes[2].push_back(value + 0.25);
      mask.push_back(random() % 19 == 0   ? mask_bit::bad_column
                     : random() % 19 == 0 ? mask_bit::saturated
                                          : 0);
    }
  }
  Pixels made = pixels(n_cols, planes, infos);
  made.mask = mask;
  return made;
}

void agrees(const SubtractPedestal::Config& config, const Pixels& input, const ImageInfo& image) {
  const Outcome outcome = outcome_of<SubtractPedestal>(config, input, image);
  std::vector<double> findings;
  const Pixels expected = slow_pedestal(config, image, input, findings);
  const std::string what = "method " + std::to_string(static_cast<int>(config.method)) + " axis " +
                           std::to_string(static_cast<int>(config.axis)) + " rows " +
                           std::to_string(input.n_rows) + " columns " +
                           std::to_string(input.n_cols);
  for (std::size_t p = 0; p < 3; ++p) {
    check::that(same(outcome.pixels.planes[p], expected.planes[p]), what);
  }
  check::that(outcome.pixels.mask == expected.mask, "mask, " + what);
  check::equal(outcome.findings.size(), findings.size(), what);
  for (std::size_t i = 0; i < findings.size(); ++i) {
    check::equal(outcome.findings[i].value, findings[i], what);
    check::equal(outcome.findings[i].unit, std::string("adu"));
  }
  const bool barrier =
      config.axis != PedestalAxis::row || config.between_rows == BetweenRows::spline;
  check::equal(outcome.plan.barrier, barrier);
  check::equal(outcome.plan.delay_rows, barrier ? std::int64_t{0} : config.rebin_rows - 1);
}

void a_pedestal_is_its_definition() {
  using Method = PedestalMethod;
  for (const auto method : {Method::mean, Method::median, Method::gaussian_fit,
                            Method::clipped_mean, Method::lowest_peak}) {
    for (const auto axis : {PedestalAxis::row, PedestalAxis::column, PedestalAxis::both}) {
      for (const std::int64_t rebin_rows : {1, 2, 3}) {
        for (const auto& [n_rows, n_cols] : {std::pair{1, 1}, {1, 9}, {2, 2}, {7, 13}, {40, 12}}) {
          const Pixels input = image_with_levels(n_rows, n_cols);
          ImageInfo image = image_of(input);
          SubtractPedestal::Config config;
          config.method = method;
          config.axis = axis;
          config.rebin_rows = rebin_rows;
          agrees(config, input, image);
          if (n_cols < 12) {
            config.n_sigma_to_mask = 0.5;  // leaves out both of two values
            agrees(config, input, image);
            continue;
          }
          config.n_sigma_to_mask = 1.5;
          config.clip_iterations = 1;
          config.clip_sigma = 1.0;
          config.skip_rows = {{{1, 2}}};
          config.skip_columns = {{{0, 1}, {5, 5}, {11, 11}}};
          image.prescan_cols = 2;
          for (const std::int64_t overscan : {0, 2, 3, 5}) {
            image.overscan_cols = overscan;
            for (const auto region :
                 {PedestalRegion::automatic, PedestalRegion::active, PedestalRegion::overscan}) {
              if (region == PedestalRegion::overscan && overscan == 0) continue;
              config.region = region;
              config.mask_left = rebin_rows != 2;
              config.mask_right = rebin_rows != 3;
              agrees(config, input, image);
            }
          }
        }
      }
    }
  }
}

void a_pedestal_may_go_from_row_to_row() {
  for (const auto& [n_rows, n_cols] :
       {std::pair{1, 1}, {1, 9}, {2, 2}, {3, 6}, {4, 6}, {5, 5}, {7, 13}, {40, 12}}) {
    const Pixels input = image_with_levels(n_rows, n_cols);
    for (const std::int64_t overscan : {0, 3}) {
      if (overscan >= n_cols) continue;
      ImageInfo image = image_of(input);
      image.overscan_cols = overscan;
      SubtractPedestal::Config config;
      config.between_rows = BetweenRows::line;
      agrees(config, input, image);
      config.between_rows = BetweenRows::spline;
      for (const std::int64_t rebin_rows : {1, 2, 3, 50}) {
        config.rebin_rows = rebin_rows;
        agrees(config, input, image);
      }
      config.skip_columns = {{{n_cols - 2, n_cols - 1}}};
      config.rebin_rows = 1;
      agrees(config, input, image);
    }
  }
  ImageInfo image;
  image.n_cols = 6;
  image.n_rows = 10;
  const std::vector<PlaneInfo> infos{{"mean", "adu", PlaneKind::location}};
  SubtractPedestal::Config config;
  config.between_rows = BetweenRows::spline;
  const auto begin = [&] { return SubtractPedestal(config).begin(image, infos).state_bytes; };
  check::equal(begin(), std::int64_t{6 + 2 * 8 * 10 + 6 * (8 + 4) + 8 * 6 + 3 * 8 * 11});
  config.rebin_rows = 3;
  check::equal(begin(), std::int64_t{6 + 2 * 8 * 18 + 18 * (8 + 4) + 8 * 6 + 3 * 8 * 4});
  config.rebin_rows = 1;
  config.axis = PedestalAxis::both;
  check::throws<ConfigError>([&] { begin(); }, "line and spline need axis = \"row\"");
  config.axis = PedestalAxis::row;
  image.n_rows = -1;
  check::throws<ConfigError>([&] { begin(); }, "spline needs the number of rows beforehand");
  config.between_rows = BetweenRows::line;
  check::equal(begin(), std::int64_t{6 + 2 * 8 * 6 + 8 * 6});
  config.rebin_rows = 2;
  check::throws<ConfigError>([&] { begin(); }, "line needs rebin_rows = 1");
}

void what_is_just_n_sigma_away_takes_part() {
  // Median 0 and MAD 1 of the row, so that the reach is `edge`.
  const double edge = 2 * kernels::sigma_per_mad;
  for (const double sign : {-1.0, 1.0}) {
    const Pixels input = pixels(7, {{sign * edge, -1, -1, 0, 1, 1, -1.25 * sign}});
    SubtractPedestal::Config config;
    config.method = PedestalMethod::mean;
    config.n_sigma_to_mask = 2.0;
    const Outcome outcome = outcome_of<SubtractPedestal>(config, input, image_of(input));
    const double mean = kernels::mean_and_std(input.planes[0]).value;
    check::equal(outcome.pixels.planes[0][3], 0 - mean);
  }
}

void a_pedestal_beyond_the_memory_is_refused_before_it_is_taken() {
  const Pixels input = image_with_levels(10, 6);  // of three planes
  SubtractPedestal::Config config;
  config.method = PedestalMethod::mean;
  const auto needs = [&](std::int64_t n_bytes) {
    ImageInfo image = image_of(input);
    image.memory_bytes = n_bytes;
    SubtractPedestal(config).begin(image, input.infos);
    image.memory_bytes = n_bytes - 1;
    check::throws<ConfigError>([&] { SubtractPedestal(config).begin(image, input.infos); },
                               "so much at least for rows of 6 columns");
  };
  needs(6 * 8);  // a value of each pixel of a row
  config.rebin_rows = 4;
  needs(24 * (8 + 3 * 8 + 4));  // of four rows, which are held, with their mask
  config.axis = PedestalAxis::column;
  needs(24 * 8 + 6 * 16);  // and a pedestal of each column
  config.axis = PedestalAxis::both;
  needs(24 * (8 + 8 + 4) + 6 * 16);  // rows are held with their first plane only
}

void a_pedestal_plans_what_it_holds() {
  const Pixels input = image_with_levels(10, 6);
  ImageInfo image = image_of(input);
  const auto bytes = [&](SubtractPedestal::Config config) {
    return SubtractPedestal(config).begin(image, input.infos).state_bytes;
  };
  SubtractPedestal::Config config;
  check::equal(bytes(config), std::int64_t{6 + 2 * 8 * 6}, "a row, twice");
  config.method = PedestalMethod::gaussian_fit;
  check::equal(bytes(config), std::int64_t{6 + 2 * 8 * 6 + 8 * 1000}, "and a histogram");
  config.method = PedestalMethod::lowest_peak;
  check::equal(bytes(config), std::int64_t{6 + 2 * 8 * 6 + 8 * 2000}, "two of them");
  config.method = PedestalMethod::mean;
  config.rebin_rows = 4;
  check::equal(bytes(config), std::int64_t{6 + 24 * (2 * 8 + 3 * 8 + 4)}, "four rows of 3 planes");
  config.axis = PedestalAxis::column;
  const std::int64_t pedestals = 16 * 6;
  check::equal(bytes(config), 6 + 24 * 2 * 8 + 3 * 8 * 6 + pedestals, "sums of columns");
  config.axis = PedestalAxis::both;
  check::equal(bytes(config), 6 + 24 * (2 * 8 + 8 + 4) + 16 * 3 + 3 * 8 * 6 + pedestals,
               "and held rows, and a pedestal for each group");
  config.axis = PedestalAxis::column;
  config.rebin_rows = 1;
  config.n_sigma_to_mask = 3;
  check::equal(bytes(config), 6 + 10 * 2 * 8 + 10 * 6 * 8 + pedestals, "every pixel");
  config.n_sigma_to_mask.reset();
  config.method = PedestalMethod::median;
  check::equal(bytes(config), 6 + 10 * 2 * 8 + 10 * 6 * 8 + pedestals, "every pixel");

  image.n_rows = -1;
  check::throws<ConfigError>([&] { bytes(config); },
                             "subtract_pedestal.axis: column and both keep every pixel");
  config.method = PedestalMethod::mean;
  bytes(config);
  config.n_sigma_to_mask = 3;
  check::throws<ConfigError>([&] { bytes(config); }, "without n_sigma_to_mask");
  config.axis = PedestalAxis::row;
  bytes(config);
  image.n_rows = 0;
  config.axis = PedestalAxis::both;
  bytes(config);
  config.region = PedestalRegion::overscan;
  check::throws<ConfigError>([&] { bytes(config); }, "but the image has none; set overscan_cols");
  image.overscan_cols = 1;
  bytes(config);
}

}  // namespace

int main() {
  leach_moves_the_stream_and_wraps();
  polarity_changes_what_samples_mean();
  the_maximum_is_added_to_what_moves_with_it();
  a_baseline_is_that_of_the_same_sample();
  masks_are_those_rows_and_columns();
  a_gain_divides_values_and_its_square_variances();
  a_gain_may_be_fitted_to_the_active_pixels();
  a_pixel_far_below_its_first_sample_is_replaced();
  flags_are_those_of_slow_definitions();
  a_pedestal_is_its_definition();
  a_pedestal_may_go_from_row_to_row();
  what_is_just_n_sigma_away_takes_part();
  a_pedestal_beyond_the_memory_is_refused_before_it_is_taken();
  a_pedestal_plans_what_it_holds();
  return check::failures();
}
