#include "skipstream/kernels/decode.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

namespace skipstream::kernels {

namespace {

template <class T>
void decode_as(const std::byte* samples, std::int64_t n, const SampleFormat& format,
               double* values) {
  const bool swap = format.big_endian != (std::endian::native == std::endian::big);
  for (std::int64_t i = 0; i < n; ++i) {
    std::byte bytes[sizeof(T)];
    std::memcpy(bytes, samples + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    if (swap) std::reverse(bytes, bytes + sizeof(T));
    T stored;
    std::memcpy(&stored, bytes, sizeof(T));
    values[i] = format.scale * static_cast<double>(stored) + format.zero;
    if constexpr (std::is_integral_v<T>) {
      if (format.blank && static_cast<std::int64_t>(stored) == *format.blank) {
        values[i] = std::numeric_limits<double>::quiet_NaN();
      }
    }
  }
}

}  // namespace

void decode_samples(const std::byte* samples, std::int64_t n, const SampleFormat& format,
                    double* values) noexcept {
  if (format.kind == SampleKind::floating) {
    return format.n_bytes == 4 ? decode_as<float>(samples, n, format, values)
                               : decode_as<double>(samples, n, format, values);
  }
  switch (format.n_bytes) {
    case 1:
      return format.is_unsigned ? decode_as<std::uint8_t>(samples, n, format, values)
                                : decode_as<std::int8_t>(samples, n, format, values);
    case 2:
      return format.is_unsigned ? decode_as<std::uint16_t>(samples, n, format, values)
                                : decode_as<std::int16_t>(samples, n, format, values);
    case 4:
      return format.is_unsigned ? decode_as<std::uint32_t>(samples, n, format, values)
                                : decode_as<std::int32_t>(samples, n, format, values);
    default:
      return format.is_unsigned ? decode_as<std::uint64_t>(samples, n, format, values)
                                : decode_as<std::int64_t>(samples, n, format, values);
  }
}

}  // namespace skipstream::kernels
