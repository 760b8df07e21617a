"""Planes and tables in files that are whole or absent."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import char  # now: not while a run has files in hand
from numpy.typing import NDArray

from . import _core
from .cards import (
    BLOCK,
    LONG_STRINGS,
    card,
    comment_cards,
    long_strings,
    n_blocks,
    with_checksum,
    word_sum,
)
from .config import Config, OutputConfig
from .layout import FileLayout, ImageLayout
from .ledger import PART

__all__ = ["PlaneFile", "config_digest", "load_writer", "whole_file", "write_table"]

# Keywords that describe the input's own data unit, or that this program writes.
_NOT_CARRIED = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|TFIELDS|T(FORM|TYPE|UNIT|DIM|"
    r"NULL|SCAL|ZERO|DISP)\d+|THEAP|BSCALE|BZERO|BLANK|BUNIT|CHECKSUM|DATASUM|EXTNAME|EXTVER|"
    r"EXTLEVEL|INHERIT|LONGSTRN|CONTINUE|END|Z[A-Z]+\d*|FZALGOR|FZTILE|COMMENT|HISTORY|"
    r"AMPNAME|NSTART|NEND|NUSED|SKIPSTRV|SKCFG|INFILE|INSIZE|INSUM|)$"
)

_FINDING_KEYWORDS = {
    "noise": "NOISE",
    "gain": "GAIN",
    "pedestal_mean": "PEDMEAN",
    "pedestal_sigma": "PEDSIGMA",
    "maximum": "POLMAX",
}


def config_digest(config: Config) -> str:
    """Fingerprint of all that decides the results: input, stages with their defaults, outputs."""
    mask = config.input.mask
    facts = {
        "mask": None if mask is None else zlib.crc32(Path(mask).read_bytes()),
        "version": _core.__version__,
        "input": asdict(config.input),
        "stages": config.stages,
        "outputs": [asdict(output) for output in config.outputs],
        "measures": [asdict(measure) for measure in config.measures],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, else it is removed.

    The file is on the disk before it has its final name, and the name before this returns.
    """
    temporary = path.parent / f".{os.getpid()}-{os.urandom(4).hex()}{PART}"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def carried_cards(hdu: _core.FitsHdu) -> list[str]:
    """Cards of the acquisition that have a value, as they stand; without those of its data unit."""
    carried: list[str] = []
    seen: set[str] = set()
    wanted = False
    for keyword, raw in zip((c[0] for c in hdu.cards), hdu.raw_cards, strict=True):
        if keyword != "CONTINUE":
            has_value = raw[8:10] == "= " and raw[10:].partition("/")[0].strip() != ""
            wanted = has_value and not (_NOT_CARRIED.match(keyword) or keyword in seen)
            seen.add(keyword)
        if wanted:
            carried.append(raw)
    return carried


@dataclass(frozen=True)
class Source:
    """What an output is made of: the config, and the input's name, size and checksum."""

    config: Config
    name: str
    n_bytes: int = 0
    checksum: str = ""


def provenance(source: Source) -> list[str]:
    """Cards that say how a file was made."""
    cards = [
        *card("SKIPSTRV", _core.__version__, "version of skipstream"),
        *card("SKCFG", config_digest(source.config), "fingerprint of the config"),
        *card("INFILE", source.name, "input file"),
        *card("INSIZE", source.n_bytes, "[byte] size of the input"),
    ]
    if source.checksum:
        cards += card("INSUM", source.checksum, "checksum of the input as read")
    return cards


def history(config: Config) -> list[str]:
    """HISTORY cards: a line per stage, with every parameter; long ones are continued."""
    lines = [f"input {_compact(asdict(config.input))}"]
    for number, stage in enumerate(config.stages):
        parameters = {key: value for key, value in stage.items() if key != "kind"}
        lines.append(f"stage[{number}] {stage['kind']} {_compact(parameters)}")
    for number, measure in enumerate(config.measures):
        lines.append(f"measure[{number}] {measure.kind} {_compact(asdict(measure))}")
    return [line for text in lines for line in comment_cards("HISTORY", text)]


def _compact(values: Mapping[str, Any]) -> str:
    given = {key: value for key, value in values.items() if value is not None}
    return json.dumps(given, separators=(",", ":"))


_PRIMARY = [
    *card("SIMPLE", True, "conforms to FITS standard 4.0"),
    *card("BITPIX", 8),
    *card("NAXIS", 0),
    *card("EXTEND", True),
    *LONG_STRINGS,
]


class _PlaneHdu(NamedTuple):
    """The HDU of one plane, whose header is written at the end into the blocks left for it."""

    number: int
    blocks: int
    cards: list[str]


