#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "skipstream/config/describe.hpp"

namespace skipstream {

/// Every mistake found in a configuration; each begins with where it is.
using Problems = std::vector<std::string>;

namespace detail {

/// Each `read` returns "" or what is wrong, in words that follow `where: `.
std::string read(const Value& value, bool& out);
std::string read(const Value& value, std::int64_t& out);
std::string read(const Value& value, double& out);
std::string read(const Value& value, std::string& out);
std::string read(const Value& value, Quantity& out);
std::string read(const Value& value, IndexRanges& out);

template <Choice T>
std::string read(const Value& value, T& out) {
  const auto names = choice_names(T{});
  const auto* word = value.get_if<std::string>();
  if (word != nullptr) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == *word) {
        out = static_cast<T>(i);
        return "";
      }
    }
  }
  std::string text = value.text() + " is not one of ";
  for (std::size_t i = 0; i < names.size(); ++i) text += (i ? ", " : "") + std::string(names[i]);
  return text;
}

template <class T>
std::string read(const Value& value, std::optional<T>& out) {
  if (value.is_null()) {
    out.reset();
    return "";
  }
  out.emplace();
  return read(value, *out);
}

template <class T>
std::string read(const Value& value, std::vector<T>& out) {
  out.clear();
  const auto* list = value.get_if<Value::List>();
  if (list == nullptr) {
    out.emplace_back();
    return read(value, out.back());  // one element may stand for a list of one
  }
  for (const auto& element : *list) {
    out.emplace_back();
    if (std::string wrong = read(element, out.back()); !wrong.empty()) return wrong;
  }
  return "";
}

std::string out_of_bounds(double value, double minimum, bool minimum_excluded, double maximum,
                          std::string_view unit);

template <class F, class T>
std::string check_bounds(const F& field, const T& value) {
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    return out_of_bounds(static_cast<double>(value), field.minimum, field.minimum_excluded,
                         field.maximum, field.unit_name);
  } else if constexpr (std::is_same_v<T, Quantity>) {
    if (const auto* number = std::get_if<double>(&value.source))
      return check_bounds(field, *number);
    if (const auto* table = std::get_if<Quantity::ByAmplifier>(&value.source)) {
      for (const auto& [amplifier, number] : *table) {
        if (std::string wrong = check_bounds(field, number); !wrong.empty()) {
          return amplifier + " " + wrong;
        }
      }
    }
  } else if constexpr (requires { value.has_value(); }) {
    if (value) return check_bounds(field, *value);
  }
  return "";
}

}  // namespace detail

/// Reads the parameters of a stage from a table; `where` is how messages call it, such as
/// `stage[1] subtract_pedestal`. Unknown keys, wrong types and values out of bounds are added to
/// `problems`. The key "kind" is left to the caller.
template <class Stage>
typename Stage::Config parse_stage(const Value& table, const std::string& where,
                                   Problems& problems) {
  typename Stage::Config config{};
  std::vector<std::string> names;
  for_each_field<Stage>([&](const auto& f) {
    names.emplace_back(f.name);
    const Value* value = table.find(f.name);
    if (value == nullptr) return;
    auto& member = config.*(f.member);
    std::string wrong = detail::read(*value, member);
    if (wrong.empty()) wrong = detail::check_bounds(f, member);
    if (!wrong.empty()) problems.push_back(where + "." + std::string(f.name) + ": " + wrong);
  });
  if (const auto* entries = table.get_if<Value::Table>()) {
    for (const auto& entry : *entries) {
      if (entry.key != "kind" && std::find(names.begin(), names.end(), entry.key) == names.end()) {
        problems.push_back(where + ": no key " + unknown_name(entry.key, names));
      }
    }
  }
  return config;
}

}  // namespace skipstream
