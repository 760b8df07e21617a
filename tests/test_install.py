"""Programs that are built against the library as it is installed, and as the wheel carries it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skipstream as sk

sys.path.insert(0, str(Path(__file__).parent))
from readouts import build_readouts, config_text

ROOT = Path(__file__).resolve().parent.parent
N_ROWS, N_COLS, N_SKIPS = 60, 48, 40
STAGES = [
    {"kind": "compress_skips", "statistics": ["mean", "median"]},
    {"kind": "subtract_pedestal"},
    {"kind": "calibrate", "gain": 5.0},
    {"kind": "find_clusters", "noise": 0.3},
]


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
    (folder / "cfg.toml").write_text(config_text(STAGES, overscan_cols=8))
    with sk.Pipeline(
        STAGES, n_cols=N_COLS, n_skips=N_SKIPS, dtype="<u2", overscan_cols=8
    ) as pipeline:
        output = pipeline.push(samples)
        pipeline.finish()
        clusters = pipeline.table("clusters")
    assert len(clusters) > 0
    rows = [
        b"".join(plane[row].tobytes() for plane in [*output.planes.values(), output.mask])
        for row in range(N_ROWS)
    ]
    (folder / "expected").write_bytes(b"".join(rows) + clusters.tobytes())
    return folder


def check(program: Path, readout: Path, tmp_path: Path) -> None:
    row_bytes = 2 * N_COLS * N_SKIPS
    for pieces in ([row_bytes], [1000, 3 * row_bytes, 77], [1 << 30]):
        run(
            program, readout / "cfg.toml", readout / "samples", "u2", "-1", str(N_COLS),
            str(N_SKIPS), tmp_path / "result", *map(str, pieces),
        )  # fmt: skip
        assert (tmp_path / "result").read_bytes() == (readout / "expected").read_bytes()


def test_programs_in_c_and_cpp_are_built_against_the_installed_library(
    readouts: Path, readout: Path, tmp_path: Path
) -> None:
    check(readouts / "readout_cpp", readout, tmp_path)
    check(readouts / "readout_c", readout, tmp_path)


def test_programs_in_c_and_cpp_are_built_against_the_wheel(readout: Path, tmp_path: Path) -> None:
    package = Path(run(sys.executable, "-m", "skipstream", "--cmakedir").strip())
    folder = build_readouts(tmp_path / "build", package)
    check(folder / "readout_cpp", readout, tmp_path)
    check(folder / "readout_c", readout, tmp_path)


def test_a_mistake_in_the_config_is_told_with_its_line(
    readouts: Path, readout: Path, tmp_path: Path
) -> None:
    config = tmp_path / "cfg.toml"
    config.write_text((readout / "cfg.toml").read_text().replace("gain = 5.0", "gian = 5.0"))
    for program in ("readout_c", "readout_cpp"):
        done = subprocess.run(
            [readouts / program, config, readout / "samples", "u2", "-1", "9", "9", "result", "9"],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == (
            f'{config}:10: stage[2] calibrate: no key "gian"; did you mean "gain"?\n'
        )


def test_the_library_asks_nothing_of_the_program_but_memory_files_and_threads(
    installed: Path,
) -> None:
    symbols = run(
        "nm", "--undefined-only", "--format=just-symbols", installed / "lib/libskipstream.a"
    )
    asked = set(symbols.split())
    assert "pread" in asked or "pread64" in asked
    for name in (
        "exit", "_exit", "quick_exit", "abort", "signal", "sigaction", "raise", "setlocale",
        "printf", "puts", "putchar", "fprintf", "fputs", "fwrite", "perror", "stdout", "stderr",
        "__printf_chk", "__fprintf_chk", "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog", "__assert_fail",
        "system", "fork", "execv", "atexit", "longjmp",
    ):  # fmt: skip
        assert name not in asked, name


def test_programs_are_built_with_pkg_config_where_the_prefix_was_moved(
    installed: Path, readout: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(installed)
    flags = run(
        sys.executable, "-m", "pkgconf", "--cflags", "--libs", "skipstream",
        PKG_CONFIG_PATH=str(moved / "lib/pkgconfig"),
    ).split()  # fmt: skip
    for compiler, source in (("c++", "readout.cpp"), ("cc", "readout.c")):
        program = tmp_path / compiler
        standard = "-std=c++20" if compiler == "c++" else "-std=c99"
        run(compiler, standard, ROOT / "tests/install" / source, *flags, "-o", program)
        check(program, readout, tmp_path)


def test_a_simulated_readout_in_real_time_loses_nothing(installed: Path, tmp_path: Path) -> None:
    source = ROOT / "bench/daq.cpp"
    if not source.exists():
        pytest.skip("no benchmarks beside the tests")
    flags = run(
        sys.executable, "-m", "pkgconf", "--cflags", "--libs", "skipstream",
        PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"),
    ).split()  # fmt: skip
    run("c++", "-std=c++20", "-Wall", "-Wextra", "-Werror", source, *flags, "-o", tmp_path / "daq")
    small = ["modules=2", "samples_per_s=2e5", "seconds=2", "cols=100", "skips=50"]
    for words in ([], ["queue=block", "queue_kib=5"], ["queue=spill", "queue_kib=5", "stall=0.5"]):
        output = run(tmp_path / "daq", *small, *words)
        assert "rows: 160 of 160 whole, 0 of them wrong" in output
        assert "; 0 dropped" in output
    done = subprocess.run(
        [tmp_path / "daq", *small, "kill=1"], capture_output=True, text=True, check=False
    )
    found = re.search(r"rows: (\d+) of 160 whole, 0 of them wrong", done.stdout)
    assert done.returncode == 1  # rows are lost: those that the process which was killed had begun
    assert found
    assert 120 <= int(found[1]) < 160
    day = ["day", "modules=1", "amplifiers=1", "cols=500", "skips=500"]
    assert "rows: 37512 of 37512" in run(tmp_path / "daq", *day)
