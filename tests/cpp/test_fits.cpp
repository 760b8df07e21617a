#include <bit>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "fits_text.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/sample_reader.hpp"

using namespace skipstream;

namespace {

std::string header(const std::vector<std::string>& cards) {
  std::string text;
  for (const auto& one : cards) text += one;
  return blocks(text + "END", ' ');
}

/// A 16-bit image of `width` x `height` whose samples are 0, 1, 2, ...
std::string image(std::int64_t width, std::int64_t height, std::vector<std::string> more = {}) {
  std::vector<std::string> cards{card("SIMPLE", "T"), card("BITPIX", "16"), card("NAXIS", "2"),
                                 card("NAXIS1", std::to_string(width)),
                                 card("NAXIS2", std::to_string(height))};
  cards.insert(cards.end(), more.begin(), more.end());
  std::string data;
  for (std::int64_t i = 0; i < width * height; ++i) {
    data += static_cast<char>(i >> 8 & 0xff);
    data += static_cast<char>(i & 0xff);
  }
  return header(cards) + blocks(data, '\0');
}

std::vector<FitsHdu> scan(const std::string& bytes) {
  return scan_fits(MemorySource("raw.fits", std::as_bytes(std::span(bytes))));
}

void a_plain_image_is_understood() {
  const auto hdus = scan(image(6, 2,
                               {card("BZERO", "32768"), card("BLANK", "-32768"),
                                card("EXTNAME", "'CCD''A  '           / a name")}));
  check::equal(hdus.size(), std::size_t{1});
  check::equal(hdus[0].kind, std::string("primary"));
  check::equal(hdus[0].name, std::string("CCD'A"));
  check::that(hdus[0].axes == std::vector<std::int64_t>{6, 2});
  check::equal(hdus[0].format.zero, 32768.0);
  check::equal(*hdus[0].format.blank, std::int64_t{-32768});
  check::equal(hdus[0].data_offset, std::int64_t{2880});
  check::equal(hdus[0].data_bytes, std::int64_t{24});
}

void what_the_standard_forbids_is_refused() {
  const auto refused = [](const std::string& bytes, const std::string& why) {
    check::throws<FitsError>([&] { scan(bytes); }, why);
  };
  refused("", "not a FITS file");
  refused(std::string(2880, 'x'), "does not begin with \"SIMPLE  = \"");
  refused("\x1f\x8b" + std::string(2878, 'x'), "gzip");
  refused(image(6, 2, {card("BSCALE", "0")}), "BSCALE is 0");
  refused(image(6, 2, {card("BZERO", "1"), card("BZERO", "2")}), "BZERO stands twice");
  refused(image(6, 2, {card("BZERO", "NaN")}), "BZERO = NaN is not a finite number");
  refused(image(6, 2, {card("BLANK", "1.5")}), "BLANK = 1.5 is not an integer");
  refused(image(6, 2, {card("EXTNAME", "'open")}), "no closing quote");
  refused(image(6, 2, {card("lower", "1")}), "keyword \"lower\"");
  refused(image(6, 2, {card("TAB", "1\t")}), "outside printable ASCII");
  std::string text = image(6, 2);
  text.replace(text.find("BITPIX  = 16"), 12, "BITPIX  = 17");
  refused(text, "BITPIX = 17 is not");
  text = image(6, 2);
  text.replace(text.find("NAXIS1  = 6"), 11, "NAXIS1  =-6");
  refused(text, "raw.fits[0]");
  text = image(6, 2);
  text.replace(text.find("NAXIS1  = 6"), 11, "NAXIS2  = 6");
  refused(text, "no keyword NAXIS1");
  text = image(6, 2);
  text.resize(2880 + 10);
  refused(text, "the data should have 24 bytes, but 10 are left");
  text = image(6, 2);
  text.replace(text.find("END"), 3, "   ");
  refused(text.substr(0, 2880), "the header has no END");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "64"), card("NAXIS", "3"),
                  card("NAXIS1", "9000000000"), card("NAXIS2", "9000000000"),
                  card("NAXIS3", "9000000000")}),
          "exceeds 64 bits");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "1000")}),
          "NAXIS = 1000 must be 0 to 999");
  refused(image(6, 2) + std::string(2880, 'j'), "raw.fits[1]: does not begin with \"XTENSION= \"");
}

void filler_behind_the_last_hdu_is_allowed() {
  check::equal(scan(image(6, 2) + std::string(2880 * 2, '\0')).size(), std::size_t{1});
  check::throws<FitsError>(
      [] { scan(image(6, 2) + std::string(2880, '\0') + std::string(2880, 'x')); },
      "filler is followed by other bytes");
}

