// libFuzzer target: any lines as the cards of a header, before some data.
//
//   .ci/run fuzz [seconds]        # needs clang

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "skipstream/base/error.hpp"
#include "skipstream/io/fits_structure.hpp"

using namespace skipstream;

namespace {

void pad(std::string& text, std::size_t multiple, char filler) {
  text.append((multiple - text.size() % multiple) % multiple, filler);
}

void demand(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view lines(reinterpret_cast<const char*>(data), size);
  std::string file;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string card(lines.substr(0, std::min<std::size_t>(end, 80)));
    card.resize(80, ' ');
    file += card;
    if (card.starts_with("END ")) pad(file, 2880, ' ');
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  if (file.size() % 2880 != 0) {
    file += std::string("END").append(77, ' ');
    pad(file, 2880, ' ');
  }
  file.append(2880, '\0');
  const auto bytes = std::as_bytes(std::span(file));
  const MemorySource source("fuzz.fits", bytes);
  std::string cut;
  std::vector<FitsHdu> hdus;
  try {
    hdus = scan_fits(source, &cut);
  } catch (const Error&) {
    return 0;
  }
  std::int64_t last = -1;
  for (const auto& hdu : hdus) {
    demand(hdu.header_offset > last);
    last = hdu.header_offset;
    demand(hdu.data_bytes >= 0 && hdu.bytes_there >= 0 && hdu.bytes_there <= hdu.data_bytes);
    demand(hdu.data_offset + hdu.bytes_there <= source.size());
    demand(hdu.bytes_there == hdu.data_bytes || !cut.empty());
    for (const std::int64_t axis : hdu.axes) demand(axis >= 0);
    demand(hdu.format.scale != 0.0);
  }
  return 0;
}
