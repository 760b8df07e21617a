"""Samples of an image: from the core's readers, or row by row where those do not know the file."""

from __future__ import annotations

import contextlib
import importlib
import os
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .cards import ascii_text
from .layout import ImageLayout

__all__ = [
    "PushedSamples",
    "Samples",
    "check_datasum",
    "follow",
    "open_samples",
    "plain_file",
    "verify",
]

# How a packed file begins, what it is, and the module that opens it: imported where there is one.
_MAGIC = {
    b"\x1f\x8b": ("gzip", "gzip"),
    b"BZh": ("bzip2", "bz2"),
    b"\xfd7zXZ\x00": ("xz", "lzma"),
}
_BLOCK = 1 << 20
_ROWS_BYTES = 4 << 20  # of the rows that fitsio hands out at once, but for a wider one
STDIN = Path("-")


@contextlib.contextmanager
def plain_file(path: Path, folder: Path | str | None = None) -> Iterator[Path]:
    """Give the path of a file that can be read at any place.

    A gzip, bzip2 or xz file, or standard input (``-``), is unpacked block by block into a file of
    `folder` that has no name and vanishes with the process; whatever its name is. Without a folder
    that is the usual one of temporary files.

    Raises
    ------
    IoError
        The file cannot be read or unpacked.
    """
    with contextlib.ExitStack() as stack:
        if path == STDIN:
            yield stack.enter_context(_unpacked(path, sys.stdin.buffer, "a pipe", folder))
            return
        try:
            # Without O_NONBLOCK a FIFO would wait for a writer; it is refused later, as any device.
            raw = stack.enter_context(os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb"))
            begin = raw.read(6) if stat.S_ISREG(os.fstat(raw.fileno()).st_mode) else b""
        except OSError as error:
            raise _core.IoError(f"{path}: cannot open: {error.strerror or error}") from None
        kind = next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), None)
        if kind is None:
            yield path
            return
        raw.seek(0)
        stream = stack.enter_context(importlib.import_module(kind[1]).open(raw))
        yield stack.enter_context(_unpacked(path, stream, kind[0], folder))


