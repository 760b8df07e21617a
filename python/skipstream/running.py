"""A run over files: every image through a pipeline, its outputs whole or absent."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import recfunctions
from numpy.typing import NDArray

from . import _core, reading
from .cards import card
from .config import Config, OutputConfig
from .layout import FileLayout, ImageLayout, read_layout, stem_of
from .ledger import Ledger, finished, locked_folder, reason_of
from .outputs import PlaneFile, Source, config_digest, load_writer, provenance, write_table
from .pipeline import reducers_of
from .reading import STDIN, Samples, check_datasum, open_samples, plain_file
from .reference import sample_stages
from .workers import Died, run_jobs

if TYPE_CHECKING:
    from .measuring import Taken

__all__ = ["ImageResult", "image_info", "output_paths", "plan_image", "run"]

Progress = Callable[[Path, int, int], None]


@dataclass(frozen=True)
class RunOptions:
    """What a run does with every file, beside the config; see `run`."""

    folder: Path | None = None
    threads: int = 1
    verify: bool = False
    follow: float | None = None
    strict: bool = False
    memory_limit: int | None = None


@dataclass(frozen=True)
class ImageResult:
    """What became of one image, or of a file that could not be read.

    Attributes
    ----------
    path
        The input file.
    amplifier
        Of the image; empty when the file failed as a whole.
    status
        ``"done"``, ``"partial"`` (the file is cut off: rows that are not there are NaN, with the
        mask bit NODATA), ``"failed"`` or ``"skipped"`` (a resumed run found it done).
    message
        Why it failed.
    reason
        The kind of failure: ``"config"``, ``"fits"``, ``"io"``, ``"memory"``, ``"worker"`` or
        ``"internal"``.
    planes
        Plane name to ``(n_rows, n_cols)`` array after the last stage; empty when the run writes
        files, which then hold them.
    mask
        ``(n_rows, n_cols)`` uint32; None when the run writes files.
    measures
        Result of each ``[[measure]]`` by its name: :class:`skipstream.FitResult`, ...; of measures
        between amplifiers, by ``name:other``.
    clusters, cluster_pixels
        Structured arrays; coordinates are 0-based. None when the config does not ask for them.
    report
        Shape, ``active`` (first row, row after the last, first column, column after the last of
        the active pixels), findings, plan, seconds, bytes of raw samples.
    outputs
        Files written.
    """

    path: Path
    amplifier: str = ""
    status: str = "done"
    message: str = ""
    reason: str = ""
    planes: dict[str, NDArray[np.floating[Any]]] = field(default_factory=dict, repr=False)
    mask: NDArray[np.uint32] | None = field(default=None, repr=False)
    clusters: NDArray[np.void] | None = field(default=None, repr=False)
    cluster_pixels: NDArray[np.void] | None = field(default=None, repr=False)
    measures: dict[str, Any] = field(default_factory=dict, repr=False)
    report: dict[str, Any] = field(default_factory=dict, repr=False)
    outputs: tuple[Path, ...] = ()


def image_info(image: ImageLayout, samples: Samples, config: Config) -> _core.ImageInfo:
    """What the core must know of an image."""
    options = config.input
    return _core.ImageInfo(
        n_rows=image.n_rows,
        n_cols=image.n_cols,
        n_skips=image.n_skips,
        dtype=samples.dtype,
        scale=samples.scale,
        zero=samples.zero,
        blank=samples.blank,
        amplifier=image.amplifier,
        prescan_cols=image.prescan_cols,
        overscan_cols=image.overscan_cols,
        prescan_rows=image.prescan_rows,
        overscan_rows=image.overscan_rows,
        begin_skip=options.begin_skip if image.averaged == 1 else 0,
        end_skip=options.end_skip if image.averaged == 1 else None,
        unit=image.unit or options.unit,
        header=image.header,
    )


def plan_image(image: ImageLayout, config: Config) -> dict[str, Any]:
    """Plan of an image: stages, shapes, delay and bytes; no sample is read."""
    samples = open_samples(image)
    pipeline = _core.Pipeline(
        config.stages,
        image_info(image, samples, config),
        foreign=reducers_of(config.stages),
        fit_gain=_fit_gain,
        source_bytes=samples.held_bytes(1),
    )
    return pipeline.plan


def _fit_gain(pixels: NDArray[np.float64]) -> float:
    from .charge import fit_gain

    return fit_gain(pixels)


def safe_name(text: str) -> str:
    """A name that no program takes for something else; `urllib.parse.unquote` gives it back."""

    def escaped(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in os.fsencode(found[0]))

    return re.sub(r"[\x00-\x1f\x7f-\x9f/\\%\ud800-\udfff]|^[.-]", escaped, text)


def output_paths(config: Config, path: Path, folder: Path) -> list[tuple[OutputConfig, Path]]:
    """Files that an input will be turned into."""
    stem = safe_name(stem_of(path))
    return [(output, folder / output.path.replace("{stem}", stem)) for output in config.outputs]


def exposures(config: Config, paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Files that belong together, by the name that stands for them.

    With one file per sample those are the names that differ in their last number, which is that of
    the sample; else each file is by itself.
    """
    if config.input.layout != "samples_in_files":
        return {path: [path] for path in paths}
    groups: dict[Path, list[tuple[int, Path]]] = {}
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
    progress: Progress | None = None,
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
    progress
        Called with a path, and the bytes of raw samples and the rows done: so far with `jobs` = 1,
        else when the file is done.

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
    if jobs < 1:
        raise _core.ConfigError(f"jobs: must be at least 1; got {jobs}")
    if threads is not None and threads < 1:
        raise _core.ConfigError(f"threads: must be at least 1; got {threads}")
    if jobs > 1 and output is None:
        raise _core.ConfigError("jobs: several jobs need an output folder")
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    folder = None if output is None else Path(output)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _core.IoError(f"{folder}: cannot make the folder: {error.strerror}") from None
        _check_outputs(config, files, folder, overwrite, resume)
    if follow is not None and not follow > 0:
        raise _core.ConfigError(f"follow: must be above 0 s; got {follow}")
    options = RunOptions(folder, threads, verify, follow, strict, memory_limit)
    return _run(config, files, options, jobs, resume, progress)


