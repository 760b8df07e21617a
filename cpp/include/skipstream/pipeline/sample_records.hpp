#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/base/sample.hpp"
#include "skipstream/stages/compress_skips.hpp"

namespace skipstream {

/// What is kept of the pixels of every `row_step`-th row, between two columns.
struct KeptRegion {
  std::int64_t begin_col = 0;
  std::int64_t end_col = 0;
  std::int64_t row_step = 1;
  std::vector<std::string> statistics{};  ///< none: all of their samples
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

  /// `n_histograms`: of the first samples, each gets one; of integer samples only. Statistics of
  /// regions are those of the image's skips in use.
  void begin(const ImageInfo& image, std::int64_t n_histograms, std::size_t n_threads);
  /// Before the first pixel. The region is in the image, whose number of rows is known. Throws
  /// ConfigError for a statistic that there is not.
  void keep(const KeptRegion& region);
  [[nodiscard]] bool is_empty() const { return kept_.empty() && firsts_.empty(); }
  [[nodiscard]] std::int64_t bytes() const;

  /// Lays the bins around the first pixel of the image, which every chunking knows.
  void see_first_pixel(const std::byte* samples);
  /// Samples of `n_pixels` pixels, of which the first is number `first_pixel` of the image.
  void record(const std::byte* samples, std::int64_t first_pixel, std::int64_t n_pixels,
              std::size_t thread);
  /// Rows of which all pixels were recorded.
  void see_rows(std::int64_t first_row, std::int64_t n_rows);
  /// What was not recorded of the regions becomes NaN, and samples 0.
  void finish();

  [[nodiscard]] std::size_t n_regions() const { return kept_.size(); }
  [[nodiscard]] const KeptRegion& region(std::size_t number) const {
    return kept_.at(number).region;
  }
  [[nodiscard]] std::int64_t n_kept_rows(std::size_t region) const {
    return n_kept_rows(kept_.at(region).region);
  }
  /// Whether a kept row, by its number among these, was recorded.
  [[nodiscard]] bool is_there(std::size_t region, std::int64_t kept_row) const {
    return there_[static_cast<std::size_t>(kept_row * kept_.at(region).region.row_step)] != 0;
  }
  /// `(n_kept_rows, n_cols of the region, n_skips)`, encoded; of a region without statistics.
  [[nodiscard]] std::span<const std::byte> samples(std::size_t region) const {
    return kept_.at(region).samples;
  }
  /// `(n_statistics, n_kept_rows, n_cols of the region)`.
  [[nodiscard]] std::span<const double> values(std::size_t region) const {
    return kept_.at(region).values;
  }
  [[nodiscard]] SampleHistograms histograms() const;

 private:
  struct Kept {
    KeptRegion region;
    LargeVector<std::byte> samples;
    std::unique_ptr<CompressSkips> reduction;  ///< to the statistics
    LargeVector<double> values;
    std::int64_t n_pixels = 0;
  };
  /// What a thread needs to reduce pixels of a row.
  struct Room {
    Array<std::byte> scratch;
    Array<double*> planes;
    Array<std::uint32_t> mask;
  };

  [[nodiscard]] std::int64_t n_kept_rows(const KeptRegion& region) const {
    return image_.n_rows < 1 ? 0 : (image_.n_rows - 1) / region.row_step + 1;
  }
  void keep_pixels(Kept& kept, const std::byte* samples, std::int64_t at, std::int64_t n_pixels,
                   std::size_t thread);
  template <class T, bool swapped>
  void count(const std::byte* samples, std::int64_t n_pixels, std::size_t thread);
  [[nodiscard]] std::int64_t stored(const std::byte* sample) const;

  ImageInfo image_;
  std::int64_t pixel_bytes_ = 0;
  std::vector<Kept> kept_;
  std::vector<Room> rooms_;     ///< of all threads
  Array<std::uint8_t> there_;   ///< by row of the image, where there are regions
  Array<std::int64_t> firsts_;  ///< stored number of bin 0, by histogram
  /// By thread: groups of histograms, of whose cells (below, bins, above, left out) those of the
  /// same number lie side by side.
  LargeVector<std::uint32_t> counts_;  ///< of all threads, one after another
  std::size_t counts_of_thread_ = 0;
};

}  // namespace skipstream
