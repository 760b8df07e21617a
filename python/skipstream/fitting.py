"""What a fit gives back, and the few steps that all fits share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "NO_GAUSSIAN",
    "FitError",
    "FitResult",
    "Histogram",
    "Series",
    "are_finite",
    "check_mask",
    "edges_of",
    "failed",
    "fit_histogram",
    "goodness",
    "histogram_of",
    "is_no_gaussian",
    "likelihood_parts",
    "likelihood_ratio",
    "linear_fit",
    "lines_of",
    "lines_there",
    "lowest_peak_of",
    "median_and_sigma",
    "median_of",
    "minimise",
    "sorted_usable",
    "usable_of",
    "of_no_gaussian",
    "without_masked",
]

Floats = NDArray[np.float64]


class FitError(_core.Error):
    """A number that a run cannot go on without could not be fitted."""


SIGMA_OF_MAD = 1.482602218505602  # of a Gaussian


def median_of(values: Floats) -> float:
    """Median of values without NaN; NaN of none."""
    return float(_core.medians(np.asarray(values)[None])[0])


def median_and_sigma(values: Floats) -> tuple[float, float]:
    """Median, and 1.4826 times the median of the absolute deviations from it, without NaN."""
    centres, sigmas = _core.medians_and_sigmas(np.asarray(values)[None])
    return float(centres[0]), float(sigmas[0])


def are_whole(values: NDArray[Any]) -> bool:
    """Whether all values are whole numbers, as those of a single sample are."""
    some = values[:100]  # settle it for nearly all
    return len(values) > 0 and all(np.array_equal(v, np.rint(v)) for v in (some, values))


def lowest_peak_of(values: Floats) -> tuple[float, float]:
    """Place and width of the lowest peak: about that of empty pixels. Needs 2 values."""
    if are_whole(values):  # which leave gaps between them, and hide the width of a narrow peak
        values = values + np.random.default_rng(1).uniform(-0.5, 0.5, len(values))
    return _core.lowest_peak(values)


def without_masked(pixels: ArrayLike, mask: ArrayLike | None, name: str) -> Floats:
    """Float64 pixels, NaN where the mask is not 0. `name` stands in the error of other shapes."""
    values = np.asarray(pixels, dtype=np.float64)
    if mask is None:
        return values
    bits = np.asarray(mask)
    check_mask(bits, values.shape, name)
    return np.where(bits == 0, values, np.nan)


def check_mask(bits: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Refuse a mask of another shape than the pixels; `name` stands in the error."""
    if bits.shape != shape:
        raise _core.ConfigError(
            f"{name}.mask: must have the shape {shape} of the pixels; got {bits.shape}"
        )


def sorted_usable(pixels: ArrayLike, mask: ArrayLike | None, name: str) -> NDArray[Any]:
    """Pixels that take part, sorted: what is sought in them is then found without a pass.

    Float32 ones stay such; what is computed of them is to be in float64.
    """
    values = np.asarray(pixels)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if mask is None:
        return usable_of(np.sort(values, axis=None))
    bits = np.asarray(mask)
    check_mask(bits, values.shape, name)
    ordered = values[bits == 0] if bits.any() else values.flatten()
    ordered.sort()
    return usable_of(ordered)


def usable_of(ordered: NDArray[Any]) -> NDArray[Any]:
    """Finite ones of sorted pixels; NaN is last."""
    # Of the same type: for another one all pixels would be converted.
    low, high = ordered.dtype.type(-np.inf), ordered.dtype.type(np.inf)
    begin, end = np.searchsorted(ordered, low, "right"), np.searchsorted(ordered, high)
    return ordered[begin:end]


