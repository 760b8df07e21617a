#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <latch>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/pipeline/pipeline.hpp"
#include "skipstream/pipeline/spool.hpp"
#include "skipstream/pipeline/workers.hpp"
#include "stage_table.hpp"

using namespace skipstream;

namespace {

constexpr std::int64_t n_cols = 23;
constexpr std::int64_t n_skips = 7;

/// Every stage there is; two barriers among them.
Value whole_chain() {
  return Value::List{
      stage("correct_leach"),
      stage("subtract_baseline"),
      stage("correct_polarity", {{"method", "max"}}),
      stage("compress_skips", {{"statistics", Value::List{"mean", "median", "std", "rms"}}}),
      stage("mask_columns", {{"columns", Value::List{std::int64_t{5}}}}),
      stage("subtract_pedestal", {{"axis", "both"}, {"rebin_rows", std::int64_t{3}}}),
      stage("calibrate", {{"gain", 2.5}}),
      stage("find_clusters", {{"threshold", 1.5}, {"seed", 2.0}, {"keep_pixels", true}})};
}

ImageInfo image_info(std::int64_t n_rows) {
  ImageInfo image;
  image.n_rows = n_rows;
  image.n_cols = n_cols;
  image.n_skips = n_skips;
  image.format.is_unsigned = true;
  image.prescan_cols = 2;
  image.overscan_cols = 4;
  return image;
}

std::vector<std::uint16_t> noise(std::int64_t n_rows) {
  std::mt19937 generator(7);
  std::vector<std::uint16_t> samples(static_cast<std::size_t>(n_rows * n_cols * n_skips));
  for (auto& sample : samples) sample = static_cast<std::uint16_t>(1000 + generator() % 64);
  return samples;
}

/// All that comes out, as bits: planes and mask at the last tap, then the tables.
struct Result {
  std::vector<std::uint64_t> bits;
  friend bool operator==(const Result&, const Result&) = default;
};

Result process(const Value& stages, const std::vector<std::uint16_t>& samples,
               const PipelineOptions& options, const std::vector<std::int64_t>& pushes) {
  Problems problems;
  auto chain = make_chain(stages, {}, problems);
  for (const auto& problem : problems) check::that(false, problem);
  const std::size_t last = chain.n_configured - 1;
  const auto n_rows = static_cast<std::int64_t>(samples.size()) / (n_cols * n_skips);
  Pipeline pipeline(std::move(chain), options);
  pipeline.begin(image_info(n_rows));
  Result result;
  std::int64_t next_row = 0;
  pipeline.add_tap(last, [&](const PixelChunk& chunk) {
    check::equal(chunk.first_row, next_row, "rows leave in order");
    next_row += chunk.n_rows;
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (std::size_t p = 0; p < chunk.planes.size(); ++p) {
        for (const double value : chunk.row(p, r)) {
          result.bits.push_back(std::bit_cast<std::uint64_t>(value));
        }
      }
      for (const auto bits : chunk.mask_row(r)) result.bits.push_back(bits);
    }
  });
  const auto* bytes = reinterpret_cast<const std::byte*>(samples.data());
  std::int64_t row = 0;
  for (const std::int64_t n : pushes) {
    pipeline.push(bytes + row * n_cols * n_skips * 2, n);
    row += n;
  }
  check::equal(row, n_rows, "the test pushes every row");
  pipeline.finish();
  check::equal(next_row, n_rows, "every row leaves");
  for (const auto& table : pipeline.tables()) {
    check::that(table.cells.size() > 0, "the chain finds clusters");
    for (const auto& cell : table.cells) {
      result.bits.push_back(static_cast<std::uint64_t>(cell.integer));
    }
  }
  return result;
}

void chunk_rows_threads_and_pushes_do_not_matter() {
  constexpr std::int64_t n_rows = 29;
  const auto samples = noise(n_rows);
  const auto stages = whole_chain();
  const auto expected = process(stages, samples, {}, {n_rows});
  for (const std::size_t n_threads : {1, 2, 3}) {
    for (const std::int64_t chunk_rows : {1, 2, 5, 1000}) {
      PipelineOptions options;
      options.n_threads = n_threads;
      options.chunk_rows = chunk_rows;
      check::that(process(stages, samples, options, {n_rows}) == expected, "one push");
      check::that(process(stages, samples, options, {1, 7, 0, 20, 1}) == expected, "five pushes");
      check::that(
          process(stages, samples, options, std::vector<std::int64_t>(n_rows, 1)) == expected,
          "row by row");
    }
  }
}

