#pragma once

#include <pybind11/pybind11.h>

#include "skipstream/config/value.hpp"

namespace skipstream::python {

/// Python's None, bool, int, float, str, list, tuple and dict as a Value. Throws TypeError naming
/// any other type.
Value to_value(pybind11::handle object);
pybind11::object to_python(const Value& value);

}  // namespace skipstream::python
