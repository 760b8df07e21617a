// libFuzzer target: any bytes as a Rice-compressed tile, against a decoder that reads bit by bit.
//
//   .ci/run fuzz [seconds]        # needs clang

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "skipstream/kernels/rice.hpp"

using namespace skipstream::kernels;

namespace {

/// The definition, FITS standard 4.0, section 10.4.1; false: the tile ends too early.
template <class T>
class Slow {
 public:
  Slow(const std::uint8_t* bytes, std::int64_t n_bytes) : bytes_(bytes), n_bits_(n_bytes * 8) {}

  bool decode(std::int64_t block, std::vector<T>& samples) {
    constexpr int width = sizeof(T) * 8;
    constexpr int split_bits = width == 8 ? 3 : width == 16 ? 4 : 5;
    constexpr int raw_split = width == 8 ? 6 : width == 16 ? 14 : 25;
    std::uint32_t last = 0;
    if (!bits(width, last)) return false;
    for (std::size_t i = 0; i < samples.size();) {
      std::uint32_t split = 0;
      if (!bits(split_bits, split)) return false;
      const std::size_t end = std::min(samples.size(), i + static_cast<std::size_t>(block));
      for (; i < end; ++i) {
        std::uint32_t step = 0;
        if (split == raw_split + 1) {
          if (!bits(width, step)) return false;
        } else if (split > raw_split + 1) {
          return false;
        } else if (split > 0) {
          std::uint32_t high = 0;
          for (std::uint32_t bit = 0; bit == 0;) {
            if (!bits(1, bit)) return false;
            high += bit == 0 ? 1 : 0;
          }
          std::uint32_t low = 0;
          if (!bits(static_cast<int>(split) - 1, low)) return false;
          step = (high << (split - 1)) | low;
        }
        last += (step & 1) != 0 ? ~(step >> 1) : step >> 1;
        samples[i] = static_cast<T>(last);
      }
    }
    return true;
  }

 private:
  bool bits(int n, std::uint32_t& value) {
    if (bit_ + n > n_bits_) return false;
    value = 0;
    for (int i = 0; i < n; ++i, ++bit_) {
      value = value << 1 | (bytes_[bit_ / 8] >> (7 - bit_ % 8) & 1U);
    }
    return true;
  }

  const std::uint8_t* bytes_;
  std::int64_t n_bits_;
  std::int64_t bit_ = 0;
};

template <class T>
void compare(const std::uint8_t* tile, std::int64_t n_bytes, std::int64_t block, std::int64_t n,
             std::int64_t step) {
  std::vector<T> expected(static_cast<std::size_t>(n));
  const bool is_tile = Slow<T>(tile, n_bytes).decode(block, expected);
  std::vector<std::byte> window(static_cast<std::size_t>(n_bytes + rice_margin));
  if (n_bytes > 0) std::memcpy(window.data(), tile, static_cast<std::size_t>(n_bytes));
  std::vector<T> found(static_cast<std::size_t>(n));
  RiceState state;
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t got = rice_decode(window.data(), n_bytes, true, block, state,
                                         found.data() + done, std::min(step, n - done));
    if (got < 0) {
      if (is_tile) std::abort();
      return;
    }
    if (got == 0) std::abort();
    done += got;
  }
  if (!is_tile || found != expected) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  constexpr std::array<std::int64_t, 4> blocks{16, 32, 1, 7};
  const std::int64_t block = blocks[data[0] >> 2 & 3];
  const std::int64_t n = 1 + data[1] + (data[0] >> 4) * 16;
  const std::int64_t step = data[2] == 0 ? n : data[2];
  const auto n_bytes = static_cast<std::int64_t>(size) - 3;
  switch (data[0] & 3) {
    case 0:
      compare<std::uint8_t>(data + 3, n_bytes, block, n, step);
      break;
    case 1:
      compare<std::int16_t>(data + 3, n_bytes, block, n, step);
      break;
    default:
      compare<std::int32_t>(data + 3, n_bytes, block, n, step);
      break;
  }
  return 0;
}
