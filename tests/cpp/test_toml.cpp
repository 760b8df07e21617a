// What the reader of configs refuses, with the line and what would be right. That it reads what it
// takes as Python does is in tests/test_toml.py.

#include <string>
#include <vector>

#include "check.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/config/toml.hpp"

using namespace skipstream;

namespace {

void mistakes_are_told_with_their_line() {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a = 1\na = 2", "config:2: \"a\" is there already, on line 1; keep one of the two"},
      {"a = row",
       "config:1: expected a string in quotes, a number, true, false, [ or {; got row; "
       "did you mean \"row\"?"},
      {"\n\nmethod = median\n", "config:3: expected a string in quotes"},
      {"a = \"open", "config:1: a string ends on its line; \" is missing"},
      {"a = [1,\n2\n\n", "config:1: a list that begins here does not end: ] is missing"},
      {"a = [1 2]", "config:1: expected , or ] in the list; got 2]"},
      {"a = {b = 1\n}", "config:1: expected , or } on the line of the {; got the end of the line"},
      {"a = {b = 1,}", "config:1: expected a key; got }"},
      {"a = 1 b = 2", "config:1: one key or header a line; remove b = 2"},
      {"a 1", "config:1: a key needs a value: a = ...; got 1"},
      {"[a\nb = 1", "config:1: a header ends with ]; got the end of the line"},
      {"[[a]\nb = 1", "config:1: a header ends with ]]; got ]"},
      {"[a]\n[b]\n[a]", "config:3: [a] is there already, on line 1"},
      {"a = 1\n[a.b]",
       "config:2: \"a\" is a value already, on line 1; give one of the two another"},
      {"[a.b]\n[a]\nb.c = 1", "config:3: \"b\" has a header of its own, on line 1"},
      {"a = 1e", "config:1: 1e is not a number; write it as 12, 0.5"},
      {"a = 01", "config:1: 01 is not a number"},
      {"a = 1__0", "config:1: 1__0 is not a number"},
      {"a = 12ADU", "config:1: 12ADU is not a number"},
      {"a = 9223372036854775808", "config:1: 9223372036854775808: must fit 64 bits"},
      {"a = 1e999", "config:1: 1e999: must fit double precision"},
      {"a = 2026-11-26", "config:1: 2026-11-26: no parameter is a date or a time"},
      {"a = 07:32:00", "config:1: 07:32:00: no parameter is a date or a time"},
      {"a = \"\"\"b\"\"\"", "config:1: no parameter needs a string over several lines"},
      {"a = \"\\d\"", "config:1: \\ begins one of \\b"},
      {"a = \"\\ud800\"", "config:1: \\ begins one of"},
      {"a = \"\\", "config:1: \\ begins one of"},
      {"a = 1 # \x01", "config:1: a control character"},
      {"a = 1\rb = 2", "config:1: a control character"},
      {"\na = \"\xff\"", "config:2: not UTF-8 text"},
      {"a = " + std::string(40, '['), "config:1: nested too deeply"},
      {"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1", "config:1: nested too deeply"},
  };
  for (const auto& [text, message] : cases) {
    std::string error = "nothing";
    try {
      parse_toml(text);
    } catch (const ConfigError& thrown) {
      error = thrown.what();
    }
    check::that(error.find(message) != std::string::npos, text + " gave " + error);
  }
}

void keys_have_lines() {
  const auto toml = parse_toml(
      "# first\n[input]\nn_cols = 5\n[[stage]]\nkind = \"a\"\n[[stage]]\nkind = \"b\"\n\naxis = "
      "[\n1,\n2]\n[stage.gain]\nx = 1\n",
      "cfg.toml");
  check::equal(toml.place("input"), std::string("cfg.toml:2: "));
  check::equal(toml.place("input.n_cols"), std::string("cfg.toml:3: "));
  check::equal(toml.place("input.n_rows"), std::string("cfg.toml:2: "));
  check::equal(toml.place("stage[1].axis"), std::string("cfg.toml:9: "));
  check::equal(toml.place("output"), std::string("cfg.toml: "));
  check::equal(toml.place_of("stage[1] b.axis: must be"), std::string("cfg.toml:9: "));
  check::equal(toml.place_of("stage[1] b: no key \"axis\"; known"), std::string("cfg.toml:9: "));
  check::equal(toml.place_of("stage[0].kind: no stage"), std::string("cfg.toml:5: "));
  check::equal(toml.place_of("stage[0] a: works on 0.5"), std::string("cfg.toml:4: "));
  check::equal(toml.place_of("output: stage[3] makes no"), std::string("cfg.toml: "));
}

}  // namespace

int main() {
  mistakes_are_told_with_their_line();
  keys_have_lines();
  return check::failures();
}
