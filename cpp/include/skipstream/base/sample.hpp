#pragma once

#include <cstdint>
#include <optional>

namespace skipstream {

enum class SampleKind : std::uint8_t { integer, floating };

/// How one sample is stored, and the number that it stands for: `value = scale * stored + zero`.
///
/// The unsigned conventions of FITS are signed integers with `zero` 2^(bits-1); NumPy's unsigned
/// types are `is_unsigned`. Both are exact: integer samples are reduced as stored, and scale and
/// zero are applied to the result.
struct SampleFormat {
  SampleKind kind = SampleKind::integer;
  int n_bytes = 2;  ///< 1, 2, 4 or 8; floating samples 4 or 8
  bool big_endian = false;
  bool is_unsigned = false;
  double scale = 1.0;
  double zero = 0.0;
  std::optional<std::int64_t> blank;  ///< the stored integer that stands for "missing"
};

/// Samples, half-open, such as those that were lost on their way.
struct SampleRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

}  // namespace skipstream
