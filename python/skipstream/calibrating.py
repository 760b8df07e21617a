"""Calibration files: the gain of every amplifier, fitted once, for runs that stream."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from .charge import fit_calibration, fit_dark_current
from .config import Config, load_config
from .fitting import FitResult, goodness
from .outputs import whole_file
from .reference import toml_value
from .running import run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DEFAULT_STAGES", "AmplifierCalibration", "calibrate", "write_calibration"]

#: Stages up to pixels in ADU. The lowest peak of the active pixels needs no overscan, and charge
#: does not pull it.
DEFAULT_STAGES = {
    "stage": [
        {"kind": "compress_skips"},
        {"kind": "subtract_pedestal", "method": "lowest_peak", "region": "active"},
    ]
}
_QUANTITIES = {  # name in the file: parameter of the fit, unit
    "gain": "adu/electron",
    "noise_electron": "electron",
    "dark_current": "electron/pixel",
}


@dataclass(frozen=True)
class AmplifierCalibration:
    """What the files say of one amplifier.

    Attributes
    ----------
    amplifier
        Its name.
    values, errors
        ``gain`` (adu/electron), ``noise_electron`` (electron) and ``dark_current``
        (electron/pixel): means over the files, weighted by their errors; NaN where no fit
        succeeded.
    chi2, n_dof, p_value
        Of the gains of the files around their mean: a small probability tells of a drift.
    fits
        Path of each file, and its fits: that of the charge, and that of the peaks.
    problems
        Why a file does not count.
    """

    amplifier: str
    values: dict[str, float]
    errors: dict[str, float]
    chi2: float
    n_dof: int
    p_value: float
    fits: tuple[tuple[Path, FitResult, FitResult], ...]
    problems: tuple[str, ...]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the gain of every file, and their mean."""
        from .plot import plot_gains

        return plot_gains(self, ax)


def calibrate(
    paths: Iterable[str | Path],
    config: Config | None = None,
    *,
    threads: int | None = None,
) -> list[AmplifierCalibration]:
    """Fit the gain of every amplifier to the single electrons in the active pixels of some files.

    The gain is that of `fit_calibration` where peaks stand apart, else of `fit_dark_current`.

    Parameters
    ----------
    paths
        FITS files, read one after another: memory does not grow with their number.
    config
        The stages before the calibration, up to pixels in ADU. Default: `DEFAULT_STAGES`.
    threads
        Threads that share a file.

    Raises
    ------
    ConfigError
        The config has a stage ``calibrate``.
    """
    config = config or load_config(DEFAULT_STAGES)
    if any(stage["kind"] == "calibrate" for stage in config.stages):
        raise _core.ConfigError("calibrate: the stages must end before the stage calibrate")
    fits: dict[str, list[tuple[Path, FitResult, FitResult]]] = {}
    problems: dict[str, list[str]] = {}
    for result in run(config, paths, threads=threads):
        if result.status == "failed":
            problems.setdefault(result.amplifier, []).append(result.message)
            continue
        assert result.mask is not None  # nothing is written, so the planes are here
        begin_row, end_row, begin_col, end_col = result.report["active"]
        active = slice(begin_row, end_row), slice(begin_col, end_col)
        pixels, mask = next(iter(result.planes.values()))[active], result.mask[active]
        charge = fit_dark_current(pixels, mask=mask)
        peaks = fit_calibration(pixels, mask=mask, whole=charge)
        found = fits.setdefault(result.amplifier, [])
        if charge.status == "ok":
            found.append((result.path, charge, peaks))
        else:
            problems.setdefault(result.amplifier, []).append(f"{result.path}: {charge.reason}")
    if lost := problems.pop("", []):  # whole files, of no amplifier
        for name in fits:
            problems.setdefault(name, []).extend(lost)
        if not fits:
            raise _core.FitsError("\n".join(lost))
    return [
        _combined(name, fits.get(name, []), problems.get(name, []))
        for name in dict.fromkeys([*fits, *problems])
    ]


def _combined(
    amplifier: str, fits: Sequence[tuple[Path, FitResult, FitResult]], problems: Sequence[str]
) -> AmplifierCalibration:
    values = dict.fromkeys(_QUANTITIES, math.nan)
    errors = dict(values)
    chi2 = math.nan
    for name in _QUANTITIES:
        chosen = [
            peaks if name != "dark_current" and peaks.status == "ok" else charge
            for _, charge, peaks in fits
        ]
        if not chosen:
            break
        each = np.array([fit[name] for fit in chosen])
        weight = np.array([fit.errors[name] for fit in chosen]) ** -2
        values[name] = float(np.sum(weight * each) / weight.sum())
        errors[name] = float(weight.sum() ** -0.5)
        if name == "gain":
            chi2 = float(np.sum(weight * (each - values[name]) ** 2))
    n_dof = max(0, len(fits) - 1)
    probability = goodness(chi2, n_dof) if n_dof else math.nan
    return AmplifierCalibration(
        amplifier, values, errors, chi2, n_dof, probability, tuple(fits), tuple(problems)
    )


def write_calibration(
    path: str | Path, amplifiers: Sequence[AmplifierCalibration], *, overwrite: bool = False
) -> None:
    """Write a calibration file, as `calibrate.gain` of a config takes it.

    Amplifiers whose fits failed are left out: a run that meets them says so.

    Raises
    ------
    ConfigError
        The file exists, or no amplifier has a gain.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise _core.ConfigError(f"{path}: exists; use --overwrite")
    good = [a for a in amplifiers if math.isfinite(a.values["gain"])]
    if not good:
        told = [p for a in amplifiers for p in a.problems]
        raise _core.ConfigError("no amplifier has a gain:\n" + "\n".join(told))
    lines = [f"# skipstream {_core.__version__}: gain and noise from single electrons", ""]
    for name, unit in _QUANTITIES.items():
        lines.append(f"[{name}]  # {unit}")
        for a in good:
            key = toml_value(a.amplifier)
            lines.append(f"{key} = {a.values[name]!r}  # +- {a.errors[name]:.2g}")
        lines.append("")
    files = [str(fit[0]) for a in good[:1] for fit in a.fits]
    lines += ["[input]", f"files = {toml_value(files)}", ""]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
