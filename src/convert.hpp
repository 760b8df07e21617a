#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "skipstream/config/value.hpp"

namespace skipstream::python {

/// Python's None, bool, int, float, str, list, tuple and dict as a Value. Throws TypeError naming
/// any other type.
Value to_value(pybind11::handle object);
pybind11::object to_python(const Value& value);
/// Bytes that are no UTF-8, such as those of a file name, as `\xNN`: no Python string holds them.
std::string printable(const std::string& text);

}  // namespace skipstream::python
