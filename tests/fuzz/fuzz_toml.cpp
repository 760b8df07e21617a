// Any bytes as a config: either an error that says where, or a value that can be shown; and stages
// are made of it or refused.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "skipstream/base/error.hpp"
#include "skipstream/pipeline/load_config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto toml = skipstream::parse_toml(text, "f");
    if (toml.root.text().empty()) __builtin_trap();
    if (skipstream::load_config(text, "f").chain().n_configured == 0) __builtin_trap();
  } catch (const skipstream::ConfigError& error) {
    if (!std::string_view(error.what()).starts_with("f:")) __builtin_trap();
  }
  return 0;
}
