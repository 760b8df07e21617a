"""Measure what the README claims: every figure a ratio to something run beside it.

    python bench/figures.py                # all figures, a few minutes, 2 GB of disk
    python bench/figures.py --quick        # the same on a tenth of the data
    python bench/figures.py reading chain  # some of them

Each pair is run in turn, several times; the ratio of the medians is printed, with the spread of
the ratios pair by pair.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import fitsio
import numpy as np

import skipstream as sk
from skipstream import _core
from skipstream.reading import open_samples

CORES = os.cpu_count() or 1
PLANES = ["mean", "median", "std"]


def write_raw(path: Path, n_rows: int, n_cols: int, n_skips: int, dtype: str = "u2") -> None:
    """Write a raw image: Gaussian noise of 20 ADU, drawn once and shuffled by offsets."""
    generator = np.random.default_rng(1)
    pool = generator.normal(10_000, 20, 1 << 22)
    pool = pool.astype(np.float32) if dtype == "f4" else np.rint(pool).astype(dtype)
    with fitsio.FITS(str(path), "rw", clobber=True) as fits:
        fits.create_image_hdu(dims=[n_rows, n_cols * n_skips], dtype=np.dtype(dtype))
        fits[-1].write_key("NDCMS", n_skips)
        fits[-1].write_key("NCOL", n_cols)
        step = max(1, (1 << 22) // (n_cols * n_skips))
        for row in range(0, n_rows, step):
            n = min(step, n_rows - row) * n_cols * n_skips
            start = int(generator.integers(len(pool)))
            rows = np.resize(np.roll(pool, start), n).reshape(-1, n_cols * n_skips)
            fits[-1].write(rows, start=[row, 0])


def read_plainly(path: Path) -> None:
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def reduce_file(path: Path, n_skips: int, statistics: list[str], threads: int) -> np.ndarray:
    """File to planes in memory, by the core alone."""
    (layout,) = sk.read_layout(path).images
    samples = open_samples(layout)
    image = _core.ImageInfo(
        n_cols=layout.n_cols,
        n_skips=n_skips,
        n_rows=layout.n_rows,
        dtype=samples.dtype,
        scale=samples.scale,
        zero=samples.zero,
    )
    planes = np.empty((len(statistics), layout.n_rows, layout.n_cols), np.float32)

    def keep(_stage: int, rows: np.ndarray, _mask: np.ndarray, first_row: int) -> None:
        planes[:, first_row : first_row + rows.shape[1]] = rows

    pipeline = _core.Pipeline(
        [{"kind": "compress_skips", "statistics": statistics}],
        image,
        threads=threads,
        row_multiple=samples.piece_rows,
        taps=[0],
        on_rows=keep,
    )
    samples.feed(pipeline, None)
    pipeline.finish()
    return planes


def reduce_with_numpy(path: Path, n_skips: int) -> None:
    with fitsio.FITS(str(path)) as fits:
        samples = fits[0].read()
    pixels = samples.reshape(len(samples), -1, n_skips)
    pixels.mean(axis=-1)
    np.median(pixels, axis=-1)
    pixels.std(axis=-1)


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def paired(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 5
) -> tuple[float, str]:
    ours()
    theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(repeats)]
    ratio = median(a for a, _ in pairs) / median(b for _, b in pairs)
    each = sorted(a / b for a, b in pairs)
    return ratio, f"{each[0]:.2f} to {each[-1]:.2f}"


def line(what: str, figure: float, floor: str, spread: str = "") -> None:
    print(f"| {what} | {figure:.2f} | {floor} | {spread} |", flush=True)


def figure_reading(folder: Path, scale: int) -> None:
    """Reduction against a plain read of the same file."""
    gigabyte = 10**9 // scale
    path = folder / "raw.fits"
    for n_skips, cases in (
        (2000, [(PLANES, CORES, "1.3"), (PLANES, 1, "2.5"), (["mean", "std"], 1, "1.7")]),
        (500, [(PLANES, CORES, "1.3"), (PLANES, 1, "2.5"), (["mean", "std"], 1, "1.7")]),
        (100, [(PLANES, 1, "3.5")]),
    ):
        n_cols = 250
        write_raw(path, gigabyte // (2 * n_cols * n_skips), n_cols, n_skips)
        for statistics, threads, floor in cases:
            ratio, spread = paired(
                lambda s=statistics, t=threads, n=n_skips: reduce_file(path, n, s, t),
                lambda: read_plainly(path),
                7,
            )
            what = f"{'+'.join(statistics)}, {n_skips} skips, {threads} threads / plain read"
            line(what, ratio, f"at most {floor}", spread)


def figure_numpy(folder: Path, scale: int) -> None:
    """Reduction against fitsio and NumPy, which load the whole file."""
    n_skips, n_cols = 500, 250
    path = folder / "raw.fits"
    for dtype, cases in (
        ("u2", [(1, "50"), (CORES, "90")]),
        ("i4", [(1, "20")]),
        ("f4", [(1, "10")]),
    ):
        n_rows = 3200 // scale
        write_raw(path, n_rows, n_cols, n_skips, dtype)
        for threads, floor in cases:
            ratio, spread = paired(
                lambda: reduce_with_numpy(path, n_skips),
                lambda t=threads: reduce_file(path, n_skips, PLANES, t),
                3,
            )
            line(
                f"fitsio + NumPy / ours, {dtype}, {threads} threads",
                ratio,
                f"at least {floor}",
                spread,
            )


CHAIN = """
[input]
prescan_cols = 8
overscan_cols = {overscan_cols}
[[stage]]
kind = "compress_skips"
statistics = ["mean", "median", "std"]
[[stage]]
kind = "subtract_pedestal"
[[stage]]
kind = "calibrate"
gain = 5.0
[[stage]]
kind = "find_clusters"
noise = {noise}
"""


def chain_config(n_skips: int, overscan_cols: int = 40) -> str:
    """The whole chain for the images of `write_raw`, with their noise in electrons."""
    return CHAIN.format(noise=20 / 5.0 / n_skips**0.5, overscan_cols=overscan_cols)


def run_into(folder: Path, config: sk.Config, path: Path) -> None:
    """Run into a folder of its own: to remove the last run's outputs takes time, too."""
    for result in sk.run(config, [path], output=tempfile.mkdtemp(dir=folder)):
        assert result.status == "done", result


