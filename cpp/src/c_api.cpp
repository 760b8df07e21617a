// The C API: handles around LoadedConfig and Pipeline, and no exception beyond this file.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/pipeline/load_config.hpp"
#include "skipstream/pipeline/pipeline.hpp"
#include "skipstream/pipeline/row_queue.hpp"
#include "skipstream/skipstream.h"
#include "skipstream/version.hpp"

using skipstream::Cell;
using skipstream::ConfigError;
using skipstream::PixelChunk;

static_assert(sizeof(skipstream_cell) == sizeof(Cell));

struct skipstream_config {
  std::string error;
  skipstream::LoadedConfig loaded;
};

namespace {

/// A table as C sees it, with the texts and the numbers that it points to.
struct TableView {
  std::vector<const char*> names;
  std::vector<const char*> units;
  std::vector<std::uint8_t> is_integer;
  skipstream_table table{};

  explicit TableView(const skipstream::TableInfo& info) {
    for (const auto& column : info.columns) {
      names.push_back(column.name.c_str());
      units.push_back(column.unit.c_str());
      is_integer.push_back(column.type == skipstream::CellType::integer ? 1 : 0);
    }
    table.name = info.name.c_str();
    table.n_columns = names.size();
    table.column_names = names.data();
    table.column_units = units.data();
    table.is_integer = is_integer.data();
  }

  const skipstream_table* with(std::span<const Cell> cells, std::int64_t n_lost) {
    table.cells = reinterpret_cast<const skipstream_cell*>(cells.data());
    table.n_rows = cells.size() / names.size();
    table.n_lost = n_lost;
    return &table;
  }
};

skipstream_options default_options() {
  skipstream_options options{};
  options.struct_size = sizeof options;
  options.max_table_rows = 1 << 16;
  options.memory_bytes = -1;
  const skipstream::PipelineOptions defaults;
  options.spool_bytes = defaults.spool_bytes;
  options.spool_folder = "/tmp";
  return options;
}

}  // namespace

struct skipstream_image {
  std::string error;
  skipstream_status failed = SKIPSTREAM_OK;  ///< what left the image in the middle of something
  std::atomic<bool> is_busy = false;
  bool is_ended = false;
  skipstream::Arena arena;  ///< of the pipeline
  std::unique_ptr<skipstream::Pipeline> pipeline;
  skipstream_options options = default_options();
  skipstream_plan plan{};
  std::int64_t sample_bytes = 1;
  const std::vector<skipstream::PlaneInfo>* planes = nullptr;
  std::vector<std::unique_ptr<TableView>> tables;
};

struct skipstream_queue {
  std::string error;
  skipstream_image* image = nullptr;
  skipstream::Arena arena;  ///< of the queue
  std::unique_ptr<skipstream::RowQueue> queue;
};

