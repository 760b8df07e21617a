#pragma once

#include <cstdint>

namespace skipstream::kernels {

/// 64 columns of marks, and how many there are in the columns before them.
struct Marks {
  std::uint64_t bits;
  std::int64_t n_before;
};

/// Runs of marked pixels of one row, in memory of the caller. `begins` and `ends` (half-open) hold
/// one number per run; the marks say the same in bits, `n_words` of them.
struct RowRuns {
  std::int32_t* begins;
  std::int32_t* ends;
  Marks* begin_marks;
  Marks* end_marks;
};

/// Marks the pixels of a row that are at or above a threshold and usable.
///
/// Bit `i % 64` of `words[i / 64]` is set when `values[i] >= threshold` and `mask[i]` has none of
/// the bits `unusable`; NaN is never marked. `words` holds (n + 63) / 64; bits beyond `n` are 0.
/// Returns the union of the mask.
std::uint32_t mark_above(const double* values, const std::uint32_t* mask, std::int64_t n,
                         double threshold, std::uint32_t unusable, std::uint64_t* words) noexcept;

/// Finds the runs of a row of marks, which ends with at least one bit that is 0; returns how many.
std::int64_t find_runs(const std::uint64_t* words, std::int64_t n_words,
                       const RowRuns& runs) noexcept;

/// Run i of a row touches runs [first[i], past[i]) of the row above. `reach` is 1 where corners
/// touch, else 0; the marks of the row above reach one column beyond the last run's end.
void find_touching(const RowRuns& above, const RowRuns& runs, std::int64_t n_runs,
                   std::int32_t reach, std::int32_t* first, std::int32_t* past) noexcept;

}  // namespace skipstream::kernels
