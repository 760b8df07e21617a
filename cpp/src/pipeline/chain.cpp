#include "skipstream/pipeline/chain.hpp"

#include <algorithm>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

std::string place(std::size_t number) {
  std::string text = "stage[";
  return text.append(std::to_string(number)).append("]");
}

}  // namespace

namespace detail {

void add_reduction(CompressSkips::Config config, std::size_t number, const std::string& where,
                   const ForeignStatistics& foreign, Chain& chain, Problems& problems) {
  if (chain.reduction != nullptr) {
    problems.push_back(where + ": the skips are compressed already by " +
                       place(*chain.reduction_number) + "; keep one of the two");
    return;
  }
  if (!chain.pixel_steps.empty()) {
    const auto& first = chain.pixel_steps.front();
    problems.push_back(place(first.number) + " " + std::string(first.name) +
                       ": works on pixels, but stands before compress_skips; move it behind " +
                       place(number));
  }
  chain.reduction = std::make_unique<CompressSkips>(std::move(config), foreign);
  try {
    chain.reduction->check_statistics();
  } catch (const ConfigError& error) {
    problems.push_back(place(number) + " " + error.what());
  }
  chain.reduction_number = number;
}

void add_sample_step(Chain::SampleStep step, const std::string& where, Chain& chain,
                     Problems& problems) {
  if (chain.reduction != nullptr || !chain.pixel_steps.empty()) {
    problems.push_back(where + ": works on samples; move it before compress_skips");
    return;
  }
  chain.sample_steps.push_back(std::move(step));
}

}  // namespace detail

namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

}  // namespace

const std::vector<StageKind>& all_kinds() {
  static const std::vector<StageKind> kinds = kinds_of(AllStages{});
  return kinds;
}

Chain make_chain(const Value& stages, const ForeignStatistics& foreign, Problems& problems,
                 const std::vector<StageKind>& kinds) {
  Chain chain;
  chain.filled = Value::List{};
  const auto* list = stages.get_if<Value::List>();
  if (list == nullptr) {
    problems.push_back("stage: must be a list of tables; got " + std::string(stages.kind()));
    return chain;
  }
  std::vector<std::string> names;
  for (const auto& kind : kinds) names.emplace_back(kind.title.name);
  chain.n_configured = list->size();
  for (std::size_t number = 0; number < list->size(); ++number) {
    const Value& table = (*list)[number];
    std::string where = place(number);
    const Value* kind = table.find("kind");
    const auto* name = kind == nullptr ? nullptr : kind->get_if<std::string>();
    if (name == nullptr) {
      problems.push_back(where + ".kind: must name a stage; known: " + joined(names));
      continue;
    }
    const auto found = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const StageKind& k) { return k.title.name == *name; });
    if (found == kinds.end()) {
      problems.push_back(where + ".kind: no stage " + unknown_name(*name, names));
      continue;
    }
    where += " " + *name;
    found->add(table, number, where, foreign, chain, problems);
  }
  return chain;
}

}  // namespace skipstream
