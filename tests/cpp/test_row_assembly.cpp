// A row put together from parts and losses, against a list of what happened to each sample.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/pipeline/row_assembly.hpp"

using namespace skipstream;

namespace {

std::vector<std::byte> bytes_of(std::size_t n, std::size_t first) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < n; ++i) bytes.push_back(static_cast<std::byte>(first + i));
  return bytes;
}

/// The stretches of samples that are marked.
std::vector<SampleRange> stretches(const std::vector<bool>& marked) {
  std::vector<SampleRange> found;
  const auto n = static_cast<std::int64_t>(marked.size());
  for (std::int64_t i = 0; i < n; ++i) {
    if (!marked[static_cast<std::size_t>(i)]) continue;
    if (i > 0 && marked[static_cast<std::size_t>(i) - 1]) {
      found.back().end = i + 1;
    } else {
      found.push_back({i, i + 1});
    }
  }
  return found;
}

bool same(std::span<const SampleRange> a, const std::vector<SampleRange>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const SampleRange& x, const SampleRange& y) {
                      return x.begin == y.begin && x.end == y.end;
                    });
}

void parts_and_losses_make_the_row(std::int64_t row_samples, std::int64_t sample_bytes,
                                   unsigned seed) {
  std::mt19937 random(seed);
  RowAssembly row;
  row.begin(row_samples, sample_bytes, false);
  const std::int64_t row_bytes = row_samples * sample_bytes;
  check::equal(row.bytes(), row_bytes);
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<bool> is_lost(static_cast<std::size_t>(row_samples));
    std::vector<std::byte> expected;
    while (true) {
      const auto n_there = static_cast<std::int64_t>(expected.size());
      const std::int64_t n_whole = n_there / sample_bytes;
      check::equal(row.is_empty(), n_there == 0);
      check::equal(row.is_full(), n_there == row_bytes);
      check::equal(row.n_open(), row_samples - n_whole);
      check::equal(row.at_sample(), n_whole * sample_bytes == n_there);
      for (const std::int64_t more :
           {std::int64_t{0}, std::int64_t{1}, row_bytes - n_there, row_bytes - n_there + 1,
            row_bytes, 3 * row_bytes - 1, 3 * row_bytes - n_there}) {
        std::int64_t n_rows = 0;
        while (n_rows * row_bytes < n_there + more) ++n_rows;
        check::equal(row.rows_after(more), n_rows, "rows after " + std::to_string(more));
      }
      check::that(same(row.lost(), stretches(is_lost)), "what is lost");
      check::equal(row.is_all_lost(),
                   std::find(is_lost.begin(), is_lost.end(), false) == is_lost.end());
      if (n_there == row_bytes) break;
      if (random() % 3 != 0 || turn == 0) {
        const auto part = bytes_of(random() % 7 + (turn == 1 ? 1000 : 0), random() % 200 + 1);
        const std::size_t n = row.take(part);
        check::equal(n, std::min(part.size(), static_cast<std::size_t>(row_bytes - n_there)));
        expected.insert(expected.end(), part.begin(),
                        part.begin() + static_cast<std::ptrdiff_t>(n));
      } else {
        const std::int64_t n = turn == 2 ? row.n_open() : 1 + random() % row.n_open();
        row.lose(n);
        for (std::int64_t i = n_whole; i < n_whole + n; ++i)
          is_lost[static_cast<std::size_t>(i)] = true;
        expected.resize(static_cast<std::size_t>((n_whole + n) * sample_bytes));
      }
      check::that(std::equal(expected.begin(), expected.end(), row.samples()), "the bytes");
    }
    row.clear();
    check::that(row.is_empty() && row.lost().empty());
  }
}

void between_too_many_losses_all_is_lost() {
  constexpr std::int64_t n_samples = 2 * 256 + 8;
  RowAssembly row;
  row.begin(n_samples, 2, false);
  const auto sample = bytes_of(2, 1);
  for (int i = 0; i < 256; ++i) {
    row.take(sample);
    row.lose(1);
  }
  check::equal(row.lost().size(), std::size_t{256});
  check::that(row.lost()[255].begin == 511 && row.lost()[255].end == 512);
  row.take(sample);
  row.lose(2);
  check::equal(row.lost().size(), std::size_t{256}, "no room for another");
  check::that(row.lost()[254].begin == 509 && row.lost()[254].end == 510);
  check::that(row.lost()[255].begin == 511 && row.lost()[255].end == 515);
}

void a_row_that_is_whole_needs_no_room() {
  RowAssembly row;
  row.begin(5, 4, true);
  check::equal(row.bytes(), 20);
  check::that(row.samples() == nullptr);
  check::that(!row.is_all_lost());
}

}  // namespace

int main() {
  for (const std::int64_t row_samples : {1, 2, 9, 60}) {
    for (const std::int64_t sample_bytes : {1, 2, 4, 8}) {
      for (unsigned seed = 0; seed < 20; ++seed) {
        parts_and_losses_make_the_row(row_samples, sample_bytes, seed);
      }
    }
  }
  between_too_many_losses_all_is_lost();
  a_row_that_is_whole_needs_no_room();
  return check::failures();
}
