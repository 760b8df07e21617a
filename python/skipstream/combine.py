"""One image from several amplifiers that read the same pixels: multiple-amplifier sensing (MAS)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .cards import BLOCK, card, long_strings, n_blocks, with_checksum, word_sum
from .outputs import carried_cards, whole_file

__all__ = ["combine_amplifiers"]

_PLANES = ("MEAN", "STD", "COUNT", "MASK")


def combine_amplifiers(
    path: str | Path,
    output: str | Path,
    *,
    sigmas: Sequence[float] | None = None,
    shifts: Sequence[int] | None = None,
    overwrite: bool = False,
) -> NDArray[np.float64]:
    """Average the amplifiers of a file of planes, weighted by their noise.

    The mean is ``sum(w_k v_k) / sum(w_k)`` with ``w_k = 1 / sigma_k^2`` over the amplifiers k that
    have the pixel, its standard deviation ``1 / sqrt(sum(w_k))``.

    Parameters
    ----------
    path
        A file that a run wrote: one image of the same shape per amplifier.
    output
        The new file, with the planes MEAN, STD, COUNT (amplifiers used) and MASK.
    sigmas
        Noise of each amplifier in the unit of the pixels; default: NOISE, or PEDSIGMA, of its
        header.
    shifts
        Columns by which each amplifier reads a pixel later than the first one. Default: 0.
    overwrite
        Replace a file that exists.

    Returns
    -------
    numpy.ndarray
        The weights used, ``(n_amplifiers,)``, of sum 1.

    Raises
    ------
    ConfigError
        The amplifiers are fewer than two or differ in shape, or a noise is not known.
    """
    path, output = Path(path), Path(output)
    if output.exists() and not overwrite:
        raise _core.ConfigError(f"{output}: exists; use --overwrite")
    hdus = _core.scan_fits(str(path))
    values = [h for h in hdus if h.axes and h.name.upper() not in ("STD", "VAR", "MAD", "MASK")]
    name = values[0].name if values else ""
    values = [h for h in values if h.name == name and not h.compression]
    masks = [h for h in hdus if h.name == "MASK" and h.axes]
    if len(values) < 2 or len({tuple(h.axes) for h in values}) > 1:
        raise _core.ConfigError(
            f"{path.name}: needs planes {name or 'MEAN'} of one shape from at least two "
            f"amplifiers; found {len(values)}"
        )
    noise = np.array(_noises(path, values) if sigmas is None else list(sigmas), dtype=float)
    moved = [0] * len(values) if shifts is None else list(shifts)
    if len(noise) != len(values) or len(moved) != len(values):
        raise _core.ConfigError(
            f"{path.name}: {len(values)} amplifiers, but {len(noise)} sigmas and {len(moved)} "
            "shifts"
        )
    if not np.all(noise > 0):
        raise _core.ConfigError(f"{path.name}: every noise must be above 0; got {noise}")
    weights = 1 / noise**2
    images = [_Plane(path, h) for h in values]
    bad = [_Plane(path, h) for h in masks] if len(masks) == len(values) else []
    with whole_file(output) as temporary:
        _write(temporary, hdus[0], values[0], images, bad, weights, moved)
    return np.asarray(weights / weights.sum())


def _noises(path: Path, hdus: Sequence[_core.FitsHdu]) -> list[float]:
    noises = []
    for hdu in hdus:
        words = {c[0]: c[1] for c in hdu.cards}
        text = words.get("NOISE") or words.get("PEDSIGMA")
        if text is None:
            raise _core.ConfigError(
                f"{path.name}[{hdu.index}]: no NOISE or PEDSIGMA in the header; give the sigmas"
            )
        noises.append(float(text))
    return noises


class _Plane:
    """Rows of an image in a file, read when asked for."""

    def __init__(self, path: Path, hdu: _core.FitsHdu) -> None:
        self.path, self.hdu = path, hdu
        self.shape = (hdu.axes[1], hdu.axes[0])

    def rows(self, rows: slice) -> NDArray[Any]:
        kind, n_cols = np.dtype(self.hdu.dtype), self.shape[1]
        begin = self.hdu.data_offset + rows.start * n_cols * kind.itemsize
        n = (rows.stop - rows.start) * n_cols
        values = np.fromfile(self.path, kind, n, offset=begin)
        if len(values) < n:
            raise _core.IoError(f"{self.path}[{self.hdu.index}]: became shorter while it was read")
        return values.reshape(-1, n_cols)


def _write(
    target: Path,
    primary: _core.FitsHdu,
    first: _core.FitsHdu,
    images: Sequence[_Plane],
    masks: Sequence[_Plane],
    weights: NDArray[np.float64],
    shifts: Sequence[int],
) -> None:
    n_rows, n_cols = images[0].shape
    unit = {c[0]: c[1] for c in first.cards}.get("BUNIT", "")
    head = [*card("SIMPLE", True), *card("BITPIX", 8), *card("NAXIS", 0), *card("EXTEND", True)]
    head += carried_cards(primary)
    head += long_strings(head)
    for number, (weight, shift) in enumerate(zip(weights / weights.sum(), shifts, strict=True), 1):
        head += card(f"WEIGHT{number}", float(weight), "of this amplifier in the mean")
        head += card(f"SHIFT{number}", shift, "[pixel] that it reads later")
    step = max(1, (1 << 20) // n_cols)
    with target.open("xb") as file:
        file.write(with_checksum(head, 0))
        for plane in _PLANES:
            cards = [
                *card("XTENSION", "IMAGE"),
                *card("BITPIX", 32 if plane in ("MASK", "COUNT") else -32),
                *card("NAXIS", 2),
                *card("NAXIS1", n_cols),
                *card("NAXIS2", n_rows),
                *card("PCOUNT", 0),
                *card("GCOUNT", 1),
                *card("EXTNAME", plane),
                *(card("BUNIT", unit) if unit and plane in ("MEAN", "STD") else []),
                *card("NAMPS", len(images), "amplifiers combined"),
            ]
            start = file.tell()
            blocks = n_blocks(len(cards) + 2)
            file.write(bytes(blocks * BLOCK))
            total = 0
            for begin in range(0, n_rows, step):
                rows = slice(begin, min(begin + step, n_rows))
                data = _combined(plane, rows, images, masks, weights, shifts)
                total = word_sum([data], total)
                file.write(data)
            file.write(bytes(-(n_rows * n_cols * 4) % BLOCK))
            end = file.tell()
            file.seek(start)
            file.write(with_checksum(cards, total, blocks))
            file.seek(end)


def _combined(
    plane: str,
    rows: slice,
    images: Sequence[_Plane],
    masks: Sequence[_Plane],
    weights: NDArray[np.float64],
    shifts: Sequence[int],
) -> bytes:
    shape = (rows.stop - rows.start, images[0].shape[1])
    total, weight = np.zeros(shape), np.zeros(shape)
    count, mask = np.zeros(shape, ">i4"), np.zeros(shape, ">i4")
    for number, image in enumerate(images):
        values = np.full(shape, np.nan)
        shift = shifts[number]
        n = shape[1] - abs(shift)
        into = slice(max(0, -shift), max(0, -shift) + max(n, 0))
        out_of = slice(max(0, shift), max(0, shift) + max(n, 0))
        values[:, into] = image.rows(rows)[:, out_of]
        if masks:
            mask[:, into] |= masks[number].rows(rows)[:, out_of]
        there = np.isfinite(values)
        total[there] += weights[number] * values[there]
        weight[there] += weights[number]
        count += there
    with np.errstate(divide="ignore", invalid="ignore"):
        made = {"MEAN": total / weight, "STD": 1 / np.sqrt(weight)}
    made["STD"][weight == 0] = np.nan
    if plane in made:
        return made[plane].astype(">f4").tobytes()
    mask[count == 0] |= int(_core.mask_names()[0][0])
    return (count if plane == "COUNT" else mask).tobytes()
