// The C API: the rows of C++, errors by handle, and no allocation between begin and finish.

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "replaced_new.hpp"
#include "skipstream/skipstream.h"
#include "skipstream/skipstream.hpp"

namespace {

std::atomic<std::int64_t> n_allocations{0};
std::atomic<std::size_t> n_allocated_bytes{0};
/// Allocations until all fail; negative: none does.
std::atomic<std::int64_t> left{-1};

}  // namespace

bool fails(std::size_t n_bytes) {
  ++n_allocations;
  n_allocated_bytes += n_bytes;
  return left >= 0 && left-- == 0 && (left = 0, true);
}

// The linker sends here whoever asks the system itself.
extern "C" {
void* __real_malloc(std::size_t n_bytes);
void* __real_calloc(std::size_t n, std::size_t n_bytes);
void* __real_realloc(void* memory, std::size_t n_bytes);
void* __real_mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset);
void* __wrap_malloc(std::size_t n_bytes) {
  return fails(n_bytes) ? nullptr : __real_malloc(n_bytes);
}
void* __wrap_calloc(std::size_t n, std::size_t n_bytes) {
  return fails(n * n_bytes) ? nullptr : __real_calloc(n, n_bytes);
}
void* __wrap_realloc(void* memory, std::size_t n_bytes) {
  return fails(n_bytes) ? nullptr : __real_realloc(memory, n_bytes);
}
void* __wrap_mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset) {
  return fails(n) ? MAP_FAILED : __real_mmap(at, n, protection, flags, file, offset);
}
}

namespace {

constexpr std::int64_t n_rows = 40;
constexpr std::int64_t n_cols = 50;
constexpr std::int64_t n_skips = 12;

const char* const usual_chain = R"(
[input]
overscan_cols = 8

[[stage]]
kind = "compress_skips"
statistics = ["mean", "median", "std"]

[[stage]]
kind = "subtract_pedestal"   # the median of each row's overscan

[[stage]]
kind = "calibrate"
gain = {EXT1 = 5.0, EXT2 = 5.2}

[[stage]]
kind = "find_clusters"
noise = 0.3
keep_pixels = true
)";

/// Stages that need the whole image.
const char* const barrier_chain = R"(
input = {overscan_cols = 8}
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "subtract_pedestal"
axis = "both"
[[stage]]
kind = "find_clusters"
noise = "measured"
)";

/// All stages that need not the whole image.
const char* const long_chain = R"toml(
input = {overscan_cols = 8}
[[stage]]
kind = "correct_leach"
[[stage]]
kind = "subtract_baseline"
[[stage]]
kind = "compress_skips"
statistics = ["median", "mean", "first", "mad", "quantile(0.2)", "clipped_mean", "trimmed_mean", "mean(5)"]
[[stage]]
kind = "replace_saturated"
[[stage]]
kind = "mask_columns"
columns = [3, [5, 6]]
[[stage]]
kind = "mask_rows"
rows = [2]
[[stage]]
kind = "subtract_pedestal"
rebin_rows = 3
n_sigma_to_mask = 4.0
[[stage]]
kind = "subtract_pedestal"
method = "gaussian_fit"
between_rows = "line"
[[stage]]
kind = "subtract_pedestal"
method = "lowest_peak"
[[stage]]
kind = "calibrate"
gain = "GAIN"
[[stage]]
kind = "mask_edges"
[[stage]]
kind = "mask_noisy_rows"
max_noise = 3.0
[[stage]]
kind = "mask_bleeding"
threshold = 20.0
[[stage]]
kind = "mask_serial_hits"
[[stage]]
kind = "mask_crowded"
radius = 3
[[stage]]
kind = "find_clusters"
noise = 0.3
keep_pixels = true
link_distance = 2.5
[[stage]]
kind = "mask_halo"
threshold = 20.0
radius = 3
)toml";

std::vector<std::uint16_t> readout() {
  std::vector<std::uint16_t> samples(n_rows * n_cols * n_skips);
  std::uint32_t state = 7;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    state = state * 1664525U + 1013904223U;
    const auto pixel = static_cast<std::int64_t>(i) / n_skips;
    const std::int64_t row = pixel / n_cols;
    const std::int64_t col = pixel % n_cols;
    const bool is_bright = (row % 9 == 4 && col % 7 == 3 && col < 40) || (row > 20 && col == 11);
    samples[i] = static_cast<std::uint16_t>(1000 + (state >> 28) + (is_bright ? 300 : 0));
  }
  return samples;
}

/// What callbacks are given.
struct Seen {
  std::vector<double> values;
  std::vector<std::uint32_t> mask;
  std::vector<std::int64_t> cells;
  std::size_t n_values = 0;
  std::size_t n_cells = 0;
  bool in_order = true;
  std::vector<skipstream_status> ends;

  explicit Seen(std::size_t room = 0) : values(room), mask(room), cells(room) {}

  void add(const skipstream_rows& rows) {
    const auto n = static_cast<std::size_t>(rows.n_rows * rows.n_cols);
    in_order = in_order && rows.first_row * rows.n_cols == static_cast<std::int64_t>(n_values);
    std::memcpy(values.data() + n_values, rows.planes[0], n * sizeof(double));
    std::memcpy(mask.data() + n_values, rows.mask, n * sizeof(std::uint32_t));
    n_values += n;
  }
  void add(const skipstream_table& rows) {
    const std::size_t n = rows.n_rows * rows.n_columns;
    std::memcpy(cells.data() + n_cells, rows.cells, n * sizeof(std::int64_t));
    n_cells += n;
  }
};

