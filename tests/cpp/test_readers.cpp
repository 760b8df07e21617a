// What the readers and the writer of images refuse, and the samples of every width and order.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/byte_source.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/lta_packets.hpp"
#include "skipstream/io/plane_writer.hpp"
#include "skipstream/io/sample_reader.hpp"
#include "skipstream/io/tile_reader.hpp"

using namespace skipstream;

namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();

std::vector<std::byte> counting(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

/// A plain image of 3 rows of 12 samples, or a cube.
FitsHdu plain(int n_bytes = 2, std::vector<std::int64_t> axes = {12, 3}) {
  FitsHdu hdu;
  hdu.kind = "image";
  hdu.axes = std::move(axes);
  hdu.format.n_bytes = n_bytes;
  hdu.format.big_endian = true;
  return hdu;
}

void bytes_outside_of_memory_are_refused() {
  const auto bytes = counting(10);
  const MemorySource source("memory", bytes);
  std::array<std::byte, 4> four{};
  source.read(6, four);
  check::that(four[3] == bytes[9], "the last bytes");
  for (const std::int64_t offset : {std::int64_t{-1}, std::int64_t{7}, std::int64_t{11}, huge}) {
    check::throws<FitsError>([&] { source.read(offset, four); }, "but the file ends at 10");
  }
}

void the_sum_of_words_is_that_of_any_pieces() {
  const auto bytes = counting(1'000'003);
  const MemorySource source("memory", bytes);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += std::to_integer<std::uint64_t>(bytes[i]) << (24 - 8 * (i % 4));
  }
  while (sum >> 32 != 0) sum = (sum & 0xffffffffU) + (sum >> 32);
  check::equal(sum_of_words(source, 0, std::ssize(bytes)), static_cast<std::uint32_t>(sum));
}

void a_file_is_the_one_that_was_opened() {
  const std::string folder = "/tmp/skipstream_test_readers_" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  const std::string path = folder + "/file";
  const auto fill = [&](int n) {
    std::ofstream(path) << std::string(static_cast<std::size_t>(n), 'x');
  };

  fill(100);
  const FileSource grown(path);
  grown.check_unchanged();
  std::ofstream(path, std::ios::app) << "more";
  check::throws<IoError>([&] { grown.check_unchanged(); }, "changed while it was read");

  const FileSource touched(path);
  const std::array<timespec, 2> times{timespec{1, 0}, timespec{1, 0}};
  utimensat(AT_FDCWD, path.c_str(), times.data(), 0);
  check::throws<IoError>([&] { touched.check_unchanged(); }, "changed while it was read");

  const FileSource replaced(path);
  std::ofstream(folder + "/other") << "y";
  std::filesystem::rename(folder + "/other", path);
  check::throws<IoError>([&] { replaced.check_unchanged(); }, "was replaced");
  const FileSource removed(path);
  std::filesystem::remove(path);
  check::throws<IoError>([&] { removed.check_unchanged(); }, "was replaced");

  fill(100);
  const FileSource shrunk(path);
  std::filesystem::resize_file(path, 10);
  std::array<std::byte, 20> some{};
  check::throws<FitsError>([&] { shrunk.read(0, some); }, "ends at 10");
  check::throws<IoError>([&] { const FileSource folder_source(folder); }, "is a folder");
  check::throws<IoError>([&] { const FileSource device("/dev/null"); }, "is a device");
  check::throws<IoError>([&] { const FileSource none(folder + "/none"); }, "cannot open");
  std::filesystem::remove_all(folder);
}

/// Numbers 0, 1, 2, ... of a width, as FITS stores them.
std::vector<std::byte> numbers(std::size_t n, int n_bytes) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < n; ++i) {
    for (int b = n_bytes - 1; b >= 0; --b) bytes.push_back(static_cast<std::byte>(i >> (8 * b)));
  }
  return bytes;
}

std::vector<int> read_all(const SampleSource& source, std::int64_t n_pixels, std::int64_t n_skips,
                          int n_bytes) {
  std::vector<std::byte> scratch(static_cast<std::size_t>(n_pixels * n_skips * n_bytes));
  const auto cursor = source.cursor();
  cursor->seek(0);
  const std::byte* samples = cursor->next(n_pixels, scratch.data());
  std::vector<int> found;
  for (std::int64_t i = 0; i < n_pixels * n_skips; ++i) {
    found.push_back(std::to_integer<int>(samples[(i + 1) * n_bytes - 1]));
  }
  return found;
}

