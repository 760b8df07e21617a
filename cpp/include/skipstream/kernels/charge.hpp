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

}  // namespace skipstream::kernels
