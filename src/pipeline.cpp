#include "skipstream/pipeline/pipeline.hpp"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <atomic>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <tuple>

#include "convert.hpp"
#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/plane_writer.hpp"

namespace py = pybind11;

namespace skipstream::python {

std::string dtype_name(const SampleFormat& format) {
  const char kind = format.kind == SampleKind::floating ? 'f' : format.is_unsigned ? 'u' : 'i';
  const char order = format.n_bytes == 1 ? '|' : format.big_endian ? '>' : '<';
  return std::string{order, kind} + std::to_string(format.n_bytes);
}

SampleFormat format_of(const std::string& dtype) {
  const auto numpy_type = py::dtype::from_args(py::str(dtype));
  SampleFormat format;
  format.n_bytes = static_cast<int>(numpy_type.itemsize());
  format.big_endian = numpy_type.byteorder() == '>';
  format.is_unsigned = numpy_type.kind() == 'u';
  format.kind = numpy_type.kind() == 'f' ? SampleKind::floating : SampleKind::integer;
  const bool known = numpy_type.kind() == 'f'
                         ? format.n_bytes == 4 || format.n_bytes == 8
                         : numpy_type.kind() == 'i' || numpy_type.kind() == 'u';
  if (!known) {
    throw ConfigError("dtype: samples are 8 to 64 bit integers, float32 or float64; got \"" +
                      dtype + "\"");
  }
  return format;
}

ForeignStatistics named_only(const std::vector<std::string>& names) {
  ForeignStatistics foreign;
  for (const auto& name : names) foreign.emplace(name, ForeignStatistic{});
  return foreign;
}

std::string joined(const Problems& problems) {
  std::string text;
  for (const auto& problem : problems) text += (text.empty() ? "" : "\n") + problem;
  return text;
}

namespace {

/// Calls a Python reducer with (n_pixels, n_skips) float64 values, and checks what comes back.
ForeignStatistic call_python(const std::string& name, const py::function& reducer) {
  const auto shared = std::shared_ptr<py::function>(new py::function(reducer), [](auto* function) {
    const py::gil_scoped_acquire gil;
    delete function;
  });
  return [name, shared](const double* values, std::int64_t n_pixels, std::int64_t n_skips,
                        double* result) {
    const py::gil_scoped_acquire gil;
    py::array_t<double> samples({n_pixels, n_skips});
    std::memcpy(samples.mutable_data(), values,
                static_cast<std::size_t>(n_pixels * n_skips) * sizeof(double));
    const auto reduced =
        py::array_t<double, py::array::c_style | py::array::forcecast>::ensure((*shared)(samples));
    if (!reduced || reduced.ndim() != 1 || reduced.shape(0) != n_pixels) {
      PyErr_Clear();
      throw ConfigError("compress_skips.statistics: \"" + name +
                        "\" does not reduce the skips to one number per pixel");
    }
    std::memcpy(result, reduced.data(), static_cast<std::size_t>(n_pixels) * sizeof(double));
  };
}

py::dict plane_dict(const PlaneInfo& plane) {
  py::dict result;
  result["name"] = plane.name;
  result["unit"] = plane.unit;
  result["is_label"] = plane.kind == PlaneKind::label;
  return result;
}

py::dict plan_dict(const PipelinePlan& plan) {
  py::list stages;
  for (const auto& stage : plan.stages) {
    py::dict line;
    line["number"] = stage.number;
    line["name"] = stage.name;
    py::list planes;
    for (const auto& plane : stage.planes) planes.append(plane_dict(plane));
    line["planes"] = planes;
    line["delay_rows"] = stage.delay_rows;
    line["state_bytes"] = stage.state_bytes;
    line["barrier"] = stage.barrier;
    stages.append(line);
  }
  py::dict result;
  result["stages"] = stages;
  result["chunk_rows"] = plan.chunk_rows;
  result["n_cols"] = plan.n_cols;
  result["first_used_skip"] = plan.first_used_skip;
  result["n_used_skips"] = plan.n_used_skips;
  result["delay_rows"] = plan.delay_rows;
  result["buffer_bytes"] = plan.buffer_bytes;
  result["state_bytes"] = plan.state_bytes;
  result["record_bytes"] = plan.record_bytes;
  result["total_bytes"] = plan.total_bytes();
  return result;
}

/// The GIL does not keep two threads apart while rows are reduced; nor a callback from pushing.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true)) {
      throw Error("pipeline: is at work for another call; rows come one after another");
    }
  }
  ~Turn() { busy_ = false; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& busy_;
};

