#include "skipstream/pipeline/row_assembly.hpp"

#include <algorithm>
#include <cstring>

namespace skipstream {

void RowAssembly::begin(std::int64_t row_samples, std::int64_t sample_bytes, bool whole_rows) {
  sample_bytes_ = static_cast<std::size_t>(sample_bytes);
  row_bytes_ = static_cast<std::size_t>(row_samples) * sample_bytes_;
  if (whole_rows) return;
  bytes_.resize(row_bytes_);
  lost_.reserve(max_lost);
}

std::int64_t RowAssembly::rows_after(std::int64_t n_bytes) const {
  const std::int64_t row = bytes();
  return n_bytes / row + (n_bytes % row + static_cast<std::int64_t>(n_bytes_) + row - 1) / row;
}

std::int64_t RowAssembly::n_open() const {
  return static_cast<std::int64_t>((row_bytes_ - n_bytes_ + sample_bytes_ - 1) / sample_bytes_);
}

std::size_t RowAssembly::take(std::span<const std::byte> bytes) {
  const std::size_t n = std::min(bytes.size(), row_bytes_ - n_bytes_);
  std::copy_n(bytes.begin(), n, bytes_.data() + n_bytes_);  // also none, of no memory
  n_bytes_ += n;
  return n;
}

void RowAssembly::lose(std::int64_t n_samples) {
  const auto begin = static_cast<std::int64_t>(n_bytes_ / sample_bytes_);
  const std::size_t end_byte = static_cast<std::size_t>(begin + n_samples) * sample_bytes_;
  std::memset(bytes_.data() + n_bytes_, 0, end_byte - n_bytes_);
  n_bytes_ = end_byte;
  const bool joins = !lost_.empty() && (lost_.back().end == begin || lost_.size() == max_lost);
  if (joins) {
    lost_.back().end = begin + n_samples;
  } else {
    lost_.push_back({begin, begin + n_samples});
  }
}

void RowAssembly::clear() {
  n_bytes_ = 0;
  lost_.clear();
}

bool RowAssembly::is_all_lost() const {
  return lost_.size() == 1 && lost_[0].begin == 0 &&
         lost_[0].end == static_cast<std::int64_t>(row_bytes_ / sample_bytes_);
}

}  // namespace skipstream
