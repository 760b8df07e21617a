#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "skipstream/base/arena.hpp"

namespace skipstream {

/// Memory for large arrays: in huge pages where the system has them, since the first touch of
/// common pages takes longer than what is done with them; and not set to zero by `resize`.
template <class T>
class LargeAllocator : public UnsetAllocator<T> {
 public:
  LargeAllocator() = default;
  template <class U>
  LargeAllocator(const LargeAllocator<U>& other)  // NOLINT(google-explicit-constructor)
      : UnsetAllocator<T>(other) {}

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    if (this->arena() != nullptr) {
      if (void* room = this->arena()->take(n * sizeof(T))) return static_cast<T*>(room);
    }
    void* memory = ::operator new(n * sizeof(T), alignment_of(n));
#ifdef __linux__
    if (is_large(n)) madvise(memory, n * sizeof(T), MADV_HUGEPAGE);  // a wish, which may fail
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t n) noexcept {
    if (this->arena() == nullptr || !this->arena()->holds(memory)) {
      ::operator delete(memory, alignment_of(n));
    }
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

/// An array that grows at its end without a copy once it is large: its pages move to where there
/// is room. A vector that doubles would touch twice the memory. What is reserved at first may be in
/// an arena.
template <class T>
class GrowingArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  GrowingArray() = default;
  GrowingArray(GrowingArray&& other) noexcept { swap(other); }
  GrowingArray& operator=(GrowingArray&& other) noexcept {
    swap(other);
    return *this;
  }
  GrowingArray(const GrowingArray&) = delete;
  GrowingArray& operator=(const GrowingArray&) = delete;
  ~GrowingArray() {
    if (!is_in_arena()) release(memory_, capacity_bytes_);
  }

  /// Room for `n` values in all, without an allocation until they are there.
  void reserve(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / 8 / sizeof(T)) throw std::bad_array_new_length();
    if (n * sizeof(T) > capacity_bytes_) grow(n * sizeof(T));
  }
  void append(std::span<const T> values) {
    const std::size_t n_bytes = (size_ + values.size()) * sizeof(T);
    if (n_bytes > capacity_bytes_) grow(n_bytes);
    if (!values.empty()) std::memcpy(memory_ + size_, values.data(), values.size_bytes());
    size_ += values.size();
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* data() { return memory_; }
  [[nodiscard]] const T* data() const { return memory_; }
  [[nodiscard]] const T* begin() const { return memory_; }
  [[nodiscard]] const T* end() const { return memory_ + size_; }

 private:
  static constexpr std::size_t page_bytes = std::size_t{1} << 21;  // a huge page

  void swap(GrowingArray& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    std::swap(capacity_bytes_, other.capacity_bytes_);
    std::swap(arena_, other.arena_);
  }
  [[nodiscard]] bool is_in_arena() const {
    return arena_ != nullptr && memory_ != nullptr && arena_->holds(memory_);
  }
#ifdef __linux__
  static bool is_mapped(std::size_t n_bytes) { return n_bytes >= 2 * page_bytes; }

  /// Huge pages move as such where both addresses are multiples of their size.
  static std::byte* map(std::size_t n_bytes) {
    void* room = mmap(nullptr, n_bytes + page_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<std::byte*>(room);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) % page_bytes;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + n_bytes, page_bytes - before);
    return begin + before;
  }
#else
  static bool is_mapped(std::size_t /*n_bytes*/) { return false; }
#endif

  static void release(T* memory, std::size_t n_bytes) noexcept {
#ifdef __linux__
    if (is_mapped(n_bytes)) {
      munmap(memory, n_bytes);
      return;
    }
#endif
    std::free(memory);
  }

  void grow(std::size_t n_bytes) {
    if (arena_ != nullptr && memory_ == nullptr) {
      memory_ = static_cast<T*>(arena_->take(n_bytes));
      if (memory_ != nullptr) {
        capacity_bytes_ = n_bytes;
        return;
      }
    }
    if (is_in_arena()) {
      GrowingArray moved;
      moved.arena_ = nullptr;
      moved.grow(std::max(n_bytes, 2 * capacity_bytes_));
      moved.append({memory_, size_});
      swap(moved);
      return;
    }
    std::size_t capacity = std::max(n_bytes, 2 * capacity_bytes_);
    T* grown = nullptr;
#ifdef __linux__
    if (is_mapped(capacity)) {
      capacity = (4 * capacity + page_bytes - 1) / page_bytes * page_bytes;  // untouched: no cost
      std::byte* room = map(capacity);
      if (is_mapped(capacity_bytes_)) {
        if (mremap(memory_, capacity_bytes_, capacity_bytes_, MREMAP_MAYMOVE | MREMAP_FIXED,
                   room) == MAP_FAILED) {
          munmap(room, capacity);
          throw std::bad_alloc();
        }
      } else {
        if (size_ > 0) std::memcpy(room, memory_, size_ * sizeof(T));
        std::free(memory_);
      }
      madvise(room, capacity, MADV_HUGEPAGE);  // a wish, which may fail
      memory_ = reinterpret_cast<T*>(room);
      capacity_bytes_ = capacity;
      return;
    }
#endif
    grown = static_cast<T*>(std::realloc(memory_, capacity));
    if (grown == nullptr) throw std::bad_alloc();
    memory_ = grown;
    capacity_bytes_ = capacity;
  }

  T* memory_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_bytes_ = 0;
  Arena* arena_ = Arena::current();
};

}  // namespace skipstream
