#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace skipstream {

/// Bits of the mask plane. 0 means: nothing is known against this pixel.
namespace mask_bit {
inline constexpr std::uint32_t no_data = 1U << 0;  ///< every sample is missing; the value is NaN
inline constexpr std::uint32_t missing_skips =
    1U << 1;                                         ///< some samples are missing and were left out
inline constexpr std::uint32_t saturated = 1U << 2;  ///< a sample sits at the converter's limit
inline constexpr std::uint32_t bad_column = 1U << 3;   ///< excluded by mask_columns
inline constexpr std::uint32_t bad_row = 1U << 4;      ///< excluded by mask_rows
inline constexpr std::uint32_t no_pedestal = 1U << 5;  ///< too few pixels to estimate the pedestal
}  // namespace mask_bit

struct MaskName {
  std::uint32_t bit;
  std::string_view name;
  std::string_view doc;
};

inline constexpr std::array<MaskName, 6> mask_names{{
    {mask_bit::no_data, "NODATA", "every sample is missing"},
    {mask_bit::missing_skips, "MISSKIPS", "some samples are missing and were left out"},
    {mask_bit::saturated, "SATURATED", "a sample sits at the converter's limit"},
    {mask_bit::bad_column, "BADCOL", "column excluded by mask_columns"},
    {mask_bit::bad_row, "BADROW", "row excluded by mask_rows"},
    {mask_bit::no_pedestal, "NOPEDESTAL", "too few pixels to estimate the pedestal"},
}};

/// Pixels with one of these bits take no part in pedestals, noise estimates or clusters.
inline constexpr std::uint32_t unusable_bits =
    mask_bit::no_data | mask_bit::bad_column | mask_bit::bad_row | mask_bit::no_pedestal;

}  // namespace skipstream
