#include "skipstream/io/byte_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

std::int64_t modified_ns(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

[[noreturn]] void too_short(const std::string& name, std::int64_t offset, std::size_t n_bytes,
                            std::int64_t size) {
  throw FitsError(name + ": bytes " + std::to_string(offset) + " to " +
                  std::to_string(static_cast<std::uint64_t>(offset) + n_bytes) +
                  " are needed, but the file ends at " + std::to_string(size));
}

/// Where the last written byte ends: behind it a file may be reserved, but hold nothing. Zeros
/// before a hole, in the page that it cuts, may be unwritten too, and do not count either. A hole
/// that is shorter than a FITS block is padding.
std::int64_t end_of_written(int file, std::int64_t size, const std::string& name) {
  if (size == 0 || lseek(file, size - 1, SEEK_DATA) >= 0 || errno != ENXIO) return size;
  std::int64_t end = 0;
  for (;;) {
    const off_t data = lseek(file, end, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    end = data < 0 ? data : lseek(file, data, SEEK_HOLE);
    if (end < 0) throw IoError(name + ": cannot find its end: " + std::strerror(errno));
  }
  if (size - end < fits_block_bytes) return size;
  std::array<std::byte, 65536> tail{};
  const std::int64_t page = std::min<std::int64_t>(sysconf(_SC_PAGESIZE), std::ssize(tail));
  const std::int64_t begin = std::max<std::int64_t>(0, end - page);
  const ssize_t got = pread(file, tail.data(), static_cast<std::size_t>(end - begin), begin);
  if (got < end - begin) throw IoError(name + ": cannot read its end");
  while (end > begin && tail[static_cast<std::size_t>(end - 1 - begin)] == std::byte{0}) --end;
  return end;
}

}  // namespace

FileSource::FileSource(std::string path, std::string name)
    : path_(std::move(path)), name_(name.empty() ? path_ : std::move(name)) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  file_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file_ < 0) throw IoError(name_ + ": cannot open: " + std::strerror(errno));
  struct stat status {};
  if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) {
    const std::string what = S_ISDIR(status.st_mode)    ? "a folder"
                             : S_ISFIFO(status.st_mode) ? "a pipe"
                             : S_ISCHR(status.st_mode)  ? "a device"
                                                        : "something else";
    close(file_);
    throw IoError(name_ + ": must be a regular file; is " + what);
  }
  reserved_size_ = status.st_size;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  modified_ns_ = modified_ns(status);
  try {
    size_ = end_of_written(file_, reserved_size_, name_);
  } catch (const IoError&) {
    close(file_);
    throw;
  }
  posix_fadvise(file_, 0, 0, POSIX_FADV_SEQUENTIAL);
}

FileSource::~FileSource() { close(file_); }

void FileSource::read(std::int64_t offset, std::span<std::byte> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = pread(file_, bytes.data() + done, bytes.size() - done,
                              offset + static_cast<std::int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw IoError(name_ + ": cannot read: " + std::strerror(errno));
    if (got == 0) too_short(name_, offset, bytes.size(), offset + static_cast<std::int64_t>(done));
    done += static_cast<std::size_t>(got);
  }
}

void FileSource::check_unchanged() const {
  struct stat status {};
  if (fstat(file_, &status) != 0 || status.st_size != reserved_size_ ||
      modified_ns(status) != modified_ns_) {
    throw IoError(name_ + ": the file changed while it was read; read it again");
  }
  if (stat(path_.c_str(), &status) != 0 || status.st_dev != device_ || status.st_ino != inode_) {
    throw IoError(name_ + ": the file was replaced while it was read; read it again");
  }
}

void MemorySource::read(std::int64_t offset, std::span<std::byte> bytes) const {
  if (offset < 0 || offset > size() || static_cast<std::int64_t>(bytes.size()) > size() - offset) {
    too_short(name_, offset, bytes.size(), size());
  }
  std::copy_n(bytes_.begin() + offset, bytes.size(), bytes.begin());
}

}  // namespace skipstream
