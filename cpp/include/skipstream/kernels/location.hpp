#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace skipstream::kernels {

/// A centre and a width of some values.
struct Location {
  double value = 0.0;
  double sigma = 0.0;
};

/// 1.4826: the MAD of a Gaussian times this is its standard deviation.
inline constexpr double sigma_per_mad = 1.482602218505602;

/// Exact median; reorders `values`. There must be at least one.
double median_of(std::span<double> values) noexcept;

/// Median and 1.4826 times the median of the absolute deviations from it. Reorders `values`; `work`
/// has room for as many.
Location median_and_mad(std::span<double> values, std::span<double> work) noexcept;

/// Mean and population standard deviation, summed in the order given around the first value.
Location mean_and_std(std::span<const double> values) noexcept;

/// Mean and standard deviation after values beyond `n_sigma` were left out, at most `n_iterations`
/// times; at least two values are kept. Reorders `values`.
Location clipped_mean(std::span<double> values, double n_sigma, std::int64_t n_iterations) noexcept;

/// Centre and width of a Gaussian fitted by weighted least squares (Levenberg-Marquardt) to the
/// histogram of the values within `n_sigma` of the median. The bins are Freedman-Diaconis',
/// 2 IQR n^(-1/3), as many as `bins` has room for. None when the fit does not converge inside the
/// window. Reorders `values`.
std::optional<Location> fit_gaussian(std::span<double> values, std::span<double> work,
                                     std::span<double> bins, double n_sigma) noexcept;

/// Width of a Gaussian through counts of numbers `first`, `first + 1`, ..., by Poisson likelihood
/// (Newton's steps for the parabola of its logarithm). Only numbers within 3 sigma (1.4826 MAD) of
/// the median take part, and 0 does not, which saturated samples read. None where fewer than 4
/// numbers were seen, or there is no summit.
std::optional<double> width_of_counts(double first, std::span<const std::int64_t> counts) noexcept;

/// Place and width of the lowest peak of the values: that of empty pixels among single electrons.
///
/// Peaks are sought in a smooth density (`bins` and `smooth` of one size), whose bandwidth is the
/// shortest stretch that holds a tenth of the values; one counts where it has 1 % of the highest
/// and falls by 10 % and 5 sigma of its own noise behind it. Then the mean within 1.2 widths of the
/// place is taken until it stays. Sorts `values`, of which there must be at least two.
Location lowest_peak(std::span<double> values, std::span<double> bins,
                     std::span<double> smooth) noexcept;
/// The same of values that are sorted.
Location lowest_peak_of_sorted(std::span<const double> values, std::span<double> bins,
                               std::span<double> smooth) noexcept;
Location lowest_peak_of_sorted(std::span<const float> values, std::span<double> bins,
                               std::span<double> smooth) noexcept;

}  // namespace skipstream::kernels