void a_spool_on_disk_gives_the_same_bits() {
  const auto samples = noise(40);
  const auto stages = whole_chain();
  PipelineOptions on_disk;
  on_disk.spool_bytes = 1000;
  check::that(process(stages, samples, {}, {40}) == process(stages, samples, on_disk, {13, 27}));
}

void a_spool_that_cannot_be_written_is_an_error() {
  PipelineOptions options;
  options.spool_bytes = 10;
  options.spool_folder = "/nonexistent/folder";
  const auto samples = noise(3);
  check::throws<IoError>([&] { process(whole_chain(), samples, options, {3}); },
                         "/nonexistent/folder: cannot make a temporary file");
}

/// A source whose rows cannot be read behind some point.
class BrokenSource : public SampleSource {
 public:
  [[nodiscard]] std::unique_ptr<SampleCursor> cursor() const override {
    return std::make_unique<Cursor>();
  }

 private:
  class Cursor : public SampleCursor {
   public:
    void seek(std::int64_t first_pixel) override { pixel_ = first_pixel; }
    const std::byte* next(std::int64_t n_pixels, std::byte* scratch) override {
      if (pixel_ > 500) throw IoError("raw.fits: the disk is gone");
      pixel_ += n_pixels;
      std::memset(scratch, 0, static_cast<std::size_t>(n_pixels * n_skips * 2));
      return scratch;
    }

   private:
    std::int64_t pixel_ = 0;
  };
};

void a_reading_error_reaches_the_caller_from_any_thread() {
  for (const std::size_t n_threads : {1, 2, 4}) {
    Problems problems;
    auto chain = make_chain(Value::List{stage("compress_skips")}, {}, problems);
    PipelineOptions options;
    options.n_threads = n_threads;
    options.chunk_rows = 10;
    Pipeline pipeline(std::move(chain), options);
    pipeline.begin(image_info(1000));
    check::throws<IoError>([&] { pipeline.run(BrokenSource{}, 1000); }, "the disk is gone");
  }
}

void a_tap_that_fails_ends_the_push_from_any_thread() {
  const auto samples = noise(20);
  const auto* bytes = reinterpret_cast<const std::byte*>(samples.data());
  for (const std::size_t n_threads : {1, 2, 4}) {
    for (const std::int64_t failing_row : {0, 4, 18}) {
      Problems problems;
      PipelineOptions options;
      options.n_threads = n_threads;
      options.chunk_rows = 2;
      Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), options);
      pipeline.begin(image_info(20));
      std::int64_t n_seen = 0;
      pipeline.add_tap(0, [&](const PixelChunk& chunk) {
        if (chunk.first_row == failing_row) throw IoError("rows.fits: the disk is full");
        n_seen += chunk.n_rows;
      });
      check::throws<IoError>([&] { pipeline.push(bytes, 20); }, "the disk is full");
      check::equal(n_seen, failing_row, "rows before the failure");
    }
  }
}

void two_tasks_may_fail_at_once() {
  Workers workers(2);
  std::latch both(2);
  const Workers::Task failing = [&](std::int64_t task, std::size_t /*worker*/) {
    both.arrive_and_wait();  // neither ends before the other one has begun
    throw IoError("task " + std::to_string(task));
  };
  workers.start(2, failing);
  check::throws<IoError>([&] { workers.wait(); }, "task ");
  std::atomic<int> n_done = 0;
  const Workers::Task counting = [&](std::int64_t /*task*/, std::size_t /*worker*/) { ++n_done; };
  workers.start(5, counting);
  workers.wait();
  check::equal(n_done.load(), 5, "the next tasks are done, without an old failure");
}

