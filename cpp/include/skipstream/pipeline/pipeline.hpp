#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/base/source.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/pipeline/alarms.hpp"
#include "skipstream/pipeline/chain.hpp"
#include "skipstream/pipeline/row_assembly.hpp"
#include "skipstream/pipeline/sample_records.hpp"
#include "skipstream/pipeline/spool.hpp"
#include "skipstream/pipeline/workers.hpp"

namespace skipstream {

struct PipelineOptions {
  std::size_t n_threads = 1;      ///< that share the reduction of the skips
  std::int64_t chunk_rows = 0;    ///< rows that travel together; 0: as many as fit the cache
  std::int64_t row_multiple = 1;  ///< of rows in a chunk, where they are not too many: tiles' rows
  /// Memory of a barrier before it goes to a temporary file; with `memory_bytes`, at most a
  /// sixteenth of them or 8 MiB.
  std::int64_t spool_bytes = 48 << 20;
  std::string spool_folder = "/tmp";
  std::int64_t n_histograms = 0;      ///< of the first samples; none of floating ones
  FitGain fit_gain;                   ///< for calibrate.gain = "fit"
  std::vector<std::uint32_t> mask;    ///< (n_rows, n_cols), known beforehand; or empty
  std::vector<Alarm::Config> alarms;  ///< that rows are compared with
  bool row_statistics = false;        ///< are taken also where there is no alarm
  std::int64_t max_table_rows = 0;    ///< of each table, whose room is made at once; 0: they grow
  bool whole_rows = false;         ///< no row comes in parts: there is no room to put one together
  std::int64_t source_bytes = 0;   ///< memory of the cursors of the source that will be run
  std::int64_t memory_bytes = -1;  ///< that the plan may need; below 0: any
};

struct PlannedStage {
  std::optional<std::size_t> number;  ///< in the configuration; none: added by the pipeline
  std::string name;
  std::vector<PlaneInfo> planes;  ///< that leave it; empty for stages on samples
  std::int64_t delay_rows = 0;
  std::int64_t state_bytes = 0;
  bool barrier = false;
};

/// What will happen, known before the first sample.
struct PipelinePlan {
  std::vector<PlannedStage> stages;
  std::int64_t chunk_rows = 0;
  std::int64_t n_cols = 0;
  std::int64_t first_used_skip = 0;
  std::int64_t n_used_skips = 0;
  std::int64_t delay_rows = 0;
  std::int64_t buffer_bytes = 0;  ///< chunks, cursors, read buffers and scratch of all threads
  std::int64_t state_bytes = 0;   ///< of all stages, and of the barriers' spools
  std::int64_t record_bytes = 0;  ///< of kept samples and histograms
  std::int64_t table_bytes = 0;   ///< of tables whose rows have a limit
  [[nodiscard]] std::int64_t total_bytes() const {
    return buffer_bytes + state_bytes + record_bytes + table_bytes;
  }
};

/// The finished or growing rows of one table.
struct PipelineTable {
  TableInfo info;
  std::size_t step = 0;      ///< pixel step that fills it
  std::size_t index = 0;     ///< its number in that step's plan
  GrowingArray<Cell> cells;  ///< (n_rows, n_columns)
  std::int64_t n_lost = 0;   ///< rows beyond `max_table_rows`
};

/// All stages of one image. Rows go in with `push` or `run`; pixel rows come out at the taps and
/// table rows in `tables`. One image per pipeline.
class Pipeline {
 public:
  using Tap = std::function<void(const PixelChunk& chunk)>;
  /// `rows` is (n_rows, n_columns) of `tables()[table]`.
  using TableTap = std::function<void(std::size_t table, std::span<const Cell> rows)>;
  using Progress = std::function<void(std::int64_t rows_done)>;

  Pipeline(Chain chain, PipelineOptions options);
  ~Pipeline();

  /// Checks everything and allocates. Throws ConfigError that names the stage.
  const PipelinePlan& begin(const ImageInfo& image);
  [[nodiscard]] const PipelinePlan& plan() const { return plan_; }

  /// Samples of pixels, or statistics of them, that outlive the pass; before the first row. Needs
  /// the number of rows. Returns the number of the region in `records`. Throws ConfigError.
  std::size_t keep(const KeptRegion& region);
  /// Rows that leave stage `number` of the configuration are shown to `tap` before they go on.
  void add_tap(std::size_t number, Tap tap);
  /// Rows of tables are shown to `tap` as stages make them, in the order in which clusters end and
  /// without what only the whole table tells (nearest_distance); also those beyond the limit.
  void add_table_tap(TableTap tap) { table_taps_.push_back(std::move(tap)); }
  /// Every row's statistics are shown to `tap`, which needs `row_statistics` or an alarm.
  void add_row_tap(RowWatch::RowTap tap) { watch_.row_taps.push_back(std::move(tap)); }
  /// Alarms are told to `tap` when they come.
  void add_alarm_tap(RowWatch::AlarmTap tap) { watch_.alarm_taps.push_back(std::move(tap)); }
  /// The planes seen by a tap after that stage.
  [[nodiscard]] const std::vector<PlaneInfo>& planes_after(std::size_t number) const;

