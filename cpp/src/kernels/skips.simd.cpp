#include "skipstream/kernels/skips.hpp"

#include <cstddef>
#include <cstdint>

// Only plain types and loops here: an inline function of a standard header that was compiled for a
// higher level could be picked by the linker for the whole program.

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

extern const SkipKernels skip_kernels;

namespace {

template <std::size_t n_bytes>
struct Bits;
template <>
struct Bits<2> {
  using type = std::uint16_t;
  static type swapped(type x) { return __builtin_bswap16(x); }
};
template <>
struct Bits<4> {
  using type = std::uint32_t;
  static type swapped(type x) { return __builtin_bswap32(x); }
};
template <>
struct Bits<8> {
  using type = std::uint64_t;
  static type swapped(type x) { return __builtin_bswap64(x); }
};

template <class Word>
Word load(const std::byte* from) {
  Word word;
  __builtin_memcpy(&word, from, sizeof word);
  return word;
}

template <class Key, bool swap>
Decoded<Key> decode_as(const std::byte* samples, std::int64_t n, Key flip, Key* __restrict keys) {
  using B = Bits<sizeof(Key)>;
  using Word = typename B::type;
  // A 16-bit sum holds 2^15 samples in 32 bits: |x| <= 2^15.
  constexpr std::int64_t block = sizeof(Key) == 2 ? 1 << 15 : INT64_MAX;
  const Word added = static_cast<Word>(flip);
  Key smallest = static_cast<Key>(load<Word>(samples));
  if (swap) smallest = static_cast<Key>(B::swapped(static_cast<Word>(smallest)));
  smallest = static_cast<Key>(static_cast<Word>(smallest) ^ added);
  Key largest = smallest;
  std::int64_t sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t end = n - begin < block ? n : begin + block;
    if constexpr (sizeof(Key) == 2) {
      std::int32_t part = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        Word word = load<Word>(samples + 2 * i);
        if (swap) word = B::swapped(word);
        const Key key = static_cast<Key>(word ^ added);
        keys[i] = key;
        smallest = key < smallest ? key : smallest;
        largest = key > largest ? key : largest;
        part += key;
      }
      sum += part;
    } else {
      for (std::int64_t i = begin; i < end; ++i) {
        Word word = load<Word>(samples + static_cast<std::int64_t>(sizeof(Key)) * i);
        if (swap) word = B::swapped(word);
        const Key key = static_cast<Key>(word ^ added);
        keys[i] = key;
        smallest = key < smallest ? key : smallest;
        largest = key > largest ? key : largest;
        if constexpr (sizeof(Key) == 4) sum += key;
      }
      if constexpr (sizeof(Key) == 8) break;
    }
    if (block == INT64_MAX) break;
  }
  return {smallest, largest, sum};
}

template <class Key>
Decoded<Key> decode(const std::byte* samples, std::int64_t n, bool swap, Key flip,
                    Key* __restrict keys) {
  return swap ? decode_as<Key, true>(samples, n, flip, keys)
              : decode_as<Key, false>(samples, n, flip, keys);
}

template <class Byte>
Decoded<std::int16_t> widen(const std::byte* samples, std::int64_t n, std::int16_t* keys) {
  const Byte* bytes = reinterpret_cast<const Byte*>(samples);
  std::int16_t smallest = bytes[0];
  std::int16_t largest = bytes[0];
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int16_t key = bytes[i];
    keys[i] = key;
    smallest = key < smallest ? key : smallest;
    largest = key > largest ? key : largest;
    sum += key;
  }
  return {smallest, largest, sum};
}

Decoded<std::int16_t> decode8(const std::byte* samples, std::int64_t n, bool is_unsigned,
                              std::int16_t* keys) {
  return is_unsigned ? widen<std::uint8_t>(samples, n, keys) : widen<std::int8_t>(samples, n, keys);
}

std::int64_t squares16(const std::int16_t* keys, std::int64_t n, std::int16_t centre) {
  // The caller sees to |d| < 2^15. Within a block the squares are summed in 32 bits: blocks of
  // 2^31 / max d^2 samples would do; the caller splits by that.
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int16_t d = static_cast<std::int16_t>(keys[i] - centre);
    sum += static_cast<std::int32_t>(d) * static_cast<std::int32_t>(d);
  }
  return sum;
}