skipstream_options options_for(Seen& seen) {
  skipstream_options options{};
  options.struct_size = sizeof options;
  skipstream_options_init(&options);
  options.user = &seen;
  options.on_rows = [](void* user, const skipstream_rows* rows) {
    static_cast<Seen*>(user)->add(*rows);
  };
  options.on_table_rows = [](void* user, const skipstream_table* rows) {
    static_cast<Seen*>(user)->add(*rows);
  };
  options.on_end = [](void* user, skipstream_status status) {
    static_cast<Seen*>(user)->ends.push_back(status);
  };
  return options;
}

skipstream_image_info info_for(const skipstream_config* config) {
  static const skipstream_card gain{"GAIN", 5.0};
  skipstream_image_info info{};
  info.struct_size = sizeof info;
  skipstream_image_info_init(&info, config);
  info.n_rows = n_rows;
  info.n_cols = n_cols;
  info.n_skips = n_skips;
  info.cards = &gain;
  info.n_cards = 1;
  return info;
}

skipstream_config* read(const char* text) {
  skipstream_config* config = nullptr;
  const auto status = skipstream_config_create(text, "cfg.toml", &config);
  check::equal(status, SKIPSTREAM_OK, skipstream_config_error(config));
  return config;
}

skipstream_image* begun(const skipstream_config* config, const skipstream_options& options) {
  const auto info = info_for(config);
  skipstream_image* image = nullptr;
  const auto status = skipstream_image_begin(config, &info, &options, &image);
  check::equal(status, SKIPSTREAM_OK, skipstream_image_error(image));
  return image;
}

bool contains(const char* text, const std::string& part) {
  return std::string(text).find(part) != std::string::npos;
}

void rows_and_clusters_are_those_of_cpp() {
  const auto samples = readout();
  for (const char* text : {usual_chain, long_chain}) {
    Seen seen(n_rows * n_cols);
    skipstream_config* config = read(text);
    skipstream_image* image = begun(config, options_for(seen));
    std::size_t at = 0;
    for (std::size_t n = 1; at < samples.size(); at += n, n = n * 3 % 1801) {
      n = std::min(n, samples.size() - at);
      check::equal(skipstream_image_push(image, samples.data() + at, 2 * n), SKIPSTREAM_OK);
    }
    check::equal(skipstream_image_rows_pushed(image), n_rows);
    check::equal(skipstream_image_finish(image), SKIPSTREAM_OK, skipstream_image_error(image));

    const auto loaded = skipstream::load_config(text);
    auto info = loaded.image;
    info.n_rows = n_rows;
    info.n_cols = n_cols;
    info.n_skips = n_skips;
    info.format.is_unsigned = true;
    info.header = {{"GAIN", 5.0}};
    skipstream::Pipeline pipeline(loaded.chain(), {});
    const auto last = pipeline.begin(info).stages.back().number.value();
    std::vector<double> values;
    std::vector<std::uint32_t> mask;
    pipeline.add_tap(last, [&](const skipstream::PixelChunk& rows) {
      const std::int64_t n = rows.n_rows * rows.n_cols;
      values.insert(values.end(), rows.planes[0], rows.planes[0] + n);
      mask.insert(mask.end(), rows.mask, rows.mask + n);
    });
    pipeline.push(reinterpret_cast<const std::byte*>(samples.data()), n_rows);
    pipeline.finish();
    check::that(seen.in_order, "rows come in order");
    check::equal(seen.n_values, values.size());
    check::that(std::memcmp(seen.values.data(), values.data(), 8 * values.size()) == 0, "values");
    check::that(seen.mask == mask, "mask");
    for (const char* name : {"clusters", "cluster_pixels"}) {
      const skipstream_table* table = skipstream_image_table(image, name);
      const auto& expected = pipeline.tables().at(std::strcmp(name, "clusters") == 0 ? 0 : 1);
      check::equal(table->n_rows * table->n_columns, expected.cells.size());
      check::that(std::memcmp(table->cells, expected.cells.data(), 8 * expected.cells.size()) == 0,
                  name);
      check::that(table->n_rows > 10, "there are clusters");
    }
    const skipstream_table* clusters = skipstream_image_table(image, "clusters");
    const std::size_t charge = skipstream_table_column(clusters, "charge");
    check::that(clusters->is_integer[charge] == 0 && clusters->is_integer[0] == 1);
    check::that(std::string(clusters->column_units[charge]) == "electron");
    check::equal(skipstream_table_column(clusters, "chrage"), clusters->n_columns);
    check::that(skipstream_image_table(image, "pixels") == nullptr);
    check::equal(skipstream_image_finding(image, "find_clusters", "noise"), 0.3);
    check::that(std::isnan(skipstream_image_finding(image, "find_clusters", "nose")));
    check::that(std::string(skipstream_image_plane_unit(image, 0)) == "electron");
    check::that(skipstream_image_plane_name(image, 20) == nullptr);
    check::that(seen.ends == std::vector<skipstream_status>{SKIPSTREAM_OK}, "one end");
    skipstream_image_destroy(image);
    skipstream_config_destroy(config);
  }
}