void a_reversed_image_is_read_from_its_end() {
  for (const int n_bytes : {1, 2, 4, 8}) {
    const auto bytes = numbers(36, n_bytes);
    const MemorySource source("raw", bytes);
    const SampleShape shape{
        .n_rows = 3, .n_cols = 3, .n_skips = 2, .first_sample = 6, .is_reversed = true};
    const SampleReader reader(source, plain(n_bytes), shape);
    const std::vector<int> expected{11, 10, 9,  8,  7,  6,  23, 22, 21,
                                    20, 19, 18, 35, 34, 33, 32, 31, 30};
    check::that(read_all(reader, 9, 2, n_bytes) == expected, std::to_string(n_bytes));
    // Not reversed, the whole rows of all samples are one read.
    const SampleReader whole(source, plain(n_bytes), {.n_rows = 3, .n_cols = 12});
    check::equal(read_all(whole, 36, 1, n_bytes).back(), 35);
    const SampleReader mirrored(source, plain(n_bytes),
                                {.n_rows = 3, .n_cols = 12, .is_reversed = true});
    std::vector<int> rows;
    for (const int last : {11, 23, 35}) {
      for (int back = 0; back < 12; ++back) rows.push_back(last - back);
    }
    check::that(read_all(mirrored, 36, 1, n_bytes) == rows, "whole rows, each from its end");
  }
}

void rows_are_those_of_the_axes() {
  check::equal(row_samples_of(plain(2, {12})), std::int64_t{12});
  check::equal(rows_of(plain(2, {12})), std::int64_t{1});
  check::equal(row_samples_of(plain(2, {})), std::int64_t{1});
  check::equal(row_samples_of(plain(2, {4, 5, 6})), std::int64_t{20});
  check::equal(rows_of(plain(2, {4, 5, 6})), std::int64_t{6});
}

void shapes_that_the_samples_do_not_have_are_refused() {
  const auto bytes = numbers(36, 2);
  const MemorySource source("raw", bytes);
  const std::vector<SampleShape> wrong{
      {.n_rows = -1, .n_cols = 12},
      {.n_rows = 4, .n_cols = 12},
      {.n_rows = 3, .n_cols = 0},
      {.n_rows = 3, .n_cols = 12, .n_skips = 0},
      {.n_rows = 3, .n_cols = 12, .first_row = -1},
      {.n_rows = 3, .n_cols = 12, .first_row = 1},
      {.n_rows = 3, .n_cols = 12, .first_sample = -1},
      {.n_rows = 3, .n_cols = 12, .first_sample = 1},
      {.n_rows = 3, .n_cols = 6, .n_skips = 3},
      {.n_rows = 3, .n_cols = huge, .n_skips = 2},
  };
  for (const auto& shape : wrong) {
    check::throws<FitsError>([&] { const SampleReader reader(source, plain(), shape); },
                             "does not hold");
  }
  const SampleShape good{.n_rows = 3, .n_cols = 12};
  for (const auto& axes : {std::vector<std::int64_t>{}, {1, 1, 12, 3}}) {
    check::throws<FitsError>([&] { const SampleReader reader(source, plain(2, axes), good); },
                             "does not hold");
  }
  FitsHdu compressed = plain();
  compressed.compression = "RICE_1";
  check::throws<FitsError>([&] { const SampleReader reader(source, compressed, good); },
                           "RICE_1-compressed");
  FitsHdu table = plain();
  table.kind = "table";
  check::throws<FitsError>([&] { const SampleReader reader(source, table, good); }, "is a table");
}

void planes_are_those_of_the_cube() {
  const auto bytes = numbers(24, 2);
  const MemorySource source("raw", bytes);
  const FitsHdu cube = plain(2, {4, 3, 2});
  const PlaneReader reader(source, cube, {.n_rows = 2, .n_cols = 4, .n_skips = 2, .first_row = 1});
  const std::vector<int> expected{4, 16, 5, 17, 6, 18, 7, 19, 8, 20, 9, 21, 10, 22, 11, 23};
  check::that(read_all(reader, 8, 2, 2) == expected, "pixels have a sample of each plane");
  const std::vector<SampleShape> wrong{
      {.n_rows = 3, .n_cols = 3, .n_skips = 2},
      {.n_rows = 3, .n_cols = 4, .n_skips = 3},
      {.n_rows = 3, .n_cols = 4, .n_skips = 2, .first_row = -1},
      {.n_rows = 3, .n_cols = 4, .n_skips = 2, .first_row = 1},
  };
  for (const auto& shape : wrong) {
    check::throws<FitsError>([&] { const PlaneReader bad(source, cube, shape); }, "in planes");
  }
  check::throws<FitsError>(
      [&] { const PlaneReader bad(source, plain(), {.n_rows = 3, .n_cols = 12}); }, "in planes");
  check::throws<FitsError>(
      [&] {
        const PlaneReader bad({{&source, 0}}, cube.format, {.n_cols = 4, .n_skips = 2});
      },
      "2 skips got 1 planes");
}

