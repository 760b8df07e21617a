// The kernels against slow, obvious definitions: every SIMD level that the processor has, every
// width of sample, and numbers of samples on both sides of each block.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/kernels/charge.hpp"
#include "skipstream/kernels/decode.hpp"
#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/kernels/distance.hpp"
#include "skipstream/kernels/encode.hpp"
#include "skipstream/kernels/entropy.hpp"
#include "skipstream/kernels/exact.hpp"
#include "skipstream/kernels/groups.hpp"
#include "skipstream/kernels/location.hpp"
#include "skipstream/kernels/rice.hpp"
#include "skipstream/kernels/select.hpp"
#include "skipstream/kernels/skips.hpp"
#include "skipstream/kernels/spline.hpp"
#include "skipstream/kernels/threshold.hpp"

namespace skipstream::kernels {

using EncodeReals = decltype(encode_float32);
using EncodeIntegers = decltype(encode_int32);
using MarkAbove = decltype(mark_above);
using FindRuns = decltype(find_runs);
using FindTouching = decltype(find_touching);

#define SKIPSTREAM_LEVEL(name)                \
  namespace name {                            \
  extern const SkipKernels skip_kernels;      \
  extern const AllGroupKernels group_kernels; \
  extern const AllLineKernels line_kernels;   \
  EncodeReals encode_float32;                 \
  EncodeReals encode_float64;                 \
  EncodeReals encode_whole;                   \
  EncodeIntegers encode_int32;                \
  MarkAbove mark_above;                       \
  FindRuns find_runs;                         \
  FindTouching find_touching;                 \
  }
SKIPSTREAM_LEVEL(baseline)
#ifdef __x86_64__
SKIPSTREAM_LEVEL(v3)
SKIPSTREAM_LEVEL(v4)
#endif

}  // namespace skipstream::kernels

using namespace skipstream;
using namespace skipstream::kernels;

namespace {

const double nan = std::numeric_limits<double>::quiet_NaN();
const double inf = std::numeric_limits<double>::infinity();

struct Level {
  SimdLevel level;
  std::string name;
  const SkipKernels& skips;
  const AllGroupKernels& groups;
  const AllLineKernels& lines;
  EncodeReals* encode_float32;
  EncodeReals* encode_float64;
  EncodeReals* encode_whole;
  EncodeIntegers* encode_int32;
  MarkAbove* mark_above;
  FindRuns* find_runs;
  FindTouching* find_touching;
};

#define SKIPSTREAM_FUNCTIONS(name)                                                        \
  SimdLevel::name, #name, name::skip_kernels, name::group_kernels, name::line_kernels,    \
      name::encode_float32, name::encode_float64, name::encode_whole, name::encode_int32, \
      name::mark_above, name::find_runs, name::find_touching

/// Those that this processor can run: up to the one chosen.
std::vector<Level> levels() {
  std::vector<Level> found{{SKIPSTREAM_FUNCTIONS(baseline)}};
#ifdef __x86_64__
  if (chosen_level() >= SimdLevel::v3) found.push_back({SKIPSTREAM_FUNCTIONS(v3)});
  if (chosen_level() >= SimdLevel::v4) found.push_back({SKIPSTREAM_FUNCTIONS(v4)});
#endif
  return found;
}

bool same_bits(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

template <class T>
void put(T stored, bool big_endian, std::byte* to) {
  std::memcpy(to, &stored, sizeof stored);
  if (big_endian != (std::endian::native == std::endian::big)) std::reverse(to, to + sizeof stored);
}

// ---- samples alone --------------------------------------------------------------------------

template <class T>
void decodes(SampleFormat format, const std::vector<T>& stored,
             const std::vector<double>& expected) {
  format.n_bytes = sizeof(T);
  format.is_unsigned = std::is_unsigned_v<T>;
  for (const bool big : {false, true}) {
    format.big_endian = big;
    std::vector<std::byte> bytes(stored.size() * sizeof(T));
    for (std::size_t i = 0; i < stored.size(); ++i) put(stored[i], big, &bytes[i * sizeof(T)]);
    std::vector<double> values(stored.size() + 1, 77.0);
    decode_samples(bytes.data(), static_cast<std::int64_t>(stored.size()), format, values.data());
    for (std::size_t i = 0; i < stored.size(); ++i) {
      check::that(same_bits(values[i], expected[i]), std::to_string(values[i]));
    }
    check::equal(values.back(), 77.0, "no value behind the last");
  }
}

template <class T>
void decodes_limits() {
  using Limits = std::numeric_limits<T>;
  decodes<T>({}, {Limits::min(), 3, Limits::max()},
             {static_cast<double>(Limits::min()), 3.0, static_cast<double>(Limits::max())});
  SampleFormat scaled;
  scaled.scale = -2.5;
  scaled.zero = 10;
  scaled.blank = 7;
  decodes<T>(scaled, {0, 7, 3, 8}, {10.0, nan, 2.5, -10.0});
}

void samples_of_each_type_become_numbers() {
  decodes_limits<std::int8_t>();
  decodes_limits<std::uint8_t>();
  decodes_limits<std::int16_t>();
  decodes_limits<std::uint16_t>();
  decodes_limits<std::int32_t>();
  decodes_limits<std::uint32_t>();
  decodes_limits<std::int64_t>();
  decodes_limits<std::uint64_t>();
  SampleFormat real;
  real.kind = SampleKind::floating;
  real.scale = 2;
  real.zero = 1;
  real.blank = 3;  // means nothing here
  decodes<float>(real, {1.5F, 3.0F, static_cast<float>(nan), static_cast<float>(-inf)},
                 {4.0, 7.0, nan, -inf});
  decodes<double>(real, {1.5, 3.0, nan, 1e300}, {4.0, 7.0, nan, 2e300});
}

std::uint64_t sum_of_words(const std::vector<std::byte>& bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < 4; ++k)
      word = word << 8 | std::to_integer<std::uint64_t>(bytes[i + k]);
    sum += word;
  }
  return sum;
}

/// `encode(values, n, bytes)` must write `expected`, big-endian, and return the sum of its words.
template <class T, class From, class Encode>
void encodes(Encode encode, const std::vector<From>& values, const std::vector<T>& expected) {
  for (std::size_t n = 0; n <= values.size(); ++n) {
    std::vector<std::byte> wanted(n * sizeof(T));
    for (std::size_t i = 0; i < n; ++i) put(expected[i], true, &wanted[i * sizeof(T)]);
    std::vector<std::byte> bytes(n * sizeof(T) + 1, std::byte{99});
    const std::uint64_t sum = encode(values.data(), static_cast<std::int64_t>(n), bytes.data());
    check::that(bytes.back() == std::byte{99}, "no byte behind the last");
    bytes.pop_back();
    check::that(bytes == wanted, "bytes");
    check::equal(sum, sum_of_words(wanted), "sum");
  }
}

void values_are_encoded_with_the_sum_of_their_words() {
  std::vector<double> values{0.0, -0.0, 1.5, -1e30, inf, 0x1.fffffep127};
  for (int i = 0; i < 61; ++i) values.push_back(std::sin(i) * std::ldexp(1.0, i - 30));
  const std::vector<float> singles(values.begin(), values.end());
  std::vector<double> whole{0, -1, 2147483647, -2147483648};
  for (int i = 0; i < 61; ++i) whole.push_back(i * 7654321 - 200000000);
  const std::vector<std::int32_t> integers(whole.begin(), whole.end());
  std::vector<std::uint32_t> words{0, 1, 0xffffffff, 0x80000000, 0x12345678};
  for (std::uint32_t i = 0; i < 61; ++i) words.push_back(i * 2654435761U);
  for (const auto& level : levels()) {
    encodes(level.encode_float32, values, singles);
    encodes(level.encode_float64, values, values);
    encodes(level.encode_whole, whole, integers);
    encodes(level.encode_int32, words, words);
    std::vector<std::byte> bytes(words.size() * 4);
    for (std::size_t i = 0; i < words.size(); ++i) put(words[i], true, &bytes[4 * i]);
    check::equal(level.skips.word_sum(bytes.data(), static_cast<std::int64_t>(words.size())),
                 sum_of_words(bytes));
    check::equal(level.skips.word_sum(bytes.data(), 0), std::uint64_t{0});
  }
  encodes(kernels::encode_float32, values, singles);
  encodes(kernels::encode_float64, values, values);
  encodes(kernels::encode_whole, whole, integers);
  encodes(kernels::encode_int32, words, words);
}

// ---- the skips of one pixel -----------------------------------------------------------------

template <class Key>
const KeyKernels<Key>& keys_of(const SkipKernels& kernels) {
  if constexpr (sizeof(Key) == 2) return kernels.int16;
  if constexpr (sizeof(Key) == 4) return kernels.int32;
  if constexpr (sizeof(Key) == 8) return kernels.int64;
}

/// Keys of many shapes: shape 0 fills the type, 1 is narrow, 2 the lowest only, 3 the highest only.
template <class Key>
std::vector<Key> draw_keys(std::mt19937_64& random, std::int64_t n, int shape) {
  using Limits = std::numeric_limits<Key>;
  std::vector<Key> keys(static_cast<std::size_t>(n));
  for (auto& key : keys) {
    key = shape == 2   ? Limits::min()
          : shape == 3 ? Limits::max()
          : shape == 1 ? static_cast<Key>(random() % 23)
                       : static_cast<Key>(random());
  }
  return keys;
}

template <class Key>
std::vector<Key> padded(std::vector<Key> keys) {
  while (keys.size() % static_cast<std::size_t>(padding) != 0) {
    keys.push_back(std::numeric_limits<Key>::max());
  }
  return keys;
}

const std::vector<std::int64_t> many_sizes{1,  2,  3,  7,   8,   15,  16,    17,    31,    32,
                                           33, 63, 64, 100, 255, 256, 32767, 32768, 32769, 70001};

