#include "skipstream/kernels/threshold.hpp"

#include <cstddef>
#include <cstdint>

#ifndef SKIPSTREAM_SIMD_LEVEL
#define SKIPSTREAM_SIMD_LEVEL baseline
#endif

namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL {

namespace {

/// 64 comparisons as bits; the compiler vectorises the loop over a constant number of pixels.
std::uint64_t above_word(const double* values, double threshold) noexcept {
  std::uint64_t above[64];
  for (std::size_t i = 0; i < 64; ++i) above[i] = values[i] >= threshold ? 1U : 0U;
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 64; ++i) word |= above[i] << i;
  return word;
}

}  // namespace

std::uint32_t mark_above(const double* values, const std::uint32_t* mask, std::int64_t n,
                         double threshold, std::uint32_t unusable, std::uint64_t* words) noexcept {
  std::uint32_t any = 0;
  std::int64_t begin = 0;
  for (; begin < n; begin += 64, ++words) {
    const double* value = values + begin;
    const std::uint32_t* bits = mask + begin;
    std::uint64_t word = 0;
    std::uint32_t any_here = 0;
    const std::int64_t n_here = n - begin < 64 ? n - begin : 64;
    if (n_here == 64) {
      word = above_word(value, threshold);
      for (std::size_t i = 0; i < 64; ++i) any_here |= bits[i];
    } else {
      for (std::int64_t i = 0; i < n_here; ++i) {
        word |= static_cast<std::uint64_t>(value[i] >= threshold ? 1U : 0U) << i;
        any_here |= bits[i];
      }
    }
    if ((any_here & unusable) != 0) {
      for (std::int64_t i = 0; i < n_here; ++i) {
        word &= ~(static_cast<std::uint64_t>((bits[i] & unusable) != 0 ? 1U : 0U) << i);
      }
    }
    any |= any_here;
    *words = word;
  }
  return any;
}

std::int64_t find_runs(const std::uint64_t* words, std::int64_t n_words,
                       const RowRuns& runs) noexcept {
  std::int64_t n_begins = 0;
  std::int64_t n_ends = 0;
  std::uint64_t last_bit = 0;
  for (std::int64_t w = 0; w < n_words; ++w) {
    const std::uint64_t word = words[w];
    const std::uint64_t shifted = (word << 1) | last_bit;
    const auto first = static_cast<std::int32_t>(64 * w);
    runs.begin_marks[w] = {word & ~shifted, n_begins};
    runs.end_marks[w] = {~word & shifted, n_ends};
    for (std::uint64_t bits = word & ~shifted; bits != 0; bits &= bits - 1) {
      runs.begins[n_begins++] = first + static_cast<std::int32_t>(__builtin_ctzll(bits));
    }
    for (std::uint64_t bits = ~word & shifted; bits != 0; bits &= bits - 1) {
      runs.ends[n_ends++] = first + static_cast<std::int32_t>(__builtin_ctzll(bits));
    }
    last_bit = word >> 63;
  }
  return n_begins;
}

namespace {

/// How many marks lie before bit `i`.
std::int32_t count_before(const Marks* marks, std::int32_t i) noexcept {
  const Marks& here = marks[i / 64];
  const std::uint64_t below = here.bits & ((std::uint64_t{1} << (i % 64)) - 1);
  return static_cast<std::int32_t>(here.n_before + __builtin_popcountll(below));
}

}  // namespace

void find_touching(const RowRuns& above, const RowRuns& runs, std::int64_t n_runs,
                   std::int32_t reach, std::int32_t* first, std::int32_t* past) noexcept {
  for (std::int64_t i = 0; i < n_runs; ++i) {
    first[i] = count_before(above.end_marks, runs.begins[i] + 1 - reach);
    past[i] = count_before(above.begin_marks, runs.ends[i] + reach);
  }
}

}  // namespace skipstream::kernels::SKIPSTREAM_SIMD_LEVEL
