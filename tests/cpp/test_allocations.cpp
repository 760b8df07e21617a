// Memory that runs out: the first allocation fails, then the second, and so on until none is left.
// Each time there is an exception, never a crash or a leak (the address sanitizer looks for those),
// and the next image is processed as if nothing had happened.

#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "check.hpp"
#include "fits_text.hpp"
#include "replaced_new.hpp"
#include "skipstream/base/arena.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/io/fits_structure.hpp"
#include "skipstream/io/plane_writer.hpp"
#include "skipstream/io/sample_reader.hpp"
#include "skipstream/pipeline/pipeline.hpp"
#include "stage_table.hpp"

using namespace skipstream;

namespace {

/// Allocations until one fails; negative: none does.
std::atomic<std::int64_t> left{-1};
std::atomic<std::int64_t> n_failed{0};

}  // namespace

bool fails(std::size_t /*n_bytes*/) {
  if (left.load(std::memory_order_relaxed) < 0 || left.fetch_sub(1) != 0) return false;
  ++n_failed;
  return true;
}

// The arrays that grow ask the system itself; the linker sends them here.
extern "C" {
void* __real_realloc(void* memory, std::size_t n_bytes);
void* __real_mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset);
void* __wrap_realloc(void* memory, std::size_t n_bytes) {
  return fails(n_bytes) ? nullptr : __real_realloc(memory, n_bytes);
}
void* __wrap_mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset) {
  if (fails(0)) return reinterpret_cast<void*>(std::intptr_t{-1});
  return __real_mmap(at, n, protection, flags, file, offset);
}
}

namespace {

constexpr std::int64_t n_rows = 12;
constexpr std::int64_t n_cols = 30;
constexpr std::int64_t n_skips = 5;

std::string raw_file() {
  std::string head = card("SIMPLE", "T") + card("BITPIX", "16") + card("NAXIS", "2") +
                     card("NAXIS1", std::to_string(n_cols * n_skips)) +
                     card("NAXIS2", std::to_string(n_rows)) + card("EXTNAME", "'CCD_A   '") + "END";
  std::string data;
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < n_rows * n_cols * n_skips; ++i) {
    state = state * 1664525U + 1013904223U;
    const std::uint32_t sample = 1000 + (state >> 24) + (state >> 31 << 9);
    data += static_cast<char>(sample >> 8);
    data += static_cast<char>(sample & 0xff);
  }
  return blocks(head, ' ') + blocks(data, '\0');
}

Value whole_chain() {
  return Value::List{
      stage("correct_leach"),
      stage("subtract_baseline"),
      stage("correct_polarity", {{"method", "max"}}),
      stage("compress_skips",
            {{"statistics", Value::List{"mean", "first", "median", "std", "mad", "clipped_mean"}}}),
      stage("replace_saturated"),
      stage("mask_columns", {{"columns", Value::List{std::int64_t{5}}}}),
      stage("subtract_pedestal", {{"axis", "both"}, {"rebin_rows", std::int64_t{3}}}),
      stage("calibrate", {{"gain", 2.5}}),
      stage("find_clusters", {{"noise", 5.0}, {"keep_pixels", true}, {"label_image", true}})};
}

/// All that comes out of a file: bits of the last planes, and of the tables.
std::vector<std::uint64_t> process(const std::string& bytes, const std::string& output,
                                   std::size_t n_threads) {
  const MemorySource source("raw.fits", std::as_bytes(std::span(bytes)));
  const auto hdus = scan_fits(source);
  Problems problems;
  Chain chain = make_chain(whole_chain(), {}, problems);
  for (const auto& problem : problems) check::that(false, problem);
  const std::size_t last = chain.n_configured - 1;
  PipelineOptions options;
  options.n_threads = n_threads;
  options.chunk_rows = 4;
  options.spool_bytes = 2000;
  ImageInfo image;
  image.n_rows = n_rows;
  image.n_cols = n_cols;
  image.n_skips = n_skips;
  image.format = hdus.at(0).format;
  image.overscan_cols = 4;
  Pipeline pipeline(std::move(chain), options);
  pipeline.begin(image);
  PlaneWriter writer(output);
  writer.add_image(2880, PixelFormat::float32, n_rows, n_cols);
  std::vector<std::uint64_t> bits;
  pipeline.add_tap(last, [&](const PixelChunk& chunk) {
    writer.write_rows(0, chunk.planes[0], chunk.n_rows);
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (std::size_t p = 0; p < chunk.planes.size(); ++p) {
        for (const double value : chunk.row(p, r)) {
          bits.push_back(std::bit_cast<std::uint64_t>(value));
        }
      }
    }
  });
  const SampleReader reader(source, hdus[0],
                            {.n_rows = n_rows, .n_cols = n_cols, .n_skips = n_skips});
  pipeline.run(reader, n_rows);
  pipeline.finish();
  writer.write_header(0, std::string(2880, ' '));
  writer.close();
  for (const auto& table : pipeline.tables()) {
    for (const auto& cell : table.cells) bits.push_back(static_cast<std::uint64_t>(cell.integer));
  }
  return bits;
}

