"""The journal of an output folder: what was seen, done, refused; one JSON object per line.

Lines are appended in single writes, so several workers share the file, and a crash can cut off
the last line only; it is then not counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _core
from .fitting import FitError

__all__ = ["JOURNAL", "PART", "Ledger", "finished", "locked_folder", "reason_of"]

JOURNAL = "run.jsonl"
LOCK = ".skipstream-lock"
PART = ".skipstream-part"
_REASONS = (
    (_core.ConfigError, "config"),
    (_core.FitsError, "fits"),
    (_core.PacketError, "packets"),
    (_core.IoError, "io"),
    (OSError, "io"),
    (MemoryError, "memory"),
    (FitError, "fit"),
)


def reason_of(error: BaseException) -> str:
    """Code of the kind of an error: config, fits, packets, fit, io, memory or internal."""
    return next((code for kind, code in _REASONS if isinstance(error, kind)), "internal")


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_sound(entry: Any) -> bool:
    """Whether an entry has what its event needs: anybody may have changed the file."""
    if not isinstance(entry, dict):
        return False
    event, status = entry.get("event"), entry.get("status")
    if event == "begin_run":
        return _texts(entry.get("files"))
    if event == "end_run":
        return True
    if event == "dqm":
        return isinstance(entry.get("verdict"), str)
    if event not in ("seen", "take", "image", "file", "alarm") or not isinstance(
        entry.get("path"), str
    ):
        return False
    if event != "file" or status == "skipped":
        return True
    if status == "done":
        outputs = entry.get("outputs")
        return (
            isinstance(outputs, dict)
            and all(isinstance(size, int) for size in outputs.values())
            and _texts(entry.get("amplifiers"))
            and "input" in entry
        )
    return status in ("failed", "partial") and isinstance(entry.get("message"), str)


class Ledger:
    """Appends to the journal of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL

    def write(self, entry: Mapping[str, Any], *, sync: bool = True) -> None:
        """Append one line; it is on the disk when this returns, unless `sync` is false."""
        line = (json.dumps(entry) + "\n").encode()
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # behind a line that a crash cut off
            if os.write(file, line) != len(line):
                raise OSError(28, "No space left on device", str(self._path))
            if sync:
                os.fsync(file)
        finally:
            os.close(file)

    def refuse(self, path: Path, reason: str, message: str) -> None:
        """Note that a file was refused, and why."""
        found = re.search(re.escape(path.name) + r"\[(\d+)\]", message)
        hdu = int(found[1]) if found else None
        self.write(
            {"event": "file", "path": str(path.absolute()), "status": "failed", "reason": reason,
             "hdu": hdu, "message": message}
        )  # fmt: skip

    def entries(self) -> Iterator[dict[str, Any]]:
        """All whole lines, in their order."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # the line that a crash cut off
                if _is_sound(entry):
                    yield entry

    def counts(self) -> dict[str, Any]:
        """What became of the files of the last run.

        Returns
        -------
        dict
            ``seen`` is the sum of ``done``, ``partial``, ``refused``, ``waiting`` and ``in_hand``;
            ``open`` tells whether the run ended by itself.
        """
        state: dict[str, str] = {}
        is_open = False
        for entry in self.entries():
            event = entry.get("event")
            if event == "begin_run":
                state = dict.fromkeys(entry["files"], "waiting")
                is_open = True
            elif event == "end_run":
                is_open = False
            elif event == "seen":
                state[entry["path"]] = "waiting"
            elif entry.get("path") in state:
                if event == "take":
                    state[entry["path"]] = "in_hand"
                elif event == "file":
                    status = {"failed": "refused", "skipped": "done"}
                    state[entry["path"]] = status.get(entry["status"], entry["status"])
        names = ("done", "partial", "refused", "waiting", "in_hand")
        values = list(state.values())
        return {"seen": len(values), **{n: values.count(n) for n in names}, "open": is_open}


def finished(folder: Path, digest: str) -> dict[str, dict[str, Any]]:
    """Files that earlier runs with this config finished, by their full path."""
    entries: dict[str, dict[str, Any]] = {}
    for entry in Ledger(folder).entries():
        if entry.get("event") != "file" or entry.get("status") == "skipped":
            continue
        if entry.get("status") == "done" and entry.get("config") == digest:
            entries[entry["path"]] = entry
        else:
            entries.pop(entry.get("path", ""), None)
    return entries


def _clear(folders: Iterable[Path]) -> None:
    """Remove what has not become whole."""
    for folder in folders:
        for part in folder.glob(f".*{PART}"):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked_folder(folder: Path, outputs: Iterable[Path]) -> Iterator[None]:
    """Hold a folder for one run, and clear what a run that died has left in it.

    Raises
    ------
    ConfigError
        Another run has the folder; names it.
    IoError
        The folder cannot be written.
    """
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise _core.IoError(f"{folder}: cannot write: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 1000, 0).decode(errors="replace").strip() or "another run"
            raise _core.ConfigError(
                f"{folder}: in use by {owner}; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        begin = time.strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {os.uname().nodename} since {begin}".encode(), 0)
        parents = {folder, *(path.parent for path in outputs)}
        _clear(parents)
        try:
            yield
        finally:
            _clear(parents)
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink()  # while it is held: nobody else can have opened and locked it
        os.close(lock)
