#pragma once

#include <atomic>
#include <cstdint>

#include "skipstream/base/sample.hpp"
#include "skipstream/base/source.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/fits_structure.hpp"

namespace skipstream {

/// Where the samples of one pixel lie in an image HDU.
enum class SkipAxis : std::uint8_t {
  columns,  ///< beside each other: NAXIS1 = n_cols * n_skips, or NAXIS1 = n_skips of a cube
  planes,   ///< in the planes of a cube: NAXIS3 = n_skips
};

/// The encoded samples of a plain (not compressed) image HDU, read by position.
class SampleReader : public SampleSource {
 public:
  /// `source` must outlive the reader. Throws FitsError when the shape does not fit.
  SampleReader(const ByteSource& source, const FitsHdu& hdu, std::int64_t n_cols,
               std::int64_t n_skips, SkipAxis skips);

  const std::byte* fetch(std::int64_t first_pixel, std::int64_t n_pixels,
                         std::byte* scratch) const override;

  [[nodiscard]] std::int64_t n_rows() const { return n_rows_; }
  [[nodiscard]] std::int64_t n_cols() const { return n_cols_; }
  [[nodiscard]] std::int64_t n_skips() const { return n_skips_; }
  [[nodiscard]] const SampleFormat& format() const { return format_; }

  /// The FITS DATASUM (ones' complement sum of big-endian 32-bit words) of all bytes read so far,
  /// in any order: that of the data unit when every pixel was fetched once.
  [[nodiscard]] std::uint32_t datasum() const;

 private:
  const ByteSource& source_;
  SampleFormat format_;
  SkipAxis skips_;
  std::int64_t data_offset_ = 0;
  std::int64_t n_rows_ = 0;
  std::int64_t n_cols_ = 0;
  std::int64_t n_skips_ = 0;
  mutable std::atomic<std::uint64_t> sum_{0};  ///< of 32-bit parts
};

}  // namespace skipstream
