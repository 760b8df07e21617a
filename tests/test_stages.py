"""Every stage against its slow definition, and its errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import skipstream as sk

sys.path.insert(0, str(Path(__file__).parent))
import reference

Image = NDArray[np.float64]


def image_with(n_rows: int, n_cols: int, seed: int = 1) -> Image:
    """Noise on pedestals that differ by row and column, a few outliers, a missing pixel."""
    generator = np.random.default_rng(seed)
    image = generator.normal(0, 2, (n_rows, n_cols))
    image += generator.normal(100, 20, (n_rows, 1)) + generator.normal(0, 5, n_cols)
    image.flat[:: max(1, image.size // 5)] += 500
    if image.size > 3:
        image.flat[image.size // 2] = np.nan
    return image


def process(samples: NDArray[Any], stages: list[Any], **image: Any) -> sk.PipelineOutput:
    """The result, which must be the same for rows one by one, in threes, and all at once."""
    alone, *others = (pushed(samples, stages, n, **image) for n in (1, 3, max(len(samples), 1)))
    for other in others:
        assert other.mask.tobytes() == alone.mask.tobytes()
        assert other.clusters.tobytes() == alone.clusters.tobytes()
        for name, plane in alone.planes.items():
            assert other.planes[name].tobytes() == plane.tobytes(), name
    return alone


def pushed(
    samples: NDArray[Any], stages: list[Any], n_together: int, **image: Any
) -> sk.PipelineOutput:
    if samples.ndim == 2:
        samples = samples[..., None]
    with sk.Pipeline(
        stages, n_rows=len(samples), n_cols=samples.shape[1], n_skips=samples.shape[2],
        dtype=samples.dtype, **image,
    ) as pipeline:  # fmt: skip
        parts = [
            pipeline.push(samples[begin : begin + n_together])
            for begin in range(0, len(samples), n_together)
        ]
        parts.append(pipeline.finish())
    planes = {
        name: np.concatenate([part.planes[name] for part in parts]) for name in parts[0].planes
    }
    return sk.PipelineOutput(
        planes, np.concatenate([part.mask for part in parts]), 0, pipeline.table("clusters")
        if any(stage["kind"] == "find_clusters" for stage in stages) else parts[0].clusters,
    )  # fmt: skip


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)),
    shift=st.integers(1, 4),
)
def test_leach_moves_the_stream_and_wraps(shape: tuple[int, int, int], shift: int) -> None:
    shift = min(shift, shape[1] * shape[2])
    samples = np.arange(np.prod(shape), dtype="<u2").reshape(shape)
    planes = process(
        samples,
        [sk.CorrectLeach(shift=shift), sk.CompressSkips(statistics=["first", "last", "sum"])],
    ).planes
    expected = reference.correct_leach(samples, shift).astype(float)
    assert np.array_equal(planes["first"], expected[..., 0])
    assert np.array_equal(planes["last"], expected[..., -1])
    assert np.array_equal(planes["sum"], expected.sum(axis=-1))


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize("dtype", ["<u1", ">i2", "<u2", ">i4", "<i8", ">f4", "<f8"])
def test_a_baseline_is_that_of_the_same_sample(method: str, dtype: str) -> None:
    samples = np.random.default_rng(1).integers(0, 200, (5, 9, 4)).astype(dtype)
    if samples.dtype.kind == "f":
        samples[2, 7:, 1] = np.nan
    planes = process(
        samples,
        [sk.SubtractBaseline(method=method), sk.CompressSkips(statistics=["median", "first"])],
        overscan_cols=4,
    ).planes
    expected = reference.subtract_baseline(samples.astype(float), 4, method)
    assert np.allclose(planes["median"], np.nanmedian(expected, axis=2), rtol=1e-14, atol=1e-12)
    assert np.allclose(planes["first"], expected[..., 0], rtol=1e-14, atol=1e-12)


def test_a_row_without_overscan_has_no_baseline_and_no_value() -> None:
    samples = np.ones((2, 6, 3))
    samples[1, 3:] = np.nan
    result = process(samples, [sk.SubtractBaseline(), sk.CompressSkips()], overscan_cols=3)
    assert np.isnan(result.planes["mean"][1]).all()
    assert np.all(result.planes["mean"][0] == 0)
    with pytest.raises(sk.ConfigError, match="needs an overscan"):
        process(samples, [sk.SubtractBaseline(), sk.CompressSkips()])


def test_a_pixel_far_below_its_first_sample_is_told_by_that() -> None:
    samples = np.full((3, 4, 5), 100.0)
    samples[1, 2] = [5000, 100, 100, 100, 100]
    samples[2, 3] = [130, 100, 100, 100, 100]
    result = process(
        samples, [sk.CompressSkips(statistics=["mean", "first"]), sk.ReplaceSaturated(limit=50)]
    )
    expected = reference.replace_saturated(samples.mean(axis=2), samples[..., 0], 50)
    assert np.array_equal(result.planes["mean"], expected)
    assert np.array_equal(np.argwhere(result.mask & sk.MaskBit.SATURATED), [[1, 2]])
    with pytest.raises(sk.ConfigError, match='needs the plane "first"'):
        process(samples, [sk.CompressSkips(), sk.ReplaceSaturated()])


@pytest.mark.parametrize("method", ["negate", "offset", "max"])
@pytest.mark.parametrize("dtype", ["<u2", ">i4", "<f8"])
def test_polarity_turns_every_statistic(method: str, dtype: str) -> None:
    samples = np.random.default_rng(1).integers(0, 5000, (7, 5, 6)).astype(dtype)
    names = ["mean", "median", "min", "max", "first", "sum", "rms", "std", "ptp", "quantile(0.2)"]
    planes = process(
        samples,
        [sk.CorrectPolarity(method=method, offset=9000.0), sk.CompressSkips(statistics=names)],
    ).planes
    turned = reference.correct_polarity(samples.astype(float), method, 9000.0)
    assert list(planes) == names
    assert np.array_equal(planes["median"], np.median(turned, axis=-1))
    assert np.array_equal(planes["min"], turned.min(axis=-1))
    assert np.array_equal(planes["max"], turned.max(axis=-1))
    assert np.array_equal(planes["first"], turned[..., 0])
    assert np.array_equal(planes["sum"], turned.sum(axis=-1))
    assert np.array_equal(planes["ptp"], np.ptp(turned, axis=-1))
    # Roundings of NumPy's sums, and of the maximum that is added to a rounded mean.
    for name, expected in {
        "mean": turned.mean(axis=-1),
        "rms": np.sqrt((turned**2).mean(axis=-1)),
        "std": turned.std(axis=-1),
        "quantile(0.2)": np.quantile(turned, 0.2, axis=-1),
    }.items():
        np.testing.assert_allclose(planes[name], expected, rtol=1e-12, err_msg=name)


def test_polarity_max_asks_for_the_mean_only_inside() -> None:
    samples = np.array([[[1, 2], [5, 9]]], "<u2")
    planes = process(
        samples, [sk.CorrectPolarity(method="max"), sk.CompressSkips(statistics=["rms"])]
    ).planes
    assert list(planes) == ["rms"]
    # Squares of the mean, of the maximum and of the rms are rounded once each.
    np.testing.assert_allclose(planes["rms"], [[np.sqrt((64 + 49) / 2), np.sqrt(8)]], rtol=1e-15)


@pytest.mark.parametrize("method", ["mean", "median", "clipped_mean"])
@pytest.mark.parametrize("axis", ["row", "column", "both"])
@pytest.mark.parametrize("n_sigma", [None, 4.0])
@pytest.mark.parametrize("overscan_cols", [0, 5])
@pytest.mark.parametrize("rebin_rows", [1, 3])
def test_pedestal_is_that_of_the_definition(
    method: str, axis: str, n_sigma: float | None, overscan_cols: int, rebin_rows: int
) -> None:
    image = image_with(13, 17)
    regions = {"prescan_cols": 2, "overscan_cols": overscan_cols}
    stage = sk.SubtractPedestal(
        method=method, axis=axis, n_sigma_to_mask=n_sigma, rebin_rows=rebin_rows
    )
    out = process(image, [stage], **regions)
    expected = reference.subtract_pedestal(
        image, method=method, axis=axis, rebin_rows=rebin_rows, n_sigma_to_mask=n_sigma, **regions
    )
    # Means are summed around the first value there, pairwise here.
    np.testing.assert_allclose(out.planes["mean"], expected, rtol=0, atol=1e-12)
    assert (out.mask == np.where(np.isnan(image), sk.MaskBit.NODATA, 0)).all()


@pytest.mark.parametrize("shape", [(1, 8), (8, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("axis", ["row", "column", "both"])
def test_pedestal_of_tiny_images(shape: tuple[int, int], axis: str) -> None:
    image = image_with(*shape)
    out = process(image, [sk.SubtractPedestal(axis=axis)])
    expected = reference.subtract_pedestal(image, axis=axis)
    np.testing.assert_allclose(out.planes["mean"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["line", "spline"])
@pytest.mark.parametrize("overscan_cols", [0, 5])
@pytest.mark.parametrize("shape", [(13, 17), (4, 17), (3, 17), (2, 9), (1, 9), (6, 1 + 5)])
def test_pedestals_between_rows_are_those_of_the_definition(
    kind: str, overscan_cols: int, shape: tuple[int, int]
) -> None:
    image = image_with(*shape)
    stage = sk.SubtractPedestal(between_rows=kind)
    out = process(image, [stage], overscan_cols=overscan_cols)
    expected = image - reference.pedestal_between_rows(image, kind, overscan_cols=overscan_cols)
    # The spline's equations are solved in another order: a few roundings of numbers near 600.
    np.testing.assert_allclose(out.planes["mean"], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("n_rows", [12, 13, 14])
def test_a_spline_through_groups_of_rows_is_that_of_the_definition(n_rows: int) -> None:
    image = image_with(n_rows, 17)
    out = process(image, [sk.SubtractPedestal(between_rows="spline", rebin_rows=3)])
    expected = image - reference.pedestal_between_rows(image, "spline", rebin_rows=3)
    np.testing.assert_allclose(out.planes["mean"], expected, rtol=0, atol=1e-10)


def test_a_spline_spans_rows_without_a_pedestal_and_a_line_does_not() -> None:
    image = 100 + 3.0 * np.arange(7)[:, None] + np.zeros(8)
    image[3, 1:] = np.nan
    spline = process(image, [sk.SubtractPedestal(between_rows="spline")], overscan_cols=3)
    assert (spline.mask & sk.MaskBit.NOPEDESTAL == 0).all()
    # Straight through nodes that lie on a line, read in the middle of the overscan, column 6.
    expected = -3 * (np.arange(8) - 6) / 8
    np.testing.assert_allclose(spline.planes["mean"][[0, 3, 6], 0], expected[0], atol=1e-12)
    line = process(image, [sk.SubtractPedestal(between_rows="line")], overscan_cols=3)
    assert (line.mask[3] & sk.MaskBit.NOPEDESTAL).all()
    np.testing.assert_allclose(line.planes["mean"][2], 3 - 3 * np.arange(8) / 7, atol=1e-12)
    assert (line.planes["mean"][4] == 0).all()  # nothing is known of the row before


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (sk.SubtractPedestal(between_rows="line", rebin_rows=2), "line needs rebin_rows = 1"),
        (sk.SubtractPedestal(between_rows="line", axis="both"), 'need axis = "row"'),
        (sk.SubtractPedestal(between_rows="spline", axis="column"), 'need axis = "row"'),
    ],
)
def test_pedestals_between_rows_that_cannot_be_are_refused(stage: sk.Stage, words: str) -> None:
    with pytest.raises(sk.ConfigError, match=f"between_rows: .*{words}"):
        process(image_with(5, 5), [stage])


def test_a_spline_needs_the_number_of_rows() -> None:
    with pytest.raises(sk.ConfigError, match="number of rows beforehand"):
        sk.Pipeline([sk.SubtractPedestal(between_rows="spline")], n_cols=4, n_skips=1, dtype="f8")


def test_gaussian_fit_finds_the_centre_beside_charge() -> None:
    generator = np.random.default_rng(5)
    image = generator.normal(1000, 3, (4, 4000))
    image[:, ::10] += generator.exponential(40, (4, 400))
    out = process(image, [sk.SubtractPedestal(method="gaussian_fit", region="active")])
    shift = image[:, 0] - out.planes["mean"][:, 0]
    # Standard error 3 / sqrt(4000) = 0.05; charge pulls a little to the right.
    assert np.abs(shift - 1000).max() < 0.3


def test_a_row_without_usable_pixels_is_flagged() -> None:
    image = image_with(3, 6)
    image[1] = np.nan
    out = process(image, [sk.SubtractPedestal()])
    assert (out.mask[1] & sk.MaskBit.NOPEDESTAL).all()
    assert not (out.mask[[0, 2]] & sk.MaskBit.NOPEDESTAL).any()


def test_an_overscan_as_wide_as_the_image_gives_the_pedestal() -> None:
    image = image_with(4, 9)
    out = process(image, [sk.SubtractPedestal()], overscan_cols=9)
    expected = reference.subtract_pedestal(image, overscan_cols=9)
    assert np.array_equal(out.planes["mean"], expected, equal_nan=True)


def test_an_overscan_that_is_not_there_is_an_error() -> None:
    with pytest.raises(sk.ConfigError, match=r"stage\[0\] subtract_pedestal.region.*overscan_cols"):
        process(image_with(2, 5), [sk.SubtractPedestal(region="overscan")])


def test_calibrate_divides_values_and_widths() -> None:
    samples = np.random.default_rng(2).integers(0, 100, (3, 4, 5)).astype("<i4")
    stages = [
        sk.CompressSkips(statistics=["mean", "std", "var", "count"]),
        sk.Calibrate(gain={"L": 2.0, "U": 4.0}),
    ]
    out = process(samples, stages, amplifier="U")
    plain = sk.compress_skips(samples, ("mean", "std", "var", "count"))
    assert np.array_equal(out.planes["mean"], plain["mean"] / 4)
    assert np.array_equal(out.planes["std"], plain["std"] / 4)
    assert np.array_equal(out.planes["var"], plain["var"] / 16)
    assert np.array_equal(out.planes["count"], plain["count"])


def test_gain_may_come_from_the_header() -> None:
    image = np.full((2, 3), 12.0)
    out = process(image, [sk.Calibrate(gain="MEGAIN")], header={"MEGAIN": 6.0})
    assert (out.planes["mean"] == 2.0).all()
    with pytest.raises(sk.ConfigError, match='"MEGIAN"; nearest: "MEGAIN"'):
        process(image, [sk.Calibrate(gain="MEGIAN")], header={"MEGAIN": 6.0})


def test_masks_are_those_rows_and_columns() -> None:
    out = process(np.ones((9, 8)), [sk.MaskRows(rows=[[2, 4], 7]), sk.MaskColumns(columns=[0, 7])])
    rows = (out.mask & sk.MaskBit.BADROW) != 0
    assert np.array_equal(np.flatnonzero(rows.any(axis=1)), [2, 3, 4, 7])
    assert np.array_equal(rows.any(axis=1), rows.all(axis=1))
    columns = (out.mask & sk.MaskBit.BADCOL) != 0
    assert np.array_equal(np.flatnonzero(columns.any(axis=0)), [0, 7])
    assert np.array_equal(columns.any(axis=0), columns.all(axis=0))


@pytest.mark.parametrize(
    "stage",
    [sk.MaskRows(rows=[0]), sk.MaskColumns(columns=[0]), sk.Calibrate(gain=0.5),
     sk.SubtractPedestal(), sk.ReplaceSaturated(limit=5)],
    ids=lambda stage: stage["kind"],
)  # fmt: skip
def test_a_stage_without_memory_plans_none(stage: Any) -> None:
    pipeline = sk.Pipeline(
        [sk.CompressSkips(statistics=["mean", "first"]), stage], n_cols=5, n_skips=3, n_rows=4,
        dtype="i2",
    )  # fmt: skip
    (planned,) = (p for p in pipeline.plan["stages"] if p["name"] == stage["kind"])
    assert (planned["delay_rows"], planned["barrier"]) == (0, False)
    if stage["kind"] != "subtract_pedestal":
        assert planned["state_bytes"] == 0


def test_a_gain_below_one_is_a_gain() -> None:
    assert (process(np.ones((2, 3)), [sk.Calibrate(gain=0.25)]).planes["mean"] == 4).all()
    assert (process(np.ones((2, 3)), [sk.Calibrate(gain=1.1)]).planes["mean"] == 1 / 1.1).all()


def test_replaced_pixels_are_counted() -> None:
    samples = np.full((2, 3, 4), 10.0)
    samples[1, 1, 0] = samples[0, 2, 0] = 900
    with sk.Pipeline(
        [sk.CompressSkips(statistics=["mean", "first"]), sk.ReplaceSaturated(limit=50)],
        n_cols=3, n_skips=4, dtype="f8",
    ) as pipeline:  # fmt: skip
        pipeline.push(samples)
        pipeline.finish()
        found = {f["name"]: f["value"] for f in pipeline.findings()}
    assert found["replaced"] == 2


def test_masked_rows_and_columns_take_no_part() -> None:
    image = np.zeros((6, 7))
    image[2, 3] = image[4, 5] = image[5, 1] = 50.0
    stages = [
        sk.MaskColumns(columns=[3]),
        sk.MaskRows(rows=[[4, 4]]),
        sk.FindClusters(threshold=4, seed=10, noise=1.0),
    ]
    out = process(image, stages)
    assert (out.mask[:, 3] & sk.MaskBit.BADCOL).all()
    assert (out.mask[4] & sk.MaskBit.BADROW).all()
    assert out.clusters["peak_y"].tolist() == [5]


@pytest.mark.parametrize(
    "stage", [sk.MaskColumns(columns=[7]), sk.MaskRows(rows=[[2, 6]])], ids=["column", "row"]
)
def test_masks_outside_the_image_are_errors(stage: Any) -> None:
    with pytest.raises(sk.ConfigError, match="must be below the"):
        process(np.zeros((6, 7)), [stage])


@given(seed=st.integers(0, 500), connectivity=st.sampled_from([4, 8]))
def test_clusters_are_those_of_a_flood_fill(seed: int, connectivity: int) -> None:
    generator = np.random.default_rng(seed)
    image = np.where(generator.random((12, 11)) < 0.4, generator.integers(4, 15, (12, 11)), 0.0)
    table = sk.find_clusters(image, threshold=4, seed=10, connectivity=connectivity)
    expected = reference.find_clusters(image, 4, 10, connectivity)
    assert table["n_pixels"].tolist() == [len(pixels) for pixels in expected]
    assert table["cluster_id"].tolist() == [y * 11 + x + 1 for (y, x), *_ in expected]
    charges = [sum(image[pixel] for pixel in pixels) for pixels in expected]
    assert table["charge"].tolist() == charges


def test_measured_noise_is_that_of_the_definition() -> None:
    image = np.random.default_rng(3).normal(0, 2.0, (40, 60))
    with sk.Pipeline(
        [sk.FindClusters()], n_rows=40, n_cols=60, n_skips=1, dtype="f8", overscan_cols=20
    ) as pipeline:
        pipeline.push(image[..., None])
        pipeline.finish()
    (noise,) = [f["value"] for f in pipeline.findings() if f["name"] == "noise"]
    # The rows are summed in order there, pairwise here.
    assert noise == pytest.approx(reference.measure_noise(image, 0, 20), rel=1e-14)


def test_a_stage_refuses_what_it_does_not_know() -> None:
    with pytest.raises(sk.ConfigError, match='no key "axs"; did you mean "axis"'):
        sk.SubtractPedestal(axs="row")
    with pytest.raises(ValueError, match='"rwo" is not one of row, column, both'):
        sk.SubtractPedestal(axis="rwo")
    with pytest.raises(sk.Error, match=r"calibrate.gain: must be above 0 ADU/e-; got 0"):
        sk.Calibrate(gain=0)


@pytest.mark.parametrize(("rate", "rebin_rows"), [(0.0, 1), (0.3, 1), (1.2, 1), (2.0, 20)])
def test_the_lowest_peak_is_that_of_empty_pixels(rate: float, rebin_rows: int) -> None:
    """However much charge there is; rows of 600 pixels, noise 0.2 e-, 1.3 ADU/e-."""
    random = np.random.default_rng(7)
    pedestals = np.repeat(random.normal(1000, 50, 40 // rebin_rows), rebin_rows)
    charge = random.poisson(rate, (40, 600)) + random.normal(0, 0.2, (40, 600))
    charge[:, :6] += random.exponential(500, (40, 6))
    image = pedestals[:, None] + 1.3 * charge
    stage = sk.SubtractPedestal(method="lowest_peak", region="active", rebin_rows=rebin_rows)
    out = process(image, [stage])
    found = image[:, 300] - out.planes["mean"][:, 300]
    n_empty = 600 * rebin_rows * np.exp(-rate)
    # Of the empty pixels, a part is within 1.2 widths: a wider error than sigma / sqrt(n).
    allowed = 6 * 1.3 * 0.2 * 1.5 / np.sqrt(n_empty) + 0.05
    assert np.abs(found - pedestals).max() < allowed


def test_the_lowest_peak_of_few_pixels() -> None:
    for values in ([[1.0, 1.0]], [[1.0, 2.0]], [[3.0] * 9], [[1.0, 2.0, 3.0]]):
        image = np.array(values)
        out = process(image, [sk.SubtractPedestal(method="lowest_peak")])
        found = image[0, 0] - out.planes["mean"][0, 0]
        assert image.min() <= found <= image.max()