std::int64_t squares32(const std::int32_t* keys, std::int64_t n, std::int32_t centre) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t d = keys[i] - centre;
    sum += static_cast<std::int64_t>(d) * static_cast<std::int64_t>(d);
  }
  return sum;
}

std::int64_t squares64(const std::int64_t* keys, std::int64_t n, std::int64_t centre) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t d = keys[i] - centre;
    sum += d * d;
  }
  return sum;
}

template <class Key>
void count4(const Key* keys, std::int64_t n, const Key bounds[4], std::int64_t counts[4]) {
  using Count = typename Bits<sizeof(Key)>::type;
  n = (n + padding - 1) / padding * padding;  // whole vectors: no tail
  // 16-bit counters hold a block of 2^15 keys, even when the lanes are added up.
  constexpr std::int64_t block = sizeof(Key) == 2 ? 1 << 15 : 1 << 30;
  const Key b0 = bounds[0];
  const Key b1 = bounds[1];
  const Key b2 = bounds[2];
  const Key b3 = bounds[3];
  std::int64_t t0 = 0;
  std::int64_t t1 = 0;
  std::int64_t t2 = 0;
  std::int64_t t3 = 0;
  for (std::int64_t begin = 0; begin < n; begin += block) {
    const std::int64_t m = n - begin < block ? n - begin : block;
    const Key* part = keys + begin;
    Count c0 = 0;
    Count c1 = 0;
    Count c2 = 0;
    Count c3 = 0;
    for (std::int64_t i = 0; i < m / padding * padding; ++i) {
      const Key key = part[i];
      c0 = static_cast<Count>(c0 + (key <= b0 ? 1 : 0));
      c1 = static_cast<Count>(c1 + (key <= b1 ? 1 : 0));
      c2 = static_cast<Count>(c2 + (key <= b2 ? 1 : 0));
      c3 = static_cast<Count>(c3 + (key <= b3 ? 1 : 0));
    }
    t0 += static_cast<std::int64_t>(c0);
    t1 += static_cast<std::int64_t>(c1);
    t2 += static_cast<std::int64_t>(c2);
    t3 += static_cast<std::int64_t>(c3);
  }
  counts[0] = t0;
  counts[1] = t1;
  counts[2] = t2;
  counts[3] = t3;
}

template <class Key>
Key next_above(const Key* keys, std::int64_t n, Key bound) {
  using Word = typename Bits<sizeof(Key)>::type;
  n = (n + padding - 1) / padding * padding;
  // Counted from the bound upwards, keys at or below it wrap around to large numbers.
  const Word from = static_cast<Word>(static_cast<Word>(bound) + 1U);
  Word least = static_cast<Word>(-1);
  for (std::int64_t i = 0; i < n; ++i) {
    const Word above = static_cast<Word>(static_cast<Word>(keys[i]) - from);
    least = above < least ? above : least;
  }
  return static_cast<Key>(static_cast<Word>(from + least));
}

template <class Key>
std::int64_t gather(const Key* keys, std::int64_t n, Key first, Key last, Key* __restrict found) {
  std::int64_t n_found = 0;
  for (std::int64_t begin = 0; begin < n; begin += padding) {
    const Key* part = keys + begin;
    std::uint8_t inside[padding];
    for (std::int64_t i = 0; i < padding; ++i) {
      inside[i] = static_cast<std::uint8_t>(part[i] >= first ? 1 : 0) &
                  static_cast<std::uint8_t>(part[i] <= last ? 1 : 0);
    }
    for (std::int64_t word = 0; word < padding / 8; ++word) {
      std::uint64_t flags;
      __builtin_memcpy(&flags, inside + 8 * word, 8);
      for (; flags != 0; flags &= flags - 1) {
        found[n_found++] = part[8 * word + __builtin_ctzll(flags) / 8];
      }
    }
  }
  return n_found;
}

template <class Real, bool swap>
std::int64_t decode_reals_as(const std::byte* samples, std::int64_t n, Real* values) {
  using B = Bits<sizeof(Real)>;
  using Word = typename B::type;
  std::int64_t n_nan = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    Word word = load<Word>(samples + static_cast<std::int64_t>(sizeof(Real)) * i);
    if (swap) word = B::swapped(word);
    Real value;
    __builtin_memcpy(&value, &word, sizeof value);
    value += Real{0};
    values[i] = value;
    n_nan += value != value ? 1 : 0;
  }
  return n_nan;
}

