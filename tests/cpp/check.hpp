#pragma once

#include <cstdio>
#include <string>
#include <type_traits>

/// The few lines of a test framework that these tests need. A test program is `main` calling
/// functions named as sentences; `return failures();` closes it.
namespace check {

/// Where a check stands: clang 14 has no std::source_location.
struct Place {
  const char* file;
  int line;
  const char* function;
  static Place current(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                       const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

inline int n_failed = 0;
inline int n_checked = 0;

inline void that(bool condition, const std::string& what = "", Place where = Place::current()) {
  ++n_checked;
  if (condition) return;
  ++n_failed;
  std::fprintf(stderr, "%s:%d: %s: failed %s\n", where.file, where.line, where.function,
               what.c_str());
}

template <class A, class B>
void equal(const A& a, const B& b, const std::string& what = "", Place where = Place::current()) {
  std::string text = what;
  if constexpr (std::is_arithmetic_v<A> && std::is_arithmetic_v<B>) {
    text.append(" ").append(std::to_string(a)).append(" != ").append(std::to_string(b));
  }
  that(a == b, text, where);
}

/// `action` must throw `Exception` whose text contains `part`.
template <class Exception, class Action>
void throws(Action&& action, const std::string& part = "", Place where = Place::current()) {
  try {
    action();
  } catch (const Exception& error) {
    that(std::string(error.what()).find(part) != std::string::npos,
         std::string("message: ") + error.what(), where);
    return;
  }
  that(false, "nothing was thrown", where);
}

inline int failures() {
  std::printf("%d passed, %d failed\n", n_checked - n_failed, n_failed);
  return n_failed == 0 ? 0 : 1;
}

}  // namespace check