using Cards = std::map<std::string, std::string>;

/// Tiles of 6 samples of 16 bits, two in a row and 2 rows of them: a table and its heap.
struct Table {
  FitsHdu hdu;
  std::vector<std::byte> bytes;
};

Table tiles(const Cards& changes = {}, const std::string& codec = "NOCOMPRESS", int n_bytes = 2) {
  Table made;
  made.hdu = plain(n_bytes);
  made.hdu.kind = "bintable";
  made.hdu.axes = {12, 2};
  made.hdu.compression = codec;
  Cards cards{{"NAXIS1", "8"},   {"NAXIS2", "4"}, {"TFIELDS", "1"}, {"TTYPE1", "COMPRESSED_DATA"},
              {"TFORM1", "1PB"}, {"ZTILE1", "6"}};
  for (const auto& [keyword, value] : changes) cards[keyword] = value;
  for (const auto& [keyword, value] : cards) made.hdu.cards.push_back({keyword, value, "", false});
  for (int tile = 0; tile < 4; ++tile) {
    for (const int number : {6 * n_bytes, 6 * n_bytes * tile}) {
      for (int b = 3; b >= 0; --b) made.bytes.push_back(static_cast<std::byte>(number >> (8 * b)));
    }
  }
  const auto heap = numbers(24, n_bytes);
  made.bytes.insert(made.bytes.end(), heap.begin(), heap.end());
  made.hdu.data_bytes = made.hdu.bytes_there = std::ssize(made.bytes);
  return made;
}

constexpr SampleShape all_tiles{.n_rows = 2, .n_cols = 12};

std::vector<int> read_tiles(const Table& table, const SampleShape& shape = all_tiles) {
  const MemorySource source("raw", table.bytes);
  const TileReader reader(source, table.hdu, shape, {});
  check::that(reader.cursor_bytes() > 0, "a cursor holds a tile");
  return read_all(reader, shape.n_rows * shape.n_cols, shape.n_skips, reader.format().n_bytes);
}

void refuses_tiles(const Cards& changes, const std::string& why,
                   const std::string& codec = "NOCOMPRESS") {
  check::throws<FitsError>([&] { read_tiles(tiles(changes, codec)); }, why);
}

void tables_that_hold_no_tiles_are_refused() {
  // Machines that swap leave the low byte first.
  const std::vector<int> high = read_tiles(tiles());
  check::equal(high.size(), std::size_t{24});
  const std::vector<std::pair<Cards, std::string>> wrong{
      {{{"ZTILE1", "0"}}, "not known"},
      {{{"ZTILE2", "0"}}, "not known"},
      {{{"ZTILE1", "6"}, {"ZTILE2", std::to_string(huge)}}, "not known"},
      {{{"ZTILE2", "100000000"}}, "not known"},
      {{{"NAXIS1", "0"}}, "NAXIS1 of the table"},
      {{{"NAXIS1", "65537"}}, "NAXIS1 of the table"},
      {{{"THEAP", "9999"}}, "THEAP"},
      {{{"NAXIS2", std::to_string(huge)}}, "NAXIS1 x NAXIS2 of the table exceeds 64 bits"},
      {{{"TFIELDS", "1000"}}, "TFIELDS"},
      {{{"TFORM1", "65537PB"}}, "not a column format"},
      {{{"TFORM1", "0PB"}}, "has format 0PB"},
      {{{"TFORM1", "1B"}}, "has format 1B"},
      {{{"TFORM1", "99999999999999999999PB"}}, "TFORM1 is wrong"},
      {{{"TFORM1", "1QB"}}, "wider than NAXIS1"},
      {{{"TTYPE1", "OTHER"}}, "no column COMPRESSED_DATA"},
      {{{"TTYPE1", "UNCOMPRESSED_DATA"}}, "no column COMPRESSED_DATA"},
      {{{"TTYPE1", "GZIP_COMPRESSED_DATA"}}, "no column COMPRESSED_DATA"},
  };
  for (const auto& [changes, why] : wrong) refuses_tiles(changes, why);
  for (const std::string value : {"0", "1048577", "x", "32x"}) {
    refuses_tiles({{"ZNAME1", "BLOCKSIZE"}, {"ZVAL1", value}}, "BLOCKSIZE", "RICE_1");
  }
  refuses_tiles({}, "tile", "RICE_ONE");
  for (const auto& axes : {std::vector<std::int64_t>{}, {12, 2, 1}, {0, 2}, {12, 0}}) {
    Table table = tiles();
    table.hdu.axes = axes;
    check::that(!TileReader::knows(table.hdu), "axes that no tiles have");
  }
  Table line = tiles({{"NAXIS2", "2"}});
  line.hdu.axes = {12};
  check::equal(read_tiles(line, {.n_rows = 1, .n_cols = 12}).size(), std::size_t{12});
  Table many = tiles({{"ZTILE2", "2"}, {"NAXIS2", std::to_string(huge)}});
  many.hdu.axes = {12, huge};
  check::throws<FitsError>([&] { read_tiles(many); }, "the number of tiles exceeds 64 bits");
}

