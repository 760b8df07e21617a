"""Mean and width of pixels that hold noise alone, or nearly so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import (
    NO_GAUSSIAN,
    FitResult,
    Histogram,
    failed,
    goodness,
    histogram_of,
    is_no_gaussian,
    minimise,
    of_no_gaussian,
    sorted_usable,
)

__all__ = ["fit_gaussian"]

_FEWEST = 20
# Standard deviation of what a cut of 10 % at both ends leaves of a Gaussian, in its sigma.
_TRIMMED_STD = 0.66159


def _trimmed(ordered: NDArray[Any]) -> tuple[float, float]:
    """Mean of the middle 80 %, and the sigma of the Gaussian of which they are the middle."""
    cut = len(ordered) // 10
    middle = ordered[cut : len(ordered) - cut]
    std = float(middle.std(dtype=np.float64))
    return float(middle.mean(dtype=np.float64)), std / _TRIMMED_STD


def _fit_window(data: Histogram, mean: float, sigma: float) -> FitResult:
    """Fit a Gaussian, which reaches out of the window at both ends, to the counts in it."""
    units = {"mean": data.unit, "sigma": data.unit}
    n = int(data.counts.sum())
    if np.count_nonzero(data.counts) < 4:
        return failed("gaussian", units, "the values have no width", data, n)

    of_charge = _core.ChargeCost(data.edges, data.counts, 0.0, 1)

    # A charge of no electron, whatever the gain.
    def cost(n: float, mean: float, sigma: float) -> float:
        return of_charge(n, mean, sigma, 0.0, 1.0)

    def gradient(n: float, mean: float, sigma: float) -> list[float]:
        return of_charge.gradient(n, mean, sigma, 0.0, 1.0)[:3]

    start = {"n": float(n), "mean": mean, "sigma": sigma}
    limits = {
        "n": (0.0, None),
        "mean": (float(data.edges[0]), float(data.edges[-1])),
        "sigma": (sigma / 5, sigma * 5),
    }
    fitted = minimise(cost, [start], limits, gradient=gradient)
    if isinstance(fitted, str):
        return failed("gaussian", units, fitted, data, n)
    minuit, chi2 = fitted
    values, errors = minuit.values, minuit.errors
    if not 0.25 * sigma < values["sigma"] < 4 * sigma:
        return failed("gaussian", units, "the values do not fall off as a Gaussian", data, n)
    n_dof = len(data.counts) - minuit.nfit
    p_value = goodness(chi2, n_dof)
    return FitResult(
        "gaussian",
        {name: values[name] for name in units},
        {name: errors[name] for name in units},
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=p_value,
        n_values=n,
        data=data,
        model=of_charge.expected(values["n"], values["mean"], values["sigma"], 0.0, 1.0),
        notes=of_no_gaussian(p_value),
    )


def fit_gaussian(
    pixels: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    n_sigma: float = 2.5,
    bin_width: float | None = None,
    unit: str = "adu",
) -> FitResult:
    """Fit a Gaussian to the core of the distribution of pixel values.

    The window is the 10 % trimmed mean +- `n_sigma` times the trimmed standard deviation (that of
    a Gaussian cut alike), then the same around the fit. Within it the binned Poisson likelihood is
    minimised, each bin with the integral of the Gaussian over it. Whole numbers get bins of whole
    numbers.

    Parameters
    ----------
    pixels
        Any shape, such as the overscan, or an image with few electrons; NaN is left out.
    mask
        Of the same shape: pixels where it is not 0 are left out.
    n_sigma
        Half of the window. A smaller one sees less of the electrons, and less of the noise.
    bin_width
        Default: a fifth of sigma.
    unit
        Of the pixels.

    Returns
    -------
    FitResult
        ``mean`` and ``sigma`` (unit) of the pixels: where most hold electrons, theirs. A small
        ``p_value`` tells that the core is no Gaussian; far from one, the fit has failed.

    Raises
    ------
    ConfigError
        The shapes differ, or a parameter is impossible.
    """
    if not n_sigma >= 1:
        raise _core.ConfigError(f"fit_gaussian.n_sigma: must be at least 1; got {n_sigma}")
    if bin_width is not None and not bin_width > 0:
        raise _core.ConfigError(f"fit_gaussian.bin_width: must be above 0; got {bin_width}")
    units = {"mean": unit, "sigma": unit}
    values = sorted_usable(pixels, mask, "fit_gaussian")
    n = len(values)
    if n < _FEWEST:
        return failed("gaussian", units, f"needs at least {_FEWEST} pixels; got {n}", n=n)
    mean, sigma = _trimmed(values)
    if not sigma > 1e-12 * abs(mean):
        return failed("gaussian", units, "most of the values are the same", n=n)
    for _ in range(2):
        half = n_sigma * sigma
        data = histogram_of(
            values, mean - half, mean + half, bin_width or sigma / 5, unit, is_sorted=True
        )
        result = _fit_window(data, mean, sigma)
        if result.status != "ok":
            break
        mean, sigma = result["mean"], result["sigma"]
    if is_no_gaussian(result.chi2, result.n_dof, result.n_values):
        return failed("gaussian", units, NO_GAUSSIAN, result.data, result.n_values)
    return result
