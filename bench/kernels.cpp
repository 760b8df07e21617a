// Times the reduction of skips by one thread: on samples in memory, and from a page-cached file
// through a buffer of 256 KiB, beside a plain read of the same file in pieces of 1 MiB.
//
//   g++ -std=c++20 -O2 -Icpp/include bench/kernels.cpp build/cpp/libskipstream.a -o kernels
//   ./kernels [megabytes of the file] [repeats] [folder of the file]
//   ./kernels TYPE N_SKIPS STATISTIC ...        # one case in memory; TYPE is i2, i4, i8, f4 or f8
//
// SKIPSTREAM_SIMD=baseline|v3|v4 forces a level. The figures of the file are ratios to the plain
// read that was timed just before each; medians of the repeats.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "skipstream/kernels/dispatch.hpp"
#include "skipstream/stages/compress_skips.hpp"

using namespace skipstream;

namespace {

constexpr std::size_t memory_bytes = 64'000'000;

double now() {
  const auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Gaussian noise of 20 ADU as the bytes of a file: big-endian.
template <class T>
std::vector<std::byte> noise_of(std::size_t n_bytes) {
  std::mt19937_64 generator(1);
  std::normal_distribution<double> normal(10'000.0, 20.0);
  std::vector<T> pool(std::size_t{1} << 20);
  for (auto& sample : pool) {
    const double value = normal(generator);
    sample = static_cast<T>(std::is_integral_v<T> ? std::nearbyint(value) : value);
    auto* bytes = reinterpret_cast<std::byte*>(&sample);
    std::reverse(bytes, bytes + sizeof sample);
  }
  std::vector<std::byte> samples(n_bytes);
  // Runs of the pool that begin anywhere: no two pixels are alike.
  for (std::size_t at = 0; at < n_bytes;) {
    const std::size_t first = generator() % (pool.size() / 2);
    const std::size_t n = std::min(n_bytes - at, pool.size() / 4 * sizeof(T));
    std::memcpy(samples.data() + at, pool.data() + first, n);
    at += n;
  }
  return samples;
}

struct Type {
  SampleFormat format;
  std::vector<std::byte> samples;
};

Type noise(const std::string& name) {
  Type type;
  type.format.kind = name[0] == 'f' ? SampleKind::floating : SampleKind::integer;
  type.format.n_bytes = std::atoi(name.c_str() + 1);
  type.format.big_endian = true;
  if (name == "i2") {
    type.format.zero = 32768;
    type.samples = noise_of<std::int16_t>(memory_bytes);
  } else if (name == "i4") {
    type.samples = noise_of<std::int32_t>(memory_bytes);
  } else if (name == "i8") {
    type.samples = noise_of<std::int64_t>(memory_bytes);
  } else if (name == "f4") {
    type.samples = noise_of<float>(memory_bytes);
  } else if (name == "f8") {
    type.samples = noise_of<double>(memory_bytes);
  } else {
    std::fprintf(stderr, "no type %s; known: i2, i4, i8, f4, f8\n", name.c_str());
    std::exit(2);
  }
  return type;
}

/// The stage, planes for one piece of an image, and the scratch of one thread.
class Reduction {
 public:
  Reduction(const SampleFormat& format, std::int64_t n_skips,
            const std::vector<std::string>& statistics, std::int64_t n_pixels)
      : stage_(config(statistics)), n_pixels_(n_pixels) {
    ImageInfo image;
    image.n_cols = n_pixels;
    image.n_skips = n_skips;
    image.format = format;
    stage_.begin(image);
    scratch_.reset(static_cast<std::byte*>(
        ::operator new (static_cast<std::size_t>(stage_.scratch_bytes()), std::align_val_t{64})));
    planes_.resize(statistics.size(), std::vector<double>(static_cast<std::size_t>(n_pixels)));
    for (auto& plane : planes_) pointers_.push_back(plane.data());
    mask_.resize(static_cast<std::size_t>(n_pixels));
  }

  void operator()(const std::byte* samples) { (*this)(samples, n_pixels_); }
  void operator()(const std::byte* samples, std::int64_t n_pixels) {
    stage_.reduce(samples, n_pixels, pointers_.data(), mask_.data(), scratch_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete (memory, std::align_val_t{64}); }
  };
  static CompressSkips::Config config(const std::vector<std::string>& statistics) {
    CompressSkips::Config config;
    config.statistics = statistics;
    return config;
  }

  CompressSkips stage_;
  std::int64_t n_pixels_;
  std::unique_ptr<std::byte, Free> scratch_;
  std::vector<std::vector<double>> planes_;
  std::vector<double*> pointers_;
  std::vector<std::uint32_t> mask_;
};

std::string text(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : "+") + name;
  return all;
}

void in_memory(const std::string& name, const Type& type, std::int64_t n_skips,
               const std::vector<std::string>& statistics, int repeats) {
  const std::int64_t pixel_bytes = n_skips * type.format.n_bytes;
  const auto n_pixels = static_cast<std::int64_t>(type.samples.size()) / pixel_bytes;
  Reduction reduce(type.format, n_skips, statistics, n_pixels);
  std::vector<double> times;
  reduce(type.samples.data());
  for (int i = 0; i < repeats; ++i) {
    const double begin = now();
    reduce(type.samples.data());
    times.push_back(now() - begin);
  }
  const auto bytes = static_cast<double>(n_pixels * pixel_bytes);
  std::printf("memory  %s  %5lld skips  %-20s %6.2f GB/s  %7.1f ns per pixel\n", name.c_str(),
              static_cast<long long>(n_skips), text(statistics).c_str(),
              bytes / median(times) / 1e9, median(times) / static_cast<double>(n_pixels) * 1e9);
  std::fflush(stdout);
}

double read_plainly(int file, std::int64_t n_bytes, std::vector<std::byte>& buffer) {
  const double begin = now();
  for (std::int64_t at = 0; at < n_bytes;) {
    const ssize_t n = pread(file, buffer.data(), std::size_t{1} << 20, at);
    if (n <= 0) std::abort();
    at += n;
  }
  return now() - begin;
}

void from_file(int file, std::int64_t n_bytes, const SampleFormat& format, std::int64_t n_skips,
               const std::vector<std::string>& statistics, int repeats,
               std::vector<std::byte>& buffer) {
  const std::int64_t pixel_bytes = n_skips * format.n_bytes;
  const std::int64_t piece_pixels = std::max<std::int64_t>((1 << 18) / pixel_bytes, 1);
  const std::int64_t n_pixels = n_bytes / pixel_bytes;
  Reduction reduce(format, n_skips, statistics, piece_pixels);
  std::vector<double> reading;
  std::vector<double> reducing;
  for (int i = 0; i <= repeats; ++i) {
    const double plain = read_plainly(file, n_bytes, buffer);
    const double begin = now();
    for (std::int64_t at = 0; at < n_pixels; at += piece_pixels) {
      const std::int64_t n = std::min(piece_pixels, n_pixels - at);
      const ssize_t got =
          pread(file, buffer.data(), static_cast<std::size_t>(n * pixel_bytes), at * pixel_bytes);
      if (got != n * pixel_bytes) std::abort();
      reduce(buffer.data(), n);
    }
    const double ours = now() - begin;
    if (i == 0) continue;  // warms up
    reading.push_back(plain);
    reducing.push_back(ours);
  }
  std::printf("file    i2  %5lld skips  %-20s %6.2f times a plain read of %.1f GB/s\n",
              static_cast<long long>(n_skips), text(statistics).c_str(),
              median(reducing) / median(reading),
              static_cast<double>(n_bytes) / median(reading) / 1e9);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::printf("level %s\n", kernels::simd_level());
  if (argc > 3) {
    in_memory(argv[1], noise(argv[1]), std::atoll(argv[2]), {argv + 3, argv + argc}, 15);
    return 0;
  }
  const std::int64_t file_bytes = (argc > 1 ? std::atoll(argv[1]) : 1000) * 1'000'000;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
  const std::string folder = argc > 3 ? argv[3] : "/tmp";
  const std::vector<std::string> three{"mean", "median", "std"};
  const std::vector<std::string> two{"mean", "std"};

  const Type shorts = noise("i2");
  for (const std::int64_t n_skips : {1, 2, 4, 10, 32, 100, 500, 1000, 2000, 10000}) {
    in_memory("i2", shorts, n_skips, three, repeats);
  }
  for (const std::int64_t n_skips : {1, 10, 100, 500, 2000}) {
    in_memory("i2", shorts, n_skips, two, repeats);
  }
  for (const char* statistic :
       {"min", "mad", "quantile(0.25)", "clipped_mean", "trimmed_mean", "rms"}) {
    in_memory("i2", shorts, 500, {statistic}, repeats);
  }
  for (const char* name : {"i4", "f4", "f8", "i8"}) {
    const Type type = noise(name);
    for (const std::int64_t n_skips : {1, 10, 100, 500, 2000}) {
      in_memory(name, type, n_skips, three, repeats);
    }
    in_memory(name, type, 1, {"mean"}, repeats);
  }

  const std::string path = folder + "/skipstream_kernels_" + std::to_string(getpid());
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0) {
    std::perror(path.c_str());
    return 1;
  }
  unlink(path.c_str());
  for (std::int64_t at = 0; at < file_bytes; at += static_cast<std::int64_t>(memory_bytes)) {
    const auto n = std::min<std::int64_t>(file_bytes - at, memory_bytes);
    if (pwrite(file, shorts.samples.data(), static_cast<std::size_t>(n), at) != n) {
      std::perror(path.c_str());
      return 1;
    }
  }
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  for (const std::int64_t n_skips : {2000, 500, 100}) {
    from_file(file, file_bytes, shorts.format, n_skips, three, repeats, buffer);
    from_file(file, file_bytes, shorts.format, n_skips, two, repeats, buffer);
  }
  close(file);
  return 0;
}
