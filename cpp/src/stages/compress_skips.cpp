#include "skipstream/stages/compress_skips.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/decode.hpp"
#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/kernels/exact.hpp"
#include "skipstream/kernels/groups.hpp"

namespace skipstream {

using kernels::divide;
using kernels::group_pixels;
using kernels::Int128;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

constexpr std::int64_t single_block = 1024;

/// Larger groups leave the second-level cache, where passes over single pixels are faster.
constexpr std::int64_t max_group_bytes = 1 << 18;
static_assert(max_group_bytes <= kernels::max_group_samples * group_pixels * 2);
/// Fewer pixels than this are reduced one by one.
constexpr std::int64_t min_group_pixels = 3;

/// One number for each pixel of a group.
using PerPixel = std::array<double, group_pixels>;
template <class T>
using PerPixelOf = std::array<T, group_pixels>;

constexpr std::array<std::string_view, 17> statistic_names{
    "mean", "median",   "std",          "var",          "min",   "max",  "ptp",   "sum",   "rms",
    "mad",  "quantile", "clipped_mean", "trimmed_mean", "first", "last", "count", "sample"};

/// How a decoded key becomes a value: `scale * key + zero`, exactly where both are whole.
struct Affine {
  double scale = 1.0;
  double zero = 0.0;
  bool whole = true;  ///< scale is 1 or -1 and zero an integer below 2^64
  Int128 whole_zero = 0;

  /// The value of `sum / n` keys.
  [[nodiscard]] double location(Int128 sum, std::int64_t n) const noexcept {
    if (whole) return divide((scale < 0 ? -sum : sum) + whole_zero * n, n);
    return scale * divide(sum, n) + zero;
  }
  [[nodiscard]] double location(double value) const noexcept { return scale * value + zero; }
};

Affine affine_of(const SampleFormat& format) {
  Affine affine;
  affine.scale = format.scale;
  affine.zero = format.zero;
  if (format.kind == SampleKind::integer && format.is_unsigned && format.n_bytes > 1) {
    // Unsigned samples are decoded with their sign bit flipped: 2^(bits-1) too low.
    affine.zero += format.scale * std::ldexp(1.0, 8 * format.n_bytes - 1);
  }
  affine.whole = std::abs(affine.scale) == 1.0 && std::floor(affine.zero) == affine.zero &&
                 std::abs(affine.zero) < std::ldexp(1.0, 64);
  if (affine.whole) affine.whole_zero = static_cast<Int128>(affine.zero);
  return affine;
}

/// Keys of one pixel, and what is known of them.
template <class Key>
struct Keys {
  const Key* keys = nullptr;
  std::int64_t n = 0;
  Key smallest = 0;
  Key largest = 0;
};

/// Where a search begins: about where the key is expected, and how far keys lie around it.
struct Guess {
  double centre = 0;
  double sigma = 1;  ///< of the keys
};

/// Keys of rank `rank` (from 0) and `rank` + 1, and how many are at or below the first.
template <class Key>
struct Ranked {
  Key key;
  Key next;
  std::int64_t n_at_or_below;
};

/// Fills the keys behind the last with the largest there is, so that kernels run whole vectors.
template <class Key>
void pad(Key* keys, std::int64_t n) {
  const std::int64_t end = (n + kernels::padding - 1) / kernels::padding * kernels::padding;
  for (std::int64_t i = n; i < end; ++i) keys[i] = std::numeric_limits<Key>::max();
}

/// Finds keys by rank: counts how many are at or below four trial bounds, and keeps the bracket
/// count(<= low) <= rank < count(<= high).
///
/// The first bounds lie around the guess, the next are stepped from the nearer end of the bracket
/// by the density of a Gaussian, then by the mean density of the bracket; every third round cuts it
/// in five equal parts, which bounds the rounds. A few keys that are left are looked at one by one.
template <class Key>
Ranked<Key> select(const kernels::KeyKernels<Key>& kernel, const Keys<Key>& pixel,
                   std::int64_t rank, Guess guess, Key* work) noexcept {
  using Wide = std::conditional_t<(sizeof(Key) < 8), std::int64_t, Int128>;
  Wide low = Wide{pixel.smallest} - 1;
  Wide high = pixel.largest;
  std::int64_t n_low = 0;
  std::int64_t n_high = pixel.n;
  // The lowest bound known to hold rank + 1 as well, to see at the end if it is the neighbour.
  Wide next = pixel.largest;
  constexpr std::int64_t few = 16;
  const auto n = static_cast<double>(pixel.n);
  const double density = 0.4 * n / std::max(guess.sigma, 1e-300);
  double centre = guess.centre;
  double reach = std::max(1.0, 0.5 * guess.sigma / std::sqrt(n));
  for (int round = 0; high - low > 1; ++round) {
    const Wide width = high - low;
    const std::int64_t inside = n_high - n_low;
    if (inside <= few && width > 16 && round > 0 && high < std::numeric_limits<Key>::max()) {
      // high is below the largest key of all, or the padding would be found.
      const std::int64_t m = kernel.gather(pixel.keys, pixel.n, static_cast<Key>(low + 1),
                                           static_cast<Key>(high), work);
      std::sort(work, work + m);
      const std::int64_t place = rank - n_low;
      std::int64_t above = place;
      while (above < m && work[above] == work[place]) ++above;
      const Key found = work[place];
      const bool more = n_low + above < pixel.n;
      const Key neighbour = above < m ? work[above]
                            : more && n_low + above == rank + 1
                                ? kernel.next_above(pixel.keys, pixel.n, found)
                                : found;
      return {found, n_low + above > rank + 1 ? found : neighbour, n_low + above};
    }
    Key bounds[4];
    if (width <= 5) {
      for (int i = 0; i < 4; ++i) {
        bounds[i] = static_cast<Key>(std::min<Wide>(low + 1 + i, high - 1));
      }
    } else if (round % 3 == 2) {
      for (int i = 0; i < 4; ++i) bounds[i] = static_cast<Key>(low + width * (i + 1) / 5);
    } else {
      if (round > 0) {
        const double wanted = static_cast<double>(rank) + 0.5;
        const bool open_below = low < Wide{pixel.smallest};
        const bool open_above = high == Wide{pixel.largest};
        if (open_below != open_above && round == 1) {
          const double from = static_cast<double>(open_below ? high : low);
          const double step = (wanted - static_cast<double>(open_below ? n_high : n_low)) / density;
          centre = from + step;
          reach = std::max(1.0, 0.5 * std::abs(step));
        } else {
          const double part = (wanted - static_cast<double>(n_low)) / static_cast<double>(inside);
          centre = static_cast<double>(low) + part * static_cast<double>(width);
          reach = std::max(
              1.0, 0.3 * static_cast<double>(width) / std::sqrt(static_cast<double>(inside) + 1));
        }
      }
      const double lowest = static_cast<double>(low);
      const double highest = static_cast<double>(high);
      for (int i = 0; i < 4; ++i) {
        const double bound = centre + (i - 1.5) * reach;
        const Wide wanted =
            bound > lowest ? (bound < highest ? static_cast<Wide>(bound) : high - 1) : low + 1;
        bounds[i] = static_cast<Key>(std::clamp<Wide>(wanted, low + 1, high - 1));
      }
    }
    std::int64_t counts[4];
    kernel.count4(pixel.keys, pixel.n, bounds, counts);
    for (int i = 0; i < 4; ++i) {
      if (counts[i] <= rank) {
        if (Wide{bounds[i]} > low) {
          low = bounds[i];
          n_low = counts[i];
        }
      } else if (Wide{bounds[i]} < high) {
        high = bounds[i];
        n_high = counts[i];
      }
      if (counts[i] > rank + 1 && Wide{bounds[i]} < next) next = bounds[i];
    }
  }
  const auto found = static_cast<Key>(high);
  if (n_high > rank + 1 || n_high == pixel.n) return {found, found, n_high};
  const Key neighbour =
      next == high + 1 ? static_cast<Key>(next) : kernel.next_above(pixel.keys, pixel.n, found);
  return {found, neighbour, n_high};
}

/// The two keys whose mean is the median; twice the same of an odd number.
template <class Key>
std::pair<Key, Key> middle_pair(const kernels::KeyKernels<Key>& kernel, const Keys<Key>& pixel,
                                Guess guess, Key* work) noexcept {
  const auto middle = select(kernel, pixel, (pixel.n - 1) / 2, guess, work);
  return {middle.key, pixel.n % 2 == 1 ? middle.key : middle.next};
}

/// Median of absolute deviations, of values in any order; reorders them.
double median_in_place(double* values, std::int64_t n) noexcept {
  double* middle = values + n / 2;
  std::nth_element(values, middle, values + n);
  if (n % 2 == 1) return *middle;
  return (*std::max_element(values, middle) + *middle) / 2;
}

/// NumPy's linear interpolation between two neighbours.
double interpolate(double a, double b, double part) noexcept {
  return part >= 0.5 ? b - (b - a) * (1 - part) : a + (b - a) * part;
}

/// Where quantile(q) of n values lies among their keys, which fall where the values rise if the
/// scale is negative.
struct QuantilePlace {
  double part;        ///< of the way from one value to the next
  std::int64_t rank;  ///< of the lower key
  bool pair;          ///< the next key is needed, too
  double deviation;   ///< about where a normal distribution has it, in sigma