template <class Key>
void passes_over_keys(const Level& level, std::mt19937_64& random) {
  using Word = std::make_unsigned_t<Key>;
  const auto& kernel = keys_of<Key>(level.skips);
  for (const std::int64_t n : many_sizes) {
    for (int shape = 0; shape < 4; ++shape) {
      const std::string what = level.name + " " + std::to_string(sizeof(Key)) + " bytes, " +
                               std::to_string(n) + " of shape " + std::to_string(shape);
      const auto expected = draw_keys<Key>(random, n, shape);
      __extension__ __int128 sum = 0;
      for (const Key key : expected) sum += key;
      for (const bool big : {false, true}) {
        for (const Key flip : {Key{0}, std::numeric_limits<Key>::min()}) {
          std::vector<std::byte> bytes(expected.size() * sizeof(Key));
          for (std::size_t i = 0; i < expected.size(); ++i) {
            put(static_cast<Word>(static_cast<Word>(expected[i]) ^ static_cast<Word>(flip)), big,
                &bytes[i * sizeof(Key)]);
          }
          std::vector<Key> keys(expected.size() + 1, Key{55});
          const bool swap = big != (std::endian::native == std::endian::big);
          const auto found = kernel.decode(bytes.data(), n, swap, flip, keys.data());
          check::equal(keys.back(), Key{55}, what);
          keys.pop_back();
          check::that(keys == expected, "decoded, " + what);
          check::equal(found.smallest, *std::min_element(keys.begin(), keys.end()), what);
          check::equal(found.largest, *std::max_element(keys.begin(), keys.end()), what);
          if (sizeof(Key) < 8) check::equal(found.sum, static_cast<std::int64_t>(sum), what);
        }
      }
      const auto keys = padded(expected);
      const Key bounds[4] = {std::numeric_limits<Key>::min(),
                             expected[0] < 3 ? expected[0] : Key{3}, static_cast<Key>(11),
                             std::numeric_limits<Key>::max() - 1};
      std::int64_t counts[5] = {-1, -1, -1, -1, -1};
      kernel.count4(keys.data(), n, bounds, counts);
      for (std::size_t b = 0; b < 4; ++b) {
        check::equal(counts[b],
                     std::count_if(expected.begin(), expected.end(),
                                   [&](Key key) { return key <= bounds[b]; }),
                     "counted, " + what);
        Key next = std::numeric_limits<Key>::max();
        for (const Key key : keys) next = key > bounds[b] ? std::min(next, key) : next;
        if (next == std::numeric_limits<Key>::max() && keys.back() != next) continue;
        check::equal(kernel.next_above(keys.data(), n, bounds[b]), next, "next above, " + what);
      }
      for (const auto& [first, last] :
           {std::pair(bounds[0], bounds[3]), {bounds[1], bounds[2]}, {bounds[2], bounds[2]}}) {
        std::vector<Key> inside;
        for (const Key key : expected) {
          if (key >= first && key <= last) inside.push_back(key);
        }
        std::vector<Key> found(keys.size() + 1, Key{55});
        const std::int64_t n_found = kernel.gather(keys.data(), n, first, last, found.data());
        found.resize(static_cast<std::size_t>(n_found));
        check::that(found == inside, "gathered, " + what);
      }
    }
    const Key centre = 9;
    const auto narrow = draw_keys<Key>(random, n, 1);
    std::int64_t squares = 0;
    for (const Key key : narrow)
      squares += (std::int64_t{key} - centre) * (std::int64_t{key} - centre);
    check::equal(kernel.squares(narrow.data(), n, centre), squares, level.name);
  }
}

template <class Byte>
void widens_bytes(const Level& level, std::mt19937_64& random) {
  for (const std::int64_t n : {1, 2, 31, 64, 100}) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(n));
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    std::vector<std::int16_t> expected;
    for (const std::byte byte : bytes) expected.push_back(std::bit_cast<Byte>(byte));
    std::vector<std::int16_t> keys(bytes.size());
    const auto found = level.skips.decode8(bytes.data(), n, std::is_unsigned_v<Byte>, keys.data());
    check::that(keys == expected, "widened");
    check::equal(found.smallest, *std::min_element(keys.begin(), keys.end()));
    check::equal(found.largest, *std::max_element(keys.begin(), keys.end()));
    check::equal(found.sum, std::accumulate(keys.begin(), keys.end(), std::int64_t{0}));
  }
}

/// Sixteen lanes, each of every sixteenth value, then halved and halved again.
std::pair<double, double> sums_in_lanes(const std::vector<double>& values, double centre) {
  double s[16] = {};
  double q[16] = {};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double d = values[i] - centre;
    s[i % 16] += d;
    q[i % 16] += d * d;
  }
  for (std::size_t half : {8, 4, 2, 1}) {
    for (std::size_t lane = 0; lane < half; ++lane) {
      s[lane] += s[lane + half];
      q[lane] += q[lane + half];
    }
  }
  return {s[0], q[0]};
}

template <class Real>
std::vector<Real> draw_reals(std::mt19937_64& random, std::int64_t n) {
  std::vector<Real> values(static_cast<std::size_t>(n));
  for (auto& value : values) {
    const auto word = random();
    const double x =
        std::ldexp(static_cast<double>(word % 100003) - 50001, static_cast<int>(word >> 60));
    value = word % 31 == 0 ? Real{0} * Real{-1} : static_cast<Real>(x / 7);
  }
  return values;
}

template <class Real, class Key>
std::vector<Key> ordered_keys(const std::vector<Real>& values) {
  std::vector<Key> keys;
  for (const Real value : values) {
    const auto bits = std::bit_cast<Key>(value + Real{0});
    keys.push_back(bits < 0 ? static_cast<Key>(bits ^ std::numeric_limits<Key>::max()) : bits);
  }
  return keys;
}

template <class Real, class Key>
void passes_over_reals(const RealKernels<Real, Key>& kernel, const std::string& name,
                       std::mt19937_64& random) {
  for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 32, 33, 100, 1001}) {
    auto stored = draw_reals<Real>(random, n);
    for (const bool big : {false, true}) {
      for (const bool missing : {false, true}) {
        if (missing) stored[stored.size() / 2] = std::numeric_limits<Real>::quiet_NaN();
        std::vector<std::byte> bytes(stored.size() * sizeof(Real));
        for (std::size_t i = 0; i < stored.size(); ++i) {
          put(std::bit_cast<std::make_unsigned_t<Key>>(stored[i]), big, &bytes[i * sizeof(Real)]);
        }
        std::vector<Real> values(stored.size() + 1, Real{55});
        const bool swap = big != (std::endian::native == std::endian::big);
        const std::int64_t n_nan = kernel.decode(bytes.data(), n, swap, values.data());
        check::equal(n_nan, std::int64_t{missing ? 1 : 0}, name);
        check::equal(values.back(), Real{55}, name);
        for (std::size_t i = 0; i < stored.size(); ++i) {
          check::that(same_bits(values[i], stored[i] + Real{0}), "decoded reals, " + name);
        }
        if (missing) stored[stored.size() / 2] = Real{1};
      }
    }
    std::vector<Real> values;
    for (const Real value : stored) values.push_back(value + Real{0});
    std::vector<Key> keys(values.size() + 1, Key{55});
    const auto found = kernel.keys(values.data(), n, keys.data());
    check::equal(keys.back(), Key{55}, name);
    keys.pop_back();
    check::that(keys == ordered_keys<Real, Key>(values), "keys of reals, " + name);
    check::equal(found.smallest, *std::min_element(keys.begin(), keys.end()), name);
    check::equal(found.largest, *std::max_element(keys.begin(), keys.end()), name);
    double sum = 0;
    double squares = 0;
    kernel.sums(values.data(), n, 0.37, &sum, &squares);
    const auto expected = sums_in_lanes({values.begin(), values.end()}, 0.37);
    check::that(same_bits(sum, expected.first) && same_bits(squares, expected.second),
                "sums of reals, " + name);
  }
}

void passes_over_one_pixel_are_their_definitions() {
  for (const auto& level : levels()) {
    std::mt19937_64 random(3);
    check::equal(std::string(level.skips.level), level.name);
    passes_over_keys<std::int16_t>(level, random);
    passes_over_keys<std::int32_t>(level, random);
    passes_over_keys<std::int64_t>(level, random);
    widens_bytes<std::int8_t>(level, random);
    widens_bytes<std::uint8_t>(level, random);
    passes_over_reals(level.skips.float32, level.name, random);
    passes_over_reals(level.skips.float64, level.name, random);
    // |d| up to 2^31 - 1, whose squares fill 62 bits, and 64-bit keys likewise.
    const std::vector<std::int32_t> far{std::numeric_limits<std::int32_t>::max()};
    check::equal(level.skips.int32.squares(far.data(), 1, 0), 2147483647LL * 2147483647LL);
    const std::vector<std::int64_t> farther{-3000000000, 7};
    check::equal(level.skips.int64.squares(farther.data(), 2, 7), 3000000007LL * 3000000007LL);
    const std::vector<std::int16_t> near{-32768, 32767};
    check::equal(level.skips.int16.squares(near.data(), 1, -1), 32767LL * 32767LL);
    check::equal(level.skips.int16.squares(near.data() + 1, 1, 0), 32767LL * 32767LL);
  }
}

// ---- groups of pixels -----------------------------------------------------------------------

constexpr auto n_group = static_cast<std::size_t>(group_pixels);

/// A group in memory of its own, and each of its pixels' keys.
template <class Key>
struct TestGroup {
  explicit TestGroup(std::int64_t n) {
    const auto n_bytes = (static_cast<std::size_t>(n) + 2) * n_group * sizeof(Key) + 64;
    memory.resize(n_bytes + 64);
    void* at = memory.data();
    std::size_t space = memory.size();
    group.keys = static_cast<Key*>(std::align(64, n_bytes, at, space));
    group.n_samples = n;
  }
  std::vector<std::byte> memory;
  Group<Key> group;
  std::vector<std::vector<Key>> keys;
};

/// Searches for `rank` start well, badly, and nowhere.
template <class Key, class Select>
void finds_every_rank(Select select, TestGroup<Key>& test, const std::vector<double>& mean,
                      const std::vector<double>& sigma, const std::string& what) {
  const std::int64_t n = test.group.n_samples;
  std::vector<std::vector<Key>> sorted = test.keys;
  for (auto& keys : sorted) std::sort(keys.begin(), keys.end());
  alignas(64) double means[n_group];
  alignas(64) double sigmas[n_group];
  for (const int guess : {0, 1, 2}) {
    for (std::size_t p = 0; p < n_group; ++p) {
      means[p] = guess == 0 ? mean[p] : guess == 1 ? -1e9 : nan;
      sigmas[p] = guess == 0 ? sigma[p] : guess == 1 ? 1e-3 : inf;
    }
    const std::int64_t step = std::max<std::int64_t>(1, n / 7);
    for (std::int64_t rank = 0; rank < n;
         rank += rank + step + 1 >= n && rank < n - 1 ? n - 1 - rank : step) {
      for (const bool pair : {false, true}) {
        if (pair && rank + 1 >= n) continue;
        Search search;
        search.rank = rank;
        search.pair = pair;
        search.mean = means;
        search.sigma = sigmas;
        search.place = 0.1;
        search.sigma_per_sample = 2.5 / static_cast<double>(n);
        Key lower[n_group];
        Key upper[n_group];
        select(test.group, search, lower, upper);
        for (std::size_t p = 0; p < n_group; ++p) {
          const auto r = static_cast<std::size_t>(rank);
          check::equal(lower[p], sorted[p][r], "rank, " + what);
          check::equal(upper[p], sorted[p][pair ? r + 1 : r], "rank after, " + what);
        }
      }
    }
  }
}

