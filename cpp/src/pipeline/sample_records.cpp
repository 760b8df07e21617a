#include "skipstream/pipeline/sample_records.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace skipstream {

namespace {

constexpr std::int64_t n_cells = SampleRecords::n_bins + 2;  // and what is below and above

template <class T>
T load(const std::byte* from, bool swapped) {
  std::make_unsigned_t<T> bits{};
  std::memcpy(&bits, from, sizeof(bits));
  if (swapped) {
    std::make_unsigned_t<T> turned{};
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      turned = static_cast<std::make_unsigned_t<T>>((turned << 8U) | (bits & 0xffU));
      bits = static_cast<std::make_unsigned_t<T>>(bits >> 8U);
    }
    bits = turned;
  }
  return static_cast<T>(bits);
}

}  // namespace

void SampleRecords::begin(std::int64_t n_rows, std::int64_t n_cols, std::int64_t n_skips,
                          const SampleFormat& format, std::vector<KeptRegion> regions,
                          std::vector<std::int64_t> skips, std::size_t n_threads) {
  n_cols_ = n_cols;
  n_skips_ = n_skips;
  pixel_bytes_ = n_skips * format.n_bytes;
  format_ = format;
  regions_ = std::move(regions);
  for (const auto& region : regions_) {
    const std::int64_t n_kept = (n_rows + region.row_step - 1) / region.row_step;
    kept_.emplace_back(
        static_cast<std::size_t>(n_kept * (region.end_col - region.begin_col) * pixel_bytes_));
  }
  skips_ = std::move(skips);
  firsts_.resize(skips_.size());
  if (skips_.empty()) return;
  counts_.assign(n_threads,
                 std::vector<std::uint32_t>(skips_.size() * static_cast<std::size_t>(n_cells)));
}

std::int64_t SampleRecords::bytes() const {
  std::size_t total = 0;
  for (const auto& region : kept_) total += region.size();
  for (const auto& counts : counts_) total += counts.size() * sizeof(std::uint32_t);
  return static_cast<std::int64_t>(total);
}

std::int64_t SampleRecords::stored(const std::byte* sample) const {
  const bool swapped = format_.big_endian != (std::endian::native == std::endian::big);
  switch (format_.n_bytes) {
    case 1:
      return format_.is_unsigned ? load<std::uint8_t>(sample, false)
                                 : load<std::int8_t>(sample, false);
    case 2:
      return format_.is_unsigned ? load<std::uint16_t>(sample, swapped)
                                 : load<std::int16_t>(sample, swapped);
    case 4:
      return format_.is_unsigned ? static_cast<std::int64_t>(load<std::uint32_t>(sample, swapped))
                                 : load<std::int32_t>(sample, swapped);
    default:
      return load<std::int64_t>(sample, swapped);
  }
}

void SampleRecords::see_first_pixel(const std::byte* samples) {
  for (std::size_t h = 0; h < skips_.size(); ++h) {
    firsts_[h] = stored(samples + skips_[h] * format_.n_bytes) - n_bins / 2;
  }
}

template <class T>
void SampleRecords::count(const std::byte* samples, std::int64_t n_pixels, std::size_t thread) {
  const bool swapped = format_.big_endian != (std::endian::native == std::endian::big);
  // Pixel by pixel: neighbouring counts then belong to other histograms, and none waits for one.
  for (std::int64_t i = 0; i < n_pixels; ++i, samples += pixel_bytes_) {
    std::uint32_t* counts = counts_[thread].data();
    for (std::size_t h = 0; h < skips_.size(); ++h, counts += n_cells) {
      const auto value = static_cast<std::int64_t>(
          load<T>(samples + skips_[h] * static_cast<std::int64_t>(sizeof(T)), swapped));
      if (format_.blank && value == *format_.blank) continue;
      ++counts[std::clamp<std::int64_t>(value - firsts_[h] + 1, 0, n_cells - 1)];
    }
  }
}

void SampleRecords::record(const std::byte* samples, std::int64_t first_pixel,
                           std::int64_t n_pixels, std::size_t thread) {
  for (std::size_t k = 0; k < regions_.size(); ++k) {
    const KeptRegion& region = regions_[k];
    const std::int64_t width = region.end_col - region.begin_col;
    for (auto row = first_pixel / n_cols_; row * n_cols_ < first_pixel + n_pixels; ++row) {
      if (row % region.row_step != 0) continue;
      const std::int64_t begin = std::max(first_pixel, row * n_cols_ + region.begin_col);
      const std::int64_t end = std::min(first_pixel + n_pixels, row * n_cols_ + region.end_col);
      if (begin >= end) continue;
      const std::int64_t to =
          row / region.row_step * width + begin - row * n_cols_ - region.begin_col;
      std::memcpy(kept_[k].data() + to * pixel_bytes_,
                  samples + (begin - first_pixel) * pixel_bytes_,
                  static_cast<std::size_t>((end - begin) * pixel_bytes_));
    }
  }
  if (skips_.empty()) return;
  switch (format_.n_bytes) {
    case 1:
      return format_.is_unsigned ? count<std::uint8_t>(samples, n_pixels, thread)
                                 : count<std::int8_t>(samples, n_pixels, thread);
    case 2:
      return format_.is_unsigned ? count<std::uint16_t>(samples, n_pixels, thread)
                                 : count<std::int16_t>(samples, n_pixels, thread);
    case 4:
      return format_.is_unsigned ? count<std::uint32_t>(samples, n_pixels, thread)
                                 : count<std::int32_t>(samples, n_pixels, thread);
    default:
      return count<std::int64_t>(samples, n_pixels, thread);
  }
}

SampleHistogram SampleRecords::histogram(std::size_t skip) const {
  SampleHistogram all{firsts_.at(skip), std::vector<std::int64_t>(n_bins), 0, 0};
  for (const auto& counts : counts_) {
    const std::uint32_t* own = counts.data() + skip * static_cast<std::size_t>(n_cells);
    all.n_below += own[0];
    all.n_above += own[n_cells - 1];
    for (std::size_t i = 0; i < all.counts.size(); ++i) all.counts[i] += own[i + 1];
  }
  return all;
}

}  // namespace skipstream
