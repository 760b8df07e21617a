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
inline constexpr std::uint32_t bad_column = 1U << 3;   ///< excluded by mask_columns, mask_hot
inline constexpr std::uint32_t bad_row = 1U << 4;      ///< excluded by mask_rows, mask_hot
inline constexpr std::uint32_t no_pedestal = 1U << 5;  ///< too few pixels to estimate the pedestal
inline constexpr std::uint32_t hot_pixel = 1U << 6;    ///< excluded by a mask file
inline constexpr std::uint32_t edge = 1U << 7;
inline constexpr std::uint32_t noisy_row = 1U << 8;
inline constexpr std::uint32_t bleed = 1U << 9;
inline constexpr std::uint32_t serial_hit = 1U << 10;
inline constexpr std::uint32_t crowded = 1U << 11;
inline constexpr std::uint32_t crosstalk = 1U << 12;  ///< set by a mask file
inline constexpr std::uint32_t cluster = 1U << 13;
inline constexpr std::uint32_t halo = 1U << 14;
}  // namespace mask_bit

struct MaskName {
  std::uint32_t bit;
  std::string_view name;
  std::string_view doc;
};

inline constexpr std::array<MaskName, 15> mask_names{{
    {mask_bit::no_data, "NODATA", "every sample is missing"},
    {mask_bit::missing_skips, "MISSKIPS", "some samples are missing and were left out"},
    {mask_bit::saturated, "SATURATED", "a sample sits at the converter's limit"},
    {mask_bit::bad_column, "BADCOL", "column excluded by mask_columns or mask_hot"},
    {mask_bit::bad_row, "BADROW", "row excluded by mask_rows or mask_hot"},
    {mask_bit::no_pedestal, "NOPEDESTAL", "too few pixels to estimate the pedestal"},
    {mask_bit::hot_pixel, "HOTPIXEL", "pixel excluded by a mask file"},
    {mask_bit::edge, "EDGE", "near an edge"},
    {mask_bit::noisy_row, "NOISYROW", "row that scatters too much"},
    {mask_bit::bleed, "BLEED", "read after a bright pixel"},
    {mask_bit::serial_hit, "SERIALHIT", "charge that fell on the serial register"},
    {mask_bit::crowded, "CROWDED", "region crowded with small charges"},
    {mask_bit::crosstalk, "CROSSTALK", "another amplifier reads a bright pixel"},
    {mask_bit::cluster, "CLUSTER", "pixel of a cluster that has a label"},
    {mask_bit::halo, "HALO", "near a bright pixel or a cluster"},
}};

/// Pixels with one of these bits take no part in pedestals, noise estimates or clusters.
inline constexpr std::uint32_t unusable_bits = mask_bit::no_data | mask_bit::bad_column |
                                               mask_bit::bad_row | mask_bit::no_pedestal |
                                               mask_bit::hot_pixel;

}  // namespace skipstream
