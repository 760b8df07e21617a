#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/base/sample.hpp"

namespace skipstream {

/// Samples of every `row_step`-th row, between two columns, that outlive the pass.
struct KeptRegion {
  std::int64_t begin_col = 0;
  std::int64_t end_col = 0;
  std::int64_t row_step = 1;
};

/// How often each number was read in the first samples of all pixels, in bins of the unit of the
/// file, without those at both ends that are empty in all of them.
struct SampleHistograms {
  std::vector<std::int64_t> firsts;  ///< of each sample: stored number of bin 0
  std::int64_t n_bins = 0;
  std::vector<std::int64_t> counts;  ///< (n, n_bins)
  std::vector<std::int64_t> n_below;
  std::vector<std::int64_t> n_above;
};

/// What is taken from the samples beside their reduction, while they are in the cache. Threads
/// write to parts of their own, and counts are whole numbers: the order does not matter.
class SampleRecords {
 public:
  static constexpr std::int64_t n_bins = 1 << 14;  ///< at most

  /// `n_histograms`: of the first samples, each gets one; of integer samples only.
  void begin(std::int64_t n_rows, std::int64_t n_cols, std::int64_t n_skips,
             const SampleFormat& format, std::vector<KeptRegion> regions, std::int64_t n_histograms,
             std::size_t n_threads);
  [[nodiscard]] bool is_empty() const { return regions_.empty() && firsts_.empty(); }
  [[nodiscard]] std::int64_t bytes() const;

  /// Lays the bins around the first pixel of the image, which every chunking knows.
  void see_first_pixel(const std::byte* samples);
  /// Samples of `n_pixels` pixels, of which the first is number `first_pixel` in raster order.
  void record(const std::byte* samples, std::int64_t first_pixel, std::int64_t n_pixels,
              std::size_t thread);

  /// `(n_kept_rows, n_cols of the region, n_skips)`, encoded.
  [[nodiscard]] std::span<const std::byte> kept(std::size_t region) const {
    return kept_.at(region);
  }
  [[nodiscard]] SampleHistograms histograms() const;

 private:
  template <class T, bool swapped>
  void count(const std::byte* samples, std::int64_t n_pixels, std::size_t thread);
  [[nodiscard]] std::int64_t stored(const std::byte* sample) const;

  std::int64_t n_cols_ = 0;
  std::int64_t n_skips_ = 0;
  std::int64_t pixel_bytes_ = 0;
  SampleFormat format_;
  std::vector<KeptRegion> regions_;
  std::vector<LargeVector<std::byte>> kept_;
  Array<std::int64_t> firsts_;  ///< stored number of bin 0, by histogram
  /// By thread: groups of histograms, of whose cells (below, bins, above, left out) those of the
  /// same number lie side by side.
  LargeVector<std::uint32_t> counts_;  ///< of all threads, one after another
  std::size_t counts_of_thread_ = 0;
};

}  // namespace skipstream
