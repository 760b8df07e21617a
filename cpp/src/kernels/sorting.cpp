#include "skipstream/kernels/sorting.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <utility>

namespace skipstream::kernels {
namespace {

constexpr int digit_bits = 11;
constexpr std::size_t n_digits = std::size_t{1} << digit_bits;

/// Keys in the order of the values: negative numbers are turned around, and come before the others.
template <class Key>
constexpr Key sign_bit = Key{1} << (8 * sizeof(Key) - 1);

template <class Key, class Value>
Key key_of(Value value) noexcept {
  const auto bits = std::bit_cast<Key>(value);
  return bits ^ ((bits & sign_bit<Key>) != 0 ? ~Key{0} : sign_bit<Key>);
}

template <class Value, class Key>
Value value_of(Key key) noexcept {
  return std::bit_cast<Value>(key ^ ((key & sign_bit<Key>) != 0 ? sign_bit<Key> : ~Key{0}));
}

/// Least digit first: each pass keeps the order of those before.
template <class Value, class Key>
std::int64_t sort(std::span<const Value> values, std::span<const std::uint8_t> left_out,
                  std::span<Key> scratch, std::span<std::uint64_t> counts,
                  std::span<double> sorted) noexcept {
  constexpr int n_passes = (8 * static_cast<int>(sizeof(Key)) + digit_bits - 1) / digit_bits;
  static_assert(n_passes * n_digits <= n_sort_counts);
  const auto digit = [](Key key, int pass) {
    return static_cast<std::size_t>(key >> (pass * digit_bits)) & (n_digits - 1);
  };
  std::fill_n(counts.begin(), n_passes * n_digits, std::uint64_t{0});
  std::size_t n = 0;
  bool in_order = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || (!left_out.empty() && left_out[i] != 0)) continue;
    const Key key = key_of<Key>(values[i]);
    in_order = in_order && (n == 0 || scratch[n - 1] <= key);
    scratch[n++] = key;
    for (int pass = 0; pass < n_passes; ++pass) {
      ++counts[static_cast<std::size_t>(pass) * n_digits + digit(key, pass)];
    }
  }
  Key* from = scratch.data();
  Key* to = from + values.size();
  for (int pass = 0; pass < n_passes && !in_order; ++pass) {
    auto* places = counts.data() + static_cast<std::size_t>(pass) * n_digits;
    if (places[digit(from[0], pass)] == n) continue;  // all have the same digit
    std::uint64_t place = 0;
    for (std::size_t d = 0; d < n_digits; ++d) place += std::exchange(places[d], place);
    for (std::size_t i = 0; i < n; ++i) to[places[digit(from[i], pass)]++] = from[i];
    std::swap(from, to);
  }
  for (std::size_t i = 0; i < n; ++i) sorted[i] = static_cast<double>(value_of<Value>(from[i]));
  return static_cast<std::int64_t>(n);
}

}  // namespace

std::int64_t sort_finite(std::span<const float> values, std::span<const std::uint8_t> left_out,
                         std::span<std::uint32_t> scratch, std::span<std::uint64_t> counts,
                         std::span<double> sorted) noexcept {
  return sort(values, left_out, scratch, counts, sorted);
}

std::int64_t sort_finite(std::span<const double> values, std::span<const std::uint8_t> left_out,
                         std::span<std::uint64_t> scratch, std::span<std::uint64_t> counts,
                         std::span<double> sorted) noexcept {
  return sort(values, left_out, scratch, counts, sorted);
}

}  // namespace skipstream::kernels
