#include "skipstream/io/tile_reader.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "skipstream/base/error.hpp"
#include "skipstream/kernels/rice.hpp"

namespace skipstream {

namespace {

constexpr std::int64_t max_tile_bytes = std::int64_t{1} << 28;  // of those decoded whole
constexpr std::int64_t max_tiles_across = 1024;
constexpr std::int64_t window_bytes = 1 << 15;
constexpr int n_random = 10000;

std::string_view text_of(const FitsHdu& hdu, std::string_view keyword) {
  for (const auto& card : hdu.cards) {
    if (card.keyword == keyword) return card.value;
  }
  return {};
}

/// The number of a keyword, which `scan_fits` has looked at; what is none counts as missing.
template <class Number>
std::optional<Number> number_of(const FitsHdu& hdu, std::string_view keyword) {
  std::string text(text_of(hdu, keyword));
  std::replace(text.begin(), text.end(), 'D', 'E');
  const char* begin = text.data() + (text.starts_with("+") ? 1 : 0);
  Number value = 0;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<std::int64_t> integer_of(const FitsHdu& hdu, std::string_view keyword) {
  return number_of<std::int64_t>(hdu, keyword);
}

template <class T>
T big_endian_at(const std::byte* from) {
  std::array<std::byte, sizeof(T)> bytes;
  std::memcpy(bytes.data(), from, sizeof(T));
  if constexpr (std::endian::native == std::endian::little) std::ranges::reverse(bytes);
  return std::bit_cast<T>(bytes);
}

template <class T>
void swap_all(std::byte* samples, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T value = big_endian_at<T>(samples + i * static_cast<std::int64_t>(sizeof(T)));
    std::memcpy(samples + i * static_cast<std::int64_t>(sizeof(T)), &value, sizeof value);
  }
}

/// From the byte order of FITS to the machine's.
void swap_samples(std::byte* samples, std::int64_t n, int n_bytes) {
  if constexpr (std::endian::native != std::endian::little) return;
  if (n_bytes == 2) swap_all<std::uint16_t>(samples, n);
  if (n_bytes == 4) swap_all<std::uint32_t>(samples, n);
  if (n_bytes == 8) swap_all<std::uint64_t>(samples, n);
}

/// The standard's table of random numbers (section 10.2): Park and Miller's generator from 1 on.
const std::array<float, n_random>& random_numbers() {
  static const auto numbers = [] {
    std::array<float, n_random> made{};
    double seed = 1;
    for (auto& number : made) {
      const double product = 16807.0 * seed;
      seed = product - 2147483647.0 * std::floor(product / 2147483647.0);
      number = static_cast<float>(seed / 2147483647.0);
    }
    return made;
  }();
  return numbers;
}

}  // namespace

bool TileReader::knows(const FitsHdu& hdu) {
  const auto& codec = hdu.compression;
  const bool known = codec == "RICE_1" || codec == "RICE_ONE" || codec == "GZIP_1" ||
                     codec == "GZIP_2" || codec == "NOCOMPRESS";
  if (!known || hdu.axes.empty() || hdu.axes.size() > 2) return false;
  if (hdu.axes[0] <= 0 || (hdu.axes.size() > 1 && hdu.axes[1] <= 0)) return false;
  const auto width = integer_of(hdu, "ZTILE1").value_or(hdu.axes[0]);
  const auto height = integer_of(hdu, "ZTILE2").value_or(1);
  if (width < 1 || height < 1) return false;
  const bool whole = codec.starts_with("GZIP") || codec == "NOCOMPRESS";
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(std::min(width, hdu.axes[0]), height, &bytes)) return false;
  if (whole && bytes > max_tile_bytes / 8) return false;
  return (hdu.axes[0] - 1) / width < max_tiles_across;
}

void TileReader::refuse(const std::string& what) const { throw FitsError(place_ + ": " + what); }

