#include "skipstream/io/byte_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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
                  std::to_string(offset + static_cast<std::int64_t>(n_bytes)) +
                  " are needed, but the file ends at " + std::to_string(size));
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
  size_ = status.st_size;
  device_ = status.st_dev;
  inode_ = status.st_ino;
  modified_ns_ = modified_ns(status);
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
  if (fstat(file_, &status) != 0 || status.st_size != size_ ||
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
