#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/pipeline/alarms.hpp"
#include "skipstream/pipeline/chain.hpp"
#include "skipstream/version.hpp"

namespace py = pybind11;
using namespace skipstream;
using namespace skipstream::python;

namespace {

/// Python's classes of the errors: made once, never freed.
PyObject* error_type = nullptr;
PyObject* config_error_type = nullptr;
PyObject* fits_error_type = nullptr;
PyObject* packet_error_type = nullptr;
PyObject* io_error_type = nullptr;

void raise(PyObject* type, const std::exception& error) {
  PyErr_SetObject(type, py::str(printable(error.what())).ptr());
}

void register_errors(py::module_& m) {
  const auto make = [&m](const char* name, PyObject* builtin) {
    py::object bases =
        py::reinterpret_borrow<py::object>(error_type == nullptr ? PyExc_Exception : error_type);
    if (builtin != nullptr) {
      bases = py::make_tuple(bases, py::reinterpret_borrow<py::object>(builtin));
    }
    return py::exception<Error>(m, name, bases).release().ptr();
  };
  error_type = make("Error", nullptr);
  config_error_type = make("ConfigError", PyExc_ValueError);
  fits_error_type = make("FitsError", PyExc_ValueError);
  packet_error_type = make("PacketError", PyExc_ValueError);
  io_error_type = make("IoError", PyExc_OSError);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const ConfigError& error) {
      raise(config_error_type, error);
    } catch (const FitsError& error) {
      raise(fits_error_type, error);
    } catch (const PacketError& error) {
      raise(packet_error_type, error);
    } catch (const IoError& error) {
      raise(io_error_type, error);
    } catch (const Error& error) {
      raise(error_type, error);
    }
  });
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of skipstream.";
  m.attr("__version__") = SKIPSTREAM_VERSION;
  register_errors(m);

  m.def("schema", [] {
    py::list stages;
    for (const auto& kind : all_kinds()) {
      py::dict stage(to_python(kind.schema()));
      stage["takes_samples"] = kind.takes_samples;
      stages.append(stage);
    }
    return stages;
  });
  m.def(
      "check_stages",
      [](const py::object& stages, const std::vector<std::string>& foreign) {
        Problems problems;
        make_chain(to_value(stages), named_only(foreign), problems);
        return problems;
      },
      py::arg("stages"), py::arg("foreign") = std::vector<std::string>{});
  m.def(
      "fill_stages",
      [](const py::object& stages, const std::vector<std::string>& foreign) {
        Problems problems;
        const auto chain = make_chain(to_value(stages), named_only(foreign), problems);
        if (!problems.empty()) throw ConfigError(joined(problems));
        return to_python(chain.filled);
      },
      py::arg("stages"), py::arg("foreign") = std::vector<std::string>());
  m.def("alarm_schema", [] {
    py::dict schema(to_python(schema_of<Alarm>()));
    py::list statistics;
    for (const auto& statistic : alarm_statistics) {
      statistics.append(py::make_tuple(statistic.name, statistic.doc, statistic.of_image));
    }
    schema["statistics"] = statistics;
    return schema;
  });
  m.def(
      "check_alarms",
      [](const py::object& alarms) {
        Problems problems;
        make_alarms(to_value(alarms), problems);
        return problems;
      },
      py::arg("alarms"));
  m.def(
      "check_parameters",
      [](const py::object& stage) {
        Problems problems;
        make_chain(Value::List{to_value(stage)}, {}, problems);
        constexpr std::string_view place = "stage[0] ";
        for (auto& problem : problems) {
          if (problem.starts_with(place)) problem.erase(0, place.size());
        }
        return problems;
      },
      py::arg("stage"));
  m.def(
      "unknown_statistics",
      [](const std::vector<std::string>& names) {
        std::vector<std::string> unknown;
        for (const auto& name : names) {
          if (!CompressSkips::knows(name)) unknown.push_back(name);
        }
        return unknown;
      },
      py::arg("names"));
  m.def("mask_names", [] {
    py::list names;
    for (const auto& bit : mask_names) names.append(py::make_tuple(bit.bit, bit.name, bit.doc));
    return names;
  });
  m.def("nearest_name", &nearest_name, py::arg("word"), py::arg("candidates"));
  m.def("simd_level", &kernels::simd_level);

  register_fits(m);
  register_files(m);
  register_pipeline(m);
  register_packets(m);
}
