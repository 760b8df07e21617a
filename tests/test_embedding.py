"""The programs of docs/embedding.md are built as the page says, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/embedding.md").read_text()


def block(language: str) -> str:
    """The code of the only block in a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(code)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cfg.toml").write_text(block("toml"))
    for name, language in (("daq.c", "c"), ("daq.cpp", "cpp"), ("daq.py", "python")):
        (tmp_path / name).write_text(block(language))
    (tmp_path / "CMakeLists.txt").write_text(block("cmake"))
    return tmp_path


def test_the_program_in_c_is_built_with_cmake(installed: Path, folder: Path) -> None:
    run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={installed}", cwd=folder)
    run("cmake", "--build", "build", cwd=folder)
    assert run(folder / "build/daq", cwd=folder) == block("text")


@pytest.mark.parametrize(
    "compile_", [["cc", "-std=c99", "daq.c"], ["c++", "-std=c++20", "daq.cpp"]], ids=["c", "cpp"]
)
def test_the_programs_are_built_with_pkg_config(
    installed: Path, folder: Path, compile_: list[str]
) -> None:
    path = str(installed / "lib/pkgconfig")
    flags = run(
        sys.executable, "-m", "pkgconf", "--cflags", "--libs", "skipstream", cwd=folder,
        PKG_CONFIG_PATH=path,
    ).split()  # fmt: skip
    run(*compile_, "-Wall", "-Wextra", "-Werror", *flags, "-o", "daq", cwd=folder)
    assert run(folder / "daq", cwd=folder) == block("text")


def test_the_program_in_python_runs(folder: Path) -> None:
    assert run(sys.executable, "daq.py", cwd=folder) == block("text")


def test_the_program_in_c_takes_a_queue_as_the_page_says(installed: Path, folder: Path) -> None:
    *begin, push, finish, destroy = block("C").splitlines()
    program = block("c")
    for old, new in (
        ("  for (uint32_t row", "\n".join([*begin, "  for (uint32_t row"])),
        ("status = skipstream_image_push(image, samples, sizeof samples);", push),
        ("if (status == SKIPSTREAM_OK) status = skipstream_image_finish(image);", finish + destroy),
    ):
        before, after = program.rsplit(old, 1)
        program = before + new + after
    (folder / "daq.c").write_text(program.replace("/* waits, and finishes the image */", ""))
    flags = run(
        sys.executable, "-m", "pkgconf", "--cflags", "--libs", "skipstream", cwd=folder,
        PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"),
    ).split()  # fmt: skip
    run("cc", "-std=c99", "daq.c", *flags, "-o", "daq", cwd=folder)
    # The worker takes as many rows as wait, so callbacks see them in other parts.
    assert "cluster of 300 e- in row 20" in run(folder / "daq", cwd=folder)
