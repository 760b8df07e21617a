#pragma once

#include <string>
#include <utility>

#include "skipstream/config/value.hpp"

/// A stage of a configuration.
inline skipstream::Value stage(std::string kind, skipstream::Value::Table parameters = {}) {
  parameters.insert(parameters.begin(), skipstream::Entry{"kind", std::move(kind)});
  return parameters;
}
