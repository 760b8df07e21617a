#include "skipstream/io/fits_structure.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "skipstream/base/error.hpp"

namespace skipstream {

namespace {

constexpr std::int64_t block_bytes = fits_block_bytes;
constexpr std::size_t card_bytes = 80;
constexpr int max_hdus = 4096;
constexpr int max_header_blocks = 1000;  // 36,000 cards
constexpr std::int64_t max_axes = 999;

/// The header of one HDU while it is interpreted: cards by keyword, and errors that say where.
class Header {
 public:
  Header(std::string place, std::vector<FitsCard>& cards)
      : place_(std::move(place)), cards_(cards) {}

  [[noreturn]] void refuse(const std::string& what) const { throw FitsError(place_ + ": " + what); }

  /// The only card of that keyword; repeated cards must say the same.
  [[nodiscard]] const FitsCard* find(std::string_view keyword) const {
    const FitsCard* found = nullptr;
    for (const auto& card : cards_) {
      if (card.keyword != keyword) continue;
      if (found != nullptr && found->value != card.value) {
        refuse(std::string(keyword) + " stands twice, as " + found->value + " and as " +
               card.value);
      }
      if (found == nullptr) found = &card;
    }
    return found;
  }

  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view keyword) const {
    const auto* card = find(keyword);
    if (card == nullptr) return std::nullopt;
    std::string_view text = card->value;
    if (!text.empty() && text.front() == '+') text.remove_prefix(1);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool signs = card->value.starts_with("+-");
    if (card->is_string || text.empty() || signs || error != std::errc() ||
        end != text.data() + text.size()) {
      refuse(std::string(keyword) + " = " + shown(*card) + " is not an integer of 64 bits");
    }
    return value;
  }

  [[nodiscard]] std::int64_t required(std::string_view keyword, std::int64_t minimum,
                                      std::int64_t maximum) const {
    const auto value = integer(keyword);
    if (!value) refuse("no keyword " + std::string(keyword));
    if (*value < minimum || *value > maximum) {
      refuse(std::string(keyword) + " = " + std::to_string(*value) + " must be " +
             std::to_string(minimum) + " to " + std::to_string(maximum));
    }
    return *value;
  }

  [[nodiscard]] std::optional<double> real(std::string_view keyword) const {
    const auto* card = find(keyword);
    if (card == nullptr) return std::nullopt;
    std::string text = card->value;
    std::replace(text.begin(), text.end(), 'D', 'E');
    const char* begin = text.data() + (text.starts_with("+") ? 1 : 0);
    double value = 0;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
    const bool digits = text.find_first_not_of("+-0123456789.E") == std::string::npos;
    const bool signs = text.starts_with("+-");
    if (card->is_string || text.empty() || signs || !digits || error != std::errc() ||
        end != text.data() + text.size()) {
      refuse(std::string(keyword) + " = " + shown(*card) + " is not a finite number");
    }
    return value;
  }

  [[nodiscard]] bool logical(std::string_view keyword) const {
    const auto* card = find(keyword);
    if (card == nullptr) return false;
    if (card->is_string || (card->value != "T" && card->value != "F")) {
      refuse(std::string(keyword) + " = " + shown(*card) + " is neither T nor F");
    }
    return card->value == "T";
  }

  [[nodiscard]] std::string string(std::string_view keyword) const {
    const auto* card = find(keyword);
    if (card == nullptr) return "";
    if (!card->is_string) refuse(std::string(keyword) + " = " + shown(*card) + " is not a string");
    return card->value;
  }

 private:
  static std::string shown(const FitsCard& card) {
    return card.is_string ? "'" + card.value + "'" : card.value.empty() ? "(nothing)" : card.value;
  }

