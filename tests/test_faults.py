"""Faults injected into runs from outside: nothing is half written, and a run can be resumed.

`strace` makes system calls fail, or kills the process at them; a small library shortens reads and
writes. A sample runs by default; all of it with SKIPSTREAM_NIGHTLY=1.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skipstream.ledger import LOCK, Ledger

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
SEED = int(os.environ.get("SKIPSTREAM_SEED", "1"))
N_FAULTS = 2000 if NIGHTLY else 24
N_KILLS = 500 if NIGHTLY else 8
ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EINTR", "EMFILE", "ENOMEM", "ESTALE", "EROFS", "EACCES"]
CALLS = ["openat", "pread64", "pwrite64", "write", "fsync", "ftruncate", "fallocate", "rename",
         "newfstatat", "lseek", "close", "unlink"]  # fmt: skip
CONFIG = """
[input]
n_skips = 4
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "find_clusters"
noise = 1.0
"""

Point = tuple[str, int]


class Case:
    """A run over some files, and what it gives when nothing disturbs it."""

    def __init__(self, folder: Path, n_files: int, *options: str) -> None:
        self.folder = folder
        self.options = options
        (folder / "cfg.toml").write_text(CONFIG)
        self.files = [folder / f"raw{number:02}.fits" for number in range(n_files)]
        for number, path in enumerate(self.files):
            data = np.random.default_rng(number).normal(100, 2, (9, 40)).astype("i2")
            fits.PrimaryHDU(data).writeto(path)
        subprocess.run(self.command(folder / "undisturbed"), check=True, capture_output=True)
        self.expected = hashes(folder / "undisturbed")
        assert len(self.expected) == 2 * n_files

    def command(self, out: Path, *more: str) -> list[str]:
        files = map(str, self.files)
        command = [sys.executable, "-m", "skipstream", "run", str(self.folder / "cfg.toml")]
        return [*command, *files, "-o", str(out), *self.options, *more]

    def points(self) -> list[Point]:
        """Every (call, its number in the run) from the moment at which the folder is locked."""
        log = self.folder / "log"
        out = self.folder / "traced"
        trace = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
        done = subprocess.run([*trace, *self.command(out)], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"strace cannot trace here: {done.stderr[-200:]}")
        numbers = dict.fromkeys(CALLS, 0)
        found = []
        locked = False
        for line in log.read_text(errors="replace").splitlines():
            name = re.match(r"\d+\s+(\w+)\(", line)
            if name is None:
                continue
            numbers[name[1]] += 1
            locked = locked or LOCK in line
            if locked and ".so" not in line and ".py" not in line:
                found.append((name[1], numbers[name[1]]))
        return found

    def problems(self, out: Path, done: subprocess.CompletedProcess[str], killed: bool) -> str:
        """What is wrong in a folder that a disturbed run has left; and after it is resumed."""
        found = []
        if done.returncode not in ((-9, 137, 0) if killed else (0, 1, 2)):
            found.append(f"exit code {done.returncode}")
        # A worker whose parent is killed while it starts is not ours yet.
        if ("Traceback" in done.stderr and not killed) or "internal error" in done.stderr:
            found.append(done.stderr[-300:])
        if done.returncode > 0 and not done.stderr.strip() and not killed:
            found.append("no message")
        if not hashes(out).items() <= self.expected.items():
            found.append("a final name holds other bytes")
        if done.returncode == 0 and hashes(out) != self.expected:
            found.append("called done, but is not")
        counts = Ledger(out).counts()
        parts = ("done", "partial", "refused", "waiting", "in_hand")
        if counts["seen"] != sum(counts[part] for part in parts):
            found.append(f"ledger {counts}")
        again = subprocess.run(self.command(out, "--resume"), capture_output=True, text=True)
        if again.returncode != 0 or hashes(out) != self.expected:
            found.append(f"not resumed: {again.stderr[-300:]}")
        times = dict.fromkeys(map(str, self.files), 0)
        for entry in Ledger(out).entries():
            if entry["event"] == "file" and entry["path"] in times:
                # A journal that is not synced counts as not written: it is done again.
                count = {"done": times[entry["path"]] + 1, "failed": 0}
                times[entry["path"]] = count.get(entry["status"], times[entry["path"]])
        if set(times.values()) != {1}:
            found.append(f"not done exactly once: {times}")
        if list(out.glob(".*")):
            found.append("remains")
        return "; ".join(found)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("[!.]*.fits")
    }


def strace(case: Case, out: Path, call: str, fault: str, number: int) -> str:
    """Inject one fault; returns what went wrong."""
    inject = f"inject={call}:{fault}:when={number}"
    trace = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    done = subprocess.run([*trace, *case.command(out)], capture_output=True, text=True)
    wrong = case.problems(out, done, "SIGKILL" in fault)
    shutil.rmtree(out, ignore_errors=True)
    return f"{call} {number} {fault}: {wrong}" if wrong else ""


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@needs_strace
def test_a_call_that_fails_harms_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path, 3, "--threads", "1")
    points = [(call, number, error) for call, number in case.points() for error in ERRORS]
    assert len(points) > 1500
    sample = random.Random(SEED).sample(points, min(N_FAULTS, len(points)))
    wrong = [strace(case, tmp_path / "out", call, f"error={e}", n) for call, n, e in sample]
    assert not any(wrong), "\n".join(filter(None, wrong))


@needs_strace
def test_a_run_killed_at_any_call_is_resumed(tmp_path: Path) -> None:
    case = Case(tmp_path, 20, "--threads", "1")
    points = case.points()
    assert len(points) > 500
    sample = random.Random(SEED).sample(points, min(N_KILLS, len(points)))
    wrong = [strace(case, tmp_path / "out", call, "signal=SIGKILL", n) for call, n in sample]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_killed_at_any_time_is_resumed(jobs: str, tmp_path: Path) -> None:
    case = Case(tmp_path, 20, "--jobs", jobs)
    begin = time.perf_counter()
    subprocess.run(case.command(tmp_path / "timed"), check=True, capture_output=True)
    lasts = time.perf_counter() - begin
    choose = random.Random(SEED)
    wrong = []
    for number in range(N_KILLS // 2):
        out = tmp_path / f"out{number}"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(case.command(out), text=True, **pipes)  # type: ignore[call-overload]
        after = choose.uniform(0.1, 1.0) * lasts
        time.sleep(after)
        process.kill()
        _, errors = process.communicate()
        if not out.exists():
            continue
        time.sleep(0.05)  # the workers die with their parent
        done = subprocess.CompletedProcess([], process.returncode, "", errors)
        found = case.problems(out, done, True)
        shutil.rmtree(out)
        if found:
            wrong.append(f"after {after:.3f} of {lasts:.3f} s: {found}")
    assert not wrong, "\n".join(wrong)


SHORT_IO = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
/* Every read and write moves a part of what it is asked for, or is interrupted. */
static unsigned state = 12345;
static size_t part(size_t n) {
  state = state * 1664525u + 1013904223u;
  return n < 2 ? n : 1 + (state >> 8) % n;
}
#define SHORT(result, name, parameters, arguments, data)              \
  result name parameters {                                            \
    static result(*real) parameters;                                  \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);  \
    n = part(n);                                                      \
    if ((state >> 4) % 16 == 0) { errno = EINTR; return -1; }         \
    return real arguments;                                            \
  }
SHORT(ssize_t, pread, (int f, void *d, size_t n, off_t o), (f, d, n, o), d)
SHORT(ssize_t, pread64, (int f, void *d, size_t n, off_t o), (f, d, n, o), d)
SHORT(ssize_t, pwrite, (int f, const void *d, size_t n, off_t o), (f, d, n, o), d)
SHORT(ssize_t, pwrite64, (int f, const void *d, size_t n, off_t o), (f, d, n, o), d)
"""


