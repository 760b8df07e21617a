// Values of a configuration, and what is said of those that are wrong.

#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/base/image.hpp"
#include "skipstream/config/parse.hpp"
#include "skipstream/config/value.hpp"
#include "skipstream/stages/calibrate.hpp"
#include "skipstream/stages/compress_skips.hpp"
#include "stage_table.hpp"

using namespace skipstream;

namespace {

void values_are_written_as_they_are_read() {
  const Value table = Value::Table{{"gain", 5.0}, {"axis", "row"}};
  const std::vector<std::pair<Value, std::string>> texts{
      {Value(), "nothing"},
      {true, "true"},
      {std::int64_t{-7}, "-7"},
      {0.1, "0.1"},
      {1e300, "1e+300"},
      {"a \"b\" \\ c", "\"a \\\"b\\\" \\\\ c\""},
      {Value::List{std::int64_t{1}, "x"}, "[1, \"x\"]"},
      {table, "{gain = 5.0, axis = \"row\"}"},
  };
  Value assigned;
  for (const auto& [value, text] : texts) {
    check::equal(value.text(), text);
    assigned = value;
    check::equal(assigned.text(), text, "a copy");
  }
  check::equal(std::string(Value().kind()), std::string("nothing"));
  check::that(table.find("axis") != nullptr && table.find("axs") == nullptr);
  check::that(Value("axis").find("axis") == nullptr, "only a table has keys");
}

void a_list_of_one_may_be_its_element() {
  for (const Value& statistics : {Value("median"), Value(Value::List{"median"})}) {
    Problems problems;
    const auto config = parse_stage<CompressSkips>(
        stage("compress_skips", {{"statistics", statistics}}), "stage[0]", problems);
    check::that(problems.empty() && config.statistics == std::vector<std::string>{"median"});
  }
  Problems problems;
  parse_stage<CompressSkips>(stage("compress_skips", {{"statistics", std::int64_t{3}}}), "stage[0]",
                             problems);
  check::that(problems == Problems{"stage[0].statistics: must be a string; got 3"});
}

void a_parameter_that_is_nothing_is_wrong_unless_it_may_be_missing() {
  Problems problems;
  parse_stage<Calibrate>(stage("calibrate", {{"gain", Value()}}), "stage[0] calibrate", problems);
  check::that(problems ==
              Problems{"stage[0] calibrate.gain: must be a number, a header keyword, or "
                       "a table of amplifier = number; got nothing"});
  problems.clear();
  const auto config = parse_stage<CompressSkips>(stage("compress_skips", {{"begin_skip", Value()}}),
                                                 "stage[0]", problems);
  check::that(problems.empty() && !config.begin_skip);
}

void an_amplifier_without_a_number_is_told_which_have_one() {
  ImageInfo image;
  image.amplifier = "EXT1";
  Quantity gain;
  const auto resolved = [&](const Quantity::ByAmplifier& numbers) {
    gain.source = numbers;
    return resolve(gain, image, "calibrate.gain");
  };
  check::equal(resolved({{"EXT2", 2.0}, {"EXT1", 3.0}}), 3.0);
  check::throws<ConfigError>(
      [&] {
        resolved({{"left", 2.0}});
      },
      "calibrate.gain: no amplifier \"EXT1\"; known: left");
  check::throws<ConfigError>([&] { resolved({{"EXT2", 2.0}}); }, "did you mean \"EXT2\"?");
  check::throws<ConfigError>([&] { resolved({}); },
                             "calibrate.gain: no amplifier \"EXT1\"; none is known");
}

}  // namespace

int main() {
  values_are_written_as_they_are_read();
  a_list_of_one_may_be_its_element();
  a_parameter_that_is_nothing_is_wrong_unless_it_may_be_missing();
  an_amplifier_without_a_number_is_told_which_have_one();
  return check::failures();
}
