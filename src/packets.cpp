#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>

#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/lta_packets.hpp"

namespace py = pybind11;

namespace skipstream::python {

namespace {

std::span<const std::byte> bytes_of(const py::buffer_info& info) {
  if (info.ndim != 1 || info.itemsize != 1 || info.strides[0] != 1) {
    throw ConfigError("packets: must be a flat buffer of bytes");
  }
  return {static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size)};
}

/// Hands rows over as arrays: (channel, (n, n_cols, n_skips) int32) each.
class PyLtaPackets {
 public:
  PyLtaPackets(const std::vector<int>& channels, std::int64_t n_rows, std::int64_t n_cols,
               std::int64_t n_skips)
      : shape_{n_rows, n_cols, n_skips}, packets_(channels, shape_) {}

  py::list push(const py::buffer& data) {
    const auto info = data.request();
    const auto bytes = bytes_of(info);
    return rows_of([&](const LtaPackets::Sink& sink) { packets_.push(bytes, sink); });
  }
  py::list flush() {
    return rows_of([&](const LtaPackets::Sink& sink) { packets_.flush(sink); });
  }
  py::list finish() {
    return rows_of([&](const LtaPackets::Sink& sink) { packets_.finish(sink); });
  }
  void end_file() { packets_.end_file(); }
  [[nodiscard]] bool is_complete() const { return packets_.is_complete(); }

  [[nodiscard]] py::dict counts() const {
    const auto& counts = packets_.counts();
    py::dict result;
    result["n_packets"] = counts.n_packets;
    result["n_samples"] = counts.n_samples;
    result["n_lost_packets"] = counts.n_lost_packets;
    result["n_lost_samples"] = counts.n_lost_samples;
    result["n_unsure_gaps"] = counts.n_unsure_gaps;
    result["n_late_packets"] = counts.n_late_packets;
    result["n_excess_samples"] = counts.n_excess_samples;
    result["n_cut_packets"] = counts.n_cut_packets;
    return result;
  }

 private:
  template <class Call>
  py::list rows_of(Call&& call) {
    py::list found;
    const py::gil_scoped_release release;
    call([&](std::size_t channel, std::span<const std::int32_t> rows) {
      const py::gil_scoped_acquire gil;
      const auto n_rows = static_cast<std::int64_t>(rows.size()) / (shape_.n_cols * shape_.n_skips);
      py::array_t<std::int32_t> array({n_rows, shape_.n_cols, shape_.n_skips});
      std::memcpy(array.mutable_data(), rows.data(), rows.size_bytes());
      found.append(py::make_tuple(channel, array));
    });
    return found;
  }

  LtaPackets::Shape shape_;
  LtaPackets packets_;
};

}  // namespace

void register_packets(py::module_& m) {
  using namespace py::literals;
  py::class_<PyLtaPackets> packets(m, "LtaPackets");
  packets
      .def(py::init<const std::vector<int>&, std::int64_t, std::int64_t, std::int64_t>(),
           "channels"_a, py::kw_only(), "n_rows"_a, "n_cols"_a, "n_skips"_a)
      .def("push", &PyLtaPackets::push, "data"_a)
      .def("flush", &PyLtaPackets::flush)
      .def("finish", &PyLtaPackets::finish)
      .def("end_file", &PyLtaPackets::end_file)
      .def_property_readonly("is_complete", &PyLtaPackets::is_complete)
      .def_property_readonly("counts", &PyLtaPackets::counts)
      .def_static(
          "channels_in",
          [](const py::buffer& data) {
            const auto info = data.request();
            return LtaPackets::channels_in(bytes_of(info));
          },
          "data"_a)
      .def_static(
          "held_bytes",
          [](std::int64_t n_rows, std::int64_t n_cols, std::int64_t n_skips) {
            return LtaPackets::held_bytes({n_rows, n_cols, n_skips});
          },
          py::kw_only(), "n_rows"_a, "n_cols"_a, "n_skips"_a);
  packets.attr("n_channels") = LtaPackets::n_channels;
  packets.attr("blank") = LtaPackets::blank;
}

}  // namespace skipstream::python
