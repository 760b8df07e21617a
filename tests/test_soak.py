"""Many files in one process: memory, descriptors and threads stay as they are."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from astropy.io import fits

import skipstream as sk

N_FILES = 100_000 if os.environ.get("SKIPSTREAM_NIGHTLY") else 3000
CONFIG = {
    "input": {"n_skips": 4, "overscan_cols": 8},
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "median", "std"]},
        {"kind": "subtract_pedestal"},
        {"kind": "find_clusters", "threshold": 2.0},
    ],
    "output": [
        {"after": "find_clusters", "path": "{stem}_planes.fits"},
        {"after": "find_clusters", "path": "{stem}_clusters.fits"},
    ],
}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main(folder: Path) -> None:
    random = np.random.default_rng(1)
    originals = []
    for number in range(10):
        originals.append(folder / f"original{number}.fits")
        fits.PrimaryHDU(random.normal(100, 2, (12, 160)).astype("i2")).writeto(originals[-1])
    originals[9].write_bytes(originals[9].read_bytes()[:-3000])  # one of ten is cut off
    paths = [folder / f"raw{number}.fits" for number in range(N_FILES)]
    for number, path in enumerate(paths):
        os.link(originals[number % 10], path)
    config = sk.load_config(CONFIG)
    before = (0, 0, 0)
    statuses = {"done": 0, "partial": 0}
    run = sk.run(config, paths, output=folder / "out", threads=2)
    for number, result in enumerate(run):
        statuses[result.status] += 1
        for output in result.outputs:
            output.unlink()
        if number == 1000:
            gc.collect()
            before = (resident(), descriptors(), threading.active_count())
        elif number == N_FILES - 1:
            gc.collect()
            grown = resident() - before[0]
            assert grown <= 1 << 20, f"{grown} bytes"
            assert descriptors() <= before[1]
            assert threading.active_count() == before[2]
    assert statuses == {"done": N_FILES * 9 // 10, "partial": N_FILES // 10}


def test_thousands_of_files_leave_nothing_behind(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else tmp_path))
    # In a process of its own, with one heap: in a busy one the C library begins another heap for a
    # thread at any time, of some MB, once and for all.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, __file__, str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
