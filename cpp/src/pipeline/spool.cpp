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
  std::int64_t done = 0;
  for (; done < chunk.n_rows && n_rows_ < rows_in_memory_; ++done, ++n_rows_) {
    const std::int64_t place = n_rows_ % chunk_rows_;
    const PixelChunk kept = chunk_at(n_rows_ - place);
    for (std::size_t p = 0; p < n_planes_; ++p) {
      copy_there(chunk.row(p, done), kept.row(p, place));
    }
    copy_there(chunk.mask_row(done), kept.mask_row(place));
  }
  while (done < chunk.n_rows) {  // as in memory, the rows of a plane side by side
    const std::int64_t row = n_rows_ - rows_in_memory_;
    const std::int64_t n = std::min(chunk.n_rows - done, chunk_rows_ - row % chunk_rows_);
    const auto n_values = static_cast<std::size_t>(n * n_cols_);
    for (std::size_t p = 0; p < n_planes_; ++p) {
      write(place_in_file(row, p), std::as_bytes(std::span(chunk.row(p, done).data(), n_values)));
    }
    write(place_in_file(row, n_planes_),
          std::as_bytes(std::span(chunk.mask_row(done).data(), n_values)));
    done += n;
    n_rows_ += n;
  }
}

/// Where a row of a plane begins, or of the mask behind all of them.
std::int64_t Spool::place_in_file(std::int64_t row, std::size_t plane) const {
  const bool is_mask = plane == n_planes_;
  const std::int64_t place = row % chunk_rows_ * n_cols_;
  return row / chunk_rows_ * chunk_rows_ * row_bytes() +
         static_cast<std::int64_t>(plane) * chunk_rows_ * n_cols_ * std::int64_t{sizeof(double)} +
         place * static_cast<std::int64_t>(is_mask ? sizeof(std::uint32_t) : sizeof(double));
}

void Spool::write(std::int64_t offset, std::span<const std::byte> bytes) {
  if (file_ < 0) {
    std::string name = folder_ + "/skipstream-spool-XXXXXX";
    file_ = mkostemp(name.data(), 02000000 /* O_CLOEXEC */);
    if (file_ < 0) {
      throw IoError(folder_ + ": cannot make a temporary file: " + std::strerror(errno));
    }
    unlink(name.c_str());
  }
  while (!bytes.empty()) {
    const ssize_t written = pwrite(file_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw IoError(folder_ + ": cannot spool rows: " + std::strerror(errno));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
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
  for (std::int64_t row = n_kept; row < n_rows_; row += n_most) {
    PixelChunk chunk{planes_, mask.data(), first_row_ + row, std::min(n_most, n_rows_ - row),
                     n_cols_};
    const auto n_values = static_cast<std::size_t>(chunk.n_rows * n_cols_);
    for (std::size_t p = 0; p < n_planes_; ++p) {
      read(place_in_file(row - n_kept, p), std::as_writable_bytes(std::span(planes_[p], n_values)));
    }
    read(place_in_file(row - n_kept, n_planes_),
         std::as_writable_bytes(std::span(mask).first(n_values)));
    receive(chunk);
  }
}

}  // namespace skipstream
