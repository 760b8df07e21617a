"""What a config says of the input, and the table of layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _core

__all__ = [
    "INPUT_DOCS",
    "KEYWORDS",
    "LAYOUTS",
    "PACKETS",
    "InputConfig",
    "Layout",
    "is_packets",
    "wrong_input",
]

PACKETS = "lta_packets"  # the layout of packets of an LTA

#: Keywords of each number, in the order in which they are tried; [input.keywords] goes before.
KEYWORDS: dict[str, tuple[str, ...]] = {
    "n_skips": ("NDCMS", "NDCM", "NSAMP"),
    "n_cols": ("NCOL",),
    "n_rows": ("NROW",),
    "n_samples": ("NPIX",),
    "prescan_cols": ("PRESCAN", "CCDNPRES"),
    "physical_cols": ("PHYSCOL",),
    "ccd_cols": ("CCDNCOL",),
    "serial_binning": ("NSBIN", "NBINCOL"),
    "parallel_binning": ("NPBIN", "NBINROW"),
    "amplifiers": ("AMPL",),
    "active": ("DATASEC", "TRIMSEC"),
    "overscan": ("BIASSEC",),
    "sample": ("SAMPLE",),
}


@dataclass(frozen=True)
class Layout:
    """One way in which files hold images.

    Attributes
    ----------
    has
        Keywords that are all in the primary header or in that of the first image.
    skips
        Where the skips are: ``"columns"``, ``"planes"`` (NAXIS3), ``"hdus"``, ``"files"``,
        ``"regions"`` (so many samples inside of ROISECn, one outside), or ``"averaged"``.
    pad
        The number that stands for a sample that does not exist.
    names
        EXTNAMEs of images; HDUs of other names hold something else. Empty: all do.
    """

    name: str
    doc: str
    has: tuple[str, ...]
    skips: str = "columns"
    pad: int | None = None
    names: tuple[str, ...] = ()


#: The layouts known; the first one that fits is taken.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "planes",
        "planes of images that are averaged already, such as this program's own outputs",
        ("SKIPSTRV",),
        "averaged",
        names=("MEAN", "MEDIAN", "CLIPPED_MEAN", "TRIMMED_MEAN", "SUM", "FIRST", "LAST"),
    ),
    Layout("regions", "so many samples inside of ROISECn, one outside", ("ROISEC1",), "regions"),
    Layout("samples_in_hdus", "one HDU per sample, numbered by SAMPLE", ("SAMPLE",), "hdus"),
    Layout("acm", "DAMIC-M's ACM: keys in an empty primary, amplifiers by name", ("ACMID",)),
    Layout(
        "lta_smart",
        "LTA with a smart sequencer: samples that do not exist are -1, or averages",
        ("NSAMP", "NCOLCLUSTER"),
        pad=-1,
    ),
    Layout("lta", "LTA: four amplifiers as HDUs, strings as values", ("NSAMP", "NCOL")),
    Layout("leach", "Leach controller: the samples of a pixel side by side", ("NDCMS",)),
    Layout("samples_in_files", "one file per sample; chosen by the config", ("",), "files"),
    Layout(
        "averaged_planes",
        "mean, std, mask, ... of images averaged by other programs",
        ("NSTART", "NEND"),
        "averaged",
        names=("MEAN", "AVERAGE", "PEDSUBTRACTED", "CALIBRATED"),
    ),
    Layout(PACKETS, "LTA: the packets of a readout (.dat); chosen by the config", ("",)),
    Layout("plain", "n_skips from the config or the header, else one sample per pixel", ()),
)


@dataclass(frozen=True)
class InputConfig:
    """How files are read; the ``[input]`` table.

    Attributes
    ----------
    layout
        Name of a row of `LAYOUTS`, or None: the first that fits.
    keywords
        Role (see `KEYWORDS`) to the header keyword that holds it, before the known ones.
    amplifiers
        ``"all"``, or HDU numbers and names.
    n_skips
        A number, a header keyword, or None for the known keywords.
    n_cols, n_rows
        Pixels of a row, or None: NAXIS1 / n_skips. Rows, of packets alone, which do not say it.
    prescan_cols, overscan_cols, prescan_rows, overscan_rows
        Pixels at the begin and the end of a row and of the image; None: from the header, else 0.
    physical_cols
        Columns of the CCD that the amplifiers of a frame share, before binning: what is behind the
        prescan and them is overscan. None: from the header.
    begin_skip, end_skip
        Skips used by every stage: half-open, negative counts from the end.
    begin_row, end_row, begin_col, end_col
        The part of the image that is read, in the same way. Rows and columns of the results count
        from its first pixel.
    unit
        Of the samples.
    mask
        FITS file with a mask for every amplifier, as `write_mask` or a run makes it: its bits are
        known before the first stage. The path is relative to the config.
    """

    layout: str | None = None
    keywords: Mapping[str, str] = field(default_factory=dict)
    amplifiers: str | list[int | str] = "all"
    n_skips: int | str | None = None
    n_cols: int | None = None
    n_rows: int | None = None
    prescan_cols: int | None = None
    overscan_cols: int | None = None
    prescan_rows: int | None = None
    overscan_rows: int | None = None
    physical_cols: int | None = None
    begin_skip: int = 0
    end_skip: int | None = None
    begin_row: int = 0
    end_row: int | None = None
    begin_col: int = 0
    end_col: int | None = None
    unit: str = "adu"
    mask: str | None = None


INPUT_DOCS = {
    "layout": "name of a layout (skipstream layouts); default: the first that fits",
    "keywords": 'header keyword of a role, before the known ones: {n_skips = "MYSKIPS"}',
    "amplifiers": '"all", or a list of HDU numbers and names',
    "n_skips": "a number, or a header keyword; default: NDCMS, NDCM or NSAMP",
    "n_cols": "pixels of a row; default: NAXIS1 / n_skips",
    "n_rows": "rows of an image, for packets, which do not say it",
    "prescan_cols": "pixels at the begin of a row; default: from the header, or 0",
    "overscan_cols": "pixels at the end of a row; default: from the header, or 0",
    "prescan_rows": "rows before the active ones; default: from the header, or 0",
    "overscan_rows": "rows behind the active ones; default: from the header, or 0",
    "physical_cols": "columns of the CCD, before binning; behind them is overscan",
    "begin_skip": "first skip used; negative counts from the end",
    "end_skip": "skip after the last one used; negative counts from the end",
    "begin_row": "first row read; negative counts from the end",
    "end_row": "row after the last one read; negative counts from the end",
    "begin_col": "first column read; negative counts from the end",
    "end_col": "column after the last one read; negative counts from the end",
    "unit": "of the samples",
    "mask": "FITS file with the mask of each amplifier, such as skipstream defects writes",
}


def is_packets(config: InputConfig) -> bool:
    """Whether the input is packets, not FITS files."""
    return config.layout == PACKETS


_WHOLE = ("begin_skip", "end_skip", "begin_row", "end_row", "begin_col", "end_col")


def wrong_input(name: str, value: Any) -> str:
    """What is wrong with a value of the ``[input]`` table, in words; empty: nothing."""
    integer = isinstance(value, int) and not isinstance(value, bool)
    if name == "layout":
        names = [layout.name for layout in LAYOUTS]
        if value in names:
            return ""
        nearest = _core.nearest_name(value, names) if isinstance(value, str) else ""
        hint = f'did you mean "{nearest}"? ' if nearest else ""
        return f"{hint}must be one of {', '.join(names)}"
    if name == "keywords":
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            return "must be a table of header keywords"
        if wrong := [v for v in value.values() if not v.isascii() or not v.isprintable()]:
            return f"{wrong[0]!r} is no header keyword"
        unknown = [role for role in value if role not in KEYWORDS]
        return f"no role {unknown[0]!r}; known: {', '.join(KEYWORDS)}" if unknown else ""
    if name == "amplifiers":
        words = isinstance(value, list) and all(isinstance(v, (int, str)) for v in value)
        return "" if value == "all" or words else 'must be "all" or a list of HDU numbers and names'
    if name == "n_skips":
        good = (integer and value >= 1) or isinstance(value, str)
        return "" if good else "must be an integer of at least 1 or a header keyword"
    if name in _WHOLE:
        return "" if integer else "must be an integer"
    if name in ("n_cols", "n_rows", "physical_cols"):
        return "" if integer and value >= 1 else "must be an integer of at least 1"
    if name in ("unit", "mask"):
        return "" if isinstance(value, str) else "must be a string"
    return "" if integer and value >= 0 else "must be an integer of at least 0"
