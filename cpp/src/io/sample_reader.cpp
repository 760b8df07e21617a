#include "skipstream/io/sample_reader.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/kernels/dispatch.hpp"

namespace skipstream {

namespace {

std::uint32_t fold(std::uint64_t sum) {
  while (sum >> 32 != 0) sum = (sum & 0xffffffffU) + (sum >> 32);
  return static_cast<std::uint32_t>(sum);
}

/// Ones' complement sum of bytes that begin `offset` bytes into the data unit. Where they do not
/// begin with a word, their own sum is rotated to where they belong: a rotation multiplies by a
/// power of 2 modulo 2^32 - 1, and so can come last.
std::uint32_t ones_complement_sum(std::span<const std::byte> bytes, std::int64_t offset) {
  const std::size_t n_words = bytes.size() / 4;
  const std::uint64_t sum =
      kernels::skip_kernels().word_sum(bytes.data(), static_cast<std::int64_t>(n_words));
  std::uint32_t last = 0;
  std::memcpy(&last, bytes.data() + 4 * n_words, bytes.size() - 4 * n_words);
  if constexpr (std::endian::native == std::endian::little) last = __builtin_bswap32(last);
  const std::uint32_t folded = fold(sum + last);
  return std::rotr(folded, static_cast<int>(offset % 4) * 8);
}

}  // namespace

std::uint32_t SampleReader::datasum() const { return fold(sum_); }

SampleReader::SampleReader(const ByteSource& source, const FitsHdu& hdu, std::int64_t n_cols,
                           std::int64_t n_skips, SkipAxis skips)
    : source_(source),
      format_(hdu.format),
      skips_(skips),
      data_offset_(hdu.data_offset),
      n_cols_(n_cols),
      n_skips_(n_skips) {
  const std::string place = source.name() + "[" + std::to_string(hdu.index) + "]";
  if (!hdu.compression.empty() || (hdu.kind != "primary" && hdu.kind != "image")) {
    throw FitsError(place + ": must be a plain image; is " +
                    (hdu.compression.empty() ? "a " + hdu.kind : hdu.compression + "-compressed"));
  }
  if (n_cols < 1 || n_skips < 1) {
    throw FitsError(place + ": an image has at least 1 column and 1 skip; got " +
                    std::to_string(n_cols) + " and " + std::to_string(n_skips));
  }
  std::string shape;
  for (const auto axis : hdu.axes) shape += (shape.empty() ? "" : " x ") + std::to_string(axis);
  const auto axis = [&](std::size_t i) { return i < hdu.axes.size() ? hdu.axes[i] : 1; };
  if (hdu.axes.empty() || hdu.axes.size() > 3) {
    throw FitsError(place + ": an image has 1 to 3 axes; NAXIS is " +
                    std::to_string(hdu.axes.size()));
  }
  const bool cube = hdu.axes.size() == 3;
  if (skips == SkipAxis::planes && cube && axis(0) == n_cols && axis(2) == n_skips) {
    n_rows_ = axis(1);
  } else if (skips == SkipAxis::columns && cube && axis(0) == n_skips && axis(1) == n_cols) {
    n_rows_ = axis(2);
  } else if (skips == SkipAxis::columns && !cube && axis(0) % n_skips == 0 &&
             axis(0) / n_skips == n_cols) {
    n_rows_ = axis(1);
  } else if (std::find(hdu.axes.begin(), hdu.axes.end(), 0) == hdu.axes.end()) {
    throw FitsError(place + ": a shape of " + shape + " does not hold " + std::to_string(n_cols) +
                    " columns of " + std::to_string(n_skips) + " skips in " +
                    (skips == SkipAxis::columns ? "columns" : "planes"));
  }
}

const std::byte* SampleReader::fetch(std::int64_t first_pixel, std::int64_t n_pixels,
                                     std::byte* scratch) const {
  const auto n_bytes = static_cast<std::size_t>(format_.n_bytes);
  const auto n = static_cast<std::size_t>(n_pixels);
  if (skips_ == SkipAxis::columns) {
    const std::int64_t pixel_bytes = n_skips_ * format_.n_bytes;
    const std::span bytes(scratch, n * static_cast<std::size_t>(pixel_bytes));
    source_.read(data_offset_ + first_pixel * pixel_bytes, bytes);
    sum_ += ones_complement_sum(bytes, first_pixel * pixel_bytes);
    return scratch;
  }
  // A few kilobytes of each plane at a time, spread over the pixels.
  constexpr std::size_t part_bytes = 4096;
  std::byte part[part_bytes];
  const auto pixel_bytes = static_cast<std::size_t>(n_skips_) * n_bytes;
  const std::size_t step = part_bytes / n_bytes;
  for (std::int64_t skip = 0; skip < n_skips_; ++skip) {
    const std::int64_t plane =
        data_offset_ + (skip * n_rows_ * n_cols_ + first_pixel) * format_.n_bytes;
    for (std::size_t begin = 0; begin < n; begin += step) {
      const std::size_t count = std::min(step, n - begin);
      const std::span bytes(part, count * n_bytes);
      const std::int64_t offset = plane + static_cast<std::int64_t>(begin * n_bytes);
      source_.read(offset, bytes);
      sum_ += ones_complement_sum(bytes, offset - data_offset_);
      std::byte* target = scratch + begin * pixel_bytes + static_cast<std::size_t>(skip) * n_bytes;
      for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(target + i * pixel_bytes, part + i * n_bytes, n_bytes);
      }
    }
  }
  return scratch;
}

}  // namespace skipstream