template <class Key>
void groups_of_integers(const GroupKernels<Key>& kernel, const std::string& name,
                        std::mt19937_64& random) {
  using Word = std::make_unsigned_t<Key>;
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 11, 16, 17, 40, 301}) {
    for (int shape = 0; shape < 6; ++shape) {
      const std::int64_t n_pixels = n == 1 ? 1 : n % 3 == 0 ? group_pixels : 1 + n % 29;
      const bool big = (n + shape) % 2 == 0;
      const Key flip = shape % 3 == 0 ? Key{0} : std::numeric_limits<Key>::min();
      const std::string what = name + " " + std::to_string(sizeof(Key)) + " bytes, " +
                               std::to_string(n) + " of shape " + std::to_string(shape);
      TestGroup<Key> test(n);
      const std::int64_t step = (n + shape) * static_cast<std::int64_t>(sizeof(Key));
      // The last pixel ends with the memory.
      std::vector<std::byte> bytes(static_cast<std::size_t>(step * (n_pixels - 1)) +
                                   static_cast<std::size_t>(n) * sizeof(Key));
      for (std::int64_t p = 0; p < group_pixels; ++p) {
        if (p >= n_pixels) {
          test.keys.push_back(test.keys.back());
          continue;
        }
        auto keys = draw_keys<Key>(random, n, shape);
        if (shape == 4) {  // around a pedestal of the pixel's own
          for (auto& key : keys)
            key = static_cast<Key>(900 * p + static_cast<std::int64_t>(random() % 50));
        }
        if (shape == 5) {  // far from the middle, but for one
          for (auto& key : keys) key = static_cast<Key>(std::numeric_limits<Key>::min() + 3);
          keys.back() = static_cast<Key>(p);
        }
        for (std::size_t s = 0; s < keys.size(); ++s) {
          put(static_cast<Word>(static_cast<Word>(keys[s]) ^ static_cast<Word>(flip)), big,
              &bytes[static_cast<std::size_t>(step * p) + s * sizeof(Key)]);
        }
        test.keys.push_back(keys);
      }
      const bool swap = big != (std::endian::native == std::endian::big);
      test.group.ahead = n_pixels > 3 ? bytes.data() : nullptr;
      kernel.load(bytes.data(), step, n_pixels, swap, flip, test.group);
      const auto is_loaded = [&] {
        for (std::size_t p = 0; p < n_group; ++p) {
          const auto& keys = test.keys[p];
          check::equal(test.group.smallest[p], *std::min_element(keys.begin(), keys.end()), what);
          check::equal(test.group.largest[p], *std::max_element(keys.begin(), keys.end()), what);
        }
        for (const Key key :
             {test.keys[0][0], test.keys[0].back(), test.keys[5][test.keys[5].size() / 2],
              std::numeric_limits<Key>::max(), std::numeric_limits<Key>::min()}) {
          std::uint32_t expected = 0;
          for (std::size_t p = 0; p < n_group; ++p) {
            const auto& keys = test.keys[p];
            if (std::find(keys.begin(), keys.end(), key) != keys.end()) expected |= 1U << p;
          }
          check::equal(kernel.find(test.group, key), expected, "found, " + what);
        }
      };
      is_loaded();
      alignas(64) std::int64_t centres[n_group] = {};
      alignas(64) std::int64_t sums[n_group] = {};
      alignas(64) std::int64_t squares[n_group] = {};
      const bool fits = kernel.moments(test.group, centres, sums, squares);
      check::equal(fits, sizeof(Key) == 2 || (shape != 0 && shape != 5) || n == 1, what);
      std::vector<double> mean(n_group);
      std::vector<double> sigma(n_group, 1.0);
      for (std::size_t p = 0; fits && p < n_group; ++p) {
        std::int64_t sum = 0;
        std::int64_t squared = 0;
        for (const Key key : test.keys[p]) {
          const std::int64_t d = key - centres[p];
          sum += d;
          squared += d * d;
        }
        check::equal(sums[p], sum, "sums, " + what);
        check::equal(squares[p], squared, "squares, " + what);
        mean[p] =
            static_cast<double>(centres[p]) + static_cast<double>(sum) / static_cast<double>(n);
        sigma[p] = std::sqrt(static_cast<double>(squared) / static_cast<double>(n));
      }
      is_loaded();
      finds_every_rank<Key>(kernel.select, test, mean, sigma, what);
    }
  }
}

template <class Real, class Key>
void groups_of_reals(const RealGroupKernels<Real, Key>& kernel, const std::string& name,
                     std::mt19937_64& random) {
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 15, 16, 17, 18, 19, 20, 31, 33, 47, 100, 301}) {
    const std::int64_t n_pixels = n == 1 ? 1 : n % 3 == 0 ? group_pixels : 1 + n % 29;
    const bool big = n % 2 == 0;
    const std::string what = name + ", " + std::to_string(n) + " samples";
    TestGroup<Key> test(n);
    const std::int64_t step = (n + n % 3) * static_cast<std::int64_t>(sizeof(Real));
    std::vector<std::byte> bytes(static_cast<std::size_t>(step * (n_pixels - 1)) +
                                 static_cast<std::size_t>(n) * sizeof(Real));
    std::vector<std::vector<Real>> values;
    for (std::int64_t p = 0; p < group_pixels; ++p) {
      if (p >= n_pixels) {
        values.push_back(values.back());
        continue;
      }
      values.push_back(draw_reals<Real>(random, n));
    }
    const auto store_all = [&] {
      for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
        for (std::size_t s = 0; s < values[p].size(); ++s) {
          put(std::bit_cast<std::make_unsigned_t<Key>>(values[p][s]), big,
              &bytes[static_cast<std::size_t>(step) * p + s * sizeof(Real)]);
        }
      }
    };
    const bool swap = big != (std::endian::native == std::endian::big);
    // A missing sample in each place of each pixel, in turn.
    for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); p += 3) {
      auto& sample = values[p][p % static_cast<std::size_t>(n)];
      const Real before = std::exchange(sample, std::numeric_limits<Real>::quiet_NaN());
      store_all();
      const std::uint32_t here = p + 1 < static_cast<std::size_t>(n_pixels) ? 1U << p : ~0U << p;
      check::equal(kernel.load(bytes.data(), step, n_pixels, swap, test.group), here, what);
      sample = before;
    }
    store_all();
    check::equal(kernel.load(bytes.data(), step, n_pixels, swap, test.group), 0U, what);
    std::vector<double> mean(n_group);
    std::vector<double> sigma(n_group);
    alignas(64) double centres[n_group];
    alignas(64) double sums[n_group];
    alignas(64) double squares[n_group];
    for (std::size_t p = 0; p < n_group; ++p) centres[p] = 0.25 * static_cast<double>(p);
    kernel.sums(test.group, centres, sums, squares);
    for (std::size_t p = 0; p < n_group; ++p) {
      const std::vector<double> of_pixel(values[p].begin(), values[p].end());
      const auto expected = sums_in_lanes(of_pixel, centres[p]);
      check::that(same_bits(sums[p], expected.first), "sums, " + what);
      check::that(same_bits(squares[p], expected.second), "squares, " + what);
      mean[p] = centres[p] + sums[p] / static_cast<double>(n);
      sigma[p] = std::sqrt(squares[p] / static_cast<double>(n));
      for (std::size_t s = 0; s < of_pixel.size(); ++s) {
        const Real stored = reinterpret_cast<const Real*>(test.group.keys)[s * n_group + p];
        check::that(same_bits(stored, of_pixel[s] + 0.0), "values, with -0 as 0, " + what);
      }
      for (auto& value : values[p]) value += Real{0};
      test.keys.push_back(ordered_keys<Real, Key>(values[p]));
    }
    kernel.make_keys(test.group);
    for (std::size_t p = 0; p < n_group; ++p) {
      const auto& keys = test.keys[p];
      check::equal(test.group.smallest[p], *std::min_element(keys.begin(), keys.end()), what);
      check::equal(test.group.largest[p], *std::max_element(keys.begin(), keys.end()), what);
    }
    finds_every_rank<Key>(kernel.select, test, mean, sigma, what);
  }
}

void moments_fit_up_to_their_limits() {
  for (const auto& level : levels()) {
    // Both ends of the type, so many that the squares of a block fill 32 bits more than once.
    for (const std::int64_t n :
         {std::int64_t{4}, std::int64_t{5}, std::int64_t{4000}, max_group_samples}) {
      TestGroup<std::int16_t> test(n);
      std::vector<std::int16_t> stored;
      for (std::int64_t s = 0; s < n; ++s) {
        stored.push_back(s % 3 == 0 ? std::int16_t{-32768} : std::int16_t{32767});
      }
      const auto* bytes = reinterpret_cast<const std::byte*>(stored.data());
      level.groups.int16.load(bytes, 0, 1, false, 0, test.group);
      alignas(64) std::int64_t centres[n_group];
      alignas(64) std::int64_t sums[n_group];
      alignas(64) std::int64_t squares[n_group];
      check::that(level.groups.int16.moments(test.group, centres, sums, squares));
      std::int64_t sum = 0;
      std::int64_t squared = 0;
      for (const auto key : stored) {
        sum += key - centres[0];
        squared += (key - centres[0]) * (key - centres[0]);
      }
      for (std::size_t p = 0; p < n_group; ++p) {
        check::equal(sums[p], sum, level.name);
        check::equal(squares[p], squared, level.name);
      }
    }
    // 32 bits: reach 2^15 - 1, 2^15, 2^24 - 1 and 2^24; the last may not fit.
    for (const std::int32_t reach : {32767, 32768, 16777215, 16777216}) {
      const std::int64_t n = 1000;
      TestGroup<std::int32_t> test(n);
      std::vector<std::int32_t> stored;
      for (std::int64_t s = 0; s < n; ++s) stored.push_back(s % 3 == 0 ? -reach : reach - 1);
      const auto* bytes = reinterpret_cast<const std::byte*>(stored.data());
      level.groups.int32.load(bytes, 0, 1, false, 0, test.group);
      alignas(64) std::int64_t centres[n_group];
      alignas(64) std::int64_t sums[n_group];
      alignas(64) std::int64_t squares[n_group];
      const bool fits = level.groups.int32.moments(test.group, centres, sums, squares);
      check::equal(fits, reach < 1 << 24, level.name);
      if (!fits) continue;
      std::int64_t sum = 0;
      std::int64_t squared = 0;
      for (const auto key : stored) {
        sum += key - centres[0];
        squared += (key - centres[0]) * (key - centres[0]);
      }
      for (std::size_t p = 0; p < n_group; ++p) {
        check::equal(sums[p], sum, level.name);
        check::equal(squares[p], squared, level.name);
      }
    }
  }
}

void quotients_are_rounded_once_or_refused() {
  constexpr std::int64_t exact = std::int64_t{1} << 53;
  for (const auto& level : levels()) {
    const auto& kernels = level.groups;
    alignas(64) std::int64_t sums[n_group] = {};
    alignas(64) std::int64_t centres[n_group] = {};
    alignas(64) double results[n_group] = {};
    for (std::size_t p = 0; p < n_group; ++p) {
      sums[p] = static_cast<std::int64_t>(p) * 1000003 - 17;
      centres[p] = 5 - static_cast<std::int64_t>(p) * 77;
    }
    for (const std::int64_t sign : {-1, 1}) {
      check::that(kernels.means(sums, centres, 7, sign, 11, results), level.name);
      for (std::size_t p = 0; p < n_group; ++p) {
        const std::int64_t numerator = sign * (sums[p] + 7 * centres[p]) + 77;
        check::equal(results[p], static_cast<double>(numerator) / 7, level.name);
      }
    }
    // Whichever pixel is beyond 2^53, on either side.
    for (std::size_t p = 0; p < n_group; ++p) {
      for (const std::int64_t sign : {-1, 1}) {
        std::fill_n(centres, n_group, 0);
        std::fill_n(sums, n_group, 3);
        sums[p] = sign * exact;
        check::that(kernels.means(sums, centres, 3, 1, 0, results), "2^53 is exact");
        check::equal(results[p], static_cast<double>(sign * exact) / 3);
        sums[p] = sign * (exact + 1);
        check::that(!kernels.means(sums, centres, 3, 1, 0, results), "2^53 + 1 is not");
        sums[p] = sign * (exact - 1);
        check::that(kernels.means(sums, centres, 3, 1, 0, results));
        check::equal(results[p], static_cast<double>(sign * (exact - 1)) / 3);
      }
    }
    alignas(64) std::int64_t squares[n_group] = {};
    for (std::size_t p = 0; p < n_group; ++p) {
      sums[p] = static_cast<std::int64_t>(p) - 9;
      squares[p] = 12345 + 1000 * static_cast<std::int64_t>(p);
    }
    for (const std::int64_t ddof : {0, 1, 2}) {
      check::that(kernels.variances(sums, squares, 100, ddof, results));
      for (std::size_t p = 0; p < n_group; ++p) {
        check::equal(results[p], static_cast<double>(100 * squares[p] - sums[p] * sums[p]) /
                                     static_cast<double>(100 * (100 - ddof)));
      }
    }
    // Squares from 2^48 on might overflow on the way, though the result is small.
    for (const std::size_t p : {0, 13, 31}) {
      std::fill_n(sums, n_group, 0);
      std::fill_n(squares, n_group, 4);
      squares[p] = (std::int64_t{1} << 48) - 1;
      check::that(kernels.variances(sums, squares, 2, 0, results));
      check::equal(results[p], static_cast<double>(2 * squares[p]) / 4);
      squares[p] += 1;
      check::that(!kernels.variances(sums, squares, 2, 0, results));
      squares[p] = std::int64_t{1} << 47;
      check::that(!kernels.variances(sums, squares, 128, 0, results), "a numerator of 2^54");
    }
    for (std::size_t p = 0; p < n_group; ++p) results[p] = 1.7 * static_cast<double>(p);
    kernels.roots(results);
    for (std::size_t p = 0; p < n_group; ++p) {
      check::equal(results[p], std::sqrt(1.7 * static_cast<double>(p)));
    }
  }
}

