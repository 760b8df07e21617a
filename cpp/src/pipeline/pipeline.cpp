#include "skipstream/pipeline/pipeline.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <utility>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/base/memory.hpp"
#include "skipstream/kernels/groups.hpp"

namespace skipstream {

namespace {

constexpr std::int64_t chunk_bytes = 1 << 20;
constexpr std::int64_t max_chunk_bytes = 8 << 20;
constexpr std::int64_t read_bytes = 256 << 10;  // stays in the second-level cache

/// Rows that the caller holds in memory.
class MemorySamples : public SampleSource {
 public:
  MemorySamples(const std::byte* samples, std::int64_t pixel_bytes)
      : samples_(samples), pixel_bytes_(pixel_bytes) {}

  [[nodiscard]] std::unique_ptr<SampleCursor> cursor() const override {
    return std::make_unique<Cursor>(samples_, pixel_bytes_);
  }

 private:
  class Cursor : public SampleCursor {
   public:
    Cursor(const std::byte* samples, std::int64_t pixel_bytes)
        : samples_(samples), pixel_bytes_(pixel_bytes) {}
    void seek(std::int64_t first_pixel) override { pixel_ = first_pixel; }
    const std::byte* next(std::int64_t n_pixels, std::byte* /*scratch*/) override {
      const std::byte* found = samples_ + pixel_ * pixel_bytes_;
      pixel_ += n_pixels;
      return found;
    }

   private:
    const std::byte* samples_;
    std::int64_t pixel_bytes_;
    std::int64_t pixel_ = 0;
  };

  const std::byte* samples_;
  std::int64_t pixel_bytes_;
};

std::string label(std::size_t number) { return "stage[" + std::to_string(number) + "] "; }

/// Runs `begin`, and says in an error which stage it comes from.
template <class Begin>
auto named(std::optional<std::size_t> number, Begin&& begin) {
  try {
    return begin();
  } catch (const ConfigError& error) {
    throw ConfigError((number ? label(*number) : std::string()) + error.what());
  }
}

std::int64_t row_bytes(const std::vector<PlaneInfo>& planes, std::int64_t n_cols) {
  return n_cols * static_cast<std::int64_t>(planes.size() * sizeof(double) + sizeof(std::uint32_t));
}

}  // namespace

/// The way from one pixel step to the next: taps first, then the step, or its spool.
class Pipeline::PixelLink : public StageOutput {
 public:
  PixelLink(Pipeline& pipeline, std::size_t next) : pipeline_(pipeline), next_(next) {}

  void push(PixelChunk& chunk) override {
    for (const auto& tap : taps) tap(chunk);
    if (next_ == pipeline_.chain_.pixel_steps.size()) return;
    auto& stage = *pipeline_.chain_.pixel_steps[next_].stage;
    if (auto* spool = pipeline_.spools_[next_].get()) {
      stage.observe(chunk);
      spool->append(chunk);
    } else {
      stage.push(chunk, *pipeline_.links_[next_ + 1]);
    }
  }

  void append(std::size_t table, std::span<const Cell> cells) override {
    auto& tables = pipeline_.tables_;
    for (std::size_t t = 0; t < tables.size(); ++t) {
      if (tables[t].step + 1 != next_ || tables[t].index != table) continue;
      for (const auto& tap : pipeline_.table_taps_) tap(t, cells);
      keep(tables[t], cells);
    }
  }

  std::vector<PlaneInfo> planes;
  std::vector<Tap> taps;

 private:
  void keep(PipelineTable& table, std::span<const Cell> cells) const {
    const std::size_t n_columns = table.info.columns.size();
    if (pipeline_.options_.max_table_rows > 0) {
      const auto room = static_cast<std::size_t>(pipeline_.options_.max_table_rows) * n_columns;
      const std::size_t n_kept = std::min(cells.size(), room - table.cells.size());
      table.n_lost += static_cast<std::int64_t>((cells.size() - n_kept) / n_columns);
      cells = cells.first(n_kept);
    }
    table.cells.append(cells);
  }

  Pipeline& pipeline_;
  std::size_t next_;
};

class Pipeline::SampleLink : public SampleOutput {
 public:
  SampleLink(Pipeline& pipeline, std::size_t next) : pipeline_(pipeline), next_(next) {}

  void push(const SampleChunk& chunk) override {
    if (next_ < pipeline_.chain_.sample_steps.size()) {
      pipeline_.chain_.sample_steps[next_].stage->push(chunk, *pipeline_.sample_links_[next_ + 1]);
    } else {
      pipeline_.reduce_here(chunk.samples, chunk.n_rows);
    }
  }