  QuantilePlace(double q, std::int64_t n, bool falls) {
    const double place = q * static_cast<double>(n - 1);
    const auto below = static_cast<std::int64_t>(place);
    part = place - static_cast<double>(below);
    pair = part > 0;
    rank = falls ? n - 1 - below - (pair ? 1 : 0) : below;
    // Tukey's lambda comes near enough to the normal distribution for a first guess.
    const double p = (static_cast<double>(rank) + (pair ? 1.0 : 0.5)) / static_cast<double>(n);
    deviation = 4.91 * (std::pow(p, 0.14) - std::pow(1 - p, 0.14));
  }
};

/// How far apart the samples of a normal distribution lie there, in sigma.
double sigma_per_sample(double deviation, std::int64_t n) noexcept {
  const double rarity = deviation == 0 ? 1.0 : std::exp(deviation * deviation / 2);
  return 2.5066282746310002 * rarity / static_cast<double>(n);
}

}  // namespace

/// Integer samples: sums are exact.
template <class Key>
struct CompressSkips::Integers {
  static constexpr bool wide = sizeof(Key) == 8;

  const CompressSkips& stage;
  Affine affine;
  const kernels::SkipKernels& table = kernels::skip_kernels();
  const kernels::KeyKernels<Key>& kernel = own_kernel(table);
  Key* keys;
  Key* work;
  Key* deviations;
  // Of the pixel in hand:
  Keys<Key> pixel{};
  Int128 sum = 0;
  Int128 squares = 0;  ///< around `centre`
  Key centre = 0;
  bool is_far = false;
  long double far_squares = 0;
  Guess guess;
  Key ends[2] = {};  ///< of a pixel of a group: the first sample and the last
  bool has_low_limit = true;
  bool has_high_limit = true;
  Key low_limit = 0;
  Key high_limit = 0;

  static const kernels::KeyKernels<Key>& own_kernel(const kernels::SkipKernels& kernels) {
    if constexpr (sizeof(Key) == 2) return kernels.int16;
    if constexpr (sizeof(Key) == 4) return kernels.int32;
    if constexpr (sizeof(Key) == 8) return kernels.int64;
  }

  Integers(const CompressSkips& owner, std::byte* scratch)
      : stage(owner), affine(affine_of(owner.format_)) {
    const auto n = static_cast<std::size_t>(owner.scratch_samples());
    keys = reinterpret_cast<Key*>(scratch);
    work = keys + n;
    deviations = work + n;
    set_limits();
    group.keys = reinterpret_cast<Key*>(scratch + owner.group_offset_);
  }

  /// Decodes a pixel. Returns its mask bits.
  std::uint32_t load(const std::byte* samples, std::int64_t n) {
    const SampleFormat& format = stage.format_;
    kernels::Decoded<Key> decoded;
    if (sizeof(Key) == 2 && format.n_bytes == 1) {
      if constexpr (sizeof(Key) == 2) decoded = table.decode8(samples, n, format.is_unsigned, keys);
    } else {
      const Key flip = format.is_unsigned ? std::numeric_limits<Key>::min() : Key{0};
      decoded = kernel.decode(samples, n, format.big_endian, flip, keys);
    }
    pixel = {keys, n, decoded.smallest, decoded.largest};
    sum = decoded.sum;
    std::uint32_t bits = 0;
    if (format.blank) {
      const std::int64_t n_valid = leave_out_blanks(n);
      if (n_valid < n) bits |= mask_bit::missing_skips;
      if (n_valid == 0) return mask_bit::no_data;
      pixel.n = n_valid;
    }
    pad(keys, pixel.n);
    if constexpr (wide) {
      sum = 0;
      for (std::int64_t i = 0; i < pixel.n; ++i) sum += pixel.keys[i];
    }
    if (is_saturated()) bits |= mask_bit::saturated;
    return bits;
  }

  /// Pixels of one sample each.
  void convert(const std::byte* samples, std::int64_t n, double* values, std::uint32_t* mask) {
    const SampleFormat& format = stage.format_;
    if (sizeof(Key) == 2 && format.n_bytes == 1) {
      if constexpr (sizeof(Key) == 2) table.decode8(samples, n, format.is_unsigned, keys);
    } else {
      const Key flip = format.is_unsigned ? std::numeric_limits<Key>::min() : Key{0};
      kernel.decode(samples, n, format.big_endian, flip, keys);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      pixel.smallest = keys[i];
      pixel.largest = keys[i];
      // A double holds 32-bit keys; 64-bit ones are rounded once, after zero was added.
      values[i] = wide ? value(keys[i]) : affine.scale * static_cast<double>(keys[i]) + affine.zero;
      mask[i] = is_saturated() ? mask_bit::saturated : 0;
    }
    if (!format.blank) return;
    const Int128 blank = blank_key();
    for (std::int64_t i = 0; i < n; ++i) {
      if (Int128{keys[i]} != blank) continue;
      values[i] = nan;
      mask[i] = mask_bit::no_data;
    }
  }

  /// BLANK as it is decoded.
  [[nodiscard]] Int128 blank_key() const {
    const SampleFormat& format = stage.format_;
    const bool flipped = format.is_unsigned && format.n_bytes > 1;
    return *format.blank - (flipped ? Int128{1} << (8 * format.n_bytes - 1) : 0);
  }

