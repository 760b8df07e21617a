// compress_skips against slow, obvious definitions: every type of sample, ordinary and hostile
// data, pixels alone and side by side, and every SIMD level.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/mask.hpp"
#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/stages/compress_skips.hpp"

using namespace skipstream;

namespace {

__extension__ typedef __int128 Int128;
__extension__ typedef __float128 Quad;  // rounded to a double, right but for one case in 2^50

const double nan = std::numeric_limits<double>::quiet_NaN();

struct Result {
  std::vector<std::vector<double>> planes;
  std::vector<std::uint32_t> mask;
};

/// Reduces `samples` in calls of `pixels_per_call` pixels.
Result reduce(const CompressSkips::Config& config, const ImageInfo& image,
              const std::vector<std::byte>& samples, std::int64_t pixels_per_call) {
  CompressSkips stage(config);
  stage.begin(image);
  const std::int64_t pixel_bytes = image.n_skips * image.format.n_bytes;
  const auto n_pixels = static_cast<std::int64_t>(samples.size()) / pixel_bytes;
  Result result;
  result.planes.assign(config.statistics.size(),
                       std::vector<double>(static_cast<std::size_t>(n_pixels), -1.0));
  result.mask.assign(static_cast<std::size_t>(n_pixels), 77);
  std::vector<std::byte> memory(static_cast<std::size_t>(stage.scratch_bytes()) + 64);
  void* scratch = memory.data();
  std::size_t space = memory.size();
  std::align(64, static_cast<std::size_t>(stage.scratch_bytes()), scratch, space);
  for (std::int64_t i = 0; i < n_pixels; i += pixels_per_call) {
    std::vector<double*> planes;
    for (auto& plane : result.planes) planes.push_back(plane.data() + i);
    // A copy that ends with the last sample: the address sanitizer sees what reads on.
    const std::int64_t n = std::min(pixels_per_call, n_pixels - i);
    const std::vector<std::byte> part(samples.begin() + i * pixel_bytes,
                                      samples.begin() + (i + n) * pixel_bytes);
    stage.reduce(part.data(), n, planes.data(), result.mask.data() + i,
                 static_cast<std::byte*>(scratch));
  }
  return result;
}

bool same_bits(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

/// A stored integer as the bytes of a file.
void encode(std::int64_t stored, const SampleFormat& format, std::vector<std::byte>& samples) {
  std::byte bytes[8];
  std::memcpy(bytes, &stored, 8);
  const auto n = static_cast<std::size_t>(format.n_bytes);
  if (format.big_endian) std::reverse(bytes, bytes + n);
  samples.insert(samples.end(), bytes, bytes + n);
}

void encode(double stored, const SampleFormat& format, std::vector<std::byte>& samples) {
  std::int64_t bits = 0;
  if (format.n_bytes == 4) {
    const auto single = static_cast<float>(stored);
    std::memcpy(&bits, &single, 4);
  } else {
    std::memcpy(&bits, &stored, 8);
  }
  encode(bits, format, samples);
}

double lerp(double a, double b, double part) {
  return part >= 0.5 ? b - (b - a) * (1 - part) : a + (b - a) * part;
}

const std::vector<std::string> everything{
    "mean", "median",         "std",         "var",           "min",   "max",  "ptp",  "sum",
    "rms",  "quantile(0.25)", "quantile(1)", "quantile(0.9)", "first", "last", "count"};
const std::vector<std::string> with_the_slow_ones{"median", "mad", "trimmed_mean", "clipped_mean",
                                                  "mean"};

/// What integer samples that stand for integers must give, in 128 bits.
double whole_statistic(const std::string& name, const std::vector<Int128>& values,
                       std::int64_t ddof) {
  std::vector<Int128> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto n = static_cast<std::int64_t>(values.size());
  const auto size = static_cast<Quad>(n);
  Int128 sum = 0;
  for (const Int128 value : values) sum += value;
  // Around the first value, as small as can be; the rest is in 113 bits.
  Quad shifted = 0;
  Quad squares = 0;
  for (const Int128 value : values) {
    const auto d = static_cast<Quad>(value - values[0]);
    shifted += d;
    squares += d * d;
  }
  const auto variance = static_cast<double>((size * squares - shifted * shifted) /
                                            (size * static_cast<Quad>(n - ddof)));
  const auto at = [&](std::size_t i) { return static_cast<double>(sorted[i]); };
  const std::size_t half = values.size() / 2;
  const Int128 twice_median = n % 2 == 1 ? 2 * sorted[half] : sorted[half - 1] + sorted[half];
  if (name == "mean") return static_cast<double>(static_cast<Quad>(sum) / size);
  if (name == "sum") return static_cast<double>(sum);
  if (name == "median") return static_cast<double>(static_cast<Quad>(twice_median) / 2);
  if (name == "min") return at(0);
  if (name == "max") return at(sorted.size() - 1);
  if (name == "ptp") return static_cast<double>(sorted.back() - sorted.front());
  if (name == "var") return n > ddof ? variance : nan;
  if (name == "std") return n > ddof ? std::sqrt(variance) : nan;
  if (name == "first") return static_cast<double>(values.front());
  if (name == "last") return static_cast<double>(values.back());
  if (name == "count") return static_cast<double>(n);
  if (name == "rms") {
    Quad total = 0;
    for (const Int128 value : values) total += static_cast<Quad>(value) * static_cast<Quad>(value);
    return std::sqrt(static_cast<double>(total / size));
  }
  if (name.starts_with("quantile")) {
    const double place = std::atof(name.c_str() + 9) * static_cast<double>(n - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double part = place - static_cast<double>(below);
    return part == 0 ? at(below) : lerp(at(below), at(above), part);
  }
  if (name == "mad") {
    std::vector<Int128> twice;
    for (const Int128 value : values) {
      const Int128 d = 2 * value - twice_median;
      twice.push_back(d < 0 ? -d : d);
    }
    std::sort(twice.begin(), twice.end());
    const Int128 middle = n % 2 == 1 ? 2 * twice[half] : twice[half - 1] + twice[half];
    return static_cast<double>(static_cast<Quad>(middle) / 4);
  }
  if (name == "trimmed_mean") {
    const auto cut = static_cast<std::size_t>(0.1 * static_cast<double>(n));
    Int128 inside = 0;
    for (std::size_t i = cut; i < sorted.size() - cut; ++i) inside += sorted[i];
    return static_cast<double>(static_cast<Quad>(inside) /
                               static_cast<Quad>(sorted.size() - 2 * cut));
  }
  check::that(false, "no definition of " + name);
  return nan;
}

struct Limits {
  std::int64_t low;
  std::int64_t high;  ///< as unsigned where the type is
};

Limits limits_of(const SampleFormat& format) {
  const int bits = 8 * format.n_bytes;
  if (format.is_unsigned) {
    return {0, static_cast<std::int64_t>(~std::uint64_t{0} >> (64 - bits))};
  }
  const auto high = static_cast<std::int64_t>(~std::uint64_t{0} >> (65 - bits));
  return {-high - 1, high};
}

/// Stored integers of many shapes; the name says which.
std::vector<std::int64_t> draw(const std::string& shape, std::int64_t n, const SampleFormat& format,
                               std::mt19937_64& generator) {
  const Limits limits = limits_of(format);
  const bool full = format.is_unsigned && format.n_bytes == 8;
  const auto low = static_cast<double>(limits.low);
  const double high = full ? 0x1p64 : static_cast<double>(limits.high);
  const double middle = low + (high - low) * 0.375;
  const double unit = std::max(1.0, (high - low) / 4096);
  std::normal_distribution<double> normal;
  std::cauchy_distribution<double> cauchy;
  const auto clip = [&](double x) {
    if (!(x > low)) return limits.low;
    if (x >= high) return limits.high;
    return full ? static_cast<std::int64_t>(static_cast<std::uint64_t>(x))
                : static_cast<std::int64_t>(x);
  };
  std::vector<std::int64_t> stored;
  for (std::int64_t i = 0; i < n; ++i) {
    const double z = normal(generator);
    const auto word = generator();
    double x = middle;
    if (shape == "narrow") x = middle + 3 * z;
    if (shape == "noise") x = middle + 20 * z;
    if (shape == "broad") x = middle + unit * z;
    if (shape == "wide") x = middle + 300 * unit * z;
    if (shape == "heavy tails") x = middle + 5 * cauchy(generator);
    if (shape == "two peaks") x = middle + (word % 2 == 0 ? -500 : 500) * unit + 2 * z;
    if (shape == "two values") x = word % 3 == 0 ? middle : middle + 1;
    if (shape == "rising") x = middle + static_cast<double>(i);
    if (shape == "one outlier") x = i == n / 2 ? high : middle + 3 * z;
    if (shape == "limits") x = word % 2 == 0 ? low : high;
    stored.push_back(shape == "any" ? static_cast<std::int64_t>(word) : clip(x));
    if (shape == "any") {
      auto& last = stored.back();
      const int shift = 64 - 8 * format.n_bytes;
      last = format.is_unsigned
                 ? static_cast<std::int64_t>(static_cast<std::uint64_t>(last) >> shift)
                 : last >> shift;
    }
  }
  return stored;
}

const std::vector<std::string> shapes{"narrow",      "noise",     "broad",      "wide",
                                      "heavy tails", "two peaks", "two values", "rising",
                                      "one outlier", "limits",    "any",        "constant"};

Int128 physical(std::int64_t stored, const SampleFormat& format) {
  const Int128 value = format.is_unsigned && format.n_bytes == 8
                           ? static_cast<Int128>(static_cast<std::uint64_t>(stored))
                           : static_cast<Int128>(stored);
  return (format.scale < 0 ? -value : value) + static_cast<Int128>(format.zero);
}

std::string describe(const SampleFormat& format, const std::string& shape, std::int64_t n) {
  return std::string(format.kind == SampleKind::integer ? format.is_unsigned ? "u" : "i" : "f") +
         std::to_string(format.n_bytes) + (format.big_endian ? " big" : " little") + " scale " +
         std::to_string(format.scale) + " zero " + std::to_string(format.zero) + ", " + shape +
         ", " + std::to_string(n) + " skips";
}

std::vector<SampleFormat> integer_formats() {
  std::vector<SampleFormat> formats;
  for (const int n_bytes : {1, 2, 4, 8}) {
    for (const bool is_unsigned : {false, true}) {
      for (const bool big : {false, true}) {
        SampleFormat format;
        format.n_bytes = n_bytes;
        format.big_endian = big;
        format.is_unsigned = is_unsigned;
        formats.push_back(format);
        if (is_unsigned) continue;
        format.zero = n_bytes == 1 ? -128 : std::ldexp(1.0, 8 * n_bytes - 1);
        formats.push_back(format);
        format.scale = -1;
        format.zero = 1000;
        formats.push_back(format);
      }
    }
  }
  return formats;
}

void integers_agree(const SampleFormat& format, const std::string& shape, std::int64_t n_skips,
                    std::mt19937_64& generator) {
  const std::int64_t n_pixels = n_skips > 100 ? 3 : 5;
  ImageInfo image;
  image.n_cols = n_pixels;
  image.n_skips = n_skips;
  image.format = format;
  std::vector<std::byte> samples;
  std::vector<std::vector<Int128>> values;
  bool at_limit[8] = {};
  const Limits limits = limits_of(format);
  for (std::int64_t p = 0; p < n_pixels; ++p) {
    values.emplace_back();
    for (const std::int64_t stored : draw(shape, n_skips, format, generator)) {
      encode(stored, format, samples);
      values.back().push_back(physical(stored, format));
      at_limit[p] = at_limit[p] || stored == limits.low || stored == limits.high;
    }
  }
  CompressSkips::Config config;
  config.ddof = n_skips % 2;
  for (const auto* statistics : {&everything, &with_the_slow_ones}) {
    config.statistics = *statistics;
    const Result all = reduce(config, image, samples, n_pixels);
    const Result single = reduce(config, image, samples, 1);
    for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
      check::equal(all.mask[p], at_limit[p] ? mask_bit::saturated : 0U,
                   describe(format, shape, n_skips));
      check::equal(single.mask[p], all.mask[p]);
      for (std::size_t s = 0; s < statistics->size(); ++s) {
        const std::string& name = (*statistics)[s];
        const double ours = all.planes[s][p];
        check::that(same_bits(ours, single.planes[s][p]),
                    name + " alone or in a group, " + describe(format, shape, n_skips));
        if (name == "clipped_mean") continue;
        const double expected = whole_statistic(name, values[p], config.ddof);
        char text[80];
        std::snprintf(text, sizeof text, " %.17g, expected %.17g, ", ours, expected);
        // The root of a rounded mean of squares is rounded twice.
        const double tolerance = name == "rms" ? 2.3e-16 * expected : 0.0;
        check::that(same_bits(ours, expected) || std::abs(ours - expected) <= tolerance,
                    name + text + describe(format, shape, n_skips));
      }
    }
  }
}

void integers_give_what_the_definitions_say() {
  std::mt19937_64 generator(7);
  for (const auto& format : integer_formats()) {
    for (const auto& shape : shapes) {
      for (const std::int64_t n_skips : {1, 2, 3, 7, 8, 9, 16, 37, 100, 501}) {
        integers_agree(format, shape, n_skips, generator);
      }
    }
  }
}

void a_zero_of_any_size_is_added_exactly() {
  std::mt19937_64 generator(17);
  for (const int n_bytes : {1, 2, 4, 8}) {
    for (const double zero :
         {1.0, 0x1p39, 0x1p40, 0x1p40 + 3, -0x1p41, 0x1p47 + 1, 0x1p52, -0x1p62}) {
      for (const double scale : {1.0, -1.0}) {
        SampleFormat format;
        format.n_bytes = n_bytes;
        format.scale = scale;
        format.zero = zero;
        for (const char* shape : {"noise", "two values", "any"}) {
          for (const std::int64_t n_skips : {1, 2, 9, 100}) {
            integers_agree(format, shape, n_skips, generator);
          }
        }
      }
    }
  }
}

/// What values must give, by definitions in 113 bits.
double slow_statistic(const std::string& name, const std::vector<double>& values,
                      const CompressSkips::Config& config) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = values.size();
  const auto middle = [n](const std::vector<double>& x) {
    return n % 2 == 1 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
  };
  const auto moments = [](const std::vector<double>& x) {
    Quad sum = 0;
    Quad squares = 0;
    for (const double one : x) sum += static_cast<Quad>(one);
    const Quad mean = sum / static_cast<Quad>(x.size());
    for (const double one : x) {
      squares += (static_cast<Quad>(one) - mean) * (static_cast<Quad>(one) - mean);
    }
    return std::pair(mean, squares);
  };
  const auto [mean, squares] = moments(values);
  const auto m = static_cast<double>(mean);
  const double size = static_cast<double>(n);
  if (name == "mean") return m;
  if (name == "sum") return static_cast<double>(mean * static_cast<Quad>(n));
  if (name == "median") return middle(sorted);
  if (name == "min") return sorted.front();
  if (name == "max") return sorted.back();
  if (name == "ptp") return sorted.back() - sorted.front();
  if (name == "first") return values.front();
  if (name == "last") return values.back();
  if (name == "count") return size;
  if (name == "rms") {
    return std::sqrt(static_cast<double>(squares / static_cast<Quad>(n) + mean * mean));
  }
  if (name == "std" || name == "var") {
    const auto left = static_cast<std::int64_t>(n) - config.ddof;
    if (left <= 0) return nan;
    const auto variance = static_cast<double>(squares / static_cast<Quad>(left));
    return name == "var" ? variance : std::sqrt(variance);
  }
  if (name == "mad") {
    std::vector<double> away;
    for (const double value : values) away.push_back(std::abs(value - middle(sorted)));
    std::sort(away.begin(), away.end());
    return middle(away);
  }
  if (name.starts_with("quantile")) {
    const double place = std::atof(name.c_str() + 9) * (size - 1);
    const auto below = static_cast<std::size_t>(place);
    return lerp(sorted[below], sorted[std::min(below + 1, n - 1)], place - std::floor(place));
  }
  if (name == "trimmed_mean") {
    const auto cut = static_cast<std::size_t>(config.trim_fraction * size);
    return static_cast<double>(moments({sorted.begin() + static_cast<std::ptrdiff_t>(cut),
                                        sorted.end() - static_cast<std::ptrdiff_t>(cut)})
                                   .first);
  }
  check::that(name == "clipped_mean", "no definition of " + name);
  double centre = m;
  double sigma = std::sqrt(static_cast<double>(squares / static_cast<Quad>(n)));
  std::size_t n_kept = n;
  for (std::int64_t i = 0; i < config.clip_iterations; ++i) {
    std::vector<double> kept;
    for (const double value : values) {
      if (std::abs(value - centre) <= config.clip_sigma * sigma) kept.push_back(value);
    }
    if (kept.size() < 2 || kept.size() == n_kept) break;
    n_kept = kept.size();
    const auto [next, around] = moments(kept);
    centre = static_cast<double>(next);
    sigma = std::sqrt(static_cast<double>(around / static_cast<Quad>(n_kept)));
  }
  return centre;
}

void every_statistic_follows_any_scale() {
  std::mt19937_64 generator(18);
  std::vector<std::string> all = everything;
  for (const auto& name : with_the_slow_ones) {
    if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(name);
  }
  for (const int which : {1, 2, 4, 8, -4, -8}) {
    for (const auto& [scale, zero] : {std::pair{1.0, 0.5},
                                      {-1.0, 0.25},
                                      {0.1, 0.0},
                                      {-2.5, 1000.0},
                                      {3.0, -7.0},
                                      {1.0, 0x1p65}}) {
      for (const std::int64_t n_skips : {1, 2, 3, 10, 51, 700}) {
        ImageInfo image;
        image.n_cols = 35;
        image.n_skips = n_skips;
        image.format.kind = which > 0 ? SampleKind::integer : SampleKind::floating;
        image.format.n_bytes = std::abs(which);
        image.format.scale = scale;
        image.format.zero = zero;
        std::vector<std::byte> samples;
        std::vector<std::vector<double>> values(35);
        SampleFormat byte_format;
        byte_format.n_bytes = 1;
        for (auto& of_pixel : values) {
          for (const auto stored : draw("noise", n_skips, byte_format, generator)) {
            // An outlier now and then, to be clipped.
            const auto sample = generator() % 60 == 0 ? std::int64_t{-100} : stored / 2;
            if (which > 0) encode(sample, image.format, samples);
            if (which < 0) encode(static_cast<double>(sample), image.format, samples);
            of_pixel.push_back(scale * static_cast<double>(sample) + zero);
          }
        }
        CompressSkips::Config config;
        config.statistics = all;
        config.ddof = n_skips % 3;
        config.trim_fraction = 0.2;
        config.clip_sigma = 1.77;
        config.clip_iterations = n_skips == 51 ? 1 : 7;
        const Result together = reduce(config, image, samples, 35);
        const Result single = reduce(config, image, samples, 1);
        for (std::size_t s = 0; s < all.size(); ++s) {
          CompressSkips::Config alone = config;
          alone.statistics = {all[s]};
          const Result lonely = reduce(alone, image, samples, 35);
          const std::string what = all[s] + ", " + describe(image.format, "noise", n_skips) + " ";
          for (std::size_t p = 0; p < 35; ++p) {
            check::that(same_bits(together.planes[s][p], single.planes[s][p]), what);
            check::that(same_bits(together.planes[s][p], lonely.planes[0][p]), what);
            check::equal(lonely.mask[p], together.mask[p], what);
            const double expected = slow_statistic(all[s], values[p], config);
            const double ours = together.planes[s][p];
            // The values are rounded here before, there after they are added.
            const double size = all[s] == "sum" ? static_cast<double>(n_skips) : 1;
            const double tolerance = 1e-13 * size * (std::abs(zero) + 400);
            const bool is_lost = zero == 0x1p65 && n_skips > 1;  // all values are equal
            if (is_lost && all[s] != "mean" && all[s] != "median") continue;
            check::that((std::isnan(ours) && std::isnan(expected)) ||
                            std::abs(ours - expected) <= tolerance,
                        what + std::to_string(ours) + ", expected " + std::to_string(expected));
          }
        }
      }
    }
  }
}

void means_of_the_first_and_samples_alone_are_those() {
  std::mt19937_64 generator(19);
  for (const int which : {1, 2, 4, 8, -4, -8}) {
    for (const std::int64_t n_skips : {1, 2, 9, 40}) {
      for (const std::int64_t begin : {0, 3}) {
        if (begin >= n_skips) continue;
        ImageInfo image;
        image.n_skips = n_skips;
        image.begin_skip = begin;
        image.format.kind = which > 0 ? SampleKind::integer : SampleKind::floating;
        image.format.n_bytes = std::abs(which);
        image.format.scale = -0.5;
        image.format.zero = 3;
        if (which > 0) image.format.blank = 77;
        const std::int64_t n_used = n_skips - begin;
        const auto last = std::to_string(n_used);
        const auto half = std::to_string((n_used + 1) / 2);
        // Out of order; the same number twice by two names is one mean.
        CompressSkips::Config config;
        config.statistics = {"mean(" + last + ")"};
        if (half != last) config.statistics.push_back("mean(" + half + ")");
        if (half != "1") config.statistics.push_back("mean(1)");
        config.statistics.push_back("sample(0)");
        config.statistics.push_back("sample(-1)");
        if (n_skips > 1) {
          config.statistics.push_back("sample(" + std::to_string(n_skips - 1) + ")");
          config.statistics.push_back("sample(-" + std::to_string(n_skips) + ")");
        }
        if (n_skips > 8) config.statistics.push_back("sample(5)");
        std::vector<std::byte> samples;
        std::vector<std::vector<double>> stored(150);
        for (std::size_t p = 0; p < 150; ++p) {
          for (std::int64_t s = 0; s < n_skips; ++s) {
            const auto sample = static_cast<std::int64_t>(generator() % 64);
            const bool missing = p % 3 == 1 && (p == 1 || generator() % 4 == 0);
            stored[p].push_back(missing ? nan : static_cast<double>(sample));
            if (which > 0) encode(missing ? std::int64_t{77} : sample, image.format, samples);
            if (which < 0) encode(stored[p].back(), image.format, samples);
          }
        }
        for (const std::int64_t per_call : {1, 7, 150}) {
          const Result result = reduce(config, image, samples, per_call);
          for (std::size_t s = 0; s < config.statistics.size(); ++s) {
            const std::string& name = config.statistics[s];
            const std::int64_t number = std::atoi(name.c_str() + name.find('(') + 1);
            for (std::size_t p = 0; p < 150; ++p) {
              double expected = nan;
              if (name.starts_with("sample")) {
                const std::int64_t at = number < 0 ? number + n_skips : number;
                expected = -0.5 * stored[p][static_cast<std::size_t>(at)] + 3;
              } else {
                double sum = 0;
                double count = 0;
                for (std::int64_t i = 0; i < number; ++i) {
                  const double sample = stored[p][static_cast<std::size_t>(begin + i)];
                  if (std::isnan(sample)) continue;
                  sum += sample;
                  count += 1;
                }
                if (count > 0) expected = -0.5 * (sum / count) + 3;
              }
              check::that(same_bits(result.planes[s][p], expected),
                          name + " of pixel " + std::to_string(p) + ", " +
                              describe(image.format, "", n_skips));
            }
          }
        }
      }
    }
  }
  // Eight lanes and then their sum: what is summed in another order is rounded otherwise.
  ImageInfo image;
  image.n_skips = 30;
  image.format.kind = SampleKind::floating;
  image.format.n_bytes = 8;
  std::vector<std::byte> samples;
  std::vector<double> values;
  for (int i = 0; i < 30; ++i) {
    values.push_back(std::sin(i) * std::pow(10.0, i % 9));
    encode(values.back(), image.format, samples);
  }
  CompressSkips::Config config;
  config.statistics = {"mean(5)", "mean(30)", "mean(13)", "mean(14)", "mean(16)"};
  const Result result = reduce(config, image, samples, 1);
  for (std::size_t s = 0; s < config.statistics.size(); ++s) {
    const auto n = static_cast<std::size_t>(std::atoi(config.statistics[s].c_str() + 5));
    double lanes[8] = {};
    for (std::size_t i = 0; i < n; ++i) lanes[i % 8] += values[i];
    const double sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
                       ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    check::equal(result.planes[s][0], sum / static_cast<double>(n), config.statistics[s]);
  }
}

void names_of_statistics_are_read_to_the_end() {
  ImageInfo image;
  image.n_skips = 5;
  const auto begin = [&](const std::string& name) {
    CompressSkips::Config config;
    config.statistics = {name};
    CompressSkips stage(config);
    stage.begin(image);
  };
  for (const char* good : {"mean(1)", "mean(5)", "sample(4)", "sample(-5)", "quantile(0)",
                           "quantile(1)", "quantile(5e-1)"}) {
    begin(good);
    check::that(CompressSkips::knows(good), good);
  }
  for (const char* bad : {"mean(6)",
                          "sample(5)",
                          "sample(-6)",
                          "mean(",
                          "mean()",
                          "mean(2",
                          "mean(2)x",
                          "mean(2 )",
                          "mean(2.5)",
                          "mean(-1)",
                          "sample(",
                          "sample()",
                          "sample(1",
                          "sample(1.0)",
                          "quantile(",
                          "quantile()",
                          "quantile(0.5",
                          "quantile(nan)",
                          "quantile(0.5)x",
                          "quantile(-0.1)",
                          "quantile(1.1)",
                          "median()",
                          "mean)",
                          "",
                          "(",
                          "Mean"}) {
    check::throws<ConfigError>([&] { begin(bad); }, "compress_skips.statistics: ");
  }
  check::that(!CompressSkips::knows("nanprod") && !CompressSkips::knows(""));
  check::throws<ConfigError>([&] { begin("mean(6)"); }, "\"mean(6)\": there are 5 samples in use");
  check::throws<ConfigError>([&] { begin("sample(5)"); }, "\"sample(5)\": there are 5 samples");

  CompressSkips::Config config;
  config.statistics = {"mean", "min"};
  CompressSkips stage(config);
  stage.require({"min", "count"});
  const auto plan = stage.begin(image);
  check::equal(plan.planes.size(), std::size_t{3});
  check::equal(plan.planes[2].name, std::string("count"));
  check::equal(stage.first_used_skip(), std::int64_t{0});
  check::equal(stage.n_used_skips(), std::int64_t{5});
}

void a_scale_is_applied_last() {
  std::mt19937_64 generator(8);
  for (const double scale : {0.1, -0.1, 3.0}) {
    for (const int n_bytes : {2, 4, 8}) {
      ImageInfo image;
      image.n_cols = 20;
      image.n_skips = 51;
      image.format.n_bytes = n_bytes;
      std::vector<std::byte> samples;
      for (int p = 0; p < 20; ++p) {
        for (const auto stored : draw("noise", 51, image.format, generator)) {
          encode(stored, image.format, samples);
        }
      }
      CompressSkips::Config config;
      config.statistics = {"mean", "median", "min", "max", "std", "quantile(0.25)"};
      const Result stored = reduce(config, image, samples, 20);
      config.statistics.back() = "quantile(0.75)";
      const Result mirrored = reduce(config, image, samples, 20);
      config.statistics.back() = "quantile(0.25)";
      image.format.scale = scale;
      image.format.zero = 0.5;
      const Result scaled = reduce(config, image, samples, 20);
      const Result single = reduce(config, image, samples, 1);
      for (std::size_t p = 0; p < 20; ++p) {
        const auto value = [&](double x) { return scale * x + 0.5; };
        check::equal(scaled.planes[0][p], value(stored.planes[0][p]));
        check::equal(scaled.planes[1][p], value(stored.planes[1][p]));
        check::equal(scaled.planes[2][p], value(stored.planes[scale < 0 ? 3 : 2][p]));
        check::equal(scaled.planes[3][p], value(stored.planes[scale < 0 ? 2 : 3][p]));
        // Two roundings more.
        const double std = std::abs(scale) * stored.planes[4][p];
        check::that(std::abs(scaled.planes[4][p] - std) <= 4e-16 * std);
        const double quarter = value((scale < 0 ? mirrored : stored).planes[5][p]);
        check::that(std::abs(scaled.planes[5][p] - quarter) <= 1e-15 * std::abs(quarter));
        for (std::size_t s = 0; s < 6; ++s) {
          check::that(same_bits(scaled.planes[s][p], single.planes[s][p]));
        }
      }
    }
  }
}

std::vector<double> draw_reals(const std::string& shape, std::int64_t n,
                               std::mt19937_64& generator) {
  std::normal_distribution<double> normal;
  std::cauchy_distribution<double> cauchy;
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i) {
    const double z = normal(generator);
    const auto word = generator();
    double x = 10'000;
    if (shape == "noise") x += 20 * z;
    if (shape == "around zero") x = 1e-3 * z;
    if (shape == "heavy tails") x = cauchy(generator);
    if (shape == "two peaks") x = (word % 2 == 0 ? -1e6 : 1e6) + z;
    if (shape == "two values") x = word % 3 == 0 ? -0.0 : 1.0;
    if (shape == "zeros of both signs") x = word % 2 == 0 ? -0.0 : 0.0;
    if (shape == "rising") x = static_cast<double>(i) - 3;
    if (shape == "all sizes") x = std::ldexp(z, static_cast<int>(word % 200) - 100);
    if (shape == "subnormal") x = std::ldexp(z, -146);
    values.push_back(x);
  }
  return values;
}

