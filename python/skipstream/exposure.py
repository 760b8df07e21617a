"""One exposure on its way: a pipeline per amplifier, one set of outputs, whole or absent.

Where the rows come from is not its matter: a file, packets, a socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .alarms import Alarm, start_command, tell
from .cards import card
from .config import Config, OutputConfig
from .layout import FileLayout, ImageLayout, stem_of
from .ledger import Ledger
from .outputs import PlaneFile, Source, config_digest, named_together, provenance
from .pipeline import reducers_of
from .reading import Samples, open_samples
from .reference import sample_stages
from .table_files import load_writer, write_table, write_trees
from .tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .measuring import Taken
    from .peer_columns import PeerPlanes

__all__ = [
    "Exposure",
    "ImageResult",
    "ImageRun",
    "LiveUpdate",
    "Progress",
    "RunOptions",
    "image_info",
    "output_paths",
    "plan_image",
    "safe_name",
]

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
    keep_planes: bool = True
    alarm_commands: bool = False


@dataclass(frozen=True)
class LiveUpdate:
    """What is new of an image on its way.

    Attributes
    ----------
    path
        Of the exposure.
    amplifier
        Of the image.
    rows_done, n_rows
        Rows that came so far, and all that the image will have.
    clusters
        Structured array of the clusters that closed since the update before, in the order in which
        they closed; None when the config does not ask for clusters. See `PipelineOutput`.
    units
        Of the columns of `clusters`.
    alarms
        Those that came since the update before.
    """

    path: Path
    amplifier: str
    rows_done: int
    n_rows: int
    clusters: NDArray[np.void] | None = field(default=None, repr=False)
    units: Mapping[str, str] = field(default_factory=dict, repr=False)
    alarms: tuple[Alarm, ...] = ()


Live = Callable[[LiveUpdate], None]


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
        The kind of failure: ``"config"``, ``"fits"``, ``"io"``, ``"memory"``, ``"worker"``,
        ``"packets"``, ``"aborted"`` or
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
        Structured arrays that turn into what others work with (:class:`skipstream.Table`);
        coordinates are 0-based. None when the config does not ask for them.
    report
        Shape, ``unit`` of the first plane here, ``active`` (first row, row after the last, first
        column, column after the last of the active pixels), findings, alarms, plan, seconds, bytes
        of raw samples.
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
    clusters: Table | None = field(default=None, repr=False)
    cluster_pixels: Table | None = field(default=None, repr=False)
    measures: dict[str, Any] = field(default_factory=dict, repr=False)
    report: dict[str, Any] = field(default_factory=dict, repr=False)
    outputs: tuple[Path, ...] = ()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the first plane, with its clusters; a run that writes files keeps none.

        Raises
        ------
        ValueError
            There are no planes.
        """
        from .plot import plot_clusters, plot_image

        if not self.planes:
            raise ValueError(f"plot: {self.path.name} has no planes here; its files have them")
        title = f"{self.path.name}, {self.amplifier}"
        unit = self.report.get("unit", "")
        if self.clusters is None:
            return plot_image(next(iter(self.planes.values())), ax=ax, unit=unit, title=title)
        plane = next(iter(self.planes.values()))
        return plot_clusters(plane, self.clusters, ax=ax, unit=unit, title=title)


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
    """Plan of an image: stages, shapes, delay and bytes; no sample is read.

    `measure_bytes` is what measures hold of samples and pixels, which is part of `total_bytes`.
    """
    samples = open_samples(image)
    taken = _taken_of(config, image, samples)
    pipeline = _core.Pipeline(
        config.stages,
        image_info(image, samples, config),
        spool_bytes=_spool_bytes(config),
        n_histograms=taken.n_histograms if taken is not None else 0,
        foreign=reducers_of(config.stages),
        fit_gain=_fit_gain,
        whole_rows=samples.whole_rows,
        source_bytes=samples.held_bytes(1),
        alarms=config.alarms,
    )
    n_bytes = 0
    if taken is not None:
        taken.keep_samples(pipeline)
        n_bytes = taken.n_bytes(pipeline, config.stage_number)
    plan = pipeline.plan
    total = {"total_bytes": plan["total_bytes"] + n_bytes}
    return {**plan, "measure_bytes": plan["record_bytes"] + n_bytes, **total}


