#pragma once

#include <cstddef>
#include <cstdint>

namespace skipstream::kernels {

/// Pixels that are reduced side by side.
inline constexpr std::int64_t group_pixels = 32;

/// The samples of a group's pixels, decoded and transposed, so that registers hold samples of all
/// pixels and no pixel needs a horizontal sum: rows of `group_pixels` units, a unit being one
/// sample of 32 or 64 bits or two of 16 bits.
///
/// A sample is a signed integer of the same order, a key: unsigned ones have their sign bit
/// flipped, floating ones are turned by `make_keys`.
template <class Key>
struct Group {
  static constexpr std::int64_t unit_samples = sizeof(Key) == 2 ? 2 : 1;

  Key* keys = nullptr;  ///< 64-byte aligned; as many rows as hold the samples
  std::int64_t n_samples = 0;
  const std::byte* ahead = nullptr;  ///< the next group's samples, to be fetched meanwhile
  Key smallest[group_pixels] = {};
  Key largest[group_pixels] = {};
};

/// More samples than this are not reduced in groups: counters of 16 bits hold them.
inline constexpr std::int64_t max_group_samples = 16384;

/// Which keys to look for, and where: the normal distribution says how far to step.
struct Search {
  std::int64_t rank = 0;          ///< from 0
  bool pair = false;              ///< the upper key is that of rank + 1, not the lower one again
  const double* mean = nullptr;   ///< of each pixel's keys, as numbers
  const double* sigma = nullptr;  ///< of each pixel's keys, as numbers
  double place = 0.0;             ///< where the rank is expected, in sigma from the mean
  double sigma_per_sample = 0.0;  ///< how far apart neighbours are there
};

/// Passes over a group of integer samples.
template <class Key>
struct GroupKernels {
  /// Decodes `n_pixels` <= `group_pixels` pixels, `step` bytes apart, and finds their extremes. The
  /// last one stands in for those beyond it. `flip` is added to every stored sample modulo its
  /// width.
  void (*load)(const std::byte* samples, std::int64_t step, std::int64_t n_pixels, bool swap,
               Key flip, Group<Key>& group);
  /// A bit for every pixel that has a sample `key`.
  std::uint32_t (*find)(const Group<Key>& group, Key key);
  /// Sums of the differences to `centres`, which it chooses, and of their squares. Returns false
  /// where these may not fit.
  bool (*moments)(Group<Key>& group, std::int64_t* centres, std::int64_t* sums,
                  std::int64_t* squares);
  void (*select)(const Group<Key>& group, const Search& search, Key* lower, Key* upper);
};

/// Passes over a group of floating samples.
template <class Real, class Key>
struct RealGroupKernels {
  /// Decodes as above, with -0 as 0, to values. Returns a bit for every pixel with a NaN.
  std::uint32_t (*load)(const std::byte* samples, std::int64_t step, std::int64_t n_pixels,
                        bool swap, Group<Key>& group);
  /// Sums of differences to `centre` and of their squares, each in the order of
  /// `RealKernels::sums`.
  void (*sums)(const Group<Key>& group, const double* centre, double* sums, double* squares);
  /// Turns values without NaN to keys and finds the extremes.
  void (*make_keys)(Group<Key>& group);
  void (*select)(const Group<Key>& group, const Search& search, Key* lower, Key* upper);
};

struct AllGroupKernels {
  GroupKernels<std::int16_t> int16;
  GroupKernels<std::int32_t> int32;
  RealGroupKernels<float, std::int32_t> float32;
  RealGroupKernels<double, std::int64_t> float64;
  /// sign * (sums / n + centres) + zero for a group, rounded once. Returns false, and has done
  /// nothing of use, where an integer on the way is beyond what a double holds.
  bool (*means)(const std::int64_t* sums, const std::int64_t* centres, std::int64_t n,
                std::int64_t sign, std::int64_t zero, double* results);
  /// Variances from the sums around a centre, likewise.
  bool (*variances)(const std::int64_t* sums, const std::int64_t* squares, std::int64_t n,
                    std::int64_t ddof, double* results);
  /// Square roots of a group, in place.
  void (*roots)(double* values);
};

/// The passes over groups for the chosen level.
const AllGroupKernels& group_kernels() noexcept;

}  // namespace skipstream::kernels
