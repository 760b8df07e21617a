"""Planes and tables in files that are whole or absent."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from . import _core
from .config import Config, OutputConfig
from .layout import ImageLayout

__all__ = ["PlaneFile", "config_digest", "whole_file", "write_table"]

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
    facts = {
        "version": _core.__version__,
        "input": asdict(config.input),
        "stages": config.stages,
        "outputs": [asdict(output) for output in config.outputs],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, else it is removed.

    The file is on the disk before it has its final name, and the name before this returns.
    """
    temporary = path.parent / f".{os.getpid()}-{os.urandom(4).hex()}.skipstream-part"
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


def carried_cards(
    cards: Sequence[tuple[str, str, str]], raw: Sequence[str]
) -> list[dict[str, Any]]:
    """Header cards of the acquisition, as records that fitsio writes; long strings put together."""
    records: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, (keyword, value, comment) in enumerate(cards):
        if _NOT_CARRIED.match(keyword) or keyword in seen or raw[number][8:10] != "= ":
            continue
        seen.add(keyword)
        quoted = raw[number][10:].lstrip().startswith("'")
        following = number + 1
        while quoted and value.endswith("&") and following < len(cards):
            if cards[following][0] != "CONTINUE":
                break
            part = re.match(r"CONTINUE\s+'((?:[^']|'')*)'", raw[following])
            if part is None:
                break
            value = value[:-1] + part[1].replace("''", "'").rstrip()
            following += 1
        record: dict[str, Any] = {"name": keyword, "comment": comment}
        record["value"] = value if quoted else _plain_value(value)
        records.append(record)
    return records


def _plain_value(text: str) -> Any:
    if text in ("T", "F"):
        return text == "T"
    for kind in (int, float):
        try:
            return kind(text.replace("D", "E") if kind is float else text)
        except ValueError:
            continue
    return text or None


def provenance(config: Config, path: Path, checksum: str) -> list[dict[str, Any]]:
    """Records that say how a file was made."""
    records: list[dict[str, Any]] = [
        {"name": "SKIPSTRV", "value": _core.__version__, "comment": "version of skipstream"},
        {"name": "SKCFG", "value": config_digest(config), "comment": "fingerprint of the config"},
        {"name": "INFILE", "value": ascii_text(path.name), "comment": "input file"},
        {"name": "INSIZE", "value": path.stat().st_size, "comment": "[byte] size of the input"},
    ]
    if checksum:
        records.append(
            {"name": "INSUM", "value": checksum, "comment": "checksum of the input as read"}
        )
    return records


def ascii_text(text: str) -> str:
    r"""A name as a FITS header can hold it: other characters as ``\x..`` or ``\u....``."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in escaped)


def history(config: Config) -> list[str]:
    """One line per stage, with every parameter; long ones are continued."""
    lines = [f"input {_compact(asdict(config.input))}"]
    for number, stage in enumerate(config.stages):
        parameters = {key: value for key, value in stage.items() if key != "kind"}
        lines.append(f"stage[{number}] {stage['kind']} {_compact(parameters)}")
    return [line[i : i + 70] for line in lines for i in range(0, len(line), 70)]


def _compact(values: Mapping[str, Any]) -> str:
    given = {key: value for key, value in values.items() if value is not None}
    return ascii_text(json.dumps(given, separators=(",", ":")))


class PlaneFile:
    """A FITS file of planes, written while the rows arrive.

    Every image gets one HDU per plane, and MASK; the amplifier is EXTVER and AMPNAME.
    """

    def __init__(
        self,
        path: Path,
        output: OutputConfig,
        config: Config,
        source: Path,
        primary: Sequence[dict[str, Any]],
    ) -> None:
        self.output = output
        self._config = config
        self._source = source
        self._stack = contextlib.ExitStack()
        temporary = self._stack.enter_context(whole_file(path))
        # CFITSIO's names are a language; this one is ours, relative to a folder of any name.
        self._fits = _open_new(temporary)
        self._fits.create_image_hdu(None, dtype="i4")
        for record in primary:
            self._fits[0].write_key(**record)
        self._hdus: dict[str, int] = {}
        self._indices: list[int] = []

    def begin_image(
        self,
        image: ImageLayout,
        number: int,
        planes: Sequence[Mapping[str, str]],
        plan: Mapping[str, Any],
    ) -> None:
        """Make the HDUs of amplifier `number`, counted from 1."""
        names = [plane["name"] for plane in planes]
        wanted = self.output.planes or names
        for name in wanted:
            if name not in names:
                nearest = _core.nearest_name(name, names)
                hint = f'; did you mean "{nearest}"?' if nearest else f"; known: {', '.join(names)}"
                raise _core.ConfigError(f'output.planes: no plane "{name}"{hint}')
        units = {plane["name"]: plane["unit"] for plane in planes}
        self._hdus = {}
        self._indices = [names.index(name) for name in wanted]
        first = plan["first_used_skip"]
        carried = carried_cards(image.hdu.cards, image.hdu.raw_cards)
        for name in [*wanted, "mask"]:
            self._fits.create_image_hdu(
                dims=[image.n_rows, image.n_cols],
                dtype="i4"
                if name == "mask"
                else self.output.dtype.replace("float", "f")[:1]
                + ("4" if self.output.dtype == "float32" else "8"),
                extname=re.sub(r"[^A-Z0-9_]+", "_", name.upper()).strip("_"),
                extver=number,
            )
            hdu = self._fits[-1]
            self._hdus[name] = len(self._fits) - 1
            hdu.write_key("AMPNAME", ascii_text(image.amplifier), comment="amplifier")
            if units.get(name):
                hdu.write_key("BUNIT", units[name], comment="unit of the pixels")
            hdu.write_key("NSTART", first + 1, comment="first sample used, counted from 1")
            hdu.write_key("NEND", first + plan["n_used_skips"], comment="last sample used")
            hdu.write_key("NUSED", plan["n_used_skips"], comment="samples used")
            if name == "mask":
                for bit, word, doc in _core.mask_names():
                    hdu.write_key(word[:8], bit, comment=doc)
            if image.hdu.index > 0:
                for record in carried:
                    hdu.write_key(**record)

    def write_rows(
        self, planes: NDArray[np.float64], mask: NDArray[np.uint32], first_row: int
    ) -> None:
        """Write the next rows of every plane."""
        kind = np.float32 if self.output.dtype == "float32" else np.float64
        for (name, hdu), index in zip(self._hdus.items(), [*self._indices, -1], strict=True):
            rows = mask.view(np.int32) if name == "mask" else planes[index].astype(kind, copy=False)
            self._fits[hdu].write(rows, start=[first_row, 0])

    def finish_image(self, findings: Sequence[Mapping[str, Any]]) -> None:
        """Add what the stages found out to the headers of this image."""
        for hdu in self._hdus.values():
            for finding in findings:
                keyword = _FINDING_KEYWORDS.get(finding["name"])
                if keyword and np.isfinite(finding["value"]):
                    self._fits[hdu].write_key(
                        keyword, finding["value"], comment=f"[{finding['unit']}] {finding['doc']}"
                    )

    def close(self, checksum: str) -> None:
        """Seal the file: provenance, checksums, final name."""
        for record in provenance(self._config, self._source, checksum):
            self._fits[0].write_key(**record)
        lines = history(self._config)
        for number in range(len(self._fits)):
            hdu = self._fits[number]
            for line in lines:
                hdu.write_history(line)
            hdu.write_checksum()
        self._fits.close()
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError):
            self._fits.close()
        self._stack.__exit__(type(error), error, error.__traceback__)


def _open_new(path: Path) -> Any:
    """Open a new FITS file for CFITSIO, whatever characters the folder's name has."""
    if re.fullmatch(r"[\w./ -]+", str(path)) and not str(path).startswith("-"):
        return fitsio.FITS(str(path), "rw")
    path.touch()
    link = Path("/proc/self/fd") / str(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY))
    path.unlink()
    return fitsio.FITS(str(link / path.name), "rw")