void every_mistake_in_a_chain_is_found_at_once() {
  Problems problems;
  make_chain(Value::List{stage("subtract_pedestal", {{"axs", "row"}}),
                         stage("compress_skips", {{"ddof", std::int64_t{-1}}}),
                         stage("correct_leach"), stage("calibrat"), Value::Table{}},
             {}, problems);
  check::equal(problems.size(), std::size_t{6});
  check::equal(problems.at(0),
               std::string("stage[0] subtract_pedestal: no key \"axs\"; did you mean \"axis\"?"));
  check::equal(problems.at(1),
               std::string("stage[1] compress_skips.ddof: must be at least 0; got -1"));
  check::that(problems.at(2).find("move it behind stage[1]") != std::string::npos, problems.at(2));
  check::that(problems.at(3).find("move it before compress_skips") != std::string::npos);
  check::equal(problems.at(4),
               std::string("stage[3].kind: no stage \"calibrat\"; did you mean \"calibrate\"?"));
  check::that(problems.at(5).find("stage[4].kind: must name a stage") == 0, problems.at(5));
}

void samples_are_not_taken_from_pixels() {
  Problems problems;
  make_chain(Value::List{stage("calibrate"), stage("correct_leach")}, {}, problems);
  check::equal(problems.size(), std::size_t{1});
  check::equal(problems.at(0), std::string("stage[1] correct_leach: works on samples; move it "
                                           "before compress_skips"));
}

void a_reduction_that_nobody_named_has_no_number() {
  Problems problems;
  Pipeline pipeline(make_chain(Value::List{}, {}, problems), {});
  ImageInfo image = image_info(3);
  image.n_skips = 1;
  image.begin_skip = 2;
  std::string message;
  try {
    pipeline.begin(image);
  } catch (const ConfigError& error) {
    message = error.what();
  }
  check::equal(message, std::string("compress_skips.begin_skip: must be below n_skips = 1; got 2"));
}

void a_pipeline_begins_once() {
  Problems problems;
  Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), {});
  pipeline.begin(image_info(3));
  check::throws<Error>([&] { pipeline.begin(image_info(3)); }, "begin was called before");
}

void chunks_hold_whole_tiles_unless_their_rows_are_given() {
  const auto planned = [](std::int64_t chunk_rows, std::int64_t row_multiple) {
    Problems problems;
    PipelineOptions options;
    options.chunk_rows = chunk_rows;
    options.row_multiple = row_multiple;
    Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), options);
    return pipeline.begin(image_info(100'000)).chunk_rows;
  };
  check::equal(planned(0, 1) % 300, std::int64_t{1024 % 300});
  check::equal(planned(0, 300), std::int64_t{1200});
  check::equal(planned(0, 10'000'000), std::int64_t{1024}, "too many to hold");
  check::equal(planned(7, 300), std::int64_t{7});
}

void each_table_gets_the_rows_of_its_own_stage() {
  const auto samples = noise(12);
  const auto* bytes = reinterpret_cast<const std::byte*>(samples.data());
  const auto finder = [](double threshold) {
    return stage("find_clusters",
                 {{"threshold", threshold}, {"seed", threshold}, {"threshold_unit", "absolute"}});
  };
  const auto sizes = [&](const Value::List& finders) {
    Value::List stages{stage("compress_skips")};
    stages.insert(stages.end(), finders.begin(), finders.end());
    Problems problems;
    Pipeline pipeline(make_chain(stages, {}, problems), {});
    pipeline.begin(image_info(12));
    pipeline.push(bytes, 12);
    pipeline.finish();
    std::vector<std::size_t> n_cells;
    for (const auto& table : pipeline.tables()) n_cells.push_back(table.cells.size());
    return n_cells;
  };
  const auto low = sizes({finder(1032.0)});
  const auto high = sizes({finder(1040.0)});
  check::that(low[0] != high[0] && high[0] > 0);
  check::that(sizes({finder(1032.0), finder(1040.0)}) == std::vector{low[0], high[0]});
}

