"""Rows of a table of clusters that pass cuts, and what each cut leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import _core
from .reference import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CutFlow", "select_clusters"]

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class CutFlow:
    """How many rows were left after each cut.

    Attributes
    ----------
    n_rows
        Before any cut.
    cuts
        Column to its smallest and largest value, in the order of the cuts.
    n_left
        ``(n_cuts,)``: rows that have passed this cut and all those before.
    """

    n_rows: int
    cuts: Mapping[str, Bounds]
    n_left: tuple[int, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Each cut in words, such as ``"3 <= charge <= 10000"``."""
        texts = []
        for column, (low, high) in self.cuts.items():
            least = "" if low is None else f"{low:g} <= "
            most = "" if high is None else f" <= {high:g}"
            texts.append(least + column + most)
        return tuple(texts)

    def __repr__(self) -> str:
        lines = [f"{self.n_rows} clusters"]
        for condition, left in zip(self.conditions, self.n_left, strict=True):
            lines.append(f"  {condition:<40} {left:>9}")
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how many clusters are left after each cut."""
        from .plot import plot_cuts

        return plot_cuts(self, ax)


def _check(column: str, bounds: Bounds, table: NDArray[np.void]) -> None:
    where = f"select_clusters.cuts.{column}"
    names = table.dtype.names or ()
    if column not in names:
        raise _core.ConfigError(f"select_clusters.cuts: no column {unknown_name(column, names)}")
    if table.dtype[column].kind not in "iufb":
        raise _core.ConfigError(f"{where}: the column holds no numbers")
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise _core.ConfigError(f"{where}: must be (min, max), None for an open end; got {bounds}")
    for bound in bounds:
        is_number = isinstance(bound, (int, float, np.number)) and not math.isnan(bound)
        if bound is not None and not is_number:
            raise _core.ConfigError(f"{where}: must be numbers, or None; got {bound!r}")
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise _core.ConfigError(f"{where}: min must not be above max; got {low} and {high}")


def select_clusters(
    table: NDArray[np.void], cuts: Mapping[str, Bounds]
) -> tuple[NDArray[np.void], CutFlow]:
    """Keep the clusters whose columns lie within bounds.

    Parameters
    ----------
    table
        Structured array ``(n,)``, such as that of `find_clusters`.
    cuts
        Column to ``(min, max)``, both included, None for an open end. NaN passes no bound.

    Returns
    -------
    tuple
        The rows that are left, in their order, and how many each cut has left.

    Raises
    ------
    ConfigError
        A column is not there or holds no numbers, or bounds are impossible.
    """
    rows = np.asarray(table)
    if rows.dtype.names is None or rows.ndim != 1:
        raise _core.ConfigError(
            f"select_clusters: needs a structured array (n,); got {rows.dtype}, shape {rows.shape}"
        )
    for column, bounds in cuts.items():
        _check(column, bounds, rows)
    passes = np.ones(len(rows), bool)
    n_left = []
    for column, (low, high) in cuts.items():
        if low is not None:
            passes &= rows[column] >= low
        if high is not None:
            passes &= rows[column] <= high
        n_left.append(int(passes.sum()))
    return rows[passes], CutFlow(len(rows), dict(cuts), tuple(n_left))
