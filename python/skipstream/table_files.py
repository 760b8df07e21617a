"""Tables in files that are whole or absent, in the format of the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .cards import BLOCK, card, long_strings, n_blocks, with_checksum, word_sum
from .outputs import PRIMARY, whole_file
from .tables import Table, Tree, needed

__all__ = ["FORMATS", "load_writer", "read_rows", "write_table", "write_trees"]


def write_table(path: Path, table: Table, header: Sequence[str]) -> None:
    """Write a table in the format of the file's ending; `header` are FITS cards.

    EXTNAME among them names the HDU, or the tree.
    """
    # Only a tree has a name; and astropy takes longer, and more memory, than most of a run.
    name = _values(header)["EXTNAME"].lower() if path.suffix == ".root" else ""
    write_trees(path, [Tree(name, table)], header)


def write_trees(path: Path, trees: Sequence[Tree], header: Sequence[str]) -> None:
    """Write trees to a .root file; of other formats the first, to .parquet with its lists."""
    with whole_file(path) as temporary:
        FORMATS[path.suffix](temporary, trees, header)


def load_writer(path: Path, columns: str = "skipstream") -> None:
    """Import what a table of this name is written with: before its rows need the memory.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    if columns != "skipstream":
        for module in ("scipy.ndimage", "scipy.spatial"):
            needed(module, f'output: columns = "{columns}"', "fits")
    if path.suffix in (".ecsv", ".parquet", ".root"):
        import astropy.table  # noqa: F401
    if path.suffix == ".parquet":
        needed("pyarrow.parquet", "output: .parquet", "parquet")
    if path.suffix == ".root":
        needed("uproot", "output: .root", "root")


def _in_ascii(texts: NDArray[np.str_]) -> NDArray[np.bytes_] | list[bytes]:
    """What a table of FITS holds: another character is its escape."""
    try:
        return texts.astype(np.bytes_)
    except UnicodeEncodeError:
        return [text.encode("ascii", "backslashreplace") for text in texts.tolist()]


_FORMATS = {"i8": "K", "f8": "D", "i4": "J", "f4": "E", "i2": "I", "u1": "B", "b1": "L"}


def _write_fits(path: Path, trees: Sequence[Tree], header_cards: Sequence[str]) -> None:
    table, columns = trees[0].table.to_numpy(), trees[0].table.columns
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
                rows[name] = _in_ascii(part[name]) if kind[0] == "S" else part[name]
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


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _write_csv(path: Path, trees: Sequence[Tree], header: Sequence[str]) -> None:
    table = trees[0].table.to_numpy()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.dtype.names or ())
        texts = [i for i, n in enumerate(table.dtype.names or ()) if table.dtype[n].kind == "U"]
        for row in table.tolist():
            cells = list(row)
            for i in texts:
                if cells[i][:1] in _FORMULA:
                    cells[i] = "'" + cells[i]  # a spreadsheet would take it for a formula
            writer.writerow(cells)


def _write_ecsv(path: Path, trees: Sequence[Tree], header: Sequence[str]) -> None:
    from astropy.table import Table as AstropyTable

    written = trees[0].table.fill(AstropyTable())
    written.meta.update(_values(header))
    written.write(str(path), format="ascii.ecsv")


def _write_parquet(path: Path, trees: Sequence[Tree], header: Sequence[str]) -> None:
    metadata = {keyword: str(value) for keyword, value in _values(header).items()}
    pq = needed("pyarrow.parquet", "output: .parquet", "parquet")
    pa = needed("pyarrow", "output: .parquet", "parquet")
    written = trees[0].table.to_arrow(metadata)
    for lengths, lists in trees[0].lists.values():
        offsets = pa.array(_offsets(lengths))
        for name, values in lists.items():
            written = written.append_column(name, pa.LargeListArray.from_arrays(offsets, values))
    pq.write_table(written, path)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


_ROOT_ENTRIES = 1 << 16  # of a basket