  /// Moves samples that are not blank together; returns how many there are.
  std::int64_t leave_out_blanks(std::int64_t n) {
    const Int128 blank = blank_key();
    std::int64_t n_valid = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      keys[n_valid] = keys[i];
      n_valid += Int128{keys[i]} != blank ? 1 : 0;
    }
    if (n_valid == n || n_valid == 0) return n_valid;
    pixel.smallest = *std::min_element(keys, keys + n_valid);
    pixel.largest = *std::max_element(keys, keys + n_valid);
    sum = 0;
    for (std::int64_t i = 0; i < n_valid; ++i) sum += keys[i];
    return n_valid;
  }

  [[nodiscard]] bool is_saturated() const { return is_saturated(pixel.smallest, pixel.largest); }
  [[nodiscard]] bool is_saturated(Key smallest, Key largest) const {
    return (has_low_limit & (smallest <= low_limit)) | (has_high_limit & (largest >= high_limit));
  }

  /// The keys at which a pixel counts as saturated.
  void set_limits() {
    using Limits = std::numeric_limits<Key>;
    const SampleFormat& format = stage.format_;
    low_limit = Limits::min();
    high_limit = Limits::max();
    if (format.n_bytes == 1) {
      low_limit = static_cast<Key>(format.is_unsigned ? 0 : -128);
      high_limit = static_cast<Key>(format.is_unsigned ? 255 : 127);
    }
    if (!stage.config_.saturation) return;
    const double limit = *stage.config_.saturation;
    has_low_limit = falls() && value(Limits::min()) >= limit;
    has_high_limit = !falls() && value(Limits::max()) >= limit;
    // The value grows, or falls, with the key: halve the range that has the first one beyond.
    Int128 inside = has_low_limit ? Int128{Limits::max()} + 1 : Int128{Limits::min()} - 1;
    Int128 beyond = has_low_limit ? Limits::min() : Limits::max();
    while (std::max(inside, beyond) - std::min(inside, beyond) > 1) {
      const Int128 middle = (inside + beyond) >> 1;
      (value(static_cast<Key>(middle)) >= limit ? beyond : inside) = middle;
    }
    (has_low_limit ? low_limit : high_limit) = static_cast<Key>(beyond);
  }

  [[nodiscard]] double value(Key key) const { return affine.location(Int128{key}, 1); }
  [[nodiscard]] bool falls() const { return affine.scale < 0; }
  [[nodiscard]] std::int64_t n() const { return pixel.n; }

  /// Squares around a centre near the mean, and from them where the median may be.
  void measure_spread() {
    const double mean = divide(sum, pixel.n);
    centre =
        wide && std::abs(mean) >= 0x1p62
            ? pixel.smallest
            : static_cast<Key>(std::clamp(std::floor(mean), static_cast<double>(pixel.smallest),
                                          static_cast<double>(pixel.largest)));
    const Int128 reach = std::max(Int128{pixel.largest} - centre, Int128{centre} - pixel.smallest);
    squares = 0;
    is_far = false;
    if (sizeof(Key) == 2 && reach < (1 << 15)) {
      const auto per_sample = std::max<std::int64_t>(static_cast<std::int64_t>(reach * reach), 1);
      const std::int64_t block = std::max<std::int64_t>(INT32_MAX / per_sample, 1);
      for (std::int64_t i = 0; i < pixel.n; i += block) {
        squares += kernel.squares(pixel.keys + i, std::min(block, pixel.n - i), centre);
      }
    } else if (sizeof(Key) > 2 && reach < (std::int64_t{1} << 20) &&
               pixel.n < (std::int64_t{1} << 22)) {
      squares = kernel.squares(pixel.keys, pixel.n, centre);
    } else if (static_cast<double>(reach) * static_cast<double>(pixel.n) >= 0x1p62) {
      // 64-bit samples that fill their range: n times their squares needs more than 128 bits.
      measure_far_spread();
      return;
    } else {
      for (std::int64_t i = 0; i < pixel.n; ++i) {
        const Int128 d = Int128{pixel.keys[i]} - centre;
        squares += d * d;
      }
    }
    guess = {mean, std::sqrt(static_cast<double>(squares) / static_cast<double>(pixel.n))};
  }

  void measure_far_spread() {
    const auto mean = static_cast<long double>(sum) / static_cast<long double>(pixel.n);
    far_squares = 0;
    for (std::int64_t i = 0; i < pixel.n; ++i) {
      const long double d = static_cast<long double>(pixel.keys[i]) - mean;
      far_squares += d * d;
    }
    is_far = true;
    guess = {static_cast<double>(mean),
             std::sqrt(static_cast<double>(far_squares) / static_cast<double>(pixel.n))};
  }

  [[nodiscard]] double variance(std::int64_t ddof) const {
    const double result = key_variance(ddof);
    return affine.whole ? result : affine.scale * affine.scale * result;
  }

  [[nodiscard]] double key_variance(std::int64_t ddof) const {
    if (pixel.n <= ddof) return nan;
    double result = 0;
    if (is_far) {
      result = static_cast<double>(far_squares / static_cast<long double>(pixel.n - ddof));
    } else if (squares < (Int128{1} << 40) && pixel.n < (1 << 20)) {
      // The usual case in 64 bits: |sum of d| <= n 2^20, as each d^2 is within the squares.
      const auto shifted = static_cast<std::int64_t>(sum - Int128{pixel.n} * centre);
      const std::int64_t numerator =
          pixel.n * static_cast<std::int64_t>(squares) - shifted * shifted;
      result = divide(numerator, pixel.n * (pixel.n - ddof));
    } else {
      // Exact: with n |d| < 2^62 both products stay below 2^124.
      const Int128 n = pixel.n;
      const Int128 shifted = sum - n * centre;
      result = divide(n * squares - shifted * shifted, pixel.n * (pixel.n - ddof));
    }
    return result;
  }

  [[nodiscard]] double rms() const {
    if (affine.whole && is_far) {
      // Not of a group: the keys are at hand.
      long double total = 0;
      for (std::int64_t i = 0; i < pixel.n; ++i) {
        const Int128 x = (falls() ? -Int128{1} : Int128{1}) * pixel.keys[i] + affine.whole_zero;
        total += static_cast<long double>(x) * static_cast<long double>(x);
      }
      return std::sqrt(static_cast<double>(total / static_cast<long double>(pixel.n)));
    }
    if (!affine.whole) {
      const double m = affine.location(sum, pixel.n);
      return std::sqrt(variance(0) + m * m);
    }
    // Sum of (d + shift)^2 with the sign of the scale, all integers where 128 bits hold it.
    const Int128 sign = falls() ? -1 : 1;
    const Int128 shift = sign * centre + affine.whole_zero;
    const Int128 differences = sign * (sum - Int128{pixel.n} * centre);
    const auto range = static_cast<double>(Int128{pixel.largest} - pixel.smallest);
    const double most = std::abs(static_cast<double>(shift)) + range;
    if (most * most * static_cast<double>(pixel.n) >= 0x1p126) {
      const double m = affine.location(sum, pixel.n);
      return std::sqrt(variance(0) + m * m);
    }
    return std::sqrt(divide(squares + shift * (2 * differences + pixel.n * shift), pixel.n));
  }

  // The pixels of a group, side by side:
  kernels::Group<Key> group{};
  PerPixelOf<std::int64_t> group_centres{};
  PerPixelOf<std::int64_t> group_sums{};  ///< around the centres
  PerPixelOf<std::int64_t> group_squares{};
  PerPixel group_means{};      ///< of the keys
  PerPixel group_variances{};  ///< of the keys, ddof 0
  PerPixel group_sigmas{};     ///< their roots
  PerPixelOf<Key> group_first{};
  PerPixelOf<Key> group_last{};

  static constexpr bool has_groups = !wide;

  static const kernels::GroupKernels<Key>& group_kernel() {
    const auto& all = kernels::group_kernels();
    if constexpr (sizeof(Key) == 2) {
      return all.int16;
    } else {
      return all.int32;
    }
  }

  /// Decodes a group and writes its mask. Returns a bit for each pixel that must be reduced alone.
  std::uint32_t load_group(const std::byte* samples, std::int64_t step, std::int64_t n_pixels,
                           std::uint32_t* mask) {
    const SampleFormat& format = stage.format_;
    const Key flip = format.is_unsigned ? std::numeric_limits<Key>::min() : Key{0};
    pixel.n = group.n_samples = stage.n_used_skips();
    group_kernel().load(samples, step, n_pixels, format.big_endian, flip, group);
    std::uint32_t alone = 0;
    if (format.blank && blank_key() >= std::numeric_limits<Key>::min() &&
        blank_key() <= std::numeric_limits<Key>::max()) {
      alone = group_kernel().find(group, static_cast<Key>(blank_key()));
    }
    for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
      const bool saturated = is_saturated(group.smallest[p], group.largest[p]);
      mask[p] = saturated ? mask_bit::saturated : 0;
    }
    if (stage.wants_ends_) {
      for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
        const std::byte* first = samples + static_cast<std::int64_t>(p) * step;
        const std::byte* last = first + (pixel.n - 1) * format.n_bytes;
        kernel.decode(first, 1, format.big_endian, flip, &group_first[p]);
        kernel.decode(last, 1, format.big_endian, flip, &group_last[p]);
      }
    }
    if (!stage.wants_sums_) return alone;
    if (!group_kernel().moments(group, group_centres.data(), group_sums.data(),
                                group_squares.data())) {
      return ~std::uint32_t{0};
    }
    const auto& all = kernels::group_kernels();
    all.means(group_sums.data(), group_centres.data(), pixel.n, 1, 0, group_means.data());
    if (!all.variances(group_sums.data(), group_squares.data(), pixel.n, 0,
                       group_variances.data())) {
      each_of_group(group_variances, [this] { return key_variance(0); });
    }
    group_sigmas = group_variances;
    all.roots(group_sigmas.data());
    return alone;
  }

  /// Makes pixel `p` of the group the one in hand.
  void take(std::size_t p) {
    pixel.smallest = group.smallest[p];
    pixel.largest = group.largest[p];
    centre = static_cast<Key>(group_centres[p]);
    sum = Int128{group_sums[p]} + Int128{pixel.n} * centre;
    squares = group_squares[p];
    is_far = false;
    ends[0] = group_first[p];
    ends[1] = group_last[p];
    pixel.keys = ends;
  }

  void means_of_group(PerPixel& result) {
    // In 64 bits: keys of 32 bits at most, 2^14 samples, a zero below 2^48.
    const bool exact = affine.whole && std::abs(affine.zero) < 0x1p48;
    const std::int64_t sign = exact && falls() ? -1 : 1;
    const std::int64_t zero = exact ? static_cast<std::int64_t>(affine.zero) : 0;
    const bool done = kernels::group_kernels().means(group_sums.data(), group_centres.data(),
                                                     pixel.n, sign, zero, result.data());
    if ((affine.whole && !exact) || !done) {
      each_of_group(result, [this] { return mean(); });
    } else if (!affine.whole) {
      for (double& value : result) value = affine.location(value);
    }
  }

  void variances_of_group(PerPixel& result, std::int64_t ddof) {
    if (pixel.n <= ddof) {
      result.fill(nan);
    } else if (ddof == 0) {
      result = group_variances;
    } else if (!kernels::group_kernels().variances(group_sums.data(), group_squares.data(), pixel.n,
                                                   ddof, result.data())) {
      each_of_group(result, [&] { return key_variance(ddof); });
    }
    if (affine.whole) return;
    for (double& value : result) value = affine.scale * affine.scale * value;
  }

  void deviations_of_group(PerPixel& result, std::int64_t ddof) {
    if (ddof == 0 && affine.whole) {
      result = group_sigmas;
      return;
    }
    variances_of_group(result, ddof);
    kernels::group_kernels().roots(result.data());
  }

  void search_group(std::int64_t rank, bool pair, double deviation, PerPixelOf<Key>& lower,
                    PerPixelOf<Key>& upper) {
    kernels::Search search;
    search.rank = rank;
    search.pair = pair;
    search.mean = group_means.data();
    search.sigma = group_sigmas.data();
    search.place = deviation;
    search.sigma_per_sample = sigma_per_sample(deviation, pixel.n);
    group_kernel().select(group, search, lower.data(), upper.data());
  }

  void medians_of_group(PerPixel& result) {
    PerPixelOf<Key> a;
    PerPixelOf<Key> b;
    search_group((pixel.n - 1) / 2, pixel.n % 2 == 0, 0.0, a, b);
    if (std::abs(affine.zero) < 0x1p40 || !affine.whole) {
      // Half of a sum of two keys, and a whole zero added to it, are exact.
      for (std::size_t p = 0; p < group_pixels; ++p) {
        const double middle = (static_cast<double>(a[p]) + static_cast<double>(b[p])) * 0.5;
        result[p] = affine.scale * middle + affine.zero;
      }
      return;
    }
    for (std::size_t p = 0; p < group_pixels; ++p) {
      result[p] = affine.location(Int128{a[p]} + b[p], 2);
    }
  }

  void quantiles_of_group(PerPixel& result, double q) {
    const QuantilePlace place(q, pixel.n, falls());
    PerPixelOf<Key> a;
    PerPixelOf<Key> b;
    search_group(place.rank, place.pair, place.deviation, a, b);
    for (std::size_t p = 0; p < group_pixels; ++p) result[p] = between(a[p], b[p], place);
  }

  [[nodiscard]] double between(Key a, Key b, const QuantilePlace& place) const {
    return falls() ? interpolate(value(b), value(a), place.part)
                   : interpolate(value(a), value(b), place.part);
  }

  template <class Function>
  void each_of_group(PerPixel& result, Function function) {
    for (std::size_t p = 0; p < group_pixels; ++p) {
      take(p);
      result[p] = function();
    }
  }

  [[nodiscard]] double mean() const { return affine.location(sum, pixel.n); }
  [[nodiscard]] double total() const {
    if (!affine.whole) {
      return affine.scale * divide(sum, 1) + static_cast<double>(pixel.n) * affine.zero;
    }
    return divide((falls() ? -sum : sum) + affine.whole_zero * pixel.n, 1);
  }
  [[nodiscard]] double smallest() const { return value(falls() ? pixel.largest : pixel.smallest); }
  [[nodiscard]] double largest() const { return value(falls() ? pixel.smallest : pixel.largest); }
  [[nodiscard]] double range() const {
    return std::abs(affine.scale) * divide(Int128{pixel.largest} - pixel.smallest, 1);
  }
  [[nodiscard]] double first() const { return value(pixel.keys[0]); }
  [[nodiscard]] double last() const {
    return value(pixel.keys == ends ? ends[1] : pixel.keys[pixel.n - 1]);
  }

  [[nodiscard]] double median() {
    const auto [a, b] = middle_pair(kernel, pixel, guess, work);
    return affine.location(Int128{a} + b, 2);
  }

  [[nodiscard]] double quantile(double q) {
    const QuantilePlace place(q, pixel.n, falls());
    const Guess there{guess.centre + place.deviation * guess.sigma, guess.sigma};
    const auto found = select(kernel, pixel, place.rank, there, work);
    return between(found.key, place.pair ? found.next : found.key, place);
  }

  /// Deviations are keys again: whole numbers from the middle key, or from the two around it.
  [[nodiscard]] double mad() {
    using Word = std::make_unsigned_t<Key>;
    const auto [a, b] = middle_pair(kernel, pixel, guess, work);
    const auto gap = static_cast<Word>(static_cast<Word>(b) - static_cast<Word>(a));
    const auto below = static_cast<Key>(static_cast<Word>(a) + gap / 2);
    const auto above = static_cast<Key>(static_cast<Word>(below) + gap % 2);
    Keys<Key> away{deviations, pixel.n, std::numeric_limits<Key>::max(),
                   std::numeric_limits<Key>::min()};
    constexpr Word flip = Word{1} << (8 * sizeof(Key) - 1);
    for (std::int64_t i = 0; i < pixel.n; ++i) {
      const Key key = pixel.keys[i];
      const auto from = static_cast<Word>(key > below ? key : below);
      const auto to = static_cast<Word>(key > below ? above : key);
      const auto deviation = static_cast<Key>(static_cast<Word>(from - to) ^ flip);
      deviations[i] = deviation;
      away.smallest = std::min(away.smallest, deviation);
      away.largest = std::max(away.largest, deviation);
    }
    pad(deviations, pixel.n);
    const Guess there{std::numeric_limits<Key>::min() + 0.6745 * guess.sigma, 0.6 * guess.sigma};
    const auto [c, d] = middle_pair(kernel, away, there, work);
    const Int128 twice = Int128{c} + d - 2 * Int128{std::numeric_limits<Key>::min()} + gap % 2;
    return std::abs(affine.scale) * divide(twice, 2);
  }

  [[nodiscard]] double trimmed_mean(double fraction) {
    const auto cut = static_cast<std::int64_t>(fraction * static_cast<double>(pixel.n));
    const auto low = select(kernel, pixel, cut, guess, work);
    const auto high = select(kernel, pixel, pixel.n - 1 - cut, guess, work);
    const std::int64_t n_kept = pixel.n - 2 * cut;
    if (low.key == high.key) return value(low.key);
    std::conditional_t<wide, Int128, std::int64_t> inside = 0;
    std::int64_t n_inside = 0;
    for (std::int64_t i = 0; i < pixel.n; ++i) {
      const Key key = pixel.keys[i];
      const bool in = (key > low.key) & (key < high.key);
      inside += in ? key : Key{0};
      n_inside += in ? 1 : 0;
    }
    const std::int64_t n_low = low.n_at_or_below - cut;
    const std::int64_t n_high = n_kept - n_inside - n_low;
    return affine.location(Int128{inside} + Int128{low.key} * n_low + Int128{high.key} * n_high,
                           n_kept);
  }

  [[nodiscard]] double clipped_mean(double n_sigma, std::int64_t n_iterations) const {
    const bool near = !wide && Int128{pixel.largest} - pixel.smallest < (1 << 24) &&
                      pixel.n < (std::int64_t{1} << 14);
    return near ? clipped_mean_as<std::int64_t, std::int64_t>(n_sigma, n_iterations)
                : clipped_mean_as<Int128, long double>(n_sigma, n_iterations);
  }

  template <class Sum, class Squares>
  [[nodiscard]] double clipped_mean_as(double n_sigma, std::int64_t n_iterations) const {
    double mean = divide(sum, pixel.n);
    double sigma = std::sqrt(variance(0)) / std::abs(affine.scale);
    std::int64_t n_kept = pixel.n;
    Int128 kept_sum = sum;
    const auto smallest = static_cast<double>(pixel.smallest);
    const auto largest = static_cast<double>(pixel.largest);
    for (std::int64_t i = 0; i < n_iterations; ++i) {
      const double low = std::ceil(mean - n_sigma * sigma);
      const double high = std::floor(mean + n_sigma * sigma);
      const Key first = low > smallest ? static_cast<Key>(low) : pixel.smallest;
      const Key last = high < largest ? static_cast<Key>(high) : pixel.largest;
      Sum s = 0;
      Squares squared = 0;
      std::int64_t n = 0;
      for (std::int64_t j = 0; j < pixel.n; ++j) {
        const Key key = pixel.keys[j];
        const bool in = (key >= first) & (key <= last);
        const Sum d = in ? Sum{key} - centre : Sum{0};
        s += d;
        squared += static_cast<Squares>(d) * static_cast<Squares>(d);
        n += in ? 1 : 0;
      }
      if (n == n_kept || n < 2) break;
      n_kept = n;
      kept_sum = Int128{s} + Int128{n} * centre;
      mean = divide(kept_sum, n);
      const double offset = divide(s, n);
      sigma = std::sqrt(
          std::max(0.0, static_cast<double>(squared) / static_cast<double>(n) - offset * offset));
    }
    return affine.location(kept_sum, n_kept);
  }
};

