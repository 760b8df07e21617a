// Times find_clusters alone on a 4096 x 4096 image that is in memory as pixel planes.
//
//   g++ -std=c++20 -O3 -Icpp/include bench/clusters.cpp build/cpp/libskipstream.a -o clusters
//   ./clusters [fraction above threshold] [connectivity] [repeats]
//
// Prints milliseconds: of the rows (push and finish, the table growing), of the table's
// completion, and of both; the median of the repeats.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "skipstream/base/large_vector.hpp"
#include "skipstream/stages/find_clusters.hpp"

using namespace skipstream;

namespace {

class TableSink : public StageOutput {
 public:
  void push(PixelChunk& /*chunk*/) override {}
  void append(std::size_t /*table*/, std::span<const Cell> rows) override { cells.append(rows); }
  GrowingArray<Cell> cells;
};

double now_ms() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

}  // namespace

int main(int argc, char** argv) {
  const double fraction = argc > 1 ? std::atof(argv[1]) : 0.3;
  const std::int64_t connectivity = argc > 2 ? std::atoll(argv[2]) : 8;
  const int repeats = argc > 3 ? std::atoi(argv[3]) : 5;
  constexpr std::int64_t n = 4096;
  constexpr std::int64_t chunk_rows = 32;

  std::vector<double> image(n * n);
  std::vector<std::uint32_t> mask(n * n);
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> uniform;
  for (auto& pixel : image) pixel = uniform(generator) < fraction ? 20.0 : 0.0;

  std::vector<std::array<double, 2>> times;
  std::size_t n_clusters = 0;
  for (int k = 0; k < repeats; ++k) {
    FindClusters::Config config;
    config.noise = Quantity{1.0};
    config.connectivity = connectivity;
    FindClusters stage(config);
    ImageInfo info;
    info.n_rows = info.n_cols = n;
    TableSink sink;
    const auto plan = stage.begin(info, {{"mean", "electron", PlaneKind::location}});
    const double start = now_ms();
    for (std::int64_t row = 0; row < n; row += chunk_rows) {
      double* plane = image.data() + row * n;
      PixelChunk chunk{{&plane, 1}, mask.data() + row * n, row, chunk_rows, n};
      stage.push(chunk, sink);
    }
    stage.finish(sink);
    const double middle = now_ms();
    stage.complete_table(0, {sink.cells.data(), sink.cells.size()});
    times.push_back({middle - start, now_ms() - middle});
    n_clusters = sink.cells.size() / plan.tables[0].columns.size();
  }
  std::sort(times.begin(), times.end(),
            [](const auto& a, const auto& b) { return a[0] + a[1] < b[0] + b[1]; });
  const auto& median = times[times.size() / 2];
  std::printf("%.3f above, %d-connected: %zu clusters, rows %.1f ms + table %.1f ms = %.1f ms\n",
              fraction, static_cast<int>(connectivity), n_clusters, median[0], median[1],
              median[0] + median[1]);
  return 0;
}
