#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/sample.hpp"

namespace skipstream {

/// A row whose samples come in parts, some of which may be lost on the way.
class RowAssembly {
 public:
  /// Makes room, unless all rows are whole: nothing may be taken or lost then.
  void begin(std::int64_t row_samples, std::int64_t sample_bytes, bool whole_rows);

  [[nodiscard]] bool is_empty() const { return n_bytes_ == 0; }
  [[nodiscard]] bool is_full() const { return n_bytes_ == row_bytes_; }
  [[nodiscard]] std::int64_t bytes() const { return static_cast<std::int64_t>(row_bytes_); }
  /// Rows that are begun, or whole, when so many more bytes are there.
  [[nodiscard]] std::int64_t rows_after(std::int64_t n_bytes) const;
  /// Samples that the row still lacks, one that is there in part among them.
  [[nodiscard]] std::int64_t n_open() const;
  /// Whether the last byte ends a sample.
  [[nodiscard]] bool at_sample() const { return n_bytes_ % sample_bytes_ == 0; }

  /// Takes the bytes that the row has room for, and returns how many those are.
  std::size_t take(std::span<const std::byte> bytes);
  /// The next samples did not arrive; they are zeros. No more than the row has room for.
  void lose(std::int64_t n_samples);
  void clear();

  [[nodiscard]] std::byte* samples() { return bytes_.data(); }
  /// In order, and apart from each other. Where there are too many, what lies between two of them
  /// counts as lost.
  [[nodiscard]] std::span<const SampleRange> lost() const { return lost_; }
  [[nodiscard]] bool is_all_lost() const;

 private:
  static constexpr std::size_t max_lost = 256;

  std::size_t sample_bytes_ = 1;
  std::size_t row_bytes_ = 0;
  std::size_t n_bytes_ = 0;
  Array<std::byte> bytes_;
  Array<SampleRange> lost_;
};

}  // namespace skipstream
