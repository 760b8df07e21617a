"""Single-electron physics from the distribution of pixel charges: gain, noise, dark current."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import (
    FitError,
    FitResult,
    Floats,
    Histogram,
    Series,
    failed,
    goodness,
    histogram_of,
    linear_fit,
    minimise,
    sorted_usable,
)

__all__ = [
    "dark_current_of",
    "dark_current_rate",
    "fit_calibration",
    "fit_dark_current",
    "fit_dark_current_slices",
    "fit_gain",
]

_SECONDS_PER_DAY = 86_400.0
_MAX_PEAKS = 80
_MAX_RATE = 50.0
# Electrons of noise from which on peaks overlap, and electrons of a pixel from which on the lowest
# peak does not help to tell charge from noise: with the gain fitted, and held.
_OVERLAP = 0.35
_MANY, _MANY_IF_HELD = 2.0, 5.0
_CLEAR = 0.8  # electrons of a pixel up to which the lowest peak is that of no electron
_CERTAIN = 16.0  # by which the likelihood must prefer an offset to that of one electron more
_N_STARTS = 4
_FEW_ELECTRONS = tuple(map(float, np.geomspace(1e-4, 3, 6)))
# Mean square of the differences between counts and fit, in parts of the counts: what cannot be by
# chance is noted where it is above 10 %, and no fit where it is above 22 %. A real image with its
# tracks has 18 %.
_NOTED_MISFIT, _WORST_MISFIT = 0.01, 0.05


def _between(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Those of sorted values that lie between two others."""
    (begin,) = _core.counts_below(values, np.array([low]), is_right=True)
    (end,) = _core.counts_below(values, np.array([high]))
    return values[begin:end]


def _periods(data: Histogram, shortest: float) -> Floats:
    """Distances at which the counts repeat: the largest summits of their Fourier transform."""
    length = data.edges[-1] - data.edges[0]
    if not length < 1e6 * shortest:
        return np.empty(0)
    frequency = np.arange(1.5 / length, 1 / shortest, 0.2 / length)
    if len(frequency) < 3:
        return np.empty(0)
    # No BLAS, whose threads go on spinning for longer than this takes.
    size = np.abs(np.sum(np.exp(2j * np.pi * frequency[:, None] * data.centres) * data.counts, 1))
    summit = np.flatnonzero((size[1:-1] > size[:-2]) & (size[1:-1] > size[2:])) + 1
    return np.asarray(1 / frequency[summit[np.argsort(size[summit])[-6:]]])


