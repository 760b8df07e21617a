// libFuzzer target: any bytes as a FITS file, perhaps cut off, and all of its images read.
//
//   .ci/run fuzz [seconds]        # needs clang; the corpus begins with tests/malformed.py

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "skipstream/base/error.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/sample_reader.hpp"
#include "skipstream/io/tile_reader.hpp"

using namespace skipstream;

namespace {

constexpr std::int64_t max_cols = 4096;
constexpr std::int64_t max_rows = 64;

void read_all(const SampleSource& source, std::int64_t n_rows, std::int64_t n_cols) {
  std::vector<std::byte> row(static_cast<std::size_t>(n_cols) * 8);
  const auto cursor = source.cursor();
  cursor->seek(0);
  for (std::int64_t r = 0; r < n_rows; ++r) cursor->next(n_cols, row.data());
}

/// Stands for zlib, of which nothing is to be found here.
void inflate(std::span<const std::byte> stream, std::span<std::byte> output) {
  if (stream.size() % 3 == 0) throw FitsError("is damaged");
  for (auto& byte : output) byte = stream.empty() ? std::byte{0} : stream[0];
}

void read_image(const ByteSource& source, const FitsHdu& hdu) {
  const std::int64_t n_cols = row_samples_of(hdu);
  const std::int64_t n_rows = std::min(rows_of(hdu), max_rows);
  if (n_cols < 1 || n_cols > max_cols || n_rows < 1) return;
  const SampleShape shape{.n_rows = n_rows, .n_cols = n_cols};
  if (hdu.compression.empty()) {
    read_all(SampleReader(source, hdu, shape), n_rows, n_cols);
  } else if (TileReader::knows(hdu)) {
    const TileReader reader(source, hdu, shape, inflate);
    (void)reader.complete_rows(hdu.bytes_there);
    read_all(reader, n_rows, n_cols);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const MemorySource source("fuzz.fits", std::as_bytes(std::span(data, size)));
  std::vector<FitsHdu> hdus;
  try {
    std::string cut;
    hdus = scan_fits(source, &cut);
  } catch (const Error&) {
    return 0;
  }
  for (const auto& hdu : hdus) {
    if (hdu.axes.empty()) continue;
    try {
      read_image(source, hdu);
    } catch (const Error&) {
      continue;
    }
  }
  return 0;
}