void nothing_is_allocated_between_begin_and_finish() {
  const auto samples = readout();
  const auto* bytes = reinterpret_cast<const char*>(samples.data());
  constexpr std::size_t row_bytes = 2 * n_cols * n_skips;
  for (const char* text : {usual_chain, long_chain}) {
    Seen seen(n_rows * n_cols);
    seen.ends.reserve(1);
    skipstream_config* config = read(text);
    skipstream_image* image = begun(config, options_for(seen));
    check::equal(skipstream_image_plan(image)->has_barrier, 0);
    check::that(n_allocations > 10, "allocations are counted");
    const std::int64_t before = n_allocations;
    int status = skipstream_image_push(image, bytes, row_bytes);                // one row
    status |= skipstream_image_push(image, bytes + row_bytes, 11 * row_bytes);  // many
    status |= skipstream_image_push(image, bytes + 12 * row_bytes, 1001);       // a part
    status |= skipstream_image_push(image, bytes + 12 * row_bytes + 1001, row_bytes - 1001);
    status |= skipstream_image_push(image, bytes + 13 * row_bytes, 100);
    status |= skipstream_image_push_lost(image, 300);
    status |= skipstream_image_push(image, bytes + 13 * row_bytes + 700, row_bytes - 700);
    status |= skipstream_image_push_missing(image, 2);
    status |= skipstream_image_push(image, bytes + 16 * row_bytes, 24 * row_bytes);
    check::equal(n_allocations - before, 0, "allocations");
    check::equal(status, SKIPSTREAM_OK, skipstream_image_error(image));
    check::that(seen.n_cells > 0, "clusters came meanwhile");
    check::equal(skipstream_image_finish(image), SKIPSTREAM_OK);
    check::equal(seen.n_values, static_cast<std::size_t>(n_rows * n_cols));
    skipstream_image_destroy(image);
    skipstream_config_destroy(config);
  }
}

skipstream_queue_options queue_options(skipstream_queue_policy policy) {
  skipstream_queue_options options{};
  options.struct_size = sizeof options;
  skipstream_queue_options_init(&options);
  options.policy = policy;
  options.max_bytes = 3000;
  return options;
}

void a_queue_allocates_nothing_either() {
  const auto samples = readout();
  Seen seen(n_rows * n_cols);
  seen.ends.reserve(1);
  skipstream_config* config = read(usual_chain);
  skipstream_image* image = begun(config, options_for(seen));
  const auto options = queue_options(SKIPSTREAM_SPILL);
  skipstream_queue* queue = nullptr;
  check::equal(skipstream_queue_begin(image, &options, &queue), SKIPSTREAM_OK);
  const std::int64_t before = n_allocations;
  int status = SKIPSTREAM_OK;
  for (std::size_t row = 0; row < n_rows; ++row) {
    status |=
        skipstream_queue_push(queue, samples.data() + row * n_cols * n_skips, 2 * n_cols * n_skips);
  }
  while (skipstream_queue_state_now(queue).waiting_bytes > 0) std::this_thread::yield();
  check::equal(n_allocations - before, 0, "allocations");
  check::equal(status, SKIPSTREAM_OK);
  check::equal(skipstream_queue_finish(queue), SKIPSTREAM_OK);
  skipstream_queue_destroy(queue);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

skipstream_options with_arena(const skipstream_options& options, std::span<std::byte> arena) {
  skipstream_options with = options;
  with.arena = arena.data();
  with.arena_bytes = arena.size();
  return with;
}

/// Bytes that begin takes from the system for an image of so many columns in an arena.
std::size_t beside_arena(const skipstream_config* config, std::int64_t cols) {
  Seen seen(0);
  auto info = info_for(config);
  info.n_cols = cols;
  const auto options = options_for(seen);
  skipstream_image* image = nullptr;
  check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_OK);
  std::vector<std::byte> arena(static_cast<std::size_t>(skipstream_image_plan(image)->arena_bytes));
  skipstream_image_destroy(image);
  const auto with = with_arena(options, arena);
  const std::size_t before = n_allocated_bytes;
  check::equal(skipstream_image_begin(config, &info, &with, &image), SKIPSTREAM_OK);
  const std::size_t taken = n_allocated_bytes - before;
  skipstream_image_destroy(image);
  return taken;
}

