"""What several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from readouts import build_readouts

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Figures of pyplot stay until they are closed."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images and certified numbers, which a user's checkout does not have."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``cmake --install`` put the C++ library, built from ``cpp`` alone."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("prefix")
    for arguments in (
        ["-S", ROOT / "cpp", "-B", build, "-G", "Ninja"],
        ["--build", build],
        ["--install", build, "--prefix", prefix],
    ):
        done = subprocess.run(["cmake", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return prefix


@pytest.fixture(scope="session")
def readouts(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs readout_c and readout_cpp."""
    return build_readouts(tmp_path_factory.mktemp("readouts"), installed / "lib/cmake/skipstream")