 private:
  Pipeline& pipeline_;
  std::size_t next_;
};

struct Pipeline::Buffer {
  Array<double> values;
  Array<std::uint32_t> mask;
  Array<double*> planes;
};

Pipeline::Pipeline(Chain chain, PipelineOptions options)
    : chain_(std::move(chain)), options_(std::move(options)) {}

Pipeline::~Pipeline() = default;

const PipelinePlan& Pipeline::begin(const ImageInfo& image) {
  if (!links_.empty()) throw Error("pipeline: begin was called before; make one per image");
  if (image.n_cols < 1 || image.n_skips < 1) {
    throw ConfigError(image.amplifier + ": an image needs at least 1 column and 1 skip; got " +
                      std::to_string(image.n_cols) + " and " + std::to_string(image.n_skips));
  }
  if (image.prescan_cols < 0 || image.overscan_cols < 0 || image.prescan_rows < 0 ||
      image.overscan_rows < 0 || image.prescan_cols + image.overscan_cols > image.n_cols) {
    throw ConfigError(image.amplifier + ": prescan_cols = " + std::to_string(image.prescan_cols) +
                      " and overscan_cols = " + std::to_string(image.overscan_cols) +
                      " do not fit into " + std::to_string(image.n_cols) + " columns");
  }
  image_ = image;
  image_.memory_bytes = options_.memory_bytes;
  if (options_.memory_bytes >= 0) {
    constexpr std::int64_t least_spool_bytes = 8 << 20;
    options_.spool_bytes =
        std::min(options_.spool_bytes, std::max(least_spool_bytes, options_.memory_bytes / 16));
  }
  pixel_bytes_ = image_.n_skips * image_.format.n_bytes;
  for (auto& step : chain_.sample_steps) {
    const auto plan = named(step.number, [&] { return step.stage->begin(image_); });
    in_order_ = in_order_ || !plan.format_only;
    sample_delay_rows_ += plan.delay_rows;
    plan_.stages.push_back(
        {step.number, std::string(step.name), {}, plan.delay_rows, plan.state_bytes, false});
  }
  reduced_pixel_bytes_ = image_.n_skips * image_.format.n_bytes;

  if (chain_.reduction == nullptr) {
    if (image_.n_skips > 1) {
      throw ConfigError((chain_.pixel_steps.empty() ? std::string("stage: ")
                                                    : label(chain_.pixel_steps[0].number) +
                                                          std::string(chain_.pixel_steps[0].name) +
                                                          ": works on pixels, but ") +
                        "the image has " + std::to_string(image_.n_skips) +
                        " skips; put compress_skips first");
    }
    chain_.reduction = std::make_unique<CompressSkips>(CompressSkips::Config{});
  }
  auto reduction = named(chain_.reduction_number, [&] { return chain_.reduction->begin(image_); });
  if (image_.add_maximum) {
    std::vector<std::string> statistics;
    for (const auto& plane : reduction.planes) statistics.push_back(plane.name);
    chain_.reduction->require(AddMaximum::needs(statistics));
    const std::size_t n_kept = reduction.planes.size();
    reduction = chain_.reduction->begin(image_);
    chain_.pixel_steps.insert(
        chain_.pixel_steps.begin(),
        {chain_.reduction_number.value_or(0), "add_maximum", std::make_unique<AddMaximum>(n_kept)});
  }
  reduced_planes_ = reduction.planes;
  plan_.stages.push_back({chain_.reduction_number, std::string(CompressSkips::title.name),
                          reduction.planes, 0, 0, false});
  plan_.first_used_skip = chain_.reduction->first_used_skip();
  plan_.n_used_skips = chain_.reduction->n_used_skips();

  plan_chunks(row_bytes(reduced_planes_, image_.n_cols));
  links_.push_back(std::make_unique<PixelLink>(*this, 0));
  links_.back()->planes = reduction.planes;
  const Spool* last_spool = nullptr;
  for (std::size_t i = 0; i < chain_.pixel_steps.size(); ++i) {
    auto& step = chain_.pixel_steps[i];
    if (auto* calibrate = dynamic_cast<Calibrate*>(step.stage.get())) {
      calibrate->use(options_.fit_gain);
    }
    const auto planes_in = links_.back()->planes;
    auto plan = named(step.number, [&] { return step.stage->begin(image_, planes_in); });
    if (image_.memory_bytes >= 0) {
      image_.memory_bytes = std::max<std::int64_t>(0, image_.memory_bytes - plan.state_bytes);
    }
    spools_.emplace_back();
    if (plan.barrier) {
      spools_.back() = std::make_unique<Spool>(planes_in.size(), image_.n_cols, plan_.chunk_rows,
                                               options_.spool_bytes, image_.n_rows,
                                               options_.spool_folder, last_spool);
      last_spool = spools_.back().get();
      plan.state_bytes += last_spool->own_bytes();
    }
    for (std::size_t t = 0; t < plan.tables.size(); ++t) {
      tables_.push_back({std::move(plan.tables[t]), i, t, {}, 0});
    }
    links_.push_back(std::make_unique<PixelLink>(*this, i + 1));
    links_.back()->planes = plan.planes;
    const bool added = step.name == "add_maximum";
    plan_.stages.push_back({added ? std::nullopt : std::optional(step.number),
                            std::string(step.name), plan.planes, plan.delay_rows, plan.state_bytes,
                            plan.barrier});
  }
  for (std::size_t i = 0; i <= chain_.sample_steps.size(); ++i) {
    sample_links_.push_back(std::make_unique<SampleLink>(*this, i));
  }
  for (const auto& stage : plan_.stages) {
    plan_.delay_rows += stage.delay_rows;
    plan_.state_bytes += stage.state_bytes;
  }
  plan_tables();
  begin_watch();
  begin_buffers(image_);
  for (auto& table : tables_) {
    table.cells.reserve(static_cast<std::size_t>(options_.max_table_rows) *
                        table.info.columns.size());
  }
  const std::int64_t row_samples = image_.n_cols * image_.n_skips;
  assembly_.begin(row_samples, pixel_bytes_ / image_.n_skips, options_.whole_rows);
  if (in_order_) zeros_.resize(static_cast<std::size_t>(image_.n_cols * pixel_bytes_));
  return plan_;
}

void Pipeline::plan_chunks(std::int64_t planes_row_bytes) {
  plan_.chunk_rows = options_.chunk_rows > 0
                         ? options_.chunk_rows
                         : std::clamp<std::int64_t>(chunk_bytes / planes_row_bytes, 1, 1024);
  if (const std::int64_t piece = options_.row_multiple; piece > 1 && options_.chunk_rows <= 0) {
    const std::int64_t rows = (plan_.chunk_rows + piece - 1) / piece * piece;
    if (rows * planes_row_bytes <= max_chunk_bytes) plan_.chunk_rows = rows;
  }
  if (image_.n_rows > 0) plan_.chunk_rows = std::min(plan_.chunk_rows, image_.n_rows);
}

void Pipeline::begin_buffers(const ImageInfo& image) {
  const std::int64_t planes_row_bytes = row_bytes(reduced_planes_, image.n_cols);
  plan_.n_cols = image.n_cols;
  const std::int64_t chunk_pixels = plan_.chunk_rows * image.n_cols;
  const auto n_threads = static_cast<std::int64_t>(std::max<std::size_t>(options_.n_threads, 1));
  block_pixels_ = std::max<std::int64_t>(1, read_bytes / reduced_pixel_bytes_);
  if (n_threads > 1) {
    block_pixels_ = std::min(block_pixels_, (chunk_pixels + 4 * n_threads - 1) / (4 * n_threads));
  }
  // Whole groups: pixels beyond the last whole group are reduced more slowly.
  if (block_pixels_ > kernels::group_pixels) block_pixels_ -= block_pixels_ % kernels::group_pixels;
  block_pixels_ = std::min(block_pixels_, chunk_pixels);

  const std::size_t n_buffers = n_threads > 1 ? 2 : 1;
  std::int64_t replayed = 0;
  plan_.buffer_bytes =
      ((in_order_ ? 1 : 0) + (options_.whole_rows ? 0 : 1)) * image.n_cols * pixel_bytes_ +
      (in_order_ ? rows_together() * image_.n_cols * pixel_bytes_ : 0) +
      static_cast<std::int64_t>(n_buffers) * plan_.chunk_rows * planes_row_bytes +
      n_threads * (block_pixels_ * pixel_bytes_ + chain_.reduction->scratch_bytes()) +
      options_.source_bytes;
  for (std::size_t i = 0; i < spools_.size(); ++i) {  // one after another gives its rows back
    if (!spools_[i]) continue;
    replayed = std::max(replayed, plan_.chunk_rows * row_bytes(links_[i]->planes, image.n_cols));
  }
  plan_.buffer_bytes += replayed;
  if (options_.memory_bytes >= 0 && plan_.total_bytes() > options_.memory_bytes) {
    throw ConfigError("needs " + in_mib(plan_.total_bytes()) +
                      " MiB: " + in_mib(plan_.buffer_bytes) + " for rows on their way and " +
                      in_mib(plan_.state_bytes) + " for what the stages hold; the limit leaves " +
                      in_mib(options_.memory_bytes) +
                      " MiB beside the program; use fewer threads or planes, or lower max_pixels");
  }
  for (std::size_t b = 0; b < n_buffers; ++b) {
    Buffer buffer;
    const auto n = static_cast<std::size_t>(chunk_pixels);
    buffer.values.resize(n * reduced_planes_.size());
    buffer.mask.resize(n);
    for (std::size_t p = 0; p < reduced_planes_.size(); ++p) {
      buffer.planes.push_back(buffer.values.data() + p * n);
    }
    buffers_.push_back(std::move(buffer));
  }
  const auto scratch = [this](std::int64_t n_bytes) {
    constexpr std::size_t line = 64;
    scratch_.emplace_back(static_cast<std::size_t>(n_bytes) + line);
    std::byte* first = scratch_.back().data();
    return first + (line - reinterpret_cast<std::uintptr_t>(first) % line) % line;
  };
  for (std::int64_t t = 0; t < n_threads; ++t) {
    read_scratch_.push_back(scratch(block_pixels_ * pixel_bytes_));
    reduce_scratch_.push_back(scratch(chain_.reduction->scratch_bytes()));
    block_planes_.emplace_back(reduced_planes_.size());
  }
  begin_records(static_cast<std::size_t>(n_threads));
  workers_ = std::make_unique<Workers>(static_cast<std::size_t>(n_threads));
}

void Pipeline::begin_records(std::size_t n_threads) {
  const bool counts = image_.format.kind != SampleKind::floating;
  ImageInfo in_use = image_;
  in_use.begin_skip = plan_.first_used_skip;
  in_use.end_skip = plan_.first_used_skip + plan_.n_used_skips;
  records_.begin(in_use, counts ? std::min(options_.n_histograms, image_.n_skips) : 0, n_threads);
  const auto& mask = options_.mask;
  if (!mask.empty() && static_cast<std::int64_t>(mask.size()) != image_.n_rows * image_.n_cols) {
    throw ConfigError("mask: must have the " + std::to_string(image_.n_rows) + " x " +
                      std::to_string(image_.n_cols) + " pixels of the image");
  }
  plan_record_bytes();
}

void Pipeline::plan_record_bytes() {
  plan_.record_bytes =
      records_.bytes() + static_cast<std::int64_t>(options_.mask.size() * sizeof(std::uint32_t));
}

std::size_t Pipeline::keep(const KeptRegion& region) {
  require_open();
  if (rows_pushed() > 0 || !assembly_.is_empty()) throw Error("pipeline: keep comes before push");
  if (image_.n_rows < 0) {
    throw ConfigError("samples that are kept need the number of rows beforehand");
  }
  if (region.begin_col < 0 || region.begin_col >= region.end_col ||
      region.end_col > image_.n_cols || region.row_step < 1) {
    throw ConfigError("samples that are kept: columns " + std::to_string(region.begin_col) +
                      " to " + std::to_string(region.end_col) + " of every row " +
                      std::to_string(region.row_step) + " are not in the image");
  }
  records_.keep(region);
  plan_record_bytes();
  return records_.n_regions() - 1;
}

void Pipeline::plan_tables() {
  constexpr std::int64_t most = std::int64_t{1} << 32;
  options_.max_table_rows = std::clamp<std::int64_t>(options_.max_table_rows, 0, most);
  for (const auto& table : tables_) {
    plan_.table_bytes += options_.max_table_rows *
                         static_cast<std::int64_t>(table.info.columns.size() * sizeof(Cell));
  }
}

void Pipeline::begin_watch() {
  is_watched_ = options_.row_statistics || !options_.alarms.empty();
  if (!is_watched_) return;
  double gain = image_.unit == "electron" ? 1.0 : std::numeric_limits<double>::quiet_NaN();
  for (const auto& step : chain_.pixel_steps) {
    const auto* calibrate = dynamic_cast<const Calibrate*>(step.stage.get());
    if (calibrate != nullptr) gain = calibrate->known_gain();
  }
  const bool has_clusters = std::any_of(tables_.begin(), tables_.end(), [](const auto& table) {
    return table.info.name == "clusters";
  });
  watch_.begin(image_, gain, has_clusters, options_.alarms);
  plan_.state_bytes += watch_.bytes();
}

std::size_t Pipeline::link_after(std::size_t number) const {
  std::optional<std::size_t> found;
  if (chain_.reduction_number == number) found = 0;
  for (std::size_t i = 0; i < chain_.pixel_steps.size(); ++i) {
    if (chain_.pixel_steps[i].number == number) found = i + 1;
  }
  if (!found) {
    throw ConfigError("output: stage[" + std::to_string(number) +
                      "] makes no pixels; take the rows after compress_skips or a later stage");
  }
  return *found;
}

void Pipeline::add_tap(std::size_t number, Tap tap) {
  links_[link_after(number)]->taps.push_back(std::move(tap));
}

const std::vector<PlaneInfo>& Pipeline::planes_after(std::size_t number) const {
  return links_[link_after(number)]->planes;
}

void Pipeline::require_open() const {
  if (links_.empty()) throw Error("pipeline: begin comes first");
  if (finished_) throw Error("pipeline: push after finish; make a new pipeline for a new image");
}

void Pipeline::require_room(std::int64_t n_rows) const {
  if (image_.n_rows >= 0 && n_rows > image_.n_rows - rows_pushed()) {
    throw Error("pipeline: the image has " + std::to_string(image_.n_rows) + " rows; got " +
                std::to_string(rows_pushed()) + " and " + std::to_string(n_rows) + " more");
  }
}

void Pipeline::push(const std::byte* samples, std::int64_t n_rows) {
  push(std::span(samples, static_cast<std::size_t>(n_rows * assembly_.bytes())));
}

void Pipeline::push(std::span<const std::byte> samples) {
  require_open();
  require_room(assembly_.rows_after(static_cast<std::int64_t>(samples.size())));
  const auto row_bytes = static_cast<std::size_t>(assembly_.bytes());
  if (options_.whole_rows && samples.size() % row_bytes != 0) {
    throw ConfigError("push: " + std::to_string(samples.size()) + " bytes are not whole rows of " +
                      std::to_string(row_bytes) + ", which this pipeline was told to expect");
  }
  while (!samples.empty()) {
    if (assembly_.is_empty() && samples.size() >= row_bytes) {
      const std::size_t n_rows = samples.size() / row_bytes;
      push_rows(samples.data(), static_cast<std::int64_t>(n_rows));
      samples = samples.subspan(n_rows * row_bytes);
    } else {
      samples = samples.subspan(assembly_.take(samples));
      if (assembly_.is_full()) push_assembled();
    }
  }
}

void Pipeline::push_lost(std::int64_t n_samples) {
  constexpr std::int64_t most = std::int64_t{1} << 56;
  if (n_samples < 0 || n_samples > most) {
    throw ConfigError("push_lost: got " + std::to_string(n_samples) + " samples");
  }
  require_open();
  if (!assembly_.at_sample()) {
    throw Error("push_lost: the last push ended in the middle of a sample");
  }
  require_room(assembly_.rows_after(n_samples * (pixel_bytes_ / image_.n_skips)));
  const std::int64_t row_samples = image_.n_cols * image_.n_skips;
  if (options_.whole_rows && n_samples % row_samples != 0) {
    throw ConfigError("push_lost: " + std::to_string(n_samples) +
                      " samples are not whole rows of " + std::to_string(row_samples) +
                      ", which this pipeline was told to expect");
  }
  while (n_samples > 0) {
    if (assembly_.is_empty() && n_samples >= row_samples) {
      push_missing_rows(n_samples / row_samples);
      n_samples %= row_samples;
    } else {
      const std::int64_t n = std::min(n_samples, assembly_.n_open());
      assembly_.lose(n);
      n_samples -= n;
      if (assembly_.is_full()) push_assembled();
    }
  }
}

void Pipeline::push_missing(std::int64_t n_rows) {
  if (n_rows < 0) throw ConfigError("push_missing: got " + std::to_string(n_rows) + " rows");
  require_open();
  if (!assembly_.is_empty()) {
    throw Error("push_missing: a row was begun; tell the samples that it lacks to push_lost");
  }
  require_room(n_rows);
  push_missing_rows(n_rows);
}

void Pipeline::push_rows(const std::byte* samples, std::int64_t n_rows) {
  if (!in_order_) {
    rows_pushed_ += n_rows;
    reduce_here(samples, n_rows);
    return;
  }
  pass_lost_rows();
  const SampleChunk chunk{samples, rows_pushed_, n_rows};
  rows_pushed_ += n_rows;
  sample_links_[0]->push(chunk);
}

void Pipeline::push_assembled() {
  if (assembly_.lost().empty()) {
    push_rows(assembly_.samples(), 1);
  } else if (in_order_ || assembly_.is_all_lost()) {
    push_missing_rows(1);
  } else {
    ++rows_pushed_;
    reduce_assembled();
  }
  assembly_.clear();
}

void Pipeline::push_missing_rows(std::int64_t n_rows) {
  if (in_order_ && !samples_finished_) {
    n_lost_rows_ += n_rows;
    return;
  }
  rows_pushed_ += n_rows;
  Buffer& buffer = buffers_[0];
  while (n_rows > 0) {
    const std::int64_t n = std::min(n_rows, plan_.chunk_rows);
    PixelChunk chunk{buffer.planes, buffer.mask.data(), rows_reduced_, n, image_.n_cols};
    make_missing(chunk, 0, n * image_.n_cols);  // stages may change the rows that pass
    deliver(chunk);
    n_rows -= n;
  }
}

void Pipeline::make_missing(const PixelChunk& chunk, std::int64_t begin_pixel,
                            std::int64_t end_pixel) const {
  for (std::size_t p = 0; p < reduced_planes_.size(); ++p) {
    const double missing =
        reduced_planes_[p].name == "count" ? 0.0 : std::numeric_limits<double>::quiet_NaN();
    std::fill(chunk.planes[p] + begin_pixel, chunk.planes[p] + end_pixel, missing);
  }
  std::fill(chunk.mask + begin_pixel, chunk.mask + end_pixel, mask_bit::no_data);
}

/// Stages on samples count rows: those that are missing pass as zeros, and are no pixels again
/// behind the reduction.
void Pipeline::pass_lost_rows() {
  for (; n_lost_rows_ > 0; --n_lost_rows_) {
    lost_first_row_ = lost_first_row_ || rows_pushed_ == 0;
    const SampleChunk chunk{zeros_.data(), rows_pushed_, 1};
    end_lost_row_ = ++rows_pushed_;
    sample_links_[0]->push(chunk);
  }
}

std::int64_t Pipeline::rows_together() const {
  return std::max<std::int64_t>(1, chunk_bytes / (image_.n_cols * pixel_bytes_));
}

void Pipeline::run(const SampleSource& source, std::int64_t n_rows, const Progress& progress) {
  require_open();
  if (!in_order_) {
    require_room(n_rows);
    rows_pushed_ += n_rows;
    reduce(source, 0, n_rows, progress);
    return;
  }
  const std::int64_t samples_row_bytes = image_.n_cols * pixel_bytes_;
  const std::int64_t step = rows_together();
  std::vector<std::byte> rows(static_cast<std::size_t>(std::min(step, n_rows) * samples_row_bytes));
  const auto cursor = source.cursor();
  cursor->seek(0);
  for (std::int64_t row = 0; row < n_rows; row += step) {
    const std::int64_t n = std::min(step, n_rows - row);
    push(cursor->next(n * image_.n_cols, rows.data()), n);
    if (progress) progress(rows_pushed_);
  }
}

/// Rows in memory, by one thread.
void Pipeline::reduce_here(const std::byte* samples, std::int64_t n_rows) {
  if (buffers_.size() > 1) {
    reduce(MemorySamples(samples, reduced_pixel_bytes_), 0, n_rows, {});
    return;
  }
  Buffer& buffer = buffers_[0];
  auto& planes = block_planes_[0];
  while (n_rows > 0) {
    const std::int64_t n = std::min(n_rows, plan_.chunk_rows);
    const std::int64_t n_pixels = n * image_.n_cols;
    see_first_pixel(
        n, [&](std::int64_t row) { return samples + row * image_.n_cols * reduced_pixel_bytes_; });
    for (std::int64_t begin = 0; begin < n_pixels; begin += block_pixels_) {
      const std::int64_t n_block = std::min(block_pixels_, n_pixels - begin);
      for (std::size_t p = 0; p < planes.size(); ++p) planes[p] = buffer.planes[p] + begin;
      chain_.reduction->reduce(samples, n_block, planes.data(), buffer.mask.data() + begin,
                               reduce_scratch_[0]);
      record(samples, rows_reduced_ * image_.n_cols + begin, n_block, 0);
      samples += n_block * reduced_pixel_bytes_;
    }
    see_rows(n);
    PixelChunk chunk{buffer.planes, buffer.mask.data(), rows_reduced_, n, image_.n_cols};
    deliver(chunk);
    n_rows -= n;
  }
}

/// A row that lost samples: the pixels that have all of theirs first, then one by one the others.
void Pipeline::reduce_assembled() {
  Buffer& buffer = buffers_[0];
  PixelChunk chunk{buffer.planes, buffer.mask.data(), rows_reduced_, 1, image_.n_cols};
  auto& planes = block_planes_[0];
  const auto at = [&](std::int64_t pixel) {
    for (std::size_t p = 0; p < planes.size(); ++p) planes[p] = buffer.planes[p] + pixel;
    return planes.data();
  };
  const auto reduce_whole = [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += block_pixels_) {
      chain_.reduction->reduce(assembly_.samples() + begin * pixel_bytes_,
                               std::min(block_pixels_, end - begin), at(begin),
                               buffer.mask.data() + begin, reduce_scratch_[0]);
    }
  };
  std::int64_t done = 0;
  for (const auto& lost : assembly_.lost()) {
    const std::int64_t begin = lost.begin / image_.n_skips;
    const std::int64_t end = (lost.end - 1) / image_.n_skips + 1;
    reduce_whole(done, begin);
    for (std::int64_t pixel = std::max(done, begin); pixel < end; ++pixel) {
      const std::int64_t first = pixel * image_.n_skips;
      if (lost.begin <= first && first + image_.n_skips <= lost.end) {
        make_missing(chunk, pixel, pixel + 1);
      } else {
        chain_.reduction->reduce_without(assembly_.lost(),
                                         assembly_.samples() + pixel * pixel_bytes_, first,
                                         at(pixel), buffer.mask.data() + pixel, reduce_scratch_[0]);
      }
    }
    done = end;
  }
  reduce_whole(done, image_.n_cols);
  deliver(chunk);
}