void shapes_that_the_tiles_do_not_have_are_refused() {
  const std::vector<SampleShape> wrong{
      {.n_rows = 2, .n_cols = 0},
      {.n_rows = 2, .n_cols = 12, .n_skips = 0},
      {.n_rows = 2, .n_cols = 12, .first_row = -1},
      {.n_rows = 2, .n_cols = 12, .first_row = 1},
      {.n_rows = 2, .n_cols = 12, .first_sample = -1},
      {.n_rows = 2, .n_cols = 12, .first_sample = 1},
  };
  for (const auto& shape : wrong) {
    check::throws<FitsError>([&] { read_tiles(tiles(), shape); }, "does not hold the image");
  }
}

/// 16-bit samples, so many with each read.
std::vector<int> samples_of(const TileReader& reader, const std::vector<std::int64_t>& reads) {
  std::vector<int> found;
  const auto cursor = reader.cursor();
  cursor->seek(0);
  std::array<std::uint16_t, 64> samples{};
  for (const std::int64_t n : reads) {
    cursor->next(n, reinterpret_cast<std::byte*>(samples.data()));
    found.insert(found.end(), samples.begin(), samples.begin() + n);
  }
  return found;
}

void a_reversed_row_is_read_in_any_parts() {
  const Table table = tiles();
  const MemorySource source("raw", table.bytes);
  const TileReader reader(source, table.hdu, {.n_rows = 2, .n_cols = 12, .is_reversed = true}, {});
  std::vector<int> expected;
  for (int i = 0; i < 12; ++i) expected.push_back(11 - i);
  for (int i = 0; i < 12; ++i) expected.push_back(23 - i);
  check::that(samples_of(reader, {12, 12}) == expected);
  check::that(samples_of(reader, {5, 1, 11, 7}) == expected);
}

void nothing_is_read_behind_the_last_row() {
  const Table table = tiles();
  const MemorySource source("raw", table.bytes);
  const TileReader reader(source, table.hdu, all_tiles, {});
  check::equal(samples_of(reader, {24}).back(), 23);
  check::throws<FitsError>([&] { samples_of(reader, {24, 1}); }, "a tile is too short");
  check::throws<FitsError>([&] { samples_of(reader, {25}); }, "a tile is too short");
}

void a_blank_of_the_header_goes_before_that_of_the_tiles() {
  for (const bool has_blank : {false, true}) {
    Table table = tiles({{"ZBLANK", "5"}});
    if (has_blank) table.hdu.format.blank = 3;
    const MemorySource source("raw", table.bytes);
    const TileReader reader(source, table.hdu, all_tiles, {});
    check::that(reader.format().blank == std::optional<std::int64_t>(has_blank ? 3 : 5));
  }
}

/// Tiles whose 4 descriptors of a second column hold `n` 16-bit samples at the heap's begin.
Table tiles_of_two_columns(int n, const std::string& codec = "NOCOMPRESS") {
  Table made = tiles(
      {{"NAXIS1", "16"}, {"TFIELDS", "2"}, {"TTYPE2", "UNCOMPRESSED_DATA"}, {"TFORM2", "1PI"}},
      codec);
  std::vector<std::byte> bytes;
  for (std::size_t tile = 0; tile < 4; ++tile) {
    const auto first = made.bytes.begin() + static_cast<std::ptrdiff_t>(8 * tile);
    bytes.insert(bytes.end(), first, first + 8);
    for (const int number : {n, 0}) {
      for (int b = 3; b >= 0; --b) bytes.push_back(static_cast<std::byte>(number >> (8 * b)));
    }
  }
  bytes.insert(bytes.end(), made.bytes.begin() + 32, made.bytes.end());
  made.bytes = std::move(bytes);
  made.hdu.data_bytes = made.hdu.bytes_there = std::ssize(made.bytes);
  return made;
}

