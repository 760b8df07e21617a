#pragma once

#include <string>

/// Header cards and data units of test files.
inline std::string card(const std::string& keyword, const std::string& value) {
  std::string text = keyword;
  text.resize(8, ' ');
  text += "= " + value;
  text.resize(80, ' ');
  return text;
}

inline std::string blocks(std::string text, char filler) {
  text.resize((text.size() + 2879) / 2880 * 2880, filler);
  return text;
}