/// Floating samples.
template <class Real, class Key>
struct CompressSkips::Reals {
  const CompressSkips& stage;
  Affine affine;
  const kernels::SkipKernels& table = kernels::skip_kernels();
  const kernels::RealKernels<Real, Key>& real = own_reals(table);
  const kernels::KeyKernels<Key>& kernel = own_keys(table);
  Real* values;
  Key* keys;
  Key* work;
  double* deviations;
  std::int64_t count = 0;
  double mean_ = 0;
  double squares = 0;  ///< around the mean
  bool has_keys = false;
  Keys<Key> pixel{};
  const Real* values_in_hand = nullptr;
  Real ends[2] = {};  ///< of a pixel of a group: the first sample and the last

  static const kernels::RealKernels<Real, Key>& own_reals(const kernels::SkipKernels& kernels) {
    if constexpr (sizeof(Real) == 4) return kernels.float32;
    if constexpr (sizeof(Real) == 8) return kernels.float64;
  }
  static const kernels::KeyKernels<Key>& own_keys(const kernels::SkipKernels& kernels) {
    if constexpr (sizeof(Real) == 4) return kernels.int32;
    if constexpr (sizeof(Real) == 8) return kernels.int64;
  }

  Reals(const CompressSkips& owner, std::byte* scratch)
      : stage(owner), affine(affine_of(owner.format_)) {
    const auto n = static_cast<std::size_t>(owner.scratch_samples());
    values = reinterpret_cast<Real*>(scratch);
    keys = reinterpret_cast<Key*>(scratch + n * 8);
    work = reinterpret_cast<Key*>(scratch + 2 * n * 8);
    deviations = reinterpret_cast<double*>(scratch + 3 * n * 8);
    group.keys = reinterpret_cast<Key*>(scratch + owner.group_offset_);
  }

  // The pixels of a group, side by side:
  kernels::Group<Key> group{};
  PerPixel group_means{};
  PerPixel group_squares{};  ///< around the means
  PerPixel group_sigmas{};
  PerPixel group_first{};
  PerPixel group_last{};

  static constexpr bool has_groups = true;

  static const kernels::RealGroupKernels<Real, Key>& group_kernel() {
    const auto& all = kernels::group_kernels();
    if constexpr (sizeof(Real) == 4) {
      return all.float32;
    } else {
      return all.float64;
    }
  }

