"""State machines: whatever is done in whatever order, a model of a few lines tells the outcome."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import skipstream as sk
from skipstream.ledger import Ledger

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
PROFILE = settings(
    max_examples=250 if NIGHTLY else 15, stateful_step_count=40 if NIGHTLY else 20, deadline=None
)
N_COLS, N_SKIPS = 9, 3
STAGES: list[dict[str, Any]] = [
    {"kind": "compress_skips", "statistics": ["mean", "std"]},
    {"kind": "subtract_pedestal"},
    {"kind": "find_clusters", "threshold": 2.0},
]


def processed(samples: np.ndarray, n_missing: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The whole image in one push."""
    pipeline = new_pipeline()
    parts = [pipeline.push(samples)]
    if n_missing:
        parts.append(pipeline.push_missing(n_missing))
    parts.append(pipeline.finish())
    planes = {n: np.concatenate([p.planes[n] for p in parts]) for n in ("mean", "std")}
    return planes, pipeline.table("clusters")


def new_pipeline(**options: int) -> sk.Pipeline:
    return sk.Pipeline(
        STAGES, n_cols=N_COLS, n_skips=N_SKIPS, dtype="i2", overscan_cols=3, **options
    )


class Pushing(RuleBasedStateMachine):
    """Rows in any portions, missing rows, misuse; the planes are those of one push."""

    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(0)
        self.pipeline = new_pipeline(threads=2, chunk_rows=2)
        self.samples = np.empty((0, N_COLS, N_SKIPS), "i2")
        self.n_missing = 0
        self.parts: list[sk.PipelineOutput] = []
        self.finished = False

    @precondition(lambda self: not self.finished and self.n_missing == 0)
    @rule(n_rows=st.integers(0, 7), contiguous=st.booleans())
    def push(self, n_rows: int, contiguous: bool) -> None:
        rows = np.rint(self.random.normal(100, 3, (n_rows, N_COLS, N_SKIPS))).astype("i2")
        self.samples = np.concatenate([self.samples, rows])
        if not contiguous:
            rows = np.asfortranarray(rows)
        self.parts.append(self.pipeline.push(rows))

    @precondition(lambda self: not self.finished)
    @rule(n_rows=st.integers(0, 4))
    def push_missing(self, n_rows: int) -> None:
        self.n_missing += n_rows
        self.parts.append(self.pipeline.push_missing(n_rows))

    @precondition(lambda self: not self.finished)
    @rule(shape=st.sampled_from([(2, N_COLS, 2), (2, 5, N_SKIPS), (4, 4), (1, 1, 1, 1)]))
    def push_a_wrong_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises((sk.ConfigError, ValueError, TypeError)):
            self.pipeline.push(np.zeros(shape, "i2"))
        with pytest.raises(sk.ConfigError, match="got -1 rows"):
            self.pipeline.push_missing(-1)

    @precondition(lambda self: not self.finished)
    @rule(dtype=st.sampled_from(["f4", "u2", "i8", "c8"]))
    def push_a_wrong_type(self, dtype: str) -> None:
        with pytest.raises((sk.ConfigError, ValueError, TypeError)):
            self.pipeline.push(np.zeros((1, N_COLS, N_SKIPS), dtype))

    @precondition(lambda self: not self.finished)
    @rule()
    def finish(self) -> None:
        self.parts.append(self.pipeline.finish())
        self.finished = True
        planes, clusters = processed(self.samples, self.n_missing)
        for name, plane in planes.items():
            found = np.concatenate([part.planes[name] for part in self.parts])
            assert found.tobytes() == plane.tobytes()
        assert self.pipeline.table("clusters").tobytes() == clusters.tobytes()

    @precondition(lambda self: self.finished)
    @rule()
    def push_after_the_end(self) -> None:
        with pytest.raises(sk.Error, match="after finish"):
            self.pipeline.push(np.zeros((1, N_COLS, N_SKIPS), "i2"))

    @invariant()
    def rows_leave_in_order(self) -> None:
        n_rows = sum(len(part.mask) for part in self.parts)
        assert n_rows <= len(self.samples) + self.n_missing
        if self.finished:
            assert n_rows == len(self.samples) + self.n_missing


