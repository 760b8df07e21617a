#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>

#include "skipstream/base/image.hpp"
#include "skipstream/base/large_vector.hpp"
#include "skipstream/base/stage.hpp"
#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Undoes the shift of a Leach controller: its samples arrive some places late, across the ends of
/// rows, and the first ones of the image belong to the end of the last row.
class CorrectLeach : public SampleStage {
 public:
  static constexpr StageTitle title{
      "correct_leach",
      "Move every sample back by the few places that a Leach controller delays it."};
  struct Config {
    std::int64_t shift = 2;
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(field("shift", &C::shift,
                            "Places by which a row begins late; the last ones of the image come "
                            "from the begin of its first row.")
                          .unit("samples")
                          .at_least(1));
  }

  explicit CorrectLeach(Config config) : config_(config) {}

  SampleStagePlan begin(ImageInfo& image) override;
  void push(const SampleChunk& chunk, SampleOutput& output) override;
  void finish(SampleOutput& output) override;

 private:
  void emit(const std::byte* next, SampleOutput& output);

  Config config_;
  std::size_t row_bytes_ = 0;
  std::size_t shift_bytes_ = 0;
  std::int64_t n_rows_ = 0;       ///< seen so far
  LargeVector<std::byte> held_;   ///< the last row seen, then the samples that follow it
  LargeVector<std::byte> first_;  ///< the first samples of the image
};

}  // namespace skipstream
