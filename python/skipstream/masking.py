"""Masks beyond one image: defects of a run, crosstalk of other amplifiers, and their files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .config import Config
from .outputs import whole_file
from .running import run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DefectMap", "crosstalk_masks", "find_defects", "read_mask", "write_mask"]

Bits = NDArray[np.uint32]

_BIT = {name: np.uint32(bit) for bit, name, _ in _core.mask_names()}
_UNUSABLE = ("NODATA", "BADCOL", "BADROW", "NOPEDESTAL", "HOTPIXEL")


@dataclass(frozen=True)
class DefectMap:
    """Pixels, columns and rows of an amplifier that hold charge in too many images.

    Attributes
    ----------
    mask
        ``(n_rows, n_cols)``, with the bits HOTPIXEL, BADCOL and BADROW.
    frequency
        ``(n_rows, n_cols)``: part of the images in which a pixel was hot; NaN where none tells.
    columns, rows
        Those that are bad, 0-based.
    n_images
        Images that took part.
    """

    mask: Bits
    frequency: NDArray[np.float64]
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    n_images: int

    def __repr__(self) -> str:
        n_hot = int(np.count_nonzero(self.mask & _BIT["HOTPIXEL"]))
        return (
            f"defects in {self.n_images} images: {n_hot} hot pixels, "
            f"{len(self.columns)} columns, {len(self.rows)} rows"
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw in which part of the images each pixel was hot."""
        from .plot import plot_defects

        return plot_defects(self, ax)


def find_defects(
    paths: Iterable[str | Path],
    config: Config,
    *,
    threshold: float,
    below: float | None = None,
    pixel_fraction: float = 0.4,
    line_fraction: float = 0.2,
    threads: int | None = None,
) -> dict[str, DefectMap]:
    """Find what is hot in too many images of a run.

    A pixel is hot in an image where ``threshold <= value < below``; it is a defect where that is so
    in more than `pixel_fraction` of the images in which it is usable. A column or row is bad where
    more than `line_fraction` of its active pixels are defects (the limits of panaSKImg's DQM).

    Parameters
    ----------
    paths
        FITS files, read one after another: memory does not grow with their number.
    config
        Stages up to the pixels that are judged: pedestal subtracted, mostly in electrons.
    threshold, below
        In the unit of those pixels. `below` leaves out tracks; default: nothing is left out.
    pixel_fraction, line_fraction
        Above 0, at most 1.
    threads
        Threads that share a file.

    Returns
    -------
    dict
        Amplifier to its defects.

    Raises
    ------
    ConfigError
        A fraction is impossible, or the images of an amplifier differ in shape.
    FitsError
        No file could be read.
    """
    for name, fraction in (("pixel_fraction", pixel_fraction), ("line_fraction", line_fraction)):
        if not 0 < fraction <= 1:
            raise _core.ConfigError(f"{name}: must be above 0 and at most 1; got {fraction}")
    n_hot: dict[str, NDArray[np.int64]] = {}
    n_usable: dict[str, NDArray[np.int64]] = {}
    n_images: dict[str, int] = {}
    active: dict[str, tuple[int, int, int, int]] = {}
    problems = []
    excluded = sum((_BIT[name] for name in _UNUSABLE), np.uint32(0))
    for result in run(config, paths, threads=threads):
        if result.status == "failed":
            problems.append(result.message)
            continue
        assert result.mask is not None  # nothing is written, so the planes are here
        value = next(iter(result.planes.values()))
        name = result.amplifier
        usable = (result.mask & excluded) == 0
        hot = usable & (value >= threshold)
        if below is not None:
            hot &= value < below
        if name not in n_hot:
            n_hot[name], n_usable[name] = np.zeros((2, *value.shape), np.int64)
            n_images[name] = 0
            active[name] = result.report["active"]
        if n_hot[name].shape != value.shape:
            raise _core.ConfigError(
                f"{result.path}: {name} is {value.shape}, but {n_hot[name].shape} in other files"
            )
        n_hot[name] += hot
        n_usable[name] += usable
        n_images[name] += 1
    if not n_hot:
        raise _core.FitsError("\n".join(problems) or "no files")
    return {
        name: _defects(n_hot[name], n_usable[name], n_images[name], active[name],
                       pixel_fraction, line_fraction)
        for name in n_hot
    }  # fmt: skip