def test_short_reads_and_writes_make_no_difference(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "short.c").write_text(SHORT_IO)
    library = tmp_path / "short.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, tmp_path / "short.c", "-ldl"],
        check=True,
    )
    case = Case(tmp_path, 3)
    out = tmp_path / "out"
    done = subprocess.run(
        case.command(out), env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert hashes(out) == case.expected


def test_a_disk_of_any_size_keeps_what_is_whole(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    case = Case(tmp_path, 6)
    disk = tmp_path / "disk"
    disk.mkdir()
    sizes: Sequence[int] = range(4, 404, 4 if NIGHTLY else 60)
    n_full = 0
    for size in sizes:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk]
        if subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("no file system can be mounted here")
        try:
            done = subprocess.run(case.command(disk), capture_output=True, text=True)
            assert "Traceback" not in done.stderr
            assert "internal" not in done.stderr
            assert hashes(disk).items() <= case.expected.items()
            assert not list(disk.glob(".*part"))
            if done.returncode == 0:
                assert hashes(disk) == case.expected
            else:
                n_full += 1
                assert "No space left on device" in done.stderr
                grow = ["mount", "-o", "remount,size=2m", disk]
                subprocess.run(grow, check=True, capture_output=True)
                again = subprocess.run(case.command(disk, "--resume"), capture_output=True)
                assert again.returncode == 0, again.stderr
                assert hashes(disk) == case.expected
        finally:
            subprocess.run(["umount", disk], check=True)
    assert 0 < n_full < len(sizes)
