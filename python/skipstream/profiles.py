"""What pixels hold by their place: in rows, in columns, and around bright pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .fitting import (
    FitResult,
    Floats,
    Histogram,
    Series,
    are_finite,
    failed,
    goodness,
    likelihood_parts,
    likelihood_ratio,
    linear_fit,
    lines_of,
    lines_there,
    median_of,
    minimise,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ChargeProfile",
    "charge_per_axis",
    "correct_column_transient",
    "fit_column_transient",
    "measure_halo",
]

_MIN_PIXELS = 10  # of a row or column: fewer do not tell their width
_MIN_COLUMNS = 5  # for three parameters and a chi-square
_MIN_HITS = 10
_N_SIGMA = 5.0
_CHI2_OF_4_SIGMA = 19.3  # of two degrees of freedom: p = 6.3e-5


@dataclass(frozen=True)
class ChargeProfile:
    """Mean charge of every row or column.

    Attributes
    ----------
    axis
        ``"row"`` or ``"column"``.
    unit
        Of the means.
    mean, error, n_pixels
        ``(n_lines,)`` each: mean of the pixels that are not left out, its standard deviation, and
        their number. A mean of no pixels is NaN, and so is the error of fewer than 10.
    line
        A straight line through the means: ``constant``, at row or column 0, and ``slope``. Where
        it failed it says why.
    outliers
        Number of the row or column, and by how many standard deviations it stands out of the line;
        the farthest first.
    """

    axis: str
    unit: str
    mean: Floats = field(repr=False)
    error: Floats = field(repr=False)
    n_pixels: Floats = field(repr=False)
    line: FitResult
    outliers: list[tuple[int, float]]

    @property
    def status(self) -> str:
        """``"ok"``, or ``"failed"``, of the line."""
        return self.line.status

    @property
    def reason(self) -> str:
        """Why the line failed."""
        return self.line.reason

    def __repr__(self) -> str:
        text = [repr(self.line)]
        text += [f"  {self.axis} {i}: {self.mean[i]:.6g} ± {self.error[i]:.2g} {self.unit}, "
                 f"{away:+.1f} sigma" for i, away in self.outliers[:10]]  # fmt: skip
        return "\n".join(text)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the means and the line, with those marked that stand out."""
        from .plot import plot_profile

        return plot_profile(self, ax)


