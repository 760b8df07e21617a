"""A folder is watched: every exposure in it is processed when it is whole, and once."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _core
from .config import Config
from .exposure import ImageResult, Progress, RunOptions, output_paths
from .inputs import is_packets
from .layout import read_layout
from .ledger import Ledger, finished, locked_folder
from .outputs import config_digest
from .reading import plain_file
from .running import begin_run, exposures, failed, outcomes, run_options, skipped

__all__ = ["watch"]

_log = logging.getLogger("skipstream")
_PATTERNS = (
    "*.fits", "*.fit", "*.fts", "*.fz", "*.fits.gz", "*.fits.bz2", "*.fits.xz",
)  # fmt: skip
_NETWORK = (
    "nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "lustre", "beegfs", "ceph", "glusterfs",
    "fuse.glusterfs", "afs", "gpfs",
)  # fmt: skip
_NETWORK_POLL = 5.0  # s
_IDLE = 10.0  # s, between looks at a folder whose events are heard


def watch(
    config: Config,
    folder: str | Path,
    *,
    output: str | Path,
    patterns: Sequence[str] = (),
    poll: float | None = None,
    settle: float = 2.0,
    patience: float = 600.0,
    jobs: int = 1,
    threads: int | None = None,
    verify: bool = False,
    memory_limit: int | None = None,
    alarm_commands: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Iterator[ImageResult]:
    """Process the files of a folder, those that are there and those that come.

    A file is taken when its writer has closed or renamed it, or when it has not changed for
    `settle` seconds; and when its structure says that it is whole. What is done is in the journal
    of the output folder: a watch that begins again goes on where the last one ended, however that
    was. A file that changed since it was done is done again. The log ``"skipstream"`` says what is
    waited for, and when the folder goes and comes back.

    Parameters
    ----------
    config
        What to do; see :func:`load_config`.
    folder
        Is looked at without its subfolders; hidden files are left out.
    output
        Folder for the outputs; it is made. Not `folder` itself.
    patterns
        Names of files, such as ``"run*.fits"``. Default: the endings of FITS files; ``"*.dat"`` of
        packets.
    poll
        Look at the folder every so many seconds. Default: wait for events of the file system
        (needs ``watchdog``); on network file systems, which have none, look every 5 s.
    settle
        Seconds without a change after which a file counts as closed.
    patience
        Seconds without a change after which a file that is not whole is processed as it is.
    jobs, threads, verify, memory_limit, alarm_commands, progress
        As those of :func:`run`.
    stop
        Ends it, within a second, once it is set.

    Yields
    ------
    ImageResult
        One per image (amplifier), as of :func:`run`.

    Raises
    ------
    ConfigError
        The folders are the same, the layout has a file per sample, or watchdog is not installed.
    IoError
        There is no such folder, or the output cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise _core.IoError(f"{folder}: no such folder")
    for name, value in (("poll", poll), ("settle", settle), ("patience", patience)):
        if value is not None and not value >= 0:
            raise _core.ConfigError(f"{name}: must not be negative; got {value}")
    if config.input.layout == "samples_in_files":
        raise _core.ConfigError(
            "watch: nothing tells when all files of an exposure are there, as layout "
            "samples_in_files has them; use skipstream run"
        )
    options = run_options(output, jobs, threads, verify=verify, memory_limit=memory_limit,
                          alarm_commands=alarm_commands)  # fmt: skip
    assert options.folder is not None
    places = {options.folder, *(p.parent for _, p in output_paths(config, folder, options.folder))}
    if any(place.resolve() == folder.resolve() for place in places):
        raise _core.ConfigError(f"{output}: would be watched itself; choose another output folder")
    if poll is None and (kind := _network_file_system(folder)):
        poll = _NETWORK_POLL
        _log.warning("%s is on %s, which has no events: it is looked at every %g s",
                     folder, kind, poll)  # fmt: skip
    events = _Events(folder, poll is None)
    usual = ("*.dat",) if is_packets(config.input) else _PATTERNS
    watcher = _Watch(config, folder, options, tuple(patterns) or usual, settle, patience)
    interval = 1.0 if poll is None else poll
    return watcher.run(events, interval, jobs, progress, stop or threading.Event())