void passes_over_groups_are_their_definitions() {
  for (const auto& level : levels()) {
    std::mt19937_64 random(5);
    groups_of_integers(level.groups.int16, level.name, random);
    groups_of_integers(level.groups.int32, level.name, random);
    groups_of_reals(level.groups.float32, level.name + " float", random);
    groups_of_reals(level.groups.float64, level.name + " double", random);
  }
}

// ---- lines of values ------------------------------------------------------------------------

template <class T>
void passes_over_lines(const LineKernels<T>& kernels, const std::string& name,
                       std::mt19937_64& random) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (const std::size_t n : {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 4095, 4096, 4097, 9001}) {
    const auto size = static_cast<std::int64_t>(n);
    std::vector<T> values(n);
    for (T& value : values) value = static_cast<T>(static_cast<int>(random() % 2001) - 1000) / 8;
    if (n > 3) values[n / 2] = infinity;
    if (n > 3) values[n / 3] = -infinity;

    const T bounds[8] = {-infinity, -100, -3, 0, static_cast<T>(0.125), 7, 125, infinity};
    std::int64_t counts[9];
    counts[8] = -7;
    kernels.count_below(values.data(), size, bounds, counts);
    check::equal(counts[8], std::int64_t{-7}, "nothing behind them");
    for (std::size_t b = 0; b < 8; ++b) {
      const auto below = [&](T value) { return value < bounds[b]; };
      const auto expected = std::count_if(values.begin(), values.end(), below);
      check::equal(counts[b], expected, name);

      std::int64_t n_below = -1;
      T largest = -infinity;
      for (const T value : values) {
        if (below(value) && value > largest) largest = value;
      }
      check::equal(kernels.largest_below(values.data(), size, bounds[b], &n_below), largest, name);
      check::equal(n_below, expected, name);
    }

    std::vector<T> away(n + 1, -7);
    kernels.distances(values.data(), size, 0.3, away.data());
    for (std::size_t i = 0; i < n; ++i) {
      check::equal(away[i], static_cast<T>(std::abs(static_cast<T>(values[i] - 0.3))), name);
    }
    check::equal(away[n], static_cast<T>(-7), "nothing behind them");

    double least = 1e300;
    for (std::size_t i = 0; i + 5 < n; ++i) {
      const double d = static_cast<double>(values[i + 5]) - static_cast<double>(values[i]);
      if (d < least) least = d;
    }
    check::equal(kernels.least_difference(values.data(), size, 5, 1e300), least, name);
    const double nothing = -static_cast<double>(infinity);
    check::equal(kernels.least_difference(values.data(), size, 5, nothing), nothing, name);

    if (n > 5) values[5] = static_cast<T>(nan);
    if (n > 40) values[40] = static_cast<T>(nan);
    const std::pair<T, T> ranges[] = {
        {-infinity, infinity},
        {std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()},
        {-3, 50},
        {0, 0},
        {5, 4}};
    for (const auto& [low, high] : ranges) {
      std::vector<T> expected;
      for (const T value : values) {
        if (value >= low && value <= high) expected.push_back(value);
      }
      std::vector<T> room(n + 1, -7);
      for (const bool is_in_place : {false, true}) {
        if (is_in_place) std::copy(values.begin(), values.end(), room.begin());
        const T* from = is_in_place ? room.data() : values.data();
        const auto found = kernels.collect(from, size, low, high, room.data());
        check::equal(found, static_cast<std::int64_t>(expected.size()), name);
        check::that(std::equal(expected.begin(), expected.end(), room.begin()), name);
        check::equal(room[n], static_cast<T>(-7), "nothing behind them");
      }
    }

    for (const double reach : {30.0, 1e300, static_cast<double>(infinity)}) {
      for (const double highest : {12.0, static_cast<double>(infinity)}) {
        // Every eighth value together, then these sums: the same numbers on every level.
        double sums[8] = {};
        double squares[8] = {};
        std::int64_t n_in = 0;
        for (std::size_t i = 0; i < n; ++i) {
          const double d = static_cast<double>(values[i]) - 0.7;
          if (!(std::abs(d) <= reach && values[i] <= highest)) continue;
          sums[i % 8] += d;
          squares[i % 8] += d * d;
          ++n_in;
        }
        const auto within = kernels.sum_within(values.data(), size, 0.7, reach, highest);
        check::equal(within.n, n_in, name);
        const double sum = std::accumulate(sums, sums + 8, 0.0);
        const double of_squares = std::accumulate(squares, squares + 8, 0.0);
        check::that(within.sum == sum || (std::isnan(within.sum) && std::isnan(sum)), name);
        check::that(within.squares == of_squares, name);
      }
    }
  }
}

void passes_over_lines_are_their_definitions() {
  for (const auto& level : levels()) {
    std::mt19937_64 random(8);
    passes_over_lines(level.lines.float32, level.name + " float", random);
    passes_over_lines(level.lines.float64, level.name + " double", random);
  }
}

template <class T>
double median_of_sorted(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  const auto high = static_cast<double>(values[values.size() / 2]);
  const auto low = static_cast<double>(values[(values.size() - 1) / 2]);
  return values.size() % 2 == 1 ? high : std::midpoint(low, high);
}

template <class T>
void medians_of_lines(std::mt19937_64& random) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  std::normal_distribution<double> normal(0, 3);
  for (const std::size_t n : {1, 2, 3, 15, 16, 17, 18, 33, 100, 101, 932, 5000}) {
    for (int kind = 0; kind < 8; ++kind) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<T> values(n);
        for (std::size_t i = 0; i < n; ++i) {
          double value = normal(random);
          if (kind == 1) value = std::round(value);              // many are the same
          if (kind == 2) value = random() % 2 == 0 ? 1.0 : 2.0;  // or more than half
          if (kind == 3) value = std::exp(8 * value);            // far tails
          if (kind == 4) value = static_cast<double>(i / 3);     // sorted
          if (kind == 5) value = -static_cast<double>(i) - (i % 16 == 0 ? 1e6 : 0);  // a bad sample
          if (kind == 6)
            value = random() % 3 == 0 ? value : random() % 2 == 0 ? infinity : -infinity;
          if (kind == 7) value = value < 0 ? -1e307 * value : 1e-300;
          if (kind == 7 && sizeof(T) == 4) value = value > 1 ? 3e38 : 1e-45;
          values[i] = static_cast<T>(value);
        }
        const auto given = values;
        std::vector<T> away(n);
        std::vector<T> work(n + 1, -7);
        const auto room = std::span(work).first(n);
        const double expected = median_of_sorted(values);
        const double median = median_of(std::span<const T>(values), room);
        check::that(median == expected || (std::isnan(median) && std::isnan(expected)));
        check::equal(work[n], static_cast<T>(-7), "nothing behind them");
        check::that(values == given, "the values stay");
        if (!std::isfinite(expected)) continue;
        const auto location = median_and_mad(std::span<const T>(values), std::span(away), room);
        for (T& value : values)
          value = static_cast<T>(std::abs(static_cast<double>(value) - expected));
        check::that(away == values, "distances");
        check::equal(location.value, expected);
        check::equal(location.sigma, sigma_per_mad * median_of_sorted(values));
      }
    }
  }
}

void a_median_of_a_line_is_that_of_its_sorted_values() {
  std::mt19937_64 random(9);
  medians_of_lines<float>(random);
  medians_of_lines<double>(random);
}

// ---- rows of pixels -------------------------------------------------------------------------

struct RunsOfRow {
  explicit RunsOfRow(std::size_t room)
      : begins(room), ends(room), begin_marks(room), end_marks(room) {}
  [[nodiscard]] RowRuns view() {
    return {begins.data(), ends.data(), begin_marks.data(), end_marks.data()};
  }
  std::vector<std::int32_t> begins;
  std::vector<std::int32_t> ends;
  std::vector<Marks> begin_marks;
  std::vector<Marks> end_marks;
  std::int64_t n = 0;
};

void marks_and_runs_are_those_of_the_pixels() {
  std::mt19937_64 random(6);
  auto all = levels();
  all.push_back({chosen_level(), "chosen", skip_kernels(), group_kernels(), line_kernels(),
                 kernels::encode_float32, kernels::encode_float64, kernels::encode_whole,
                 kernels::encode_int32, kernels::mark_above, kernels::find_runs,
                 kernels::find_touching});
  for (const auto& level : all) {
    for (const std::int64_t n : {1, 2, 63, 64, 65, 127, 128, 129, 192, 200, 300}) {
      for (const unsigned density : {1U, 2U, 5U, 1000U}) {
        const auto size = static_cast<std::size_t>(n);
        const std::size_t n_words = (size + 1) / 64 + 1;  // one column beyond the last end
        std::vector<RunsOfRow> rows;
        for (int r = 0; r < 2; ++r) {
          std::vector<double> values(size);
          std::vector<std::uint32_t> mask(size);
          std::vector<bool> marked(size + 2);
          std::uint32_t any = 0;
          for (std::size_t i = 0; i < size; ++i) {
            const auto word = random();
            values[i] = word % density == 0 ? 3.0 : word % 7 == 0 ? nan : 2.5;
            if (word % 50 == 0) mask[i] = 1U << (word / 50 % 3);
            if (density == 5 && word % 3 == 0) values[i] = 1e9;
            any |= mask[i];
            marked[i] = values[i] >= 3.0 && (mask[i] & 5U) == 0;
          }
          std::vector<std::uint64_t> words(n_words + 1, 77);
          check::equal(level.mark_above(values.data(), mask.data(), n, 3.0, 5U, words.data()), any);
          const auto n_written = static_cast<std::size_t>((n + 63) / 64);
          check::equal(words[n_written], std::uint64_t{77}, "no word behind the last");
          for (std::size_t i = 0; i < 64 * n_written; ++i) {
            check::equal((words[i / 64] >> (i % 64) & 1) != 0, i < size && marked[i], "a mark");
          }
          std::fill(words.begin() + static_cast<std::ptrdiff_t>(n_written), words.end(), 0);
          words[n_words] = ~std::uint64_t{0};  // not of the row
          auto& runs = rows.emplace_back(size + 64);
          runs.n = level.find_runs(words.data(), static_cast<std::int64_t>(n_words), runs.view());
          std::vector<std::int32_t> begins;
          std::vector<std::int32_t> ends;
          for (std::size_t i = 0; i <= size; ++i) {
            const bool before = i > 0 && marked[i - 1];
            if (marked[i] && !before) begins.push_back(static_cast<std::int32_t>(i));
            if (!marked[i] && before) ends.push_back(static_cast<std::int32_t>(i));
          }
          check::equal(static_cast<std::size_t>(runs.n), begins.size(), "runs");
          check::that(std::equal(begins.begin(), begins.end(), runs.begins.begin()), "begins");
          check::that(std::equal(ends.begin(), ends.end(), runs.ends.begin()), "ends");
        }
        auto& above = rows[0];
        auto& below = rows[1];
        for (const std::int32_t reach : {0, 1}) {
          std::vector<std::int32_t> first(size + 64);
          std::vector<std::int32_t> past(size + 64);
          level.find_touching(above.view(), below.view(), below.n, reach, first.data(),
                              past.data());
          for (std::size_t i = 0; i < static_cast<std::size_t>(below.n); ++i) {
            std::vector<std::int32_t> touching;
            for (std::size_t k = 0; k < static_cast<std::size_t>(above.n); ++k) {
              if (above.begins[k] < below.ends[i] + reach &&
                  above.ends[k] > below.begins[i] - reach) {
                touching.push_back(static_cast<std::int32_t>(k));
              }
            }
            check::equal(static_cast<std::size_t>(past[i] - first[i]), touching.size(), "touching");
            if (!touching.empty()) check::equal(first[i], touching.front(), "the first touching");
          }
        }
      }
    }
  }
}

