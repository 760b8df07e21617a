#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstream::kernels {

/// Where the decoding of a Rice-compressed tile stands: between any two samples.
struct RiceState {
  std::int64_t bit = 0;    ///< next one, from the begin of the window
  std::uint32_t last = 0;  ///< the sample before, on which the next one builds
  std::int32_t split = 0;  ///< low bits of a sample that stand as they are, in this block
  std::int64_t left = 0;   ///< samples of this block that are still to come
  bool started = false;    ///< the first sample is known
};

/// Bytes that must be readable behind a window; zeros at the end of the tile.
inline constexpr std::int64_t rice_margin = 512;

/// Decodes up to `n` samples of 1, 2 or 4 bytes (RICE_1 of the FITS standard 4.0, section 10.4.1)
/// from a window of `n_bytes` of the compressed tile. Stops early where less than `rice_margin` is
/// left of the window, unless it is the tile's `last`. Returns how many it has decoded, or -1 when
/// the bytes are no such tile.
std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::uint8_t* samples,
                         std::int64_t n) noexcept;
std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::int16_t* samples,
                         std::int64_t n) noexcept;
std::int64_t rice_decode(const std::byte* window, std::int64_t n_bytes, bool last,
                         std::int64_t block, RiceState& state, std::int32_t* samples,
                         std::int64_t n) noexcept;

}  // namespace skipstream::kernels
