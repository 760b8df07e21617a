"""Samples and rows that did not arrive: what is left is right, and the mask says the rest."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import skipstream as sk
from skipstream import MaskBit

N_ROWS, N_COLS, N_SKIPS = 6, 5, 8
ROW = N_COLS * N_SKIPS
STATISTICS = [
    "mean", "median", "std", "min", "max", "sum", "rms", "mad", "quantile(0.3)", "clipped_mean",
    "trimmed_mean", "first", "last", "count", "sample(2)", "mean(3)",
]  # fmt: skip
REDUCE = sk.CompressSkips(statistics=STATISTICS, begin_skip=1)
PEDESTAL = sk.SubtractPedestal(region="active")


def new_pipeline(stages: list[Any], dtype: Any, **image: Any) -> sk.Pipeline:
    return sk.Pipeline(stages, n_cols=N_COLS, n_skips=N_SKIPS, dtype=dtype, **image)


def joined(parts: list[sk.PipelineOutput]) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint32]]:
    planes = {
        name: np.concatenate([part.planes[name] for part in parts]) for name in parts[0].planes
    }
    return planes, np.concatenate([part.mask for part in parts])


def same(found: Any, expected: Any) -> None:
    for name, plane in expected[0].items():
        assert found[0][name].tobytes() == plane.tobytes(), name
    assert found[1].tobytes() == expected[1].tobytes()


def pushed(pipeline: sk.Pipeline, samples: NDArray[Any], lost: NDArray[np.bool_]) -> Any:
    """Push what is there, and declare what is not, in the runs in which they come."""
    flat, gone = samples.reshape(-1), lost.reshape(-1)
    edges = [0, *(np.flatnonzero(np.diff(gone)) + 1), len(flat)]
    parts = []
    for begin, end in itertools.pairwise(edges):
        if gone[begin]:
            parts.append(pipeline.push_lost(int(end - begin)))
        else:
            parts.append(pipeline.push(flat[begin:end]))
    return joined([*parts, pipeline.finish()])


@settings(max_examples=60)
@given(data=st.data())
def test_lost_samples_are_left_out_as_blank_ones_are(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(["<u2", ">i2", ">i4", "<u8", "|i1", ">f4", "<f8"])))
    seed = data.draw(st.integers(0, 1000))
    samples = np.random.default_rng(seed).integers(0, 9, (N_ROWS, N_COLS, N_SKIPS)).astype(dtype)
    lost = np.zeros(samples.size, bool)
    for _ in range(data.draw(st.integers(0, 8))):
        begin = data.draw(st.integers(0, samples.size - 1))
        lost[begin : begin + data.draw(st.integers(1, 60))] = True
    lost = lost.reshape(samples.shape)
    blank = {} if dtype.kind == "f" else {"blank": 77}
    blanked = np.where(lost, np.nan if dtype.kind == "f" else 77, samples).astype(dtype)
    stages = [REDUCE, PEDESTAL]
    # 0 is the limit of an unsigned integer: a saturation that no sample reaches tells them alike.
    stages[0] = sk.CompressSkips(statistics=STATISTICS, begin_skip=1, saturation=1e9)
    expected = pushed(new_pipeline(stages, dtype, **blank), blanked, np.zeros_like(lost))
    same(pushed(new_pipeline(stages, dtype), samples, lost), expected)
    same(pushed(new_pipeline(stages, dtype, **blank), samples, lost), expected)
    used = lost[:, :, 1:]
    gone, some = used.all(axis=2), used.any(axis=2)
    mask = expected[1]
    assert np.array_equal((mask & MaskBit.NODATA) != 0, gone)
    assert np.array_equal((mask & MaskBit.MISSKIPS) != 0, some & ~gone)


def test_a_pixel_whose_samples_are_all_the_numbers_there_are_is_given_up() -> None:
    samples = np.arange(256, dtype="u1").reshape(1, 1, 256)
    pipeline = sk.Pipeline([sk.CompressSkips()], n_cols=1, n_skips=300, dtype="u1")
    pipeline.push(samples.reshape(-1))
    out = pipeline.push_lost(44)
    assert np.isnan(out.planes["mean"]).all()
    assert out.mask[0, 0] == MaskBit.NODATA


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "<u4", ">i8", "<u8"])
@pytest.mark.parametrize("n_kept", [1, 100, 128, 129, 200, 255])
def test_what_is_lost_is_told_from_all_that_is_there(dtype: str, n_kept: int) -> None:
    n_skips = n_kept + 9
    there = np.arange(n_kept, dtype=np.uint8)  # all that would stand for a lost one first
    if dtype == "i1":
        there = there.view(np.int8)
    samples = there.astype(dtype)
    statistics = ["mean", "sum", "min", "max", "count"]
    pipeline = sk.Pipeline(
        [sk.CompressSkips(statistics=statistics, saturation=1e9)],
        n_cols=2, n_skips=n_skips, dtype=dtype,
    )  # fmt: skip
    parts = []
    for _ in range(2):
        parts += [pipeline.push(samples), pipeline.push_lost(9)]
    planes, mask = joined([*parts, pipeline.finish()])
    for name in statistics[:-1]:
        expected = float(getattr(samples.astype(np.float64), name)())
        assert planes[name].tolist() == [[expected, expected]], name
    assert planes["count"].tolist() == [[n_kept, n_kept]]
    assert (mask == MaskBit.MISSKIPS).all()


def test_many_gaps_in_a_row_lose_what_is_between_the_last_of_them() -> None:
    n_skips = 400
    samples = np.full((1, 3, n_skips), 7, "<i2")
    lost = np.zeros(samples.shape, bool)
    lost.reshape(-1)[:1100:2] = True  # 550 gaps
    pipeline = sk.Pipeline(
        [sk.CompressSkips(statistics=["mean", "count"])], n_cols=3, n_skips=n_skips, dtype="<i2"
    )
    planes, mask = pushed(pipeline, samples, lost)
    assert planes["count"].tolist() == [[200, 55, 101]]
    assert planes["mean"].tolist() == [[7, 7, 7]]
    assert (mask == MaskBit.MISSKIPS).all()


@pytest.mark.parametrize("row", [0, 2, N_ROWS - 1])
def test_rows_that_are_missing_leave_the_others_alone(row: int) -> None:
    samples = np.random.default_rng(1).integers(90, 110, (N_ROWS, N_COLS, N_SKIPS)).astype("<u2")
    none = np.zeros(samples.shape, bool)
    lost = none.copy()
    lost[row] = True
    whole = pushed(new_pipeline([REDUCE, PEDESTAL], "<u2"), samples, none)
    found = pushed(new_pipeline([REDUCE, PEDESTAL], "<u2"), samples, lost)
    others = np.arange(N_ROWS) != row
    for name, plane in whole[0].items():
        assert found[0][name][others].tobytes() == plane[others].tobytes()
        assert np.isnan(found[0][name][row]).all() or name == "count"
    assert (found[1][row] & MaskBit.NODATA).all()
    assert found[1][others].tobytes() == whole[1][others].tobytes()


@pytest.mark.parametrize(
    ("stage", "lost_row", "affected"),
    [
        (sk.CorrectLeach(), 3, [2, 3]),
        (sk.CorrectLeach(), 0, [0, N_ROWS - 1]),
        (sk.SubtractBaseline(), 3, [3]),
    ],
)
def test_stages_on_samples_go_on_behind_a_row_that_lost_some(
    stage: Any, lost_row: int, affected: list[int]
) -> None:
    samples = np.random.default_rng(2).integers(90, 110, (N_ROWS, N_COLS, N_SKIPS)).astype("<u2")
    none = np.zeros(samples.shape, bool)
    lost = none.copy()
    lost[lost_row, 2, 3:5] = True
    image = {"overscan_cols": 2}
    stages = [stage, sk.CompressSkips(statistics=["mean", "std"])]
    whole = pushed(new_pipeline(stages, "<u2", **image), samples, none)
    found = pushed(new_pipeline(stages, "<u2", **image), samples, lost)
    others = ~np.isin(np.arange(N_ROWS), affected)
    for name, plane in whole[0].items():
        assert found[0][name][others].tobytes() == plane[others].tobytes()
        assert np.isnan(found[0][name][~others]).all()
    assert np.array_equal(found[1], np.where(others[:, None], whole[1], MaskBit.NODATA))


def test_an_image_that_ends_early_lacks_its_last_rows() -> None:
    samples = np.random.default_rng(3).integers(90, 110, (N_ROWS, N_COLS, N_SKIPS)).astype("<u2")
    pipeline = new_pipeline([REDUCE, PEDESTAL], "<u2", n_rows=N_ROWS)
    parts = [pipeline.push(samples[:3]), pipeline.push(samples[3].reshape(-1)[: ROW // 2])]
    planes, mask = joined([*parts, pipeline.finish()])
    assert np.array_equal((mask & MaskBit.NODATA) != 0, np.isnan(planes["mean"]))
    assert np.isnan(planes["mean"]).sum(axis=1).tolist() == [0, 0, 0, 2, 5, 5]
    assert ((mask & MaskBit.MISSKIPS) != 0).sum(axis=1).tolist() == [0, 0, 0, 1, 0, 0]


def test_an_image_takes_no_more_rows_than_it_has() -> None:
    pipeline = new_pipeline([REDUCE], "<u2", n_rows=2)
    rows = np.zeros((2, N_COLS, N_SKIPS), "<u2")
    pipeline.push(rows.reshape(-1)[: ROW + 3])
    for push in (
        lambda: pipeline.push(rows),
        lambda: pipeline.push(rows.reshape(-1)[: ROW - 2]),
        lambda: pipeline.push_lost(ROW - 2),
    ):
        with pytest.raises(sk.Error, match="the image has 2 rows; got 1 and"):
            push()
    pipeline.push_lost(ROW - 3)
    pipeline.finish()
