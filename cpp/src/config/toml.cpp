#include "skipstream/config/toml.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <limits>
#include <memory>
#include <system_error>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

constexpr std::size_t max_depth = 16;

/// A value that may still get keys.
struct Node {
  std::int64_t line = 0;
  Value leaf;
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> entries;  ///< of a table
  std::vector<std::unique_ptr<Node>> elements;                         ///< of [[tables]]
  bool is_table = false;
  bool is_tables = false;
  bool is_explicit = false;  ///< neither a header nor a dotted key may open it again
  bool is_closed = false;    ///< an inline table, complete as it stands

  Node* find(const std::string& key) {
    for (auto& [name, node] : entries) {
      if (name == key) return node.get();
    }
    return nullptr;
  }
  Node& add(std::string key, std::int64_t on_line) {
    entries.emplace_back(std::move(key), std::make_unique<Node>());
    entries.back().second->line = on_line;
    return *entries.back().second;
  }
};

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

/// Bytes of the UTF-8 character that begins the text; 0: there is none.
std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xf0 && at(1) < 0x90);
  const bool surrogate = first == 0xed && at(1) >= 0xa0;
  return overlong || surrogate || (first == 0xf4 && at(1) >= 0x90) ? 0 : n;
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Node parse() {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
    check_characters();
    Node root;
    root.is_table = true;
    Node* table = &root;
    std::size_t n_header = 0;
    while (skip_blank_lines(), at_ < text_.size()) {
      if (peek() == '[') {
        for (Node* node : opened_) node->is_explicit = true;
        opened_.clear();
        table = &parse_header(root, n_header);
      } else {
        parse_entry(*table, n_header, false);
      }
      end_line();
    }
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { fail_on(line_, what); }
  [[noreturn]] void fail_on(std::int64_t line, const std::string& what) const {
    throw ConfigError(name_ + ":" + std::to_string(line) + ": " + what);
  }

  void check_characters() {
    std::int64_t line = 1;
    for (std::size_t i = 0; i < text_.size();) {
      const std::size_t n = character_bytes(text_.substr(i));
      if (n == 0) fail_on(line, "not UTF-8 text");
      const bool ends_line = text_[i] == '\n' || text_.substr(i, 2) == "\r\n";
      if (n == 1 && is_control(text_[i]) && !ends_line) {
        fail_on(line, "a control character; write it as \\u00.. in a string");
      }
      line += text_[i] == '\n' ? 1 : 0;
      i += n;
    }
  }

  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\n'; }
  [[nodiscard]] bool at_line_end() const { return peek() == '\n' || peek() == '\r'; }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }
  void skip_comment() {
    skip_blanks();
    if (peek() != '#') return;
    while (!at_line_end()) ++at_;
  }
  void skip_newline() {
    at_ += peek() == '\r' ? 2 : 1;
    ++line_;
  }
  void skip_blank_lines() {
    for (skip_comment(); at_ < text_.size() && at_line_end(); skip_comment()) skip_newline();
  }
  void end_line() {
    skip_comment();
    if (!at_line_end()) fail("one key or header a line; remove " + rest());
  }
  /// What is there, for messages.
  [[nodiscard]] std::string rest() const {
    if (at_line_end()) return "the end of the line";
    std::size_t end = at_;
    while (end < text_.size() && text_[end] != '\n' && text_[end] != '\r' && end - at_ < 20) ++end;
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xc0) == 0x80) --end;
    return std::string(text_.substr(at_, end - at_));
  }

  std::vector<std::string> parse_key() {
    std::vector<std::string> parts;
    for (;;) {
      skip_blanks();
      if (peek() == '"' || peek() == '\'') {
        parts.push_back(parse_string());
      } else {
        const std::size_t begin = at_;
        while (is_bare(peek())) ++at_;
        if (at_ == begin) fail("expected a key; got " + rest());
        parts.emplace_back(text_.substr(begin, at_ - begin));
      }
      if (parts.size() > max_depth) fail("nested too deeply");
      skip_blanks();
      if (peek() != '.') return parts;
      ++at_;
    }
  }

  static std::string joined(const std::vector<std::string>& key) {
    std::string text;
    for (const auto& part : key) text.append(text.empty() ? "" : ".").append(part);
    return text;
  }

  /// The table that `part` of a header names, made where it is missing; of [[tables]], the last.
  Node& step_into(Node& table, const std::string& part) {
    Node* node = table.find(part);
    if (node == nullptr) {
      node = &table.add(part, line_);
      node->is_table = true;
    }
    if (node->is_tables) node = node->elements.back().get();
    if (!node->is_table || node->is_closed) {
      fail("\"" + part + "\" is a value already, on line " + std::to_string(node->line) +
           "; give one of the two another name");
    }
    return *node;
  }

  Node& parse_header(Node& root, std::size_t& depth) {
    const bool is_element = text_.substr(at_, 2) == "[[";
    at_ += is_element ? 2 : 1;
    const auto key = parse_key();
    const std::string_view close = is_element ? "]]" : "]";
    if (text_.substr(at_, close.size()) != close) {
      fail("a header ends with " + std::string(close) + "; got " + rest());
    }
    at_ += close.size();
    depth = key.size() + (is_element ? 1 : 0);
    Node* table = &root;
    for (std::size_t i = 0; i + 1 < key.size(); ++i) table = &step_into(*table, key[i]);
    Node* node = table->find(key.back());
    const auto again = [&] {
      fail("[" + joined(key) + "] is there already, on line " + std::to_string(node->line));
    };
    if (is_element) {
      if (node == nullptr) {
        node = &table->add(key.back(), line_);
        node->is_tables = node->is_explicit = true;
      }
      if (!node->is_tables) again();
      node->elements.push_back(std::make_unique<Node>());
      node->elements.back()->line = line_;
      node->elements.back()->is_table = true;
      return *node->elements.back();
    }
    if (node != nullptr && (node->is_explicit || node->is_closed || !node->is_table)) again();
    node = &step_into(*table, key.back());
    node->is_explicit = true;
    node->line = line_;
    return *node;
  }

  /// `depth` is that of the table.
  void parse_entry(Node& in, std::size_t depth, bool is_inline) {
    const std::int64_t line = line_;
    const auto key = parse_key();
    if (peek() != '=') fail("a key needs a value: " + joined(key) + " = ...; got " + rest());
    ++at_;
    depth += key.size();
    if (depth > max_depth) fail("nested too deeply");
    Node* table = &in;
    for (std::size_t i = 0; i + 1 < key.size(); ++i) {
      const Node* known = table->find(key[i]);
      if (known != nullptr && known->is_explicit) {
        fail("\"" + key[i] + "\" has a header of its own, on line " + std::to_string(known->line) +
             "; write the key below it");
      }
      table = &step_into(*table, key[i]);
      if (!is_inline) opened_.push_back(table);
    }
    skip_blanks();
    Node value = parse_value(depth);
    value.line = line;
    if (const Node* known = table->find(key.back())) {
      fail_on(line, "\"" + key.back() + "\" is there already, on line " +
                        std::to_string(known->line) + "; keep one of the two");
    }
    table->add(key.back(), line) = std::move(value);
  }

  Node parse_value(std::size_t depth) {
    if (depth > max_depth) fail("nested too deeply");
    Node node;
    node.line = line_;
    switch (peek()) {
      case '"':
      case '\'':
        node.leaf = parse_string();
        return node;
      case '[':
        return parse_array(depth);
      case '{':
        return parse_inline_table(depth);
      default:
        node.leaf = parse_word();
        return node;
    }
  }

  Node parse_array(std::size_t depth) {
    const std::int64_t line = line_;
    Node node;
    Value::List list;
    ++at_;
    for (;;) {
      skip_blank_lines();
      if (at_ == text_.size()) fail_on(line, "a list that begins here does not end: ] is missing");
      if (peek() == ']') break;
      list.push_back(value_of(parse_value(depth + 1)));
      skip_blank_lines();
      if (peek() == ',') {
        ++at_;
      } else if (at_ < text_.size() && peek() != ']') {
        fail("expected , or ] in the list; got " + rest());
      }
    }
    ++at_;
    node.leaf = std::move(list);
    return node;
  }

  Node parse_inline_table(std::size_t depth) {
    Node node;
    node.is_table = true;
    ++at_;
    skip_blanks();
    bool is_open = peek() != '}';
    while (is_open) {
      parse_entry(node, depth, true);
      skip_blanks();
      if (peek() != ',' && peek() != '}') {
        fail("expected , or } on the line of the {; got " + rest());
      }
      is_open = peek() == ',';
      at_ += is_open ? 1 : 0;
    }
    ++at_;
    node.is_closed = true;
    return node;
  }

  std::string parse_string() {
    const char quote = peek();
    if (text_.substr(at_, 3) == std::string(3, quote)) {
      fail("no parameter needs a string over several lines; write it in one pair of " +
           std::string(1, quote));
    }
    ++at_;
    std::string string;
    while (peek() != quote) {
      if (at_line_end())
        fail("a string ends on its line; " + std::string(1, quote) + " is missing");
      if (peek() == '\\' && quote == '"') {
        parse_escape(string);
      } else {
        string += text_[at_++];
      }
    }
    ++at_;
    return string;
  }

  void parse_escape(std::string& string) {
    constexpr std::string_view letters = "btnfr\"\\";
    constexpr std::string_view meanings = "\b\t\n\f\r\"\\";
    ++at_;
    const char letter = peek();
    if (const auto i = letters.find(letter); i != std::string_view::npos) {
      string += meanings[i];
      ++at_;
      return;
    }
    const std::size_t n_digits = letter == 'u' ? 4 : letter == 'U' ? 8 : 0;
    std::uint32_t code = 0;
    const auto digits = text_.substr(std::min(at_ + 1, text_.size()), n_digits);
    const auto end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, code, 16);
    const bool is_number =
        digits.size() == n_digits && n_digits > 0 && read.ec == std::errc() && read.ptr == end;
    if (!is_number || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      fail(
          "\\ begins one of \\b \\t \\n \\f \\r \\\" \\\\ \\uXXXX \\UXXXXXXXX; write \\\\ for a "
          "backslash, or the string in '...'");
    }
    at_ += 1 + n_digits;
    const auto add = [&](std::uint32_t byte) { string += static_cast<char>(byte); };
    if (code < 0x80) {
      add(code);
      return;
    }
    const std::uint32_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    add((0xf00U >> n & 0xffU) | code >> 6 * (n - 1));
    for (std::uint32_t i = n - 1; i-- > 0;) add(0x80U | (code >> 6 * i & 0x3fU));
  }

  /// A number, true, or false.
  Value parse_word() {
    std::size_t end = at_;
    while (end < text_.size() &&
           (is_bare(text_[end]) || text_[end] == '.' || text_[end] == '+' || text_[end] == ':')) {
      ++end;
    }
    const std::string_view word = text_.substr(at_, end - at_);
    if (word == "true" || word == "false") {
      at_ = end;
      return word == "true";
    }
    const bool is_signed = word.starts_with('+') || word.starts_with('-');
    const std::string_view magnitude = word.substr(is_signed ? 1 : 0);
    if (magnitude == "inf" || magnitude == "nan") {
      at_ = end;
      using limits = std::numeric_limits<double>;
      const double value = magnitude == "inf" ? limits::infinity() : limits::quiet_NaN();
      return word[0] == '-' ? -value : value;
    }
    if (magnitude.empty() || !is_digit(magnitude[0])) {
      std::string advice =
          "expected a string in quotes, a number, true, false, [ or {; got " + rest();
      if (!word.empty() && is_bare(word[0])) {
        advice.append("; did you mean \"").append(word).append("\"?");
      }
      fail(advice);
    }
    const Value number = parse_number(word, magnitude, is_signed);
    at_ = end;
    return number;
  }

  Value parse_number(std::string_view word, std::string_view magnitude, bool is_signed) const {
    const auto refuse = [&](const std::string& why) { fail(std::string(word) + why); };
    int base = 10;
    if (!is_signed && magnitude.size() > 2 && magnitude[0] == '0') {
      base = magnitude[1] == 'x' ? 16 : magnitude[1] == 'o' ? 8 : magnitude[1] == 'b' ? 2 : 10;
    }
    if (base != 10) magnitude.remove_prefix(2);
    const auto is_of_base = [base](char c) {
      const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      return lower >= '0' && (lower <= '9' ? lower - '0' : lower - 'a' + 10) < base &&
             (lower <= '9' || lower >= 'a');
    };
    // Digits, with single underscores between two of them; the number without those.
    std::string plain = word.starts_with('-') ? "-" : "";
    std::size_t i = 0;
    const auto digits = [&] {
      const std::size_t begin = i;
      while (i < magnitude.size()) {
        const bool between = magnitude[i] == '_' && i > begin && i + 1 < magnitude.size() &&
                             is_of_base(magnitude[i + 1]);
        if (!between && !is_of_base(magnitude[i])) break;
        if (!between) plain += magnitude[i];
        ++i;
      }
      return i > begin;
    };
    bool good = digits();
    bool is_float = false;
    if (base == 10) {
      good = i == 1 || magnitude[0] != '0';
      if (i < magnitude.size() && magnitude[i] == '.') {
        plain += magnitude[i++];
        good = digits() && good;
        is_float = true;
      }
      if (i < magnitude.size() && (magnitude[i] == 'e' || magnitude[i] == 'E')) {
        plain += magnitude[i++];
        if (i < magnitude.size() && (magnitude[i] == '+' || magnitude[i] == '-')) {
          plain += magnitude[i++];
        }
        good = digits() && good;
        is_float = true;
      }
    }
    if (!good || i < magnitude.size()) {
      const bool is_date =
          word.find(':') != std::string_view::npos || (word.size() >= 8 && word[4] == '-');
      refuse(is_date
                 ? ": no parameter is a date or a time"
                 : " is not a number; write it as 12, 0.5, 1e-3 or 0x1f, or a string in quotes");
    }
    const char* end = plain.data() + plain.size();
    if (is_float) {
      double value = 0;
      if (std::from_chars(plain.data(), end, value).ec != std::errc()) {
        refuse(": must fit double precision");
      }
      return value;
    }
    std::int64_t value = 0;
    if (std::from_chars(plain.data(), end, value, base).ec != std::errc()) {
      refuse(": must fit 64 bits");
    }
    return value;
  }

 public:
  /// A node and what is below it.
  static Value value_of(const Node& node) {
    if (node.is_table) {
      Value::Table table;
      for (const auto& [key, below] : node.entries) table.push_back({key, value_of(*below)});
      return table;
    }
    if (node.is_tables) {
      Value::List list;
      for (const auto& element : node.elements) list.push_back(value_of(*element));
      return list;
    }
    return node.leaf;
  }

 private:
  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
  std::vector<Node*> opened_;  ///< by dotted keys of the present header
};

