"""Results do not depend on chunks, threads, SIMD level or source: the same bits."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import skipstream as sk
from skipstream import _core
from skipstream.reading import open_samples

DTYPES = ["|u1", "|i1", ">i2", "<u2", ">i4", "<u4", ">i8", "<u8", ">f4", "<f4", ">f8", "<f8"]
STATISTICS = [
    "mean", "median", "std", "var", "min", "max", "ptp", "sum", "rms", "mad", "quantile(0.3)",
    "clipped_mean", "trimmed_mean", "first", "last", "count", "mean(1)", "sample(-1)",
]  # fmt: skip
CHAIN = [
    {"kind": "compress_skips", "statistics": STATISTICS},
    {"kind": "subtract_pedestal", "axis": "row"},
    {"kind": "calibrate", "gain": 1.5},
    {"kind": "find_clusters", "threshold": 1.0, "seed": 1.5, "keep_pixels": True},
]
NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))


def some(kind: str, **choices: list[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A stage with some of its parameters chosen, or none."""
    chosen = st.fixed_dictionaries({name: st.sampled_from(c) for name, c in choices.items()})
    return st.one_of(st.just([]), chosen.map(lambda given: [{"kind": kind, **given}]))


CHAINS = st.tuples(
    some("correct_leach", shift=[1, 2]),
    some("subtract_baseline", method=["mean", "median"]),
    some("correct_polarity", method=["negate", "offset", "max"]),
    st.just([{"kind": "compress_skips", "statistics": ["mean", "first", "median", "std", "mad"]}]),
    some("replace_saturated", limit=[3.0]),
    some("mask_columns", columns=[[0], [[0, 1]]]),
    some("mask_rows", rows=[[0]]),
    some(
        "subtract_pedestal", axis=["row", "column", "both"], rebin_rows=[1, 3],
        method=["mean", "median", "gaussian_fit", "clipped_mean"],
        region=["auto", "overscan", "active"], n_sigma_to_mask=[3.0],
    ),
    some("calibrate", gain=[1.5]),
    some("find_clusters", threshold=[1.0], seed=[1.5], connectivity=[4, 8], keep_pixels=[True]),
).map(lambda parts: [stage for part in parts for stage in part])  # fmt: skip


def noise(dtype: str, shape: tuple[int, int, int], seed: int) -> NDArray[np.generic]:
    values = np.random.default_rng(seed).normal(60, 12, shape)
    return np.clip(values, 0, 120).astype(dtype)


def digest(*arrays: NDArray[np.generic]) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def pushed(
    stages: list[dict[str, Any]], samples: NDArray[np.generic], cuts: list[int], **options: int
) -> str:
    n_rows, n_cols, n_skips = samples.shape
    pipeline = sk.Pipeline(
        stages, n_cols=n_cols, n_skips=n_skips, dtype=samples.dtype, n_rows=n_rows,
        overscan_cols=n_cols // 2, **options,
    )  # fmt: skip
    edges = [0, *sorted(cut % (n_rows + 1) for cut in cuts), n_rows]
    parts = [pipeline.push(samples[a:b]) for a, b in itertools.pairwise(edges)]
    parts.append(pipeline.finish())
    planes = [np.concatenate([p.planes[name] for p in parts]) for name in parts[0].planes]
    assert planes[0].shape == (n_rows, n_cols)
    mask = np.concatenate([p.mask for p in parts])
    names = ["clusters", "cluster_pixels"] if stages[-1]["kind"] == "find_clusters" else []
    tables = [pipeline.table(name) for name in names]
    return digest(*planes, mask, *tables)


@settings(max_examples=5000 if NIGHTLY else 150, deadline=None)
@given(
    stages=CHAINS,
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(1, 12), st.integers(2, 20), st.integers(1, 70)),
    cuts=st.lists(st.integers(0, 100), max_size=4),
    chunk_rows=st.integers(1, 6),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_chunks_pushes_and_threads_do_not_matter(
    stages: list[dict[str, Any]],
    dtype: str,
    shape: tuple[int, int, int],
    cuts: list[int],
    chunk_rows: int,
    threads: int,
    seed: int,
) -> None:
    samples = noise(dtype, shape, seed)
    expected = pushed(stages, samples, [])
    assert pushed(stages, samples, cuts, chunk_rows=chunk_rows, threads=threads) == expected


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_a_file_gives_the_bits_of_the_array(dtype: str, tmp_path: Path) -> None:
    samples = noise(dtype, (17, 11, 30), 5)
    path = tmp_path / "raw.fits"
    with fitsio.FITS(str(path), "rw") as fits:
        fits.write(samples.reshape(17, -1))
    (image,) = sk.read_layout(path, sk.load_config(INPUT).input).images
    opened = open_samples(image)
    planes = np.empty((len(STATISTICS), 17, 11))

    def keep(_stage: int, rows: NDArray[np.float64], _mask: object, first_row: int) -> None:
        planes[:, first_row : first_row + rows.shape[1]] = rows

    pipeline = _core.Pipeline(
        CHAIN[:1],
        _core.ImageInfo(
            n_cols=11, n_skips=30, n_rows=17, dtype=opened.dtype, scale=opened.scale,
            zero=opened.zero,
        ),
        threads=2, chunk_rows=4, taps=[0], on_rows=keep,
    )  # fmt: skip
    opened.feed(pipeline, None)
    pipeline.finish()
    expected = sk.compress_skips(samples, STATISTICS)
    for plane, name in zip(planes, STATISTICS, strict=True):
        assert digest(plane) == digest(expected[name]), name


INPUT = {"input": {"n_skips": 30}, "stage": CHAIN[:1]}

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import skipstream as sk
from test_invariance import DTYPES, STATISTICS, digest, noise
for dtype in DTYPES:
    for n_skips in (1, 2, 31, 500):
        planes = sk.compress_skips(noise(dtype, (6, 5, n_skips), 3), STATISTICS)
        print(dtype, n_skips, digest(*planes.values()))
print(sk.find_clusters(noise("f4", (99, 101, 1), 4)[..., 0], threshold=65, seed=80).tobytes().hex())
"""


def test_simd_levels_do_not_matter() -> None:
    outputs = {}
    for level in ("baseline", "v3", "v4"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
            env={**os.environ, "SKIPSTREAM_SIMD": level},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs[level] = done.stdout
    assert len(outputs["baseline"].splitlines()) == 49
    assert outputs["v3"] == outputs["baseline"]
    assert outputs["v4"] == outputs["baseline"]


def test_thousands_of_ways_give_one_hash(tmp_path: Path) -> None:
    n_ways = 3400 if NIGHTLY else 150
    script = str(Path(__file__).parent / "many_ways.py")
    lines: list[str] = []
    for seed, level in enumerate(("baseline", "v3", "v4")):
        done = subprocess.run(
            [sys.executable, script, str(n_ways), str(seed), str(tmp_path)],
            env={**os.environ, "SKIPSTREAM_SIMD": level}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines += done.stdout.splitlines()
    assert len(lines) == 3 * n_ways
    hashes = {line.split()[0]: line for line in lines}
    assert len(hashes) == 1, "\n".join(hashes.values())


def test_pipelines_leave_no_memory_behind() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def once() -> None:
        samples = np.zeros((2000, 300, 1), "u1")
        stages = [sk.CompressSkips(), sk.FindClusters(noise=1.0)]
        with sk.Pipeline(stages, n_cols=300, n_skips=1, dtype="u1") as pipeline:
            pipeline.push(samples)
            pipeline.finish()

    once()
    before = resident()
    for _ in range(50):
        once()
    assert resident() - before < 20e6  # each would leave 10 MB behind
