#include "skipstream/kernels/rice.hpp"

// Only plain types and loops here: see skips.simd.cpp.

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

namespace {

using i64 = std::int64_t;
using u64 = std::uint64_t;

inline u64 load_big_endian(const std::byte* from) {
  u64 word;
  __builtin_memcpy(&word, from, sizeof word);
  return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(word) : word;
}

/// Bits from any place on, at the upper end of the word: 57 of them are valid.
inline u64 bits_at(const std::byte* window, i64 bit) {
  return load_big_endian(window + (bit >> 3)) << (bit & 7);
}

/// How a width of samples is coded.
template <class Sample>
struct Code;
template <>
struct Code<std::uint8_t> {
  static constexpr int split_bits = 3;
  static constexpr int raw_split = 6;
};
template <>
struct Code<std::int16_t> {
  static constexpr int split_bits = 4;
  static constexpr int raw_split = 14;
};
template <>
struct Code<std::int32_t> {
  static constexpr int split_bits = 5;
  static constexpr int raw_split = 25;
};

/// Even numbers stand for differences from 0 up, odd ones for those below 0.
inline std::uint32_t difference(std::uint32_t mapped) { return (mapped >> 1) ^ -(mapped & 1); }

/// One sample whose run of zeros is long. Returns the number that it maps to; bit < 0: malformed.
inline std::uint32_t decode_long(const std::byte* window, i64 n_bits, int split, i64& bit) {
  u64 zeros = 0;
  for (;;) {
    if (bit > n_bits) break;
    const u64 word = bits_at(window, bit) >> 8;  // 56 bits, valid for sure
    if (word != 0) {
      const int n = __builtin_clzll(word) - 8;
      zeros += static_cast<u64>(n);
      bit += n + 1;
      const u64 low = split == 0 ? 0 : bits_at(window, bit) >> (64 - split);
      bit += split;
      return static_cast<std::uint32_t>((zeros << split) | low);
    }
    zeros += 56;
    bit += 56;
  }
  bit = -1;
  return 0;
}

/// `n` samples of a block, `per_word` of them from each word of 56 bits.
template <int per_word, class Sample>
inline bool decode_split(const std::byte* window, i64 n_bits, int split, i64& bit_of,
                         std::uint32_t& last_of, Sample* samples, i64 n) {
  // A run of zeros that is longer than this might not fit the word.
  const int longest = 56 / per_word - 1 - split;
  i64 bit = bit_of;
  std::uint32_t last = last_of;
  i64 i = 0;
  for (; i + per_word <= n; i += per_word) {
    u64 word = bits_at(window, bit);
    const i64 start = bit;
    int used = 0;
    bool fits = true;
    std::uint32_t mapped[per_word];
    for (int k = 0; k < per_word; ++k) {
      const int zeros = __builtin_clzll(word | 1);
      fits = fits && zeros <= longest;
      word <<= zeros;
      word <<= 1;
      mapped[k] = (static_cast<std::uint32_t>(zeros) << split) |
                  static_cast<std::uint32_t>((word >> 1) >> (63 - split));
      word <<= split;
      used += zeros + 1 + split;
    }
    bit += used;
    if (!fits) {
      bit = start;
      for (int k = 0; k < per_word; ++k) {
        mapped[k] = decode_long(window, n_bits, split, bit);
        if (bit < 0) return false;
      }
    }
    for (int k = 0; k < per_word; ++k) {
      last += difference(mapped[k]);
      samples[i + k] = static_cast<Sample>(last);
    }
  }
  for (; i < n; ++i) {
    last += difference(decode_long(window, n_bits, split, bit));
    if (bit < 0) return false;
    samples[i] = static_cast<Sample>(last);
  }
  bit_of = bit;
  last_of = last;
  return true;
}

template <class Sample>
i64 decode(const std::byte* window, i64 n_bytes, bool is_last, i64 block, RiceState& state,
           Sample* samples, i64 n) {
  using C = Code<Sample>;
  constexpr int width = 8 * static_cast<int>(sizeof(Sample));
  constexpr i64 at_once = 32;  // samples between two looks at the end: within the margin
  const i64 n_bits = 8 * n_bytes;
  i64 done = 0;
  while (done < n) {
    if (is_last ? state.bit > n_bits : state.bit > n_bits - 8 * rice_margin) {
      return is_last ? -1 : done;
    }
    if (!state.started) {
      state.last = static_cast<std::uint32_t>(bits_at(window, state.bit) >> (64 - width));
      state.bit += width;
      state.started = true;
    }
    if (state.left == 0) {
      state.split =
          static_cast<std::int32_t>(bits_at(window, state.bit) >> (64 - C::split_bits)) - 1;
      state.bit += C::split_bits;
      state.left = block;
      if (state.split > C::raw_split) return -1;
    }
    i64 m = state.left < n - done ? state.left : n - done;
    if (m > at_once) m = at_once;
    Sample* to = samples + done;
    if (state.split < 0) {
      for (i64 i = 0; i < m; ++i) to[i] = static_cast<Sample>(state.last);
    } else if (state.split == C::raw_split) {
      for (i64 i = 0; i < m; ++i) {
        state.last +=
            difference(static_cast<std::uint32_t>(bits_at(window, state.bit) >> (64 - width)));
        state.bit += width;
        to[i] = static_cast<Sample>(state.last);
      }
    } else {
      const bool good =
          state.split <= 5
              ? decode_split<4>(window, n_bits, state.split, state.bit, state.last, to, m)
          : state.split <= 12
              ? decode_split<2>(window, n_bits, state.split, state.bit, state.last, to, m)
              : decode_split<1>(window, n_bits, state.split, state.bit, state.last, to, m);
      if (!good) return -1;
    }
    state.left -= m;
    done += m;
  }
  return is_last && state.bit > n_bits ? -1 : done;
}

}  // namespace

std::int64_t rice_decode8(const std::byte* window, std::int64_t n_bytes, bool last,
                          std::int64_t block, RiceState& state, std::uint8_t* samples,
                          std::int64_t n) noexcept {
  return decode(window, n_bytes, last, block, state, samples, n);
}
std::int64_t rice_decode16(const std::byte* window, std::int64_t n_bytes, bool last,
                           std::int64_t block, RiceState& state, std::int16_t* samples,
                           std::int64_t n) noexcept {
  return decode(window, n_bytes, last, block, state, samples, n);
}
std::int64_t rice_decode32(const std::byte* window, std::int64_t n_bytes, bool last,
                           std::int64_t block, RiceState& state, std::int32_t* samples,
                           std::int64_t n) noexcept {
  return decode(window, n_bytes, last, block, state, samples, n);
}

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
