"""What a person sees on a terminal, and what the small commands say."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skipstream.cli import main

CONFIG = '[input]\nn_skips = 4\n[[stage]]\nkind = "compress_skips"\n'


def on_a_terminal(command: list[object], cwd: Path, signals: int = 0) -> tuple[int, str]:
    """Exit code and all that is written to a terminal of 100 columns."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, stdin=secondary, stdout=secondary,
        stderr=secondary, env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    )  # fmt: skip
    os.close(secondary)
    shown = b""
    while True:
        ready, _, _ = select.select([primary], [], [], 0.2)
        if ready:
            try:
                part = os.read(primary, 65536)
            except OSError:
                part = b""
            if not part:
                break
            shown += part
        if signals and b"rows" in shown:
            for _ in range(signals):
                process.send_signal(signal.SIGINT)
                time.sleep(0.02)
            signals = 0
    os.close(primary)
    return process.wait(), shown.decode()


def test_a_terminal_shows_progress_and_every_file(tmp_path: Path) -> None:
    for number in range(3):
        fits.PrimaryHDU(np.ones((300, 4000), "i2")).writeto(tmp_path / f"raw{number}.fits")
    (tmp_path / "bad.fits").write_text("nothing")
    (tmp_path / "cfg.toml").write_text(CONFIG)
    run = [sys.executable, "-m", "skipstream", "run", "cfg.toml"]
    names = ["raw0.fits", "raw1.fits", "bad.fits", "raw2.fits"]
    code, shown = on_a_terminal([*run, *names, "-o", "out"], tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert code == 1
    assert "4/4 files" in plain
    assert "failed: bad.fits: not a FITS file" in plain
    for name in ("raw0", "raw1", "raw2"):
        assert f"done: {name}.fits" in plain
    code, shown = on_a_terminal([*run, "raw0.fits", "-o", "quiet", "--quiet"], tmp_path)
    assert (code, shown) == (0, "")


@pytest.mark.parametrize("signals", [1, 2])
def test_control_c_ends_a_run_and_a_second_one_at_once(signals: int, tmp_path: Path) -> None:
    data = np.zeros((2000, 8000), "i2")
    for number in range(6):
        fits.PrimaryHDU(data).writeto(tmp_path / f"raw{number}.fits")
    (tmp_path / "cfg.toml").write_text(
        CONFIG + 'statistics = ["mad", "clipped_mean", "trimmed_mean"]\n'
    )
    files = sorted(path.name for path in tmp_path.glob("raw*.fits"))
    begin = time.monotonic()
    command = [sys.executable, "-m", "skipstream", "run", "cfg.toml", *files, "-o", "out"]
    code, _ = on_a_terminal(command, tmp_path, signals)
    assert code in (130, -signal.SIGINT)  # a shell calls both 130
    assert time.monotonic() - begin < 60
    assert not list((tmp_path / "out").glob("raw5*"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["stages", "--markdown"], "## find_clusters"),
        (["stages", "--stub"], "class FindClusters"),
        (["stages", "calibrate"], "gain"),
        (["layouts"], "Leach controller"),
        (["--version"], "SIMD level"),
        (["init"], "[[stage]]"),
    ],
)
def test_small_commands(command: list[str], told: str) -> None:
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert told in done.output


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for command, told in (
        (["stages", "calibrat"], 'did you mean "calibrate"'),
        (["status", str(tmp_path)], "no run has written here"),
        (["info", str(tmp_path / "none.fits")], "No such file"),
        (["check", str(tmp_path / "none.toml")], "No such file"),
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (1, 2)
        assert told in done.output
        assert "Traceback" not in done.output


def test_info_tells_of_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(np.ones((50, 400), "i2")).writeto(path)
    os.truncate(path, 2880 + 20_000)
    done = CliRunner().invoke(main, ["info", str(path)])
    assert done.exit_code == 0
    assert "cut off" in done.output


def test_many_files_do_not_flood_a_terminal_and_their_sum_is_told(tmp_path: Path) -> None:
    for number in range(25):
        fits.PrimaryHDU(np.ones((4, 400), "i2")).writeto(tmp_path / f"raw{number:02d}.fits")
    (tmp_path / "bad.fits").write_text("nothing")
    (tmp_path / "cfg.toml").write_text(CONFIG)
    names = sorted(path.name for path in tmp_path.glob("*.fits"))
    run = [sys.executable, "-m", "skipstream", "run", "cfg.toml", *names, "-o", "out"]
    code, shown = on_a_terminal(run, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert code == 1
    assert "failed: bad.fits" in plain
    assert "done: " not in plain
    assert re.search(r"26 files in \d+\.\d s: 25 done, 1 failed; in out", plain)
    assert "why: skipstream status out" in plain
    # Elsewhere, such as in a log, every file has its line, and the sum is the last one.
    done = subprocess.run([*run[:-1], "log"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.count("done: raw") == 25
    assert "26 files in" in done.stderr.splitlines()[-2]


def test_the_list_of_commands_fits_a_narrow_terminal() -> None:
    done = CliRunner().invoke(main, ["--help"])
    assert "..." not in done.stdout.partition("Run:")[2]
    assert max(map(len, done.stdout.splitlines())) <= 80
    for name in main.list_commands(click.Context(main)):
        assert re.search(rf"^  {name} +\S.*\.$", done.stdout, re.M), name
    wrong = CliRunner().invoke(main, ["qualty"])
    assert wrong.exit_code == 2
    assert 'no command "qualty"; did you mean "quality"?' in wrong.output


def test_a_terminal_shows_what_became_of_a_configuration_as_a_table(tmp_path: Path) -> None:
    text = (
        '{"process": {"sequence": "CompressSkipperProcess", "CompressSkipperProcess": {"xtlk": 1}}}'
    )
    (tmp_path / "pana.json").write_text(text)
    command = [sys.executable, "-m", "skipstream", "config", "import", "pana.json", "-o", "c.toml"]
    code, shown = on_a_terminal(command, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert code == 1
    assert re.search(r"id_skip_start = 10 +defaulted +input.begin_skip", plain)
    assert re.search(r"\d+ defaulted", plain)
    assert 'xtlk = 1: wrong: no parameter "xtlk"; did you mean "xtalk"?' in plain
