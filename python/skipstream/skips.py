"""What the samples of a pixel tell of the readout: noise against skips, charge that is lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .fitting import (
    FitResult,
    Floats,
    Series,
    failed,
    goodness,
    histogram_of,
    linear_fit,
    median_and_sigma,
    without_masked,
)
from .pipeline import compress_skips

__all__ = ["charge_loss", "noise_vs_skips", "skips_to_show"]

_VARIANCE_OF_MAD_SIGMA = 1.3599  # of 1.4826 MAD, in sigma^2 / n, for a Gaussian


def skips_to_show(n_skips: int, n_points: int = 30) -> list[int]:
    """Numbers of samples from 1 to `n_skips`, evenly spaced in their logarithm, each once."""
    spaced = np.geomspace(1, n_skips, max(2, n_points))
    return sorted({int(n) for n in np.rint(spaced)} | {1, n_skips})


def noise_vs_skips(
    samples: ArrayLike | Mapping[int, ArrayLike],
    *,
    mask: ArrayLike | None = None,
    n_points: int = 30,
    robust: bool = True,
    gain: float | None = None,
) -> FitResult:
    """Noise of the mean of the first N samples, and its departure from 1 / sqrt(N).

    Samples without correlation give ``sigma_1 / sqrt(N)``. Two departures are fitted: a floor,
    ``sigma^2(N) = sigma_1^2 / N + floor^2``, and a power, ``sigma(N) ~ N^-exponent``. Estimates
    share samples, which the fit knows: the errors of standard deviations are correlated by
    ``min(N, M) / max(N, M)``, those of MADs by less.

    Parameters
    ----------
    samples
        ``(..., n_skips)``, of pixels without charge, such as the overscan; or planes that were
        reduced already: a mapping from N to the means of the first N samples (the statistics
        ``mean(N)`` of `CompressSkips`), which come from one pass over a file.
    mask
        Of the pixels: those where it is not 0 are left out.
    n_points
        Numbers N, evenly spaced in their logarithm.
    robust
        1.4826 MAD; else the standard deviation.
    gain
        ADU per electron: the results are then in electrons.

    Returns
    -------
    FitResult
        ``sigma_1`` and ``sigma_last``, the noise of one and of all samples; ``floor``;
        ``exponent``; with the points. A floor that is not seen is 0, with the error of what could
        have been seen.

    Raises
    ------
    ConfigError
        The shapes differ, or the gain is not above 0.
    """
    unit = "adu" if gain is None else "electron"
    if gain is not None and not gain > 0:
        raise _core.ConfigError(f"noise_vs_skips.gain: must be above 0; got {gain}")
    name = "noise against skips"
    units = {"sigma_1": unit, "sigma_last": unit, "floor": unit, "exponent": ""}
    if isinstance(samples, Mapping):
        planes = {int(n): np.asarray(plane, dtype=np.float64) for n, plane in samples.items()}
    else:
        array = np.asarray(samples)
        numbers = skips_to_show(array.shape[-1], n_points) if array.ndim else []
        made = compress_skips(array, [f"mean({n})" for n in numbers])
        planes = {n: made[f"mean({n})"] for n in numbers}
    shapes = sorted({plane.shape for plane in planes.values()})
    if len(shapes) > 1:
        raise _core.ConfigError(f"noise_vs_skips: planes must have one shape; got {shapes}")
    numbers = sorted(planes)
    if len(numbers) < 3:
        return failed(name, units, f"needs at least 3 numbers of samples; got {len(numbers)}")
    lines = np.stack([without_masked(planes[n], mask, "noise_vs_skips").ravel() for n in numbers])
    there = np.isfinite(lines)
    # Line by line: along an axis NumPy makes whole numbers of all of them first.
    n_there = np.array([np.count_nonzero(line) for line in there])
    if n_there.min() < lines.shape[1]:
        lines[~there] = np.nan
    if n_there.min() < 10:
        return failed(name, units, f"needs at least 10 pixels; got {n_there.min()}")
    sigma = _core.medians_and_sigmas(lines)[1] if robust else np.nanstd(lines, axis=1, ddof=1)
    sigma /= gain or 1.0
    error = sigma * np.sqrt((_VARIANCE_OF_MAD_SIGMA if robust else 0.5) / n_there)
    count = np.array(numbers, dtype=np.float64)
    if not np.all(sigma > 0):
        return failed(name, units, "the samples do not differ")
    shared = np.minimum(count[:, None], count) / np.maximum(count[:, None], count)
    correlation = _correlation_of_mads(shared) if robust else shared
    # In relative terms, so that no point counts more because it fluctuated down.
    relative = correlation * np.outer(error / sigma, error / sigma)
    model = sigma**2
    for _ in range(4):
        of_square = 4 * relative * np.outer(model, model)
        design = np.stack([1 / count, np.ones_like(count)], axis=1)
        values, covariance, chi2 = linear_fit(design, sigma**2, of_square)
        model = np.maximum(design @ values, 1e-12 * sigma**2)
    power, power_covariance, _ = linear_fit(
        np.stack([np.ones_like(count), -np.log(count)], axis=1), np.log(sigma), relative
    )
    one = math.sqrt(max(values[0], 0.0))
    floor_error = math.sqrt(covariance[1, 1])
    floor = math.sqrt(max(values[1], 0.0))
    return FitResult(
        name,
        {"sigma_1": one, "sigma_last": float(sigma[-1]), "floor": floor,
         "exponent": float(power[1])},
        {"sigma_1": math.sqrt(covariance[0, 0]) / (2 * one) if one else math.nan,
         "sigma_last": float(error[-1]),
         "floor": floor_error / (2 * floor) if values[1] > floor_error else math.sqrt(floor_error),
         "exponent": math.sqrt(power_covariance[1, 1])},
        units,
        chi2=chi2,
        n_dof=len(count) - 2,
        p_value=goodness(chi2, len(count) - 2),
        n_values=int(planes[numbers[0]].size),
        series=Series(count, sigma, error, "samples averaged",
                      "noise (ADU)" if gain is None else "noise (electron)",
                      {"fit": np.sqrt(model), "1/sqrt(N)": one / np.sqrt(count)}, is_log=True),
    )  # fmt: skip


def _correlation_of_mads(shared: Floats) -> Floats:
    """Of the MADs of Gaussians whose correlation has the square `shared`.

    Half of the values are within the MAD q of their median: expanded in Hermite polynomials, these
    are correlated by ``sum (4 phi(q) He_(n-1)(q))^2 / n! shared^(n/2)`` over the even n, of which
    the first term is the efficiency of the MAD.
    """
    q = 0.6744897501960817
    density = math.exp(-q * q / 2) / math.sqrt(2 * math.pi)
    last, now = 0.0, 1.0  # He_(n-1)(q) / sqrt((n - 1)!), and the one before
    found, power = np.zeros_like(shared), np.ones_like(shared)
    for n in range(1, 300):
        if n % 2 == 0:
            power *= shared
            found += (4 * density * now) ** 2 / n * power
        last, now = now, (q * now - math.sqrt(n - 1) * last) / math.sqrt(n)
    found[shared == 1] = 1  # where the sum converges slowly
    return found


def charge_loss(
    sample: ArrayLike,
    reference: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    n_sigma: float = 3.2,
    unit: str = "adu",
) -> FitResult:
    """Charge that a pixel loses between two of its samples.

    Of the differences ``d = sample - reference``, the core is Gaussian noise; charge that is lost
    makes one tail heavier. With a and b the pixels more than `n_sigma` sigma above and below the
    core, the coefficient is ``(a - b) / (a + b)``, its error
    ``2 sqrt(a b^2 + b a^2) / (a + b)^2``; the skewness is that of the differences within 8 sigma,
    its error ``sqrt(6 (n - 2) / ((n + 1) (n + 3)))`` (M. Traina, thesis).

    Parameters
    ----------
    sample, reference
        Planes of one shape: the statistics ``sample(s)`` of `CompressSkips`.
    mask
        Of the pixels: those where it is not 0 are left out.
    n_sigma
        Where the tails begin.
    unit
        Of the samples.

    Returns
    -------
    FitResult
        ``mean_difference``, ``std_difference``, ``core`` and ``core_sigma`` (unit), ``coefficient``
        and ``skewness``, with the histogram of the differences. The coefficient is NaN where no
        pixel is in the tails.

    Raises
    ------
    ConfigError
        The shapes differ.
    """
    first, other = np.asarray(sample, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if first.shape != other.shape:
        raise _core.ConfigError(f"charge_loss: {first.shape} and {other.shape} differ in shape")
    d = without_masked(first - other, mask, "charge_loss")
    d = d[np.isfinite(d)]
    name = "charge loss"
    units = {"mean_difference": unit, "std_difference": unit, "core": unit, "core_sigma": unit,
             "coefficient": "", "skewness": ""}  # fmt: skip
    n = len(d)
    if n < 10:
        return failed(name, units, f"needs at least 10 pixels; got {n}", n=n)
    core, sigma = median_and_sigma(d)
    if not sigma > 0:
        return failed(name, units, "more than half of the differences are the same", n=n)
    above = int(np.sum(d > core + n_sigma * sigma))
    below = int(np.sum(d < core - n_sigma * sigma))
    tails = above + below
    near = d[np.abs(d - core) < 8 * sigma]
    away = near - near.mean()
    squares = away * away
    std = float(d.std(ddof=1))
    return FitResult(
        name,
        {"mean_difference": float(d.mean()), "std_difference": std, "core": core,
         "core_sigma": sigma, "coefficient": (above - below) / tails if tails else math.nan,
         "skewness": float(np.mean(squares * away) / np.mean(squares) ** 1.5)},
        {"mean_difference": std / math.sqrt(n), "std_difference": std / math.sqrt(2 * n),
         "core": sigma * math.sqrt(math.pi / 2 / n),
         "core_sigma": sigma * math.sqrt(_VARIANCE_OF_MAD_SIGMA / n),
         "coefficient": 2 * math.sqrt(above * below**2 + below * above**2) / tails**2
         if tails else math.nan,
         "skewness": math.sqrt(6 * (len(near) - 2) / ((len(near) + 1) * (len(near) + 3)))},
        units,
        n_values=n,
        data=histogram_of(d, core - 10 * sigma, core + 10 * sigma, sigma / 5, unit),
        notes=(f"{above} pixels above, {below} below {n_sigma} sigma",),
    )  # fmt: skip


def planes_by_skips(planes: Mapping[str, ArrayLike]) -> dict[int, ArrayLike]:
    """Those planes of a result that are means of the first N samples, by N."""
    return {
        int(name[5:-1]): plane
        for name, plane in planes.items()
        if name.startswith("mean(") and name.endswith(")")
    }


def statistics_of_skips(n_skips: int, chosen: Sequence[int] = (0, -1)) -> list[str]:
    """Statistics of `CompressSkips` for `noise_vs_skips` and `charge_loss` of one pass."""
    return [*(f"mean({n})" for n in skips_to_show(n_skips)), *(f"sample({s})" for s in chosen)]