TileReader::TileReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape,
                       Inflate inflate)
    : source_(source),
      inflate_(std::move(inflate)),
      place_(place_of(source, hdu)),
      shape_(shape),
      format_(hdu.format),
      row_samples_(row_samples_of(hdu)),
      frame_rows_(rows_of(hdu)) {
  if (!knows(hdu)) refuse("tiles of " + hdu.compression + " of this shape are not known");
  const std::int64_t needed = shape.n_cols * shape.n_skips;
  if (shape.n_cols < 1 || shape.n_skips < 1 || shape.first_row < 0 || shape.first_sample < 0 ||
      needed > row_samples_ - shape.first_sample || shape.n_rows > frame_rows_ - shape.first_row) {
    refuse("the frame of " + std::to_string(row_samples_) + " x " + std::to_string(frame_rows_) +
           " samples does not hold the image");
  }
  tile_cols_ = std::min(integer_of(hdu, "ZTILE1").value_or(row_samples_), row_samples_);
  tile_rows_ = std::min(integer_of(hdu, "ZTILE2").value_or(1), frame_rows_);
  tiles_across_ = (row_samples_ - 1) / tile_cols_ + 1;  // without a sum that may overflow
  codec_ = hdu.compression.starts_with("RICE") ? Codec::rice
           : hdu.compression == "GZIP_1"       ? Codec::gzip1
           : hdu.compression == "GZIP_2"       ? Codec::gzip2
                                               : Codec::none;
  stored_bytes_ = hdu.format.n_bytes;
  read_columns(hdu);

  const std::string quantised(text_of(hdu, "ZQUANTIZ"));
  const bool is_floating = hdu.format.kind == SampleKind::floating;
  is_quantised_ = is_floating && quantised != "NONE" &&
                  (scale_column_.has_value() || !text_of(hdu, "ZSCALE").empty());
  if (is_floating && codec_ == Codec::rice && !is_quantised_) {
    refuse("RICE_1 holds integers; floating samples need ZSCALE and ZZERO");
  }
  code_bytes_ = is_quantised_ ? 4 : stored_bytes_;
  for (int i = 1; i <= 9; ++i) {
    const std::string name(text_of(hdu, "ZNAME" + std::to_string(i)));
    const auto value = integer_of(hdu, "ZVAL" + std::to_string(i));
    if (codec_ != Codec::rice || name.empty()) continue;
    if (name == "BLOCKSIZE") rice_block_ = value.value_or(0);
    if (name == "BYTEPIX")
      code_bytes_ = static_cast<int>(std::clamp<std::int64_t>(value.value_or(0), 0, 9));
  }
  if (codec_ == Codec::rice) {
    if (rice_block_ < 1 || rice_block_ > 1 << 20) refuse("BLOCKSIZE of RICE_1 must be 1 to 2^20");
    if (code_bytes_ != 4 && (is_quantised_ || (code_bytes_ != 1 && code_bytes_ != 2))) {
      refuse("BYTEPIX of RICE_1 must be 1, 2 or 4; and 4 for quantised samples");
    }
  }
  if (is_quantised_) {
    dither_ = quantised == "SUBTRACTIVE_DITHER_1"   ? Dither::subtractive1
              : quantised == "SUBTRACTIVE_DITHER_2" ? Dither::subtractive2
                                                    : Dither::no;
    dither_seed_ = integer_of(hdu, "ZDITHER0").value_or(1);
    if (dither_seed_ < 1 || dither_seed_ > n_random) refuse("ZDITHER0 must be 1 to 10000");
    blank_ = integer_of(hdu, "ZBLANK");
    scale_ = number_of<double>(hdu, "ZSCALE");
    zero_ = number_of<double>(hdu, "ZZERO");
  } else if (!is_floating) {
    format_.n_bytes = code_bytes_;
    format_.is_unsigned = code_bytes_ == 1;
    if (!format_.blank) format_.blank = integer_of(hdu, "ZBLANK");
  }
  format_.big_endian = std::endian::native == std::endian::big;
}