void Pipeline::reduce(const SampleSource& source, std::int64_t first_source_row,
                      std::int64_t n_rows, const Progress& progress) {
  if (n_rows == 0) return;
  const std::int64_t first_image_pixel = rows_reduced_ * image_.n_cols;
  std::unique_ptr<SampleCursor> looking;  // what it gives lives as long as it does
  see_first_pixel(n_rows, [&](std::int64_t row) {
    looking = source.cursor();
    looking->seek((first_source_row + row) * image_.n_cols);
    return looking->next(1, read_scratch_[0]);
  });
  const std::int64_t n_chunks = (n_rows + plan_.chunk_rows - 1) / plan_.chunk_rows;
  const std::int64_t chunk_pixels = plan_.chunk_rows * image_.n_cols;
  // A task reads whole pieces of the source, and reduces them block by block. Where a chunk does
  // not hold whole pieces, it is one task, and a single cursor goes through the image.
  const std::int64_t piece = source.piece_pixels();
  const bool in_pieces = chunk_pixels % piece == 0;
  const std::int64_t task_pixels =
      in_pieces ? std::max(block_pixels_ / piece, std::int64_t{1}) * piece : chunk_pixels;
  std::vector<std::unique_ptr<SampleCursor>> cursors(in_pieces ? read_scratch_.size() : 1);
  for (auto& cursor : cursors) cursor = source.cursor();
  cursors[0]->seek(first_source_row * image_.n_cols);
  Workers::Task tasks[2];
  const auto start = [&](std::int64_t k) {
    const auto b = static_cast<std::size_t>(k) % buffers_.size();
    const std::int64_t row = k * plan_.chunk_rows;
    const std::int64_t n_pixels = std::min(plan_.chunk_rows, n_rows - row) * image_.n_cols;
    const std::int64_t first_pixel = (first_source_row + row) * image_.n_cols;
    const std::int64_t image_pixel = first_image_pixel + row * image_.n_cols;
    tasks[b] = [this, &cursors, b, n_pixels, first_pixel, image_pixel, task_pixels, in_pieces](
                   std::int64_t task, std::size_t worker) {
      SampleCursor& cursor = *cursors[in_pieces ? worker : 0];
      Buffer& buffer = buffers_[b];
      auto& planes = block_planes_[worker];
      const std::int64_t end = std::min((task + 1) * task_pixels, n_pixels);
      if (in_pieces) cursor.seek(first_pixel + task * task_pixels);
      for (std::int64_t begin = task * task_pixels; begin < end; begin += block_pixels_) {
        const std::int64_t n = std::min(block_pixels_, end - begin);
        const std::byte* samples = cursor.next(n, read_scratch_[worker]);
        for (std::size_t p = 0; p < planes.size(); ++p) planes[p] = buffer.planes[p] + begin;
        chain_.reduction->reduce(samples, n, planes.data(), buffer.mask.data() + begin,
                                 reduce_scratch_[worker]);
        record(samples, image_pixel + begin, n, worker);
      }
    };
    workers_->start((n_pixels + task_pixels - 1) / task_pixels, tasks[b]);
  };
  start(0);
  workers_->wait();
  for (std::int64_t k = 0; k < n_chunks; ++k) {
    Buffer& buffer = buffers_[static_cast<std::size_t>(k) % buffers_.size()];
    const std::int64_t n = std::min(plan_.chunk_rows, n_rows - k * plan_.chunk_rows);
    PixelChunk chunk{buffer.planes, buffer.mask.data(), rows_reduced_, n, image_.n_cols};
    see_rows(n);
    const bool more = k + 1 < n_chunks;
    if (buffers_.size() > 1 && more) {
      // The other threads reduce the next chunk while this one passes the ordered stages.
      start(k + 1);
      std::exception_ptr failure;
      try {
        deliver(chunk);
      } catch (...) {
        failure = std::current_exception();
      }
      workers_->wait();
      if (failure) std::rethrow_exception(failure);
    } else {
      deliver(chunk);
      if (more) {
        start(k + 1);
        workers_->wait();
      }
    }
    if (progress) progress(rows_reduced_);
  }
}

