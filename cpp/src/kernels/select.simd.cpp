#include "skipstream/kernels/select.hpp"

#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef SKIPSTREAM_SIMD_LEVEL
#define SKIPSTREAM_SIMD_LEVEL baseline
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in the intrinsics' own header, GCC 12
#endif

// Only plain types and loops: see groups.simd.cpp.

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

extern const AllLineKernels line_kernels;

namespace {

using i64 = std::int64_t;

constexpr int n_bounds = 8;
constexpr i64 block = 4096;  // values that stay near while they are passed over again

/// As wide as the values: a register then holds as many counts.
template <class T>
struct CountOf;
template <>
struct CountOf<float> {
  using type = std::int32_t;
};
template <>
struct CountOf<double> {
  using type = i64;
};

template <class T>
constexpr T lowest = static_cast<T>(-__builtin_inf());

template <class T>
void count_below(const T* values, i64 n, const T* bounds, i64* counts) {
  for (int b = 0; b < n_bounds; ++b) counts[b] = 0;
  for (i64 begin = 0; begin < n; begin += block) {
    const i64 end = n - begin < block ? n : begin + block;
    for (int b = 0; b < n_bounds; ++b) {
      const T bound = bounds[b];
      typename CountOf<T>::type count = 0;
      for (i64 i = begin; i < end; ++i) count += values[i] < bound ? 1 : 0;
      counts[b] += count;
    }
  }
}

template <class T>
i64 collect(const T* values, i64 n, T low, T high, T* out) {
  i64 n_out = 0;
  i64 i = 0;
#if defined(__AVX512F__)
  // A whole register is stored each time: what is behind those that count is overwritten, or read.
  if constexpr (sizeof(T) == 4) {
    for (; i + 16 <= n; i += 16) {
      const __m512 v = _mm512_loadu_ps(values + i);
      const __mmask16 in =
          _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, _mm512_set1_ps(low), _CMP_GE_OQ), v,
                                  _mm512_set1_ps(high), _CMP_LE_OQ);
      _mm512_storeu_ps(out + n_out, _mm512_maskz_compress_ps(in, v));
      n_out += __builtin_popcount(in);
    }
  } else {
    for (; i + 8 <= n; i += 8) {
      const __m512d v = _mm512_loadu_pd(values + i);
      const __mmask8 in =
          _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(v, _mm512_set1_pd(low), _CMP_GE_OQ), v,
                                  _mm512_set1_pd(high), _CMP_LE_OQ);
      _mm512_storeu_pd(out + n_out, _mm512_maskz_compress_pd(in, v));
      n_out += __builtin_popcount(in);
    }
  }
#endif
  for (; i < n; ++i) {
    const T value = values[i];
    out[n_out] = value;
    n_out += static_cast<i64>(value >= low) & static_cast<i64>(value <= high);
  }
  return n_out;
}

template <class T>
T largest_below(const T* values, i64 n, T bound, i64* count) {
  constexpr i64 lanes = 64 / static_cast<i64>(sizeof(T));
  T largest[lanes];
  typename CountOf<T>::type counts[lanes];
  for (i64 l = 0; l < lanes; ++l) largest[l] = lowest<T>;
  for (i64 l = 0; l < lanes; ++l) counts[l] = 0;
  i64 i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (i64 l = 0; l < lanes; ++l) {
      const T below = values[i + l] < bound ? values[i + l] : lowest<T>;
      largest[l] = below > largest[l] ? below : largest[l];
      counts[l] += values[i + l] < bound ? 1 : 0;
    }
  }
  for (; i < n; ++i) {
    if (!(values[i] < bound)) continue;
    largest[0] = values[i] > largest[0] ? values[i] : largest[0];
    ++counts[0];
  }
  *count = 0;
  for (i64 l = 0; l < lanes; ++l) *count += counts[l];
  T most = largest[0];
  for (i64 l = 1; l < lanes; ++l) most = largest[l] > most ? largest[l] : most;
  return most;
}

template <class T>
void distances(const T* values, i64 n, double centre, T* away) {
  for (i64 i = 0; i < n; ++i) {
    const T difference = static_cast<T>(static_cast<double>(values[i]) - centre);
    away[i] = difference < 0 ? -difference : difference;
  }
}

/// In so many lanes on every level, so that the sums are the same.
template <class T>
Within sum_within(const T* values, i64 n, double centre, double reach, double highest) {
  constexpr i64 lanes = 8;
  double sums[lanes] = {};
  double squares[lanes] = {};
  i64 counts[lanes] = {};
  for (i64 begin = 0; begin < n; begin += lanes) {
    const i64 end = n - begin < lanes ? n - begin : lanes;
    double padded[lanes];
    for (i64 l = 0; l < lanes; ++l)
      padded[l] = l < end ? static_cast<double>(values[begin + l]) : 0;
    for (i64 l = 0; l < lanes; ++l) {
      const double d = padded[l] - centre;
      const bool is_in = d <= reach && -d <= reach && padded[l] <= highest && l < end;
      const double counted = is_in ? d : 0.0;
      sums[l] += counted;
      squares[l] += counted * counted;
      counts[l] += is_in ? 1 : 0;
    }
  }
  Within result;
  for (i64 l = 0; l < lanes; ++l) {
    result.n += counts[l];
    result.sum += sums[l];
    result.squares += squares[l];
  }
  return result;
}

template <class T>
double least_difference(const T* values, i64 n, i64 reach, double least) {
  constexpr i64 lanes = 16;
  double found[lanes];
  for (i64 l = 0; l < lanes; ++l) found[l] = least;
  i64 i = 0;
  for (; i + lanes + reach <= n; i += lanes) {
    for (i64 l = 0; l < lanes; ++l) {
      const double d =
          static_cast<double>(values[i + l + reach]) - static_cast<double>(values[i + l]);
      found[l] = d < found[l] ? d : found[l];
    }
  }
  for (; i + reach < n; ++i) {
    const double d = static_cast<double>(values[i + reach]) - static_cast<double>(values[i]);
    found[0] = d < found[0] ? d : found[0];
  }
  for (i64 l = 0; l < lanes; ++l) least = found[l] < least ? found[l] : least;
  return least;
}

template <class T>
constexpr LineKernels<T> kernels_of = {&count_below<T>, &collect<T>,    &largest_below<T>,
                                       &distances<T>,   &sum_within<T>, &least_difference<T>};

}  // namespace

const AllLineKernels line_kernels = {kernels_of<float>, kernels_of<double>};

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
