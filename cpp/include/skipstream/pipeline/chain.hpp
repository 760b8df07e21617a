#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "skipstream/base/stage.hpp"
#include "skipstream/config/parse.hpp"
#include "skipstream/stages/all.hpp"

namespace skipstream {

/// The stages of one image in the order of execution: sample stages, the reduction, pixel stages.
/// `number` is the stage's place in the configuration.
struct Chain {
  struct SampleStep {
    std::size_t number;
    std::string_view name;
    std::unique_ptr<SampleStage> stage;
  };
  struct PixelStep {
    std::size_t number;
    std::string_view name;
    std::unique_ptr<PixelStage> stage;
  };
  std::vector<SampleStep> sample_steps;
  std::unique_ptr<CompressSkips> reduction;
  std::optional<std::size_t> reduction_number;  ///< none: not in the configuration
  std::vector<PixelStep> pixel_steps;
  std::size_t n_configured = 0;
  Value filled;  ///< the configuration with every default
};

/// What a chain must know of a kind of stage, made from its declaration alone.
struct StageKind {
  StageTitle title;
  bool takes_samples = false;
  Value (*schema)();
  /// Adds the stage to `chain`, or to `problems` what is wrong.
  void (*add)(const Value& table, std::size_t number, const std::string& where,
              const ForeignStatistics& foreign, Chain& chain, Problems& problems);
};

namespace detail {

void add_reduction(CompressSkips::Config config, std::size_t number, const std::string& where,
                   const ForeignStatistics& foreign, Chain& chain, Problems& problems);
void add_sample_step(Chain::SampleStep step, const std::string& where, Chain& chain,
                     Problems& problems);

template <class Stage>
void add_stage(const Value& table, std::size_t number, const std::string& where,
               const ForeignStatistics& foreign, Chain& chain, Problems& problems) {
  auto config = parse_stage<Stage>(table, where, problems);
  Value::Table filled{{"kind", Stage::title.name}};
  const Value values = values_of<Stage>(config);
  for (const auto& entry : *values.template get_if<Value::Table>()) {
    if (!entry.value.is_null()) filled.push_back(entry);
  }
  auto list = *chain.filled.get_if<Value::List>();
  list.emplace_back(std::move(filled));
  chain.filled = std::move(list);
  if constexpr (std::is_same_v<Stage, CompressSkips>) {
    add_reduction(std::move(config), number, where, foreign, chain, problems);
  } else if constexpr (std::is_base_of_v<SampleStage, Stage>) {
    add_sample_step({number, Stage::title.name, std::make_unique<Stage>(std::move(config))}, where,
                    chain, problems);
  } else {
    chain.pixel_steps.push_back(
        {number, Stage::title.name, std::make_unique<Stage>(std::move(config))});
  }
}

}  // namespace detail

template <class... Stage>
std::vector<StageKind> kinds_of(StageList<Stage...> /*stages*/) {
  return {StageKind{Stage::title, std::is_base_of_v<SampleStage, Stage>, &schema_of<Stage>,
                    &detail::add_stage<Stage>}...};
}

/// The kinds of AllStages.
const std::vector<StageKind>& all_kinds();

/// Makes the chain of a list of tables, each with a "kind". Every mistake is added to `problems`;
/// the chain may be used only when there is none.
Chain make_chain(const Value& stages, const ForeignStatistics& foreign, Problems& problems,
                 const std::vector<StageKind>& kinds = all_kinds());

}  // namespace skipstream
