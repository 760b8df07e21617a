#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "skipstream/base/source.hpp"
#include "skipstream/io/sample_reader.hpp"

namespace skipstream {

/// Fills all of `output` from a gzip or zlib stream. Throws FitsError when the stream is damaged or
/// has another length. Called from several threads at once.
using Inflate = std::function<void(std::span<const std::byte> stream, std::span<std::byte> output)>;

/// The samples of a tile-compressed image (FITS standard 4.0, section 10): RICE_1, GZIP_1, GZIP_2
/// and NOCOMPRESS, integers and quantised floats. Tiles are decoded as the samples are asked for:
/// nothing holds more than a tile of the gzip kinds, or a window of one of the others.
///
/// Samples come out in the machine's byte order; quantised ones as floats.
class TileReader : public SampleSource {
 public:
  /// Whether this reader knows the image's compression and shape.
  static bool knows(const FitsHdu& hdu);

  /// `source` must outlive the reader. Throws FitsError where the table is malformed, or the shape
  /// does not fit.
  TileReader(const ByteSource& source, const FitsHdu& hdu, const SampleShape& shape,
             Inflate inflate);

  /// Rows of the frame whose tiles are all within the first `bytes_there` of the data unit.
  [[nodiscard]] std::int64_t complete_rows(std::int64_t bytes_there) const;

  [[nodiscard]] std::int64_t piece_pixels() const override;
  /// Reads the descriptors of the tiles, where some may be stored in another way than the others.
  [[nodiscard]] std::int64_t cursor_bytes() const override;
  [[nodiscard]] std::unique_ptr<SampleCursor> cursor() const override;
  [[nodiscard]] const SampleFormat& format() const { return format_; }

 private:
  class Cursor;
  class Tile;

  enum class Codec : std::uint8_t { rice, gzip1, gzip2, none };
  enum class Dither : std::uint8_t { no, subtractive1, subtractive2 };

  /// A column of the table, by its place in a row.
  struct Column {
    std::int64_t offset = 0;
    char type = ' ';  ///< P, Q: a descriptor; else that of a single value
  };

  [[noreturn]] void refuse(const std::string& what) const;
  [[nodiscard]] double value_of(const std::vector<std::byte>& row, const Column& column) const;
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> heap_part(const std::vector<std::byte>& row,
                                                                const Column& column,
                                                                int element_bytes,
                                                                std::int64_t tile) const;
  void read_columns(const FitsHdu& hdu);
  /// Whether a tile of the image is decoded as a whole, not through a window.
  [[nodiscard]] bool has_whole_tiles() const;

  const ByteSource& source_;
  const Inflate inflate_;
  std::string place_;
  SampleShape shape_;
  SampleFormat format_;  ///< of what comes out
  Codec codec_ = Codec::rice;
  Dither dither_ = Dither::no;
  bool is_quantised_ = false;
  int code_bytes_ = 4;    ///< of a coded integer
  int stored_bytes_ = 4;  ///< of a value of the uncompressed image
  std::int64_t rice_block_ = 32;
  std::int64_t dither_seed_ = 1;
  std::optional<std::int64_t> blank_;  ///< ZBLANK of quantised samples
  std::optional<double> scale_;
  std::optional<double> zero_;

  std::int64_t row_samples_ = 0;
  std::int64_t frame_rows_ = 0;
  std::int64_t tile_cols_ = 0;  ///< in samples
  std::int64_t tile_rows_ = 0;
  std::int64_t tiles_across_ = 0;

  std::int64_t table_offset_ = 0;
  std::int64_t table_row_bytes_ = 0;
  std::int64_t heap_offset_ = 0;
  std::int64_t heap_bytes_ = 0;
  std::optional<Column> compressed_;
  std::optional<Column> gzipped_;
  std::optional<Column> uncompressed_;
  std::optional<Column> scale_column_;
  std::optional<Column> zero_column_;
  std::optional<Column> blank_column_;
};

}  // namespace skipstream
