// The same readout as readout.c, through C++.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "skipstream/skipstream.hpp"

namespace {

std::string content(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
void write(std::ofstream& out, std::span<const T> values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size_bytes()));
}

void process(const std::vector<const char*>& arguments) {
  const auto config = skipstream::load_config(content(arguments[1]), arguments[1]);
  auto image = config.image;
  image.format.is_unsigned = std::string_view(arguments[3]) == "u2";
  image.format.n_bytes = image.format.is_unsigned ? 2 : 4;
  image.n_rows = std::atoll(arguments[4]);
  image.n_cols = std::atoll(arguments[5]);
  image.n_skips = std::atoll(arguments[6]);
  std::ofstream out(arguments[7], std::ios::binary);
  skipstream::Pipeline pipeline(config.chain(), {});
  const auto last_stage = pipeline.begin(image).stages.back().number.value();
  pipeline.add_tap(last_stage, [&out](const skipstream::PixelChunk& rows) {
    for (std::int64_t r = 0; r < rows.n_rows; ++r) {
      for (std::size_t p = 0; p < rows.planes.size(); ++p) write<double>(out, rows.row(p, r));
      write<std::uint32_t>(out, rows.mask_row(r));
    }
  });
  const std::string samples = content(arguments[2]);
  auto left = std::as_bytes(std::span(samples));
  for (std::size_t piece = 8; !left.empty();) {
    const auto n = std::min(left.size(), static_cast<std::size_t>(std::atoll(arguments[piece])));
    pipeline.push(left.first(n));
    left = left.subspan(n);
    if (++piece == arguments.size()) piece = 8;
  }
  pipeline.finish();
  const auto& clusters = pipeline.tables().at(0).cells;
  write<skipstream::Cell>(out, {clusters.data(), clusters.size()});
}

}  // namespace

int main(int n_arguments, char** arguments) {
  if (n_arguments < 9) {
    std::cerr << "usage: readout_cpp CONFIG SAMPLES TYPE N_ROWS N_COLS N_SKIPS RESULT PIECE...\n";
    return 2;
  }
  try {
    process({arguments, arguments + n_arguments});
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