// ---- location -------------------------------------------------------------------------------

double slow_median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Location slow_mean(const std::vector<double>& values) {
  long double sum = 0;
  for (const double value : values) sum += value;
  const long double mean = sum / static_cast<long double>(values.size());
  long double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {static_cast<double>(mean),
          static_cast<double>(sqrtl(squares / static_cast<long double>(values.size())))};
}

std::vector<double> gaussian(std::mt19937_64& random, std::size_t n, double centre, double sigma) {
  std::normal_distribution<double> normal(centre, sigma);
  std::vector<double> values(n);
  for (auto& value : values) value = normal(random);
  return values;
}

bool is_near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

void medians_and_means_are_their_definitions() {
  std::mt19937_64 random(7);
  for (std::size_t n = 1; n < 40; ++n) {
    const auto values = gaussian(random, n, 10, 3);
    std::vector<double> copy = values;
    const double median = slow_median(values);
    check::equal(median_of(copy), median);
    std::vector<double> away;
    for (const double value : values) away.push_back(std::abs(value - median));
    copy = values;
    std::vector<double> work(n + 3);
    const Location location = median_and_mad(copy, work);
    check::equal(location.value, median);
    check::equal(location.sigma, sigma_per_mad * slow_median(away));
    const Location mean = mean_and_std(values);
    // A sum of n numbers is rounded n times.
    check::that(is_near(mean.value, slow_mean(values).value, 1e-14 * static_cast<double>(n)));
    check::that(is_near(mean.sigma, slow_mean(values).sigma, 1e-14 * static_cast<double>(n)));
  }
  const Location far = mean_and_std(std::vector<double>{1e15, 1e15 + 1, 1e15 + 2});
  check::equal(far.value, 1e15 + 1);
  check::equal(far.sigma, std::sqrt(2.0 / 3));
}

/// Leaves out what is too far away, over and over.
Location slow_clipped(std::vector<double> values, double n_sigma, int n_iterations) {
  for (int i = 0; i < n_iterations; ++i) {
    const Location now = mean_and_std(values);
    std::vector<double> kept;
    for (const double value : values) {
      if (std::abs(value - now.value) <= n_sigma * now.sigma) kept.push_back(value);
    }
    if (kept.size() < 2) break;
    values = kept;
  }
  return mean_and_std(values);
}

void a_clipped_mean_is_its_definition() {
  std::mt19937_64 random(8);
  for (std::size_t n = 1; n < 60; ++n) {
    auto values = gaussian(random, n, 10, 3);
    for (std::size_t i = 0; i < n; i += 9) values[i] += 30 * static_cast<double>(i);
    for (const double n_sigma : {0.1, 1.0, 3.0}) {
      for (const int n_iterations : {1, 2, 20}) {
        auto copy = values;
        const Location clipped = clipped_mean(copy, n_sigma, n_iterations);
        const Location expected = slow_clipped(values, n_sigma, n_iterations);
        check::equal(clipped.value, expected.value);
        check::equal(clipped.sigma, expected.sigma);
      }
    }
  }
  // Those just n_sigma away are kept: mean 0, sigma 1.
  std::vector<double> pair{-1, 1, -1, 1};
  check::equal(clipped_mean(pair, 1.0, 5).sigma, 1.0);
  std::vector<double> five{5, 0, 0, 0, 0};  // of which one is just 2 sigma away
  check::equal(clipped_mean(five, 2.0, 1).value, 1.0);
  // Two are enough: sigma of the two in the middle.
  std::vector<double> four{-8, -1, 1, 8};
  check::equal(clipped_mean(four, 1.0, 1).sigma, 1.0);
}

/// The histogram that is fitted, from the documentation.
struct Histogram {
  double low = 0;
  double bin = 0;
  std::vector<double> counts;

  Histogram(const std::vector<double>& values, double n_sigma, std::size_t max_bins) {
    std::vector<double> away;
    const double median = slow_median(values);
    for (const double value : values) away.push_back(std::abs(value - median));
    const double mad = slow_median(away);
    low = median - n_sigma * (sigma_per_mad * mad);
    const double high = median + n_sigma * (sigma_per_mad * mad);
    const double width = 2 * (2 * mad) / std::cbrt(static_cast<double>(values.size()));
    const double wanted = std::clamp((high - low) / width, 6.0, static_cast<double>(max_bins));
    counts.resize(static_cast<std::size_t>(wanted));
    bin = (high - low) / static_cast<double>(counts.size());
    for (const double value : values) {
      if (value < low || value >= high) continue;
      const auto place = static_cast<std::size_t>((value - low) / bin);
      counts[std::min(place, counts.size() - 1)] += 1;  // just below the end, it is rounded up
    }
  }

  /// Smallest chi^2 of a Gaussian of that centre and width, with the best height.
  [[nodiscard]] double chi2(double centre, double sigma) const {
    double up = 0;
    double down = 0;
    const auto shape = [&](std::size_t i) {
      const double u = (low + (static_cast<double>(i) + 0.5) * bin - centre) / sigma;
      return std::exp(-u * u / 2);
    };
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double weight = 1 / std::max(1.0, counts[i]);
      up += weight * shape(i) * counts[i];
      down += weight * shape(i) * shape(i);
    }
    double sum = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double d = counts[i] - up / down * shape(i);
      sum += d * d / std::max(1.0, counts[i]);
    }
    return sum;
  }
};

std::optional<Location> fitted(std::vector<double> values, double n_sigma,
                               std::size_t max_bins = 1000) {
  std::vector<double> work(values.size());
  std::vector<double> bins(max_bins);
  return fit_gaussian(values, work, bins, n_sigma);
}

/// The slope of chi^2 over its curvature is how far the minimum is; differences of chi^2 in doubles
/// tell it to some 1e-5 of the width.
void is_at_the_least_squares(const std::vector<double>& values, double n_sigma,
                             std::size_t max_bins) {
  const auto fit = fitted(values, n_sigma, max_bins);
  check::that(fit.has_value(), "it converges");
  if (!fit) return;
  const Histogram histogram(values, n_sigma, max_bins);
  const double h = 1e-3 * fit->sigma;
  const auto missed = [&](double dx, double ds) {
    const auto at = [&](double k) {
      return histogram.chi2(fit->value + k * dx, fit->sigma + k * ds);
    };
    return (at(1) - at(-1)) / 2 / (at(1) - 2 * at(0) + at(-1));
  };
  check::that(std::abs(missed(h, 0)) < 0.02, "centre " + std::to_string(missed(h, 0)));
  check::that(std::abs(missed(0, h)) < 0.02, "width " + std::to_string(missed(0, h)));
}

void a_fit_is_at_the_least_squares() {
  std::mt19937_64 random(9);
  for (const std::size_t n : {200, 1000, 20000}) {
    for (const double n_sigma : {2.0, 3.0, 5.0}) {
      for (const std::size_t max_bins : {std::size_t{10}, std::size_t{1000}}) {
        auto values = gaussian(random, n, 1000, 7);
        for (std::size_t i = 0; i < n; i += 4) values[i] += static_cast<double>(i % 40);
        is_at_the_least_squares(values, n_sigma, max_bins);
      }
    }
  }
  // Whatever Gaussian: it is found in few steps, or it would not be found at all.
  for (int i = 0; i < 300; ++i) {
    const double sigma = std::exp(i % 20 - 10);
    auto values = gaussian(random, 100 + 10 * static_cast<std::size_t>(i), 50.0 * i, sigma);
    for (std::size_t k = 0; k < values.size(); k += 3)
      values[k] += sigma * static_cast<double>(i % 3);
    check::that(fitted(values, 2.5 + 0.01 * i, 40).has_value(), std::to_string(i));
  }
  // Median 0 and MAD 1: the windows are known, and have values on both of their ends.
  for (int i = 0; i < 30; ++i) {
    const double n_sigma = 2 + 0.1 * i;
    const double end = n_sigma * sigma_per_mad;
    std::vector<double> values{-end, std::nextafter(end, 0), end, -2 * end, 2 * end};
    for (int k = 0; k < 15; ++k) {
      values.insert(values.end(), {-1.9, -1.1, -1, -1, -0.3, 0, 0.3, 1, 1, 1.1, 1.9});
    }
    check::equal(slow_median(values), 0.0);
    if (fitted(values, n_sigma)) is_at_the_least_squares(values, n_sigma, 1000);
  }
}

void a_fit_that_means_nothing_is_none() {
  std::mt19937_64 random(10);
  auto values = gaussian(random, 7, 0, 1);
  check::that(!fitted(values, 3).has_value(), "7 values are too few");
  check::that(!fitted(std::vector<double>(100, 5.0), 3).has_value(), "no width");
  std::size_t n_fits = 0;
  for (int i = 0; i < 50; ++i) n_fits += fitted(gaussian(random, 8, 0, 1), 3).has_value() ? 1 : 0;
  check::that(n_fits > 0, "8 values may do");
  // A slope is no peak: the centre would lie outside of the window, or the width beyond it.
  std::vector<double> slope;
  for (int i = 0; i < 60; ++i)
    slope.insert(slope.end(), static_cast<std::size_t>(i * i / 9), i + 0.5);
  const auto steep = fitted(slope, 1);
  check::that(!steep.has_value(), "a slope");
  std::vector<double> flat;
  for (int i = 0; i < 4000; ++i) flat.push_back(i * 0.01);
  check::that(!fitted(flat, 1).has_value(), "a plain");
}

