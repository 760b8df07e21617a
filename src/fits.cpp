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
#include "skipstream/base/large_vector.hpp"
#include "skipstream/kernels/charge.hpp"
#include "skipstream/kernels/distance.hpp"
#include "skipstream/kernels/entropy.hpp"
#include "skipstream/kernels/location.hpp"
#include "skipstream/kernels/select.hpp"

namespace py = pybind11;

namespace skipstream::python {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

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

/// How badly a model of charge fits to counts, as a minimiser asks for it: of n, offset, noise,
/// rate and gain, which may be no numbers.
class ChargeCost {
 public:
  /// There are as many peaks as have their place up to 5 sigma above `reach`, and one more.
  ChargeCost(const Array<double>& edges, const Array<double>& counts, double reach,
             std::int64_t most_peaks)
      : reach_(reach), most_peaks_(most_peaks) {
    if (most_peaks < 1) throw ConfigError("ChargeCost: needs at least 1 peak");
    const Bins bins(edges, counts);
    edges_.assign(bins.edges.begin(), bins.edges.end());
    counts_.assign(bins.counts.begin(), bins.counts.end());
    expected_.resize(counts_.size());
  }

  double cost(double n, double offset, double noise, double rate, double gain) {
    const kernels::ChargeModel model{n, offset, noise, rate, gain};
    if (!is_possible(model)) return std::numeric_limits<double>::infinity();
    return kernels::charge_cost(edges_, counts_, model, peaks_of(model), expected_);
  }

  std::array<double, 5> gradient(double n, double offset, double noise, double rate, double gain) {
    const kernels::ChargeModel model{n, offset, noise, rate, gain};
    std::array<double, 5> by_all{};
    if (is_possible(model)) {
      kernels::charge_gradient(edges_, counts_, model, peaks_of(model), expected_, by_all);
    }
    return by_all;
  }

  std::span<const double> expected(const kernels::ChargeModel& model) {
    kernels::expected_counts(edges_, model.n, model.offset, model.noise, model.rate, model.gain,
                             peaks_of(model), expected_);
    return expected_;
  }

 private:
  static bool is_possible(const kernels::ChargeModel& model) {
    return model.noise > 0 && std::isfinite(model.n) && std::isfinite(model.offset) &&
           std::isfinite(model.noise) && std::isfinite(model.rate) && std::isfinite(model.gain);
  }
  [[nodiscard]] std::int64_t peaks_of(const kernels::ChargeModel& model) const {
    const double whole = (reach_ + 5 * model.noise - model.offset) / model.gain;
    const auto most = static_cast<double>(most_peaks_);
    if (!(whole < most)) return most_peaks_;
    return static_cast<std::int64_t>(std::clamp(std::trunc(whole) + 2, 1.0, most));
  }

  std::vector<double> edges_;
  std::vector<double> counts_;
  std::vector<double> expected_;
  double reach_;
  std::int64_t most_peaks_;
};

constexpr std::size_t n_peak_bins = 4000;
constexpr int most_peaks = 1000;

/// Place and width of the lowest peak of values; it needs two.
template <class T>
std::pair<double, double> lowest_peak(const Array<T>& values, bool are_sorted) {
  const auto given = span_of(values);
  if (given.size() < 2) throw ConfigError("lowest_peak: needs at least 2 values");
  const py::gil_scoped_release release;
  std::vector<double> bins(n_peak_bins);
  std::vector<double> smooth(n_peak_bins);
  kernels::Location peak;
  if (are_sorted) {
    peak = kernels::lowest_peak_of_sorted(given, bins, smooth);
  } else {
    std::vector<double> sorted(given.begin(), given.end());
    peak = kernels::lowest_peak(sorted, bins, smooth);
  }
  return {peak.value, peak.sigma};
}

/// From each sorted row, in place, the place of its empty pixels; rows of which fewer than two are
/// finite become NaN.
template <class T>
void subtract_lowest_peaks(py::array_t<T, py::array::c_style>& rows) {
  if (rows.ndim() != 2) throw ConfigError("subtract_lowest_peaks: needs pixels (n_rows, n_cols)");
  const auto n_cols = static_cast<std::size_t>(rows.shape(1));
  const std::span all(rows.mutable_data(), static_cast<std::size_t>(rows.size()));
  const py::gil_scoped_release release;
  std::vector<double> bins(n_peak_bins);
  std::vector<double> smooth(n_peak_bins);
  for (std::size_t begin = 0; begin < all.size(); begin += n_cols) {
    const auto row = all.subspan(begin, n_cols);
    // Those that are not finite are at both ends, NaN last.
    const auto first = std::find_if(row.begin(), row.end(), [](T v) { return std::isfinite(v); });
    const auto last = std::find_if(row.rbegin(), row.rend(), [](T v) { return std::isfinite(v); });
    const std::span<const T> finite(first, last.base() > first ? last.base() : first);
    const double peak =
        finite.size() < 2 ? nan : kernels::lowest_peak_of_sorted(finite, bins, smooth).value;
    for (T& value : row) value = static_cast<T>(static_cast<double>(value) - peak);
  }
}

/// Memory for the values of a line that are there, and two more for what is worked out of them.
template <class T>
struct LineRoom {
  explicit LineRoom(std::size_t n) : values(n), away(n), work(n) {}
  LargeVector<T> values;
  LargeVector<T> away;
  LargeVector<T> work;

