"""Patterns of whole electrons along rows and columns, and crosstalk between amplifiers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import (
    FitResult,
    Series,
    failed,
    lines_there,
    median_and_sigma,
    median_of,
    without_masked,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Patterns", "correct_crosstalk", "find_patterns", "measure_crosstalk"]


@dataclass(frozen=True)
class Patterns:
    """Runs of pixels with electrons, with empty pixels at both ends.

    Attributes
    ----------
    counts
        Pattern, such as ``"1"``, ``"11"``, ``"2"`` or ``"121"``, to how often it is there; the most
        frequent one first.
    positions
        Structured array ``pattern``, ``row``, ``column`` of the first pixel of each, 0-based.
    axis
        ``"row"``: along rows; ``"column"``: along columns.
    n_pixels
        Pixels that are not masked.
    """

    counts: Mapping[str, int]
    positions: NDArray[np.void]
    axis: str
    n_pixels: int

    def __repr__(self) -> str:
        lines = [f"patterns along {self.axis}s of {self.n_pixels} pixels"]
        lines += [f"  {name:<16} {count:>9}" for name, count in self.counts.items()]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the most frequent patterns."""
        from .plot import plot_patterns

        return plot_patterns(self, ax)


def find_patterns(
    image: ArrayLike,
    *,
    axis: str = "row",
    mask: ArrayLike | None = None,
    threshold: float = 0.5,
    max_length: int = 3,
    max_electrons: int = 9,
) -> Patterns:
    """Find runs of pixels that hold electrons, and name them by their numbers of electrons.

    A pixel of charge q holds ``floor(q - threshold) + 1`` electrons from `threshold` on, else none.
    A run counts where the pixels at both ends are there, not masked, and empty.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``, in electrons.
    axis
        ``"row"`` or ``"column"``: along which pixels follow one another.
    mask
        Of the same shape: pixels where it is not 0 are as if they were not there. NaN is, too.
    threshold
        Charge from which a pixel holds an electron.
    max_length, max_electrons
        Longer runs, and runs with a pixel of more electrons (9 at most), are left out.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    charge, there = lines_there(image, axis, mask, "find_patterns")
    if not (threshold > 0 and 1 <= max_length <= 16 and 1 <= max_electrons <= 9):
        raise _core.ConfigError(
            "find_patterns: threshold must be above 0, max_length from 1 to 16, max_electrons "
            f"from 1 to 9; got {threshold}, {max_length}, {max_electrons}"
        )
    n = charge.shape[1]
    holds = charge >= threshold
    holds &= there
    at = np.flatnonzero(holds)
    electrons = np.floor(charge[holds].astype(np.float64) - threshold) + 1
    electrons = np.minimum(electrons, max_electrons + 1).astype(np.int64)
    along = at % n
    begin = np.flatnonzero((np.diff(at, prepend=-2) != 1) | (along == 0))
    length = np.diff(begin, append=len(at))
    # What is there at the ends holds nothing, or the run went on.
    is_inner = (along[begin] > 0) & (along[begin] + length < n) & (length <= max_length)
    begin, length = begin[is_inner], length[is_inner]
    place, seen = at[begin], there.ravel()
    clear = seen[place - 1] & seen[place + length]
    begin, length, place = begin[clear], length[clear], place[clear]
    # The digits of a number; none of them is 0, so patterns of other lengths differ.
    code = electrons[begin]
    keep = code <= max_electrons
    for i in range(1, max_length):
        longer = np.flatnonzero(length > i)
        digit = electrons[begin[longer] + i]
        code[longer] = 10 * code[longer] + digit
        keep[longer] &= digit <= max_electrons
    place, code = place[keep], code[keep]
    line, column = np.divmod(place, n)
    row = line
    if axis == "column":
        order = np.lexsort((line, column))
        row, column, code = column[order], line[order], code[order]
    numbers, counts = np.unique(code, return_counts=True)
    names = numbers.astype(f"U{max_length}")
    positions = np.empty(
        len(code), [("pattern", names.dtype), ("row", np.int64), ("column", np.int64)]
    )
    positions["pattern"] = names[np.searchsorted(numbers, code)]
    positions["row"], positions["column"] = row, column
    most_first = np.lexsort((names, -counts))
    return Patterns(
        {str(names[i]): int(counts[i]) for i in most_first},
        positions,
        axis,
        int(np.count_nonzero(there)),
    )


def measure_crosstalk(
    source: ArrayLike,
    target: ArrayLike,
    *,
    low: float,
    high: float,
    mask: ArrayLike | None = None,
    shift: tuple[int, int] = (0, 0),
    n_resamplings: int = 1000,
    seed: int = 1,
) -> FitResult:
    """Part of an amplifier's signal that another one shows at the same time.

    Where the source has from `low` to `high`, the ratio of target to source is measured; ratios
    beyond 5 sigma (1.4826 MAD) of their median are left out, for charge of the target's own. The
    coefficient is the median of the others, its error and interval come from resampling. The same
    at a place 7 rows away, where there can be no crosstalk, is the null test.

    Parameters
    ----------
    source, target
        ``(n_rows, n_cols)``, pedestal subtracted, pixels read at the same time at the same index
        (an amplifier of the other side is mirrored first).
    low, high
        Signal of the source that counts: large against the noise of the target, not saturated.
    mask
        Of the target: pixels where it is not 0 are left out.
    shift
        Rows and columns by which the target shows it later.
    n_resamplings, seed
        Of the bootstrap; the same seed gives the same numbers.

    Returns
    -------
    FitResult
        ``coefficient``, ``low_68`` and ``high_68``, ``low_95`` and ``high_95`` (its intervals), and
        ``null``, with errors.

    Raises
    ------
    ConfigError
        The shapes differ, or `low` is not below `high`.
    """
    first, other = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if first.shape != other.shape or first.ndim != 2:
        raise _core.ConfigError(
            f"measure_crosstalk: needs two images of one shape; got {first.shape}, {other.shape}"
        )
    if not 0 < low < high:
        raise _core.ConfigError(f"measure_crosstalk: needs 0 < low < high; got {low}, {high}")
    name = "crosstalk"
    units = dict.fromkeys(("coefficient", "low_68", "high_68", "low_95", "high_95", "null"), "")
    seen = without_masked(other, mask, "measure_crosstalk")
    rows, cols = np.nonzero((first >= low) & (first <= high))

    def ratios(row_shift: int, col_shift: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r, c = rows + row_shift, cols + col_shift
        inside = (r >= 0) & (r < seen.shape[0]) & (c >= 0) & (c < seen.shape[1])
        signal = first[rows[inside], cols[inside]]
        found = seen[r[inside], c[inside]] / signal
        good = np.isfinite(found)
        signal, found = signal[good], found[good]
        if len(found) == 0:
            return signal, found
        centre, width = median_and_sigma(found)
        keep = np.abs(found - centre) <= 5 * width
        return signal[keep], found[keep]

    signal, found = ratios(*shift)
    n = len(found)
    if n < 10:
        return failed(name, units, f"needs at least 10 pixels of the source; got {n}", n=n)
    _, empty = ratios(shift[0] + 7, shift[1])
    random = np.random.default_rng(seed)

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        chosen = random.integers(0, len(values), (n_resamplings, len(values)), dtype=np.int32)
        return np.asarray(np.median(values[chosen], axis=1))

    resampled = spread(found)
    bounds = np.quantile(resampled, [0.1587, 0.8413, 0.0228, 0.9772])
    coefficient = median_of(found)
    error = float(resampled.std())
    null = median_of(empty) if len(empty) >= 10 else math.nan
    order = np.argsort(signal)
    groups = np.array_split(order, min(12, n // 5))
    x = np.array([signal[g].mean() for g in groups])
    y, of_group = np.array([median_and_sigma(found[g]) for g in groups]).T
    errors = np.array([1.25 * s / math.sqrt(len(g)) for s, g in zip(of_group, groups, strict=True)])
    values = [coefficient, *map(float, bounds), null]
    null_error = float(spread(empty).std()) if len(empty) >= 10 else math.nan
    return FitResult(
        name,
        dict(zip(units, values, strict=True)),
        dict(zip(units, [error] * 5 + [null_error], strict=True)),
        units,
        n_values=n,
        series=Series(x, y, errors, "signal of the source", "target / source",
                      {"coefficient": np.full(len(x), coefficient)}),
        notes=() if abs(null) < 4 * null_error or math.isnan(null)
        else ("the null test is not compatible with 0",),
    )  # fmt: skip


def correct_crosstalk(
    source: ArrayLike, target: ArrayLike, coefficient: float, shift: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Subtract what the target shows of the source: ``target - coefficient * source``, shifted.

    Parameters
    ----------
    source, target
        ``(n_rows, n_cols)``, as for `measure_crosstalk`.
    coefficient, shift
        From `measure_crosstalk`.

    Raises
    ------
    ConfigError
        The shapes differ.
    """
    first, other = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if first.shape != other.shape or first.ndim != 2:
        raise _core.ConfigError(
            f"correct_crosstalk: needs two images of one shape; got {first.shape}, {other.shape}"
        )
    moved = np.zeros_like(other)
    n_rows, n_cols = other.shape
    down, right = shift
    to = (
        slice(max(0, down), n_rows + min(0, down)),
        slice(max(0, right), n_cols + min(0, right)),
    )
    of = (
        slice(max(0, -down), n_rows + min(0, -down)),
        slice(max(0, -right), n_cols + min(0, -right)),
    )
    moved[to] = np.nan_to_num(first[of])
    return np.asarray(other - coefficient * moved)
