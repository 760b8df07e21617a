"""Samples rearranged into the layouts in which laboratories write them.

Rows are copied block by block between memory-mapped files: memory does not grow with them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cards import BLOCK, card, header

__all__ = ["ARRANGEMENTS", "arrange", "skip_path", "write_packets"]

Image = NDArray[Any]
_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT",
              "EXTEND")  # fmt: skip
_BITPIX = {"i2": 16, "i4": 32, "f4": -32, "f8": -64}
_CHANNELS = (12, 13, 14, 15)  # of an LTA
_PACKET_WORDS = 182  # of an LTA's firmware
_FILE_BYTES = 50_000_000  # about where the LTA's daemon begins another file
_FIRST_COLUMN, _REGION = 0.25, 0.5  # of a row and of the rows: where a region begins, its size


def skip_path(path: Path, skip: int) -> Path:
    """Name of the file that holds one skip."""
    return path.with_name(f"{path.stem}_{skip:05d}{path.suffix}")


def _structure(dtype: np.dtype[Any] | None, shape: Sequence[int], first: bool) -> list[str]:
    cards = card("SIMPLE", True) if first else card("XTENSION", "IMAGE")
    cards += card("BITPIX", 8 if dtype is None else _BITPIX[dtype.str[1:]])
    cards += card("NAXIS", len(shape))
    for number, axis in enumerate(reversed(shape), 1):
        cards += card(f"NAXIS{number}", axis)
    return cards + (card("EXTEND", True) if first else card("PCOUNT", 0) + card("GCOUNT", 1))


class _Writer:
    """A FITS file whose images are filled as arrays."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        path.touch(exist_ok=False)

    def add(self, cards: Sequence[str], dtype: Any = None, shape: Sequence[int] = ()) -> Image:
        kind = None if dtype is None else np.dtype(dtype).newbyteorder(">")
        head = header([*_structure(kind, shape, self.size == 0), *cards])
        n_bytes = 0 if kind is None else int(np.prod(shape)) * kind.itemsize
        offset = self.size + len(head)
        with self.path.open("rb+") as file:
            file.seek(self.size)
            file.write(head)
            file.flush()
            self.size = offset + -(-n_bytes // BLOCK) * BLOCK
            # Room is made now: a page of a mapped file without room on the disk kills.
            os.posix_fallocate(file.fileno(), 0, self.size)
        if kind is None:
            return np.empty(0)
        return np.memmap(self.path, kind, "r+", offset, tuple(shape))


def _blocks(image: Image) -> Iterator[slice]:
    n_rows, n_cols, n_skips = image.shape
    step = max(1, (1 << 20) // (n_cols * n_skips))
    for begin in range(0, n_rows, step):
        yield slice(begin, min(begin + step, n_rows))


def _halves(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    left, upper = images
    n_rows, n_cols, n_skips = left.shape
    width = n_cols * n_skips
    both = [c for c in cards[0] if not c.startswith("AMPL ")] + card("AMPL", "UL", "amplifiers")
    out = _Writer(path).add(both, left.dtype, (n_rows, 2 * width))
    for rows in _blocks(left):
        out[rows, :width] = left[rows].reshape(-1, width)
        out[rows, width:] = upper[rows].reshape(-1, width)[:, ::-1]


def _empty_primary(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    writer = _Writer(path)
    writer.add([])
    for image, own in zip(images, cards, strict=True):
        out = writer.add(own, image.dtype, (len(image), image[0].size))
        for rows in _blocks(image):
            out[rows] = image[rows].reshape(rows.stop - rows.start, -1)


def _cube(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    writer = _Writer(path)
    for image, own in zip(images, cards, strict=True):
        out = writer.add(own, image.dtype, (image.shape[2], *image.shape[:2]))
        for rows in _blocks(image):
            out[:, rows] = np.moveaxis(image[rows], 2, 0)


def _hdus(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    writer = _Writer(path)
    writer.add([])
    for number, (image, own) in enumerate(zip(images, cards, strict=True), 1):
        for skip in range(image.shape[2]):
            name = card("EXTNAME", f"AMP{number}") + card("EXTVER", skip + 1)
            name += card("SAMPLE", skip, "number of the sample")
            out = writer.add([*own, *name], image.dtype, image.shape[:2])
            for rows in _blocks(image):
                out[rows] = image[rows, :, skip]


def _files(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    for skip in range(images[0].shape[2]):
        writer = _Writer(skip_path(path, skip))
        for image, own in zip(images, cards, strict=True):
            out = writer.add(own, image.dtype, image.shape[:2])
            for rows in _blocks(image):
                out[rows] = image[rows, :, skip]
    path.unlink(missing_ok=True)


def _region(image: Image) -> tuple[slice, slice]:
    n_rows, n_cols, _ = image.shape
    y, x = int(n_rows * _FIRST_COLUMN), int(n_cols * _FIRST_COLUMN)
    return (
        slice(y, y + max(1, int(n_rows * _REGION))),
        slice(x, x + max(1, int(n_cols * _REGION))),
    )


def _ragged(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    """All samples in some columns, the first ones elsewhere; -1 is none."""
    writer = _Writer(path)
    for image, own in zip(images, cards, strict=True):
        n_rows, n_cols, n_skips = image.shape
        out = writer.add([*own, *card("NCOLCLUSTER", "1")], image.dtype, (n_rows, n_cols * n_skips))
        _, columns = _region(image)
        few = max(1, n_skips // 4)
        for rows in _blocks(image):
            part = image[rows].copy()
            outside = np.ones(n_cols, bool)
            outside[columns] = False
            part[:, outside, few:] = -1
            out[rows] = part.reshape(len(part), -1)


def _regions(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
    """All samples inside of a region, one outside, packed; behind them filler."""
    writer = _Writer(path)
    for image, own in zip(images, cards, strict=True):
        n_rows, n_cols, n_skips = image.shape
        y, x = _region(image)
        width = n_cols + (x.stop - x.start) * (n_skips - 1)
        section = f"[{x.start + 1}:{x.stop},{y.start + 1}:{y.stop}]"
        extra = card("NROIS", 1) + card("ROISEC1", section) + card("NCOL", n_cols)
        out = writer.add([*own, *extra], image.dtype, (n_rows, width))
        for row in range(n_rows):
            packed = (
                [image[row, : x.start, 0], image[row, x].ravel(), image[row, x.stop :, 0]]
                if y.start <= row < y.stop
                else [image[row, :, 0]]
            )
            samples = np.concatenate(packed)
            out[row, : len(samples)] = samples
            out[row, len(samples) :] = 0


def write_packets(
    images: Sequence[Image],
    path: Path,
    *,
    packet_words: int = _PACKET_WORDS,
    file_bytes: int = _FILE_BYTES,
) -> list[Path]:
    """Write images as the packets that an LTA sends, in files as its daemon writes them.

    Parameters
    ----------
    images
        ``(n_rows, n_cols, n_skips)`` samples of each of the four channels, int32.
    path
        Pattern of the names: ``run7.dat`` gives ``run7_0.dat``, ``run7_1.dat``, ...
    packet_words
        Samples in a packet, but for the last one.
    file_bytes
        Another file begins behind the packet that reaches so many bytes.

    Returns
    -------
    list
        The files.
    """
    paths: list[Path] = []
    with contextlib.ExitStack() as stack:
        size = file_bytes
        for number, packet in enumerate(_packets_of(images, packet_words)):
            if size >= file_bytes:
                stack.close()
                paths.append(path.with_name(f"{path.stem}_{len(paths)}{path.suffix}"))
                file = stack.enter_context(paths[-1].open("xb"))
                size = 0
            size += file.write(bytes([len(packet), 0, number % 256]) + packet.tobytes())
    return paths


def _packets_of(images: Sequence[Image], packet_words: int) -> Iterator[NDArray[np.uint64]]:
    """The words of each packet; the channels take turns."""
    n_words = 0
    left = np.empty(0, "<u8")
    for rows in _blocks(images[0]):
        turns = np.stack([image[rows].ravel() for image in images], axis=1)
        words = (-turns.astype(np.int64) & 0xFFFFFFFF).astype("<u8")
        words |= np.array(_CHANNELS, "<u8") << np.uint64(56)
        words = words.ravel()
        words |= (n_words + np.arange(len(words), dtype="<u8") & np.uint64(15)) << np.uint64(60)
        n_words += len(words)
        left = np.concatenate([left, words])
        whole = len(left) - len(left) % packet_words
        yield from left[:whole].reshape(-1, packet_words)
        left = left[whole:]
    if len(left):
        yield left


def _packets(images: Sequence[Image], _cards: Sequence[list[str]], path: Path) -> None:
    write_packets(images, path)


def _averages(kind: str, names: Sequence[str], primary: bool) -> Callable[..., None]:
    def write(images: Sequence[Image], cards: Sequence[list[str]], path: Path) -> None:
        writer = _Writer(path)
        if primary:
            writer.add(cards[0])
        for number, image in enumerate(images):
            extra = card("EXTNAME", names[number]) if names else []
            own = [c for c in cards[number] if not c.startswith(("BZERO", "BSCALE", "BLANK"))]
            out = writer.add(own * (not primary) + extra, kind, image.shape[:2])
            zero = next((float(c[10:30]) for c in cards[number] if c.startswith("BZERO")), 0.0)
            for rows in _blocks(image):
                out[rows] = image[rows].mean(axis=2) + zero

    return write


ARRANGEMENTS: dict[str, Callable[[Sequence[Image], Sequence[list[str]], Path], None]] = {
    "halves": _halves,
    "empty_primary": _empty_primary,
    "cube": _cube,
    "hdus": _hdus,
    "files": _files,
    "ragged": _ragged,
    "regions": _regions,
    "packets": _packets,
    "averages": _averages("f4", (), primary=False),
    "named_averages": _averages("f8", ("CCD_A", "CCD_B", "CCD_D", "CCD_C"), primary=True),
}


def arrange(source: Path, target: Path, arrangement: str, n_skips: int) -> None:
    """Write the samples of a file in another arrangement.

    Parameters
    ----------
    source
        Plain images with the samples of a pixel side by side, one HDU per amplifier.
    target
        A new file; with ``"files"`` and ``"packets"`` the pattern of their names, see `skip_path`
        and `write_packets`.
    arrangement
        A key of `ARRANGEMENTS`.
    n_skips
        Samples of a pixel.
    """
    from . import _core

    images: list[Image] = []
    cards: list[list[str]] = []
    for hdu in _core.scan_fits(str(source)):
        width, n_rows = hdu.axes
        shape = (n_rows, width // n_skips, n_skips)
        images.append(np.memmap(source, np.dtype(hdu.dtype), "r", hdu.data_offset, shape))
        raw = zip(hdu.cards, hdu.raw_cards, strict=True)
        cards.append([text for parsed, text in raw if parsed[0] not in _STRUCTURE])
    ARRANGEMENTS[arrangement](images, cards, target)
