"""Noise of one amplifier and of two, against simulated truth."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("iminuit")

from figures import x_label

import skipstream as sk

N_IMAGES = 200 if os.environ.get("SKIPSTREAM_NIGHTLY") else 12
N_PIXELS = 20_000


def single(seed: int, mean: float, sigma: float, rate: float = 0.0) -> np.ndarray:
    """Pixels with noise and single electrons 7 sigma apart."""
    random = np.random.default_rng(seed)
    return mean + sigma * (random.normal(0, 1, N_PIXELS) + 7 * random.poisson(rate, N_PIXELS))


def pair(seed: int, correlation: float, rate: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two images, sigma 3 and 2 ADU, mean 5 and -2 ADU, electrons of 30 and 20 ADU."""
    random = np.random.default_rng(seed)
    cross = correlation * 6
    noise = random.multivariate_normal([5, -2], [[9, cross], [cross, 4]], N_PIXELS)
    charge = random.poisson(rate, (N_PIXELS, 2)) * [30, 20]
    first, second = (noise + charge).T.reshape(2, 100, -1)
    return first, second


def check_pulls(results: list[sk.FitResult], truth: dict[str, float]) -> None:
    assert [r.status for r in results] == ["ok"] * N_IMAGES
    for name, true in truth.items():
        pulls = np.array([(r[name] - true) / r.errors[name] for r in results])
        # Five standard deviations of what N unit Gaussians give; a tenth for bins and windows.
        assert abs(pulls.mean()) < 5 / np.sqrt(N_IMAGES) + 0.1, name
        assert abs(pulls.std() - 1) < 5 / np.sqrt(2 * N_IMAGES) + 0.1, name


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize(("mean", "sigma"), [(7.3, 3.0), (1e4, 40.0), (-0.4, 1.0)])
def test_mean_and_sigma_have_pulls_of_unit_gaussians(
    mean: float, sigma: float, is_whole: bool
) -> None:
    images = [single(seed, mean, sigma) for seed in range(N_IMAGES)]
    results = [sk.fit_gaussian(np.rint(image) if is_whole else image) for image in images]
    check_pulls(results, {"mean": mean, "sigma": sigma})
    assert np.mean([r.p_value < 0.001 for r in results]) < 0.1


def test_few_electrons_do_not_widen_the_noise() -> None:
    results = [sk.fit_gaussian(single(seed, 0, 0.15, 0.03)) for seed in range(N_IMAGES)]
    check_pulls(results, {"mean": 0.0, "sigma": 0.15})


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.3, 0.95])
def test_the_noise_of_two_amplifiers_has_pulls_of_unit_gaussians(
    correlation: float, rate: float
) -> None:
    results = [sk.correlated_noise(*pair(seed, correlation, rate)) for seed in range(N_IMAGES)]
    truth = {"sigma_first": 3.0, "sigma_second": 2.0, "mean_first": 5.0, "mean_second": -2.0,
             "correlation": correlation}  # fmt: skip
    check_pulls(results, truth)
    for r in results:
        assert r["low_95"] < r["low_68"] < r["correlation"] < r["high_68"] < r["high_95"]
    n_inside = sum(r["low_95"] <= correlation <= r["high_95"] for r in results)
    # 95 %, less five standard deviations of a binomial number.
    assert n_inside >= N_IMAGES * 0.954 - 5 * np.sqrt(N_IMAGES * 0.044)


def test_rounding_does_not_dilute_the_correlation() -> None:
    results = [sk.correlated_noise(*map(np.rint, pair(s, 0.5, 0.1))) for s in range(N_IMAGES)]
    # Rounding adds 1/12 ADU^2 to both variances; the integral over each bin takes that out again.
    check_pulls(results, {"sigma_first": 3.0, "sigma_second": 2.0, "correlation": 0.5})


@pytest.mark.parametrize("correlation", [-0.6, 0.3, 0.95])
def test_the_noise_falls_by_what_is_shared(correlation: float) -> None:
    first, second = pair(1, correlation)
    found = sk.correlated_noise(first, second)
    cleaned = sk.subtract_correlated_noise(first, second, found, n_sigma=6)
    expected = 3 * np.sqrt(1 - correlation**2)
    # The standard deviation of 20,000 values is known to 0.5 %, four times of which are allowed.
    assert cleaned.std() == pytest.approx(expected, rel=0.02)
    assert cleaned.mean() == pytest.approx(first.mean(), abs=0.03)


