"""Build and run the C++ tests, and programs that link against the installed library."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_cpp_tests_pass(tmp_path: Path) -> None:
    run("cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", "-DSKIPSTREAM_TESTS=ON")
    run("cmake", "--build", tmp_path)
    output = run("ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed" in output