def _network_file_system(folder: Path) -> str:
    """Type of the network file system that holds a folder; empty: it is a local one."""
    place = folder.resolve()
    found = ("", "")
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in lines.splitlines():
        fields, _, kinds = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape")
        if place.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kinds.split()[0])
    return found[1] if found[1] in _NETWORK else ""


class _Events:
    """Hears which files are closed or renamed; deaf where the folder is polled."""

    def __init__(self, folder: Path, is_wanted: bool) -> None:
        self._folder = folder
        self._heard: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._observer: Any = None
        self._place: tuple[int, int] | None = None
        self.is_wanted = is_wanted
        if is_wanted:
            try:
                import watchdog.observers  # noqa: F401
            except ModuleNotFoundError:
                raise _core.ConfigError(
                    "watch: needs watchdog (pip install 'skipstream[watch]'), or poll: a number of "
                    "seconds"
                ) from None

    def begin(self) -> None:
        """Listen to the folder; again, if it is another one by now."""
        if not self.is_wanted:
            return
        place = _place_of(self._folder)
        if self._place is not None and self._place == place:
            return
        self.end()
        from watchdog.observers import Observer

        self._observer = Observer()
        try:
            self._observer.schedule(self, str(self._folder))
            self._observer.start()
        except OSError as error:
            self._observer = None
            if error.errno in (errno.ENOSPC, errno.EMFILE):  # watches of the system, files
                raise _core.IoError(
                    f"{self._folder}: cannot hear its events: {error.strerror}; poll it"
                ) from None
            raise
        self._place = place

    def dispatch(self, event: Any) -> None:
        """Take an event from the observer's thread."""
        if event.event_type == "closed":
            self._heard.put(Path(os.fsdecode(event.src_path)))
        elif event.event_type == "moved":
            self._heard.put(Path(os.fsdecode(event.dest_path)))
        elif event.event_type in ("created", "deleted"):
            self._heard.put(None)

    def end(self) -> None:
        """Stop listening."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
        self._observer = self._place = None

    def wait(self, seconds: float, stop: threading.Event) -> set[str]:
        """Wait for events; returns the names of files that were closed or renamed."""
        names: set[str] = set()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stop.is_set():
            with contextlib.suppress(queue.Empty):
                path = self._heard.get(timeout=min(left, 1.0))
                while True:
                    if path is not None:
                        names.add(path.name)
                    end = 0.0
                    path = self._heard.get_nowait()
            if self._place is not None and self._place != _place_of(self._folder):
                break
        return names


def _place_of(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@dataclass
class _Waiting:
    """An exposure that is there and not done yet."""

    parts: list[Path]
    identity: list[list[int]]
    since: float  # when this identity was first seen
    is_checked: bool = False
    problem: str = ""


class _Watch:
    """What is known of a folder."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        options: RunOptions,
        patterns: tuple[str, ...],
        settle: float,
        patience: float,
    ) -> None:
        assert options.folder is not None
        self.config = config
        self.folder = folder
        self.options = options
        self.output = options.folder
        self.patterns = patterns
        self.settle = settle
        self.patience = patience
        self.ledger = Ledger(self.output)
        self.done: dict[str, dict[str, Any]] = {}  # by earlier runs
        self.handled: dict[Path, list[list[int]]] = {}
        self.unread: set[Path] = set()  # handled, but for the file system
        self.waiting: dict[Path, _Waiting] = {}
        self.closed: dict[Path, list[int]] = {}  # files by what they were when they were closed
        self.claimed: dict[Path, Path] = {}  # output to input
        self.is_gone = False

    def run(
        self,
        events: _Events,
        interval: float,
        jobs: int,
        progress: Progress | None,
        stop: threading.Event,
    ) -> Iterator[ImageResult]:
        places = [target for _, target in output_paths(self.config, self.folder, self.output)]
        with locked_folder(self.output, places):
            self.done = finished(self.output, config_digest(self.config))
            for entry in self.ledger.entries():
                if entry["event"] == "take":
                    self.claim(Path(entry["path"]))
            begin_run(self.ledger, self.config, ())
            try:
                closed: set[str] = set()
                while not stop.is_set():
                    begin = time.monotonic()
                    found = self.look(events)
                    took = time.monotonic() - begin
                    yield from self.process(self.ready(found, closed), jobs, progress)
                    idle = events.is_wanted and not self.waiting and not self.is_gone
                    # Looking may take a fiftieth of the time, however large the folder is.
                    closed = events.wait(max(_IDLE if idle else interval, 50 * took), stop)
            finally:
                events.end()
                self.ledger.write({"event": "end_run", **self.ledger.counts(), "open": False})

    def look(self, events: _Events) -> dict[Path, list[int]]:
        """Size and time of every file of the folder that has the right name."""
        found: dict[Path, list[int]] = {}
        try:
            events.begin()  # first: what comes after the look is heard
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(".") or not any(
                        fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns
                    ):
                        continue
                    try:
                        if entry.is_file():
                            facts = entry.stat()
                            found[self.folder / name] = [facts.st_size, facts.st_mtime_ns]
                    except FileNotFoundError:
                        continue  # renamed or removed since
        except _core.Error:
            raise
        except OSError as error:
            if not self.is_gone:
                _log.warning("%s: %s; waiting for it", self.folder, error.strerror or error)
            self.is_gone = True
            events.end()
            return {}
        if self.is_gone:
            _log.warning("%s is there again", self.folder)
            self.is_gone = False
            for path in self.unread:
                self.handled.pop(path, None)
            self.unread.clear()
        return found

    def ready(self, found: dict[Path, list[int]], closed: set[str]) -> dict[Path, _Waiting]:
        """The exposures that can be processed now."""
        now = time.monotonic()
        there = exposures(self.config, sorted(found))
        self.waiting = {path: entry for path, entry in self.waiting.items() if path in there}
        self.closed |= {path: facts for path, facts in found.items() if path.name in closed}
        self.closed = {p: facts for p, facts in self.closed.items() if found.get(p) == facts}
        ready = {}
        for path, parts in there.items():
            identity = [found[part] for part in parts]
            if self.handled.get(path) == identity or not any(size for size, _ in identity):
                continue
            entry = self.waiting.get(path)
            if entry is None and path not in self.handled and skipped(path, parts, self.done):
                self.handled[path] = identity
                continue
            if entry is None or entry.identity != identity:
                if entry is None:
                    seen = {"event": "seen", "path": str(path.absolute())}
                    self.ledger.write(seen, sync=False)
                entry = self.waiting[path] = _Waiting(parts, identity, now)
            if self.is_ready(path, entry, now - entry.since):
                ready[path] = entry
        return ready

    def is_ready(self, path: Path, entry: _Waiting, quiet: float) -> bool:
        """Whether a file that has not changed for so long is whole."""
        if quiet >= self.patience:
            return True
        is_closed = all(part in self.closed for part in entry.parts)
        if not is_closed and quiet < self.settle:
            return False
        if not entry.is_checked:
            entry.is_checked = True
            try:
                entry.problem = self.cut(entry.parts)
            except (_core.Error, OSError) as error:
                if is_closed:
                    return True  # is refused, with its reason
                entry.problem = str(error)
            if entry.problem:
                _log.info("waiting for %s: %s", path.name, entry.problem)
        return not entry.problem

    def cut(self, parts: Sequence[Path]) -> str:
        """What is missing at the end of an exposure; empty: nothing."""
        with contextlib.ExitStack() as stack:
            plain = [stack.enter_context(plain_file(part, self.output)) for part in parts]
            return read_layout(parts, self.config.input, plain=plain).cut

    def claim(self, path: Path) -> str:
        """Keep the outputs of an input for it alone; returns what stands against it."""
        targets = [target for _, target in output_paths(self.config, path, self.output)]
        for target in targets:
            other = self.claimed.get(target, path.absolute())
            if other != path.absolute():
                return f"{path}: would write {target}, as {other} does"
        self.claimed |= dict.fromkeys(targets, path.absolute())
        return ""

    def process(
        self, ready: dict[Path, _Waiting], jobs: int, progress: Progress | None
    ) -> Iterator[ImageResult]:
        free = {}
        for path, entry in ready.items():
            del self.waiting[path]
            for part in entry.parts:
                self.closed.pop(part, None)
            self.handled[path] = entry.identity
            if problem := self.claim(path):
                yield failed(path, problem, "config", self.output)
            else:
                free[path] = entry.parts
        for results in outcomes(self.config, free, self.options, jobs, progress):
            for result in results:
                if result.reason == "io":
                    self.unread.add(result.path)
                yield result
