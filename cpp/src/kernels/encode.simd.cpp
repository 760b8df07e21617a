#include "skipstream/kernels/encode.hpp"

// Only plain types and loops here: see skips.simd.cpp.

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

namespace {

constexpr bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

inline std::uint32_t big_endian(std::uint32_t word) {
  return little ? __builtin_bswap32(word) : word;
}
inline std::uint64_t big_endian(std::uint64_t word) {
  return little ? __builtin_bswap64(word) : word;
}

}  // namespace

std::uint64_t encode_float32(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<float>(values[i]);
    std::uint32_t word;
    __builtin_memcpy(&word, &value, sizeof word);
    sum += word;
    word = big_endian(word);
    __builtin_memcpy(bytes + 4 * i, &word, sizeof word);
  }
  return sum;
}

std::uint64_t encode_float64(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint64_t word;
    __builtin_memcpy(&word, &values[i], sizeof word);
    sum += (word >> 32) + (word & 0xffffffffU);
    word = big_endian(word);
    __builtin_memcpy(bytes + 8 * i, &word, sizeof word);
  }
  return sum;
}

std::uint64_t encode_whole(const double* values, std::int64_t n, std::byte* bytes) noexcept {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const auto word = static_cast<std::uint32_t>(static_cast<std::int32_t>(values[i]));
    sum += word;
    const std::uint32_t swapped = big_endian(word);
    __builtin_memcpy(bytes + 4 * i, &swapped, sizeof swapped);
  }
  return sum;
}

std::uint64_t encode_int32(const std::uint32_t* values, std::int64_t n, std::byte* bytes) noexcept {
  std::uint64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += values[i];
    const std::uint32_t word = big_endian(values[i]);
    __builtin_memcpy(bytes + 4 * i, &word, sizeof word);
  }
  return sum;
}

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
