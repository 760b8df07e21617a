#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "register.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/kernels/charge.hpp"
#include "skipstream/kernels/distance.hpp"
#include "skipstream/kernels/entropy.hpp"
#include "skipstream/kernels/location.hpp"

namespace py = pybind11;

namespace skipstream::python {
namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <class T>
std::span<const T> span_of(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

/// A fresh array of one dimension, and its memory.
std::pair<py::array_t<double>, std::span<double>> make_array(std::size_t n) {
  py::array_t<double> array(static_cast<py::ssize_t>(n));
  return {array, {array.mutable_data(), n}};
}

/// Edges and counts of bins, checked once.
struct Bins {
  std::span<const double> edges;
  std::span<const double> counts;

  Bins(const Array<double>& edges_, const Array<double>& counts_)
      : edges(span_of(edges_)), counts(span_of(counts_)) {
    if (edges.size() < 2 || counts.size() + 1 != edges.size()) {
      throw ConfigError("charge: needs at least 2 edges, and a count between any two; got " +
                        std::to_string(edges.size()) + " edges, " + std::to_string(counts.size()) +
                        " counts");
    }
  }
};

constexpr std::size_t n_peak_bins = 4000;
constexpr int most_peaks = 1000;

/// Where the empty pixels of each sorted row are; NaN where fewer than two are finite.
py::array_t<double> lowest_peaks(const Array<float>& rows) {
  if (rows.ndim() != 2) throw ConfigError("lowest_peaks: needs pixels (n_rows, n_cols)");
  const auto n_rows = static_cast<std::size_t>(rows.shape(0));
  const auto n_cols = static_cast<std::size_t>(rows.shape(1));
  auto [peaks, out] = make_array(n_rows);
  const auto in = span_of(rows);
  const py::gil_scoped_release release;
  std::vector<double> finite;
  finite.reserve(n_cols);
  std::vector<double> bins(n_peak_bins);
  std::vector<double> smooth(n_peak_bins);
  for (std::size_t row = 0; row < n_rows; ++row) {
    finite.clear();
    for (const float value : in.subspan(row * n_cols, n_cols)) {
      if (std::isfinite(value)) finite.push_back(static_cast<double>(value));
    }
    out[row] = finite.size() < 2 ? std::numeric_limits<double>::quiet_NaN()
                                 : kernels::lowest_peak_of_sorted(finite, bins, smooth).value;
  }
  return peaks;
}

/// Pixels by the square of their distance from the nearest one of at least the threshold, up to the
/// radius, and of them those from `hit` on; nothing where there is none of the threshold.
template <class T>
py::tuple pixels_by_distance(const Array<T>& pixels, const Array<bool>& there, double threshold,
                             double hit, double radius) {
  if (pixels.ndim() != 2 || there.ndim() != 2 || there.shape(0) != pixels.shape(0) ||
      there.shape(1) != pixels.shape(1) || !(radius >= 0)) {
    throw ConfigError("pixels_by_distance: needs pixels and there (n_rows, n_cols), and a radius");
  }
  const std::int64_t n_rows = pixels.shape(0);
  const std::int64_t n_cols = pixels.shape(1);
  const auto in = span_of(pixels);
  const std::span seen(reinterpret_cast<const std::uint8_t*>(there.data()), in.size());
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> hits;
  {
    const py::gil_scoped_release release;
    std::vector<std::uint8_t> bright(in.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      bright[i] = seen[i] != 0 && static_cast<double>(in[i]) >= threshold ? 1 : 0;
    }
    if (std::find(bright.begin(), bright.end(), 1) != bright.end()) {
      // Farther away there is nothing.
      const auto most = static_cast<std::int64_t>(
          std::min(std::ceil(radius), static_cast<double>(n_rows + n_cols)));
      std::vector<std::int64_t> squares(in.size());
      std::vector<double> work(static_cast<std::size_t>(3 * n_cols + 1));
      kernels::squared_distances(bright, n_rows, n_cols, most, squares, work);
      const double reach = std::min(radius * radius, static_cast<double>(most * most));
      std::int64_t farthest = 0;
      for (const std::int64_t square : squares) {
        if (static_cast<double>(square) <= reach) farthest = std::max(farthest, square);
      }
      counts.resize(static_cast<std::size_t>(farthest) + 1);
      hits.resize(counts.size());
      kernels::count_by_distance(in, seen, squares, hit, counts, hits);
    }
  }
  const auto n = static_cast<py::ssize_t>(counts.size());
  return py::make_tuple(py::array_t<std::int64_t>(n, counts.data()),
                        py::array_t<std::int64_t>(n, hits.data()));
}

}  // namespace

void register_fits(py::module_& m) {
  using namespace py::literals;
  m.def(
      "lowest_peak",
      [](const Array<double>& values) {
        const auto given = span_of(values);
        if (given.size() < 2) throw ConfigError("lowest_peak: needs at least 2 values");
        const py::gil_scoped_release release;
        std::vector<double> bins(n_peak_bins);
        std::vector<double> smooth(n_peak_bins);
        kernels::Location peak;
        if (std::is_sorted(given.begin(), given.end())) {
          peak = kernels::lowest_peak_of_sorted(given, bins, smooth);
        } else {
          std::vector<double> sorted(given.begin(), given.end());
          peak = kernels::lowest_peak(sorted, bins, smooth);
        }
        return std::pair(peak.value, peak.sigma);
      },
      "values"_a);
  m.def("lowest_peaks", &lowest_peaks, "rows"_a);
  m.def(
      "expected_counts",
      [](const Array<double>& edges, double n, double offset, double noise, double rate,
         double gain, std::int64_t n_peaks) {
        if (edges.size() < 2) throw ConfigError("expected_counts: needs at least 2 edges");
        auto [counts, out] = make_array(static_cast<std::size_t>(edges.size()) - 1);
        kernels::expected_counts(span_of(edges), n, offset, noise, rate, gain, n_peaks, out);
        return counts;
      },
      "edges"_a, "n"_a, "offset"_a, "noise"_a, "rate"_a, "gain"_a, "n_peaks"_a);
  m.def(
      "charge_cost",
      [](const Array<double>& edges, const Array<double>& counts, double n, double offset,
         double noise, double rate, double gain, std::int64_t n_peaks) {
        const Bins bins(edges, counts);
        std::vector<double> expected(bins.counts.size());
        return kernels::charge_cost(bins.edges, bins.counts, {n, offset, noise, rate, gain},
                                    n_peaks, expected);
      },
      "edges"_a, "counts"_a, "n"_a, "offset"_a, "noise"_a, "rate"_a, "gain"_a, "n_peaks"_a);
  m.def(
      "charge_gradient",
      [](const Array<double>& edges, const Array<double>& counts, double n, double offset,
         double noise, double rate, double gain, std::int64_t n_peaks) {
        const Bins bins(edges, counts);
        std::vector<double> expected(bins.counts.size());
        std::array<double, 5> gradient{};
        kernels::charge_gradient(bins.edges, bins.counts, {n, offset, noise, rate, gain}, n_peaks,
                                 expected, gradient);
        return gradient;
      },
      "edges"_a, "counts"_a, "n"_a, "offset"_a, "noise"_a, "rate"_a, "gain"_a, "n_peaks"_a);
  m.def(
      "charge_shape_costs",
      [](const Array<double>& edges, const Array<double>& counts, double noise,
         const Array<double>& starts) {
        const Bins bins(edges, counts);
        if (starts.ndim() != 2 || starts.shape(1) != 4) {
          throw ConfigError("charge_shape_costs: starts must be (n, 4)");
        }
        const auto n = static_cast<std::size_t>(starts.shape(0));
        auto [costs, out] = make_array(n);
        const auto rows = span_of(starts);
        const py::gil_scoped_release release;
        std::vector<double> expected(bins.counts.size());
        std::vector<double> peaks;
        std::vector<double> rates;
        for (std::size_t first = 0; first < n; first += rates.size()) {
          // Starts that differ in their rate alone follow one another.
          const auto start = rows.subspan(4 * first, 4);
          rates.clear();
          for (std::size_t i = first; i < n; ++i) {
            const auto other = rows.subspan(4 * i, 4);
            if (other[0] != start[0] || other[2] != start[2] || other[3] != start[3]) break;
            rates.push_back(other[1]);
          }
          if (!(start[3] >= 0 && start[3] <= most_peaks)) {
            throw ConfigError("charge_shape_costs: peaks must be from 0 to " +
                              std::to_string(most_peaks));
          }
          const auto n_peaks = static_cast<std::int64_t>(start[3]);
          peaks.resize(static_cast<std::size_t>(n_peaks) * bins.counts.size());
          kernels::charge_shape_costs(bins.edges, bins.counts,
                                      {1.0, start[0], noise, start[1], start[2]}, n_peaks, rates,
                                      peaks, expected, out.subspan(first, rates.size()));
        }
        return costs;
      },
      "edges"_a, "counts"_a, "noise"_a, "starts"_a);
  m.def(
      "fit_mixture",
      [](const Array<double>& centres, const Array<double>& counts, const Array<double>& starts,
         double sigma) {
        if (starts.size() < 2 || centres.size() != counts.size()) {
          throw ConfigError("fit_mixture: needs 2 starts, and a count for each centre; got " +
                            std::to_string(starts.size()) + " starts, " +
                            std::to_string(centres.size()) + " centres, " +
                            std::to_string(counts.size()) + " counts");
        }
        const auto n = static_cast<std::size_t>(starts.size());
        auto [means, of_means] = make_array(n);
        auto [sizes, of_sizes] = make_array(n);
        auto [information, out] = make_array(4 * n * n);
        {
          const py::gil_scoped_release release;
          std::vector<double> scores(2 * n);
          sigma = kernels::fit_mixture(span_of(centres), span_of(counts), span_of(starts), sigma,
                                       of_means, of_sizes, out, scores);
        }
        return py::make_tuple(means, sizes, sigma, information.reshape({2 * n, 2 * n}));
      },
      "centres"_a, "counts"_a, "starts"_a, "sigma"_a);
  m.def(
      "width_of_counts",
      [](double first, const Array<std::int64_t>& counts) {
        const py::gil_scoped_release release;
        return kernels::width_of_counts(first, span_of(counts));
      },
      "first"_a, "counts"_a);
  // Of the type that it has, without a copy.
  m.def(
      "entropy_of_wholes",
      [](const Array<float>& values) {
        const py::gil_scoped_release release;
        return kernels::entropy_of_wholes(span_of(values));
      },
      py::arg("values").noconvert());
  m.def(
      "entropy_of_wholes",
      [](const Array<double>& values) {
        const py::gil_scoped_release release;
        return kernels::entropy_of_wholes(span_of(values));
      },
      "values"_a);
  m.def(
      "entropy",
      [](const Array<std::int64_t>& counts) {
        const py::gil_scoped_release release;
        return kernels::entropy_of(span_of(counts));
      },
      "counts"_a);
  m.def("pixels_by_distance", &pixels_by_distance<float>, py::arg("pixels").noconvert(), "there"_a,
        "threshold"_a, "hit"_a, "radius"_a);
  m.def("pixels_by_distance", &pixels_by_distance<double>, "pixels"_a, "there"_a, "threshold"_a,
        "hit"_a, "radius"_a);
}

}  // namespace skipstream::python