class Running(RuleBasedStateMachine):
    """Files come, grow, are cut and replaced; runs are left in the middle, resumed, finished."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="skipstream-machine-"))
        self.out = self.folder / "out"
        self.config = sk.load_config(
            {
                "input": {"n_skips": N_SKIPS, "overscan_cols": 3},
                "stage": STAGES,
                "output": [{"after": "find_clusters", "path": "{stem}_planes.fits"}],
            }
        )
        self.random = np.random.default_rng(1)
        self.expected: dict[Path, tuple[str, np.ndarray]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def write(self, path: Path) -> None:
        data = np.rint(self.random.normal(100, 3, (20, N_COLS * N_SKIPS))).astype("i2")
        fits.PrimaryHDU(data).writeto(path, overwrite=True)
        self.expected[path] = ("done", data.reshape(20, N_COLS, N_SKIPS).std(axis=2))

    @rule(number=st.integers(0, 4))
    def add_or_replace(self, number: int) -> None:
        self.write(self.folder / f"raw{number}.fits")

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), n_rows=st.integers(1, 19))
    def cut(self, data: st.DataObject, n_rows: int) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected)))
        status, std = self.expected[path]
        if status == "failed":
            return
        there = min(n_rows, int(np.isfinite(std[:, 0]).sum()))
        os.truncate(path, 2880 + there * N_COLS * N_SKIPS * 2)
        std = std.copy()
        std[there:] = np.nan
        self.expected[path] = ("partial", std)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), content=st.binary(max_size=4000))
    def spoil(self, data: st.DataObject, content: bytes) -> None:
        path = data.draw(st.sampled_from(sorted(self.expected)))
        path.write_bytes(b"x" + content)
        self.expected[path] = ("failed", np.empty(0))

    @precondition(lambda self: self.expected)
    @rule(
        stop_after=st.integers(0, 6), jobs=st.just(1), how=st.sampled_from(["resume", "overwrite"])
    )
    def run(self, stop_after: int, jobs: int, how: str) -> None:
        """Run, perhaps leaving before the end, as an interrupted program would."""
        paths = sorted(self.expected)
        run = sk.run(
            self.config, paths, output=self.out, jobs=jobs, threads=1,
            resume=how == "resume", overwrite=how == "overwrite",
        )  # fmt: skip
        for number, result in enumerate(run):
            if number == stop_after:
                run.close()  # type: ignore[attr-defined]
                break
            self.check(result, how)
        else:
            counts = Ledger(self.out).counts()
            statuses = [status for status, _ in self.expected.values()]
            assert counts["done"] == statuses.count("done")
            assert counts["partial"] == statuses.count("partial")
            assert counts["refused"] == statuses.count("failed")
            assert not counts["open"]

    def check(self, result: sk.ImageResult, how: str) -> None:
        status, std = self.expected[result.path]
        allowed = {status, "skipped"} if how == "resume" and status == "done" else {status}
        assert result.status in allowed, result.message
        target = self.out / f"{result.path.stem}_planes.fits"
        if status != "failed":
            with fits.open(target, checksum=True) as file:
                found = file["STD"].data
            assert np.allclose(found, std, rtol=1e-6, equal_nan=True)

    @invariant()
    def the_ledger_adds_up(self) -> None:
        counts = Ledger(self.out).counts()
        parts = ("done", "partial", "refused", "waiting", "in_hand")
        assert counts["seen"] == sum(counts[part] for part in parts)
        assert not list(self.out.glob(".*"))


TestPushing = Pushing.TestCase
TestPushing.settings = PROFILE
TestRunning = Running.TestCase
TestRunning.settings = PROFILE
