"""The nine numbers against truth, against slow definitions, and within a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream import _core

NOISE, GAIN, RATE, N_SKIPS = 4.0, 10.0, 0.3, 36
SHAPE = (150, 160)
UNKNOWN = -1


def samples_with(seed: int = 1, shape: tuple[int, int] = SHAPE, lost: float = 0.0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    charge = random.poisson(RATE, shape) * GAIN
    charge = charge[..., None] * (1 - lost * np.arange(N_SKIPS))
    return np.rint(500 + charge + random.normal(0, NOISE, (*shape, N_SKIPS))).astype("u2")


def entropy(values: NDArray[Any]) -> float:
    _, counts = np.unique(np.floor(values), return_counts=True)
    p = counts / counts.sum()
    return float(-(p * np.log(p)).sum())


def test_the_numbers_are_those_of_the_truth() -> None:
    samples = samples_with()
    q = sk.quality_of(samples)
    assert q["aveImgS"] == pytest.approx(entropy(samples.mean(axis=-1)), rel=1e-12)
    # A bin of 1 ADU adds 1/12 to the variance of a sample, the average of many has hardly any.
    single = np.hypot(NOISE, np.sqrt(1 / 12))
    assert abs(q["skNoise"] - single / np.sqrt(N_SKIPS)) < 4 * q.errors["skNoise"]
    assert abs(q["darkCurrent"] - RATE) < 4 * q.errors["darkCurrent"]
    assert abs(q["aduConversion"] - GAIN) < 4 * q.errors["aduConversion"]
    # ddof is 0, and the median of a chi-square distribution lies below its mean.
    n_dof = N_SKIPS - 1
    median = (1 - 2 / (9 * n_dof)) ** 3 * n_dof / N_SKIPS
    assert q["pixVar"] == pytest.approx(median * single**2, rel=0.01)
    # Charge adds to the variance between pixels.
    assert q["clustVar"] > q["pixVar"]
    slopes = np.polyfit(np.arange(30), [entropy(samples[..., s]) for s in range(30)], 1)
    assert q["dSdskip"] == pytest.approx(1000 * slopes[0], rel=1e-9)
    assert abs(q["dSdskip"]) < 4 * q.errors["dSdskip"]
    assert q["tailRatio"] < 5
    assert repr(q).startswith("quality of an image of 36 samples")


def test_the_width_of_single_samples_is_that_of_their_gaussian() -> None:
    random = np.random.default_rng(2)
    samples = np.rint(random.normal(1000, NOISE, (200, 200, 12))).astype("i4")
    samples[:3] = 0  # saturated
    q = sk.quality_of(samples)
    expected = np.hypot(NOISE, np.sqrt(1 / 12))
    assert abs(q["imgNoise"] - expected) < 5 * q.errors["imgNoise"]
    assert q.errors["imgNoise"] < 0.02
    assert q["skNoise"] == UNKNOWN  # no electron is there
    assert q["tailRatio"] == UNKNOWN


def test_charge_that_is_lost_shows_in_the_entropies() -> None:
    assert sk.quality_of(samples_with(lost=0.02))["dSdskip"] < -5
    assert abs(sk.quality_of(samples_with())["dSdskip"]) < 1


def test_the_same_image_gives_the_same_numbers() -> None:
    samples = samples_with()
    first, second = sk.quality_of(samples), sk.quality_of(samples)
    assert first.values == second.values
    assert sk.quality_of(samples, seed=2)["pixVar"] != first["pixVar"]


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (2, 3), (1, 40)])
def test_numbers_that_make_no_sense_are_minus_one(shape: tuple[int, int]) -> None:
    q = sk.quality_of(np.full((*shape, 2), 7, "i2"))
    for name in ("skNoise", "darkCurrent", "aduConversion", "dSdskip", "imgNoise", "tailRatio"):
        assert q[name] == UNKNOWN, name
        assert q.errors[name] == UNKNOWN
    assert q["clustVar"] == UNKNOWN
    assert "makes no sense here" in repr(q)
    assert q["aveImgS"] == (0 if shape[0] else UNKNOWN)


@pytest.mark.parametrize("samples", ["masked", "nan", "saturated", "float"])
def test_hopeless_images_have_no_number_that_looks_right(samples: str) -> None:
    array: NDArray[Any] = samples_with(shape=(30, 30))
    mask = np.ones((30, 30), bool) if samples == "masked" else None
    if samples == "saturated":
        array = np.full_like(array, 65535)
    elif samples in ("nan", "float"):
        array = array.astype("f4")
        array[...] = np.nan if samples == "nan" else array
    q = sk.quality_of(array, mask=mask)
    assert all(np.isfinite(v) for v in q.values.values())
    if samples != "float":
        assert q["skNoise"] == q["darkCurrent"] == q["aduConversion"] == UNKNOWN
    if samples in ("masked", "nan"):
        assert q["aveImgS"] == q["pixVar"] == q["clustVar"] == UNKNOWN
    if samples == "float":
        assert q["dSdskip"] == q["imgNoise"] == UNKNOWN  # there are no whole numbers to count


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("span", [50.0, 1e12])  # numbers that are counted one by one, or sorted
def test_the_entropy_of_an_image_is_its_definition(dtype: str, span: float) -> None:
    mean = np.random.default_rng(1).uniform(-span, span, (40, 50)).astype(dtype)
    assert sk.quality(mean)["aveImgS"] == pytest.approx(entropy(mean), rel=1e-12)
    mask = mean < 0
    mean[5, 5:9] = np.inf
    there = mean[~mask & np.isfinite(mean)]
    assert sk.quality(mean, mask=mask)["aveImgS"] == pytest.approx(entropy(there), rel=1e-12)


def test_blocks_have_as_many_pixels_as_samples() -> None:
    mean = np.zeros((50, 60))
    random = np.random.default_rng(3)
    sample = random.normal(0, 3, mean.shape)
    q = sk.quality(mean, sample=sample, n_skips=102)
    # Blocks of 100 pixels overlap: 30 of them are about independent.
    assert q["clustVar"] == pytest.approx(9, rel=0.1)
    assert sk.quality(mean, sample=sample, n_skips=3)["clustVar"] == UNKNOWN  # one pixel
    assert sk.quality(mean, sample=sample, n_skips=5000)["clustVar"] == UNKNOWN


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ({"variance": np.zeros(3)}, r"quality\.variance: must have the shape \(4, 5\)"),
        ({"sample": np.zeros(3)}, r"quality\.sample: must have the shape \(4, 5\)"),
        ({"mask": np.zeros(3)}, r"quality\.mask: must have the shape \(4, 5\)"),
    ],
)
def test_planes_of_other_shapes_are_refused(planes: dict[str, Any], words: str) -> None:
    with pytest.raises(sk.ConfigError, match=words):
        sk.quality(np.zeros((4, 5)), **planes)
    with pytest.raises(sk.ConfigError, match="mean must be"):
        sk.quality(np.zeros(4))
    with pytest.raises(sk.ConfigError, match="samples must be"):
        sk.quality_of(np.zeros((4, 4)))


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
def test_a_run_gives_the_numbers_of_the_samples(dtype: str, tmp_path: Path) -> None:
    samples = samples_with()
    fits.writeto(tmp_path / "a.fits", samples.astype(dtype).reshape(SHAPE[0], -1))
    config = sk.load_config({
        "input": {"n_skips": N_SKIPS},
        "stage": [{"kind": "compress_skips", "statistics": ["mean", "var", "sample(7)"]}],
        "measure": [{"kind": "quality"}],
    })  # fmt: skip
    for threads in (1, 2):
        (result,) = sk.run(config, [tmp_path / "a.fits"], threads=threads)
        assert result.status == "done", result.message
        q = result.measures["quality"]
        planes = sk.compress_skips(samples, ["mean", "var"])
        histograms = {
            s: sk.SampleCounts(0, np.bincount(samples[..., s].ravel())) for s in range(30)
        }
        alone = sk.quality(
            planes["mean"].astype("f4"), variance=planes["var"].astype("f4"),
            sample=samples[..., 7], histograms=None if dtype == "f4" else histograms,
            n_skips=N_SKIPS,
        )  # fmt: skip
        for name, value in alone.values.items():
            # The same counts in other bins: their order in the sums.
            assert q[name] == pytest.approx(value, rel=1e-9), name


def test_quality_needs_the_mean(tmp_path: Path) -> None:
    stage = {"kind": "compress_skips", "statistics": ["median"]}
    with pytest.raises(sk.ConfigError, match="quality: compress_skips must make the mean"):
        sk.load_config({"stage": [stage], "measure": [{"kind": "quality"}]})
    stages = [{"kind": "compress_skips"}]
    with pytest.raises(sk.ConfigError, match="takes the planes of compress_skips"):
        measure = {"kind": "quality", "after": "compress_skips"}
        sk.load_config({"stage": stages, "measure": [measure]})


def test_quality_draws_the_entropies() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    q = sk.quality_of(samples_with(shape=(40, 40)))
    axes = q.plot()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), q.entropies)
    assert len(axes.lines) == 2
    assert len(sk.quality_of(np.full((3, 3, 1), 5)).plot().lines) == 1


def test_pedestals_that_drift_from_row_to_row_do_not_hide_single_electrons() -> None:
    random = np.random.default_rng(7)
    charge = 5 * (random.poisson(0.2, (200, 300)) + random.normal(0, 0.15, (200, 300)))
    still = sk.quality(charge)
    drift = sk.quality(charge + random.normal(1000, 20, (200, 1)))
    for name, truth in (("aduConversion", 5.0), ("darkCurrent", 0.2), ("skNoise", 0.75)):
        assert abs(still[name] - truth) < 4 * still.errors[name]
        # The place of each row's peak adds 1.25 / sqrt(250) = 8 % of the noise in squares.
        assert abs(drift[name] - truth) < 4 * drift.errors[name] + 0.01 * truth


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_variances_of_blocks_are_those_of_their_pixels(dtype: str) -> None:
    random = np.random.default_rng(4)
    pixels = random.normal(1e4, 7, (20, 30)).astype(dtype)
    left_out = np.zeros(pixels.shape, bool)
    left_out[4, 5], pixels[9, 25], pixels[15, 2] = True, np.nan, np.inf
    firsts = np.arange(30 * 15)
    for width, n_pixels in ((1, 1), (5, 5), (4, 14), (6, 17), (30, 30)):
        n_rows = -(-n_pixels // width)
        inside = firsts[firsts + (n_rows - 1) * 30 + min(n_pixels, width) <= pixels.size]
        found = _core.variances_of_blocks(pixels, left_out, inside, width, n_pixels)
        number = np.arange(n_pixels)
        places = inside[:, None] + number // width * 30 + number % width
        values = pixels.ravel()[places].astype("f8")
        is_known = np.isfinite(values).all(axis=1) & ~left_out.ravel()[places].any(axis=1)
        np.testing.assert_array_equal(np.isfinite(found), is_known)
        np.testing.assert_allclose(found[is_known], values[is_known].var(axis=1), rtol=1e-9, atol=0)


def test_blocks_lie_inside_of_the_pixels() -> None:
    pixels, left_out = np.zeros((4, 5)), np.zeros((4, 5), bool)
    assert len(_core.variances_of_blocks(pixels, left_out, np.array([13], "i8"), 2, 4)) == 1
    for first in (-1, 14, 20):
        with pytest.raises(sk.ConfigError, match="inside"):
            _core.variances_of_blocks(pixels, left_out, np.array([first], "i8"), 2, 4)
    for width, n_pixels, out in ((0, 4, left_out), (2, 0, left_out), (2, 4, left_out[:2])):
        with pytest.raises(sk.ConfigError, match="needs"):
            _core.variances_of_blocks(pixels, out, np.array([0], "i8"), width, n_pixels)
    with pytest.raises(sk.ConfigError, match="needs"):
        _core.variances_of_blocks(pixels[0], left_out[0], np.array([0], "i8"), 2, 4)