  /// Decodes a group and writes its mask. Returns a bit for each pixel that must be reduced alone.
  std::uint32_t load_group(const std::byte* samples, std::int64_t step, std::int64_t n_pixels,
                           std::uint32_t* mask) {
    count = group.n_samples = stage.n_used_skips();
    std::uint32_t alone =
        group_kernel().load(samples, step, n_pixels, stage.format_.big_endian, group);
    const Real* first = reinterpret_cast<const Real*>(group.keys);
    const Real* last = first + (count - 1) * group_pixels;
    for (std::size_t p = 0; p < group_pixels; ++p) {
      group_first[p] = static_cast<double>(first[p]);
      group_last[p] = static_cast<double>(last[p]);
    }
    if (stage.wants_sums_) alone |= sum_group();
    if (stage.wants_order_) group_kernel().make_keys(group);
    for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
      mask[p] = 0;
      if (!stage.config_.saturation) continue;
      pixel.smallest = group.smallest[p];
      pixel.largest = group.largest[p];
      has_keys = true;
      if (largest() >= *stage.config_.saturation) mask[p] = mask_bit::saturated;
    }
    return alone;
  }

  /// Returns a bit for each pixel whose sums are not finite.
  std::uint32_t sum_group() {
    const auto n = static_cast<double>(count);
    PerPixel sums;
    group_kernel().sums(group, group_first.data(), sums.data(), group_squares.data());
    for (std::size_t p = 0; p < group_pixels; ++p) group_means[p] = group_first[p] + sums[p] / n;
    group_kernel().sums(group, group_means.data(), sums.data(), group_squares.data());
    std::uint32_t alone = 0;
    for (std::size_t p = 0; p < group_pixels; ++p) {
      const double part = sums[p] / n;
      group_means[p] += part;
      group_squares[p] -= sums[p] * part;
      const double around = group_squares[p] / n;
      group_sigmas[p] = around > 0 ? around : 0.0;
      const bool finite = std::abs(group_means[p]) <= std::numeric_limits<double>::max() &&
                          std::abs(group_squares[p]) <= std::numeric_limits<double>::max();
      alone |= (finite ? 0U : 1U) << p;
    }
    kernels::group_kernels().roots(group_sigmas.data());
    return alone;
  }

  /// Makes pixel `p` of the group the one in hand.
  void take(std::size_t p) {
    pixel.smallest = group.smallest[p];
    pixel.largest = group.largest[p];
    has_keys = true;
    mean_ = group_means[p];
    squares = group_squares[p];
    ends[0] = static_cast<Real>(group_first[p]);
    ends[1] = static_cast<Real>(group_last[p]);
    values_in_hand = ends;
  }

  void means_of_group(PerPixel& result) const {
    for (std::size_t p = 0; p < group_pixels; ++p) result[p] = value(group_means[p]);
  }

  void variances_of_group(PerPixel& result, std::int64_t ddof) {
    each_of_group(result, [&] { return variance(ddof); });
  }

  void deviations_of_group(PerPixel& result, std::int64_t ddof) {
    variances_of_group(result, ddof);
    kernels::group_kernels().roots(result.data());
  }

  void search_group(std::int64_t rank, bool pair, double deviation, PerPixel& lower,
                    PerPixel& upper) {
    kernels::Search search;
    search.rank = rank;
    search.pair = pair;
    search.mean = group_means.data();
    search.sigma = group_sigmas.data();
    search.place = deviation;
    search.sigma_per_sample = sigma_per_sample(deviation, count);
    PerPixelOf<Key> a;
    PerPixelOf<Key> b;
    group_kernel().select(group, search, a.data(), b.data());
    for (std::size_t p = 0; p < group_pixels; ++p) {
      lower[p] = static_cast<double>(real_of(a[p]));
      upper[p] = static_cast<double>(real_of(b[p]));
    }
  }

  void medians_of_group(PerPixel& result) {
    PerPixel a;
    PerPixel b;
    search_group((count - 1) / 2, count % 2 == 0, 0.0, a, b);
    for (std::size_t p = 0; p < group_pixels; ++p) {
      result[p] = count % 2 == 1 ? value(a[p]) : value(middle_of(a[p], b[p]));
    }
  }

  void quantiles_of_group(PerPixel& result, double q) {
    const QuantilePlace place(q, count, falls());
    PerPixel a;
    PerPixel b;
    search_group(place.rank, place.pair, place.deviation, a, b);
    for (std::size_t p = 0; p < group_pixels; ++p) result[p] = between(a[p], b[p], place);
  }

  [[nodiscard]] double between(double a, double b, const QuantilePlace& place) const {
    if (!place.pair) return value(a);
    return falls() ? interpolate(value(b), value(a), place.part)
                   : interpolate(value(a), value(b), place.part);
  }

  /// The sum of two doubles may be too large where their mean is not.
  [[nodiscard]] static double middle_of(double a, double b) {
    const double mean = (a + b) / 2;
    return std::isinf(mean) && !std::isinf(a) && !std::isinf(b) ? a / 2 + b / 2 : mean;
  }

  template <class Function>
  void each_of_group(PerPixel& result, Function function) {
    for (std::size_t p = 0; p < group_pixels; ++p) {
      take(p);
      result[p] = function();
    }
  }

  std::uint32_t load(const std::byte* samples, std::int64_t n) {
    const std::int64_t n_nan = real.decode(samples, n, stage.format_.big_endian, values);
    has_keys = false;
    values_in_hand = values;
    count = n;
    std::uint32_t bits = 0;
    if (n_nan > 0) {
      count = 0;
      for (std::int64_t i = 0; i < n; ++i) {
        values[count] = values[i];
        count += std::isnan(values[i]) ? 0 : 1;
      }
      if (count == 0) return mask_bit::no_data;
      bits |= mask_bit::missing_skips;
    }
    double sum = 0;
    double ignored = 0;
    // Around the first value, then around the mean found so: the second sum corrects the first.
    const auto start = static_cast<double>(values[0]);
    real.sums(values, count, start, &sum, &ignored);
    const auto m = static_cast<double>(count);
    mean_ = start + sum / m;
    squares = ignored - sum * (sum / m);
    if (stage.wants_spread_) {
      real.sums(values, count, mean_, &sum, &squares);
      mean_ += sum / m;
      squares -= sum * (sum / m);
    }
    if (!std::isfinite(mean_) || !std::isfinite(squares)) measure_far();
    if (stage.config_.saturation && largest() >= *stage.config_.saturation) {
      bits |= mask_bit::saturated;
    }
    return bits;
  }

  void measure_spread() {}

  /// Samples that are infinite, or whose differences or squares are beyond a double.
  void measure_far() {
    long double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<long double>(values[i]);
    const long double mean = sum / static_cast<long double>(count);
    long double around = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const long double d = static_cast<long double>(values[i]) - mean;
      around += d * d;
    }
    mean_ = static_cast<double>(mean);
    squares = static_cast<double>(around);
  }

  /// Pixels of one sample each.
  void convert(const std::byte* samples, std::int64_t n, double* result, std::uint32_t* mask) {
    real.decode(samples, n, stage.format_.big_endian, values);
    const double limit = stage.config_.saturation.value_or(std::numeric_limits<double>::infinity());
    const std::uint32_t saturated = stage.config_.saturation ? mask_bit::saturated : 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double value = affine.scale * static_cast<double>(values[i]) + affine.zero;
      result[i] = value;
      mask[i] = value != value ? mask_bit::no_data : value >= limit ? saturated : 0;
    }
  }

  void make_keys() {
    if (has_keys) return;
    has_keys = true;
    const auto found = real.keys(values, count, keys);
    pad(keys, count);
    pixel = {keys, count, found.smallest, found.largest};
  }

  [[nodiscard]] static Real real_of(Key key) {
    using Word = std::make_unsigned_t<Key>;
    constexpr int top = 8 * sizeof(Key) - 1;
    const Key bits = key ^ static_cast<Key>(static_cast<Word>(key >> top) >> 1);
    Real value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  [[nodiscard]] static double key_of(double value) {
    const auto near = static_cast<Real>(value);
    Key bits;
    std::memcpy(&bits, &near, sizeof bits);
    using Word = std::make_unsigned_t<Key>;
    constexpr int top = 8 * sizeof(Key) - 1;
    return static_cast<double>(bits ^ static_cast<Key>(static_cast<Word>(bits >> top) >> 1));
  }

  [[nodiscard]] double value(double raw) const { return affine.location(raw); }
  [[nodiscard]] bool falls() const { return affine.scale < 0; }
  [[nodiscard]] std::int64_t n() const { return count; }
  [[nodiscard]] double sigma() const {
    return std::sqrt(std::max(0.0, squares / static_cast<double>(count)));
  }

  Ranked<Key> ranked(std::int64_t rank, double centre) {
    make_keys();
    const double key = key_of(centre);
    const double width = std::abs(key_of(centre + sigma()) - key);
    const bool usable = std::isfinite(centre) && width > 0;
    return select(kernel, pixel, rank, usable ? Guess{key, width} : Guess{}, work);
  }

  [[nodiscard]] double median() {
    const auto middle = ranked((count - 1) / 2, mean_);
    const auto a = static_cast<double>(real_of(middle.key));
    if (count % 2 == 1) return value(a);
    return value(middle_of(a, static_cast<double>(real_of(middle.next))));
  }

  [[nodiscard]] double quantile(double q) {
    const QuantilePlace place(q, count, falls());
    const auto found = ranked(place.rank, mean_ + place.deviation * sigma());
    return between(static_cast<double>(real_of(found.key)),
                   static_cast<double>(real_of(found.next)), place);
  }

  [[nodiscard]] double mad() {
    const double centre = median();
    for (std::int64_t i = 0; i < count; ++i) {
      deviations[i] = std::abs(value(static_cast<double>(values[i])) - centre);
    }
    return median_in_place(deviations, count);
  }

  [[nodiscard]] double variance(std::int64_t ddof) const {
    if (count <= ddof) return nan;
    const double var = std::max(squares, 0.0) / static_cast<double>(count - ddof);
    if (std::isnan(squares)) return nan;
    return affine.scale * affine.scale * var;
  }
  [[nodiscard]] double mean() const { return value(mean_); }
  [[nodiscard]] double total() const { return value(mean_) * static_cast<double>(count); }
  [[nodiscard]] double rms() const {
    const double m = mean();
    return std::sqrt(variance(0) + m * m);
  }
  [[nodiscard]] double smallest() {
    make_keys();
    return value(static_cast<double>(real_of(falls() ? pixel.largest : pixel.smallest)));
  }
  [[nodiscard]] double largest() {
    make_keys();
    return value(static_cast<double>(real_of(falls() ? pixel.smallest : pixel.largest)));
  }
  [[nodiscard]] double range() { return largest() - smallest(); }
  [[nodiscard]] double first() const { return value(static_cast<double>(values_in_hand[0])); }
  [[nodiscard]] double last() const {
    const Real last = values_in_hand == ends ? ends[1] : values_in_hand[count - 1];
    return value(static_cast<double>(last));
  }

  /// Mean of the values in [low, high], with so many of the limits themselves.
  [[nodiscard]] double trimmed_mean(double fraction) {
    const auto cut = static_cast<std::int64_t>(fraction * static_cast<double>(count));
    const auto low = static_cast<double>(real_of(ranked(cut, mean_).key));
    const auto high = static_cast<double>(real_of(ranked(count - 1 - cut, mean_).key));
    const std::int64_t n_kept = count - 2 * cut;
    if (low == high) return value(low);
    double sum = 0;
    std::int64_t n_inside = 0;
    std::int64_t n_at_or_below_low = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto x = static_cast<double>(values[i]);
      n_at_or_below_low += x <= low ? 1 : 0;
      if (!(x > low && x < high)) continue;
      sum += x - low;
      ++n_inside;
    }
    const std::int64_t n_low = n_at_or_below_low - cut;
    const std::int64_t n_high = n_kept - n_inside - n_low;
    sum += static_cast<double>(n_high) * (high - low);
    return value(low + sum / static_cast<double>(n_kept));
  }

  [[nodiscard]] double clipped_mean(double n_sigma, std::int64_t n_iterations) const {
    double mean = mean_;
    double width = sigma();
    std::int64_t n_kept = count;
    for (std::int64_t i = 0; i < n_iterations; ++i) {
      double sum = 0;
      double squared = 0;
      std::int64_t n = 0;
      for (std::int64_t j = 0; j < count; ++j) {
        const double d = static_cast<double>(values[j]) - mean;
        if (!(std::abs(d) <= n_sigma * width)) continue;
        sum += d;
        squared += d * d;
        ++n;
      }
      if (n < 2 || n == count) break;
      const double offset = sum / static_cast<double>(n);
      mean += offset;
      if (n == n_kept) break;  // the same samples, and their mean from one nearer to it
      width = std::sqrt(std::max(0.0, squared / static_cast<double>(n) - offset * offset));
      n_kept = n;
    }
    return value(mean);
  }
};

