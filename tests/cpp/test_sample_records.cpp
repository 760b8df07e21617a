// What is kept of the samples beside their reduction, against a count of each sample by itself.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/pipeline/sample_records.hpp"
#include "skipstream/stages/compress_skips.hpp"

using namespace skipstream;

namespace {

constexpr std::int64_t n_bins = SampleRecords::n_bins;

struct Image {
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;
  std::int64_t n_skips = 0;
  SampleFormat format;
  std::vector<std::int64_t> stored;
  std::vector<std::byte> bytes;

  void add(std::int64_t sample) {
    stored.push_back(sample);
    const auto n = static_cast<std::size_t>(format.n_bytes);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t byte = format.big_endian ? n - 1 - i : i;
      bytes.push_back(static_cast<std::byte>(sample >> (8 * byte)));
    }
  }
  [[nodiscard]] std::int64_t pixel_bytes() const { return n_skips * format.n_bytes; }
};

ImageInfo info_of(const Image& image) {
  ImageInfo info;
  info.n_rows = image.n_rows;
  info.n_cols = image.n_cols;
  info.n_skips = image.n_skips;
  info.format = image.format;
  return info;
}

/// Hands an image over in parts of so many pixels, to threads in turns.
SampleRecords recorded(const Image& image, const std::vector<KeptRegion>& regions,
                       std::int64_t n_histograms, std::int64_t pixels_together,
                       std::size_t n_threads) {
  SampleRecords records;
  records.begin(info_of(image), n_histograms, n_threads);
  for (const auto& region : regions) records.keep(region);
  records.see_first_pixel(image.bytes.data());
  const std::int64_t n_pixels = image.n_rows * image.n_cols;
  std::size_t thread = 0;
  for (std::int64_t first = 0; first < n_pixels; first += pixels_together) {
    const std::int64_t n = std::min(pixels_together, n_pixels - first);
    const std::vector<std::byte> part(image.bytes.begin() + first * image.pixel_bytes(),
                                      image.bytes.begin() + (first + n) * image.pixel_bytes());
    records.record(part.data(), first, n, thread++ % n_threads);
  }
  return records;
}

/// The stored number of bin 0: half of the bins are below the first sample, but where 64 bits end.
std::int64_t begin_of_bins(std::int64_t first_sample) {
  using Limits = std::numeric_limits<std::int64_t>;
  const auto begin = static_cast<__int128>(first_sample) - n_bins / 2;
  const __int128 least = static_cast<__int128>(Limits::min()) + 1;
  const __int128 most = static_cast<__int128>(Limits::max()) - n_bins - n_bins / 2;
  return static_cast<std::int64_t>(std::clamp(begin, least, most));
}

void check_histograms(const Image& image, const SampleHistograms& found, std::int64_t n_histograms,
                      const std::string& what) {
  std::vector<std::map<std::int64_t, std::int64_t>> counts(static_cast<std::size_t>(n_histograms));
  std::vector<std::int64_t> below(counts.size());
  std::vector<std::int64_t> above(counts.size());
  // Bins around the first pixel, without those at both ends that are empty in all histograms.
  std::int64_t low = n_bins;
  std::int64_t high = 0;
  const std::int64_t n_pixels = image.n_rows * image.n_cols;
  for (std::int64_t p = 0; p < n_pixels; ++p) {
    for (std::int64_t s = 0; s < n_histograms; ++s) {
      const auto h = static_cast<std::size_t>(s);
      const std::int64_t sample = image.stored[static_cast<std::size_t>(p * image.n_skips + s)];
      if (sample == image.format.blank) continue;
      const __int128 distance = static_cast<__int128>(sample) - begin_of_bins(image.stored[h]);
      if (distance < 0) ++below[h];
      if (distance >= n_bins) ++above[h];
      if (distance < 0 || distance >= n_bins) continue;
      const auto bin = static_cast<std::int64_t>(distance);
      ++counts[h][bin];
      low = std::min(low, bin);
      high = std::max(high, bin + 1);
    }
  }
  check::equal(found.n_bins, std::max<std::int64_t>(0, high - low), what);
  check::that(found.n_below == below, "below, " + what);
  check::that(found.n_above == above, "above, " + what);
  check::equal(found.firsts.size(), counts.size());
  if (high <= low || found.n_bins != high - low) return;
  check::equal(found.counts.size(), counts.size() * static_cast<std::size_t>(found.n_bins), what);
  for (std::size_t h = 0; h < counts.size(); ++h) {
    check::equal(found.firsts[h], begin_of_bins(image.stored[h]) + low, what);
    for (std::int64_t bin = 0; bin < found.n_bins; ++bin) {
      const std::size_t at = h * static_cast<std::size_t>(found.n_bins);
      const auto count = counts[h].find(low + bin);
      const std::int64_t expected = count == counts[h].end() ? 0 : count->second;
      if (found.counts[at + static_cast<std::size_t>(bin)] == expected) continue;
      check::that(false, "bin " + std::to_string(bin) + " of " + std::to_string(h) + ", " + what);
      return;
    }
  }
}