/// The lowest peak as it is documented, with nothing shared between the places.
Location slow_lowest_peak(std::vector<double> values, std::size_t max_bins) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const std::size_t tenth = std::clamp<std::size_t>(n / 10, 1, n - 1);
  double band = inf;
  double densest = 0;
  for (std::size_t i = 0; i + tenth < n; ++i) {
    const double length = values[i + tenth] - values[i];
    if (length < band) densest = values[i];
    band = std::min(band, length);
  }
  if (band == 0) return {densest, 0};
  const std::size_t n_outliers = n / 2000;
  const double step = band / 4;
  const double low = values[n_outliers] - 4 * band;
  const double n_wanted = (values[n - 1 - n_outliers] - low) / step + 16;
  const auto n_bins =
      static_cast<std::ptrdiff_t>(std::clamp(n_wanted, 32.0, static_cast<double>(max_bins)));
  const auto weight = [](std::ptrdiff_t bins) {
    return std::abs(bins) <= 16 ? std::exp(-static_cast<double>(bins * bins) / 32) : 0.0;
  };
  double norm = 0;
  double squares = 0;
  for (std::ptrdiff_t k = -16; k <= 16; ++k) norm += weight(k);
  for (std::ptrdiff_t k = -16; k <= 16; ++k) squares += weight(k) * weight(k) / (norm * norm);
  const auto density = [&](std::ptrdiff_t i) {
    double sum = 0;
    for (const double value : values) {
      const double at = std::floor((value - low) / step);
      if (at < 0 || at >= static_cast<double>(n_bins)) continue;
      sum += weight(static_cast<std::ptrdiff_t>(at) - i) / norm;
    }
    return sum;
  };
  std::vector<double> smooth;
  for (std::ptrdiff_t i = 0; i < n_bins; ++i) smooth.push_back(density(i));
  const double highest = *std::max_element(smooth.begin(), smooth.end());
  std::size_t top = 0;
  for (std::size_t i = 0; i < smooth.size(); ++i) {
    if (smooth[i] > smooth[top]) top = i;
    const double fall = smooth[top] - smooth[i];
    const bool is_peak = fall > 0.1 * smooth[top] && fall > 5 * std::sqrt(smooth[top] * squares);
    if (is_peak && smooth[top] > 0.01 * highest) break;
    if (is_peak) top = i;
  }
  const double flank = smooth[top] * std::exp(-0.5);
  std::size_t left = top;
  while (left > 0 && smooth[left] > flank) --left;
  double at = static_cast<double>(left);
  if (smooth[left + 1] > smooth[left]) {
    at += (flank - smooth[left]) / (smooth[left + 1] - smooth[left]);
  }
  const double wide = (static_cast<double>(top) - at) * step;
  const double sigma = std::max(std::sqrt(std::max(wide * wide - band * band, 0.0)), band / 2);
  double centre = low + (static_cast<double>(top) + 0.5) * step;
  for (int i = 0; i < 20; ++i) {
    std::vector<double> core;
    for (const double value : values) {
      if (std::abs(value - centre) <= 1.2 * sigma) core.push_back(value);
    }
    if (core.empty()) break;
    centre = slow_mean(core).value;
  }
  return {centre, sigma};
}

void the_lowest_peak_is_its_definition() {
  std::mt19937_64 random(11);
  std::vector<std::vector<double>> images{{1, 1}, {1, 2}, {3, 3, 3, 3}, {1, 2, 3}, {5, 1, 1, 1, 9}};
  for (const std::size_t n : {2, 5, 10, 19, 20, 100, 600, 1999, 2000, 5000}) {
    for (const double rate : {0.0, 0.3, 1.2, 3.0}) {
      auto values = gaussian(random, n, 1000, 0.2);
      std::poisson_distribution<int> poisson(rate + 1e-9);
      for (auto& value : values) value += poisson(random);
      images.push_back(values);
      for (std::size_t i = 0; i < n; i += 50) values[i] += 500;
      images.push_back(values);
      // A peak of one in 200 is too small, one in 50 is not.
      for (std::size_t i = 1; i < n; i += 200) values[i] = 990 + 1e-3 * static_cast<double>(i);
      images.push_back(values);
      for (std::size_t i = 2; i < n; i += 50) values[i] = 980 + 1e-5 * static_cast<double>(i);
      images.push_back(values);
      for (auto& value : values) value = std::round(2 * value);
      images.push_back(values);
    }
  }
  for (const auto& values : images) {
    for (const std::size_t max_bins : {std::size_t{40}, std::size_t{1000}}) {
      std::vector<double> copy = values;
      std::vector<double> bins(max_bins);
      std::vector<double> smooth(max_bins);
      const Location peak = lowest_peak(copy, bins, smooth);
      const Location expected = slow_lowest_peak(values, max_bins);
      const std::string what = std::to_string(values.size()) + " values, " +
                               std::to_string(peak.value) + " " + std::to_string(peak.sigma) +
                               ", expected " + std::to_string(expected.value) + " " +
                               std::to_string(expected.sigma);
      // Means of 1,000 and less, added up in another order; widths from sums of weights.
      check::that(is_near(peak.value, expected.value, 1e-10), what);
      check::that(is_near(peak.sigma, expected.sigma, 1e-9 * (1 + expected.sigma)), what);
      check::that(std::is_sorted(copy.begin(), copy.end()));
      const std::vector<float> narrow(copy.begin(), copy.end());
      std::vector<double> wide(narrow.begin(), narrow.end());
      const Location of_narrow = lowest_peak_of_sorted(narrow, bins, smooth);
      const Location of_wide = lowest_peak(wide, bins, smooth);
      check::equal(of_narrow.value, of_wide.value, what);
      check::equal(of_narrow.sigma, of_wide.sigma, what);
    }
  }
  // Differences that no double holds.
  for (std::vector<double> far :
       {std::vector<double>{-1e308, 1e308}, {-1.7e308, 0, 1, 2, 1.7e308}}) {
    std::vector<double> bins(40);
    std::vector<double> smooth(40);
    const double middle = far[far.size() / 2];
    const Location peak = lowest_peak(far, bins, smooth);
    check::equal(peak.value, middle);
    check::equal(peak.sigma, 0.0);
  }
}

// ---- splines --------------------------------------------------------------------------------

void a_width_of_counts_is_that_of_their_gaussian() {
  // Areas below a Gaussian around 1003.3, which is 4 wide, as whole counts.
  constexpr double centre = 53.3;
  constexpr double sigma = 4.0;
  std::vector<std::int64_t> counts(120);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double u = (static_cast<double>(i) - centre) / sigma;
    counts[i] = std::llround(1e6 * std::exp(-u * u / 2));
  }
  const auto width = [&](double first) { return width_of_counts(first, counts).value_or(-1); };
  check::that(is_near(width(950), sigma, 1e-5));
  check::that(is_near(width(-54), sigma, 1e-5), "without the number 0, at the summit");
  counts[0] = 3'000'000;  // saturated, and fewer than the half
  check::that(is_near(width(0), sigma, 1e-5), "0 does not take part");
  counts[119] = 500'000;
  check::that(is_near(width(0), sigma, 1e-5), "what is far away does not");
  // At the ends of the bins.
  const std::vector<std::int64_t> right(counts.begin() + 1, counts.begin() + 54);
  check::that(is_near(width_of_counts(7, right).value_or(-1), sigma, 1e-5));
  const std::vector<std::int64_t> left(counts.begin() + 54, counts.begin() + 118);
  check::that(is_near(width_of_counts(7, left).value_or(-1), sigma, 1e-5));

  const auto has_none = [](std::vector<std::int64_t> few) {
    check::that(!width_of_counts(5, few).has_value());
  };
  has_none({});
  has_none({0, 0, 0});
  has_none({1, 2, 3, 2, 1});  // fewer than 10
  check::that(width_of_counts(5, std::vector<std::int64_t>{1, 4, 4, 1}).has_value());
  check::that(width_of_counts(5, std::vector<std::int64_t>{40, 80, 40, 10}).has_value());
  has_none({0, 40, 80, 40, 0});      // 3 numbers
  has_none({50, 10, 5, 5, 10, 50});  // a valley
  check::that(!width_of_counts(0, std::vector<std::int64_t>{50, 1, 0, 2}).has_value());
}

void an_entropy_is_its_definition() {
  check::that(std::isnan(entropy_of(std::vector<std::int64_t>{})));
  check::that(std::isnan(entropy_of(std::vector<std::int64_t>{0, 0})));
  check::equal(entropy_of(std::vector<std::int64_t>{0, 7}), 0.0);
  check::that(is_near(entropy_of(std::vector<std::int64_t>{5, 0, 5, 5, 5}), std::log(4.0), 1e-15));
  check::equal(entropy_of(std::vector<std::int64_t>{1}), 0.0);
  check::that(is_near(entropy_of(std::vector<std::int64_t>{1, 1}), std::log(2.0), 1e-15));
  for (const double far : {7.5, 1e12, -1e12}) {  // counted one by one, or in a tree
    const std::vector<double> values{-0.5, -1, nan, 3.9, 3, inf, far, far, -inf};
    check::that(is_near(entropy_of_wholes(values), std::log(3.0), 1e-15));
  }
  check::equal(entropy_of_wholes(std::vector<float>{2.25F, 2.75F}), 0.0);
  check::equal(entropy_of_wholes(std::vector<double>{5, 5}), 0.0);
  const std::vector<double> around_zero{-0.5, 0.25, 0.75, 0.9};  // one in -1, three in 0
  check::that(is_near(entropy_of_wholes(around_zero), std::log(4.0) - 0.75 * std::log(3.0), 1e-15));
  check::that(std::isnan(entropy_of_wholes(std::vector<float>{})));
}

void distances_are_those_from_the_nearest() {
  std::mt19937_64 random(5);
  for (int n_tries = 0; n_tries < 400; ++n_tries) {
    const auto n_rows = static_cast<std::int64_t>(random() % 12);
    const auto n_cols = static_cast<std::int64_t>(random() % 12);
    const auto most = static_cast<std::int32_t>(random() % 15);
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(n_rows * n_cols));
    for (auto& pixel : pixels) pixel = random() % static_cast<unsigned>(n_tries % 9 + 2) == 0;
    const auto width = static_cast<std::size_t>(n_cols);
    std::vector<std::int32_t> distances(pixels.size());
    std::vector<std::int64_t> squares(pixels.size());
    std::vector<double> work(3 * width + 1);
    distances_along_columns(pixels, n_rows, n_cols, most, distances);
    for (std::size_t first = 0; first < pixels.size(); first += width) {
      squares_in_plane(std::span(distances).subspan(first, width), most,
                       std::span(squares).subspan(first, width), work);
    }
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      std::int64_t expected = (most + 1) * (most + 1);
      for (std::size_t k = 0; k < pixels.size(); ++k) {
        const auto place = [&](std::size_t at) {
          return std::lldiv(static_cast<std::int64_t>(at), n_cols);
        };
        const std::int64_t down = place(i).quot - place(k).quot;
        const std::int64_t right = place(i).rem - place(k).rem;
        const std::int64_t square = down * down + right * right;
        if (pixels[k] != 0 && square <= most * most) expected = std::min(expected, square);
      }
      check::equal(squares[i], expected);
    }
  }
}

void pixels_are_counted_by_their_distance() {
  const std::vector<std::uint8_t> there{1, 1, 1, 0, 1, 1, 1};
  const std::vector<std::int64_t> squares{0, 1, 1, 1, 2, 4, 5};
  const auto check_counts = [&]<class T>(const std::vector<T>& pixels) {
    std::vector<std::int64_t> counts(5);
    std::vector<std::int64_t> hits(5);
    count_by_distance(pixels, there, squares, 2.0, counts, hits);
    check::that(counts == std::vector<std::int64_t>{0, 2, 1, 0, 1});
    check::that(hits == std::vector<std::int64_t>{0, 1, 0, 0, 1}, "of at least 2");
  };
  check_counts(std::vector<double>{9, 2, 1.999, 9, 1, 2.5, 9});
  check_counts(std::vector<float>{9, 2, 1.75, 9, 1, 2.5, 9});
}

