#pragma once

#include <cstdint>
#include <span>

namespace skipstream::kernels {

/// `-sum p ln p` of counts, p their parts of all; NaN where there are none.
double entropy_of(std::span<const std::int64_t> counts) noexcept;

/// The same of the finite values in bins of 1. Numbers that are far apart are counted in a tree.
double entropy_of_wholes(std::span<const float> values);
double entropy_of_wholes(std::span<const double> values);

}  // namespace skipstream::kernels
