#include "skipstream/kernels/decode.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

namespace skipstream::kernels {

namespace {

template <class T, bool swapped>
T stored_at(const std::byte* sample) {
  std::byte bytes[sizeof(T)];
  std::memcpy(bytes, sample, sizeof(T));
  if constexpr (swapped) std::reverse(bytes, bytes + sizeof(T));
  T stored;
  std::memcpy(&stored, bytes, sizeof(T));
  return stored;
}

template <class T, bool swapped>
void decode_in_order(const std::byte* samples, std::int64_t n, const SampleFormat& format,
                     double* values) {
  constexpr auto size = static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t i = 0; i < n; ++i) {
    values[i] =
        format.scale * static_cast<double>(stored_at<T, swapped>(samples + i * size)) + format.zero;
  }
  if constexpr (std::is_integral_v<T>) {
    if (!format.blank) return;
    for (std::int64_t i = 0; i < n; ++i) {
      const auto stored = static_cast<std::int64_t>(stored_at<T, swapped>(samples + i * size));
      if (stored == *format.blank) values[i] = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

template <class T>
void decode_as(const std::byte* samples, std::int64_t n, const SampleFormat& format,
               double* values) {
  const bool swapped = format.big_endian != (std::endian::native == std::endian::big);
  if (swapped) {
    decode_in_order<T, true>(samples, n, format, values);
  } else {
    decode_in_order<T, false>(samples, n, format, values);
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