def write_table(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> None:
    """Write a table in the format of the file's ending: .fits, .csv, .ecsv or .parquet.

    `columns` gives name, unit and doc of each column of `table`.
    """
    with whole_file(path) as temporary:
        _WRITERS[path.suffix](temporary, table, columns, header)


def _write_fits(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> None:
    kinds = [
        (n, "S" + str(max(1, d.itemsize // 4))) if d.kind == "U" else (n, d.str)
        for n, d in ((n, table.dtype[n]) for n in table.dtype.names or ())
    ]
    plain = np.empty(len(table), dtype=kinds)
    for name in table.dtype.names or ():
        plain[name] = (
            np.char.encode(table[name], "ascii", "backslashreplace")
            if (table.dtype[name].kind == "U")
            else table[name]
        )
    with _open_new(path) as fits:
        fits.create_table_hdu(
            dtype=plain.dtype,
            extname=str(header[0]["value"]).upper(),
            units=[column["unit"] for column in columns],
        )
        hdu = fits[-1]
        if len(plain):
            hdu.write(plain)
        for number, column in enumerate(columns, 1):
            hdu.write_key(f"TCOMM{number}", column["doc"])
        for record in header[1:]:
            hdu.write_key(**record)
        for number in range(len(fits)):
            fits[number].write_checksum()


def _write_csv(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.dtype.names or ())
        writer.writerows(table.tolist())


def _as_qtable(
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> Any:
    from astropy.table import Table

    result = Table(table)
    for column in columns:
        result[column["name"]].unit = column["unit"] or None
        result[column["name"]].description = column["doc"]
    result.meta.update({record["name"]: record["value"] for record in header})
    return result


def _write_ecsv(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> None:
    _as_qtable(table, columns, header).write(str(path), format="ascii.ecsv")


def _write_parquet(
    path: Path,
    table: NDArray[np.void],
    columns: Sequence[Mapping[str, str]],
    header: Sequence[Mapping[str, Any]],
) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise _core.ConfigError(
            "output: .parquet needs pyarrow; pip install 'skipstream[parquet]'"
        ) from None
    arrays = [pa.array(np.ascontiguousarray(table[column["name"]])) for column in columns]
    fields = [
        pa.field(
            column["name"],
            array.type,
            metadata={"unit": column["unit"], "description": column["doc"]},
        )
        for column, array in zip(columns, arrays, strict=True)
    ]
    metadata = {str(record["name"]): str(record["value"]) for record in header}
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata)), path)


_WRITERS = {
    ".fits": _write_fits,
    ".csv": _write_csv,
    ".ecsv": _write_ecsv,
    ".parquet": _write_parquet,
}
