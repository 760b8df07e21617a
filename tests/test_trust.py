"""Faults injected into runs: killed, full, locked, hostile; nothing is lost or half written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import skipstream as sk
from skipstream import _core
from skipstream.cli import main
from skipstream.ledger import Ledger, finished
from skipstream.workers import Died, run_jobs

sys.path.insert(0, str(Path(__file__).parent))
from dying import die_once

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))

CONFIG = """
[input]
n_skips = 10
overscan_cols = 8
[[stage]]
kind = "compress_skips"
statistics = ["mean", "median", "std"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "find_clusters"
noise = 0.5
"""
RUN = [sys.executable, "-m", "skipstream", "run"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "cfg.toml").write_text(CONFIG)
    random = np.random.default_rng(1)
    for number in range(6):
        data = random.normal(1000, 2, (60, 40 * 10)).astype("i2")
        fits.PrimaryHDU(data).writeto(folder / f"raw{number}.fits")
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("raw?.fits"))


def balanced(folder: Path) -> dict[str, Any]:
    counts = Ledger(folder).counts()
    parts = ("done", "partial", "refused", "waiting", "in_hand")
    assert counts["seen"] == sum(counts[part] for part in parts)
    return counts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_the_run_in_order(number: int, jobs: str, tmp_path: Path) -> None:
    data = np.zeros((400, 300 * 100), "i2")
    for name in ("a", "b", "c", "d"):
        fits.PrimaryHDU(data).writeto(tmp_path / f"{name}.fits")
    (tmp_path / "cfg.toml").write_text(
        '[input]\nn_skips = 100\n[[stage]]\nkind = "compress_skips"\n'
        'statistics = ["mean", "mad", "clipped_mean", "nanvar"]\n'
    )
    command = [*RUN, tmp_path / "cfg.toml", *sorted(tmp_path.glob("?.fits"))]
    command += ["-o", tmp_path / "out", "--jobs", jobs]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out" / "run.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number, errors
    assert f"stopped by {signal.Signals(number).name}" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").glob(".*"))
    assert balanced(tmp_path / "out")["open"]


def test_two_runs_do_not_share_a_folder(inputs: Path, tmp_path: Path) -> None:
    config = sk.load_config(inputs / "cfg.toml")
    first = sk.run(config, files(inputs), output=tmp_path)
    next(first)
    second = subprocess.run(
        [*RUN, inputs / "cfg.toml", files(inputs)[5], "-o", tmp_path],
        capture_output=True, text=True,
    )  # fmt: skip
    assert second.returncode == 2
    assert f"in use by process {os.getpid()} on" in second.stderr
    assert [result.status for result in first] == ["done"] * 5


def test_a_worker_that_dies_costs_its_job_one_retry(tmp_path: Path) -> None:
    marker = str(tmp_path / "died")
    results = list(run_jobs(die_once, [(marker, value) for value in range(8)], 3))
    assert [r for r in results if isinstance(r, int)] == [0, 1, 4, 9, 16, 36, 49]
    assert isinstance(results[5], Died)
    assert str(results[5]) == "the worker process died by SIGSEGV, twice"


def test_strict_ends_the_run_at_the_first_refusal(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"nothing")
    command = [*RUN, inputs / "cfg.toml", files(inputs)[0], tmp_path / "bad.fits", files(inputs)[1]]
    for more, n_done in (([], 2), (["--strict"], 1)):
        out = tmp_path / f"out{n_done}"
        done = subprocess.run([*command, "-o", out, *more], capture_output=True)
        assert done.returncode == 1
        counts = balanced(out)
        assert (counts["done"], counts["refused"], counts["waiting"]) == (n_done, 1, 2 - n_done)
    told = subprocess.run(
        [sys.executable, "-m", "skipstream", "status", out], capture_output=True, text=True
    ).stdout
    assert "failed (fits): " in told
    assert "--resume goes on" in told


def test_a_journal_that_was_cut_off_still_counts(inputs: Path, tmp_path: Path) -> None:
    config = sk.load_config(inputs / "cfg.toml")
    list(sk.run(config, files(inputs)[:2], output=tmp_path))
    journal = tmp_path / "run.jsonl"
    whole = journal.read_bytes()
    for cut in range(1, 200, 7):
        journal.write_bytes(whole[:-cut])
        balanced(tmp_path)
        results = list(sk.run(config, files(inputs)[:2], output=tmp_path, resume=True))
        assert {r.status for r in results} <= {"done", "skipped"}
        assert balanced(tmp_path)["done"] == 2
    for line in journal.read_bytes().splitlines()[-4:]:
        json.loads(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
EVENTS = ["begin_run", "take", "image", "file", "end_run", "x"]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the journal of three files, of which the second was cut off."""
    folder = tmp_path_factory.mktemp("journal")
    paths = [folder / f"raw{number}.fits" for number in range(3)]
    for path in paths:
        fits.PrimaryHDU(np.ones((9, 400), "i2")).writeto(path)
    os.truncate(paths[1], 2880 + 2000)
    config = sk.load_config({"input": {"n_skips": 4}, "stage": [{"kind": "compress_skips"}]})
    list(sk.run(config, paths, output=folder / "out"))
    return folder / "out"


@given(data=st.data())
@settings(max_examples=2000 if NIGHTLY else 150, deadline=None)
def test_a_journal_of_anything_is_read_and_adds_up(journal: Path, data: st.DataObject) -> None:
    whole = (journal / "run.jsonl").read_bytes()
    original = whole.splitlines()
    lines = list(original)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines)))
        kind = data.draw(st.sampled_from(["bytes", "json", "change", "drop", "flip"]))
        entry = json.loads(original[min(at, len(original) - 1)])
        if kind == "bytes":
            lines.insert(at, data.draw(st.binary(max_size=30)))
        elif kind == "json":
            lines.insert(at, json.dumps(data.draw(JSON)).encode())
        elif kind == "change":
            key = data.draw(st.sampled_from([*entry, "event", "path", "status", "files"]))
            entry[key] = data.draw(JSON | st.sampled_from(EVENTS))
            lines.insert(at, json.dumps(entry).encode())
        elif kind == "drop":
            lines = lines[:at] + lines[at + 1 :]
        elif at < len(lines) and lines[at]:
            changed = bytearray(lines[at])
            changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(
                st.integers(0, 7)
            )
            lines[at] = bytes(changed)
    try:
        (journal / "run.jsonl").write_bytes(b"\n".join(lines))
        balanced(journal)
        finished(journal, "any")
        told = CliRunner().invoke(main, ["status", str(journal)])
        assert told.exit_code == 0, told.exception
        assert all(c == "\n" or c.isprintable() for c in told.output)
    finally:
        (journal / "run.jsonl").write_bytes(whole)


