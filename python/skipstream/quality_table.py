"""The table of `quality`: one row per image, kept while a folder of images fills up.

The text is that of damicm-image-preproc: its columns under its names, in its order.
"""

from __future__ import annotations

import csv
import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .cards import card
from .config import Config
from .exposure import ImageResult, Progress
from .image_quality import NAMES, UNITS, Quality
from .measuring import MeasureConfig
from .outputs import whole_file
from .running import run
from .table_files import FORMATS, load_writer, read_rows, write_table
from .tables import Table
from .workers import Died, run_jobs

__all__ = [
    "DEFAULT_PATTERN",
    "DEFAULT_STAGES",
    "RANGES",
    "QualityRow",
    "QualityTable",
    "find_images",
    "judge_images",
    "out_of_range",
    "quality_config",
]

DEFAULT_PATTERN = "Img_[0-9]+.fits"
DEFAULT_STAGES: dict[str, Any] = {"stage": [{"kind": "compress_skips"}]}
#: Values that say of themselves that something is wrong: charge is lost between samples.
RANGES: dict[str, tuple[float, float]] = {"dSdskip": (-10.0, math.inf)}

_PACKED = re.compile(r"\.(fz|gz|bz2|xz)$")
_FITTED = ("dSdskip", "imgNoise", "skNoise", "darkCurrent", "aduConversion")
_UNKNOWN = -1.0
_N_SIGMA = 5.0
_MIN_IMAGES = 5
_TEXT_ENDINGS = (".txt", ".dat", "")
# The peer's columns in its order; those that it once had, and the amplifier, stand behind them.
_TEXT_NAMES = ("aveImgS", "dSdskip", "imgNoise", "skNoise", "tailRatio", "darkCurrent",
               "aduConversion", "pixVar", "clustVar")  # fmt: skip
_TEXT_HEADER = ("filename", "nskips", *_TEXT_NAMES, "amplifier")
_TEXT_ERRORS = ("dSdskip", "skNoise", "darkCurrent", "aduConversion")

#: Columns of the table in all formats but text.
COLUMNS: list[dict[str, str]] = [
    {"name": "filename", "unit": "", "doc": "full path; what is not printable is escaped"},
    {"name": "amplifier", "unit": "", "doc": "name of the amplifier"},
    {"name": "nskips", "unit": "", "doc": "samples of a pixel; -1: the file could not be read"},
    *(
        column
        for name in NAMES
        for column in (
            {"name": name, "unit": UNITS.get(name, ""), "doc": "-1: makes no sense here"},
            {"name": f"{name}_error", "unit": UNITS.get(name, ""), "doc": "-1: not known"},
        )
        if name in _FITTED or not column["name"].endswith("_error")
    ),
]


@dataclass(frozen=True)
class QualityRow:
    """One image of the table.

    Attributes
    ----------
    filename
        As it stands in the table: see `shown_name`.
    amplifier
        Of the image; empty where the file could not be read.
    n_skips
        Samples of a pixel; -1 where the file could not be read.
    values, errors
        As those of `Quality`.
    """

    filename: str
    amplifier: str = ""
    n_skips: int = -1
    values: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, _UNKNOWN))
    errors: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, _UNKNOWN))


