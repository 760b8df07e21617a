#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/chunk.hpp"
#include "skipstream/base/memory.hpp"
#include "skipstream/base/stage.hpp"

namespace skipstream {

/// The last rows of an image, held back because rows to come may still change their mask.
class RowRing {
 public:
  RowRing() = default;
  /// Room for `n_rows` rows of `n_planes` planes of an image. Throws ConfigError where its limit of
  /// memory does not leave as much.
  RowRing(const ImageInfo& image, std::size_t n_planes, std::int64_t n_rows)
      : n_cols_((require_memory(image, bytes_of(image, n_planes, n_rows)), image.n_cols)),
        n_rows_(n_rows),
        mask_(static_cast<std::size_t>(n_rows * image.n_cols)),
        planes_(n_planes),
        sent_(n_planes) {
    for (auto& plane : planes_) plane.resize(mask_.size());
  }

  /// The rows that are held: [begin, end).
  [[nodiscard]] std::int64_t begin() const { return begin_; }
  [[nodiscard]] std::int64_t end() const { return end_; }
  [[nodiscard]] bool is_full() const { return end_ - begin_ == n_rows_; }
  [[nodiscard]] std::uint32_t* mask(std::int64_t row) { return mask_.data() + offset(row); }
  [[nodiscard]] const double* values(std::int64_t row) const {
    return planes_[0].data() + offset(row);
  }
  [[nodiscard]] std::int64_t bytes() const {
    return static_cast<std::int64_t>(mask_.size() * sizeof(std::uint32_t) +
                                     planes_.size() * mask_.size() * sizeof(double));
  }

  /// Copies row `r` of the chunk behind the last one; the ring must not be full.
  void append(const PixelChunk& chunk, std::int64_t r) {
    const std::int64_t to = offset(end_);
    for (std::size_t p = 0; p < planes_.size(); ++p) {
      std::copy_n(chunk.row(p, r).begin(), n_cols_, planes_[p].begin() + to);
    }
    std::copy_n(chunk.mask_row(r).begin(), n_cols_, mask_.begin() + to);
    ++end_;
  }

  /// Sends the first row on.
  void send_first(StageOutput& output) {
    const std::int64_t from = offset(begin_);
    for (std::size_t p = 0; p < planes_.size(); ++p) sent_[p] = planes_[p].data() + from;
    PixelChunk chunk{sent_, mask_.data() + from, begin_, 1, n_cols_};
    output.push(chunk);
    ++begin_;
  }

 private:
  static std::int64_t bytes_of(const ImageInfo& image, std::size_t n_planes, std::int64_t n_rows) {
    return n_rows * image.n_cols *
           static_cast<std::int64_t>(sizeof(std::uint32_t) + n_planes * sizeof(double));
  }
  [[nodiscard]] std::int64_t offset(std::int64_t row) const { return row % n_rows_ * n_cols_; }

  std::int64_t n_cols_ = 0;
  std::int64_t n_rows_ = 1;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  Array<std::uint32_t> mask_;
  Array<Array<double>> planes_;
  Array<double*> sent_;
};

}  // namespace skipstream
