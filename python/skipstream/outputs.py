"""Planes in files that are whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import _core
from .cards import (
    BLOCK,
    LONG_STRINGS,
    card,
    comment_cards,
    long_strings,
    n_blocks,
    with_checksum,
)
from .config import Config, OutputConfig
from .layout import FileLayout, ImageLayout
from .ledger import PART

__all__ = [
    "PRIMARY",
    "PlaneFile",
    "Source",
    "config_digest",
    "named_together",
    "provenance",
    "whole_file",
]

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


# What waits for its name, in `named_together`.
_TOGETHER: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("together", default=None)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, else it is removed.

    The file is on the disk before it has its final name, and the name before this returns; inside
    `named_together`, before that does.
    """
    temporary = path.parent / f".{os.getpid()}-{os.urandom(4).hex()}{PART}"
    try:
        yield temporary
        together = _TOGETHER.get()
        if together is None:
            _name([(temporary, path)])
        else:
            together.append((temporary, path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def named_together() -> Iterator[None]:
    """Files that `whole_file` makes inside get their names at its end, when all are on the disk.

    If anything fails before, none of them gets its name.
    """
    made: list[tuple[Path, Path]] = []
    token = _TOGETHER.set(made)
    try:
        yield
        _name(made)
    except BaseException:
        for temporary, _ in made:
            temporary.unlink(missing_ok=True)
        raise
    finally:
        _TOGETHER.reset(token)


def _name(made: Sequence[tuple[Path, Path]]) -> None:
    """Give files their final names: first the files, then the names are on the disk."""
    for temporary, _ in made:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    for temporary, path in made:
        temporary.replace(path)
    for parent in {path.parent for _, path in made}:
        folder = os.open(parent, os.O_RDONLY)
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
    """What an output is made of: the config, its digest, and the input's name, size, checksum."""

    config: Config
    digest: str
    name: str
    n_bytes: int = 0
    checksum: str = ""


def provenance(source: Source) -> list[str]:
    """Cards that say how a file was made."""
    cards = [
        *card("SKIPSTRV", _core.__version__, "version of skipstream"),
        *card("SKCFG", source.digest, "fingerprint of the config"),
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


#: Cards of a primary header without data.
PRIMARY = [
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
        cards = len(PRIMARY) + len(self._primary) + len(self._history)
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
        cards = [*PRIMARY, *self._primary, *made, *self._history]
        self._writer.write_header(0, with_checksum(cards, 0, self._blocks))
        self._writer.close()
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        """Remove what was written so far."""
        self._stack.__exit__(type(error), error, error.__traceback__)
