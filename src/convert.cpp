#include "convert.hpp"

#include <string>

namespace py = pybind11;

namespace skipstream::python {

Value to_value(py::handle object) {
  if (object.is_none()) return {};
  if (py::isinstance<py::bool_>(object)) return object.cast<bool>();
  if (py::isinstance<py::int_>(object)) return object.cast<std::int64_t>();
  if (py::isinstance<py::float_>(object)) return object.cast<double>();
  if (py::isinstance<py::str>(object)) return object.cast<std::string>();
  if (py::isinstance<py::dict>(object)) {
    Value::Table table;
    for (const auto& [key, value] : object.cast<py::dict>()) {
      table.push_back({py::str(key).cast<std::string>(), to_value(value)});
    }
    return table;
  }
  if (py::isinstance<py::sequence>(object)) {
    Value::List list;
    for (const auto& element : object.cast<py::sequence>()) list.push_back(to_value(element));
    return list;
  }
  if (py::hasattr(object, "item")) return to_value(object.attr("item")());  // a NumPy scalar
  throw py::type_error("a configuration holds numbers, strings, lists and tables; got " +
                       py::str(py::type::of(object)).cast<std::string>());
}

py::object to_python(const Value& value) {
  if (const auto* b = value.get_if<bool>()) return py::bool_(*b);
  if (const auto* i = value.get_if<std::int64_t>()) return py::int_(*i);
  if (const auto* d = value.get_if<double>()) return py::float_(*d);
  if (const auto* s = value.get_if<std::string>()) return py::str(*s);
  if (const auto* list = value.get_if<Value::List>()) {
    py::list result;
    for (const auto& element : *list) result.append(to_python(element));
    return result;
  }
  if (const auto* table = value.get_if<Value::Table>()) {
    py::dict result;
    for (const auto& entry : *table) result[py::str(entry.key)] = to_python(entry.value);
    return result;
  }
  return py::none();
}

std::string printable(const std::string& text) {
  const auto decoded = py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "backslashreplace"));
  if (!decoded) throw py::error_already_set();
  return decoded;
}

}  // namespace skipstream::python
