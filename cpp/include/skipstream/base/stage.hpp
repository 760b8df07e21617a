#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "skipstream/base/chunk.hpp"
#include "skipstream/base/image.hpp"

namespace skipstream {

enum class CellType : std::uint8_t { integer, floating };

/// One 8-byte entry of a table row; which member is live, the column says.
union Cell {
  std::int64_t integer;
  double floating;
};
static_assert(sizeof(Cell) == 8);

struct ColumnInfo {
  std::string name;
  std::string unit;
  std::string doc;
  CellType type = CellType::floating;
};

/// A table that a stage fills row by row while it runs, such as the clusters.
struct TableInfo {
  std::string name;
  std::vector<ColumnInfo> columns;

  /// Number of a column; the number of columns where there is none of that name.
  [[nodiscard]] std::size_t column(std::string_view wanted) const {
    std::size_t number = 0;
    while (number < columns.size() && columns[number].name != wanted) ++number;
    return number;
  }
};

/// What a stage will do, known before the first sample.
struct StagePlan {
  std::vector<PlaneInfo> planes;  ///< of the chunks that leave the stage
  std::int64_t delay_rows = 0;    ///< rows held back because their neighbours are needed
  std::int64_t state_bytes = 0;   ///< memory held between pushes, at most
  bool barrier = false;           ///< every row must be observed before the first one leaves
  std::vector<TableInfo> tables;
};

/// A number that a stage found out on its way, for the report and the output header.
struct Finding {
  std::string name;  ///< "noise"
  double value = 0.0;
  std::string unit;
  std::string doc;
};

/// Where a stage sends what it has made.
class StageOutput {
 public:
  virtual ~StageOutput() = default;
  virtual void push(PixelChunk& chunk) = 0;
  /// Appends one or more rows to table number `table` of the stage's plan. `cells` is C order.
  virtual void append(std::size_t table, std::span<const Cell> cells) = 0;
};

/// A step on pixels. `begin` is called once per image, and is the only call that may throw or
/// allocate; then `push` with rows in order, any number at a time; then `finish`.
///
/// A barrier sees every row with `observe` first; then `settle`; then the same rows with `push`.
class PixelStage {
 public:
  virtual ~PixelStage() = default;
  virtual StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) = 0;
  virtual void observe(const PixelChunk& /*chunk*/) {}
  virtual void settle() {}
  virtual void push(PixelChunk& chunk, StageOutput& output) = 0;
  virtual void finish(StageOutput& /*output*/) {}
  /// Called with the whole table, rows in the order of `append`, after `finish`: a stage sorts it
  /// and fills columns that need all rows. `cells` is (n_rows, n_columns).
  virtual void complete_table(std::size_t /*table*/, std::span<Cell> /*cells*/) const {}
  [[nodiscard]] virtual std::vector<Finding> findings() const { return {}; }
};

/// Where a sample stage sends its rows.
class SampleOutput {
 public:
  virtual ~SampleOutput() = default;
  virtual void push(const SampleChunk& chunk) = 0;
};

struct SampleStagePlan {
  std::int64_t delay_rows = 0;
  std::int64_t state_bytes = 0;
  /// The stage only changes what the samples mean (`image.format`), not the samples: rows need
  /// not pass through it, and may be read in any order.
  bool format_only = false;
};

/// A step on encoded samples, before they are reduced.
class SampleStage {
 public:
  virtual ~SampleStage() = default;
  /// May change `image` (its format, its unit) for the stages that follow.
  virtual SampleStagePlan begin(ImageInfo& image) = 0;
  virtual void push(const SampleChunk& chunk, SampleOutput& output) = 0;
  virtual void finish(SampleOutput& /*output*/) {}
};

/// A stage's name in config files, and one sentence on it.
struct StageTitle {
  std::string_view name;
  std::string_view doc;
};

}  // namespace skipstream
