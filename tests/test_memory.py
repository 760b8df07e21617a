"""Memory is what the plan says, and a limit is obeyed, or the run refused before it reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits

MIB = 1 << 20
CHAINS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"kind": "compress_skips", "statistics": ["mean", "median", "std"]}],
    "barrier": [{"kind": "compress_skips"}, {"kind": "subtract_pedestal", "axis": "both"}],
    "clusters": [
        {"kind": "compress_skips"},
        {"kind": "subtract_pedestal"},
        {"kind": "find_clusters", "threshold_unit": "absolute", "threshold": 1e9, "seed": 1e9},
    ],
    "in order": [{"kind": "correct_leach"}, {"kind": "compress_skips"}],
}
# Runs files in a process of its own: what each result and the process's peak are.
MEASURE = """
import json, re, sys
import skipstream as sk

def number(file, word):
    return int(re.search(word + r":\\s*(\\d+)", open(file).read())[1])

tables, folder, runs = json.loads(sys.argv[1])
config = sk.load_config(tables)
found = []
for name, limit in runs:
    read = number("/proc/self/io", "rchar")
    (result,) = sk.run(
        config, [name], output=folder, overwrite=True, threads=2, memory_limit=limit
    )
    found.append({
        "peak": number("/proc/self/status", "VmHWM") * 1024,
        "read": number("/proc/self/io", "rchar") - read,
        "planned": result.report.get("plan", {}).get("total_bytes"),
        "status": result.status,
        "message": result.message,
    })
print(json.dumps(found))
"""


def measure(chain: str, files: Path, name: str, out: Path, limits: list[int | None]) -> Any:
    """What became of the tiny file, then of the named one within each limit, rising."""
    tables = {"input": {"n_skips": "NDCMS"}, "stage": CHAINS[chain]}
    runs = [(files / "tiny.fits", limits[0]), *((files / f"{name}.fits", n) for n in limits)]
    given = json.dumps([tables, str(out), [(str(path), limit) for path, limit in runs]])
    done = subprocess.run([sys.executable, "-c", MEASURE, given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_raw(path: Path, n_rows: int, n_cols: int, n_skips: int) -> None:
    """A plain image of noise that repeats; written in parts, as it may be larger than memory."""
    header = fits.Header()
    header["SIMPLE"] = True
    header["BITPIX"] = 16
    header["NAXIS"] = 2
    header["NAXIS1"] = n_cols * n_skips
    header["NAXIS2"] = n_rows
    header["NDCMS"] = n_skips
    part = np.random.default_rng(1).normal(1000, 10, 1 << 19).astype(">i2").tobytes()
    n_bytes = n_rows * n_cols * n_skips * 2
    with path.open("wb") as file:
        file.write(header.tostring().encode())
        for done in range(0, n_bytes, len(part)):
            file.write(part[: n_bytes - done])
        file.write(bytes(-n_bytes % 2880))


def write_tiles(
    path: Path, shape: tuple[int, int, int], codec: str, dtype: str, **more: Any
) -> None:
    n_rows, n_cols, n_skips = shape
    data = np.random.default_rng(1).normal(1000, 10, (n_rows, n_cols * n_skips)).astype(dtype)
    with fitsio.FITS(str(path), "rw") as file:
        file.write(data, compress=codec, header={"NDCMS": n_skips}, **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_raw(folder / "tiny.fits", 4, 10, 10)
    write_raw(folder / "wide.fits", 1, 100_000, 2000)
    write_raw(folder / "wide row.fits", 2, 5000, 2000)
    write_raw(folder / "narrow.fits", 2_000_000, 1, 10)
    write_raw(folder / "many skips.fits", 200, 200, 5000)
    write_raw(folder / "many columns.fits", 2, 3_000_000, 2)
    write_tiles(folder / "rice.fits", (2, 10_000, 2000), "RICE", "u2")
    write_tiles(folder / "rice floats.fits", (2, 10_000, 1000), "RICE", "f4", qlevel=4)
    write_tiles(folder / "rice in parts.fits", (64, 500, 1000), "RICE", "u2", tile_dims=(4, 2000))
    write_tiles(folder / "gzip.fits", (2, 10_000, 1000), "GZIP", "u2")
    write_tiles(folder / "gzip floats.fits", (2, 5000, 1000), "GZIP_2", "f4", qlevel=0)
    write_tiles(folder / "hcompress.fits", (32, 1000, 1000), "HCOMPRESS", "i4")
    return folder


# Which limits (MiB) are enough; the program itself takes some 40.
ENOUGH = {
    ("plain", "wide"): (64, 96, 128),
    ("plain", "narrow"): (64, 96, 128),
    ("plain", "many skips"): (64, 96, 128),
    ("plain", "many columns"): (),
    ("plain", "rice"): (64, 96, 128),
    ("plain", "rice in parts"): (64, 96, 128),
    ("plain", "gzip"): (),
    ("barrier", "wide"): (64, 96, 128),
    ("barrier", "narrow"): (128,),
    ("barrier", "many skips"): (64, 96, 128),
    ("barrier", "many columns"): (),
    ("barrier", "rice"): (64, 96, 128),
    ("clusters", "wide"): (64, 96, 128),
    ("clusters", "rice"): (64, 96, 128),
    ("clusters", "many columns"): (),
    ("in order", "wide"): (),
    ("in order", "many skips"): (64, 96, 128),
}


@pytest.mark.parametrize(("chain", "name"), ENOUGH)
def test_a_limit_is_obeyed_or_the_run_refused_before_it_reads(
    chain: str, name: str, files: Path, tmp_path: Path
) -> None:
    limits = (64, 96, 128)
    tiny, *found = measure(chain, files, name, tmp_path, [limit * MIB for limit in limits])
    assert tiny["status"] == "done", tiny["message"]
    for limit, large in zip(limits, found, strict=True):
        if limit in ENOUGH[chain, name]:
            assert large["status"] == "done", large["message"]
            assert large["peak"] <= 1.1 * limit * MIB
        else:
            assert large["status"] == "failed"
            assert large["peak"] <= 1.1 * limit * MIB
            needs = re.search(r"needs ([\d.]+) MiB: .* leaves ([\d.]+) MiB", large["message"])
            assert needs is not None, large["message"]
            assert float(needs[1]) > float(needs[2])
            # The end of a file is looked at: rows of zeros were perhaps never written.
            assert large["read"] < (16 if name == "many columns" else 3) * MIB


# What Python and the system's allocator need beside the plan.
BESIDE = 4 * MIB


@pytest.mark.parametrize(
    ("chain", "name"),
    [
        *ENOUGH,
        ("in order", "wide row"),
        ("plain", "rice floats"),
        ("plain", "gzip floats"),
        ("plain", "hcompress"),
    ],
)
def test_memory_is_what_the_plan_says(chain: str, name: str, files: Path, tmp_path: Path) -> None:
    tiny, large = measure(chain, files, name, tmp_path, [None])
    assert large["status"] == "done", large["message"]
    assert large["peak"] - tiny["peak"] <= large["planned"] + BESIDE