CompressSkips::CompressSkips(Config config, ForeignStatistics foreign)
    : config_(std::move(config)), foreign_(std::move(foreign)) {}

bool CompressSkips::knows(const std::string& statistic) {
  const std::string_view name = std::string_view(statistic).substr(0, statistic.find('('));
  return std::find(statistic_names.begin(), statistic_names.end(), name) != statistic_names.end();
}

void CompressSkips::require(const std::vector<std::string>& statistics) {
  auto& known = config_.statistics;
  for (const auto& name : statistics) {
    if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
  }
}

CompressSkips::Statistic CompressSkips::parse(const std::string& name) const {
  const auto wrong = [](const std::string& what) -> Statistic {
    throw ConfigError("compress_skips.statistics: " + what);
  };
  const auto open = name.find('(');
  const std::string_view word = std::string_view(name).substr(0, open);
  const auto found = std::find(statistic_names.begin(), statistic_names.end(), word);
  if (found == statistic_names.end()) {
    if (const auto foreign = foreign_.find(name); foreign != foreign_.end()) {
      return {Kind::foreign, 0.0, &foreign->second};
    }
    const std::vector<std::string> names(statistic_names.begin(), statistic_names.end());
    return wrong("no statistic " + unknown_name(name, names));
  }
  const auto kind = static_cast<Kind>(found - statistic_names.begin());
  const bool closed = open != std::string::npos && name.back() == ')';
  const char* begin = name.data() + (closed ? open + 1 : 0);
  const char* end = name.data() + name.size() - (closed ? 1 : 0);
  const auto read = [&](auto& value) {
    const auto [stop, error] = std::from_chars(begin, end, value);
    return closed && error == std::errc() && stop == end;
  };
  if (kind == Kind::quantile) {
    double q = -1;
    if (!read(q) || !(q >= 0 && q <= 1)) {
      return wrong("\"" + name + "\" must be quantile(q) with q from 0 to 1");
    }
    return {kind, q, nullptr};
  }
  std::int64_t number = 0;
  if (kind == Kind::sample) {
    if (!read(number)) {
      return wrong("\"" + name + "\" must be sample(s), s counted from 0, or below 0 from the end");
    }
    return {kind, 0.5, nullptr, number};
  }
  if (kind == Kind::mean && open != std::string::npos) {
    if (!read(number) || number < 1) {
      return wrong("\"" + name + "\" must be mean, or mean(n) of the first n samples used");
    }
    return {Kind::mean_of_first, 0.5, nullptr, number};
  }
  if (open != std::string::npos) return wrong("\"" + name + "\" takes no argument");
  return {kind, 0.5, nullptr};
}

/// Throws ConfigError for a sample that does not exist.
void CompressSkips::check_numbers() const {
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    const std::int64_t number = statistics_[s].number;
    const bool is_sample = statistics_[s].kind == Kind::sample;
    const std::int64_t n = is_sample ? n_skips_ : n_used_skips();
    if ((is_sample && (number < -n || number >= n)) || number > n) {
      throw ConfigError("compress_skips.statistics: \"" + config_.statistics[s] + "\": there are " +
                        std::to_string(n) + (is_sample ? " samples" : " samples in use"));
    }
  }
}

void CompressSkips::check_statistics() const {
  for (const auto& name : config_.statistics) parse(name);
}

void CompressSkips::resolve_range(const ImageInfo& image) {
  const std::int64_t n = image.n_skips;
  const auto from_end = [n](std::int64_t skip) { return skip < 0 ? skip + n : skip; };
  const std::int64_t begin = config_.begin_skip.value_or(image.begin_skip);
  const std::int64_t end = config_.end_skip.value_or(image.end_skip.value_or(n));
  const std::string at = "compress_skips.";
  if (from_end(begin) < 0 || from_end(begin) >= n) {
    throw ConfigError(at + "begin_skip: must be below n_skips = " + std::to_string(n) + "; got " +
                      std::to_string(begin));
  }
  if (from_end(end) < 0 || from_end(end) > n) {
    throw ConfigError(at + "end_skip: must be at most n_skips = " + std::to_string(n) + "; got " +
                      std::to_string(end));
  }
  if (from_end(end) <= from_end(begin)) {
    throw ConfigError(at + "end_skip: no skip is left between begin_skip = " +
                      std::to_string(begin) + " and end_skip = " + std::to_string(end));
  }
  begin_skip_ = from_end(begin);
  end_skip_ = from_end(end);
}

std::int64_t CompressSkips::scratch_samples() const {
  return std::max(n_used_skips(), n_skips_ == 1 ? single_block : 0) + 2 * kernels::padding;
}

StagePlan CompressSkips::begin(const ImageInfo& image) {
  if (config_.statistics.empty()) {
    throw ConfigError("compress_skips.statistics: must name at least one, such as \"mean\"");
  }
  resolve_range(image);
  format_ = image.format;
  n_skips_ = image.n_skips;
  statistics_.clear();
  has_foreign_ = false;
  growing_means_.clear();
  lone_samples_.clear();
  wants_spread_ = false;
  wants_sums_ = false;
  wants_ends_ = false;
  wants_order_ = config_.saturation.has_value();
  reduces_groups_ = n_skips_ > 1 && format_.n_bytes > 1 &&
                    (format_.kind == SampleKind::floating || format_.n_bytes < 8) &&
                    n_used_skips() * format_.n_bytes * group_pixels <= max_group_bytes;
  StagePlan plan;
  for (const auto& name : config_.statistics) {
    for (const auto& plane : plan.planes) {
      if (plane.name == name) {
        throw ConfigError("compress_skips.statistics: \"" + name + "\" is named twice");
      }
    }
    const Statistic statistic = parse(name);
    statistics_.push_back(statistic);
    PlaneInfo plane{name, image.unit, PlaneKind::location};
    switch (statistic.kind) {
      case Kind::std:
      case Kind::mad:
      case Kind::ptp:
        plane.kind = PlaneKind::spread;
        break;
      case Kind::var:
        plane.kind = PlaneKind::spread;
        plane.unit = image.unit.empty() ? "" : image.unit + "2";
        break;
      case Kind::sum:
      case Kind::rms:
        plane.kind = PlaneKind::other;
        break;
      case Kind::count:
        plane.kind = PlaneKind::other;
        plane.unit = "";
        break;
      case Kind::foreign:
        plane.kind = PlaneKind::other;
        plane.unit = "";
        has_foreign_ = true;
        break;
      default:
        break;
    }
    plan.planes.push_back(plane);
    const bool plain = statistic.kind == Kind::min || statistic.kind == Kind::max ||
                       statistic.kind == Kind::ptp || statistic.kind == Kind::first ||
                       statistic.kind == Kind::last || statistic.kind == Kind::count ||
                       statistic.kind == Kind::foreign || statistic.kind == Kind::mean ||
                       statistic.kind == Kind::sum || statistic.kind == Kind::sample ||
                       statistic.kind == Kind::mean_of_first;
    switch (statistic.kind) {
      case Kind::mean:
      case Kind::std:
      case Kind::var:
      case Kind::sum:
      case Kind::rms:
        wants_sums_ = true;
        break;
      case Kind::median:
      case Kind::quantile:
        wants_sums_ = true;
        wants_order_ = true;
        break;
      case Kind::min:
      case Kind::max:
      case Kind::ptp:
        wants_order_ = true;
        break;
      case Kind::first:
      case Kind::last:
        wants_ends_ = true;
        break;
      case Kind::mean_of_first:
        growing_means_.push_back(statistics_.size() - 1);
        break;
      case Kind::sample:
        lone_samples_.push_back(statistics_.size() - 1);
        break;
      case Kind::count:
      case Kind::foreign:
        break;
      case Kind::mad:
      case Kind::clipped_mean:
      case Kind::trimmed_mean:
        reduces_groups_ = false;
        break;
    }
    const bool exact_sum_of_integers = format_.kind == SampleKind::integer;
    wants_spread_ =
        wants_spread_ || !plain ||
        (!exact_sum_of_integers && (statistic.kind == Kind::mean || statistic.kind == Kind::sum));
  }
  check_numbers();
  std::sort(growing_means_.begin(), growing_means_.end(), [this](std::size_t a, std::size_t b) {
    return statistics_[a].number < statistics_[b].number;
  });
  group_offset_ = (4 * scratch_samples() * 8 + 63) / 64 * 64;
  scratch_bytes_ = group_offset_;
  if (reduces_groups_) scratch_bytes_ += (n_used_skips() + 1) * format_.n_bytes * group_pixels;
  plan.state_bytes = scratch_bytes_;
  takes_parts_ = n_skips_ > 1 && growing_means_.size() + lone_samples_.size() == statistics_.size();
  return plan;
}

