#include "skipstream/stages/subtract_baseline.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/kernels/decode.hpp"
#include "skipstream/kernels/location.hpp"

namespace skipstream {

SampleStagePlan SubtractBaseline::begin(ImageInfo& image) {
  if (image.overscan_cols < 1) {
    throw ConfigError("subtract_baseline: needs an overscan; set overscan_cols in [input]; " +
                      image.amplifier + " has none");
  }
  format_ = image.format;
  n_cols_ = image.n_cols;
  n_skips_ = image.n_skips;
  overscan_cols_ = std::min(image.overscan_cols, image.n_cols);
  row_.resize(static_cast<std::size_t>(n_cols_ * n_skips_));
  region_.resize(static_cast<std::size_t>(overscan_cols_));
  image.format = SampleFormat{.kind = SampleKind::floating,
                              .n_bytes = 8,
                              .big_endian = std::endian::native == std::endian::big,
                              .is_unsigned = false,
                              .scale = 1.0,
                              .zero = 0.0,
                              .blank = {}};
  return {.delay_rows = 0,
          .state_bytes = static_cast<std::int64_t>((row_.size() + region_.size()) * sizeof(double)),
          .format_only = false};
}

void SubtractBaseline::push(const SampleChunk& chunk, SampleOutput& output) {
  const std::int64_t row_samples = n_cols_ * n_skips_;
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    kernels::decode_samples(chunk.samples + r * row_samples * format_.n_bytes, row_samples, format_,
                            row_.data());
    for (std::int64_t skip = 0; skip < n_skips_; ++skip) {
      std::size_t n = 0;
      for (std::int64_t c = n_cols_ - overscan_cols_; c < n_cols_; ++c) {
        const double value = row_[static_cast<std::size_t>(c * n_skips_ + skip)];
        if (std::isfinite(value)) region_[n++] = value;
      }
      double level = std::numeric_limits<double>::quiet_NaN();
      const std::span<double> found(region_.data(), n);
      if (n > 0) {
        level = config_.method == BaselineMethod::median ? kernels::median_of(found)
                                                         : kernels::mean_and_std(found).value;
      }
      for (std::int64_t c = 0; c < n_cols_; ++c) {
        row_[static_cast<std::size_t>(c * n_skips_ + skip)] -= level;
      }
    }
    output.push({reinterpret_cast<const std::byte*>(row_.data()), chunk.first_row + r, 1});
  }
}

}  // namespace skipstream
