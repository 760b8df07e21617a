#include "skipstream/io/sample_reader.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <utility>

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

template <class Sample>
void reverse_as(std::byte* samples, std::int64_t n) {
  for (std::int64_t i = 0, k = n - 1; i < k; ++i, --k) {
    Sample a;
    Sample b;
    std::memcpy(&a, samples + i * static_cast<std::int64_t>(sizeof a), sizeof a);
    std::memcpy(&b, samples + k * static_cast<std::int64_t>(sizeof b), sizeof b);
    std::memcpy(samples + i * static_cast<std::int64_t>(sizeof a), &b, sizeof b);
    std::memcpy(samples + k * static_cast<std::int64_t>(sizeof b), &a, sizeof a);
  }
}

std::string axes_of(const FitsHdu& hdu) {
  std::string text;
  for (const auto axis : hdu.axes) text += (text.empty() ? "" : " x ") + std::to_string(axis);
  return text;
}

void require_plain(const ByteSource& source, const FitsHdu& hdu) {
  if (!hdu.compression.empty() || (hdu.kind != "primary" && hdu.kind != "image")) {
    throw FitsError(place_of(source, hdu) + ": must be a plain image; is " +
                    (hdu.compression.empty() ? "a " + hdu.kind : hdu.compression + "-compressed"));
  }
}

[[noreturn]] void refuse_shape(const ByteSource& source, const FitsHdu& hdu,
                               const SampleShape& shape, const char* where) {
  throw FitsError(place_of(source, hdu) + ": a shape of " + axes_of(hdu) + " does not hold " +
                  std::to_string(shape.n_rows) + " rows of " + std::to_string(shape.n_cols) +
                  " columns of " + std::to_string(shape.n_skips) + " skips in " + where);
}

bool fits(const SampleShape& shape, std::int64_t rows, std::int64_t row_samples) {
  std::int64_t n = 0;
  return shape.n_rows >= 0 && shape.n_cols > 0 && shape.n_skips > 0 && shape.first_row >= 0 &&
         shape.first_sample >= 0 && shape.n_rows <= rows - shape.first_row &&
         !__builtin_mul_overflow(shape.n_cols, shape.n_skips, &n) &&
         n <= row_samples - shape.first_sample;
}

}  // namespace

std::string place_of(const ByteSource& source, const FitsHdu& hdu) {
  return source.name() + "[" + std::to_string(hdu.index) + "]";
}

void reverse_samples(std::byte* samples, std::int64_t n, int n_bytes) {
  switch (n_bytes) {
    case 1:
      return reverse_as<std::uint8_t>(samples, n);
    case 2:
      return reverse_as<std::uint16_t>(samples, n);
    case 4:
      return reverse_as<std::uint32_t>(samples, n);
    default:
      return reverse_as<std::uint64_t>(samples, n);
  }
}

std::uint32_t sum_of_words(const ByteSource& source, std::int64_t offset, std::int64_t n_bytes) {
  constexpr std::int64_t block = 1 << 18;
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(block, n_bytes)));
  std::uint64_t sum = 0;
  for (std::int64_t at = 0; at < n_bytes; at += block) {
    const auto n = static_cast<std::size_t>(std::min(block, n_bytes - at));
    source.read(offset + at, std::span(bytes).first(n));
    sum += ones_complement_sum(std::span(bytes).first(n), at);
  }
  return fold(sum);
}

std::int64_t row_samples_of(const FitsHdu& hdu) {
  const auto axis = [&](std::size_t i) { return i < hdu.axes.size() ? hdu.axes[i] : 1; };
  return hdu.axes.size() > 2 ? axis(0) * axis(1) : axis(0);  // a product of the scanned size
}

std::int64_t rows_of(const FitsHdu& hdu) {
  if (hdu.axes.size() > 2) return hdu.axes[2];
  return hdu.axes.size() > 1 ? hdu.axes[1] : 1;
}

SampleReader::SampleReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape)
    : source_(source),
      format_(hdu.format),
      shape_(shape),
      data_offset_(hdu.data_offset),
      row_samples_(row_samples_of(hdu)) {
  require_plain(source, hdu);
  if (hdu.axes.empty() || hdu.axes.size() > 3 || !fits(shape, rows_of(hdu), row_samples_)) {
    refuse_shape(source, hdu, shape, "columns");
  }
}

std::uint32_t SampleReader::datasum() const { return fold(sum_); }

class SampleReader::Cursor : public SampleCursor {
 public:
  explicit Cursor(const SampleReader& reader) : reader_(reader) {}

  void seek(std::int64_t first_pixel) override { pixel_ = first_pixel; }

