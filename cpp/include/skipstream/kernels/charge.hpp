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

}  // namespace skipstream::kernels
