#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "skipstream/base/chunk.hpp"
#include "skipstream/base/large_vector.hpp"

namespace skipstream {

/// Pixel rows that wait for a barrier: in memory up to a limit, beyond it in an unnamed temporary
/// file that vanishes with the process.
class Spool {
 public:
  /// `memory_bytes` is reserved at once when `expected_bytes` is not known (-1) or larger. Where
  /// `before`, of the barrier before and of as many columns, has at least as many planes, its
  /// memory serves both: a row is read there before it comes here.
  Spool(std::size_t n_planes, std::int64_t n_cols, std::int64_t memory_bytes,
        std::int64_t expected_bytes, std::string folder, const Spool* before = nullptr);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Throws IoError when the temporary file cannot be written.
  void append(const PixelChunk& chunk);
  /// Hands back all rows in order, at most `chunk_rows` at a time, and forgets them.
  void replay(std::int64_t chunk_rows, const std::function<void(PixelChunk&)>& receive);
  /// What it reserved for itself.
  [[nodiscard]] std::int64_t own_bytes() const { return own_bytes_; }

 private:
  using Memory = LargeVector<std::byte>;

  void write(const void* data, std::size_t n_bytes);
  void read(std::int64_t offset, void* data, std::size_t n_bytes) const;

  std::size_t n_planes_;
  std::int64_t n_cols_;
  std::string folder_;
  std::shared_ptr<Memory> memory_;
  std::int64_t own_bytes_ = 0;
  std::size_t n_in_memory_ = 0;
  int file_ = -1;
  std::int64_t file_bytes_ = 0;
  std::int64_t first_row_ = 0;
  std::int64_t n_rows_ = 0;
};

}  // namespace skipstream
