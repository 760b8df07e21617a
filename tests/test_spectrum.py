"""Noise spectra, against plain NumPy and known lines."""

from __future__ import annotations

import numpy as np
import pytest

import skipstream as sk


def white(n_rows: int = 12, n_cols: int = 40, n_skips: int = 200, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 3, (n_rows, n_cols, n_skips))


def test_spectra_are_those_of_the_definition() -> None:
    samples = white()
    over_skips = sk.noise_spectrum(samples, sample_time_s=1e-5)
    centred = samples - samples.mean(axis=2, keepdims=True)
    expected = np.abs(np.fft.rfft(centred, axis=2)).mean(axis=(0, 1))[1:] / 200
    assert np.allclose(over_skips.amplitude, expected, rtol=1e-12)
    assert over_skips.frequency[-1] == pytest.approx(50_000)
    assert over_skips.n_series == 12 * 40
    means = samples.mean(axis=2)
    over_rows = sk.noise_spectrum(samples, over="row")
    expected = np.abs(np.fft.rfft(means - means.mean(axis=1, keepdims=True), axis=1)).mean(axis=0)
    assert np.allclose(over_rows.amplitude, expected[1:] / 40, rtol=1e-12)
    assert over_rows.frequency_unit == "1/sample"


def test_a_line_is_found_at_its_frequency() -> None:
    assert len(sk.noise_spectrum(white()).lines) <= 1
    time = np.arange(200) * 1e-5
    samples = white() + 2 * np.sin(2 * np.pi * 20_000 * time)
    spectrum = sk.noise_spectrum(samples, sample_time_s=1e-5)
    assert spectrum.lines[0][0] == pytest.approx(20_000)
    assert "line at 20000 Hz" in repr(spectrum)


def test_rows_may_come_in_any_pieces() -> None:
    samples = white().astype("f4")
    samples[3, 4, 5] = np.nan
    whole = sk.noise_spectrum(samples)
    assert whole.n_series == 12 * 40 - 1
    first, second = sk.NoiseSpectrum(), sk.NoiseSpectrum()
    first.consume(samples[:1])
    first.consume(samples[1:6])
    second.consume(samples[6:])
    first.merge(second)
    assert np.allclose(first.finalize().amplitude, whole.amplitude, rtol=1e-12)
    empty = sk.NoiseSpectrum()
    assert empty.finalize().n_series == 0
    empty.merge(first)
    assert empty.finalize().n_series == whole.n_series
    first.merge(sk.NoiseSpectrum())
    assert first.finalize().n_series == whole.n_series


def test_what_is_impossible_is_told() -> None:
    with pytest.raises(sk.ConfigError, match="over"):
        sk.NoiseSpectrum("columns")
    with pytest.raises(sk.ConfigError, match="sample_time_s"):
        sk.NoiseSpectrum(sample_time_s=0)
    with pytest.raises(sk.ConfigError, match="n_skips"):
        sk.noise_spectrum(np.ones((3, 4)))
    spectrum = sk.NoiseSpectrum()
    spectrum.consume(np.ones((1, 2, 8)))
    with pytest.raises(sk.ConfigError, match="9 values after rows of 8"):
        spectrum.consume(np.ones((1, 2, 9)))
    other = sk.NoiseSpectrum("row")
    other.consume(np.ones((1, 8, 2)))
    with pytest.raises(sk.ConfigError, match="different"):
        spectrum.merge(other)
    assert sk.noise_spectrum(np.ones((2, 2, 4))).lines == []


def test_a_spectrum_draws() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    samples = white() + 2 * np.sin(2 * np.pi * 0.2 * np.arange(200))
    ax = sk.noise_spectrum(samples).plot()
    assert "1/sample" in ax.get_xlabel()


def test_a_missing_sample_leaves_its_row_but_not_its_pixel() -> None:
    samples = np.random.default_rng(1).normal(0, 3, (20, 50, 16))
    complete = sk.noise_spectrum(samples, over="row")
    samples[::2, 7, 3] = np.nan
    samples[4, 9] = np.nan  # a pixel without any
    found = sk.noise_spectrum(samples, over="row")
    assert (complete.n_series, found.n_series) == (20, 19)
    means = np.nanmean(np.delete(samples, 4, axis=0), axis=2)
    expected = np.abs(np.fft.rfft(means - means[0, 0], axis=1))[:, 1:].mean(axis=0) / 50
    np.testing.assert_allclose(found.amplitude, expected, rtol=1e-12)
    assert sk.noise_spectrum(samples).n_series == 20 * 50 - 11