void rows_are_complete_as_far_as_their_tiles_are_there() {
  // Two tiles of 12 bytes a row, behind a table of 32 or 64 bytes.
  const auto complete = [](const Table& table, std::int64_t bytes_there) {
    const MemorySource source("raw", table.bytes);
    return TileReader(source, table.hdu, all_tiles, {}).complete_rows(bytes_there);
  };
  const Table one = tiles();
  for (const auto& [bytes_there, rows] : {std::pair<std::int64_t, std::int64_t>{0, 0},
                                          {7, 0},
                                          {31, 0},
                                          {32, 0},
                                          {55, 0},
                                          {56, 1},
                                          {79, 1},
                                          {80, 2},
                                          {1000, 2}}) {
    check::equal(complete(one, bytes_there), rows, std::to_string(bytes_there));
  }
  check::equal(complete(tiles_of_two_columns(0), 111), std::int64_t{1});
  check::equal(complete(tiles_of_two_columns(0), 112), std::int64_t{2});
  check::equal(complete(tiles_of_two_columns(24), 111), std::int64_t{0}, "the second column");
  check::equal(complete(tiles_of_two_columns(24), 112), std::int64_t{2});
}

void memory_is_counted_for_tiles_that_are_decoded_whole() {
  const auto bytes = [](const Table& table, std::int64_t n_rows) {
    const MemorySource source("raw", table.bytes);
    return TileReader(source, table.hdu, {.n_rows = n_rows, .n_cols = 12}, {}).cursor_bytes();
  };
  const Cards words{{"ZNAME1", "BYTEPIX"}, {"ZVAL1", "2"}};
  const auto rice = [&](bool has_empty) {
    Table table = tiles_of_two_columns(6, "RICE_1");
    for (const auto& [keyword, value] : words) {
      table.hdu.cards.push_back({keyword, value, "", false});
    }
    if (has_empty) table.bytes[16 * 3 + 3] = std::byte{0};  // the last tile is not compressed
    return table;
  };
  const std::int64_t windows = bytes(rice(false), 2);
  check::equal(bytes(rice(true), 2), windows + 24, "a row of 12 samples");
  check::equal(bytes(rice(true), 1), windows, "the other row has none of them");
  check::equal(bytes(rice(true), 0), windows, "no rows are asked for");
}

/// The value that a column of one value gives for scale, zero or blank, in a table of one tile.
Table quantised(const Cards& changes, const std::string& extra) {
  Table made;
  made.hdu = plain(4, {2, 1});
  made.hdu.kind = "bintable";
  made.hdu.compression = "NOCOMPRESS";
  made.hdu.format.kind = SampleKind::floating;
  Cards cards{{"NAXIS1", std::to_string(8 + extra.size())},
              {"NAXIS2", "1"},
              {"TFIELDS", "2"},
              {"TTYPE1", "COMPRESSED_DATA"},
              {"TFORM1", "1PB"},
              {"TTYPE2", "ZSCALE"},
              {"ZQUANTIZ", "NO_DITHER"}};
  for (const auto& [keyword, value] : changes) cards[keyword] = value;
  for (const auto& [keyword, value] : cards) made.hdu.cards.push_back({keyword, value, "", false});
  for (const char byte :
       std::string("\0\0\0\x08\0\0\0\0", 8) + extra + std::string("\0\0\0\1\0\0\0\2", 8)) {
    made.bytes.push_back(static_cast<std::byte>(byte));
  }
  made.hdu.data_bytes = made.hdu.bytes_there = std::ssize(made.bytes);
  return made;
}

std::array<float, 2> floats_of(const Table& table) {
  const MemorySource source("raw", table.bytes);
  const TileReader reader(source, table.hdu, {.n_rows = 1, .n_cols = 2}, {});
  std::array<float, 2> found{};
  const auto cursor = reader.cursor();
  cursor->seek(0);
  cursor->next(2, reinterpret_cast<std::byte*>(found.data()));
  return found;
}