const std::vector<std::string> real_shapes{
    "noise",  "around zero", "heavy tails", "two peaks", "two values", "zeros of both signs",
    "rising", "all sizes",   "subnormal",   "constant"};

void floats_give_what_the_definitions_say() {
  std::mt19937_64 generator(9);
  for (const int n_bytes : {4, 8}) {
    for (const bool big : {false, true}) {
      for (const auto& shape : real_shapes) {
        for (const std::int64_t n_skips : {1, 2, 3, 4, 5, 16, 37, 100, 501}) {
          const std::int64_t n_pixels = 5;
          ImageInfo image;
          image.n_cols = n_pixels;
          image.n_skips = n_skips;
          image.format.kind = SampleKind::floating;
          image.format.n_bytes = n_bytes;
          image.format.big_endian = big;
          std::vector<std::byte> samples;
          std::vector<std::vector<double>> values;
          for (std::int64_t p = 0; p < n_pixels; ++p) {
            values.push_back(draw_reals(shape, n_skips, generator));
            for (double& value : values.back()) {
              encode(value, image.format, samples);
              if (n_bytes == 4) value = static_cast<double>(static_cast<float>(value));
            }
          }
          CompressSkips::Config config;
          for (const auto* statistics : {&everything, &with_the_slow_ones}) {
            config.statistics = *statistics;
            const Result all = reduce(config, image, samples, n_pixels);
            const Result single = reduce(config, image, samples, 1);
            for (std::size_t p = 0; p < static_cast<std::size_t>(n_pixels); ++p) {
              check::equal(all.mask[p], 0U);
              std::vector<double> sorted = values[p];
              std::sort(sorted.begin(), sorted.end());
              const std::size_t half = sorted.size() / 2;
              const auto middle = [&](const std::vector<double>& x) {
                return x.size() % 2 == 1 ? x[half] : (x[half - 1] + x[half]) / 2;
              };
              const double median = middle(sorted);
              Quad sum = 0;
              Quad scale = 0;
              for (const double x : values[p]) {
                sum += static_cast<Quad>(x);
                scale += static_cast<Quad>(std::abs(x));
              }
              const Quad mean = sum / static_cast<Quad>(n_skips);
              Quad squares = 0;
              for (const double x : values[p]) {
                squares += (static_cast<Quad>(x) - mean) * (static_cast<Quad>(x) - mean);
              }
              const auto variance = static_cast<double>(squares / static_cast<Quad>(n_skips));
              const auto size = static_cast<double>(scale / static_cast<Quad>(n_skips));
              for (std::size_t s = 0; s < statistics->size(); ++s) {
                const std::string& name = (*statistics)[s];
                const double ours = all.planes[s][p];
                const std::string what = name + ", " + describe(image.format, shape, n_skips);
                check::that(same_bits(ours, single.planes[s][p]), "alone or in a group: " + what);
                const auto near = [&](double expected, double tolerance) {
                  char text[80];
                  std::snprintf(text, sizeof text, " %.17g, expected %.17g, ", ours, expected);
                  check::that(std::abs(ours - expected) <= tolerance, text + what);
                };
                if (name == "median") check::equal(ours, median, what);
                if (name == "min") check::equal(ours, sorted.front(), what);
                if (name == "max") check::equal(ours, sorted.back(), what);
                if (name == "ptp") check::equal(ours, sorted.back() - sorted.front(), what);
                if (name == "first") check::equal(ours, values[p].front(), what);
                if (name == "last") check::equal(ours, values[p].back(), what);
                if (name == "quantile(1)") check::equal(ours, sorted.back(), what);
                if (name == "quantile(0.25)") {
                  const double place = 0.25 * static_cast<double>(n_skips - 1);
                  const auto below = static_cast<std::size_t>(place);
                  const double above = sorted[std::min(below + 1, sorted.size() - 1)];
                  check::equal(ours, lerp(sorted[below], above, place - std::floor(place)), what);
                }
                if (name == "mad") {
                  std::vector<double> deviations;
                  for (const double x : values[p]) deviations.push_back(std::abs(x - median));
                  std::sort(deviations.begin(), deviations.end());
                  check::equal(ours, middle(deviations), what);
                }
                // Sixteen partial sums and a tree: each addition rounds half a unit.
                const double rounding = (static_cast<double>(n_skips) / 16 + 6) * 2.3e-16;
                if (name == "mean") near(static_cast<double>(mean), rounding * size);
                if (name == "sum") {
                  near(static_cast<double>(sum), rounding * static_cast<double>(scale));
                }
                if (name == "var") near(variance, 2e-15 * variance + 1e-320);
                if (name == "std") near(std::sqrt(variance), 2e-15 * std::sqrt(variance) + 1e-160);
              }
            }
          }
        }
      }
    }
  }
}

