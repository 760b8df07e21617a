#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "skipstream/base/chunk.hpp"
#include "skipstream/base/large_vector.hpp"

namespace skipstream {

/// Pixel rows that wait for a barrier: in memory up to a limit, beyond it in an unnamed temporary
/// file that vanishes with the process.
///
/// They lie as chunks, plane after plane; those in memory are handed back where they are.
class Spool {
 public:
  /// Rows come back at most `chunk_rows` at a time. `memory_bytes` is reserved at once when
  /// `expected_rows` is not known (-1) or needs more. Where `before`, of the barrier before and of
  /// as many columns and rows in a chunk, has as many planes, its memory serves both: a row is read
  /// there before it comes here, and most often is there already.
  Spool(std::size_t n_planes, std::int64_t n_cols, std::int64_t chunk_rows,
        std::int64_t memory_bytes, std::int64_t expected_rows, std::string folder,
        const Spool* before = nullptr);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Throws IoError when the temporary file cannot be written.
  void append(const PixelChunk& chunk);
  /// Hands back all rows in order, once.
  void replay(const std::function<void(PixelChunk&)>& receive);
  /// What it reserved for itself.
  [[nodiscard]] std::int64_t own_bytes() const { return own_bytes_; }

 private:
  using Memory = LargeVector<std::byte>;

  [[nodiscard]] std::int64_t row_bytes() const;
  [[nodiscard]] std::int64_t stride() const;
  [[nodiscard]] PixelChunk chunk_at(std::int64_t row);
  [[nodiscard]] std::int64_t place_in_file(std::int64_t row, std::size_t plane) const;
  void write(std::int64_t offset, std::span<const std::byte> bytes);
  void read(std::int64_t offset, std::span<std::byte> bytes) const;

  std::size_t n_planes_;
  std::int64_t n_cols_;
  std::int64_t chunk_rows_;
  std::string folder_;
  std::shared_ptr<Memory> memory_;
  std::vector<double*> planes_;  ///< of the chunk in hand
  std::int64_t own_bytes_ = 0;
  std::int64_t rows_in_memory_ = 0;  ///< that there is room for
  int file_ = -1;
  std::int64_t first_row_ = 0;
  std::int64_t n_rows_ = 0;
};

}  // namespace skipstream