/// Pixels of one sample: no statistics, a conversion.
template <class Source>
void CompressSkips::reduce_single(const std::byte* samples, std::int64_t n_pixels,
                                  double* const* planes, std::uint32_t* mask,
                                  std::byte* scratch) const {
  Source source(*this, scratch);
  std::size_t model = statistics_.size();  // the plane that holds the values
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    if (statistics_[s].kind <= Kind::median) model = std::min(model, s);
  }
  for (std::int64_t begin = 0; begin < n_pixels; begin += single_block) {
    const std::int64_t n = std::min(single_block, n_pixels - begin);
    double block[single_block];
    double* values = model < statistics_.size() ? planes[model] + begin : block;
    source.convert(samples + begin * format_.n_bytes, n, values, mask + begin);
    for (std::size_t s = 0; s < statistics_.size(); ++s) {
      double* plane = planes[s] + begin;
      if (plane == values) continue;
      const Kind kind = statistics_[s].kind;
      for (std::int64_t i = 0; i < n; ++i) {
        const double value = values[i];
        const bool missing = std::isnan(value);
        switch (kind) {
          case Kind::std:
          case Kind::var:
            plane[i] = missing || config_.ddof > 0 ? nan : value - value;
            break;
          case Kind::ptp:
          case Kind::mad:
            plane[i] = value - value;
            break;
          case Kind::rms:
            plane[i] = std::abs(value);
            break;
          case Kind::count:
            plane[i] = missing ? 0.0 : 1.0;
            break;
          default:
            plane[i] = value;
        }
      }
    }
  }
}

template <class Source>
void CompressSkips::reduce_as(const std::byte* samples, std::int64_t n_pixels,
                              double* const* planes, std::uint32_t* mask,
                              std::byte* scratch) const {
  if (n_skips_ == 1) {
    reduce_single<Source>(samples, n_pixels, planes, mask, scratch);
    return;
  }
  Source source(*this, scratch);
  const std::int64_t pixel_bytes = n_skips_ * format_.n_bytes;
  samples += begin_skip_ * format_.n_bytes;
  std::int64_t i = 0;
  if constexpr (Source::has_groups) {
    for (; reduces_groups_ && n_pixels - i >= min_group_pixels; i += group_pixels) {
      const std::int64_t n = std::min(group_pixels, n_pixels - i);
      const std::byte* first = samples + i * pixel_bytes;
      source.group.ahead =
          n_pixels - i >= 2 * group_pixels ? first + group_pixels * pixel_bytes : nullptr;
      std::uint32_t alone = reduce_group(source, first, n, i, planes, mask + i);
      alone &= static_cast<std::uint32_t>((std::uint64_t{1} << n) - 1);
      for (; alone != 0; alone &= alone - 1) {
        const int p = std::countr_zero(alone);
        reduce_pixel(source, first + p * pixel_bytes, i + p, planes, mask + i + p);
      }
    }
  }
  for (; i < n_pixels; ++i) reduce_pixel(source, samples + i * pixel_bytes, i, planes, mask + i);
}

/// Reduces up to `group_pixels` pixels to `planes[s][at]` and on. Returns a bit for each pixel that
/// is to be reduced alone instead.
template <class Source>
std::uint32_t CompressSkips::reduce_group(Source& source, const std::byte* samples,
                                          std::int64_t n_pixels, std::int64_t at,
                                          double* const* planes, std::uint32_t* mask) const {
  const std::uint32_t alone =
      source.load_group(samples, n_skips_ * format_.n_bytes, n_pixels, mask);
  constexpr std::uint32_t all = 0xffffffffU;
  if ((alone & all) == all) return alone;
  PerPixel result;
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    switch (statistics_[s].kind) {
      case Kind::mean:
        source.means_of_group(result);
        break;
      case Kind::median:
        source.medians_of_group(result);
        break;
      case Kind::std:
        source.deviations_of_group(result, config_.ddof);
        break;
      case Kind::var:
        source.variances_of_group(result, config_.ddof);
        break;
      case Kind::quantile:
        source.quantiles_of_group(result, statistics_[s].q);
        break;
      case Kind::min:
        source.each_of_group(result, [&] { return source.smallest(); });
        break;
      case Kind::max:
        source.each_of_group(result, [&] { return source.largest(); });
        break;
      case Kind::ptp:
        source.each_of_group(result, [&] { return source.range(); });
        break;
      case Kind::sum:
        source.each_of_group(result, [&] { return source.total(); });
        break;
      case Kind::rms:
        source.each_of_group(result, [&] { return source.rms(); });
        break;
      case Kind::first:
        source.each_of_group(result, [&] { return source.first(); });
        break;
      case Kind::last:
        source.each_of_group(result, [&] { return source.last(); });
        break;
      case Kind::count:
        result.fill(static_cast<double>(n_used_skips()));
        break;
      case Kind::mad:
      case Kind::clipped_mean:
      case Kind::trimmed_mean:
      case Kind::sample:
      case Kind::mean_of_first:
      case Kind::foreign:
        continue;
    }
    std::copy_n(result.begin(), n_pixels, planes[s] + at);
  }
  return alone;
}

/// Reduces one pixel to `planes[s][at]`.
template <class Source>
void CompressSkips::reduce_pixel(Source& pixel, const std::byte* samples, std::int64_t at,
                                 double* const* planes, std::uint32_t* mask) const {
  const std::uint32_t bits = pixel.load(samples, n_used_skips());
  *mask = bits;
  if ((bits & mask_bit::no_data) != 0) {
    make_missing(planes, at, mask);
    return;
  }
  if (wants_spread_) pixel.measure_spread();
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    double& value = planes[s][at];
    switch (statistics_[s].kind) {
      case Kind::mean:
        value = pixel.mean();
        break;
      case Kind::median:
        value = pixel.median();
        break;
      case Kind::std:
        value = std::sqrt(pixel.variance(config_.ddof));
        break;
      case Kind::var:
        value = pixel.variance(config_.ddof);
        break;
      case Kind::min:
        value = pixel.smallest();
        break;
      case Kind::max:
        value = pixel.largest();
        break;
      case Kind::ptp:
        value = pixel.range();
        break;
      case Kind::sum:
        value = pixel.total();
        break;
      case Kind::rms:
        value = pixel.rms();
        break;
      case Kind::mad:
        value = pixel.mad();
        break;
      case Kind::quantile:
        value = pixel.quantile(statistics_[s].q);
        break;
      case Kind::clipped_mean:
        value = pixel.clipped_mean(config_.clip_sigma, config_.clip_iterations);
        break;
      case Kind::trimmed_mean:
        value = pixel.trimmed_mean(config_.trim_fraction);
        break;
      case Kind::first:
        value = pixel.first();
        break;
      case Kind::last:
        value = pixel.last();
        break;
      case Kind::count:
        value = static_cast<double>(pixel.n());
        break;
      case Kind::sample:
      case Kind::mean_of_first:
      case Kind::foreign:
        break;
    }
  }
}

void CompressSkips::reduce(const std::byte* samples, std::int64_t n_pixels, double* const* planes,
                           std::uint32_t* mask, std::byte* scratch) const {
  if (mask == nullptr) {
    if (!growing_means_.empty()) reduce_parts(samples, n_pixels, planes, scratch);
    take_samples(samples, n_pixels, planes);
    return;
  }
  if (format_.kind == SampleKind::floating) {
    if (format_.n_bytes == 4) {
      reduce_as<Reals<float, std::int32_t>>(samples, n_pixels, planes, mask, scratch);
    } else {
      reduce_as<Reals<double, std::int64_t>>(samples, n_pixels, planes, mask, scratch);
    }
  } else if (format_.n_bytes <= 2) {
    reduce_as<Integers<std::int16_t>>(samples, n_pixels, planes, mask, scratch);
  } else if (format_.n_bytes == 4) {
    reduce_as<Integers<std::int32_t>>(samples, n_pixels, planes, mask, scratch);
  } else {
    reduce_as<Integers<std::int64_t>>(samples, n_pixels, planes, mask, scratch);
  }
  if (n_skips_ > 1) {
    if (!growing_means_.empty()) reduce_parts(samples, n_pixels, planes, scratch);
    take_samples(samples, n_pixels, planes);
  }
  if (has_foreign_) reduce_foreign(samples, n_pixels, planes);
}