def _starting_points(
    data: Histogram, values: NDArray[Any], peak: float, noise: float, gain: float | None
) -> list[dict[str, float]]:
    """The best of a grid over gain, rate and the number of electrons of the lowest peak."""
    top = float(data.edges[-1]) - peak
    gains = np.array([gain]) if gain else np.concatenate([
        np.geomspace(1.2 * noise, max(2.5 * noise, top), 70), _periods(data, 1.2 * noise)
    ])  # fmt: skip
    n_lowest = 1 + np.minimum(12, (peak - data.edges[0]) // gains).astype(int)
    gains = np.repeat(gains, n_lowest)
    electrons = np.concatenate([np.arange(n) for n in n_lowest])
    offsets = peak - electrons * gains
    about = np.maximum((float(values.mean(dtype=np.float64)) - offsets) / gains, 1e-4)
    few = np.where(electrons[:, None] == 0, _FEW_ELECTRONS, np.nan)
    rates = np.concatenate([about[:, None] * (0.3, 0.7, 1.0, 1.3), few], axis=1)
    n_peaks = np.minimum(_MAX_PEAKS, (data.edges[-1] - offsets) // gains + 3)
    number, which = np.nonzero(np.isfinite(rates))  # those of one place follow one another
    tried = np.stack(
        [offsets[number], rates[number, which], gains[number], n_peaks[number]], axis=1
    )
    costs = _core.charge_shape_costs(data.edges, data.counts, noise, tried)
    starts: list[dict[str, float]] = []
    for offset, rate, g, _ in tried[np.argsort(costs, kind="stable")].tolist():
        known = [s for s in starts if abs(math.log(g / s["gain"])) < 0.15]
        if all(abs(offset - s["offset"]) > g / 2 for s in known):
            starts.append({"n": float(len(values)), "offset": offset, "noise": noise,
                           "rate": rate, "gain": g})  # fmt: skip
        if len(starts) == _N_STARTS:
            break
    return starts


def _fit_range(
    values: NDArray[Any], low: float, high: float, width: float, unit: str,
    starts: Sequence[dict[str, float]], is_held: bool, *, is_rough: bool = False,
) -> tuple[Any, float, Histogram, Floats] | str:  # fmt: skip
    """Fit the pixels between two values; the best of all starts."""
    data = histogram_of(values, low, high, width, unit, is_sorted=True)
    cost = _core.ChargeCost(data.edges, data.counts, high, _MAX_PEAKS)
    noise = starts[0]["noise"]
    # A gain that is held must not be: a limit would move it.
    limits = {"n": (0, None), "noise": (noise / 20, noise * 20), "rate": (0, _MAX_RATE),
              "gain": (0 if is_held else noise / 5, None),
              "offset": (low - (high - low), high)}  # fmt: skip
    fixed = ["gain"] if is_held else []
    fitted = minimise(cost, starts, limits, fixed=fixed, gradient=cost.gradient, is_rough=is_rough)
    if isinstance(fitted, str):
        return fitted
    minuit, chi2 = fitted
    return minuit, chi2, data, cost.expected(*minuit.values)


def _shifted(start: dict[str, float], steps: Sequence[int]) -> list[dict[str, float]]:
    """The same peaks, with so many electrons more in each of them."""
    return [
        {**start, "offset": start["offset"] - k * start["gain"], "rate": start["rate"] + k}
        for k in steps
        if start["rate"] + k > 0
    ]


def _dark_current_units(unit: str) -> dict[str, str]:
    return {
        "gain": f"{unit}/electron",
        "noise": unit,
        "noise_electron": "electron",
        "offset": unit,
        "dark_current": "electron/pixel",
    }


def fit_dark_current(
    pixels: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    gain: float | None = None,
    n_peaks: int | None = None,
    bin_width: float | None = None,
    unit: str = "adu",
) -> FitResult:
    """Fit Poisson-distributed charge with Gaussian noise to the distribution of pixel values.

    The expected counts of a bin are ``N sum_n P(n; lambda) [Phi(b_n) - Phi(a_n)]``, where P is the
    Poisson probability of n electrons and the Gaussian integral goes over the bin, with peaks at
    ``offset + gain n``. The likelihood is binned and extended (Poisson), and minimised by iminuit
    from starting points that are sought on a grid over the whole range of gains: none is asked for.

    Parameters
    ----------
    pixels
        Any shape, pedestal subtracted or not; NaN is left out.
    mask
        Of the same shape: pixels where it is not 0 are left out.
    gain
        ADU per electron, held; default: fitted, which needs pixels with an electron.
    n_peaks
        Charges from 0 to ``n_peaks - 1`` electrons take part; pixels with more are left out.
        Default: 5, or as many as the rate asks for.
    bin_width
        Default: a fifth of the noise.
    unit
        Of the pixels.

    Returns
    -------
    FitResult
        ``gain`` (unit/electron), ``noise`` (unit), ``noise_electron`` (electron), ``offset``
        (unit), ``dark_current`` (electron/pixel), with the histogram. Failed, with the reason,
        where there are fewer than 100 pixels, or no electron is seen and `gain` is not given, or so
        many overlap that charge, noise and the peak of no electron are not certain.

    Raises
    ------
    ConfigError
        A parameter is impossible, or the shapes differ.
    """
    values = sorted_usable(pixels, mask, "fit_dark_current")
    return dark_current_of(values, gain=gain, n_peaks=n_peaks, bin_width=bin_width, unit=unit)


def dark_current_of(
    values: NDArray[Any],
    *,
    gain: float | None = None,
    n_peaks: int | None = None,
    bin_width: float | None = None,
    unit: str = "adu",
    near: FitResult | None = None,
) -> FitResult:
    """`fit_dark_current` of pixels that are `sorted_usable`.

    `near` is a fit of pixels of the same kind: where their peak of no electron is that of these
    pixels, too, there is no need to seek a start.
    """
    if n_peaks is not None and n_peaks < 2:
        raise _core.ConfigError(f"fit_dark_current.n_peaks: must be at least 2; got {n_peaks}")
    if gain is not None and not gain > 0:
        raise _core.ConfigError(f"fit_dark_current.gain: must be above 0; got {gain}")
    name, units = "dark current", _dark_current_units(unit)
    if len(values) < 100:
        return failed(name, units, f"needs at least 100 pixels; got {len(values)}", n=len(values))
    peak, noise = _core.lowest_peak(values, are_sorted=True)
    if not noise > 0:
        return failed(name, units, "the pixels of the lowest peak have no width", n=len(values))
    # Before the gain is known: all that may be the bulk, and single electrons behind it.
    # A tenth of the pixels may belong to tracks.
    fewest, half, most = (float(values[int(q * (len(values) - 1))]) for q in (5e-4, 0.5, 0.9))
    low = max(min(peak - 5 * noise, fewest - 2 * noise), peak - 60 * noise)
    high = max(peak + 15 * noise, half + 2.5 * (most - half) + 3 * noise)
    high = min(high, max(float(values[-1]), peak + 6 * noise) + noise, peak + 500 * noise)
    coarse = histogram_of(values, low, high, noise / 3, unit, is_sorted=True)
    is_held = gain is not None
    no_electron = "no single-electron peak stands out; give the gain"
    if (
        near is not None
        and gain is not None
        and near["dark_current"] < _CLEAR
        and abs(peak - near["offset"]) < gain / 2
    ):
        start = {"n": float(len(values)), "offset": near["offset"], "noise": near["noise"],
                 "rate": near["dark_current"], "gain": gain}  # fmt: skip
    else:
        inside = _between(values, low, high)
        starts = _starting_points(coarse, inside, peak, noise, gain)
        rough = _fit_range(values, low, high, noise / 3, unit, starts, is_held, is_rough=True)
        if isinstance(rough, str):
            return failed(name, units, rough, coarse, len(values))
        start = dict(zip(starts[0], rough[0].values, strict=True))
        if start["rate"] > _CLEAR:  # the peak of no electron may be another one than it seems
            moved = _shifted(start, (-1, 0, 1, 2))
            again = _fit_range(values, low, high, noise / 3, unit, moved, is_held, is_rough=True)
            if not isinstance(again, str) and again[1] < rough[1]:
                start = dict(zip(moved[0], again[0].values, strict=True))
        if not is_held and start["gain"] > high - low:  # it left the pixels behind
            return failed(name, units, no_electron, coarse, len(values))
    rate = start["rate"]
    n_shown = n_peaks or max(5, math.ceil(rate + 5 * math.sqrt(rate)) + 1)
    low = start["offset"] - 5 * start["noise"]
    high = start["offset"] + start["gain"] * (n_shown - 0.5)
    width = bin_width or start["noise"] / 5
    final = _fit_range(values, low, high, width, unit, [start], is_held)
    if isinstance(final, str):
        return failed(name, units, final, coarse, len(values))
    minuit, chi2, data, expected = final
    n_dof = len(data.counts) - minuit.nfit
    v, e = minuit.values, minuit.errors
    if gain is None and (not v["rate"] > 4 * e["rate"] or not v["gain"] > 4 * e["gain"]):
        return failed(name, units, no_electron, data, len(values))
    noise_electron = v["noise"] / v["gain"]
    if v["rate"] > 0.99 * _MAX_RATE:
        reason = f"there are more than {_MAX_RATE:g} electrons in a pixel"
        return failed(name, units, reason, data, len(values))
    if noise_electron > _OVERLAP and v["rate"] > (_MANY if gain is None else _MANY_IF_HELD):
        reason = (
            f"charge and noise cannot be told apart: the noise is {noise_electron:.2g} electron"
        )
        return failed(name, units, reason, data, len(values))
    if v["rate"] > _CLEAR:
        fitted = dict(zip(start, v, strict=True))
        for shifted in _shifted(fitted, (-1, 1)):
            other = _fit_range(values, low, high, width, unit, [shifted], is_held)
            if isinstance(other, str):
                continue
            is_another = abs(other[0].values["offset"] - v["offset"]) > v["gain"] / 2
            if is_another and other[1] < chi2 + _CERTAIN:
                reason = "which peak is that of no electron is not certain"
                return failed(name, units, reason, data, len(values))
    p_value = goodness(chi2, n_dof)
    misfit = (chi2 - n_dof) / max(float(data.counts.sum()), 1.0) if p_value < 1e-6 else 0.0
    if misfit > _WORST_MISFIT:
        reason = (
            f"the counts differ from the best fit by {100 * math.sqrt(misfit):.0f} %: subtract the "
            "pedestals, mask clusters, or leave columns out that hold other charge"
        )
        return failed(name, units, reason, data, len(values))
    covariance = minuit.covariance
    relative = (e["noise"] / v["noise"]) ** 2 + (e["gain"] / v["gain"]) ** 2 * (gain is None)
    if gain is None and covariance is not None:
        relative -= 2 * covariance["noise", "gain"] / (v["noise"] * v["gain"])
    notes: tuple[str, ...] = ("the gain was held",) if gain else ()
    if misfit > _NOTED_MISFIT:
        notes += (f"the counts differ from the fit by {100 * math.sqrt(misfit):.0f} %",)
    return FitResult(
        name,
        {"gain": v["gain"], "noise": v["noise"], "noise_electron": noise_electron,
         "offset": v["offset"], "dark_current": v["rate"]},
        {"gain": 0.0 if gain else e["gain"], "noise": e["noise"],
         "noise_electron": noise_electron * math.sqrt(max(relative, 0.0)), "offset": e["offset"],
         "dark_current": e["rate"]},
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=p_value,
        n_values=int(data.counts.sum()),
        data=data,
        model=expected,
        notes=notes,
    )  # fmt: skip


def dark_current_rate(
    electrons: float,
    *,
    exposure_s: float,
    read_s: float = 0.0,
    serial_binning: int = 1,
    parallel_binning: int = 1,
) -> float:
    """Dark current in electron/pixel/day from electrons per (binned) pixel and image.

    ``electrons / binning * 86400 / (exposure + read / 2)``: a pixel waits half of the readout on
    average.

    Raises
    ------
    ConfigError
        The time is not above 0.
    """
    time = exposure_s + read_s / 2
    if not time > 0:
        raise _core.ConfigError(f"dark_current_rate: the time must be above 0 s; got {time}")
    return electrons / (serial_binning * parallel_binning) * _SECONDS_PER_DAY / time


def fit_dark_current_slices(
    pixels: ArrayLike,
    *,
    axis: int = 0,
    step: int = 10,
    mask: ArrayLike | None = None,
    gain: float | None = None,
    whole: FitResult | None = None,
    **parameters: Any,
) -> tuple[list[FitResult], FitResult]:
    """Dark current in bands of rows or columns, and the line through it.

    Charge from the readout grows with the rows that were read before, that of the exposure does
    not: the line's value at row 0 is the exposure's part, its slope the readout's.

    Parameters
    ----------
    pixels
        ``(n_rows, n_cols)``.
    axis, step
        0: bands of `step` rows; 1: of columns.
    mask
        As for `fit_dark_current`.
    gain
        Default: fitted once, to the whole image; in the bands it is held.
    whole
        What `fit_dark_current` says of the whole image, where it is known already.
    **parameters
        Of `fit_dark_current`.

    Returns
    -------
    tuple
        A result per band, and ``constant`` (electron/pixel) and ``slope`` (electron/pixel/row) of
        a line through those that are ok, weighted by their errors.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    image = np.asarray(pixels)
    if image.ndim != 2 or axis not in (0, 1) or step < 1:
        raise _core.ConfigError(
            "fit_dark_current_slices: needs (n_rows, n_cols), axis 0 or 1 and a step of at least "
            f"1; got shape {image.shape}, axis {axis}, step {step}"
        )
    along = "row" if axis == 0 else "column"
    units = {"constant": "electron/pixel", "slope": f"electron/pixel/{along}"}
    if gain is None:
        whole = whole or fit_dark_current(image, mask=mask, **parameters)
        if whole.status != "ok":
            return [], failed(f"dark current by {along}", units, whole.reason)
        gain = whole["gain"]
    bits = None if mask is None else np.asarray(mask)
    bands, centres = [], []
    for begin in range(0, image.shape[axis], step):
        part = slice(begin, begin + step)
        index = (part, slice(None)) if axis == 0 else (slice(None), part)
        values = sorted_usable(
            image[index], None if bits is None else bits[index], "fit_dark_current"
        )
        band = dark_current_of(values, gain=gain, near=whole, **parameters)
        bands.append(band)
        centres.append((begin + min(begin + step, image.shape[axis]) - 1) / 2)
    good = [i for i, band in enumerate(bands) if band.status == "ok"]
    if len(good) < 2:
        return bands, failed(f"dark current by {along}", units, "needs two bands that are ok")
    x = np.array([centres[i] for i in good])
    y = np.array([bands[i]["dark_current"] for i in good])
    error = np.array([bands[i].errors["dark_current"] for i in good])
    line = _line(x, y, np.diag(error**2))
    return bands, FitResult(
        f"dark current by {along}",
        dict(zip(units, line[0], strict=True)),
        dict(zip(units, line[1], strict=True)),
        units,
        chi2=line[2],
        n_dof=len(good) - 2,
        p_value=goodness(line[2], len(good) - 2),
        n_values=len(good),
        series=Series(x, y, error, along, "dark current (electron/pixel)",
                      {"line": line[0][0] + line[0][1] * x}),
    )  # fmt: skip


def _line(x: Floats, y: Floats, covariance: Floats) -> tuple[list[float], list[float], float]:
    """Constant and slope of a line through correlated values, their errors, and chi-square."""
    design = np.stack([np.ones_like(x), x], axis=1)
    values, covariance_of_line, chi2 = linear_fit(design, y, covariance)
    return list(map(float, values)), list(map(float, np.sqrt(np.diag(covariance_of_line)))), chi2


def _mixture(
    centres: Floats, counts: Floats, starts: Floats, sigma: float
) -> tuple[Floats, Floats, float, Floats]:
    """Gaussians of one width, by EM on a histogram: means, counts, width, covariance.

    The last one stays in its place: it takes what reaches in from behind the range. The covariance
    is that of the other means and of the width, from the observed information.
    """
    means, sizes, width, information = _core.fit_mixture(centres, counts, starts, sigma)
    n = len(means)
    return means, sizes, width, np.asarray(np.linalg.pinv(information)[:n, :n])


def fit_calibration(
    pixels: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    gain: float | None = None,
    n_peaks: int = 100,
    min_counts: int = 50,
    unit: str = "adu",
    whole: FitResult | None = None,
) -> FitResult:
    """Gain and offset from the places of single-electron peaks.

    Peaks at 0, 1, 2, ... electrons are fitted together as Gaussians of one width (maximum
    likelihood by expectation maximisation); a line through their places against their number of
    electrons, weighted by their covariance, gives gain and offset.

    Parameters
    ----------
    pixels
        Any shape; NaN is left out.
    mask
        Of the same shape: pixels where it is not 0 are left out.
    gain
        A first guess; default: from `fit_dark_current`.
    n_peaks, min_counts
        At most so many peaks are used, from 0 electrons on, up to the first one with fewer than
        `min_counts` pixels.
    unit
        Of the pixels.
    whole
        What `fit_dark_current` says of the same pixels, where it is known already.

    Returns
    -------
    FitResult
        ``gain`` (unit/electron), ``offset`` (unit), ``noise`` (unit), ``noise_electron``
        (electron) and ``nonlinearity`` (electron): the largest distance of a peak from the line.
        Failed where fewer than two peaks stand apart.

    Raises
    ------
    ConfigError
        The shapes differ, or a parameter is impossible.
    """
    if n_peaks < 2 or min_counts < 1:
        raise _core.ConfigError("fit_calibration: n_peaks must be at least 2, min_counts 1")
    values = sorted_usable(pixels, mask, "fit_calibration")
    first = whole or dark_current_of(values, gain=gain, unit=unit)
    return _calibration_of(values, first, n_peaks, min_counts, unit)


def _calibration_of(
    values: NDArray[Any],
    first: FitResult,
    n_peaks: int = 100,
    min_counts: int = 50,
    unit: str = "adu",
) -> FitResult:
    """`fit_calibration` of pixels that are `sorted_usable`, and of the fit of their charge."""
    name = "calibration"
    units = {"gain": f"{unit}/electron", "offset": unit, "noise": unit,
             "noise_electron": "electron", "nonlinearity": "electron"}  # fmt: skip
    if first.status != "ok":
        return failed(name, units, first.reason, first.data, len(values))
    g, offset, noise = first["gain"], first["offset"], first["noise"]
    if noise > _OVERLAP * g:
        reason = f"the peaks do not stand apart: the noise is {noise / g:.2f} electron"
        return failed(name, units, reason, first.data, len(values))
    # Peak after peak: the place of the next one is known from those before.
    places = [offset]
    while len(places) < n_peaks:
        step = (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else g
        expected = places[-1] + step
        predicted = expected
        for _ in range(5):
            half = min(2 * noise, step / 2)
            core = _between(values, expected - half, expected + half)
            if noise < step / 5 and len(core) and len(places) > 1:
                centre = core.mean(dtype=np.float64)
                expected = float(np.clip(centre, predicted - step / 6, predicted + step / 6))
        if len(core) < min_counts:
            break
        places.append(expected)
    if len(places) < 2:
        reason = f"no peak of an electron with {min_counts} pixels"
        return failed(name, units, reason, first.data, len(values))
    step = (places[-1] - places[0]) / (len(places) - 1)
    data = histogram_of(
        values, offset - 5 * noise, places[-1] + step, noise / 10, unit, is_sorted=True
    )
    means, sizes, sigma, covariance = _mixture(
        data.centres, data.counts, np.array([*places, places[-1] + step]), noise
    )
    means, sizes = np.asarray(means[:-1]), np.asarray(sizes[:-1])
    sigma_of_mean: Floats = np.sqrt(np.diag(covariance)[:-1])
    try:
        (b, g), (error_b, error_g), chi2 = _line(
            np.arange(len(means), dtype=np.float64), means, covariance[:-1, :-1]
        )
    except np.linalg.LinAlgError:
        reason = "the peaks cannot be told from one another"
        return failed(name, units, reason, data, len(values))
    residuals = (means - b - g * np.arange(len(means))) / g
    noise_error = float(np.sqrt(covariance[-1, -1]))
    largest = int(np.argmax(np.abs(residuals)))
    n_dof = len(means) - 2
    width = data.edges[1] - data.edges[0]
    shape = np.exp(-0.5 * ((data.centres[:, None] - means) / sigma) ** 2) @ sizes
    return FitResult(
        name,
        {"gain": g, "offset": b, "noise": sigma, "noise_electron": sigma / g,
         "nonlinearity": float(residuals[largest])},
        {"gain": error_g, "offset": error_b, "noise": noise_error,
         "noise_electron": sigma / g * math.hypot(noise_error / sigma, error_g / g),
         "nonlinearity": float(sigma_of_mean[largest] / g)},
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=goodness(chi2, n_dof),
        n_values=int(sizes.sum()),
        data=data,
        model=np.asarray(shape * width / (sigma * math.sqrt(2 * math.pi))),
        notes=(f"{len(means)} peaks, 0 to {len(means) - 1} electrons",),
    )  # fmt: skip


def fit_gain(pixels: ArrayLike) -> tuple[FitResult, FitResult]:
    """Fit whose ``gain`` counts: of the single-electron peaks, or of the charge where they overlap.

    Returns
    -------
    tuple
        That fit, and the one of `fit_dark_current`, which is the same where peaks overlap.

    Raises
    ------
    FitError
        Neither `fit_calibration` nor `fit_dark_current` succeeds.
    """
    values = sorted_usable(pixels, None, "fit_gain")
    charge = dark_current_of(values)
    result = _calibration_of(values, charge)
    if result.status != "ok":
        result = charge
    if result.status != "ok":
        raise FitError(f'calibrate.gain: "fit" found no gain: {result.reason}')
    return result, charge