/// Rows through the spools of two barriers, changed on the way in place, or a row later in memory
/// of their own; bytes of the second spool.
std::int64_t through_two_spools(std::int64_t width, std::size_t n_planes, std::int64_t memory_bytes,
                                std::size_t n_planes_after, bool is_late) {
  constexpr std::int64_t n_rows = 11;
  std::vector<double> values(static_cast<std::size_t>(width * n_rows) * n_planes);
  std::iota(values.begin(), values.end(), 0.5);
  std::vector<std::uint32_t> mask(static_cast<std::size_t>(width * n_rows));
  std::iota(mask.begin(), mask.end(), 1U);
  std::vector<double*> planes;
  for (std::size_t p = 0; p < n_planes; ++p) {
    planes.push_back(&values[p * static_cast<std::size_t>(width * n_rows)]);
  }
  Spool first(n_planes, width, 3, memory_bytes, -1, "/tmp");
  Spool second(n_planes_after, width, 3, memory_bytes, -1, "/tmp", &first);
  for (const auto& [begin, n] : {std::pair{0, 4}, std::pair{4, 2}, std::pair{6, 5}}) {
    std::vector<double*> part;
    for (double* plane : planes) part.push_back(plane + begin * width);
    first.append({part, mask.data() + begin * width, begin, n, width});
  }
  std::int64_t n_given = 0;
  std::vector<double> late;
  std::vector<std::uint32_t> late_mask;
  const auto send_late = [&](std::int64_t row) {
    if (late.empty()) return;
    std::vector<double*> rows;
    for (std::size_t p = 0; p < n_planes_after; ++p) {
      rows.push_back(late.data() + p * static_cast<std::size_t>(width));
    }
    second.append({rows, late_mask.data(), row, 1, width});
  };
  first.replay([&](PixelChunk& chunk) {
    check::equal(chunk.first_row, n_given);
    n_given += chunk.n_rows;
    for (double* plane : chunk.planes) {
      for (std::int64_t i = 0; i < chunk.n_rows * width; ++i) plane[i] *= 2;
    }
    std::vector<double*> handed;
    for (std::size_t p = 0; p < n_planes_after; ++p) handed.push_back(chunk.planes[p % n_planes]);
    const PixelChunk changed{handed, chunk.mask, chunk.first_row, chunk.n_rows, width};
    if (!is_late) {
      second.append(changed);
      return;
    }
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      send_late(chunk.first_row + r - 1);
      late.clear();
      for (std::size_t p = 0; p < n_planes_after; ++p) {
        late.insert(late.end(), changed.row(p, r).begin(), changed.row(p, r).end());
      }
      late_mask.assign(chunk.mask_row(r).begin(), chunk.mask_row(r).end());
    }
  });
  send_late(n_rows - 1);
  check::equal(n_given, n_rows);
  std::int64_t next = 0;
  second.replay([&](PixelChunk& chunk) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r, ++next) {
      check::equal(chunk.first_row + r, next);
      for (std::size_t p = 0; p < n_planes_after; ++p) {
        const double* sent = planes[p % n_planes] + width * next;
        const auto row = chunk.row(p, r);
        for (std::size_t c = 0; c < row.size(); ++c) check::equal(row[c], 2 * sent[c]);
      }
      check::equal(chunk.mask_row(r)[0], static_cast<std::uint32_t>(width * next + 1));
    }
  });
  check::equal(next, n_rows);
  return second.own_bytes();
}

void spools_that_share_their_memory_keep_their_rows() {
  for (const std::int64_t width : {1, 3, 4}) {
    for (const bool is_late : {false, true}) {
      for (const std::int64_t bytes : {0, 100, 333, 1 << 20}) {  // less than the rows, and more
        check::equal(through_two_spools(width, 2, bytes, 2, is_late), std::int64_t{0},
                     "the memory of the first");
        check::equal(through_two_spools(width, 2, bytes, 1, is_late), bytes, "other rows");
        check::equal(through_two_spools(width, 2, bytes, 3, is_late), bytes, "other rows");
      }
    }
  }
}

void a_spool_reserves_what_its_rows_need() {
  for (const std::int64_t n_rows : {0, 1, 3, 7}) {
    const Spool spool(2, 3, 3, 1 << 20, n_rows, "/tmp");
    // A chunk of 3 rows of 60 bytes ends where a double may begin.
    check::equal(spool.own_bytes(), n_rows / 3 * 184 + n_rows % 3 * 60);
    check::equal(Spool(2, 3, 3, 100, n_rows, "/tmp").own_bytes(),
                 std::min<std::int64_t>(100, n_rows / 3 * 184 + n_rows % 3 * 60));
  }
}

