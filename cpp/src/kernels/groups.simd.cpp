#include "skipstream/kernels/groups.hpp"

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-math-errno")                   // a square root is an instruction
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in the intrinsics' own header, GCC 12
#endif

// Only plain types, loops and vectors here: an inline function of a standard header that was
// compiled for a higher level could be picked by the linker for the whole program. Intrinsics stand
// where the compiler does not find the instruction: 16-byte pieces to one register, counting with a
// mask, and multiplying 16-bit pairs; they make the whole about twice as fast.

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

extern const AllGroupKernels group_kernels;

namespace {

using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

constexpr int P = static_cast<int>(group_pixels);

#if defined(__AVX512BW__)
constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T, int n_bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(n_bytes)));
};
template <class T>
using Vector = typename VectorOf<T, vector_bytes>::type;
using Bytes = Vector<char>;
using Piece = VectorOf<char, 16>::type;

template <class V>
V load(const void* from) {
  V v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class V>
void store(void* to, V v) {
  __builtin_memcpy(to, &v, sizeof v);
}

template <class T>
constexpr T highest = static_cast<T>(~(std::uint64_t{1} << (8 * sizeof(T) - 1)));

// ---- what the levels do differently -----------------------------------------------------------

/// A register of 16-byte pieces.
inline Bytes join(const std::byte* const* pieces, i64 offset) {
#if defined(__AVX512BW__)
  const auto at = [&](int i) { return reinterpret_cast<const __m128i*>(pieces[i] + offset); };
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(at(0)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(4)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(8)), 2);
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(12)), 3);
  return (Bytes)v;
#elif defined(__AVX2__)
  const auto at = [&](int i) { return reinterpret_cast<const __m128i*>(pieces[i] + offset); };
  return (Bytes)_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at(0))),
                                        _mm_loadu_si128(at(4)), 1);
#else
  return load<Bytes>(pieces[0] + offset);
#endif
}
/// The same for units of 8 bytes, of which a piece has two.
inline Bytes join2(const std::byte* const* pieces, i64 offset) {
#if defined(__AVX512BW__)
  const auto at = [&](int i) { return reinterpret_cast<const __m128i*>(pieces[i] + offset); };
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(at(0)));
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(2)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(4)), 2);
  v = _mm512_inserti32x4(v, _mm_loadu_si128(at(6)), 3);
  return (Bytes)v;
#elif defined(__AVX2__)
  const auto at = [&](int i) { return reinterpret_cast<const __m128i*>(pieces[i] + offset); };
  return (Bytes)_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(at(0))),
                                        _mm_loadu_si128(at(2)), 1);
#else
  return load<Bytes>(pieces[0] + offset);
#endif
}

#if defined(__AVX512BW__)
inline Bytes low4(Bytes a, Bytes b) { return (Bytes)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b); }
inline Bytes high4(Bytes a, Bytes b) {
  return (Bytes)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b);
}
inline Bytes low8(Bytes a, Bytes b) { return (Bytes)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b); }
inline Bytes high8(Bytes a, Bytes b) {
  return (Bytes)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
inline Bytes low4(Bytes a, Bytes b) { return (Bytes)_mm256_unpacklo_epi32((__m256i)a, (__m256i)b); }
inline Bytes high4(Bytes a, Bytes b) {
  return (Bytes)_mm256_unpackhi_epi32((__m256i)a, (__m256i)b);
}
inline Bytes low8(Bytes a, Bytes b) { return (Bytes)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b); }
inline Bytes high8(Bytes a, Bytes b) {
  return (Bytes)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
}
#else
inline Bytes low4(Bytes a, Bytes b) {
  return (Bytes)__builtin_shufflevector((Vector<i32>)a, (Vector<i32>)b, 0, 4, 1, 5);
}
inline Bytes high4(Bytes a, Bytes b) {
  return (Bytes)__builtin_shufflevector((Vector<i32>)a, (Vector<i32>)b, 2, 6, 3, 7);
}
inline Bytes low8(Bytes a, Bytes b) {
  return (Bytes)__builtin_shufflevector((Vector<i64>)a, (Vector<i64>)b, 0, 2);
}
inline Bytes high8(Bytes a, Bytes b) {
  return (Bytes)__builtin_shufflevector((Vector<i64>)a, (Vector<i64>)b, 1, 3);
}
#endif

