#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

/// Whether the next allocation, of so many bytes, is to fail; defined by the one program that
/// includes this.
bool fails(std::size_t n_bytes);

namespace replaced_new {

inline void* allocate(std::size_t n_bytes, std::size_t alignment) {
  const std::size_t room = (n_bytes + alignment - 1) / alignment * alignment;
  void* memory =
      fails(n_bytes) ? nullptr : std::aligned_alloc(alignment, room == 0 ? alignment : room);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace replaced_new

// All allocations of the program, also those that must not throw.
void* operator new(std::size_t n) { return replaced_new::allocate(n, alignof(std::max_align_t)); }
void* operator new[](std::size_t n) { return replaced_new::allocate(n, alignof(std::max_align_t)); }
void* operator new(std::size_t n, std::align_val_t a) {
  return replaced_new::allocate(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return replaced_new::allocate(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t& /*tag*/) noexcept {
  try {
    return replaced_new::allocate(n, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*n*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t /*n*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t /*a*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t /*a*/) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*n*/, std::align_val_t /*a*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t /*n*/, std::align_val_t /*a*/) noexcept {
  std::free(memory);
}