Image image_of(const SampleFormat& format, std::int64_t n_skips, double width) {
  Image image;
  image.n_rows = 11;
  image.n_cols = 13;
  image.n_skips = n_skips;
  image.format = format;
  const int bits = 8 * format.n_bytes;
  const std::int64_t high =
      format.is_unsigned ? static_cast<std::int64_t>(~std::uint64_t{0} >> (64 - std::min(bits, 63)))
                         : static_cast<std::int64_t>(~std::uint64_t{0} >> (65 - bits));
  const std::int64_t low = format.is_unsigned ? 0 : -high - 1;
  std::mt19937_64 random(8);
  std::normal_distribution<double> normal;
  for (std::int64_t i = 0; i < 11 * 13 * n_skips; ++i) {
    const auto level = static_cast<double>(high) * 0.25 + 3 * static_cast<double>(i % n_skips);
    const double value = level + width * normal(random);
    const auto top = static_cast<double>(high);
    auto sample =
        value >= top ? high : static_cast<std::int64_t>(std::max(value, static_cast<double>(low)));
    // The ends of the type, and what stands for missing samples.
    if (i >= n_skips && random() % 9 == 0) sample = random() % 2 == 0 ? low : high;
    if (i >= n_skips && random() % 9 == 0 && format.blank) sample = *format.blank;
    image.add(sample);
  }
  return image;
}

void histograms_count_every_sample() {
  for (const int n_bytes : {1, 2, 4, 8}) {
    for (const bool is_unsigned : {false, true}) {
      for (const bool big_endian : {false, true}) {
        if (n_bytes == 8 && is_unsigned) continue;
        for (const std::int64_t blank : {0, 7, -5}) {
          SampleFormat format;
          format.n_bytes = n_bytes;
          format.is_unsigned = is_unsigned;
          format.big_endian = big_endian;
          if (blank != 0 && (blank > 0 || !is_unsigned)) format.blank = blank;
          for (const double width : {3.0, 5000.0}) {
            const Image image = image_of(format, 70, width);
            const std::string what = std::to_string(n_bytes) + (is_unsigned ? " u" : " i") +
                                     (big_endian ? " big" : " little") + " blank " +
                                     std::to_string(blank);
            std::vector<std::int64_t> numbers{33};
            if (n_bytes == 2 && !big_endian) numbers = {1, 31, 32, 33, 70};
            for (const std::int64_t n_histograms : numbers) {
              const auto records = recorded(image, {}, n_histograms, 30, 3);
              check_histograms(image, records.histograms(), n_histograms, what);
            }
          }
        }
      }
    }
  }
}