def _taken_of(config: Config, image: ImageLayout, samples: Samples) -> Taken | None:
    """What the measures of a config take of an image, if there are any."""
    if not config.measures:
        return None
    from .measuring import Taken

    fits_gain = any(stage.get("gain") == "fit" for stage in config.stages)
    return Taken(config.measures, image, samples, fits_gain=fits_gain)


def _spool_bytes(config: Config) -> int:
    """Memory of a barrier, as the core has it; or more, where measures hold the pixels anyway."""
    return 256 << 20 if config.measures else -1


def _fit_gain(pixels: NDArray[np.float32]) -> float:
    from .charge import fit_gain

    return fit_gain(pixels)[0]["gain"]


def safe_name(text: str) -> str:
    """A name that no program takes for something else; `urllib.parse.unquote` gives it back."""

    def escaped(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in os.fsencode(found[0]))

    return re.sub(r"[\x00-\x1f\x7f-\x9f/\\%\ud800-\udfff]|^[.-]", escaped, text)


def output_paths(config: Config, path: Path, folder: Path) -> list[tuple[OutputConfig, Path]]:
    """Files that an input will be turned into."""
    stem = safe_name(stem_of(path))
    return [(output, folder / output.path.replace("{stem}", stem)) for output in config.outputs]


class ImageRun:
    """One image of an exposure: its pipeline, and what is kept of its rows."""

    def __init__(
        self, exposure: Exposure, image: ImageLayout, number: int, samples: Samples
    ) -> None:
        self.exposure = exposure
        self.image = image
        self.rows_done = 0  # by `push`
        self.facts: dict[str, Any] = {}  # further ones, for the report
        self.alarms: list[Alarm] = []
        self._alarms_told = 0  # to `live`
        self._rows_seen = 0
        self._begin = time.perf_counter()
        config, options = exposure.config, exposure.options
        taken = self._taken = exposure._begin_measures(image, samples)
        measured = {config.stage_number(name): name for name in (taken.stages if taken else ())}
        keeps = exposure.folder is None and options.keep_planes
        shown = _last_pixel_stage(config) if keeps else None
        kept: list[NDArray[Any]] = []
        self._kept = kept
        left = exposure._memory_left()
        pipeline = self.pipeline = _core.Pipeline(
            config.stages,
            image_info(image, samples, config),
            threads=options.threads,
            row_multiple=samples.piece_rows,
            spool_bytes=_spool_bytes(config),
            spool_folder=str(exposure.folder or ""),
            foreign=reducers_of(config.stages),
            n_histograms=taken.n_histograms if taken is not None else 0,
            fit_gain=_fit_gain if taken is None else taken.fit_gain,
            mask=exposure._known_mask(image),
            whole_rows=samples.whole_rows,
            source_bytes=samples.held_bytes(options.threads),
            memory_bytes=left,
            alarms=config.alarms,
            on_alarm=self._alarm if config.alarms else None,
        )
        if taken is not None:
            taken.keep_samples(pipeline)
        planned = pipeline.plan["total_bytes"]
        if taken is not None:
            planned += taken.n_bytes(pipeline, config.stage_number)
        self._peers = exposure._peer_planes(image)
        if self._peers is not None:
            planned += self._peers.n_bytes
        exposure._check_memory(planned, left)
        if self._peers is not None:
            self._peers.keep(pipeline)
        self._names: list[str] = []
        self._unit = ""
        if shown is not None:
            planes = pipeline.planes_after(shown)
            self._names = [plane["name"] for plane in planes]
            self._unit = planes[0]["unit"]
            # At once: of large arrays NumPy asks for large pages, which are there sooner.
            shape = (image.n_rows, image.n_cols)
            room = np.empty((len(planes) + 1, *shape), np.float32)
            kept += [
                np.empty(shape, np.int64) if plane["is_label"] else of
                for plane, of in zip(planes, room[:-1], strict=True)
            ]
            mask = room[-1].view(np.uint32)
            pipeline.keep_planes(shown, list(enumerate(kept)), mask)
            kept.append(mask)
        if taken is not None:
            for stage, name in measured.items():
                results = None
                if stage == shown:
                    results = dict(zip(self._names, kept[:-1], strict=True))
                taken.keep_planes(pipeline, stage, name, results)
        self._written = [
            (file, file.begin_image(image, number, stage, pipeline))
            for stage, file in exposure.files
        ]

    @property
    def heard(self) -> Callable[[int], None] | None:
        """What wants to know how many rows are done, if anything does."""
        exposure = self.exposure
        return None if exposure.progress is None and exposure.live is None else self._report

    def _report(self, rows: int) -> None:
        self.exposure._report(self.image, rows)
        if self.exposure.live is not None:
            self.exposure.live(self._update(rows))

    def _alarm(self, number: int, first_row: int, row: int, value: float) -> None:
        exposure, config = self.exposure, self.exposure.config.alarms[number]
        name = config.get("name") or config["when"]
        alarm = Alarm(name, config["when"], first_row, row, value)
        self.alarms.append(alarm)
        tell(alarm, exposure.path, self.image.amplifier, exposure.folder)
        command = config.get("command", [])
        if command and exposure.options.alarm_commands:
            words = [command] if isinstance(command, str) else command
            start_command(words, alarm, exposure.path, self.image.amplifier)

    def _update(self, rows: int) -> LiveUpdate:
        image = self.image
        place = self.exposure.path, image.amplifier, rows, image.n_rows
        alarms = tuple(self.alarms[self._alarms_told :])
        self._alarms_told += len(alarms)
        for table in self.pipeline.tables():
            if table["name"] == "clusters":
                units = {column["name"]: column["unit"] for column in table["columns"]}
                return LiveUpdate(*place, self.pipeline.take_rows("clusters"), units, alarms)
        return LiveUpdate(*place, alarms=alarms)

    def push(self, rows: NDArray[Any]) -> None:
        """Take the next rows of the readout; what the config leaves out is cut off.

        Parameters
        ----------
        rows
            ``(n, n_cols, n_skips)`` of the whole readout, of the dtype of the samples.
        """
        image, first = self.image, self._rows_seen
        self._rows_seen += len(rows)
        begin_row = min(max(0, image.first_row - first), len(rows))
        end_row = min(max(0, image.first_row + image.n_rows - first), len(rows))
        begin_col = image.first_sample // image.n_skips
        part = rows[begin_row:end_row, begin_col : begin_col + image.n_cols]
        self.pipeline.push(np.ascontiguousarray(part))
        self.rows_done += len(part)
        if self.heard is not None and len(part):
            self.heard(self.rows_done)

    def finish(self, rows_there: int, datasum: int | None) -> ImageResult:
        """End the image: rows that are not there are missing."""
        exposure, image, pipeline = self.exposure, self.image, self.pipeline
        exposure._datasums.append(datasum)
        n_missing = image.n_rows - rows_there
        measures: dict[str, Any] = {}
        if self._taken is None:
            pipeline.finish()
        else:
            measures = self._taken.finish(pipeline, exposure.options.threads)
        if self.heard is not None:
            self.heard(rows_there)
        exposure._end_image(image)
        findings = pipeline.findings()
        for file, hdus in self._written:
            file.finish_image(hdus, findings)
        exposure._measured += [(image.amplifier, name, result) for name, result in measures.items()]
        tables = {t["name"]: exposure._take_table(pipeline, t, image) for t in pipeline.tables()}
        if self._peers is not None:
            exposure._take_peers(self._peers, image, tables, findings, measures)
        seconds = time.perf_counter() - self._begin
        return ImageResult(
            path=exposure.path,
            amplifier=image.amplifier,
            status="partial" if n_missing > 0 else "done",
            message=f"the last {n_missing} of {image.n_rows} rows are missing" if n_missing else "",
            planes=dict(zip(self._names, self._kept, strict=False)),
            mask=self._kept[-1] if self._kept else None,
            clusters=tables.get("clusters"),
            cluster_pixels=tables.get("cluster_pixels"),
            measures=measures,
            report={
                "file": str(exposure.path),
                "amplifier": image.amplifier,
                "n_rows": image.n_rows,
                "rows_there": rows_there,
                "notes": list(image.notes),
                "n_cols": image.n_cols,
                "active": image.active,
                "n_skips": image.n_skips,
                "unit": self._unit,
                "n_clusters": len(tables["clusters"]) if "clusters" in tables else None,
                "findings": findings,
                "alarms": [asdict(alarm) for alarm in self.alarms],
                "plan": pipeline.plan,
                "raw_bytes": image.n_bytes,
                "datasum": datasum,
                "seconds": seconds,
                **self.facts,
            },
            outputs=tuple(target for _, target in exposure.targets),
        )


