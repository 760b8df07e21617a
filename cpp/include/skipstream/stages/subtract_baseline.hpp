#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/arena.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

enum class BaselineMethod : std::uint8_t { mean, median };
constexpr auto choice_names(BaselineMethod /*method*/) {
  return std::array<std::string_view, 2>{"mean", "median"};
}

/// Subtracts from every sample what the overscan of its row has in the same sample: a pedestal
/// before the skips are reduced (the `in_raw` pedestal of skipper2root).
class SubtractBaseline : public SampleStage {
 public:
  static constexpr StageTitle title{
      "subtract_baseline",
      "Subtract, sample by sample, the level of the row's overscan in the same sample."};
  struct Config {
    BaselineMethod method = BaselineMethod::median;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("method", &C::method,
              "Of the overscan columns, for each row and sample. The samples of a row whose "
              "overscan is missing are missing, too."));
  }

  explicit SubtractBaseline(Config config) : config_(config) {}

  SampleStagePlan begin(ImageInfo& image) override;
  void push(const SampleChunk& chunk, SampleOutput& output) override;

 private:
  Config config_;
  SampleFormat format_;
  std::int64_t n_cols_ = 0;
  std::int64_t n_skips_ = 0;
  std::int64_t overscan_cols_ = 0;
  Array<double> row_;
  Array<double> region_;
};

}  // namespace skipstream
