"""Amplifiers that read the same pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import skipstream as sk

STAGES = [{"kind": "compress_skips"}]


def planes_of(amplifiers: np.ndarray, folder: Path) -> Path:
    """Run over a file with one HDU per amplifier, one sample per pixel."""
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(image) for image in amplifiers)]
    fits.HDUList(hdus).writeto(folder / "raw.fits")
    results = list(sk.run(sk.load_config({"stage": STAGES}), [folder / "raw.fits"], output=folder))
    return results[0].outputs[0]


def test_amplifiers_are_weighted_by_their_noise(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    truth = random.poisson(2.0, (40, 30)).astype(float)
    sigmas = np.array([0.5, 1.0, 2.0])
    images = truth + sigmas[:, None, None] * random.normal(size=(3, 40, 30))
    images[0, 3, 4] = np.nan
    images[:, 5, 6] = np.nan
    path = planes_of(images, tmp_path)
    weights = sk.combine_amplifiers(path, tmp_path / "out.fits", sigmas=list(sigmas))
    assert np.allclose(weights, sigmas**-2 / np.sum(sigmas**-2))
    there = np.isfinite(images)
    w = np.where(there, sigmas[:, None, None] ** -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(w * images.astype("f4"), axis=0) / w.sum(axis=0)
        std = np.where(w.sum(axis=0) > 0, w.sum(axis=0) ** -0.5, np.nan)
    with fits.open(tmp_path / "out.fits", checksum=True) as made:
        assert np.allclose(made["MEAN"].data, mean, rtol=1e-6, equal_nan=True)
        assert np.allclose(made["STD"].data, std, rtol=1e-6, equal_nan=True)
        assert np.array_equal(made["COUNT"].data, there.sum(axis=0))
        assert made["MASK"].data[5, 6] & 1
        scatter = np.nanstd(made["MEAN"].data - truth)
    assert scatter == pytest.approx(np.sum(sigmas**-2) ** -0.5, rel=0.1)


def test_shifted_amplifiers_are_moved_together(tmp_path: Path) -> None:
    truth = np.random.default_rng(2).normal(size=(8, 20))
    images = np.stack([truth, np.roll(truth, 3, axis=1), np.roll(truth, -2, axis=1)])
    path = planes_of(images, tmp_path)
    command = [sys.executable, "-m", "skipstream", "combine", path, tmp_path / "out.fits"]
    for value in ("--sigma", "--shift"):
        for number in ("1", "1", "1") if value == "--sigma" else ("0", "3", "-2"):
            command += [value, number]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with fits.open(tmp_path / "out.fits", checksum=True) as made:
        assert np.allclose(made["MEAN"].data, truth, atol=1e-6)
        assert made["COUNT"].data[0, 10] == 3
        assert made["COUNT"].data[0, -1] == 2


def test_what_cannot_be_combined_is_told(tmp_path: Path) -> None:
    path = planes_of(np.zeros((1, 4, 5)), tmp_path)
    with pytest.raises(sk.ConfigError, match="from at least two amplifiers; found 1"):
        sk.combine_amplifiers(path, tmp_path / "out.fits")
    (tmp_path / "two").mkdir()
    two = planes_of(np.zeros((2, 4, 5)), tmp_path / "two")
    with pytest.raises(sk.ConfigError, match="no NOISE or PEDSIGMA in the header"):
        sk.combine_amplifiers(two, tmp_path / "out.fits")
    with pytest.raises(sk.ConfigError, match="2 amplifiers, but 3 sigmas"):
        sk.combine_amplifiers(two, tmp_path / "out.fits", sigmas=[1, 1, 1])
