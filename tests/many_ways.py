"""One image in many ways, and a hash of each: python tests/many_ways.py N SEED FOLDER.

Prints a line per way: the hash, and how the image was processed. FOLDER gets the image's files.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import sys
from pathlib import Path

import fitsio
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from test_invariance import digest

import skipstream as sk
from skipstream import _core

N_ROWS, N_COLS, N_SKIPS = 23, 40, 12
STAGES = [
    {"kind": "compress_skips", "statistics": ["mean", "median", "std", "quantile(0.2)", "mad"]},
    {"kind": "subtract_pedestal", "axis": "both", "n_sigma_to_mask": 4.0},
    {"kind": "calibrate", "gain": 2.0},
    {"kind": "find_clusters", "noise": 1.0, "threshold": 3.0, "keep_pixels": True},
]
INPUT = {"n_skips": N_SKIPS, "overscan_cols": 8}
TILES = {
    "rice": {"compress": "RICE_1"},
    "rice_tiles": {"compress": "RICE_1", "tile_dims": [5, 77]},
    "gzip1": {"compress": "GZIP_1"},
    "gzip2": {"compress": "GZIP_2", "tile_dims": [23, 480]},
}


def samples() -> np.ndarray:
    values = np.random.default_rng(1).normal(1000, 3, (N_ROWS, N_COLS, N_SKIPS))
    values[5:9, 10:14] += 60
    return np.rint(values).astype("u2")


def write_files(folder: Path) -> dict[str, Path]:
    """The same samples as plain, tiled and packed files."""
    data = samples().reshape(N_ROWS, -1)
    files = {"plain": folder / "plain.fits"}
    if not files["plain"].exists():
        with fitsio.FITS(str(files["plain"]), "rw") as fits:
            fits.write(data)
    for name, options in TILES.items():
        files[name] = folder / f"{name}.fits.fz"
        if not files[name].exists():
            with fitsio.FITS(str(files[name]), "rw") as fits:
                fits.write(data, **options)
    for name, module in (("gz", gzip), ("bz2", bz2), ("xz", lzma)):
        files[name] = folder / f"packed.fits.{name}"
        if not files[name].exists():
            files[name].write_bytes(module.compress(files["plain"].read_bytes()))
    return files


def columns(tables: list[np.ndarray]) -> list[np.ndarray]:
    """All but the amplifier's name."""
    return [t[name] for t in tables for name in t.dtype.names if name != "amplifier"]


def pushed(choose: random.Random, dtype: str, chunk_rows: int, threads: int) -> str:
    data = samples().astype(dtype)
    pipeline = sk.Pipeline(
        STAGES, n_cols=N_COLS, n_skips=N_SKIPS, dtype=data.dtype, n_rows=N_ROWS,
        overscan_cols=8, chunk_rows=chunk_rows, threads=threads,
    )  # fmt: skip
    parts = []
    row = 0
    while row < N_ROWS:
        end = min(N_ROWS, row + choose.choice([0, 1, 2, 5, N_ROWS]))
        parts.append(pipeline.push(data[row:end]))
        row = end
    parts.append(pipeline.finish())
    planes = [np.concatenate([p.planes[n] for p in parts]) for n in parts[0].planes]
    mask = np.concatenate([p.mask for p in parts])
    tables = [pipeline.table("clusters"), pipeline.table("cluster_pixels")]
    return digest(*(plane.astype("f4") for plane in planes), mask, *columns(tables))


def run(path: Path, threads: int) -> str:
    config = sk.load_config({"input": INPUT, "stage": STAGES})
    (result,) = sk.run(config, [path], threads=threads)
    assert result.status == "done", result
    assert result.mask is not None
    tables = [result.clusters, result.cluster_pixels]
    return digest(*result.planes.values(), result.mask, *columns(tables))


def main() -> None:
    n, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    files = write_files(folder)
    choose = random.Random(seed)
    for _ in range(n):
        threads = choose.randint(1, 4)
        if choose.random() < 0.6:
            dtype = choose.choice(["<u2", ">u2", "<i2", "<i4", ">i4", ">i8", "<f4", ">f8"])
            chunk_rows = choose.choice([0, 1, 2, 3, 7, 23, 100])
            found = pushed(choose, dtype, chunk_rows, threads)
            how = f"push {dtype} chunk_rows {chunk_rows}"
        else:
            name = choose.choice(list(files))
            found = run(files[name], threads)
            how = f"run {name}"
        print(found, f"{how} threads {threads} SIMD {_core.simd_level()}")


if __name__ == "__main__":
    main()