/// One image's pipeline, with the Python callback that sees the tapped rows.
class PyPipeline {
 public:
  PyPipeline(const py::object& stages, const ImageInfo& image, int threads, std::int64_t chunk_rows,
             std::int64_t row_multiple, std::int64_t spool_bytes,
             const std::filesystem::path& spool_folder, const std::vector<std::size_t>& taps,
             const py::object& on_rows, const py::dict& foreign, std::int64_t n_histograms,
             const py::object& fit_gain, const py::object& mask, bool whole_rows,
             std::int64_t source_bytes, std::int64_t memory_bytes, const py::object& alarms,
             const py::object& on_alarm, bool row_statistics)
      : image_(image) {
    if (threads < 1)
      throw ConfigError("threads: must be at least 1; got " + std::to_string(threads));
    ForeignStatistics reducers;
    for (const auto& [name, reducer] : foreign) {
      const auto text = name.cast<std::string>();
      reducers.emplace(text, call_python(text, reducer.cast<py::function>()));
    }
    Problems problems;
    auto chain = make_chain(to_value(stages), reducers, problems);
    PipelineOptions options;
    options.alarms = make_alarms(to_value(alarms), problems);
    if (!problems.empty()) throw ConfigError(joined(problems));
    options.row_statistics = row_statistics;
    options.n_threads = static_cast<std::size_t>(threads);
    options.chunk_rows = chunk_rows;
    options.row_multiple = row_multiple;
    options.whole_rows = whole_rows;
    options.source_bytes = source_bytes;
    options.memory_bytes = memory_bytes;
    if (spool_bytes >= 0) options.spool_bytes = spool_bytes;
    if (spool_folder.empty()) {
      std::error_code none;  // then it is /tmp
      const auto usual = std::filesystem::temp_directory_path(none);
      if (!usual.empty()) options.spool_folder = usual.string();
    } else {
      options.spool_folder = spool_folder.string();
    }
    options.n_histograms = n_histograms;
    if (!mask.is_none()) {
      const auto bits =
          mask.cast<py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>>();
      options.mask.assign(bits.data(), bits.data() + bits.size());
    }
    if (!fit_gain.is_none()) {
      options.fit_gain = [fit_gain](std::span<const float> pixels) {
        const py::gil_scoped_acquire gil;
        const py::array_t<float> copy(static_cast<py::ssize_t>(pixels.size()), pixels.data());
        return fit_gain(copy).cast<double>();
      };
    }
    pipeline_ = std::make_unique<Pipeline>(std::move(chain), std::move(options));
    pipeline_->begin(image);
    plan_ = plan_dict(pipeline_->plan());
    if (!on_rows.is_none()) {
      for (const std::size_t number : taps) add_tap(number, on_rows.cast<py::function>());
    }
    if (row_statistics) {
      pipeline_->add_row_tap([this](const RowStatistics& row) { row_statistics_.push_back(row); });
    }
    if (!on_alarm.is_none()) {
      on_alarm_ = on_alarm.cast<py::function>();
      pipeline_->add_alarm_tap([this](const AlarmEvent& event) {
        const py::gil_scoped_acquire gil;
        on_alarm_(event.alarm, event.first_row, event.row, event.value);
      });
    }
    taken_.resize(pipeline_->tables().size(), 0);
    tables_.resize(pipeline_->tables().size());
  }

  [[nodiscard]] py::dict plan() const { return plan_; }

