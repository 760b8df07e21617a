#include "skipstream/kernels/threshold.hpp"

#include "skipstream/kernels/dispatch.hpp"

namespace skipstream::kernels {

using MarkAbove = decltype(mark_above);
using FindRuns = decltype(find_runs);
using FindTouching = decltype(find_touching);

namespace baseline {
MarkAbove mark_above;
FindRuns find_runs;
FindTouching find_touching;
}  // namespace baseline
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
namespace v3 {
MarkAbove mark_above;
FindRuns find_runs;
FindTouching find_touching;
}  // namespace v3
namespace v4 {
MarkAbove mark_above;
FindRuns find_runs;
FindTouching find_touching;
}  // namespace v4
#endif

namespace {

struct Functions {
  MarkAbove* mark_above;
  FindRuns* find_runs;
  FindTouching* find_touching;
};

Functions choose() {
  switch (chosen_level()) {
#ifdef SKIPSTREAM_HAVE_X86_LEVELS
    case SimdLevel::v4:
      return {v4::mark_above, v4::find_runs, v4::find_touching};
    case SimdLevel::v3:
      return {v3::mark_above, v3::find_runs, v3::find_touching};
#endif
    default:
      return {baseline::mark_above, baseline::find_runs, baseline::find_touching};
  }
}

const Functions& chosen() {
  static const Functions functions = choose();
  return functions;
}

}  // namespace

std::uint32_t mark_above(const double* values, const std::uint32_t* mask, std::int64_t n,
                         double threshold, std::uint32_t unusable, std::uint64_t* words) noexcept {
  return chosen().mark_above(values, mask, n, threshold, unusable, words);
}

std::int64_t find_runs(const std::uint64_t* words, std::int64_t n_words,
                       const RowRuns& runs) noexcept {
  return chosen().find_runs(words, n_words, runs);
}

void find_touching(const RowRuns& above, const RowRuns& runs, std::int64_t n_runs,
                   std::int32_t reach, std::int32_t* first, std::int32_t* past) noexcept {
  chosen().find_touching(above, runs, n_runs, reach, first, past);
}

}  // namespace skipstream::kernels
