#include "skipstream/config/parse.hpp"

#include "skipstream/base/error.hpp"
#include "skipstream/base/image.hpp"

namespace skipstream {

Value to_value(bool value) { return value; }
Value to_value(std::int64_t value) { return value; }
Value to_value(double value) { return value; }
Value to_value(const std::string& value) { return value; }

Value to_value(const Quantity& value) {
  if (const auto* number = std::get_if<double>(&value.source)) return *number;
  if (const auto* word = std::get_if<std::string>(&value.source)) return *word;
  Value::Table table;
  for (const auto& [amplifier, number] : std::get<Quantity::ByAmplifier>(value.source)) {
    table.push_back({amplifier, number});
  }
  return table;
}

Value to_value(const IndexRanges& value) {
  Value::List list;
  for (const auto& [first, last] : value.ranges) {
    if (first == last) {
      list.emplace_back(first);
    } else {
      list.emplace_back(Value::List{first, last});
    }
  }
  return list;
}

double resolve(const Quantity& quantity, const ImageInfo& image, const std::string& where) {
  std::vector<std::string> known;
  if (const auto* number = std::get_if<double>(&quantity.source)) return *number;
  if (const auto* keyword = std::get_if<std::string>(&quantity.source)) {
    for (const auto& [name, number] : image.header) {
      if (name == *keyword) return number;
      known.push_back(name);
    }
    const std::string nearest = nearest_name(*keyword, known);
    throw ConfigError(where + ": the header of " + image.amplifier + " has no number \"" +
                      *keyword + "\"" +
                      (nearest.empty() ? std::string() : "; nearest: \"" + nearest + "\""));
  }
  for (const auto& [amplifier, number] : std::get<Quantity::ByAmplifier>(quantity.source)) {
    if (amplifier == image.amplifier) return number;
    known.push_back(amplifier);
  }
  throw ConfigError(where + ": no amplifier " + unknown_name(image.amplifier, known));
}

namespace detail {

namespace {
std::string expected(std::string_view what, const Value& value) {
  return "must be " + std::string(what) + "; got " + value.text();
}
}  // namespace

std::string read(const Value& value, bool& out) {
  if (const auto* b = value.get_if<bool>()) {
    out = *b;
    return "";
  }
  return expected("true or false", value);
}

std::string read(const Value& value, std::int64_t& out) {
  if (const auto* i = value.get_if<std::int64_t>()) {
    out = *i;
    return "";
  }
  return expected("an integer", value);
}

std::string read(const Value& value, double& out) {
  if (const auto* i = value.get_if<std::int64_t>()) {
    out = static_cast<double>(*i);
    return "";
  }
  if (const auto* d = value.get_if<double>()) {
    out = *d;
    return std::isfinite(*d) ? "" : expected("a finite number", value);
  }
  return expected("a number", value);
}

std::string read(const Value& value, std::string& out) {
  if (const auto* s = value.get_if<std::string>()) {
    out = *s;
    return "";
  }
  return expected("a string", value);
}

std::string read(const Value& value, Quantity& out) {
  if (const auto* word = value.get_if<std::string>()) {
    out.source = *word;
    return "";
  }
  if (const auto* table = value.get_if<Value::Table>()) {
    Quantity::ByAmplifier numbers;
    for (const auto& entry : *table) {
      double number = 0;
      if (std::string wrong = read(entry.value, number); !wrong.empty()) {
        return entry.key + " " + wrong;
      }
      numbers.emplace_back(entry.key, number);
    }
    out.source = std::move(numbers);
    return "";
  }
  double number = 0;
  if (!read(value, number).empty()) {
    return expected("a number, a header keyword, or a table of amplifier = number", value);
  }
  out.source = number;
  return "";
}

std::string read(const Value& value, IndexRanges& out) {
  out.ranges.clear();
  const auto* list = value.get_if<Value::List>();
  constexpr std::string_view form = "a list of indices and inclusive pairs, such as [3, [10, 20]]";
  if (list == nullptr) return expected(form, value);
  for (const auto& element : *list) {
    std::int64_t first = 0;
    std::int64_t last = 0;
    if (const auto* pair = element.get_if<Value::List>()) {
      if (pair->size() != 2 || !read((*pair)[0], first).empty() ||
          !read((*pair)[1], last).empty()) {
        return expected(form, value);
      }
    } else if (read(element, first).empty()) {
      last = first;
    } else {
      return expected(form, value);
    }
    if (first < 0 || last < first) {
      return "a range must be [first, last] with 0 <= first <= last; got " + element.text();
    }
    out.ranges.emplace_back(first, last);
  }
  return "";
}

std::string out_of_bounds(double value, double minimum, bool minimum_excluded, double maximum,
                          std::string_view unit) {
  const bool low = minimum_excluded ? !(value > minimum) : !(value >= minimum);
  const bool high = !(value <= maximum);
  if (!low && !high) return "";
  const auto number = [](double x) {
    return std::floor(x) == x && std::abs(x) < 1e15 ? std::to_string(static_cast<std::int64_t>(x))
                                                    : Value(x).text();
  };
  std::string text = "must be ";
  text += low ? (minimum_excluded ? "above " : "at least ") + number(minimum)
              : "at most " + number(maximum);
  if (!unit.empty()) text += " " + std::string(unit);
  return text + "; got " + number(value);
}

}  // namespace detail
}  // namespace skipstream