/// Begins an image with an alarm, and reduces it.
std::vector<RowStatistics> watched(const std::string& when, const std::string& unit = "adu",
                                   const Value& gain = Value()) {
  Value::List stages{stage("compress_skips")};
  if (!gain.is_null()) stages.emplace_back(stage("calibrate", {{"gain", gain}}));
  Problems problems;
  PipelineOptions options;
  options.alarms = {{.when = when, .name = "", .command = {}}};
  options.fit_gain = [](std::span<const float> /*pixels*/) { return 2.0; };
  Pipeline pipeline(make_chain(stages, {}, problems), options);
  ImageInfo image = image_info(5);
  image.unit = unit;
  pipeline.begin(image);
  std::vector<RowStatistics> rows;
  pipeline.add_row_tap([&](const RowStatistics& row) { rows.push_back(row); });
  const auto samples = noise(5);
  pipeline.push(reinterpret_cast<const std::byte*>(samples.data()), 5);
  pipeline.finish();
  return rows;
}

void noise_in_electrons_needs_a_gain_that_is_known() {
  for (const auto& row : watched("noise_e > 5", "electron")) {
    check::that(row.noise > 0 && row.noise_e == row.noise);
  }
  for (const auto& row : watched("noise_e > 5 for 1 row", "adu", 2.0)) {
    check::that(row.noise > 0 && row.noise_e == row.noise / 2);
  }
  check::throws<ConfigError>([] { watched("noise_e > 5"); },
                             "alarm[0].when: noise_e needs a gain that is known");
  check::throws<ConfigError>([] { watched("noise_e > 5", "adu", "fit"); },
                             "alarm[0].when: noise_e needs a gain that is known");
  for (const char* wrong : {"noise > 5x", "noise > 5 for 2x rows", "noise > 5 for 2 lines", ""}) {
    check::throws<ConfigError>([&] { watched(wrong); }, "alarm[0].when: must be such as");
  }
}

/// Rows of which pixels are missing, where the first three did not arrive.
std::vector<bool> missing_rows(const Value& first_stage) {
  Problems problems;
  Pipeline pipeline(make_chain(Value::List{first_stage, stage("compress_skips")}, {}, problems),
                    {});
  pipeline.begin(image_info(7));
  std::vector<bool> missing;
  pipeline.add_tap(1, [&](const PixelChunk& chunk) {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      const auto mask = chunk.mask_row(r);
      missing.push_back((mask[0] & mask_bit::no_data) != 0);
      for (const auto bits : mask) check::equal(bits, mask[0], "all pixels of a row");
    }
  });
  const auto samples = noise(4);
  pipeline.push_missing(2);
  pipeline.push_missing(1);
  pipeline.push(reinterpret_cast<const std::byte*>(samples.data()), 4);
  pipeline.finish();
  return missing;
}

void samples_of_a_lost_first_row_are_missed_where_they_end_the_image() {
  check::that(missing_rows(stage("subtract_baseline")) ==
              std::vector<bool>{true, true, true, false, false, false, false});
  check::that(missing_rows(stage("correct_leach")) ==
              std::vector<bool>{true, true, true, false, false, false, true});
}

void records_do_not_depend_on_the_pushes() {
  constexpr std::int64_t n_rows = 9;
  const auto samples = noise(n_rows);
  const auto* bytes = reinterpret_cast<const std::byte*>(samples.data());
  std::vector<SampleHistograms> histograms;
  std::vector<std::vector<std::byte>> kept;
  for (const std::int64_t at_once : {n_rows, std::int64_t{1}, std::int64_t{4}}) {
    Problems problems;
    PipelineOptions options;
    options.n_histograms = 3;
    Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), options);
    pipeline.begin(image_info(n_rows));
    check::equal(pipeline.keep({.begin_col = 2, .end_col = 5, .row_step = 2}), std::size_t{0});
    for (std::int64_t row = 0; row < n_rows; row += at_once) {
      const std::int64_t n = std::min(at_once, n_rows - row);
      pipeline.push(bytes + row * n_cols * n_skips * 2, n);
    }
    pipeline.finish();
    histograms.push_back(pipeline.records().histograms());
    const auto region = pipeline.records().samples(0);
    kept.emplace_back(region.begin(), region.end());
  }
  std::int64_t n_counted = 0;
  for (const auto count : histograms[0].counts) n_counted += count;
  check::equal(n_counted, 3 * n_rows * n_cols, "each pixel has its first three samples counted");
  check::equal(kept[0].size(), std::size_t{5 * 3 * n_skips * 2});
  for (std::size_t i = 1; i < kept.size(); ++i) {
    check::that(histograms[i].firsts == histograms[0].firsts);
    check::that(histograms[i].counts == histograms[0].counts);
    check::that(kept[i] == kept[0]);
  }
}

