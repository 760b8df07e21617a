"""Known charge added to an image: what an analysis finds of it closes the circle."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .simulate import ENERGY_PER_ELECTRON

__all__ = ["add_background"]

_TRUTH: Final = np.dtype([("x", np.float64), ("y", np.float64), ("electrons", np.int64)])
_HIGHEST_RATE: Final = 1e9


def _range(name: str, bounds: tuple[float, float], lowest: float) -> tuple[float, float]:
    low, high = bounds
    if not lowest <= low <= high < math.inf:
        raise _core.ConfigError(
            f"add_background.{name}: must be (min, max) from {lowest:g} on; got {bounds}"
        )
    return low, high


def add_background(
    image: ArrayLike,
    *,
    rate: float = 0.0,
    clusters: int = 0,
    energy_kev: tuple[float, float] = (0.04, 0.15),
    diffusion: tuple[float, float] = (0.2, 0.8),
    seed: int = 1,
    gain: float | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.void]]:
    """Add single electrons and point clusters to an image, at random places, for closure tests.

    Parameters
    ----------
    image
        ``(n_rows, n_cols)``. NaN stays NaN: no charge goes there.
    rate
        Mean number of electrons of a pixel, electron/pixel; Poisson.
    clusters
        Point clusters. Electrons beyond the edges of the image are lost.
    energy_kev
        Range of a cluster's energy, keV, uniform; an electron takes 3.74 eV.
    diffusion
        Range of the standard deviation of a cluster's charge cloud, pixels, uniform.
    seed
        The same one gives the same charge. Clusters do not depend on the rate.
    gain
        Unit of the image per electron; default: the image is in electrons.

    Returns
    -------
    tuple
        The image with the charge, and its truth, a structured array: column ``x`` and row ``y``,
        0-based, and ``electrons``, those that were added. The first `clusters` rows are the
        clusters, with their centres; then follow the pixels with electrons of the rate.

    Raises
    ------
    ConfigError
        The image is not two-dimensional, or a parameter is impossible.
    """
    values = np.array(image, dtype=np.float64)
    if values.ndim != 2:
        raise _core.ConfigError(f"add_background: needs (n_rows, n_cols); got {values.shape}")
    if not 0 <= rate <= _HIGHEST_RATE:
        raise _core.ConfigError(
            f"add_background.rate: must be from 0 to {_HIGHEST_RATE:g}; got {rate}"
        )
    if clusters < 0 or seed < 0:
        raise _core.ConfigError(
            f"add_background: clusters and seed must not be negative; got {clusters}, {seed}"
        )
    if gain is not None and not 0 < gain < math.inf:
        raise _core.ConfigError(f"add_background.gain: must be above 0; got {gain}")
    energies = _range("energy_kev", energy_kev, ENERGY_PER_ELECTRON / 1000)
    widths = _range("diffusion", diffusion, 0.0)
    if clusters and not values.size:
        raise _core.ConfigError("add_background.clusters: the image has no pixels; give 0")
    n_rows, n_cols = values.shape
    there = np.isfinite(values)
    random = np.random.default_rng([seed, 0])
    truth = np.zeros(clusters, _TRUTH)
    truth["x"] = random.uniform(-0.5, n_cols - 0.5, clusters)
    truth["y"] = random.uniform(-0.5, n_rows - 0.5, clusters)
    energy = random.uniform(*energies, clusters)
    sigma = random.uniform(*widths, clusters)
    number = np.repeat(
        np.arange(clusters), np.rint(1000 * energy / ENERGY_PER_ELECTRON).astype(np.int64)
    )
    col, row = (
        np.rint(truth[axis][number] + sigma[number] * random.standard_normal(len(number)))
        for axis in ("x", "y")
    )
    inside = (col >= 0) & (col < n_cols) & (row >= 0) & (row < n_rows)
    number = number[inside]
    place = row[inside].astype(np.int64) * n_cols + col[inside].astype(np.int64)
    seen = there.ravel()[place]
    truth["electrons"] = np.bincount(number[seen], minlength=clusters)
    charge = np.bincount(place[seen], minlength=values.size).reshape(values.shape)
    single = np.where(there, np.random.default_rng([seed, 1]).poisson(rate, values.shape), 0)
    rows, cols = np.nonzero(single)
    singles = np.zeros(len(rows), _TRUTH)
    singles["x"], singles["y"], singles["electrons"] = cols, rows, single[rows, cols]
    added = (1.0 if gain is None else gain) * (charge + single)
    return np.asarray(values + added), np.concatenate([truth, singles])
