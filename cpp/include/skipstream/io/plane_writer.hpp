#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace skipstream {

enum class PixelFormat : std::uint8_t { float32, float64, int32 };

/// A FITS file of image planes, written while their rows arrive.
///
/// Every image states its place before its rows come: so many blocks of header, then its pixels.
/// The header itself, made by the caller, comes last, when all numbers in it are known. Sums of
/// the pixels are taken while they are written. What the system refuses is an IoError that names
/// the file and the reason, and leaves a file that is not whole.
class PlaneWriter {
 public:
  /// Makes the file; it must not exist.
  explicit PlaneWriter(std::string path);
  PlaneWriter(const PlaneWriter&) = delete;
  PlaneWriter& operator=(const PlaneWriter&) = delete;
  ~PlaneWriter();

  /// Reserves the place of the next image; returns its number. `header_bytes` is a multiple of
  /// `fits_block_bytes`. An image of no rows is a header alone.
  std::size_t add_image(std::int64_t header_bytes, PixelFormat format, std::int64_t n_rows,
                        std::int64_t n_cols);
  /// The next rows of an image, (n_rows, n_cols) in C order.
  void write_rows(std::size_t image, const double* values, std::int64_t n_rows);
  void write_rows(std::size_t image, const std::uint32_t* values, std::int64_t n_rows);
  /// DATASUM of an image whose rows are written.
  [[nodiscard]] std::uint32_t datasum(std::size_t image) const;
  void write_header(std::size_t image, std::string_view header);
  /// All is on the disk when this returns. Throws FitsError where rows are missing.
  void close();

 private:
  struct Image {
    std::int64_t header_offset;
    std::int64_t header_bytes;
    std::int64_t data_offset;
    PixelFormat format;
    std::int64_t n_rows;
    std::int64_t n_cols;
    std::int64_t rows_written;
    std::uint64_t sum;
    bool has_header;
  };

  template <class T, class Encode>
  void write_pixels(Image& image, const T* values, std::int64_t n_rows, Encode encode);
  void write(const std::byte* bytes, std::int64_t n_bytes, std::int64_t offset);
  void flush();  ///< lets the disk begin: little is left to wait for at the end

  std::string path_;
  int file_ = -1;
  std::int64_t end_ = 0;
  std::int64_t since_flush_ = 0;  ///< bytes that the system has not been asked to write yet
  std::vector<Image> images_;
  std::array<std::byte, 65536> buffer_;
};

}  // namespace skipstream