  void push(const py::array& samples) {
    const auto type = samples.dtype();
    if (dtype_name(format_of(py::str(type.attr("str")))) != dtype_name(image_.format)) {
      throw ConfigError("push: the image has samples of type " + dtype_name(image_.format) +
                        "; got " + py::str(type.attr("str")).cast<std::string>());
    }
    const bool flat = samples.ndim() == 2 && image_.n_skips == 1;
    if (samples.ndim() != 1 &&
        (!(flat || samples.ndim() == 3) || samples.shape(1) != image_.n_cols ||
         (!flat && samples.shape(2) != image_.n_skips))) {
      throw ConfigError("push: rows must be (n, " + std::to_string(image_.n_cols) + ", " +
                        std::to_string(image_.n_skips) + "); got " +
                        py::str(samples.attr("shape")).cast<std::string>());
    }
    if ((samples.flags() & py::array::c_style) == 0) {
      throw ConfigError(
          "push: rows must be in C order, skips fastest; "
          "use numpy.ascontiguousarray");
    }
    const auto* data = static_cast<const std::byte*>(samples.data());
    const auto n_bytes = static_cast<std::size_t>(samples.nbytes());
    const Turn turn(busy_);
    const py::gil_scoped_release release;
    pipeline_->push(std::span(data, n_bytes));
  }

  void push_lost(std::int64_t n_samples) {
    const Turn turn(busy_);
    const py::gil_scoped_release release;
    pipeline_->push_lost(n_samples);
  }