/// The bytes of every `size`-byte sample in reverse.
template <int size>
inline Bytes swapped(Bytes v) {
#if defined(__AVX2__)
  constexpr char m = size - 1;
  const Piece order = {0 ^ m, 1 ^ m, 2 ^ m,  3 ^ m,  4 ^ m,  5 ^ m,  6 ^ m,  7 ^ m,
                       8 ^ m, 9 ^ m, 10 ^ m, 11 ^ m, 12 ^ m, 13 ^ m, 14 ^ m, 15 ^ m};
#if defined(__AVX512BW__)
  return (Bytes)_mm512_shuffle_epi8((__m512i)v, _mm512_broadcast_i32x4((__m128i)order));
#else
  return (Bytes)_mm256_shuffle_epi8((__m256i)v, _mm256_broadcastsi128_si256((__m128i)order));
#endif
#else
  using Half = Vector<std::uint16_t>;
  Half h = (Half)v;
  h = (h << 8) | (h >> 8);
  if constexpr (size == 4) h = __builtin_shufflevector(h, h, 1, 0, 3, 2, 5, 4, 7, 6);
  if constexpr (size == 8) h = __builtin_shufflevector(h, h, 3, 2, 1, 0, 7, 6, 5, 4);
  return (Bytes)h;
#endif
}

/// count + 1 where key > bound.
template <class Key>
inline Vector<Key> count_above(Vector<Key> count, Vector<Key> key, Vector<Key> bound) {
#if defined(__AVX512BW__)
  const __m512i c = (__m512i)count;
  const __m512i k = (__m512i)key;
  const __m512i b = (__m512i)bound;
  const __m512i one = _mm512_set1_epi32(-1);
  if constexpr (sizeof(Key) == 2) {
    return (Vector<Key>)_mm512_mask_sub_epi16(c, _mm512_cmpgt_epi16_mask(k, b), c, one);
  } else if constexpr (sizeof(Key) == 4) {
    return (Vector<Key>)_mm512_mask_sub_epi32(c, _mm512_cmpgt_epi32_mask(k, b), c, one);
  } else {
    return (Vector<Key>)_mm512_mask_sub_epi64(c, _mm512_cmpgt_epi64_mask(k, b), c, one);
  }
#else
  return count - (Vector<Key>)(key > bound);
#endif
}

using Words = Vector<std::uint32_t>;