void an_arena_holds_what_grows_with_the_image() {
  const auto samples = readout();
  const auto* bytes = reinterpret_cast<const std::byte*>(samples.data());
  for (const char* text : {usual_chain, long_chain, barrier_chain}) {
    skipstream_config* config = read(text);
    std::array<Seen, 2> seen{Seen(n_rows * n_cols), Seen(n_rows * n_cols)};
    skipstream_image* image = begun(config, options_for(seen[0]));
    const auto needed = static_cast<std::size_t>(skipstream_image_plan(image)->arena_bytes);
    check::that(needed > 64U << 10U, "an arena of " + std::to_string(needed) + " bytes");
    check::equal(skipstream_image_push(image, bytes, samples.size() * 2), SKIPSTREAM_OK);
    check::equal(skipstream_image_finish(image), SKIPSTREAM_OK);
    skipstream_image_destroy(image);

    constexpr std::size_t guard = 37;  // also, no address of any alignment
    std::vector<std::byte> memory(guard + needed + guard, std::byte{0xa5});
    const auto arena = std::span(memory).subspan(guard, needed);
    for (int again = 0; again < 2; ++again) {  // it can be handed in again
      seen[1].n_values = seen[1].n_cells = 0;
      image = begun(config, with_arena(options_for(seen[1]), arena));
      check::equal(skipstream_image_plan(image)->arena_bytes, static_cast<std::int64_t>(needed));
      check::equal(skipstream_image_push(image, bytes, samples.size() * 2), SKIPSTREAM_OK);
      check::equal(skipstream_image_finish(image), SKIPSTREAM_OK, skipstream_image_error(image));
      check::that(seen[0].n_values == seen[1].n_values && seen[0].n_cells == seen[1].n_cells &&
                      std::memcmp(seen[0].values.data(), seen[1].values.data(),
                                  seen[0].n_values * sizeof(double)) == 0 &&
                      std::memcmp(seen[0].cells.data(), seen[1].cells.data(),
                                  seen[0].n_cells * sizeof(std::int64_t)) == 0,
                  "the same rows");
      skipstream_image_destroy(image);
    }
    const auto is_untouched = [](std::byte byte) { return byte == std::byte{0xa5}; };
    check::that(std::all_of(memory.begin(), memory.begin() + guard, is_untouched) &&
                    std::all_of(memory.end() - guard, memory.end(), is_untouched),
                "nothing is written beside the arena");

    const std::size_t few = beside_arena(config, 50);
    const std::size_t many = beside_arena(config, 1000);
    check::that(many < few + 1000, std::to_string(few) + " bytes beside the arena of 50 columns, " +
                                       std::to_string(many) + " of 1000");

    const auto info = info_for(config);
    for (const std::size_t n : {needed - 1, std::size_t{1}}) {
      const auto options = with_arena(options_for(seen[1]), arena.first(n));
      check::equal(skipstream_image_begin(config, &info, &options, &image),
                   SKIPSTREAM_CONFIG_ERROR);
      check::equal(
          std::string(skipstream_image_error(image)),
          "arena_bytes: must be at least " + std::to_string(needed) + "; got " + std::to_string(n));
      skipstream_image_destroy(image);
    }
    auto options = options_for(seen[1]);
    options.arena_bytes = 1;
    check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_CONFIG_ERROR);
    check::equal(std::string(skipstream_image_error(image)),
                 std::string("arena: is NULL, but arena_bytes is not 0"));
    skipstream_image_destroy(image);
    skipstream_config_destroy(config);
  }
}

void an_arena_holds_a_queue() {
  const auto samples = readout();
  skipstream_config* config = read(usual_chain);
  std::vector<std::byte> memory((2U << 20U) + 3000);
  for (const auto policy : {SKIPSTREAM_BLOCK, SKIPSTREAM_DROP, SKIPSTREAM_SPILL}) {
    Seen seen(n_rows * n_cols);
    skipstream_image* image = begun(config, options_for(seen));
    auto options = queue_options(policy);
    options.arena = memory.data();
    options.arena_bytes = 3000;
    skipstream_queue* queue = nullptr;
    check::equal(skipstream_queue_begin(image, &options, &queue), SKIPSTREAM_CONFIG_ERROR);
    check::that(std::string(skipstream_queue_error(queue)).starts_with("arena_bytes: must be"),
                skipstream_queue_error(queue));
    skipstream_queue_destroy(queue);
    skipstream_image_destroy(image);

    image = begun(config, options_for(seen));
    options.arena_bytes = memory.size();
    const std::size_t before = n_allocated_bytes;
    check::equal(skipstream_queue_begin(image, &options, &queue), SKIPSTREAM_OK);
    check::that(n_allocated_bytes - before < 64U << 10U, "what waits is in the arena");
    for (std::size_t row = 0; row < n_rows; ++row) {
      skipstream_queue_push(queue, samples.data() + row * n_cols * n_skips, 2 * n_cols * n_skips);
    }
    check::equal(skipstream_queue_finish(queue), SKIPSTREAM_OK);
    check::equal(seen.n_values, static_cast<std::size_t>(n_rows * n_cols));
    skipstream_queue_destroy(queue);
    skipstream_image_destroy(image);
  }
  skipstream_config_destroy(config);
}