void a_mixture_is_at_the_most_likely() {
  // Three Gaussians, of which the last one is seen up to its middle, where it is known to be.
  const std::vector<double> places{0.1, 10.3, 20.0};
  const std::vector<double> heights{3000, 900, 300};
  std::vector<double> means(3);
  std::vector<double> sizes(3);
  std::vector<double> information(36);
  std::vector<double> scores(6);
  std::vector<double> centres;
  std::vector<double> counts;
  const std::vector<double> starts{0.0, 10.0, 20.0};
  const auto fitted = [&](double start) {
    return fit_mixture(centres, counts, starts, start, means, sizes, information, scores);
  };
  for (const double sigma : {1.3, 2.2}) {  // apart, and one above another
    centres.clear();
    counts.clear();
    for (double x = -40; x < 20; x += 0.1) {
      double count = 0;
      for (std::size_t i = 0; i < places.size(); ++i) {
        const double u = (x + 0.05 - places[i]) / sigma;
        count += heights[i] * std::exp(-u * u / 2);
      }
      centres.push_back(x + 0.05);
      counts.push_back(count);
    }
    counts[3] = 0;
    check::that(is_near(fitted(1.0), sigma, 1e-3));
    for (std::size_t i = 0; i < 2; ++i) {
      check::that(is_near(means[i], places[i], 1e-3));
      const double area = heights[i] * sigma * std::sqrt(2 * 3.14159265358979) / 0.1;
      check::that(is_near(sizes[i] / area, 1, 1e-3));
      // Peaks that stand apart: what each count tells of a mean is 1 / sigma^2.
      const double told = information[i * 7] * sigma * sigma / area;
      check::that(sigma > 2 ? told < 0.99 : is_near(told, 1, 1e-2));
    }
    check::equal(means[2], starts[2]);
    for (std::size_t i = 0; i < 6; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        check::that(is_near(information[6 * i + j], information[6 * j + i], 1e-9));
      }
    }
  }
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = is_near(centres[i], 4.5, 1) ? 1 : 0;
  static_cast<void>(fitted(1.0));
  check::that(is_near(means[0], 10.0 / 3, 1e-9), "a mean goes a third of the way, at most");
  std::fill(counts.begin(), counts.end(), 0.0);
  check::equal(fitted(1.0), 1e-12, "no counts have no width");
}

void a_peak_of_a_hundredth_is_the_lowest() {
  std::mt19937_64 random(3);
  std::normal_distribution<double> noise;
  for (const std::size_t n_low : {500U, 1500U}) {
    std::vector<double> values(100'000);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = (i < n_low ? 0.0 : 100.0) + noise(random);
    }
    std::vector<double> bins(4000);
    std::vector<double> smooth(4000);
    const Location peak = lowest_peak(values, bins, smooth);
    check::that(is_near(peak.value, n_low < 1000 ? 100 : 0, 0.2));
  }
}

void a_spline_is_smooth_and_goes_through_its_points() {
  const std::vector<double> x{-2, -1, 1, 1.5, 4, 5, 8};
  const std::vector<double> y{1, 3, -2, 0, 0, 7, 2};
  for (std::size_t n = 2; n <= x.size(); ++n) {
    const std::span<const double> xs(x.data(), n);
    const std::span<const double> ys(y.data(), n);
    std::vector<double> curvatures(n, 77);
    std::vector<double> work(n);
    natural_spline(xs, ys, curvatures, work);
    check::equal(curvatures.front(), 0.0);
    check::equal(curvatures.back(), 0.0);
    const auto slope = [&](std::size_t i) { return (y[i + 1] - y[i]) / (x[i + 1] - x[i]); };
    for (std::size_t i = 1; i + 1 < n; ++i) {
      // One slope on both sides of a point.
      const double before = x[i] - x[i - 1];
      const double behind = x[i + 1] - x[i];
      const double left = slope(i - 1) + before * (curvatures[i - 1] + 2 * curvatures[i]) / 6;
      const double right = slope(i) - behind * (2 * curvatures[i] + curvatures[i + 1]) / 6;
      check::that(is_near(left, right, 1e-13), "slopes");
    }
    for (std::size_t start = 0; start + 1 < n; ++start) {
      std::size_t here = start;
      for (const double at : {-9.0, -2.0, 0.3, -1.5, 1.0, 8.0, 4.9, 1.2, 30.0, -1.0, 2.0}) {
        std::size_t i = 0;
        while (i + 2 < n && at >= x[i + 1]) ++i;
        const double width = x[i + 1] - x[i];
        const double a = curvatures[i];
        const double b = curvatures[i + 1];
        const double s = slope(i) - width * (2 * a + b) / 6;
        const double t = std::clamp(at, x[i], x[i + 1]) - x[i];
        double expected = y[i] + t * (s + t * (a / 2 + t * (b - a) / (6 * width)));
        if (at < x[i]) expected += (at - x[i]) * s;
        if (at > x[i + 1]) expected += (at - x[i + 1]) * (s + width * (a + b) / 2);
        const double found = spline_at(xs, ys, curvatures, at, here);
        check::that(is_near(found, expected, 1e-12), std::to_string(found));
        check::equal(here, i, "the segment to begin with next time");
      }
    }
  }
}

// ---- peaks of charge ------------------------------------------------------------------------

/// Counts by the definition: every peak in every bin, none left out because it is far.
std::vector<double> slow_counts(const std::vector<double>& edges, const ChargeModel& model,
                                std::int64_t n_peaks) {
  std::vector<double> counts(edges.size() - 1);
  for (std::int64_t k = 0; k < n_peaks; ++k) {
    const auto electrons = static_cast<double>(k);
    const double poisson =
        model.rate > 0
            ? std::exp(electrons * std::log(model.rate) - model.rate - std::lgamma(electrons + 1))
            : (k == 0 ? 1.0 : 0.0);
    const auto below = [&](double edge) {
      const double z = (edge - model.offset - model.gain * electrons) / model.noise;
      return 0.5 * (1 + std::erf(z / std::sqrt(2.0)));
    };
    for (std::size_t i = 0; i < counts.size(); ++i) {
      counts[i] += model.n * poisson * (below(edges[i + 1]) - below(edges[i]));
    }
  }
  return counts;
}

struct ChargeCase {
  std::vector<double> edges;
  ChargeModel model;
  std::int64_t n_peaks;
};

std::vector<double> equal_edges(double begin, double end, std::size_t n) {
  std::vector<double> edges;
  for (std::size_t i = 0; i <= n; ++i) {
    edges.push_back(begin + (end - begin) * static_cast<double>(i) / static_cast<double>(n));
  }
  return edges;
}

std::vector<ChargeCase> charge_cases() {
  return {{equal_edges(-1, 6, 70), {1e5, 0.02, 0.17, 0.8, 1.0}, 9},
          {equal_edges(-1, 6, 70), {1e5, 0.02, 0.17, 0.8, 1.0}, 1},
          {equal_edges(-3, 30, 41), {2e4, -0.4, 0.9, 2.5, 4.7}, 12},
          {equal_edges(-40, 70, 220), {2e4, 1, 3.5, 2.5, 4.7}, 12},
          {equal_edges(2, 30, 56), {2e4, -0.4, 0.6, 2.5, 4.7}, 12},
          {{-50, 50}, {123, 1, 0.2, 0.3, 1.0}, 8},
          {{-50, 0.5, 0.6, 50}, {123, 0, 0.2, 0.3, 1.0}, 8},
          {{-60, -55, -50, 40, 41, 47, 90}, {1e3, 0, 0.2, 8, 5.0}, 20},
          {equal_edges(-1, 1, 20), {500, 0.1, 0.2, 0.0, 1.0}, 3}};
}

void expected_counts_are_those_of_all_peaks() {
  for (const auto& [edges, model, n_peaks] : charge_cases()) {
    const auto expected = slow_counts(edges, model, n_peaks);
    std::vector<double> counts(expected.size(), 77);
    expected_counts(edges, model.n, model.offset, model.noise, model.rate, model.gain, n_peaks,
                    counts);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      // Rounding, and what lies beyond 9 sigma.
      check::that(is_near(counts[i], expected[i], 1e-14 * model.n),
                  std::to_string(counts[i]) + " is " + std::to_string(expected[i]));
    }
  }
  // Between two peaks, 10 sigma from both, nothing is expected.
  std::vector<double> counts(3);
  expected_counts(std::vector{-10.0, 49.0, 51.0, 110.0}, 10, 0, 5, 1, 100, 2, counts);
  check::equal(counts[1], 0.0);
  // A bin of which only the end is within 9 sigma, and one of which only the begin is.
  counts.resize(2);
  const std::vector<double> sides{-10.0, -8.9, 8.9};
  expected_counts(sides, 1e20, 0, 1, 0, 1, 1, counts);
  check::that(counts[0] > 20 && counts[0] < 40, "the lower tail beyond 8.9 sigma, of 1e20");
  const std::vector<double> far{8.0, 8.9, 10.0};
  expected_counts(far, 1e20, 0, 1, 0, 1, 1, counts);
  check::that(counts[0] > 1e4 && counts[1] >= 0, "the upper tail");
}

/// Counts that look like the model's, some bins of them empty.
std::vector<double> counts_like(const ChargeCase& of) {
  auto counts = slow_counts(of.edges, of.model, of.n_peaks);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i] = std::floor(counts[i] * (1 + 0.3 * std::sin(static_cast<double>(3 * i))));
  }
  return counts;
}

/// Twice the sum of m - c + c log(c / m).
double slow_cost(const ChargeCase& of, const std::vector<double>& counts) {
  const auto expected = slow_counts(of.edges, of.model, of.n_peaks);
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double m = std::max(expected[i], 1e-300);
    sum += 2 * (m - counts[i]);
    if (counts[i] > 0) sum += 2 * counts[i] * std::log(counts[i] / m);
  }
  return sum;
}

/// The cost of a shape, which other rates before and behind it do not change.
double shape_cost(const std::vector<double>& edges, const std::vector<double>& counts,
                  const ChargeModel& model, std::int64_t n_peaks) {
  std::vector<double> peaks(static_cast<std::size_t>(n_peaks) * counts.size(), -1.0);
  std::vector<double> expected(counts.size());
  std::array<double, 3> costs{};
  charge_shape_costs(edges, counts, model, n_peaks, std::array{2.5, model.rate, 0.0}, peaks,
                     expected, costs);
  const double cost = costs[1];
  charge_shape_costs(edges, counts, model, n_peaks, std::array{model.rate}, peaks, expected,
                     std::span(costs).first(1));
  check::equal(costs[0], cost);
  return cost;
}

