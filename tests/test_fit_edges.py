"""Every process on images that hold too little, too much or nothing: right, or failed and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("iminuit")

import skipstream as sk

N_ROWS, N_COLS, N_SKIPS = 60, 100, 16
GAIN, NOISE = 10.0, 8.0  # ADU per electron; ADU of one sample, so 2 of the mean
PIXEL_NOISE = NOISE / math.sqrt(N_SKIPS)

Images = list[NDArray[np.float64]]


def images_of(case: str) -> tuple[Images, NDArray[np.uint32]]:
    """Samples ``(n_rows, n_cols, n_skips)`` of two amplifiers, ADU, and the mask of both."""
    random = np.random.default_rng(11)
    n_rows, n_cols = {"empty": (N_ROWS, 0), "two_rows": (2, N_COLS)}.get(case, (N_ROWS, N_COLS))
    samples = random.normal(0, NOISE, (2, n_rows, n_cols, N_SKIPS))
    rate = {"dark": 50.0, "two_rows": 0.3}.get(case, 0.0)
    charge = random.poisson(rate, samples.shape[:3])
    if case == "one_electron":
        charge[:, 30, 50] = 1
    samples += GAIN * charge[..., None]
    if case == "saturated":
        samples[:] = 65535.0
    if case == "nan":
        samples[:] = np.nan
    mask = np.full((n_rows, n_cols), case == "masked", np.uint32)
    return list(samples), mask


CASES = ("empty", "masked", "one_electron", "zero", "dark", "saturated", "two_rows", "nan")
#: Where there is no pixel to tell of, or all are the same.
NOTHING = ("empty", "masked", "saturated", "nan")

#: What the images with pixels hold, by process and number. Only what is right may be told.
NOISES = {"sigma_1": NOISE, "sigma_last": PIXEL_NOISE, "exponent": 0.5, "floor": 0.0}
WIDTH = NOISE * math.sqrt(2)
OF_DIFFERENCE = {"mean_difference": 0.0, "std_difference": WIDTH, "core": 0.0, "core_sigma": WIDTH,
                 "skewness": 0.0, "coefficient": 0.0}  # fmt: skip


def rate_of(case: str) -> float:
    return {"dark": 50.0, "two_rows": 0.3, "one_electron": 1 / (N_ROWS * N_COLS)}.get(case, 0.0)


def charge_truth(case: str) -> dict[str, float]:
    return {"gain": GAIN, "offset": 0.0, "noise": PIXEL_NOISE, "noise_electron": PIXEL_NOISE / GAIN,
            "dark_current": rate_of(case)}  # fmt: skip


def gaussian_truth(case: str) -> dict[str, float]:
    """The core of the pixels: of many electrons it is their Poisson number's."""
    rate = rate_of(case) if case == "dark" else 0.0
    return {"mean": GAIN * rate, "sigma": math.hypot(PIXEL_NOISE, GAIN * math.sqrt(rate))}


def pair_truth(case: str) -> dict[str, float]:
    of_one = gaussian_truth(case)
    return {"correlation": 0.0, "mean_first": of_one["mean"], "mean_second": of_one["mean"],
            "sigma_first": of_one["sigma"], "sigma_second": of_one["sigma"]}  # fmt: skip


def slices_truth(case: str) -> dict[str, float]:
    return {"constant": rate_of(case), "slope": 0.0}


Process = tuple[
    Callable[[Images, NDArray[np.uint32]], sk.FitResult], Callable[[str], dict[str, float]]
]


