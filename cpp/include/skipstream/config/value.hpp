#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace skipstream {

struct Entry;

/// A configuration value as a file format gives it: the common part of TOML, JSON and Python.
class Value {
 public:
  using List = std::vector<Value>;
  using Table = std::vector<Entry>;  ///< in the order of the file

  // All are defined below, where Entry is known: a compiler may need it for any of them.
  Value();
  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();
  // NOLINTBEGIN(google-explicit-constructor)
  Value(bool value);
  Value(std::int64_t value);
  Value(double value);
  Value(std::string value);
  Value(std::string_view value);
  Value(const char* value);
  Value(List value);
  Value(Table value);
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  template <class T>
  [[nodiscard]] const T* get_if() const {
    return std::get_if<T>(&data_);
  }
  /// The entry of a table by its key; null where there is none.
  [[nodiscard]] const Value* find(std::string_view key) const;
  /// As a person would write it: `4.0`, `"row"`, `[1, 2]`.
  [[nodiscard]] std::string text() const;
  /// "a number", "a string", ... for messages.
  [[nodiscard]] std::string_view kind() const;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Table> data_;
};

struct Entry {
  std::string key;
  Value value;
};

inline Value::Value() = default;
// Not the variant's own copy: that of libstdc++ 12 destroys what it has not made when memory runs
// out.
inline Value::Value(const Value& other) {
  std::visit(
      [this](const auto& held) {
        auto copy = held;
        data_ = std::move(copy);
      },
      other.data_);
}
inline Value::Value(Value&& other) noexcept = default;
inline Value& Value::operator=(const Value& other) {
  Value copy(other);
  data_ = std::move(copy.data_);
  return *this;
}
inline Value& Value::operator=(Value&& other) noexcept = default;
inline Value::~Value() = default;
inline Value::Value(bool value) : data_(value) {}
inline Value::Value(std::int64_t value) : data_(value) {}
inline Value::Value(double value) : data_(value) {}
inline Value::Value(std::string value) : data_(std::move(value)) {}
inline Value::Value(std::string_view value) : data_(std::string(value)) {}
inline Value::Value(const char* value) : data_(std::string(value)) {}
inline Value::Value(List value) : data_(std::move(value)) {}
inline Value::Value(Table value) : data_(std::move(value)) {}

/// The candidate nearest in spelling to `word`, or "" when none is near enough to be meant.
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

/// `"axs"; did you mean "axis"?` or `"foo"; known: a, b, c`.
std::string unknown_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace skipstream