void scales_come_from_columns_of_any_number() {
  const std::map<std::string, std::string> columns{{"1D", std::string("\x40\x08\0\0\0\0\0\0", 8)},
                                                   {"1E", std::string("\x40\x40\0\0", 4)},
                                                   {"1J", std::string("\0\0\0\3", 4)},
                                                   {"1I", std::string("\0\3", 2)},
                                                   {"1K", std::string("\0\0\0\0\0\0\0\3", 8)}};
  for (const auto& [form, bytes] : columns) {
    const auto found = floats_of(quantised({{"TFORM2", form}}, bytes));
    check::equal(found[0], 3.0F, form);
    check::equal(found[1], 6.0F, form);
  }
  check::throws<FitsError>(
      [&] {
        floats_of(quantised({{"TFORM2", "1A"}}, "3"));
      },
      "must be numbers");
  check::throws<FitsError>(
      [&] {
        floats_of(quantised({{"TFORM2", "16X"}}, "33"));
      },
      "must be numbers");
  // Scale and zero of the header, where there are no columns; the second code is blank.
  const auto found = floats_of(quantised({{"TTYPE2", "OTHER"},
                                          {"TFORM2", "1A"},
                                          {"ZSCALE", "+1.5D0"},
                                          {"ZZERO", "x"},
                                          {"ZBLANK", "2"}},
                                         "3"));
  check::equal(found[0], 1.5F);
  check::that(found[1] != found[1], "a blank code is no number");
  const auto blank = floats_of(quantised({{"TTYPE2", "ZBLANK"}, {"TFORM2", "1J"}, {"ZSCALE", "2"}},
                                         std::string("\0\0\0\1", 4)));
  check::that(blank[0] != blank[0], "a blank of the column");
  check::equal(blank[1], 4.0F);
  for (const std::string seed : {"0", "10001"}) {
    check::throws<FitsError>(
        [&] {
          floats_of(quantised(
              {{"TFORM2", "1A"}, {"TTYPE2", "X"}, {"ZSCALE", "1"}, {"ZDITHER0", seed}}, "3"));
        },
        "ZDITHER0");
  }
}

void dithering_goes_through_the_table_of_random_numbers_and_around_its_end() {
  std::vector<float> random;
  for (double seed = 1; random.size() < 10000;) {
    seed = std::fmod(16807 * seed, 2147483647.0);
    random.push_back(static_cast<float>(seed / 2147483647));
  }
  constexpr std::size_t n = 25'000;
  Table table;
  table.hdu = plain(4, {n, 1});
  table.hdu.kind = "bintable";
  table.hdu.compression = "NOCOMPRESS";
  table.hdu.format.kind = SampleKind::floating;
  for (const auto& [keyword, value] : Cards{{"NAXIS1", "8"},
                                            {"NAXIS2", "1"},
                                            {"TFIELDS", "1"},
                                            {"TTYPE1", "COMPRESSED_DATA"},
                                            {"TFORM1", "1PB"},
                                            {"ZSCALE", "2"},
                                            {"ZZERO", "10"},
                                            {"ZQUANTIZ", "SUBTRACTIVE_DITHER_1"},
                                            {"ZDITHER0", "10000"}}) {
    table.hdu.cards.push_back({keyword, value, "", false});
  }
  for (const std::size_t number : {4 * n, std::size_t{0}}) {
    for (int b = 3; b >= 0; --b) table.bytes.push_back(static_cast<std::byte>(number >> (8 * b)));
  }
  const auto codes = numbers(n, 4);
  table.bytes.insert(table.bytes.end(), codes.begin(), codes.end());
  table.hdu.data_bytes = table.hdu.bytes_there = std::ssize(table.bytes);
  const MemorySource source("raw", table.bytes);
  const TileReader reader(source, table.hdu, {.n_rows = 1, .n_cols = n}, {});
  std::vector<float> found(n);
  const auto cursor = reader.cursor();
  cursor->seek(0);
  cursor->next(n, reinterpret_cast<std::byte*>(found.data()));
  std::size_t row = 9999;  // ZDITHER0 - 1, of the first tile
  auto at = static_cast<std::size_t>(random[row] * 500);
  std::size_t n_different = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double code = static_cast<double>(i) - static_cast<double>(random[at]) + 0.5;
    n_different += found[i] == static_cast<float>(code * 2 + 10) ? 0 : 1;
    if (++at < random.size()) continue;
    row = (row + 1) % random.size();
    at = static_cast<std::size_t>(random[row] * 500);
  }
  check::equal(n_different, std::size_t{0});
}

