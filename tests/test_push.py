"""Rows pushed from Python: any buffer, in place, without the GIL; results for an event loop."""

from __future__ import annotations

import array
import asyncio
import mmap
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import skipstream as sk

N_COLS, N_SKIPS = 7, 10
STAGES = [
    sk.CompressSkips(statistics=["mean", "std"]),
    sk.SubtractPedestal(),
    sk.FindClusters(noise=1.0, threshold=2.0, seed=3.0),
]


def samples(dtype: str, n_rows: int = 12) -> NDArray[np.generic]:
    values = np.random.default_rng(4).normal(60, 4, (n_rows, N_COLS, N_SKIPS))
    return values.round().astype(dtype)


def new_pipeline(dtype: str) -> sk.Pipeline:
    return sk.Pipeline(STAGES, n_cols=N_COLS, n_skips=N_SKIPS, dtype=dtype)


def results(parts: list[sk.PipelineOutput]) -> tuple[bytes, ...]:
    names = list(parts[0].planes)
    return (
        *(np.concatenate([part.planes[name] for part in parts]).tobytes() for name in names),
        np.concatenate([part.mask for part in parts]).tobytes(),
        np.concatenate([part.clusters for part in parts]).tobytes(),
    )


def pushed(dtype: str, *parts: Any) -> tuple[bytes, ...]:
    pipeline = new_pipeline(dtype)
    return results([*(pipeline.push(part) for part in parts), pipeline.finish()])


@pytest.mark.parametrize("dtype", ["<u2", ">i2", ">i4", "<i8", "|u1", "<f4", ">f8"])
def test_any_buffer_of_the_samples_gives_what_the_array_gives(dtype: str, tmp_path: Path) -> None:
    rows = samples(dtype)
    expected = pushed(dtype, rows)
    raw = rows.tobytes()
    row = len(raw) // 12
    read_only = rows.copy()
    read_only.flags.writeable = False
    (tmp_path / "rows").write_bytes(raw)
    with (tmp_path / "rows").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for parts in (
        [raw],
        [bytearray(raw)],
        [memoryview(raw)],
        [memoryview(rows)] if rows.dtype.isnative else [memoryview(raw).cast("B")],
        [mapped],
        [array.array("B", raw)],
        [read_only],
        [rows.reshape(-1)],
        [memoryview(raw)[: 5 * row], b"", memoryview(raw)[5 * row :]],
        [raw[:8], raw[8 : 3 * row + 16], raw[3 * row + 16 :]],
    ):
        assert pushed(dtype, *parts) == expected


def test_a_typed_array_must_have_the_pipelines_type() -> None:
    rows = samples("<u2")
    assert pushed("<u2", array.array("H", rows.tobytes())) == pushed("<u2", rows)
    with pytest.raises(sk.ConfigError, match="the image has samples of type <u2; got <i4"):
        pushed("<u2", array.array("i", rows.tobytes()))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"abc", "push: 3 bytes are not whole samples of 2 bytes"),
        (np.zeros((2, 8, 10), "u2"), r"rows must be \(n, 7, 10\); got \(2, 8, 10\)"),
        ("abc", "dtype: samples are 8 to 64 bit integers"),
    ],
)
def test_what_are_no_rows_is_refused(rows: Any, message: str) -> None:
    pipeline = new_pipeline("<u2")
    with pytest.raises(sk.ConfigError, match=message):
        pipeline.push(rows)
    assert pipeline.push(samples("<u2")).planes["mean"].shape == (12, 7)


def test_rows_are_read_in_place() -> None:
    rows = np.ones((2, 1000, 1000), ">i4")
    for part in (rows, memoryview(rows.tobytes())):
        pipeline = sk.Pipeline(STAGES[:1], n_cols=1000, n_skips=1000, dtype=">i4")
        tracemalloc.start()
        pipeline.push(part)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < rows.nbytes / 50  # the planes: a thousandth of the samples


def test_other_threads_run_while_rows_are_reduced() -> None:
    rows = np.ones((4, 1000, 1000), "u2")
    pipeline = sk.Pipeline(STAGES[:1], n_cols=1000, n_skips=1000, dtype="u2")
    asked, answered = threading.Event(), threading.Event()
    interval = sys.getswitchinterval()

    def answer() -> None:
        asked.wait()
        answered.set()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        sys.setswitchinterval(1000.0)  # so only a thread that gives the GIL away loses it
        asked.set()
        for _ in range(100):
            pipeline.push(rows)
            if answered.is_set():
                break
        assert answered.is_set()
    finally:
        sys.setswitchinterval(interval)
        thread.join()


def test_a_second_caller_is_refused_while_rows_are_reduced() -> None:
    called: list[str] = []

    def reducer(values: NDArray[np.float64], axis: int) -> Any:
        if values.shape[1] == N_SKIPS:  # not the trial of what the function makes of an array
            try:
                pipeline.push(samples("<u2"))
            except sk.Error as error:
                called.append(str(error))
        return values.mean(axis=axis)

    with pytest.MonkeyPatch.context() as patch, pytest.warns(sk.SlowStatisticWarning):
        patch.setattr(np, "own_mean", reducer, raising=False)
        pipeline = sk.Pipeline(
            [{"kind": "compress_skips", "statistics": ["own_mean"]}],
            n_cols=N_COLS,
            n_skips=N_SKIPS,
            dtype="<u2",
        )
        assert pipeline.push(samples("<u2")).planes["own_mean"].shape == (12, 7)
    assert called
    assert set(called) == {"pipeline: is at work for another call; rows come one after another"}


def test_an_event_loop_gets_results_as_rows_come() -> None:
    rows = samples("<u2")
    beats: list[int] = []

    async def readout() -> AsyncIterator[bytes]:
        for first in range(0, 12, 3):
            yield rows[first : first + 3].tobytes()

    async def beat() -> None:
        while True:
            beats.append(len(beats))
            await asyncio.sleep(0)

    async def reduce() -> list[sk.PipelineOutput]:
        heart = asyncio.create_task(beat())
        parts = [part async for part in new_pipeline("<u2").stream(readout())]
        heart.cancel()
        return parts

    parts = asyncio.run(reduce())
    assert [part.first_row for part in parts] == [0, 3, 6, 9, 12]
    assert results(parts) == pushed("<u2", rows)
    assert len(beats) > len(parts)


def test_an_error_ends_the_iteration_where_it_happens() -> None:
    async def readout() -> AsyncIterator[bytes]:
        yield samples("<u2").tobytes()
        yield b"abc"

    async def reduce() -> int:
        n = 0
        with pytest.raises(sk.ConfigError, match="3 bytes are not whole samples"):
            async for _ in new_pipeline("<u2").stream(readout()):
                n += 1
        return n

    assert asyncio.run(reduce()) == 1