void missing_samples_are_as_if_they_were_not_there() {
  std::mt19937_64 generator(10);
  for (const int which : {0, 1, 2, 3, 4}) {
    ImageInfo image;
    image.n_cols = 40;
    image.n_skips = 50;
    image.format.kind = which < 3 ? SampleKind::integer : SampleKind::floating;
    image.format.n_bytes = which < 3 ? 2 << which : which == 3 ? 4 : 8;
    image.format.blank = which < 3 ? std::optional<std::int64_t>(-7) : std::nullopt;
    CompressSkips::Config config;
    config.statistics = everything;
    for (const auto& name : with_the_slow_ones) {
      if (std::find(everything.begin(), everything.end(), name) == everything.end()) {
        config.statistics.push_back(name);
      }
    }
    for (const bool slow : {false, true}) {
      if (!slow) config.statistics = everything;
      std::vector<std::byte> samples;
      std::vector<std::vector<std::byte>> left(40);
      std::vector<std::int64_t> n_left(40);
      for (std::size_t p = 0; p < 40; ++p) {
        for (int s = 0; s < 50; ++s) {
          const bool missing = p % 4 == 1 ? s % 5 == 2 : p % 4 == 2 ? true : false;
          const auto value = static_cast<std::int64_t>(generator() % 200);
          std::vector<std::byte> sample;
          if (which < 3) {
            encode(missing ? std::int64_t{-7} : value, image.format, sample);
          } else {
            encode(missing ? nan : static_cast<double>(value) / 7, image.format, sample);
          }
          samples.insert(samples.end(), sample.begin(), sample.end());
          if (missing) continue;
          left[p].insert(left[p].end(), sample.begin(), sample.end());
          ++n_left[p];
        }
      }
      const Result all = reduce(config, image, samples, 40);
      for (std::size_t p = 0; p < 40; ++p) {
        if (n_left[p] == 0) {
          check::equal(all.mask[p], mask_bit::no_data);
          for (std::size_t s = 0; s < config.statistics.size(); ++s) {
            if (config.statistics[s] == "count") {
              check::equal(all.planes[s][p], 0.0);
            } else {
              check::that(std::isnan(all.planes[s][p]), config.statistics[s]);
            }
          }
          continue;
        }
        ImageInfo rest = image;
        rest.n_skips = n_left[p];
        const Result expected = reduce(config, rest, left[p], 1);
        check::equal(all.mask[p], n_left[p] < 50 ? mask_bit::missing_skips : 0U);
        for (std::size_t s = 0; s < config.statistics.size(); ++s) {
          check::that(same_bits(all.planes[s][p], expected.planes[s][0]), config.statistics[s]);
        }
      }
    }
  }
}

