"""Whether two runs differ: means over images, rows and columns, distributions, defects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .tables import needed

__all__ = [
    "SIGMA",
    "Found",
    "count_test",
    "distribution_test",
    "mean_line",
    "mean_test",
    "residual_test",
    "share_test",
]

Floats = NDArray[np.float64]

#: Of a Gaussian, per MAD.
SIGMA = 1.482602218505602
_MAX_BLOCKS = 4096
_N_SPLITS = 200
_OUTSIDE = 3.0
_SHARE = 0.05


class Found(NamedTuple):
    """Outcome of a test."""

    test: str
    p_value: float
    statistic: float
    value: float
    reference: float
    where: int | None = None
    note: str = ""

    def moved(self, begin: int) -> Found:
        """With the place counted from another origin."""
        return self if self.where is None else self._replace(where=self.where + begin)


def mean_test(
    ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]
) -> Found | None:
    """Whether the means over images are the same.

    Where the errors of the images explain the scatter between them, they are used (z), enlarged by
    the root of chi2 / n_dof if that is above 1; else the scatter is (Welch's t), for which each run
    needs two images.
    """
    stats = needed("scipy.stats", "compare", "fits")
    (x, ex), (y, ey) = (np.array(values).T for values in (ours, theirs))
    n, m = len(x), len(y)
    mean, other = float(x.mean()), float(y.mean())
    known = bool(np.isfinite(ex).all() and np.isfinite(ey).all() and (ex > 0).all()
                 and (ey > 0).all())  # fmt: skip
    if known:
        chi2 = float((((x - mean) / ex) ** 2).sum() + (((y - other) / ey) ** 2).sum())
        n_dof = n + m - 2
        if n_dof == 0 or stats.chi2.sf(chi2, n_dof) > 0.05:
            error = math.sqrt(float((ex**2).sum()) / n**2 + float((ey**2).sum()) / m**2)
            error *= math.sqrt(max(1.0, chi2 / n_dof if n_dof else 1.0))
            z = (mean - other) / error
            return Found("z", float(2 * stats.norm.sf(abs(z))), z, mean, other)
    if n < 2 or m < 2:
        return None
    # Differences in the last bits of a number that never changes are none.
    spread = max(x.std(ddof=1), y.std(ddof=1))
    if spread <= 1e-9 * max(abs(mean), abs(other)):
        same = abs(mean - other) <= 1e-9 * max(abs(mean), abs(other))
        return Found("welch", 1.0 if same else 0.0, 0.0 if same else math.inf, mean, other)
    found = stats.ttest_ind(x, y, equal_var=False)
    return Found("welch", float(found.pvalue), float(found.statistic), mean, other)


def mean_line(lines: Sequence[Floats]) -> Floats:
    """Mean of several lines of the same length, without what is NaN."""
    stacked = np.stack(lines)
    there = np.isfinite(stacked)
    n = there.sum(axis=0)
    total = np.where(there, stacked, 0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def residual_test(ours: Floats, theirs: Floats, noise: float) -> Found | None:
    """Whether a row or column, or too many of them, depart from what the others do.

    The scale is 1.4826 MAD of the differences; what all have in common is another element's.
    """
    stats = needed("scipy.stats", "compare", "fits")
    difference = ours - theirs
    there = np.isfinite(difference)
    n = int(there.sum())
    if n < 10:
        return None
    away = difference - np.median(difference[there])
    scale = max(SIGMA * float(np.median(np.abs(away[there]))), 1e-6 * noise)
    if scale == 0:
        return None
    pulls = np.where(there, away / scale, 0.0)
    worst = int(np.abs(pulls).argmax())
    # The scale itself is known to 1.17 / sqrt(2 n): a t distribution is near to it.
    single = float(2 * stats.t.sf(abs(pulls[worst]), max(0.37 * n - 1, 2)))
    p_worst = -math.expm1(n * math.log1p(-min(single, 1 - 1e-16)))
    n_outside = int((np.abs(pulls) > _OUTSIDE).sum())
    p_share = 1.0
    if n_outside > _SHARE * n:
        expected = float(2 * stats.t.sf(_OUTSIDE, max(0.37 * n - 1, 2)))
        p_share = float(stats.binom.sf(n_outside - 1, n, expected))
    p = min(1.0, 2 * min(p_worst, p_share))
    note = f"{n_outside} of {n} beyond 3 sigma" if n_outside else ""
    return Found("residuals", p, float(pulls[worst]), float(ours[worst]), float(theirs[worst]),
                  worst, note)  # fmt: skip


def _cumulative(blocks: NDArray[np.int64]) -> Floats:
    counts = blocks.sum(axis=0).astype(float)
    return np.asarray(np.cumsum(counts)[:-1] / max(counts.sum(), 1))


def distribution_test(
    ours: NDArray[np.int64], theirs: NDArray[np.int64]
) -> tuple[Found, Floats, Floats] | None:
    """Kolmogorov-Smirnov, for pixels that are not independent: those of a row share a pedestal.

    The distance between halves into which all rows are shuffled tells how many independent pixels
    there are.
    """
    special = needed("scipy.special", "compare", "fits")
    if not ours.sum() or not theirs.sum():
        return None
    one, other = _cumulative(ours), _cumulative(theirs)
    gap = np.abs(one - other)
    distance = float(gap.max())
    rows = np.concatenate([_merged(ours), _merged(theirs)]).astype(float)
    n = len(_merged(ours))
    random = np.random.default_rng(1)
    chosen = np.zeros((_N_SPLITS, len(rows)))
    for split in chosen:
        split[random.permutation(len(rows))[:n]] = 1
    inside = np.cumsum(chosen @ rows, axis=1)
    outside = np.cumsum(rows.sum(axis=0), axis=0) - inside
    gaps = np.abs(inside / inside[:, -1:] - outside / outside[:, -1:]).max(axis=1)
    mean_square = float((gaps**2).mean())
    full = ours.sum() * theirs.sum() / (ours.sum() + theirs.sum())
    effective = min(full, (math.pi**2 / 12) / mean_square) if mean_square > 0 else full
    statistic = distance * math.sqrt(effective)
    worst = int(gap.argmax())
    found = Found("ks", float(special.kolmogorov(statistic)), statistic, float(one[worst]),
                   float(other[worst]))  # fmt: skip
    return found, one, other


def _merged(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts of blocks of rows, of which there are not too many."""
    step = -(-len(rows) // _MAX_BLOCKS)
    return np.add.reduceat(rows, np.arange(0, len(rows), step), axis=0)


def share_test(
    hot: NDArray[np.int64], seen: NDArray[np.int64],
    hot_reference: NDArray[np.int64], seen_reference: NDArray[np.int64], axis: int,
) -> tuple[Found, Floats, Floats] | None:  # fmt: skip
    """Whether a line has a larger share of hot pixels than it had."""
    stats = needed("scipy.stats", "compare", "fits")
    k, n, k_r, n_r = (a.sum(axis=axis) for a in (hot, seen, hot_reference, seen_reference))
    there = (n > 0) & (n_r > 0)
    if not there.any():
        return None
    share, reference = k / np.maximum(n, 1), k_r / np.maximum(n_r, 1)
    rise = np.where(there, share - reference, -np.inf)
    worst = int(rise.argmax())
    # Hot pixels of one line come together; a line counts as what its images are.
    p = float(
        stats.fisher_exact(
            [[k[worst], n[worst] - k[worst]], [k_r[worst], n_r[worst] - k_r[worst]]], "greater"
        ).pvalue
    )
    p = -math.expm1(int(there.sum()) * math.log1p(-min(p, 1 - 1e-16)))
    found = Found("share", p, float(rise[worst]), float(share[worst]), float(reference[worst]),
                   worst)  # fmt: skip
    return found, share, reference


def count_test(count: int, reference: int) -> Found:
    """Whether there are more than there were."""
    stats = needed("scipy.stats", "compare", "fits")
    p = 1.0
    if count > reference:
        p = float(stats.binomtest(count, count + reference, 0.5, alternative="greater").pvalue)
    return Found("count", p, float(count - reference), float(count), float(reference))