void what_cannot_be_pushed_is_refused() {
  Problems problems;
  Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), {});
  const std::array<std::byte, 3> some{};
  check::throws<Error>([&] { pipeline.push(some); }, "begin comes first");
  pipeline.begin(image_info(2));
  const std::int64_t many = (std::int64_t{1} << 56) + 1;
  check::throws<ConfigError>([&] { pipeline.push_lost(many); },
                             "push_lost: got 72057594037927937 samples");
  check::throws<ConfigError>([&] { pipeline.push_lost(-1); }, "push_lost: got -1 samples");
  pipeline.push(some);
  check::throws<Error>([&] { pipeline.push_lost(1); }, "in the middle of a sample");
  pipeline.push(std::span(some).first(1));
  pipeline.push_lost(n_cols * n_skips - 2);
  check::equal(pipeline.rows_pushed(), std::int64_t{1});
}

void a_chain_without_reduction_refuses_skips() {
  Problems problems;
  auto chain = make_chain(Value::List{stage("calibrate")}, {}, problems);
  Pipeline pipeline(std::move(chain), {});
  check::throws<ConfigError>([&] { pipeline.begin(image_info(3)); },
                             "stage[0] calibrate: works on pixels, but the image has 7 skips");
}

void the_plan_counts_delay_and_memory() {
  Problems problems;
  Pipeline pipeline(make_chain(whole_chain(), {}, problems), {});
  const auto& plan = pipeline.begin(image_info(1000));
  check::equal(plan.delay_rows, std::int64_t{1}, "one row of Leach; barriers do not delay");
  check::that(plan.total_bytes() > 0);
  check::equal(plan.n_used_skips, n_skips);
  int barriers = 0;
  for (const auto& planned : plan.stages) barriers += planned.barrier ? 1 : 0;
  check::equal(barriers, 3, "maximum, column pedestal, measured noise");
}

void a_finished_pipeline_takes_no_rows() {
  Problems problems;
  Pipeline pipeline(make_chain(Value::List{stage("compress_skips")}, {}, problems), {});
  pipeline.begin(image_info(-1));
  pipeline.finish();
  check::throws<Error>([&] { pipeline.push(nullptr, 1); }, "push after finish");
}

}  // namespace

int main() {
  chunk_rows_threads_and_pushes_do_not_matter();
  a_spool_on_disk_gives_the_same_bits();
  a_spool_that_cannot_be_written_is_an_error();
  a_reading_error_reaches_the_caller_from_any_thread();
  a_tap_that_fails_ends_the_push_from_any_thread();
  two_tasks_may_fail_at_once();
  every_mistake_in_a_chain_is_found_at_once();
  samples_are_not_taken_from_pixels();
  a_reduction_that_nobody_named_has_no_number();
  a_pipeline_begins_once();
  each_table_gets_the_rows_of_its_own_stage();
  noise_in_electrons_needs_a_gain_that_is_known();
  samples_of_a_lost_first_row_are_missed_where_they_end_the_image();
  records_do_not_depend_on_the_pushes();
  spools_that_share_their_memory_keep_their_rows();
  a_spool_reserves_what_its_rows_need();
  what_cannot_be_pushed_is_refused();
  chunks_hold_whole_tiles_unless_their_rows_are_given();
  a_chain_without_reduction_refuses_skips();
  the_plan_counts_delay_and_memory();
  a_finished_pipeline_takes_no_rows();
  return check::failures();
}