namespace {

/// What the image of a queue answered, on its way through the queue's thread.
struct ImageFailed {
  skipstream_status status;
};

/// Does something that may throw, and says how it went.
template <class Action>
skipstream_status guarded(std::string& error, Action&& action) noexcept {
  const auto fail = [&error](skipstream_status status, const char* text) {
    try {
      error = text;
    } catch (...) {
      error.clear();  // the status still says it
    }
    return status;
  };
  try {
    error.clear();
    action();
    return SKIPSTREAM_OK;
  } catch (const ImageFailed& failed) {
    return failed.status;  // the text is the caller's matter
  } catch (const ConfigError& what) {
    return fail(SKIPSTREAM_CONFIG_ERROR, what.what());
  } catch (const skipstream::IoError& what) {
    return fail(SKIPSTREAM_IO_ERROR, what.what());
  } catch (const skipstream::Error& what) {
    return fail(SKIPSTREAM_USAGE_ERROR, what.what());
  } catch (const std::bad_alloc&) {
    return fail(SKIPSTREAM_NO_MEMORY, "the system gives no more memory");
  } catch (const std::length_error&) {
    return fail(SKIPSTREAM_NO_MEMORY, "an image that large does not fit the memory");
  } catch (const std::exception& what) {
    return fail(SKIPSTREAM_INTERNAL_ERROR, what.what());
  } catch (...) {
    return fail(SKIPSTREAM_INTERNAL_ERROR, "a callback threw what is no exception");
  }
}

/// Copies the part of a struct that the caller knows; the rest keeps its defaults.
template <class Struct>
void copy_known(const Struct& from, Struct& to, const char* name) {
  if (from.struct_size != sizeof(Struct)) {  // the first version: no shorter one is known
    throw skipstream::Error(std::string(name) + ".struct_size: must be sizeof(" + name +
                            ") = " + std::to_string(sizeof(Struct)) + "; got " +
                            std::to_string(from.struct_size) +
                            "; was the program compiled with the header of this library?");
  }
  to = from;
}

skipstream::Arena arena_of(void* memory, std::size_t n_bytes) {
  if (memory == nullptr && n_bytes > 0)
    throw ConfigError("arena: is NULL, but arena_bytes is not 0");
  return skipstream::Arena({static_cast<std::byte*>(memory), n_bytes});
}

/// An arena that was handed in has had room for all.
void require_room(const skipstream::Arena& arena) {
  if (arena.size_bytes() > 0 && arena.size_bytes() < arena.needed_bytes()) {
    throw ConfigError("arena_bytes: must be at least " + std::to_string(arena.needed_bytes()) +
                      "; got " + std::to_string(arena.size_bytes()));
  }
}

skipstream::SampleFormat format_of(const skipstream_image_info& info) {
  if (info.sample_type < SKIPSTREAM_INT8 || info.sample_type > SKIPSTREAM_FLOAT64) {
    throw ConfigError("sample_type: must be one of SKIPSTREAM_INT8 to SKIPSTREAM_FLOAT64; got " +
                      std::to_string(info.sample_type));
  }
  skipstream::SampleFormat format;
  if (info.sample_type >= SKIPSTREAM_FLOAT32) {
    format.kind = skipstream::SampleKind::floating;
    format.n_bytes = info.sample_type == SKIPSTREAM_FLOAT32 ? 4 : 8;
  } else {
    format.n_bytes = 1 << info.sample_type / 2;
    format.is_unsigned = info.sample_type % 2 == 1;
  }
  format.big_endian = info.is_big_endian != 0;
  format.scale = info.scale;
  format.zero = info.zero;
  if (info.has_blank != 0) format.blank = info.blank;
  return format;
}

skipstream::ImageInfo image_of(const skipstream_image_info& info) {
  skipstream::ImageInfo image;
  if (info.amplifier != nullptr) image.amplifier = info.amplifier;
  image.n_rows = info.n_rows;
  image.n_cols = info.n_cols;
  image.n_skips = info.n_skips;
  image.format = format_of(info);
  image.prescan_cols = info.prescan_cols;
  image.overscan_cols = info.overscan_cols;
  image.prescan_rows = info.prescan_rows;
  image.overscan_rows = info.overscan_rows;
  image.begin_skip = info.begin_skip;
  if (info.has_end_skip != 0) image.end_skip = info.end_skip;
  if (info.unit != nullptr) image.unit = info.unit;
  for (std::size_t i = 0; i < info.n_cards; ++i) {
    image.header.emplace_back(info.cards[i].keyword, info.cards[i].value);
  }
  return image;
}

/// The stage whose rows are wanted, and a tap on it.
void add_rows_tap(skipstream_image& image) {
  const auto& stages = image.pipeline->plan().stages;
  std::vector<std::string> known;
  const skipstream::PlannedStage* wanted = nullptr;
  for (const auto& stage : stages) {
    if (!stage.number || stage.planes.empty()) continue;
    known.push_back(stage.name);
    const char* after = image.options.rows_after;
    if (after == nullptr || stage.name == after) wanted = &stage;
  }
  if (wanted == nullptr) {
    throw ConfigError(
        "rows_after: no stage " +
        skipstream::unknown_name(
            image.options.rows_after == nullptr ? "" : image.options.rows_after, known));
  }
  image.planes = &image.pipeline->planes_after(*wanted->number);
  if (image.options.on_rows == nullptr) return;
  image.pipeline->add_tap(*wanted->number, [&options = image.options](const PixelChunk& chunk) {
    const skipstream_rows rows{chunk.first_row,     chunk.n_rows,        chunk.n_cols,
                               chunk.planes.size(), chunk.planes.data(), chunk.mask};
    options.on_rows(options.user, &rows);
  });
}

void add_watch_taps(skipstream_image& image) {
  const auto& options = image.options;
  if (options.on_row_statistics != nullptr) {
    image.pipeline->add_row_tap([&options](const skipstream::RowStatistics& row) {
      const skipstream_row_statistics found{row.row,      row.pedestal,  row.noise,
                                            row.noise_e,  row.n_flagged, row.n_saturated,
                                            row.n_missing};
      options.on_row_statistics(options.user, &found);
    });
  }
  if (options.on_alarm != nullptr) {
    image.pipeline->add_alarm_tap([&options](const skipstream::AlarmEvent& event) {
      // Both are whole strings of the config, so there is a zero behind them.
      const skipstream_alarm alarm{event.alarm,     event.name.data(), event.when.data(),
                                   event.first_row, event.row,         event.value};
      options.on_alarm(options.user, &alarm);
    });
  }
}

void begin(skipstream_image& image, const skipstream_config& config,
           const skipstream_image_info& given, const skipstream_options* options) {
  if (config.loaded.stages.is_null()) throw skipstream::Error("the config was refused");
  skipstream_image_info info{};
  copy_known(given, info, "skipstream_image_info");
  if (options != nullptr) copy_known(*options, image.options, "skipstream_options");
  skipstream::PipelineOptions wanted;
  wanted.max_table_rows = std::max<std::int64_t>(1, image.options.max_table_rows);
  wanted.memory_bytes = image.options.memory_bytes;
  wanted.spool_bytes = std::max<std::int64_t>(0, image.options.spool_bytes);
  if (image.options.spool_folder != nullptr) wanted.spool_folder = image.options.spool_folder;
  wanted.alarms = config.loaded.alarms;
  wanted.row_statistics = image.options.on_row_statistics != nullptr;
  if (info.mask != nullptr) {
    if (info.n_rows < 0) throw ConfigError("mask: needs the number of rows beforehand");
    wanted.mask.assign(info.mask, info.mask + info.n_rows * std::max<std::int64_t>(0, info.n_cols));
  }
  image.arena = arena_of(image.options.arena, image.options.arena_bytes);
  const skipstream::ArenaScope scope(image.arena);
  image.pipeline = std::make_unique<skipstream::Pipeline>(config.loaded.chain(), std::move(wanted));
  const auto begun = image_of(info);
  image.sample_bytes = begun.format.n_bytes;
  try {
    image.pipeline->begin(begun);
  } catch (const ConfigError& error) {
    throw ConfigError(config.loaded.placed(error.what()));
  }
  add_rows_tap(image);
  for (const auto& table : image.pipeline->tables()) {
    image.tables.push_back(std::make_unique<TableView>(table.info));
  }
  if (image.options.on_table_rows != nullptr) {
    image.pipeline->add_table_tap([&image](std::size_t table, std::span<const Cell> rows) {
      const auto* view = image.tables[table]->with(rows, image.pipeline->tables()[table].n_lost);
      image.options.on_table_rows(image.options.user, view);
    });
  }
  add_watch_taps(image);
  const auto& plan = image.pipeline->plan();
  image.plan.total_bytes = plan.total_bytes();
  image.plan.delay_rows = plan.delay_rows;
  image.plan.has_barrier = std::any_of(plan.stages.begin(), plan.stages.end(),
                                       [](const auto& stage) { return stage.barrier; })
                               ? 1
                               : 0;
  image.plan.arena_bytes = static_cast<std::int64_t>(image.arena.needed_bytes());
  require_room(image.arena);
  image.options.rows_after = image.options.spool_folder = nullptr;  // the caller's
}

/// A call on an image that was begun, one at a time.
template <class Action>
skipstream_status during(skipstream_image* image, Action&& action) noexcept {
  if (image == nullptr) return SKIPSTREAM_USAGE_ERROR;
  if (image->is_busy.exchange(true)) return SKIPSTREAM_BUSY;
  skipstream_status status = image->failed;
  if (status == SKIPSTREAM_OK) {
    status = guarded(image->error, [&] { action(*image->pipeline); });
    if (status == SKIPSTREAM_CONFIG_ERROR) status = SKIPSTREAM_USAGE_ERROR;
    if (status != SKIPSTREAM_OK && status != SKIPSTREAM_USAGE_ERROR) image->failed = status;
  }
  image->is_busy = false;
  return status;
}

/// Tells on_end, once; what that throws is as if the image had failed.
skipstream_status end(skipstream_image* image, skipstream_status status,
                      skipstream_status told) noexcept {
  if (image == nullptr || status == SKIPSTREAM_USAGE_ERROR || status == SKIPSTREAM_BUSY ||
      std::exchange(image->is_ended, true) || image->options.on_end == nullptr) {
    return status;
  }
  std::string error;
  const auto called = guarded(error, [&] { image->options.on_end(image->options.user, told); });
  if (called == SKIPSTREAM_OK) return status;
  image->error.swap(error);
  return called;
}

skipstream_status check_tables(skipstream_image& image) {
  for (const auto& table : image.pipeline->tables()) {
    if (table.n_lost == 0) continue;
    guarded(image.error, [&] {
      throw skipstream::Error(table.info.name + ": " + std::to_string(table.n_lost) +
                              " rows found no room; raise max_table_rows = " +
                              std::to_string(image.options.max_table_rows));
    });
    return SKIPSTREAM_TABLE_FULL;
  }
  return SKIPSTREAM_OK;
}

}  // namespace

