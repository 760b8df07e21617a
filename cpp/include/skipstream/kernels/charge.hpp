#pragma once

#include <cstdint>
#include <span>

namespace skipstream::kernels {

/// Pixels with a Poisson number of electrons, of mean `rate`, each a Gaussian of width `noise`
/// around `offset + gain * electrons`: how many of `n` are expected between neighbouring `edges`,
/// which grow. `counts` has one entry less than `edges`; 0 to n_peaks - 1 electrons are told apart.
void expected_counts(std::span<const double> edges, double n, double offset, double noise,
                     double rate, double gain, std::int64_t n_peaks,
                     std::span<double> counts) noexcept;

/// Parameters of `expected_counts` that are fitted.
struct ChargeModel {
  double n = 0.0;
  double offset = 0.0;
  double noise = 1.0;
  double rate = 0.0;
  double gain = 1.0;
};

/// Twice the logarithm of the Poisson likelihoods' ratio, data over model (Baker and Cousins, NIM
/// 221 (1984) 437): sum of 2 (m - c + c log(c / m)) over the bins. `expected` has room for them.
double charge_cost(std::span<const double> edges, std::span<const double> counts,
                   const ChargeModel& model, std::int64_t n_peaks,
                   std::span<double> expected) noexcept;

/// Minus the logarithm of the likelihood of the shape alone, for each of several rates: as many
/// counts are expected as there are, whatever `model.n` says. `peaks` has room for `n_peaks` times
/// the bins.
void charge_shape_costs(std::span<const double> edges, std::span<const double> counts,
                        const ChargeModel& model, std::int64_t n_peaks,
                        std::span<const double> rates, std::span<double> peaks,
                        std::span<double> expected, std::span<double> costs) noexcept;

/// Derivatives of `charge_cost` by the parameters, in the order of `ChargeModel`.
void charge_gradient(std::span<const double> edges, std::span<const double> counts,
                     const ChargeModel& model, std::int64_t n_peaks, std::span<double> expected,
                     std::span<double, 5> gradient) noexcept;

/// Gaussians of one width through counts in bins, by expectation maximisation from `starts` and
/// `sigma`; returns their width. There are at least two, in order. The last one stays in its place:
/// it takes what reaches in from behind the range, which holds a half of it. No other moves by more
/// than a third of the distance from start to start.
///
/// `means` and `sizes` (counts of each) have one entry per start. `information`, (2 n, 2 n), is the
/// observed one of the means but the last, the width, and the logarithms of the sizes. `scores` has
/// room for 2 n.
double fit_mixture(std::span<const double> centres, std::span<const double> counts,
                   std::span<const double> starts, double sigma, std::span<double> means,
                   std::span<double> sizes, std::span<double> information,
                   std::span<double> scores) noexcept;

}  // namespace skipstream::kernels