@contextlib.contextmanager
def _unpacked(
    path: Path, stream: IO[bytes], kind: str, folder: Path | str | None
) -> Iterator[Path]:
    import tempfile
    from lzma import LZMAError

    with tempfile.TemporaryFile(dir=folder) as target:
        try:
            while block := stream.read(_BLOCK):
                target.write(block)
            target.flush()
        except (EOFError, zlib.error, LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise _core.IoError(f"{path}: cannot be unpacked: {error.strerror}") from None
            if target.tell() == 0:
                raise _core.IoError(f"{path}: cannot be unpacked as {kind}: {error}") from None
            target.flush()  # what was there can be read: a file that is cut off
        yield Path(f"/proc/self/fd/{target.fileno()}")


def inflate(stream: memoryview, output: memoryview) -> str:
    """Fill `output` from a gzip or zlib stream; returns what is wrong, or nothing."""
    try:
        unpacker = zlib.decompressobj(wbits=47)
        data = unpacker.decompress(stream, len(output) + 1)
    except zlib.error as error:
        return f"is damaged: {error}"
    if len(data) != len(output):
        return f"has {'more' if len(data) > len(output) else 'less'} than {len(output)} bytes"
    output[:] = data
    return ""


class Samples:
    """Encoded samples of an image, with their format, for a pipeline.

    Attributes
    ----------
    dtype, scale, zero, blank
        As `_core.ImageInfo` takes them.
    piece_rows
        Rows that are best read together.
    whole_rows
        Whether none comes in parts.
    """

    dtype: str
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None
    piece_rows: int = 1
    whole_rows: bool = True

    def held_bytes(self, threads: int) -> int:
        """Memory of those who read for so many threads, at most."""
        raise NotImplementedError

    def feed(self, pipeline: _core.Pipeline, report: Callable[[int], None] | None) -> int | None:
        """Send all rows through the pipeline; returns the DATASUM of what was read, if known."""
        raise NotImplementedError


class _CoreSamples(Samples):
    def __init__(self, image: ImageLayout, *, is_growing: bool = False) -> None:
        self._samples = _core.FileSamples(
            list(image.planes),
            n_rows=image.rows_there,
            n_cols=image.n_cols,
            n_skips=image.n_skips,
            skips=image.skips,
            first_row=image.first_row,
            first_sample=image.first_sample,
            is_reversed=image.is_reversed,
            inflate=inflate,
            name=str(image.path),
            is_growing=is_growing,
        )
        self.dtype = self._samples.dtype
        self.scale, self.zero = self._samples.scale, self._samples.zero
        self.blank = self._samples.blank if image.pad is None else image.pad
        self.piece_rows = max(1, self._samples.piece_pixels // image.n_cols)

    def held_bytes(self, threads: int) -> int:
        return threads * self._samples.cursor_bytes

    def feed(self, pipeline: _core.Pipeline, report: Callable[[int], None] | None) -> int | None:
        pipeline.run(self._samples, report)
        return self._samples.datasum


class _RowSamples(Samples):
    """Rows through fitsio, a bounded number at a time: for rare compressions and regions."""

    def __init__(self, image: ImageLayout) -> None:
        import fitsio  # noqa: F401  now: its memory is the program's, not that of the rows

        self._image = image
        self.dtype = _row_dtype(image)
        if image.skips == "regions":
            self.blank = int(np.iinfo(np.dtype(self.dtype)).min)

    def held_bytes(self, threads: int) -> int:
        image = self._image
        row = image.hdu.axes[0] * (image.n_skips if image.skips in ("planes", "hdus") else 1)
        words = {card[0]: card[1] for card in image.hdu.cards}
        height = words.get("ZTILE2", "1")
        # CFITSIO holds up to 20 bytes for a sample of the tiles of a row, those of the row before
        # among them; NumPy a few copies of the rows.
        held = 20 * row * (int(height) if height.isdigit() else 1)
        held += 4 * max(_ROWS_BYTES, row * 8)
        if image.skips == "regions":  # the places of all samples of a row, and these
            held += 3 * max(_ROWS_BYTES, image.n_cols * image.n_skips * 8)
        return held

    def feed(self, pipeline: _core.Pipeline, report: Callable[[int], None] | None) -> int | None:
        image = self._image
        expand = _region_index(image) if image.skips == "regions" else None
        last = image.first_row
        for first, rows in _rows(image, np.dtype(self.dtype)):
            if expand is not None:
                rows = expand(first, rows, self.blank or 0)
            pipeline.push(rows)
            last = first + len(rows)
            if report is not None:
                report(last - image.first_row)
        return None


class PushedSamples(Samples):
    """Samples whose rows come by themselves; `ImageRun.push` takes them."""

    whole_rows = False

    def __init__(self, dtype: str, blank: int | None = None, held_bytes: int = 0) -> None:
        self.dtype = dtype
        self.blank = blank
        self._held_bytes = held_bytes

    def held_bytes(self, threads: int) -> int:
        """Memory of who puts the rows together."""
        return self._held_bytes


def open_samples(image: ImageLayout, *, is_growing: bool = False) -> Samples:
    """Open the samples of an image; `is_growing`: its file may change while it is read.

    Raises
    ------
    FitsError, IoError
        The file is malformed, or cannot be read.
    """
    if image.reader == "packets":
        held = _core.LtaPackets.held_bytes(
            n_rows=image.hdu.axes[1],
            n_cols=image.hdu.axes[0] // image.n_skips,
            n_skips=image.n_skips,
        )
        n_images = _core.LtaPackets.n_channels
        return PushedSamples(np.dtype(np.int32).str, _core.LtaPackets.blank, held // n_images)
    if image.reader == "core":
        return _CoreSamples(image, is_growing=is_growing)
    return _RowSamples(image)


def verify(path: Path, name: Path) -> None:
    """Check DATASUM and CHECKSUM of every HDU that has them.

    Parameters
    ----------
    path, name
        The file that has the bytes, and its name for messages.

    Raises
    ------
    FitsError
        A sum is another one; names the HDU and both sums.
    """
    for hdu in _core.scan_cut_fits(str(path), str(name))[0]:
        if hdu.bytes_there < hdu.data_bytes:
            continue  # reported as cut off
        words = {card[0]: card[1] for card in hdu.cards}
        data = _core.sum_of_words(str(path), hdu.data_offset, hdu.data_bytes)
        check_datasum(hdu, data, name.name)
        head = _core.sum_of_words(str(path), hdu.header_offset, hdu.data_offset - hdu.header_offset)
        total = (head + data) % 0xFFFFFFFF  # all ones, as any multiple of it, is 0
        if words.get("CHECKSUM", "").strip("0 ") and total != 0:
            raise _core.FitsError(
                f"{name.name}[{hdu.index}]: CHECKSUM does not match: header and data were changed"
            )


def check_datasum(hdu: _core.FitsHdu, found: int, name: str) -> None:
    """Compare the sum of an HDU's data with its DATASUM, if it has one.

    Raises
    ------
    FitsError
        They differ.
    """
    stated = {card[0]: card[1] for card in hdu.cards}.get("DATASUM", "")
    if stated.isdigit() and int(stated) % 0xFFFFFFFF != found % 0xFFFFFFFF:
        raise _core.FitsError(
            f"{name}[{hdu.index}]: DATASUM = {stated}, but the data sum to {found}: they were "
            "changed after they were written"
        )


def follow(
    pipeline: _core.Pipeline,
    image: ImageLayout,
    patience: float,
    report: Callable[[int], None] | None,
) -> int:
    """Send the rows of an image through the pipeline while its file is being written.

    Parameters
    ----------
    pipeline
        Has seen no row of the image yet.
    image
        Plain, with its samples in columns; its file may be incomplete.
    patience
        Seconds without a new byte after which the file counts as ended.
    report
        Called with the rows done so far.

    Returns
    -------
    int
        Rows that were there.
    """
    path = Path(image.planes[0][0])
    done = 0
    size, changed = -1, time.monotonic()
    while done < image.n_rows:
        now = _core.written_bytes(str(path))
        if now != size:
            size, changed = now, time.monotonic()
        there = min(image.n_rows, _rows_in(image, size))
        if there > done:
            part = replace(image, first_row=image.first_row + done, rows_there=there - done)
            _CoreSamples(part, is_growing=True).feed(pipeline, None)
            done = there
            if report is not None:
                report(done)
        elif time.monotonic() - changed >= patience:
            break
        else:
            time.sleep(min(0.1, patience / 4))
    return done


def _rows_in(image: ImageLayout, size: int) -> int:
    """Whole rows of the image in the first `size` bytes of the file."""
    row_bytes = image.hdu.axes[0] * int(image.hdu.dtype[2:])
    return max(0, (size - image.hdu.data_offset) // row_bytes - image.first_row)


def _row_dtype(image: ImageLayout) -> str:
    """Type in which fitsio hands out rows."""
    hdu = image.hdu
    if hdu.dtype[1:2] == "f":
        return "<f" + hdu.dtype[2:]
    unsigned = {2: 2.0**15, 4: 2.0**31, 8: 2.0**63}.get(int(hdu.dtype[2:]))
    if hdu.blank is not None:
        raise _core.FitsError(
            f"HDU {hdu.index}: integers with BLANK = {hdu.blank} in {hdu.compression or 'regions'} "
            "cannot be read through fitsio without losing the missing samples; uncompress it first"
        )
    if hdu.scale == 1.0 and hdu.zero == 0.0:
        return "<i" + hdu.dtype[2:] if hdu.dtype[1:] != "u1" else "<i2"
    if hdu.scale == 1.0 and hdu.zero == unsigned:
        # Regions need a number that stands for "no sample": one more bit.
        return "<i8" if image.skips == "regions" else "<u" + hdu.dtype[2:]
    return "<f8"


def _rows(image: ImageLayout, dtype: np.dtype[Any]) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """First row and ``(n, n_cols, n_skips)`` samples; of regions ``(n, NAXIS1)``."""
    import tempfile

    import fitsio

    width = image.n_cols * image.n_skips
    step = max(1, _ROWS_BYTES // (width * dtype.itemsize))
    end = image.first_row + image.rows_there
    columns = slice(image.first_sample, image.first_sample + width)
    with contextlib.ExitStack() as stack:
        # CFITSIO's file names are a language: hand it one of ours.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skipstream-")))
        files: dict[str, Any] = {}
        try:
            for number, path in enumerate(dict.fromkeys(path for path, _ in image.planes)):
                link = folder / f"{number}.fits"
                link.symlink_to(Path(path).absolute())
                files[path] = stack.enter_context(fitsio.FITS(str(link)))
            for first in range(image.first_row, end, step):
                last = min(first + step, end)
                parts = [files[path][hdu.index] for path, hdu in image.planes]
                if image.skips == "columns":
                    rows = parts[0][first:last, columns]
                    if image.is_reversed:
                        rows = rows[:, ::-1]
                elif image.skips == "regions":
                    rows = parts[0][first:last, :]
                elif image.skips == "planes":
                    rows = np.moveaxis(parts[0][:, first:last, :], 0, -1)
                else:
                    rows = np.stack([part[first:last, :] for part in parts], axis=-1)
                rows = np.ascontiguousarray(rows, dtype=dtype)
                shape = (last - first, image.n_cols, image.n_skips)
                yield first, rows if image.skips == "regions" else rows.reshape(shape)
        except OSError as error:
            reason = str(error).strip().splitlines()[-1:] or ["unknown reason"]
            raise _core.FitsError(
                f"{image.path.name}[{image.hdu.index}]: "
                f"cannot be read by CFITSIO: {ascii_text(reason[0])}"
            ) from None


def _region_index(
    image: ImageLayout,
) -> Callable[[int, NDArray[np.generic], int], NDArray[np.generic]]:
    """Function that spreads rows of many samples per pixel inside of regions, one outside.

    A row holds the samples of its pixels one after another; what is behind them is filler. Pixels
    get n_skips samples, of which the `blank` ones do not exist.
    """
    from .layout import regions_of

    regions = regions_of(image.hdu)
    width = image.hdu.axes[0]
    known: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def index_of(row: int) -> NDArray[np.int64]:
        inside = tuple(i for i, (_, _, y1, y2) in enumerate(regions) if y1 <= row < y2)
        if inside not in known:
            counts = np.ones(image.n_cols, dtype=np.int64)
            for i in inside:
                x1, x2, _, _ = regions[i]
                counts[x1:x2] = image.n_skips
            begins = np.cumsum(counts) - counts
            if begins[-1] + counts[-1] > width:
                raise _core.FitsError(
                    f"HDU {image.hdu.index}: row {row} has {begins[-1] + counts[-1]} samples in "
                    f"and outside of its regions, but NAXIS1 = {width}"
                )
            skip = np.arange(image.n_skips)
            index = begins[:, None] + skip
            known[inside] = np.where(skip < counts[:, None], index, width)
        return known[inside]

    def expand(first: int, rows: NDArray[np.generic], blank: int) -> NDArray[np.generic]:
        padded = np.concatenate([rows, np.full((len(rows), 1), blank, rows.dtype)], axis=1)
        shape = (len(rows), image.n_cols, image.n_skips)
        spread = np.empty(shape, rows.dtype)
        for number in range(len(rows)):
            spread[number] = padded[number][index_of(first + number)]
        return spread

    return expand