def _run(
    config: Config,
    files: Mapping[Path, Sequence[Path]],
    options: RunOptions,
    jobs: int,
    resume: bool,
    progress: Progress | None,
) -> Iterator[ImageResult]:
    folder = options.folder
    if folder is None:
        for path, parts in files.items():
            results = _process(config, path, parts, options, progress)
            yield from results
            if options.strict and any(r.status in ("failed", "partial") for r in results):
                return
        return
    targets = [target for path in files for _, target in output_paths(config, path, folder)]
    with locked_folder(folder, targets):
        ledger = Ledger(folder)
        done = finished(folder, config_digest(config)) if resume else {}
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
        kept = {path: _skipped(path, parts, done) for path, parts in files.items()}
        todo = [(config, path, parts, options) for path, parts in files.items() if not kept[path]]
        made: Iterator[Any] = (
            run_jobs(_process, todo, jobs)
            if jobs > 1 and len(todo) > 1
            else (_process(*job, progress) for job in todo)
        )
        stopped = False
        for path in files:
            results = kept[path]
            if results:
                entry = {"event": "file", "path": str(path.absolute()), "status": "skipped"}
                ledger.write(entry, sync=False)
            else:
                results = next(made)
                if isinstance(results, Died):
                    results = [_failed(path, f"{path}: {results}", "worker", folder)]
            if progress is not None:
                reports = [result.report for result in results if result.report]
                progress(
                    path, sum(r["raw_bytes"] for r in reports), sum(r["n_rows"] for r in reports)
                )
            yield from results
            stopped = options.strict and any(r.status in ("failed", "partial") for r in results)
            if stopped:
                break
        if isinstance(made, Generator):
            made.close()
        if not stopped:
            ledger.write({"event": "end_run", **ledger.counts(), "open": False})


def _skipped(
    path: Path, parts: Sequence[Path], done: Mapping[str, dict[str, Any]]
) -> list[ImageResult]:
    entry = done.get(str(path.absolute()))
    identity = _identity(parts)
    if entry is None or identity is None or entry["input"] != identity:
        return []
    outputs = tuple(Path(name) for name in entry["outputs"])
    if not all(o.exists() and o.stat().st_size == entry["outputs"][str(o)] for o in outputs):
        return []
    return [
        ImageResult(path, amplifier, "skipped", "done by an earlier run", outputs=outputs)
        for amplifier in entry["amplifiers"]
    ]


def _identity(parts: Sequence[Path]) -> list[list[int]] | None:
    """Sizes and times of an input's files; None where it is a pipe, or one of them is not there."""
    if parts[0] == STDIN or not all(part.is_file() for part in parts):
        return None
    return [[part.stat().st_size, part.stat().st_mtime_ns] for part in parts]


