// The tile decoders: every width and block against an encoder of the standard's section 10.4.1,
// windows that end anywhere, and damage of any kind. Meant to run under the sanitizers, too.

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "fits_text.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/plane_writer.hpp"
#include "skipstream/io/tile_reader.hpp"
#include "skipstream/kernels/rice.hpp"

using namespace skipstream;

namespace {

class BitWriter {
 public:
  void put(std::uint64_t value, int n_bits) {
    for (int i = n_bits - 1; i >= 0; --i) {
      if (n_ % 8 == 0) bytes.push_back(std::byte{0});
      if (value >> i & 1) bytes.back() |= std::byte{0x80} >> (n_ % 8);
      ++n_;
    }
  }
  std::vector<std::byte> bytes;

 private:
  std::size_t n_ = 0;
};

template <class T>
struct Code;
template <>
struct Code<std::uint8_t> {
  static constexpr int bits = 3;
  static constexpr int raw = 6;
};
template <>
struct Code<std::int16_t> {
  static constexpr int bits = 4;
  static constexpr int raw = 14;
};
template <>
struct Code<std::int32_t> {
  static constexpr int bits = 5;
  static constexpr int raw = 25;
};

/// The shortest code of each block, as the standard describes it.
template <class T>
std::vector<std::byte> encode(const std::vector<T>& samples, std::size_t block) {
  constexpr int width = 8 * static_cast<int>(sizeof(T));
  using Unsigned = std::make_unsigned_t<T>;
  BitWriter out;
  out.put(static_cast<Unsigned>(samples[0]), width);
  T last = samples[0];
  for (std::size_t begin = 0; begin < samples.size(); begin += block) {
    const std::size_t end = std::min(begin + block, samples.size());
    std::vector<Unsigned> mapped;
    bool is_flat = true;
    for (std::size_t i = begin; i < end; ++i) {
      const auto d = static_cast<std::make_signed_t<T>>(static_cast<Unsigned>(samples[i]) -
                                                        static_cast<Unsigned>(last));
      last = samples[i];
      const auto twice = static_cast<Unsigned>(static_cast<Unsigned>(d) << 1);
      mapped.push_back(d < 0 ? static_cast<Unsigned>(~twice) : twice);
      is_flat = is_flat && d == 0;
    }
    if (is_flat) {
      out.put(0, Code<T>::bits);
      continue;
    }
    int best = Code<T>::raw;
    std::uint64_t shortest = static_cast<std::uint64_t>(width) * mapped.size();
    for (int split = 0; split < Code<T>::raw; ++split) {
      std::uint64_t length = 0;
      for (const auto m : mapped) length += (m >> split) + 1 + static_cast<unsigned>(split);
      if (length < shortest) {
        shortest = length;
        best = split;
      }
    }
    out.put(static_cast<std::uint64_t>(best) + 1, Code<T>::bits);
    for (const auto m : mapped) {
      if (best == Code<T>::raw) {
        out.put(m, width);
        continue;
      }
      for (std::uint64_t zero = m >> best; zero > 0; --zero) out.put(0, 1);
      out.put(1, 1);
      out.put(m & ((std::uint64_t{1} << best) - 1), best);
    }
  }
  return out.bytes;
}

template <class T>
std::vector<T> noise(std::mt19937_64& random, std::size_t n, double sigma) {
  std::normal_distribution<double> normal(100, sigma);
  std::vector<T> samples(n);
  for (auto& sample : samples) {
    sample = static_cast<T>(static_cast<std::int64_t>(normal(random)));
    if (random() % 97 == 0) sample = std::numeric_limits<T>::max();
    if (random() % 89 == 0) sample = std::numeric_limits<T>::min();
  }
  return samples;
}

/// Through windows of a size, refilled as the reader does.
template <class T>
std::vector<T> decode(const std::vector<std::byte>& coded, std::size_t n, std::size_t block,
                      std::size_t window_size, std::size_t at_once) {
  constexpr auto margin = static_cast<std::size_t>(kernels::rice_margin);
  std::vector<std::byte> window(window_size + margin);
  std::size_t next = 0;
  std::size_t filled = 0;
  kernels::RiceState state;
  std::vector<T> samples(n);
  std::size_t done = 0;
  while (done < n) {
    const std::size_t wanted = std::min(at_once, n - done);
    const std::int64_t got =
        kernels::rice_decode(window.data(), static_cast<std::int64_t>(filled), next == coded.size(),
                             static_cast<std::int64_t>(block), state, samples.data() + done,
                             static_cast<std::int64_t>(wanted));
    if (got < 0) return {};
    done += static_cast<std::size_t>(got);
    if (static_cast<std::size_t>(got) == wanted) continue;
    const auto used = std::min(static_cast<std::size_t>(state.bit / 8), filled);
    std::memmove(window.data(), window.data() + used, filled - used);
    state.bit -= static_cast<std::int64_t>(8 * used);
    filled -= used;
    const std::size_t more = std::min(window_size - filled, coded.size() - next);
    if (more == 0) return {};
    std::memcpy(window.data() + filled, coded.data() + next, more);
    next += more;
    filled += more;
    std::memset(window.data() + filled, 0, margin);
  }
  return samples;
}

template <class T>
void every_width_of_noise_and_every_window() {
  std::mt19937_64 random(1);
  for (const double sigma : {1e-9, 0.4, 3.0, 20.0, 300.0, 2e4, 1e8}) {
    for (const std::size_t block : {1, 16, 32, 33}) {
      for (const std::size_t n : {1, 31, 32, 1000, 4097}) {
        const auto samples = noise<T>(random, n, sigma);
        const auto coded = encode(samples, block);
        for (const std::size_t window : {std::size_t{1025}, std::size_t{4096}, coded.size() + 9}) {
          check::that(decode<T>(coded, n, block, window, 1 + random() % 700) == samples,
                      "sigma " + std::to_string(sigma));
        }
      }
    }
  }
}

template <class T>
void damage_is_found_or_harmless() {
  std::mt19937_64 random(2);
  for (int i = 0; i < 15'000; ++i) {
    const std::size_t n = 1 + random() % 600;
    auto coded = encode(noise<T>(random, n, std::pow(10.0, static_cast<double>(random() % 5))), 32);
    for (std::size_t k = 0; k <= random() % 4; ++k) {
      switch (random() % 3) {
        case 0:
          coded[random() % coded.size()] = static_cast<std::byte>(random());
          break;
        case 1:
          coded.resize(1 + random() % coded.size());
          break;
        default:
          std::fill(coded.begin() + static_cast<std::ptrdiff_t>(random() % coded.size()),
                    coded.end(), std::byte{0});
      }
    }
    decode<T>(coded, n, 32, 1025 + random() % 2000, 1 + random() % 700);
  }
  check::that(true);
}

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

/// An image of 16-bit noise in tiles of one row.
std::string tiled(std::mt19937_64& random, std::size_t n_rows, std::size_t n_cols,
                  std::vector<std::int16_t>& samples) {
  std::string table;
  std::string heap;
  for (std::size_t row = 0; row < n_rows; ++row) {
    const auto one = noise<std::int16_t>(random, n_cols, 20);
    samples.insert(samples.end(), one.begin(), one.end());
    const auto coded = encode(one, 32);
    table += big_endian(static_cast<std::uint32_t>(coded.size()));
    table += big_endian(static_cast<std::uint32_t>(heap.size()));
    for (const auto byte : coded) heap += static_cast<char>(byte);
  }
  const auto number = [](std::size_t n) { return std::to_string(n); };
  std::string text = card("SIMPLE", "T") + card("BITPIX", "8") + card("NAXIS", "0") + "END";
  std::string head =
      card("XTENSION", "'BINTABLE'") + card("BITPIX", "8") + card("NAXIS", "2") +
      card("NAXIS1", "8") + card("NAXIS2", number(n_rows)) + card("PCOUNT", number(heap.size())) +
      card("GCOUNT", "1") + card("TFIELDS", "1") + card("TTYPE1", "'COMPRESSED_DATA'") +
      card("TFORM1", "'1PB     '") + card("ZIMAGE", "T") + card("ZCMPTYPE", "'RICE_1  '") +
      card("ZBITPIX", "16") + card("ZNAXIS", "2") + card("ZNAXIS1", number(n_cols)) +
      card("ZNAXIS2", number(n_rows)) + card("ZNAME1", "'BYTEPIX '") + card("ZVAL1", "2") + "END";
  return blocks(text, ' ') + blocks(head, ' ') + blocks(table + heap, '\0');
}

std::vector<std::int16_t> read(const std::string& bytes, std::int64_t n_rows, std::int64_t n_cols,
                               bool is_reversed = false) {
  const MemorySource source("raw.fits", std::as_bytes(std::span(bytes)));
  const auto hdus = scan_fits(source);
  if (hdus.size() < 2 || !TileReader::knows(hdus[1])) throw FitsError("no tiles");
  const TileReader reader(source, hdus[1],
                          {.n_rows = n_rows, .n_cols = n_cols, .is_reversed = is_reversed}, {});
  if (reader.format().n_bytes != 2) throw FitsError("no 16-bit samples");
  std::vector<std::int16_t> samples(static_cast<std::size_t>(n_rows * n_cols));
  const auto cursor = reader.cursor();
  cursor->seek(0);
  for (std::int64_t row = 0; row < n_rows; ++row) {
    cursor->next(n_cols, reinterpret_cast<std::byte*>(samples.data() + row * n_cols));
  }
  return samples;
}

void tiles_of_a_file_are_decoded() {
  std::mt19937_64 random(3);
  std::vector<std::int16_t> samples;
  const std::string bytes = tiled(random, 7, 500, samples);
  check::that(read(bytes, 7, 500) == samples);
  auto mirrored = read(bytes, 7, 500, true);
  for (std::size_t row = 0; row < 7; ++row) {
    const auto begin = mirrored.begin() + static_cast<std::ptrdiff_t>(500 * row);
    std::reverse(begin, begin + 500);
  }
  check::that(mirrored == samples, "mirrored");
}

void mutations_of_a_tiled_file_never_do_worse_than_an_error() {
  std::mt19937_64 random(4);
  std::vector<std::int16_t> samples;
  const std::string good = tiled(random, 5, 300, samples);
  int n_refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good;
    for (std::size_t k = 0; k <= random() % 3; ++k) {
      if (random() % 8 == 0) {
        bytes.resize(1 + random() % bytes.size(), '\0');
      } else {
        const std::size_t at =
            random() % 3 == 0 ? random() % bytes.size() : 5760 + random() % (bytes.size() - 5760);
        bytes[at % bytes.size()] = static_cast<char>(random());
      }
      if (bytes.size() <= 5760) break;
    }
    try {
      read(bytes, 5, 300);
    } catch (const Error&) {
      ++n_refused;
    }
  }
  check::that(n_refused > 5000, "most mutations are refused: " + std::to_string(n_refused));
}