class Exposure:
    """All images of one exposure, into one set of outputs.

    Parameters
    ----------
    config
        What to do.
    path
        Stands for the exposure: in results, in the journal, and its stem in the outputs' names.
    options
        The folder, threads and memory.
    progress
        Called with the path, and the bytes of raw samples and the rows done so far.
    live
        Called with what is new of each image.
    """

    def __init__(
        self,
        config: Config,
        path: Path,
        options: RunOptions,
        progress: Progress | None = None,
        live: Live | None = None,
    ) -> None:
        self.config = config
        self.path = path
        self.options = options
        self.folder = options.folder
        self.progress = progress
        self.live = live
        self.targets = [] if self.folder is None else output_paths(config, path, self.folder)
        self.files: list[tuple[int, PlaneFile]] = []
        self._datasums: list[int | None] = []
        self._measured: list[tuple[str, str, Any]] = []
        self._tables: dict[str, list[Table]] = {}
        self._words: dict[str, str] = {}  # of the primary header
        columns = (output.columns for output in config.outputs if self.folder is not None)
        self._peers: dict[str, list[Any]] = {c: [] for c in columns if c != "skipstream"}
        self._done: dict[str, tuple[int, int]] = {}  # bytes and rows of each amplifier
        self._taken: dict[str, Taken] = {}
        self._n_images = 0

    def begin(self, layout: FileLayout) -> None:
        """Make the outputs under temporary names."""
        first = layout.others[0][0] if layout.others else layout.images[0].hdu
        self._words = {keyword: text for keyword, text, _ in first.cards}
        source = self._source = Source(self.config, config_digest(self.config), self.path.name)
        for output, target in self.targets:
            if output.table is not None:
                load_writer(target, output.columns)
            else:
                number = self.config.stage_number(output.after)
                self.files.append((number, PlaneFile(target, output, source, layout)))

    def begin_image(self, image: ImageLayout, samples: Samples) -> ImageRun:
        """Begin the next image. Images may be on their way at the same time."""
        self._n_images += 1
        return ImageRun(self, image, self._n_images, samples)

    def close(
        self,
        results: list[ImageResult],
        *,
        cut: str,
        n_bytes: int,
        checksum: str,
        identity: list[list[int]] | None,
    ) -> None:
        """Write the tables, give all outputs their names, and note what was done.

        Parameters
        ----------
        results
            Of all images.
        cut
            What is missing at the exposure's end, in words.
        n_bytes, checksum
            Of the input, for the headers.
        identity
            Of the input, for the journal: a later run knows it by that.
        """
        self._measure_pairs(results)
        source = replace(self._source, n_bytes=n_bytes, checksum=checksum)
        with named_together():
            for output, target in self.targets:
                if output.table is not None:
                    self._write_table(output, target, source)
            while self.files:
                self.files[0][1].close(source)
                self.files.pop(0)
        if self.folder is None:
            return
        sizes = {str(target): target.stat().st_size for _, target in self.targets}
        ledger = Ledger(self.folder)
        for result in results:
            entry: dict[str, Any] = {"event": "image", "path": str(self.path.absolute())}
            entry |= {"amplifier": result.amplifier, "status": result.status}
            entry |= {"message": result.message, "active": result.report["active"]}
            ledger.write(entry, sync=False)
        ledger.write(
            {
                "event": "file",
                "path": str(self.path.absolute()),
                "status": "partial" if cut else "done",
                "message": cut,
                "config": source.digest,
                "input": identity,
                "amplifiers": [result.amplifier for result in results],
                "outputs": sizes,
            }
        )

    def abandon(self, error: BaseException) -> None:
        """Remove what was written so far."""
        for _, file in self.files:
            file.abandon(error)
        self.files.clear()

    def _report(self, image: ImageLayout, rows: int) -> None:
        """Tell how far the exposure is."""
        self._done[image.amplifier] = rows * (image.n_bytes // max(image.n_rows, 1)), rows
        if self.progress is not None:
            done = self._done.values()
            self.progress(self.path, sum(n for n, _ in done), sum(n for _, n in done))

    def _end_image(self, image: ImageLayout) -> None:
        """Count an image as done as a whole."""
        self._done[image.amplifier] = image.n_bytes, image.n_rows

    def _known_mask(self, image: ImageLayout) -> NDArray[np.uint32] | None:
        if self.config.input.mask is None:
            return None
        from .masking import read_mask

        return read_mask(self.config.input.mask, image.amplifier, (image.n_rows, image.n_cols))

    def _begin_measures(self, image: ImageLayout, samples: Samples) -> Taken | None:
        taken = _taken_of(self.config, image, samples)
        if taken is not None and taken.takes_pairs:
            self._taken[image.amplifier] = taken
        return taken

    def _measure_pairs(self, results: list[ImageResult]) -> None:
        """Measures between amplifiers, once all of them are there."""
        if not self._taken:
            return
        from .measuring import pair_results

        for name, pair, result in pair_results(self._taken):
            first, _, second = pair.partition(">")
            self._measured.append((pair, name, result))
            for one in results:
                if one.amplifier == first:
                    one.measures[f"{name}:{second}"] = result

    def _memory_left(self) -> int:
        """Bytes that a plan may need beside the program; below 0: any number."""
        limit = self.options.memory_limit
        return -1 if limit is None else max(0, limit - resident_bytes())

    def _check_memory(self, planned: int, left: int) -> None:
        """The plan with what is measured; without it, the core has refused already."""
        if 0 <= left < planned:
            raise _core.ConfigError(
                f"{self.path}: needs {planned / 2**20:.1f} MiB: with what is measured; the limit "
                f"leaves {left / 2**20:.1f} MiB beside the program; measure less, or fewer planes"
            )

    def _take_table(
        self, pipeline: _core.Pipeline, info: Mapping[str, Any], image: ImageLayout
    ) -> Table:
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
        taken = Table(named, [columns[0], amplifier, *columns[1:]])
        self._tables.setdefault(info["name"], []).append(taken)
        return taken

    def _peer_planes(self, image: ImageLayout) -> PeerPlanes | None:
        """What tables under the names of other programs need of an image."""
        if not self._peers:
            return None
        from .peer_columns import PeerPlanes

        return PeerPlanes(self.config, self._peers, image)

    def _take_peers(
        self,
        kept: PeerPlanes,
        image: ImageLayout,
        tables: Mapping[str, Table],
        findings: Sequence[Mapping[str, Any]],
        measures: Mapping[str, Any],
    ) -> None:
        """Make the rows of an image under the names of other programs."""
        from .peer_columns import PEERS, image_facts

        words = {**self._words, **{keyword: text for keyword, text, _ in image.hdu.cards}}
        facts = image_facts(
            self.config, stem_of(self.path), words, image, tables, kept, findings, measures
        )
        for columns, made in self._peers.items():
            made.append(PEERS[columns].image(facts))

    def _write_table(self, output: OutputConfig, target: Path, source: Source) -> None:
        name = output.table
        assert name is not None
        if output.columns != "skipstream":
            from .peer_columns import PEERS

            trees = PEERS[output.columns].trees(self._peers[output.columns])
            header = [*card("EXTNAME", trees[0].name.upper(), "what the rows are")]
            write_trees(target, trees, [*header, *provenance(source)])
            return
        if target.suffix == ".json":
            from .results import write_results

            write_results(target, self._measured)
            return
        header = [*card("EXTNAME", name.upper(), "what the rows are")]
        if name == "measures":
            from .measuring import COLUMNS, measure_table

            table = Table(measure_table(self._measured), COLUMNS)
        elif name == "patterns":
            from .measuring import PATTERN_COLUMNS, pattern_table

            table = Table(pattern_table(self._measured), PATTERN_COLUMNS)
        else:
            table = self._whole_table(name)
            header += card("COORDS", "0-based", "x: column, y: row of the image")
        write_table(target, table, [*header, *provenance(source)])

    def _whole_table(self, name: str) -> Table:
        """A table of the core, of all images."""
        if name not in self._tables:
            raise _core.ConfigError(
                f"output: no table {name!r}; find_clusters makes it with keep_pixels = true"
            )
        tables = self._tables[name]
        if len(tables) == 1:
            return tables[0]
        rows = np.concatenate([table.to_numpy() for table in tables])
        return Table(rows, tables[0].columns)


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