void rows_have_statistics_and_alarms_without_an_allocation() {
  struct Told {
    std::int64_t n_rows = 0;
    double noise_e = 0;
    std::int64_t n_missing = 0;
    std::array<skipstream_alarm, 8> alarms{};
    std::size_t n_alarms = 0;
  } told;
  const std::string text = std::string(usual_chain) +
                           "[[alarm]]\nwhen = \"n_missing > 0 for 2 rows\"\nname = \"a gap\"\n"
                           "[[alarm]]\nwhen = \"mean_noise_e > 0.01\"\n";
  skipstream_config* config = read(text.c_str());
  Seen seen(n_rows * n_cols);
  auto options = options_for(seen);
  options.user = &told;
  options.on_rows = nullptr;
  options.on_table_rows = nullptr;
  options.on_end = nullptr;
  options.on_row_statistics = [](void* user, const skipstream_row_statistics* row) {
    auto& known = *static_cast<Told*>(user);
    known.n_rows += row->row == known.n_rows ? 1 : 0;
    known.n_missing += row->n_missing;
    if (row->row == 0) known.noise_e = row->noise_e;
  };
  options.on_alarm = [](void* user, const skipstream_alarm* alarm) {
    auto& known = *static_cast<Told*>(user);
    known.alarms.at(known.n_alarms++) = *alarm;
  };
  skipstream_image* image = begun(config, options);
  skipstream_config_destroy(config);
  const auto samples = readout();
  const std::int64_t before = n_allocations;
  int status = skipstream_image_push(image, samples.data(), 2 * samples.size() / 2);
  status |= skipstream_image_push_missing(image, 3);
  status |= skipstream_image_push(image, samples.data(), 2 * n_cols * n_skips);
  check::equal(n_allocations - before, 0, "allocations");
  check::equal(status, SKIPSTREAM_OK, skipstream_image_error(image));
  check::equal(told.n_rows, n_rows / 2 + 4);
  check::equal(told.n_missing, 3 * n_cols);
  check::that(told.noise_e > 0.05 && told.noise_e < 2, "noise " + std::to_string(told.noise_e));
  check::equal(told.n_alarms, std::size_t{1});
  check::that(std::string(told.alarms[0].name) == "a gap");
  check::that(std::string(told.alarms[0].when) == "n_missing > 0 for 2 rows");
  check::equal(told.alarms[0].first_row, n_rows / 2);
  check::equal(told.alarms[0].row, n_rows / 2 + 1);
  check::equal(told.alarms[0].value, static_cast<double>(n_cols));
  check::equal(skipstream_image_finish(image), SKIPSTREAM_OK);
  check::equal(told.n_alarms, std::size_t{3}, "the rows that never came, and the image");
  check::equal(told.alarms[1].first_row, n_rows / 2 + 4);
  check::equal(told.alarms[2].number, std::size_t{1});
  skipstream_image_destroy(image);

  skipstream_config_create("[[stage]]\nkind = \"compress_skips\"\n\n[[alarm]]\nwhen = \"nose > 2\"",
                           "cfg.toml", &config);
  check::that(contains(skipstream_config_error(config),
                       "cfg.toml:5: alarm[0].when: no statistic \"nose\"; did you mean \"noise\"?"),
              skipstream_config_error(config));
  skipstream_config_destroy(config);
}

void memory_that_runs_out_is_a_status() {
  const auto samples = readout();
  std::int64_t n_failed = 0;
  std::vector<std::int64_t> expected;
  for (std::int64_t number = -1;; ++number) {  // the first time, none fails
    Seen seen(n_rows * n_cols);
    seen.ends.reserve(1);
    skipstream_config* config = nullptr;
    skipstream_image* image = nullptr;
    left = number;
    auto status = skipstream_config_create(usual_chain, nullptr, &config);
    if (status == SKIPSTREAM_OK) {
      const auto options = options_for(seen);
      const auto info = info_for(config);
      status = skipstream_image_begin(config, &info, &options, &image);
    }
    if (status == SKIPSTREAM_OK) {
      status = skipstream_image_push(image, samples.data(), 2 * samples.size());
      if (status == SKIPSTREAM_OK) status = skipstream_image_finish(image);
    }
    const bool is_over = left > 0;
    left = -1;
    if (status == SKIPSTREAM_OK) {  // sorting goes on in place where it gets no memory
      check::that(seen.n_values == seen.values.size(), "all rows");
      const skipstream_table* table = skipstream_image_table(image, "clusters");
      const std::size_t n = table->n_rows * table->n_columns;
      const std::vector<std::int64_t> found(&table->cells->integer, &table->cells->integer + n);
      if (expected.empty()) expected = found;
      check::that(!found.empty() && found == expected, "what is called done is right");
    }
    skipstream_image_destroy(image);
    skipstream_config_destroy(config);
    check::that(status == SKIPSTREAM_OK || (status == SKIPSTREAM_NO_MEMORY && !is_over),
                "status " + std::to_string(status) + " of allocation " + std::to_string(number));
    if (is_over) break;
    n_failed += status == SKIPSTREAM_NO_MEMORY ? 1 : 0;
  }
  check::that(n_failed > 200, "there are allocations to fail");
}

void errors_say_the_line_and_what_would_be_right() {
  skipstream_config* config = nullptr;
  auto status = skipstream_config_create(
      "[[stage]]\nkind = \"compress_skips\"\n\n[[stage]]\nkind = \"subtract_pedestal\"\naxs = 1\n",
      "cfg.toml", &config);
  check::equal(status, SKIPSTREAM_CONFIG_ERROR);
  check::that(contains(skipstream_config_error(config),
                       "cfg.toml:6: stage[1] subtract_pedestal: no key \"axs\"; did you mean"),
              skipstream_config_error(config));
  skipstream_image* image = nullptr;
  auto info = info_for(config);
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_USAGE_ERROR);
  check::that(contains(skipstream_image_error(image), "the config was refused"));
  check::equal(skipstream_image_push(image, &info, 2), SKIPSTREAM_USAGE_ERROR);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);

  config = read("[[stage]]\nkind = \"compress_skips\"\nbegin_skip = 70\n");
  info = info_for(config);
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(contains(skipstream_image_error(image), "cfg.toml:3: stage[0] compress_skips.begin"),
              skipstream_image_error(image));
  skipstream_image_destroy(image);
  info.n_skips = 100;
  skipstream_options options{};
  options.struct_size = sizeof options;
  skipstream_options_init(&options);
  options.rows_after = "compress_skip";
  check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(contains(skipstream_image_error(image),
                       "rows_after: no stage \"compress_skip\"; did you mean \"compress_skips\"?"),
              skipstream_image_error(image));
  skipstream_image_destroy(image);
  info.sample_type = 10;
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(contains(skipstream_image_error(image), "sample_type: must be one of"));
  skipstream_image_destroy(image);
  info.struct_size += 8;
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_USAGE_ERROR);
  check::that(contains(skipstream_image_error(image), "skipstream_image_info.struct_size"));
  check::equal(skipstream_image_rows_pushed(image), 0);
  check::that(std::isnan(skipstream_image_finding(image, "find_clusters", "noise")));
  check::equal(skipstream_image_finish(image), SKIPSTREAM_USAGE_ERROR);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