  /// The next rows, any number of them, encoded as `image.format` says.
  void push(const std::byte* samples, std::int64_t n_rows);
  /// The next samples, encoded as `image.format` says: many rows, or a part of one.
  void push(std::span<const std::byte> samples);
  /// The next samples did not arrive. A pixel that has others is reduced from those, with the bit
  /// `missing_skips` of the mask; one that has none is NaN, with the bit `no_data`. Where a stage
  /// needs the samples in order, a row that lost some is missing as a whole, and so are rows that
  /// such a stage fills from it.
  void push_lost(std::int64_t n_samples);
  /// Rows that did not arrive: NaN, with the bit `no_data` of the mask.
  void push_missing(std::int64_t n_rows);
  /// All rows of a source, read by several threads where no stage needs them in order.
  void run(const SampleSource& source, std::int64_t n_rows, const Progress& progress = {});
  /// Ends the image. What is not there of a row that was begun, and of the rows of an image whose
  /// number of rows is known, is missing.
  void finish();
  /// Ends the image as it is: rows that are held back do not leave, and tables stay open.
  void abort() { finished_ = true; }

  [[nodiscard]] const std::vector<PipelineTable>& tables() const { return tables_; }
  /// Hands over the rows of a table, which has none from then on; after `finish`.
  [[nodiscard]] GrowingArray<Cell> release_cells(std::size_t table) {
    return std::move(tables_[table].cells);
  }
  [[nodiscard]] std::int64_t rows_pushed() const { return rows_pushed_ + n_lost_rows_; }
  /// Kept samples and histograms; `records_format` says how the samples are encoded.
  [[nodiscard]] const SampleRecords& records() const { return records_; }
  [[nodiscard]] const SampleFormat& records_format() const { return image_.format; }
  struct StageFindings {
    std::string stage;
    std::vector<Finding> findings;
  };
  [[nodiscard]] std::vector<StageFindings> findings() const;

 private:
  class PixelLink;
  class SampleLink;
  struct Buffer;

  void plan_chunks(std::int64_t planes_row_bytes);
  void begin_buffers(const ImageInfo& image);
  void begin_records(std::size_t n_threads);
  void plan_record_bytes();
  void plan_tables();
  void begin_watch();
  void reduce(const SampleSource& source, std::int64_t first_source_row, std::int64_t n_rows,
              const Progress& progress);
  void record(const std::byte* samples, std::int64_t first_pixel, std::int64_t n_pixels,
              std::size_t thread);
  template <class PixelOf>
  void see_first_pixel(std::int64_t n_rows, const PixelOf& pixel_of);
  void see_rows(std::int64_t n_rows);
  void deliver(PixelChunk& chunk);
  void require_open() const;
  void require_room(std::int64_t n_rows) const;
  void push_rows(const std::byte* samples, std::int64_t n_rows);
  void push_assembled();
  void push_missing_rows(std::int64_t n_rows);
  void reduce_here(const std::byte* samples, std::int64_t n_rows);
  void reduce_assembled();
  void make_missing(const PixelChunk& chunk, std::int64_t begin_pixel,
                    std::int64_t end_pixel) const;
  void pass_lost_rows();
  /// Rows of a source that stages in order get at once.
  [[nodiscard]] std::int64_t rows_together() const;
  void finish_samples();
  [[nodiscard]] std::size_t link_after(std::size_t number) const;

  Chain chain_;
  PipelineOptions options_;
  ImageInfo image_;
  PipelinePlan plan_;
  std::int64_t pixel_bytes_ = 0;          ///< of the samples that are pushed
  std::int64_t reduced_pixel_bytes_ = 0;  ///< of those that reach the reduction
  std::int64_t block_pixels_ = 0;
  std::int64_t rows_pushed_ = 0;
  std::int64_t rows_reduced_ = 0;
  bool saw_first_pixel_ = false;   ///< of those that are recorded
  bool in_order_ = false;          ///< a sample stage needs the rows one after another
  RowAssembly assembly_;           ///< of rows that come in parts
  Array<std::byte> zeros_;         ///< a lost row, for stages on samples
  std::int64_t n_lost_rows_ = 0;   ///< that stages on samples have not seen yet
  std::int64_t end_lost_row_ = 0;  ///< rows below it that stages on samples send on are lost
  bool lost_first_row_ = false;
  std::int64_t sample_delay_rows_ = 0;
  bool finished_ = false;
  bool samples_finished_ = false;
  std::vector<PlaneInfo> reduced_planes_;
  std::vector<std::unique_ptr<PixelLink>>
      links_;  ///< link i leaves pixel step i-1; 0 the reduction
  std::vector<std::unique_ptr<SampleLink>> sample_links_;
  std::vector<std::unique_ptr<Spool>> spools_;  ///< one per pixel step; null: no barrier
  std::vector<PipelineTable> tables_;
  std::vector<TableTap> table_taps_;
  std::vector<Buffer> buffers_;
  Array<std::byte*> read_scratch_;
  Array<std::byte*> reduce_scratch_;
  Array<Array<double*>> block_planes_;  ///< per thread
  Array<Array<std::byte>> scratch_;
  SampleRecords records_;
  RowWatch watch_;
  bool is_watched_ = false;
  std::unique_ptr<Workers> workers_;
};

}  // namespace skipstream
