#include "skipstream/config/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace skipstream {

const Value* Value::find(std::string_view key) const {
  const auto* table = get_if<Table>();
  if (table == nullptr) return nullptr;
  const auto entry =
      std::find_if(table->begin(), table->end(), [&](const Entry& e) { return e.key == key; });
  return entry == table->end() ? nullptr : &entry->value;
}

std::string Value::text() const {
  if (const auto* b = get_if<bool>()) return *b ? "true" : "false";
  if (const auto* i = get_if<std::int64_t>()) return std::to_string(*i);
  if (const auto* d = get_if<double>()) {
    if (std::isnan(*d)) return "nan";
    if (std::isinf(*d)) return *d > 0 ? "inf" : "-inf";
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, *d).ptr;
    std::string text(buffer, end);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  }
  if (const auto* s = get_if<std::string>()) {
    std::string text = "\"";
    for (const char c : *s) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    return text + "\"";
  }
  if (const auto* list = get_if<List>()) {
    std::string text = "[";
    for (std::size_t i = 0; i < list->size(); ++i) text += (i ? ", " : "") + (*list)[i].text();
    return text + "]";
  }
  if (const auto* table = get_if<Table>()) {
    std::string text = "{";
    for (std::size_t i = 0; i < table->size(); ++i) {
      text += (i ? ", " : "") + (*table)[i].key + " = " + (*table)[i].value.text();
    }
    return text + "}";
  }
  return "nothing";
}

std::string_view Value::kind() const {
  constexpr std::string_view kinds[] = {"nothing",  "a boolean", "an integer", "a number",
                                        "a string", "a list",    "a table"};
  return kinds[data_.index()];
}

namespace {

/// Number of insertions, deletions, replacements and swaps of neighbours between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  std::string nearest;
  for (const auto& candidate : candidates) {
    // A word that was cut short is as near as two slips.
    const bool begun = word.size() >= 3 && candidate.starts_with(word);
    const std::size_t distance = begun ? 2 : edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string unknown_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string text = "\"" + std::string(word) + "\"";
  if (const std::string nearest = nearest_name(word, candidates); !nearest.empty()) {
    return text + "; did you mean \"" + nearest + "\"?";
  }
  text += candidates.empty() ? "; none is known" : "; known: ";
  for (std::size_t i = 0; i < candidates.size(); ++i) text += (i ? ", " : "") + candidates[i];
  return text;
}

}  // namespace skipstream
