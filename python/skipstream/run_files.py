"""What a run has written into its folder: files of the journal, planes, where they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from .ledger import JOURNAL, Ledger

__all__ = ["Plane", "RunFile", "holds_planes", "plane_file", "planes_of", "read_run"]

Floats = NDArray[np.float64]


@dataclass
class RunFile:
    """What the journal says of an input file, at last.

    Attributes
    ----------
    path
        Of the input.
    status
        ``"done"``, ``"partial"``, ``"failed"``; ``"waiting"`` where the run did not come to an end.
    message, reason, hdu
        What is wrong, the code of the kind of the error, and the HDU where it is.
    config
        Fingerprint of the config.
    outputs
        Those that are there.
    active
        Amplifier to its active pixels: first row, row behind the last; the same of columns.
    """

    path: str
    status: str = "waiting"
    message: str = ""
    reason: str = ""
    hdu: int | None = None
    config: str = ""
    outputs: list[Path] = field(default_factory=list)
    active: dict[str, list[int]] = field(default_factory=dict)


def _is_region(region: Any) -> bool:
    """Whether it says which pixels are active."""
    return (
        isinstance(region, list)
        and len(region) == 4
        and all(isinstance(i, int) and i >= 0 for i in region)
    )


def placed(output: Path, folder: Path) -> Path:
    """Where an output is now: the folder may have been moved."""
    if output.is_file():
        return output
    moved = (folder.joinpath(*output.parts[-n:]) for n in range(1, len(output.parts)))
    return next((path for path in moved if path.is_file()), output)


def read_run(folder: Path) -> dict[str, RunFile]:
    """Files of the runs of a folder, by their path, in the order in which they were seen.

    Raises
    ------
    IoError
        There is no journal.
    """
    if not (folder / JOURNAL).is_file():
        raise _core.IoError(f"{folder}: no {JOURNAL}: no run has written here")
    files: dict[str, RunFile] = {}
    for entry in Ledger(folder).entries():
        for path in entry["files"] if entry["event"] == "begin_run" else ():
            files.setdefault(path, RunFile(path))
        if "path" not in entry:
            continue
        file = files.setdefault(entry["path"], RunFile(entry["path"]))
        if entry["event"] == "image":
            if _is_region(entry.get("active")):
                file.active[str(entry.get("amplifier"))] = entry["active"]
        elif entry["event"] == "file" and entry["status"] != "skipped":
            file.status, file.message = entry["status"], str(entry.get("message", ""))
            hdu = entry.get("hdu")
            file.reason, file.hdu = str(entry.get("reason", "")), hdu if type(hdu) is int else None
            file.config = str(entry.get("config", ""))
            outputs = entry.get("outputs")
            there = [placed(Path(name), folder) for name in outputs or ()]
            file.outputs = [output for output in there if output.is_file()]
    return files


class Plane(NamedTuple):
    """First plane and mask of an amplifier, ``(n_rows, n_cols)``, and the header of the plane."""

    amplifier: str
    values: Floats
    mask: NDArray[np.int64]
    header: Mapping[str, Any]


def planes_of(path: Path) -> Iterator[Plane]:
    """First plane and mask of each amplifier of a file of planes; none of another file.

    Raises
    ------
    FitsError
        The file is malformed.
    IoError
        It cannot be read.
    """
    from astropy.io import fits

    _core.scan_fits(str(path), path.name)  # refuses what is cut off or malformed
    try:
        with fits.open(path, memmap=False) as hdus:
            first: dict[int, Any] = {}
            for hdu in hdus[1:]:
                if not isinstance(hdu, fits.ImageHDU) or "AMPNAME" not in hdu.header:
                    return
                number = hdu.header["EXTVER"]
                if hdu.name != "MASK":
                    first.setdefault(number, hdu)
                elif number in first:
                    plane = first[number]
                    values = np.asarray(plane.data, np.float64)
                    mask = np.asarray(hdu.data, np.int64)
                    if values.ndim != 2 or mask.shape != values.shape:
                        raise ValueError(f"plane {values.shape}, mask {mask.shape}")
                    yield Plane(str(plane.header["AMPNAME"]), values, mask, plane.header)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise _core.IoError(f"{path}: cannot read its planes: {error}") from None


def plane_file(outputs: Sequence[Path]) -> Path | None:
    """The last output that holds planes: those nearest to charge.

    Raises
    ------
    FitsError
        An output is malformed.
    """
    for path in reversed(outputs):
        if path.suffix == ".fits" and holds_planes(path):
            return path
    return None


def holds_planes(path: Path) -> bool:
    """Whether a FITS file is one of planes, by its headers alone."""
    hdus = _core.scan_fits(str(path), path.name)  # refuses what is cut off or malformed
    return len(hdus) > 1 and any(keyword == "AMPNAME" for keyword, *_ in hdus[1].cards)
