#include "skipstream/io/plane_writer.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "skipstream/base/error.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/kernels/encode.hpp"

namespace skipstream {

namespace {

constexpr std::int64_t flush_bytes = 8 << 20;

constexpr std::int64_t size_of(PixelFormat format) {
  return format == PixelFormat::float64 ? 8 : 4;
}

[[noreturn]] void refuse(const std::string& path, const char* what, int reason) {
  throw IoError(path + ": cannot " + what + ": " + std::strerror(reason));
}

}  // namespace

PlaneWriter::PlaneWriter(std::string path) : path_(std::move(path)) {
  file_ = open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) refuse(path_, "make the file", errno);
}

PlaneWriter::~PlaneWriter() {
  if (file_ >= 0) ::close(file_);
}

std::size_t PlaneWriter::add_image(std::int64_t header_bytes, PixelFormat format,
                                   std::int64_t n_rows, std::int64_t n_cols) {
  if (header_bytes <= 0 || header_bytes % fits_block_bytes != 0) {
    throw FitsError(path_ + ": a header is whole blocks of 2880 bytes; got " +
                    std::to_string(header_bytes));
  }
  std::int64_t n_bytes = 0;
  if (n_rows < 0 || n_cols < 0 || __builtin_mul_overflow(n_rows, n_cols, &n_bytes) ||
      __builtin_mul_overflow(n_bytes, size_of(format), &n_bytes) ||
      n_bytes > (std::int64_t{1} << 62) - end_) {
    throw FitsError(path_ + ": no file holds " + std::to_string(n_rows) + " x " +
                    std::to_string(n_cols) + " pixels");
  }
  const Image image{.header_offset = end_,
                    .header_bytes = header_bytes,
                    .data_offset = end_ + header_bytes,
                    .format = format,
                    .n_rows = n_rows,
                    .n_cols = n_cols,
                    .rows_written = 0,
                    .sum = 0,
                    .has_header = false};
  const std::int64_t begin = end_;
  end_ = padded(image.data_offset + n_bytes);
#ifdef __linux__
  // A full disk is found out now; a file system that cannot tell is asked again by each write.
  while (fallocate(file_, 0, begin, end_ - begin) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) refuse(path_, "write", errno);
    break;
  }
#endif
  if (ftruncate(file_, end_) != 0) refuse(path_, "write", errno);
  images_.push_back(image);
  return images_.size() - 1;
}

template <class T, class Encode>
void PlaneWriter::write_pixels(Image& image, const T* values, std::int64_t n_rows, Encode encode) {
  if (n_rows > image.n_rows - image.rows_written) {
    throw FitsError(path_ + ": an image of " + std::to_string(image.n_rows) + " rows got " +
                    std::to_string(image.rows_written + n_rows));
  }
  const std::int64_t size = size_of(image.format);
  const std::int64_t most = static_cast<std::int64_t>(buffer_.size()) / size;
  std::int64_t offset = image.data_offset + image.rows_written * image.n_cols * size;
  for (std::int64_t left = n_rows * image.n_cols; left > 0;) {
    const std::int64_t n = std::min(most, left);
    image.sum += encode(values, n, buffer_.data());
    write(buffer_.data(), n * size, offset);
    values += n;
    offset += n * size;
    left -= n;
  }
  image.sum = (image.sum & 0xffffffffU) + (image.sum >> 32);
  image.rows_written += n_rows;
  if (image.rows_written == image.n_rows) flush();  // while others make numbers of the rows
}

void PlaneWriter::write_rows(std::size_t image, const double* values, std::int64_t n_rows) {
  Image& target = images_.at(image);
  switch (target.format) {
    case PixelFormat::float32:
      return write_pixels(target, values, n_rows, kernels::encode_float32);
    case PixelFormat::float64:
      return write_pixels(target, values, n_rows, kernels::encode_float64);
    case PixelFormat::int32:
      return write_pixels(target, values, n_rows, kernels::encode_whole);
  }
}

void PlaneWriter::write_rows(std::size_t image, const std::uint32_t* values, std::int64_t n_rows) {
  write_pixels(images_.at(image), values, n_rows, kernels::encode_int32);
}

std::uint32_t PlaneWriter::datasum(std::size_t image) const {
  std::uint64_t sum = images_.at(image).sum;
  while (sum >> 32 != 0) sum = (sum & 0xffffffffU) + (sum >> 32);
  return static_cast<std::uint32_t>(sum);
}

void PlaneWriter::write_header(std::size_t image, std::string_view header) {
  Image& target = images_.at(image);
  if (static_cast<std::int64_t>(header.size()) != target.header_bytes) {
    throw FitsError(path_ + ": a header of " + std::to_string(target.header_bytes) +
                    " bytes was reserved; got " + std::to_string(header.size()));
  }
  write(reinterpret_cast<const std::byte*>(header.data()), target.header_bytes,
        target.header_offset);
  target.has_header = true;
}

void PlaneWriter::write(const std::byte* bytes, std::int64_t n_bytes, std::int64_t offset) {
  for (std::int64_t done = 0; done < n_bytes;) {
    const ssize_t written =
        pwrite(file_, bytes + done, static_cast<std::size_t>(n_bytes - done), offset + done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) refuse(path_, "write", written < 0 ? errno : ENOSPC);
    done += written;
  }
  since_flush_ += n_bytes;
  if (since_flush_ >= flush_bytes) flush();
}

void PlaneWriter::flush() {
#ifdef __linux__
  sync_file_range(file_, 0, 0, SYNC_FILE_RANGE_WRITE);  // a wish; close() makes sure
#endif
  since_flush_ = 0;
}

void PlaneWriter::close() {
  for (const Image& image : images_) {
    if (!image.has_header || image.rows_written != image.n_rows) {
      throw FitsError(path_ + ": an image has " + std::to_string(image.rows_written) + " of " +
                      std::to_string(image.n_rows) + " rows" +
                      (image.has_header ? "" : ", and no header"));
    }
  }
  // Between images the padding reads as 0; behind the last one it would pass for reserved room.
  if (!images_.empty()) {
    const Image& last = images_.back();
    const std::int64_t end = last.data_offset + last.n_rows * last.n_cols * size_of(last.format);
    const std::array<std::byte, fits_block_bytes> zeros{};
    write(zeros.data(), end_ - end, end);
  }
  if (fsync(file_) != 0) refuse(path_, "write", errno);
  if (::close(std::exchange(file_, -1)) != 0) refuse(path_, "write", errno);
}

}  // namespace skipstream