void TileReader::read_columns(const FitsHdu& hdu) {
  table_offset_ = hdu.data_offset;
  std::int64_t n_tiles = 0;
  if (__builtin_mul_overflow(tiles_across_, (frame_rows_ - 1) / tile_rows_ + 1, &n_tiles)) {
    refuse("the number of tiles exceeds 64 bits");
  }
  table_row_bytes_ = integer_of(hdu, "NAXIS1").value_or(0);
  const std::int64_t n_table_rows = integer_of(hdu, "NAXIS2").value_or(0);
  std::int64_t table_bytes = 0;
  if (__builtin_mul_overflow(table_row_bytes_, n_table_rows, &table_bytes)) {
    refuse("NAXIS1 x NAXIS2 of the table exceeds 64 bits");
  }
  const std::int64_t gap = integer_of(hdu, "THEAP").value_or(table_bytes);
  if (table_row_bytes_ < 1 || table_row_bytes_ > 65536) refuse("NAXIS1 of the table is not sound");
  if (gap < table_bytes || gap > hdu.data_bytes) refuse("THEAP is outside of the table's data");
  heap_offset_ = table_offset_ + gap;
  heap_bytes_ = hdu.data_bytes - gap;
  if (n_tiles != n_table_rows) {
    refuse("NAXIS2 = " + std::to_string(n_table_rows) + ", but the image has " +
           std::to_string(n_tiles) + " tiles");
  }

  const std::int64_t n_fields = integer_of(hdu, "TFIELDS").value_or(0);
  if (n_fields < 1 || n_fields > 999) refuse("TFIELDS must be 1 to 999");
  std::int64_t offset = 0;
  for (std::int64_t i = 1; i <= n_fields; ++i) {
    const std::string name(text_of(hdu, "TTYPE" + std::to_string(i)));
    const std::string_view form = text_of(hdu, "TFORM" + std::to_string(i));
    std::int64_t repeat = 1;
    const char* begin = form.data();
    const auto [type_at, error] = std::from_chars(begin, begin + form.size(), repeat);
    if (error != std::errc() && type_at != begin) refuse("TFORM" + std::to_string(i) + " is wrong");
    const char* type = error == std::errc() ? type_at : begin;
    if (type == begin + form.size() || repeat < 0 || repeat > 65536) {
      refuse("TFORM" + std::to_string(i) + " = '" + std::string(form) + "' is not a column format");
    }
    const Column column{offset, *type};
    constexpr std::string_view types = "LXBIJKAEDCMPQ";
    constexpr std::array<int, 13> sizes{1, 1, 1, 2, 4, 8, 1, 4, 8, 8, 16, 8, 16};
    const auto kind = types.find(*type);
    if (kind == std::string_view::npos) {
      refuse("TFORM" + std::to_string(i) + " = '" + std::string(form) + "' is not a column format");
    }
    offset += *type == 'X' ? (repeat + 7) / 8 : repeat * sizes[kind];
    const bool is_array = *type == 'P' || *type == 'Q';
    const auto keep = [&](std::optional<Column>& place, bool array) {
      if (is_array != array || repeat < 1)
        refuse("column " + name + " has format " + std::string(form));
      place = column;
    };
    if (name == "COMPRESSED_DATA") keep(compressed_, true);
    if (name == "GZIP_COMPRESSED_DATA") keep(gzipped_, true);
    if (name == "UNCOMPRESSED_DATA") keep(uncompressed_, true);
    if (name == "ZSCALE") keep(scale_column_, false);
    if (name == "ZZERO") keep(zero_column_, false);
    if (name == "ZBLANK") keep(blank_column_, false);
  }
  if (offset > table_row_bytes_) refuse("the columns are wider than NAXIS1 of the table");
  if (!compressed_) refuse("no column COMPRESSED_DATA");
}

double TileReader::value_of(const std::vector<std::byte>& row, const Column& column) const {
  const std::byte* at = row.data() + column.offset;
  switch (column.type) {
    case 'D':
      return big_endian_at<double>(at);
    case 'E':
      return static_cast<double>(big_endian_at<float>(at));
    case 'J':
      return static_cast<double>(big_endian_at<std::int32_t>(at));
    case 'I':
      return static_cast<double>(big_endian_at<std::int16_t>(at));
    case 'K':
      return static_cast<double>(big_endian_at<std::int64_t>(at));
    default:
      refuse("ZSCALE, ZZERO and ZBLANK must be numbers");
  }
}

std::pair<std::int64_t, std::int64_t> TileReader::heap_part(const std::vector<std::byte>& row,
                                                            const Column& column, int element_bytes,
                                                            std::int64_t tile) const {
  const std::byte* at = row.data() + column.offset;
  std::int64_t n = 0;
  std::int64_t offset = 0;
  if (column.type == 'P') {
    n = big_endian_at<std::int32_t>(at);
    offset = big_endian_at<std::uint32_t>(at + 4);
  } else {
    n = big_endian_at<std::int64_t>(at);
    offset = big_endian_at<std::int64_t>(at + 8);
  }
  if (n < 0 || offset < 0 || n > heap_bytes_ / element_bytes || offset > heap_bytes_ ||
      n * element_bytes > heap_bytes_ - offset) {
    refuse("tile " + std::to_string(tile + 1) + " lies outside of the table's heap");
  }
  return {n * element_bytes, heap_offset_ + offset};
}

