"""Noise that two amplifiers share because they are read at the same time."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import (
    NO_GAUSSIAN,
    FitResult,
    Floats,
    Series,
    edges_of,
    failed,
    fit_histogram,
    goodness,
    is_no_gaussian,
    likelihood_ratio,
    lowest_peak_of,
    median_and_sigma,
    of_no_gaussian,
    without_masked,
)

__all__ = ["correlated_noise", "subtract_correlated_noise"]

Place = tuple[float, float]  # and width
_FEWEST = 100
_ANYWHERE = 1e-4


@cache
def _nodes() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(6)  # whose import takes as long as ours


def _expected(
    x_edges: Floats, y_edges: Floats, n: float, mean_x: float, sigma_x: float, mean_y: float,
    sigma_y: float, correlation: float,
) -> Floats:  # fmt: skip
    """Counts ``(n_x, n_y)`` of a Gaussian in two dimensions, integrated over each bin.

    A pixel in ten thousand may lie anywhere: so few with charge in one amplifier do no harm.
    """
    from scipy.special import ndtr

    nodes, weights = _nodes()
    half = np.diff(x_edges)[:, None] / 2
    x = x_edges[:-1, None] + half * (1 + nodes)
    z = (x - mean_x) / sigma_x
    weight = half * weights * np.exp(-0.5 * z**2) / (sigma_x * math.sqrt(2 * math.pi))
    # For a given x, y is a Gaussian too.
    centre = mean_y + correlation * sigma_y * z
    width = sigma_y * math.sqrt(1 - correlation**2)
    below = ndtr((y_edges[:, None, None] - centre) / width)
    inside = np.sum(weight * np.diff(below, axis=0), axis=2).T
    return np.asarray(n * (inside + _ANYWHERE / inside.size))


def _fit_window(
    x: Floats, y: Floats, places: tuple[Place, Place], n_sigma: float
) -> tuple[Any, Floats, list[Floats]] | str:
    """Fit the pixels around the peak of empty ones: minimum, counts, and edges along x and y."""
    edges = [
        edges_of(values, place - 5 * sigma, place + n_sigma * sigma, sigma / 3)
        for values, (place, sigma) in zip((x, y), places, strict=True)
    ]
    inside = (x > edges[0][0]) & (x < edges[0][-1]) & (y > edges[1][0]) & (y < edges[1][-1])
    counts = np.histogram2d(x[inside], y[inside], edges)[0]
    if counts.sum() < _FEWEST or np.count_nonzero(counts) < 12:
        return "too few pixels are empty in both amplifiers"
    correlation = float(np.corrcoef(x[inside], y[inside])[0, 1])
    if abs(correlation) > 0.9999:
        return "one amplifier is a copy of the other"
    start = {"n": float(counts.sum())}
    limits: dict[str, tuple[float | None, float | None]] = {"n": (0.0, None)}
    for axis, (place, sigma) in zip("xy", places, strict=True):
        start |= {f"mean_{axis}": place, f"sigma_{axis}": sigma}
        limits |= {
            f"mean_{axis}": (place - 2 * sigma, place + 2 * sigma),
            f"sigma_{axis}": (sigma / 5, sigma * 5),
        }
    limits["correlation"] = (-0.99999, 0.99999)
    fitted = fit_histogram(
        counts,
        partial(_expected, edges[0], edges[1]),
        [{**start, "correlation": correlation}],
        limits,
    )
    return fitted if isinstance(fitted, str) else (fitted[0], counts, edges)


def correlated_noise(
    first: ArrayLike,
    second: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    n_sigma: float = 2.0,
    unit: str = "adu",
) -> FitResult:
    """Noise of two amplifiers read at the same time, as a Gaussian in two dimensions.

    Only pixels that are empty in both tell of the noise. Those up to `n_sigma` sigma above the
    lowest peak of their amplifier (`subtract_pedestal`'s ``lowest_peak``), and down to 5 sigma
    below it, are counted in bins of a third of sigma. The binned Poisson likelihood of a
    two-dimensional Gaussian, integrated over each bin, is minimised: what the window cuts off pulls
    neither the widths nor the correlation.

    Parameters
    ----------
    first, second
        Of one shape: pixels read at the same time at the same index (an amplifier of the other
        side is mirrored first), at best of the overscan; pedestal subtracted or not. NaN is left
        out.
    mask
        Of the same shape: pixels where it is not 0, in either, are left out.
    n_sigma
        Where charge begins.
    unit
        Of the pixels.

    Returns
    -------
    FitResult
        ``sigma_first``, ``sigma_second``, ``mean_first``, ``mean_second`` (unit), ``correlation``
        (from -1 to 1), and its intervals ``low_68``, ``high_68``, ``low_95``, ``high_95``, in which
        ``atanh(correlation)`` is a Gaussian (R. A. Fisher, Metron 1 (1921) 3). The goodness is that
        of bins with 5 expected pixels at least.

    Raises
    ------
    ConfigError
        The shapes differ, or `n_sigma` is below 1.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise _core.ConfigError(f"correlated_noise: {one.shape} and {other.shape} differ in shape")
    if not n_sigma >= 1:
        raise _core.ConfigError(f"correlated_noise.n_sigma: must be at least 1; got {n_sigma}")
    name = "correlated noise"
    intervals = ("low_68", "high_68", "low_95", "high_95")
    units = dict.fromkeys(("sigma_first", "sigma_second", "mean_first", "mean_second"), unit)
    units |= dict.fromkeys(("correlation", *intervals), "")
    x = without_masked(one, mask, "correlated_noise")
    there = np.isfinite(x) & np.isfinite(other)
    x, y = x[there], other[there]
    n = len(x)
    if n < _FEWEST:
        return failed(name, units, f"needs at least {_FEWEST} pixels of both; got {n}", n=n)
    if not min(median_and_sigma(x)[1], median_and_sigma(y)[1]) > 0:
        return failed(name, units, "most pixels of an amplifier are the same", n=n)
    places = (lowest_peak_of(x), lowest_peak_of(y))
    for _ in range(2):
        fitted = _fit_window(x, y, places, n_sigma)
        if isinstance(fitted, str):
            return failed(name, units, fitted, n=n)
        minuit, counts, (x_edges, y_edges) = fitted
        v, e = minuit.values, minuit.errors
        places = ((v["mean_x"], v["sigma_x"]), (v["mean_y"], v["sigma_y"]))
    correlation = v["correlation"]
    expected = _expected(x_edges, y_edges, *v)
    good = expected >= 5
    chi2 = likelihood_ratio(counts[good], expected[good])
    n_dof = max(0, int(good.sum()) - 6)
    p_value = goodness(chi2, n_dof)
    if is_no_gaussian(chi2, n_dof, counts[good].sum()):
        return failed(name, units, NO_GAUSSIAN, n=int(counts.sum()))
    # Bounds are where so many errors of atanh(correlation) end; their own error is that of it.
    step = e["correlation"] / (1 - correlation**2)
    bounds = [math.tanh(math.atanh(correlation) + k * step) for k in (-1, 1, -2, 2)]
    n_of_x = counts.sum(axis=1)
    shown = n_of_x >= 10
    y_centres = (y_edges[1:] + y_edges[:-1]) / 2
    column, curve = counts[shown], expected[shown]
    mean_y = column @ y_centres / n_of_x[shown]
    spread = np.sqrt(column @ y_centres**2 / n_of_x[shown] - mean_y**2)
    pairs = {"sigma_first": "sigma_x", "sigma_second": "sigma_y", "mean_first": "mean_x",
             "mean_second": "mean_y", "correlation": "correlation"}  # fmt: skip
    return FitResult(
        name,
        {to: v[of] for to, of in pairs.items()} | dict(zip(intervals, bounds, strict=True)),
        {to: e[of] for to, of in pairs.items()} | dict.fromkeys(intervals, e["correlation"]),
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=p_value,
        n_values=int(counts.sum()),
        notes=of_no_gaussian(p_value),
        series=Series((x_edges[1:] + x_edges[:-1])[shown] / 2, mean_y,
                      np.maximum(spread, np.diff(y_edges)[0] / 4) / np.sqrt(n_of_x[shown]),
                      f"first amplifier ({unit})", f"mean of the second one ({unit})",
                      {"fit": curve @ y_centres / curve.sum(axis=1)}),
    )  # fmt: skip


def subtract_correlated_noise(
    image: ArrayLike,
    other: ArrayLike,
    found: FitResult,
    *,
    mask: ArrayLike | None = None,
    n_sigma: float = 3.0,
) -> NDArray[np.float64]:
    """Subtract what another amplifier, read at the same time, tells of the noise of this one.

    ``image - rho sigma_image / sigma_other (other - mean_other)``: the noise falls by
    ``sqrt(1 - rho^2)``. Where the other one holds charge, which is no noise, or is missing, the
    pixel is left as it is.

    Parameters
    ----------
    image, other
        Of one shape, as for `correlated_noise`.
    found
        ``correlated_noise(image, other)``, of the overscan or of the image.
    mask
        Of `other`: where it is not 0, the pixel of the image is left as it is.
    n_sigma
        A pixel of `other` more than so many sigma above its mean holds charge.

    Raises
    ------
    ConfigError
        The shapes differ, or `found` is no noise of two amplifiers.
    """
    where = "subtract_correlated_noise"
    one, two = np.asarray(image, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if one.shape != two.shape:
        raise _core.ConfigError(f"{where}: {one.shape} and {two.shape} differ in shape")
    if found.name != "correlated noise" or found.status != "ok":
        raise _core.ConfigError(
            f"{where}.found: must be a result of correlated_noise that is ok; got {found.name}: "
            f"{found.status}, {found.reason or 'another fit'}"
        )
    noise = without_masked(two, mask, where) - found["mean_second"]
    is_noise = noise <= n_sigma * found["sigma_second"]  # NaN is not
    factor = found["correlation"] * found["sigma_first"] / found["sigma_second"]
    return np.asarray(one - np.where(is_noise, factor * noise, 0.0))