def _failed(path: Path, message: str, reason: str, folder: Path | None) -> ImageResult:
    if folder is not None:
        Ledger(folder).refuse(path, reason, message)
    return ImageResult(path, status="failed", message=message, reason=reason)


def _process(
    config: Config,
    path: Path,
    parts: Sequence[Path],
    options: RunOptions,
    progress: Progress | None = None,
) -> list[ImageResult]:
    """One file; what is wrong with it ends in its result, not in an exception."""
    folder = options.folder
    try:
        if folder is not None:
            Ledger(folder).write({"event": "take", "path": str(path.absolute())}, sync=False)
        return _FileRun(config, path, parts, options, progress).run()
    except (_core.Error, OSError, MemoryError) as error:
        message = str(error) or type(error).__name__
        if isinstance(error, MemoryError):
            message = f"{path}: an image of this shape needs more memory than there is"
        if path.name not in message:
            message = f"{path}: {message}"
        return [_failed(path, message, reason_of(error), folder)]
    except Exception as error:
        # A fault of the program itself: still one file's, and said as such.
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{path}: internal error, please report: {error!r} at {where.name}:{where.lineno}"
        return [_failed(path, message, "internal", folder)]


class _FileRun:
    """All images of one file, into one set of outputs."""

    def __init__(
        self,
        config: Config,
        path: Path,
        parts: Sequence[Path],
        options: RunOptions,
        progress: Progress | None,
    ) -> None:
        self.config = config
        self.path = path
        self.parts = parts
        self.n_bytes = 0
        self.options = options
        self.folder = options.folder
        self.progress = progress
        self.targets = [] if self.folder is None else output_paths(config, path, self.folder)
        self.tables: dict[str, list[NDArray[np.void]]] = {}
        self.columns: dict[str, list[dict[str, str]]] = {}
        self.bytes_before = 0
        self.rows_before = 0
        self.datasums: list[int | None] = []
        self.taken: dict[str, Taken] = {}
        self.measured: list[tuple[str, str, Any]] = []

    def run(self) -> list[ImageResult]:
        identity = _identity(self.parts)
        spool = self.folder or tempfile.gettempdir()
        with contextlib.ExitStack() as stack:
            plain = [stack.enter_context(plain_file(part, spool)) for part in self.parts]
            self.n_bytes = sum(
                (opened if part == STDIN else part).stat().st_size
                for opened, part in zip(plain, self.parts, strict=True)
            )
            return self.run_plain(plain, identity)

    def run_plain(
        self, plain: Sequence[Path], identity: list[list[int]] | None
    ) -> list[ImageResult]:
        if self.options.verify:
            for opened, part in zip(plain, self.parts, strict=True):
                reading.verify(opened, part)
        layout = self.first_layout(plain)
        files: list[tuple[int, PlaneFile]] = []
        try:
            for output, target in self.targets:
                if output.table is not None:
                    load_writer(target)
                else:
                    number = self.config.stage_number(output.after)
                    files.append((number, PlaneFile(target, output, self.source(), layout)))
            results = []
            images = self.following(layout) if self.options.follow is not None else layout.images
            for number, image in enumerate(images, 1):
                results.append(self.run_image(image, number, files))
            if self.options.follow is not None:
                layout = read_layout(self.parts, self.config.input, plain=plain)
                identity = _identity(self.parts)
                self.n_bytes = sum(part.stat().st_size for part in self.parts)
            if layout.cut and not any(result.status == "partial" for result in results):
                results[-1] = replace(results[-1], status="partial", message=layout.cut)
            self.measure_pairs(results)
            checksum = self.checksum()
            for output, target in self.targets:
                if output.table is not None:
                    self.write_table(output.table, target, checksum)
            while files:
                files[0][1].close(checksum)
                files.pop(0)
        except BaseException as error:
            for _, file in files:
                file.abandon(error)
            raise
        if self.folder is not None:
            sizes = {str(target): target.stat().st_size for _, target in self.targets}
            ledger = Ledger(self.folder)
            for result in results:
                entry = {"event": "image", "path": str(self.path.absolute())}
                entry |= {"amplifier": result.amplifier, "status": result.status}
                ledger.write({**entry, "message": result.message}, sync=False)
            ledger.write(
                {
                    "event": "file",
                    "path": str(self.path.absolute()),
                    "status": "partial" if layout.cut else "done",
                    "message": layout.cut,
                    "config": config_digest(self.config),
                    "input": identity,
                    "amplifiers": [image.amplifier for image in layout.images],
                    "outputs": sizes,
                }
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

    def run_image(
        self, image: ImageLayout, number: int, files: Sequence[tuple[int, PlaneFile]]
    ) -> ImageResult:
        begin = time.perf_counter()
        last = _last_pixel_stage(self.config)
        kept: dict[str, Any] = {}
        growing = self.options.follow is not None
        samples = open_samples(image, is_growing=growing)
        taken = self.begin_measures(image, samples)
        measured = {
            self.config.stage_number(name): name for name in (taken.stages if taken else ())
        }
        shown = last if self.folder is None else None

        def on_rows(
            stage: int, planes: NDArray[np.float64], mask: NDArray[np.uint32], first_row: int
        ) -> None:
            if taken is not None and stage in measured:
                names = [plane["name"] for plane in pipeline.planes_after(stage)]
                taken.take_rows(measured[stage], names, planes, mask, first_row)
            if stage != shown:
                return
            rows = slice(first_row, first_row + len(mask))
            for plane, values in zip(kept["planes"], planes, strict=True):
                plane[rows] = values
            kept["mask"][rows] = mask

        left = self.memory_left()
        pipeline = _core.Pipeline(
            self.config.stages,
            image_info(image, samples, self.config),
            threads=self.options.threads,
            row_multiple=samples.piece_rows,
            spool_folder=str(self.folder or tempfile.gettempdir()),
            taps=sorted({*measured, *([] if shown is None else [shown])}),
            on_rows=on_rows,
            foreign=reducers_of(self.config.stages),
            keep_samples=taken.keep_samples if taken is not None else (),
            histogram_skips=taken.histogram_skips if taken is not None else (),
            fit_gain=_fit_gain,
            mask=self.known_mask(image),
            source_bytes=samples.held_bytes(self.options.threads),
            memory_bytes=left,
        )
        planned = pipeline.plan["total_bytes"]
        if taken is not None:
            for stage, name in measured.items():
                planned += taken.n_bytes(name, pipeline.planes_after(stage))
        self.check_memory(planned, left)
        if taken is not None:
            for stage, name in measured.items():
                taken.begin_planes(name, pipeline.planes_after(stage))
        names: list[str] = []
        if shown is not None:
            planes = pipeline.planes_after(shown)
            names = [plane["name"] for plane in planes]
            shape = (image.n_rows, image.n_cols)
            kept["planes"] = [
                np.empty(shape, np.int64 if plane["is_label"] else np.float32) for plane in planes
            ]
            kept["mask"] = np.empty(shape, np.uint32)
        for stage, file in files:
            file.begin_image(image, number, stage, pipeline)

        row_bytes = image.n_bytes // max(image.n_rows, 1)

        def report(rows: int) -> None:
            if self.progress is not None:
                self.progress(
                    self.path, self.bytes_before + rows * row_bytes, self.rows_before + rows
                )

        rows_there = image.rows_there
        heard = report if self.progress is not None else None
        datasum: int | None = None
        if growing:
            rows_there = reading.follow(pipeline, image, self.options.follow or 0.0, heard)
        else:
            datasum = samples.feed(pipeline, heard)
            if datasum is not None and image.is_whole_hdu:
                check_datasum(image.hdu, datasum, self.path.name)
        self.datasums.append(datasum)
        n_missing = image.n_rows - rows_there
        pipeline.push_missing(n_missing)
        pipeline.finish()
        self.bytes_before += image.n_bytes
        self.rows_before += image.n_rows
        findings = pipeline.findings()
        for _, file in files:
            file.finish_image(findings)
        measures = taken.results(pipeline) if taken is not None else {}
        self.measured += [(image.amplifier, name, result) for name, result in measures.items()]
        tables = {t["name"]: self.take_table(pipeline, t, image) for t in pipeline.tables()}
        seconds = time.perf_counter() - begin
        return ImageResult(
            path=self.path,
            amplifier=image.amplifier,
            status="partial" if n_missing > 0 else "done",
            message=f"the last {n_missing} of {image.n_rows} rows are missing" if n_missing else "",
            planes=dict(zip(names, kept["planes"], strict=True)) if kept else {},
            mask=kept.get("mask"),
            clusters=tables.get("clusters"),
            cluster_pixels=tables.get("cluster_pixels"),
            measures=measures,
            report={
                "file": str(self.path),
                "amplifier": image.amplifier,
                "n_rows": image.n_rows,
                "rows_there": rows_there,
                "notes": list(image.notes),
                "n_cols": image.n_cols,
                "active": image.active,
                "n_skips": image.n_skips,
                "n_clusters": len(tables["clusters"]) if "clusters" in tables else None,
                "findings": findings,
                "plan": pipeline.plan,
                "raw_bytes": image.n_bytes,
                "datasum": datasum,
                "seconds": seconds,
            },
            outputs=tuple(target for _, target in self.targets),
        )

    def known_mask(self, image: ImageLayout) -> NDArray[np.uint32] | None:
        if self.config.input.mask is None:
            return None
        from .masking import read_mask

        return read_mask(self.config.input.mask, image.amplifier, (image.n_rows, image.n_cols))

    def begin_measures(self, image: ImageLayout, samples: Samples) -> Taken | None:
        if not self.config.measures:
            return None
        from .measuring import MEASURES, Taken

        taken = Taken(self.config.measures, image, samples)
        if any(MEASURES[measure.kind].takes == "pairs" for measure in self.config.measures):
            self.taken[image.amplifier] = taken
        return taken

    def measure_pairs(self, results: list[ImageResult]) -> None:
        """Measures between amplifiers, once all of them are there."""
        if not self.taken:
            return
        from .measuring import pair_results

        for name, pair, result in pair_results(self.taken):
            first, _, second = pair.partition(">")
            self.measured.append((pair, name, result))
            for one in results:
                if one.amplifier == first:
                    one.measures[f"{name}:{second}"] = result

    def memory_left(self) -> int:
        """Bytes that a plan may need beside the program; below 0: any number."""
        limit = self.options.memory_limit
        return -1 if limit is None else max(0, limit - resident_bytes())

    def check_memory(self, planned: int, left: int) -> None:
        """The plan with what is measured; without it, the core has refused already."""
        if 0 <= left < planned:
            raise _core.ConfigError(
                f"{self.path}: needs {planned / 2**20:.1f} MiB: with what is measured; the limit "
                f"leaves {left / 2**20:.1f} MiB beside the program; measure less, or fewer planes"
            )

    def take_table(
        self, pipeline: _core.Pipeline, info: Mapping[str, Any], image: ImageLayout
    ) -> NDArray[np.void]:
        """Give one image's table the amplifier's name as its second column."""
        table = pipeline.table(info["name"])
        kinds = [(n, table.dtype[n].str) for n in table.dtype.names or ()]
        width = max(1, len(image.amplifier))
        named = np.empty(len(table), dtype=[kinds[0], ("amplifier", f"U{width}"), *kinds[1:]])
        for name, _ in kinds:
            named[name] = table[name]
        named["amplifier"] = image.amplifier
        amplifier = {"name": "amplifier", "unit": "", "doc": "name of the amplifier"}
        columns = list(info["columns"])
        self.columns[info["name"]] = [columns[0], amplifier, *columns[1:]]
        self.tables.setdefault(info["name"], []).append(named)
        return named

    def write_measures(self, target: Path, checksum: str) -> None:
        from .measuring import COLUMNS, measure_table

        header = [
            *card("EXTNAME", "MEASURES", "what the rows are"),
            *provenance(self.source(), checksum),
        ]
        write_table(target, measure_table(self.measured), COLUMNS, header)

    def write_table(self, name: str, target: Path, checksum: str) -> None:
        if name == "measures":
            self.write_measures(target, checksum)
            return
        if name not in self.tables:
            raise _core.ConfigError(
                f"output: no table {name!r}; find_clusters makes it with keep_pixels = true"
            )
        tables = self.tables[name]
        table = recfunctions.stack_arrays(tables, usemask=False) if len(tables) > 1 else tables[0]
        header = [
            *card("EXTNAME", name.upper(), "what the rows are"),
            *card("COORDS", "0-based", "x: column, y: row of the image"),
            *provenance(self.source(), checksum),
        ]
        write_table(target, table, self.columns[name], header)

    def source(self) -> Source:
        return Source(self.config, self.path.name, self.n_bytes)

    def checksum(self) -> str:
        """DATASUM of each image, taken while it was read; CRC-32 of a compressed file."""
        if None in self.datasums:
            crc = 0
            for part in self.parts if self.parts[0] != STDIN else ():
                with part.open("rb") as file:
                    while block := file.read(1 << 20):
                        crc = zlib.crc32(block, crc)
            return f"CRC32 {crc:08x}"
        return "DATASUM " + " ".join(map(str, self.datasums))


def resident_bytes() -> int:
    """Memory of this process now."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # the most that it ever had


def _last_pixel_stage(config: Config) -> int | None:
    numbers = [
        number for number, stage in enumerate(config.stages) if stage["kind"] not in sample_stages()
    ]
    return numbers[-1] if numbers else None


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