/// One tile, from which samples are taken one after another.
class TileReader::Tile {
 public:
  explicit Tile(const TileReader& reader) : reader_(reader) {}

  void open(std::int64_t number, std::int64_t n_samples) {
    number_ = number;
    left_ = n_samples;
    decoded_at_ = 0;
    is_decoded_ = false;
    is_quantised_ = reader_.is_quantised_;
    row_.resize(static_cast<std::size_t>(reader_.table_row_bytes_));
    reader_.source_.read(reader_.table_offset_ + number * reader_.table_row_bytes_, row_);
    const auto [n_bytes, offset] = reader_.heap_part(row_, *reader_.compressed_, 1, number);
    if (n_bytes == 0) {
      open_uncompressed(n_samples);
      return;
    }
    if (is_quantised_) prepare_dither();
    if (reader_.codec_ == Codec::rice) {
      rice_ = {};
      next_ = offset;
      end_ = offset + n_bytes;
      window_size_ = 0;
      return;
    }
    decode_whole(n_bytes, offset, n_samples);
  }

  /// The next samples, in the machine's byte order.
  void take(std::byte* to, std::int64_t n) {
    if (n > left_) reader_.refuse("a tile is too short");
    left_ -= n;
    if (is_decoded_) {
      const auto size = static_cast<std::size_t>(n * coded_bytes());
      if (is_quantised_) {
        scale(reinterpret_cast<const std::int32_t*>(decoded_.data() + decoded_at_), to, n);
      } else {
        std::memcpy(to, decoded_.data() + decoded_at_, size);
      }
      decoded_at_ += size;
      return;
    }
    if (is_quantised_) {
      std::array<std::int32_t, 1024> codes;
      const std::int64_t size = reader_.format_.n_bytes;
      while (n > 0) {
        const std::int64_t m = std::min<std::int64_t>(n, codes.size());
        take_rice(codes.data(), m);
        scale(codes.data(), to, m);
        to += m * size;
        n -= m;
      }
    } else if (reader_.code_bytes_ == 1) {
      take_rice(reinterpret_cast<std::uint8_t*>(to), n);
    } else if (reader_.code_bytes_ == 2) {
      take_rice(reinterpret_cast<std::int16_t*>(to), n);
    } else {
      take_rice(reinterpret_cast<std::int32_t*>(to), n);
    }
    if (left_ == 0) check_rest();
  }

 private:
  [[nodiscard]] std::int64_t coded_bytes() const {
    return is_quantised_ ? 4 : reader_.format_.n_bytes;
  }
  [[noreturn]] void refuse_tile(const std::string& what) const {
    reader_.refuse("tile " + std::to_string(number_ + 1) + " " + what);
  }

  /// A tile that the writer could not compress, or not without loss.
  void open_uncompressed(std::int64_t n_samples) {
    is_quantised_ = false;
    const int size = reader_.stored_bytes_;
    const std::int64_t n_bytes = n_samples * size;
    if (n_bytes > max_tile_bytes) refuse_tile("is larger than 256 MiB");
    decoded_.resize(static_cast<std::size_t>(n_bytes));
    if (reader_.gzipped_) {
      const auto [n, offset] = reader_.heap_part(row_, *reader_.gzipped_, 1, number_);
      if (n > 0) {
        read_stream(n, offset);
        inflate();
        finish_stored(n_samples);
        return;
      }
    }
    if (reader_.uncompressed_) {
      const auto [n, offset] = reader_.heap_part(row_, *reader_.uncompressed_, size, number_);
      if (n > 0) {
        if (n != n_bytes) refuse_tile("has another number of samples");
        reader_.source_.read(offset, decoded_);
        finish_stored(n_samples);
        return;
      }
    }
    refuse_tile("holds nothing");
  }

  void finish_stored(std::int64_t n_samples) {
    if (reader_.format_.n_bytes != reader_.stored_bytes_) {
      refuse_tile("has samples of another width");
    }
    swap_samples(decoded_.data(), n_samples, reader_.stored_bytes_);
    is_decoded_ = true;
  }

  void read_stream(std::int64_t n_bytes, std::int64_t offset) {
    // What grows on compression is not worth it; no writer makes that, but for a few bytes.
    if (n_bytes > 2 * max_tile_bytes) refuse_tile("is larger than 512 MiB");
    stream_.resize(static_cast<std::size_t>(n_bytes));
    reader_.source_.read(offset, stream_);
  }

