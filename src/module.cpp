#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "convert.hpp"
#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/pipeline/chain.hpp"
#include "skipstream/version.hpp"

namespace py = pybind11;
using namespace skipstream;
using namespace skipstream::python;

namespace {

void register_errors(py::module_& m) {
  PyObject* base = py::register_exception<Error>(m, "Error").ptr();
  const auto both = [base](PyObject* builtin) {
    return py::make_tuple(py::reinterpret_borrow<py::object>(base),
                          py::reinterpret_borrow<py::object>(builtin));
  };
  py::register_exception<ConfigError>(m, "ConfigError", both(PyExc_ValueError));
  py::register_exception<FitsError>(m, "FitsError", both(PyExc_ValueError));
  py::register_exception<IoError>(m, "IoError", both(PyExc_OSError));
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

  register_files(m);
  register_pipeline(m);
}