void bins_end_where_the_integers_of_64_bits_end() {
  using Limits = std::numeric_limits<std::int64_t>;
  for (const std::int64_t first :
       {Limits::min(), Limits::min() + 1, std::int64_t{-5}, Limits::max() - 1, Limits::max()}) {
    Image image;
    image.n_rows = 3;
    image.n_cols = 4;
    image.n_skips = 1;
    image.format.n_bytes = 8;
    for (const std::int64_t sample :
         {first, Limits::min(), Limits::max(), std::int64_t{0}, first, Limits::min() + 9000,
          Limits::max() - 9000, Limits::min() + 1, Limits::max() - 1, first, first, first}) {
      image.add(sample);
    }
    check_histograms(image, recorded(image, {}, 1, 5, 2).histograms(), 1,
                     "first " + std::to_string(first));
  }
}

void parts_and_threads_do_not_matter() {
  SampleFormat format;
  format.blank = 3;
  const Image image = image_of(format, 5, 50);
  const std::vector<KeptRegion> regions{{2, 7, 3}};
  const auto expected = recorded(image, regions, 5, 143, 1);
  check_histograms(image, expected.histograms(), 5, "at once");
  for (const std::int64_t pixels : {1, 5, 13, 14, 60}) {
    for (const std::size_t n_threads : {1, 2, 5}) {
      const auto records = recorded(image, regions, 5, pixels, n_threads);
      check_histograms(image, records.histograms(), 5, "in parts");
      const auto kept = records.samples(0);
      check::that(std::equal(kept.begin(), kept.end(), expected.samples(0).begin(),
                             expected.samples(0).end()));
    }
  }
}

void the_ends_of_the_bins_are_counted_where_they_belong() {
  // Alone, or all together: -1 is below, and n_bins above.
  const std::vector<std::int64_t> bins{-1, 0, 1, n_bins - 2, n_bins - 1, n_bins};
  for (std::size_t only = 0; only <= bins.size(); ++only) {
    Image image;
    image.n_rows = 1;
    image.n_cols = 7;
    image.n_skips = 1;
    image.format.n_bytes = 4;
    image.format.blank = 1000;
    image.add(1000);  // the first pixel lays the bins, and is missing
    for (std::size_t i = 0; i < bins.size(); ++i) {
      image.add(only == bins.size() || i == only ? 1000 - n_bins / 2 + bins[i] : 1000);
    }
    const auto records = recorded(image, {}, 1, 7, 1);
    check_histograms(image, records.histograms(), 1, "bin " + std::to_string(only));
  }
}

void nothing_is_counted_where_all_is_missing() {
  Image image;
  image.n_rows = 2;
  image.n_cols = 2;
  image.n_skips = 1;
  image.format.blank = 4;
  for (int i = 0; i < 4; ++i) image.add(4);
  const auto found = recorded(image, {}, 1, 4, 1).histograms();
  check::equal(found.n_bins, 0);
  check::that(found.counts.empty());
  check::that(found.n_below == std::vector<std::int64_t>{0} && found.n_above == found.n_below);
}

void regions_are_kept_as_they_are() {
  for (const int n_bytes : {1, 2, 8}) {
    SampleFormat format;
    format.n_bytes = n_bytes;
    const Image image = image_of(format, 3, 1000);
    const std::vector<KeptRegion> regions{
        {0, 13, 1}, {0, 1, 1}, {12, 13, 2}, {3, 9, 5}, {4, 8, 20}};
    for (const std::int64_t pixels : {1, 4, 13, 20, 143}) {
      const auto records = recorded(image, regions, 0, pixels, 2);
      std::size_t n_bytes_kept = 0;
      for (std::size_t k = 0; k < regions.size(); ++k) {
        std::vector<std::byte> expected;
        for (std::int64_t row = 0; row < image.n_rows; row += regions[k].row_step) {
          const auto at = [&](std::int64_t col) {
            return image.bytes.begin() + (row * image.n_cols + col) * image.pixel_bytes();
          };
          expected.insert(expected.end(), at(regions[k].begin_col), at(regions[k].end_col));
        }
        const auto kept = records.samples(k);
        check::that(std::equal(kept.begin(), kept.end(), expected.begin(), expected.end()),
                    "region " + std::to_string(k));
        n_bytes_kept += expected.size();
      }
      // And whether each row is there.
      check::equal(records.bytes(), static_cast<std::int64_t>(n_bytes_kept) + image.n_rows);
      check::that(!records.is_empty());
    }
  }
}

