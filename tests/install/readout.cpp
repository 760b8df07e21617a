// A readout that pushes rows as they come: samples from a file, pixels and clusters to another.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <vector>

#include "skipstream/skipstream.hpp"

namespace {

using skipstream::Value;

void process(const char* samples, const char* result, const skipstream::ImageInfo& image) {
  skipstream::Problems problems;
  auto chain = skipstream::make_chain(
      Value::List{
          Value::Table{{"kind", "compress_skips"}, {"statistics", Value::List{"mean", "median"}}},
          Value::Table{{"kind", "subtract_pedestal"}},
          Value::Table{{"kind", "calibrate"}, {"gain", 5.0}},
          Value::Table{{"kind", "find_clusters"}, {"noise", 0.3}},
      },
      {}, problems);
  for (const auto& problem : problems) throw skipstream::ConfigError(problem);
  skipstream::Pipeline pipeline(std::move(chain), {});
  pipeline.begin(image);
  std::ifstream in(samples, std::ios::binary);
  std::ofstream out(result, std::ios::binary);
  pipeline.add_tap(3, [&out](const skipstream::PixelChunk& rows) {
    const std::streamsize n_pixels = rows.n_rows * rows.n_cols;
    out.write(reinterpret_cast<const char*>(rows.planes[0]), 8 * n_pixels);
  });
  std::vector<char> row(static_cast<std::size_t>(image.n_cols * image.n_skips) * 2);
  while (in.read(row.data(), static_cast<std::streamsize>(row.size()))) {
    pipeline.push(reinterpret_cast<const std::byte*>(row.data()), 1);
  }
  pipeline.finish();
  const auto& clusters = pipeline.tables().at(0).cells;
  out.write(reinterpret_cast<const char*>(clusters.data()),
            static_cast<std::streamsize>(8 * clusters.size()));
}

}  // namespace

int main(int n_arguments, char** arguments) {
  if (n_arguments != 5) {
    std::cerr << "usage: readout_cpp SAMPLES N_COLS N_SKIPS RESULT\n";
    return 2;
  }
  skipstream::ImageInfo image;
  image.n_cols = std::atoll(arguments[2]);
  image.n_skips = std::atoll(arguments[3]);
  image.format.is_unsigned = true;
  image.overscan_cols = 8;
  try {
    process(arguments[1], arguments[4], image);
  } catch (const std::exception& error) {
    std::cerr << "readout_cpp: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
