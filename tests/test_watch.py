"""A folder is watched: each file in it is processed when it is whole, and once."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import skipstream as sk
from skipstream import watching
from skipstream.simulate import simulate

CONFIG = """
[[stage]]
kind = "compress_skips"
statistics = ["mean", "median"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "find_clusters"
noise = 5.0
"""
POLL = ("--poll", "0.05")
DEADLINE = 120.0  # s, for what takes about one; a busy disk may hold a journal up


class Folder:
    """A folder with its config and outputs, and images that are not in it yet."""

    def __init__(self, root: Path, n_images: int = 4) -> None:
        self.root = root
        self.inbox = root / "in"
        self.output = root / "out"
        self.inbox.mkdir()
        (root / "ready").mkdir()
        (root / "cfg.toml").write_text(CONFIG)
        self.names = [f"run{number}.fits" for number in range(n_images)]
        for seed, name in enumerate(self.names):
            simulate(root / "ready" / name, n_rows=30, n_cols=80, n_skips=5, seed=seed)

    def ready(self, name: str) -> Path:
        return self.root / "ready" / name

    @contextlib.contextmanager
    def watched(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "skipstream", "watch", "in", "--config", "cfg.toml"]
        n_begun = self.n_events("begin_run")
        with (self.root / "said").open("w") as said:
            process = subprocess.Popen(
                [*command, "-o", "out", "--settle", "0.2", *words], cwd=self.root, stderr=said
            )
        try:
            until(lambda: process.poll() is not None or self.n_events("begin_run") > n_begun)
            yield process
        finally:
            process.kill()
            process.wait()

    def entries(self) -> list[dict[str, Any]]:
        journal = self.output / "run.jsonl"
        if not journal.exists():
            return []
        lines = journal.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def said(self) -> str:
        """What the last watch has said."""
        return (self.root / "said").read_text()

    def n_events(self, event: str) -> int:
        return sum(entry["event"] == event for entry in self.entries())

    def outcomes(self, status: str = "done") -> Counter[str]:
        return Counter(
            Path(entry["path"]).name
            for entry in self.entries()
            if entry["event"] == "file" and entry["status"] == status
        )

    def check_outputs(self, names: list[str]) -> None:
        """The outputs of the files are those of a run, byte by byte, and nothing else is there."""
        expected = self.root / "expected"
        shutil.rmtree(expected, ignore_errors=True)
        paths = [self.ready(name) for name in names]
        for result in sk.run(sk.load_config(CONFIG), paths, output=expected):
            assert result.status == "done"
        for path in expected.glob("run*_*"):
            assert (self.output / path.name).read_bytes() == path.read_bytes()
        assert {p.name for p in self.output.iterdir()} == {p.name for p in expected.iterdir()}


def until(condition: Callable[[], bool], step: float = 0.02) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(step)


def stop(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    process.send_signal(number)
    assert process.wait(DEADLINE) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("words", [(), ("--poll", "0.1"), ("--jobs", "2")])
def test_files_that_are_there_and_files_that_come_are_done_once(
    folder: Folder, words: tuple[str, ...]
) -> None:
    there, closed, renamed, slow = folder.names
    shutil.copy(folder.ready(there), folder.inbox)
    (folder.inbox / "notes.txt").write_text("no image")
    (folder.inbox / ".run9.fits").write_bytes(folder.ready(there).read_bytes())
    with folder.watched(*words) as process:
        until(lambda: folder.outcomes()[there] == 1)
        shutil.copy(folder.ready(closed), folder.inbox)
        temporary = folder.inbox / "unfinished.tmp"
        shutil.copy(folder.ready(renamed), temporary)
        temporary.rename(folder.inbox / renamed)
        whole = folder.ready(slow).read_bytes()
        with (folder.inbox / slow).open("wb") as file:
            for begin in range(0, len(whole), len(whole) // 10):
                file.write(whole[begin : begin + len(whole) // 10])
                file.flush()
                time.sleep(0.05)
        until(lambda: folder.said().count("done: ") == 4)
        time.sleep(0.5)
        stop(process)
    said = folder.said()
    assert set(folder.outcomes().values()) == {1}
    assert not folder.outcomes("failed")
    for name in folder.names:
        assert f"done: in/{name} EXT0" in said
    assert "stopped by SIGTERM" in said
    folder.check_outputs(folder.names)


def test_what_is_done_is_left_alone_and_what_changed_is_done_again(folder: Folder) -> None:
    first, second = folder.names[:2]
    shutil.copy(folder.ready(first), folder.inbox)
    with folder.watched(*POLL) as process:
        until(lambda: folder.outcomes()[first] == 1)
        stop(process, signal.SIGINT)
    shutil.copy(folder.ready(second), folder.inbox)
    with folder.watched(*POLL) as process:
        until(lambda: folder.outcomes()[second] == 1)
        assert folder.outcomes()[first] == 1
        shutil.copy(folder.ready(second), folder.inbox / first)
        until(lambda: folder.outcomes()[first] == 2)
        stop(process)
    shutil.copy(folder.ready(second), folder.ready(first))
    folder.check_outputs([first, second])


def test_a_file_that_is_not_whole_is_waited_for(folder: Folder) -> None:
    name = folder.names[0]
    whole = folder.ready(name).read_bytes()
    (folder.inbox / name).write_bytes(whole[: len(whole) // 2])
    with folder.watched(*POLL) as process:
        shutil.copy(folder.ready(folder.names[1]), folder.inbox)
        until(lambda: folder.outcomes()[folder.names[1]] == 1)
        until(lambda: f"waiting for {name}: " in folder.said())
        time.sleep(0.5)
        assert not folder.outcomes()[name]
        with (folder.inbox / name).open("ab") as file:
            file.write(whole[len(whole) // 2 :])
        until(lambda: folder.outcomes()[name] == 1)
        stop(process)
    said = folder.said()
    assert f"waiting for {name}: " in said
    assert "the data should have 24000 bytes" in said
    folder.check_outputs(folder.names[:2])


def test_a_file_that_stays_incomplete_is_processed_as_it_is(folder: Folder) -> None:
    name = folder.names[0]
    whole = folder.ready(name).read_bytes()
    (folder.inbox / name).write_bytes(whole[: len(whole) // 2])
    with folder.watched("--patience", "0.5", *POLL) as process:
        until(lambda: "partial: " in folder.said())
        stop(process)
    assert folder.outcomes("partial")[name] == 1
    assert (folder.output / "run0_planes.fits").exists()


def test_what_is_no_image_is_refused_and_the_rest_goes_on(folder: Folder) -> None:
    name = folder.names[0]
    with folder.watched() as process:
        shutil.copy(folder.ready(name), folder.inbox)
        until(lambda: folder.outcomes()[name] == 1)
        (folder.inbox / "bad.fits").write_text("nothing")
        (folder.inbox / f"{name}.gz").write_bytes(gzip.compress(folder.ready(name).read_bytes()))
        until(lambda: folder.said().count("failed: ") == 2)
        stop(process)
    assert len(folder.outcomes("failed")) == 2
    said = folder.said()
    assert "bad.fits: not a FITS file" in said
    assert f"{name}.gz: would write out/run0_planes.fits, as " in said
    folder.check_outputs([name])


def test_a_folder_that_goes_and_comes_back_is_watched_again(folder: Folder) -> None:
    first, second, third, _ = folder.names
    shutil.copy(folder.ready(first), folder.inbox)
    with folder.watched() as process:
        until(lambda: folder.outcomes()[first] == 1)
        away = folder.root / "away"
        folder.inbox.rename(away)
        time.sleep(1.5)
        shutil.copy(folder.ready(second), away)
        away.rename(folder.inbox)
        until(lambda: folder.outcomes()[second] == 1)
        shutil.rmtree(folder.inbox)
        time.sleep(1.5)
        folder.inbox.mkdir()
        shutil.copy(folder.ready(third), folder.inbox)
        until(lambda: folder.outcomes()[third] == 1)
        stop(process)
    said = folder.said()
    assert set(folder.outcomes().values()) == {1}
    assert "in: No such file or directory; waiting for it" in said
    assert "in is there again" in said
    folder.check_outputs([first, second, third])


def test_a_watch_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 0)
    folder.names = [f"run{number}.fits" for number in range(4)]
    for seed, name in enumerate(folder.names):  # large, so that a kill comes before the end of one
        simulate(folder.ready(name), n_rows=200, n_cols=400, n_skips=200, seed=seed)
        shutil.copy(folder.ready(name), folder.inbox)
    choose = random.Random(5)

    def taken() -> list[str]:
        return [Path(e["path"]).name for e in folder.entries() if e["event"] == "take"]

    n_hit = 0
    while n_hit < 4:
        n_before = len(taken())
        with folder.watched(*POLL) as process:
            until(lambda n=n_before: len(taken()) > n, step=0.001)
            time.sleep(choose.uniform(0, 0.01))
            process.kill()
            process.wait()
        n_hit += taken()[-1] not in folder.outcomes()
        assert len(folder.outcomes()) < 4, "no image was left to be killed in"
    with folder.watched(*POLL) as process:
        until(lambda: len(folder.outcomes()) == 4)
        stop(process)
    assert set(folder.outcomes().values()) == {1}
    folder.check_outputs(folder.names)


def test_what_cannot_be_watched_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sk.load_config(CONFIG)
    with pytest.raises(sk.IoError, match="none: no such folder"):
        sk.watch(config, folder.root / "none", output=folder.output)
    with pytest.raises(sk.ConfigError, match="would be watched itself"):
        sk.watch(config, folder.inbox, output=folder.root / "out" / ".." / "in")
    with pytest.raises(sk.ConfigError, match="settle: must not be negative; got -1"):
        sk.watch(config, folder.inbox, output=folder.output, settle=-1)
    files = sk.load_config(f"[input]\nlayout = 'samples_in_files'\n{CONFIG}")
    with pytest.raises(sk.ConfigError, match="use skipstream run"):
        sk.watch(files, folder.inbox, output=folder.output)
    monkeypatch.setitem(sys.modules, "watchdog.observers", None)
    with pytest.raises(sk.ConfigError, match=r"needs watchdog \(pip install 'skipstream\[watch\]'"):
        sk.watch(config, folder.inbox, output=folder.output)
    sk.watch(config, folder.inbox, output=folder.output, poll=1.0)


def test_a_network_file_system_is_looked_at(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = folder.inbox.resolve()
    mounts = f"22 1 0:21 / / rw - ext4 /dev/x rw\n36 22 0:33 / {there} rw - nfs4 host:/data rw\n"
    read_text = Path.read_text
    monkeypatch.setattr(
        Path, "read_text",
        lambda path, *a, **k: mounts if path.name == "mountinfo" else read_text(path, *a, **k),
    )  # fmt: skip
    shutil.copy(folder.ready(folder.names[0]), folder.inbox)
    monkeypatch.setattr(watching, "_NETWORK_POLL", 0.05)
    results = sk.watch(sk.load_config(CONFIG), folder.inbox, output=folder.output, settle=0.0)
    assert next(results).status == "done"
    results.close()  # type: ignore[attr-defined]
    assert "is on nfs4, which has no events: it is looked at every 0.05 s" in caplog.text
    assert folder.outcomes()[folder.names[0]] == 1