void costs_of_charges_are_their_definitions() {
  for (auto& one : charge_cases()) {
    const auto counts = counts_like(one);
    // Somewhat beside the truth, as a fit would try.
    one.model.n *= 1.1;
    one.model.offset += 0.01;
    one.model.rate *= 0.9;
    std::vector<double> expected(counts.size());
    const double cost = charge_cost(one.edges, counts, one.model, one.n_peaks, expected);
    const double truth = slow_cost(one, counts);
    check::that(is_near(cost, truth, 1e-9 * (1 + std::abs(truth))), std::to_string(cost));
    const auto slow = slow_counts(one.edges, one.model, one.n_peaks);
    const double scale = std::accumulate(counts.begin(), counts.end(), 0.0) /
                         std::accumulate(slow.begin(), slow.end(), 0.0);
    double likelihood = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 0) likelihood += counts[i] * std::log(scale * slow[i]);
    }
    for (const double n : {1.0, one.model.n}) {
      one.model.n = n;
      const double shape = shape_cost(one.edges, counts, one.model, one.n_peaks);
      check::that(is_near(shape, -likelihood, 1e-9 * (1 + std::abs(likelihood))),
                  std::to_string(shape) + " is " + std::to_string(-likelihood));
    }
  }
  // A count where none is expected costs much, but not without end; all bins empty cost what is
  // expected, or nothing.
  const std::vector<double> edges{-1, 1, 99, 100};
  const ChargeModel model{10, 0, 0.1, 0, 1};
  std::vector<double> expected(3);
  const double cost = charge_cost(edges, std::vector{10.0, 0.0, 2.0}, model, 1, expected);
  check::that(is_near(cost, 2 * (-2 + 2 * std::log(2 / 1e-300)), 1e-9), std::to_string(cost));
  const double shape = shape_cost(edges, std::vector{10.0, 0.0, 2.0}, model, 1);
  check::that(is_near(shape, -10 * std::log(12.0) - 2 * std::log(1e-12), 1e-9),
              std::to_string(shape));
  const std::vector<double> none{0, 0, 0};
  check::that(is_near(charge_cost(edges, none, model, 1, expected), 20, 1e-12));
  check::equal(shape_cost(edges, none, model, 1), 0.0);
  const std::vector<double> beside{50, 60, 70, 80};
  check::equal(shape_cost(beside, none, model, 1), 0.0);
}

void the_gradient_of_the_cost_is_its_slope() {
  for (auto& one : charge_cases()) {
    const auto counts = counts_like(one);
    one.model.n *= 1.1;
    one.model.offset += 0.01;
    one.model.rate = 0.9 * one.model.rate + 0.01;
    one.model.noise *= 1.05;
    std::vector<double> expected(counts.size());
    std::array<double, 5> gradient{};
    charge_gradient(one.edges, counts, one.model, one.n_peaks, expected, gradient);
    const std::array<double ChargeModel::*, 5> parameters{&ChargeModel::n, &ChargeModel::offset,
                                                          &ChargeModel::noise, &ChargeModel::rate,
                                                          &ChargeModel::gain};
    for (std::size_t p = 0; p < 5; ++p) {
      ChargeCase other = one;
      const double step = p == 0 ? one.model.n * 1e-5 : 1e-5;
      // Differences of fourth order; their error is in the fifth derivative and in the rounding.
      const auto at = [&](double steps) {
        other.model.*parameters[p] = one.model.*parameters[p] + steps * step;
        return slow_cost(other, counts);
      };
      const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
      const double tolerance = 1e-5 * (1 + std::abs(slow_cost(one, counts)) / one.model.n / step);
      check::that(is_near(gradient[p], slope, tolerance + 1e-6 * std::abs(slope)),
                  "parameter " + std::to_string(p) + ": " + std::to_string(gradient[p]) + " is " +
                      std::to_string(slope));
    }
  }
  // Where nothing is expected, a count pulls at nothing.
  std::vector<double> expected(1);
  std::array<double, 5> gradient{};
  charge_gradient(std::vector{50.0, 60.0}, std::vector{3.0}, {10, 0, 1, 0.1, 1}, 2, expected,
                  gradient);
  for (const double slope : gradient) check::equal(slope, 0.0);
}

// ---- Rice tiles -----------------------------------------------------------------------------

template <class Sample>
std::int64_t decoded(std::vector<std::uint8_t> tile, std::int64_t n) {
  const auto n_bytes = static_cast<std::int64_t>(tile.size());
  tile.resize(tile.size() + static_cast<std::size_t>(rice_margin));
  std::vector<Sample> samples(static_cast<std::size_t>(n));
  RiceState state;
  return rice_decode(std::as_bytes(std::span(tile)).data(), n_bytes, true, 32, state,
                     samples.data(), n);
}

/// A first sample of 5, then two blocks whose samples all have `zeros` zeros before their one, and
/// their number as low bits.
template <class Sample>
void decodes_runs(int split, int zeros) {
  constexpr int width = 8 * static_cast<int>(sizeof(Sample));
  constexpr int split_bits = width == 8 ? 3 : width == 16 ? 4 : 5;
  constexpr std::int64_t n = 64;
  std::vector<bool> bits;
  const auto put_bits = [&](std::uint64_t value, int n_bits) {
    for (int i = n_bits - 1; i >= 0; --i) bits.push_back((value >> i & 1) != 0);
  };
  put_bits(5, width);
  std::vector<Sample> expected;
  std::uint32_t last = 5;
  for (std::int64_t i = 0; i < n; ++i) {
    if (i % 32 == 0) put_bits(static_cast<std::uint64_t>(split) + 1, split_bits);
    const std::uint32_t low = static_cast<std::uint32_t>(i * 2654435761) & ((1U << split) - 1);
    bits.insert(bits.end(), static_cast<std::size_t>(zeros), false);
    bits.push_back(true);
    put_bits(low, split);
    const std::uint32_t mapped = static_cast<std::uint32_t>(zeros) << split | low;
    last += mapped % 2 == 0 ? mapped / 2 : ~(mapped / 2);
    expected.push_back(static_cast<Sample>(last));
  }
  std::vector<std::uint8_t> tile((bits.size() + 7) / 8 + static_cast<std::size_t>(rice_margin));
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) tile[i / 8] = static_cast<std::uint8_t>(tile[i / 8] | 0x80 >> i % 8);
  }
  const auto n_bytes = static_cast<std::int64_t>((bits.size() + 7) / 8);
  std::vector<Sample> samples(n);
  RiceState state;
  const auto window = std::as_bytes(std::span(tile));
  const std::string what = std::to_string(width) + " bits, split " + std::to_string(split) +
                           ", zeros " + std::to_string(zeros);
  check::equal(rice_decode(window.data(), n_bytes, true, 32, state, samples.data(), n), n, what);
  check::that(samples == expected, what);
}

void runs_of_zeros_of_any_length_are_read() {
  for (int split = 0; split < 25; ++split) {
    for (int zeros = 0; zeros < 130; zeros += zeros < 62 ? 1 : 13) {
      if (split < 6) decodes_runs<std::uint8_t>(split, zeros);
      if (split < 14) decodes_runs<std::int16_t>(split, zeros);
      decodes_runs<std::int32_t>(split, zeros);
    }
  }
}

void what_is_no_tile_is_told_by_minus_one() {
  // The first sample, then a code that says: all the same, three samples of three bits, ...
  check::equal(decoded<std::uint8_t>({7, 0}, 32), std::int64_t{32});
  check::equal(decoded<std::uint8_t>({7, 0}, 64), std::int64_t{64});
  check::equal(decoded<std::uint8_t>({7, 0}, 65), std::int64_t{-1}, "the third code is cut off");
  check::equal(decoded<std::uint8_t>({7}, 32), std::int64_t{-1}, "no code");
  check::equal(decoded<std::uint8_t>({}, 1), std::int64_t{-1}, "no sample");
  check::equal(decoded<std::uint8_t>({7, 0x20, 0, 0, 0}, 1), std::int64_t{-1}, "zeros to the end");
  check::equal(decoded<std::uint8_t>({7, 0x20, 0, 0, 0}, 32), std::int64_t{-1}, "zeros");
  check::equal(decoded<std::int16_t>({0, 7, 0x10, 0, 0, 0}, 8), std::int64_t{-1}, "zeros");
  check::equal(decoded<std::int32_t>({0, 0, 0, 7, 0xd0, 0}, 1), std::int64_t{-1}, "raw, cut off");
  check::equal(decoded<std::int32_t>({0, 0, 0, 7, 0xd8, 0, 0, 0, 0, 0, 0}, 1), std::int64_t{-1},
               "26 low bits");
}

// ---- levels ---------------------------------------------------------------------------------

void the_level_is_the_one_asked_for(const std::string& program) {
  const std::string best = simd_level();
  check::equal(best, levels().back().name);
  check::that(&skip_kernels() == &levels().back().skips);
  check::that(&group_kernels() == &levels().back().groups);
  check::that(&line_kernels() == &levels().back().lines);
  for (const std::string asked : {"baseline", "v3", "v4", "", "v5"}) {
    const std::string command = "SKIPSTREAM_SIMD=" + asked + " '" + program + "' level";
    std::FILE* pipe = popen(command.c_str(), "r");
    check::that(pipe != nullptr, command);
    if (pipe == nullptr) return;
    char word[20] = {};
    check::that(std::fgets(word, sizeof word, pipe) != nullptr, command);
    check::equal(pclose(pipe), 0, command);
    const bool lowers = asked == "baseline" || (asked == "v3" && best == "v4");
    check::equal(std::string(word), lowers ? asked : best, command);
  }
}

void a_quotient_of_any_integers_is_rounded_once() {
  __extension__ typedef __float128 Quad;
  std::mt19937_64 random(6);
  for (const int numerator_bits : {3, 52, 53, 54, 63, 64, 100, 126}) {
    for (const int denominator_bits : {1, 10, 53, 54, 61}) {
      for (int k = 0; k < 200; ++k) {
        const auto word = static_cast<std::int64_t>(random());
        const auto low = static_cast<std::int64_t>(random());
        const Int128 numerator = (Int128{word} * (Int128{1} << 64) + low) >> (127 - numerator_bits);
        const auto denominator = std::max<std::int64_t>(
            static_cast<std::int64_t>(random() >> (64 - denominator_bits)), 1);
        // Rounded to 113 bits before, which in these cases makes no difference.
        const Int128 whole = numerator / denominator;
        const auto rest = static_cast<Quad>(numerator % denominator);
        const auto expected =
            static_cast<double>(static_cast<Quad>(whole) + rest / static_cast<Quad>(denominator));
        check::equal(
            divide(numerator, denominator), expected,
            std::to_string(numerator_bits) + " bits by " + std::to_string(denominator_bits));
      }
    }
  }
  constexpr std::int64_t large = (std::int64_t{1} << 53) + 1;
  check::equal(divide(large, large), 1.0);
  check::equal(divide(1, large), 1.0 / 0x1p53 * (1 - 0x1p-53));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "level") == 0) {
    std::printf("%s", simd_level());
    return 0;
  }
  unsetenv("SKIPSTREAM_SIMD");
  medians_and_means_are_their_definitions();
  a_clipped_mean_is_its_definition();
  a_fit_is_at_the_least_squares();
  a_fit_that_means_nothing_is_none();
  the_lowest_peak_is_its_definition();
  a_peak_of_a_hundredth_is_the_lowest();
  a_width_of_counts_is_that_of_their_gaussian();
  an_entropy_is_its_definition();
  distances_are_those_from_the_nearest();
  pixels_are_counted_by_their_distance();
  a_mixture_is_at_the_most_likely();
  a_spline_is_smooth_and_goes_through_its_points();
  expected_counts_are_those_of_all_peaks();
  costs_of_charges_are_their_definitions();
  the_gradient_of_the_cost_is_its_slope();
  what_is_no_tile_is_told_by_minus_one();
  runs_of_zeros_of_any_length_are_read();
  samples_of_each_type_become_numbers();
  values_are_encoded_with_the_sum_of_their_words();
  quotients_are_rounded_once_or_refused();
  a_quotient_of_any_integers_is_rounded_once();
  marks_and_runs_are_those_of_the_pixels();
  passes_over_lines_are_their_definitions();
  a_median_of_a_line_is_that_of_its_sorted_values();
  moments_fit_up_to_their_limits();
  passes_over_groups_are_their_definitions();
  passes_over_one_pixel_are_their_definitions();
  the_level_is_the_one_asked_for(argv[0]);
  return check::failures();
}
