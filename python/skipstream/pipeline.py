"""NumPy in, NumPy out: the streaming pipeline and the two functions used most."""

from __future__ import annotations

import enum
import os
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core
from .alarms import Alarm
from .reference import sample_stages
from .stages import Stage
from .tables import Table

__all__ = [
    "MaskBit",
    "Pipeline",
    "PipelineOutput",
    "SlowStatisticWarning",
    "compress_skips",
    "find_clusters",
    "numpy_reducers",
    "reducers_of",
]

#: Bits of the mask plane; 0 means that nothing is known against a pixel.
MaskBit = enum.IntFlag("MaskBit", {name: bit for bit, name, _ in _core.mask_names()})  # type: ignore[misc]


class SlowStatisticWarning(UserWarning):
    """A statistic is computed by NumPy, sample by sample through Python's memory."""


@dataclass(frozen=True)
class PipelineOutput:
    """What became ready in one push.

    Attributes
    ----------
    planes
        Plane name to ``(n_rows, n_cols)`` float64 array; the value first.
    mask
        ``(n_rows, n_cols)`` uint32, bits as in `MaskBit`.
    first_row
        Row of the image at which the planes begin.
    clusters
        Structured array of the clusters that closed, in the order in which they closed.
        ``nearest_distance`` is NaN until the whole image is known; see `Pipeline.table`.
    alarms
        Those that came, see `Alarm`.
    row_statistics
        Structured array, a row for each that was reduced: ``row``, ``pedestal`` and ``noise`` (in
        the unit of the samples), ``noise_e`` (electrons), ``n_flagged``, ``n_saturated``,
        ``n_missing``; see docs/live.md. Empty unless the pipeline was told to take them.
    """

    planes: dict[str, NDArray[np.float64]]
    mask: NDArray[np.uint32]
    first_row: int
    clusters: Table
    alarms: tuple[Alarm, ...] = ()
    row_statistics: NDArray[np.void] = field(
        default_factory=lambda: np.empty(0, np.void), repr=False
    )


def numpy_reducers(names: Sequence[str]) -> dict[str, Callable[[NDArray[np.float64]], Any]]:
    """Find those of `names` that are NumPy reducers and not known to the core.

    Parameters
    ----------
    names
        Names of statistics, such as ``["mean", "nanvar"]``.

    Returns
    -------
    dict
        Name to a function of an ``(n_pixels, n_skips)`` array. Slow: every sample is converted
        to float64 and passes through Python.
    """
    found: dict[str, Callable[[NDArray[np.float64]], Any]] = {}
    for name in _core.unknown_statistics(list(names)):
        function = getattr(np, name, None) if name.isidentifier() else None
        if not callable(function) or isinstance(function, type):
            continue
        try:
            result = np.asarray(function(np.zeros((2, 3)), axis=-1))
        except (TypeError, ValueError):
            continue
        if result.shape == (2,):
            warnings.warn(
                f"compress_skips: {name!r} is computed by NumPy on float64 copies of the samples, "
                "far slower than the statistics of the core",
                SlowStatisticWarning,
                stacklevel=3,
            )
            found[name] = _along_skips(function)
    return found


def _along_skips(function: Callable[..., Any]) -> Callable[[NDArray[np.float64]], Any]:
    def reduce(samples: NDArray[np.float64]) -> Any:
        return function(samples, axis=-1)

    return reduce


