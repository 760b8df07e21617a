#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace skipstream {

/// Reads the encoded samples of an image from some pixel on. Each thread has a cursor of its own.
class SampleCursor {
 public:
  virtual ~SampleCursor() = default;
  /// Goes to a pixel that begins a piece of the source.
  virtual void seek(std::int64_t first_pixel) = 0;
  /// The samples of the next pixels, counted in C order over (n_rows, n_cols); skip fastest.
  /// Returns either a pointer into memory that outlives the source, or `scratch` after filling it;
  /// `scratch` holds n_pixels * n_skips * n_bytes. Throws IoError or FitsError.
  virtual const std::byte* next(std::int64_t n_pixels, std::byte* scratch) = 0;
};

/// The encoded samples of one image, in pieces that can be read apart from each other.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// Cursors seek multiples of this. All pixels at once: the source is read in order.
  [[nodiscard]] virtual std::int64_t piece_pixels() const { return 1; }
  /// Memory that a cursor holds, at most, beside the scratch that it is given.
  [[nodiscard]] virtual std::int64_t cursor_bytes() const { return 0; }
  [[nodiscard]] virtual std::unique_ptr<SampleCursor> cursor() const = 0;
};

}  // namespace skipstream