  void inflate() {
    try {
      reader_.inflate_(stream_, decoded_);
    } catch (const FitsError& error) {
      refuse_tile(error.what());
    }
  }

  void decode_whole(std::int64_t n_bytes, std::int64_t offset, std::int64_t n_samples) {
    const auto size = static_cast<int>(coded_bytes());
    decoded_.resize(static_cast<std::size_t>(n_samples * size));
    if (reader_.codec_ == Codec::none) {
      if (n_bytes != n_samples * size) refuse_tile("has another number of samples");
      reader_.source_.read(offset, decoded_);
    } else {
      read_stream(n_bytes, offset);
      inflate();
    }
    if (reader_.codec_ == Codec::gzip2 && size > 1) {
      // The first bytes of all samples, then the second ones, ...
      stream_.assign(decoded_.begin(), decoded_.end());
      const auto n = static_cast<std::size_t>(n_samples);
      const auto n_parts = static_cast<std::size_t>(size);
      for (std::size_t part = 0; part < n_parts; ++part) {
        for (std::size_t i = 0; i < n; ++i) decoded_[i * n_parts + part] = stream_[part * n + i];
      }
    }
    swap_samples(decoded_.data(), n_samples, size);
    is_decoded_ = true;
  }

  template <class Sample>
  void take_rice(Sample* to, std::int64_t n) {
    while (n > 0) {
      const bool is_last = next_ == end_;
      const std::int64_t done = kernels::rice_decode(window_.data(), window_size_, is_last,
                                                     reader_.rice_block_, rice_, to, n);
      if (done < 0) refuse_tile("is not RICE_1, or is cut off");
      to += done;
      n -= done;
      if (n == 0) break;
      refill();
    }
  }

  /// A tile that has samples for less than its bytes was damaged; a writer may fill up a word.
  void check_rest() const {
    const std::int64_t read = next_ - window_size_ + (rice_.bit + 7) / 8;
    if (end_ - read >= 8) refuse_tile("has more bytes than its samples need");
  }

  void refill() {
    const std::int64_t kept_from = std::min(rice_.bit / 8, window_size_);
    const std::int64_t kept = window_size_ - kept_from;
    std::memmove(window_.data(), window_.data() + kept_from, static_cast<std::size_t>(kept));
    rice_.bit -= 8 * kept_from;
    // More than nothing: what is kept is within the margin, and the last window is read to its end.
    const std::int64_t n = std::min(window_bytes - kept, end_ - next_);
    reader_.source_.read(next_, {window_.data() + kept, static_cast<std::size_t>(n)});
    next_ += n;
    window_size_ = kept + n;
    std::memset(window_.data() + window_size_, 0, kernels::rice_margin);
  }

  void prepare_dither() {
    scale_ = reader_.scale_column_ ? reader_.value_of(row_, *reader_.scale_column_)
                                   : reader_.scale_.value_or(1.0);
    zero_ = reader_.zero_column_ ? reader_.value_of(row_, *reader_.zero_column_)
                                 : reader_.zero_.value_or(0.0);
    has_blank_ = reader_.blank_column_ || reader_.blank_;
    blank_ = reader_.blank_column_
                 ? static_cast<std::int64_t>(reader_.value_of(row_, *reader_.blank_column_))
                 : reader_.blank_.value_or(0);
    row_of_random_ = static_cast<int>((number_ + reader_.dither_seed_ - 1) % n_random);
    next_random_ = first_random();
  }
  [[nodiscard]] int first_random() const {
    return static_cast<int>(random_numbers()[static_cast<std::size_t>(row_of_random_)] * 500);
  }

  void scale(const std::int32_t* codes, std::byte* to, std::int64_t n) {
    if (reader_.format_.n_bytes == 4) {
      scale_to<float>(codes, to, n);
    } else {
      scale_to<double>(codes, to, n);
    }
  }