/// Compares what is kept of statistics with the reduction of one pixel after another.
void check_statistics(const Image& image, const std::vector<KeptRegion>& regions,
                      std::int64_t pixels_together, std::size_t n_threads) {
  const auto records = recorded(image, regions, 0, pixels_together, n_threads);
  check::equal(records.n_regions(), regions.size());
  std::size_t n_bytes_kept = 0;
  std::size_t room[3] = {};
  for (std::size_t k = 0; k < regions.size(); ++k) {
    const KeptRegion& region = regions[k];
    CompressSkips::Config config;
    config.statistics = region.statistics;
    CompressSkips reduction(config);
    reduction.begin(info_of(image));
    const auto n_bytes = static_cast<std::size_t>(reduction.scratch_bytes());
    std::vector<std::byte> scratch(n_bytes + 64);
    std::byte* aligned = scratch.data();
    while (reinterpret_cast<std::uintptr_t>(aligned) % 64 != 0) ++aligned;
    const std::size_t n = region.statistics.size();
    std::vector<std::vector<double>> expected(n);
    for (std::int64_t row = 0; row < image.n_rows; row += region.row_step) {
      for (std::int64_t col = region.begin_col; col < region.end_col; ++col) {
        std::vector<double> values(n);
        std::vector<double*> planes;
        for (double& value : values) planes.push_back(&value);
        std::uint32_t mask = 0;
        reduction.reduce(image.bytes.data() + (row * image.n_cols + col) * image.pixel_bytes(), 1,
                         planes.data(), &mask, aligned);
        for (std::size_t s = 0; s < n; ++s) expected[s].push_back(values[s]);
      }
    }
    const auto kept = records.values(k);
    check::equal(kept.size(), n * expected[0].size());
    for (std::size_t s = 0; s < n && kept.size() == n * expected[0].size(); ++s) {
      for (std::size_t i = 0; i < expected[s].size(); ++i) {
        const double found = kept[s * expected[s].size() + i];
        check::that(found == expected[s][i] || (std::isnan(found) && std::isnan(expected[s][i])),
                    region.statistics[s] + " of " + std::to_string(i));
      }
    }
    check::that(records.samples(k).empty());
    n_bytes_kept += kept.size() * sizeof(double);
    room[0] = std::max(room[0], n_bytes + 64);
    room[1] = std::max(room[1], n * sizeof(double*));
    room[2] = std::max(room[2], static_cast<std::size_t>(region.end_col - region.begin_col) * 4);
  }
  n_bytes_kept += n_threads * (room[0] + room[1] + room[2]);
  check::equal(records.bytes(), static_cast<std::int64_t>(n_bytes_kept) + image.n_rows);
}

void statistics_are_those_of_the_pixels() {
  SampleFormat format;
  format.scale = -0.5;
  format.zero = 10;
  format.blank = 7;
  const Image image = image_of(format, 6, 30);
  const std::vector<KeptRegion> regions{{2, 9, 3, {"mean(2)", "sample(-1)", "mean", "count"}},
                                        {0, 13, 1, {"sample(4)"}}};
  for (const std::int64_t pixels : {1, 5, 13, 20, 143}) {
    for (const std::size_t n_threads : {1, 3}) check_statistics(image, regions, pixels, n_threads);
  }
  for (const int n_bytes : {2, 4}) {  // many pixels side by side, whose scratch must be aligned
    Image wide;
    wide.n_rows = 2;
    wide.n_cols = 100;
    wide.n_skips = 40;
    wide.format.n_bytes = n_bytes;
    std::mt19937_64 random(3);
    for (std::int64_t i = 0; i < wide.n_rows * wide.n_cols * wide.n_skips; ++i) {
      wide.add(static_cast<std::int64_t>(random() % 2000));
    }
    for (int n_tries = 0; n_tries < 5; ++n_tries) {
      check_statistics(wide, {{0, 100, 1, {"mean", "median", "std"}}, {1, 99, 1, {"mean(7)"}}}, 200,
                       1);
    }
  }
  SampleRecords records;
  records.begin(info_of(image), 0, 1);
  check::throws<ConfigError>([&] { records.keep({0, 1, 1, {"mena"}}); }, "mena");
}

