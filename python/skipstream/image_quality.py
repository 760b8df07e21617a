"""The nine numbers by which an image is judged at a glance (those of damicm-image-preproc)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .charge import dark_current_of
from .fitting import (
    SIGMA_OF_MAD,
    Floats,
    check_mask,
    linear_fit,
    median_and_sigma,
    median_of,
    usable_of,
)
from .pipeline import compress_skips

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Quality", "SampleCounts", "quality", "quality_of"]

#: Samples of which histograms are taken: the first ones.
N_HISTOGRAMS = 30
_N_PIXELS = 10_000
_N_BLOCKS = 1_000
_N_SIGMA_TAIL = 4.0
_UNKNOWN = -1.0
_N_COLS_OF_DRIFT = 200  # that settle the width of a row
#: Names of the numbers, and units of those that have one.
NAMES = ("aveImgS", "dSdskip", "imgNoise", "skNoise", "darkCurrent", "aduConversion", "pixVar",
         "clustVar", "tailRatio")  # fmt: skip
UNITS = {
    "imgNoise": "adu",
    "skNoise": "adu",
    "darkCurrent": "electron/pixel",
    "aduConversion": "adu/electron",
    "pixVar": "adu2",
    "clustVar": "adu2",
}


@dataclass(frozen=True)
class SampleCounts:
    """How often each whole number was read in one sample of all pixels.

    Attributes
    ----------
    first
        Number of bin 0, in ADU.
    counts
        ``(n_bins,)``, bins of 1 ADU.
    n_below, n_above
        Pixels outside of the bins.
    """

    first: float
    counts: NDArray[np.int64]
    n_below: int = 0
    n_above: int = 0

    @property
    def entropy(self) -> float:
        """``-sum p ln p``; what is below and above counts as one bin each."""
        return _core.entropy(np.concatenate([self.counts, [self.n_below, self.n_above]]))

    @property
    def width(self) -> float:
        """Sigma of a Gaussian through the counts within 3 sigma of their median; NaN: none.

        By Poisson likelihood; 0 ADU, which saturated samples read, does not take part.
        """
        sigma = _core.width_of_counts(self.first, self.counts)
        return math.nan if sigma is None else sigma

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how often each number was read."""
        from .plot import plot_sample_counts

        return plot_sample_counts(self, ax)