def test_a_memory_limit_is_obeyed_or_refused(inputs: Path, tmp_path: Path) -> None:
    command = [*RUN, inputs / "cfg.toml", files(inputs)[0], "-o", tmp_path]
    done = subprocess.run([*command, "--memory-limit", "10M"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "the limit leaves 0.0 MiB beside the program" in done.stderr
    assert subprocess.run([*command, "--memory-limit", "1G"], capture_output=True).returncode == 0
    wrong = subprocess.run([*command, "--memory-limit", "much"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "'much' is not a size" in wrong.stderr


def test_pipes_devices_and_folders_are_refused_at_once(inputs: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fits")
    (tmp_path / "folder.fits").mkdir()
    paths = [tmp_path / "pipe.fits", tmp_path / "folder.fits", Path("/dev/zero")]
    done = subprocess.run(
        [*RUN, inputs / "cfg.toml", *paths, "-o", tmp_path / "out"],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1
    for text in ("pipe.fits: must be a regular file; is a pipe", "Is a directory", "is a device"):
        assert text in done.stderr


def test_a_file_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    data = np.zeros((3000, 100 * 5), "i2")
    path = tmp_path / "raw.fits"
    fits.PrimaryHDU(data).writeto(path)
    config = sk.load_config({"input": {"n_skips": 5}, "stage": [{"kind": "compress_skips"}]})

    def swap(_path: Path, _bytes: int, rows: int) -> None:
        if 0 < rows < 3000:
            fits.PrimaryHDU(data + 1).writeto(tmp_path / "other.fits", overwrite=True)
            (tmp_path / "other.fits").replace(path)

    (result,) = sk.run(config, [path], output=tmp_path / "out", progress=swap)
    assert "was replaced while it was read" in result.message
    assert not list((tmp_path / "out").glob("*.fits"))


def test_room_that_was_only_reserved_is_no_data(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(900, 1100, (200, 400)).astype("i2")
    images = [fits.ImageHDU(data, name=name) for name in ("A", "B")]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "whole.fits")
    whole = (tmp_path / "whole.fits").read_bytes()
    config = sk.load_config({"input": {"n_skips": 4}, "stage": [{"kind": "compress_skips"}]})
    path = tmp_path / "reserved.fits"
    for n, statuses in (
        (0, ["failed"]), (2880, ["failed"]), (60_000, ["partial"]), (168_000, ["partial"]),
        (250_000, ["done", "partial"]), (len(whole), ["done", "done"]),
    ):  # fmt: skip
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(whole))
            os.pwrite(file.fileno(), whole[:n], 0)
        results = list(sk.run(config, [path]))
        assert [result.status for result in results] == statuses
        for result in results:
            if result.status == "partial" and "rows are missing" in result.message:
                there = result.report["rows_there"]
                mean = result.planes["mean"]
                assert np.isnan(mean[there:]).all()
                assert (mean[:there] == data.reshape(200, 100, 4).mean(2)[:there]).all()


def test_rows_of_zero_bytes_are_told(tmp_path: Path) -> None:
    data = np.ones((20, 40), "i2")
    data[17:] = 0
    fits.PrimaryHDU(data).writeto(tmp_path / "raw.fits")
    config = sk.load_config({"input": {"n_skips": 4}, "stage": [{"kind": "compress_skips"}]})
    (result,) = sk.run(config, [tmp_path / "raw.fits"])
    assert result.report["notes"] == ["every byte of the last 3 rows is 0: were they ever written?"]


def test_zeros_at_the_end_of_a_file_are_data(tmp_path: Path) -> None:
    config = sk.load_config({"input": {"n_skips": 4}, "stage": [{"kind": "compress_skips"}]})
    zeros = np.zeros((50, 400), "i2")
    for n_rows in (1, 7, 50):
        path = tmp_path / "raw.fits"
        fits.PrimaryHDU(zeros[:n_rows]).writeto(path, overwrite=True)
        (result,) = sk.run(config, [path], output=tmp_path / "out", overwrite=True)
        assert result.status == "done"
        for made in result.outputs:
            _core.scan_fits(str(made))
    # A file system that keeps no zeros: what a checksum vouches for is there.
    for checksum, status in ((True, "done"), (False, "partial")):
        fits.PrimaryHDU(zeros).writeto(path, checksum=checksum, overwrite=True)
        os.truncate(path, 2880)
        os.truncate(path, 2880 + 40_320)
        (result,) = sk.run(config, [path])
        assert result.status == status
    # Only the padding was not written.
    data = np.arange(20_000, dtype="i2").reshape(50, 400)
    fits.PrimaryHDU(data).writeto(path, overwrite=True)
    os.truncate(path, 2880 + 40_000)
    os.truncate(path, 2880 + 40_320)
    (result,) = sk.run(config, [path])
    assert result.status == "done"


def test_outputs_of_an_exposure_get_their_names_together(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one of them does not reach the disk none has its name, and nothing else remains."""
    config, source = sk.load_config(inputs / "cfg.toml"), files(inputs)[0]
    sync = os.fsync
    n_calls = fails_at = 0

    def counting(file: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == fails_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(file)

    monkeypatch.setattr(os, "fsync", counting)
    n_none = 0
    for fails_at in range(1, 20):
        n_calls, out = 0, tmp_path / str(fails_at)
        with contextlib.suppress(OSError):  # the journal's own
            list(sk.run(config, [source], output=out))
        there = [path.name for path in out.iterdir() if path.name != "run.jsonl"]
        assert there == [] or set(there) == {"raw0_planes.fits", "raw0_clusters.fits"}, there
        n_none += there == []
        if n_calls < fails_at:
            break
    assert n_calls < fails_at
    assert n_none >= 3  # where the journal begins, and of either file
