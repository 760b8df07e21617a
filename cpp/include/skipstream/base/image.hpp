#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skipstream/base/sample.hpp"

namespace skipstream {

/// What is known of an image before its first row: one amplifier's readout.
///
/// Columns are counted in pixels, in readout order: prescan, active, overscan.
struct ImageInfo {
  std::string amplifier = "EXT1";
  std::int64_t n_rows = -1;  ///< -1: not known beforehand
  std::int64_t n_cols = 0;
  std::int64_t n_skips = 1;
  SampleFormat format;
  std::int64_t prescan_cols = 0;
  std::int64_t overscan_cols = 0;
  std::int64_t prescan_rows = 0;
  std::int64_t overscan_rows = 0;
  std::int64_t begin_skip = 0;           ///< default of every stage; negative counts from the end
  std::optional<std::int64_t> end_skip;  ///< half-open; negative counts from the end
  std::string unit = "adu";              ///< of the samples
  /// Samples are negated, and the image's largest original sample is still to be added to them.
  bool add_maximum = false;
  std::int64_t memory_bytes = -1;  ///< that stages may still take; below 0: any
  std::vector<std::pair<std::string, double>>
      header;  ///< numeric header cards, for stages that name a keyword

  [[nodiscard]] std::int64_t begin_active_col() const { return prescan_cols; }
  [[nodiscard]] std::int64_t end_active_col() const { return n_cols - overscan_cols; }
};

}  // namespace skipstream
