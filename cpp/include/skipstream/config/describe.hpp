#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "skipstream/config/types.hpp"
#include "skipstream/config/value.hpp"

namespace skipstream {

/// One described member of a Config: all that any layer may know of it.
template <class Config, class T>
struct Field {
  std::string_view name;
  T Config::*member;
  std::string_view doc;
  std::string_view unit_name = "";
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool minimum_excluded = false;

  [[nodiscard]] constexpr Field unit(std::string_view value) const {
    Field field = *this;
    field.unit_name = value;
    return field;
  }
  [[nodiscard]] constexpr Field at_least(double value) const {
    Field field = *this;
    field.minimum = value;
    return field;
  }
  [[nodiscard]] constexpr Field above(double value) const {
    Field field = at_least(value);
    field.minimum_excluded = true;
    return field;
  }
  [[nodiscard]] constexpr Field at_most(double value) const {
    Field field = *this;
    field.maximum = value;
    return field;
  }
};

template <class Config, class T>
constexpr Field<Config, T> field(std::string_view name, T Config::*member, std::string_view doc) {
  return {name, member, doc};
}

/// An enumeration is a choice when `choice_names(E)` is found beside it: an array of the names of
/// the enumerators 0, 1, 2, ...
template <class T>
concept Choice = std::is_enum_v<T> && requires(T t) {
  choice_names(t);
};

namespace detail {

/// Whether members of types T, in this order, are all that the aggregate `Config` has: they
/// initialise it, and there is no further member that `{}` could initialise.
template <class Config, class... T>
consteval bool are_all_members(const std::tuple<Field<Config, T>...>&) {
  return requires { Config{std::declval<T>()...}; }
  &&!requires { Config{std::declval<T>()..., {}}; };
}

}  // namespace detail

/// Calls `visit(field)` for every described member. A member that is not described, or is
/// described twice, does not compile.
template <class Stage, class Visitor>
constexpr void for_each_field(Visitor&& visit) {
  constexpr auto fields = Stage::describe();
  static_assert(detail::are_all_members<typename Stage::Config>(Stage::describe()),
                "describe() must name every member of Config once, in the order of declaration");
  std::apply([&](const auto&... each) { (visit(each), ...); }, fields);
}

Value to_value(bool value);
Value to_value(std::int64_t value);
Value to_value(double value);
Value to_value(const std::string& value);
Value to_value(const Quantity& value);
Value to_value(const IndexRanges& value);
template <Choice T>
Value to_value(T value) {
  return Value(choice_names(value).at(static_cast<std::size_t>(value)));
}
template <class T>
Value to_value(const std::optional<T>& value) {
  return value ? to_value(*value) : Value();
}
template <class T>
Value to_value(const std::vector<T>& values) {
  Value::List list;
  for (const auto& value : values) list.push_back(to_value(value));
  return list;
}

template <class T>
struct TypeName;
template <>
struct TypeName<bool> {
  static constexpr std::string_view text = "bool";
};
template <>
struct TypeName<std::int64_t> {
  static constexpr std::string_view text = "int";
};
template <>
struct TypeName<double> {
  static constexpr std::string_view text = "float";
};
template <>
struct TypeName<std::string> {
  static constexpr std::string_view text = "str";
};
template <>
struct TypeName<Quantity> {
  static constexpr std::string_view text = "quantity";
};
template <>
struct TypeName<IndexRanges> {
  static constexpr std::string_view text = "ranges";
};
template <Choice T>
struct TypeName<T> {
  static constexpr std::string_view text = "choice";
};
template <class T>
struct TypeName<std::optional<T>> {
  static constexpr std::string_view text = TypeName<T>::text;
};
template <>
struct TypeName<std::vector<std::string>> {
  static constexpr std::string_view text = "list of str";
};

/// The parameters of a stage as data: `{name, doc, parameters = [{name, type, unit, doc, default,
/// optional, choices, minimum, minimum_excluded, maximum}, ...]}`.
template <class Stage>
Value schema_of() {
  using Config = typename Stage::Config;
  const Config defaults{};
  Value::List parameters;
  for_each_field<Stage>([&](const auto& f) {
    using T = std::remove_cvref_t<decltype(defaults.*(f.member))>;
    Value::Table parameter{{"name", f.name},
                           {"type", TypeName<T>::text},
                           {"unit", f.unit_name},
                           {"doc", f.doc},
                           {"default", to_value(defaults.*(f.member))}};
    if constexpr (Choice<T>) {
      Value::List choices;
      for (const auto& choice : choice_names(T{})) choices.emplace_back(choice);
      parameter.push_back({"choices", std::move(choices)});
    }
    if (f.minimum > -std::numeric_limits<double>::infinity()) {
      parameter.push_back({"minimum", f.minimum});
      parameter.push_back({"minimum_excluded", f.minimum_excluded});
    }
    if (f.maximum < std::numeric_limits<double>::infinity()) {
      parameter.push_back({"maximum", f.maximum});
    }
    parameters.emplace_back(std::move(parameter));
  });
  return Value::Table{{"name", Stage::title.name},
                      {"doc", Stage::title.doc},
                      {"parameters", std::move(parameters)}};
}

/// All parameters with their values, defaults included: the provenance of a run.
template <class Stage>
Value values_of(const typename Stage::Config& config) {
  Value::Table table;
  for_each_field<Stage>([&](const auto& f) {
    table.push_back({std::string(f.name), to_value(config.*(f.member))});
  });
  return table;
}

}  // namespace skipstream
