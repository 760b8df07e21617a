#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace skipstream::kernels {

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 UInt128;

inline int bit_width(UInt128 x) noexcept {
  const auto high = static_cast<std::uint64_t>(x >> 64);
  return static_cast<int>(high != 0 ? 64 + std::bit_width(high)
                                    : std::bit_width(static_cast<std::uint64_t>(x)));
}

/// What `divide` does where a double does not hold the numerator.
[[gnu::noinline]] inline double divide_large(Int128 numerator, std::int64_t denominator) noexcept {
  const bool negative = numerator < 0;
  const UInt128 n = negative ? -static_cast<UInt128>(numerator) : static_cast<UInt128>(numerator);
  const auto d = static_cast<UInt128>(denominator);
  UInt128 quotient = n / d;
  UInt128 rest = n % d;
  // At least 62 bits of the quotient, the last one sticky: more than a double has, so the
  // conversion rounds as the true quotient would. One step, unless the quotient begins with 0.
  int shift = 0;
  while (rest != 0 && bit_width(quotient) < 62) {
    const int step = 62 - bit_width(quotient);
    const UInt128 shifted = rest << step;  // below 2^62 * 2^62
    quotient = (quotient << step) | (shifted / d);
    rest = shifted % d;
    shift += step;
  }
  if (rest != 0) quotient |= 1;
  const double value = std::ldexp(static_cast<double>(quotient), -shift);
  return negative ? -value : value;
}

/// numerator / denominator, rounded once. The denominator is positive and below 2^62.
inline double divide(Int128 numerator, std::int64_t denominator) noexcept {
  constexpr std::int64_t exact = std::int64_t{1} << 53;
  const auto low = static_cast<std::int64_t>(numerator);
  if (low == numerator && low >= -exact && low <= exact && denominator <= exact) {
    return static_cast<double>(low) / static_cast<double>(denominator);
  }
  return divide_large(numerator, denominator);
}

}  // namespace skipstream::kernels
