"""Charge that stays behind while it is moved: transfer inefficiency, along rows and columns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import (
    FitResult,
    Floats,
    Series,
    failed,
    goodness,
    linear_fit,
    lines_there,
    median_and_sigma,
)

__all__ = ["measure_cti"]


def measure_cti(
    image: ArrayLike,
    *,
    low: float,
    high: float,
    axis: str = "row",
    mask: ArrayLike | None = None,
    n_groups: int = 12,
) -> FitResult:
    """Charge transfer inefficiency from what bright pixels leave in the pixel read after them.

    A pixel that was moved n times leaves about ``n * cti`` of its charge behind. Bright pixels are
    grouped by n; the median over a group of the ratio of the next pixel to the bright one, less
    the same for the pixel read before (which no transfer fills, but a track does), is fitted by
    ``offset + cti * n``.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``, pedestal subtracted; row 0 and column 0 are read first.
    low, high
        Charge of a bright pixel, in the unit of the image: large against the noise, not saturated.
    axis
        ``"row"``: along rows, the serial register, where n is the column + 1; ``"column"``: along
        columns, where n is the row + 1.
    mask
        Of the same shape: pixels where it is not 0 are left out.
    n_groups
        Groups of bright pixels.

    Returns
    -------
    FitResult
        ``cti`` (per transfer) and ``offset``, with the points of the groups.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    charge, there = lines_there(image, axis, mask, "measure_cti")
    if not 0 < low < high or n_groups < 2:
        raise _core.ConfigError(
            f"measure_cti: needs 0 < low < high and n_groups of at least 2; got {low}, {high}, "
            f"{n_groups}"
        )
    name, units = "charge transfer", {"cti": "1/transfer", "offset": ""}
    bright = there & (charge >= low)
    bright[:, :1] = bright[:, -1:] = False  # no pixel before them, or after
    rows, columns = np.divmod(np.flatnonzero(bright), charge.shape[1])

    def at(step: int) -> tuple[Floats, NDArray[np.bool_]]:
        values = charge[rows, columns + step].astype(np.float64)
        return values, there[rows, columns + step] & (values < low)

    (before, is_free), (after, is_free_too) = at(-1), at(1)
    middle = charge[rows, columns].astype(np.float64)
    counts = (middle <= high) & is_free & is_free_too
    columns = columns[counts]
    ratios = (after[counts] - before[counts]) / middle[counts]
    if len(ratios) < 5 * n_groups:
        reason = f"needs at least {5 * n_groups} bright pixels; got {len(ratios)}"
        return failed(name, units, reason, n=len(ratios))
    n_transfers = columns.astype(np.float64) + 1
    groups = np.array_split(np.argsort(n_transfers, kind="stable"), n_groups)
    x = np.array([n_transfers[g].mean() for g in groups])
    y, widths = np.array([median_and_sigma(ratios[g]) for g in groups]).T
    errors = np.array([1.2533 * w / math.sqrt(len(g)) for w, g in zip(widths, groups, strict=True)])
    if not np.all(errors > 0):
        return failed(name, units, "the pixels behind bright ones do not differ", n=len(ratios))
    values, covariance, chi2 = linear_fit(
        np.stack([np.ones(n_groups), x], axis=1), y, np.diag(errors**2)
    )
    return FitResult(
        name,
        {"cti": float(values[1]), "offset": float(values[0])},
        {"cti": math.sqrt(covariance[1, 1]), "offset": math.sqrt(covariance[0, 0])},
        units,
        chi2=chi2,
        n_dof=n_groups - 2,
        p_value=goodness(chi2, n_groups - 2),
        n_values=len(ratios),
        series=Series(x, y, errors, f"transfers along the {axis}", "left behind / charge",
                      {"fit": values[0] + values[1] * x}),
    )  # fmt: skip