void a_config_that_needs_files_is_refused() {
  const auto refused = [](const char* text, const char* part) {
    skipstream_config* config = nullptr;
    check::equal(skipstream_config_create(text, nullptr, &config), SKIPSTREAM_CONFIG_ERROR, text);
    check::that(contains(skipstream_config_error(config), part), skipstream_config_error(config));
    skipstream_config_destroy(config);
  };
  const std::string stage = "\n[[stage]]\nkind = \"compress_skips\"\n";
  refused(("input.mask = \"m.fits\"" + stage).c_str(), "config:1: input.mask: a file");
  refused(("[input]\nend_row = 5" + stage).c_str(), "config:2: input.end_row: rows that are");
  refused(("[input]\noverscan_col = 5" + stage).c_str(),
          "config:2: input: no key \"overscan_col\"");
  refused(("[input]\noverscan_cols = -5" + stage).c_str(),
          "config:2: input.overscan_cols: must be");
  refused(("input = 5" + stage).c_str(), "config:1: input: must be a table");
  refused(("[inputs]" + stage).c_str(), "config:1: no table \"inputs\"; did you mean \"input\"?");
  refused((stage + "[[stage]]\nkind = \"calibrate\"\ngain = \"c.toml\"").c_str(),
          "config:6: stage[1] calibrate.gain: the file \"c.toml\" is not read here");
  refused("[input]", "no [[stage]]");
  refused("stage = 3", "no [[stage]]");
  refused("stage = []", "no [[stage]]");
  refused("[[stage]]\na = 1", "config:1: stage[0].kind: must name a stage");
  refused("[[stage]]\nkind = 5\ngain = \"a.toml\"", "config:2: stage[0].kind: must name a stage");
  refused(("alarm = 3" + stage).c_str(), "config:1: alarm: must be tables, [[alarm]]");
  refused(("alarms = 3\ninput = 4" + stage).c_str(), "\nconfig:2: input: must be");
  const std::string files = "[input]\nlayout = \"leach\"\namplifiers = [1]\nn_skips = \"NDCMS\"\n";
  skipstream_config_destroy(read((files + stage + "[[output]]\n[[measure]]\n[dqm]\n").c_str()));
}

void a_callback_must_not_call_its_image() {
  struct User {
    skipstream_image* image = nullptr;
    skipstream_status status = SKIPSTREAM_OK;
  } user;
  skipstream_config* config = read(usual_chain);
  Seen seen;
  auto options = options_for(seen);
  options.user = &user;
  options.on_table_rows = nullptr;
  options.on_end = nullptr;
  options.on_rows = [](void* given, const skipstream_rows* /*rows*/) {
    auto& known = *static_cast<User*>(given);
    known.status = skipstream_image_abort(known.image);
  };
  user.image = begun(config, options);
  const auto samples = readout();
  check::equal(skipstream_image_push(user.image, samples.data(), 2 * n_cols * n_skips), 0);
  check::equal(user.status, SKIPSTREAM_BUSY);
  skipstream_image_destroy(user.image);
  skipstream_config_destroy(config);
}

