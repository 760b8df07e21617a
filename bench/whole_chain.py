"""The whole chain beside a straightforward program that does the same steps on whole images.

    python bench/whole_chain.py [--rows 1000] [--cols 1000] [--skips 500]

Both read one raw file of 16-bit samples: mean, median and standard deviation of the skips,
pedestal from the overscan, gain from single electrons, clusters, noise against the number of
samples, charge loss, spectrum of the noise, dark current; planes are written as FITS. The other
program is NumPy, SciPy and astropy as one writes it, without a loop over pixels or samples. Printed
are the medians of time and peak memory, and their ratios, of processes that run in turn; and the
time of runs with measures over that of compress_skips alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

OVERSCAN, PRESCAN = 60, 8
CONFIG: dict[str, Any] = {
    "input": {"overscan_cols": OVERSCAN, "prescan_cols": PRESCAN},
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "median", "std"]},
        {"kind": "subtract_pedestal", "region": "overscan"},
        {"kind": "calibrate", "gain": "fit"},
        {"kind": "find_clusters", "threshold": 4.0, "seed": 10.0},
    ],
    "measure": [
        {"kind": "noise_vs_skips"},
        {"kind": "charge_loss"},
        {"kind": "noise_spectrum"},
        {"kind": "fit_dark_current", "after": "subtract_pedestal"},
    ],
}
MORE_MEASURES = [
    {"kind": "fit_calibration", "after": "subtract_pedestal"},
    {"kind": "fit_dark_current_slices", "after": "subtract_pedestal", "step": 100},
    {"kind": "find_patterns"},
    {"kind": "quality"},
]
OTHER_MEASURES = [  # with those above, all kinds that one amplifier has
    {"kind": "fit_gaussian"},
    {"kind": "charge_per_axis"},
    {"kind": "fit_column_transient", "after": "subtract_pedestal"},
    {"kind": "measure_cti", "low": 50.0, "high": 5000.0},
    {"kind": "measure_halo", "threshold": 50.0},
]


def ours(path: str, folder: str) -> dict[str, float]:
    import skipstream as sk

    (result,) = sk.run(sk.load_config(CONFIG), [path], output=folder)
    assert result.status == "done", result.message
    return {
        "gain": next(f["value"] for f in result.report["findings"] if f["name"] == "gain"),
        "dark_current": result.measures["fit_dark_current"]["dark_current"],
        "sigma_1": result.measures["noise_vs_skips"]["sigma_1"],
        "n_clusters": result.report["n_clusters"],
    }


def theirs(path: str, folder: str) -> dict[str, float]:
    from astropy.io import fits
    from scipy import ndimage, optimize, special

    with fits.open(path) as hdus:
        image = next(h for h in hdus if h.data is not None)
        n_skips = int(image.header["NDCMS"])
        samples = image.data.reshape(image.data.shape[0], -1, n_skips).astype(float)
    mean, median, std = samples.mean(-1), np.median(samples, -1), samples.std(-1)

    def mad(values: Any) -> float:
        return float(1.4826 * np.median(np.abs(values - np.median(values))))

    pedestal = np.median(mean[:, -OVERSCAN:], axis=1, keepdims=True)
    pixels = mean - pedestal
    active = pixels[:, PRESCAN:-OVERSCAN]
    noise = mad(pixels[:, -OVERSCAN:])
    k = np.arange(6)

    def charge(x: Any, n: float, offset: float, sigma: float, rate: float, gain: float) -> Any:
        weight = rate**k * np.exp(-rate) / special.factorial(k)
        peaks = np.exp(-0.5 * ((x[:, None] - offset - gain * k) / sigma) ** 2)
        return n / sigma / np.sqrt(2 * np.pi) * (peaks @ weight)

    counts, edges = np.histogram(active, 300, (-5 * noise, 25 * noise))
    centres = (edges[1:] + edges[:-1]) / 2
    start = (active.size * (edges[1] - edges[0]), 0.0, noise, 0.1, 8.8 * noise)
    found, _ = optimize.curve_fit(charge, centres, counts, start, np.sqrt(np.maximum(counts, 1)))
    electrons = pixels / found[4]
    labels, n_labels = ndimage.label(electrons > 4 * noise / found[4], np.ones((3, 3)))
    index = np.arange(1, n_labels + 1)
    largest = ndimage.maximum(electrons, labels, index)
    kept = index[largest >= 10 * noise / found[4]]
    table = np.stack([
        ndimage.sum_labels(electrons, labels, kept),
        *np.transpose(ndimage.center_of_mass(electrons, labels, kept)),
        ndimage.sum_labels(np.ones_like(electrons), labels, kept),
    ])  # fmt: skip
    numbers = np.unique(np.geomspace(1, n_skips, 30).astype(int))
    overscan = samples[:, -OVERSCAN:]
    noises = []
    for n in numbers:
        first = overscan[..., :n].mean(-1)
        noises.append(mad(first - np.median(first, axis=1, keepdims=True)))
    lost = samples[..., 0] - samples[..., -1]
    spectrum = np.abs(np.fft.rfft(samples[::64] - samples[::64].mean(-1, keepdims=True))).mean(
        axis=(0, 1)
    )
    hdus = [fits.PrimaryHDU()]
    for plane in (electrons, median - pedestal, std / found[4]):
        hdus.append(fits.ImageHDU(plane.astype("f4")))
    fits.HDUList(hdus).writeto(Path(folder) / "planes.fits", checksum=True)
    np.savez(
        Path(folder) / "rest.npz", table=table, spectrum=spectrum, lost=[lost.mean(), lost.std()]
    )
    return {"gain": found[4], "dark_current": found[3], "sigma_1": noises[0],
            "n_clusters": len(kept)}  # fmt: skip


def with_measures() -> dict[str, tuple[list[Any], list[Any]]]:
    """Stages and measures: a reduction alone, with some, with all of one amplifier."""
    three = ["mean", "median", "std"]
    compress = {"kind": "compress_skips", "statistics": three}
    with_one = {**compress, "statistics": [*three, "sample(0)"]}
    stages = [with_one, *CONFIG["stage"][1:]]
    measures = [*CONFIG["measure"], *MORE_MEASURES]
    return {
        "alone": ([compress], []),
        "some": (stages, measures),
        "all": (stages, [*measures, *OTHER_MEASURES]),
    }


def measures_over_reduction(path: str) -> tuple[float, float]:
    """Seconds of runs with measures over those of a reduction alone, without outputs.

    With the measures of the chain and of the first list, and with all kinds that one amplifier has.
    They run in turn, so that all have the same machine; what is imported late is there already.
    """
    import time

    import skipstream as sk

    configs = {
        name: sk.load_config({**CONFIG, "stage": stages, "measure": measures})
        for name, (stages, measures) in with_measures().items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(10):
        for name, config in configs.items():
            begin = time.perf_counter()
            (result,) = sk.run(config, [path])
            seconds[name].append(time.perf_counter() - begin)
            assert result.status == "done", result.message
    least = {name: min(times[1:]) for name, times in seconds.items()}
    return least["some"] / least["alone"], least["all"] / least["alone"]


def toml_of(stages: list[Any], measures: list[Any]) -> str:
    """A config of these stages and measures; its values are those of JSON, too."""
    import json

    tables = [("[input]", CONFIG["input"])]
    tables += [("[[stage]]", stage) for stage in stages]
    tables += [("[[measure]]", measure) for measure in measures]
    lines = []
    for head, table in tables:
        lines += [head, *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def commands_over_reduction(path: str, folder: str, n_files: int) -> float:
    """Seconds of `skipstream run` with all measures over one with a reduction alone: their medians.

    With all that a user waits for: the program's start, outputs that are on the disk. The command
    gets so many names of the file.
    """
    import shutil
    import statistics
    import subprocess
    import time

    paths = []
    for number in range(n_files):
        paths.append(str(Path(folder) / f"image{number}.fits"))
        Path(paths[-1]).symlink_to(path)
    out = Path(folder) / "out"
    chosen = {name: with_measures()[name] for name in ("alone", "all")}
    for name, of in chosen.items():
        (Path(folder) / f"{name}.toml").write_text(toml_of(*of), encoding="utf-8")
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(7):
        for name, times in seconds.items():
            shutil.rmtree(out, ignore_errors=True)
            config = str(Path(folder) / f"{name}.toml")
            command = [sys.executable, "-m", "skipstream", "run", config, *paths, "-o", str(out)]
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return median["all"] / median["alone"]


def main() -> None:
    # Here, so that neither side waits for what measures it.
    import argparse
    import os
    import shutil
    import statistics
    import subprocess
    import tempfile
    import time

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rows", 1000), ("cols", 1000), ("skips", 500), ("repeat", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "raw.fits")
        command = [sys.executable, "-m", "skipstream", "simulate", path]
        for name in ("rows", "cols", "skips"):
            command += [f"--{name}", str(getattr(options, name))]
        subprocess.run(command, check=True, capture_output=True)
        size = Path(path).stat().st_size
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        mebibytes: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(options.repeat):
            for side in ("ours", "theirs"):
                out = Path(folder) / side
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                begin = time.perf_counter()
                # Imported, as a program's modules are, it is not compiled each time.
                code = f"import whole_chain as w; print(w.{side}({path!r}, {str(out)!r}))"
                child = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdout=subprocess.PIPE,
                    cwd=Path(__file__).parent,
                )
                assert child.stdout is not None
                found = child.stdout.read()
                _, status, usage = os.wait4(child.pid, 0)
                assert status == 0, side
                seconds[side].append(time.perf_counter() - begin)
                mebibytes[side].append(usage.ru_maxrss / 1024)
                print(
                    side,
                    f"{seconds[side][-1]:.2f} s, {mebibytes[side][-1]:.0f} MiB",
                    found.decode(),
                )
        time_, memory = (
            {side: statistics.median(of[side]) for side in of} for of in (seconds, mebibytes)
        )
        print(f"{size / 1e9:.2f} GB: time {time_['theirs'] / time_['ours']:.1f}x, "
              f"peak memory {memory['theirs'] / memory['ours']:.1f}x")  # fmt: skip
        some, all_ = measures_over_reduction(path)
        print(f"8 measures over compress_skips alone: {some:.2f}x; all 13: {all_:.2f}x")
        for n_files in (1, 4):
            images = Path(folder) / f"run{n_files}"
            images.mkdir()
            ratio = commands_over_reduction(path, str(images), n_files)
            print(f"the same of the command with outputs, {n_files} files: all 13: {ratio:.2f}x")


if __name__ == "__main__":
    main()
