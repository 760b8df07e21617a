"""Calibration files: written from images, read by runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream.cli import main

GAINS = {"L": 4.0, "U": 7.0}


def image_file(path: Path, seed: int, drift: float = 1.0) -> Path:
    """Two amplifiers of averaged pixels with single electrons, pedestal 1000."""
    random = np.random.default_rng(seed)
    hdus: list[fits.PrimaryHDU | fits.ImageHDU] = [fits.PrimaryHDU()]
    for name, gain in GAINS.items():
        charge = random.poisson(0.4, (100, 200)) * 1.0
        charge[:, -40:] = 0
        image = 1000 + gain * drift * (charge + random.normal(0, 0.12, charge.shape))
        hdus.append(fits.ImageHDU(image.astype("f4"), name=name))
    fits.HDUList(hdus).writeto(path)
    return path


CONFIG = """
[input]
n_skips = 1
overscan_cols = 40
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "subtract_pedestal"
"""


def test_the_gain_of_each_amplifier_reaches_a_run(tmp_path: Path) -> None:
    files = [str(image_file(tmp_path / f"raw{n}.fits", n)) for n in range(3)]
    (tmp_path / "pixels.toml").write_text(CONFIG)
    out = tmp_path / "calibration.toml"
    command = ["calibrate", *files, "-o", str(out), "--config", str(tmp_path / "pixels.toml")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    tables = tomllib.loads(out.read_text())
    for amplifier, gain in GAINS.items():
        assert tables["gain"][amplifier] == pytest.approx(gain, rel=0.003)
        assert tables["noise_electron"][amplifier] == pytest.approx(0.12, rel=0.05)
        assert tables["dark_current"][amplifier] == pytest.approx(0.4, rel=0.05)
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 2
    assert "exists; use --overwrite" in again.output
    # The path is relative to the config.
    (tmp_path / "cfg.toml").write_text(
        CONFIG + '[[stage]]\nkind = "calibrate"\ngain = "calibration.toml"\n'
    )
    config = sk.load_config(tmp_path / "cfg.toml")
    assert config.stages[-1]["gain"] == tables["gain"]
    for result in sk.run(config, files[:1]):
        electrons = result.planes["mean"][:, :-40]
        near_one = electrons[np.abs(electrons - 1) < 0.4]
        assert near_one.mean() == pytest.approx(1.0, abs=0.01)


def test_a_drift_is_told(tmp_path: Path) -> None:
    config = sk.load_config(CONFIG)
    files = [image_file(tmp_path / f"raw{n}.fits", n, 1 + 0.02 * n) for n in range(3)]
    for amplifier in sk.calibrate(files, config):
        assert amplifier.n_dof == 2
        assert amplifier.p_value < 1e-6
    steady = [image_file(tmp_path / f"steady{n}.fits", n) for n in range(3)]
    for amplifier in sk.calibrate(steady, config):
        assert amplifier.p_value > 1e-3


def test_files_without_electrons_are_told(tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    noise = np.random.default_rng(1).normal(0, 1, (100, 100)).astype("f4")
    fits.PrimaryHDU(noise).writeto(path)
    (tmp_path / "bad.fits").write_text("nothing")
    good = image_file(tmp_path / "good.fits", 1)
    out = str(tmp_path / "c.toml")
    alone = CliRunner().invoke(main, ["calibrate", str(path), "-o", out])
    assert alone.exit_code == 2
    assert "no amplifier has a gain" in alone.output
    assert not Path(out).exists()
    bad = CliRunner().invoke(main, ["calibrate", str(tmp_path / "bad.fits"), "-o", out])
    assert bad.exit_code in (1, 2)
    assert "not a FITS file" in bad.output
    mixed = CliRunner().invoke(
        main, ["calibrate", str(good), str(tmp_path / "bad.fits"), "-o", out]
    )
    assert mixed.exit_code == 1
    assert "not a FITS file" in mixed.output
    assert Path(out).exists()
    with pytest.raises(sk.ConfigError, match="before the stage calibrate"):
        sk.calibrate([good], sk.load_config(CONFIG + '[[stage]]\nkind = "calibrate"\ngain = 1.0\n'))


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "no table [gain]"), ("gain = 3", "no table [gain]"), ("x x", "no calibration file"),
     ("[gain]\nL = 0", "must be above 0"), ("[gain]\nL = 'a'", "must be above 0"),
     ("[gain]\nL = nan", "must be above 0"), (None, "No such file")],
)  # fmt: skip
def test_what_is_no_calibration_file_is_told(text: str | None, told: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    (tmp_path / "cfg.toml").write_text(CONFIG + '[[stage]]\nkind = "calibrate"\ngain = "c.toml"\n')
    with pytest.raises(sk.ConfigError) as problem:
        sk.load_config(tmp_path / "cfg.toml")
    assert told in str(problem.value)
    assert "stage[2] calibrate.gain" in str(problem.value)