void CompressSkips::make_missing(double* const* planes, std::int64_t at,
                                 std::uint32_t* mask) const {
  *mask = mask_bit::no_data;
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    planes[s][at] = statistics_[s].kind == Kind::count ? 0.0 : nan;
  }
}

void CompressSkips::reduce_without(std::span<const SampleRange> lost, std::byte* samples,
                                   std::int64_t first_sample, double* const* planes,
                                   std::uint32_t* mask, std::byte* scratch) {
  const auto n_bytes = static_cast<std::size_t>(format_.n_bytes);
  const auto each_lost = [&](auto&& visit) {
    for (const auto& range : lost) {
      const std::int64_t begin = std::clamp<std::int64_t>(range.begin - first_sample, 0, n_skips_);
      const std::int64_t end = std::clamp<std::int64_t>(range.end - first_sample, 0, n_skips_);
      if (begin < end) visit(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
    }
  };
  const auto overwrite = [&](const std::byte* with) {
    each_lost([&](std::size_t begin, std::size_t end) {
      for (std::size_t s = begin; s < end; ++s) std::memcpy(samples + s * n_bytes, with, n_bytes);
    });
  };
  const auto encode = [&](std::int64_t value, std::byte* to) {
    for (std::size_t i = 0; i < n_bytes; ++i) {
      to[format_.big_endian ? n_bytes - 1 - i : i] = static_cast<std::byte>(value >> (8 * i));
    }
  };
  std::array<std::byte, 8> missing{};
  const bool is_floating = format_.kind == SampleKind::floating;
  if (is_floating || format_.blank) {
    const std::int64_t nan_bits = n_bytes == 4 ? 0x7fc00000 : 0x7ff8000000000000;
    encode(is_floating ? nan_bits : *format_.blank, missing.data());
    overwrite(missing.data());
    return reduce(samples, 1, planes, mask, scratch);
  }
  // An integer that the other samples do not have stands for those that are missing.
  const std::int64_t n_candidates =
      std::min(n_skips_ + 1, n_bytes == 8 ? n_skips_ + 1 : std::int64_t{1} << (8 * n_bytes));
  for (std::int64_t candidate = 0; candidate < n_candidates; ++candidate) {
    encode(candidate, missing.data());
    overwrite(missing.data());
    std::int64_t n_found = 0;
    for (std::int64_t s = 0; s < n_skips_; ++s) {
      n_found += std::memcmp(samples + s * format_.n_bytes, missing.data(), n_bytes) == 0 ? 1 : 0;
    }
    each_lost([&](std::size_t begin, std::size_t end) {
      n_found -= static_cast<std::int64_t>(end - begin);
    });
    if (n_found > 0) continue;
    const bool is_negative = !format_.is_unsigned && candidate >> (8 * n_bytes - 1) != 0;
    format_.blank = is_negative ? candidate - (std::int64_t{1} << (8 * n_bytes)) : candidate;
    reduce(samples, 1, planes, mask, scratch);
    format_.blank.reset();
    return;
  }
  make_missing(planes, 0, mask);  // every number occurs: nothing can stand for a missing one
}

/// Means of the first n samples, all n from one running sum of integers.
template <class Key>
void CompressSkips::reduce_exact_parts(const std::byte* samples, std::int64_t n_pixels,
                                       double* const* planes, std::byte* scratch) const {
  auto* keys = reinterpret_cast<Key*>(scratch);
  const kernels::SkipKernels& table = kernels::skip_kernels();
  const kernels::KeyKernels<Key>& kernel = Integers<Key>::own_kernel(table);
  const Key flip = format_.is_unsigned ? std::numeric_limits<Key>::min() : Key{0};
  const auto shift = -static_cast<double>(flip);  // of a number from its key
  const std::int64_t n_needed = statistics_[growing_means_.back()].number;
  samples += begin_skip_ * format_.n_bytes;
  for (std::int64_t i = 0; i < n_pixels; ++i, samples += n_skips_ * format_.n_bytes) {
    kernel.decode(samples, n_needed, format_.big_endian, flip, keys);
    std::int64_t sum = 0;
    std::int64_t done = 0;
    for (const std::size_t s : growing_means_) {
      const std::int64_t n = statistics_[s].number;
      while (done < n) {  // so few that sums of 16 bits have 32, and those of 32 have 64
        using Sum = std::conditional_t<sizeof(Key) == 2, std::int32_t, std::int64_t>;
        const std::int64_t end = std::min(n, done + (std::int64_t{1} << 15));
        Sum part = 0;
        for (; done < end; ++done) part += keys[done];
        sum += part;
      }
      const auto count = static_cast<double>(n);
      planes[s][i] =
          format_.scale * ((static_cast<double>(sum) + shift * count) / count) + format_.zero;
    }
  }
}

/// Means of the first n samples, all n from one running sum. Sums of integers
/// of up to 32 bits are exact; wider ones are rounded to 53 bits first.
void CompressSkips::reduce_parts(const std::byte* samples, std::int64_t n_pixels,
                                 double* const* planes, std::byte* scratch) const {
  const bool is_whole = format_.kind != SampleKind::floating && !format_.blank;
  if (is_whole && format_.n_bytes == 2) {
    return reduce_exact_parts<std::int16_t>(samples, n_pixels, planes, scratch);
  }
  if (is_whole && format_.n_bytes == 4) {
    return reduce_exact_parts<std::int32_t>(samples, n_pixels, planes, scratch);
  }
  constexpr std::int64_t n_lanes = 8;
  auto* values = reinterpret_cast<double*>(scratch);
  SampleFormat keys = format_;
  keys.scale = 1.0;
  keys.zero = 0.0;
  const std::int64_t n_needed = statistics_[growing_means_.back()].number;
  for (std::int64_t i = 0; i < n_pixels; ++i) {
    const std::byte* pixel = samples + i * n_skips_ * format_.n_bytes;
    kernels::decode_samples(pixel + begin_skip_ * format_.n_bytes, n_needed, keys, values);
    std::int64_t done = 0;
    std::array<double, n_lanes> lanes{};
    std::array<double, n_lanes> counts{};
    const auto add = [&](std::int64_t at, std::size_t lane) {
      const bool there = !std::isnan(values[at]);
      lanes[lane] += there ? values[at] : 0.0;
      counts[lane] += there ? 1.0 : 0.0;
    };
    for (const std::size_t s : growing_means_) {
      const std::int64_t n = statistics_[s].number;
      for (; done < n && done % n_lanes != 0; ++done) {
        add(done, static_cast<std::size_t>(done % n_lanes));
      }
      for (; done + n_lanes <= n; done += n_lanes) {
        for (std::size_t lane = 0; lane < n_lanes; ++lane) {
          add(done + static_cast<std::int64_t>(lane), lane);
        }
      }
      for (; done < n; ++done) add(done, static_cast<std::size_t>(done % n_lanes));
      const double sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
                         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
      double count = 0;
      for (const double part : counts) count += part;
      planes[s][i] = count > 0 ? format_.scale * (sum / count) + format_.zero : nan;
    }
  }
}

/// One sample of each pixel: gathered first, then decoded together.
void CompressSkips::take_samples(const std::byte* samples, std::int64_t n_pixels,
                                 double* const* planes) const {
  constexpr std::int64_t n_together = 64;
  std::array<std::byte, n_together * sizeof(std::int64_t)> gathered;
  const auto n_bytes = static_cast<std::size_t>(format_.n_bytes);
  for (const std::size_t s : lone_samples_) {
    const std::int64_t number = statistics_[s].number;
    const std::int64_t at = number < 0 ? number + n_skips_ : number;
    for (std::int64_t i = 0; i < n_pixels; i += n_together) {
      const std::int64_t n = std::min(n_together, n_pixels - i);
      for (std::int64_t k = 0; k < n; ++k) {
        std::memcpy(gathered.data() + static_cast<std::size_t>(k) * n_bytes,
                    samples + ((i + k) * n_skips_ + at) * format_.n_bytes, n_bytes);
      }
      kernels::decode_samples(gathered.data(), n, format_, planes[s] + i);
    }
  }
}

/// Decodes everything to doubles and hands it to reducers that the library does not know.
void CompressSkips::reduce_foreign(const std::byte* samples, std::int64_t n_pixels,
                                   double* const* planes) const {
  const std::int64_t n = n_used_skips();
  std::vector<double> values(static_cast<std::size_t>(n_pixels * n));
  std::vector<std::byte> scratch(static_cast<std::size_t>(scratch_bytes_));
  Config first;
  first.statistics = {"first"};
  CompressSkips decoder(first);
  ImageInfo one;
  one.n_cols = 1;
  one.n_skips = 1;
  one.format = format_;
  decoder.begin(one);
  std::uint32_t mask = 0;
  for (std::int64_t i = 0; i < n_pixels; ++i) {
    for (std::int64_t s = 0; s < n; ++s) {
      double* value = values.data() + i * n + s;
      decoder.reduce(samples + (i * n_skips_ + begin_skip_ + s) * format_.n_bytes, 1, &value, &mask,
                     scratch.data());
    }
  }
  for (std::size_t s = 0; s < statistics_.size(); ++s) {
    if (statistics_[s].foreign != nullptr) {
      (*statistics_[s].foreign)(values.data(), n_pixels, n, planes[s]);
    }
  }
}

}  // namespace skipstream
