#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "skipstream/base/sample.hpp"
#include "skipstream/base/source.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/fits_structure.hpp"

namespace skipstream {

/// Where the pixels of an image lie among the samples of its HDU.
struct SampleShape {
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;
  std::int64_t n_skips = 1;
  std::int64_t first_row = 0;
  std::int64_t first_sample = 0;  ///< of a row, where the image is a part of the frame
  bool is_reversed = false;  ///< the last pixel, and its last sample, stand first: an U amplifier
};

/// Samples that stand beside each other: NAXIS1 = n_cols * n_skips, or NAXIS1 = n_skips of a cube;
/// in a plain (not compressed) image HDU.
class SampleReader : public SampleSource {
 public:
  /// `source` must outlive the reader. Throws FitsError when the shape does not fit the HDU.
  SampleReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape);

  [[nodiscard]] std::unique_ptr<SampleCursor> cursor() const override;

  [[nodiscard]] const SampleFormat& format() const { return format_; }
  /// The FITS DATASUM (ones' complement sum of big-endian 32-bit words) of all bytes read so far,
  /// in any order: that of the data unit when every sample was read once.
  [[nodiscard]] std::uint32_t datasum() const;

 private:
  class Cursor;

  const ByteSource& source_;
  SampleFormat format_;
  SampleShape shape_;
  std::int64_t data_offset_ = 0;
  std::int64_t row_samples_ = 0;  ///< of the frame
  mutable std::atomic<std::uint64_t> sum_{0};
};

/// Samples in planes: of a cube, of several HDUs, or of several files.
class PlaneReader : public SampleSource {
 public:
  /// The samples of one skip, (rows, columns).
  struct Plane {
    const ByteSource* source = nullptr;  ///< must outlive the reader
    std::int64_t offset = 0;
  };

  /// The planes of a cube. Throws FitsError when the shape does not fit the HDU.
  PlaneReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape);
  PlaneReader(std::vector<Plane> planes, const SampleFormat& format, const SampleShape& shape);

  [[nodiscard]] std::unique_ptr<SampleCursor> cursor() const override;
  [[nodiscard]] std::uint32_t datasum() const;

 private:
  class Cursor;

  std::vector<Plane> planes_;
  SampleFormat format_;
  SampleShape shape_;
  mutable std::atomic<std::uint64_t> sum_{0};
};

/// Samples in a row of an image HDU, a cube with the skips on NAXIS1 taken as rows of all of them;
/// and its rows.
std::int64_t row_samples_of(const FitsHdu& hdu);
std::int64_t rows_of(const FitsHdu& hdu);
/// Turns the order of samples around.
void reverse_samples(std::byte* samples, std::int64_t n, int n_bytes);

/// Ones' complement sum of big-endian 32-bit words: FITS DATASUM, or of a whole HDU that of its
/// CHECKSUM.
std::uint32_t sum_of_words(const ByteSource& source, std::int64_t offset, std::int64_t n_bytes);

/// How the place of an HDU is named in messages: run7.fits[2].
std::string place_of(const ByteSource& source, const FitsHdu& hdu);

}  // namespace skipstream