def reducers_of(stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """NumPy reducers that the ``compress_skips`` among `stages` name; see `numpy_reducers`."""
    names: list[str] = []
    for stage in stages:
        if stage.get("kind") == "compress_skips":
            statistics = stage.get("statistics", [])
            names += [statistics] if isinstance(statistics, str) else list(statistics)
    return numpy_reducers([name for name in names if isinstance(name, str)])


class Pipeline:
    """All stages of one image; rows are pushed as they come.

    Parameters
    ----------
    stages
        Stage objects such as ``CompressSkips(statistics=["mean"])``, or the same as mappings with
        a ``kind``.
    n_cols, n_skips
        Pixels of a row, with prescan and overscan, and samples of a pixel.
    dtype
        Type of the samples: integers of 8 to 64 bits, float32 or float64, in either byte order.
    threads
        Threads that share the reduction of the skips. The results do not depend on it.
    chunk_rows
        Rows that travel together; 0 lets the plan decide. The results do not depend on it.
    alarms
        ``[[alarm]]`` tables as mappings, such as ``[{"when": "noise_e > 0.25 for 5 rows"}]``;
        commands are not started.
    row_statistics
        Take the statistics of each row.
    **image
        Further facts of :class:`skipstream.ImageInfo`: ``prescan_cols``, ``overscan_cols``,
        ``amplifier``, ``scale``, ``zero``, ``blank``, ``n_rows``, ``header``, ...

    Raises
    ------
    ConfigError
        A stage's parameter is unknown or impossible for this image; all mistakes at once.

    Examples
    --------
    >>> import numpy as np
    >>> import skipstream as sk
    >>> samples = np.arange(24, dtype="uint16").reshape(2, 3, 4)
    >>> with sk.Pipeline([sk.CompressSkips(statistics=["mean"])], n_cols=3, n_skips=4,
    ...                  dtype="uint16") as pipeline:
    ...     pipeline.push(samples).planes["mean"]
    array([[ 1.5,  5.5,  9.5],
           [13.5, 17.5, 21.5]])
    """

    def __init__(
        self,
        stages: Sequence[Stage | Mapping[str, Any]],
        *,
        n_cols: int,
        n_skips: int,
        dtype: DTypeLike,
        threads: int = 1,
        chunk_rows: int = 0,
        alarms: Sequence[Mapping[str, Any]] = (),
        row_statistics: bool = False,
        **image: Any,
    ) -> None:
        tables = [dict(stage) for stage in stages]
        self._dtype = np.dtype(dtype)
        info = _core.ImageInfo(n_cols=n_cols, n_skips=n_skips, dtype=self._dtype.str, **image)
        last = _last_pixel_stage(tables)
        parts: list[tuple[NDArray[np.float64], NDArray[np.uint32], int]] = []
        self._parts = parts

        def keep(  # knows the list alone: the core holds it, and the collector cannot see a circle
            _stage: int,
            planes: NDArray[np.float64],
            mask: NDArray[np.uint32],
            first_row: int,
        ) -> None:
            parts.append((planes, mask, first_row))

        came = self._alarms = list[Alarm]()
        rules = [dict(alarm) for alarm in alarms]

        def note(number: int, first_row: int, row: int, value: float) -> None:
            when = rules[number]["when"]
            came.append(Alarm(rules[number].get("name") or when, when, first_row, row, value))

        self._core = _core.Pipeline(
            tables,
            info,
            alarms=rules,
            on_alarm=note if rules else None,
            row_statistics=row_statistics,
            threads=threads,
            chunk_rows=chunk_rows,
            taps=[] if last is None else [last],
            on_rows=keep,
            foreign=reducers_of(tables),
        )
        self._n_cols = n_cols
        self._n_skips = n_skips
        self._names = [plane["name"] for plane in self.plan["stages"][-1]["planes"]]
        self._next_row = 0

    @property
    def plan(self) -> dict[str, Any]:
        """Stages with their planes, delay and memory; bytes in all, known before any sample."""
        return self._core.plan

    def _take(self) -> PipelineOutput:
        parts = self._parts.copy()
        self._parts.clear()
        rest = (self._clusters(), tuple(self._alarms), self._core.take_row_statistics())
        self._alarms.clear()
        if not parts:
            empty = np.empty((0, self._n_cols))
            mask = np.empty((0, self._n_cols), np.uint32)
            return PipelineOutput(dict.fromkeys(self._names, empty), mask, self._next_row, *rest)
        planes = np.concatenate([part[0] for part in parts], axis=1)
        mask = np.concatenate([part[1] for part in parts])
        self._next_row = parts[0][2] + planes.shape[1]
        named = dict(zip(self._names, planes, strict=True))
        return PipelineOutput(named, mask, parts[0][2], *rest)

    def _clusters(self) -> Table:
        if any(table["name"] == "clusters" for table in self._core.tables()):
            return _described(self._core, "clusters", self._core.take_rows("clusters"))
        return Table(np.empty(0, dtype=[("cluster_id", np.int64)]), ())

    def push(self, rows: ArrayLike) -> PipelineOutput:
        """Take the next rows and return what became ready.

        Parameters
        ----------
        rows
            ``(n, n_cols, n_skips)`` samples of the pipeline's dtype; read in place when C-ordered.
            Or a flat buffer (bytes, memoryview, array.array, mmap, ...) of any number of samples,
            many rows or a part of one, encoded as the dtype says; whole rows are also read in
            place. The GIL is released meanwhile.

        Raises
        ------
        ConfigError
            The shape or the type is not the pipeline's.
        Error
            Another thread is inside of this pipeline.
        """
        self._core.push(self._as_rows(rows))
        return self._take()

    async def stream(self, parts: AsyncIterable[ArrayLike]) -> AsyncIterator[PipelineOutput]:
        """Push the rows of every part as it comes, and yield what became ready; then `finish`.

        The event loop goes on while the rows are reduced.

        Examples
        --------
        >>> import asyncio
        >>> import numpy as np
        >>> import skipstream as sk
        >>> async def readout():
        ...     for row in range(2):
        ...         yield np.full((1, 3, 4), row, dtype="uint16")
        >>> async def reduce():
        ...     pipeline = sk.Pipeline(
        ...         [sk.CompressSkips(statistics=["mean"])], n_cols=3, n_skips=4, dtype="uint16")
        ...     async for output in pipeline.stream(readout()):
        ...         print(output.first_row, output.planes["mean"])
        >>> asyncio.run(reduce())
        0 [[0. 0. 0.]]
        1 [[1. 1. 1.]]
        2 []
        """
        from asyncio import to_thread  # as slow to load as NumPy

        async for rows in parts:
            yield await to_thread(self.push, rows)
        yield await to_thread(self.finish)

    def _as_rows(self, rows: ArrayLike) -> NDArray[Any]:
        if isinstance(rows, bytes):  # NumPy takes them for one value
            rows = memoryview(rows)
        array = np.ascontiguousarray(rows)
        if array.ndim != 1:
            return array
        n_bytes = self._dtype.itemsize
        if array.dtype.itemsize == 1:
            if array.size % n_bytes:
                raise _core.ConfigError(
                    f"push: {array.size} bytes are not whole samples of {n_bytes} bytes"
                )
            array = array.view(self._dtype)
        elif array.dtype != self._dtype:
            return array  # the core says what is wrong with it
        return array

    def push_lost(self, n_samples: int) -> PipelineOutput:
        """Take samples that did not arrive, such as those of a lost packet.

        A pixel that has other samples is reduced from those, with the mask bit MISSKIPS; one that
        has none is NaN, with the bit NODATA. Where a stage needs the samples in order
        (`correct_leach`, a baseline), a row that lost some is missing as a whole, and so is the
        row before it with `correct_leach`.
        """
        self._core.push_lost(n_samples)
        return self._take()

    def push_missing(self, n_rows: int) -> PipelineOutput:
        """Take rows that did not arrive: NaN, with the mask bit NODATA.

        A finished image takes none, nor does a row that was begun: `skipstream.Error`.
        """
        self._core.push_missing(n_rows)
        return self._take()

    def finish(self) -> PipelineOutput:
        """End the image: rows that were held back, and clusters still open.

        What is not there of a row that was begun is missing, and so are the last rows of an image
        whose ``n_rows`` was given.
        """
        self._core.finish()
        return self._take()

    def table(self, name: str) -> Table:
        """Return a whole table, such as ``"clusters"``, sorted and complete after `finish`."""
        return _described(self._core, name, self._core.table(name))

    def findings(self) -> list[dict[str, Any]]:
        """Numbers that the stages found out: noise, pedestal, gain, ..."""
        return self._core.findings()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._parts.clear()


def _last_pixel_stage(tables: Sequence[Mapping[str, Any]]) -> int | None:
    before = sample_stages()
    numbers = [n for n, table in enumerate(tables) if table.get("kind") not in before]
    return numbers[-1] if numbers else None


def compress_skips(
    samples: ArrayLike,
    statistics: Sequence[str] = ("mean",),
    *,
    threads: int | None = None,
    scale: float = 1.0,
    zero: float = 0.0,
    blank: int | None = None,
    **parameters: Any,
) -> dict[str, NDArray[np.float64]]:
    """Reduce the last axis of an array, the skips, to statistics in one read of the samples.

    Parameters
    ----------
    samples
        ``(..., n_skips)``, integers of 8 to 64 bits, float32 or float64, in either byte order.
        Integers are reduced exactly. Read in place when C-ordered.
    statistics
        ``mean``, ``median``, ``std``, ``var``, ``min``, ``max``, ``ptp``, ``sum``, ``rms``,
        ``mad``, ``quantile(q)``, ``clipped_mean``, ``trimmed_mean``, ``first``, ``last``,
        ``count``, ``sample(s)``, ``mean(n)`` of the first n, or the name of a NumPy reducer (slow).
    threads
        Threads that share the pixels; default: the number of cores.
    scale, zero, blank
        The value is ``scale * sample + zero``; the integer `blank` stands for a missing sample.
    **parameters
        Further parameters of :class:`skipstream.CompressSkips`: ``begin_skip``, ``end_skip``,
        ``ddof``, ...

    Returns
    -------
    dict
        Statistic to array of shape ``samples.shape[:-1]``, float64, in the unit of the samples;
        under ``"mask"`` the uint32 mask.

    Raises
    ------
    ConfigError
        Unknown statistic or impossible range of skips.
    """
    array = np.asarray(samples)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise _core.ConfigError(
            f"compress_skips: samples must have at least one skip on the last axis; "
            f"got shape {array.shape}"
        )
    shape = array.shape[:-1]
    n_skips = array.shape[-1]
    names = [statistics] if isinstance(statistics, str) else list(statistics)
    stage = {"kind": "compress_skips", "statistics": names, **parameters}
    # Pixels are independent here: each is a row of one column.
    pixels = np.ascontiguousarray(array).reshape(-1, 1, n_skips)
    values = np.empty((len(names), len(pixels), 1))
    mask = np.empty((len(pixels), 1), np.uint32)
    pipeline = _core.Pipeline(
        [stage],
        _core.ImageInfo(
            n_cols=1,
            n_skips=n_skips,
            dtype=pixels.dtype.str,
            n_rows=len(pixels),
            scale=scale,
            zero=zero,
            blank=blank,
        ),
        threads=threads or os.cpu_count() or 1,
        chunk_rows=max(1, min(len(pixels), 1 << 15)),
        foreign=reducers_of([stage]),
    )
    pipeline.keep_planes(0, list(enumerate(values)), mask)
    pipeline.push(pixels)
    pipeline.finish()
    result = {name: values[i].reshape(shape) for i, name in enumerate(names)}
    result["mask"] = mask.reshape(shape)
    return result


def find_clusters(
    image: ArrayLike,
    *,
    threshold: float,
    seed: float,
    noise: float = 1.0,
    connectivity: Literal[4, 8] = 8,
    mask: ArrayLike | None = None,
    unit: str = "electron",
    threads: int | None = None,
    **parameters: Any,
) -> Table:
    """Find connected pixels above a threshold that hold at least one pixel above a seed.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``. NaN pixels belong to no cluster.
    threshold, seed
        In units of `noise`.
    noise
        Standard deviation of an empty pixel, in the unit of the image.
    connectivity
        4: pixels touch at edges; 8: at corners too.
    mask
        ``(n_rows, n_cols)``; pixels where it is true belong to no cluster.
    unit
        Unit of the image; ``energy_kev`` is NaN unless it is ``"electron"``.
    threads
        One finds the clusters, the others convert the next rows meanwhile. Default: the number
        of cores. The result does not depend on it.
    **parameters
        Further parameters of :class:`skipstream.FindClusters`: ``min_pixels``, ...

    Returns
    -------
    numpy structured array
        A row per cluster, in raster order of the first pixel; coordinates are 0-based.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    array = np.asarray(image)
    if array.ndim != 2:
        raise _core.ConfigError(
            f"find_clusters: image must be (n_rows, n_cols); got shape {array.shape}"
        )
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if mask is not None:
        left_out = np.asarray(mask, dtype=bool)
        if left_out.shape != array.shape:
            raise _core.ConfigError(
                f"find_clusters: mask must be {array.shape} as the image; got {left_out.shape}"
            )
        array = np.where(left_out, np.nan, array)
    array = np.ascontiguousarray(array)
    if array.size == 0:
        array = np.full((1, 1), np.nan)
    stage = {
        "kind": "find_clusters",
        "threshold": threshold,
        "seed": seed,
        "noise": noise,
        "connectivity": connectivity,
        **parameters,
    }
    pipeline = _core.Pipeline(
        [stage],
        _core.ImageInfo(
            n_cols=array.shape[1],
            n_skips=1,
            dtype=array.dtype.str,
            n_rows=array.shape[0],
            unit=unit,
        ),
        threads=threads or os.cpu_count() or 1,
    )
    pipeline.push(array)
    pipeline.finish()
    return _described(pipeline, "clusters", pipeline.table("clusters"))


def _described(core: _core.Pipeline, name: str, rows: NDArray[np.void]) -> Table:
    columns = next(table["columns"] for table in core.tables() if table["name"] == name)
    return Table(rows, columns)