  [[nodiscard]] std::span<const T> take(std::span<const T> line, T low, T high) {
    const auto n = kernels::collect(line, low, high, values.data());
    return std::span<const T>(values).first(static_cast<std::size_t>(n));
  }
};

/// Hands out the values of each line that are no NaN: `each(number, values, room)`.
template <class T, class Each>
void for_each_line(const Array<T>& lines, Each each) {
  const auto n = static_cast<std::size_t>(lines.shape(1));
  const auto all = span_of(lines);
  const auto n_lines = static_cast<std::size_t>(lines.shape(0));
  const py::gil_scoped_release release;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  LineRoom<T> room(n);
  for (std::size_t i = 0; i < n_lines; ++i) {
    each(i, room.take(all.subspan(i * n, n), -infinity, infinity), room);
  }
}

/// A fresh array with a number for each line, and its memory.
template <class T>
std::pair<py::array_t<double>, std::span<double>> make_for_lines(const Array<T>& lines) {
  if (lines.ndim() != 2) throw ConfigError("medians: needs lines (n_lines, n)");
  return make_array(static_cast<std::size_t>(lines.shape(0)));
}

template <class T>
py::array_t<double> medians(const Array<T>& lines) {
  const auto made = make_for_lines(lines);
  for_each_line(lines, [&](std::size_t i, std::span<const T> there, LineRoom<T>& room) {
    made.second[i] = there.empty() ? nan : kernels::median_of(there, room.work);
  });
  return made.first;
}

/// The same, and 1.4826 times the medians of the deviations from them.
template <class T>
py::tuple medians_and_sigmas(const Array<T>& lines) {
  const auto of_medians = make_for_lines(lines);
  const auto of_sigmas = make_for_lines(lines);
  for_each_line(lines, [&](std::size_t i, std::span<const T> there, LineRoom<T>& room) {
    kernels::Location location{nan, nan};
    if (!there.empty()) location = kernels::median_and_mad(there, room.away, room.work);
    of_medians.second[i] = location.value;
    of_sigmas.second[i] = location.sigma;
  });
  return py::make_tuple(of_medians.first, of_sigmas.first);
}

/// Lines from `first` on, as many as `to` has room for, one after another; NaN for what is left
/// out.
template <class T>
void copy_lines(const py::detail::unchecked_reference<T, 2>& lines,
                const py::detail::unchecked_reference<bool, 2>& left_out, std::int64_t first,
                std::span<T> to) {
  const std::int64_t n = lines.shape(1);
  const std::int64_t n_here = n > 0 ? static_cast<std::int64_t>(to.size()) / n : 0;
  const auto distance = [](const auto* one, const auto* other) { return other - one; };
  const bool is_side_by_side = n > 1 && distance(lines.data(first, 0), lines.data(first, 1)) == 1 &&
                               distance(left_out.data(first, 0), left_out.data(first, 1)) == 1;
  constexpr T nothing = std::numeric_limits<T>::quiet_NaN();
  for (std::int64_t i = 0; is_side_by_side && i < n_here; ++i) {
    const T* values = lines.data(first + i, 0);
    const bool* is_out = left_out.data(first + i, 0);
    T* out = to.data() + i * n;
    for (std::int64_t j = 0; j < n; ++j) out[j] = is_out[j] ? nothing : values[j];
  }
  for (std::int64_t j = 0; !is_side_by_side && j < n; ++j) {
    for (std::int64_t i = 0; i < n_here; ++i) {
      const bool is_out = left_out(first + i, j);
      to[static_cast<std::size_t>(i * n + j)] = is_out ? nothing : lines(first + i, j);
    }
  }
}

/// Of each line its finite pixels that are not left out: their number, median and width, and of
/// those up to `n_sigma` widths away and up to `highest` the number, the sum of the differences
/// from the median, and of their squares.
template <class T>
py::tuple clipped_lines(const py::array_t<T>& lines, const py::array_t<bool>& left_out,
                        double n_sigma, double highest) {
  if (lines.ndim() != 2 || left_out.ndim() != 2 || left_out.shape(0) != lines.shape(0) ||
      left_out.shape(1) != lines.shape(1)) {
    throw ConfigError("clipped_lines: needs lines and left_out (n_lines, n)");
  }
  const std::int64_t n_lines = lines.shape(0);
  const auto n = static_cast<std::size_t>(lines.shape(1));
  py::array_t<std::int64_t> counts(n_lines);
  py::array_t<std::int64_t> n_kept(n_lines);
  std::array<py::array_t<double>, 4> of_lines;
  for (auto& of : of_lines) of = py::array_t<double>(n_lines);
  const std::span of_counts(counts.mutable_data(), static_cast<std::size_t>(n_lines));
  const std::span of_kept(n_kept.mutable_data(), static_cast<std::size_t>(n_lines));
  std::array<std::span<double>, 4> out;
  for (std::size_t i = 0; i < 4; ++i) out[i] = {of_lines[i].mutable_data(), of_counts.size()};
  {
    const auto value = lines.template unchecked<2>();
    const auto is_out = left_out.template unchecked<2>();
    const py::gil_scoped_release release;
    constexpr T most = std::numeric_limits<T>::max();
    LineRoom<T> room(n);
    constexpr std::int64_t at_once = 16;  // columns that share what is read of a row
    LargeVector<T> copied(n * at_once);
    for (std::int64_t i = 0; i < n_lines; ++i) {
      const auto number = static_cast<std::size_t>(i % at_once);
      if (number == 0) {
        const auto n_here = static_cast<std::size_t>(std::min(at_once, n_lines - i));
        copy_lines<T>(value, is_out, i, std::span(copied).first(n_here * n));
      }
      const auto there = room.take(std::span(copied).subspan(number * n, n), -most, most);
      kernels::Location location{nan, nan};
      kernels::Within within;
      if (!there.empty()) {
        location = kernels::median_and_mad(there, room.away, room.work);
        // Where more than half of the pixels are the same, there is no width to clip by.
        const double reach =
            location.sigma > 0 ? n_sigma * location.sigma : std::numeric_limits<double>::infinity();
        within = kernels::sum_within(there, location.value, reach, highest);
      }
      const auto place = static_cast<std::size_t>(i);
      of_counts[place] = static_cast<std::int64_t>(there.size());
      of_kept[place] = within.n;
      out[0][place] = location.value;
      out[1][place] = location.sigma;
      out[2][place] = within.sum;
      out[3][place] = within.squares;
    }
  }
  return py::make_tuple(counts, of_lines[0], of_lines[1], n_kept, of_lines[2], of_lines[3]);
}

/// Variances of blocks of pixels, row by row of `width` from each first one; NaN where one is left
/// out.
template <class T>
py::array_t<double> variances_of_blocks(const Array<T>& pixels, const Array<bool>& left_out,
                                        const Array<std::int64_t>& firsts, std::int64_t width,
                                        std::int64_t n_pixels) {
  if (pixels.ndim() != 2 || left_out.size() != pixels.size() || width < 1 || n_pixels < 1) {
    throw ConfigError("variances_of_blocks: needs pixels and left_out (n_rows, n_cols)");
  }
  const std::int64_t n_cols = pixels.shape(1);
  const std::int64_t last = (n_pixels - 1) / width * n_cols + std::min(n_pixels, width) - 1;
  const auto all = span_of(pixels);
  const auto is_out = span_of(left_out);
  const auto begins = span_of(firsts);
  for (const std::int64_t first : begins) {
    if (first < 0 || first + last >= pixels.size()) {
      throw ConfigError("variances_of_blocks: a block is not inside of the pixels");
    }
  }
  auto [variances, out] = make_array(begins.size());
  const py::gil_scoped_release release;
  std::vector<T> block(static_cast<std::size_t>(n_pixels));
  constexpr double most = std::numeric_limits<double>::max();
  for (std::size_t i = 0; i < begins.size(); ++i) {
    bool is_whole = true;
    for (std::int64_t begin = 0; begin < n_pixels; begin += width) {
      const auto from = static_cast<std::size_t>(begins[i] + begin / width * n_cols);
      const auto n_here = static_cast<std::size_t>(std::min(width, n_pixels - begin));
      const auto out_of_row = is_out.subspan(from, n_here);
      is_whole =
          is_whole && std::find(out_of_row.begin(), out_of_row.end(), true) == out_of_row.end();
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(from), n_here,
                  block.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    // Around one of them, so that a far zero costs no digits.
    const auto sums = kernels::sum_within(block, static_cast<double>(block[0]), most, most);
    const auto n = static_cast<double>(n_pixels);
    const double variance = (sums.squares - sums.sum * sums.sum / n) / n;
    out[i] = !is_whole || sums.n < n_pixels ? nan : variance < 0 ? 0.0 : variance;
  }
  return variances;
}

/// How many of sorted values are below each place; with `is_right`, or at it.
template <class T>
py::array_t<std::int64_t> counts_below(const Array<T>& values, const Array<double>& places,
                                       bool is_right) {
  const auto sorted = span_of(values);
  const auto at = span_of(places);
  py::array_t<std::int64_t> counts(places.size());
  const std::span out(counts.mutable_data(), at.size());
  for (std::size_t i = 0; i < at.size(); ++i) {
    const auto found = std::partition_point(sorted.begin(), sorted.end(), [&](T value) {
      const auto x = static_cast<double>(value);
      return x < at[i] || (is_right && x == at[i]);
    });
    out[i] = found - sorted.begin();
  }
  return counts;
}

/// Pixels by the square of their distance from the nearest one of at least the threshold, up to the
/// radius, and of them those from `hit` on; nothing where there is none of the threshold.
template <class T>
py::tuple pixels_by_distance(const py::array_t<T>& pixels, const Array<bool>& there,
                             double threshold, double hit, double radius) {
  if (pixels.ndim() != 2 || there.ndim() != 2 || there.shape(0) != pixels.shape(0) ||
      there.shape(1) != pixels.shape(1) || !(radius >= 0)) {
    throw ConfigError("pixels_by_distance: needs pixels and there (n_rows, n_cols), and a radius");
  }
  const std::int64_t n_rows = pixels.shape(0);
  const std::int64_t n_cols = pixels.shape(1);
  const auto in = pixels.template unchecked<2>();
  const auto width = static_cast<std::size_t>(n_cols);
  const std::span seen(reinterpret_cast<const std::uint8_t*>(there.data()),
                       static_cast<std::size_t>(there.size()));
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> hits;
  {
    const py::gil_scoped_release release;
    std::vector<std::uint8_t> bright(seen.size());
    std::vector<T> row(width);
    // Rows may be parts of longer ones.
    const bool side_by_side = pixels.strides(1) == static_cast<py::ssize_t>(sizeof(T));
    const auto take_row = [&](std::int64_t r) {
      if (side_by_side) {
        std::copy_n(in.data(r, 0), width, row.begin());
      } else {
        for (std::int64_t c = 0; c < n_cols; ++c) row[static_cast<std::size_t>(c)] = in(r, c);
      }
      return static_cast<std::size_t>(r) * width;
    };
    for (std::int64_t r = 0; r < n_rows; ++r) {
      const std::size_t first = take_row(r);
      for (std::size_t c = 0; c < width; ++c) {
        bright[first + c] =
            seen[first + c] != 0 && static_cast<double>(row[c]) >= threshold ? 1 : 0;
      }
    }
    if (std::find(bright.begin(), bright.end(), 1) != bright.end()) {
      // Farther away there is nothing.
      const auto most = static_cast<std::int32_t>(
          std::min(std::ceil(radius), static_cast<double>(n_rows + n_cols)));
      const auto reach = static_cast<std::int64_t>(
          std::min(radius * radius, static_cast<double>(most) * static_cast<double>(most)));
      LargeVector<std::int32_t> distances(seen.size());
      kernels::distances_along_columns(bright, n_rows, n_cols, most, distances);
      std::vector<std::int64_t> squares(width);
      std::vector<double> work(3 * width + 1);
      for (std::int64_t r = 0; r < n_rows; ++r) {
        const std::size_t first = take_row(r);
        kernels::squares_in_plane(std::span(distances).subspan(first, width), most, squares, work);
        for (const std::int64_t square : squares) {
          if (square <= reach && square >= static_cast<std::int64_t>(counts.size())) {
            counts.resize(static_cast<std::size_t>(square) + 1);
          }
        }
        hits.resize(counts.size());
        kernels::count_by_distance(row, seen.subspan(first, width), squares, hit, counts, hits);
      }
    }
  }
  const auto n = static_cast<py::ssize_t>(counts.size());
  return py::make_tuple(py::array_t<std::int64_t>(n, counts.data()),
                        py::array_t<std::int64_t>(n, hits.data()));
}

}  // namespace

void register_fits(py::module_& m) {
  using namespace py::literals;
  // Of the type that they have, without a copy.
  m.def("lowest_peak", &lowest_peak<float>, py::arg("values").noconvert(), "are_sorted"_a = false);
  m.def("lowest_peak", &lowest_peak<double>, "values"_a, "are_sorted"_a = false);
  m.def("counts_below", &counts_below<float>, py::arg("values").noconvert(), "places"_a,
        "is_right"_a = false);
  m.def("counts_below", &counts_below<double>, "values"_a, "places"_a, "is_right"_a = false);
  m.def("medians", &medians<float>, py::arg("lines").noconvert());
  m.def("medians", &medians<double>, "lines"_a);
  m.def("medians_and_sigmas", &medians_and_sigmas<float>, py::arg("lines").noconvert());
  m.def("medians_and_sigmas", &medians_and_sigmas<double>, "lines"_a);
  m.def("clipped_lines", &clipped_lines<float>, py::arg("lines").noconvert(), "left_out"_a,
        "n_sigma"_a, "highest"_a);
  m.def("clipped_lines", &clipped_lines<double>, "lines"_a, "left_out"_a, "n_sigma"_a, "highest"_a);
  m.def("variances_of_blocks", &variances_of_blocks<float>, py::arg("pixels").noconvert(),
        "left_out"_a, "firsts"_a, "width"_a, "n_pixels"_a);
  m.def("variances_of_blocks", &variances_of_blocks<double>, "pixels"_a, "left_out"_a, "firsts"_a,
        "width"_a, "n_pixels"_a);
  m.def("subtract_lowest_peaks", &subtract_lowest_peaks<float>, py::arg("rows").noconvert());
  m.def("subtract_lowest_peaks", &subtract_lowest_peaks<double>, py::arg("rows").noconvert());
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
  py::class_<ChargeCost>(m, "ChargeCost")
      .def(py::init<const Array<double>&, const Array<double>&, double, std::int64_t>(), "edges"_a,
           "counts"_a, "reach"_a, "most_peaks"_a)
      .def("__call__", &ChargeCost::cost)
      .def("gradient", &ChargeCost::gradient)
      .def("expected",
           [](ChargeCost& self, double n, double offset, double noise, double rate, double gain) {
             const auto counts = self.expected({n, offset, noise, rate, gain});
             return py::array_t<double>(static_cast<py::ssize_t>(counts.size()), counts.data());
           });
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