  void run(const FileSamples& samples, const py::object& progress) {
    // Signals are heard between chunks, also where nobody asks for the progress.
    const Pipeline::Progress report = [&progress](std::int64_t rows) {
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!progress.is_none()) progress(rows);
    };
    const Turn turn(busy_);
    const py::gil_scoped_release release;
    pipeline_->run(samples.source(), samples.n_rows(), report);
    samples.check_unchanged();
  }

  void push_missing(std::int64_t n_rows) {
    const Turn turn(busy_);
    const py::gil_scoped_release release;
    pipeline_->push_missing(n_rows);
  }

  void finish() {
    const Turn turn(busy_);
    const py::gil_scoped_release release;
    pipeline_->finish();
    finished_ = true;
  }

  /// The rows that were added since the last call.
  py::object take_rows(const std::string& name) {
    const auto t = find_table(name);
    const auto all = rows(t);
    const auto begin = static_cast<py::ssize_t>(taken_[t]);
    taken_[t] = py::len(all);
    const py::slice fresh(begin, static_cast<py::ssize_t>(taken_[t]), 1);
    return py::object(all[fresh]).attr("copy")();
  }

  /// Statistics of the rows since the last call.
  py::array take_row_statistics() {
    py::list fields;
    for (const char* name :
         {"row", "pedestal", "noise", "noise_e", "n_flagged", "n_saturated", "n_missing"}) {
      const std::string_view word = name;
      const bool integer = word == "row" || word.starts_with("n_");
      fields.append(py::make_tuple(name, integer ? "<i8" : "<f8"));
    }
    static_assert(sizeof(RowStatistics) == 7 * 8);
    const auto type = py::dtype::from_args(fields);
    const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(row_statistics_.size())};
    py::array taken(type, shape, row_statistics_.data());
    row_statistics_.clear();
    return taken;
  }

  py::object table(const std::string& name) {
    const auto t = find_table(name);
    if (!finished_) return rows(t).attr("copy")();
    if (!tables_[t]) {
      // NumPy gets the memory itself: a table may be larger than all the rest.
      const std::size_t n = n_rows(t);
      auto cells = std::make_unique<GrowingArray<Cell>>(pipeline_->release_cells(t));
      Cell* data = cells->data();
      const py::capsule owner(cells.release(), [](void* memory) {
        delete static_cast<GrowingArray<Cell>*>(memory);  // NOLINT(*-owning-memory)
      });
      tables_[t] = array_of(t, n, data, owner);
    }
    return tables_[t];
  }

  [[nodiscard]] py::list tables() const {
    py::list all;
    for (const auto& table : pipeline_->tables()) {
      py::dict info;
      info["name"] = table.info.name;
      py::list columns;
      for (const auto& column : table.info.columns) {
        py::dict line;
        line["name"] = column.name;
        line["unit"] = column.unit;
        line["doc"] = column.doc;
        columns.append(line);
      }
      info["columns"] = columns;
      all.append(info);
    }
    return all;
  }

  [[nodiscard]] py::list planes_after(std::size_t number) const {
    py::list planes;
    for (const auto& plane : pipeline_->planes_after(number)) planes.append(plane_dict(plane));
    return planes;
  }

  [[nodiscard]] py::list findings() const {
    py::list all;
    for (const auto& [stage, found] : pipeline_->findings()) {
      for (const auto& finding : found) {
        py::dict line;
        line["stage"] = stage;
        line["name"] = finding.name;
        line["value"] = finding.value;
        line["unit"] = finding.unit;
        line["doc"] = finding.doc;
        all.append(line);
      }
    }
    return all;
  }

  /// Rows that leave a stage go to images of a file, without Python: (plane or -1 for the mask,
  /// image of the writer) each.
  void add_writer(std::size_t number, PlaneWriter& writer,
                  const std::vector<std::pair<int, std::size_t>>& images) {
    pipeline_->add_tap(number, [&writer, images](const PixelChunk& chunk) {
      for (const auto& [plane, image] : images) {
        if (plane < 0) {
          writer.write_rows(image, chunk.mask, chunk.n_rows);
        } else {
          writer.write_rows(image, chunk.planes[static_cast<std::size_t>(plane)], chunk.n_rows);
        }
      }
    });
  }

  /// Rows that leave a stage are copied to arrays of the whole image, `(n_rows, n_cols)` of
  /// float32, float64 or int64: (plane, array) each; the mask to one of uint32, if there is one.
  void keep_planes(std::size_t number, const std::vector<std::pair<std::size_t, py::array>>& planes,
                   const std::optional<py::array_t<std::uint32_t, py::array::c_style>>& mask) {
    const std::size_t n_planes = pipeline_->planes_after(number).size();
    std::vector<std::function<void(const PixelChunk&)>> copies;
    for (const auto& [plane, array] : planes) {
      if (plane >= n_planes) throw ConfigError("keep_planes: no plane " + std::to_string(plane));
      copies.push_back(array.dtype().is(py::dtype::of<float>()) ? copy_of<float>(plane, array)
                       : array.dtype().is(py::dtype::of<double>())
                           ? copy_of<double>(plane, array)
                           : copy_of<std::int64_t>(plane, array));
    }
    std::uint32_t* bits = mask ? room_for_rows(*mask).mutable_data() : nullptr;
    std::int64_t* n_rows = &rows_kept_[number];
    pipeline_->add_tap(number, [copies, bits, n_rows](const PixelChunk& chunk) {
      *n_rows = chunk.first_row + chunk.n_rows;
      for (const auto& copy : copies) copy(chunk);
      if (bits == nullptr) return;
      std::copy_n(chunk.mask, chunk.n_rows * chunk.n_cols, bits + chunk.first_row * chunk.n_cols);
    });
  }

  /// Whether a pixel that leaves a stage has a bit of the mask beside those that are ignored.
  void keep_left_out(std::size_t number, std::uint32_t ignored,
                     const py::array_t<bool, py::array::c_style>& left_out) {
    bool* to = room_for_rows(left_out).mutable_data();
    pipeline_->add_tap(number, [ignored, to](const PixelChunk& chunk) {
      std::transform(chunk.mask, chunk.mask + chunk.n_rows * chunk.n_cols,
                     to + chunk.first_row * chunk.n_cols,
                     [ignored](std::uint32_t bits) { return (bits & ~ignored) != 0; });
    });
  }

  /// How many rows of `keep_planes` are there.
  [[nodiscard]] std::int64_t rows_kept(std::size_t number) const { return rows_kept_.at(number); }

  std::size_t keep_samples(std::int64_t begin_col, std::int64_t end_col, std::int64_t row_step,
                           std::vector<std::string> statistics) {
    const std::size_t region =
        pipeline_->keep({begin_col, end_col, row_step, std::move(statistics)});
    plan_ = plan_dict(pipeline_->plan());
    return region;
  }

  /// Which of the kept rows were there; `(n_kept_rows,)`.
  [[nodiscard]] py::array_t<bool> rows_there(std::size_t number) const {
    const auto& records = pipeline_->records();
    check_region(number);
    py::array_t<bool> there(records.n_kept_rows(number));
    for (py::ssize_t row = 0; row < there.size(); ++row) {
      there.mutable_at(row) = records.is_there(number, row);
    }
    return there;
  }

  /// For when all rows have been pushed: `(n_kept_rows, n_cols of the region, n_skips)` as
  /// recorded, or `(n_statistics, n_kept_rows, n_cols of the region)`; a view.
  [[nodiscard]] py::array kept_samples(std::size_t number) const {
    const auto& records = pipeline_->records();
    check_region(number);
    const auto& region = records.region(number);
    const std::int64_t n_rows = records.n_kept_rows(number);
    const std::int64_t n_cols = region.end_col - region.begin_col;
    if (region.statistics.empty()) {
      return {py::dtype::from_args(py::str(dtype_name(pipeline_->records_format()))),
              std::vector<py::ssize_t>{n_rows, n_cols, image_.n_skips},
              records.samples(number).data(), py::cast(*this)};
    }
    const auto n = static_cast<std::int64_t>(region.statistics.size());
    const auto values = records.values(number);
    const auto size = static_cast<std::int64_t>(sizeof(double));
    return {py::dtype::of<double>(), std::vector<py::ssize_t>{n, n_rows, n_cols},
            std::vector<py::ssize_t>{static_cast<std::int64_t>(values.size()) / n * size,
                                     n_cols * size, size},
            values.data(), py::cast(*this)};
  }

  /// Of the first samples of all pixels, as stored: number of bin 0 `(n,)`, counts `(n, n_bins)`,
  /// numbers below and above `(n,)`.
  [[nodiscard]] py::tuple sample_histograms() const {
    const auto all = pipeline_->records().histograms();
    const auto array = [](const std::vector<std::int64_t>& of) {
      return py::array_t<std::int64_t>(static_cast<py::ssize_t>(of.size()), of.data());
    };
    const auto n = static_cast<py::ssize_t>(all.firsts.size());
    return py::make_tuple(array(all.firsts), array(all.counts).reshape({n, all.n_bins}),
                          array(all.n_below), array(all.n_above));
  }

  /// Name of the type, scale and blank of the samples that are recorded: stages on samples may have
  /// changed those of the image.
  [[nodiscard]] py::tuple records_format() const {
    const auto& format = pipeline_->records_format();
    return py::make_tuple(dtype_name(format), format.scale, format.blank);
  }

  [[nodiscard]] std::int64_t rows_pushed() const { return pipeline_->rows_pushed(); }

 private:
  void check_region(std::size_t number) const {
    if (number >= pipeline_->records().n_regions()) {
      throw ConfigError("kept_samples: no region " + std::to_string(number));
    }
  }
  void add_tap(std::size_t number, const py::function& on_rows) {
    const std::size_t n_planes = pipeline_->planes_after(number).size();
    on_rows_ = on_rows;
    pipeline_->add_tap(number, [this, number, n_planes](const PixelChunk& chunk) {
      const py::gil_scoped_acquire gil;
      py::array_t<double> planes({static_cast<std::int64_t>(n_planes), chunk.n_rows, chunk.n_cols});
      const auto n = static_cast<std::size_t>(chunk.n_rows * chunk.n_cols);
      for (std::size_t p = 0; p < n_planes; ++p) {
        std::memcpy(planes.mutable_data() + p * n, chunk.planes[p], n * sizeof(double));
      }
      py::array_t<std::uint32_t> mask({chunk.n_rows, chunk.n_cols});
      std::memcpy(mask.mutable_data(), chunk.mask, n * sizeof(std::uint32_t));
      on_rows_(number, planes, mask, chunk.first_row);
    });
  }

  /// The same array, if it has the rows of the image, and may be written; it is kept alive.
  template <class T>
  py::array_t<T, py::array::c_style> room_for_rows(
      const py::array_t<T, py::array::c_style>& array) {
    if (array.ndim() != 2 || array.shape(0) != image_.n_rows || array.shape(1) != image_.n_cols ||
        !array.writeable()) {
      throw ConfigError("keep_planes: needs writable arrays of " + std::to_string(image_.n_rows) +
                        " rows and " + std::to_string(image_.n_cols) + " columns");
    }
    kept_planes_.push_back(array);
    return array;
  }

  template <class T>
  std::function<void(const PixelChunk&)> copy_of(std::size_t plane, const py::array& array) {
    if (!py::isinstance<py::array_t<T, py::array::c_style>>(array)) {
      throw ConfigError("keep_planes: needs arrays of float32, float64 or int64 in C order");
    }
    T* to = room_for_rows(py::array_t<T, py::array::c_style>(array)).mutable_data();
    return [plane, to](const PixelChunk& chunk) {
      std::transform(chunk.planes[plane], chunk.planes[plane] + chunk.n_rows * chunk.n_cols,
                     to + chunk.first_row * chunk.n_cols,
                     [](double value) { return static_cast<T>(value); });
    };
  }

  [[nodiscard]] std::size_t find_table(const std::string& name) const {
    std::vector<std::string> known;
    for (std::size_t t = 0; t < pipeline_->tables().size(); ++t) {
      if (pipeline_->tables()[t].info.name == name) return t;
      known.push_back(pipeline_->tables()[t].info.name);
    }
    throw ConfigError("no table " + unknown_name(name, known));
  }

  [[nodiscard]] std::size_t n_rows(std::size_t t) const {
    const auto& table = pipeline_->tables()[t];
    return table.cells.size() / table.info.columns.size();
  }

  /// The rows so far; a view, which the next push may leave without memory.
  [[nodiscard]] py::object rows(std::size_t t) const {
    if (tables_[t]) return tables_[t];
    return array_of(t, n_rows(t), pipeline_->tables()[t].cells.data(), py::none());
  }

  [[nodiscard]] py::array array_of(std::size_t t, std::size_t n, const Cell* cells,
                                   const py::object& owner) const {
    py::list fields;
    for (const auto& column : pipeline_->tables()[t].info.columns) {
      fields.append(py::make_tuple(column.name, column.type == CellType::integer ? "<i8" : "<f8"));
    }
    const auto type = py::dtype::from_args(fields);
    const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(n)};
    return n == 0 ? py::array(type, shape) : py::array(type, shape, cells, owner);
  }

  ImageInfo image_;
  std::unique_ptr<Pipeline> pipeline_;
  py::dict plan_;
  py::object on_rows_;
  py::object on_alarm_;
  std::vector<RowStatistics> row_statistics_;
  std::vector<py::object> kept_planes_;
  std::map<std::size_t, std::int64_t> rows_kept_;  ///< by stage
  std::vector<std::size_t> taken_;                 ///< rows
  std::vector<py::object> tables_;                 ///< those that NumPy has taken over
  bool finished_ = false;
  std::atomic<bool> busy_ = false;
};