def _write_root(path: Path, trees: Sequence[Tree], header: Sequence[str]) -> None:
    """Flat TTrees, and two texts: the header, and what the columns mean (of the first tree)."""
    uproot = needed("uproot", "output: .root", "root")
    with path.open("x+b") as file, uproot.recreate(file) as root:
        for tree in trees:
            _write_tree(root, tree)
        root["columns"] = json.dumps(list(trees[0].table.columns))
        root["header"] = json.dumps(_values(header))


def _write_tree(root: Any, tree: Tree) -> None:
    ak = needed("awkward", "output: .root", "root")
    rows = tree.table.to_numpy()
    names = rows.dtype.names or ()
    branches: dict[str, Any] = {}  # name to its type
    scalars: dict[str, NDArray[Any]] = {}
    lists: dict[str, tuple[str, NDArray[np.int64], NDArray[Any]]] = {}
    begins = np.arange(len(rows) + 1)
    if tree.entries is None:
        scalars = {name: rows[name] for name in names if name not in tree.lists}
    else:
        counter, lengths, heads = tree.entries
        begins = _offsets(lengths)
        scalars = dict(heads)
        lists = {name: (counter, begins, rows[name]) for name in names if name not in heads}
    for counter, (lengths, columns) in tree.lists.items():
        offsets = _offsets(lengths)[begins]
        lists |= {name: (counter, offsets, values) for name, values in columns.items()}
    for name, values in scalars.items():
        branches[name] = "string" if values.dtype.kind == "U" else values.dtype
    for name, (_, _, values) in lists.items():
        branches[name] = f"var * {values.dtype.name}"
    written = root.mktree(tree.name, branches, counter_name=lambda name: lists[name][0])

    def part(values: NDArray[Any], begin: int, end: int) -> Any:
        some = np.ascontiguousarray(values[begin:end])
        return ak.from_numpy(some) if some.dtype.kind == "U" else some

    for begin in range(0, len(begins) - 1, _ROOT_ENTRIES):
        end = min(begin + _ROOT_ENTRIES, len(begins) - 1)
        data = {name: part(values, begin, end) for name, values in scalars.items()}
        for name, (_, offsets, values) in lists.items():
            inner = part(values, offsets[begin], offsets[end])
            index = ak.index.Index64(offsets[begin : end + 1] - offsets[begin])
            content = ak.contents.NumpyArray(inner)
            data[name] = ak.Array(ak.contents.ListOffsetArray(index, content))
        written.extend(data)


#: Endings of table files, and what writes them.
FORMATS = {
    ".fits": _write_fits,
    ".csv": _write_csv,
    ".ecsv": _write_ecsv,
    ".parquet": _write_parquet,
    ".root": _write_root,
}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a table that `write_table` wrote, each by the names of its columns.

    Numbers of a .csv file are texts.

    Raises
    ------
    ConfigError
        The ending is unknown, or what reads it is not installed.
    ValueError, KeyError, OSError
        It is no table. The message of a library.
    """
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {name: _without_quote(text) for name, text in row.items()}
                for row in csv.DictReader(file)
            ]
    if path.suffix == ".parquet":
        pq = needed("pyarrow.parquet", str(path), "parquet")
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".root":
        uproot = needed("uproot", str(path), "root")
        with path.open("rb") as stream, uproot.open(stream) as trees:
            return list(trees[trees.keys(filter_classname="TTree")[0]].arrays().tolist())
    if path.suffix == ".fits":
        from astropy.io import fits

        data = fits.getdata(path, 1)
        return [dict(zip(data.names, row, strict=True)) for row in data]
    if path.suffix == ".ecsv":
        from astropy.table import Table as AstropyTable

        table = AstropyTable.read(path, format="ascii.ecsv")
        return [
            {n: "" if v is np.ma.masked else v for n, v in zip(table.colnames, row, strict=True)}
            for row in table
        ]
    raise _core.ConfigError(f"{path}: must end in {', '.join(FORMATS)}; got {path.suffix!r}")


def _without_quote(text: str | None) -> str:
    """Take back what `_write_csv` put before what a spreadsheet takes for a formula."""
    text = text or ""
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA else text
