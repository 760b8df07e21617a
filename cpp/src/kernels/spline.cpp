#include "skipstream/kernels/spline.hpp"

namespace skipstream::kernels {

void natural_spline(std::span<const double> x, std::span<const double> y,
                    std::span<double> curvatures, std::span<double> work) noexcept {
  const std::size_t last = x.size() - 1;
  // The curvatures solve a tridiagonal system; both ends are free: 0.
  curvatures[0] = work[0] = 0;
  for (std::size_t i = 1; i < last; ++i) {
    const double before = x[i] - x[i - 1];
    const double behind = x[i + 1] - x[i];
    const double pivot = 2 * (before + behind) - before * work[i - 1];
    const double bend = (y[i + 1] - y[i]) / behind - (y[i] - y[i - 1]) / before;
    work[i] = behind / pivot;
    curvatures[i] = (6 * bend - before * curvatures[i - 1]) / pivot;
  }
  curvatures[last] = 0;
  for (std::size_t i = last; i-- > 1;) curvatures[i] -= work[i] * curvatures[i + 1];
}

double spline_at(std::span<const double> x, std::span<const double> y,
                 std::span<const double> curvatures, double at, std::size_t& segment) noexcept {
  while (segment > 0 && at < x[segment]) --segment;
  while (segment + 2 < x.size() && at >= x[segment + 1]) ++segment;
  const std::size_t i = segment;
  const double width = x[i + 1] - x[i];
  const double slope = (y[i + 1] - y[i]) / width;
  if (at < x[i]) return y[i] + (at - x[i]) * (slope - width * curvatures[i + 1] / 6);
  if (at > x[i + 1]) return y[i + 1] + (at - x[i + 1]) * (slope + width * curvatures[i] / 6);
  const double b = (at - x[i]) / width;
  const double a = 1 - b;
  return a * y[i] + b * y[i + 1] +
         ((a * a * a - a) * curvatures[i] + (b * b * b - b) * curvatures[i + 1]) * width * width /
             6;
}

}  // namespace skipstream::kernels
