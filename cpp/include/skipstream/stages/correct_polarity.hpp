#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "skipstream/base/image.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

enum class PolarityMethod : std::uint8_t { negate, offset, max };
constexpr auto choice_names(PolarityMethod /*choice*/) {
  return std::array<std::string_view, 3>{"negate", "offset", "max"};
}

/// Turns samples that fall with charge into samples that rise with it.
///
/// The samples themselves stay as they are; only their scale and zero change, so the correction is
/// exact and costs nothing.
class CorrectPolarity : public SampleStage {
 public:
  static constexpr StageTitle title{"correct_polarity",
                                    "Turn samples that fall with charge upside down."};
  struct Config {
    PolarityMethod method = PolarityMethod::negate;
    double offset = 65535.0;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(
        field("method", &C::method,
              "negate: -q; offset: offset - q; max: the image's largest sample - q, which needs "
              "the whole image (a barrier)."),
        field("offset", &C::offset, "What samples are subtracted from with method offset.")
            .unit("ADU"));
  }

  explicit CorrectPolarity(Config config) : config_(config) {}

  SampleStagePlan begin(ImageInfo& image) override;
  void push(const SampleChunk& chunk, SampleOutput& output) override { output.push(chunk); }

 private:
  Config config_;
};

/// Adds the image's largest original sample to pixels whose samples were negated; the second half
/// of `correct_polarity` with method max, placed behind the reduction by the pipeline.
class AddMaximum : public PixelStage {
 public:
  /// Planes from `n_planes_kept` on were computed for this stage only, and end here.
  explicit AddMaximum(std::size_t n_planes_kept) : n_planes_kept_(n_planes_kept) {}

  /// Statistics that this stage needs beside those given.
  static std::vector<std::string> needs(const std::vector<std::string>& statistics);

  StagePlan begin(const ImageInfo& image, const std::vector<PlaneInfo>& planes) override;
  void observe(const PixelChunk& chunk) override;
  void settle() override;
  void push(PixelChunk& chunk, StageOutput& output) override;
  [[nodiscard]] std::vector<Finding> findings() const override;

 private:
  [[nodiscard]] std::size_t plane(std::string_view name) const;

  std::size_t n_planes_kept_;
  std::vector<PlaneInfo> planes_;
  double smallest_ = 0.0;  ///< of the negated samples
  double maximum_ = 0.0;
};

}  // namespace skipstream
