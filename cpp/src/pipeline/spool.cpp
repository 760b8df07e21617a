#include "skipstream/pipeline/spool.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "skipstream/base/error.hpp"

namespace skipstream {

Spool::Spool(std::size_t n_planes, std::int64_t n_cols, std::int64_t memory_bytes,
             std::int64_t expected_bytes, std::string folder, const Spool* before)
    : n_planes_(n_planes), n_cols_(n_cols), folder_(std::move(folder)) {
  if (before != nullptr && before->n_planes_ >= n_planes_) {
    memory_ = before->memory_;
    return;
  }
  own_bytes_ = expected_bytes < 0 ? memory_bytes : std::min(memory_bytes, expected_bytes);
  memory_ = std::make_shared<Memory>(static_cast<std::size_t>(own_bytes_));
}

Spool::~Spool() {
  if (file_ >= 0) close(file_);
}

void Spool::append(const PixelChunk& chunk) {
  if (n_rows_ == 0) first_row_ = chunk.first_row;
  const auto plane_row_bytes = static_cast<std::size_t>(n_cols_) * sizeof(double);
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    for (std::size_t p = 0; p < n_planes_; ++p) write(chunk.row(p, r).data(), plane_row_bytes);
    write(chunk.mask_row(r).data(), static_cast<std::size_t>(n_cols_) * sizeof(std::uint32_t));
  }
  n_rows_ += chunk.n_rows;
}

void Spool::write(const void* data, std::size_t n_bytes) {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (file_ < 0 && n_in_memory_ + n_bytes <= memory_->size()) {
    std::memcpy(memory_->data() + n_in_memory_, bytes, n_bytes);
    n_in_memory_ += n_bytes;
    return;
  }
  if (file_ < 0) {
    std::string name = folder_ + "/skipstream-spool-XXXXXX";
    file_ = mkostemp(name.data(), 02000000 /* O_CLOEXEC */);
    if (file_ < 0) {
      throw IoError(folder_ + ": cannot make a temporary file: " + std::strerror(errno));
    }
    unlink(name.c_str());
  }
  while (n_bytes > 0) {
    const ssize_t written = pwrite(file_, bytes, n_bytes, file_bytes_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw IoError(folder_ + ": cannot spool rows: " + std::strerror(errno));
    }
    bytes += written;
    n_bytes -= static_cast<std::size_t>(written);
    file_bytes_ += written;
  }
}

void Spool::read(std::int64_t offset, void* data, std::size_t n_bytes) const {
  auto* bytes = static_cast<std::byte*>(data);
  const auto in_memory = static_cast<std::int64_t>(n_in_memory_);
  if (offset < in_memory) {
    const std::size_t part = std::min(n_bytes, static_cast<std::size_t>(in_memory - offset));
    std::memcpy(bytes, memory_->data() + offset, part);
    bytes += part;
    n_bytes -= part;
    offset += static_cast<std::int64_t>(part);
  }
  while (n_bytes > 0) {
    const ssize_t got = pread(file_, bytes, n_bytes, offset - in_memory);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw IoError(folder_ + ": cannot read spooled rows back");
    bytes += got;
    offset += got;
    n_bytes -= static_cast<std::size_t>(got);
  }
}

void Spool::replay(std::int64_t chunk_rows, const std::function<void(PixelChunk&)>& receive) {
  const auto n = static_cast<std::size_t>(std::min(chunk_rows, n_rows_) * n_cols_);
  std::vector<double> values(n * n_planes_);
  std::vector<std::uint32_t> mask(n);
  std::vector<double*> planes(n_planes_);
  for (std::size_t p = 0; p < n_planes_; ++p) planes[p] = values.data() + p * n;
  std::int64_t offset = 0;
  for (std::int64_t done = 0; done < n_rows_; done += chunk_rows) {
    PixelChunk chunk{planes, mask.data(), first_row_ + done, std::min(chunk_rows, n_rows_ - done),
                     n_cols_};
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (std::size_t p = 0; p < n_planes_; ++p) {
        const auto row = chunk.row(p, r);
        read(offset, row.data(), row.size_bytes());
        offset += static_cast<std::int64_t>(row.size_bytes());
      }
      const auto row = chunk.mask_row(r);
      read(offset, row.data(), row.size_bytes());
      offset += static_cast<std::int64_t>(row.size_bytes());
    }
    receive(chunk);
  }
  memory_.reset();
  n_rows_ = 0;
}

}  // namespace skipstream