void every_allocation_of_an_image_may_fail() {
  const std::string bytes = raw_file();
  const std::string output = "/tmp/skipstream_test_allocations_" + std::to_string(getpid());
  const auto run = [&](std::size_t n_threads) {
    std::remove(output.c_str());
    return process(bytes, output, n_threads);
  };
  const auto expected = run(1);
  check::that(expected.size() > 1000, "there are pixels and clusters");
  std::int64_t total = 0;
  for (const std::size_t n_threads : {1, 2}) {
    for (std::int64_t number = 0;; ++number) {
      bool failed = false;
      left = number;
      n_failed = 0;
      try {
        check::that(run(n_threads) == expected, "what is called done is right");
      } catch (const std::bad_alloc&) {
        failed = true;
      } catch (const Error&) {
        failed = true;
      }
      left = -1;
      if (n_failed == 0) break;  // there are fewer than `number`
      ++total;
      check::that(failed, "allocation " + std::to_string(number) + " failed without a word");
    }
    check::that(run(n_threads) == expected, "and the next image is right");
  }
  std::remove(output.c_str());
  std::printf("%lld failing allocations\n", static_cast<long long>(total));
  check::that(total >= 1000, "there are allocations to fail");
}

void an_array_that_cannot_grow_keeps_what_it_has() {
  for (std::int64_t number = 0;; ++number) {
    GrowingArray<std::uint64_t> array;
    std::uint64_t next = 0;
    left = number;
    n_failed = 0;
    try {
      std::vector<std::uint64_t> part(70'000);
      while (array.size() < 3'000'000) {
        for (auto& value : part) value = next++;
        array.append(part);
      }
    } catch (const std::bad_alloc&) {
      next = array.size();
    }
    left = -1;
    std::uint64_t expected = 0;
    for (const std::uint64_t value : array) {
      if (value != expected++) break;
    }
    check::equal(expected, next);
    if (n_failed == 0) break;
  }
}

void an_array_grows_in_an_arena_and_out_of_it() {
  constexpr std::size_t room = 4096;
  std::vector<std::byte> memory(room);
  Arena arena(memory);
  std::uint64_t next = 0;
  const auto fill = [&](GrowingArray<std::uint64_t>& array, std::size_t n) {
    for (; array.size() < n; next += 3) {
      array.append(std::array<std::uint64_t, 3>{next, next + 1, next + 2});
    }
    std::uint64_t expected = 0;
    for (const std::uint64_t value : array) expected += value == expected ? 1U : 0U;
    check::equal(expected, static_cast<std::uint64_t>(array.size()));
  };
  const ArenaScope scope(arena);
  GrowingArray<std::uint64_t> array;
  array.reserve(30);
  check::that(arena.holds(array.data()));
  fill(array, 30);
  check::that(arena.holds(array.data()), "what was reserved");
  fill(array, 1000);
  check::that(!arena.holds(array.data()), "it has moved");
  fill(array, 2'000'001);

  GrowingArray<std::uint64_t> large;
  large.reserve(room);  // which is more than there is
  next = 0;
  check::that(!arena.holds(large.data()) && arena.needed_bytes() >= room);
  fill(large, 2 * room);
}

void what_no_memory_holds_is_refused() {
  constexpr auto all = static_cast<std::size_t>(-1);
  std::vector<std::byte> memory(256);
  Arena arena(memory);
  check::that(arena.take(100) != nullptr && arena.needed_bytes() < 256);
  for (int again = 0; again < 3; ++again) check::that(arena.take(all - 1) == nullptr);
  const std::size_t most = arena.needed_bytes();
  for (int again = 0; again < 3; ++again) check::that(arena.take(1000) == nullptr);
  check::that(most > all / 8 && arena.needed_bytes() >= most, "it does not begin again at 0");
  check::that(arena.take(1) != nullptr, "what fits is still given");

  const ArenaScope scope(arena);
  const ArenaAllocator<std::uint64_t> of_arena;
  check::that(of_arena == ArenaAllocator<char>(of_arena));
  bool is_refused = false;
  try {
    static_cast<void>(ArenaAllocator<std::uint64_t>().allocate(all / 8 + 1));
  } catch (const std::bad_array_new_length&) {
    is_refused = true;
  }
  check::that(is_refused);
}

}  // namespace

int main() {
  every_allocation_of_an_image_may_fail();
  an_array_grows_in_an_arena_and_out_of_it();
  what_no_memory_holds_is_refused();
  an_array_that_cannot_grow_keeps_what_it_has();
  return check::failures();
}
