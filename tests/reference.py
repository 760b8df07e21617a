"""The stages as slow, obvious NumPy: a whole image in, a whole image out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

Image = NDArray[np.float64]


def correct_leach(samples: NDArray[np.generic], shift: int = 2) -> NDArray[np.generic]:
    """``(n_rows, n_cols, n_skips)``: the flat stream moved back, its begin put at its end."""
    rows = samples.reshape(len(samples), -1)
    follow = np.roll(rows, -1, axis=0)
    return np.concatenate([rows[:, shift:], follow[:, :shift]], axis=1).reshape(samples.shape)


def correct_polarity(samples: Image, method: str, offset: float = 0.0) -> Image:
    top = {"negate": 0.0, "offset": offset, "max": np.nanmax(samples)}[method]
    return top - samples


def subtract_baseline(samples: Image, overscan_cols: int, method: str = "median") -> Image:
    """``(n_rows, n_cols, n_skips)`` minus the overscan of each row and skip."""
    function = {"median": np.nanmedian, "mean": np.nanmean}[method]
    return samples - function(samples[:, -overscan_cols:], axis=1, keepdims=True)


def replace_saturated(value: Image, first: Image, limit: float) -> Image:
    return np.where(first - value > limit, first, value)


def region_columns(
    n_cols: int, prescan_cols: int, overscan_cols: int, region: str = "auto"
) -> slice:
    if region == "overscan" or (region == "auto" and overscan_cols >= 3):
        return slice(n_cols - overscan_cols, n_cols)
    return slice(prescan_cols, n_cols - overscan_cols)


def estimate(
    values: Image,
    method: str,
    n_sigma_to_mask: float | None = None,
    clip_sigma: float = 3.0,
    clip_iterations: int = 5,
) -> float:
    values = values[~np.isnan(values)]
    if n_sigma_to_mask is not None and len(values) >= 2:
        median = np.median(values)
        sigma = 1.482602218505602 * np.median(np.abs(values - median))
        values = values[np.abs(values - median) <= n_sigma_to_mask * sigma]
    if len(values) < 2:
        return np.nan
    if method == "clipped_mean":
        for _ in range(clip_iterations):
            kept = values[np.abs(values - values.mean()) <= clip_sigma * values.std()]
            if len(kept) in (len(values), 0, 1):
                break
            values = kept
    return float(np.median(values) if method == "median" else values.mean())


def subtract_pedestal(
    image: Image,
    *,
    method: str = "median",
    region: str = "auto",
    axis: str = "row",
    rebin_rows: int = 1,
    prescan_cols: int = 0,
    overscan_cols: int = 0,
    **options: float,
) -> Image:
    """A pedestal that cannot be estimated counts as 0."""
    result = image.copy()
    columns = region_columns(image.shape[1], prescan_cols, overscan_cols, region)
    if axis in ("row", "both"):
        for begin in range(0, len(image), rebin_rows):
            rows = slice(begin, begin + rebin_rows)
            result[rows] -= np.nan_to_num(estimate(image[rows, columns].ravel(), method, **options))
    if axis in ("column", "both"):
        for column in range(image.shape[1]):
            values = result[:, column]
            result[:, column] -= np.nan_to_num(estimate(values, method, **options))
    return result


def pedestal_between_rows(
    image: Image, kind: str, *, overscan_cols: int = 0, rebin_rows: int = 1
) -> Image:
    """Line or spline of the rows' medians at every pixel."""
    n_rows, n_cols = image.shape
    columns = region_columns(n_cols, 0, overscan_cols, "auto")
    groups = np.array_split(image[:, columns], range(rebin_rows, n_rows, rebin_rows))
    own = np.array([estimate(group.ravel(), "median") for group in groups])
    if kind == "line":
        before = np.concatenate([own[:1], own[:-1]])
        along = np.arange(n_cols) / max(1, n_cols - 1)
        return np.asarray(before[:, None] + (own - before)[:, None] * along)
    first = np.arange(0, n_rows, rebin_rows)
    times = first + (np.minimum(rebin_rows, n_rows - first) - 1) / 2
    known = np.isfinite(own)
    middle = np.arange(n_cols)[columns].mean()
    at = np.arange(n_rows)[:, None] + (np.arange(n_cols) - middle) / n_cols
    if known.sum() < 4:
        return np.full(image.shape, own[known].mean())
    spline = CubicSpline(times[known], own[known], bc_type="natural")
    low, high = times[known][[0, -1]]
    inside = np.clip(at, low, high)
    return np.asarray(spline(inside) + (at - inside) * spline(inside, 1))


def measure_noise(image: Image, prescan_cols: int, overscan_cols: int) -> float:
    """Mean over the rows of 1.4826 MAD."""
    columns = region_columns(image.shape[1], prescan_cols, overscan_cols)
    rows = image[:, columns]
    median = np.nanmedian(rows, axis=1, keepdims=True)
    return float(np.mean(1.482602218505602 * np.nanmedian(np.abs(rows - median), axis=1)))


def find_clusters(
    image: Image, threshold: float, seed: float, connectivity: int = 8
) -> list[list[tuple[int, int]]]:
    """Pixels (y, x) of each cluster in raster order, clusters by their first pixel."""
    above = image >= threshold
    seen = np.zeros(image.shape, bool)
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    if connectivity == 4:
        steps = [(y, x) for y, x in steps if y == 0 or x == 0]
    clusters = []
    for start in map(tuple, np.argwhere(above)):
        if seen[start]:
            continue
        seen[start] = True
        pixels = [start]
        for y, x in pixels:
            for dy, dx in steps:
                there = (y + dy, x + dx)
                inside = 0 <= there[0] < image.shape[0] and 0 <= there[1] < image.shape[1]
                if inside and above[there] and not seen[there]:
                    seen[there] = True
                    pixels.append(there)
        if max(image[pixel] for pixel in pixels) >= seed:
            clusters.append(sorted(pixels))
    return clusters


def row_statistics(
    values: Image, mask: NDArray[np.uint32], begin_col: int, end_col: int, gain: float
) -> dict[str, NDArray[np.generic]]:
    """Of each row: pedestal and noise between two columns; counts of all its pixels."""
    part = np.where(mask & 0b1111001, np.nan, values)[:, begin_col:end_col]  # the unusable ones
    pedestal = np.nanmedian(part, axis=1)
    noise = 1.482602218505602 * np.nanmedian(np.abs(part - pedestal[:, None]), axis=1)
    return {
        "pedestal": pedestal,
        "noise": noise,
        "noise_e": noise / gain,
        "n_flagged": np.count_nonzero(mask, axis=1),
        "n_saturated": np.count_nonzero(mask & 0b100, axis=1),
        "n_missing": np.count_nonzero(mask & 0b11, axis=1),
    }
