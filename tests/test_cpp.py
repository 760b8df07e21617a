"""Build the C++ tests against the installed library, and run them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_cpp_tests_pass(installed: Path, tmp_path: Path) -> None:
    run("cmake", "-S", ROOT / "tests/cpp", "-B", tmp_path, "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={installed}")  # fmt: skip
    run("cmake", "--build", tmp_path)
    output = run("ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed" in output
