#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/plane_writer.hpp"

namespace py = pybind11;

namespace skipstream::python {

namespace {

SkipAxis skip_axis(const std::string& skips) {
  if (skips == "columns") return SkipAxis::columns;
  if (skips == "planes") return SkipAxis::planes;
  throw ConfigError("skips: \"" + skips + "\" is not one of columns, planes");
}

PixelFormat pixel_format(const std::string& dtype) {
  if (dtype == "float32") return PixelFormat::float32;
  if (dtype == "float64") return PixelFormat::float64;
  if (dtype == "int32") return PixelFormat::int32;
  throw ConfigError("dtype: \"" + dtype + "\" is not one of float32, float64, int32");
}

}  // namespace

FileSamples::FileSamples(const std::string& path, const FitsHdu& hdu, std::int64_t n_cols,
                         std::int64_t n_skips, const std::string& skips)
    : file_(path), reader_(file_, hdu, n_cols, n_skips, skip_axis(skips)) {}

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
      [](const std::string& path) {
        const py::gil_scoped_release release;
        const FileSource file(path);
        return scan_fits(file);
      },
      "path"_a);

  py::class_<PlaneWriter>(m, "PlaneWriter")
      .def(py::init<std::string>(), "path"_a)
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

  py::class_<FileSamples>(m, "FileSamples")
      .def(py::init<const std::string&, const FitsHdu&, std::int64_t, std::int64_t,
                    const std::string&>(),
           "path"_a, "hdu"_a, py::kw_only(), "n_cols"_a, "n_skips"_a, "skips"_a = "columns")
      .def_property_readonly("n_rows",
                             [](const FileSamples& samples) { return samples.reader().n_rows(); })
      .def_property_readonly("datasum",
                             [](const FileSamples& samples) { return samples.reader().datasum(); });
}

}  // namespace skipstream::python
