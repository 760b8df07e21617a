"""Charge by row and column, transients at the start of rows, halos: against simulated truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("iminuit")

from figures import x_label

import skipstream as sk
from skipstream import _core
from skipstream.fitting import linear_fit, median_and_sigma

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
N_IMAGES = 200 if NIGHTLY else 12


def check_pulls(result_of: Callable[[int], sk.FitResult], truth: dict[str, float]) -> None:
    pulls: dict[str, list[float]] = {name: [] for name in truth}
    for seed in range(N_IMAGES):
        result = result_of(seed)
        assert result.status == "ok", result.reason
        for name, true in truth.items():
            pulls[name].append((result[name] - true) / result.errors[name])
    for name, values in pulls.items():
        # Five standard deviations of what N unit Gaussians give; a tenth for finite images.
        assert abs(np.mean(values)) < 5 / np.sqrt(N_IMAGES) + 0.1, name
        assert abs(np.std(values) - 1) < 5 / np.sqrt(2 * N_IMAGES) + 0.1, name


def test_medians_of_lines_are_those_of_each_line() -> None:
    lines = np.random.default_rng(1).normal(0, 3, (40, 7))
    lines[np.random.default_rng(2).random(lines.shape) < 0.4] = np.nan
    lines[3] = np.nan
    centres, sigmas = _core.medians_and_sigmas(lines)
    for line, centre, sigma in zip(lines, centres, sigmas, strict=True):
        there = line[np.isfinite(line)]
        if len(there):
            assert (centre, sigma) == median_and_sigma(there)
        else:
            assert np.isnan(centre) and np.isnan(sigma)
    for shape in ((0, 5), (5, 0)):
        assert all(np.isnan(v).all() for v in _core.medians_and_sigmas(np.empty(shape)))


def test_variances_are_the_diagonal_of_a_covariance() -> None:
    random = np.random.default_rng(1)
    design, y, variance = random.random((9, 2)), random.random(9), random.random(9) + 1
    for one, other in zip(
        linear_fit(design, y, variance), linear_fit(design, y, np.diag(variance)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)  # summed in another order


def charge_image(seed: int, shape: tuple[int, int] = (120, 200)) -> NDArray[np.float64]:
    """Whole electrons in noise; their rate grows along rows, from 0.1 by 0.001 a row."""
    random = np.random.default_rng(seed)
    rate = 0.1 + 0.001 * np.arange(shape[0])
    return random.poisson(rate[:, None], shape) + random.normal(0, 0.15, shape)


@pytest.mark.parametrize("axis", ["row", "column"])
def test_pulls_of_the_line_through_rows(axis: str) -> None:
    def fit(seed: int) -> sk.FitResult:
        image = charge_image(seed)
        image[17, ::2] += 3  # a bright row takes no part
        image[40, 5] = 5000
        profile = sk.charge_per_axis(image if axis == "row" else image.T, axis=axis, max_charge=100)
        assert [number for number, _ in profile.outliers] == [17]
        return profile.line

    check_pulls(fit, {"constant": 0.1, "slope": 0.001})


def test_charge_beyond_5_sigma_is_clipped() -> None:
    def fit(seed: int) -> sk.FitResult:
        random = np.random.default_rng(seed)
        image = random.normal(2, 0.5, (60, 300)) - 0.003 * np.arange(300)
        image[random.random(image.shape) < 0.02] += 1000
        return sk.charge_per_axis(image, axis="column").line

    check_pulls(fit, {"constant": 2.0, "slope": -0.003})


def test_means_are_those_of_each_row() -> None:
    image = charge_image(3)
    mask = np.random.default_rng(1).random(image.shape) < 0.2
    image[50, 7] = np.nan
    profile = sk.charge_per_axis(image, mask=mask, max_charge=3)
    for number, (row, bits) in enumerate(zip(image, mask, strict=True)):
        kept = row[~bits & (row <= 3)]
        assert profile.n_pixels[number] == len(kept)
        # Sums of the same numbers with zeros between them.
        assert profile.mean[number] == pytest.approx(kept.mean(), rel=1e-12)
        error = kept.std(ddof=1) / np.sqrt(len(kept))
        assert profile.error[number] == pytest.approx(error, rel=1e-12)


def test_rows_that_stand_out_are_listed_and_drawn() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    image = charge_image(1)
    image[30] += 2
    image[80] += 4
    image[81] = 7  # no pixel of it differs
    profile = sk.charge_per_axis(image, max_charge=100)
    assert [number for number, _ in profile.outliers] == [81, 80, 30]
    assert "3 of 120 rows stand out" in repr(profile)
    assert "row 80: 4." in repr(profile)
    assert profile.line.p_value > 1e-3
    ax = profile.plot()
    assert x_label(ax) == "row"
    assert [text.get_text() for text in ax.texts] == ["81", "80", "30"]
    assert sk.charge_per_axis(charge_image(1), max_charge=100).outliers == []


def test_sparse_whole_electrons_are_not_biased() -> None:
    """Most rows hold no electron at all: they count all the same."""

    def fit(seed: int) -> sk.FitResult:
        image = np.random.default_rng(seed).poisson(0.01, (400, 40))
        profile = sk.charge_per_axis(image)
        assert len(profile.outliers) < 4  # rows of 4 electrons by chance
        return profile.line

    check_pulls(fit, {"constant": 0.01})


def edge_cases() -> dict[str, tuple[Any, Any, str]]:
    """Image, mask, and whether there are rows without a line."""
    image = charge_image(1)
    return {
        "masked": (image, np.ones(image.shape), "needs at least"),
        "NaN": (np.full((40, 40), np.nan), None, "needs at least"),
        "empty": (np.empty((0, 0)), None, "needs at least"),
        "no columns": (np.empty((40, 0)), None, "needs at least"),
        "constant": (np.full((40, 40), 3.0), None, "do not differ"),
    }


@pytest.mark.parametrize("case", edge_cases())
@pytest.mark.parametrize("axis", ["row", "column"])
def test_where_there_is_no_line_the_reason_is_told(case: str, axis: str) -> None:
    image, mask, reason = edge_cases()[case]
    profile = sk.charge_per_axis(image, axis=axis, mask=mask)
    assert profile.status == "failed"
    assert reason in profile.reason
    assert np.isnan(profile.line["slope"])
    assert profile.outliers == []
    assert reason in repr(profile)
    assert len(profile.mean) == image.shape[0 if axis == "row" else 1]
    with pytest.raises(ValueError, match="neither histogram nor points"):
        profile.plot()


def test_two_rows_make_a_line() -> None:
    image = charge_image(1)[:2]
    profile = sk.charge_per_axis(image, max_charge=100)
    assert profile.line["slope"] == pytest.approx(image[1].mean() - image[0].mean(), rel=1e-9)
    assert profile.line.n_dof == 0
    assert "of 10 pixels" in sk.charge_per_axis(image, axis="column").reason


def test_what_is_impossible_is_told() -> None:
    image = charge_image(1)
    with pytest.raises(sk.ConfigError, match="charge_per_axis"):
        sk.charge_per_axis(image[0])
    with pytest.raises(sk.ConfigError, match="axis"):
        sk.charge_per_axis(image, axis="x")
    with pytest.raises(sk.ConfigError, match=r"charge_per_axis\.mask"):
        sk.charge_per_axis(image, mask=np.zeros(3))


def transient_image(
    seed: int, amplitude: float, length: float, shape: tuple[int, int] = (200, 300)
) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    settling = 40 + amplitude * np.exp(-np.arange(shape[1]) / length)
    image = settling + random.normal(0, 3, shape)
    image[random.random(shape) < 0.01] += 500
    return image


@pytest.mark.parametrize(("amplitude", "length"), [(12.0, 8.0), (-5.0, 25.0), (30.0, 1.5)])
def test_pulls_of_a_transient(amplitude: float, length: float) -> None:
    def fit(seed: int) -> sk.FitResult:
        image = transient_image(seed, amplitude, length)
        image[:, 150] += 300  # a hot column
        return sk.fit_column_transient(image)

    # Hits pull the median of 200 pixels up, by 0.01 of them: 0.0125 sigma, a seventh of its error.
    check_pulls(fit, {"amplitude": amplitude, "length": length})
    result = fit(1)
    assert result["baseline"] == pytest.approx(40, abs=0.0125 * 3 + 5 * result.errors["baseline"])
    assert result.notes == ("1 of 300 columns stand out and take no part",)


def test_columns_that_are_masked_do_not_matter() -> None:
    image = transient_image(1, 12, 8)
    mask = np.zeros(image.shape)
    mask[:, :5] = mask[:, 150] = 1
    result = sk.fit_column_transient(image, mask=mask)
    assert abs(result["amplitude"] - 12) < 5 * result.errors["amplitude"]
    spoiled = np.where(mask == 0, image, 1e5)
    other = sk.fit_column_transient(spoiled, mask=mask)
    assert dict(other.values) == dict(result.values)
    assert sk.fit_column_transient(spoiled, mask=mask, unit="electron").units["baseline"] == (
        "electron"
    )


def test_a_transient_is_corrected_and_drawn() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    image = transient_image(1, 12, 8)
    result = sk.fit_column_transient(image)
    assert result.p_value > 1e-3
    corrected = sk.correct_column_transient(image, result)
    truth = image - 12 * np.exp(-np.arange(image.shape[1]) / 8)
    # The fit is as good as its errors, which at column 0 are the amplitude's.
    np.testing.assert_allclose(corrected, truth, rtol=0, atol=5 * result.errors["amplitude"])
    assert "no transient stands out" in sk.fit_column_transient(corrected).reason
    assert x_label(result.plot()) == "column"


def test_no_transient_is_found_where_there_is_none() -> None:
    for seed in range(N_IMAGES):
        result = sk.fit_column_transient(transient_image(seed, 0, 8))
        assert result.status == "failed"
        assert "no transient stands out" in result.reason
        assert np.isnan(result["amplitude"])
    slope = transient_image(1, 0, 8) + 0.05 * np.arange(300)
    assert "no transient stands out" in sk.fit_column_transient(slope).reason
    with pytest.raises(sk.ConfigError, match="has failed: no transient"):
        sk.correct_column_transient(slope, sk.fit_column_transient(slope))


def test_edges_of_a_transient() -> None:
    image = transient_image(1, 12, 8)
    for missing in (np.full((40, 40), np.nan), np.empty((0, 0)), np.empty((0, 40)), image[:2]):
        assert "needs at least 5 columns" in sk.fit_column_transient(missing).reason
    masked = sk.fit_column_transient(image, mask=np.ones(image.shape))
    assert "needs at least 5 columns" in masked.reason
    assert "do not differ" in sk.fit_column_transient(np.full((40, 40), 3.0)).reason
    with pytest.raises(sk.ConfigError, match="fit_column_transient"):
        sk.fit_column_transient(image[0])
    with pytest.raises(sk.ConfigError, match="correct_column_transient"):
        sk.correct_column_transient(image[0], sk.fit_column_transient(image))


def halo_image(
    seed: int,
    amplitude: float = 0.06,
    length: float = 12.0,
    background: float = 0.004,
    shape: tuple[int, int] = (300, 400),
) -> NDArray[np.float64]:
    """Bright pixels, electrons whose density falls with the distance from them, and noise."""
    from scipy.ndimage import distance_transform_edt

    random = np.random.default_rng(seed)
    bright = random.random(shape) < 1e-4
    bright[shape[0] // 2, shape[1] // 2] = True
    density = background + amplitude * np.exp(-distance_transform_edt(~bright) / length)
    image = random.normal(0, 0.1, shape) + (random.random(shape) < density)
    image[bright] = 5000
    return image


def test_pulls_of_a_halo() -> None:
    truth = {"amplitude": 0.06, "length": 12.0, "background": 0.004}
    check_pulls(lambda seed: sk.measure_halo(halo_image(seed), threshold=100), truth)


def test_the_radius_is_where_the_halo_falls_below_the_error_of_the_background() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    radii, errors = [], []
    for seed in range(N_IMAGES):
        result = sk.measure_halo(halo_image(seed), threshold=100)
        at_radius = result["amplitude"] * np.exp(-result["radius"] / result["length"])
        assert at_radius == pytest.approx(result.errors["background"], rel=1e-9)
        radii.append(result["radius"])
        errors.append(result.errors["radius"])
    # N radii tell their width to 1 / sqrt(2 N), and so do the errors; their mean is steadier.
    assert abs(np.std(radii) / np.mean(errors) - 1) < 5 / np.sqrt(2 * N_IMAGES) + 0.1
    assert result.p_value > 1e-3
    assert "distance" in x_label(result.plot())


def test_rings_hold_what_is_counted_one_by_one() -> None:
    image = halo_image(2)
    mask = np.random.default_rng(1).random(image.shape) < 0.1
    mask[:, -20:] = True  # no pixel of it is bright, or counts
    image[:, -5] = 5000
    image[100, 100] = np.nan
    result = sk.measure_halo(image, threshold=100, max_radius=60, n_rings=10, mask=mask)
    charge = np.where(mask, np.nan, image)
    rows, cols = np.indices(image.shape)
    r = np.full(image.shape, np.inf)
    for row, col in np.argwhere(charge >= 100):
        r = np.minimum(r, np.hypot(rows - row, cols - col))
    assert result.series is not None
    for number, y in enumerate(result.series.y):
        ring = (r > 6 * number) & (r <= 6 * (number + 1)) & np.isfinite(charge)
        n_hits = np.count_nonzero(ring & (charge >= 0.5))
        # Sums in another order.
        assert result.series.x[number] == pytest.approx(r[ring].mean(), rel=1e-9)
        assert y + result["background"] == pytest.approx(n_hits / ring.sum(), rel=1e-9)
        assert result.series.errors[number] == pytest.approx(np.sqrt(n_hits) / ring.sum(), rel=1e-9)


def test_no_halo_is_found_where_there_is_none() -> None:
    n_found = 0
    for seed in range(N_IMAGES):
        result = sk.measure_halo(halo_image(seed, amplitude=0.0), threshold=100)
        n_found += result.status == "ok"
        if result.status == "failed":
            assert np.isnan(result["amplitude"]) and np.isnan(result["radius"])
            assert abs(result["background"] - 0.004) < 5 * result.errors["background"]
    assert n_found == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_are_counted_by_their_distance_from_a_bright_one(dtype: type) -> None:
    random = np.random.default_rng(4)
    for shape, radius in (((13, 17), 5.0), ((1, 40), 100.0), ((30, 1), 2.5), ((9, 8), 0.0)):
        image = random.exponential(2, shape).astype(dtype)
        image[random.random(shape) < 0.1] = np.nan
        image[random.random(shape) < 0.05] = np.inf
        usable = np.isfinite(image) & (random.random(shape) < 0.8)
        bright = np.argwhere(usable & (image >= 5))
        expected: list[tuple[int, bool]] = []
        for place in np.argwhere(usable & ~(image >= 5)):
            square = int(((bright - place) ** 2).sum(axis=1).min(initial=10**9))
            if square <= radius**2:
                expected.append((square, bool(image[tuple(place)] >= 1)))
        counts, hits = _core.pixels_by_distance(image, usable, 5, 1, radius)
        assert len(bright)
        for square, (count, hit) in enumerate(zip(counts, hits, strict=True)):
            assert count == sum(s == square for s, _ in expected)
            assert hit == sum(s == square and is_hit for s, is_hit in expected)
        assert counts.sum() == len(expected)
        wide = np.zeros((shape[0], 2 * shape[1] + 3), dtype)
        for part in (wide[:, 3 : 3 + shape[1]], wide[:, 1 : 1 + 2 * shape[1] : 2]):
            part[:] = image
            again = _core.pixels_by_distance(part, usable, 5, 1, radius)
            assert np.array_equal(again, (counts, hits))
    counts, hits = _core.pixels_by_distance(np.ones((3, 4)), np.ones((3, 4), bool), 5, 1, 9)
    assert len(counts) == len(hits) == 0
    with pytest.raises(sk.ConfigError, match="needs pixels and there"):
        _core.pixels_by_distance(np.ones((3, 4)), np.ones((4, 3), bool), 5, 1, 9)


def test_edges_of_a_halo() -> None:
    image = halo_image(1)
    for nothing in (np.full((40, 40), np.nan), np.empty((0, 0)), np.zeros((40, 40))):
        assert "no pixel of at least 100" in sk.measure_halo(nothing, threshold=100).reason
    masked = sk.measure_halo(image, threshold=100, mask=np.ones(image.shape))
    assert "no pixel of at least 100" in masked.reason
    everywhere = sk.measure_halo(np.full((40, 40), 500.0), threshold=100)
    assert "got 0, in 0" in everywhere.reason
    alone = np.zeros((40, 40))
    alone[20, 20] = 500
    assert "got 0, in" in sk.measure_halo(alone, threshold=100).reason
    alone[20, 15:18] = 1
    assert "got 3, in" in sk.measure_halo(alone, threshold=100).reason
    two = np.array([[500.0, 1, 1, 1], [1, 1, 1, 1]])
    assert "pixels in 5 rings; got 7, in 1" in sk.measure_halo(two, threshold=100).reason
    with pytest.raises(sk.ConfigError, match="hit < threshold"):
        sk.measure_halo(image, threshold=0.1)
    with pytest.raises(sk.ConfigError, match="n_rings"):
        sk.measure_halo(image, threshold=100, n_rings=3)
    with pytest.raises(sk.ConfigError, match="measure_halo"):
        sk.measure_halo(image[0], threshold=100)


def clipped(line: NDArray[Any], n_sigma: float, highest: float) -> tuple[float, ...]:
    """What `clipped_lines` gives of a line whose pixels are all there."""
    if len(line) == 0:
        return 0, np.nan, np.nan, 0, 0, 0
    centre = float(np.median(line.astype(np.float64)))
    away = (line.astype(np.float64) - centre).astype(line.dtype)
    sigma = 1.482602218505602 * float(np.median(np.abs(away).astype(np.float64)))
    reach = n_sigma * sigma if sigma > 0 else np.inf
    differences = line.astype(np.float64) - centre
    kept = differences[(np.abs(differences) <= reach) & (line <= highest)]
    return len(line), centre, sigma, len(kept), kept.sum(), (kept**2).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (3, 2), (40, 70), (70, 33)])
@pytest.mark.parametrize("layout", ["rows", "columns", "parts"])
def test_clipped_lines_are_their_definition(
    dtype: type, shape: tuple[int, int], layout: str
) -> None:
    random = np.random.default_rng(3)
    lines = random.normal(2, 3, shape).astype(dtype)
    lines[random.random(shape) < 0.05] = 1000
    lines[random.random(shape) < 0.1] = np.nan
    lines[random.random(shape) < 0.05] = np.inf
    left_out = random.random(shape) < 0.2
    if shape == (40, 70):
        lines[1], lines[2], left_out[3] = np.nan, 5, True
    if layout == "columns":
        lines, left_out = lines.T, left_out.T
    elif layout == "parts":
        lines, left_out = lines[:, ::2], left_out[:, ::2]
    for n_sigma, highest in ((5.0, np.inf), (1.5, 4.0), (np.inf, 3.0)):
        found = np.array(_core.clipped_lines(lines, left_out, n_sigma, highest)).T
        assert len(found) == len(lines)
        for line, out, of_line in zip(lines, left_out, found, strict=True):
            there = line[np.isfinite(line) & ~out]
            np.testing.assert_allclose(of_line, clipped(there, n_sigma, highest), rtol=1e-12)


def test_lines_have_two_axes_and_a_mask_of_their_shape() -> None:
    line = np.zeros(4)
    for function in (_core.medians, _core.medians_and_sigmas):
        with pytest.raises(sk.ConfigError, match="n_lines"):
            function(line)
    for left_out in (np.zeros(4, bool), np.zeros((2, 3), bool), np.zeros((3, 4), bool)):
        with pytest.raises(sk.ConfigError, match="n_lines"):
            _core.clipped_lines(np.zeros((2, 4)), left_out, 5.0, np.inf)
    with pytest.raises(sk.ConfigError, match="n_lines"):
        _core.clipped_lines(line, np.zeros(4, bool), 5.0, np.inf)