def natural(path: Path) -> list[Any]:
    """Key that sorts Img_2 before Img_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]


def find_images(
    patterns: Sequence[str], folder: Path, *, recursive: bool = False
) -> dict[Path, list[Path]]:
    """Images that names, wildcards or regular expressions mean, by the folder of their table.

    Parameters
    ----------
    patterns
        Each is the path of a file; or a wildcard (``*``, ``?``) or a regular expression of a whole
        file name, to which ``.fz``, ``.gz``, ``.bz2`` or ``.xz`` may be added. None:
        ``Img_[0-9]+.fits``.
    folder
        Where patterns are looked for, and relative paths begin.
    recursive
        In the folders below, too.

    Returns
    -------
    dict
        Folder to its images, Img_2 before Img_10. A path outside counts for `folder` itself.

    Raises
    ------
    ConfigError
        A pattern is no regular expression, or meets no file.
    IoError
        The folder cannot be read.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise _core.IoError(f"{folder}: no such folder")
    folders = [folder]
    if recursive:
        folders += sorted((p for p in folder.rglob("*") if p.is_dir()), key=natural)
    files = {
        inner: [p for p in inner.iterdir() if not p.name.startswith(".") and p.is_file()]
        for inner in folders
    }
    found: dict[Path, set[Path]] = {}
    for pattern in patterns or [DEFAULT_PATTERN]:
        named = [p for p in (folder / pattern, Path(pattern).absolute()) if p.is_file()]
        if named:
            found.setdefault(folder, set()).add(named[0])
            continue
        is_named = _matcher(pattern)
        matching = {inner: {p for p in paths if is_named(p.name)} for inner, paths in files.items()}
        if not any(matching.values()):
            raise _core.ConfigError(f"{folder}: no file is named {pattern!r}, or matches it")
        for inner, paths in matching.items():
            found.setdefault(inner, set()).update(paths)
    return {inner: sorted(paths, key=natural) for inner, paths in found.items() if paths}


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a file's name is that of a wildcard or a regular expression."""
    expressions = [re.compile(fnmatch.translate(pattern))]
    try:
        expressions.append(re.compile(pattern, re.DOTALL))
    except re.error as error:
        if not any(c in pattern for c in "*?["):
            raise _core.ConfigError(
                f"{pattern!r}: no file, no wildcard and no regular expression: {error}"
            ) from None

    def is_named(name: str) -> bool:
        names = (name, _PACKED.sub("", name))
        return any(e.fullmatch(n) for e in expressions for n in names)

    return is_named


def quality_config(config: Config) -> Config:
    """What a config's input and stages give `quality`: up to the pixels, with all that it takes."""
    kinds = [stage["kind"] for stage in config.stages]
    if "compress_skips" not in kinds:
        raise _core.ConfigError(f"{config.source}: quality needs the stage compress_skips")
    number = kinds.index("compress_skips")
    compress = dict(config.stages[number])
    wanted = ["mean", "var", "sample(0)"]
    compress["statistics"] = wanted
    measures = tuple(m for m in config.measures if m.kind == "quality")[:1]
    if not measures:
        measures = (MeasureConfig("quality", "quality", "compress_skips"),)
    stages = (*config.stages[:number], compress)
    return replace(config, stages=stages, measures=measures, outputs=())


def shown_name(name: str, *, is_ascii: bool = False) -> str:
    """A name as a table holds it: on one line, and with no two spaces side by side."""

    def escaped(found: re.Match[str]) -> str:
        c = found[0]
        if c == " ":
            return r"\x20"
        return c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode()

    text = re.sub(r"(?<= ) |^ | $|\\|[^ -~]", escaped, name)
    return text.encode("ascii", "backslashreplace").decode() if is_ascii else text


