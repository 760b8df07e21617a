#include "skipstream/pipeline/sample_records.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace skipstream {

namespace {

// What is below and above has cells, too, and what is left out.
constexpr std::int64_t n_cells = SampleRecords::n_bins + 3;
constexpr std::int64_t last_cell = n_cells - 2;
constexpr std::int64_t left_out = n_cells - 1;
constexpr std::size_t alignment = 64;  // of scratch
constexpr std::size_t group = 32;      // histograms whose cells lie side by side

template <class T, bool swapped>
T load(const std::byte* from) {
  std::make_unsigned_t<T> bits{};
  std::memcpy(&bits, from, sizeof(bits));
  if constexpr (swapped) {
    std::make_unsigned_t<T> turned{};
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      turned = static_cast<std::make_unsigned_t<T>>((turned << 8U) | (bits & 0xffU));
      bits = static_cast<std::make_unsigned_t<T>>(bits >> 8U);
    }
    bits = turned;
  }
  return static_cast<T>(bits);
}

/// Calls `function.template operator()<T, swapped>()` for the type of the samples.
template <class Function>
auto with_type(const SampleFormat& format, const Function& function) {
  const bool swapped =
      format.n_bytes > 1 && format.big_endian != (std::endian::native == std::endian::big);
  const auto with_order = [&]<class T>() {
    return swapped ? function.template operator()<T, true>()
                   : function.template operator()<T, false>();
  };
  switch (format.n_bytes) {
    case 1:
      return format.is_unsigned ? with_order.template operator()<std::uint8_t>()
                                : with_order.template operator()<std::int8_t>();
    case 2:
      return format.is_unsigned ? with_order.template operator()<std::uint16_t>()
                                : with_order.template operator()<std::int16_t>();
    case 4:
      return format.is_unsigned ? with_order.template operator()<std::uint32_t>()
                                : with_order.template operator()<std::int32_t>();
    default:
      return with_order.template operator()<std::int64_t>();
  }
}

}  // namespace

void SampleRecords::begin(const ImageInfo& image, std::int64_t n_histograms,
                          std::size_t n_threads) {
  image_ = image;
  pixel_bytes_ = image.n_skips * image.format.n_bytes;
  rooms_.resize(n_threads);
  firsts_.resize(static_cast<std::size_t>(n_histograms));
  if (firsts_.empty()) return;
  const std::size_t n_groups = (firsts_.size() + group - 1) / group;
  counts_of_thread_ = n_groups * group * static_cast<std::size_t>(n_cells);
  counts_.assign(n_threads * counts_of_thread_, 0);
}

void SampleRecords::keep(const KeptRegion& region) {
  Kept kept{.region = region, .samples = {}, .reduction = nullptr, .values = {}, .n_pixels = 0};
  const std::int64_t width = region.end_col - region.begin_col;
  kept.n_pixels = n_kept_rows(region) * width;
  there_.resize(static_cast<std::size_t>(image_.n_rows));
  if (region.statistics.empty()) {
    kept.samples.resize(static_cast<std::size_t>(kept.n_pixels * pixel_bytes_));
  } else {
    CompressSkips::Config config;
    config.statistics = region.statistics;
    kept.reduction = std::make_unique<CompressSkips>(config);
    kept.reduction->begin(image_);
    kept.values.resize(static_cast<std::size_t>(kept.n_pixels) * region.statistics.size());
    for (auto& room : rooms_) {
      const auto n_bytes = static_cast<std::size_t>(kept.reduction->scratch_bytes());
      room.scratch.resize(std::max(room.scratch.size(), n_bytes + alignment));
      room.planes.resize(std::max(room.planes.size(), region.statistics.size()));
      room.mask.resize(std::max(room.mask.size(), static_cast<std::size_t>(width)));
    }
  }
  kept_.push_back(std::move(kept));
}

std::int64_t SampleRecords::bytes() const {
  std::size_t total = there_.size();
  for (const auto& kept : kept_) total += kept.samples.size() + kept.values.size() * sizeof(double);
  for (const auto& room : rooms_) {
    total += room.scratch.size() + room.planes.size() * sizeof(double*) +
             room.mask.size() * sizeof(std::uint32_t);
  }
  total += counts_.size() * sizeof(std::uint32_t);
  return static_cast<std::int64_t>(total);
}