  template <class Real>
  void scale_to(const std::int32_t* codes, std::byte* to, std::int64_t n) {
    const auto& numbers = random_numbers();
    constexpr std::int32_t exact_zero = -2147483646;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int32_t code = codes[i];
      Real value;
      if (has_blank_ && code == blank_) {
        value = std::numeric_limits<Real>::quiet_NaN();
      } else if (reader_.dither_ == Dither::no) {
        value = static_cast<Real>(code * scale_ + zero_);
      } else if (reader_.dither_ == Dither::subtractive2 && code == exact_zero) {
        value = 0;
      } else {
        const double random = static_cast<double>(numbers[static_cast<std::size_t>(next_random_)]);
        value = static_cast<Real>((static_cast<double>(code) - random + 0.5) * scale_ + zero_);
      }
      if (reader_.dither_ != Dither::no && ++next_random_ == n_random) {
        if (++row_of_random_ == n_random) row_of_random_ = 0;
        next_random_ = first_random();
      }
      std::memcpy(to + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
    }
  }

  const TileReader& reader_;
  std::int64_t number_ = 0;
  std::int64_t left_ = 0;
  std::vector<std::byte> row_;

  bool is_decoded_ = false;
  bool is_quantised_ = false;
  std::vector<std::byte> stream_;
  std::vector<std::byte> decoded_;
  std::size_t decoded_at_ = 0;

  kernels::RiceState rice_;
  std::int64_t next_ = 0;  ///< of the file, behind the window
  std::int64_t end_ = 0;
  std::int64_t window_size_ = 0;
  std::vector<std::byte> window_ = std::vector<std::byte>(window_bytes + kernels::rice_margin);

  double scale_ = 1;
  double zero_ = 0;
  bool has_blank_ = false;
  std::int64_t blank_ = 0;
  int row_of_random_ = 0;
  int next_random_ = 0;
};

/// Goes along the rows of the frame, through all tiles that they pass.
class TileReader::Cursor : public SampleCursor {
 public:
  explicit Cursor(const TileReader& reader) : reader_(reader) {
    const auto n = static_cast<std::size_t>(reader.tiles_across_);
    for (std::size_t i = 0; i < n; ++i) tiles_.emplace_back(reader);
  }

  void seek(std::int64_t first_pixel) override {
    pixel_ = first_pixel;
    row_ = -1;
    is_open_ = false;
  }

  const std::byte* next(std::int64_t n_pixels, std::byte* scratch) override {
    const SampleShape& shape = reader_.shape_;
    const std::int64_t n_bytes = reader_.format_.n_bytes;
    std::byte* to = scratch;
    while (n_pixels > 0) {
      const std::int64_t row = shape.first_row + pixel_ / shape.n_cols;
      const std::int64_t col = pixel_ % shape.n_cols;
      const std::int64_t n = std::min(n_pixels, shape.n_cols - col);
      const std::int64_t n_samples = n * shape.n_skips;
      if (shape.is_reversed) {
        if (row != row_) {
          reversed_.resize(static_cast<std::size_t>(shape.n_cols * shape.n_skips * n_bytes));
          go_to(row, shape.first_sample);
          take(reversed_.data(), shape.n_cols * shape.n_skips);
          reverse_samples(reversed_.data(), shape.n_cols * shape.n_skips,
                          static_cast<int>(n_bytes));
        }
        std::memcpy(to, reversed_.data() + col * shape.n_skips * n_bytes,
                    static_cast<std::size_t>(n_samples * n_bytes));
      } else {
        go_to(row, shape.first_sample + col * shape.n_skips);
        take(to, n_samples);
      }
      to += n_samples * n_bytes;
      pixel_ += n;
      n_pixels -= n;
    }
    return scratch;
  }

 private:
  /// Passes over samples up to a place in the frame.
  void go_to(std::int64_t row, std::int64_t sample) {
    if (!is_open_) {
      row_ = row / reader_.tile_rows_ * reader_.tile_rows_;
      open_band();
    }
    while (row_ < row) {
      skip(reader_.row_samples_ - sample_);
      begin_row(row_ + 1);
    }
    skip(sample - sample_);
  }

  void open_band() {
    is_open_ = true;
    const std::int64_t band = row_ / reader_.tile_rows_;
    const std::int64_t rows = std::min(reader_.tile_rows_, reader_.frame_rows_ - row_);
    for (std::int64_t t = 0; t < reader_.tiles_across_; ++t) {
      tiles_[static_cast<std::size_t>(t)].open(band * reader_.tiles_across_ + t,
                                               rows * tile_width(t));
    }
    sample_ = 0;
  }

  void begin_row(std::int64_t row) {
    row_ = row;
    sample_ = 0;
    if (row % reader_.tile_rows_ == 0 && row < reader_.frame_rows_) open_band();
  }