void what_a_callback_throws_stays_inside() {
  skipstream_config* config = read(usual_chain);
  Seen seen;
  auto options = options_for(seen);
  options.on_table_rows = nullptr;
  options.on_rows = [](void*, const skipstream_rows*) { throw std::runtime_error("disk is full"); };
  skipstream_image* image = begun(config, options);
  const auto samples = readout();
  for (int i = 0; i < 2; ++i) {  // rows are gone, so the image has failed for good
    check::equal(skipstream_image_push(image, samples.data(), 2 * n_cols * n_skips),
                 SKIPSTREAM_INTERNAL_ERROR);
    check::that(contains(skipstream_image_error(image), "disk is full"));
  }
  check::equal(skipstream_image_finish(image), SKIPSTREAM_INTERNAL_ERROR);
  check::that(seen.ends == std::vector<skipstream_status>{SKIPSTREAM_INTERNAL_ERROR});
  skipstream_image_destroy(image);
  options.on_rows = [](void*, const skipstream_rows*) { throw 5; };
  image = begun(config, options);
  check::equal(skipstream_image_push(image, samples.data(), 2 * n_cols * n_skips),
               SKIPSTREAM_INTERNAL_ERROR);
  skipstream_image_destroy(image);
  options.on_rows = nullptr;
  options.on_end = [](void*, skipstream_status) { throw std::runtime_error("no end"); };
  image = begun(config, options);
  check::equal(skipstream_image_finish(image), SKIPSTREAM_INTERNAL_ERROR);
  check::that(contains(skipstream_image_error(image), "no end"));
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

void a_table_that_is_full_is_told_and_callbacks_see_all_rows() {
  skipstream_config* config = read(usual_chain);
  Seen seen(n_rows * n_cols);
  auto options = options_for(seen);
  options.max_table_rows = 3;
  skipstream_image* image = begun(config, options);
  const auto samples = readout();
  check::equal(skipstream_image_push(image, samples.data(), 2 * samples.size()), SKIPSTREAM_OK);
  check::equal(skipstream_image_finish(image), SKIPSTREAM_TABLE_FULL);
  check::that(contains(skipstream_image_error(image), "clusters: "), skipstream_image_error(image));
  const skipstream_table* table = skipstream_image_table(image, "clusters");
  check::equal(table->n_rows, std::size_t{3});
  const skipstream_table* pixels = skipstream_image_table(image, "cluster_pixels");
  const auto n_all = static_cast<std::size_t>(table->n_lost + 3) * table->n_columns +
                     static_cast<std::size_t>(pixels->n_lost + 3) * pixels->n_columns;
  check::equal(seen.n_cells, n_all);
  check::that(seen.ends == std::vector<skipstream_status>{SKIPSTREAM_TABLE_FULL});
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

void calls_out_of_order_are_refused_and_the_image_goes_on() {
  skipstream_config* config = read(usual_chain);
  Seen seen(n_rows * n_cols);
  skipstream_image* image = begun(config, options_for(seen));
  const auto samples = readout();
  check::equal(skipstream_image_push(image, nullptr, 5), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_push_lost(image, -1), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_push_missing(image, n_rows + 1), SKIPSTREAM_USAGE_ERROR);
  check::that(contains(skipstream_image_error(image), "the image has 40 rows"));
  check::equal(skipstream_image_push(image, samples.data(), 2 * samples.size()), SKIPSTREAM_OK);
  check::that(std::string(skipstream_image_error(image)).empty());
  check::equal(skipstream_image_push(image, samples.data(), 2), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_abort(image), SKIPSTREAM_OK);
  check::equal(skipstream_image_finish(image), SKIPSTREAM_OK);
  check::that(seen.ends == std::vector<skipstream_status>{SKIPSTREAM_ABORTED});
  check::equal(skipstream_image_push(image, samples.data(), 2), SKIPSTREAM_USAGE_ERROR);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);

  check::equal(skipstream_image_push(nullptr, samples.data(), 2), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_config_create(nullptr, nullptr, &config), SKIPSTREAM_USAGE_ERROR);
  check::that(skipstream_image_table(nullptr, "clusters") == nullptr);
  check::that(std::string(skipstream_image_error(nullptr)) == "no image");
  skipstream_image_destroy(nullptr);
  skipstream_config_destroy(nullptr);
}

void every_type_of_sample_and_its_blank_is_taken() {
  skipstream_config* config =
      read("[input]\nn_skips = 3\nend_skip = 2\n[[stage]]\nkind = \"compress_skips\"\n");
  skipstream_image_info info{};
  info.struct_size = sizeof info;
  skipstream_image_info_init(&info, config);
  info.n_cols = 1;
  info.amplifier = nullptr;
  info.unit = nullptr;
  check::equal(info.n_skips, 3);
  check::equal(info.end_skip, 2);
  const std::array<std::size_t, 10> sizes{1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  for (int type = SKIPSTREAM_INT8; type <= SKIPSTREAM_FLOAT64; ++type) {
    Seen seen(1);
    const auto options = options_for(seen);
    const std::size_t size = sizes[static_cast<std::size_t>(type)];
    info.sample_type = type;
    info.has_blank = type < SKIPSTREAM_FLOAT32 ? 1 : 0;
    info.blank = 9;
    std::array<char, 24> samples{};
    for (std::size_t i = 0; i < 3; ++i) {  // 5, blank (or 5), and 100, which is not used
      const char value = i == 2 ? 100 : i == 1 && info.has_blank != 0 ? 9 : 5;
      const float single = value;
      const double twice = value;
      if (type == SKIPSTREAM_FLOAT32) {
        std::memcpy(samples.data() + i * size, &single, size);
      } else if (type == SKIPSTREAM_FLOAT64) {
        std::memcpy(samples.data() + i * size, &twice, size);
      } else {
        samples[i * size] = value;  // little-endian
      }
    }
    skipstream_image* image = nullptr;
    check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_OK,
                 skipstream_image_error(image));
    check::equal(skipstream_image_push(image, samples.data(), 3 * size), SKIPSTREAM_OK);
    check::equal(skipstream_image_push(image, nullptr, 0), SKIPSTREAM_OK);
    check::equal(seen.values[0], 5.0, "type " + std::to_string(type));
    check::equal(seen.mask[0] != 0, info.has_blank != 0);
    skipstream_image_destroy(image);
  }
  skipstream_config_destroy(config);
}

void handles_that_are_none_do_no_harm() {
  skipstream_config* config = read(usual_chain);
  skipstream_image* image = nullptr;
  auto info = info_for(config);
  info.unit = "adu";  // else a text of this config
  check::equal(skipstream_config_create("", nullptr, nullptr), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_begin(nullptr, &info, nullptr, &image), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_begin(config, nullptr, nullptr, &image), SKIPSTREAM_USAGE_ERROR);
  check::equal(skipstream_image_begin(config, &info, nullptr, nullptr), SKIPSTREAM_USAGE_ERROR);
  check::that(std::string(skipstream_config_error(nullptr)) == "no config");
  check::that(skipstream_image_plan(nullptr) == nullptr);
  check::that(skipstream_image_plane_name(nullptr, 0) == nullptr);
  check::that(skipstream_image_plane_unit(nullptr, 0) == nullptr);
  check::equal(skipstream_image_rows_pushed(nullptr), 0);
  check::equal(skipstream_image_finish(nullptr), SKIPSTREAM_USAGE_ERROR);
  check::that(std::isnan(skipstream_image_finding(nullptr, "a", "b")));
  check::equal(skipstream_table_column(nullptr, "a"), std::size_t{0});
  skipstream_image_info_init(nullptr, config);
  skipstream_options_init(nullptr);
  skipstream_image_info other = info;
  other.struct_size = 4;
  skipstream_image_info_init(&other, config);
  check::equal(other.n_cols, n_cols, "left alone");
  skipstream_options options{};
  skipstream_options_init(&options);
  check::equal(options.max_table_rows, 0, "left alone");
  skipstream_image_info alone{};
  alone.struct_size = sizeof alone;
  skipstream_image_info_init(&alone, nullptr);
  check::equal(alone.n_rows, -1);

  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_OK);
  check::that(skipstream_image_table(image, nullptr) == nullptr);
  check::equal(skipstream_table_column(skipstream_image_table(image, "clusters"), nullptr),
               std::size_t{0});
  check::that(skipstream_image_plane_name(image, 0) != nullptr);
  check::that(skipstream_image_plane_unit(image, 20) == nullptr);
  check::that(std::isnan(skipstream_image_finding(image, nullptr, "noise")));
  check::that(std::isnan(skipstream_image_finding(image, "find_clusters", nullptr)));
  skipstream_queue* queue = nullptr;
  left = 0;
  const auto status = skipstream_queue_begin(image, nullptr, &queue);
  left = -1;
  check::equal(status, SKIPSTREAM_NO_MEMORY);
  check::that(queue == nullptr);
  skipstream_image_destroy(image);

  other = info;
  other.n_cols = 0;
  check::equal(skipstream_image_begin(config, &other, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(std::string(skipstream_image_error(image)).starts_with("EXT1: an image needs"),
              skipstream_image_error(image));
  check::that(skipstream_image_plane_name(image, 0) == nullptr);
  check::that(skipstream_image_plane_unit(image, 0) == nullptr);
  check::equal(skipstream_image_rows_pushed(image), 0);
  check::that(std::isnan(skipstream_image_finding(image, "find_clusters", "noise")));
  skipstream_image_destroy(image);
  other = info;
  other.sample_type = -1;
  check::equal(skipstream_image_begin(config, &other, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);

  const auto chain = [](const std::string& kinds) {
    std::string text;
    for (const char kind : kinds) {
      text += kind == 'l'   ? "[[stage]]\nkind = \"correct_leach\"\n"
              : kind == 'r' ? "[[stage]]\nkind = \"compress_skips\"\n"
              : kind == 'c' ? "[[stage]]\nkind = \"find_clusters\"\n"
                            : "[[alarm]]\nwhen = \"noise_e > 1\"\n";
    }
    return read(text.c_str());
  };
  config = chain("ra");
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(std::string(skipstream_image_error(image)).starts_with("cfg.toml:4: alarm[0].when: "),
              skipstream_image_error(image));
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
  config = chain("l");
  other = info;
  other.n_skips = 1;
  check::equal(skipstream_image_begin(config, &other, nullptr, &image), SKIPSTREAM_CONFIG_ERROR);
  check::that(contains(skipstream_image_error(image), "rows_after: no stage"));
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
  config = chain("rc");
  check::equal(skipstream_image_begin(config, &info, nullptr, &image), SKIPSTREAM_OK);
  check::equal(skipstream_image_plan(image)->has_barrier, 1);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

void rows_of_any_stage_and_a_mask_known_beforehand() {
  skipstream_config* config = read(usual_chain);
  Seen seen(n_rows * n_cols);
  auto options = options_for(seen);
  options.rows_after = "compress_skips";
  auto info = info_for(config);
  std::vector<std::uint32_t> mask(n_rows * n_cols);
  mask[77] = skipstream::mask_bit::hot_pixel;
  info.mask = mask.data();
  skipstream_image* image = nullptr;
  check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_OK);
  mask.assign(mask.size(), 0);
  const auto samples = readout();
  check::equal(skipstream_image_push(image, samples.data(), 2 * samples.size()), SKIPSTREAM_OK);
  check::that(seen.values[100] > 900, "ADU, with the pedestal");
  check::that(std::string(skipstream_image_plane_unit(image, 0)) == "adu");
  check::equal(seen.mask[77], skipstream::mask_bit::hot_pixel);
  skipstream_image_destroy(image);
  info.n_rows = -1;
  check::equal(skipstream_image_begin(config, &info, &options, &image), SKIPSTREAM_CONFIG_ERROR);
  skipstream_image_destroy(image);
  skipstream_config_destroy(config);
}

}  // namespace

int main() {
  check::equal(skipstream_abi_version(), std::uint32_t{SKIPSTREAM_ABI_VERSION});
  check::that(std::string(skipstream_version()) == SKIPSTREAM_VERSION);
  rows_and_clusters_are_those_of_cpp();
  nothing_is_allocated_between_begin_and_finish();
  a_queue_allocates_nothing_either();
  an_arena_holds_what_grows_with_the_image();
  an_arena_holds_a_queue();
  rows_have_statistics_and_alarms_without_an_allocation();
  memory_that_runs_out_is_a_status();
  errors_say_the_line_and_what_would_be_right();
  a_config_that_needs_files_is_refused();
  a_callback_must_not_call_its_image();
  what_a_callback_throws_stays_inside();
  a_table_that_is_full_is_told_and_callbacks_see_all_rows();
  calls_out_of_order_are_refused_and_the_image_goes_on();
  rows_of_any_stage_and_a_mask_known_beforehand();
  every_type_of_sample_and_its_blank_is_taken();
  handles_that_are_none_do_no_harm();
  return check::failures();
}
