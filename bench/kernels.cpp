// Times compress_skips on samples in memory, one thread:
//   c++ -std=c++20 -O2 -Icpp/include bench/kernels.cpp libskipstream.a -o kernels
//   kernels n_skips [n_bytes [f]] [statistic ...]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "skipstream/stages/compress_skips.hpp"

using namespace skipstream;

int main(int argc, char** argv) {
  ImageInfo image;
  image.n_cols = 1;
  image.n_skips = argc > 1 ? std::atol(argv[1]) : 500;
  image.format.n_bytes = argc > 2 ? std::atoi(argv[2]) : 2;
  int next = 3;
  if (argc > next && std::strcmp(argv[next], "f") == 0) {
    image.format.kind = SampleKind::floating;
    ++next;
  }
  CompressSkips::Config config;
  config.statistics.assign(argv + std::min(next, argc), argv + argc);
  if (config.statistics.empty()) config.statistics = {"mean", "median", "std"};
  CompressSkips stage(config);
  const auto plan = stage.begin(image);

  const std::int64_t n_pixels = 40'000'000 / (image.n_skips * image.format.n_bytes) + 1;
  const auto n_bytes = static_cast<std::size_t>(image.format.n_bytes);
  std::vector<std::byte> samples(static_cast<std::size_t>(n_pixels * image.n_skips) * n_bytes);
  std::mt19937 generator(1);
  std::normal_distribution<double> noise(1000, 20);
  for (std::size_t i = 0; i < samples.size(); i += n_bytes) {
    const double value = noise(generator);
    if (image.format.kind == SampleKind::floating) {
      const auto single = static_cast<float>(value);
      if (n_bytes == 4) std::memcpy(&samples[i], &single, 4);
      if (n_bytes == 8) std::memcpy(&samples[i], &value, 8);
    } else {
      const auto whole = static_cast<std::int64_t>(value);
      std::memcpy(&samples[i], &whole, n_bytes);
    }
  }
  std::vector<std::vector<double>> values(plan.planes.size(),
                                          std::vector<double>(static_cast<std::size_t>(n_pixels)));
  std::vector<double*> planes;
  for (auto& plane : values) planes.push_back(plane.data());
  std::vector<std::uint32_t> mask(static_cast<std::size_t>(n_pixels));
  std::vector<std::byte> scratch(static_cast<std::size_t>(stage.scratch_bytes()) + 64);

  double best = 1e9;
  for (int repeat = 0; repeat < 15; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    stage.reduce(samples.data(), n_pixels, planes.data(), mask.data(), scratch.data());
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::printf("%ld skips of %d bytes: %.1f GB/s, %.0f ns a pixel\n", image.n_skips,
              image.format.n_bytes, static_cast<double>(samples.size()) / best / 1e9,
              best / static_cast<double>(n_pixels) * 1e9);
}
