"""Fits to the distribution of pixel charge, against simulated truth."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream import _core
from skipstream._core import lowest_peak
from skipstream.fitting import goodness

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
N_IMAGES = 200 if NIGHTLY else 12
DAMIC = Path(__file__).parents[2] / "shared/data/damicm"

# dark current (e-), noise (e-), gain (ADU/e-), offset (ADU)
TRUTHS = [(0.1, 0.18, 1.35, 3.0), (0.5, 0.3, 5.0, -20.0), (2.0, 0.15, 500.0, 1e4)]


def pixels(
    seed: int, rate: float, noise: float, gain: float, offset: float, n: int = 20_000
) -> np.ndarray:
    random = np.random.default_rng(seed)
    return offset + gain * (random.poisson(rate, n) + random.normal(0, noise, n))


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("fit", [sk.fit_dark_current, sk.fit_calibration])
def test_pulls_are_unit_gaussians(fit, truth) -> None:
    rate, noise, gain, offset = truth
    known = {"gain": gain, "noise": noise * gain, "noise_electron": noise, "offset": offset,
             "dark_current": rate}  # fmt: skip
    pulls: dict[str, list[float]] = {}
    for seed in range(N_IMAGES):
        result = fit(pixels(seed, *truth))
        assert result.status == "ok", result.reason
        for name in known.keys() & set(result):
            pulls.setdefault(name, []).append((result[name] - known[name]) / result.errors[name])
    assert len(pulls) >= 4
    for name, values in pulls.items():
        # Five standard deviations of what N unit Gaussians give; half a one for truncations.
        assert abs(np.mean(values)) < 5 / np.sqrt(N_IMAGES) + 0.1, name
        assert abs(np.std(values) - 1) < 5 / np.sqrt(2 * N_IMAGES) + 0.1, name
        inside = np.mean(np.abs(values) < 1)
        assert abs(inside - 0.683) < 5 * np.sqrt(0.22 / N_IMAGES) + 0.05, name


@pytest.mark.parametrize("rate", [0.003, 0.03, 0.3, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("noise", [0.07, 0.15, 0.25])
def test_no_start_is_needed(rate: float, noise: float) -> None:
    """Whatever the gain and the offset, over five orders of magnitude."""
    for gain, offset in ((0.01, 0.0), (1.35, -4.0), (700.0, 32_000.0)):
        result = sk.fit_dark_current(pixels(1, rate, noise, gain, offset, 100_000))
        assert result.status == "ok", (rate, noise, gain, result.reason)
        assert result["gain"] == pytest.approx(gain, rel=0.05)
        assert result["dark_current"] == pytest.approx(rate, rel=0.3, abs=0.001)
        assert result.p_value > 1e-4


def test_a_tail_of_tracks_does_no_harm() -> None:
    random = np.random.default_rng(3)
    values = pixels(3, 0.3, 0.18, 1.35, 0.0, 100_000)
    values[random.random(len(values)) < 0.05] += random.exponential(500)
    result = sk.fit_dark_current(values)
    assert result["gain"] == pytest.approx(1.35, rel=0.01)


def test_a_peak_is_not_taken_twice() -> None:
    """Where the next peak has few pixels, its place must not run back to the one before."""
    for seed in (83, 12, 40):
        random = np.random.default_rng(seed)
        values = 3 + 1.35 * (random.poisson(0.1, 20_000) + random.normal(0, 0.18, 20_000))
        result = sk.fit_calibration(values, min_counts=20)
        assert result.status == "ok", result.reason
        assert result["gain"] == pytest.approx(1.35, rel=0.02)


def test_edges() -> None:
    empty = pixels(1, 0.0, 0.2, 5.0, 0.0)
    none = sk.fit_dark_current(empty)
    assert none.status == "failed"
    assert "no single-electron peak" in none.reason
    assert np.isnan(list(none.values.values())).all()
    held = sk.fit_dark_current(empty, gain=5.0)
    assert held.status == "ok"
    assert held["dark_current"] < 1e-3
    assert held["noise_electron"] == pytest.approx(0.2, rel=0.05)
    assert held.errors["gain"] == 0
    assert "held" in held.notes[0]
    masked = sk.fit_dark_current(empty, mask=np.ones(len(empty)))
    assert (masked.status, masked.n_values) == ("failed", 0)
    few = sk.fit_calibration(pixels(1, 1.0, 0.2, 5.0, 0.0, n=40))
    assert "at least 100 pixels; got 40" in few.reason
    saturated = sk.fit_dark_current(np.full((50, 50), 65535.0))
    assert "have no width" in saturated.reason
    unresolved = sk.fit_calibration(pixels(1, 1.0, 0.6, 5.0, 0.0))
    assert unresolved.status == "failed"
    with pytest.raises(sk.ConfigError, match="shape"):
        sk.fit_dark_current(empty, mask=np.ones(3))
    with pytest.raises(sk.ConfigError, match="n_peaks"):
        sk.fit_dark_current(empty, n_peaks=1)
    with pytest.raises(sk.ConfigError, match="above 0"):
        sk.fit_dark_current(empty, gain=-1.0)


def test_the_lowest_peak_is_found() -> None:
    for rate in (0.01, 0.5, 2.0):
        place, width = lowest_peak(pixels(2, rate, 0.15, 10.0, 70.0, 50_000))
        assert place == pytest.approx(70, abs=0.6)
        assert width == pytest.approx(1.5, rel=0.15)


def test_rows_tell_the_exposure_from_the_readout() -> None:
    random = np.random.default_rng(5)
    n_rows, n_cols, constant, slope = 400, 500, 0.05, 0.0003
    rates = constant + slope * np.arange(n_rows)
    charge = random.poisson(rates[:, None], (n_rows, n_cols))
    image = 2.0 * (charge + random.normal(0, 0.15, charge.shape))
    bands, line = sk.fit_dark_current_slices(image, step=40)
    assert len(bands) == 10
    assert all(band.status == "ok" for band in bands)
    assert abs(line["constant"] - constant) < 4 * line.errors["constant"]
    assert abs(line["slope"] - slope) < 4 * line.errors["slope"]
    assert line.errors["slope"] < slope / 10
    by_column, flat = sk.fit_dark_current_slices(image, axis=1, step=100)
    assert len(by_column) == 5
    assert abs(flat["slope"]) < 4 * flat.errors["slope"]


def test_a_rate_is_per_physical_pixel_and_day() -> None:
    rate = sk.dark_current_rate(0.01, exposure_s=3600, read_s=7200, parallel_binning=10)
    assert rate == pytest.approx(0.01 / 10 * 86400 / 7200)
    with pytest.raises(sk.ConfigError, match="time"):
        sk.dark_current_rate(1.0, exposure_s=0)


def test_a_result_reads_well_and_draws() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    result = sk.fit_dark_current(pixels(1, *TRUTHS[0]))
    assert "gain" in repr(result)
    assert "adu/electron" in repr(result)
    assert result.plot().get_title() == "dark current"
    assert "no single-electron" in repr(sk.fit_dark_current(pixels(1, 0.0, 0.2, 5.0, 0.0)))


def test_the_real_image_has_electrons() -> None:
    path = DAMIC / "avg_Image_5_Low_Temp_109_20250807_170213_15.fz"
    if not path.exists():
        pytest.skip("the DAMIC-M image is not there")
    pedestal = {"kind": "subtract_pedestal", "method": "lowest_peak", "region": "active"}
    config = sk.load_config({"stage": [{"kind": "compress_skips"}, pedestal]})
    for result in sk.run(config, [path]):
        plane = result.planes["mean"]
        charge = sk.fit_dark_current(plane, mask=result.mask)
        peaks = sk.fit_calibration(plane, mask=result.mask)
        assert charge.status == peaks.status == "ok"
        assert 1.3 < charge["gain"] < 1.45
        # Tracks are no Poisson distribution, so the fits differ by more than their errors.
        assert peaks["gain"] == pytest.approx(charge["gain"], rel=0.004)
        assert 0.15 < charge["noise_electron"] < 0.18
        assert abs(peaks["nonlinearity"]) < 0.1
        assert peaks.chi2 < 4 * peaks.n_dof  # 20 to 30 peaks lie on a line


def test_the_cost_is_the_likelihood_ratio_and_has_the_gradient_of_its_differences() -> None:
    special = pytest.importorskip("scipy.special")
    edges = np.linspace(-3, 12, 60)
    truth = np.array([1e4, 0.3, 0.4, 0.7, 2.1])  # n, offset, noise, rate, gain
    counts = np.random.default_rng(2).poisson(_core.expected_counts(edges, *truth, 8)).astype(float)
    assert (counts == 0).any()
    cost = _core.ChargeCost(edges, counts, 1e9, 8)
    k = np.arange(8)
    for at in (truth, truth * [1.1, -2, 1.5, 0.5, 0.9]):
        n, offset, noise, rate, gain = at
        weights = np.exp(-rate) * rate**k / special.factorial(k)
        below = special.ndtr((edges[:, None] - offset - gain * k) / noise)
        expected = n * np.diff(below @ weights)
        known = expected - counts + special.xlogy(counts, counts / expected)
        # Both sum the same terms: they differ by their rounding.
        assert cost(*at) == pytest.approx(2 * known.sum(), rel=1e-9)
        for i, slope in enumerate(cost.gradient(*at)):
            step = np.zeros(5)
            step[i] = 1e-6 * abs(at[i])
            ahead, behind = (cost(*(at + s)) for s in (step, -step))
            # The cost is rounded at 1e-16 of its terms, and cut off after the third derivative.
            difference = (ahead - behind) / (2 * step[i])
            assert slope == pytest.approx(difference, rel=1e-5, abs=1e-3 / abs(at[i]))
    for no_number in (np.nan, np.inf):
        for i in range(5):
            at = [*truth[:i], no_number, *truth[i + 1 :]]
            assert cost(*at) == np.inf and cost.gradient(*at) == [0.0] * 5
    costs = _core.charge_shape_costs(edges, counts, noise, np.array([[offset, rate, gain, 8]]))
    shape = np.maximum(expected * counts.sum() / expected.sum(), 1e-12)
    assert costs == pytest.approx(-(counts * np.log(shape)).sum(), rel=1e-9)


def test_peaks_are_counted_up_to_those_that_reach_into_the_range() -> None:
    edges, counts = np.linspace(-3, 12, 60), np.ones(59)
    truth = 1e4, 0.3, 0.4, 0.7, 2.1
    for reach, n_peaks in ((12.0, 8), (8.9, 7), (8.7, 6), (1.0, 3), (-9.0, 1), (1e9, 20)):
        cost = _core.ChargeCost(edges, counts, reach, 20)
        assert np.array_equal(
            cost.expected(*truth), _core.expected_counts(edges, *truth, n_peaks)
        ), reach
    assert np.isfinite(cost(*truth[:4], 1e-300)) and np.isfinite(cost(*truth[:4], 0.0))
    with pytest.raises(sk.ConfigError, match="at least 1 peak"):
        _core.ChargeCost(edges, counts, 1.0, 0)


def test_goodness_is_the_chi_square_distribution() -> None:
    special = pytest.importorskip("scipy.special")
    for n_dof in (1, 2, 3, 10, 77, 1000):
        for chi2 in (0.0, 1e-3, 1.0, n_dof / 2, n_dof, 2.0 * n_dof, 30.0 * n_dof):
            # Sums of up to 500 exponentials, each with the rounding of a logarithm near 1e4.
            assert goodness(chi2, n_dof) == pytest.approx(
                float(special.chdtrc(n_dof, chi2)), rel=1e-10, abs=1e-300
            )
    assert np.isnan(goodness(1.0, 0))
    assert goodness(np.inf, 3) == 0


def test_a_distribution_that_is_no_poisson_of_electrons_has_no_fit() -> None:
    random = np.random.default_rng(1)
    charge = random.poisson(3, 200_000) + random.normal(0, 0.3, 200_000)
    empty = np.arange(len(charge)) % 5 == 0
    charge[empty] = random.normal(0, 0.3, empty.sum())
    result = sk.fit_dark_current(5 * charge)
    assert result.status == "failed"
    assert "differ from the best fit by" in result.reason
    assert np.isnan(result["gain"])
    result = sk.fit_dark_current(np.where(empty, 5 * random.poisson(1, len(empty)), 0)
                                 + random.normal(0, 1.0, len(empty)))  # fmt: skip
    assert result.status == "failed" or any("differ from the fit" in note for note in result.notes)