template <class Real>
std::int64_t decode_reals(const std::byte* samples, std::int64_t n, bool swap,
                          Real* __restrict values) {
  return swap ? decode_reals_as<Real, true>(samples, n, values)
              : decode_reals_as<Real, false>(samples, n, values);
}

template <class Real, class Key>
Decoded<Key> keys_of(const Real* values, std::int64_t n, Key* __restrict keys) {
  using Word = typename Bits<sizeof(Real)>::type;
  constexpr int top = 8 * sizeof(Key) - 1;
  constexpr Key none = static_cast<Key>(~(std::uint64_t{1} << top));
  Key smallest = none;
  Key largest = static_cast<Key>(-none - 1);
  for (std::int64_t i = 0; i < n; ++i) {
    Key bits;
    __builtin_memcpy(&bits, values + i, sizeof bits);
    // Negative numbers sort backwards by their bits: turn all but the sign.
    const Key key = bits ^ static_cast<Key>(static_cast<Word>(bits >> top) >> 1);
    keys[i] = key;
    smallest = key < smallest ? key : smallest;
    largest = key > largest ? key : largest;
  }
  return {smallest, largest, 0};
}

template <class Real>
struct Eight;
template <>
struct Eight<float> {
  typedef float type __attribute__((vector_size(32)));
};
template <>
struct Eight<double> {
  typedef double type __attribute__((vector_size(64)));
};

template <class Real>
void sums(const Real* values, std::int64_t n, double centre, double* sum, double* squares) {
  // Sixteen lanes whatever the registers hold, so that every level adds in the same order.
  constexpr std::int64_t n_lanes = 16;
  using Reals = typename Eight<Real>::type;
  using Doubles = Eight<double>::type;
  const Doubles middle = Doubles{} + centre;
  Doubles s0{};
  Doubles s1{};
  Doubles q0{};
  Doubles q1{};
  const std::int64_t whole = n - n % n_lanes;
  for (std::int64_t i = 0; i < whole; i += n_lanes) {
    Reals v0;
    Reals v1;
    __builtin_memcpy(&v0, values + i, sizeof v0);
    __builtin_memcpy(&v1, values + i + 8, sizeof v1);
    const Doubles d0 = __builtin_convertvector(v0, Doubles) - middle;
    const Doubles d1 = __builtin_convertvector(v1, Doubles) - middle;
    s0 += d0;
    s1 += d1;
    q0 += d0 * d0;
    q1 += d1 * d1;
  }
  double s[n_lanes];
  double q[n_lanes];
  __builtin_memcpy(s, &s0, sizeof s0);
  __builtin_memcpy(s + 8, &s1, sizeof s1);
  __builtin_memcpy(q, &q0, sizeof q0);
  __builtin_memcpy(q + 8, &q1, sizeof q1);
  for (std::int64_t i = whole; i < n; ++i) {
    const double d = static_cast<double>(values[i]) - centre;
    s[i - whole] += d;
    q[i - whole] += d * d;
  }
  for (std::int64_t half = n_lanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) {
      s[lane] += s[lane + half];
      q[lane] += q[lane + half];
    }
  }
  *sum = s[0];
  *squares = q[0];
}

std::uint64_t word_sum(const std::byte* words, std::int64_t n) {
  constexpr bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t word = load<std::uint32_t>(words + 4 * i);
    sum += little ? __builtin_bswap32(word) : word;
  }
  return sum;
}

#define SKIPSTREAM_STRING_OF(name) #name
#define SKIPSTREAM_STRING(name) SKIPSTREAM_STRING_OF(name)

}  // namespace

const SkipKernels skip_kernels = {
    SKIPSTREAM_STRING(SKIPSTREAM_SIMD_LEVEL),
    decode8,
    {decode<std::int16_t>, squares16, count4<std::int16_t>, next_above<std::int16_t>,
     gather<std::int16_t>},
    {decode<std::int32_t>, squares32, count4<std::int32_t>, next_above<std::int32_t>,
     gather<std::int32_t>},
    {decode<std::int64_t>, squares64, count4<std::int64_t>, next_above<std::int64_t>,
     gather<std::int64_t>},
    {decode_reals<float>, keys_of<float, std::int32_t>, sums<float>},
    {decode_reals<double>, keys_of<double, std::int64_t>, sums<double>},
    word_sum,
};

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
