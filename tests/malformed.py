"""Malformed, hostile and odd but legal FITS files, each with what must become of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 2880
N_ROWS, N_COLS = 6, 20
PIXELS = np.arange(N_ROWS * N_COLS, dtype=">i2").reshape(N_ROWS, N_COLS)


@dataclass(frozen=True)
class Case:
    """`outcome` is "done", "partial", or a part of the message of the refusal."""

    name: str
    data: bytes
    outcome: str


def card(keyword: str, value: str, comment: str = "") -> str:
    text = f"{keyword:<8}= {value:>20}" + (f" / {comment}" if comment else "")
    return f"{text:<80}"[:80]


def header(*cards: str) -> bytes:
    text = "".join(f"{c:<80}" for c in cards) + f"{'END':<80}"
    return text.encode("latin-1") + b" " * (-len(text) % BLOCK)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def primary(**changes: str | None) -> list[str]:
    """Cards of a plain 16-bit image; None leaves a card out, a text replaces its value."""
    values = {"SIMPLE": "T", "BITPIX": "16", "NAXIS": "2", "NAXIS1": str(N_COLS),
              "NAXIS2": str(N_ROWS)}  # fmt: skip
    extra = {k: v for k, v in changes.items() if k not in values}
    merged = {k: changes.get(k, v) for k, v in values.items()} | extra
    return [card(k, v) for k, v in merged.items() if v is not None]


def extension(kind: str = "'IMAGE   '", **changes: str | None) -> list[str]:
    values = {"XTENSION": kind, "BITPIX": "16", "NAXIS": "2", "NAXIS1": str(N_COLS),
              "NAXIS2": str(N_ROWS), "PCOUNT": "0", "GCOUNT": "1"}  # fmt: skip
    extra = {k: v for k, v in changes.items() if k not in values}
    merged = {k: changes.get(k, v) for k, v in values.items()} | extra
    return [card(k, v) for k, v in merged.items() if v is not None]


STATED = {"BITPIX": "16", "NAXIS": "2", "NAXIS1": "20", "NAXIS2": "6"}
DATA = padded(PIXELS.tobytes())
GOOD = header(*primary()) + DATA


def cases() -> Iterator[Case]:
    yield Case("good", GOOD, "done")
    yield from _beginnings()
    yield from _structural_values()
    yield from _missing_and_misplaced()
    yield from _scaling()
    yield from _cards()
    yield from _sizes()
    yield from _extensions()
    yield from _skips()
    yield from _ends()
    yield from _tiles()


def _beginnings() -> Iterator[Case]:
    yield Case("empty", b"", "not a FITS file: 0 bytes")
    yield Case("one byte", b"S", "not a FITS file: 1 bytes")
    yield Case("short block", GOOD[: BLOCK - 1], "not a FITS file")
    yield Case("zeros", bytes(2 * BLOCK), "does not begin with")
    yield Case("blanks", b" " * 2 * BLOCK, "does not begin with")
    yield Case("text", b"hello world, " * 1000, "does not begin with")
    for name, magic in (("zip", b"PK\x03\x04"), ("png", b"\x89PNG\r\n"), ("hdf5", b"\x89HDF\r\n"),
                        ("elf", b"\x7fELF"), ("pdf", b"%PDF-1.4")):  # fmt: skip
        yield Case(f"a {name} file", magic + bytes(2 * BLOCK), "does not begin with")
    yield Case("byte order mark", b"\xef\xbb\xbf" + GOOD[:-3], "does not begin with")
    yield Case("lower case", GOOD.replace(b"SIMPLE", b"simple", 1), "does not begin with")
    yield Case("SIMPLE without =", GOOD.replace(b"SIMPLE  =", b"SIMPLE   ", 1), "does not begin")
    yield Case("XTENSION first", header(*extension()) + DATA, "does not begin with")
    for value in ("F", "'T'", "1", "", "TRUE", "t"):
        yield Case(f"SIMPLE = {value}", header(*primary(SIMPLE=value)) + DATA, "SIMPLE")


def _structural_values() -> Iterator[Case]:
    wrong = {
        "not an integer": ["'16'", "16.0", "1e1", "0x10", "16 16", "16,", "sixteen", "1_6", "--16",
                           "+-16", "T", "", "NaN", "1.", "16a", "(16, 0)"],
    }  # fmt: skip
    for keyword in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
        for value in wrong["not an integer"]:
            data = header(*primary(**{keyword: value})) + DATA
            yield Case(f"{keyword} = {value!r}", data, f"[0]: {keyword}")
        big = "99999999999999999999"
        yield Case(f"{keyword} of 20 digits", header(*primary(**{keyword: big})) + DATA, keyword)
    for value in ("0", "1", "7", "15", "17", "24", "-8", "-16", "-31", "63", "128", "-128", "65"):
        yield Case(f"BITPIX = {value}", header(*primary(BITPIX=value)) + DATA, "BITPIX")
    for value in ("-1", "1000", "9999999", "-999"):
        yield Case(f"NAXIS = {value}", header(*primary(NAXIS=value)) + DATA, "NAXIS")
    for keyword in ("NAXIS1", "NAXIS2"):
        for value in ("-1", "-20", "-9223372036854775808"):
            yield Case(f"{keyword} = {value}", header(*primary(**{keyword: value})) + DATA, keyword)
    yield Case("NAXIS = 0", header(*primary(NAXIS="0", NAXIS1=None, NAXIS2=None)), "no image")
    yield Case("NAXIS1 = 0", header(*primary(NAXIS1="0")), "no image")
    yield Case("NAXIS2 = 0", header(*primary(NAXIS2="0")), "no image")
    yield Case("plus signs", header(*primary(BITPIX="+16", NAXIS1="+20")) + DATA, "done")
    yield Case("leading zeros", header(*primary(NAXIS1="0020")) + DATA, "done")


def _missing_and_misplaced() -> Iterator[Case]:
    for keyword in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
        yield Case(f"no {keyword}", header(*primary(**{keyword: None})) + DATA, keyword)
    cards = primary()
    for a in range(1, len(cards)):
        for b in range(a + 1, len(cards)):
            moved = cards[:]
            moved[a], moved[b] = moved[b], moved[a]
            yield Case(f"cards {a} and {b} swapped", header(*moved) + DATA, "must be")
    for keyword, other in (("BITPIX", "8"), ("NAXIS", "1"), ("NAXIS1", "19"), ("NAXIS2", "7"),
                           ("BZERO", "1"), ("BSCALE", "2"), ("BLANK", "3")):  # fmt: skip
        same = card(keyword, STATED.get(keyword, "5"))
        base = [] if keyword in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2") else [same]
        twice = header(*primary(), *base, card(keyword, other)) + DATA
        yield Case(f"{keyword} twice, differently", twice, f"{keyword} stands twice")
        again = header(*primary(), *base, same) + DATA
        yield Case(f"{keyword} twice, the same", again, "done")
    yield Case("a card before BITPIX", header(cards[0], card("EXTEND", "T"), *cards[1:]) + DATA,
               "card 2 must be BITPIX")  # fmt: skip
    yield Case("a blank card before NAXIS", header(*cards[:2], "", *cards[2:]) + DATA, "must be")


def _scaling() -> Iterator[Case]:
    for keyword in ("BZERO", "BSCALE"):
        for value in ("'1'", "one", "", "NaN", "Inf", "-Inf", "1e999", "1,5", "0x1p3", "1e", "T"):
            data = header(*primary(), card(keyword, value)) + DATA
            yield Case(f"{keyword} = {value!r}", data, keyword)
        for value in ("1", "1.", "1.0", "1E0", "1D0", "+1", "1.0E+00", "1.0D-00"):
            yield Case(
                f"{keyword} = {value}", header(*primary(), card(keyword, value)) + DATA, "done"
            )
    yield Case("BSCALE = 0", header(*primary(), card("BSCALE", "0")) + DATA, "BSCALE is 0")
    for value in ("'1'", "1.5", "x", "", "99999999999999999999"):
        yield Case(f"BLANK = {value!r}", header(*primary(), card("BLANK", value)) + DATA, "BLANK")
    yield Case("BLANK beyond the type", header(*primary(), card("BLANK", "99999")) + DATA, "done")


def _cards() -> Iterator[Case]:
    for name, text in (
        ("a tab", "KEY     = \t1"), ("a newline", "KEY     = 1\n"), ("a zero", "KEY     = \x001"),
        ("an escape", "KEY     = '\x1b[31m'"), ("a delete", "KEY     = '\x7f'"),
        ("latin-1", "KEY     = '\xe9'"), ("high bytes", "\xff\xfe\xfd"),
    ):  # fmt: skip
        yield Case(f"{name} in a card", header(*primary(), text) + DATA, "printable ASCII")
    for text in ("key     = 1", "KEY!    = 1", "K Y     = 1", " KEY    = 1", "KEY.A   = 1"):
        yield Case(f"keyword {text[:8]!r}", header(*primary(), text) + DATA, "keyword")
    for text in ("KEY     = 'open", "KEY     = 'it''s", "KEY     = '" + "x" * 69):
        yield Case(f"string {text[10:16]!r} not closed", header(*primary(), text) + DATA, "quote")
    for name, text in (
        ("a comment", "COMMENT anything = 'goes"), ("history", "HISTORY it's"),
        ("a long keyword", "HIERARCH ESO DET X = 1"), ("an empty string", "KEY     = ''"),
        ("quotes", "KEY     = 'it''s'"), ("no value", "KEY     ="), ("a slash", "KEY     = 1/2"),
        ("complex", "KEY     = (1, 2)"), ("continued", "CONTINUE  'abc'"), ("blank", ""),
        ("hidden END", "KEY     = 'END     '"), ("end in a comment", "COMMENT END"),
    ):  # fmt: skip
        yield Case(f"{name} is legal", header(*primary(), text) + DATA, "done")
    many = [card(f"K{i}", "1") for i in range(5000)]
    yield Case("5,000 cards", header(*primary(), *many) + DATA, "done")
    endless = "".join(primary()) + card("KEY", "1") * 36_100
    yield Case("36,100 cards", endless.encode() + bytes(BLOCK), "no END within")
    no_end = "".join(primary()).ljust(BLOCK).encode()
    yield Case("no END", no_end + DATA, "printable ASCII")
    yield Case("no END and no data", no_end, "no END")
    yield Case("cards behind END", (header(*primary())[:-80] + card("KEY", "1").encode()) + DATA,
               "behind END")  # fmt: skip


def _sizes() -> Iterator[Case]:
    huge = "9223372036854775807"
    yield Case("NAXIS1 of 2^63 - 1", header(*primary(NAXIS1=huge)) + DATA, "64 bits")
    yield Case("both axes 2^40", header(*primary(NAXIS1=str(2**40), NAXIS2=str(2**40))) + DATA,
               "64 bits")  # fmt: skip
    yield Case("2^61 bytes", header(*primary(NAXIS1=str(2**58))) + DATA, "promises")
    yield Case(
        "a row of 800 MB", header(*primary(NAXIS1="400000000", NAXIS2="1")) + DATA, "promises"
    )
    yield Case("6 GiB stated", header(*primary(NAXIS2=str(160_000_000))) + DATA, "promises")
    axes = [card("NAXIS", "999"), *(card(f"NAXIS{i}", "1") for i in range(1, 1000))]
    yield Case("999 axes", header(*primary()[:2], *axes) + padded(b"\0\0"), "NAXIS = 999")
    deep = [card("NAXIS", "4"), *(card(f"NAXIS{i}", "2") for i in range(1, 5))]
    yield Case("4 axes", header(*primary()[:2], *deep) + padded(bytes(32)), "NAXIS = 4")
    yield Case("1 axis", header(*primary(NAXIS="1", NAXIS2=None)) + DATA, "done")
    cube = [card("NAXIS", "3"), *(card(f"NAXIS{i}", "2") for i in range(1, 4))]
    yield Case(
        "a cube without skips", header(*primary()[:2], *cube) + padded(bytes(16)), "a cube of"
    )


def _extensions() -> Iterator[Case]:
    empty = header(*primary(NAXIS="0", NAXIS1=None, NAXIS2=None), card("EXTEND", "T"))
    good = header(*extension()) + DATA
    yield Case("an image extension", empty + good, "done")
    yield Case("two image extensions", empty + good + good, "done")
    named = header(*extension(EXTNAME="'A       '")) + DATA
    yield Case("the same EXTNAME twice", empty + named + named, "done")
    for keyword in ("PCOUNT", "GCOUNT"):
        yield Case(f"no {keyword}", empty + header(*extension(**{keyword: None})) + DATA, keyword)
        for value in ("-1", "2", "x", "1.0", "''"):
            case = header(*extension(**{keyword: value})) + DATA
            yield Case(f"{keyword} = {value}", empty + case, keyword)
    for kind in ("'A3DTABLE'", "'FOREIGN '", "'DUMP    '", "'        '"):
        other = header(*extension(kind)) + DATA
        yield Case(f"an unknown extension {kind}", empty + other + good, "done")
        yield Case(f"nothing but {kind}", empty + other, "no image")
    yield Case("XTENSION no string", empty + header(*extension("IMAGE")) + DATA, "XTENSION")
    table = header(*extension("'BINTABLE'", BITPIX="8", NAXIS1="4", TFIELDS="1",
                              TFORM1="'1J      '")) + padded(bytes(24))  # fmt: skip
    yield Case("a table before the image", empty + table + good, "done")
    broken = header(*extension("'BINTABLE'", BITPIX="8", NAXIS1="4", TFIELDS="9")) + padded(
        bytes(24)
    )
    yield Case("a broken table before the image", empty + broken + good, "done")
    yield Case("a broken table behind the image", empty + good + broken, "done")
    yield Case("random groups", header(*primary(NAXIS1="0"), card("GROUPS", "T"),
                                       card("PCOUNT", "0"), card("GCOUNT", "1")) + DATA,
               "random groups")  # fmt: skip
    yield Case("4,100 HDUs", empty + header(*extension(NAXIS="0", NAXIS1=None, NAXIS2=None)) * 4100,
               "more than 4096 HDUs")  # fmt: skip
    yield Case("garbage for an extension", empty + b"garbage " * 720, "does not begin with")
    yield Case("END missing in an extension", empty + good + b" " * 80 * 36 + good, "other bytes")


def _skips() -> Iterator[Case]:
    for keyword in ("NDCMS", "NDCM", "NSAMP"):
        for value in ("0", "-5", "2.5", "7", "'7'", "1e30"):
            data = header(*primary(), card(keyword, value)) + DATA
            yield Case(
                f"{keyword} = {value}", data, f"{keyword} = " if "7" not in value else "multiple"
            )
        for value in ("5", "'5'", "5.0", "'  5 '", "1"):
            data = header(*primary(), card(keyword, value)) + DATA
            yield Case(f"{keyword} = {value} is legal", data, "done")
        yield Case(
            f"{keyword} is no number", header(*primary(), card(keyword, "'many'")) + DATA, "done"
        )
    for a, b in (("NDCMS", "4"), ("NSAMP", "'4'")):
        data = header(*primary(), card(a, "5"), card(a, b)) + DATA
        yield Case(f"{a} twice, differently", data, f"{a} stands twice")


def _ends() -> Iterator[Case]:
    start = BLOCK
    row = 2 * N_COLS
    for n_bytes in (0, 1, row - 1, row, row + 1, 3 * row, N_ROWS * row - 1):
        yield Case(f"cut after {n_bytes} bytes of data", GOOD[: start + n_bytes], "partial")
    yield Case("cut in the padding", GOOD[: start + N_ROWS * row], "done")
    yield Case("cut one byte before the end", GOOD[:-1], "done")
    yield Case("zeros behind the end", GOOD + bytes(BLOCK), "done")
    yield Case("blanks behind the end", GOOD + b" " * BLOCK, "done")
    yield Case("odd zeros behind the end", GOOD + bytes(100), "done")
    yield Case("a newline behind the end", GOOD + b"\n", "done")
    yield Case("bytes behind the end", GOOD + b"\x01" * BLOCK, "does not begin with")
    yield Case("bytes behind zeros", GOOD + bytes(BLOCK) + b"x" * 10, "other bytes")
    second = header(*extension()) + DATA
    for cut in (1, 79, 80, BLOCK - 1, BLOCK, BLOCK + 10, BLOCK + 3 * row):
        yield Case(f"second HDU cut after {cut} bytes", GOOD + second[:cut], "partial")


def _tiles() -> Iterator[Case]:
    def table(**changes: str | None) -> bytes:
        values: dict[str, str | None] = {
            "BITPIX": "8", "NAXIS1": "8", "NAXIS2": str(N_ROWS), "PCOUNT": str(N_ROWS * 44),
            "TFIELDS": "1", "TTYPE1": "'COMPRESSED_DATA'", "TFORM1": "'1PB     '", "ZIMAGE": "T",
            "ZCMPTYPE": "'NOCOMPRESS'", "ZBITPIX": "16", "ZNAXIS": "2", "ZNAXIS1": str(N_COLS),
            "ZNAXIS2": str(N_ROWS), "ZTILE1": str(N_COLS), "ZTILE2": "1",
        }  # fmt: skip
        cards = header(*extension("'BINTABLE'", **(values | changes)))
        pointers = np.array([[40, 40 * i] for i in range(N_ROWS)], ">i4").tobytes()
        return EMPTY + cards + padded(pointers + PIXELS.tobytes() + bytes(4 * N_ROWS))

    yield Case("tiles", table(), "done")
    for keyword in ("ZBITPIX", "ZNAXIS", "ZNAXIS1", "ZNAXIS2"):
        yield Case(f"no {keyword}", table(**{keyword: None}), keyword)
        for value in ("-1", "x", "1.5", "'2'", "99999999999999999999"):
            yield Case(f"{keyword} = {value}", table(**{keyword: value}), keyword)
    yield Case("no ZCMPTYPE", table(ZCMPTYPE=None), "ZCMPTYPE")
    yield Case("unknown ZCMPTYPE", table(ZCMPTYPE="'MAGIC_1 '"), "cannot be read by CFITSIO")
    yield Case("ZIMAGE = x", table(ZIMAGE="'x'"), "ZIMAGE")
    for value in ("0", "-3", "7"):
        yield Case(f"ZTILE1 = {value}", table(ZTILE1=value), "[1]")
    yield Case("too few tiles", table(ZTILE2="2"), "has 3 tiles")
    yield Case("more rows stated", table(ZNAXIS2="60"), "has 60 tiles")
    most = str(2**63 - 1)
    yield Case("rows to the limit", table(ZNAXIS2=most), f"has {most} tiles")
    yield Case("rows to the limit in twos", table(ZNAXIS2=most, ZTILE2="2"), f"has {2**62} tiles")
    yield Case("no column of data", table(TTYPE1="'OTHER   '"), "no column COMPRESSED_DATA")
    yield Case("data in a plain column", table(TFORM1="'8B      '"), "COMPRESSED_DATA has format")
    for form in ("'1Z      '", "'        '", "'99999999999999999999B'", "'-1PB    '"):
        yield Case(f"TFORM1 = {form}", table(TFORM1=form), "[1]")
    yield Case("columns wider than the table", table(NAXIS1="4", NAXIS2=str(2 * N_ROWS)), "[1]")
    for value in ("0", "1000", "-1", "x"):
        yield Case(f"TFIELDS = {value}", table(TFIELDS=value), "TFIELDS")
    yield Case("THEAP behind the data", table(THEAP="99999"), "THEAP")
    yield Case("THEAP in the table", table(THEAP="3"), "THEAP")
    good = table()
    at = good.index(b"END", good.index(b"ZTILE2")) // BLOCK * BLOCK + BLOCK
    for name, pointer in (("outside of", (40, 10**6)), ("longer than", (10**8, 0)),
                          ("before", (40, -4)), ("negative in", (-40, 0))):  # fmt: skip
        bad = bytearray(good)
        bad[at : at + 8] = np.array(pointer, ">i4").tobytes()
        yield Case(f"a tile {name} the heap", bytes(bad), "tile 1 ")
    bad = bytearray(good)
    bad[at : at + 4] = np.array(38, ">i4").tobytes()
    yield Case("a tile that is too short", bytes(bad), "tile 1 has another number of samples")
    yield Case("a RICE tile of other bytes", table(ZCMPTYPE="'RICE_1  '", ZNAME1="'BYTEPIX '",
                                                   ZVAL1="2"), "[1]: tile")  # fmt: skip
    for value in ("0", "3", "8", "x"):
        yield Case(f"BYTEPIX = {value}", table(ZCMPTYPE="'RICE_1  '", ZNAME1="'BYTEPIX '",
                                               ZVAL1=value), "BYTEPIX")  # fmt: skip
    yield Case("a gzip tile of other bytes", table(ZCMPTYPE="'GZIP_1  '"), "is damaged")


EMPTY = header(*primary(NAXIS="0", NAXIS1=None, NAXIS2=None), card("EXTEND", "T"))
