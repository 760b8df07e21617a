#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstream {

/// Encoded samples of one image that can be asked for in any order, from several threads at once.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  /// The samples of pixels `[first_pixel, first_pixel + n_pixels)`, counted in C order over
  /// (n_rows, n_cols); skip fastest. Returns either a pointer into memory that outlives the call,
  /// or `scratch` after filling it; `scratch` holds n_pixels * n_skips * n_bytes.
  /// Throws IoError or FitsError.
  virtual const std::byte* fetch(std::int64_t first_pixel, std::int64_t n_pixels,
                                 std::byte* scratch) const = 0;
};

}  // namespace skipstream
