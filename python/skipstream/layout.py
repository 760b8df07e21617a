"""How a FITS file is understood: images, amplifiers, skips, and where each number came from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from . import _core
from .config import InputConfig

__all__ = ["FileLayout", "ImageLayout", "read_layout", "stem_of"]

#: Keywords that hold the number of samples of a pixel, in the order in which they are tried.
SKIP_KEYWORDS = ("NDCMS", "NDCM", "NSAMP")
#: Keywords that hold the number of pixels of a row.
COLUMN_KEYWORDS = ("NCOL",)
PRESCAN_KEYWORDS = ("PRESCAN", "CCDNPRES")
#: Keywords of the serial binning.
BINNING_KEYWORDS = ("NSBIN", "NBINCOL")

_ENDINGS = (".fz", ".fits", ".fit", ".fts")


def stem_of(path: Path) -> str:
    """Name of a file without its FITS endings: ``run7.fits.fz`` gives ``run7``."""
    name = path.name
    while (ending := Path(name).suffix.lower()) in _ENDINGS and Path(name).stem:
        name = name[: -len(ending)]
    return name


@dataclass(frozen=True)
class ImageLayout:
    """One amplifier's image in a file.

    Attributes
    ----------
    hdu
        The HDU, as the core's scanner found it.
    amplifier
        EXTNAME, or ``EXT`` and the number of the HDU.
    n_rows, n_cols, n_skips
        Shape in pixels and samples.
    n_skips_from, prescan_from
        Where the number came from, in words.
    averaged
        Samples that the file's writer has averaged already; 1: none.
    skips
        Where the skips lie: ``"columns"`` or ``"planes"``.
    reader
        ``"core"``, or ``"fitsio row slices"`` for tile-compressed images.
    lossy
        Why the stored samples may differ from those measured; empty: they do not.
    """

    hdu: _core.FitsHdu
    amplifier: str
    n_rows: int
    n_cols: int
    n_skips: int
    n_skips_from: str
    averaged: int
    skips: str
    prescan_cols: int
    prescan_from: str
    reader: str
    lossy: str
    header: dict[str, float] = field(repr=False)

    @property
    def n_bytes(self) -> int:
        """Size of the raw samples, as stored without compression."""
        n = self.n_rows * self.n_cols * self.n_skips
        return n * int(self.hdu.dtype[2:] or 1)


@dataclass(frozen=True)
class FileLayout:
    """All images of a file, and the HDUs that hold none."""

    path: Path
    images: tuple[ImageLayout, ...]
    others: tuple[tuple[_core.FitsHdu, str], ...]


def numbers_of(*headers: _core.FitsHdu) -> dict[str, float]:
    """Header cards with a numeric value, also where it is written as a string."""
    found: dict[str, float] = {}
    for hdu in headers:
        for keyword, text, _ in hdu.cards:
            if keyword in found or not text:
                continue
            try:
                value = float(text.replace("D", "E"))
            except ValueError:
                continue
            if math.isfinite(value):
                found[keyword] = value
    return found


def _count(place: str, keyword: str, value: float) -> int:
    if value != int(value) or value < 1:
        raise _core.FitsError(f"{place}: {keyword} = {value:g} must be a positive whole number")
    return int(value)


def _find(header: dict[str, float], keywords: tuple[str, ...]) -> str | None:
    return next((keyword for keyword in keywords if keyword in header), None)


def _skips_of(
    hdu: _core.FitsHdu, header: dict[str, float], config: InputConfig, place: str
) -> tuple[int, str]:
    if isinstance(config.n_skips, int):
        return config.n_skips, "config"
    if isinstance(config.n_skips, str):
        if config.n_skips not in header:
            nearest = _core.nearest_name(config.n_skips, list(header))
            hint = f'; nearest: "{nearest}"' if nearest else ""
            raise _core.FitsError(f'{place}: no number "{config.n_skips}" in the header{hint}')
        keyword: str | None = config.n_skips
    else:
        keyword = _find(header, SKIP_KEYWORDS)
    if keyword is None:
        return 1, f"no keyword {', '.join(SKIP_KEYWORDS)}: one sample per pixel"
    own = any(card[0] == keyword for card in hdu.cards)
    return _count(place, keyword, header[keyword]), f"{keyword} of HDU {hdu.index if own else 0}"


def _shape(
    hdu: _core.FitsHdu,
    n_skips: int,
    origin: str,
    header: dict[str, float],
    config: InputConfig,
    place: str,
) -> tuple[int, int, int, int, str]:
    """Rows, columns, skips, samples averaged before, and the axis of the skips."""
    axes = [*hdu.axes]
    if len(axes) == 1:
        axes.append(1)
    if len(axes) == 3:
        fits = [name for name, axis in (("columns", 0), ("planes", 2)) if axes[axis] == n_skips]
        if len(fits) != 1:
            raise _core.FitsError(
                f"{place}: a cube of {' x '.join(map(str, axes))} has the skips on NAXIS1 or "
                f"NAXIS3, but {'both are' if fits else 'neither is'} {n_skips} ({origin})"
            )
        if fits[0] == "columns":
            return axes[2], axes[1], n_skips, 1, "columns"
        return axes[1], axes[0], n_skips, 1, "planes"
    if len(axes) != 2:
        raise _core.FitsError(f"{place}: NAXIS = {len(axes)}; an image has 1 to 3 axes")
    width, n_rows = axes
    keyword = _find(header, COLUMN_KEYWORDS)
    n_cols = config.n_cols
    if n_cols is None and keyword is not None:
        n_cols = _count(place, keyword, header[keyword])
        if n_cols == width and n_skips > 1 and origin != "config":
            if hdu.dtype[1:2] == "f":
                return n_rows, width, 1, n_skips, "columns"
            raise _core.FitsError(
                f"{place}: {keyword} = NAXIS1 = {width}, so either the {n_skips} samples "
                f"({origin}) are averaged already, or {keyword} counts them; "
                "set n_skips or n_cols in [input]"
            )
    if n_cols is not None and width == n_cols * n_skips:
        return n_rows, n_cols, n_skips, 1, "columns"
    if (n_cols is None or origin == "config") and width % n_skips == 0:
        return n_rows, width // n_skips, n_skips, 1, "columns"
    named = f"{keyword or 'n_cols'} = {n_cols}" if n_cols is not None else ""
    raise _core.FitsError(
        f"{place}: NAXIS1 = {width} is not "
        + (f"{named} times " if named else "a multiple of ")
        + f"n_skips = {n_skips} ({origin})"
    )


def _understand(
    path: Path, hdu: _core.FitsHdu, primary: _core.FitsHdu, config: InputConfig
) -> ImageLayout:
    place = f"{path.name}[{hdu.index}]"
    header = numbers_of(hdu, primary)
    n_skips, origin = _skips_of(hdu, header, config, place)
    n_rows, n_cols, n_skips, averaged, skips = _shape(hdu, n_skips, origin, header, config, place)
    if averaged > 1:
        origin = f"{averaged} samples ({origin}) are averaged already"
    prescan, prescan_from = config.prescan_cols, "config"
    if prescan is None:
        keyword = _find(header, PRESCAN_KEYWORDS)
        prescan, prescan_from = 0, "default"
        if keyword is not None:
            binning = _find(header, BINNING_KEYWORDS)
            binned = max(1, int(header[binning])) if binning else 1
            prescan, prescan_from = -(-int(header[keyword]) // binned), keyword
    lossy = ""
    if hdu.compression and hdu.dtype[1:2] == "f":
        quantised = {card[0]: card[1] for card in hdu.cards}.get("ZQUANTIZ", "NO_DITHER")
        if quantised != "NONE":
            lossy = f"floating samples quantised before {hdu.compression} ({quantised})"
    return ImageLayout(
        hdu=hdu,
        amplifier=hdu.name or f"EXT{hdu.index}",
        n_rows=n_rows,
        n_cols=n_cols,
        n_skips=n_skips,
        n_skips_from=origin,
        averaged=averaged,
        skips=skips,
        prescan_cols=prescan,
        prescan_from=prescan_from,
        reader="fitsio row slices" if hdu.compression else "core",
        lossy=lossy,
        header=header,
    )


def read_layout(path: str | Path, config: InputConfig | None = None) -> FileLayout:
    """Scan a file and say how it is understood.

    Raises
    ------
    FitsError
        The file is malformed, or shape and keywords disagree; names file, HDU and keyword.
    ConfigError
        An amplifier of the config is not in the file.
    IoError
        The file cannot be read.
    """
    path = Path(path)
    config = config or InputConfig()
    hdus = _core.scan_fits(str(path))
    images: list[_core.FitsHdu] = []
    others: list[tuple[_core.FitsHdu, str]] = []
    for hdu in hdus:
        if not hdu.axes:
            others.append((hdu, "no image" if hdu.kind in ("primary", "image") else hdu.kind))
        elif 0 in hdu.axes:
            others.append((hdu, "empty image"))
        else:
            images.append(hdu)
    if config.amplifiers != "all":
        known: dict[int | str, _core.FitsHdu] = {hdu.index: hdu for hdu in images}
        known |= {hdu.name or f"EXT{hdu.index}": hdu for hdu in images}
        for amplifier in config.amplifiers:
            if amplifier not in known:
                names = ", ".join(map(str, known))
                raise _core.ConfigError(
                    f"{path.name}: no amplifier {amplifier!r}; known: {names or 'none'}"
                )
        images = [known[amplifier] for amplifier in config.amplifiers]
    if not images:
        raise _core.FitsError(f"{path.name}: no image in {len(hdus)} HDUs")
    understood = tuple(_understand(path, hdu, hdus[0], config) for hdu in images)
    return FileLayout(path, understood, tuple(others))