def lines_of(
    image: ArrayLike, axis: str, mask: ArrayLike | None, name: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Rows for axis ``"row"``, else columns, and which of their pixels the mask leaves out."""
    values = np.asarray(image)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if mask is None:
        left_out = np.zeros(values.shape, bool)
    else:
        bits = np.asarray(mask)
        check_mask(bits, values.shape, name)
        left_out = bits if bits.dtype == bool else bits != 0
    check_lines(values, axis, name)
    return (values, left_out) if axis == "row" else (values.T, left_out.T)


def check_lines(values: NDArray[Any], axis: str, name: str) -> None:
    """Refuse what is no image, or has no such axis; `name` stands in the error."""
    if values.ndim != 2 or axis not in ("row", "column"):
        raise _core.ConfigError(
            f'{name}: needs (n_rows, n_cols), and axis "row" or "column"; got shape '
            f"{values.shape}, axis {axis!r}"
        )


def lines_there(
    image: ArrayLike, axis: str, mask: ArrayLike | None, name: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The same lines, and which of their pixels are finite and not left out."""
    values, left_out = lines_of(image, axis, mask, name)
    there = np.isfinite(values)
    there &= ~left_out
    return values, there


@dataclass(frozen=True)
class Histogram:
    """Counts of values between edges.

    Attributes
    ----------
    edges
        ``(n_bins + 1,)``, in `unit`.
    counts
        ``(n_bins,)``.
    unit
        Of the edges.
    """

    edges: Floats
    counts: Floats
    unit: str = ""

    @property
    def centres(self) -> Floats:
        """Middle of each bin."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)


def edges_of(values: NDArray[Any], low: float, high: float, width: float) -> Floats:
    """Edges from `low` to `high`; whole numbers get bins that hold equally many of them."""
    if are_whole(values):
        width = max(1.0, math.floor(width))
        low = math.floor(low) - 0.5
        high = low + width * math.ceil((high - low) / width)
    return np.linspace(low, high, max(1, round((high - low) / width)) + 1)


def histogram_of(
    values: NDArray[Any],
    low: float,
    high: float,
    width: float,
    unit: str,
    *,
    is_sorted: bool = False,
) -> Histogram:
    """Histogram of the values between the `edges_of` them; others are left out."""
    edges = edges_of(values, low, high, width)
    if is_sorted:
        places = _core.counts_below(values, edges)
        places[-1:] = _core.counts_below(values, edges[-1:], is_right=True)  # it has both edges
        counts = np.diff(places)
    else:
        counts, edges = np.histogram(values, len(edges) - 1, (edges[0], edges[-1]))
    return Histogram(edges, counts.astype(float), unit)


@dataclass(frozen=True)
class Series:
    """Measured points and the curve through them.

    Attributes
    ----------
    x, y, errors
        ``(n,)`` each; the errors are standard deviations.
    x_label, y_label
        With units.
    curves
        Name of a curve to its values at `x`.
    is_log
        Whether both axes are drawn in logarithms.
    """

    x: Floats
    y: Floats
    errors: Floats
    x_label: str
    y_label: str
    curves: Mapping[str, Floats]
    is_log: bool = False


@dataclass(frozen=True)
class FitResult:
    """Numbers from a fit, with what is needed to judge them.

    Attributes
    ----------
    name
        What was fitted.
    values, errors, units
        By name of the parameter. Errors are standard deviations. After a failure every value that
        is not known is NaN.
    status
        ``"ok"``, or ``"failed"``; then `reason` says why.
    chi2, n_dof, p_value
        Goodness: the likelihood ratio to the data themselves (Baker and Cousins, NIM 221 (1984)
        437), which for many counts is distributed as chi-square.
    n_values
        Values that took part.
    data, model
        The histogram that was fitted, and the counts that the fit expects in its bins.
    series
        What was fitted, where it is points.
    notes
        What a reader should know, such as a parameter that was held.
    """

    name: str
    values: Mapping[str, float]
    errors: Mapping[str, float]
    units: Mapping[str, str]
    status: str = "ok"
    reason: str = ""
    chi2: float = math.nan
    n_dof: int = 0
    p_value: float = math.nan
    n_values: int = 0
    data: Histogram | None = None
    model: Floats | None = field(default=None, repr=False)
    series: Series | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        """Value of a parameter."""
        return self.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __repr__(self) -> str:
        head = f"{self.name}: {self.status}" + (f", {self.reason}" if self.reason else "")
        lines = [head]
        for name, value in self.values.items():
            unit = self.units.get(name, "")
            shown = f"{value:.6g} ± {self.errors[name]:.2g}" if math.isfinite(value) else "unknown"
            lines.append(f"  {name:<32} {shown} {unit}".rstrip())
        if self.n_dof > 0:
            lines.append(f"  chi2 / dof = {self.chi2:.1f} / {self.n_dof}, p = {self.p_value:.3g}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the data, the fit, and below them the residuals in standard deviations."""
        from .plot import plot_fit

        return plot_fit(self, ax)


def failed(
    name: str, units: Mapping[str, str], reason: str, data: Histogram | None = None, n: int = 0
) -> FitResult:
    """A result whose every number is unknown."""
    unknown = dict.fromkeys(units, math.nan)
    return FitResult(name, unknown, dict(unknown), units, "failed", reason, data=data, n_values=n)


def likelihood_ratio(counts: Floats, expected: Floats) -> float:
    """Twice the logarithm of the Poisson likelihoods' ratio: data over model."""
    return float(np.sum(likelihood_parts(counts, expected)))


def likelihood_parts(counts: Floats, expected: Floats) -> Floats:
    """What each count adds to the `likelihood_ratio`."""
    safe = np.maximum(expected, 1e-300)
    logs = np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / safe), 0.0)
    return np.asarray(2 * (safe - counts + logs))


def fit_histogram(
    counts: Floats,
    model: Callable[..., Floats],
    starts: Sequence[Mapping[str, float]],
    limits: Mapping[str, tuple[float | None, float | None]],
) -> tuple[Any, float] | str:
    """Minimise the Poisson likelihood ratio of counts, in any shape, to those that `model` expects.

    The others are those of `minimise`.
    """

    def cost(*of: float) -> float:
        return likelihood_ratio(counts, model(*of)) if are_finite(*of) else math.inf

    return minimise(cost, starts, limits)