def _defects(
    n_hot: NDArray[np.int64],
    n_usable: NDArray[np.int64],
    n_images: int,
    active: tuple[int, int, int, int],
    pixel_fraction: float,
    line_fraction: float,
) -> DefectMap:
    frequency = np.full(n_hot.shape, np.nan)
    np.divide(n_hot, n_usable, out=frequency, where=n_usable > 0)
    is_defect = np.nan_to_num(frequency) > pixel_fraction
    begin_row, end_row, begin_col, end_col = active
    inside = np.zeros(n_hot.shape, bool)
    inside[begin_row:end_row, begin_col:end_col] = True
    is_defect &= inside
    of_lines = [
        np.flatnonzero(is_defect.sum(axis) > line_fraction * np.maximum(inside.sum(axis), 1))
        for axis in (0, 1)
    ]
    mask = np.where(is_defect, _BIT["HOTPIXEL"], np.uint32(0))
    mask[:, of_lines[0]] |= _BIT["BADCOL"]
    mask[of_lines[1], :] |= _BIT["BADROW"]
    columns, rows = (tuple(int(i) for i in lines) for lines in of_lines)
    return DefectMap(mask, frequency, columns, rows, n_images)


def crosstalk_masks(
    images: Mapping[str, ArrayLike], *, threshold: float, reach: int = 1
) -> dict[str, Bits]:
    """Flag pixels that are read while, or up to `reach` pixels after, another amplifier is bright.

    Parameters
    ----------
    images
        Amplifier to ``(n_rows, n_cols)`` in the order of the readout, all of one shape.
    threshold
        A pixel at or above this is bright, in the unit of the images; 700 electrons are usual.
    reach
        Pixels read after the bright one that are flagged, too.

    Returns
    -------
    dict
        Amplifier to a mask with the bit CROSSTALK.

    Raises
    ------
    ConfigError
        Shapes differ, or `reach` is negative.
    """
    bright = {name: np.asarray(image) >= threshold for name, image in images.items()}
    if len({b.shape for b in bright.values()}) > 1 or any(b.ndim != 2 for b in bright.values()):
        shapes = ", ".join(f"{name} {b.shape}" for name, b in bright.items())
        raise _core.ConfigError(f"crosstalk_masks: images must be of one shape; got {shapes}")
    if reach < 0:
        raise _core.ConfigError(f"crosstalk_masks.reach: must be at least 0; got {reach}")
    masks = {}
    for name, own in bright.items():
        flagged = np.zeros(own.size, bool)
        for other, seen in bright.items():
            if other == name:
                continue
            in_order = seen.ravel()
            for later in range(min(reach, own.size - 1) + 1 if own.size else 0):
                flagged[later:] |= in_order[: own.size - later]
        bits = np.where(flagged, _BIT["CROSSTALK"], np.uint32(0))
        masks[name] = bits.reshape(own.shape)
    return masks


def write_mask(
    path: str | Path, masks: Mapping[str, ArrayLike], *, overwrite: bool = False
) -> None:
    """Write the masks of amplifiers as a FITS file that ``[input] mask`` reads.

    Parameters
    ----------
    path
        Of the file.
    masks
        Amplifier to ``(n_rows, n_cols)`` bits as in `MaskBit`.
    overwrite
        Replace a file that exists.

    Raises
    ------
    ConfigError
        The file exists.
    """
    from astropy.io import fits

    path = Path(path)
    if path.exists() and not overwrite:
        raise _core.ConfigError(f"{path}: exists; use --overwrite")
    hdus = [fits.PrimaryHDU()]
    for name, mask in masks.items():
        hdu = fits.ImageHDU(np.asarray(mask).astype(np.int32))
        hdu.header["EXTNAME"] = "MASK"
        hdu.header["EXTVER"] = len(hdus)
        hdu.header["AMPNAME"] = (name, "amplifier")
        for bit, word, doc in _core.mask_names():
            hdu.header[word[:8]] = (bit, doc)
        hdus.append(hdu)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        fits.HDUList(hdus).writeto(file, checksum=True)


def read_mask(path: str | Path, amplifier: str, shape: tuple[int, int]) -> Bits:
    """Read the mask of an amplifier: the HDU whose AMPNAME, or EXTNAME, is its name.

    Raises
    ------
    ConfigError
        The file has no mask of that amplifier and shape.
    IoError
        The file cannot be read.
    """
    from astropy.io import fits

    try:
        # An open file: astropy takes some names for addresses to fetch.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _core.IoError(f"{path}: must be a regular file")
            with fits.open(file, memmap=False) as hdus:
                for hdu in hdus:
                    name = hdu.header.get("AMPNAME") or hdu.name
                    is_mask = hdu.header.get("AMPNAME") is None or hdu.name == "MASK"
                    if name != amplifier or not is_mask or hdu.data is None:
                        continue
                    if hdu.data.shape != shape or hdu.data.dtype.kind not in "iu":
                        raise _core.ConfigError(
                            f"{path}: the mask of {amplifier} must be whole numbers, {shape}; got "
                            f"{hdu.data.dtype.name}, {hdu.data.shape}"
                        )
                    return np.ascontiguousarray(hdu.data.astype(np.uint32))
    except _core.Error:
        raise
    except OSError as error:
        raise _core.IoError(f"{path}: cannot read: {error.strerror or error}") from None
    raise _core.ConfigError(f"{path}: no mask of amplifier {amplifier}")