void add_lines(const Node& table, const std::string& path, TomlText& toml) {
  toml.lines.emplace_back(path, table.line);
  for (const auto& [key, node] : table.entries)
    toml.lines.emplace_back(path + "." + key, node->line);
}

}  // namespace

TomlText parse_toml(std::string_view text, std::string name) {
  TomlText toml{{}, std::move(name), {}};
  const Node root = Parser(text, toml.name).parse();
  toml.root = Parser::value_of(root);
  for (const auto& [key, node] : root.entries) {
    if (!node->is_tables) add_lines(*node, key, toml);
    for (std::size_t i = 0; i < node->elements.size(); ++i) {
      add_lines(*node->elements[i], key + "[" + std::to_string(i) + "]", toml);
    }
  }
  return toml;
}

std::string TomlText::place(const std::string& path) const {
  const auto find = [this](std::string_view wanted) {
    return std::find_if(lines.begin(), lines.end(),
                        [&](const auto& line) { return line.first == wanted; });
  };
  auto found = find(path);
  if (found == lines.end()) found = find(std::string_view(path).substr(0, path.find('.')));
  return name + (found == lines.end() ? "" : ":" + std::to_string(found->second)) + ": ";
}

std::string TomlText::place_of(std::string_view problem) const {
  const std::size_t end = problem.find(']');
  if (end == std::string_view::npos || problem.find(':') < end) {
    return place(std::string(problem.substr(0, problem.find(':'))));
  }
  std::string path(problem.substr(0, end + 1));
  constexpr std::string_view no_key = ": no key \"";
  const std::size_t colon = problem.find(": ", end);
  const std::size_t dot = problem.find('.', end);
  if (problem.substr(std::min(colon, problem.size())).starts_with(no_key)) {
    const std::size_t begin = colon + no_key.size();
    path.append(".").append(problem.substr(begin, problem.find('"', begin) - begin));
  } else if (dot < colon) {
    path.append(problem.substr(dot, colon - dot));
  }
  return place(path);
}

}  // namespace skipstream