  std::string place_;
  const std::vector<FitsCard>& cards_;
};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// Splits an 80-character card. Throws FitsError beginning with `place`.
FitsCard parse_card(std::string_view raw, const std::string& place) {
  const auto refuse = [&](const std::string& what) { throw FitsError(place + ": " + what); };
  for (const char c : raw) {
    if (c < ' ' || c > '~') refuse("a byte outside printable ASCII");
  }
  FitsCard card;
  const std::string_view keyword = raw.substr(0, 8);
  card.keyword = std::string(trimmed(keyword));
  if (keyword.find_first_not_of(' ') > 0 && !card.keyword.empty()) {
    refuse("keyword \"" + std::string(keyword) + "\" does not begin in column 1");
  }
  if (card.keyword.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
      std::string::npos) {
    refuse("keyword \"" + card.keyword + "\" has a character other than A-Z, 0-9, - and _");
  }
  std::size_t value_at = 10;
  if (const auto equals = raw.find('=', 9);
      card.keyword == "HIERARCH" && raw[8] == ' ' && equals != std::string_view::npos) {
    // The convention of ESO for long keywords. One that could be a keyword by itself stays hidden:
    // it must not take the place of such a card.
    const std::string_view name = trimmed(raw.substr(8, equals - 8));
    if (name.size() > 8 || name.find(' ') != std::string_view::npos) {
      card.keyword = std::string(name);
      value_at = equals + 1;
    }
  }
  if ((value_at == 10 && raw.substr(8, 2) != "= ") || card.keyword == "COMMENT" ||
      card.keyword == "HISTORY" || card.keyword.empty()) {
    card.comment = std::string(
        raw.substr(8, raw.find_last_not_of(' ') + 1 > 8 ? raw.find_last_not_of(' ') - 7 : 0));
    return card;
  }
  std::string_view rest = trimmed(raw.substr(value_at));
  if (rest.starts_with('\'')) {
    card.is_string = true;
    std::size_t i = 1;
    for (;; ++i) {
      if (i >= rest.size()) refuse(card.keyword + ": the string has no closing quote");
      if (rest[i] != '\'') {
        card.value += rest[i];
      } else if (i + 1 < rest.size() && rest[i + 1] == '\'') {
        card.value += '\'';
        ++i;
      } else {
        break;
      }
    }
    card.value.erase(card.value.find_last_not_of(' ') + 1);
    rest = trimmed(rest.substr(i + 1));
    if (rest.starts_with('/')) card.comment = std::string(trimmed(rest.substr(1)));
    return card;
  }
  const auto slash = rest.find('/');
  card.value = std::string(trimmed(rest.substr(0, slash)));
  if (slash != std::string_view::npos) card.comment = std::string(trimmed(rest.substr(slash + 1)));
  return card;
}

/// The next block of a header, as text.
std::array<char, block_bytes> read_block(const ByteSource& source, std::int64_t offset) {
  std::array<char, block_bytes> block{};
  source.read(offset, std::as_writable_bytes(std::span(block)));
  return block;
}

std::int64_t checked_product(const Header& header, std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) header.refuse("the size exceeds 64 bits");
  return product;
}

SampleFormat format_of_bitpix(const Header& header, const std::string& keyword) {
  const std::int64_t bitpix = header.required(keyword, -64, 64);
  SampleFormat format;
  format.big_endian = true;
  switch (bitpix) {
    case 8:
    case 16:
    case 32:
    case 64:
      format.n_bytes = static_cast<int>(bitpix / 8);
      format.is_unsigned = bitpix == 8;
      return format;
    case -32:
    case -64:
      format.kind = SampleKind::floating;
      format.n_bytes = static_cast<int>(-bitpix / 8);
      return format;
    default:
      header.refuse(keyword + " = " + std::to_string(bitpix) + " is not 8, 16, 32, 64, -32 or -64");
  }
}

std::vector<std::int64_t> read_axes(const Header& header, const std::string& prefix) {
  const std::int64_t n = header.required(prefix + "NAXIS", 0, max_axes);
  std::vector<std::int64_t> axes;
  for (std::int64_t i = 1; i <= n; ++i) {
    axes.push_back(header.required(prefix + "NAXIS" + std::to_string(i), 0,
                                   std::numeric_limits<std::int64_t>::max()));
  }
  return axes;
}

void read_scaling(const Header& header, SampleFormat& format) {
  format.zero = header.real("BZERO").value_or(0.0);
  format.scale = header.real("BSCALE").value_or(1.0);
  if (format.scale == 0.0) header.refuse("BSCALE is 0: every sample would be the same");
  // The standard forbids BLANK for floating samples; readers ignore it there, and so do we.
  if (format.kind == SampleKind::integer) format.blank = header.integer("BLANK");
}

/// The reader of the tiles takes what is no number for missing: it is refused here.
void check_tile_keywords(const Header& header, std::size_t n_axes) {
  for (std::size_t i = 1; i <= n_axes; ++i) {
    static_cast<void>(header.integer("ZTILE" + std::to_string(i)));
  }
  for (const char* keyword : {"THEAP", "ZBLANK", "ZDITHER0"}) {
    static_cast<void>(header.integer(keyword));
  }
  for (const char* keyword : {"ZSCALE", "ZZERO"}) static_cast<void>(header.real(keyword));
}

