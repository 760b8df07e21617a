// Reads TOML texts, each behind a line with its number of bytes, and prints a line of JSON for
// each: its value, or {"error": ...}. For tests/test_toml.py.

#include <cstdint>
#include <iostream>
#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/config/toml.hpp"

using skipstream::Value;

namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      constexpr const char* digits = "0123456789abcdef";
      result.append("\\u00").append(1, digits[c >> 4]).append(1, digits[c & 15]);
    } else {
      if (c == '"' || c == '\\') result += '\\';
      result += c;
    }
  }
  return result + "\"";
}

std::string json(const Value& value) {
  std::string text;
  if (const auto* string = value.get_if<std::string>()) return quoted(*string);
  if (const auto* list = value.get_if<Value::List>()) {
    for (const auto& element : *list) text.append(text.empty() ? "" : ",").append(json(element));
    return "[" + text + "]";
  }
  if (const auto* table = value.get_if<Value::Table>()) {
    for (const auto& [key, below] : *table) {
      text.append(text.empty() ? "" : ",").append(quoted(key)).append(":").append(json(below));
    }
    return "{" + text + "}";
  }
  text = value.text();
  if (text == "nan") return "NaN";
  if (text == "inf") return "Infinity";
  return text == "-inf" ? "-Infinity" : text;
}

}  // namespace

int main() {
  std::size_t n_bytes = 0;
  while (std::cin >> n_bytes && std::cin.get() == '\n') {
    std::string text(n_bytes, '\0');
    std::cin.read(text.data(), static_cast<std::streamsize>(n_bytes));
    try {
      std::cout << json(skipstream::parse_toml(text).root) << std::endl;
    } catch (const skipstream::ConfigError& error) {
      std::cout << "{\"error\":" << quoted(error.what()) << "}" << std::endl;
    }
  }
  return 0;
}