ImageInfo make_image(std::int64_t n_cols, std::int64_t n_skips, const std::string& dtype,
                     std::int64_t n_rows, const std::string& amplifier, std::int64_t prescan_cols,
                     std::int64_t overscan_cols, std::int64_t prescan_rows,
                     std::int64_t overscan_rows, std::int64_t begin_skip,
                     std::optional<std::int64_t> end_skip, const std::string& unit, double scale,
                     double zero, std::optional<std::int64_t> blank,
                     const std::map<std::string, double>& header) {
  ImageInfo image;
  image.n_cols = n_cols;
  image.n_skips = n_skips;
  image.format = format_of(dtype);
  image.format.scale = scale;
  image.format.zero = zero;
  image.format.blank = blank;
  image.n_rows = n_rows;
  image.amplifier = amplifier;
  image.prescan_cols = prescan_cols;
  image.overscan_cols = overscan_cols;
  image.prescan_rows = prescan_rows;
  image.overscan_rows = overscan_rows;
  image.begin_skip = begin_skip;
  image.end_skip = end_skip;
  image.unit = unit;
  image.header.assign(header.begin(), header.end());
  return image;
}

}  // namespace

void register_pipeline(py::module_& m) {
  using namespace py::literals;
  const ImageInfo defaults;
  py::class_<ImageInfo>(m, "ImageInfo")
      .def(py::init(&make_image), py::kw_only(), "n_cols"_a, "n_skips"_a, "dtype"_a,
           "n_rows"_a = defaults.n_rows, "amplifier"_a = defaults.amplifier,
           "prescan_cols"_a = defaults.prescan_cols, "overscan_cols"_a = defaults.overscan_cols,
           "prescan_rows"_a = defaults.prescan_rows, "overscan_rows"_a = defaults.overscan_rows,
           "begin_skip"_a = defaults.begin_skip, "end_skip"_a = defaults.end_skip,
           "unit"_a = defaults.unit, "scale"_a = defaults.format.scale,
           "zero"_a = defaults.format.zero, "blank"_a = defaults.format.blank,
           "header"_a = std::map<std::string, double>())
      .def_readonly("amplifier", &ImageInfo::amplifier)
      .def_readonly("n_rows", &ImageInfo::n_rows)
      .def_readonly("n_cols", &ImageInfo::n_cols)
      .def_readonly("n_skips", &ImageInfo::n_skips)
      .def_readonly("prescan_cols", &ImageInfo::prescan_cols)
      .def_readonly("overscan_cols", &ImageInfo::overscan_cols)
      .def_readonly("prescan_rows", &ImageInfo::prescan_rows)
      .def_readonly("overscan_rows", &ImageInfo::overscan_rows)
      .def_readonly("begin_skip", &ImageInfo::begin_skip)
      .def_readonly("end_skip", &ImageInfo::end_skip)
      .def_readonly("unit", &ImageInfo::unit)
      .def_property_readonly("dtype", [](const ImageInfo& i) { return dtype_name(i.format); })
      .def_property_readonly("scale", [](const ImageInfo& i) { return i.format.scale; })
      .def_property_readonly("zero", [](const ImageInfo& i) { return i.format.zero; })
      .def_property_readonly("blank", [](const ImageInfo& i) { return i.format.blank; })
      .def_property_readonly("header", [](const ImageInfo& i) {
        return std::map<std::string, double>(i.header.begin(), i.header.end());
      });

  py::class_<PyPipeline>(m, "Pipeline")
      .def(py::init<const py::object&, const ImageInfo&, int, std::int64_t, std::int64_t,
                    std::int64_t, const std::string&, const std::vector<std::size_t>&,
                    const py::object&, const py::dict&, std::int64_t, const py::object&,
                    const py::object&, bool, std::int64_t, std::int64_t, const py::object&,
                    const py::object&, bool>(),
           "stages"_a, "image"_a, py::kw_only(), "threads"_a = 1, "chunk_rows"_a = 0,
           "row_multiple"_a = 1, "spool_bytes"_a = -1, "spool_folder"_a = "",
           "taps"_a = std::vector<std::size_t>(), "on_rows"_a = py::none(),
           "foreign"_a = py::dict(), "n_histograms"_a = 0, "fit_gain"_a = py::none(),
           "mask"_a = py::none(), "whole_rows"_a = false, "source_bytes"_a = 0,
           "memory_bytes"_a = -1, "alarms"_a = py::list(), "on_alarm"_a = py::none(),
           "row_statistics"_a = false)
      .def_property_readonly("plan", &PyPipeline::plan)
      .def_property_readonly("rows_pushed", &PyPipeline::rows_pushed)
      .def("push", &PyPipeline::push, "samples"_a)
      .def("run", &PyPipeline::run, "samples"_a, "progress"_a = py::none())
      .def("push_lost", &PyPipeline::push_lost, "n_samples"_a)
      .def("push_missing", &PyPipeline::push_missing, "n_rows"_a)
      .def("finish", &PyPipeline::finish)
      .def("add_writer", &PyPipeline::add_writer, "stage"_a, "writer"_a, "images"_a,
           py::keep_alive<1, 3>())
      .def("keep_samples", &PyPipeline::keep_samples, "begin_col"_a, "end_col"_a, "row_step"_a,
           "statistics"_a = std::vector<std::string>())
      .def("keep_planes", &PyPipeline::keep_planes, "stage"_a, "planes"_a, "mask"_a = py::none())
      .def("keep_left_out", &PyPipeline::keep_left_out, "stage"_a, "ignored"_a, "left_out"_a)
      .def("take_rows", &PyPipeline::take_rows, "table"_a)
      .def("take_row_statistics", &PyPipeline::take_row_statistics)
      .def("table", &PyPipeline::table, "name"_a)
      .def("tables", &PyPipeline::tables)
      .def("planes_after", &PyPipeline::planes_after, "stage"_a)
      .def("rows_kept", &PyPipeline::rows_kept, "stage"_a)
      .def("kept_samples", &PyPipeline::kept_samples, "region"_a)
      .def("rows_there", &PyPipeline::rows_there, "region"_a)
      .def("records_format", &PyPipeline::records_format)
      .def("sample_histograms", &PyPipeline::sample_histograms)
      .def("findings", &PyPipeline::findings);
}

}  // namespace skipstream::python