uint32_t skipstream_abi_version(void) noexcept { return SKIPSTREAM_ABI_VERSION; }

const char* skipstream_version(void) noexcept { return SKIPSTREAM_VERSION; }

skipstream_status skipstream_config_create(const char* text, const char* name,
                                           skipstream_config** config) noexcept {
  if (text == nullptr || config == nullptr) return SKIPSTREAM_USAGE_ERROR;
  *config = new (std::nothrow) skipstream_config{};
  if (*config == nullptr) return SKIPSTREAM_NO_MEMORY;
  return guarded((*config)->error, [&] {
    (*config)->loaded = skipstream::load_config(text, name == nullptr ? "config" : name);
  });
}

const char* skipstream_config_error(const skipstream_config* config) noexcept {
  return config == nullptr ? "no config" : config->error.c_str();
}

void skipstream_config_destroy(skipstream_config* config) noexcept { delete config; }

void skipstream_image_info_init(skipstream_image_info* info,
                                const skipstream_config* config) noexcept {
  if (info == nullptr || info->struct_size != sizeof *info) return;  // begin tells
  *info = {};
  info->struct_size = sizeof *info;
  info->amplifier = "EXT1";
  info->n_rows = -1;
  info->n_skips = 1;
  info->sample_type = SKIPSTREAM_UINT16;
  info->scale = 1;
  info->unit = "adu";
  if (config == nullptr) return;
  const auto& image = config->loaded.image;
  info->n_rows = image.n_rows;
  info->n_cols = image.n_cols;
  info->n_skips = image.n_skips;
  info->prescan_cols = image.prescan_cols;
  info->overscan_cols = image.overscan_cols;
  info->prescan_rows = image.prescan_rows;
  info->overscan_rows = image.overscan_rows;
  info->begin_skip = image.begin_skip;
  info->has_end_skip = image.end_skip ? 1 : 0;
  info->end_skip = image.end_skip.value_or(0);
  info->unit = image.unit.c_str();
}

