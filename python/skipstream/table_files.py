"""Tables in files that are whole or absent, in the format of the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import char  # now: not while a run has files in hand
from numpy.typing import NDArray

from .cards import BLOCK, card, long_strings, n_blocks, with_checksum, word_sum
from .outputs import PRIMARY, whole_file
from .tables import Table, needed

__all__ = ["load_writer", "write_table"]


def write_table(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    """Write a table in the format of the file's ending: .fits, .csv, .ecsv, .parquet, .root.

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
    if path.suffix in (".ecsv", ".parquet", ".root"):
        import astropy.table  # noqa: F401
    if path.suffix == ".parquet":
        needed("pyarrow.parquet", "output: .parquet", "parquet")
    if path.suffix == ".root":
        needed("uproot", "output: .root", "root")


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
        file.write(with_checksum(PRIMARY, 0))
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


def _write_ecsv(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    from astropy.table import Table as AstropyTable

    written = Table(table, columns).fill(AstropyTable())
    written.meta.update(_values(header))
    written.write(str(path), format="ascii.ecsv")


def _write_parquet(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    metadata = {keyword: str(value) for keyword, value in _values(header).items()}
    pq = needed("pyarrow.parquet", "output: .parquet", "parquet")
    pq.write_table(Table(table, columns).to_arrow(metadata), path)


_ROOT_ROWS = 1 << 16  # of a basket


def _write_root(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[str],
) -> None:
    """A flat TTree with the name of the rows, and two texts: what the columns mean, the header."""
    uproot = needed("uproot", "output: .root", "root")
    values = _values(header)
    texts = [name for name in table.dtype.names or () if table.dtype[name].kind == "U"]
    with path.open("x+b") as file, uproot.recreate(file) as root:
        branches = {
            name: "string" if name in texts else table.dtype[name]
            for name in table.dtype.names or ()
        }
        tree = root.mktree(values["EXTNAME"].lower(), branches)
        ak = needed("awkward", "output: .root", "root")
        for begin in range(0, len(table), _ROOT_ROWS):
            part = table[begin : begin + _ROOT_ROWS]
            tree.extend(
                {
                    name: ak.from_numpy(np.ascontiguousarray(part[name]))
                    if name in texts
                    else np.ascontiguousarray(part[name])
                    for name in branches
                }
            )
        root["columns"] = json.dumps(list(columns))
        root["header"] = json.dumps(values)


_WRITERS = {
    ".fits": _write_fits,
    ".csv": _write_csv,
    ".ecsv": _write_ecsv,
    ".parquet": _write_parquet,
    ".root": _write_root,
}