def test_no_charge_is_subtracted() -> None:
    random = np.random.default_rng(1)
    first, second = pair(2, 0.8)
    found = sk.correlated_noise(first, second)
    of_noise = sk.subtract_correlated_noise(first, second, found)
    charge = 30.0 * random.poisson(0.1, first.shape)
    # Charge of the image stays, to the last bit of what rounding leaves.
    with_charge = sk.subtract_correlated_noise(first + charge, second, found)
    np.testing.assert_allclose(with_charge - of_noise, charge, rtol=0, atol=1e-12)
    # Charge of the other amplifier never appears, neither as such nor as less of the image.
    hit = random.random(second.shape) < 0.1
    others_charge = sk.subtract_correlated_noise(first, second + 500.0 * hit, found)
    np.testing.assert_array_equal(others_charge[hit], first[hit])
    np.testing.assert_array_equal(others_charge[~hit], of_noise[~hit])
    # Nor where the other one is missing or masked.
    masked = sk.subtract_correlated_noise(first, second, found, mask=hit)
    missing = sk.subtract_correlated_noise(first, np.where(hit, np.nan, second), found)
    np.testing.assert_array_equal(masked, others_charge)
    np.testing.assert_array_equal(missing, others_charge)


def test_what_is_left_is_not_correlated() -> None:
    first, second = pair(3, 0.7)
    cleaned = sk.subtract_correlated_noise(first, second, sk.correlated_noise(first, second))
    again = sk.correlated_noise(cleaned, second)
    assert abs(again["correlation"]) < 4 * again.errors["correlation"]


def test_masked_pixels_take_no_part() -> None:
    first, second = pair(4, 0.5)
    mask = np.zeros(first.shape, np.uint32)
    mask[:, :50] = 4
    for fit, images in ((sk.fit_gaussian, (first,)), (sk.correlated_noise, (first, second))):
        alone = fit(*(image[:, 50:] for image in images))
        masked = fit(*(np.where(mask > 0, 1e3, image) for image in images), mask=mask)
        assert alone.status == "ok"
        assert masked.values == alone.values


def test_edges() -> None:
    first, second = pair(5, 0.5)
    whole = np.rint(first)
    nan = np.full(first.shape, np.nan)
    constant = np.full(first.shape, 65535.0)
    for image, reason in (
        (np.empty((0, 8)), "got 0"),
        (nan, "got 0"),
        (constant, "the same"),
        (first[:1, :5], "got 5"),
        (np.where(first > 5, 1.0, 0.0), "no width"),
    ):
        result = sk.fit_gaussian(image)
        assert result.status == "failed"
        assert reason in result.reason
        assert np.isnan(list(result.values.values())).all()
    assert sk.fit_gaussian(first, mask=np.ones(first.shape)).reason.endswith("got 0")
    for one, other, reason in (
        (np.empty((0, 8)), np.empty((0, 8)), "got 0"),
        (nan, second, "got 0"),
        (first, nan, "got 0"),
        (constant, second, "the same"),
        (first, constant, "the same"),
        (first, first, "a copy"),
        (first, 3 - 2 * first, "a copy"),
        (whole, whole, "a copy"),
        (first[:2, :40], second[:2, :40], "got 80"),
    ):
        result = sk.correlated_noise(one, other)
        assert result.status == "failed"
        assert reason in result.reason
        assert np.isnan(list(result.values.values())).all()
    assert sk.correlated_noise(first, second, mask=np.ones(first.shape)).status == "failed"
    assert sk.correlated_noise(first[:2], second[:2]).status == "ok"
    assert sk.fit_gaussian(first[:2]).status == "ok"
    bad = sk.correlated_noise(first, constant)
    good = sk.correlated_noise(first, second)
    for call in (
        lambda: sk.fit_gaussian(first, n_sigma=0),
        lambda: sk.fit_gaussian(first, bin_width=0),
        lambda: sk.fit_gaussian(first, mask=np.ones(3)),
        lambda: sk.correlated_noise(first, second[:-1]),
        lambda: sk.correlated_noise(first, second, n_sigma=np.nan),
        lambda: sk.correlated_noise(first, second, mask=np.ones(3)),
        lambda: sk.subtract_correlated_noise(first, second[:-1], good),
        lambda: sk.subtract_correlated_noise(first, second, bad),
        lambda: sk.subtract_correlated_noise(first, second, sk.fit_gaussian(first)),
    ):
        with pytest.raises(sk.ConfigError):
            call()


def test_what_is_no_gaussian_is_told() -> None:
    flat = np.random.default_rng(1).uniform(-1, 1, N_PIXELS)
    result = sk.fit_gaussian(flat)
    assert result.status == "failed" or "no Gaussian" in result.notes[0]


def test_results_draw_themselves() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    first, second = pair(6, 0.5)
    assert sk.fit_gaussian(first).plot().get_title() == "gaussian"
    assert x_label(sk.correlated_noise(first, second).plot()) == "first amplifier (ADU)"
