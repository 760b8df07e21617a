"""A demonstration: simulate a raw image, reduce it, and compare with the truth."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._core import IoError
from .simulate import ENERGY_PER_ELECTRON, Truth, simulate

if TYPE_CHECKING:
    from .plot import Result

__all__ = ["Comparison", "compare", "demo", "demo_config"]


@dataclass(frozen=True)
class Comparison:
    """One line of the demonstration: what was found, beside what is true."""

    quantity: str
    found: str
    true: str
    unit: str


def demo_config(truth: Truth) -> dict[str, Any]:
    """Make the configuration that reduces a simulated image.

    Parameters
    ----------
    truth
        Of the image. Only what an experiment knows of its sensor is used: the columns of prescan
        and overscan, the gain, and the hot columns.

    Returns
    -------
    dict
        As a TOML file would give it to `skipstream.load_config`.
    """
    return {
        "input": {"prescan_cols": truth.prescan_cols, "overscan_cols": truth.overscan_cols},
        "stage": [
            {"kind": "compress_skips", "statistics": ["mean", "median", "std"]},
            {"kind": "mask_columns", "columns": truth.hot_columns[0].tolist()},
            {"kind": "subtract_pedestal", "method": "median", "axis": "row"},
            {"kind": "calibrate", "gain": truth.gain},
            {"kind": "find_clusters", "threshold": 4.0, "seed": 40.0},
        ],
        "output": [
            {"after": "compress_skips", "path": "{stem}_compressed.fits"},
            {"after": "find_clusters", "path": "{stem}_calibrated.fits"},
            {"after": "find_clusters", "path": "{stem}_clusters.fits"},
        ],
    }


def quiet_pixels(result: Result, truth: Truth, *, margin: int = 2) -> NDArray[np.bool_]:
    """Find active, unmasked pixels outside of clusters.

    Parameters
    ----------
    result, truth
        Of the image.
    margin
        Pixels around the box of each cluster that are left out.

    Returns
    -------
    numpy.ndarray
        ``(n_rows, n_cols)``, bool.
    """
    quiet = np.zeros(np.shape(result.mask), bool)
    quiet[:, truth.active_cols] = True
    quiet &= np.asarray(result.mask) == 0
    for cluster in result.clusters:
        rows = slice(max(0, int(cluster["y_min"]) - margin), int(cluster["y_max"]) + margin + 1)
        cols = slice(max(0, int(cluster["x_min"]) - margin), int(cluster["x_max"]) + margin + 1)
        quiet[rows, cols] = False
    return quiet


@dataclass(frozen=True)
class _Reduced:
    """What the chain left in its files."""

    planes: dict[str, NDArray[np.float64]]
    mask: NDArray[np.uint32]
    clusters: NDArray[np.void]


@dataclass(frozen=True)
class _Measured:
    noise: float  # e-, of a pixel
    peak: float  # e-, distance between the peaks of no and of one electron
    peak_error: float
    dark_current: float  # e-/pixel
    dark_error: float


def _measure(result: Result, truth: Truth, quiet: NDArray[np.bool_]) -> _Measured:
    image = np.asarray(result.planes["mean"], float)
    overscan = image[:, truth.active_cols.stop :]
    noise = 1.4826 * float(np.median(np.abs(overscan - np.median(overscan))))
    values = image[quiet]
    zero, one = (values[np.abs(values - n) < 0.5] for n in (0, 1))
    n_zero, n_one = max(1, len(zero)), max(1, len(one))
    # Pixels with one electron over those with none are the mean of a Poisson distribution.
    rate = len(one) / n_zero
    peak = float(np.mean(one) - np.mean(zero)) if len(one) and len(zero) else math.nan
    return _Measured(
        noise,
        peak,
        noise * math.sqrt(1 / n_one + 1 / n_zero),
        rate,
        math.sqrt(len(one)) / n_zero,
    )


def compare(
    result: Result, truth: Truth, *, pedestal: NDArray[np.float64] | None = None
) -> list[Comparison]:
    """Compare a result with the truth of the simulated image.

    Parameters
    ----------
    result
        Of `skipstream.run`, in electrons.
    truth
        Of the image.
    pedestal
        ``(n_rows,)``, as found, ADU.

    Returns
    -------
    list of Comparison
    """
    from .plot import match_clusters

    quiet = quiet_pixels(result, truth)
    measured = _measure(result, truth, quiet)
    events = truth.events[truth.events["amplifier"] == 1]
    matched = match_clusters(events, result.clusters)
    found = matched >= 0
    n_events = np.bincount(matched[found], minlength=max(1, len(result.clusters)))
    alone = found & (n_events[matched] == 1)
    lines = [
        Comparison("gain", f"{truth.gain:.3f} (stated)", f"{truth.gain:.3f}", "ADU/e-"),
        Comparison(
            "single-electron peak",
            f"{measured.peak:.4f} +- {measured.peak_error:.4f}",
            "1",
            "e-",
        ),
        Comparison(
            f"noise after {truth.n_skips} skips",
            f"{measured.noise:.4f}",
            f"{truth.pixel_noise:.4f} = {truth.read_noise:g}/sqrt({truth.n_skips})",
            "e-",
        ),
    ]
    if pedestal is not None:
        difference = pedestal - truth.pedestal[0]
        # The median of n normal values is uncertain by sqrt(pi / 2n).
        expected = math.sqrt(math.pi / 2 / max(1, truth.overscan_cols)) * truth.pixel_noise
        lines.append(
            Comparison(
                "pedestal of the rows",
                f"{pedestal.min():.2f} to {pedestal.max():.2f}",
                f"{truth.pedestal[0].min():.2f} to {truth.pedestal[0].max():.2f}",
                "ADU",
            )
        )
        lines.append(
            Comparison(
                "its error, rms",
                f"{np.sqrt(np.mean(difference**2)):.3f}",
                f"{expected * truth.gain:.3f} expected",
                "ADU",
            )
        )
    lines.append(
        Comparison(
            "dark current by peaks",
            f"{measured.dark_current:.4f} +- {measured.dark_error:.4f}",
            f"{truth.dark_current:.4f}",
            "e-/pixel",
        )
    )
    for kind in dict.fromkeys(events["kind"].tolist()):
        which = events["kind"] == kind
        lines.append(Comparison(f"{kind}s found", f"{(found & which).sum()}", f"{which.sum()}", ""))
    n_other = len(result.clusters) - len(np.unique(matched[found]))
    lines.append(Comparison("clusters of no event", f"{n_other}", "0", ""))
    if alone.any():
        charge = result.clusters["charge"][matched[alone]]
        energy = charge.sum() * ENERGY_PER_ELECTRON / 1000
        true = int(events["charge"][alone].sum())
        ratio = charge / events["charge"][alone]
        lines.append(
            Comparison(
                "energy of these",
                f"{energy:.2f}",
                f"{true * ENERGY_PER_ELECTRON / 1000:.2f}",
                "keV",
            )
        )
        lines.append(Comparison("median charge ratio", f"{np.median(ratio):.4f}", "1", ""))
    return lines


def _print_table(lines: list[Comparison]) -> None:
    heads = ("", "found", "truth", "unit")
    rows = [(line.quantity, line.found, line.true, line.unit) for line in lines]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        # Fits 80 columns.
        table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        print("  ".join(padded).rstrip())


def demo(
    folder: str | Path,
    *,
    n_rows: int = 200,
    n_cols: int = 400,
    n_skips: int = 300,
    seed: int = 1,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Simulate a raw skipper image, run the whole chain on it, and show what came out.

    Writes the image and its truth, the outputs of the chain, and the picture ``demo.png``; prints
    what was found beside the truth.

    Parameters
    ----------
    folder
        Where to write; created if need be.
    n_rows, n_cols, n_skips, seed
        Of the image; see `skipstream.simulate.simulate`.
    overwrite
        Replace files of an earlier demonstration.
    say
        Takes lines about what is going on.

    Returns
    -------
    pathlib.Path
        The picture.

    Raises
    ------
    FileExistsError
        A file exists and `overwrite` is not asked for.
    """
    from .config import load_config
    from .plot import plot_summary
    from .running import run

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    raw_path, picture = folder / "demo_raw.fits", folder / "demo.png"
    if picture.exists() and not overwrite:
        raise FileExistsError(f"{picture}: exists; choose another folder or ask to overwrite it")
    begin = time.perf_counter()
    truth = simulate(
        raw_path,
        n_rows=n_rows,
        n_cols=n_cols,
        n_skips=n_skips,
        seed=seed,
        overwrite=overwrite,
        dark_current=0.1,
        n_points=16,
        point_energy_kev=(0.2, 8.0),
        n_tracks=6,
    )
    simulated = time.perf_counter()
    megabytes = raw_path.stat().st_size / 1e6
    say(
        f"simulated {raw_path}: {n_rows} rows x {n_cols} columns x {n_skips} skips, "
        f"{megabytes:.0f} MB in {simulated - begin:.1f} s"
    )
    config = load_config(demo_config(truth))
    (image,) = run(config, [raw_path], output=folder, overwrite=overwrite)
    if image.status != "done" or image.clusters is None:
        raise IoError(f"{raw_path}: {image.message}")
    seconds = time.perf_counter() - simulated
    say(f"reduced to clusters in {seconds:.2f} s, {megabytes / seconds:.0f} MB/s\n")
    calibrated = folder / "demo_raw_calibrated.fits"
    result = _Reduced(
        {"mean": _read_plane(calibrated, "MEAN")},
        _read_plane(calibrated, "MASK").astype(np.uint32),
        image.clusters,
    )
    raw = _read_plane(folder / "demo_raw_compressed.fits", "MEAN")
    # What was subtracted, row by row; the median leaves out what rounding to float32 does.
    subtracted = raw - truth.gain * np.asarray(result.planes["mean"], float)
    pedestal = np.nanmedian(subtracted, axis=1)
    _print_table(compare(result, truth, pedestal=pedestal))
    quiet = quiet_pixels(result, truth)
    measured = _measure(result, truth, quiet)
    figure = plot_summary(
        result,
        truth,
        raw=raw,
        pedestal=pedestal,
        noise=measured.noise,
        dark_current=measured.dark_current,
        select=quiet,
        title=f"skipstream demo: {n_rows} rows \N{MULTIPLICATION SIGN} {n_cols} columns "
        f"\N{MULTIPLICATION SIGN} {n_skips} skips",
    )
    figure.savefig(picture, dpi=110)
    say(f"\npicture: {picture}")
    return picture


def _read_plane(path: Path, name: str) -> NDArray[np.float64]:
    import fitsio

    with path.open("rb"):  # a plain error where there is no such file
        pass
    with fitsio.FITS(str(path)) as hdus:
        return np.asarray(hdus[name].read(), float)
