#include "skipstream/stages/correct_leach.hpp"

#include <cstring>
#include <string>

#include "skipstream/base/error.hpp"

namespace skipstream {

SampleStagePlan CorrectLeach::begin(ImageInfo& image) {
  const std::int64_t row_samples = image.n_cols * image.n_skips;
  if (config_.shift > row_samples) {
    throw ConfigError("correct_leach.shift: must be at most the " + std::to_string(row_samples) +
                      " samples of a row; got " + std::to_string(config_.shift));
  }
  row_bytes_ = static_cast<std::size_t>(row_samples * image.format.n_bytes);
  shift_bytes_ = static_cast<std::size_t>(config_.shift * image.format.n_bytes);
  held_.resize(row_bytes_ + shift_bytes_);
  first_.resize(shift_bytes_);
  return {.delay_rows = 1,
          .state_bytes = static_cast<std::int64_t>(held_.size() + first_.size()),
          .format_only = false};
}

void CorrectLeach::push(const SampleChunk& chunk, SampleOutput& output) {
  for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
    const std::byte* row = chunk.samples + static_cast<std::size_t>(r) * row_bytes_;
    if (n_rows_ == 0) {
      std::memcpy(first_.data(), row, shift_bytes_);
    } else {
      emit(row, output);
    }
    std::memcpy(held_.data(), row, row_bytes_);
    ++n_rows_;
  }
}

void CorrectLeach::finish(SampleOutput& output) {
  if (n_rows_ > 0) emit(first_.data(), output);
}

/// The held row without its first samples, completed by those that follow it.
void CorrectLeach::emit(const std::byte* next, SampleOutput& output) {
  std::memcpy(held_.data() + row_bytes_, next, shift_bytes_);
  output.push({held_.data() + shift_bytes_, n_rows_ - 1, 1});
}

}  // namespace skipstream
