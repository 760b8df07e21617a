#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "skipstream/base/sample.hpp"

namespace skipstream {

/// Consecutive rows of encoded samples, `(n_rows, n_cols, n_skips)`, C order; a view, never owning.
struct SampleChunk {
  const std::byte* samples = nullptr;
  std::int64_t first_row = 0;
  std::int64_t n_rows = 0;
};

enum class PlaneKind : std::uint8_t {
  location,  ///< moves with the samples' zero: mean, median, first, ...
  spread,    ///< does not: std, mad, ptp, ...
  other,     ///< neither: sum, rms, count
  label,     ///< a whole number that names something: of no use when rounded
};

/// One named plane of pixels.
struct PlaneInfo {
  std::string name;  ///< "mean", "median", "std", ...
  std::string unit;
  PlaneKind kind = PlaneKind::location;
};

/// Consecutive rows of pixels; a view on memory that the sender owns and the receiver may change
/// in place until it returns. A row that a stage has pushed on may be overwritten, in the chunk it
/// came in as well. Every plane is `(n_rows, n_cols)`, C order. Plane 0 is the value.
struct PixelChunk {
  std::span<double* const> planes;
  std::uint32_t* mask = nullptr;
  std::int64_t first_row = 0;
  std::int64_t n_rows = 0;
  std::int64_t n_cols = 0;

  [[nodiscard]] std::span<double> row(std::size_t plane, std::int64_t r) const {
    return {planes[plane] + r * n_cols, static_cast<std::size_t>(n_cols)};
  }
  [[nodiscard]] std::span<std::uint32_t> mask_row(std::int64_t r) const {
    return {mask + r * n_cols, static_cast<std::size_t>(n_cols)};
  }
};

}  // namespace skipstream
