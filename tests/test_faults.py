"""System calls that fail, or are the last: nothing is half written, and a run can be resumed.

`strace` injects the faults. A sample runs by default; with SKIPSTREAM_NIGHTLY=1 all do.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skipstream.ledger import LOCK, Ledger

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
SEED = int(os.environ.get("SKIPSTREAM_SEED", "1"))
N_SAMPLES = int(os.environ.get("SKIPSTREAM_FAULTS", "40"))
ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EINTR", "EMFILE", "ENOMEM", "ESTALE", "EROFS", "EACCES",
          "SIGKILL"]  # fmt: skip
CALLS = ["openat", "pread64", "pwrite64", "write", "fsync", "ftruncate", "fallocate", "rename",
         "newfstatat", "lseek", "close"]  # fmt: skip
CONFIG = """
[input]
n_skips = 4
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "find_clusters"
noise = 1.0
"""

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "cfg.toml").write_text(CONFIG)
    for number in range(2):
        data = np.random.default_rng(number).normal(100, 2, (9, 40)).astype("i2")
        fits.PrimaryHDU(data).writeto(folder / f"raw{number}.fits")
    return folder


def command(inputs: Path, out: Path) -> list[str]:
    files = sorted(str(path) for path in inputs.glob("*.fits"))
    return [
        sys.executable, "-m", "skipstream", "run", str(inputs / "cfg.toml"), *files, "-o", str(out),
        "--threads", "1",
    ]  # fmt: skip


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("[!.]*.fits")
    }


@pytest.fixture(scope="module")
def points(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, str]]:
    """Every (call, its number in the run, error) from the moment at which the folder is locked."""
    log = tmp_path_factory.mktemp("trace") / "log"
    out = tmp_path_factory.mktemp("out")
    trace = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    done = subprocess.run([*trace, *command(inputs, out)], capture_output=True, text=True)
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
            found += [(name[1], numbers[name[1]], error) for error in ERRORS]
    assert len(found) > 500
    return found


def test_a_call_that_fails_harms_nothing(
    inputs: Path, points: list[tuple[str, int, str]], tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(command(inputs, undisturbed), check=True, capture_output=True)
    expected = hashes(undisturbed)
    assert len(expected) == 4
    sample = points if NIGHTLY else random.Random(SEED).sample(points, N_SAMPLES)
    wrong = []
    for call, number, error in sample:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        kind = "signal" if error == "SIGKILL" else "error"
        fault = f"inject={call}:{kind}={error}:when={number}"
        trace = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", fault]
        done = subprocess.run([*trace, *command(inputs, out)], capture_output=True, text=True)
        problems = []
        if done.returncode not in ((-9, 137) if error == "SIGKILL" else (0, 1, 2)):
            problems.append(f"exit code {done.returncode}")
        if "Traceback" in done.stderr or "internal error" in done.stderr:
            problems.append(done.stderr[-300:])
        if done.returncode > 0 and not done.stderr.strip() and error != "SIGKILL":
            problems.append("no message")
        if not hashes(out).items() <= expected.items():
            problems.append("a final name holds other bytes")
        if done.returncode == 0 and hashes(out) != expected:
            problems.append("called done, but is not")
        counts = Ledger(out).counts()
        if counts["seen"] != sum(counts[k] for k in ("done", "partial", "refused", "waiting",
                                                     "in_hand")):  # fmt: skip
            problems.append(f"ledger {counts}")
        again = subprocess.run([*command(inputs, out), "--resume"], capture_output=True, text=True)
        if again.returncode != 0 or hashes(out) != expected:
            problems.append(f"not resumed: {again.stderr[-300:]}")
        if list(out.glob(".*")):
            problems.append("remains")
        if problems:
            wrong.append(f"{call} {number} {error}: {'; '.join(problems)}")
    assert not wrong, f"{len(wrong)} of {len(sample)}:\n" + "\n".join(wrong)