def are_finite(*numbers: float) -> bool:
    """Whether none is NaN or infinite."""
    return all(map(math.isfinite, numbers))


def minimise(
    cost: Callable[..., float],
    starts: Sequence[Mapping[str, float]],
    limits: Mapping[str, tuple[float | None, float | None]],
    *,
    fixed: Sequence[str] = (),
    gradient: Callable[..., Sequence[float]] | None = None,
    is_rough: bool = False,
) -> tuple[Any, float] | str:
    """Minimise twice a negative log-likelihood from several starts.

    Parameters
    ----------
    cost
        Of the parameters, in the order of the starts. Where a parameter makes no difference,
        Minuit's steps may be NaN: of those it is infinite, and its gradient 0.
    starts
        Values to start from; the best minimum of all is taken.
    limits, fixed
        Range of parameters, and those that are held.
    gradient
        Derivatives of the cost by all parameters; default: by differences.
    is_rough
        Whether only the place counts, as that of a next start: there are no errors then.

    Returns
    -------
    tuple or str
        The ``iminuit.Minuit`` at the minimum, and the cost there; or why there is none.
    """
    try:
        from iminuit import Minuit
    except ModuleNotFoundError:
        raise _core.ConfigError(
            "fits need iminuit and scipy; pip install 'skipstream[fits]'"
        ) from None
    names = list(starts[0])

    def named(*of: float) -> float:
        return cost(*of)

    named._parameters = dict.fromkeys(names)  # type: ignore[attr-defined]  # or iminuit seeks them
    best = None
    for start in starts:
        minuit = Minuit(named, *[start[name] for name in names], grad=gradient, name=names)
        minuit.errordef = Minuit.LEAST_SQUARES  # twice a log-likelihood grows by 1
        minuit.print_level = -1  # says nothing, not even of matrices
        minuit.strategy = 0  # the Hessian that strategy 1 adds comes below, once
        for name, limit in limits.items():
            minuit.limits[name] = limit
        for name in fixed:
            minuit.fixed[name] = True
        minuit.migrad()
        if best is None or (minuit.fval or math.inf) < (best.fval or math.inf):
            best = minuit
    assert best is not None
    if not best.valid:
        best.simplex().migrad()
    if is_rough and best.valid:
        return best, float(best.fval)
    best.strategy = 1
    best.hesse()
    if not best.valid:  # the valley is steeper than migrad took it for
        best.migrad()
        best.hesse()
    if not best.valid or not best.accurate:
        return "the likelihood has no proper minimum"
    return best, float(best.fval)


def linear_fit(design: Floats, y: Floats, covariance: Floats) -> tuple[Floats, Floats, float]:
    """Generalised least squares: values ``(m,)``, their covariance, and chi-square.

    Parameters
    ----------
    design
        ``(n, m)``: what each parameter adds to each point.
    y, covariance
        ``(n,)`` and ``(n, n)``; or ``(n,)``, the variances of independent points.
    """
    is_independent = covariance.ndim == 1
    inverse = 1 / covariance if is_independent else np.linalg.inv(covariance)
    weighted = design.T * inverse if is_independent else design.T @ inverse
    covariance_of_values = np.asarray(np.linalg.inv(weighted @ design), np.float64)
    values = covariance_of_values @ (weighted @ y)
    left = y - design @ values
    chi2 = left @ (inverse * left) if is_independent else left @ inverse @ left
    return values, covariance_of_values, float(chi2)


def goodness(chi2: float, n_dof: int) -> float:
    """Probability of a larger chi-square.

    For whole degrees of freedom it is a finite sum (Abramowitz and Stegun 26.4.4 and 26.4.5), all
    of whose terms are positive; importing ``scipy.special`` takes as long as ten fits.
    """
    if n_dof <= 0 or math.isnan(chi2):
        return math.nan
    if not 0 < chi2 < math.inf:
        return 1.0 if chi2 <= 0 else 0.0
    half = chi2 / 2
    odd = n_dof % 2
    first = math.erfc(math.sqrt(half)) if odd else 0.0
    powers = np.arange(n_dof // 2) + odd / 2
    if len(powers) == 0:
        return first
    logs = np.log(half / np.maximum(powers, 0.5))  # of a term over the one before
    logs[0] = powers[0] * math.log(half) - half - math.lgamma(powers[0] + 1)
    return min(1.0, first + math.fsum(np.exp(np.cumsum(logs))))


NO_GAUSSIAN = "the pixels are no Gaussian: are they empty?"


def of_no_gaussian(p_value: float) -> tuple[str, ...]:
    """What to note where a fit of a Gaussian is a bad one."""
    return (NO_GAUSSIAN,) if p_value < 1e-3 else ()


def is_no_gaussian(chi2: float, n_dof: int, n: float) -> bool:
    """Whether counts of n values differ from a fit by a third of themselves, not by chance."""
    return goodness(chi2, n_dof) < 1e-3 and chi2 - n_dof > 0.1 * n