def judge_images(
    config: Config,
    files: Mapping[Path, Sequence[Path]],
    *,
    jobs: int = 1,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[list[ImageResult]]:
    """Run `quality` on files, through the engine of every run.

    Parameters
    ----------
    config
        Of `quality_config`.
    files
        Of `exposures`.
    jobs
        Files in work at once, each in a process of its own.
    threads
        Threads that share the reduction of a file; default: the cores.
    progress
        As that of :func:`skipstream.run`; only with one job.

    Yields
    ------
    list of ImageResult
        Of one file: an image each; their ``measures`` hold the numbers. A bad file gives one
        result that is failed.
    """
    todo = [(config, parts, threads) for parts in files.values()]
    if jobs == 1 or len(todo) < 2:
        for job in todo:
            yield _judge(*job, progress)
        return
    for path, results in zip(files, run_jobs(_judge, todo, jobs), strict=True):
        if isinstance(results, Died):
            failed = ImageResult(path, status="failed", message=f"{path}: {results}")
            yield [replace(failed, reason="worker")]
        else:
            yield results


def _judge(
    config: Config,
    parts: Sequence[Path],
    threads: int | None,
    progress: Progress | None = None,
) -> list[ImageResult]:
    """Images of one exposure, without their planes."""
    return [
        replace(result, planes={}, mask=None)
        for result in run(config, parts, threads=threads, progress=progress)
    ]


class QualityTable:
    """A table in a file that is whole or absent, and replaced as a whole after every image.

    Parameters
    ----------
    path
        Its ending picks the format: ``.txt``, ``.dat`` or none is text; ``.csv``, ``.ecsv``,
        ``.parquet``, ``.fits``, ``.root``. Rows that are there are kept. None: nothing is written.

    Raises
    ------
    ConfigError
        The ending is unknown, its library is not installed, or the file is no table of `quality`.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._rows: dict[str, list[QualityRow]] = {}
        if path is None:
            return
        if path.suffix not in (*_TEXT_ENDINGS, *FORMATS):
            raise _core.ConfigError(
                f"{path}: must end in .txt, {', '.join(FORMATS)}; got {path.suffix!r}"
            )
        load_writer(path)
        try:
            rows = _read(path) if path.exists() else []
        except (OSError, KeyError, ValueError, TypeError, IndexError, csv.Error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise _core.IoError(f"{path}: cannot read: {error.strerror}") from None
            raise _core.ConfigError(
                f"{path}: not a table of quality ({error}); move it, or name another one with -o"
            ) from None
        for row in rows:
            self._rows.setdefault(row.filename, []).append(row)

    @property
    def rows(self) -> list[QualityRow]:
        """All rows, in the order in which their files came."""
        return [row for rows in self._rows.values() for row in rows]

    def of(self, paths: Iterable[Path]) -> list[QualityRow]:
        """Rows of some files."""
        return [row for path in paths for row in self._rows.get(self._name(path), ())]

    def has(self, path: Path) -> bool:
        """Whether a file is done: one that could not be read is not."""
        rows = self._rows.get(self._name(path), ())
        return bool(rows) and all(row.n_skips >= 0 for row in rows)

    def put(self, results: Sequence[ImageResult]) -> None:
        """Take the results of a file in place of those that it had; nothing is written."""
        name = self._name(results[0].path)
        self._rows[name] = [_row(name, result) for result in results]

    def write(self) -> None:
        """Replace the file."""
        if self.path is None:
            return
        write = _write_text if self.path.suffix in _TEXT_ENDINGS else _write_columns
        write(self.path, self.rows)

    def _name(self, path: Path) -> str:
        return shown_name(
            str(path.absolute()), is_ascii=self.path is not None and self.path.suffix == ".fits"
        )


def _row(name: str, result: ImageResult) -> QualityRow:
    if result.status == "failed":
        return QualityRow(name)
    found = next(q for q in result.measures.values() if isinstance(q, Quality))
    amplifier = shown_name(result.amplifier, is_ascii=True)
    return QualityRow(name, amplifier, result.report["n_skips"], found.values, found.errors)


def text_table(rows: Sequence[QualityRow]) -> str:
    """The table as text, as damicm-image-preproc writes it."""
    from tabulate import tabulate

    cells = []
    for row in rows:
        numbers = [
            f"{row.values[n]:.4g} +/- {row.errors[n]:.2g}"
            if n in _TEXT_ERRORS
            else f"{row.values[n]:.4g}"
            for n in _TEXT_NAMES
        ]
        cells.append([row.filename, str(row.n_skips), *numbers, row.amplifier])
    text = [0, len(_TEXT_HEADER) - 1]
    return str(tabulate(cells, headers=_TEXT_HEADER, disable_numparse=text)) + "\n"


def _write_text(path: Path, rows: Sequence[QualityRow]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text_table(rows), encoding="utf-8")


def _array(rows: Sequence[QualityRow]) -> NDArray[np.void]:
    kinds: list[tuple[str, str]] = []
    for column in COLUMNS:
        name = column["name"]
        width = max((len(str(getattr(row, name, ""))) for row in rows), default=1)
        text = name in ("filename", "amplifier")
        kinds.append((name, f"U{max(1, width)}" if text else "i8" if name == "nskips" else "f8"))
    cells = [
        (
            row.filename,
            row.amplifier,
            row.n_skips,
            *(
                of[n]
                for n in NAMES
                for of in ((row.values, row.errors) if n in _FITTED else (row.values,))
            ),
        )
        for row in rows
    ]
    return np.array(cells, dtype=kinds)


def _write_columns(path: Path, rows: Sequence[QualityRow]) -> None:
    header = [
        *card("EXTNAME", "QUALITY", "what the rows are"),
        *card("SKIPSTRV", _core.__version__, "version of skipstream"),
    ]
    write_table(path, Table(_array(rows), COLUMNS), header)


def _read(path: Path) -> list[QualityRow]:
    if path.suffix in _TEXT_ENDINGS:
        return _read_text(path)
    rows = []
    for line in read_rows(path):
        values = {name: float(line[name]) for name in NAMES}
        errors = {n: float(line[f"{n}_error"]) if n in _FITTED else _UNKNOWN for n in NAMES}
        amplifier = str(line["amplifier"] or "")
        row = QualityRow(str(line["filename"]), amplifier, int(line["nskips"]), values, errors)
        rows.append(row)
    return rows


def _read_text(path: Path) -> list[QualityRow]:
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    if not lines:
        return []
    header = re.split(r"[ \t]{2,}|\t", lines[0].strip())
    if header[0] not in ("filename", "filenames") or "nskips" not in header:
        raise ValueError('its first line does not begin with "filename"')
    rows = []
    for line in lines[1:]:
        if not line.strip("- \t"):
            continue
        cells = dict(zip(header[1:], (found := re.split(r"[ \t]{2,}|\t", line.strip()))[1:],
                         strict=False))  # fmt: skip
        values, errors = dict.fromkeys(NAMES, _UNKNOWN), dict.fromkeys(NAMES, _UNKNOWN)
        for name in NAMES:
            value, _, error = cells.get(name, "-1").partition("+/-")
            values[name], errors[name] = float(value), float(error or _UNKNOWN)
        n_skips = int(float(cells["nskips"]))
        rows.append(QualityRow(found[0], cells.get("amplifier", ""), n_skips, values, errors))
    return rows


def out_of_range(
    rows: Sequence[QualityRow], ranges: Mapping[str, tuple[float, float]] = RANGES
) -> list[set[str]]:
    """Names of the numbers of each row that catch the eye.

    Parameters
    ----------
    rows
        Of a table.
    ranges
        Name to lowest and highest value that is right. A number without a range catches the eye
        where it lies more than 5 sigma (1.4826 MAD, and its own error) from the median of its
        amplifier's images, of which there must be five.

    Returns
    -------
    list of set of str
        For each row. A number that makes no sense (-1) is never among them.
    """
    marked: list[set[str]] = [set() for _ in rows]
    numbers = sorted(range(len(rows)), key=lambda i: rows[i].amplifier)
    for _, group in groupby(numbers, key=lambda i: rows[i].amplifier):
        known = [i for i in group if rows[i].n_skips >= 0]
        for name in NAMES:
            there = [i for i in known if rows[i].values[name] != _UNKNOWN]
            values = np.array([rows[i].values[name] for i in there])
            if name in ranges:
                low, high = ranges[name]
                wrong = ~((values >= low) & (values <= high))
            elif len(there) >= _MIN_IMAGES:
                errors = np.array([max(rows[i].errors[name], 0.0) for i in there])
                distance = np.abs(values - np.median(values))
                scale = 1.482602218505602 * np.median(distance)
                wrong = distance > _N_SIGMA * np.hypot(scale, errors)
            else:
                continue
            for i, is_wrong in zip(there, wrong, strict=True):
                if is_wrong:
                    marked[i].add(name)
    return marked
