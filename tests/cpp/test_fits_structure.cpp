// The grammar of headers and the lengths of what follows them: each rule from both of its sides.

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "fits_text.hpp"
#include "skipstream/base/error.hpp"
#include "skipstream/io/fits_structure.hpp"

using namespace skipstream;

namespace {

using Cards = std::vector<std::string>;

std::string raw_card(std::string text) {
  text.resize(80, ' ');
  return text;
}

std::string header(const Cards& cards) {
  std::string text;
  for (const auto& one : cards) text += one;
  return blocks(text + raw_card("END"), ' ');
}

std::string header_and(Cards cards, const Cards& more) {
  cards.insert(cards.end(), more.begin(), more.end());
  return header(cards);
}

/// A primary HDU without data.
std::string empty_primary(const Cards& more = {}) {
  return header_and({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0")}, more);
}

/// The header of a primary image of 12 samples of 16 bits.
std::string image_header(const Cards& more = {}) {
  return header_and({card("SIMPLE", "T"), card("BITPIX", "16"), card("NAXIS", "2"),
                     card("NAXIS1", "6"), card("NAXIS2", "2")},
                    more);
}

std::string image(const Cards& more = {}) { return image_header(more) + std::string(2880, '\0'); }

/// An extension of 3 x 2 bytes.
std::string extension(const std::string& kind, const Cards& more = {},
                      const std::string& p_count = "0", const std::string& g_count = "1") {
  return header_and({card("XTENSION", "'" + kind + "'"), card("BITPIX", "8"), card("NAXIS", "2"),
                     card("NAXIS1", "3"), card("NAXIS2", "2"), card("PCOUNT", p_count),
                     card("GCOUNT", g_count)},
                    more) +
         std::string(2880, '\0');
}

/// Bytes, and room behind them that was never written and reads as zeros.
class RoomySource : public ByteSource {
 public:
  RoomySource(std::string bytes, std::int64_t reserved)
      : bytes_(std::move(bytes)), reserved_(reserved) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::int64_t size() const override {
    return static_cast<std::int64_t>(bytes_.size());
  }
  [[nodiscard]] std::int64_t reserved_size() const override { return reserved_; }
  void read(std::int64_t offset, std::span<std::byte> bytes) const override {
    const auto n = static_cast<std::int64_t>(bytes.size());
    check::that(offset >= 0 && offset + n <= std::max(reserved_, size()), "within the file");
    for (std::int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(offset + i);
      bytes[static_cast<std::size_t>(i)] =
          at < bytes_.size() ? static_cast<std::byte>(bytes_[at]) : std::byte{0};
    }
  }

 private:
  std::string name_ = "raw.fits";
  std::string bytes_;
  std::int64_t reserved_;
};

std::vector<FitsHdu> scan(const std::string& bytes, std::string* cut = nullptr) {
  return scan_fits(RoomySource(bytes, static_cast<std::int64_t>(bytes.size())), cut);
}

void refused(const std::string& bytes, const std::string& why,
             check::Place where = check::Place::current()) {
  check::throws<FitsError>([&] { scan(bytes); }, why, where);
}

/// What is wrong with a value of a primary image's card.
void card_is_refused(const std::string& keyword, const std::string& value, const std::string& why,
                     check::Place where = check::Place::current()) {
  refused(image({card(keyword, value)}), "raw.fits[0]: " + why, where);
}

void integers_follow_their_grammar() {
  for (const auto& [text, value] :
       {std::pair<const char*, std::int64_t>{"7", 7},
        {"+7", 7},
        {"-7", -7},
        {"0", 0},
        {"-0", 0},
        {"007", 7},
        {"9223372036854775807", std::numeric_limits<std::int64_t>::max()},
        {"-9223372036854775808", std::numeric_limits<std::int64_t>::min()},
        {"5 / of them", 5},
        {"     5/5", 5}}) {
    check::equal(*scan(image({card("BLANK", text)}))[0].format.blank, value, text);
  }
  for (const char* text : {"+-7", "-+7", "++7", "--7", "+", "-", "7.0", "7 8", "7x", "x7", "0x7",
                           "1E2", "9223372036854775808", "-9223372036854775809"}) {
    card_is_refused("BLANK", text,
                    std::string("BLANK = ") + text + " is not an integer of 64 bits");
  }
  card_is_refused("BLANK", "", "BLANK = (nothing) is not an integer of 64 bits");
  card_is_refused("BLANK", "/ 5", "BLANK = (nothing) is not an integer of 64 bits");
  card_is_refused("BLANK", "'7'", "BLANK = '7' is not an integer of 64 bits");
  check::that(!scan(image())[0].format.blank.has_value());
}

void reals_follow_their_grammar() {
  for (const auto& [text, value] : {std::pair<const char*, double>{"7", 7},
                                    {"+7", 7},
                                    {"-7.5", -7.5},
                                    {"1E3", 1000},
                                    {"1D3", 1000},
                                    {"-1.5D-3", -0.0015},
                                    {"+.5", 0.5},
                                    {"5.", 5},
                                    {"1E+2", 100}}) {
    const auto format = scan(image({card("BZERO", text), card("BSCALE", text)}))[0].format;
    check::equal(format.zero, value, text);
    check::equal(format.scale, value, text);
  }
  for (const char* text : {"+-7", "-+7", "++7", "+", "-", "1e3", "1d3", "NaN", "INF", "1E999",
                           "-1E999", "1.5x", "1 5", "0x10", "E5", "1E", "1.2.3"}) {
    std::string shown = text;
    card_is_refused("BZERO", text, "BZERO = " + shown + " is not a finite number");
  }
  card_is_refused("BSCALE", "", "BSCALE = (nothing) is not a finite number");
  card_is_refused("BSCALE", "'1'", "BSCALE = '1' is not a finite number");
  card_is_refused("BSCALE", "0.0", "BSCALE is 0: every sample would be the same");
  const auto plain = scan(image())[0].format;
  check::equal(plain.zero, 0.0);
  check::equal(plain.scale, 1.0);
}

void logicals_and_strings_follow_their_grammar() {
  refused(empty_primary({card("GROUPS", "X")}), "raw.fits[0]: GROUPS = X is neither T nor F");
  refused(empty_primary({card("GROUPS", "'T'")}), "raw.fits[0]: GROUPS = 'T' is neither T nor F");
  refused(empty_primary({card("GROUPS", "TF")}), "raw.fits[0]: GROUPS = TF is neither T nor F");
  check::equal(scan(image({card("GROUPS", "F")})).size(), std::size_t{1});
  check::equal(scan(image({card("GROUPS", "T")})).size(), std::size_t{1}, "NAXIS1 is not 0");
  check::equal(scan(empty_primary({card("GROUPS", "T")})).size(), std::size_t{1}, "no axes");
  std::string bytes = image();
  bytes.replace(bytes.find("SIMPLE  = T"), 11, "SIMPLE  = F");
  refused(bytes, "raw.fits[0]: SIMPLE is not T");
  const Cards no_columns{card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "2"),
                         card("NAXIS1", "0"), card("NAXIS2", "5")};
  refused(header_and(no_columns, {card("GROUPS", "T")}),
          "raw.fits[0]: random groups hold no image");
  check::equal(scan(header_and(no_columns, {card("GROUPS", "F")})).size(), std::size_t{1});

  for (const auto& [text, value] : {std::pair<const char*, const char*>{"'A'", "A"},
                                    {"'A''B'", "A'B"},
                                    {"''", ""},
                                    {"'  '", ""},
                                    {"'  A  '", "  A"},
                                    {"''''", "'"},
                                    {"'A / B' / C", "A / B"},
                                    {"    'A'", "A"}}) {
    check::equal(scan(image({card("EXTNAME", text)}))[0].name, std::string(value), text);
  }
  check::equal(scan(image())[0].name, std::string());
  refused(image({card("EXTNAME", "'" + std::string(68, 'x') + "'"), raw_card("'")}),
          "raw.fits[0]: card 7: keyword \"'\" has a character other than");
  card_is_refused("EXTNAME", "A", "EXTNAME = A is not a string");
  card_is_refused("EXTNAME", "", "EXTNAME = (nothing) is not a string");
  card_is_refused("EXTNAME", "'", "card 6: EXTNAME: the string has no closing quote");
  card_is_refused("EXTNAME", "'A''", "card 6: EXTNAME: the string has no closing quote");
  card_is_refused("EXTNAME", "'" + std::string(69, 'x'),
                  "card 6: EXTNAME: the string has no closing quote");
  check::equal(scan(image({card("EXTNAME", "'" + std::string(68, 'x') + "'")}))[0].name,
               std::string(68, 'x'));
}

void a_card_twice_must_say_the_same() {
  check::equal(scan(image({card("BZERO", "5"), card("BZERO", "5 / again")}))[0].format.zero, 5.0);
  refused(image({card("BZERO", "5"), card("BZERO", "5"), card("BZERO", "6")}),
          "raw.fits[0]: BZERO stands twice, as 5 and as 6");
  refused(image({card("BZERO", "5"), card("BZERO", "5.0")}),
          "raw.fits[0]: BZERO stands twice, as 5 and as 5.0");
  scan(image({card("TEMP", "5"), card("TEMP", "6")}));  // not of our business
}

void parsed(const std::string& raw, const FitsCard& expected,
            check::Place where = check::Place::current()) {
  const auto hdus = scan(image({raw_card(raw)}));
  const FitsCard& found = hdus[0].cards.at(5);
  check::equal(found.keyword, expected.keyword, raw + " keyword " + found.keyword, where);
  check::equal(found.value, expected.value, raw + " value " + found.value, where);
  check::equal(found.comment, expected.comment, raw + " comment " + found.comment, where);
  check::equal(found.is_string, expected.is_string, raw, where);
  check::equal(hdus[0].raw_cards.at(5), raw_card(raw), "as it stands", where);
  check::equal(hdus[0].cards.size(), std::size_t{6}, raw, where);
}

void cards_are_taken_apart() {
  parsed("GAIN    = 2.5 / per electron", {"GAIN", "2.5", "per electron", false});
  parsed("GAIN    = 2.5", {"GAIN", "2.5", "", false});
  parsed("GAIN    =   2.5/", {"GAIN", "2.5", "", false});
  parsed("GAIN    = / what", {"GAIN", "", "what", false});
  parsed("GAIN    = ", {"GAIN", "", "", false});
  parsed("A-B_C9  = a b /c/d", {"A-B_C9", "a b", "c/d", false});
  parsed("NAME    = 'a/b' / c ", {"NAME", "a/b", "c", true});
  parsed("NAME    = 'a'/", {"NAME", "a", "", true});
  parsed("NAME    = 'a' c", {"NAME", "a", "", true});
  parsed("NAME    = 'a'", {"NAME", "a", "", true});
  parsed("NAME    = '~ !'", {"NAME", "~ !", "", true});
  parsed("COMMENT = 5", {"COMMENT", "", "= 5", false});
  parsed("HISTORY = 'x'", {"HISTORY", "", "= 'x'", false});
  parsed("HISTORY   two blanks  ", {"HISTORY", "", "  two blanks", false});
  parsed("        = 5", {"", "", "= 5", false});
  parsed("", {"", "", "", false});
  parsed("GAIN", {"GAIN", "", "", false});
  parsed("GAIN    =5", {"GAIN", "", "=5", false});
  parsed("GAIN    x", {"GAIN", "", "x", false});
  parsed("GAIN     = 5", {"GAIN", "", " = 5", false});
  parsed("ABCDEFGH= 5", {"ABCDEFGH", "5", "", false});
  parsed("HIERARCH ESO DET GAIN = 5 / c", {"ESO DET GAIN", "5", "c", false});
  parsed("HIERARCH ESO X='a' / c", {"ESO X", "a", "c", true});
  parsed("HIERARCH ABCDEFGHI=5", {"ABCDEFGHI", "5", "", false});
  parsed("HIERARCH ABCDEFGH=5", {"HIERARCH", "", " ABCDEFGH=5", false});
  parsed("HIERARCH BZERO = 5", {"HIERARCH", "", " BZERO = 5", false});
  parsed("HIERARCH A B", {"HIERARCH", "", " A B", false});
  parsed("HIERARCH= 5 = 6", {"HIERARCH", "5 = 6", "", false});
  parsed("HIERARCH=", {"HIERARCH", "", "", false});
  // A name that runs to column 80: the last card of the header has its 80 characters and no more.
  const std::string full = "HISTORY " + std::string(72, 'h');
  parsed(full, {"HISTORY", "", std::string(72, 'h'), false});
  const std::string last = "HISTORY " + std::string(71, ' ') + "h";
  parsed(last, {"HISTORY", "", std::string(71, ' ') + "h", false});

  refused(image({raw_card(" GAIN   = 5")}),
          "raw.fits[0]: card 6: keyword \" GAIN   \" does not begin in column 1");
  for (const char* keyword : {"gain", "GA IN", "GA.IN", "GAIN/", "G\"IN"}) {
    refused(image({raw_card(std::string(keyword) + std::string(8 - std::strlen(keyword), ' ') +
                            "= 5")}),
            std::string("raw.fits[0]: card 6: keyword \"") + keyword +
                "\" has a character other than A-Z, 0-9, - and _");
  }
  for (const char byte : {'\x1f', '\x7f', '\t', '\n', '\0', '\x80'}) {
    std::string raw = raw_card("GAIN    = 5 / ");
    raw[79] = byte;
    refused(image({raw}), "raw.fits[0]: card 6: a byte outside printable ASCII");
  }
}

void the_end_is_the_end() {
  std::string bytes = image();
  const auto end = bytes.find("END ");
  check::equal(scan(bytes)[0].data_offset, std::int64_t{2880});
  bytes[2879] = 'x';
  refused(bytes, "raw.fits[0]: the header goes on behind END");
  bytes = image();
  bytes.replace(end + 80, 3, "GAI");
  refused(bytes, "raw.fits[0]: the header goes on behind END");
  bytes = image();
  bytes.replace(end, 4, "ENDX");
  refused(bytes.substr(0, 2880), "raw.fits[0]: the header has no END");
  bytes = image();
  bytes.replace(end, 10, "END      x");  // no END, but a commentary card
  refused(bytes.substr(0, 2880), "raw.fits[0]: the header has no END");
  // 35 cards and END fill a block; 36 cards do not leave room for it.
  check::equal(scan(image(Cards(30, card("GAIN", "5"))))[0].data_offset, std::int64_t{2880});
  const auto two = scan(image(Cards(31, card("GAIN", "5"))));
  check::equal(two[0].data_offset, std::int64_t{5760});
  check::equal(two[0].cards.size(), std::size_t{36});
  check::equal(two[0].raw_cards.size(), std::size_t{36});
  check::equal(scan(empty_primary(Cards(33, card("GAIN", "5"))))[0].data_offset, std::int64_t{5760},
               "the last block of the file is one of its header");
  const auto three = scan(image(Cards(70, card("GAIN", "5"))));
  check::equal(three[0].data_offset, std::int64_t{3 * 2880});
  check::equal(three[0].cards.size(), std::size_t{75});

  // 1,000 blocks with their END are a header, 1,000 without are none.
  check::equal(scan(image(Cards(36000 - 6, card("GAIN", "5"))))[0].data_offset,
               std::int64_t{2880 * 1000});
  refused(image(Cards(36000 - 5, card("GAIN", "5"))), "raw.fits[0]: no END within 36000 cards");
}

void structure_stands_in_its_place() {
  refused(header({card("SIMPLE", "T"), card("NAXIS", "0"), card("BITPIX", "8")}),
          "raw.fits[0]: card 2 must be BITPIX");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "8"), card("GAIN", "1"), card("NAXIS", "0")}),
          "raw.fits[0]: card 3 must be NAXIS");
  refused(header({card("SIMPLE", "T")}), "raw.fits[0]: card 2 must be BITPIX");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "8")}), "raw.fits[0]: card 3 must be NAXIS");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "2"), card("NAXIS2", "1"),
                  card("NAXIS1", "1")}),
          "raw.fits[0]: card 4 must be NAXIS1");
  refused(header({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "2"), card("NAXIS1", "1"),
                  card("GAIN", "1"), card("NAXIS2", "1")}),
          "raw.fits[0]: card 5 must be NAXIS2");
  refused(
      header({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "2"), card("NAXIS1", "1")}),
      "raw.fits[0]: no keyword NAXIS2");
  const auto axes = [](const std::string& n, const Cards& more) {
    return header_and({card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", n)}, more);
  };
  refused(axes("-1", {}), "raw.fits[0]: NAXIS = -1 must be 0 to 999");
  refused(axes("1000", {}), "raw.fits[0]: NAXIS = 1000 must be 0 to 999");
  refused(axes("1", {card("NAXIS1", "-1")}),
          "raw.fits[0]: NAXIS1 = -1 must be 0 to 9223372036854775807");
  Cards many;
  for (int i = 1; i <= 999; ++i) many.push_back(card("NAXIS" + std::to_string(i), "1"));
  const auto hdus = scan(axes("999", many) + std::string(2880, '\0'));
  check::equal(hdus[0].axes.size(), std::size_t{999});
  check::equal(hdus[0].data_bytes, std::int64_t{1});
  const auto none = scan(axes("2", {card("NAXIS1", "0"), card("NAXIS2", "7")}));
  check::equal(none[0].data_bytes, std::int64_t{0});
  check::that(none[0].axes == std::vector<std::int64_t>{0, 7});
}

void every_bitpix_has_its_format() {
  for (const int bitpix : {8, 16, 32, 64, -32, -64}) {
    const auto format = scan(header({card("SIMPLE", "T"), card("BITPIX", std::to_string(bitpix)),
                                     card("NAXIS", "0"), card("BLANK", "7")}))[0]
                            .format;
    check::equal(format.n_bytes, std::abs(bitpix) / 8);
    check::that((format.kind == SampleKind::floating) == (bitpix < 0));
    check::equal(format.is_unsigned, bitpix == 8);
    check::that(format.big_endian);
    check::equal(format.blank.has_value(), bitpix > 0, "BLANK means nothing for floating samples");
  }
  for (const int bitpix : {0, 1, -8, -16, 9, 24, 63, -63}) {
    const std::string text = std::to_string(bitpix);
    refused(header({card("SIMPLE", "T"), card("BITPIX", text), card("NAXIS", "0")}),
            "raw.fits[0]: BITPIX = " + text + " is not 8, 16, 32, 64, -32 or -64");
  }
  for (const int bitpix : {65, -65, 128}) {
    const std::string text = std::to_string(bitpix);
    refused(header({card("SIMPLE", "T"), card("BITPIX", text), card("NAXIS", "0")}),
            "raw.fits[0]: BITPIX = " + text + " must be -64 to 64");
  }
}

void extensions_are_named_and_measured() {
  const auto hdus = scan(image() + extension("IMAGE   ", {card("EXTNAME", "'CCD'")}) +
                         extension("BINTABLE", {}, "5000") + std::string(2880, '\0') +
                         extension("TABLE", {card("BZERO", "5")}) + extension("FOREIGN"));
  check::equal(hdus.size(), std::size_t{5});
  const char* kinds[] = {"primary", "image", "bintable", "table", "other"};
  const std::int64_t offsets[] = {0, 5760, 11520, 20160, 25920};
  const std::int64_t data_bytes[] = {24, 6, 5006, 6, 6};
  for (std::size_t i = 0; i < 5; ++i) {
    check::equal(hdus[i].kind, std::string(kinds[i]));
    check::equal(hdus[i].index, static_cast<int>(i));
    check::equal(hdus[i].header_offset, offsets[i], kinds[i]);
    check::equal(hdus[i].data_offset, offsets[i] + 2880, kinds[i]);
    check::equal(hdus[i].data_bytes, data_bytes[i], kinds[i]);
    check::equal(hdus[i].bytes_there, data_bytes[i], kinds[i]);
    check::equal(hdus[i].axes.size(), std::size_t{i < 2 ? 2U : 0U}, "axes of images only");
    check::equal(hdus[i].compression, std::string());
    check::equal(hdus[i].format.zero, 0.0, "a table is not scaled");
  }
  check::equal(hdus[1].name, std::string("CCD"));

  const std::string first = empty_primary();
  refused(first + extension("IMAGE", {}, "1"), "raw.fits[1]: PCOUNT of an image must be 0");
  refused(first + extension("BINTABLE", {}, "-1"),
          "raw.fits[1]: PCOUNT = -1 must be 0 to 9223372036854775807");
  refused(first + extension("BINTABLE", {}, "0", "2"), "raw.fits[1]: GCOUNT = 2 must be 1 to 1");
  refused(first + extension("BINTABLE", {}, "0", "0"), "raw.fits[1]: GCOUNT = 0 must be 1 to 1");
  const Cards table{card("XTENSION", "'TABLE'"), card("BITPIX", "8"), card("NAXIS", "0")};
  refused(first + header_and(table, {card("PCOUNT", "0")}), "raw.fits[1]: no keyword GCOUNT");
  refused(first + header_and(table, {card("GCOUNT", "1")}), "raw.fits[1]: no keyword PCOUNT");
  check::equal(scan(first + header_and(table, {card("GCOUNT", "1"), card("PCOUNT", "9")})).size(),
               std::size_t{2}, "no axes, no data");
  check::equal(scan(image({card("GCOUNT", "1"), card("PCOUNT", "0")})).size(), std::size_t{1});
  for (const auto& [keyword, value] :
       {std::pair{"GCOUNT", "2"}, {"GCOUNT", "0"}, {"PCOUNT", "-1"}}) {
    card_is_refused(keyword, value, "GCOUNT must be 1 and PCOUNT at least 0");
  }
  const auto with_extra = scan(image({card("PCOUNT", "3")}));
  check::equal(with_extra[0].data_bytes, std::int64_t{2 * (12 + 3)}, "of 16 bits each");
  refused(first + header_and({card("XTENSION", "IMAGE")}, {}), "raw.fits[1]: ");
}

void sizes_do_not_overflow() {
  const auto sized = [](const std::string& bitpix, const Cards& axes, const Cards& more) {
    Cards cards{card("XTENSION", "'BINTABLE'"), card("BITPIX", bitpix),
                card("NAXIS", std::to_string(axes.size()))};
    for (std::size_t i = 0; i < axes.size(); ++i) {
      cards.push_back(card("NAXIS" + std::to_string(i + 1), axes[i]));
    }
    cards.insert(cards.end(), more.begin(), more.end());
    return empty_primary() + header(cards);
  };
  const Cards plain{card("PCOUNT", "0"), card("GCOUNT", "1")};
  const std::string whole = "9223372036854775807";
  const std::string why = "raw.fits[1]: the size exceeds 64 bits";
  refused(sized("8", {"3037000500", "3037000500"}, plain), why);
  refused(sized("16", {whole}, plain), why);
  refused(sized("8", {whole}, {card("PCOUNT", "1"), card("GCOUNT", "1")}), why);
  check::equal(scan(sized("8", {whole, "0", whole}, plain))[1].data_bytes, std::int64_t{0});
}

void images_in_tables_are_understood() {
  const Cards tiled{card("ZIMAGE", "T"),    card("ZBITPIX", "-32"), card("ZNAXIS", "2"),
                    card("ZNAXIS1", "40"),  card("ZNAXIS2", "30"),  card("ZCMPTYPE", "'RICE_1'"),
                    card("BZERO", "32768"), card("BLANK", "5")};
  const auto hdus = scan(empty_primary() + extension("BINTABLE", tiled));
  check::equal(hdus[1].compression, std::string("RICE_1"));
  check::equal(hdus[1].kind, std::string("bintable"));
  check::that(hdus[1].axes == std::vector<std::int64_t>{40, 30});
  check::equal(hdus[1].format.n_bytes, 4);
  check::that(hdus[1].format.kind == SampleKind::floating);
  check::equal(hdus[1].format.zero, 32768.0);
  check::equal(hdus[1].data_bytes, std::int64_t{6}, "of the table");
  auto lacking = tiled;
  lacking.erase(lacking.begin() + 5);
  refused(empty_primary() + extension("BINTABLE", lacking),
          "raw.fits[1]: ZIMAGE is T, but there is no ZCMPTYPE");
  lacking = tiled;
  lacking[1] = card("ZBITPIX", "17");
  refused(empty_primary() + extension("BINTABLE", lacking),
          "raw.fits[1]: ZBITPIX = 17 is not 8, 16, 32, 64, -32 or -64");
  lacking = tiled;
  lacking.erase(lacking.begin() + 4);
  refused(empty_primary() + extension("BINTABLE", lacking), "raw.fits[1]: no keyword ZNAXIS2");
  for (const char* keyword : {"ZTILE1", "ZTILE2", "THEAP", "ZBLANK", "ZDITHER0"}) {
    const auto with = [&](const std::string& value) {
      auto changed = tiled;
      changed.push_back(card(keyword, value));
      return empty_primary() + extension("BINTABLE", changed);
    };
    check::equal(scan(with("+7")).size(), std::size_t{2});
    refused(with("7x"), std::string("raw.fits[1]: ") + keyword + " = 7x is not an integer");
  }
  for (const char* keyword : {"ZSCALE", "ZZERO"}) {
    const auto with = [&](const std::string& value) {
      auto changed = tiled;
      changed.push_back(card(keyword, value));
      return empty_primary() + extension("BINTABLE", changed);
    };
    check::equal(scan(with("+1.5D0")).size(), std::size_t{2});
    refused(with("1.5x"), std::string("raw.fits[1]: ") + keyword + " = 1.5x is not a finite");
    refused(with("nan"), std::string("raw.fits[1]: ") + keyword + " = nan is not a finite");
  }
  // Only a binary table holds tiles.
  const auto other = scan(empty_primary() + extension("TABLE", tiled));
  check::that(other[1].compression.empty() && other[1].axes.empty());
  const auto picture = scan(image(tiled));
  check::that(picture[0].compression.empty());
  check::that(picture[0].axes == std::vector<std::int64_t>{6, 2});
  auto no_tiles = tiled;
  no_tiles[0] = card("ZIMAGE", "F");
  check::that(scan(empty_primary() + extension("BINTABLE", no_tiles))[1].axes.empty());
}

void what_stands_behind_the_last_hdu_says_nothing() {
  const std::string good = image();
  for (const char filler : {'\0', ' '}) {
    for (const std::size_t n : {1, 80, 2879, 2880, 2881, 5760, 6000, 3 * 2880}) {
      check::equal(scan(good + std::string(n, filler)).size(), std::size_t{1}, std::to_string(n));
    }
    refused(good + std::string(2880, filler) + "x",
            "raw.fits[1]: filler is followed by other bytes at 8640");
    refused(
        good + std::string(2880, filler) + std::string(2880, '\0') + std::string(2879, ' ') + "x",
        "raw.fits[1]: filler is followed by other bytes at 11520");
    refused(good + std::string(2879, filler) + "x", "raw.fits[1]: does not begin with");
  }
  check::equal(scan(good + std::string(2880, ' ') + std::string(2880, '\0')).size(),
               std::size_t{1});
  check::equal(scan(good + std::string("\0 \r\n", 4)).size(), std::size_t{1});
  refused(good + "x", "raw.fits[1]: 1 bytes are left, but a header has at least 2880");
  refused(good + std::string(2878, '\0') + "x", "raw.fits[1]: 2879 bytes are left");
  refused(good + std::string(2880, '\n'), "raw.fits[1]: does not begin with \"XTENSION= \"");
  refused(good + std::string(2880, 'X'), "raw.fits[1]: does not begin with \"XTENSION= \"");
  // The padding of the last HDU may be missing, but none of its data.
  check::equal(scan(good.substr(0, 2880 + 24)).size(), std::size_t{1});
  check::equal(scan(good.substr(0, 2880 + 25)).size(), std::size_t{1});
  refused(good.substr(0, 2880 + 23), "raw.fits[0]: the data should have 24 bytes, but 23 are left");

  refused("", "raw.fits: not a FITS file: 0 bytes, but a header alone has 2880");
  refused(empty_primary().substr(0, 2879), "raw.fits: not a FITS file: 2879 bytes");
  check::equal(scan(empty_primary()).size(), std::size_t{1});
  refused(std::string(2880, '\0'), "raw.fits: not a FITS file: does not begin with \"SIMPLE  = \"");
  refused("\x1f\x8b" + std::string(2878, '\0'), "raw.fits: is gzip-compressed; unpack it first");
  refused(good + "\x1f\x8b" + std::string(2878, '\0'), "raw.fits[1]: does not begin with");
  refused(extension("IMAGE"), "raw.fits: not a FITS file: does not begin with");
  refused(good + good, "raw.fits[1]: does not begin with \"XTENSION= \"");
}

void at_most_4096_hdus_are_read() {
  const std::string one = header({card("XTENSION", "'TABLE'"), card("BITPIX", "8"),
                                  card("NAXIS", "0"), card("PCOUNT", "0"), card("GCOUNT", "1")});
  std::string bytes = empty_primary();
  for (int i = 1; i < 4096; ++i) bytes += one;
  const auto hdus = scan(bytes);
  check::equal(hdus.size(), std::size_t{4096});
  check::equal(hdus.back().index, 4095);
  refused(bytes + one, "raw.fits[4096]: more than 4096 HDUs");
}

void a_cut_off_file_says_what_is_missing() {
  const std::string good = image();
  const auto cut_is = [](const std::string& bytes, std::size_t n_hdus, const std::string& what,
                         check::Place where = check::Place::current()) {
    std::string cut;
    const auto hdus = scan(bytes, &cut);
    check::equal(hdus.size(), n_hdus, cut, where);
    check::equal(cut, what, "is: " + cut, where);
    return hdus;
  };
  cut_is(good, 1, "");
  cut_is(good + std::string(7000, '\0'), 1, "");
  const auto hdus =
      cut_is(good.substr(0, 2880 + 10), 1,
             "raw.fits[0]: the data should have 24 bytes, but 10 are left in the file");
  check::equal(hdus[0].bytes_there, std::int64_t{10});
  check::equal(hdus[0].data_bytes, std::int64_t{24});
  check::that(hdus[0].axes == std::vector<std::int64_t>{6, 2});
  check::equal(cut_is(good.substr(0, 2880), 1,
                      "raw.fits[0]: the data should have 24 bytes, but 0 are left in the file")[0]
                   .bytes_there,
               std::int64_t{0});
  cut_is(good + "XTENSION", 1, "raw.fits[1]: 8 bytes are left, but a header has at least 2880");
  std::string open = extension("IMAGE").substr(0, 2880);
  open.replace(open.find("END "), 3, "   ");
  cut_is(good + open, 1, "raw.fits[1]: the header has no END");
  cut_is(good + open + std::string(2879, ' '), 1, "raw.fits[1]: the header has no END");
  // What more is wrong is not the end's fault, and a file without any image is none.
  std::string cut;
  check::throws<FitsError>([&] { scan(good + std::string(2880, 'x'), &cut); },
                           "does not begin with");
  open = good.substr(0, 2880);
  open.replace(open.find("END "), 3, "   ");
  check::throws<FitsError>([&] { scan(open, &cut); }, "raw.fits[0]: the header has no END");
}

void room_that_was_never_written_is_told() {
  const std::string good = image();
  const auto roomy = [](const std::string& bytes, std::int64_t reserved, std::string* cut) {
    return scan_fits(RoomySource(bytes, reserved), cut);
  };
  const auto cut_is = [&](const std::string& bytes, std::int64_t reserved, const std::string& what,
                          check::Place where = check::Place::current()) {
    std::string cut;
    const auto hdus = roomy(bytes, reserved, &cut);
    check::equal(hdus.size(), std::size_t{1}, cut, where);
    check::equal(cut, what, "is: " + cut, where);
    return hdus[0];
  };
  const std::string behind = " bytes behind its last HDU were reserved, but never written";
  cut_is(good, 5760, "");
  cut_is(good, 5760 + 2879, "");
  cut_is(good, 5760 + 2880, "raw.fits: 2880" + behind);
  cut_is(good, 5760 + 9000, "raw.fits: 9000" + behind);
  cut_is(good + std::string(5000, '\0'), 5760 + 9000, "raw.fits: 9000" + behind);
  cut_is(good + std::string("\0 \r\n", 4), 5760 + 9000, "raw.fits: 9000" + behind);
  check::equal(roomy(good, 5760 + 9000, nullptr).size(), std::size_t{1});
  check::throws<FitsError>([&] { roomy(good + "x", 5760 + 9000, nullptr); },
                           "raw.fits[1]: 1 bytes are left");
  check::throws<FitsError>([&] { roomy(std::string(2880, '\0'), 9000, nullptr); },
                           "raw.fits: not a FITS file");

  // Of the data only ten bytes were written, or zeros that the file system does not keep.
  const std::string part = image_header() + std::string(10, 'a');
  const std::string written =
      "raw.fits[0]: the data should have 24 bytes, but 10 were written of "
      "the file's room";
  check::equal(cut_is(part, 5760, written).bytes_there, std::int64_t{10});
  check::throws<FitsError>([&] { roomy(part, 5760, nullptr); }, written);
  const std::string summed = image_header({card("DATASUM", "'123'")}) + std::string(10, 'a');
  check::equal(cut_is(summed, 5760, "").bytes_there, std::int64_t{24});
  check::equal(roomy(summed, 5760, nullptr)[0].bytes_there, std::int64_t{24});
  check::equal(cut_is(summed, 2880 + 24, "").bytes_there, std::int64_t{24});
  check::equal(cut_is(summed, 2880 + 23, written).bytes_there, std::int64_t{10});
  cut_is(summed, 5760 + 9000, "raw.fits: 9000" + behind);
  const std::string unsummed = image_header({card("DATASUM", "''")}) + std::string(10, 'a');
  check::equal(cut_is(unsummed, 5760, written).bytes_there, std::int64_t{10});
}

}  // namespace

int main() {
  integers_follow_their_grammar();
  reals_follow_their_grammar();
  logicals_and_strings_follow_their_grammar();
  a_card_twice_must_say_the_same();
  cards_are_taken_apart();
  the_end_is_the_end();
  structure_stands_in_its_place();
  every_bitpix_has_its_format();
  extensions_are_named_and_measured();
  sizes_do_not_overflow();
  images_in_tables_are_understood();
  what_stands_behind_the_last_hdu_says_nothing();
  at_most_4096_hdus_are_read();
  a_cut_off_file_says_what_is_missing();
  room_that_was_never_written_is_told();
  return check::failures();
}