/// What is recorded of samples but for those of rows that are lost.
void Pipeline::record(const std::byte* samples, std::int64_t first_pixel, std::int64_t n_pixels,
                      std::size_t thread) {
  if (records_.is_empty()) return;
  const std::int64_t lost =
      std::clamp<std::int64_t>(end_lost_row_ * image_.n_cols - first_pixel, 0, n_pixels);
  records_.record(samples + lost * reduced_pixel_bytes_, first_pixel + lost, n_pixels - lost,
                  thread);
}

/// The first pixel that is not lost, if it is in the next rows; `pixel_of` gives the first of a
/// row.
template <class PixelOf>
void Pipeline::see_first_pixel(std::int64_t n_rows, const PixelOf& pixel_of) {
  const std::int64_t row = std::max<std::int64_t>(0, end_lost_row_ - rows_reduced_);
  if (records_.is_empty() || saw_first_pixel_ || row >= n_rows) return;
  saw_first_pixel_ = true;
  records_.see_first_pixel(pixel_of(row));
}

/// The next rows have been recorded.
void Pipeline::see_rows(std::int64_t n_rows) {
  const std::int64_t first = std::max(rows_reduced_, end_lost_row_);
  if (first < rows_reduced_ + n_rows) records_.see_rows(first, rows_reduced_ + n_rows - first);
}