def figure_rice(folder: Path, scale: int) -> None:
    """Decode and reduce RICE tiles against fitsio's decoding alone; and other ways to compress."""
    n_skips, n_cols = 500, 500
    n_rows = 400 // scale
    for dtype in ("i4", "u2"):
        path = folder / f"raw_{dtype}.fits.fz"
        samples = np.random.default_rng(1).normal(10_000, 20, (n_rows, n_cols * n_skips))
        with fitsio.FITS(str(path), "rw") as fits:
            fits.write(np.rint(samples).astype(dtype), compress="RICE_1", header={"NDCMS": n_skips})

        def decode(p: Path = path) -> None:
            with fitsio.FITS(str(p)) as fits:
                for row in range(0, n_rows, 8):
                    fits[1][row : row + 8, :]

        for statistics, threads, floor in (
            (["mean", "std"], 1, "2.5"),
            (["mean", "std"], CORES, "4.25"),
            (PLANES, 1, "1.8"),
        ):
            ratio, spread = paired(
                decode, lambda s=statistics, t=threads, p=path: reduce_file(p, n_skips, s, t), 3
            )
            what = f"{dtype}, {'+'.join(statistics)}, {threads} threads"
            line(f"fitsio's RICE decode / ours with {what}", ratio, f"at least {floor}", spread)


