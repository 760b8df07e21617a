#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace skipstream {

/// Memory for large arrays: in huge pages where the system has them, since the first touch of
/// common pages takes longer than what is done with them; and not set to zero by `resize`.
template <class T>
class LargeAllocator {
 public:
  using value_type = T;

  LargeAllocator() = default;
  template <class U>
  LargeAllocator(const LargeAllocator<U>& /*other*/) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    void* memory = ::operator new(n * sizeof(T), alignment_of(n));
#ifdef __linux__
    if (is_large(n)) madvise(memory, n * sizeof(T), MADV_HUGEPAGE);  // a wish, which may fail
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t n) noexcept { ::operator delete(memory, alignment_of(n)); }
  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    if constexpr (sizeof...(Arguments) == 0 && std::is_trivially_default_constructible_v<U>) {
      ::new (static_cast<void*>(at)) U;
    } else {
      ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
    }
  }
  template <class U>
  friend bool operator==(const LargeAllocator& /*a*/, const LargeAllocator<U>& /*b*/) {
    return true;
  }

 private:
  static constexpr std::size_t page_bytes = std::size_t{1} << 21;

  static bool is_large(std::size_t n) { return n * sizeof(T) >= 2 * page_bytes; }
  static std::align_val_t alignment_of(std::size_t n) {
    return std::align_val_t{is_large(n) ? page_bytes : alignof(std::max_align_t)};
  }
};

template <class T>
using LargeVector = std::vector<T, LargeAllocator<T>>;

}  // namespace skipstream