void planes_come_back_from_the_disk() {
  const std::string path = "/tmp/skipstream_test_tiles_" + std::to_string(getpid()) + ".fits";
  std::vector<double> values(7 * 9000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) / 7;
  {
    PlaneWriter writer(path);
    writer.add_image(2880, PixelFormat::float32, 7, 9000);
    for (std::int64_t row = 0; row < 7; ++row) writer.write_rows(0, values.data() + row * 9000, 1);
    check::throws<FitsError>([&] { writer.write_rows(0, values.data(), 1); }, "7 rows got 8");
    check::throws<FitsError>([&] { writer.close(); }, "and no header");
    writer.write_header(0, std::string(2880, ' '));
    writer.close();
  }
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::remove(path.c_str());
  check::equal(bytes.size(), std::size_t{2880 + (7 * 9000 * 4 + 2879) / 2880 * 2880});
  bool same = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto* at = reinterpret_cast<const unsigned char*>(bytes.data()) + 2880 + 4 * i;
    const auto word = static_cast<std::uint32_t>(at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]);
    same = same && std::bit_cast<float>(word) == static_cast<float>(values[i]);
  }
  check::that(same);
}

}  // namespace

int main() {
  every_width_of_noise_and_every_window<std::uint8_t>();
  every_width_of_noise_and_every_window<std::int16_t>();
  every_width_of_noise_and_every_window<std::int32_t>();
  damage_is_found_or_harmless<std::uint8_t>();
  damage_is_found_or_harmless<std::int16_t>();
  damage_is_found_or_harmless<std::int32_t>();
  tiles_of_a_file_are_decoded();
  mutations_of_a_tiled_file_never_do_worse_than_an_error();
  planes_come_back_from_the_disk();
  return check::failures();
}