/// Whether what is left of a file, a block of it at most, says nothing.
bool is_filler(const ByteSource& source, std::int64_t offset, std::int64_t size) {
  if (offset == 0) return false;
  std::array<char, block_bytes> rest{};
  const auto n = static_cast<std::size_t>(std::min(size - offset, std::int64_t{block_bytes}));
  source.read(offset, std::as_writable_bytes(std::span(rest)).first(n));
  return std::string_view(rest.data(), n).find_first_not_of(std::string_view("\0 \r\n", 4)) ==
         std::string_view::npos;
}

}  // namespace

std::vector<FitsHdu> scan_fits(const ByteSource& source, std::string* cut) {
  std::vector<FitsHdu> hdus;
  std::int64_t offset = 0;
  std::int64_t size = source.size();
  if (size < block_bytes) {
    throw FitsError(source.name() + ": not a FITS file: " + std::to_string(size) +
                    " bytes, but a header alone has 2880");
  }
  while (offset < size) {
    FitsHdu hdu;
    hdu.index = static_cast<int>(hdus.size());
    const std::string place = source.name() + "[" + std::to_string(hdu.index) + "]";
    hdu.header_offset = offset;
    // What only the end of the file makes wrong: a file without any image is refused all the same.
    const auto ends_early = [&](const std::string& what) {
      if (cut == nullptr || hdus.empty()) throw FitsError(place + ": " + what);
      *cut = place + ": " + what;
    };
    const bool is_reserved = source.reserved_size() > size;
    if ((is_reserved || size - offset < block_bytes) && is_filler(source, offset, size)) break;
    if (size - offset < block_bytes) {
      ends_early(std::to_string(size - offset) + " bytes are left, but a header has at least 2880");
      break;
    }
    auto block = read_block(source, offset);
    const std::string_view start(block.data(), block_bytes);
    if (hdu.index == 0) {
      if (start.starts_with("\x1f\x8b")) {
        throw FitsError(source.name() + ": is gzip-compressed; unpack it first");
      }
      if (start.substr(0, 10) != "SIMPLE  = ") {
        throw FitsError(source.name() + ": not a FITS file: does not begin with \"SIMPLE  = \"");
      }
    } else if (start.substr(0, 10) != "XTENSION= ") {
      const bool fill = start.find_first_not_of(start[0]) == std::string_view::npos &&
                        (start[0] == '\0' || start[0] == ' ');
      if (!fill) throw FitsError(place + ": does not begin with \"XTENSION= \"");
      offset += block_bytes;  // filler behind the last HDU; anything else after it is refused above
      while (offset < size) {
        const std::int64_t n = std::min(block_bytes, size - offset);
        std::array<char, block_bytes> rest{};
        source.read(offset,
                    std::as_writable_bytes(std::span(rest)).first(static_cast<std::size_t>(n)));
        const std::string_view text(rest.data(), static_cast<std::size_t>(n));
        if (text.find_first_not_of(std::string_view("\0 ", 2)) != std::string_view::npos) {
          throw FitsError(place + ": filler is followed by other bytes at " +
                          std::to_string(offset));
        }
        offset += n;
      }
      break;
    }
    if (hdu.index >= max_hdus) {
      throw FitsError(place + ": more than " + std::to_string(max_hdus) + " HDUs");
    }

    bool ended = false;
    for (int n_blocks = 1; !ended; ++n_blocks) {
      for (std::size_t c = 0; c < block_bytes / card_bytes; ++c) {
        const std::string_view raw(block.data() + c * card_bytes, card_bytes);
        if (ended) {
          if (raw.find_first_not_of(' ') != std::string_view::npos) {
            throw FitsError(place + ": the header goes on behind END");
          }
          continue;
        }
        if (raw.starts_with("END") && raw.find_first_not_of(' ', 3) == std::string_view::npos) {
          ended = true;
          continue;
        }
        hdu.cards.push_back(
            parse_card(raw, place + ": card " + std::to_string(hdu.cards.size() + 1)));
        hdu.raw_cards.emplace_back(raw);
      }
      offset += block_bytes;
      if (ended) break;
      if (n_blocks >= max_header_blocks) {
        throw FitsError(place + ": no END within " + std::to_string(max_header_blocks * 36) +
                        " cards");
      }
      if (size - offset < block_bytes) {
        ends_early("the header has no END");
        return hdus;
      }
      block = read_block(source, offset);
    }

    const Header header(place, hdu.cards);
    const auto in_place = [&](std::size_t card, const std::string& keyword) {
      if (card >= hdu.cards.size() || hdu.cards[card].keyword != keyword) {
        header.refuse("card " + std::to_string(card + 1) + " must be " + keyword);
      }
    };
    if (hdu.index == 0 && !header.logical("SIMPLE")) header.refuse("SIMPLE is not T");
    in_place(1, "BITPIX");
    in_place(2, "NAXIS");
    hdu.format = format_of_bitpix(header, "BITPIX");
    hdu.axes = read_axes(header, "");
    for (std::size_t i = 0; i < hdu.axes.size(); ++i) {
      in_place(3 + i, "NAXIS" + std::to_string(i + 1));
    }
    hdu.name = header.string("EXTNAME");
    const std::string extension = hdu.index == 0 ? "" : header.string("XTENSION");
    hdu.kind = hdu.index == 0            ? "primary"
               : extension == "IMAGE"    ? "image"
               : extension == "BINTABLE" ? "bintable"
               : extension == "TABLE"    ? "table"
                                         : "other";
    const std::int64_t groups =
        hdu.index == 0 ? header.integer("GCOUNT").value_or(1) : header.required("GCOUNT", 1, 1);
    const std::int64_t extra =
        hdu.index == 0 ? header.integer("PCOUNT").value_or(0)
                       : header.required("PCOUNT", 0, std::numeric_limits<std::int64_t>::max());
    if (header.logical("GROUPS") && !hdu.axes.empty() && hdu.axes[0] == 0) {
      header.refuse("random groups hold no image");
    }
    if (groups != 1 || extra < 0) header.refuse("GCOUNT must be 1 and PCOUNT at least 0");
    if (hdu.kind == "image" && extra != 0) header.refuse("PCOUNT of an image must be 0");

    std::int64_t n_values = hdu.axes.empty() ? 0 : 1;
    for (const std::int64_t axis : hdu.axes) n_values = checked_product(header, n_values, axis);
    if (!hdu.axes.empty() && __builtin_add_overflow(n_values, extra, &n_values)) {
      header.refuse("the size exceeds 64 bits");
    }
    hdu.data_bytes = checked_product(header, n_values, hdu.format.n_bytes);
    hdu.data_offset = offset;
    if (hdu.data_bytes > size - offset && hdu.data_bytes <= source.reserved_size() - offset &&
        !header.string("DATASUM").empty()) {
      // Some file systems keep no zeros: where there is a checksum, it tells what was written.
      size = std::min(source.reserved_size(), offset + padded(hdu.data_bytes));
    }
    hdu.bytes_there = std::min(hdu.data_bytes, size - offset);
    if (hdu.data_bytes > size - offset) {
      const std::string what = "the data should have " + std::to_string(hdu.data_bytes) +
                               " bytes, but " + std::to_string(size - offset) +
                               (source.reserved_size() > size ? " were written of the file's room"
                                                              : " are left in the file");
      if (cut == nullptr) header.refuse(what);
      *cut = place + ": " + what;
    }
    // The last bytes of padding may be missing.
    offset =
        hdu.bytes_there < hdu.data_bytes ? size : std::min(size, offset + padded(hdu.bytes_there));

    if (hdu.kind == "bintable" && header.logical("ZIMAGE")) {
      hdu.compression = header.string("ZCMPTYPE");
      if (hdu.compression.empty()) header.refuse("ZIMAGE is T, but there is no ZCMPTYPE");
      hdu.format = format_of_bitpix(header, "ZBITPIX");
      hdu.axes = read_axes(header, "Z");
      read_scaling(header, hdu.format);
      check_tile_keywords(header, hdu.axes.size());
    } else if (hdu.kind == "primary" || hdu.kind == "image") {
      read_scaling(header, hdu.format);
    } else {
      hdu.axes.clear();
    }
    hdus.push_back(std::move(hdu));
  }
  if (cut != nullptr && cut->empty() && source.reserved_size() - offset >= block_bytes) {
    *cut = source.name() + ": " + std::to_string(source.reserved_size() - offset) +
           " bytes behind its last HDU were reserved, but never written";
  }
  return hdus;
}

}  // namespace skipstream