void skipstream_options_init(skipstream_options* options) noexcept {
  if (options == nullptr || options->struct_size != sizeof *options) return;
  *options = default_options();
}

size_t skipstream_table_column(const skipstream_table* table, const char* name) noexcept {
  if (table == nullptr || name == nullptr) return 0;
  std::size_t column = 0;
  while (column < table->n_columns && std::strcmp(table->column_names[column], name) != 0) ++column;
  return column;
}

skipstream_status skipstream_image_begin(const skipstream_config* config,
                                         const skipstream_image_info* info,
                                         const skipstream_options* options,
                                         skipstream_image** image) noexcept {
  if (config == nullptr || info == nullptr || image == nullptr) return SKIPSTREAM_USAGE_ERROR;
  *image = new (std::nothrow) skipstream_image{};
  if (*image == nullptr) return SKIPSTREAM_NO_MEMORY;
  auto& begun = **image;
  begun.failed = guarded(begun.error, [&] { begin(begun, *config, *info, options); });
  begun.is_ended = begun.failed != SKIPSTREAM_OK;
  return begun.failed;
}

const char* skipstream_image_error(const skipstream_image* image) noexcept {
  return image == nullptr ? "no image" : image->error.c_str();
}

const skipstream_plan* skipstream_image_plan(const skipstream_image* image) noexcept {
  return image == nullptr ? nullptr : &image->plan;
}