/// Whatever is done to a header, the scan ends in a list or in an Error.
void mutations_never_do_worse_than_an_error() {
  const std::string good = image(50, 4, {card("BZERO", "32768"), card("EXTNAME", "'A'")});
  std::mt19937 generator(1);
  const auto any = [&](std::size_t n) { return static_cast<std::size_t>(generator()) % n; };
  const std::vector<std::string> values{"0", "-1", "999", "9223372036854775807", "1E400", "'", "T"};
  int n_refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes = good;
    for (std::size_t k = 0; k <= any(3); ++k) {
      switch (any(4)) {
        case 0:
          bytes[any(bytes.size())] = static_cast<char>(generator());
          break;
        case 1:
          bytes.resize(1 + any(bytes.size()), ' ');
          break;
        case 2:
          if (bytes.size() > 2000) bytes.replace(80 * any(10), 80, bytes.substr(80 * any(10), 80));
          break;
        default: {
          const auto& value = values[any(values.size())];
          if (bytes.size() > 2000) bytes.replace(80 * any(7) + 10, value.size(), value);
        }
      }
    }
    try {
      scan(bytes);
    } catch (const Error&) {
      ++n_refused;
    }
  }
  check::that(n_refused > 2000, "most mutations are refused");
}

void any_pixel_can_be_read_from_any_layout() {
  const std::string bytes = image(12, 3);
  const MemorySource source("raw.fits", std::as_bytes(std::span(bytes)));
  auto hdus = scan_fits(source);
  const SampleShape shape{.n_rows = 3, .n_cols = 4, .n_skips = 3};
  std::vector<std::byte> scratch(1000);
  const auto sample = [&](const SampleSource& reader, std::int64_t pixel, std::int64_t skip) {
    const auto cursor = reader.cursor();
    cursor->seek(pixel);
    const std::byte* at = cursor->next(1, scratch.data()) + 2 * skip;
    return std::int64_t{std::to_integer<int>(at[0]) * 256 + std::to_integer<int>(at[1])};
  };
  const auto each = [](auto&& function) {
    for (std::int64_t pixel = 0; pixel < 12; ++pixel) {
      for (std::int64_t skip = 0; skip < 3; ++skip) function(pixel, skip);
    }
  };
  const SampleReader columns(source, hdus[0], shape);
  each(
      [&](auto pixel, auto skip) { check::equal(sample(columns, pixel, skip), pixel * 3 + skip); });
  // Two columns from the second one on, mirrored: the last sample of a row stands first.
  const SampleReader part(source, hdus[0],
                          {.n_rows = 2,
                           .n_cols = 2,
                           .n_skips = 3,
                           .first_row = 1,
                           .first_sample = 3,
                           .is_reversed = true});
  for (std::int64_t pixel = 0; pixel < 4; ++pixel) {
    for (std::int64_t skip = 0; skip < 3; ++skip) {
      check::equal(sample(part, pixel, skip),
                   12 * (1 + pixel / 2) + 3 + 5 - (pixel % 2 * 3 + skip));
    }
  }
  hdus[0].axes = {4, 3, 3};
  const PlaneReader planes(source, hdus[0], shape);
  each(
      [&](auto pixel, auto skip) { check::equal(sample(planes, pixel, skip), skip * 12 + pixel); });
  hdus[0].axes = {11, 3};
  check::throws<FitsError>(
      [&] { SampleReader(source, hdus[0], shape); },
      "raw.fits[0]: a shape of 11 x 3 does not hold 3 rows of 4 columns of 3 skips");
}

void the_datasum_does_not_depend_on_the_order_of_reading() {
  std::string bytes = image(11, 5);
  bytes.replace(bytes.find("BITPIX  = 16"), 12, "BITPIX  = 8 ");
  const MemorySource source("raw.fits", std::as_bytes(std::span(bytes)));
  const auto hdus = scan_fits(source);
  std::vector<std::byte> scratch(1000);
  const SampleShape shape{.n_rows = 5, .n_cols = 11};
  const SampleReader whole(source, hdus[0], shape);
  whole.cursor()->next(55, scratch.data());
  const SampleReader parts(source, hdus[0], shape);
  const auto cursor = parts.cursor();
  for (const auto& [first, n] : {std::pair{50, 5}, {7, 6}, {0, 7}, {13, 37}}) {
    cursor->seek(first);
    cursor->next(n, scratch.data());
  }
  check::equal(parts.datasum(), whole.datasum());
  check::that(whole.datasum() != 0);
}

void only_regular_files_are_opened() {
  check::throws<IoError>([] { FileSource("/tmp"); }, "must be a regular file; is a folder");
  check::throws<IoError>([] { FileSource("/dev/zero"); }, "is a device");
  check::throws<IoError>([] { FileSource("/nonexistent.fits"); }, "cannot open: No such file");
}

}  // namespace

int main() {
  a_plain_image_is_understood();
  what_the_standard_forbids_is_refused();
  filler_behind_the_last_hdu_is_allowed();
  mutations_never_do_worse_than_an_error();
  any_pixel_can_be_read_from_any_layout();
  the_datasum_does_not_depend_on_the_order_of_reading();
  only_regular_files_are_opened();
  return check::failures();
}