std::int64_t SampleRecords::stored(const std::byte* sample) const {
  return with_type(image_.format, [&]<class T, bool swapped>() {
    return static_cast<std::int64_t>(load<T, swapped>(sample));
  });
}

void SampleRecords::see_first_pixel(const std::byte* samples) {
  // Neither the bins nor the cells beside them leave the 64-bit integers.
  using Limits = std::numeric_limits<std::int64_t>;
  constexpr std::int64_t least = Limits::min() + n_bins / 2 + 1;
  constexpr std::int64_t most = Limits::max() - n_bins;
  for (auto& first : firsts_) {
    first = std::clamp(stored(samples), least, most) - n_bins / 2;
    samples += image_.format.n_bytes;
  }
}

template <class T, bool swapped>
void SampleRecords::count(const std::byte* samples, std::int64_t n_pixels, std::size_t thread) {
  // In the type of the samples, of which a vector holds most. Cells are fewer than 2^16.
  using Stored = std::conditional_t<sizeof(T) == 1, std::int16_t, T>;
  using Number = std::make_unsigned_t<Stored>;
  using Limits = std::numeric_limits<Stored>;
  const auto blank = static_cast<Stored>(image_.format.blank.value_or(0));
  const bool has_blank = image_.format.blank == std::int64_t{blank};
  const auto within = [](std::int64_t number) {
    return static_cast<Stored>(
        std::clamp(number, std::int64_t{Limits::min()}, std::int64_t{Limits::max()}));
  };
  for (std::size_t begin = 0; begin < firsts_.size(); begin += group) {
    const std::size_t n = std::min(group, firsts_.size() - begin);
    std::array<Stored, group> low{};
    std::array<Stored, group> high{};
    std::array<Number, group> zero{};  // number of cell 0, modulo what the type holds
    for (std::size_t h = 0; h < n; ++h) {
      const std::int64_t first = firsts_[begin + h] - 1;
      low[h] = within(first);
      high[h] = within(first + last_cell);
      zero[h] = static_cast<Number>(first);
    }
    std::uint32_t* counts =
        counts_.data() + thread * counts_of_thread_ + begin * static_cast<std::size_t>(n_cells);
    const std::byte* from = samples + begin * sizeof(T);
    // First where all of a pixel go, a loop without a branch; then they are counted. Where a pixel
    // has samples for a whole group all are counted, wanted or not: their number is a constant.
    const auto count_group = [&](auto n_here, auto may_be_blank) {
      for (std::int64_t i = 0; i < n_pixels; ++i, from += pixel_bytes_) {
        std::array<Number, group> cells;
        for (std::size_t h = 0; h < n_here; ++h) {
          const auto value = static_cast<Stored>(load<T, swapped>(from + h * sizeof(T)));
          const Stored seen = std::min(std::max(value, low[h]), high[h]);
          const auto cell = static_cast<Number>(static_cast<Number>(seen) - zero[h]);
          cells[h] = may_be_blank && value == blank ? static_cast<Number>(left_out) : cell;
        }
        for (std::size_t h = 0; h < n_here; ++h) {
          ++counts[static_cast<std::size_t>(cells[h]) * group + h];
        }
      }
    };
    if (has_blank || static_cast<std::int64_t>(begin + group) > image_.n_skips) {
      count_group(n, has_blank);
    } else {
      count_group(std::integral_constant<std::size_t, group>{}, std::false_type{});
    }
  }
}

void SampleRecords::see_rows(std::int64_t first_row, std::int64_t n_rows) {
  if (kept_.empty()) return;
  std::fill_n(there_.begin() + first_row, n_rows, std::uint8_t{1});
}

void SampleRecords::finish() {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t k = 0; k < kept_.size(); ++k) {
    Kept& kept = kept_[k];
    const std::int64_t width = kept.region.end_col - kept.region.begin_col;
    for (std::int64_t row = 0; row < n_kept_rows(k); ++row) {
      if (is_there(k, row)) continue;
      if (kept.reduction == nullptr) {
        std::fill_n(kept.samples.begin() + row * width * pixel_bytes_, width * pixel_bytes_,
                    std::byte{0});
      }
      for (std::size_t s = 0; s < kept.region.statistics.size(); ++s) {
        const std::int64_t first = static_cast<std::int64_t>(s) * kept.n_pixels + row * width;
        std::fill_n(kept.values.begin() + first, width, nan);
      }
    }
  }
}

