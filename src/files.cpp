#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "convert.hpp"
#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/plane_writer.hpp"

namespace py = pybind11;
namespace fs = std::filesystem;

namespace skipstream::python {

namespace {

/// Calls zlib through Python, which has it on every machine; without the GIL while it works.
Inflate inflate_by(const py::object& function) {
  const auto shared = std::shared_ptr<py::object>(new py::object(function), [](auto* object) {
    const py::gil_scoped_acquire gil;
    delete object;
  });
  return [shared](std::span<const std::byte> stream, std::span<std::byte> output) {
    const py::gil_scoped_acquire gil;
    const auto from =
        py::memoryview::from_memory(stream.data(), static_cast<py::ssize_t>(stream.size()));
    const auto to =
        py::memoryview::from_memory(output.data(), static_cast<py::ssize_t>(output.size()));
    const auto problem = (*shared)(from, to).cast<std::string>();
    if (!problem.empty()) throw FitsError(problem);
  };
}

PixelFormat pixel_format(const std::string& dtype) {
  if (dtype == "float32") return PixelFormat::float32;
  if (dtype == "float64") return PixelFormat::float64;
  if (dtype == "int32") return PixelFormat::int32;
  throw ConfigError("dtype: \"" + dtype + "\" is not one of float32, float64, int32");
}

}  // namespace

FileSamples::FileSamples(const py::list& planes, const SampleShape& shape, const std::string& skips,
                         Inflate inflate, const fs::path& name, bool is_growing)
    : is_growing_(is_growing), n_rows_(shape.n_rows) {
  std::vector<PlaneReader::Plane> places;
  fs::path known;
  for (const auto& plane : planes) {
    const auto [path, hdu] = plane.cast<std::pair<fs::path, FitsHdu>>();
    if (files_.empty() || path != known) {
      const fs::path& shown = files_.empty() && !name.empty() ? name : path;
      files_.push_back(std::make_unique<FileSource>(path.string(), printable(shown.string())));
    }
    known = path;
    const FileSource& file = *files_.back();
    if (skips == "columns" && !hdu.compression.empty()) {
      tiles_ = std::make_unique<TileReader>(file, hdu, shape, std::move(inflate));
      source_ = tiles_.get();
      format_ = tiles_->format();
      return;
    }
    if (skips == "columns") {
      rows_ = std::make_unique<SampleReader>(file, hdu, shape);
      source_ = rows_.get();
      format_ = rows_->format();
      return;
    }
    format_ = hdu.format;
    if (skips == "planes") {
      planes_ = std::make_unique<PlaneReader>(file, hdu, shape);
      source_ = planes_.get();
      return;
    }
    const bool fits = hdu.compression.empty() && hdu.axes.size() <= 2 && !hdu.axes.empty() &&
                      row_samples_of(hdu) == shape.n_cols &&
                      rows_of(hdu) >= shape.first_row + shape.n_rows;
    if (!fits) throw FitsError(place_of(file, hdu) + ": is not a plain plane of the image's shape");
    places.push_back({&file, hdu.data_offset});
  }
  if (skips != "hdus") {
    throw ConfigError("skips: \"" + skips + "\" is not one of columns, planes, hdus");
  }
  planes_ = std::make_unique<PlaneReader>(std::move(places), format_, shape);
  source_ = planes_.get();
}

std::optional<std::uint32_t> FileSamples::datasum() const {
  if (rows_) return rows_->datasum();
  if (planes_) return planes_->datasum();
  return {};
}

void FileSamples::check_unchanged() const {
  if (is_growing_) return;
  for (const auto& file : files_) file->check_unchanged();
}

void register_files(py::module_& m) {
  using namespace py::literals;
  py::class_<FitsHdu>(m, "FitsHdu", "One HDU as its structural keywords state it.")
      .def_readonly("index", &FitsHdu::index)
      .def_readonly("kind", &FitsHdu::kind)
      .def_readonly("name", &FitsHdu::name)
      .def_property_readonly(
          "dtype", [](const FitsHdu& h) { return h.axes.empty() ? "" : dtype_name(h.format); })
      .def_readonly("axes", &FitsHdu::axes)
      .def_property_readonly("scale", [](const FitsHdu& h) { return h.format.scale; })
      .def_property_readonly("zero", [](const FitsHdu& h) { return h.format.zero; })
      .def_property_readonly("blank", [](const FitsHdu& h) { return h.format.blank; })
      .def_readonly("header_offset", &FitsHdu::header_offset)
      .def_readonly("data_offset", &FitsHdu::data_offset)
      .def_readonly("data_bytes", &FitsHdu::data_bytes)
      .def_readonly("bytes_there", &FitsHdu::bytes_there)
      .def_readonly("compression", &FitsHdu::compression)
      .def_property_readonly(
          "cards",
          [](const FitsHdu& h) {
            py::list cards;
            for (const auto& card : h.cards) {
              cards.append(py::make_tuple(card.keyword, card.value, card.comment));
            }
            return cards;
          })
      .def_readonly("raw_cards", &FitsHdu::raw_cards);

  m.def(
      "scan_fits",
      [](const fs::path& path, const fs::path& name) {
        const std::string shown = printable((name.empty() ? path : name).string());
        const py::gil_scoped_release release;
        const FileSource file(path.string(), shown);
        return scan_fits(file);
      },
      "path"_a, "name"_a = "");

  py::class_<PlaneWriter>(m, "PlaneWriter")
      .def(py::init(
               [](const fs::path& path) { return std::make_unique<PlaneWriter>(path.string()); }),
           "path"_a)
      .def(
          "add_image",
          [](PlaneWriter& writer, std::int64_t header_bytes, const std::string& dtype,
             std::int64_t n_rows, std::int64_t n_cols) {
            return writer.add_image(header_bytes, pixel_format(dtype), n_rows, n_cols);
          },
          "header_bytes"_a, "dtype"_a, "n_rows"_a, "n_cols"_a)
      .def("datasum", &PlaneWriter::datasum, "image"_a)
      .def(
          "write_header",
          [](PlaneWriter& writer, std::size_t image, const py::bytes& header) {
            writer.write_header(image, std::string_view(header));
          },
          "image"_a, "header"_a)
      .def("close", &PlaneWriter::close, py::call_guard<py::gil_scoped_release>());

  m.def(
      "scan_cut_fits",
      [](const fs::path& path, const fs::path& name) {
        const std::string shown = printable((name.empty() ? path : name).string());
        const py::gil_scoped_release release;
        const FileSource file(path.string(), shown);
        std::string cut;
        auto hdus = scan_fits(file, &cut);
        return std::pair(std::move(hdus), cut);
      },
      "path"_a, "name"_a = "");

  m.def(
      "scan_header",
      [](const py::bytes& header, const std::string& name, int index) {
        const std::string_view text(header);
        const MemorySource source(printable(name), std::as_bytes(std::span(text)));
        std::string cut;
        auto hdus = scan_fits(source, &cut);
        if (hdus.size() != 1) throw FitsError(printable(name) + ": must be one header");
        hdus[0].index = index;
        hdus[0].bytes_there = hdus[0].data_bytes;
        return std::move(hdus[0]);
      },
      "header"_a, "name"_a, "index"_a,
      "The HDU of an image that is in no file: its rows come by themselves.");

  m.def(
      "complete_rows",
      [](const fs::path& path, const FitsHdu& hdu) {
        const std::string shown = printable(path.string());
        const py::gil_scoped_release release;
        const FileSource file(path.string(), shown);
        const SampleShape shape{.n_cols = row_samples_of(hdu)};
        return TileReader(file, hdu, shape, {}).complete_rows(hdu.bytes_there);
      },
      "path"_a, "hdu"_a);

  m.def(
      "sum_of_words",
      [](const fs::path& path, std::int64_t offset, std::int64_t n_bytes) {
        const std::string shown = printable(path.string());
        const py::gil_scoped_release release;
        return sum_of_words(FileSource(path.string(), shown), offset, n_bytes);
      },
      "path"_a, "offset"_a, "n_bytes"_a);

  m.def(
      "written_bytes",
      [](const fs::path& path) {
        return FileSource(path.string(), printable(path.string())).size();
      },
      "path"_a,
      "Bytes of a file up to the last that was written: room that was only reserved does not "
      "count.");

  m.def("knows_tiles", &TileReader::knows, "hdu"_a);

  py::class_<FileSamples>(m, "FileSamples")
      .def(py::init([](const py::list& planes, std::int64_t n_rows, std::int64_t n_cols,
                       std::int64_t n_skips, const std::string& skips, std::int64_t first_row,
                       std::int64_t first_sample, bool is_reversed, const py::object& inflate,
                       const fs::path& name, bool is_growing) {
             const SampleShape shape{.n_rows = n_rows,
                                     .n_cols = n_cols,
                                     .n_skips = n_skips,
                                     .first_row = first_row,
                                     .first_sample = first_sample,
                                     .is_reversed = is_reversed};
             return std::make_unique<FileSamples>(planes, shape, skips, inflate_by(inflate), name,
                                                  is_growing);
           }),
           "planes"_a, py::kw_only(), "n_rows"_a, "n_cols"_a, "n_skips"_a, "skips"_a, "first_row"_a,
           "first_sample"_a, "is_reversed"_a, "inflate"_a, "name"_a = "", "is_growing"_a = false)
      .def_property_readonly("n_rows", &FileSamples::n_rows)
      .def_property_readonly("dtype", [](const FileSamples& s) { return dtype_name(s.format()); })
      .def_property_readonly("scale", [](const FileSamples& s) { return s.format().scale; })
      .def_property_readonly("zero", [](const FileSamples& s) { return s.format().zero; })
      .def_property_readonly("blank", [](const FileSamples& s) { return s.format().blank; })
      .def_property_readonly("piece_pixels",
                             [](const FileSamples& s) { return s.source().piece_pixels(); })
      .def_property_readonly("cursor_bytes",
                             [](const FileSamples& s) { return s.source().cursor_bytes(); })
      .def_property_readonly("datasum", &FileSamples::datasum);
}

}  // namespace skipstream::python
