"""How files are understood: layouts, images, amplifiers, skips, and where each number came from.

The table `LAYOUTS` says what the headers of each layout have, and where the samples are. The first
row that fits a file is taken, or the one that the config names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import _core
from .cards import card
from .cards import header as header_of
from .inputs import KEYWORDS, LAYOUTS, PACKETS, InputConfig, Layout, is_packets

__all__ = [
    "FileLayout",
    "ImageLayout",
    "declared_image",
    "declared_layout",
    "packet_number",
    "read_layout",
    "regions_of",
    "stem_of",
]

_MANY = 2**48  # no count of rows, columns or samples is larger
_TAIL_BYTES = 16 << 20
_LARGE = 64 << 20  # bytes
_ENDINGS = (".fz", ".fits", ".fit", ".fts", ".dat", ".gz", ".bz2", ".xz")


def stem_of(path: Path) -> str:
    """Name of a file without its FITS endings: ``run7.fits.fz`` gives ``run7``."""
    name = "stdin" if path == Path("-") else path.name
    while (ending := Path(name).suffix.lower()) in _ENDINGS and Path(name).stem:
        name = name[: -len(ending)]
    return name


@dataclass(frozen=True)
class ImageLayout:
    """One amplifier's image in a file.

    Attributes
    ----------
    hdu
        The HDU (the first of several), as the core's scanner found it.
    amplifier
        EXTNAME, AMPNAME, ``L`` and ``U``, or ``EXT`` and the number of the HDU.
    n_rows, n_cols, n_skips
        Shape in pixels and samples, of the part that is read.
    first_row, first_sample, is_reversed
        Where it begins in the HDU, and whether it is mirrored.
    n_skips_from, prescan_from, overscan_from
        Where the number came from, in words.
    rows_there
        Rows that the file holds in whole; fewer than n_rows where it is cut off.
    averaged
        Samples that the file's writer has averaged already; 1: none.
    skips
        Where the skips lie: ``"columns"``, ``"planes"``, ``"hdus"`` or ``"regions"``.
    planes
        File and HDU of every plane of samples; one where they are in one HDU. No file's name: the
        rows come by themselves.
    path
        The file as the user named it.
    reader
        ``"core"``, ``"fitsio row slices"`` for rare compressions, ``"packets"`` or ``"socket"``.
    lossy
        Why the stored samples may differ from those measured; empty: they do not.
    notes
        What does not agree, or was left out, in words.
    """

    hdu: _core.FitsHdu
    amplifier: str
    n_rows: int
    n_cols: int
    n_skips: int
    n_skips_from: str
    averaged: int
    rows_there: int
    skips: str
    prescan_cols: int
    prescan_from: str
    overscan_cols: int
    overscan_from: str
    prescan_rows: int
    overscan_rows: int
    reader: str
    lossy: str
    header: dict[str, float] = field(repr=False)
    planes: tuple[tuple[str, _core.FitsHdu], ...] = field(repr=False)
    path: Path = Path()
    first_row: int = 0
    first_sample: int = 0
    is_reversed: bool = False
    pad: int | None = None
    unit: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_whole_hdu(self) -> bool:
        """Whether the samples are all those of one plain HDU."""
        n = self.n_rows * self.n_cols * self.n_skips
        return (
            len(self.planes) == 1
            and self.reader == "core"
            and not self.hdu.compression
            and n == math.prod(self.hdu.axes)
            and self.rows_there == self.n_rows
        )

    @property
    def active(self) -> tuple[int, int, int, int]:
        """First row, row after the last, first column, column after the last of active pixels."""
        rows = self.prescan_rows, max(self.prescan_rows, self.n_rows - self.overscan_rows)
        cols = self.prescan_cols, max(self.prescan_cols, self.n_cols - self.overscan_cols)
        return *rows, *cols

    @property
    def n_bytes(self) -> int:
        """Size of the raw samples, as stored without compression."""
        n = self.n_rows * self.n_cols * self.n_skips
        return n * int(self.hdu.dtype[2:] or 1)


@dataclass(frozen=True)
class FileLayout:
    """All images of a file, and the HDUs that hold none; `cut` says what is missing at its end."""

    path: Path
    layout: Layout
    why: str
    images: tuple[ImageLayout, ...]
    others: tuple[tuple[_core.FitsHdu, str], ...]
    cut: str = ""


class _Header:
    """The cards of an image and of the primary HDU, by the roles of their keywords."""

    def __init__(self, config: InputConfig, *hdus: _core.FitsHdu) -> None:
        self.words: dict[str, str] = {}
        self.numbers: dict[str, float] = {}
        self.hdu_of: dict[str, int] = {}
        self.config = config
        roles = {keyword for names in KEYWORDS.values() for keyword in names}
        roles |= set(config.keywords.values())
        for hdu in hdus:
            for keyword, text, _ in hdu.cards:
                before = self.words.get(keyword)
                if keyword in roles and before not in (None, text):
                    if text and self.hdu_of[keyword] == hdu.index:
                        raise _core.FitsError(
                            f"HDU {hdu.index}: {keyword} stands twice, as {before} and as {text}"
                        )
                    continue
                if keyword in self.words or not text:
                    continue
                self.words[keyword] = text
                self.hdu_of[keyword] = hdu.index
                try:
                    value = float(text.replace("D", "E"))
                except ValueError:
                    continue
                if math.isfinite(value):
                    self.numbers[keyword] = value

    def keyword(self, role: str, *, words: bool = False) -> str | None:
        known = self.words if words else self.numbers
        own = self.config.keywords.get(role)
        names = (own,) if own else KEYWORDS[role]
        return next((name for name in names if name in known), None)

    def count(self, place: str, role: str) -> tuple[int, str] | None:
        """A positive whole number, and the keyword that has it."""
        keyword = self.keyword(role)
        if keyword is None:
            return None
        value = self.numbers[keyword]
        if value != int(value) or not 1 <= value < _MANY:
            raise _core.FitsError(f"{place}: {keyword} = {value:g} must be a positive whole number")
        return int(value), keyword

    def section(self, role: str) -> tuple[int, int, int, int, str] | None:
        """A region ``[x1:x2,y1:y2]`` of FITS, as 0-based half-open ranges, and its keyword."""
        keyword = self.keyword(role, words=True)
        if keyword is None:
            return None
        return (*_section(self.words[keyword]), keyword) if _section(self.words[keyword]) else None


def _section(text: str) -> tuple[int, int, int, int] | tuple[()]:
    found = re.fullmatch(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]", text.strip())
    if not found:
        return ()
    x1, x2, y1, y2 = (int(part) for part in found.groups())
    return min(x1, x2) - 1, max(x1, x2), min(y1, y2) - 1, max(y1, y2)


def regions_of(hdu: _core.FitsHdu) -> list[tuple[int, int, int, int]]:
    """ROISEC1, ROISEC2, ... as 0-based half-open ranges (x1, x2, y1, y2)."""
    found = [(c[0], _section(c[1])) for c in hdu.cards if re.fullmatch(r"ROISEC\d+", c[0])]
    for keyword, section in found:
        if not section:
            raise _core.FitsError(f"HDU {hdu.index}: {keyword} is not [x1:x2,y1:y2]")
    return [section for _, section in found if section]


def _skips_of(place: str, header: _Header) -> tuple[int, str]:
    config = header.config
    if isinstance(config.n_skips, int):
        return config.n_skips, "config"
    if isinstance(config.n_skips, str):
        if config.n_skips not in header.numbers:
            nearest = _core.nearest_name(config.n_skips, list(header.numbers))
            hint = f'; nearest: "{nearest}"' if nearest else ""
            raise _core.FitsError(f'{place}: no number "{config.n_skips}" in the header{hint}')
        keyword: str | None = config.n_skips
    else:
        keyword = header.keyword("n_skips")
    if keyword is None:
        names = ", ".join(KEYWORDS["n_skips"])
        return 1, f"no keyword {names}: one sample per pixel"
    value = header.numbers[keyword]
    if value != int(value) or not 1 <= value < _MANY:
        raise _core.FitsError(f"{place}: {keyword} = {value:g} must be a positive whole number")
    return int(value), f"{keyword} of HDU {header.hdu_of[keyword]}"


@dataclass
class _Shape:
    """Rows, columns and skips of a frame, and the samples averaged before."""

    n_rows: int
    n_cols: int
    n_skips: int
    averaged: int = 1
    skips: str = "columns"


def _shape(
    place: str, hdu: _core.FitsHdu, n_skips: int, origin: str, header: _Header, layout: Layout
) -> _Shape:
    axes = [*hdu.axes]
    if len(axes) == 1:
        axes.append(1)
    if len(axes) == 3 and layout.skips == "columns":
        fits = [name for name, axis in (("columns", 0), ("planes", 2)) if axes[axis] == n_skips]
        if len(fits) != 1:
            raise _core.FitsError(
                f"{place}: a cube of {' x '.join(map(str, axes))} has the skips on NAXIS1 or "
                f"NAXIS3, but {'both are' if fits else 'neither is'} {n_skips} ({origin})"
            )
        if fits[0] == "columns":
            return _Shape(axes[2], axes[1], n_skips)
        return _Shape(axes[1], axes[0], n_skips, skips="planes")
    if len(axes) != 2:
        raise _core.FitsError(f"{place}: NAXIS = {len(axes)}; an image has 1 to 3 axes")
    width, n_rows = axes
    if layout.skips == "averaged":
        return _Shape(n_rows, width, 1, n_skips)
    if layout.skips in ("hdus", "files"):
        return _Shape(n_rows, width, n_skips, skips="hdus")
    config = header.config
    counted = header.count(place, "n_cols")
    n_cols, keyword = counted or (None, "")
    if config.n_cols is not None:
        n_cols, keyword = config.n_cols, "n_cols"
    if layout.skips == "regions":
        if n_cols is None:
            raise _core.FitsError(f"{place}: regions need the columns; set n_cols in [input]")
        return _Shape(n_rows, n_cols, n_skips, skips="regions")
    if n_cols == width and n_skips > 1 and origin != "config" and keyword != "n_cols":
        if hdu.dtype[1:2] == "f":
            return _Shape(n_rows, width, 1, n_skips)
        if width % n_skips or layout.name != "leach":
            raise _core.FitsError(
                f"{place}: {keyword} = NAXIS1 = {width}, so either the {n_skips} samples "
                f"({origin}) are averaged already, or {keyword} counts them; "
                "set n_skips or n_cols in [input]"
            )
        return _Shape(n_rows, width // n_skips, n_skips)  # the keyword counts samples
    if n_cols is not None and width == n_cols * n_skips:
        return _Shape(n_rows, n_cols, n_skips)
    if (n_cols is None or origin == "config") and width % n_skips == 0:
        return _Shape(n_rows, width // n_skips, n_skips)
    named = f"{keyword} = {n_cols}" if n_cols is not None else ""
    raise _core.FitsError(
        f"{place}: NAXIS1 = {width} is not "
        + (f"{named} times " if named else "a multiple of ")
        + f"n_skips = {n_skips} ({origin})"
    )


@dataclass
class _Regions:
    prescan_cols: int
    prescan_from: str
    overscan_cols: int
    overscan_from: str
    prescan_rows: int
    overscan_rows: int


def _regions(place: str, header: _Header, shape: _Shape, halves: int, notes: list[str]) -> _Regions:
    """Prescan and overscan of one amplifier; `halves` of them share a frame's row."""
    config = header.config
    width = shape.n_cols
    counted = header.count(place, "serial_binning")
    binning, binning_word = counted or (1, "")
    prescan, prescan_from = 0, "default"
    overscan, overscan_from = 0, "default"
    rows = (0, 0)
    section = header.section("active") if halves == 1 else None
    if keyword := header.keyword("prescan_cols"):
        prescan = -(-int(header.numbers[keyword]) // binning)
        prescan_from = keyword + (f" / {binning_word}" if binning > 1 else "")
    if config.prescan_cols is not None:
        prescan, prescan_from = config.prescan_cols, "config"
    physical = header.count(place, "physical_cols")
    if config.physical_cols is not None:
        physical, section = (config.physical_cols, "physical_cols of the config"), None
    ccd = header.count(place, "ccd_cols")
    if section is not None:
        x1, x2, y1, y2, keyword = section
        if x2 <= width and y2 <= shape.n_rows:
            overscan, overscan_from, rows = width - x2, keyword, (y1, shape.n_rows - y2)
            if config.prescan_cols is None:
                prescan, prescan_from = x1, keyword
        else:
            notes.append(f"{keyword} = {header.words[keyword]} is outside of the image; not used")
    elif (
        config.physical_cols is None
        and (bias := header.section("overscan")) is not None
        and halves == 1
    ):
        x1, x2, _, _, keyword = bias
        if x2 == width and x1 > prescan:
            overscan, overscan_from = width - x1, keyword
        else:
            notes.append(f"{keyword} = {header.words[keyword]} does not end the row; not used")
    elif physical is not None or ccd is not None:
        # PHYSCOL: the columns of the CCD that the amplifiers of this frame share. CCDNCOL: of the
        # CCD, of which each LTA amplifier reads one half.
        n_cols, keyword = physical or ccd or (0, "")
        share = halves if physical else 2
        active = -(-n_cols // (binning * share))
        if width > prescan + active:
            overscan, overscan_from = width - prescan - active, keyword
    if config.overscan_cols is not None:
        overscan, overscan_from = config.overscan_cols, "config"
    prescan_rows = rows[0] if config.prescan_rows is None else config.prescan_rows
    overscan_rows = rows[1] if config.overscan_rows is None else config.overscan_rows
    return _Regions(prescan, prescan_from, overscan, overscan_from, prescan_rows, overscan_rows)


def _cut(place: str, what: str, n: int, begin: int, end: int | None) -> tuple[int, int]:
    """A half-open range of `n`, negative counts from the end."""
    first = begin + n if begin < 0 else begin
    last = n if end is None else end + n if end < 0 else min(end, n)
    if not 0 <= first < last:
        raise _core.ConfigError(
            f"{place}: input.begin_{what} = {begin} and input.end_{what} = {end} leave none of "
            f"{n} {what}s"
        )
    return first, last


def _lossy(hdu: _core.FitsHdu) -> str:
    if hdu.compression == "HCOMPRESS_1":
        scale = {card[0]: card[1] for card in hdu.cards}.get("ZVAL1", "0")
        if scale not in ("0", "0.0", "0."):
            return f"HCOMPRESS_1 with a scale of {scale}"
    if hdu.compression and hdu.dtype[1:2] == "f":
        quantised = {card[0]: card[1] for card in hdu.cards}.get("ZQUANTIZ", "NO_DITHER")
        scaled = any(c[0] == "ZSCALE" or (c[0][:5], c[1]) == ("TTYPE", "ZSCALE") for c in hdu.cards)
        if scaled and quantised != "NONE":
            return f"floating samples quantised before {hdu.compression} ({quantised})"
    return ""


def _rows_there(place: str, file: str, hdu: _core.FitsHdu, shape: _Shape) -> int:
    """Rows of the frame that are in the file as a whole."""
    if hdu.bytes_there == hdu.data_bytes:
        return shape.n_rows
    if hdu.data_bytes > _LARGE and hdu.bytes_there * 1000 < hdu.data_bytes:
        raise _core.FitsError(
            f"{place}: the header promises {hdu.data_bytes} bytes of data, but the file has "
            f"{hdu.bytes_there}: too few to be the begin of them"
        )
    if not hdu.compression:
        n_bytes = int(hdu.dtype[2:])
        if shape.skips == "planes":
            before = (shape.n_skips - 1) * shape.n_rows * shape.n_cols * n_bytes
            return max(0, hdu.bytes_there - before) // (shape.n_cols * n_bytes)
        return hdu.bytes_there // (math.prod(hdu.axes[: max(1, len(hdu.axes) - 1)]) * n_bytes)
    if shape.skips == "columns" and _core.knows_tiles(hdu):
        return _core.complete_rows(file, hdu)
    raise _core.FitsError(
        f"{place}: {hdu.compression}-compressed data is cut off after {hdu.bytes_there} of "
        f"{hdu.data_bytes} bytes; nothing of it can be read"
    )


def _zero_rows(file: str, hdu: _core.FitsHdu, rows_there: int) -> int:
    """Rows at the end of a plain frame of which every byte is zero; not all are looked for."""
    row_bytes = math.prod(hdu.axes[: max(1, len(hdu.axes) - 1)]) * int(hdu.dtype[2:])
    n_zero = 0
    with Path(file).open("rb") as opened:
        while n_zero < rows_there and (n_zero + 1) * row_bytes <= _TAIL_BYTES:
            n = min(rows_there - n_zero, max(1, (1 << 16) // row_bytes))
            opened.seek(hdu.data_offset + (rows_there - n_zero - n) * row_bytes)
            rows = opened.read(n * row_bytes).rstrip(b"\0")
            n_zero += n - -(-len(rows) // row_bytes)
            if rows:
                break
    return n_zero


def _understand(
    path: Path,
    layout: Layout,
    planes: Sequence[tuple[str, _core.FitsHdu]],
    primary: _core.FitsHdu,
    config: InputConfig,
) -> list[ImageLayout]:
    """The image, or the two halves, of an HDU, or of one HDU per sample."""
    hdu = planes[0][1]
    place = f"{path.name}[{hdu.index}]"
    header = _Header(config, hdu, primary)
    n_skips, origin = _skips_of(place, header)
    notes: list[str] = []
    if layout.skips in ("hdus", "files"):
        if n_skips not in (1, len(planes)):
            notes.append(f"{origin.split()[0]} = {n_skips}, but there are {len(planes)} samples")
        n_skips, origin = len(planes), f"the number of {layout.skips}"
        for other, plane in planes:
            if plane.axes != hdu.axes or plane.dtype != hdu.dtype:
                raise _core.FitsError(
                    f"{Path(other).name}[{plane.index}]: {plane.dtype} "
                    f"{' x '.join(map(str, plane.axes))} is not of the type and shape of the first "
                    f"sample, {hdu.dtype} {' x '.join(map(str, hdu.axes))}"
                )
    shape = _shape(place, hdu, n_skips, origin, header, layout)
    if shape.averaged > 1:
        origin = f"{shape.averaged} samples ({origin}) are averaged already"
    if (rows := header.count(place, "n_rows")) and rows[0] != shape.n_rows:
        notes.append(f"{rows[1]} = {rows[0]}, but the HDU has {shape.n_rows} rows")
    if (total := header.count(place, "n_samples")) and shape.averaged == 1:
        expected = shape.n_rows * shape.n_cols * shape.n_skips
        if total[0] != expected:
            notes.append(f"{total[1]} = {total[0]} samples arrived, but the shape has {expected}")

    word = header.keyword("amplifiers", words=True)
    halves = 2 if word and header.words[word].strip() in ("UL", "LU") else 1
    if halves == 2:
        if shape.skips != "columns" or shape.n_cols % 2:
            raise _core.FitsError(
                f"{place}: {word} = {header.words[word or '']} puts two amplifiers into a row, but "
                f"there are {shape.n_cols} columns with the skips in {shape.skips}"
            )
        shape.n_cols //= 2
    regions = _regions(place, header, shape, halves, notes)
    begin_row, end_row = _cut(place, "row", shape.n_rows, config.begin_row, config.end_row)
    begin_col, end_col = _cut(place, "col", shape.n_cols, config.begin_col, config.end_col)
    n_cols = end_col - begin_col
    if shape.skips != "columns" and n_cols != shape.n_cols:
        raise _core.ConfigError(f"{place}: begin_col and end_col need the skips in columns")
    names = {card[0]: card[1] for card in hdu.cards}
    name = (layout.skips == "averaged" and names.get("AMPNAME")) or hdu.name or f"EXT{hdu.index}"
    reader = "core" if planes[0][0] else "packets" if is_packets(config) else "socket"
    in_core = all(
        not plane.compression or (shape.skips == "columns" and _core.knows_tiles(plane))
        for _, plane in planes
    )
    rows_there = min(_rows_there(place, file, plane, shape) for file, plane in planes)
    if planes[0][0] and shape.skips == "columns" and not hdu.compression:
        n_zero = _zero_rows(planes[0][0], hdu, rows_there)
        if n_zero:
            notes.append(f"every byte of the last {n_zero} rows is 0: were they ever written?")
    images = []
    for half in range(halves):
        reverse = half == 1
        # A mirrored half is counted from the frame's far end.
        first = begin_col if not reverse else 2 * shape.n_cols - end_col
        images.append(
            ImageLayout(
                hdu=hdu,
                amplifier=name if halves == 1 else ("L", "U")[half],
                n_rows=end_row - begin_row,
                rows_there=min(max(rows_there - begin_row, 0), end_row - begin_row),
                n_cols=n_cols,
                n_skips=shape.n_skips,
                n_skips_from=origin,
                averaged=shape.averaged,
                skips=shape.skips,
                prescan_cols=max(0, regions.prescan_cols - begin_col),
                prescan_from=regions.prescan_from,
                overscan_cols=max(0, regions.overscan_cols - (shape.n_cols - end_col)),
                overscan_from=regions.overscan_from,
                prescan_rows=max(0, regions.prescan_rows - begin_row),
                overscan_rows=max(0, regions.overscan_rows - (shape.n_rows - end_row)),
                reader=reader if in_core and shape.skips != "regions" else "fitsio row slices",
                lossy=_lossy(hdu),
                header=header.numbers,
                planes=tuple(planes),
                path=path,
                first_row=begin_row,
                first_sample=first * shape.n_skips,
                is_reversed=reverse,
                pad=layout.pad if shape.averaged == 1 and hdu.dtype[1:2] != "f" else None,
                unit=names.get("BUNIT", "") if layout.skips == "averaged" else "",
                notes=tuple(notes),
            )
        )
    return images


def _choose(
    config: InputConfig, primary: _core.FitsHdu, images: Sequence[_core.FitsHdu]
) -> tuple[Layout, str]:
    if config.layout is not None:
        return next(layout for layout in LAYOUTS if layout.name == config.layout), "config"
    header = _Header(config, images[0], primary)
    for layout in LAYOUTS:
        if all(keyword in header.words for keyword in layout.has):
            return layout, "has " + ", ".join(layout.has) if layout.has else "no other fits"
    raise AssertionError("the last layout fits everything")


def read_layout(
    path: str | Path | Sequence[str | Path],
    config: InputConfig | None = None,
    *,
    plain: Sequence[Path] | None = None,
) -> FileLayout:
    """Scan a file and say how it is understood.

    Parameters
    ----------
    path
        A file; or the files of one exposure with a sample in each, in their order.
    config
        What the config says of the input.
    plain
        The files that have the bytes, where those of `path` had to be unpacked.

    Raises
    ------
    FitsError
        The file is malformed, or shape and keywords disagree; names file, HDU and keyword.
    ConfigError
        An amplifier of the config is not in the file.
    IoError
        The file cannot be read.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(part) for part in path]
    config = config or InputConfig()
    opened = plain or paths
    if is_packets(config):
        return _packet_layout(paths, opened, config)
    try:
        found = [
            _core.scan_cut_fits(str(bytes_of), str(part))
            for bytes_of, part in zip(opened, paths, strict=True)
        ]
    except _core.FitsError as error:
        if paths[0].suffix != ".dat":
            raise
        raise _core.FitsError(
            f'{error}; packets of an LTA need layout = "{PACKETS}" in [input]'
        ) from None
    cut = next((cut for _, cut in found if cut), "")
    scanned = [hdus for hdus, _ in found]
    return _file_layout(paths, [str(bytes_of) for bytes_of in opened], scanned, config, cut)


def _file_layout(
    paths: Sequence[Path],
    opened: Sequence[str],
    scanned: Sequence[Sequence[_core.FitsHdu]],
    config: InputConfig,
    cut: str,
) -> FileLayout:
    """Understand the HDUs of the files of an exposure; no file's name: they are in none."""
    path, hdus = paths[0], scanned[0]
    images: list[_core.FitsHdu] = []
    others: list[tuple[_core.FitsHdu, str]] = []
    for hdu in hdus:
        if not hdu.axes:
            others.append((hdu, "no image" if hdu.kind in ("primary", "image") else hdu.kind))
        elif 0 in hdu.axes:
            others.append((hdu, "empty image"))
        else:
            images.append(hdu)
    if not images:
        raise _core.FitsError(f"{path.name}: no image in {len(hdus)} HDUs")
    layout, why = _choose(config, hdus[0], images)
    if layout.names:
        named = {hdu.name.upper() for hdu in images}
        value = next((name for name in layout.names if name in named), None)
        if value is None:
            raise _core.FitsError(
                f"{path.name}: no HDU is named {', '.join(layout.names)}, as layout "
                f"{layout.name} has it; found: {', '.join(sorted(named))}"
            )
        others += [(h, f"plane {h.name}") for h in images if h.name.upper() != value]
        images = [hdu for hdu in images if hdu.name.upper() == value]
    groups = _groups(layout, opened, scanned, images, config)
    understood = [
        image for group in groups for image in _understand(path, layout, group, hdus[0], config)
    ]
    if config.amplifiers != "all":
        known: dict[int | str, list[ImageLayout]] = {}
        for image in understood:
            known.setdefault(image.hdu.index, []).append(image)
            known.setdefault(image.amplifier, []).append(image)
        for amplifier in config.amplifiers:
            if amplifier not in known:
                names = ", ".join(map(str, known))
                raise _core.ConfigError(
                    f"{path.name}: no amplifier {amplifier!r}; known: {names or 'none'}"
                )
        understood = [image for amplifier in config.amplifiers for image in known[amplifier]]
    return FileLayout(path, layout, why, tuple(understood), tuple(others), cut)


def declared_image(
    name: str, index: int, dtype: str, shape: tuple[int, int, int], cards: Sequence[str]
) -> _core.FitsHdu:
    """The HDU that a FITS file with the same samples would have.

    Parameters
    ----------
    name
        Of the exposure, for messages.
    index
        Number of the image, from 1.
    dtype
        Of the samples, in any byte order.
    shape
        Rows, columns and skips.
    cards
        Further header cards, of 80 characters each; those of the shape are added.

    Raises
    ------
    FitsError
        The cards are no FITS header.
    """
    kind = np.dtype(dtype)
    n_rows, n_cols, n_skips = shape
    structure = [
        *card("SIMPLE", True),
        *card("BITPIX", kind.itemsize * (-8 if kind.kind == "f" else 8)),
        *card("NAXIS", 2),
        *card("NAXIS1", n_cols * n_skips),
        *card("NAXIS2", n_rows),
    ]
    given = {text[:8].rstrip() for text in cards}
    for keyword, size in (("NCOL", n_cols), ("NROW", n_rows), ("NSAMP", n_skips)):
        if keyword not in given:
            structure += card(keyword, size)
    return _core.scan_header(header_of([*structure, *cards]), name, index)


def declared_layout(path: Path, hdus: Sequence[_core.FitsHdu], config: InputConfig) -> FileLayout:
    """Understand images whose rows will come, as if they were in a file."""
    return _file_layout([path], [""], [hdus], config, "")


def _packet_layout(
    paths: Sequence[Path], opened: Sequence[Path], config: InputConfig
) -> FileLayout:
    """Packets have no header: the config says the shape, and an LTA has four channels."""
    shape = config.n_rows, config.n_cols, config.n_skips
    n_rows, n_cols, n_skips = (size for size in shape if isinstance(size, int))
    images = [
        declared_image(paths[0].name, index, "i4", (n_rows, n_cols, n_skips), [])
        for index in range(1, _core.LtaPackets.n_channels + 1)
    ]
    numbers = [packet_number(path) for path in paths]
    for place, (path, number) in enumerate(zip(paths, numbers, strict=True)):
        if number not in (None, place):
            missing = path.name.replace(f"_{number}.", f"_{place}.")
            raise _core.PacketError(f"{path.name}: {missing} is missing, which stands before it")
    try:
        size = sum(path.stat().st_size for path in opened)
    except OSError as error:
        raise _core.IoError(f"{paths[0]}: cannot open: {error.strerror}") from None
    needed = 8 * len(images) * n_rows * n_cols * n_skips
    cut = f"{size} bytes are there; the samples alone need {needed}" if size < needed else ""
    return _file_layout(paths, [""] * len(paths), [images], config, cut)


def packet_number(path: Path) -> int | None:
    """Number of a file among those of its readout: ``run7_2.dat`` has 2."""
    found = re.fullmatch(r".*_(0|[1-9]\d*)", stem_of(path))
    return int(found[1]) if found else None


def _groups(
    layout: Layout,
    paths: Sequence[str],
    scanned: Sequence[Sequence[_core.FitsHdu]],
    images: Sequence[_core.FitsHdu],
    config: InputConfig,
) -> list[list[tuple[str, _core.FitsHdu]]]:
    """The planes of samples of each image, with their files."""
    path = paths[0]
    if layout.skips == "files":
        groups = []
        for position in range(len(images)):
            group = []
            for part, hdus in zip(paths, scanned, strict=True):
                found = [hdu for hdu in hdus if hdu.axes and 0 not in hdu.axes]
                if len(found) != len(images):
                    raise _core.FitsError(
                        f"{Path(part).name}: {len(found)} images, but {len(images)} in "
                        f"{Path(paths[0]).name}"
                    )
                group.append((part, found[position]))
            groups.append(group)
        return groups
    if layout.skips != "hdus":
        return [[(path, hdu)] for hdu in images]
    # One HDU per sample: those of one EXTNAME are of one amplifier, in the order of SAMPLE.
    by_name: dict[str, list[_core.FitsHdu]] = {}
    for hdu in images:
        by_name.setdefault(hdu.name, []).append(hdu)

    def number(hdu: _core.FitsHdu) -> float:
        header = _Header(config, hdu)
        keyword = header.keyword("sample")
        return header.numbers[keyword] if keyword else hdu.index

    return [[(path, hdu) for hdu in sorted(group, key=number)] for group in by_name.values()]