def charge_per_axis(
    image: ArrayLike,
    *,
    axis: str = "row",
    mask: ArrayLike | None = None,
    max_charge: float | None = None,
    unit: str = "electron",
) -> ChargeProfile:
    """Mean charge of every row or column, and the straight line through them.

    Every pixel counts the same for the line, and the line's errors come from those of the means: a
    mean that fluctuated down, and its error with it, pulls no harder. Means that stand out by more
    than 5 sigma take no part; sigma is their error, or 1.4826 times the median distance from the
    line, whichever is larger.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``.
    axis
        ``"row"``: a mean for every row; ``"column"``: for every column.
    mask
        Of the same shape: pixels where it is not 0 are left out. NaN is, too.
    max_charge
        Pixels above it are left out, in the unit of the image. Default: those beyond 5 sigma
        (1.4826 MAD) of the median of their row or column, which where noise is small leaves out
        single electrons.
    unit
        Of the image.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    lines = lines_of(image, axis, mask, "charge_per_axis")
    n_sigma = _N_SIGMA if max_charge is None else math.inf
    highest = math.inf if max_charge is None else max_charge
    _, centre, _, n_kept, sums, squares = _core.clipped_lines(*lines, n_sigma, highest)
    n = n_kept.astype(np.float64)
    shift = np.full(len(n), np.nan)
    np.divide(sums, n, out=shift, where=n > 0)
    mean = centre + shift
    squares = np.maximum(squares - n * shift**2, 0.0)
    variance = np.full(len(n), np.nan)
    np.divide(squares, n - 1, out=variance, where=n >= _MIN_PIXELS)
    error = np.full(len(n), np.nan)
    np.sqrt(np.divide(variance, n, out=error, where=n > 0), out=error)
    line, outliers = _line_through(mean, variance, n, axis, unit)
    return ChargeProfile(axis, unit, mean, error, n, line, outliers)


def _line_through(
    mean: Floats, variance: Floats, n: Floats, axis: str, unit: str
) -> tuple[FitResult, list[tuple[int, float]]]:
    """A line through means of n pixels with a variance, and what stands out of it."""
    name, units = f"charge by {axis}", {"constant": unit, "slope": f"{unit or 1}/{axis}"}
    usable = np.flatnonzero(np.isfinite(variance))
    n_pixels = int(n.sum())
    if len(usable) < 2:
        reason = f"needs at least 2 {axis}s of {_MIN_PIXELS} pixels; got {len(usable)}"
        return failed(name, units, reason, n=n_pixels), []
    y, variance, n = mean[usable], variance[usable], n[usable]
    if not np.any(variance > 0):
        return failed(name, units, f"the pixels of a {axis} do not differ", n=n_pixels), []
    x = usable.astype(np.float64)
    design = np.stack([np.ones_like(x), x], axis=1)
    of_mean = variance / n
    # Whole electrons may be all the same in a row by chance: its error is not 0.
    smallest = np.sqrt(np.maximum(of_mean, median_of(variance[variance > 0]) / n))
    third = max(1, len(x) // 3)  # the line through medians of thirds: outliers do not move it
    slope = (median_of(y[-third:]) - median_of(y[:third])) / (
        median_of(x[-third:]) - median_of(x[:third])
    )
    values = np.array([median_of(y - slope * x), slope])
    for _ in range(5):
        left = y - design @ values
        away = left / np.maximum(smallest, 1.4826 * median_of(np.abs(left)))
        good = np.abs(away) <= _N_SIGMA
        values, inverse, _ = linear_fit(design[good], y[good], 1 / n[good])
    part = design[good] * n[good, None]
    covariance = inverse @ (part.T @ (part * of_mean[good, None])) @ inverse
    counted = good & (of_mean > 0)
    chi2 = float(np.sum((y - design @ values)[counted] ** 2 / of_mean[counted]))
    n_dof = int(counted.sum()) - 2
    found = np.flatnonzero(~good)
    found = found[np.argsort(-np.abs(away[found]), kind="stable")]
    line = FitResult(
        name,
        dict(zip(units, map(float, values), strict=True)),
        dict(zip(units, map(float, np.sqrt(np.diag(covariance))), strict=True)),
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=goodness(chi2, n_dof),
        n_values=n_pixels,
        series=Series(x, y, np.sqrt(of_mean), axis, f"mean charge ({unit})",
                      {"fit": design @ values}),
        notes=(f"{len(found)} of {len(x)} {axis}s stand out and take no part",)
        if len(found) else (),
    )  # fmt: skip
    return line, [(int(usable[i]), float(away[i])) for i in found]


def fit_column_transient(
    image: ArrayLike, *, mask: ArrayLike | None = None, unit: str = "adu"
) -> FitResult:
    """What the electronics add at the start of each row, until they have settled.

    The medians of the columns are fitted by ``baseline + amplitude * exp(-column / length)``; their
    errors are ``1.2533 sigma / sqrt(n)``, with 1.4826 MAD for sigma. Columns that stand out of the
    fit by more than 5 sigma take no part.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``; column 0 is read first.
    mask
        Of the same shape: pixels where it is not 0 are left out. NaN is, too.
    unit
        Of the image.

    Returns
    -------
    FitResult
        ``amplitude``, at column 0, ``length`` in columns, and ``baseline``. It fails where the
        amplitude is below 4 of its errors.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or the mask has another shape.
    """
    columns = lines_of(image, "column", mask, "fit_column_transient")
    n, medians, sigmas, *_ = _core.clipped_lines(*columns, math.inf, math.inf)
    name, units = "column transient", {"amplitude": unit, "length": "column", "baseline": unit}
    n_pixels = int(n.sum())
    if np.count_nonzero(n >= _MIN_PIXELS) < _MIN_COLUMNS:
        reason = f"needs at least {_MIN_COLUMNS} columns of {_MIN_PIXELS} pixels"
        return failed(name, units, reason, n=n_pixels)
    usable = np.flatnonzero((n >= _MIN_PIXELS) & (sigmas > 0))
    if len(usable) < _MIN_COLUMNS:
        return failed(name, units, "the pixels of a column do not differ", n=n_pixels)
    x, y = usable.astype(np.float64), medians[usable]
    errors = 1.2533 * sigmas[usable] / np.sqrt(n[usable])
    # From what one column shows to what is a straight line; not long gone at the first column.
    lengths = np.geomspace(max(0.3, x[0] / 20), 2 * (x[-1] - x[0]), 60)
    good = np.ones(len(x), bool)
    for _ in range(5):
        part = x[good], y[good], errors[good]
        best = int(np.argmin(_settling_costs(lengths, *part)))
        if best in (0, len(lengths) - 1):
            reason = (
                f"no transient stands out: no length from {lengths[0]:.3g} to {lengths[-1]:.3g} "
                "columns fits best"
            )
            return failed(name, units, reason, n=n_pixels)
        near = lengths
        while near[best + 1] > (1 + 1e-7) * near[best]:  # as well as the costs can tell
            near = np.geomspace(near[best - 1], near[best + 1], 17)
            best = min(max(1, int(np.argmin(_settling_costs(near, *part)))), len(near) - 2)
        length = float(near[best])
        (baseline, amplitude), _, chi2 = _settling(length, *part)
        left = y - baseline - amplitude * np.exp(-x / length)
        scatter = 1.4826 * median_of(np.abs(left / errors))
        inside = np.abs(left / errors) <= _N_SIGMA * max(1.0, scatter)
        if np.array_equal(inside, good):
            break
        good = inside
    fall = np.exp(-x / length)
    by_length = amplitude * x / length**2 * fall
    _, covariance, _ = linear_fit(
        np.stack([fall, by_length, np.ones_like(x)], axis=1)[good], y[good], errors[good] ** 2
    )
    error = np.sqrt(np.diag(covariance))
    if abs(amplitude) < 4 * error[0]:
        reason = f"no transient stands out: {amplitude:.3g} ± {error[0]:.2g} {unit}".rstrip()
        return failed(name, units, reason, n=n_pixels)
    n_out = int(np.count_nonzero(~good))
    n_dof = int(good.sum()) - 3
    return FitResult(
        name,
        dict(zip(units, map(float, (amplitude, length, baseline)), strict=True)),
        dict(zip(units, map(float, error), strict=True)),
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=goodness(chi2, n_dof),
        n_values=n_pixels,
        series=Series(x, y, errors, "column", f"median ({unit})",
                      {"fit": baseline + amplitude * fall}),
        notes=(f"{n_out} of {len(x)} columns stand out and take no part",) if n_out else (),
    )  # fmt: skip


def _settling(length: float, x: Floats, y: Floats, errors: Floats) -> tuple[Floats, Floats, float]:
    """Baseline and amplitude for a length, their covariance, and chi-square."""
    return linear_fit(np.stack([np.ones_like(x), np.exp(-x / length)], axis=1), y, errors**2)


def _settling_costs(lengths: Floats, x: Floats, y: Floats, errors: Floats) -> Floats:
    """Chi-square of `_settling` for each of several lengths."""
    weight = 1 / errors**2
    weight /= weight.sum()
    left = (y - weight @ y) / errors
    falls = np.exp(-x / lengths[:, None])
    falls = (falls - (falls * weight).sum(axis=1, keepdims=True)) / errors
    # What is around both means has a height as its one parameter.
    size = np.maximum((falls**2).sum(axis=1), 1e-300)
    return np.asarray((left**2).sum() - (falls * left).sum(axis=1) ** 2 / size)


def correct_column_transient(image: ArrayLike, result: FitResult) -> Floats:
    """Subtract a transient: ``image - amplitude * exp(-column / length)``.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``, with the columns and in the unit of the image that was fitted.
    result
        From `fit_column_transient`.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or the fit has failed.
    """
    values, _ = lines_of(image, "row", None, "correct_column_transient")
    if result.status != "ok":
        raise _core.ConfigError(f"correct_column_transient: the fit has failed: {result.reason}")
    columns = np.arange(values.shape[1])
    return np.asarray(values - result["amplitude"] * np.exp(-columns / result["length"]))


def measure_halo(
    image: ArrayLike,
    *,
    threshold: float,
    max_radius: float = 100.0,
    n_rings: int = 20,
    mask: ArrayLike | None = None,
    hit: float = 0.5,
) -> FitResult:
    """Density of pixels with charge around bright pixels, above that far from them.

    Pixels from `hit` to below `threshold` are counted in rings of distance from the nearest bright
    pixel. Their density ``background + amplitude * exp(-distance / length)``, summed over the
    pixels of each ring, is fitted by binned Poisson likelihood; the outermost rings hold the
    background.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``, in electrons.
    threshold
        Charge from which a pixel is bright.
    max_radius
        Largest distance, in pixels: there should be no halo any more.
    n_rings
        Rings of equal width up to it.
    mask
        Of the same shape: pixels where it is not 0 are left out, and are not bright. NaN is, too.
    hit
        Charge from which a pixel counts.

    Returns
    -------
    FitResult
        ``amplitude`` (pixels with charge per pixel, at distance 0), ``length``, ``background``, and
        ``radius``, at which the halo falls below the error of the background; with the excess in
        each ring. It fails where a flat density is as likely, within 4 sigma; the background is
        then that of the outermost rings.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    values, there = lines_there(image, "row", mask, "measure_halo")
    if not (0 < hit < threshold and 1 <= max_radius < math.inf and n_rings >= 5):
        raise _core.ConfigError(
            "measure_halo: needs 0 < hit < threshold, max_radius of at least 1 and n_rings of at "
            f"least 5; got {hit}, {threshold}, {max_radius}, {n_rings}"
        )
    name = "halo"
    units = {"amplitude": "1/pixel", "length": "pixel", "background": "1/pixel", "radius": "pixel"}
    # Distances are roots of whole numbers: the sum over the pixels of a ring is one over these.
    counts, hits_there = _core.pixels_by_distance(values, there, threshold, hit, max_radius)
    if len(counts) == 0:
        return failed(name, units, f"no pixel of at least {threshold:g} electrons")
    distinct = np.flatnonzero(counts)
    r, n_at = np.sqrt(distinct), counts[distinct].astype(np.float64)
    hits_at = hits_there[distinct]
    edges = np.linspace(0.0, max_radius, n_rings + 1)
    ring = np.clip(np.searchsorted(edges, r, "left") - 1, 0, n_rings - 1)

    def in_rings(at_distances: Floats) -> Floats:
        return np.bincount(ring, at_distances, n_rings).astype(np.float64)

    data = Histogram(edges, in_rings(hits_at.astype(np.float64)), "pixel")
    n_in_rings = in_rings(n_at)
    n, hits = n_in_rings, data.counts
    n_pixels = int(n.sum())
    filled = n > 0
    if np.count_nonzero(filled) < 5 or hits.sum() < _MIN_HITS:
        reason = (
            f"needs {_MIN_HITS} pixels from {hit:g} to {threshold:g} electrons, and pixels in 5 "
            f"rings; got {int(hits.sum())}, in {np.count_nonzero(filled)}"
        )
        return failed(name, units, reason, n=n_pixels)
    n, hits, x = n[filled], hits[filled], in_rings(n_at * r)[filled] / n[filled]
    far = slice(-max(1, n_rings // 4), None)

    def model(amplitude: float, length: float, background: float) -> Floats:
        return in_rings(n_at * (background + amplitude * np.exp(-r / length)))

    def cost(*of: float) -> float:
        return likelihood_ratio(data.counts, model(*of)) if are_finite(*of) else math.inf

    def gradient(amplitude: float, length: float, background: float) -> list[float]:
        if not are_finite(amplitude, length, background):
            return [0.0, 0.0, 0.0]
        at_radii = n_at * np.exp(-r / length)
        shape = in_rings(at_radii)
        by_length = amplitude / length**2 * in_rings(at_radii * r)
        expected = amplitude * shape + background * n_in_rings
        above = np.zeros(n_rings)
        np.divide(data.counts, expected, out=above, where=expected > 0)
        weight = np.where(expected > 0, 2 * (1 - above), 0.0)
        return [float(weight @ by) for by in (shape, by_length, n_in_rings)]

    flat = likelihood_ratio(hits, n * (hits.sum() / n.sum()))
    # For a length it is a fit of two heights; the best of many is where the fit of all begins.
    lengths = np.geomspace(0.2, 10 * max_radius, 40)
    shapes = np.stack([in_rings(n_at * np.exp(-r / length))[filled] for length in lengths])
    amplitudes, backgrounds = _heights_of(shapes, n, hits)
    tried = [(flat, 0.0, max_radius, float(hits.sum() / n.sum()))]
    expected = amplitudes[:, None] * shapes + backgrounds[:, None] * n
    costs = likelihood_parts(hits, expected).sum(axis=1)
    tried += zip(*(of.tolist() for of in (costs, amplitudes, lengths, backgrounds)), strict=True)
    chi2, *best = min(tried)
    limits = {"length": (0.2, 10 * max_radius), "background": (0.0, None)}
    found: tuple[Any, float] | str = f"no halo stands out: it makes chi2 less by {flat - chi2:.1f}"
    if flat - chi2 > _CHI2_OF_4_SIGMA - 1:  # more is between those that were tried
        start = dict(zip(("amplitude", "length", "background"), best, strict=True))
        found = minimise(cost, [start], limits, gradient=gradient)
    reason = found if isinstance(found, str) else ""
    if not isinstance(found, str):
        minuit, chi2 = found
        amplitude, length, background = map(float, minuit.values)
        error = dict(zip(minuit.parameters, map(float, minuit.errors), strict=True))
        gain = flat - chi2
        if amplitude <= 0 or gain < _CHI2_OF_4_SIGMA:
            reason = f"no halo stands out: it makes chi2 less by {gain:.1f}"
    if reason:
        nothing = failed(name, units, reason, n=n_pixels)
        ground_error = math.sqrt(max(hits[far].sum(), 1.0)) / n[far].sum()
        return replace(
            nothing,
            values={**nothing.values, "background": float(hits[far].sum() / n[far].sum())},
            errors={**nothing.errors, "background": float(ground_error)},
        )
    fall = math.log(amplitude / error["background"])
    radius = length * fall
    by_parameter = np.array([length / amplitude, fall])
    covariance = np.array(minuit.covariance)[:2, :2]
    n_dof = len(n) - 3
    return FitResult(
        name,
        {"amplitude": amplitude, "length": length, "background": background, "radius": radius},
        {**error, "radius": math.sqrt(by_parameter @ covariance @ by_parameter)},
        units,
        chi2=chi2,
        n_dof=n_dof,
        p_value=goodness(chi2, n_dof),
        n_values=n_pixels,
        series=Series(
            x, hits / n - background, np.sqrt(np.maximum(hits, 1)) / n,
            "distance from a bright pixel (pixel)", "excess of pixels with charge (1/pixel)",
            {"fit": model(amplitude, length, 0.0)[filled] / n,
             "error of the background": np.full(len(n), error["background"])},
        ),
        notes=("the halo reaches beyond max_radius",) if radius > max_radius else (),
    )  # fmt: skip


def _heights_of(shapes: Floats, flat: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Of each shape and a flat one, both above 0, that together make up Poisson counts.

    By Newton's steps, each of which leaves at least a tenth of a height.
    """
    size = np.maximum(shapes.sum(axis=1), 1e-300)  # which may be next to nothing
    shapes = shapes / size[:, None]
    of_shape = np.full(len(shapes), counts.sum() / 2)
    of_flat = np.full(len(shapes), counts.sum() / 2 / flat.sum())
    for _ in range(30):
        expected = of_shape[:, None] * shapes + of_flat[:, None] * flat
        ratio = counts / expected
        weight, left = ratio / expected, ratio - 1
        a, b, c = ((weight * x).sum(axis=1) for x in (shapes**2, shapes * flat, flat**2))
        u, v = (left * shapes).sum(axis=1), (left * flat).sum(axis=1)
        determinant = a * c - b * b
        is_known = determinant > 1e-12 * a * c  # or the shapes are one
        inverse = np.divide(1.0, determinant, out=np.zeros_like(a), where=is_known)
        by_shape, by_flat = inverse * (c * u - b * v), inverse * (a * v - b * u)
        fall = np.maximum(-by_shape / of_shape, -by_flat / of_flat)
        part = 0.9 / np.maximum(fall, 0.9)
        of_shape += part * by_shape
        of_flat += part * by_flat
        if max(np.max(np.abs(by_shape) / of_shape), np.max(np.abs(by_flat) / of_flat)) < 1e-9:
            break
    return of_shape / size, of_flat
