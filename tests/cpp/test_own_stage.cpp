// A stage that the embedding program brings along: in the config, its messages and its results.

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/skipstream.hpp"

using namespace skipstream;

namespace {

/// Multiplies all pixels.
class ScalePixels : public PixelStage {
 public:
  static constexpr StageTitle title{"scale_pixels", "Multiply all pixels."};
  struct Config {
    double factor = 1.0;
  };
  static constexpr auto describe() {
    return std::tuple(
        field("factor", &Config::factor, "What pixels are multiplied with.").above(0));
  }

  explicit ScalePixels(Config config) : config_(config) {}

  StagePlan begin(const ImageInfo& /*image*/, const std::vector<PlaneInfo>& planes) override {
    return {.planes = planes, .delay_rows = 0, .state_bytes = 0, .barrier = false, .tables = {}};
  }
  void push(PixelChunk& chunk, StageOutput& output) override {
    for (std::int64_t r = 0; r < chunk.n_rows; ++r) {
      for (double& value : chunk.row(0, r)) value *= config_.factor;
    }
    output.push(chunk);
  }

 private:
  Config config_;
};

const std::vector<StageKind>& kinds() {
  static const auto known = kinds_of(StageList<CompressSkips, ScalePixels>{});
  return known;
}

void a_config_names_it_as_any_other() {
  const auto config = load_config(
      "[[stage]]\nkind = \"compress_skips\"\n[[stage]]\nkind = \"scale_pixels\"\nfactor = 2.5\n",
      "cfg.toml", kinds());
  ImageInfo image = config.image;
  image.n_cols = 3;
  image.n_skips = 2;
  Pipeline pipeline(config.chain(kinds()), {});
  pipeline.begin(image);
  std::vector<double> values;
  pipeline.add_tap(1, [&](const PixelChunk& rows) {
    values.assign(rows.planes[0], rows.planes[0] + rows.n_rows * rows.n_cols);
  });
  const std::vector<std::int16_t> samples{1, 3, 5, 7, -2, 0};
  pipeline.push(std::as_bytes(std::span(samples)));
  pipeline.finish();
  check::that(values == std::vector<double>{5.0, 15.0, -2.5});
  check::throws<ConfigError>([&] { std::ignore = config.chain(); },
                             "cfg.toml:4: stage[1].kind: no stage \"scale_pixels\"");
}

void its_mistakes_are_told_as_those_of_any_other() {
  const auto refused = [](const std::string& line, const std::string& message) {
    check::throws<ConfigError>(
        [&] { load_config("[[stage]]\nkind = \"scale_pixels\"\n" + line, "cfg.toml", kinds()); },
        message);
  };
  refused("factr = 2",
          "cfg.toml:3: stage[0] scale_pixels: no key \"factr\"; did you mean \"factor\"");
  refused("factor = 0", "cfg.toml:3: stage[0] scale_pixels.factor: must be above 0; got 0");
  refused("[[stage]]\nkind = \"calibrate\"", "cfg.toml:4: stage[1].kind: no stage \"calibrate\"");
}

}  // namespace

int main() {
  a_config_names_it_as_any_other();
  its_mistakes_are_told_as_those_of_any_other();
  return check::failures();
}
