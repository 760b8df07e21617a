#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skipstream/config/value.hpp"

namespace skipstream {

/// A config file as a value tree, and the line where each of its keys stands.
struct TomlText {
  Value root;        ///< a table
  std::string name;  ///< that messages begin with, such as the name of the file
  std::vector<std::pair<std::string, std::int64_t>> lines;  ///< "stage[1].axis" to 12

  /// `cfg.toml:12: `, or `cfg.toml: ` where the line is not known. `path` is "input.n_cols",
  /// "stage[1]", "stage[1].axis"; of a key that is not there, the line of its table is taken.
  [[nodiscard]] std::string place(const std::string& path) const;
  /// The place of what a stage complains of: `stage[1] subtract_pedestal.axis: ...`.
  [[nodiscard]] std::string place_of(std::string_view problem) const;
};

/// Reads TOML 1.0, without what no parameter means: dates, times, strings over several lines,
/// integers beyond 64 bits, floats beyond double precision, and nesting deeper than 16. Throws
/// ConfigError that begins with `name` and the line. No locale is asked.
TomlText parse_toml(std::string_view text, std::string name = "config");

}  // namespace skipstream
