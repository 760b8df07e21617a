"""Programs that are built against the library as it is installed, and as the wheel carries it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skipstream as sk

ROOT = Path(__file__).resolve().parent.parent
N_ROWS, N_COLS, N_SKIPS = 60, 48, 40


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def readout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of a simulated readout, and beside it what Python makes of them."""
    rng = np.random.default_rng(5)
    electrons = rng.poisson(0.1, (N_ROWS, N_COLS)).astype(float)
    electrons[20:23, 10:14] += 50
    electrons[:, -8:] = 0
    noise = rng.normal(1000, 8, (N_ROWS, N_COLS, N_SKIPS))
    samples = np.rint(noise + 5 * electrons[..., None]).astype("<u2")
    folder = tmp_path_factory.mktemp("readout")
    samples.tofile(folder / "samples")
    with sk.Pipeline(
        [
            sk.CompressSkips(statistics=["mean", "median"]),
            sk.SubtractPedestal(),
            sk.Calibrate(gain=5.0),
            sk.FindClusters(noise=0.3),
        ],
        n_cols=N_COLS,
        n_skips=N_SKIPS,
        dtype="<u2",
        overscan_cols=8,
    ) as pipeline:
        values = pipeline.push(samples).planes["mean"]
        pipeline.finish()
        clusters = pipeline.table("clusters")
    assert len(clusters) > 0
    (folder / "expected").write_bytes(values.tobytes() + clusters.tobytes())
    return folder


def check(program: Path, readout: Path, tmp_path: Path) -> None:
    run(program, readout / "samples", str(N_COLS), str(N_SKIPS), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == (readout / "expected").read_bytes()


def built(folder: Path, package: Path) -> Path:
    run("cmake", "-S", ROOT / "tests/install", "-B", folder, "-G", "Ninja",
        f"-Dskipstream_DIR={package}")  # fmt: skip
    run("cmake", "--build", folder)
    return folder


def test_a_program_is_built_against_the_installed_library(
    installed: Path, readout: Path, tmp_path: Path
) -> None:
    folder = built(tmp_path, installed / "lib/cmake/skipstream")
    check(folder / "readout_cpp", readout, tmp_path)


def test_a_program_is_built_against_the_wheel(readout: Path, tmp_path: Path) -> None:
    folder = built(tmp_path, Path(run(sys.executable, "-m", "skipstream", "--cmakedir").strip()))
    check(folder / "readout_cpp", readout, tmp_path)


def test_a_program_is_built_with_pkg_config_where_the_prefix_was_moved(
    installed: Path, readout: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(installed)
    flags = run(
        sys.executable, "-m", "pkgconf", "--cflags", "--libs", "skipstream",
        PKG_CONFIG_PATH=str(moved / "lib/pkgconfig"),
    ).split()  # fmt: skip
    program = tmp_path / "readout_cpp"
    run("c++", "-std=c++20", ROOT / "tests/install/readout.cpp", *flags, "-o", program)
    check(program, readout, tmp_path)