  const std::byte* next(std::int64_t n_pixels, std::byte* scratch) override {
    const SampleShape& shape = reader_.shape_;
    const std::int64_t n_bytes = reader_.format_.n_bytes;
    const std::int64_t pixel_bytes = shape.n_skips * n_bytes;
    const bool whole_rows =
        shape.n_cols * shape.n_skips == reader_.row_samples_ && !shape.is_reversed;
    std::byte* to = scratch;
    while (n_pixels > 0) {
      const std::int64_t row = pixel_ / shape.n_cols;
      const std::int64_t col = pixel_ % shape.n_cols;
      const std::int64_t n = whole_rows ? n_pixels : std::min(n_pixels, shape.n_cols - col);
      const std::int64_t begin = shape.is_reversed ? shape.n_cols - col - n : col;
      const std::int64_t offset = ((shape.first_row + row) * reader_.row_samples_ +
                                   shape.first_sample + begin * shape.n_skips) *
                                  n_bytes;
      const std::span bytes(to, static_cast<std::size_t>(n * pixel_bytes));
      reader_.source_.read(reader_.data_offset_ + offset, bytes);
      reader_.sum_ += ones_complement_sum(bytes, offset);
      if (shape.is_reversed) {
        reverse_samples(to, n * shape.n_skips, static_cast<int>(n_bytes));
      }
      to += n * pixel_bytes;
      pixel_ += n;
      n_pixels -= n;
    }
    return scratch;
  }

 private:
  const SampleReader& reader_;
  std::int64_t pixel_ = 0;
};

std::unique_ptr<SampleCursor> SampleReader::cursor() const {
  return std::make_unique<Cursor>(*this);
}

PlaneReader::PlaneReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape)
    : format_(hdu.format), shape_(shape) {
  require_plain(source, hdu);
  if (hdu.axes.size() != 3 || hdu.axes[0] != shape.n_cols || hdu.axes[2] != shape.n_skips ||
      shape.first_row < 0 || shape.n_rows > hdu.axes[1] - shape.first_row) {
    refuse_shape(source, hdu, shape, "planes");
  }
  for (std::int64_t skip = 0; skip < shape.n_skips; ++skip) {
    planes_.push_back(
        {&source, hdu.data_offset + skip * hdu.axes[1] * hdu.axes[0] * hdu.format.n_bytes});
  }
}

PlaneReader::PlaneReader(std::vector<Plane> planes, const SampleFormat& format,
                         const SampleShape& shape)
    : planes_(std::move(planes)), format_(format), shape_(shape) {
  if (static_cast<std::int64_t>(planes_.size()) != shape.n_skips) {
    throw FitsError("an image of " + std::to_string(shape.n_skips) + " skips got " +
                    std::to_string(planes_.size()) + " planes");
  }
}

std::uint32_t PlaneReader::datasum() const { return fold(sum_); }

class PlaneReader::Cursor : public SampleCursor {
 public:
  explicit Cursor(const PlaneReader& reader) : reader_(reader) {}

  void seek(std::int64_t first_pixel) override { pixel_ = first_pixel; }

  const std::byte* next(std::int64_t n_pixels, std::byte* scratch) override {
    // A few kilobytes of each plane at a time, spread over the pixels.
    constexpr std::size_t part_bytes = 4096;
    std::byte part[part_bytes];
    const auto n_bytes = static_cast<std::size_t>(reader_.format_.n_bytes);
    const auto n = static_cast<std::size_t>(n_pixels);
    const std::size_t pixel_bytes = reader_.planes_.size() * n_bytes;
    const std::size_t step = part_bytes / n_bytes;
    const std::int64_t first = reader_.shape_.first_row * reader_.shape_.n_cols + pixel_;
    for (std::size_t skip = 0; skip < reader_.planes_.size(); ++skip) {
      const Plane& plane = reader_.planes_[skip];
      for (std::size_t begin = 0; begin < n; begin += step) {
        const std::size_t count = std::min(step, n - begin);
        const std::span bytes(part, count * n_bytes);
        const std::int64_t offset =
            plane.offset + (first + static_cast<std::int64_t>(begin)) * reader_.format_.n_bytes;
        plane.source->read(offset, bytes);
        // A data unit begins at a multiple of 2880, and so of 4.
        reader_.sum_ += ones_complement_sum(bytes, offset);
        std::byte* target = scratch + begin * pixel_bytes + skip * n_bytes;
        for (std::size_t i = 0; i < count; ++i) {
          std::memcpy(target + i * pixel_bytes, part + i * n_bytes, n_bytes);
        }
      }
    }
    pixel_ += n_pixels;
    return scratch;
  }

 private:
  const PlaneReader& reader_;
  std::int64_t pixel_ = 0;
};

std::unique_ptr<SampleCursor> PlaneReader::cursor() const {
  return std::make_unique<Cursor>(*this);
}

}  // namespace skipstream
