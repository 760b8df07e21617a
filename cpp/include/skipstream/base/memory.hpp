#pragma once

#include <cstdint>
#include <string>

#include "skipstream/base/error.hpp"
#include "skipstream/base/image.hpp"

namespace skipstream {

inline std::string in_mib(std::int64_t n_bytes) {
  const std::int64_t tenths = n_bytes / (1 << 20) * 10 + (n_bytes % (1 << 20) * 10 >> 20);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10);
}

/// Called by a stage before it takes memory that grows with the columns: throws ConfigError where
/// the limit of the run does not leave as much.
inline void require_memory(const ImageInfo& image, std::int64_t n_bytes) {
  if (image.memory_bytes < 0 || n_bytes <= image.memory_bytes) return;
  throw ConfigError("needs " + in_mib(n_bytes) + " MiB: so much at least for rows of " +
                    std::to_string(image.n_cols) + " columns; the limit leaves " +
                    in_mib(image.memory_bytes) + " MiB beside the program");
}

}  // namespace skipstream
