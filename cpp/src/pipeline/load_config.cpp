#include "skipstream/pipeline/load_config.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

/// The numbers of [input] that are the same however the rows come.
struct InputFacts {
  struct Config {
    std::optional<std::int64_t> n_rows;
    std::optional<std::int64_t> n_cols;
    std::optional<std::int64_t> n_skips;
    std::int64_t prescan_cols = 0;
    std::int64_t overscan_cols = 0;
    std::int64_t prescan_rows = 0;
    std::int64_t overscan_rows = 0;
    std::int64_t begin_skip = 0;
    std::optional<std::int64_t> end_skip;
    std::string unit = "adu";
  };
  static constexpr auto describe() {
    using C = Config;
    return std::tuple(field("n_rows", &C::n_rows, "").at_least(1),
                      field("n_cols", &C::n_cols, "").at_least(1),
                      field("n_skips", &C::n_skips, "").at_least(1),
                      field("prescan_cols", &C::prescan_cols, "").at_least(0),
                      field("overscan_cols", &C::overscan_cols, "").at_least(0),
                      field("prescan_rows", &C::prescan_rows, "").at_least(0),
                      field("overscan_rows", &C::overscan_rows, "").at_least(0),
                      field("begin_skip", &C::begin_skip, ""), field("end_skip", &C::end_skip, ""),
                      field("unit", &C::unit, ""));
  }
};

constexpr std::array<std::string_view, 3> of_files{"layout", "keywords", "amplifiers"};
constexpr std::array<std::string_view, 5> of_parts{"begin_row", "end_row", "begin_col", "end_col",
                                                   "mask"};

ImageInfo read_input(const Value& input, const TomlText& toml, Problems& problems) {
  Value::Table facts;
  for (const auto& entry : *input.get_if<Value::Table>()) {
    const auto is_in = [&](const auto& names) {
      return std::find(names.begin(), names.end(), entry.key) != names.end();
    };
    if (is_in(of_parts)) {
      problems.push_back(toml.place("input." + entry.key) + "input." + entry.key + ": " +
                         (entry.key == "mask"
                              ? "a file, which is not read here; hand over its bits"
                              : "rows that are pushed are taken as they are; push that part") +
                         ", and remove the key");
    } else if (!is_in(of_files) &&
               !(entry.key == "n_skips" && entry.value.get_if<std::string>() != nullptr)) {
      facts.push_back(entry);
    }
  }
  Problems wrong;
  const auto config = parse_stage<InputFacts>(facts, "input", wrong);
  for (const auto& problem : wrong) {
    constexpr std::string_view no_key = "input: no key \"";
    const bool is_unknown = problem.starts_with(no_key);
    const std::string key =
        is_unknown ? "input." + problem.substr(no_key.size(),
                                               problem.find('"', no_key.size()) - no_key.size())
                   : problem.substr(0, problem.find(':'));
    problems.push_back(toml.place(key) + problem);
  }
  ImageInfo image;
  image.n_rows = config.n_rows.value_or(image.n_rows);
  image.n_cols = config.n_cols.value_or(image.n_cols);
  image.n_skips = config.n_skips.value_or(image.n_skips);
  image.prescan_cols = config.prescan_cols;
  image.overscan_cols = config.overscan_cols;
  image.prescan_rows = config.prescan_rows;
  image.overscan_rows = config.overscan_rows;
  image.begin_skip = config.begin_skip;
  image.end_skip = config.end_skip;
  image.unit = config.unit;
  return image;
}

void refuse_calibration_files(const Value::List& stages, Problems& problems) {
  for (std::size_t number = 0; number < stages.size(); ++number) {
    const Value* kind = stages[number].find("kind");
    const auto* name = kind == nullptr ? nullptr : kind->get_if<std::string>();
    const Value* gain = stages[number].find("gain");
    const auto* file = gain == nullptr ? nullptr : gain->get_if<std::string>();
    if (name != nullptr && *name == "calibrate" && file != nullptr && file->ends_with(".toml")) {
      problems.push_back("stage[" + std::to_string(number) + "] calibrate.gain: the file \"" +
                         *file + "\" is not read here; write its gains as {EXT1 = 5.3, ...}");
    }
  }
}

}  // namespace

Chain LoadedConfig::chain(const std::vector<StageKind>& kinds) const {
  Problems problems;
  Chain chain = make_chain(stages, {}, problems, kinds);
  if (!problems.empty()) throw ConfigError(toml.place_of(problems[0]) + problems[0]);
  return chain;
}

LoadedConfig load_config(std::string_view text, std::string name,
                         const std::vector<StageKind>& kinds) {
  LoadedConfig config{parse_toml(text, std::move(name)), Value::List{}, {}, {}};
  const TomlText& toml = config.toml;
  Problems problems;
  const std::vector<std::string> known{"input", "stage", "alarm", "measure", "output", "dqm"};
  for (const auto& entry : *toml.root.get_if<Value::Table>()) {
    if (std::find(known.begin(), known.end(), entry.key) == known.end()) {
      problems.push_back(toml.place(entry.key) + "no table " + unknown_name(entry.key, known));
    }
  }
  if (const Value* input = toml.root.find("input")) {
    if (input->get_if<Value::Table>() == nullptr) {
      problems.push_back(toml.place("input") + "input: must be a table, [input]");
    } else {
      config.image = read_input(*input, toml, problems);
    }
  }
  const Value* stages = toml.root.find("stage");
  const auto* list = stages == nullptr ? nullptr : stages->get_if<Value::List>();
  if (list == nullptr || list->empty()) {
    problems.push_back(toml.place("stage") +
                       "no [[stage]]; the shortest config has one: compress_skips");
  } else {
    config.stages = *stages;
    Problems of_stages;
    refuse_calibration_files(*list, of_stages);
    if (of_stages.empty()) make_chain(*stages, {}, of_stages, kinds);
    for (const auto& problem : of_stages) problems.push_back(config.placed(problem));
  }
  if (const Value* alarms = toml.root.find("alarm")) {
    Problems of_alarms;
    config.alarms = make_alarms(*alarms, of_alarms);
    for (const auto& problem : of_alarms) problems.push_back(toml.place_of(problem) + problem);
  }
  std::string all;
  for (const auto& problem : problems) all.append(all.empty() ? "" : "\n").append(problem);
  if (!problems.empty()) throw ConfigError(all);
  return config;
}

}  // namespace skipstream