@dataclass(frozen=True)
class Quality:
    """The nine numbers; -1, with the error -1, where one makes no sense.

    Attributes
    ----------
    n_skips
        Samples of a pixel.
    values, errors
        ``aveImgS``, ``dSdskip`` (1/1000 samples), ``imgNoise`` (ADU), ``skNoise`` (ADU),
        ``darkCurrent`` (electron/pixel), ``aduConversion`` (ADU/electron), ``pixVar`` and
        ``clustVar`` (ADU^2), ``tailRatio``. Errors are there where something was fitted, else -1.
    entropies
        ``(n,)``: of the samples that have a histogram, in their order.
    """

    n_skips: int
    values: Mapping[str, float]
    errors: Mapping[str, float]
    entropies: Floats = field(repr=False, default_factory=lambda: np.empty(0))

    def __getitem__(self, name: str) -> float:
        """One of the numbers."""
        return self.values[name]

    def __repr__(self) -> str:
        lines = [f"quality of an image of {self.n_skips} samples"]
        for name, value in self.values.items():
            error = self.errors[name]
            shown = "makes no sense here" if value == _UNKNOWN else f"{value:.6g}"
            lines.append(f"  {name:<14} {shown}" + (f" ± {error:.2g}" if error >= 0 else ""))
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the entropies of the samples, beside the numbers."""
        from .plot import plot_quality

        return plot_quality(self, ax)


def _slope(entropies: Floats) -> tuple[float, float]:
    """Slope per 1000 samples, and its error from the scatter around the line."""
    n = len(entropies)
    if n < 3 or not np.isfinite(entropies).all():
        return _UNKNOWN, _UNKNOWN
    design = np.stack([np.ones(n), np.arange(n, dtype=np.float64)], axis=1)
    values, covariance, chi2 = linear_fit(design, entropies, np.eye(n))
    return 1000 * float(values[1]), 1000 * math.sqrt(covariance[1, 1] * chi2 / (n - 2))


def _variance_of_blocks(
    sample: NDArray[Any], left_out: NDArray[np.bool_], n_pixels: int, random: np.random.Generator
) -> float:
    """Median variance of nearly square blocks of so many pixels, at random places."""
    height = math.isqrt(n_pixels) if n_pixels >= 2 else 0
    width = -(-n_pixels // height) if height else 0
    n_rows, n_cols = sample.shape
    if height < 1 or height > n_rows or width > n_cols:
        return _UNKNOWN
    rows = random.integers(0, n_rows - height + 1, _N_BLOCKS)
    cols = random.integers(0, n_cols - width + 1, _N_BLOCKS)
    pixels = np.ascontiguousarray(sample)  # of its own type
    variances = _core.variances_of_blocks(pixels, left_out, rows * n_cols + cols, width, n_pixels)
    variances = variances[np.isfinite(variances)]
    return median_of(variances) if len(variances) else _UNKNOWN


def _rows_drift(rows: NDArray[Any]) -> bool:
    """Whether medians of sorted rows differ by more than a tenth of their noise, and not by chance.

    NaN is last in each row.
    """
    centres = _core.medians(rows)
    known = np.isfinite(centres)
    if np.count_nonzero(known) < 3:
        return False
    # Evenly among the sorted: the widths are those of all pixels.
    some = rows[:, :: max(1, rows.shape[1] // _N_COLS_OF_DRIFT)] - centres[:, None]
    widths = SIGMA_OF_MAD * _core.medians(np.abs(some, out=some))
    of_rows, width = median_and_sigma(centres[known])[1], median_of(widths[known])
    by_chance = 1.2533 * width / math.sqrt(rows.shape[1])  # of the median of a Gaussian
    return of_rows > max(2 * by_chance, 0.1 * width) and width > 0


def quality(
    mean: ArrayLike,
    *,
    variance: ArrayLike | None = None,
    sample: ArrayLike | None = None,
    histograms: Mapping[int, SampleCounts] | None = None,
    n_skips: int = 1,
    mask: ArrayLike | None = None,
    seed: int = 1,
) -> Quality:
    """Judge an image by what one pass over its samples gives.

    Parameters
    ----------
    mean
        ``(n_rows, n_cols)``, mean of the samples, in ADU, charge positive.
    variance
        ``(n_rows, n_cols)``: variance over the samples (ddof 0); None: pixVar is unknown.
    sample
        ``(n_rows, n_cols)``: one sample of every pixel; None: clustVar is unknown.
    histograms
        Number of a sample to its counts; the first 30 are usual. None: dSdskip and imgNoise are
        unknown.
    n_skips
        Samples of a pixel.
    mask
        ``(n_rows, n_cols)``: pixels where it is not 0 are left out of the planes.
    seed
        Of the random pixels and blocks: the same image gives the same numbers.

    Returns
    -------
    Quality
        aveImgS: ``-sum p ln p`` of the mean image in bins of 1 ADU. dSdskip: slope of that of
        single samples. imgNoise: mean width of single samples, and its standard error. skNoise,
        darkCurrent, aduConversion: of `fit_dark_current`. pixVar: median variance over the samples
        of 10,000 pixels. clustVar: median variance of 1,000 blocks of n_skips - 2 pixels of one
        sample, which should be as large. tailRatio: pixels more than 4 sigma below the peak of no
        electron over what the fitted distribution expects there.

    Raises
    ------
    ConfigError
        Shapes differ.

    Notes
    -----
    After damicm-image-preproc, but for four things: the distribution of the charge is fitted by
    `fit_dark_current`, which needs no starting values; where the pedestals of rows drift, it is
    that of the pixels around the lowest peak of their row; a number that could not be had is -1 and
    never that of a failed fit; the tail is that of the side where no charge is, against the fitted
    distribution.
    """
    shape = np.shape(mean)
    if len(shape) != 2:
        raise _core.ConfigError(f"quality: mean must be (n_rows, n_cols); got {shape}")
    bits = np.zeros(shape, bool) if mask is None else np.asarray(mask) != 0
    check_mask(bits, shape, "quality")
    for name, plane in (("variance", variance), ("sample", sample)):
        if plane is not None and np.shape(plane) != shape:
            raise _core.ConfigError(
                f"quality.{name}: must have the shape {shape} of the mean; got {np.shape(plane)}"
            )
    found = dict.fromkeys(NAMES, _UNKNOWN)
    errors = dict(found)
    random = np.random.default_rng(seed)
    image = np.asarray(mean)
    if image.dtype not in (np.float32, np.float64):
        image = image.astype(np.float64)
    left_out = ~np.isfinite(image)
    left_out |= bits
    rows = np.array(image, order="C")
    if left_out.any():
        rows[left_out] = np.nan
    if not left_out.all():
        found["aveImgS"] = _core.entropy_of_wholes(rows)
    chosen = [histograms[s] for s in sorted(histograms)] if histograms else []
    entropies = np.array([h.entropy for h in chosen])
    if chosen:
        found["dSdskip"], errors["dSdskip"] = _slope(entropies)
        widths = np.array([h.width for h in chosen])
        widths = widths[np.isfinite(widths)]
        if len(widths):
            found["imgNoise"] = float(widths.mean())
        if len(widths) > 1:
            errors["imgNoise"] = float(widths.std(ddof=1) / math.sqrt(len(widths)))
    rows.sort(axis=1)
    if _rows_drift(rows):  # less the place of the empty pixels of each
        _core.subtract_lowest_peaks(rows)
    rows = rows.ravel()
    rows.sort()
    pixels = usable_of(rows)
    fit = dark_current_of(pixels)
    if fit.status == "ok":
        of_fit = {"skNoise": "noise", "darkCurrent": "dark_current", "aduConversion": "gain"}
        for name, quantity in of_fit.items():
            found[name], errors[name] = fit[quantity], fit.errors[quantity]
        found["tailRatio"] = _tail_ratio(pixels, fit["offset"], fit["noise"], fit["dark_current"],
                                         fit["gain"])  # fmt: skip
    if variance is not None and n_skips >= 2:
        spread = np.asarray(variance)
        usable = np.isfinite(spread) & ~bits
        n_usable = int(np.count_nonzero(usable))
        if n_usable:
            picked = random.choice(n_usable, min(_N_PIXELS, n_usable), replace=False)
            if n_usable < usable.size:
                picked = np.flatnonzero(usable)[picked]
            found["pixVar"] = median_of(spread.ravel()[picked].astype(np.float64))
    if sample is not None:
        found["clustVar"] = _variance_of_blocks(np.asarray(sample), bits, n_skips - 2, random)
    return Quality(n_skips, found, errors, entropies)


def _tail_ratio(
    pixels: NDArray[Any], offset: float, noise: float, rate: float, gain: float
) -> float:
    edge = offset - _N_SIGMA_TAIL * noise
    below = np.array([edge - 40 * noise, edge])
    expected = float(_core.expected_counts(below, len(pixels), offset, noise, rate, gain, 20)[0])
    (n_below,) = _core.counts_below(pixels, below[1:])
    return float(n_below / expected) if expected > 0 else _UNKNOWN


def quality_of(samples: ArrayLike, *, mask: ArrayLike | None = None, seed: int = 1) -> Quality:
    """Judge an image by its samples, `(n_rows, n_cols, n_skips)`, of whole numbers; see `quality`.

    Raises
    ------
    ConfigError
        The shape is impossible.
    """
    array = np.asarray(samples)
    if array.ndim != 3:
        raise _core.ConfigError(
            f"quality_of: samples must be (n_rows, n_cols, n_skips); got {array.shape}"
        )
    n_skips = array.shape[2]
    if n_skips < 1:
        raise _core.ConfigError("quality_of: needs at least 1 sample; got 0")
    chosen = int(np.random.default_rng(seed).integers(n_skips))
    planes = compress_skips(array, ["mean", "var"])
    histograms = {}
    if array.dtype.kind in "iu" and array.size:
        for s in range(min(N_HISTOGRAMS, n_skips)):
            values = array[:, :, s].astype(np.int64).ravel()
            first = int(values.min())
            histograms[s] = SampleCounts(first, np.bincount(values - first))
    return quality(
        planes["mean"],
        variance=planes["var"],
        sample=array[:, :, chosen].astype(np.float64),
        histograms=histograms,
        n_skips=n_skips,
        mask=mask,
        seed=seed,
    )