def pixels_of(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(samples.mean(axis=2))


PROCESSES: dict[str, Process] = {
    "fit_dark_current": (
        lambda s, m: sk.fit_dark_current(pixels_of(s[0]), mask=m), charge_truth),
    "fit_dark_current, gain held": (
        lambda s, m: sk.fit_dark_current(pixels_of(s[0]), mask=m, gain=GAIN), charge_truth),
    "fit_calibration": (lambda s, m: sk.fit_calibration(pixels_of(s[0]), mask=m), charge_truth),
    "fit_dark_current_slices": (
        lambda s, m: sk.fit_dark_current_slices(pixels_of(s[0]), mask=m, step=20)[1], slices_truth),
    "fit_dark_current_slices, gain held": (
        lambda s, m: sk.fit_dark_current_slices(
            pixels_of(s[0]), mask=m, axis=1, step=50, gain=GAIN)[1], slices_truth),
    "fit_gaussian": (lambda s, m: sk.fit_gaussian(pixels_of(s[0]), mask=m), gaussian_truth),
    "correlated_noise": (
        lambda s, m: sk.correlated_noise(pixels_of(s[0]), pixels_of(s[1]), mask=m), pair_truth),
    "noise_vs_skips": (
        lambda s, m: sk.noise_vs_skips(s[0] - charge_of(s[0]), mask=m), lambda _: NOISES),
    "charge_loss": (
        lambda s, m: sk.charge_loss(s[0][..., 0], s[0][..., -1], mask=m), lambda _: OF_DIFFERENCE),
    "measure_crosstalk": (
        lambda s, m: sk.measure_crosstalk(
            pixels_of(s[0]), pixels_of(s[1]), low=300, high=60_000, mask=m), lambda _: {}),
    "measure_cti": (
        lambda s, m: sk.measure_cti(pixels_of(s[0]), low=300, high=60_000, mask=m), lambda _: {}),
}  # fmt: skip


def charge_of(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole electrons of each pixel, whose charge is no noise; the same for all its samples."""
    electrons = np.rint(samples.mean(axis=2, keepdims=True) / GAIN)
    return np.where(np.abs(samples) < 65535, GAIN * electrons, 0.0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_fit_is_right_or_failed_with_a_reason(process: str, case: str) -> None:
    function, truth_of = PROCESSES[process]
    result = function(*images_of(case))
    if result.status == "failed":
        assert result.reason
        assert np.isnan(list(result.values.values())).all()
        assert np.isnan(list(result.errors.values())).all()
        return
    assert result.status == "ok"
    assert case not in NOTHING
    truth = truth_of(case)
    for name, value in result.values.items():
        if math.isnan(value):
            continue
        error = result.errors[name]
        assert error >= 0, name
        if name in truth:
            # Five standard deviations.
            assert abs(value - truth[name]) <= 5 * error + 1e-9, (name, value, error, truth[name])


@pytest.mark.parametrize("case", CASES)
def test_patterns_are_those_of_the_charge(case: str) -> None:
    samples, mask = images_of(case)
    found = sk.find_patterns(pixels_of(samples[0]) / GAIN, mask=mask)
    assert found.n_pixels == (0 if case in ("empty", "masked", "nan") else mask.size)
    if case == "one_electron":
        # Of 6,000 pixels with noise of 0.2 electron, 37 lie above half of one.
        assert found.counts["1"] >= 20
        at = found.positions[found.positions["row"] == 30]
        assert 50 in at["column"]
    elif case in NOTHING or case == "dark":
        assert found.counts == {}
        assert len(found.positions) == 0


@pytest.mark.parametrize("over", ["skips", "row"])
@pytest.mark.parametrize("case", CASES)
def test_a_spectrum_is_that_of_white_noise_or_empty(case: str, over: str) -> None:
    samples, mask = images_of(case)
    spectrum = sk.noise_spectrum(np.where(mask[..., None] == 0, samples[0], np.nan), over=over)
    if case in ("empty", "masked", "nan"):
        assert (spectrum.n_series, len(spectrum.amplitude), spectrum.lines) == (0, 0, [])
        return
    assert spectrum.n_series == (len(mask) if over == "row" else mask.size)
    if case == "saturated":
        np.testing.assert_array_equal(spectrum.amplitude, 0)
        assert spectrum.lines == []
    elif over == "skips":
        # Rayleigh's mean; its width is 52 % of it, 3.7 % for 200 pixels, five times of which.
        expected = NOISE * math.sqrt(math.pi / 4 / N_SKIPS)
        np.testing.assert_allclose(spectrum.amplitude[:-1], expected, rtol=0.19)


@pytest.mark.parametrize("case", CASES)
def test_the_quality_is_right_or_makes_no_sense(case: str) -> None:
    samples, mask = images_of(case)
    read = np.nan_to_num(samples[0]).round().astype(np.int32)  # whole numbers, 0 for NaN
    found = sk.quality_of(read, mask=mask)
    for name, value in found.values.items():
        assert math.isfinite(value), name
    if case in NOTHING:
        for name in ("skNoise", "darkCurrent", "aduConversion", "tailRatio"):
            assert (found[name], found.errors[name]) == (-1, -1)
    elif found["darkCurrent"] != -1:
        assert abs(found["darkCurrent"] - rate_of(case)) < 5 * found.errors["darkCurrent"]
        assert abs(found["aduConversion"] - GAIN) < 5 * found.errors["aduConversion"]
    if case in ("zero", "one_electron", "dark", "two_rows"):
        # The median of chi-square with 15 degrees of freedom is 14.34; 200 pixels know it to 3 %.
        assert found["pixVar"] == pytest.approx(NOISE**2 * 14.34 / N_SKIPS, rel=0.15)


@pytest.mark.parametrize("rate", [10.0, 20.0, 30.0, 50.0, 80.0])
@pytest.mark.parametrize("gain", [None, GAIN])
def test_much_charge_is_right_or_failed(rate: float, gain: float | None) -> None:
    """A gain that is held is held, and an offset that is wrong by one electron is not told."""
    for noise in (0.1, 0.2, 0.4, 0.8):
        random = np.random.default_rng(1)
        pixels = GAIN * (random.poisson(rate, 6000) + random.normal(0, noise, 6000))
        result = sk.fit_dark_current(pixels, gain=gain)
        if result.status == "failed":
            assert result.reason
            continue
        assert gain is None or result["gain"] == gain
        assert abs(result["dark_current"] - rate) < 5 * result.errors["dark_current"]
        assert abs(result["noise_electron"] - noise) < 5 * result.errors["noise_electron"]


def test_what_is_far_from_a_gaussian_is_none() -> None:
    random = np.random.default_rng(1)
    for rate in (0.3, 1.0):  # peaks of electrons that stand apart
        result = sk.fit_gaussian(random.poisson(rate, 6000) + random.normal(0, 0.2, 6000))
        assert result.status == "failed"
        assert "no Gaussian" in result.reason


def test_steps_of_a_fit_that_are_no_numbers_end_it_in_words(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = sk.load_config(
        {
            "input": {"amplifiers": ["EXT0"]},
            "stage": [{"kind": "compress_skips"}, {"kind": "subtract_pedestal"}],
            "measure": [{"kind": "fit_dark_current"}],
        }
    )
    (result,) = sk.run(config, [shared_data / "lta/cal_1_6_ave.fits"])
    assert result.status == "done", result.message
    assert result.measures["fit_dark_current"].status == "failed"
    assert capfd.readouterr().err == ""
