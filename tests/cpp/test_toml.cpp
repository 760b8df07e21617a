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
      {"a = 2026-1-1", "config:1: 2026-1-1: no parameter is a date or a time"},
      {"a = 07:32:00", "config:1: 07:32:00: no parameter is a date or a time"},
      {"a = \"\"\"b\"\"\"", "config:1: no parameter needs a string over several lines"},
      {"a = \"\\d\"", "config:1: \\ begins one of \\b"},
      {"a = \"\\ud800\"", "config:1: \\ begins one of"},
      {"a = \"\\", "config:1: \\ begins one of"},
      {"a = 1 # \x01", "config:1: a control character"},
      {"a = 1\rb = 2", "config:1: a control character"},
      {"\na = \"\xff\"", "config:2: not UTF-8 text"},
      {"a = \"\xc0\x80\"", "not UTF-8"},
      {"a = \"\xe0\x80\x80\"", "not UTF-8"},
      {"a = \"\xed\xa0\x80\"", "not UTF-8"},
      {"a = \"\xf0\x80\x80\x80\"", "not UTF-8"},
      {"a = \"\xf4\x90\x80\x80\"", "not UTF-8"},
      {"a = \"\xc3(\"", "not UTF-8"},
      {"a = \"\xe2\x82", "not UTF-8"},
      {"a = 1 # \x7f", "a control character"},
      {"a = \"\\U00110000\"", "\\ begins one of"},
      {"a = \"\\u12\"", "\\ begins one of"},
      {"a = \"\\u12zz\"", "\\ begins one of"},
      {"a = \"\\u+123\"", "\\ begins one of"},
      {"a = \"\\uzzzz\"", "\\ begins one of"},
      {"a = \"\\\n\"", "\\ begins one of"},
      {"a = 'x", "' is missing"},
      {"a = '''x'''", "one pair of '"},
      {"a = 1 xxxxxxxxxxxxxxxxxxx\xc3\xa9\xc3\xa9", "remove xxxxxxxxxxxxxxxxxxx"},
      {"a = 1 b\r\n", "remove b"},
      {"a = +", "expected a string"},
      {"a = .5", "expected a string in quotes, a number, true, false, [ or {; got .5"},
      {"a = ]", "expected a string"},
      {"a = 0x", "0x is not a number"},
      {"a = 0xG", "0xG is not a number"},
      {"a = 0b2", "0b2 is not a number"},
      {"a = +0x1", "+0x1 is not a number"},
      {"a = 1_", "1_ is not a number"},
      {"a = 1.", "1. is not a number"},
      {"a = 1._5", "1._5 is not a number"},
      {"a = 1_.5", "1_.5 is not a number"},
      {"a = 01.5", "01.5 is not a number"},
      {"a = 1.e5", "1.e5 is not a number"},
      {"a = 12345678x", "12345678x is not a number"},
      {"[a]\n[[a]]", "config:2: [a] is there already, on line 1"},
      {"[[a]]\n[a]", "config:2: [a] is there already, on line 1"},
      {"a = {}\n[a]", "config:2: [a] is there already"},
      {"a = 1\n[a]", "config:2: [a] is there already"},
      {"a.b = 1\n[c]\n[a]", "config:3: [a] is there already"},
      {"[a.b]\n[a.b]", "config:2: [a.b] is there already"},
      {"a = {}\n[a.b]", "\"a\" is a value already"},
      {"a = [1]\n[a.b]", "\"a\" is a value already"},
      {"a = []\n[[a]]", "config:2: [a] is there already"},
      {"a = [{b = 1}]\n[a.c]", "\"a\" is a value already"},
      {"a = {b = {}, b.c = 1}", "\"b\" is a value already"},
      {"[a.b.c.d.e.f.g.h]\ni = {j.k.l.m.n.o.p.q = 1}", "config:2: nested too deeply"},
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
  try {
    parse_toml("a = 1 b = 2\nc = 3\n");
  } catch (const ConfigError& thrown) {
    check::equal(std::string(thrown.what()),
                 std::string("config:1: one key or header a line; remove b = 2"));
  }
  try {
    parse_toml(
        "c = 3\na = 1 b = "
        "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\"\n");
  } catch (const ConfigError& thrown) {
    // 20 bytes would end within the third of the last characters.
    check::equal(std::string(thrown.what()),
                 std::string("config:2: one key or header a line; remove b = "
                             "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xe2\x82\xac\xe2\x82\xac"));
  }
}

void values_are_read() {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "{a = \"\b\t\n\f\r\\\"\\\\\"}"},
      {"a = \"\\u0041\\u00e9\\u20ac\\U0001F600\\ue000\\ud7ff\"",
       "{a = \"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xee\x80\x80\xed\x9f\xbf\"}"},
      {"a = \"\\u07ff\\u0800\"", "{a = \"\xdf\xbf\xe0\xa0\x80\"}"},
      {"a = [[[[1]]]]", "{a = [[[[1]]]]}"},
      {"a = \"\\U0010ffff\"", "{a = \"\xf4\x8f\xbf\xbf\"}"},
      {"\xef\xbb\xbf'k e' = 'b\\n' # c\r\n\t\"q\" = ''\r\n", "{k e = \"b\\\\n\", q = \"\"}"},
      {"a = [0x1F, 0xfF, 0o17, 0b1_01, 1_000, +1, -1, -0, 0]",
       "{a = [31, 255, 15, 5, 1000, 1, -1, 0, 0]}"},
      {"a = [1e5, 1E+5, 1.5e-1_0, 0.5, 12345678]", "{a = [1e+05, 1e+05, 1.5e-10, 0.5, 12345678]}"},
      {"a = [inf, +inf, -inf, nan, true, false,\n]", "{a = [inf, inf, -inf, nan, true, false]}"},
      {"a = '\xed\x9f\xbf'", "{a = \"\xed\x9f\xbf\"}"},
      {"a.b = 1\na . c = 2\n[d]\n[d.e]\nf = {}\n", "{a = {b = 1, c = 2}, d = {e = {f = {}}}}"},
      {"[[a]]\n[a.b]\nc = 1\n[[a]]\n[[a.d]]\n", "{a = [{b = {c = 1}}, {d = [{}]}]}"},
      {"a = [{b.c = 1}]\n[d]\n[d.e]\n", "{a = [{b = {c = 1}}], d = {e = {}}}"},
      {"a = {b = {c = 1, d.e = 2}, f = [{}]}", "{a = {b = {c = 1, d = {e = 2}}, f = [{}]}}"},
      {"a = \"\xe0\xa0\x80\xe1\x80\x80\xf0\x90\x80\x80\xf1\x80\x80\x80\xf4\x8f\xbf\xbf\"",
       "{a = \"\xe0\xa0\x80\xe1\x80\x80\xf0\x90\x80\x80\xf1\x80\x80\x80\xf4\x8f\xbf\xbf\"}"},
  };
  for (const auto& [text, value] : cases) {
    const std::string found = parse_toml(text).root.text();
    check::that(found == value, text + " gave " + found);
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
  check::equal(toml.place_of("nothing"), std::string("cfg.toml: "));
  check::equal(toml.place_of("stage[0] alone"), std::string("cfg.toml:4: "));
  check::equal(toml.place_of("input: stage[1] has no"), std::string("cfg.toml:2: "));
  check::equal(toml.place_of("output: stage[3] makes no"), std::string("cfg.toml: "));
}

}  // namespace

int main() {
  mistakes_are_told_with_their_line();
  values_are_read();
  keys_have_lines();
  return check::failures();
}