void Pipeline::deliver(PixelChunk& chunk) {
  if (const std::int64_t n_lost = std::min(end_lost_row_ - rows_reduced_, chunk.n_rows);
      n_lost > 0) {
    make_missing(chunk, 0, n_lost * chunk.n_cols);
  }
  if (!options_.mask.empty()) {
    const std::uint32_t* known = options_.mask.data() + rows_reduced_ * image_.n_cols;
    for (std::int64_t i = 0; i < chunk.n_rows * chunk.n_cols; ++i) chunk.mask[i] |= known[i];
  }
  rows_reduced_ += chunk.n_rows;
  if (is_watched_) watch_.observe(chunk);
  links_[0]->push(chunk);
}

void Pipeline::finish_samples() {
  if (!in_order_) return;
  samples_finished_ = true;
  // Samples of the first row may end the last one.
  if (lost_first_row_ && sample_delay_rows_ > 0) end_lost_row_ = rows_pushed_;
  for (std::size_t i = 0; i < chain_.sample_steps.size(); ++i) {
    chain_.sample_steps[i].stage->finish(*sample_links_[i + 1]);
  }
  push_missing_rows(std::exchange(n_lost_rows_, 0));
}

void Pipeline::finish() {
  if (finished_) return;
  require_open();
  if (!assembly_.is_empty()) {
    assembly_.lose(assembly_.n_open());
    push_assembled();
  }
  if (image_.n_rows >= 0) push_missing_rows(image_.n_rows - rows_pushed());
  finish_samples();
  records_.finish();
  finished_ = true;
  for (std::size_t i = 0; i < chain_.pixel_steps.size(); ++i) {
    auto& stage = *chain_.pixel_steps[i].stage;
    auto& link = *links_[i + 1];
    if (spools_[i]) {
      stage.settle();
      spools_[i]->replay([&](PixelChunk& chunk) { stage.push(chunk, link); });
    }
    stage.finish(link);
  }
  for (auto& table : tables_) {
    chain_.pixel_steps[table.step].stage->complete_table(table.index,
                                                         {table.cells.data(), table.cells.size()});
  }
  if (!is_watched_) return;
  std::int64_t n_clusters = 0;
  for (const auto& table : tables_) {
    if (table.info.name != "clusters") continue;
    n_clusters =
        static_cast<std::int64_t>(table.cells.size() / table.info.columns.size()) + table.n_lost;
  }
  watch_.finish(n_clusters);
}

std::vector<Pipeline::StageFindings> Pipeline::findings() const {
  std::vector<StageFindings> all;
  for (const auto& step : chain_.pixel_steps) {
    auto found = step.stage->findings();
    if (!found.empty()) all.push_back({std::string(step.name), std::move(found)});
  }
  return all;
}

}  // namespace skipstream
