"""Programs that push rows (tests/install), and the configs that they are given."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skipstream.reference import toml_value

ROOT = Path(__file__).resolve().parent.parent


def build_readouts(folder: Path, package: Path) -> Path:
    """Build the programs of tests/install in `folder`, against the CMake files in `package`."""
    for arguments in (
        ["-S", ROOT / "tests/install", "-B", folder, "-G", "Ninja", f"-Dskipstream_DIR={package}"],
        ["--build", folder],
    ):
        done = subprocess.run(["cmake", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def config_text(stages: Sequence[Mapping[str, Any]], **given: Any) -> str:
    """Stages and `[input]` as TOML."""
    tables = ["[input]", *(f"{key} = {toml_value(value)}" for key, value in given.items())]
    for stage in stages:
        tables += ["[[stage]]", *(f"{key} = {toml_value(value)}" for key, value in stage.items())]
    return "\n".join(tables) + "\n"
