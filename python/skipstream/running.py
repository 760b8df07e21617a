"""A run over files: every image through a pipeline, its outputs whole or absent."""

from __future__ import annotations

import contextlib
import os
import re
import time
import traceback
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import _core, reading
from .config import Config
from .exposure import Exposure, ImageResult, Live, Progress, RunOptions, output_paths
from .inputs import is_packets
from .layout import FileLayout, ImageLayout, packet_number, read_layout, stem_of
from .ledger import Ledger, finished, locked_folder, reason_of
from .outputs import config_digest
from .packets import PacketFiles, feed_packets, packet_notes
from .reading import STDIN, check_datasum, open_samples, plain_file

__all__ = ["run", "summary"]


def exposures(config: Config, paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Files that belong together, by the name that stands for them.

    With one file per sample those are the names that differ in their last number, which is that of
    the sample; packets of an LTA come in files whose last number counts them; else each file is by
    itself.
    """
    groups: dict[Path, list[tuple[int, Path]]] = {}
    if is_packets(config.input):
        for path in paths:
            number = packet_number(path)
            name = path.name.replace(f"_{number}.", ".")
            groups.setdefault(path.with_name(name), []).append((number or 0, path))
        return {name: [path for _, path in sorted(group)] for name, group in groups.items()}
    if config.input.layout != "samples_in_files":
        return {path: [path] for path in paths}
    for path in paths:
        found = re.fullmatch(r"(.*?)[_-]?(\d+)", stem_of(path))
        if found is None:
            raise _core.ConfigError(
                f"{path}: layout samples_in_files needs the number of the sample at the end of the "
                "name, as in run7_00042.fits"
            )
        name = found[1] or "samples"
        groups.setdefault(path.with_name(f"{name}.fits"), []).append((int(found[2]), path))
    return {name: [path for _, path in sorted(group)] for name, group in groups.items()}


def _check_outputs(
    config: Config,
    files: Mapping[Path, Sequence[Path]],
    folder: Path,
    overwrite: bool,
    resume: bool,
) -> None:
    claimed: dict[Path, Path] = {}
    problems = []
    for path, parts in files.items():
        for _, target in output_paths(config, path, folder):
            if target in claimed:
                problems.append(f"{path}: would write {target}, as {claimed[target]} does")
            elif target.exists() and any(p.exists() and target.samefile(p) for p in parts):
                problems.append(f"{path}: {target} is the input itself")
            elif target.exists() and not (overwrite or resume):
                problems.append(
                    f"{path}: {target} exists; use --overwrite, or --resume to keep what is done"
                )
            claimed[target] = path
    if problems:
        raise _core.ConfigError("\n".join(problems))


def run(
    config: Config,
    paths: Iterable[str | Path],
    *,
    output: str | Path | None = None,
    jobs: int = 1,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    verify: bool = False,
    follow: float | None = None,
    strict: bool = False,
    memory_limit: int | None = None,
    keep_planes: bool = True,
    alarm_commands: bool = False,
    progress: Progress | None = None,
    live: Live | None = None,
) -> Iterator[ImageResult]:
    """Process files one after another, in the order given.

    Parameters
    ----------
    config
        What to do; see :func:`load_config`.
    paths
        FITS files.
    output
        Folder for the outputs of the config; it is made. None: nothing is written, and results
        hold the planes.
    jobs
        Files in work at once, each in a process of its own; needs `output`.
    threads
        Threads that share the reduction of a file; default: the cores divided by the jobs.
    overwrite, resume
        Replace outputs that exist, or keep those that an earlier run with the same config and
        input finished. With neither, an output that exists is an error before anything is read.
    verify
        Check the CHECKSUM and DATASUM of every HDU before its file is read. (The DATASUM of a plain
        image is always checked, when its samples have been read.)
    follow
        Files may still be written: wait for their rows, and take a file for ended when it has not
        grown for so many seconds.
    strict
        End the run at the first file that fails or is cut off.
    memory_limit
        Bytes that the plan of an image may need, with the interpreter; a file that needs more is
        refused before its samples are read. What is handed over comes on top: tables of clusters,
        and without `output` the planes.
    keep_planes
        Without `output`, results hold the planes.
    alarm_commands
        Alarms of the config may start their commands. Whose config it is, runs programs then.
    progress
        Called with a path, and the bytes of raw samples and the rows done: so far with `jobs` = 1,
        else when the file is done.
    live
        Called with a :class:`LiveUpdate` whenever rows are done; needs `jobs` = 1.

    Yields
    ------
    ImageResult
        One per image (amplifier); a file that fails gives one with the status ``"failed"``, and
        the run goes on.

    Raises
    ------
    ConfigError
        Outputs exist or collide, or the number of jobs or threads is impossible.
    """
    files = exposures(config, [Path(path) for path in paths])
    if jobs > 1 and output is None:
        raise _core.ConfigError("jobs: several jobs need an output folder")
    if jobs > 1 and live is not None:
        raise _core.ConfigError("jobs: live updates need one job")
    if follow is not None and not follow > 0:
        raise _core.ConfigError(f"follow: must be above 0 s; got {follow}")
    options = run_options(
        output,
        jobs,
        threads,
        verify=verify,
        follow=follow,
        strict=strict,
        memory_limit=memory_limit,
        keep_planes=keep_planes,
        alarm_commands=alarm_commands,
    )
    if options.folder is not None:
        _check_outputs(config, files, options.folder, overwrite, resume)
    return _run(config, files, options, jobs, resume, progress, live)


def run_options(
    output: str | Path | None, jobs: int, threads: int | None, **others: Any
) -> RunOptions:
    """Options of a run, with its folder made.

    Raises
    ------
    ConfigError
        The number of jobs or threads is impossible.
    IoError
        The folder cannot be made.
    """
    if jobs < 1:
        raise _core.ConfigError(f"jobs: must be at least 1; got {jobs}")
    if threads is not None and threads < 1:
        raise _core.ConfigError(f"threads: must be at least 1; got {threads}")
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    folder = None if output is None else Path(output)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _core.IoError(f"{folder}: cannot make the folder: {error.strerror}") from None
    return RunOptions(folder, threads, **others)


def _run(
    config: Config,
    files: Mapping[Path, Sequence[Path]],
    options: RunOptions,
    jobs: int,
    resume: bool,
    progress: Progress | None,
    live: Live | None,
) -> Iterator[ImageResult]:
    folder = options.folder
    if folder is None:
        for results in outcomes(config, files, options, jobs, progress, live):
            yield from results
            if options.strict and any(r.status in ("failed", "partial") for r in results):
                return
        return
    targets = [target for path in files for _, target in output_paths(config, path, folder)]
    with locked_folder(folder, targets):
        ledger = Ledger(folder)
        done = finished(folder, config_digest(config)) if resume else {}
        begin_run(ledger, config, files)
        kept = {path: skipped(path, parts, done) for path, parts in files.items()}
        todo = {path: parts for path, parts in files.items() if not kept[path]}
        made = outcomes(config, todo, options, jobs, progress, live)
        stopped = False
        for path in files:
            results = kept[path]
            if results:
                entry = {"event": "file", "path": str(path.absolute()), "status": "skipped"}
                ledger.write(entry, sync=False)
            else:
                results = next(made)
            if progress is not None:
                reports = [result.report for result in results if result.report]
                progress(
                    path, sum(r["raw_bytes"] for r in reports), sum(r["n_rows"] for r in reports)
                )
            yield from results
            stopped = options.strict and any(r.status in ("failed", "partial") for r in results)
            if stopped:
                break
        made.close()
        if not stopped:
            ledger.write({"event": "end_run", **ledger.counts(), "open": False})


def begin_run(ledger: Ledger, config: Config, files: Iterable[Path]) -> None:
    """Note what begins, and with which files."""
    ledger.write(
        {
            "event": "begin_run",
            "process": os.getpid(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "version": _core.__version__,
            "config": config_digest(config),
            "files": [str(path.absolute()) for path in files],
        }
    )


def outcomes(
    config: Config,
    files: Mapping[Path, Sequence[Path]],
    options: RunOptions,
    jobs: int = 1,
    progress: Progress | None = None,
    live: Live | None = None,
) -> Generator[list[ImageResult]]:
    """What becomes of each exposure, in their order."""
    if jobs == 1 or len(files) < 2:
        for path, parts in files.items():
            yield _process(config, path, parts, options, progress, live)
        return
    work = [(config, path, parts, options) for path, parts in files.items()]
    from .workers import Died, run_jobs  # as slow to load as a third of NumPy

    for path, results in zip(files, run_jobs(_process, work, jobs), strict=True):
        if isinstance(results, Died):
            results = [failed(path, f"{path}: {results}", "worker", options.folder)]
        yield results


def skipped(
    path: Path, parts: Sequence[Path], done: Mapping[str, dict[str, Any]]
) -> list[ImageResult]:
    """Results of an exposure that an earlier run has done, and that has not changed since."""
    entry = done.get(str(path.absolute()))
    identity = identity_of(parts)
    if entry is None or identity is None or entry["input"] != identity:
        return []
    outputs = tuple(Path(name) for name in entry["outputs"])
    if not all(o.exists() and o.stat().st_size == entry["outputs"][str(o)] for o in outputs):
        return []
    return [
        ImageResult(path, amplifier, "skipped", "done by an earlier run", outputs=outputs)
        for amplifier in entry["amplifiers"]
    ]


def identity_of(parts: Sequence[Path]) -> list[list[int]] | None:
    """Sizes and times of an input's files; None where it is a pipe, or one of them is not there."""
    if parts[0] == STDIN or not all(part.is_file() for part in parts):
        return None
    return [[part.stat().st_size, part.stat().st_mtime_ns] for part in parts]


def failed(path: Path, message: str, reason: str, folder: Path | None) -> ImageResult:
    """Result of an exposure that is refused, noted in the journal."""
    if folder is not None:
        Ledger(folder).refuse(path, reason, message)
    return ImageResult(path, status="failed", message=message, reason=reason)


def _process(
    config: Config,
    path: Path,
    parts: Sequence[Path],
    options: RunOptions,
    progress: Progress | None = None,
    live: Live | None = None,
) -> list[ImageResult]:
    """One file; what is wrong with it ends in its result, not in an exception."""
    folder = options.folder
    try:
        if folder is not None:
            Ledger(folder).write({"event": "take", "path": str(path.absolute())}, sync=False)
        return _FileRun(config, path, parts, options, progress, live).run()
    except (_core.Error, OSError, MemoryError) as error:
        message = str(error) or type(error).__name__
        if isinstance(error, MemoryError):
            message = f"{path}: an image of this shape needs more memory than there is"
        if path.name not in message:
            message = f"{path}: {message}"
        return [failed(path, message, reason_of(error), folder)]
    except Exception as error:
        # A fault of the program itself: still one file's, and said as such.
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{path}: internal error, please report: {error!r} at {where.name}:{where.lineno}"
        return [failed(path, message, "internal", folder)]


class _FileRun(Exposure):
    """All images of one file, or of the files of one exposure."""

    def __init__(
        self,
        config: Config,
        path: Path,
        parts: Sequence[Path],
        options: RunOptions,
        progress: Progress | None,
        live: Live | None,
    ) -> None:
        super().__init__(config, path, options, progress, live)
        self.parts = list(parts)

    def run(self) -> list[ImageResult]:
        identity = identity_of(self.parts)
        with contextlib.ExitStack() as stack:
            plain = [stack.enter_context(plain_file(part, self.folder)) for part in self.parts]
            n_bytes = sum(
                (opened if part == STDIN else part).stat().st_size
                for opened, part in zip(plain, self.parts, strict=True)
            )
            try:
                return self.run_plain(plain, n_bytes, identity)
            except BaseException as error:
                self.abandon(error)
                raise

    def run_plain(
        self, plain: Sequence[Path], n_bytes: int, identity: list[list[int]] | None
    ) -> list[ImageResult]:
        if is_packets(self.config.input):
            return self.run_packets(plain)
        if self.options.verify:
            for opened, part in zip(plain, self.parts, strict=True):
                reading.verify(opened, part)
        layout = self.first_layout(plain)
        self.begin(layout)
        images = self.following(layout) if self.options.follow is not None else layout.images
        results = [self.run_image(image) for image in images]
        if self.options.follow is not None:
            layout = read_layout(self.parts, self.config.input, plain=plain)
            identity = identity_of(self.parts)
            n_bytes = sum(part.stat().st_size for part in self.parts)
        if layout.cut and not any(result.status == "partial" for result in results):
            results[-1] = replace(results[-1], status="partial", message=layout.cut)
        self.close(
            results, cut=layout.cut, n_bytes=n_bytes, checksum=self.checksum(), identity=identity
        )
        return results

    def run_packets(self, plain: Sequence[Path]) -> list[ImageResult]:
        """All channels at once, as their samples take turns in the packets."""
        layout = read_layout(self.parts, self.config.input, plain=plain)
        self.begin(layout)
        runs = [self.begin_image(image, open_samples(image)) for image in layout.images]
        files = PacketFiles(self.parts, plain, self.options.follow)
        by_channel = {run.image.hdu.index - 1: run for run in runs}
        counts = feed_packets(files, self.config.input, by_channel)
        results = []
        for run in runs:
            run.facts["notes"] = [*run.image.notes, *packet_notes(counts)]
            run.facts["packets"] = counts
            results.append(run.finish(run.rows_done, None))
        self.close(
            results,
            cut=next((result.message for result in results if result.message), ""),
            n_bytes=sum(part.stat().st_size for part in self.parts),
            checksum=self.checksum(),
            identity=identity_of(self.parts),
        )
        return results

    def first_layout(self, plain: Sequence[Path]) -> FileLayout:
        """The layout; of a file that is being written, as soon as it has a header."""
        begin = time.monotonic()
        while True:
            try:
                return read_layout(self.parts, self.config.input, plain=plain)
            except _core.Error:
                if time.monotonic() - begin >= (self.options.follow or 0.0):
                    raise
                time.sleep(0.1)

    def following(self, layout: FileLayout) -> Iterator[ImageLayout]:
        """The images of a file that is being written, as their headers come."""
        patience = self.options.follow or 0.0
        number = 0
        changed, size = time.monotonic(), -1
        while True:
            if number < len(layout.images):
                image = layout.images[number]
                if image.skips != "columns" or image.hdu.compression or len(self.parts) > 1:
                    raise _core.FitsError(
                        f"{self.path.name}: only plain images with the skips in columns can be "
                        "followed; wait until the file is whole"
                    )
                yield image
                number += 1
                changed = time.monotonic()
            now = _core.written_bytes(str(self.parts[0]))
            if now != size:
                size, changed = now, time.monotonic()
            elif time.monotonic() - changed >= patience:
                return
            else:
                time.sleep(min(0.1, patience / 4))
            layout = read_layout(self.parts, self.config.input)

    def run_image(self, image: ImageLayout) -> ImageResult:
        growing = self.options.follow
        samples = open_samples(image, is_growing=growing is not None)
        run = self.begin_image(image, samples)
        if growing is not None:
            return run.finish(reading.follow(run.pipeline, image, growing, run.heard), None)
        datasum = samples.feed(run.pipeline, run.heard)
        if datasum is not None and image.is_whole_hdu:
            check_datasum(image.hdu, datasum, self.path.name)
        return run.finish(image.rows_there, datasum)

    def checksum(self) -> str:
        """DATASUM of each image, taken while it was read; CRC-32 of a compressed file."""
        if None in self._datasums:
            crc = 0
            for part in self.parts if self.parts[0] != STDIN else ():
                with part.open("rb") as file:
                    while block := file.read(1 << 20):
                        crc = zlib.crc32(block, crc)
            return f"CRC32 {crc:08x}"
        return "DATASUM " + " ".join(map(str, self._datasums))


def summary(results: Sequence[ImageResult]) -> dict[str, Any]:
    """Counts and findings of a run, as JSON can hold them."""
    images = [
        {
            "path": str(result.path),
            "amplifier": result.amplifier,
            "status": result.status,
            "message": result.message,
            "outputs": [str(output) for output in result.outputs],
            **{k: v for k, v in result.report.items() if k not in ("file", "amplifier", "plan")},
        }
        for result in results
    ]
    names = ("done", "partial", "skipped", "failed")
    counts = {s: sum(r.status == s for r in results) for s in names}
    return {"version": _core.__version__, **counts, "images": images}