void a_whole_group_of_histograms_is_no_more_than_that() {
  const Image image = image_of({}, 32, 30);
  for (const std::int64_t n : {31, 32}) {
    check_histograms(image, recorded(image, {}, n, 20, 1).histograms(), n, std::to_string(n));
  }
}

void rows_that_are_not_there_are_known() {
  const Image image = image_of({}, 3, 1000);
  SampleRecords records;
  records.begin(info_of(image), 0, 1);
  records.see_rows(0, 3);  // there are no regions
  records.keep({2, 4, 2, {}});
  records.keep({2, 4, 3, {"mean", "sample(1)"}});
  records.keep({0, 1, std::numeric_limits<std::int64_t>::max(), {"mean"}});
  check::equal(records.n_kept_rows(0), 6);
  check::equal(records.n_kept_rows(1), 4);
  check::equal(records.n_kept_rows(2), 1);
  records.record(image.bytes.data(), 0, 7 * image.n_cols, 0);
  records.see_rows(0, 5);
  records.see_rows(6, 1);
  const std::vector<std::byte> before(records.samples(0).begin(), records.samples(0).end());
  const std::vector<double> values(records.values(1).begin(), records.values(1).end());
  records.finish();
  const auto n_bytes = static_cast<std::size_t>(2 * image.pixel_bytes());
  for (std::int64_t row = 0; row < 6; ++row) {
    check::equal(records.is_there(0, row), row < 4);
    const auto kept = records.samples(0).subspan(static_cast<std::size_t>(row) * n_bytes, n_bytes);
    const auto first = before.begin() + row * static_cast<std::int64_t>(n_bytes);
    const bool stays = std::equal(kept.begin(), kept.end(), first);
    const bool is_zero =
        std::all_of(kept.begin(), kept.end(), [](std::byte b) { return b == std::byte{0}; });
    check::that(row < 4 ? stays && !is_zero : is_zero, "row " + std::to_string(row));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::int64_t row = static_cast<std::int64_t>(i) % 8 / 2;
    check::equal(records.is_there(1, row), row != 3);
    check::that(row == 3 ? std::isnan(records.values(1)[i]) : records.values(1)[i] == values[i]);
  }
  check::that(records.is_there(2, 0));
  SampleRecords untouched;
  untouched.begin(info_of(image), 0, 1);
  untouched.keep({0, 1, 1, {"mean"}});
  untouched.finish();
  for (const double value : untouched.values(0)) check::that(std::isnan(value));
  SampleRecords none;
  ImageInfo empty = info_of(image);
  empty.n_rows = 0;
  none.begin(empty, 0, 1);
  none.keep({0, 1, 1, {"mean"}});
  check::equal(none.n_kept_rows(0), 0);
  none.finish();
}

void memory_is_known_beforehand() {
  SampleRecords records;
  ImageInfo info;
  info.n_rows = 10;
  info.n_cols = 10;
  info.n_skips = 50;
  records.begin(info, 0, 2);
  check::that(records.is_empty());
  check::equal(records.bytes(), 0);
  records.begin(info, 33, 2);
  check::that(!records.is_empty());
  // Bins, what is below, above and left out, of 32 histograms together, by thread.
  check::equal(records.bytes(), 2 * 2 * 32 * (n_bins + 3) * 4);
}

}  // namespace

int main() {
  histograms_count_every_sample();
  bins_end_where_the_integers_of_64_bits_end();
  parts_and_threads_do_not_matter();
  the_ends_of_the_bins_are_counted_where_they_belong();
  nothing_is_counted_where_all_is_missing();
  regions_are_kept_as_they_are();
  statistics_are_those_of_the_pixels();
  a_whole_group_of_histograms_is_no_more_than_that();
  rows_that_are_not_there_are_known();
  memory_is_known_beforehand();
  return check::failures();
}
