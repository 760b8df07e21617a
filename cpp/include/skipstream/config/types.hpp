#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace skipstream {

/// A number that is known now, or is found per image: in a header keyword (or under another word
/// that the stage names), or by amplifier.
struct Quantity {
  using ByAmplifier = std::vector<std::pair<std::string, double>>;
  std::variant<double, std::string, ByAmplifier> source = 0.0;
  friend bool operator==(const Quantity&, const Quantity&) = default;
};

/// Indices, each alone or as an inclusive pair `[first, last]`.
struct IndexRanges {
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  friend bool operator==(const IndexRanges&, const IndexRanges&) = default;
};

struct ImageInfo;

/// The number for this image. Throws ConfigError, beginning with `where`, when the header has no
/// such keyword or the table no such amplifier.
double resolve(const Quantity& quantity, const ImageInfo& image, const std::string& where);

}  // namespace skipstream
