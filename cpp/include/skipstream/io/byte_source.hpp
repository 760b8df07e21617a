#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace skipstream {

inline constexpr std::int64_t fits_block_bytes = 2880;

/// The bytes up to the end of their last FITS block.
constexpr std::int64_t padded(std::int64_t n_bytes) {
  return (n_bytes + fits_block_bytes - 1) / fits_block_bytes * fits_block_bytes;
}

/// Bytes that can be read at any offset, from several threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// More than `size` where room was made for bytes that were never written.
  [[nodiscard]] virtual std::int64_t reserved_size() const { return size(); }
  /// Fills all of `bytes`. Throws FitsError when they are not there, IoError when they cannot be
  /// read.
  virtual void read(std::int64_t offset, std::span<std::byte> bytes) const = 0;
};

/// A regular file, read by pread: it may shrink or grow under us without harm.
class FileSource : public ByteSource {
 public:
  /// `name` stands for the path in messages, if given. Throws IoError when the file cannot be
  /// opened or is not a regular file.
  explicit FileSource(std::string path, std::string name = "");
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  [[nodiscard]] const std::string& name() const override { return name_; }
  /// Up to the last byte that was written: a hole at the end of a file is none of it.
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] std::int64_t reserved_size() const override { return reserved_size_; }
  void read(std::int64_t offset, std::span<std::byte> bytes) const override;

  /// Throws IoError when the file was replaced or changed since it was opened.
  void check_unchanged() const;

 private:
  std::string path_;
  std::string name_;
  int file_ = -1;
  std::int64_t size_ = 0;
  std::int64_t reserved_size_ = 0;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  std::int64_t modified_ns_ = 0;
};

/// Bytes that the caller keeps alive.
class MemorySource : public ByteSource {
 public:
  MemorySource(std::string name, std::span<const std::byte> bytes)
      : name_(std::move(name)), bytes_(bytes) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(bytes_.size());
  }
  void read(std::int64_t offset, std::span<std::byte> bytes) const override;

 private:
  std::string name_;
  std::span<const std::byte> bytes_;
};

}  // namespace skipstream