void rows_of_packets_are_done_when_they_are_handed_out() {
  // One packet of 8 samples of each of 4 channels: a row of 6, and the begin of another.
  std::vector<std::byte> packet{std::byte{32}, std::byte{0}, std::byte{0}};
  for (unsigned word = 0; word < 32; ++word) {
    for (const unsigned byte : {word, 0U, 0U, 0U, 0U, 0U, 0U, (word % 16) << 4 | word % 4}) {
      packet.push_back(static_cast<std::byte>(byte));
    }
  }
  LtaPackets packets({0, 1, 2, 3}, {.n_rows = 5, .n_cols = 2, .n_skips = 3});
  std::array<std::vector<std::int32_t>, 4> rows;
  const auto sink = [&](std::size_t channel, std::span<const std::int32_t> samples) {
    rows[channel].insert(rows[channel].end(), samples.begin(), samples.end());
  };
  const auto all_done = [&](std::int64_t n) {
    for (std::size_t channel = 0; channel < 4; ++channel) {
      check::equal(packets.rows_done(channel), n);
      check::equal(std::ssize(rows[channel]), 6 * n);
    }
  };
  packets.push(packet, sink);
  all_done(0);
  packets.flush(sink);
  all_done(1);
  packets.finish(sink);
  all_done(2);
  constexpr std::int32_t blank = LtaPackets::blank;
  check::that(rows[2] == std::vector<std::int32_t>{-2, -6, -10, -14, -18, -22,  //
                                                   -26, -30, blank, blank, blank, blank});
}

void floats_of_rice_need_a_scale() {
  for (const Cards& changes :
       {Cards{{"TTYPE2", "X"}, {"TFORM2", "1A"}}, Cards{{"TFORM2", "1A"}, {"ZQUANTIZ", "NONE"}}}) {
    Table table = quantised(changes, "3");
    table.hdu.compression = "RICE_1";
    check::throws<FitsError>([&] { floats_of(table); }, "floating samples need ZSCALE");
  }
  Table table = quantised({{"TFORM2", "1A"}, {"ZNAME1", "BYTEPIX"}, {"ZVAL1", "2"}}, "3");
  table.hdu.compression = "RICE_1";
  check::throws<FitsError>([&] { floats_of(table); }, "BYTEPIX");
}

/// One tile of 2 samples that the first column does not hold, but another one.
Table stored(const std::string& column, const std::string& pointer, const std::string& heap,
             const std::string& codec = "GZIP_1", const Cards& changes = {}) {
  Table made;
  made.hdu = plain(2, {2, 1});
  made.hdu.kind = "bintable";
  made.hdu.compression = codec;
  Cards cards{
      {"NAXIS1", "24"},  {"NAXIS2", "1"},    {"TFIELDS", "2"}, {"TTYPE1", "COMPRESSED_DATA"},
      {"TFORM1", "1PB"}, {"TTYPE2", column}, {"TFORM2", "1QI"}};
  for (const auto& [keyword, value] : changes) cards[keyword] = value;
  for (const auto& [keyword, value] : cards) made.hdu.cards.push_back({keyword, value, "", false});
  for (const char byte : std::string(8, '\0') + pointer + heap) {
    made.bytes.push_back(static_cast<std::byte>(byte));
  }
  made.hdu.data_bytes = made.hdu.bytes_there = std::ssize(made.bytes);
  return made;
}