const char* skipstream_image_plane_name(const skipstream_image* image, size_t plane) noexcept {
  if (image == nullptr || image->planes == nullptr || plane >= image->planes->size())
    return nullptr;
  return (*image->planes)[plane].name.c_str();
}

const char* skipstream_image_plane_unit(const skipstream_image* image, size_t plane) noexcept {
  if (image == nullptr || image->planes == nullptr || plane >= image->planes->size())
    return nullptr;
  return (*image->planes)[plane].unit.c_str();
}

skipstream_status skipstream_image_push(skipstream_image* image, const void* samples,
                                        size_t n_bytes) noexcept {
  if (samples == nullptr && n_bytes > 0) return SKIPSTREAM_USAGE_ERROR;
  return during(image, [&](skipstream::Pipeline& pipeline) {
    pipeline.push(std::span(static_cast<const std::byte*>(samples), n_bytes));
  });
}

skipstream_status skipstream_image_push_lost(skipstream_image* image, int64_t n_samples) noexcept {
  return during(image, [&](skipstream::Pipeline& pipeline) { pipeline.push_lost(n_samples); });
}

skipstream_status skipstream_image_push_missing(skipstream_image* image, int64_t n_rows) noexcept {
  return during(image, [&](skipstream::Pipeline& pipeline) { pipeline.push_missing(n_rows); });
}

int64_t skipstream_image_rows_pushed(const skipstream_image* image) noexcept {
  return image == nullptr || image->pipeline == nullptr ? 0 : image->pipeline->rows_pushed();
}

skipstream_status skipstream_image_finish(skipstream_image* image) noexcept {
  skipstream_status status =
      during(image, [](skipstream::Pipeline& pipeline) { pipeline.finish(); });
  if (status == SKIPSTREAM_OK) status = check_tables(*image);
  return end(image, status, status);
}

skipstream_status skipstream_image_abort(skipstream_image* image) noexcept {
  const skipstream_status status =
      during(image, [](skipstream::Pipeline& pipeline) { pipeline.abort(); });
  return end(image, status, status == SKIPSTREAM_OK ? SKIPSTREAM_ABORTED : status);
}

const skipstream_table* skipstream_image_table(skipstream_image* image, const char* name) noexcept {
  if (image == nullptr || name == nullptr) return nullptr;
  for (std::size_t t = 0; t < image->tables.size(); ++t) {
    const auto& table = image->pipeline->tables()[t];
    if (table.info.name != name) continue;
    return image->tables[t]->with({table.cells.data(), table.cells.size()}, table.n_lost);
  }
  return nullptr;
}

double skipstream_image_finding(const skipstream_image* image, const char* stage,
                                const char* name) noexcept {
  double value = std::numeric_limits<double>::quiet_NaN();
  if (image == nullptr || image->pipeline == nullptr || stage == nullptr || name == nullptr) {
    return value;
  }
  std::string error;
  guarded(error, [&] {
    for (const auto& [of, findings] : image->pipeline->findings()) {
      for (const auto& finding : findings) {
        if (of == stage && finding.name == name) value = finding.value;
      }
    }
  });
  return value;
}

void skipstream_image_destroy(skipstream_image* image) noexcept { delete image; }

