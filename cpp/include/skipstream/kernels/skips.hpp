#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstream::kernels {

/// Keys are followed by the largest key there is, up to a multiple of this.
inline constexpr std::int64_t padding = 32;

/// What one pass over the samples of a pixel finds while it decodes them.
template <class Key>
struct Decoded {
  Key smallest;
  Key largest;
  std::int64_t sum;  ///< not for 64-bit samples, whose sum may need more bits
};

/// Passes over the samples of one pixel, for one width of sample. Each is a plain loop, compiled
/// once per SIMD level; all give the same bits.
///
/// A sample is decoded to a signed integer of the same order: unsigned ones by flipping the sign
/// bit, floating ones by their bits.
template <class Key>
struct KeyKernels {
  /// Decodes `n` > 0 integer samples. `flip` is added to every stored sample modulo its width.
  Decoded<Key> (*decode)(const std::byte* samples, std::int64_t n, bool swap, Key flip, Key* keys);
  /// Sum of squared differences to `centre`; the caller knows that all of them fit.
  std::int64_t (*squares)(const Key* keys, std::int64_t n, Key centre);
  /// How many keys are at or below each of four bounds. Reads on to the next multiple of
  /// `padding` keys, which hold the largest key there is; no bound is that large.
  void (*count4)(const Key* keys, std::int64_t n, const Key bounds[4], std::int64_t counts[4]);
  /// The smallest key above `bound`; there is one. Reads on as `count4` does.
  Key (*next_above)(const Key* keys, std::int64_t n, Key bound);
  /// Copies the keys from `first` to `last` (both included, `last` not the largest key there is)
  /// and returns how many there are. Reads on as `count4` does.
  std::int64_t (*gather)(const Key* keys, std::int64_t n, Key first, Key last, Key* found);
};

/// Passes over floating samples.
template <class Real, class Key>
struct RealKernels {
  /// Decodes `n` samples, with -0 as 0; returns how many are NaN.
  std::int64_t (*decode)(const std::byte* samples, std::int64_t n, bool swap, Real* values);
  /// The order-preserving integers of `n` > 0 values without NaN, the smallest and the largest.
  Decoded<Key> (*keys)(const Real* values, std::int64_t n, Key* keys);
  /// Sums of differences to `centre` and of their squares, in sixteen lanes of fixed order.
  void (*sums)(const Real* values, std::int64_t n, double centre, double* sum, double* squares);
};

struct SkipKernels {
  const char* level;
  /// 8-bit samples are widened to 16.
  Decoded<std::int16_t> (*decode8)(const std::byte* samples, std::int64_t n, bool is_unsigned,
                                   std::int16_t* keys);
  KeyKernels<std::int16_t> int16;
  KeyKernels<std::int32_t> int32;
  KeyKernels<std::int64_t> int64;
  RealKernels<float, std::int32_t> float32;
  RealKernels<double, std::int64_t> float64;
  /// Sum of `n` < 2^32 big-endian words of 32 bits.
  std::uint64_t (*word_sum)(const std::byte* words, std::int64_t n);
};

}  // namespace skipstream::kernels