/// Pixels side by side, of which the first is number `at` of those that are kept.
void SampleRecords::keep_pixels(Kept& kept, const std::byte* samples, std::int64_t at,
                                std::int64_t n_pixels, std::size_t thread) {
  if (kept.reduction == nullptr) {
    std::memcpy(kept.samples.data() + at * pixel_bytes_, samples,
                static_cast<std::size_t>(n_pixels * pixel_bytes_));
    return;
  }
  Room& room = rooms_[thread];
  for (std::size_t s = 0; s < kept.region.statistics.size(); ++s) {
    room.planes[s] = kept.values.data() + static_cast<std::int64_t>(s) * kept.n_pixels + at;
  }
  std::byte* scratch = room.scratch.data();
  scratch += (alignment - reinterpret_cast<std::uintptr_t>(scratch) % alignment) % alignment;
  std::uint32_t* mask = kept.reduction->takes_parts() ? nullptr : room.mask.data();
  kept.reduction->reduce(samples, n_pixels, room.planes.data(), mask, scratch);
}

void SampleRecords::record(const std::byte* samples, std::int64_t first_pixel,
                           std::int64_t n_pixels, std::size_t thread) {
  const std::int64_t n_cols = image_.n_cols;
  for (auto& kept : kept_) {
    const KeptRegion& region = kept.region;
    const std::int64_t width = region.end_col - region.begin_col;
    for (auto row = first_pixel / n_cols; row * n_cols < first_pixel + n_pixels; ++row) {
      if (row % region.row_step != 0) continue;
      const std::int64_t begin = std::max(first_pixel, row * n_cols + region.begin_col);
      const std::int64_t end = std::min(first_pixel + n_pixels, row * n_cols + region.end_col);
      if (begin >= end) continue;
      const std::int64_t at =
          row / region.row_step * width + begin - row * n_cols - region.begin_col;
      keep_pixels(kept, samples + (begin - first_pixel) * pixel_bytes_, at, end - begin, thread);
    }
  }
  if (firsts_.empty()) return;
  with_type(image_.format,
            [&]<class T, bool swapped>() { count<T, swapped>(samples, n_pixels, thread); });
}

SampleHistograms SampleRecords::histograms() const {
  SampleHistograms all;
  const std::size_t n = firsts_.size();
  // `counts` is the first of a thread.
  const auto cells_of = [this](std::size_t counts, std::size_t begin, std::int64_t cell) {
    const std::size_t at = counts + begin * static_cast<std::size_t>(n_cells);
    return std::span(counts_).subspan(at + static_cast<std::size_t>(cell) * group, group);
  };
  std::int64_t low = last_cell;
  std::int64_t high = 0;
  for (std::size_t counts = 0; counts < counts_.size(); counts += counts_of_thread_) {
    for (std::size_t begin = 0; begin < n; begin += group) {
      for (std::int64_t cell = 1; cell < last_cell; ++cell) {
        std::uint32_t any = 0;
        for (const std::uint32_t count : cells_of(counts, begin, cell)) any |= count;
        if (any == 0) continue;
        low = std::min(low, cell);
        high = std::max(high, cell + 1);
      }
    }
  }
  all.n_bins = std::max<std::int64_t>(0, high - low);
  all.counts.resize(n * static_cast<std::size_t>(all.n_bins));
  all.n_below.resize(n);
  all.n_above.resize(n);
  for (const std::int64_t first : firsts_) all.firsts.push_back(first + low - 1);
  for (std::size_t counts = 0; counts < counts_.size(); counts += counts_of_thread_) {
    for (std::size_t begin = 0; begin < n; begin += group) {
      for (std::size_t h = begin; h < std::min(n, begin + group); ++h) {
        all.n_below[h] += cells_of(counts, begin, 0)[h - begin];
        all.n_above[h] += cells_of(counts, begin, last_cell)[h - begin];
      }
      for (std::int64_t bin = 0; bin < all.n_bins; ++bin) {
        const auto cells = cells_of(counts, begin, low + bin);
        for (std::size_t h = begin; h < std::min(n, begin + group); ++h) {
          all.counts[h * static_cast<std::size_t>(all.n_bins) + static_cast<std::size_t>(bin)] +=
              cells[h - begin];
        }
      }
    }
  }
  return all;
}

}  // namespace skipstream