  [[nodiscard]] std::int64_t tile_width(std::int64_t t) const {
    return std::min(reader_.tile_cols_, reader_.row_samples_ - t * reader_.tile_cols_);
  }

  void skip(std::int64_t n) {
    constexpr std::int64_t part = 2048;
    std::array<std::byte, part * 8> unused;
    for (; n > 0; n -= part) take(unused.data(), std::min(n, part));
  }

  /// Samples of the current row.
  void take(std::byte* to, std::int64_t n) {
    while (n > 0) {
      const std::int64_t t = sample_ / reader_.tile_cols_;
      const std::int64_t m = std::min(n, t * reader_.tile_cols_ + tile_width(t) - sample_);
      tiles_[static_cast<std::size_t>(t)].take(to, m);
      to += m * reader_.format_.n_bytes;
      sample_ += m;
      n -= m;
    }
  }

  const TileReader& reader_;
  std::vector<Tile> tiles_;
  std::int64_t pixel_ = 0;
  std::int64_t row_ = -1;
  std::int64_t sample_ = 0;
  bool is_open_ = false;
  std::vector<std::byte> reversed_;
};

std::int64_t TileReader::complete_rows(std::int64_t bytes_there) const {
  const std::int64_t n_bands = (frame_rows_ - 1) / tile_rows_ + 1;
  std::vector<std::byte> row(static_cast<std::size_t>(table_row_bytes_));
  for (std::int64_t tile = 0; tile < n_bands * tiles_across_; ++tile) {
    bool is_there = (tile + 1) * table_row_bytes_ <= bytes_there;
    if (is_there) {
      source_.read(table_offset_ + tile * table_row_bytes_, row);
      const std::array<std::pair<const std::optional<Column>&, int>, 3> columns{
          {{compressed_, 1}, {gzipped_, 1}, {uncompressed_, stored_bytes_}}};
      for (const auto& [column, size] : columns) {
        if (!column) continue;
        const auto [n_bytes, offset] = heap_part(row, *column, size, tile);
        is_there &= offset + n_bytes - table_offset_ <= bytes_there;
      }
    }
    if (!is_there) return std::min(tile / tiles_across_ * tile_rows_, frame_rows_);
  }
  return frame_rows_;
}

std::int64_t TileReader::piece_pixels() const {
  // Where the image begins within a band of tiles, its pieces do not begin with a band.
  if (shape_.first_row % tile_rows_ != 0) {
    return std::max<std::int64_t>(1, shape_.n_rows * shape_.n_cols);
  }
  return std::min(tile_rows_, std::max<std::int64_t>(1, shape_.n_rows)) * shape_.n_cols;
}

bool TileReader::has_whole_tiles() const {
  if (codec_ != Codec::rice) return true;
  if ((!gzipped_ && !uncompressed_) || shape_.n_rows <= 0) return false;
  std::vector<std::byte> row(static_cast<std::size_t>(table_row_bytes_));
  const std::int64_t last_row = shape_.first_row + shape_.n_rows - 1;
  const std::int64_t end = (last_row / tile_rows_ + 1) * tiles_across_;
  for (auto tile = shape_.first_row / tile_rows_ * tiles_across_; tile < end; ++tile) {
    source_.read(table_offset_ + tile * table_row_bytes_, row);
    if (heap_part(row, *compressed_, 1, tile).first == 0) return true;
  }
  return false;
}

std::int64_t TileReader::cursor_bytes() const {
  std::int64_t bytes = tiles_across_ * (window_bytes + kernels::rice_margin + table_row_bytes_ +
                                        static_cast<std::int64_t>(sizeof(Tile)));
  if (has_whole_tiles()) {
    const std::int64_t size = tile_rows_ * std::max({code_bytes_, stored_bytes_, format_.n_bytes});
    bytes += row_samples_ * size;
    if (codec_ == Codec::gzip1 || codec_ == Codec::gzip2 || gzipped_) {
      // The streams, which no writer keeps where they are longer than their samples; and what
      // zlib's caller holds of one tile: parts, then the whole.
      bytes += row_samples_ * size + 2 * tile_cols_ * size;
    }
  }
  if (shape_.is_reversed) bytes += shape_.n_cols * shape_.n_skips * format_.n_bytes;
  return bytes;
}

std::unique_ptr<SampleCursor> TileReader::cursor() const { return std::make_unique<Cursor>(*this); }

}  // namespace skipstream
