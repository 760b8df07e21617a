#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// A pixel with so much charge that it is lost from skip to skip, or that later samples saturate,
/// is told by its first sample (option -H of skipper2root).
class ReplaceSaturated : public PixelStage {
 public:
  static constexpr StageTitle title{
      "replace_saturated",
      "Take the first sample of a pixel whose value is far below it, and flag the pixel."};
  struct Config {
    double limit = 500.0;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(field("limit", &C::limit,
                            "A pixel is replaced where its first sample is above its value by more "
                            "than this, in the unit of the pixels (100 electrons are usual); "
                            "compress_skips must make the plane \"first\".")
                          .above(0));
  }

  explicit ReplaceSaturated(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  Config config_;
  std::size_t first_plane_ = 0;
  std::int64_t n_replaced_ = 0;
};

}  // namespace skipstream
