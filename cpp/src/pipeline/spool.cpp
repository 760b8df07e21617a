#include "skipstream/pipeline/spool.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "skipstream/base/error.hpp"

namespace skipstream {

Spool::Spool(std::size_t n_planes, std::int64_t n_cols, std::int64_t chunk_rows,
             std::int64_t memory_bytes, std::int64_t expected_rows, std::string folder,
             const Spool* before)
    : n_planes_(n_planes),
      n_cols_(n_cols),
      chunk_rows_(chunk_rows),
      folder_(std::move(folder)),
      planes_(n_planes) {
  if (before != nullptr && before->n_planes_ == n_planes_) {
    memory_ = before->memory_;
  } else {
    own_bytes_ = memory_bytes;
    if (expected_rows >= 0) {
      own_bytes_ = std::min(own_bytes_, expected_rows / chunk_rows_ * stride() +
                                            expected_rows % chunk_rows_ * row_bytes());
    }
    memory_ = std::make_shared<Memory>(static_cast<std::size_t>(own_bytes_));
  }
  const auto n_bytes = static_cast<std::int64_t>(memory_->size());
  rows_in_memory_ = n_bytes / stride() * chunk_rows_ + n_bytes % stride() / row_bytes();
}

Spool::~Spool() {
  if (file_ >= 0) close(file_);
}

std::int64_t Spool::row_bytes() const {
  return n_cols_ * static_cast<std::int64_t>(n_planes_ * sizeof(double) + sizeof(std::uint32_t));
}

/// From chunk to chunk, so that doubles are where doubles may be.
std::int64_t Spool::stride() const {
  constexpr auto alignment = static_cast<std::int64_t>(alignof(double));
  return (chunk_rows_ * row_bytes() + alignment - 1) / alignment * alignment;
}

/// The chunk in memory that begins at a row of the spool; it has as many rows as there is room for.
PixelChunk Spool::chunk_at(std::int64_t row) {
  const std::int64_t n = std::min(chunk_rows_, rows_in_memory_ - row);
  std::byte* begin = memory_->data() + row / chunk_rows_ * stride();
  for (auto& plane : planes_) {
    plane = reinterpret_cast<double*>(begin);
    begin += n * n_cols_ * static_cast<std::int64_t>(sizeof(double));
  }
  return {planes_, reinterpret_cast<std::uint32_t*>(begin), first_row_ + row, n, n_cols_};
}

namespace {

template <class T>
void copy_there(std::span<T> from, std::span<T> to) {
  if (from.data() != to.data()) std::memmove(to.data(), from.data(), from.size_bytes());
}

}  // namespace

void Spool::append(const PixelChunk& chunk) {
  if (n_rows_ == 0) first_row_ = chunk.first_row;
  for (std::int64_t r = 0; r < chunk.n_rows; ++r, ++n_rows_) {
    if (n_rows_ < rows_in_memory_) {
      const std::int64_t place = n_rows_ % chunk_rows_;
      const PixelChunk kept = chunk_at(n_rows_ - place);
      for (std::size_t p = 0; p < n_planes_; ++p) copy_there(chunk.row(p, r), kept.row(p, place));
      copy_there(chunk.mask_row(r), kept.mask_row(place));
    } else {
      for (std::size_t p = 0; p < n_planes_; ++p) write(std::as_bytes(chunk.row(p, r)));
      write(std::as_bytes(chunk.mask_row(r)));
    }
  }
}

void Spool::write(std::span<const std::byte> bytes) {
  if (file_ < 0) {
    std::string name = folder_ + "/skipstream-spool-XXXXXX";
    file_ = mkostemp(name.data(), 02000000 /* O_CLOEXEC */);
    if (file_ < 0) {
      throw IoError(folder_ + ": cannot make a temporary file: " + std::strerror(errno));
    }
    unlink(name.c_str());
  }
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_, bytes.data(), bytes.size(), file_bytes_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw IoError(folder_ + ": cannot spool rows: " + std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    file_bytes_ += written;
  }
}

void Spool::read(std::int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t got = pread(file_, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw IoError(folder_ + ": cannot read spooled rows back");
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
}

void Spool::replay(const std::function<void(PixelChunk&)>& receive) {
  const std::int64_t n_kept = std::min(n_rows_, rows_in_memory_);
  for (std::int64_t row = 0; row < n_kept; row += chunk_rows_) {
    PixelChunk chunk = chunk_at(row);
    chunk.n_rows = std::min(chunk.n_rows, n_kept - row);
    receive(chunk);
  }
  memory_.reset();
  const std::int64_t n_most = std::min(chunk_rows_, n_rows_ - n_kept);
  const auto n = static_cast<std::size_t>(n_most * n_cols_);
  std::vector<double> values(n * n_planes_);
  std::vector<std::uint32_t> mask(n);
  for (std::size_t p = 0; p < n_planes_; ++p) planes_[p] = values.data() + p * n;
  std::int64_t offset = 0;
  const auto read_next = [&](std::span<std::byte> bytes) {
    read(offset, bytes);
    offset += static_cast<std::int64_t>(bytes.size());
  };
  for (std::int64_t row = n_kept; row < n_rows_; row += n_most) {
    PixelChunk chunk{planes_, mask.data(), first_row_ + row, std::min(n_most, n_rows_ - row),
                     n_cols_};
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (std::size_t p = 0; p < n_planes_; ++p) {
        read_next(std::as_writable_bytes(chunk.row(p, r)));
      }
      read_next(std::as_writable_bytes(chunk.mask_row(r)));
    }
    receive(chunk);
  }
  n_rows_ = 0;
}

}  // namespace skipstream
