"""A file is followed while it is written: what is shown is what a run finds."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import skipstream as sk
from skipstream.cli import main
from skipstream.simulate import simulate

CONFIG = """
[[stage]]
kind = "compress_skips"
statistics = ["mean", "std"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "calibrate"
gain = 200.0
[[stage]]
kind = "find_clusters"
noise = 1.0
"""


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Path]:
    """An empty file into which a thread writes an image of four amplifiers."""
    simulate(tmp_path / "raw.fits", n_rows=40, n_cols=100, n_skips=6, layout="lta", n_points=9)
    whole = (tmp_path / "raw.fits").read_bytes()
    path = tmp_path / "growing.fits"
    path.touch()
    (tmp_path / "cfg.toml").write_text(CONFIG)

    def write() -> None:
        step = len(whole) // 50
        for begin in range(0, len(whole), step):
            with path.open("ab") as file:
                file.write(whole[begin : begin + step])
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    yield path
    writer.join()


def follow(path: Path, *words: str) -> tuple[int, str]:
    config = str(path.with_name("cfg.toml"))
    command = ["follow", str(path), "--config", config, "--patience", "1", *words]
    done = CliRunner().invoke(main, command)
    return done.exit_code, done.output


def test_events_are_what_a_run_finds(growing: Path) -> None:
    code, output = follow(growing, "--json", "-o", str(growing.with_name("out")))
    assert code == 0, output
    events: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    expected = list(sk.run(sk.load_config(CONFIG), [growing.with_name("raw.fits")]))
    for result in expected:
        mine = [event for event in events if event.get("amplifier") == result.amplifier]
        rows = [event["rows_done"] for event in mine if event["event"] == "rows"]
        assert rows == sorted(rows)
        assert rows[-1] == 40
        assert [e["status"] for e in mine if e["event"] == "image"] == ["done"]
        clusters = [event for event in mine if event["event"] == "cluster"]
        assert result.clusters is not None
        assert len(clusters) == len(result.clusters) > 5
        for name in ("cluster_id", "charge", "energy_kev", "x", "y", "n_pixels"):
            found = sorted((event["cluster_id"], event[name]) for event in clusters)
            assert [value for _, value in found] == result.clusters[name].tolist()
    assert any(e["event"] == "rows" and 0 < e["rows_done"] < 40 for e in events)
    assert growing.with_name("out").joinpath("growing_planes.fits").exists()


def test_lines_tell_of_every_image(growing: Path) -> None:
    code, output = follow(growing)
    assert code == 0, output
    for result in sk.run(sk.load_config(CONFIG), [growing.with_name("raw.fits")]):
        assert result.clusters is not None
        line = f"growing.fits {result.amplifier}: 40 of 40 rows, {len(result.clusters)} clusters"
        assert re.search(
            rf"^{line}, the brightest .* keV\) in .* pixels at .*; done$", output, re.M
        )
    assert not growing.with_name("out").exists()


def test_a_terminal_shows_images_and_clusters(growing: Path) -> None:
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "skipstream", "follow", growing.name, "--config", "cfg.toml"]
    process = subprocess.Popen(
        [*command, "--patience", "1"], cwd=growing.parent, stdin=secondary, stdout=secondary,
        stderr=secondary, env={**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"},
    )  # fmt: skip
    os.close(secondary)
    shown = b""
    while True:
        try:
            part = os.read(primary, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(primary)
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "latest clusters" in plain
    assert re.search(r"growing.fits EXT3 +40/40 .* done", plain)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "cfg.toml").write_text(CONFIG)
    (tmp_path / "bad\x1b.fits").write_text("nothing")
    for words in ((), ("--json",)):
        code, output = follow(tmp_path / "bad\x1b.fits", *words)
        assert code == 1
        assert "not a FITS file" in output
        assert "\x1b" not in output


def test_live_updates_need_one_job(tmp_path: Path) -> None:
    with pytest.raises(sk.ConfigError, match="live updates need one job"):
        sk.run(sk.load_config(CONFIG), [], output=tmp_path, jobs=2, live=print)
