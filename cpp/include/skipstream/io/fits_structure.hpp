#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "skipstream/base/sample.hpp"
#include "skipstream/io/byte_source.hpp"

namespace skipstream {

/// One header card; `value` is the text of the value, strings without their quotes.
struct FitsCard {
  std::string keyword;
  std::string value;
  std::string comment;
  bool is_string = false;
};

/// One header and data unit, as its structural keywords state it.
struct FitsHdu {
  int index = 0;
  std::string kind;  ///< "primary", "image", "bintable", "table" or "other"
  std::string name;  ///< EXTNAME, or ""
  SampleFormat format;
  std::vector<std::int64_t> axes;  ///< NAXIS1, ...; of the image also where it is tile-compressed
  std::int64_t header_offset = 0;
  std::int64_t data_offset = 0;
  std::int64_t data_bytes = 0;   ///< without the padding to 2880
  std::int64_t bytes_there = 0;  ///< less than data_bytes where the file is cut off
  std::string compression;       ///< ZCMPTYPE, or ""
  std::vector<FitsCard> cards;   ///< in the order of the file, END left out
  std::vector<std::string> raw_cards;
};

/// Reads the structure of a FITS file and none of its data.
///
/// Only structural, scaling and tile-compression keywords are interpreted; their values must follow
/// the grammar of the FITS standard 4.0. What the standard forbids is refused: FitsError names the
/// file, the HDU and the keyword. Every length is checked before anything is allocated for it.
/// Behind the last HDU only zeros or blanks are accepted.
///
/// A file that ends too early is refused, too; unless `cut` is given, which then says what is
/// missing, and the HDUs are those whose headers are whole.
std::vector<FitsHdu> scan_fits(const ByteSource& source, std::string* cut = nullptr);

}  // namespace skipstream