class PlaneFile:
    """A FITS file of planes, written while the rows arrive; of several images at once, too.

    Every image gets one HDU per plane, and MASK; the amplifier is EXTVER and AMPNAME.
    """

    def __init__(
        self, path: Path, output: OutputConfig, source: Source, layout: FileLayout
    ) -> None:
        self.output = output
        first = layout.others[0][0] if layout.others else layout.images[0].hdu
        self._primary = carried_cards(first if first.index == 0 else layout.images[0].hdu)
        self._history = history(source.config)
        self._stack = contextlib.ExitStack()
        self._writer = _core.PlaneWriter(str(self._stack.enter_context(whole_file(path))))
        # Known at the end: a sum for each image, eleven characters long.
        n_sums = len(layout.images) * 11 // 60 + 1
        cards = len(_PRIMARY) + len(self._primary) + len(self._history)
        self._blocks = n_blocks(cards + len(provenance(source)) + n_sums + 2)
        self._writer.add_image(self._blocks * BLOCK, "float32", 0, 0)

    def begin_image(
        self, image: ImageLayout, number: int, stage: int, pipeline: _core.Pipeline
    ) -> list[_PlaneHdu]:
        """Make the HDUs of amplifier `number`, counted from 1; rows come from the pipeline."""
        planes = pipeline.planes_after(stage)
        names = [plane["name"] for plane in planes]
        wanted = self.output.planes or names
        for name in wanted:
            if name not in names:
                nearest = _core.nearest_name(name, names)
                hint = f'; did you mean "{nearest}"?' if nearest else f"; known: {', '.join(names)}"
                raise _core.ConfigError(f'output.planes: no plane "{name}"{hint}')
        units = {plane["name"]: plane["unit"] for plane in planes}
        labels = {plane["name"]: plane["is_label"] for plane in planes}
        carried = carried_cards(image.hdu) if image.hdu.index > 0 else []
        first, n_used = pipeline.plan["first_used_skip"], pipeline.plan["n_used_skips"]
        made = []
        for name in [*wanted, "mask"]:
            dtype = self.output.dtype
            if name == "mask":
                dtype = "int32"
            elif labels[name]:
                dtype = "int32" if image.n_rows * image.n_cols < 2**31 else "float64"
            cards = [
                *card("XTENSION", "IMAGE", "image extension"),
                *card("BITPIX", {"int32": 32, "float32": -32, "float64": -64}[dtype]),
                *card("NAXIS", 2),
                *card("NAXIS1", image.n_cols, "columns"),
                *card("NAXIS2", image.n_rows, "rows"),
                *card("PCOUNT", 0),
                *card("GCOUNT", 1),
                *card("EXTNAME", re.sub(r"[^A-Z0-9_]+", "_", name.upper()).strip("_")),
                *card("EXTVER", number, "number of the amplifier"),
                *card("AMPNAME", image.amplifier, "amplifier"),
                *(card("BUNIT", units[name], "unit of the pixels") if units.get(name) else []),
                *card("NSTART", first + 1, "first sample used, counted from 1"),
                *card("NEND", first + n_used, "last sample used"),
                *card("NUSED", n_used, "samples used"),
            ]
            if name == "mask":
                for bit, word, doc in _core.mask_names():
                    cards += card(word[:8], bit, doc)
            cards += carried + self._history
            cards += long_strings(cards)
            blocks = n_blocks(len(cards) + len(_FINDING_KEYWORDS) + 2)
            hdu = self._writer.add_image(blocks * BLOCK, dtype, image.n_rows, image.n_cols)
            made.append(_PlaneHdu(hdu, blocks, cards))
        indices = [*(names.index(name) for name in wanted), -1]
        images = [(index, plane.number) for index, plane in zip(indices, made, strict=True)]
        pipeline.add_writer(stage, self._writer, images)
        return made

    def finish_image(
        self, planes: Sequence[_PlaneHdu], findings: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the headers of an image, with what the stages found out."""
        found: dict[str, list[str]] = {}
        for finding in findings:
            keyword = _FINDING_KEYWORDS.get(finding["name"])
            if keyword and np.isfinite(finding["value"]):
                note = f"[{finding['unit']}] {finding['doc']}"
                found[keyword] = card(keyword, finding["value"], note)
        extra = [line for cards in found.values() for line in cards]
        for plane in planes:
            datasum = self._writer.datasum(plane.number)
            full = with_checksum([*plane.cards, *extra], datasum, plane.blocks)
            self._writer.write_header(plane.number, full)

    def close(self, source: Source) -> None:
        """Seal the file: provenance, final name."""
        made = provenance(source)
        cards = [*_PRIMARY, *self._primary, *made, *self._history]
        self._writer.write_header(0, with_checksum(cards, 0, self._blocks))
        self._writer.close()
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        """Remove what was written so far."""
        self._stack.__exit__(type(error), error, error.__traceback__)


def write_table(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    """Write a table in the format of the file's ending: .fits, .csv, .ecsv or .parquet.

    `columns` gives name, unit and doc of each column of `table`; `header` FITS cards.
    """
    with whole_file(path) as temporary:
        _WRITERS[path.suffix](temporary, table, columns, header)


def load_writer(path: Path) -> None:
    """Import what a table of this name is written with: before its rows need the memory.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    if path.suffix in (".ecsv", ".parquet"):
        import astropy.table  # noqa: F401
    if path.suffix == ".parquet":
        _pyarrow()


_FORMATS = {"i8": "K", "f8": "D", "i4": "J", "f4": "E", "i2": "I", "u1": "B", "b1": "L"}


def _write_fits(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header_cards: Sequence[str],
) -> None:
    kinds: list[tuple[str, str]] = []
    cards: list[str] = []
    for number, column in enumerate(columns, 1):
        dtype = table.dtype[column["name"]]
        width = max(1, dtype.itemsize // 4)
        text = dtype.kind == "U"
        kinds.append((column["name"], f"S{width}" if text else dtype.newbyteorder(">").str))
        cards += card(f"TTYPE{number}", column["name"])
        cards += card(f"TFORM{number}", f"{width}A" if text else _FORMATS[dtype.str[1:]])
        if column["unit"]:
            cards += card(f"TUNIT{number}", column["unit"])
        cards += card(f"TCOMM{number}", column["doc"])
    row = np.dtype(kinds)
    cards = [
        *card("XTENSION", "BINTABLE", "binary table"),
        *card("BITPIX", 8),
        *card("NAXIS", 2),
        *card("NAXIS1", row.itemsize, "bytes of a row"),
        *card("NAXIS2", len(table), "rows"),
        *card("PCOUNT", 0),
        *card("GCOUNT", 1),
        *card("TFIELDS", len(columns), "columns"),
        *cards,
        *header_cards,
    ]
    cards += long_strings(cards)
    blocks = n_blocks(len(cards) + 2)
    datasum = 0
    with path.open("xb") as file:
        file.write(with_checksum(_PRIMARY, 0))
        start = file.tell()
        file.write(bytes(blocks * BLOCK))
        step = max(4, (1 << 20) // row.itemsize // 4 * 4)  # whole words
        for begin in range(0, len(table), step):
            part = table[begin : begin + step]
            rows = np.empty(len(part), row)
            for name, kind in kinds:
                rows[name] = (
                    char.encode(part[name], "ascii", "backslashreplace")
                    if kind[0] == "S"
                    else part[name]
                )
            data = rows.tobytes()
            if begin + step >= len(table):
                data = data.ljust(
                    -(-(begin * row.itemsize + len(data)) // BLOCK) * BLOCK - begin * row.itemsize,
                    b"\0",
                )
            datasum = word_sum([data], datasum)
            file.write(data)
        file.seek(start)
        file.write(with_checksum(cards, datasum, blocks))


def _values(cards: Sequence[str]) -> dict[str, Any]:
    """Keywords and values of header cards."""
    from astropy.io.fits import Header

    return dict(Header.fromstring("".join(cards)))


def _write_csv(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.dtype.names or ())
        texts = [i for i, n in enumerate(table.dtype.names or ()) if table.dtype[n].kind == "U"]
        for row in table.tolist():
            cells = list(row)
            for i in texts:
                if cells[i][:1] in ("=", "+", "-", "@", "\t", "\r"):
                    cells[i] = "'" + cells[i]  # a spreadsheet would take it for a formula
            writer.writerow(cells)


def _as_qtable(
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> Any:
    from astropy.table import Table

    result = Table(table)
    for column in columns:
        result[column["name"]].unit = column["unit"] or None
        result[column["name"]].description = column["doc"]
    result.meta.update(_values(header))
    return result


def _write_ecsv(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    _as_qtable(table, columns, header).write(str(path), format="ascii.ecsv")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise _core.ConfigError(
            "output: .parquet needs pyarrow; pip install 'skipstream[parquet]'"
        ) from None
    return pa, pq


def _write_parquet(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    pa, pq = _pyarrow()
    arrays = [pa.array(np.ascontiguousarray(table[column["name"]])) for column in columns]
    fields = [
        pa.field(
            column["name"],
            array.type,
            metadata={"unit": column["unit"], "description": column["doc"]},
        )
        for column, array in zip(columns, arrays, strict=True)
    ]
    metadata = {keyword: str(value) for keyword, value in _values(header).items()}
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata)), path)


_WRITERS = {
    ".fits": _write_fits,
    ".csv": _write_csv,
    ".ecsv": _write_ecsv,
    ".parquet": _write_parquet,
}
