"""Files that this program writes, before the field's own inspectors: no error, no warning."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import skipstream as sk
from skipstream.simulate import LAYOUTS, simulate

CONFIG = """
[[stage]]
kind = "compress_skips"
statistics = ["mean", "median", "std"]
[[stage]]
kind = "mask_columns"
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "find_clusters"
keep_pixels = true
[[output]]
after = "compress_skips"
path = "{stem}_compressed.fits"
dtype = "float64"
[[output]]
after = "find_clusters"
path = "{stem}_planes.fits"
[[output]]
after = "find_clusters"
path = "{stem}_clusters.fits"
[[output]]
after = "find_clusters"
path = "{stem}_cluster_pixels.fits"
table = "cluster_pixels"
"""


def raw_files(folder: Path) -> list[Path]:
    """Raw files of every kind that the simulator makes, and one with odd header cards."""
    for name in LAYOUTS.keys() - {"lta_packets"}:
        simulate(folder / f"{name}.fits", n_rows=30, n_cols=60, n_skips=20, seed=1, layout=name)
    made = sorted(folder.glob("*.fits"))
    odd = fits.PrimaryHDU(np.arange(1200, dtype="i2").reshape(10, 120))
    odd.header["NDCMS"] = "4"
    odd.header["OBJECT"] = ("it's " * 30, "a long string goes on")
    odd.header["EMPTY"] = None
    odd.header["HIERARCH a long keyword"] = 3
    odd.header["HISTORY"] = "before"
    odd.header["EXTNAME"] = "odd/name 1"
    odd.writeto(folder / "odd.fits", output_verify="ignore")
    return [*made, folder / "odd.fits"]


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("own")
    raw = raw_files(folder)
    config = sk.load_config(CONFIG)
    for path in raw:
        if "truth" not in path.name and not path.name.startswith("samples_in_files"):
            list(sk.run(config, [path], output=folder / "out"))
    planes = folder / "out" / "lta_compressed.fits"
    sk.combine_amplifiers(planes, folder / "combined.fits", sigmas=[1, 1, 1, 1])
    made = [*raw[:-1], folder / "combined.fits", *(folder / "out").glob("*.fits")]
    assert len(made) > 60
    return made


def test_fitsverify_finds_nothing(own_files: list[Path]) -> None:
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    found: list[str] = []
    for path in own_files:
        done = subprocess.run(["fitsverify", "-q", path], capture_output=True, text=True)
        if not done.stdout.startswith("verification OK"):
            whole = subprocess.run(["fitsverify", path], capture_output=True, text=True).stdout
            lines = [line for line in whole.splitlines() if line.startswith("***")]
            found += [path.name, *lines[:5]]
    assert not found, "\n".join(found)


def test_fitscheck_finds_nothing(own_files: list[Path]) -> None:
    """Sums and structure, by astropy."""
    from astropy.io.fits.scripts.fitscheck import main

    checked = [str(path) for path in own_files if "CHECKSUM" in fits.getheader(path)]
    assert len(checked) > 40
    assert main(["--compliance", *checked]) == 0