/// sum + the two 16-bit products of every unit, modulo 2^32.
inline Words add_products(Words sum, Vector<i16> a, Vector<i16> b) {
#if defined(__AVX512BW__)
  return sum + (Words)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return sum + (Words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return sum + (Words)__builtin_ia32_pmaddwd128(a, b);
#else
  const auto low = [](Vector<i16> v) { return (Words)(((Vector<i32>)((Words)v << 16)) >> 16); };
  const auto high = [](Vector<i16> v) { return (Words)((Vector<i32>)v >> 16); };
  return sum + low(a) * low(b) + high(a) * high(b);
#endif
}

// ---- rows -------------------------------------------------------------------------------------

/// How a row lies in registers.
template <class Key>
struct Row {
  static constexpr int unit_bytes = sizeof(Key) == 8 ? 8 : 4;
  static constexpr int row_bytes = P * unit_bytes;
  static constexpr int n_vectors = row_bytes / vector_bytes;
  static constexpr int n_keys = row_bytes / static_cast<int>(sizeof(Key));
  static constexpr int vector_keys = vector_bytes / static_cast<int>(sizeof(Key));
  static constexpr int vector_pixels = vector_bytes / unit_bytes;
  static constexpr int piece_units = 16 / unit_bytes;
  static constexpr int piece_keys = 16 / static_cast<int>(sizeof(Key));
};

template <class Key>
constexpr int n_unit = static_cast<int>(Group<Key>::unit_samples);

template <class Key>
inline i64 n_rows(const Group<Key>& group) {
  return (group.n_samples + n_unit<Key> - 1) / n_unit<Key>;
}

template <class Key>
inline Vector<Key> at(const Key* keys, int vector) {
  return load<Vector<Key>>(keys + vector * Row<Key>::vector_keys);
}

template <class V>
inline V least(V a, V b) {
  return a < b ? a : b;
}
template <class V>
inline V most(V a, V b) {
  return a > b ? a : b;
}

/// Calculations go as many pixels at a time as a register holds doubles.
using Doubles = Vector<double>;
using Longs = Vector<i64>;
constexpr int width = vector_bytes / 8;
using Ints = typename VectorOf<i32, vector_bytes / 2>::type;
using Floats = typename VectorOf<float, vector_bytes / 2>::type;

/// A number for each pixel of the group.
struct Numbers {
  alignas(64) i64 of[P];

  [[nodiscard]] Longs get(int p) const { return load<Longs>(of + p); }
  void set(int p, Longs v) { store(of + p, v); }
};

/// A row that has each pixel's key in all of its samples.
template <class Key>
inline void spread(const i64* keys, Key* row) {
  if constexpr (sizeof(Key) == 8) {
    for (int p = 0; p < P; p += width) store(row + p, load<Longs>(keys + p));
  } else {
    for (int p = 0; p < P; p += width) {
      Longs unit = load<Longs>(keys + p);
      if constexpr (sizeof(Key) == 2) unit = (unit & 0xffff) | (unit << 16);
      store(row + p * n_unit<Key>, __builtin_convertvector(unit, Ints));
    }
  }
}

/// Decodes the pieces of 16 bytes at `offset` to `piece_units` rows.
template <class Key, bool swap>
inline void transpose(const std::byte* const* pixels, i64 offset, Vector<Key> flip,
                      Vector<Key> rows[Row<Key>::piece_units][Row<Key>::n_vectors]) {
  using R = Row<Key>;
  for (int v = 0; v < R::n_vectors; ++v) {
    const std::byte* const* first = pixels + v * R::vector_pixels;
    if constexpr (R::unit_bytes == 4) {
      Bytes a = join(first + 0, offset);
      Bytes b = join(first + 1, offset);
      Bytes c = join(first + 2, offset);
      Bytes d = join(first + 3, offset);
      if constexpr (swap) {
        a = swapped<sizeof(Key)>(a);
        b = swapped<sizeof(Key)>(b);
        c = swapped<sizeof(Key)>(c);
        d = swapped<sizeof(Key)>(d);
      }
      const Bytes ac_low = low4(a, c);
      const Bytes ac_high = high4(a, c);
      const Bytes bd_low = low4(b, d);
      const Bytes bd_high = high4(b, d);
      rows[0][v] = (Vector<Key>)low4(ac_low, bd_low) ^ flip;
      rows[1][v] = (Vector<Key>)high4(ac_low, bd_low) ^ flip;
      rows[2][v] = (Vector<Key>)low4(ac_high, bd_high) ^ flip;
      rows[3][v] = (Vector<Key>)high4(ac_high, bd_high) ^ flip;
    } else {
      Bytes a = join2(first + 0, offset);
      Bytes b = join2(first + 1, offset);
      if constexpr (swap) {
        a = swapped<sizeof(Key)>(a);
        b = swapped<sizeof(Key)>(b);
      }
      rows[0][v] = (Vector<Key>)low8(a, b) ^ flip;
      rows[1][v] = (Vector<Key>)high8(a, b) ^ flip;
    }
  }
}

/// Decodes all samples of a group, row by row: `each(row, vector number, keys)` sees and may change
/// what is stored. Where the number of 16-bit samples is odd, the last row's first samples double
/// its second ones.
template <class Key, bool swap, class Each>
inline void decode(const std::byte* samples, i64 step, i64 n_pixels, Key flip_key,
                   Group<Key>& group, Each each) {
  using R = Row<Key>;
  const i64 n = group.n_samples;
  const Vector<Key> flip = Vector<Key>{} + flip_key;
  const std::byte* pixels[P];
  for (int p = 0; p < P; ++p) {
    pixels[p] = samples + step * (p < n_pixels ? p : n_pixels - 1);
  }
  Key* to = group.keys;
  Vector<Key> rows[R::piece_units][R::n_vectors];
  const i64 n_pieces = n / R::piece_keys;
  const std::byte* ahead = group.ahead;
  const i64 ahead_bytes = n_pieces == 0 ? 0 : step * P / n_pieces;
  for (i64 piece = 0; piece < n_pieces; ++piece) {
    if (ahead != nullptr) {
      for (i64 i = 0; i < ahead_bytes; i += 64) __builtin_prefetch(ahead + i, 0, 2);
      ahead += ahead_bytes;
    }
    transpose<Key, swap>(pixels, 16 * piece, flip, rows);
    for (int u = 0; u < R::piece_units; ++u) {
      for (int v = 0; v < R::n_vectors; ++v) {
        store(to + v * R::vector_keys, each(v, rows[u][v]));
      }
      to += R::n_keys;
    }
  }
  const i64 rest = n - n_pieces * R::piece_keys;
  if (rest == 0) return;
  // The last 16 bytes of each pixel, of which some were decoded before.
  std::byte padded[P][16];
  i64 offset = (n - R::piece_keys) * static_cast<i64>(sizeof(Key));
  if (offset < 0) {
    for (int p = 0; p < P; ++p) {
      for (i64 s = 0; s < n; ++s) {
        __builtin_memcpy(padded[p] + 16 - (n - s) * static_cast<i64>(sizeof(Key)),
                         pixels[p] + s * static_cast<i64>(sizeof(Key)), sizeof(Key));
      }
      pixels[p] = padded[p];
    }
    offset = 0;
  }
  transpose<Key, swap>(pixels, offset, flip, rows);
  const i64 n_whole = rest / n_unit<Key>;
  for (i64 u = R::piece_units - n_whole; u < R::piece_units; ++u) {
    for (int v = 0; v < R::n_vectors; ++v) store(to + v * R::vector_keys, each(v, rows[u][v]));
    to += R::n_keys;
  }
  if constexpr (sizeof(Key) == 2) {
    if (rest % 2 == 0) return;
    const i64 u = R::piece_units - n_whole - 1;
    for (int v = 0; v < R::n_vectors; ++v) {
      using Unit = Vector<std::uint32_t>;
      const Unit second = (Unit)rows[u][v] & 0xffff0000U;
      store(to + v * R::vector_keys, each(v, (Vector<Key>)(second | (second >> 16))));
    }
  }
}

/// Sets the samples that fill up an odd number of them.
template <class Key>
void fill(Group<Key>& group, const i64* of_pixel) {
  if (group.n_samples % n_unit<Key> == 0) return;
  Key* row = group.keys + (n_rows(group) - 1) * Row<Key>::n_keys;
  for (int p = 0; p < P; ++p) {
    row[2 * p] = of_pixel == nullptr ? highest<Key> : static_cast<Key>(of_pixel[p]);
  }
}

template <class Key, class V>
void fold_extremes(const V* small, const V* large, Group<Key>& group) {
  constexpr int n = n_unit<Key>;
  Key lows[Row<Key>::n_keys];
  Key highs[Row<Key>::n_keys];
  __builtin_memcpy(lows, small, sizeof lows);
  __builtin_memcpy(highs, large, sizeof highs);
  for (int p = 0; p < P; ++p) {
    const Key a = lows[n * p];
    const Key b = lows[n * p + n - 1];
    const Key c = highs[n * p];
    const Key d = highs[n * p + n - 1];
    group.smallest[p] = a < b ? a : b;
    group.largest[p] = c > d ? c : d;
  }
}

template <class Key, bool swap>
void load_as(const std::byte* samples, i64 step, i64 n_pixels, Key flip, Group<Key>& group) {
  using R = Row<Key>;
  Vector<Key> small[R::n_vectors];
  Vector<Key> large[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) {
    small[v] = Vector<Key>{} + highest<Key>;
    large[v] = ~small[v];
  }
  decode<Key, swap>(samples, step, n_pixels, flip, group, [&](int v, Vector<Key> keys) {
    small[v] = least(small[v], keys);
    large[v] = most(large[v], keys);
    return keys;
  });
  fold_extremes<Key>(small, large, group);
  fill<Key>(group, nullptr);
}

template <class Key>
void load_integers(const std::byte* samples, i64 step, i64 n_pixels, bool swap, Key flip,
                   Group<Key>& group) {
  if (swap) {
    load_as<Key, true>(samples, step, n_pixels, flip, group);
  } else {
    load_as<Key, false>(samples, step, n_pixels, flip, group);
  }
}

template <class Key>
std::uint32_t find(const Group<Key>& group, Key key) {
  using R = Row<Key>;
  Vector<Key> any[R::n_vectors] = {};
  for (i64 r = 0; r < n_rows(group); ++r) {
    const Key* row = group.keys + r * R::n_keys;
    for (int v = 0; v < R::n_vectors; ++v) any[v] |= (Vector<Key>)(at(row, v) == key);
  }
  Key found[R::n_keys];
  __builtin_memcpy(found, any, sizeof found);
  if (key == highest<Key> && group.n_samples % n_unit<Key> != 0) {
    // The filling is no sample: look again without the last row, and then at its second samples.
    Group<Key> whole = group;
    --whole.n_samples;
    std::uint32_t bits = find(whole, key);
    const Key* row = group.keys + (n_rows(group) - 1) * R::n_keys;
    for (int p = 0; p < P; ++p) bits |= (row[2 * p + 1] == key ? 1U : 0U) << p;
    return bits;
  }
  std::uint32_t bits = 0;
  constexpr int n = n_unit<Key>;
  for (int i = 0; i < R::n_keys; ++i) bits |= (found[i] != 0 ? 1U : 0U) << (i / n);
  return bits;
}

/// The middle between the extremes, and how far they are from any middle.
template <class Key>
i64 centres(const Group<Key>& group, i64* centre) {
  i64 reach = 0;
  for (int p = 0; p < P; ++p) {
    const i64 low = group.smallest[p];
    const i64 high = group.largest[p];
    const i64 middle = (low + high + 1) >> 1;  // so that only -2^(bits-1) can be that far
    centre[p] = middle;
    const i64 r = middle - low;
    reach = r > reach ? r : reach;
  }
  return reach;
}

inline void add_wide(const Words* parts, bool is_signed, i64* totals) {
  i32 part[P];
  __builtin_memcpy(part, parts, sizeof part);
  for (int p = 0; p < P; ++p) {
    totals[p] += is_signed ? i64{part[p]} : i64{static_cast<std::uint32_t>(part[p])};
  }
}

bool moments16(Group<i16>& group, i64* centre, i64* sums, i64* squares) {
  using R = Row<i16>;
  const i64 reach = centres(group, centre);
  fill(group, centre);
  alignas(64) i16 row_centre[R::n_keys];
  spread(centre, row_centre);
  Vector<i16> c[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) c[v] = at(row_centre, v);
  const Vector<i16> ones = Vector<i16>{} + i16{1};
  // Two squares a row are below 2^32 when they are read as unsigned; the sums are far smaller.
  const i64 most_rows = reach == 0 ? n_rows(group) : 0xffffffffLL / (2 * reach * reach);
  for (int p = 0; p < P; ++p) sums[p] = squares[p] = 0;
  for (i64 begin = 0; begin < n_rows(group);) {
    const i64 end = n_rows(group) - begin < most_rows ? n_rows(group) : begin + most_rows;
    Words s[R::n_vectors] = {};
    Words q[R::n_vectors] = {};
    const i16* row = group.keys + begin * R::n_keys;
    for (i64 r = begin; r < end; ++r, row += R::n_keys) {
      for (int v = 0; v < R::n_vectors; ++v) {
        const auto d =
            (Vector<i16>)((Vector<std::uint16_t>)at(row, v) - (Vector<std::uint16_t>)c[v]);
        s[v] = add_products(s[v], d, ones);
        q[v] = add_products(q[v], d, d);
      }
    }
    add_wide(s, true, sums);
    add_wide(q, false, squares);
    begin = end;
  }
  fill<i16>(group, nullptr);
  return true;
}

bool moments32(Group<i32>& group, i64* centre, i64* sums, i64* squares) {
  using R = Row<i32>;
  const i64 reach = centres(group, centre);
  alignas(64) i32 row_centre[R::n_keys];
  spread(centre, row_centre);
  Vector<i32> c[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) c[v] = at(row_centre, v);
  for (int p = 0; p < P; ++p) sums[p] = squares[p] = 0;
  if (reach < (1 << 15)) {
    const i64 most_rows = reach == 0 ? n_rows(group) : 0xffffffffLL / (reach * reach);
    for (i64 begin = 0; begin < n_rows(group);) {
      i64 end = n_rows(group) - begin < most_rows ? n_rows(group) : begin + most_rows;
      Words s[R::n_vectors] = {};
      Words q[R::n_vectors] = {};
      const i32* row = group.keys + begin * R::n_keys;
      for (i64 r = begin; r < end; ++r, row += R::n_keys) {
        for (int v = 0; v < R::n_vectors; ++v) {
          const Words d = (Words)at(row, v) - (Words)c[v];
          s[v] += d;
          q[v] += d * d;
        }
      }
      add_wide(s, true, sums);
      add_wide(q, false, squares);
      begin = end;
    }
    return true;
  }
  if (reach >= (1 << 24)) return false;  // 2^14 samples * 2^48
  const i32* row = group.keys;
  for (i64 r = 0; r < n_rows(group); ++r, row += R::n_keys) {
    for (int p = 0; p < P; ++p) {
      const i64 d = row[p] - centre[p];
      sums[p] += d;
      squares[p] += d * d;
    }
  }
  return true;
}

// ---- order statistics -------------------------------------------------------------------------

/// counts.of[p] = how many keys of pixel p are above bounds.of[p].
template <class Key>
inline void count(const Group<Key>& group, const Numbers& bounds, Numbers& counts) {
  using R = Row<Key>;
  alignas(64) Key row_bounds[R::n_keys];
  spread(bounds.of, row_bounds);
  Vector<Key> b[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) b[v] = at(row_bounds, v);
  Vector<Key> even[R::n_vectors] = {};
  Vector<Key> odd[R::n_vectors] = {};
  const Key* row = group.keys;
  const i64 n = n_rows(group);
  i64 r = 0;
  for (; r + 2 <= n; r += 2, row += 2 * R::n_keys) {
    for (int v = 0; v < R::n_vectors; ++v) {
      even[v] = count_above<Key>(even[v], at(row, v), b[v]);
      odd[v] = count_above<Key>(odd[v], at(row + R::n_keys, v), b[v]);
    }
  }
  for (; r < n; ++r, row += R::n_keys) {
    for (int v = 0; v < R::n_vectors; ++v) even[v] = count_above<Key>(even[v], at(row, v), b[v]);
  }
  if constexpr (sizeof(Key) == 8) {
    for (int v = 0; v < R::n_vectors; ++v) counts.set(v * width, even[v] + odd[v]);
  } else {
    alignas(64) i32 found[P];
    for (int v = 0; v < R::n_vectors; ++v) {
      auto sum = (Vector<i32>)(even[v] + odd[v]);
      if constexpr (sizeof(Key) == 2) sum = ((sum << 16) >> 16) + (sum >> 16);
      store(found + v * R::vector_pixels, sum);
    }
    for (int p = 0; p < P; p += width) {
      counts.set(p, __builtin_convertvector(load<Ints>(found + p), Longs));
    }
  }
}

/// The largest key at or below each bound, and the smallest above it.
template <class Key>
inline void neighbours(const Group<Key>& group, const Numbers& bounds, Key* below, Key* above) {
  using R = Row<Key>;
  alignas(64) Key row_bounds[R::n_keys];
  spread(bounds.of, row_bounds);
  Vector<Key> b[R::n_vectors];
  Vector<Key> small[R::n_vectors];
  Vector<Key> large[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) {
    b[v] = at(row_bounds, v);
    small[v] = Vector<Key>{} + highest<Key>;
    large[v] = ~small[v];
  }
  const Key* row = group.keys;
  for (i64 r = 0; r < n_rows(group); ++r, row += R::n_keys) {
    for (int v = 0; v < R::n_vectors; ++v) {
      const Vector<Key> keys = at(row, v);
      const auto is_above = keys > b[v];
      small[v] = least(small[v], is_above ? keys : small[v]);
      large[v] = most(large[v], is_above ? large[v] : keys);
    }
  }
  Group<Key> folded;
  fold_extremes<Key>(small, large, folded);
  for (int p = 0; p < P; ++p) {
    below[p] = folded.largest[p];
    above[p] = folded.smallest[p];
  }
}

/// Whether any bit is set.
inline bool is_any(Longs v) {
#if defined(__AVX512BW__)
  return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
#elif defined(__AVX2__)
  return _mm256_testz_si256((__m256i)v, (__m256i)v) == 0;
#else
  return (v[0] | v[1]) != 0;
#endif
}

/// 1.5 * 2^52: integers below 2^51 added to it stand in the low bits of the double.
constexpr double shifter = 6755399441055744.0;
constexpr i64 shifter_bits = 0x4338000000000000;

inline Doubles to_doubles(Longs v) { return (Doubles)(v + shifter_bits) - shifter; }
inline Longs to_longs(Doubles v) { return (Longs)(v + shifter) - shifter_bits; }

/// Keys as the numbers that they stand for, in which neighbours are evenly spaced, and back.
struct Whole {
  static Doubles number(Longs key) { return to_doubles(key); }
  static Longs key(Doubles number) { return to_longs(number); }
};
template <class Bits>
inline Bits turned(Bits bits, int n_bits, i64 all_but_sign) {
  // Negative numbers sort backwards by their bits: turn all but the sign.
  return bits ^ ((bits >> (n_bits - 1)) & static_cast<decltype(bits[0] + 0)>(all_but_sign));
}
struct FloatBits {
  static Doubles number(Longs key) {
    const auto bits = turned(__builtin_convertvector(key, Ints), 32, highest<i32>);
    return __builtin_convertvector((Floats)bits, Doubles);
  }
  static Longs key(Doubles number) {
    const auto bits = (Ints) __builtin_convertvector(number, Floats);
    return __builtin_convertvector(turned(bits, 32, highest<i32>), Longs);
  }
};
struct DoubleBits {
  static Doubles number(Longs key) { return (Doubles)turned(key, 64, highest<i64>); }
  static Longs key(Doubles number) { return turned((Longs)number, 64, highest<i64>); }
};

/// Narrows, for all pixels at once, the range of keys that holds the rank sought, by counting how
/// many keys are above a bound: first where the normal distribution says, then on from there by its
/// density, or between the counts at the ends of the range; later, every other bound halves the
/// range, so that the number of passes is limited by the key's bits. A bound that splits the keys
/// just at the rank ends the search of its pixel.
template <class Key, class Number>
void select(const Group<Key>& group, const Search& search, Key* lower, Key* upper) {
  const i64 n = group.n_samples;
  const i64 filled = n_rows(group) * n_unit<Key>;
  const i64 rank = search.rank;
  const double target = static_cast<double>(rank) + (search.pair ? 1.0 : 0.5);
  const i64 least_hit = search.pair ? rank + 1 : rank;

  Numbers low;      // the key sought is at or above,
  Numbers high;     // and at or below
  Numbers n_below;  // keys below low
  Numbers n_upto;   // keys at or below high
  Numbers next;     // where to look, as doubles
  Numbers bound;
  Numbers counts;
  Numbers hit;  // all bits where the bound splits the keys at the rank
  for (int p = 0; p < P; ++p) {
    low.of[p] = group.smallest[p];
    high.of[p] = group.largest[p];
  }
  Longs any{};
  for (int p = 0; p < P; p += width) {
    n_below.set(p, Longs{});
    n_upto.set(p, Longs{} + n);
    hit.set(p, Longs{});
    any |= low.get(p) < high.get(p);
    next.set(p, (Longs)(load<Doubles>(search.mean + p) +
                        search.place * load<Doubles>(search.sigma + p)));
  }
  for (int round = 0; is_any(any); ++round) {
    const bool halve = round >= 6 && round % 2 != 0;
    for (int p = 0; p < P; p += width) {
      const Longs l = low.get(p);
      const Longs h = high.get(p);
      Longs b;
      if (halve) {
        b = (l & h) + ((l ^ h) >> 1);  // no overflow
      } else {
        const Doubles first = Number::number(l);
        const Doubles last = Number::number(h);
        const Longs from = n_below.get(p);
        const Doubles part = (target - to_doubles(from)) / to_doubles(n_upto.get(p) - from);
        const Doubles between = first + part * (last - first);
        Doubles x = (Doubles)next.get(p);
        x = ((x >= first) & (x < last)) ? x : between;
        x = x >= first ? x : first;  // not a number, too
        x = x <= last ? x : last;
        b = Number::key(x);
      }
      b = b < l ? l : b;
      const Longs limit = h + (l < h);
      b = b < limit ? b : limit;
      bound.set(p, b);
    }
    count(group, bound, counts);
    any = Longs{};
    for (int p = 0; p < P; p += width) {
      Longs l = low.get(p);
      Longs h = high.get(p);
      const Longs b = bound.get(p);
      const Longs open = l < h;
      const Longs c = filled - counts.get(p);
      const Longs is_hit = (c >= least_hit) & (c <= rank + 1) & open;
      const Longs goes_up = (c <= rank) & open & ~is_hit;
      const Longs goes_down = (c > rank) & open;
      n_below.set(p, goes_up ? c : n_below.get(p));
      n_upto.set(p, goes_down | is_hit ? c : n_upto.get(p));
      l = goes_up ? b + 1 : l;
      l = is_hit ? b : l;
      h = goes_down | is_hit ? b : h;
      low.set(p, l);
      high.set(p, h);
      hit.set(p, hit.get(p) | is_hit);
      any |= l < h;
      const Doubles step = search.sigma_per_sample * load<Doubles>(search.sigma + p);
      next.set(p, (Longs)(Number::number(b) + (target - to_doubles(c)) * step));
    }
  }
  Longs hits{};
  for (int p = 0; p < P; p += width) hits |= hit.get(p);
  for (int p = 0; p < P; ++p) upper[p] = lower[p] = static_cast<Key>(low.of[p]);
  if (!is_any(hits)) return;
  Key below[P];
  Key above[P];
  neighbours(group, low, below, above);
  for (int p = 0; p < P; ++p) {
    if (hit.of[p] == 0) continue;
    // At or below the bound are rank + 1 keys; for a single key sought, maybe only as many as rank.
    lower[p] = n_upto.of[p] == rank ? above[p] : below[p];
    upper[p] = search.pair ? above[p] : lower[p];
  }
}

// ---- floating samples -------------------------------------------------------------------------

template <class Real, class Key, bool swap>
std::uint32_t load_reals_as(const std::byte* samples, i64 step, i64 n_pixels, Group<Key>& group) {
  using R = Row<Key>;
  Vector<Key> nans[R::n_vectors] = {};
  decode<Key, swap>(samples, step, n_pixels, Key{0}, group, [&](int v, Vector<Key> keys) {
    const Vector<Real> values = (Vector<Real>)keys + Real{0};
    nans[v] |= (Vector<Key>)(values != values);
    return (Vector<Key>)values;
  });
  Key found[P];
  __builtin_memcpy(found, nans, sizeof found);
  std::uint32_t bits = 0;
  for (int p = 0; p < P; ++p) bits |= (found[p] != 0 ? 1U : 0U) << p;
  return bits;
}

template <class Real, class Key>
std::uint32_t load_reals(const std::byte* samples, i64 step, i64 n_pixels, bool swap,
                         Group<Key>& group) {
  return swap ? load_reals_as<Real, Key, true>(samples, step, n_pixels, group)
              : load_reals_as<Real, Key, false>(samples, step, n_pixels, group);
}

template <class Real, class Key>
void sum_reals(const Group<Key>& group, const double* centre, double* sums, double* squares) {
  // Sixteen partial sums per pixel, each of every sixteenth sample, then a tree: the order in which
  // a pixel alone is summed.
  constexpr int n_parts = 16;
  using Reals = typename VectorOf<Real, vector_bytes / (sizeof(double) / sizeof(Real))>::type;
  const Real* values = reinterpret_cast<const Real*>(group.keys);
  for (int p = 0; p < P; p += width) {
    const Doubles c = load<Doubles>(centre + p);
    Doubles s[n_parts];
    Doubles q[n_parts];
    for (int part = 0; part < n_parts; part += 4) {
      Doubles s4[4] = {};
      Doubles q4[4] = {};
      const Real* row = values + part * P + p;
      i64 r = part;
      for (; r + 3 < group.n_samples; r += n_parts, row += n_parts * P) {
        for (int i = 0; i < 4; ++i) {
          const Doubles d = __builtin_convertvector(load<Reals>(row + i * P), Doubles) - c;
          s4[i] += d;
          q4[i] += d * d;
        }
      }
      for (int i = 0; r + i < group.n_samples && i < 4; ++i) {
        const Doubles d = __builtin_convertvector(load<Reals>(row + i * P), Doubles) - c;
        s4[i] += d;
        q4[i] += d * d;
      }
      for (int i = 0; i < 4; ++i) {
        s[part + i] = s4[i];
        q[part + i] = q4[i];
      }
    }
    for (int half = n_parts / 2; half > 0; half /= 2) {
      for (int part = 0; part < half; ++part) {
        s[part] += s[part + half];
        q[part] += q[part + half];
      }
    }
    store(sums + p, s[0]);
    store(squares + p, q[0]);
  }
}

template <class Key>
void make_keys(Group<Key>& group) {
  using R = Row<Key>;
  Vector<Key> small[R::n_vectors];
  Vector<Key> large[R::n_vectors];
  for (int v = 0; v < R::n_vectors; ++v) {
    small[v] = Vector<Key>{} + highest<Key>;
    large[v] = ~small[v];
  }
  Key* row = group.keys;
  for (i64 r = 0; r < n_rows(group); ++r, row += R::n_keys) {
    for (int v = 0; v < R::n_vectors; ++v) {
      const Vector<Key> bits = at(row, v);
      const Vector<Key> keys = bits ^ ((bits >> (8 * sizeof(Key) - 1)) & highest<Key>);
      store(row + v * R::vector_keys, keys);
      small[v] = least(small[v], keys);
      large[v] = most(large[v], keys);
    }
  }
  fold_extremes<Key>(small, large, group);
}

/// numerators / denominator, which a double holds; false when it does not hold a numerator.
inline bool divide(const i64* numerators, i64 denominator, double* quotients) {
  const double d = static_cast<double>(denominator);
  Longs beyond{};
  for (int p = 0; p < P; p += width) {
    const Longs n = load<Longs>(numerators + p);
    // In two parts that are doubles for sure; their sum is the integer where it is below 2^53.
    beyond |= (n > (i64{1} << 53)) | (n < -(i64{1} << 53));
    const Doubles high = to_doubles(n >> 32) * 4294967296.0;
    const Doubles low = to_doubles(n & 0xffffffff);
    store(quotients + p, (high + low) / d);
  }
  return !is_any(beyond);
}

bool means(const i64* sums, const i64* centres, i64 n, i64 sign, i64 zero, double* results) {
  alignas(64) i64 numerators[P];
  for (int p = 0; p < P; ++p) numerators[p] = sign * (sums[p] + n * centres[p]) + n * zero;
  return divide(numerators, n, results);
}

bool variances(const i64* sums, const i64* squares, i64 n, i64 ddof, double* results) {
  alignas(64) i64 numerators[P];
  i64 beyond = 0;
  for (int p = 0; p < P; ++p) {
    // With n <= 2^14 and squares < 2^48 every product is below 2^62: sum^2 <= n squares.
    beyond |= squares[p] >> 48;
    const auto total = static_cast<std::uint64_t>(sums[p]);
    numerators[p] = static_cast<i64>(
        static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(squares[p]) - total * total);
  }
  return divide(numerators, n * (n - ddof), results) && beyond == 0;
}

void roots(double* values) {
  for (int p = 0; p < P; ++p) values[p] = __builtin_sqrt(values[p]);
}

}  // namespace

const AllGroupKernels group_kernels = {
    {load_integers<i16>, find<i16>, moments16, select<i16, Whole>},
    {load_integers<i32>, find<i32>, moments32, select<i32, Whole>},
    {load_reals<float, i32>, sum_reals<float, i32>, make_keys<i32>, select<i32, FloatBits>},
    {load_reals<double, i64>, sum_reals<double, i64>, make_keys<i64>, select<i64, DoubleBits>},
    means,
    variances,
    roots,
};

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