void tiles_that_were_not_worth_it_are_stored_as_they_are() {
  const SampleShape shape{.n_rows = 1, .n_cols = 2};
  const std::string two("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0", 16);
  const std::string heap("\0\5\0\6", 4);
  const auto read = [&](const Table& table) { return read_tiles(table, shape); };
  for (const std::string codec : {"GZIP_1", "RICE_1"}) {
    const auto found = read(stored("UNCOMPRESSED_DATA", two, heap, codec));
    check::that(found == std::vector<int>{0, 0} || found == std::vector<int>{5, 6}, codec);
  }
  const std::string none(16, '\0');
  const std::string one("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16);
  const std::string before("\0\0\0\0\0\0\0\2\xff\xff\xff\xff\xff\xff\xff\xff", 16);
  check::throws<FitsError>([&] { read(stored("UNCOMPRESSED_DATA", none, heap)); }, "holds nothing");
  check::throws<FitsError>([&] { read(stored("GZIP_COMPRESSED_DATA", none, heap)); },
                           "holds nothing");
  check::throws<FitsError>([&] { read(stored("OTHER", none, heap)); }, "holds nothing");
  check::throws<FitsError>([&] { read(stored("UNCOMPRESSED_DATA", one, heap)); },
                           "another number of samples");
  check::throws<FitsError>([&] { read(stored("UNCOMPRESSED_DATA", before, heap)); },
                           "outside of the table's heap");
  check::throws<FitsError>(
      [&] {
        read(stored("UNCOMPRESSED_DATA", two, heap, "RICE_1",
                    {{"ZNAME1", "BYTEPIX"}, {"ZVAL1", "4"}}));
      },
      "samples of another width");
  Table coded = tiles({}, "GZIP_1");
  coded.bytes[0] = std::byte{0x20};  // 2^29 + 12 bytes
  coded.hdu.data_bytes = std::int64_t{1} << 30;
  check::throws<FitsError>([&] { read_tiles(coded); }, "tile 1 is larger than 512 MiB");
  Table wide = stored("UNCOMPRESSED_DATA", two, heap, "RICE_1");
  wide.hdu.axes = {std::int64_t{1} << 28, 1};
  check::throws<FitsError>([&] { read(wide); }, "larger than 256 MiB");
}

void the_sum_of_a_plane_is_carried_around() {
  const std::string path = "/tmp/skipstream_test_writer_" + std::to_string(getpid());
  {
    PlaneWriter writer(path);
    const auto image = writer.add_image(2880, PixelFormat::int32, 1, 3);
    const std::array<std::uint32_t, 3> words{0xffffffff, 0xffffffff, 1};
    writer.write_rows(image, words.data(), 1);
    // In ones' complement, 0xffffffff counts as nothing.
    check::equal(writer.datasum(image), std::uint32_t{1});
  }
  std::filesystem::remove(path);
}

void images_that_no_file_holds_are_refused() {
  const std::string path = "/tmp/skipstream_test_writer_" + std::to_string(getpid());
  {
    PlaneWriter writer(path);
    for (const std::int64_t n : {0, -2880, 100}) {
      check::throws<FitsError>([&] { writer.add_image(n, PixelFormat::float32, 1, 1); },
                               "whole blocks of 2880");
    }
    using Shape = std::pair<std::int64_t, std::int64_t>;
    for (const auto& shape :
         {Shape{-1, 1}, {1, -1}, {huge, 2}, {huge / 4, 1}, {huge / 16 + 2, 1}}) {
      check::throws<FitsError>(
          [&] { writer.add_image(2880, PixelFormat::float64, shape.first, shape.second); },
          "no file holds");
    }
    const auto image = writer.add_image(2880, PixelFormat::float64, 2, 3);
    const std::array<double, 9> values{1, 2, 3, 4, 5, 6, 7, 8, 9};
    check::throws<FitsError>([&] { writer.write_rows(image, values.data(), 3); }, "got 3");
    check::throws<FitsError>([&] { writer.write_header(image, "END"); }, "was reserved; got 3");
    check::throws<FitsError>([&] { writer.close(); }, "0 of 2 rows, and no header");
    writer.write_header(image, std::string(2880, ' '));
    check::throws<FitsError>([&] { writer.close(); }, "0 of 2 rows");
    writer.write_rows(image, values.data(), 2);
    writer.close();
  }
  check::throws<IoError>([&] { const PlaneWriter again(path); }, "cannot make the file");
  check::equal(std::filesystem::file_size(path), std::uintmax_t{5760});
  std::filesystem::remove(path);
  PlaneWriter(path).close();
  check::equal(std::filesystem::file_size(path), std::uintmax_t{0});
  std::filesystem::remove(path);
}

}  // namespace

int main() {
  bytes_outside_of_memory_are_refused();
  the_sum_of_words_is_that_of_any_pieces();
  a_file_is_the_one_that_was_opened();
  a_reversed_image_is_read_from_its_end();
  rows_are_those_of_the_axes();
  shapes_that_the_samples_do_not_have_are_refused();
  planes_are_those_of_the_cube();
  tables_that_hold_no_tiles_are_refused();
  shapes_that_the_tiles_do_not_have_are_refused();
  a_reversed_row_is_read_in_any_parts();
  nothing_is_read_behind_the_last_row();
  a_blank_of_the_header_goes_before_that_of_the_tiles();
  rows_are_complete_as_far_as_their_tiles_are_there();
  memory_is_counted_for_tiles_that_are_decoded_whole();
  scales_come_from_columns_of_any_number();
  dithering_goes_through_the_table_of_random_numbers_and_around_its_end();
  rows_of_packets_are_done_when_they_are_handed_out();
  floats_of_rice_need_a_scale();
  tiles_that_were_not_worth_it_are_stored_as_they_are();
  the_sum_of_a_plane_is_carried_around();
  images_that_no_file_holds_are_refused();
  return check::failures();
}