namespace {

skipstream_queue_options default_queue_options() {
  const skipstream::QueueOptions defaults;
  return {
      sizeof(skipstream_queue_options), SKIPSTREAM_BLOCK, defaults.max_bytes, "/tmp", nullptr, 0};
}

void begin(skipstream_queue& queue, skipstream_image& image,
           const skipstream_queue_options* given) {
  skipstream_queue_options options = default_queue_options();
  if (given != nullptr) copy_known(*given, options, "skipstream_queue_options");
  if (options.policy < SKIPSTREAM_BLOCK || options.policy > SKIPSTREAM_SPILL) {
    throw ConfigError(
        "policy: must be SKIPSTREAM_BLOCK, SKIPSTREAM_DROP or SKIPSTREAM_SPILL; got " +
        std::to_string(options.policy));
  }
  if (image.is_ended) throw skipstream::Error("queue: the image has ended, or was never begun");
  const auto require = [](skipstream_status status) {
    if (status != SKIPSTREAM_OK) throw ImageFailed{status};
  };
  skipstream::QueueOptions wanted;
  wanted.policy = static_cast<skipstream::QueuePolicy>(options.policy);
  wanted.max_bytes = options.max_bytes;
  if (options.spill_folder != nullptr) wanted.spill_folder = options.spill_folder;
  queue.arena = arena_of(options.arena, options.arena_bytes);
  const skipstream::ArenaScope scope(queue.arena);
  queue.queue = std::make_unique<skipstream::RowQueue>(
      skipstream::QueueSink{
          [&image, require](std::span<const std::byte> samples) {
            require(skipstream_image_push(&image, samples.data(), samples.size()));
          },
          [&image, require](std::int64_t n) { require(skipstream_image_push_lost(&image, n)); },
          [&image, require] { require(skipstream_image_finish(&image)); }},
      image.sample_bytes, wanted);
  require_room(queue.arena);
}

template <class Action>
skipstream_status during(skipstream_queue* queue, Action&& action) noexcept {
  if (queue == nullptr || queue->queue == nullptr) return SKIPSTREAM_USAGE_ERROR;
  bool is_of_image = false;
  const auto status = guarded(queue->error, [&] {
    try {
      action(*queue->queue);
    } catch (const ImageFailed&) {
      is_of_image = true;  // the queue's thread has ended
      throw;
    }
  });
  if (is_of_image) {
    std::string unused;
    guarded(unused, [&] { queue->error = queue->image->error; });
  }
  return status == SKIPSTREAM_CONFIG_ERROR ? SKIPSTREAM_USAGE_ERROR : status;
}

}  // namespace

void skipstream_queue_options_init(skipstream_queue_options* options) noexcept {
  if (options == nullptr || options->struct_size != sizeof *options) return;
  *options = default_queue_options();
}

skipstream_status skipstream_queue_begin(skipstream_image* image,
                                         const skipstream_queue_options* options,
                                         skipstream_queue** queue) noexcept {
  if (image == nullptr || queue == nullptr) return SKIPSTREAM_USAGE_ERROR;
  *queue = new (std::nothrow) skipstream_queue{};
  if (*queue == nullptr) return SKIPSTREAM_NO_MEMORY;
  (*queue)->image = image;
  return guarded((*queue)->error, [&] { begin(**queue, *image, options); });
}

const char* skipstream_queue_error(const skipstream_queue* queue) noexcept {
  return queue == nullptr ? "no queue" : queue->error.c_str();
}

skipstream_status skipstream_queue_push(skipstream_queue* queue, const void* samples,
                                        size_t n_bytes) noexcept {
  if (samples == nullptr && n_bytes > 0) return SKIPSTREAM_USAGE_ERROR;
  return during(queue, [&](skipstream::RowQueue& rows) {
    rows.push(std::span(static_cast<const std::byte*>(samples), n_bytes));
  });
}

skipstream_status skipstream_queue_push_lost(skipstream_queue* queue, int64_t n_samples) noexcept {
  return during(queue, [&](skipstream::RowQueue& rows) { rows.push_lost(n_samples); });
}

skipstream_queue_state skipstream_queue_state_now(const skipstream_queue* queue) noexcept {
  skipstream_queue_state now{};
  if (queue == nullptr || queue->queue == nullptr) return now;
  std::string unused;
  guarded(unused, [&] {
    const auto state = queue->queue->state();
    now = {state.waiting_bytes, state.max_waiting_bytes, state.spilled_bytes,
           state.dropped_samples};
  });
  return now;
}

skipstream_status skipstream_queue_finish(skipstream_queue* queue) noexcept {
  return during(queue, [](skipstream::RowQueue& rows) { rows.finish(); });
}

skipstream_status skipstream_queue_abort(skipstream_queue* queue) noexcept {
  const auto status = during(queue, [](skipstream::RowQueue& rows) { rows.abort(); });
  return status == SKIPSTREAM_OK ? skipstream_image_abort(queue->image) : status;
}

void skipstream_queue_destroy(skipstream_queue* queue) noexcept {
  if (queue == nullptr) return;
  if (queue->queue != nullptr && !queue->image->is_ended) skipstream_queue_abort(queue);
  delete queue;
}
