// Values of a configuration, names that are nearly right, and what is said of what is wrong.

#include <cstdint>
#include <limits>
#include <optional>
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

using Names = std::vector<std::string>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

void values_are_written_as_they_are_read() {
  const Value table = Value::Table{{"gain", 5.0}, {"axis", "row"}};
  const std::vector<std::pair<Value, std::string>> texts{
      {Value(), "nothing"},
      {true, "true"},
      {false, "false"},
      {std::int64_t{-12}, "-12"},
      {4.0, "4.0"},
      {0.25, "0.25"},
      {1e30, "1e+30"},
      {-2.0, "-2.0"},
      {-1.7976931348623157e308, "-1.7976931348623157e+308"},
      {inf, "inf"},
      {-inf, "-inf"},
      {nan, "nan"},
      {0.1, "0.1"},
      {table, "{gain = 5.0, axis = \"row\"}"},
      {"a \"b\" \\ c", R"("a \"b\" \\ c")"},
      {Value::List{}, "[]"},
      {Value::List{std::int64_t{1}, "x", Value::List{2.0}}, "[1, \"x\", [2.0]]"},
      {Value::Table{}, "{}"},
      {Value::Table{{"a", std::int64_t{1}}, {"b", Value::Table{{"c", true}}}},
       "{a = 1, b = {c = true}}"},
  };
  Value assigned;
  for (const auto& [value, text] : texts) {
    check::equal(value.text(), text);
    assigned = value;
    check::equal(assigned.text(), text, "a copy");
  }
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

void kinds_are_named() {
  check::that(Value().kind() == "nothing" && Value(true).kind() == "a boolean");
  check::that(Value(std::int64_t{1}).kind() == "an integer" && Value(1.0).kind() == "a number");
  check::that(Value("x").kind() == "a string" && Value(Value::List{}).kind() == "a list");
  check::that(Value(Value::Table{}).kind() == "a table");
}

void the_nearest_name_is_found() {
  struct Case {
    std::string word;
    Names names;
    std::string nearest;
  };
  const std::vector<Case> cases{
      {"axs", {"axis", "method"}, "axis"},           // one left out
      {"axiis", {"axis", "method"}, "axis"},         // one too many
      {"axos", {"axis", "method"}, "axis"},          // another
      {"oxos", {"axis", "method"}, "axis"},          // two others
      {"aixs", {"axis", "method"}, "axis"},          // two swapped
      {"xaxi", {"axis"}, "axis"},                    // one too many, and one left out
      {"axisxx", {"axis"}, "axis"},                  // two
      {"xxaxis", {"axis"}, "axis"},                  // two, at the begin
      {"axisxxx", {"axis"}, ""},                     // three
      {"", {"ab"}, "ab"},                            // two
      {"", {"abc"}, ""},                             // three
      {"abc", {"", "xyz"}, ""},                      // three
      {"ab", {""}, ""},                              // as many as there are, and allowed are two
      {"thresholds_x", {"threshold"}, "threshold"},  // three of twelve letters
      {"thresholds_xyz", {"threshold"}, ""},         // five of fourteen
      {"thr", {"threshold", "other"}, "threshold"},  // cut short
      {"th", {"threshold"}, ""},                     // too short for that
      {"seed", {"sead", "seed_threshold"}, "sead"},  // a slip is nearer than a cut
      {"row", {"raw", "rew"}, "raw"},                // the first of two as near
      {"row", {"column", "both"}, ""},
      {"row", {}, ""},
      {"abcd", {"badc"}, "badc"},                          // two swaps
      {"abcdef", {"bcdefa"}, "bcdefa"},                    // one moved: left out, and put in
      {"abcdefghijkl", {"badcfeghijkl"}, "badcfeghijkl"},  // three swaps
      {"abcdefghijkl", {"badcfehgijkl"}, "badcfehgijkl"},  // four swaps of twelve letters
      {"abcdefghijkl", {"badcfehgjikl"}, ""},              // five
      {"ca", {"abc"}, ""},  // a pair is swapped once and not parted after: three
  };
  for (const auto& one : cases) {
    check::that(nearest_name(one.word, one.names) == one.nearest,
                one.word + " gave " + nearest_name(one.word, one.names));
  }
  const std::vector<char> alone{'a', 'x', 's'};  // nothing around it may be read
  check::equal(nearest_name({alone.data(), alone.size()}, {"axis"}), std::string("axis"));
  check::that(unknown_name("axs", {"axis"}) == "\"axs\"; did you mean \"axis\"?");
  check::that(unknown_name("q", {"axis", "method"}) == "\"q\"; known: axis, method");
  check::that(unknown_name("q", {}) == "\"q\"; none is known");
}

/// What is wrong with a value for a parameter of the type; else the parameter.
template <class T>
std::string read_as(const Value& value) {
  T out{};
  const std::string wrong = detail::read(value, out);
  return wrong.empty() ? to_value(out).text() : wrong;
}

/// A list of one list; compilers differ in what `List{List{...}}` is, that or a copy.
Value::List in_list(Value::List list) {
  Value::List made;
  made.emplace_back(std::move(list));
  return made;
}

void parameters_are_read_or_refused_in_words() {
  const Value::List pair{std::int64_t{1}, std::int64_t{2}};
  const Value whole = std::int64_t{7};
  check::equal(read_as<bool>(true), std::string("true"));
  check::equal(read_as<bool>(whole), std::string("must be true or false; got 7"));
  check::equal(read_as<std::int64_t>(whole), std::string("7"));
  check::equal(read_as<std::int64_t>(7.5), std::string("must be an integer; got 7.5"));
  check::equal(read_as<std::int64_t>(true), std::string("must be an integer; got true"));
  check::equal(read_as<double>(whole), std::string("7.0"));
  check::equal(read_as<double>(7.5), std::string("7.5"));
  check::equal(read_as<double>(inf), std::string("must be a finite number; got inf"));
  check::equal(read_as<double>(nan), std::string("must be a finite number; got nan"));
  check::equal(read_as<double>("x"), std::string("must be a number; got \"x\""));
  check::equal(read_as<std::string>("x"), std::string("\"x\""));
  check::equal(read_as<std::string>(whole), std::string("must be a string; got 7"));
  check::equal(read_as<Names>("x"), std::string("[\"x\"]"));
  check::equal(read_as<Names>(Value::List{"x", "y"}), std::string("[\"x\", \"y\"]"));
  check::equal(read_as<Names>(Value::List{"x", whole}), std::string("must be a string; got 7"));
  check::equal(read_as<std::optional<double>>(Value()), std::string("nothing"));
  check::equal(read_as<std::optional<double>>(2.0), std::string("2.0"));

  check::equal(read_as<Quantity>(whole), std::string("7.0"));
  check::equal(read_as<Quantity>("GAIN"), std::string("\"GAIN\""));
  check::equal(read_as<Quantity>(Value::Table{{"EXT1", 2.5}, {"EXT2", whole}}),
               std::string("{EXT1 = 2.5, EXT2 = 7.0}"));
  check::equal(read_as<Quantity>(Value::Table{{"EXT1", 2.5}, {"EXT2", "x"}}),
               std::string("EXT2 must be a number; got \"x\""));
  check::equal(
      read_as<Quantity>(pair),
      std::string("must be a number, a header keyword, or a table of amplifier = number; got "
                  "[1, 2]"));
  check::equal(read_as<Quantity>(inf).substr(0, 17), std::string("must be a number,"));

  const std::string form =
      "must be a list of indices and inclusive pairs, such as [3, [10, 20]]; got ";
  check::equal(read_as<IndexRanges>(Value::List{}), std::string("[]"));
  check::equal(read_as<IndexRanges>(Value::List{whole, pair, std::int64_t{0}}),
               std::string("[7, [1, 2], 0]"));
  check::equal(read_as<IndexRanges>(in_list({whole, whole})), std::string("[7]"));
  check::equal(read_as<IndexRanges>(whole), form + "7");
  for (const auto& wrong :
       {Value::List{"x"}, Value::List{7.5}, in_list({whole}), in_list({whole, whole, whole}),
        in_list({whole, "x"}), in_list({"x", whole}), in_list({})}) {
    check::equal(read_as<IndexRanges>(wrong), form + Value(wrong).text());
  }
  IndexRanges before{{{5, 6}}};
  check::that(detail::read(Value::List{whole}, before).empty() && before == IndexRanges{{{7, 7}}},
              "in place of what was there");
  const std::string order = "a range must be [first, last] with 0 <= first <= last; got ";
  check::equal(read_as<IndexRanges>(Value::List{std::int64_t{-1}}), order + "-1");
  check::equal(
      read_as<IndexRanges>(Value::List{pair, Value::List{std::int64_t{2}, std::int64_t{1}}}),
      order + "[2, 1]");
  check::equal(read_as<IndexRanges>(in_list({std::int64_t{-2}, std::int64_t{1}})),
               order + "[-2, 1]");
}

void numbers_out_of_bounds_are_told_with_their_unit() {
  const auto told = [](double value, double low, bool excluded, double high,
                       std::string_view unit = "") {
    return detail::out_of_bounds(value, low, excluded, high, unit);
  };
  check::that(told(1, 1, false, 2).empty() && told(2, 1, false, 2).empty());
  check::that(told(1.5, 1, true, 2).empty());
  check::equal(told(1, 1, true, 2), std::string("must be above 1; got 1"));
  check::equal(told(0.5, 1, false, 2), std::string("must be at least 1; got 0.5"));
  check::equal(told(2.5, 1, false, 2, "ADU"), std::string("must be at most 2 ADU; got 2.5"));
  check::equal(told(nan, 1, false, 2), std::string("must be at least 1; got nan"));
  check::equal(told(nan, 1, true, 2), std::string("must be above 1; got nan"));
  check::equal(told(nan, -inf, false, 2), std::string("must be at least -inf; got nan"));
  check::equal(told(3, 1, false, 2.25), std::string("must be at most 2.25; got 3"));
  check::equal(told(999999999999999.0, 1, false, 2),
               std::string("must be at most 2; got 999999999999999"));
  check::equal(told(1e15, 1, false, 2), std::string("must be at most 2; got 1e+15"));
  check::equal(told(-1e15, 1, false, 2), std::string("must be at least 1; got -1e+15"));
  check::equal(told(inf, 1, false, 2), std::string("must be at most 2; got inf"));
}

void quantities_are_found_for_each_image() {
  ImageInfo image;
  image.amplifier = "EXT2";
  image.header = {{"GAIN", 2.5}, {"NOISE", 3.5}};
  check::equal(resolve({.source = 4.5}, image, "here"), 4.5);
  check::equal(resolve({.source = "NOISE"}, image, "here"), 3.5);
  check::equal(resolve({.source = Quantity::ByAmplifier{{"EXT1", 1}, {"EXT2", 6}}}, image, "here"),
               6.0);
  const auto refused = [&](const Quantity& quantity, const std::string& message) {
    check::throws<ConfigError>([&] { resolve(quantity, image, "here"); }, message);
  };
  refused({.source = "GAINS"},
          "here: the header of EXT2 has no number \"GAINS\"; nearest: \"GAIN\"");
  refused({.source = Quantity::ByAmplifier{{"EXT1", 1}, {"EXT4", 6}}},
          "here: no amplifier \"EXT2\"; did you mean \"EXT1\"?");
  try {
    resolve({.source = "TEMPERATURE"}, image, "here");
  } catch (const ConfigError& error) {
    check::equal(std::string(error.what()),
                 std::string("here: the header of EXT2 has no number \"TEMPERATURE\""));
  }
}

}  // namespace

int main() {
  values_are_written_as_they_are_read();
  a_list_of_one_may_be_its_element();
  a_parameter_that_is_nothing_is_wrong_unless_it_may_be_missing();
  an_amplifier_without_a_number_is_told_which_have_one();
  kinds_are_named();
  the_nearest_name_is_found();
  parameters_are_read_or_refused_in_words();
  numbers_out_of_bounds_are_told_with_their_unit();
  quantities_are_found_for_each_image();
  return check::failures();
}
