#pragma once

#include <cstddef>
#include <span>

namespace skipstream::kernels {

/// Curvatures of the natural cubic spline through (x, y), of which there are at least two, with
/// growing x; all spans are of one size, and `work` is scratch.
void natural_spline(std::span<const double> x, std::span<const double> y,
                    std::span<double> curvatures, std::span<double> work) noexcept;

/// The spline at `at`; beyond the first and last x it goes on straight. `segment` is where the last
/// call found its place, 0 at first: calls with growing `at` need no search.
double spline_at(std::span<const double> x, std::span<const double> y,
                 std::span<const double> curvatures, double at, std::size_t& segment) noexcept;

}  // namespace skipstream::kernels