def figure_chain(folder: Path, scale: int) -> None:
    """The whole chain with all outputs against compress_skips alone."""
    path = folder / "raw.fits"
    for n_skips in (100, 500):
        n_cols = 1000
        write_raw(path, 10**9 // scale // (2 * n_cols * n_skips), n_cols, n_skips)
        config = sk.load_config(chain_config(n_skips))
        compress = sk.load_config('[[stage]]\nkind = "compress_skips"\n' + f"statistics = {PLANES}")
        ratio, spread = paired(
            lambda c=config: run_into(folder, c, path),
            lambda n=n_skips: reduce_file(path, n, PLANES, CORES),
            9,
        )
        what = f"{n_skips} skips, {CORES} threads"
        line(f"chain with all outputs / compress to memory, {what}", ratio, "at most 1.25", spread)
        ratio, spread = paired(
            lambda c=config: run_into(folder, c, path),
            lambda c=compress: run_into(folder, c, path),
            9,
        )
        line(f"chain with all outputs / compress to a file, {what}", ratio, "at most 1.25", spread)


def figure_memory(folder: Path, scale: int) -> None:
    """Peak memory above a bare import, in a process of its own."""
    program = (
        "import json, re, sys; import skipstream as sk\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status())[1]) / 1024\n"
        "bare = peak()\n"
        "config = sk.load_config(sys.argv[1])\n"
        "for r in sk.run(config, [sys.argv[2]], output=sys.argv[3], overwrite=True):\n"
        "    assert r.status == 'done', r\n"
        "print(json.dumps(peak() - bare))\n"
    )

    def peak(path: Path, n_skips: int) -> float:
        config = chain_config(n_skips, 0)
        done = subprocess.run(
            [sys.executable, "-c", program, config, str(path), str(folder / "out")],
            check=True,
            capture_output=True,
            text=True,
        )
        return float(json.loads(done.stdout))

    for n_rows, n_cols, n_skips in (
        (1_000, 200, 10),
        (100_000 // scale, 200, 10),
        (1_000 // scale, 200, 5000),
        (10_000 // scale, 20, 5000),
    ):
        path = folder / "raw.fits"
        write_raw(path, n_rows, n_cols, n_skips)
        what = f"MiB above import, {n_rows} rows x {n_cols} cols x {n_skips} skips"
        line(what, peak(path, n_skips), "at most 64")
    n_rows, n_cols, n_skips = 400 // scale, 500, 500
    plain = folder / "raw.fits"
    write_raw(plain, n_rows, n_cols, n_skips)
    samples = fitsio.read(str(plain))
    for ending, settings in (
        ("rice", {"compress": "RICE_1"}),
        ("gzip", {"compress": "GZIP_1"}),
        ("large_tiles", {"compress": "RICE_1", "tile_dims": (n_rows, n_cols * n_skips)}),
    ):
        path = folder / f"raw_{ending}.fits"
        with fitsio.FITS(str(path), "rw") as fits:
            fits.write(samples, header={"NDCMS": n_skips}, **settings)
        line(f"MiB above import, 200 MB as {ending} tiles", peak(path, n_skips), "at most 96")
    del samples
    for ending, opener in ((".gz", gzip.open), (".bz2", bz2.open)):
        packed = folder / f"raw.fits{ending}"
        with opener(packed, "wb", 1) as file, plain.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
        line(f"MiB above import, 200 MB as {ending}", peak(packed, n_skips), "at most 96")


def figure_clusters(folder: Path, scale: int) -> None:
    """find_clusters with all columns against scipy.ndimage.label alone."""
    from scipy import ndimage

    n = 4096 // (4 if scale > 1 else 1)
    uniform = np.random.default_rng(2).random((n, n), dtype=np.float32)
    for fraction in (0.001, 0.3):
        image = np.where(uniform < fraction, np.float32(20), np.float32(0))
        above = image > 4
        for connectivity, structure in ((8, np.ones((3, 3))), (4, None)):
            ratio, spread = paired(
                lambda c=connectivity, i=image: sk.find_clusters(
                    i, threshold=4.0, seed=10.0, noise=1.0, connectivity=c
                ),
                lambda s=structure, a=above: ndimage.label(a, s),
            )
            line(
                f"find_clusters / scipy label, {fraction:.1%} above, {connectivity}-connected",
                ratio,
                "at most 1",
                spread,
            )


def figure_start(folder: Path, scale: int) -> None:
    """Start-up: import against NumPy's, and the help text against a bare interpreter."""
    del folder, scale

    def python(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL
        )

    ratio, spread = paired(python("-c", "import skipstream"), python("-c", "import numpy"), 11)
    line("import skipstream / import numpy", ratio, "at most 1.3", spread)
    pairs = [
        (timed(python("-m", "skipstream", "--help")), timed(python("-c", ""))) for _ in range(11)
    ]
    line(
        "ms of skipstream --help over a bare interpreter",
        1000 * (median(a for a, _ in pairs) - median(b for _, b in pairs)),
        "at most 150",
    )


def figure_growth(folder: Path, scale: int) -> None:
    """Time per sample as one axis grows: flat means linear."""
    path = folder / "raw.fits"
    base = (400 // (2 if scale > 1 else 1), 250, 200)
    for axis, name in enumerate(("rows", "cols", "skips")):
        per_sample = []
        for factor in (1, 2, 4, 8):
            shape = [n * (factor if a == axis else 1) for a, n in enumerate(base)]
            write_raw(path, *shape)
            reduce_file(path, shape[2], PLANES, 1)
            seconds = median(
                timed(lambda s=shape: reduce_file(path, s[2], PLANES, 1)) for _ in range(5)
            )
            per_sample.append(seconds / np.prod(shape))
        line(
            f"time per sample, 8 x the {name} / 1 x",
            per_sample[-1] / per_sample[0],
            "flat",
            ", ".join(f"{1e12 * t:.0f}" for t in per_sample) + " ps",
        )


FIGURES = {
    name.removeprefix("figure_"): function
    for name, function in list(globals().items())
    if name.startswith("figure_")
}


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the claims of the README")
    parser.add_argument(
        "figures", nargs="*", metavar="figure", help=f"some of: {', '.join(FIGURES)}"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--folder", type=Path, help="where to write the images")
    arguments = parser.parse_args()
    for name in arguments.figures:
        if name not in FIGURES:
            parser.error(f"no figure {name!r}; known: {', '.join(FIGURES)}")
    print(f"{CORES} cores, SIMD level {_core.simd_level()}\n")
    print("| what | figure | floor | pair by pair |\n|---|---|---|---|")
    for name in arguments.figures or FIGURES:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            FIGURES[name](Path(folder), 10 if arguments.quick else 1)


if __name__ == "__main__":
    main()
