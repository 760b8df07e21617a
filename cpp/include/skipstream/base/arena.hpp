#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace skipstream {

/// Memory of the embedder's, from which an image takes what grows with its columns, samples and
/// tables. Nothing is given back to it before its end. It counts what is asked of it beyond its
/// room, too, which then comes from the system.
class Arena {
 public:
  Arena() = default;
  explicit Arena(std::span<std::byte> memory) : memory_(memory) {}

  /// Null where there is no room.
  [[nodiscard]] void* take(std::size_t n_bytes) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data() + n_taken_);
    const std::size_t padding = -address % alignment;
    const std::size_t most = static_cast<std::size_t>(-1) / 4;
    n_needed_ = n_bytes > most || n_needed_ > most ? most : n_needed_ + n_bytes + alignment;
    if (padding > n_free() || n_bytes > n_free() - padding) return nullptr;
    void* begin = memory_.data() + n_taken_ + padding;
    n_taken_ += padding + n_bytes;
    return begin;
  }
  [[nodiscard]] bool holds(const void* memory) const noexcept {
    const auto* byte = static_cast<const std::byte*>(memory);
    return !std::less<>()(byte, memory_.data()) &&
           std::less<>()(byte, memory_.data() + memory_.size());
  }
  /// Room for all that was asked for so far, whatever its first address.
  [[nodiscard]] std::size_t needed_bytes() const noexcept { return n_needed_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return memory_.size(); }

  /// Of this thread, for arrays that are made from now on; null: the system's memory.
  [[nodiscard]] static Arena* current() noexcept { return current_; }

 private:
  friend class ArenaScope;
  static constexpr std::size_t alignment = 64;  // of a cache line, and of any vector instruction

  [[nodiscard]] std::size_t n_free() const noexcept { return memory_.size() - n_taken_; }

  inline static thread_local Arena* current_ = nullptr;

  std::span<std::byte> memory_;
  std::size_t n_taken_ = 0;
  std::size_t n_needed_ = 0;
};

/// Arrays of stages and pipelines that this thread makes while it lives are in the arena, which
/// must outlive them.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : before_(std::exchange(Arena::current_, &arena)) {}
  ~ArenaScope() { Arena::current_ = before_; }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena* before_;
};

/// In the arena that was the thread's when the array was made.
template <class T>
class ArenaAllocator {
 public:
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  ArenaAllocator() = default;
  template <class U>
  ArenaAllocator(const ArenaAllocator<U>& other)  // NOLINT(google-explicit-constructor)
      : arena_(other.arena()) {}

  [[nodiscard]] T* allocate(std::size_t n) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    void* memory = arena_ == nullptr ? nullptr : arena_->take(n * sizeof(T));
    return static_cast<T*>(memory == nullptr ? ::operator new(n * sizeof(T)) : memory);
  }
  void deallocate(T* memory, std::size_t /*n*/) noexcept {
    if (arena_ == nullptr || !arena_->holds(memory)) ::operator delete(memory);
  }
  [[nodiscard]] Arena* arena() const noexcept { return arena_; }
  template <class U>
  friend bool operator==(const ArenaAllocator& a, const ArenaAllocator<U>& b) {
    return a.arena() == b.arena();
  }

 private:
  Arena* arena_ = Arena::current();
};

/// Does not set to zero what `resize` adds, nor touch it.
template <class T>
class UnsetAllocator : public ArenaAllocator<T> {
 public:
  UnsetAllocator() = default;
  template <class U>
  UnsetAllocator(const UnsetAllocator<U>& other)  // NOLINT(google-explicit-constructor)
      : ArenaAllocator<T>(other) {}

  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    if constexpr (sizeof...(Arguments) == 0 && std::is_trivially_default_constructible_v<U>) {
      ::new (static_cast<void*>(at)) U;
    } else {
      ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
    }
  }
};

/// What an image holds while its rows come: of a length that its columns, samples or tables give.
template <class T>
using Array = std::vector<T, ArenaAllocator<T>>;
template <class T>
using UnsetArray = std::vector<T, UnsetAllocator<T>>;

}  // namespace skipstream