/// One pixel of samples within 2^`bits` of 3.
void a_long_pixel_is_exact(int n_bytes, int bits, std::int64_t n_skips) {
  std::mt19937_64 generator(20);
  ImageInfo image;
  image.n_cols = 1;
  image.n_skips = n_skips;
  image.format.n_bytes = n_bytes;
  std::vector<std::byte> samples;
  std::vector<Int128> values;
  for (std::int64_t s = 0; s < n_skips; ++s) {
    const auto stored = static_cast<std::int64_t>(generator()) >> (63 - bits);
    encode(stored + 3, image.format, samples);
    values.emplace_back(stored + 3);
  }
  CompressSkips::Config config;
  config.statistics = {"mean", "var", "rms"};
  const Result result = reduce(config, image, samples, 1);
  for (std::size_t s = 0; s < config.statistics.size(); ++s) {
    const std::string& name = config.statistics[s];
    const double expected = whole_statistic(name, values, 0);
    // The root of a rounded mean of squares is rounded twice.
    const double tolerance = name == "rms" ? 2.3e-16 * expected : 0.0;
    check::that(std::abs(result.planes[s][0] - expected) <= tolerance,
                name + " of " + describe(image.format, "any", n_skips));
  }
}

void long_pixels_are_exact() {
  a_long_pixel_is_exact(2, 10, 1 << 20);
  a_long_pixel_is_exact(4, 10, 1 << 22);
  a_long_pixel_is_exact(4, 30, 20'000);
  a_long_pixel_is_exact(8, 39, 20'000);
  a_long_pixel_is_exact(8, 38, (1 << 22) + 1);
  a_long_pixel_is_exact(8, 45, 10'000);
}

/// The second of three pixels without the samples of `lost`, which count from the first pixel.
Result reduce_second(const CompressSkips::Config& config, const ImageInfo& image,
                     std::vector<std::byte> samples, const std::vector<SampleRange>& lost) {
  CompressSkips stage(config);
  stage.begin(image);
  Result result;
  result.planes.assign(config.statistics.size(), {-1.0});
  result.mask = {77};
  std::vector<double*> planes;
  for (auto& plane : result.planes) planes.push_back(plane.data());
  std::vector<std::byte> memory(static_cast<std::size_t>(stage.scratch_bytes()) + 64);
  void* scratch = memory.data();
  std::size_t space = memory.size();
  std::align(64, static_cast<std::size_t>(stage.scratch_bytes()), scratch, space);
  stage.reduce_without(lost, samples.data(), image.n_skips, planes.data(), result.mask.data(),
                       static_cast<std::byte*>(scratch));
  return result;
}

void lost_samples_are_as_if_they_were_not_there() {
  std::mt19937_64 generator(20);
  std::vector<SampleFormat> formats = integer_formats();
  for (const int n_bytes : {2, 4}) {
    SampleFormat format;
    format.n_bytes = n_bytes;
    format.blank = 3;
    formats.push_back(format);
  }
  for (const int n_bytes : {4, 8}) {
    SampleFormat format;
    format.kind = SampleKind::floating;
    format.n_bytes = n_bytes;
    format.big_endian = n_bytes == 8;
    formats.push_back(format);
  }
  // The pixel's samples are number 25 to 49: what is lost of its neighbours does not count.
  const std::vector<std::vector<SampleRange>> losses{
      {{26, 27}},          {{0, 26}, {48, 75}}, {{25, 26}, {30, 33}, {49, 50}},
      {{3, 25}, {50, 51}}, {{40, 60}},          {{25, 50}},
      {{0, 75}},           {{25, 40}, {41, 50}}};
  for (const auto& format : formats) {
    for (const bool slow : {false, true}) {
      for (const auto& lost : losses) {
        ImageInfo image;
        image.n_cols = 3;
        image.n_skips = 25;
        image.format = format;
        CompressSkips::Config config;
        config.statistics = slow ? with_the_slow_ones : everything;
        std::vector<std::byte> samples;
        std::vector<std::byte> left;
        std::int64_t n_left = 0;
        for (std::int64_t s = 25; s < 50; ++s) {
          const bool is_lost = std::any_of(lost.begin(), lost.end(), [s](const SampleRange& range) {
            return range.begin <= s && s < range.end;
          });
          std::vector<std::byte> sample;
          // The least numbers, all of them: none of these can stand for a missing one.
          std::int64_t value = s < 40 ? s - 25 : static_cast<std::int64_t>(generator() % 15);
          if (format.blank) value += 4;
          if (format.kind == SampleKind::integer) encode(value, format, sample);
          if (format.kind == SampleKind::floating) {
            encode(static_cast<double>(value), format, sample);
          }
          samples.insert(samples.end(), sample.begin(), sample.end());
          if (is_lost) continue;
          left.insert(left.end(), sample.begin(), sample.end());
          ++n_left;
        }
        const Result result = reduce_second(config, image, samples, lost);
        const std::string text = describe(format, "", n_left);
        if (n_left == 0) {
          check::equal(result.mask[0], mask_bit::no_data, text);
          for (std::size_t s = 0; s < config.statistics.size(); ++s) {
            const double expected = config.statistics[s] == "count" ? 0.0 : nan;
            check::that(same_bits(result.planes[s][0], expected), config.statistics[s] + text);
          }
          continue;
        }
        image.n_skips = n_left;
        const Result expected = reduce(config, image, left, 1);
        check::equal(result.mask[0],
                     expected.mask[0] | (n_left < 25 ? mask_bit::missing_skips : 0U), text);
        for (std::size_t s = 0; s < config.statistics.size(); ++s) {
          check::that(same_bits(result.planes[s][0], expected.planes[s][0]),
                      config.statistics[s] + text);
        }
      }
    }
  }
}

void any_number_may_stand_for_a_lost_sample() {
  ImageInfo image;
  image.n_cols = 3;
  CompressSkips::Config config;
  config.statistics = {"mean", "count"};
  for (const int n_bytes : {1, 2}) {
    for (const bool is_unsigned : {false, true}) {
      const std::int64_t n_numbers = std::int64_t{1} << (8 * n_bytes);
      image.format.n_bytes = n_bytes;
      image.format.is_unsigned = is_unsigned;
      // From 0 on the numbers occur, up to all of them; negative ones stand at the end.
      for (const std::int64_t n_there : {69, 128, 133, 255, 256}) {
        image.n_skips = n_there + 1;
        std::vector<std::byte> samples;
        double sum = 0;
        for (std::int64_t i = 0; i < n_there; ++i) {
          const bool is_negative = !is_unsigned && i >= n_numbers / 2;
          encode(i, image.format, samples);
          sum += static_cast<double>(is_negative ? i - n_numbers : i);
        }
        encode(std::int64_t{0}, image.format, samples);
        const auto lost = SampleRange{2 * image.n_skips - 1, 2 * image.n_skips};
        const Result result = reduce_second(config, image, samples, {lost});
        const bool all_occur = n_there == n_numbers;
        const auto n = static_cast<double>(n_there);
        check::that(same_bits(result.planes[0][0], all_occur ? nan : sum / n), "mean");
        check::equal(result.planes[1][0], all_occur ? 0.0 : n);
        check::equal((result.mask[0] & mask_bit::no_data) != 0, all_occur);
        check::equal((result.mask[0] & mask_bit::missing_skips) != 0, !all_occur);
      }
    }
  }
}

void infinities_stay() {
  const double inf = std::numeric_limits<double>::infinity();
  ImageInfo image;
  image.n_cols = 4;
  image.n_skips = 3;
  image.format.kind = SampleKind::floating;
  for (const int n_bytes : {4, 8}) {
    image.format.n_bytes = n_bytes;
    std::vector<std::byte> samples;
    for (const double x : {1.0, 2.0, inf, -inf, 2.0, 3.0, -inf, 2.0, inf, inf, inf, inf}) {
      encode(x, image.format, samples);
    }
    CompressSkips::Config config;
    config.statistics = {"mean", "median", "min", "max", "std", "sum"};
    for (const std::int64_t per_call : {1, 4}) {
      const Result result = reduce(config, image, samples, per_call);
      check::equal(result.planes[0][0], inf);
      check::equal(result.planes[0][1], -inf);
      check::that(std::isnan(result.planes[0][2]));
      check::equal(result.planes[0][3], inf);
      check::equal(result.planes[1][0], 2.0);
      check::equal(result.planes[1][2], 2.0);
      check::equal(result.planes[1][3], inf);
      check::equal(result.planes[2][1], -inf);
      check::equal(result.planes[3][0], inf);
      for (std::size_t p = 0; p < 4; ++p) check::that(std::isnan(result.planes[4][p]));
      check::equal(result.planes[5][0], inf);
      for (std::size_t p = 0; p < 4; ++p) check::equal(result.mask[p], 0U);
    }
  }
}

void a_median_between_infinities_is_their_mean() {
  const double inf = std::numeric_limits<double>::infinity();
  ImageInfo image;
  image.n_cols = 4;
  image.n_skips = 4;
  image.format.kind = SampleKind::floating;
  for (const int n_bytes : {4, 8}) {
    image.format.n_bytes = n_bytes;
    std::vector<std::byte> samples;
    for (const double x :
         {inf, 1.0, 2.0, inf, inf, inf, 1.0, inf, -inf, 1.0, -inf, 2.0, -inf, inf, -inf, inf}) {
      encode(x, image.format, samples);
    }
    CompressSkips::Config config;
    config.statistics = {"median"};
    for (const std::int64_t per_call : {1, 4}) {
      const Result result = reduce(config, image, samples, per_call);
      check::equal(result.planes[0][0], inf, "a number and inf");
      check::equal(result.planes[0][1], inf, "twice inf");
      check::equal(result.planes[0][2], -inf, "-inf and a number");
      check::that(std::isnan(result.planes[0][3]), "-inf and inf");
    }
  }
}

void the_largest_doubles_do_not_overflow() {
  ImageInfo image;
  image.n_cols = 4;
  image.n_skips = 4;
  image.format.kind = SampleKind::floating;
  image.format.n_bytes = 8;
  std::vector<std::byte> samples;
  for (int p = 0; p < 4; ++p) {
    for (const double x : {1.5e308, 1.7e308, 1.6e308, 1.6e308}) encode(x, image.format, samples);
  }
  CompressSkips::Config config;
  config.statistics = {"mean", "median", "min"};
  for (const std::int64_t per_call : {1, 4}) {
    const Result result = reduce(config, image, samples, per_call);
    check::that(std::abs(result.planes[0][0] - 1.6e308) < 1e293);
    check::equal(result.planes[1][3], 1.6e308);
    check::equal(result.planes[2][0], 1.5e308);
  }
}

void only_the_skips_in_use_count() {
  std::mt19937_64 generator(11);
  for (const int n_bytes : {2, 4}) {
    for (const std::int64_t begin : {0, 1, 3, -20}) {
      for (const std::int64_t end : {-1, 30, 31}) {
        ImageInfo image;
        image.n_cols = 37;
        image.n_skips = 33;
        image.format.n_bytes = n_bytes;
        std::vector<std::byte> samples;
        std::vector<std::byte> used;
        const std::int64_t first = begin < 0 ? begin + 33 : begin;
        const std::int64_t last = end < 0 ? end + 33 : end;
        for (int p = 0; p < 37; ++p) {
          const auto stored = draw("noise", 33, image.format, generator);
          for (std::int64_t s = 0; s < 33; ++s) {
            encode(stored[static_cast<std::size_t>(s)], image.format, samples);
            if (s >= first && s < last) {
              encode(stored[static_cast<std::size_t>(s)], image.format, used);
            }
          }
        }
        CompressSkips::Config config;
        config.statistics = everything;
        ImageInfo rest = image;
        rest.n_skips = last - first;
        const Result expected = reduce(config, rest, used, 37);
        config.begin_skip = begin;
        config.end_skip = end;
        const Result result = reduce(config, image, samples, 37);
        check::that(result.planes == expected.planes);
        image.begin_skip = begin;
        image.end_skip = end;
        config.begin_skip.reset();
        config.end_skip.reset();
        check::that(reduce(config, image, samples, 37).planes == expected.planes);
      }
    }
  }
}

void saturation_compares_what_the_samples_stand_for() {
  for (const int n_bytes : {1, 2, 4, 8}) {
    for (const double scale : {1.0, -1.0, 0.5}) {
      ImageInfo image;
      image.n_cols = 4;
      image.n_skips = 3;
      image.format.n_bytes = n_bytes;
      image.format.scale = scale;
      image.format.zero = 10;
      std::vector<std::byte> samples;
      for (const int x : {0, 1, 40, 0, 1, 39, -40, 0, 1, -39, 0, 1}) {
        encode(std::int64_t{x}, image.format, samples);
      }
      CompressSkips::Config config;
      config.saturation = 40 * std::abs(scale) + 10;
      for (const std::int64_t per_call : {1, 4}) {
        const Result result = reduce(config, image, samples, per_call);
        check::equal(result.mask[0], scale > 0 ? mask_bit::saturated : 0U);
        check::equal(result.mask[1], 0U);
        check::equal(result.mask[2], scale < 0 ? mask_bit::saturated : 0U);
        check::equal(result.mask[3], 0U);
      }
      config.saturation = 1e30;
      for (const std::int64_t per_call : {1, 4}) {
        const Result result = reduce(config, image, samples, per_call);
        check::that(result.mask == std::vector<std::uint32_t>(4), "no sample can be so high");
      }
    }
  }
}

void saturation_of_floats_compares_the_largest() {
  for (const int n_bytes : {4, 8}) {
    for (const double scale : {1.0, -1.0}) {
      for (const std::int64_t n_skips : {1, 3}) {
        ImageInfo image;
        image.n_cols = 12 / n_skips;
        image.n_skips = n_skips;
        image.format.kind = SampleKind::floating;
        image.format.n_bytes = n_bytes;
        image.format.scale = scale;
        std::vector<std::byte> samples;
        for (const double x : {0.0, 1.0, 40.0, 0.0, 1.0, 39.0, -40.0, 0.0, 1.0, nan, nan, nan}) {
          encode(x, image.format, samples);
        }
        CompressSkips::Config config;
        config.saturation = 40;
        const std::vector<std::uint32_t> expected =
            n_skips == 3
                ? std::vector<std::uint32_t>{scale > 0 ? mask_bit::saturated : 0, 0,
                                             scale < 0 ? mask_bit::saturated : 0, mask_bit::no_data}
                : std::vector<std::uint32_t>{0,
                                             0,
                                             scale > 0 ? mask_bit::saturated : 0,
                                             0,
                                             0,
                                             0,
                                             scale < 0 ? mask_bit::saturated : 0,
                                             0,
                                             0,
                                             mask_bit::no_data,
                                             mask_bit::no_data,
                                             mask_bit::no_data};
        for (const std::int64_t per_call : {1, 12}) {
          check::that(reduce(config, image, samples, per_call).mask == expected,
                      describe(image.format, "", n_skips));
        }
      }
    }
  }
}

void clipping_leaves_out_the_outliers() {
  for (const auto& [which, n_good] : {std::pair{0, 100}, {1, 100}, {2, 100}, {0, 20'000}}) {
    ImageInfo image;
    image.n_cols = 1;
    image.n_skips = n_good + 1;
    image.format.kind = which < 2 ? SampleKind::integer : SampleKind::floating;
    image.format.n_bytes = which == 0 ? 2 : 4;
    std::vector<std::byte> samples;
    for (int s = 0; s < n_good; ++s) {
      if (which < 2) encode(std::int64_t{1000 + s % 10}, image.format, samples);
      if (which == 2) encode(1000.0 + s % 10, image.format, samples);
    }
    if (which < 2) encode(std::int64_t{30000}, image.format, samples);
    if (which == 2) encode(30000.0, image.format, samples);
    CompressSkips::Config config;
    config.statistics = {"clipped_mean"};
    // Floating samples are summed around a mean that is rounded itself.
    const double clipped = reduce(config, image, samples, 1).planes[0][0];
    check::that(std::abs(clipped - 1004.5) <= (which == 2 ? 2.3e-13 : 0.0), "clipped_mean");
    config.clip_sigma = 1e6;
    config.statistics = {"clipped_mean", "mean"};
    const Result all = reduce(config, image, samples, 1);
    check::equal(all.planes[0][0], all.planes[1][0]);
  }
}

void a_clip_keeps_two_samples_at_least() {
  for (const int which : {2, 4, 8, -4, -8}) {
    ImageInfo image;
    image.format.kind = which > 0 ? SampleKind::integer : SampleKind::floating;
    image.format.n_bytes = std::abs(which);
    CompressSkips::Config config;
    config.statistics = {"clipped_mean"};
    config.clip_sigma = 0.5;
    // Within half a sigma of the mean lies one sample, none, or two.
    const std::vector<std::pair<std::vector<double>, double>> cases{
        {{0, 0, 10, 10, 7}, 5.4}, {{0, 10}, 5}, {{0, 0, 12, 12, 8, 6}, 7}};
    for (const auto& [values, expected] : cases) {
      image.n_skips = static_cast<std::int64_t>(values.size());
      std::vector<std::byte> samples;
      for (const double value : values) {
        if (which > 0) encode(static_cast<std::int64_t>(value), image.format, samples);
        if (which < 0) encode(value, image.format, samples);
      }
      check::equal(reduce(config, image, samples, 1).planes[0][0], expected);
    }
  }
}

void many_pixels_of_one_sample_are_converted_alike() {
  std::mt19937_64 generator(21);
  for (const int which : {1, 2, 4, 8, -4, -8}) {
    ImageInfo image;
    image.n_skips = 1;
    image.format.kind = which > 0 ? SampleKind::integer : SampleKind::floating;
    image.format.n_bytes = std::abs(which);
    CompressSkips::Config config;
    config.statistics = {"count", "max", "std", "rms", "sample(0)"};
    config.ddof = 0;
    constexpr std::size_t n_pixels = 2500;
    std::vector<std::byte> samples;
    std::vector<double> values;
    for (std::size_t p = 0; p < n_pixels; ++p) {
      const auto stored = static_cast<std::int64_t>(generator() % 200) - 100;
      values.push_back(static_cast<double>(stored));
      if (which > 0) encode(stored, image.format, samples);
      if (which < 0) encode(values.back(), image.format, samples);
    }
    const Result result = reduce(config, image, samples, n_pixels);
    check::that(result.planes[0] == std::vector<double>(n_pixels, 1.0), "count");
    check::that(result.planes[1] == values, "max");
    check::that(result.planes[2] == std::vector<double>(n_pixels, 0.0), "std");
    check::that(result.planes[4] == values, "sample");
    for (double& value : values) value = std::abs(value);
    check::that(result.planes[3] == values, "rms");
    check::that(result.mask == std::vector<std::uint32_t>(n_pixels, 0), "mask");
  }
}

void strangers_get_values_and_may_not_exist() {
  ImageInfo image;
  image.n_cols = 3;
  image.n_skips = 4;
  image.format.blank = 9;
  image.format.scale = 2;
  CompressSkips::Config config;
  config.statistics = {"mean", "nanprod"};
  ForeignStatistics foreign;
  foreign["nanprod"] = [](const double* values, std::int64_t n_pixels, std::int64_t n_skips,
                          double* result) {
    for (std::int64_t p = 0; p < n_pixels; ++p) {
      result[p] = 1;
      for (std::int64_t s = 0; s < n_skips; ++s) {
        const double x = values[p * n_skips + s];
        if (!std::isnan(x)) result[p] *= x;
      }
    }
  };
  CompressSkips stage(config, foreign);
  stage.begin(image);
  std::vector<std::byte> samples;
  for (const int x : {1, 2, 3, 9, 1, 1, 1, 1, 9, 9, 9, 9}) {
    encode(std::int64_t{x}, image.format, samples);
  }
  std::vector<double> mean(3);
  std::vector<double> product(3);
  double* planes[] = {mean.data(), product.data()};
  std::vector<std::uint32_t> mask(3);
  std::vector<std::byte> memory(static_cast<std::size_t>(stage.scratch_bytes()) + 64);
  void* scratch = memory.data();
  std::size_t space = memory.size();
  std::align(64, static_cast<std::size_t>(stage.scratch_bytes()), scratch, space);
  stage.reduce(samples.data(), 3, planes, mask.data(), static_cast<std::byte*>(scratch));
  check::equal(product[0], 48.0);
  check::equal(product[1], 16.0);
  check::equal(product[2], 1.0);
  check::equal(mean[0], 4.0);
  check::throws<ConfigError>([&] { CompressSkips(config).begin(image); }, "nanprod");
}

void impossible_configs_are_refused_in_words() {
  ImageInfo image;
  image.n_cols = 1;
  image.n_skips = 500;
  const auto refused = [&](auto change, const std::string& part) {
    CompressSkips::Config config;
    change(config);
    check::throws<ConfigError>([&] { CompressSkips(config).begin(image); }, part);
  };
  using C = CompressSkips::Config;
  refused([](C& c) { c.statistics = {"modian"}; }, "\"modian\"; did you mean \"median\"?");
  refused([](C& c) { c.statistics = {"mean", "mean"}; }, "twice");
  refused([](C& c) { c.statistics = {}; }, "compress_skips.statistics");
  refused([](C& c) { c.statistics = {"quantile(1.5)"}; }, "from 0 to 1");
  refused([](C& c) { c.statistics = {"quantile(x)"}; }, "quantile(x)");
  refused([](C& c) { c.statistics = {"quantile"}; }, "quantile(q)");
  refused([](C& c) { c.statistics = {"median(2)"}; }, "argument");
  refused([](C& c) { c.statistics = {"mean(0)"}; }, "first n samples");
  refused([](C& c) { c.statistics = {"mean(501)"}; }, "500 samples in use");
  refused([](C& c) { c.statistics = {"sample(500)"}; }, "500 samples");
  refused([](C& c) { c.statistics = {"sample"}; }, "sample(s)");
  refused([](C& c) { c.begin_skip = 700; },
          "compress_skips.begin_skip: must be below n_skips = 500; got 700");
  refused([](C& c) { c.begin_skip = -501; }, "begin_skip");
  refused([](C& c) { c.end_skip = 501; }, "end_skip");
  refused([](C& c) { c.end_skip = -501; }, "end_skip: must be at most n_skips = 500; got -501");
  refused([](C& c) { c.begin_skip = 5, c.end_skip = 5; }, "no skip");
}

void planes_know_their_kind_and_unit() {
  ImageInfo image;
  image.n_cols = 1;
  image.n_skips = 5;
  CompressSkips::Config config;
  config.statistics = {"median", "std", "var", "sum", "count", "quantile(0.5)"};
  const StagePlan plan = CompressSkips(config).begin(image);
  check::equal(plan.planes.size(), std::size_t{6});
  check::that(plan.planes[0].kind == PlaneKind::location && plan.planes[0].unit == "adu");
  check::that(plan.planes[1].kind == PlaneKind::spread && plan.planes[1].unit == "adu");
  check::that(plan.planes[2].kind == PlaneKind::spread && plan.planes[2].unit == "adu2");
  check::that(plan.planes[3].kind == PlaneKind::other && plan.planes[3].unit == "adu");
  check::that(plan.planes[4].kind == PlaneKind::other && plan.planes[4].unit.empty());
  check::that(plan.planes[5].kind == PlaneKind::location && plan.planes[5].name == "quantile(0.5)");
  image.unit = "";
  check::that(CompressSkips(config).begin(image).planes[2].unit.empty(), "the square of no unit");
}

/// A number that changes with any bit of the results for all kinds of data.
std::uint64_t digest() {
  std::uint64_t hash = 14695981039346656037U;
  const auto add = [&](std::uint64_t word) { hash = (hash ^ word) * 1099511628211U; };
  std::mt19937_64 generator(12);
  const auto run = [&](const ImageInfo& image, const std::vector<std::byte>& samples) {
    CompressSkips::Config config;
    for (const auto* statistics : {&everything, &with_the_slow_ones}) {
      config.statistics = *statistics;
      const Result result = reduce(config, image, samples, 45);
      for (const auto& plane : result.planes) {
        for (const double value : plane) {
          add(std::isnan(value) ? 1 : std::bit_cast<std::uint64_t>(value));
        }
      }
      for (const auto bits : result.mask) add(bits);
    }
  };
  for (const std::int64_t n_skips : {1, 2, 5, 31, 64, 103, 700}) {
    ImageInfo image;
    image.n_cols = 45;
    image.n_skips = n_skips;
    for (const auto& format : integer_formats()) {
      image.format = format;
      for (const char* shape : {"noise", "wide", "heavy tails", "any"}) {
        std::vector<std::byte> samples;
        for (int p = 0; p < 45; ++p) {
          for (const auto stored : draw(shape, n_skips, format, generator)) {
            encode(stored, format, samples);
          }
        }
        run(image, samples);
      }
    }
    for (const int n_bytes : {4, 8}) {
      image.format = SampleFormat{};
      image.format.kind = SampleKind::floating;
      image.format.n_bytes = n_bytes;
      image.format.big_endian = n_skips % 2 == 0;
      for (const auto& shape : real_shapes) {
        std::vector<std::byte> samples;
        for (int p = 0; p < 45; ++p) {
          for (const auto value : draw_reals(shape, n_skips, generator)) {
            encode(p == 17 ? nan : value, image.format, samples);
          }
        }
        run(image, samples);
      }
    }
  }
  return hash;
}

void every_simd_level_gives_the_same_bits(const std::string& program) {
  std::string first;
  for (const char* level : {"baseline", "v3", "v4"}) {
    const std::string command =
        std::string("SKIPSTREAM_SIMD=") + level + " '" + program + "' digest";
    std::FILE* pipe = popen(command.c_str(), "r");
    check::that(pipe != nullptr, command);
    if (pipe == nullptr) return;
    char line[200] = {};
    check::that(std::fgets(line, sizeof line, pipe) != nullptr, command);
    check::equal(pclose(pipe), 0, command);
    std::printf("%s as asked for %s", line, level);
    std::printf("\n");
    const std::string bits = std::string(line).substr(0, 16);
    if (first.empty()) first = bits;
    check::equal(bits, first, level);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "digest") == 0) {
    std::printf("%016llx by level %s", static_cast<unsigned long long>(digest()),
                kernels::simd_level());
    return 0;
  }
  names_of_statistics_are_read_to_the_end();
  impossible_configs_are_refused_in_words();
  planes_know_their_kind_and_unit();
  long_pixels_are_exact();
  infinities_stay();
  a_median_between_infinities_is_their_mean();
  the_largest_doubles_do_not_overflow();
  saturation_compares_what_the_samples_stand_for();
  saturation_of_floats_compares_the_largest();
  clipping_leaves_out_the_outliers();
  a_clip_keeps_two_samples_at_least();
  many_pixels_of_one_sample_are_converted_alike();
  strangers_get_values_and_may_not_exist();
  a_scale_is_applied_last();
  missing_samples_are_as_if_they_were_not_there();
  lost_samples_are_as_if_they_were_not_there();
  any_number_may_stand_for_a_lost_sample();
  only_the_skips_in_use_count();
  means_of_the_first_and_samples_alone_are_those();
  a_zero_of_any_size_is_added_exactly();
  every_statistic_follows_any_scale();
  integers_give_what_the_definitions_say();
  floats_give_what_the_definitions_say();
  every_simd_level_gives_the_same_bits(argv[0]);
  return check::failures();
}
