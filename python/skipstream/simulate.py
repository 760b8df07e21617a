"""Simulated raw skipper images with a stated truth.

Every component (noise, dark current, tracks, ...) draws from a random stream of its own, in readout
order. So an image depends on its parameters alone, however it is cut into blocks, and switching one
component off leaves the others as they were. The truth is a function of the parameters too: it
takes no memory until it is asked for.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._core import ConfigError, nearest_name

__all__ = [
    "EVENT_DTYPE",
    "LAYOUTS",
    "Layout",
    "Truth",
    "read_truth",
    "simulate",
    "simulate_samples",
    "truth_path",
]

#: Energy that frees one electron in silicon, eV/e-.
ENERGY_PER_ELECTRON: Final = 3.74
#: Variance of the number of freed electrons over its mean.
FANO_FACTOR: Final = 0.12

#: One row per event. Coordinates are 0-based pixels, prescan included, x the column; x and y are
#: the charge-weighted centre, the limits are inclusive, the amplifier is counted from 1.
EVENT_DTYPE: Final = np.dtype(
    [
        ("event_id", np.int64),
        ("kind", "U9"),
        ("amplifier", np.int64),
        ("x", np.float64),
        ("y", np.float64),
        ("charge", np.int64),
        ("energy_kev", np.float64),
        ("peak_charge", np.int64),
        ("n_pixels", np.int64),
        ("x_min", np.int64),
        ("x_max", np.int64),
        ("y_min", np.int64),
        ("y_max", np.int64),
    ]
)
_EVENT_COLUMNS: Final = {
    "event_id": ("", "number of the event, from 0, by amplifier and then downwards"),
    "kind": ("", "point, track or saturated"),
    "amplifier": ("", "number of the amplifier, from 1"),
    "x": ("pix", "charge-weighted column, 0-based, prescan included"),
    "y": ("pix", "charge-weighted row, 0-based"),
    "charge": ("electron", "charge in the image"),
    "energy_kev": ("keV", f"charge at {ENERGY_PER_ELECTRON} eV/e-"),
    "peak_charge": ("electron", "largest charge of a pixel"),
    "n_pixels": ("pix", "pixels with at least one electron"),
    "x_min": ("pix", "first column"),
    "x_max": ("pix", "last column"),
    "y_min": ("pix", "first row"),
    "y_max": ("pix", "last row"),
}

# Streams of random numbers. The place in this list is part of the seed: append only.
_STREAMS: Final = (
    "read_noise",
    "pedestal",
    "dark_current",
    "point",
    "track",
    "saturated",
    "hot_column_places",
    "hot_columns",
    "charge_loss",
    "missing_counts",
    "missing_places",
    "noise_pool",
)
_BAND_ROWS: Final = 16  # rows whose events are drawn together; part of what a seed means
_BLOCK_SAMPLES: Final = 1 << 17  # samples made at a time: a few arrays of this length fit the L2
_STEP_PIXELS: Final = 1 << 16  # pixels whose charge is held at a time, but at least one row
_POOL_SAMPLES: Final = 1 << 22
_MAX_DIFFUSION: Final = 5.0  # pixels
_MARGIN_ROWS: Final = 40  # 8 sigma of the largest diffusion: charge this far up is never drawn


class Layout(NamedTuple):
    """How a raw image lies in its file, and what is usual for the electronics that write it."""

    dtype: np.dtype[Any]
    amplifiers: tuple[str, ...]
    gain: float
    offset: float
    keys: str = "leach"
    arrangement: str = "columns"  # or a key of arrange.ARRANGEMENTS


_LEACH: Final = Layout(np.dtype(np.uint16), ("L",), gain=5.0, offset=10_000.0)
_LTA: Final = Layout(
    np.dtype(np.int32), ("1", "2", "3", "4"), gain=200.0, offset=20_000.0, keys="lta"
)
#: Leach controllers, the Low Threshold Acquisition board, and what else laboratories write.
LAYOUTS: Final[dict[str, Layout]] = {
    "leach": _LEACH,
    "leach_ul": _LEACH._replace(amplifiers=("L", "U"), arrangement="halves"),
    "lta": _LTA,
    "lta_primary": _LTA._replace(arrangement="empty_primary"),
    "lta_smart": _LTA._replace(arrangement="ragged"),
    "lta_packets": _LTA._replace(arrangement="packets"),
    "lta_average": _LTA._replace(arrangement="averages"),
    "acm": _LTA._replace(keys="acm", arrangement="named_averages"),
    "cube": _LEACH._replace(arrangement="cube"),
    "samples_in_hdus": _LTA._replace(amplifiers=("1", "2"), arrangement="hdus"),
    "samples_in_files": _LEACH._replace(arrangement="files"),
    "regions": _LTA._replace(keys="leach", amplifiers=("1",), arrangement="regions"),
}


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a simulated image was made from, and what follows from it.

    The attributes are also the keywords of `simulate` and `simulate_samples`. Each component is
    switched off by a zero.

    Attributes
    ----------
    n_rows, n_cols, n_skips
        Rows, columns (with prescan and overscan) and samples of each pixel, per amplifier.
    seed
        The same seed and parameters give the same file, bit for bit.
    layout
        ``"leach"``: one uint16 primary HDU; ``"lta"``: four int32 HDUs, keywords as strings.
    prescan_cols, overscan_cols
        Columns without charge before and after the active ones. Default: 8, and 15 % of the
        columns but at most 64; fewer in very narrow images.
    gain
        ADU/e-. Default: 5 for leach, 200 for lta.
    offset
        Pedestal of an image without drift, ADU. Default: 10000 for leach, 20000 for lta.
    pedestal_drift
        Step of the pedestal's random walk from row to row, ADU. The walk is drawn back to the
        offset over `pedestal_memory` rows. Default: a tenth of the gain.
    pedestal_memory
        Rows over which the pedestal forgets.
    read_noise
        Standard deviation of one sample, e-.
    noise_pool
        Take the noise from a pool of 2^22 drawn values, beginning at a random place for every
        pixel: faster, and good enough for benchmarks, but pixels are not strictly independent.
    dark_current
        Mean charge of an active pixel, e-/pixel; Poisson.
    n_points
        Point events per amplifier. Default: one per 20000 active pixels, at least one.
    point_energy_kev
        Energy of a point event, keV, or a range from which its logarithm is drawn uniformly.
    point_diffusion
        Range of the standard deviation of a point event's charge cloud, pixels.
    n_tracks
        Straight tracks per amplifier. Default: one per 20000 active pixels, at least one.
    track_length
        Mean length of a track, pixels; exponential, at most five times as long.
    track_charge
        Most probable charge of a track, e-/pixel of its length; fluctuates as Moyal's approximation
        of Landau's distribution.
    track_diffusion
        Standard deviation of a track's charge cloud at its deep end, pixels; grows from 0 as the
        square root of the depth.
    n_hot_columns
        Hot columns per amplifier.
    hot_column_charge
        Mean charge that a hot column adds to each of its pixels, e-/pixel; Poisson.
    n_saturated
        Single pixels per amplifier whose charge lies beyond the converter's limit.
    charge_loss
        Probability for each electron to be lost when it is measured for the
        `charge_loss_skip`-th time: that sample and later ones lack it.
    charge_loss_skip
        First skip, 0-based, that lacks the charge lost.
    missing_fraction
        Fraction of samples that are missing (BLANK), in runs of consecutive samples.
    missing_run
        Mean length of such a run, samples; geometric.
    adc_min, adc_max
        Limits of the converter, ADU. Default: those of the integer type (with missing samples, the
        lowest integer is theirs).
    exposure
        Seconds; for the header only.
    sample_time
        Microseconds for one sample; for the header only.

    Raises
    ------
    ConfigError
        A parameter is impossible.
    """

    n_rows: int
    n_cols: int
    n_skips: int
    seed: int
    layout: str
    prescan_cols: int
    overscan_cols: int
    gain: float
    offset: float
    pedestal_drift: float
    pedestal_memory: float
    read_noise: float
    noise_pool: bool
    dark_current: float
    n_points: int
    point_energy_kev: tuple[float, float]
    point_diffusion: tuple[float, float]
    n_tracks: int
    track_length: float
    track_charge: float
    track_diffusion: float
    n_hot_columns: int
    hot_column_charge: float
    n_saturated: int
    charge_loss: float
    charge_loss_skip: int
    missing_fraction: float
    missing_run: float
    adc_min: int
    adc_max: int
    exposure: float
    sample_time: float

    def __post_init__(self) -> None:
        _check(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return LAYOUTS[self.layout].dtype

    @property
    def amplifiers(self) -> tuple[str, ...]:
        """Names of the amplifiers."""
        return LAYOUTS[self.layout].amplifiers

    @property
    def active_cols(self) -> slice:
        """Columns that collect charge."""
        return slice(self.prescan_cols, self.n_cols - self.overscan_cols)

    @property
    def blank(self) -> int | None:
        """The sample that stands for "missing", as a value of `dtype`; None: nothing is missing."""
        return int(np.iinfo(self.dtype).min) if self.missing_fraction > 0 else None

    @property
    def pixel_noise(self) -> float:
        """Expected standard deviation of the mean over all skips, e-."""
        # 1/12 ADU^2 is the variance that rounding to whole ADU adds.
        return math.hypot(self.read_noise, math.sqrt(1 / 12) / self.gain) / math.sqrt(self.n_skips)

    @property
    def n_samples(self) -> int:
        """Samples of all amplifiers."""
        return self.n_rows * self.n_cols * self.n_skips * len(self.amplifiers)

    @cached_property
    def events(self) -> NDArray[np.void]:
        """All events, of `EVENT_DTYPE`, in the order of the truth table."""
        tables = [
            band.events for number in range(len(self.amplifiers)) for band in _bands(self, number)
        ]
        events = np.concatenate(tables) if tables else np.empty(0, EVENT_DTYPE)
        events["event_id"] = np.arange(len(events))
        return events

    @cached_property
    def pedestal(self) -> NDArray[np.float64]:
        """Pedestal of each row, ``(n_amplifiers, n_rows)``, ADU."""
        shape = (len(self.amplifiers), self.n_rows)
        rows = (p for a in range(shape[0]) for p in _pedestals(self, a))
        return np.fromiter(rows, np.float64, shape[0] * shape[1]).reshape(shape)

    @cached_property
    def hot_columns(self) -> NDArray[np.int64]:
        """Columns with extra charge, ``(n_amplifiers, n_hot_columns)``, sorted."""
        numbers = range(len(self.amplifiers))
        return np.array([_hot_columns(self, number) for number in numbers], np.int64)

    def charge_image(self, amplifier: int = 0) -> NDArray[np.int32]:
        """Charge collected in each pixel, before any loss, ``(n_rows, n_cols)``, e-.

        Parameters
        ----------
        amplifier
            Counted from 0.
        """
        image = np.empty((self.n_rows, self.n_cols), np.int32)
        for step in _steps(self, amplifier):
            image[step.first_row : step.first_row + len(step.charge)] = step.charge
        return image


_DEFAULTS: Final[dict[str, Any]] = {
    "pedestal_memory": 1000.0,
    "read_noise": 2.5,
    "noise_pool": False,
    "dark_current": 0.05,
    "point_energy_kev": 5.9,
    "point_diffusion": (0.2, 0.8),
    "track_length": 30.0,
    "track_charge": 800.0,
    "track_diffusion": 0.8,
    "hot_column_charge": 3.0,
    "n_saturated": 0,
    "charge_loss": 0.0,
    "charge_loss_skip": 1,
    "missing_fraction": 0.0,
    "missing_run": 8.0,
    "exposure": 600.0,
    "sample_time": 40.0,
}


def _truth(given: dict[str, Any]) -> Truth:
    """Fill in what was not given and what depends on the shape and the layout."""
    names = [field.name for field in fields(Truth)]
    unknown = [name for name in given if name not in names]
    if unknown:
        nearest = nearest_name(unknown[0], names)
        hint = f"did you mean {nearest!r}?" if nearest else f"known: {', '.join(names)}"
        raise ConfigError(f"simulate: no parameter {unknown[0]!r}; {hint}")
    layout = LAYOUTS.get(given["layout"])
    if layout is None:
        raise ConfigError(
            f"simulate: layout: {given['layout']!r} is not one of {', '.join(LAYOUTS)}"
        )
    full = _DEFAULTS | {name: value for name, value in given.items() if value is not None}
    n_cols = full["n_cols"]
    full.setdefault("prescan_cols", min(8, n_cols // 8))
    full.setdefault("overscan_cols", min(64, n_cols * 15 // 100))
    n_active = max(0, n_cols - full["prescan_cols"] - full["overscan_cols"])
    usual = max(1, full["n_rows"] * n_active // 20_000) if n_active else 0
    full.setdefault("n_points", usual)
    full.setdefault("n_tracks", usual)
    full.setdefault("n_hot_columns", 2 if n_active >= 100 else 0)
    full.setdefault("gain", layout.gain)
    full.setdefault("offset", layout.offset)
    full.setdefault("pedestal_drift", full["gain"] / 10)
    limits = np.iinfo(layout.dtype)
    full.setdefault("adc_min", int(limits.min) + (full["missing_fraction"] > 0))
    full.setdefault("adc_max", int(limits.max))
    for name in ("point_energy_kev", "point_diffusion"):
        low, high = np.broadcast_to(np.asarray(full[name], float), 2)
        full[name] = (float(low), float(high))
    return Truth(**full)


def _check(truth: Truth) -> None:
    def refuse(name: str, what: str) -> None:
        raise ConfigError(f"simulate: {name}: {what}; got {getattr(truth, name)!r}")

    for name in ("n_rows", "n_cols", "n_skips"):
        if getattr(truth, name) < 1:
            refuse(name, "must be at least 1")
    for field in fields(truth):
        value = getattr(truth, field.name)
        if field.name == "layout":
            continue
        if not isinstance(value, int) and not np.all(np.isfinite(value)):
            refuse(field.name, "must be a finite number")
        if field.name not in ("offset", "adc_min", "adc_max") and np.any(np.less(value, 0)):
            refuse(field.name, "must not be negative")
    for name in ("gain", "pedestal_memory", "track_length", "missing_run", "sample_time"):
        if getattr(truth, name) <= 0:
            refuse(name, "must be above 0")
    if truth.prescan_cols + truth.overscan_cols > truth.n_cols:
        raise ConfigError(
            f"simulate: prescan_cols + overscan_cols: must be at most n_cols = {truth.n_cols}; "
            f"got {truth.prescan_cols} + {truth.overscan_cols}"
        )
    n_active = truth.n_cols - truth.prescan_cols - truth.overscan_cols
    for name in ("n_points", "n_tracks", "n_saturated"):
        if n_active == 0 and getattr(truth, name) > 0:
            refuse(name, "must be 0 where no column is active")
    if truth.n_hot_columns > n_active:
        refuse("n_hot_columns", f"must be at most the {n_active} active columns")
    for name in ("charge_loss", "missing_fraction"):
        if getattr(truth, name) > 1:
            refuse(name, "must be at most 1")
    if truth.missing_run < 1:
        refuse("missing_run", "must be at least 1 sample")
    for name in ("point_energy_kev", "point_diffusion"):
        low, high = getattr(truth, name)
        if low > high:
            refuse(name, "must be a number or an ascending range")
    if truth.n_points and truth.point_energy_kev[0] <= 0:
        refuse("point_energy_kev", "must be above 0")
    if truth.point_energy_kev[1] > 1e4:
        refuse("point_energy_kev", "must be at most 10000 keV")
    if truth.track_charge > 1e6:
        refuse("track_charge", "must be at most 1e6 e-/pixel")
    if truth.dark_current > 1e6 or truth.hot_column_charge > 1e6:
        refuse("dark_current", "and hot_column_charge must be at most 1e6 e-/pixel")
    if truth.point_diffusion[1] > _MAX_DIFFUSION:
        refuse("point_diffusion", f"must be at most {_MAX_DIFFUSION:g} pixels")
    if truth.track_diffusion > _MAX_DIFFUSION:
        refuse("track_diffusion", f"must be at most {_MAX_DIFFUSION:g} pixels")
    limits = np.iinfo(truth.dtype)
    lowest = limits.min + (truth.missing_fraction > 0)
    if not lowest <= truth.adc_min < truth.adc_max <= limits.max:
        raise ConfigError(
            f"simulate: adc_min, adc_max: must ascend within {lowest} to {limits.max}; "
            f"got {truth.adc_min}, {truth.adc_max}"
        )
    if truth.read_noise * truth.gain > 1e7:
        refuse("read_noise", f"must be at most {1e7 / truth.gain:g} e- at this gain")
    if truth.noise_pool and truth.n_skips > _POOL_SAMPLES // 2:
        refuse("n_skips", f"must be at most {_POOL_SAMPLES // 2} with noise_pool")


def _stream(truth: Truth, amplifier: int, name: str) -> np.random.Generator:
    entropy = [truth.seed, amplifier, _STREAMS.index(name)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


# ------------------------------------------------------------------------------------ pedestal


def _pedestals(truth: Truth, amplifier: int) -> Iterator[float]:
    random = _stream(truth, amplifier, "pedestal")
    keep = math.exp(-1 / truth.pedestal_memory)
    # Begin where the walk would be after a long time, so no row is special.
    spread = truth.pedestal_drift / math.sqrt(1 - keep * keep)
    walk = spread * random.standard_normal()
    for _ in range(truth.n_rows):
        yield truth.offset + walk
        walk = keep * walk + truth.pedestal_drift * random.standard_normal()


# -------------------------------------------------------------------------------------- events


class _Deposit(NamedTuple):
    """Charge of an event: pixels in raster order."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    charge: NDArray[np.int64]


class _Band(NamedTuple):
    """Events that begin in the same few rows; their charge may reach further down."""

    events: NDArray[np.void]
    deposits: list[_Deposit]


def _cloud(
    truth: Truth, random: np.random.Generator, x: float, y: float, charge: int, sigma: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Places of the electrons of a point event, a bounded number at a time."""
    for first in range(0, charge, 1 << 16):
        n = min(1 << 16, charge - first)
        yield x + sigma * random.standard_normal(n), y + sigma * random.standard_normal(n)


def _point(truth: Truth, random: np.random.Generator, x: float, y: float) -> _Deposit:
    low, high = np.log(truth.point_energy_kev)
    mean = 1000 * math.exp(random.uniform(low, high)) / ENERGY_PER_ELECTRON
    charge = max(1, round(random.normal(mean, math.sqrt(FANO_FACTOR * mean))))
    sigma = random.uniform(*truth.point_diffusion)
    reach = 2 + math.ceil(8 * sigma)
    places = _cloud(truth, random, x, y, charge, sigma)
    return _collect(truth, places, (x - reach, x + reach), (y - reach, y + reach))


def _track(truth: Truth, random: np.random.Generator, x: float, y: float) -> _Deposit:
    angle = random.uniform(0, math.pi)
    length = min(random.exponential(truth.track_length), 5 * truth.track_length)
    upwards = random.random() < 0.5
    n_steps = max(2, math.ceil(4 * length))
    end_x, end_y = x + length * math.cos(angle), y + length * math.sin(angle)

    def places() -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        for first in range(0, n_steps, 32):
            along = (np.arange(first, min(first + 32, n_steps)) + 0.5) / n_steps
            # -ln z^2 of a normal z has Moyal's distribution.
            moyal = -np.log(np.square(random.standard_normal(len(along))) + 1e-300)
            step = truth.track_charge * length / n_steps * (1 + 0.2 * np.clip(moyal, -4, 40))
            electrons = random.poisson(np.maximum(step, 0))
            depth = along if upwards else 1 - along
            sigma = np.repeat(truth.track_diffusion * np.sqrt(depth), electrons)
            spot = np.repeat(along, electrons) * length
            yield (
                x + spot * math.cos(angle) + sigma * random.standard_normal(len(spot)),
                y + spot * math.sin(angle) + sigma * random.standard_normal(len(spot)),
            )

    reach = 2 + math.ceil(8 * truth.track_diffusion)
    columns = (min(x, end_x) - reach, max(x, end_x) + reach)
    return _collect(truth, places(), columns, (y - reach, end_y + reach))


def _saturated(truth: Truth, random: np.random.Generator, x: float, y: float) -> _Deposit:
    full = max(1.0, (truth.adc_max - truth.offset) / truth.gain)
    # Well beyond the limit, whatever the pedestal and the noise are.
    charge = min(1 << 30, int(full * random.uniform(1.2, 2.0) + 100 * truth.read_noise))
    one = np.ones(1, np.int64)
    return _Deposit(one * round(y), one * round(x), one * charge)


def _collect(
    truth: Truth,
    places: Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]],
    columns: tuple[float, float],
    rows: tuple[float, float],
) -> _Deposit:
    """Count electrons by pixel, within a box and the active pixels; the rest leaves the image."""
    active = truth.active_cols
    first_col, end_col = max(active.start, round(columns[0])), min(active.stop, round(columns[1]))
    first_row, end_row = max(0, round(rows[0])), min(truth.n_rows, round(rows[1]))
    width, height = max(0, end_col - first_col), max(0, end_row - first_row)
    box = np.zeros(width * height, np.int64)
    for x, y in places:
        col = np.rint(x).astype(np.int64) - first_col
        row = np.rint(y).astype(np.int64) - first_row
        inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
        box += np.bincount(row[inside] * width + col[inside], minlength=len(box))
    filled = np.flatnonzero(box)
    return _Deposit(first_row + filled // max(width, 1), first_col + filled % max(width, 1),
                    box[filled])  # fmt: skip


_KINDS: Final = {"point": _point, "track": _track, "saturated": _saturated}


def _bands(truth: Truth, amplifier: int) -> Iterator[_Band]:
    """Events of an amplifier, by the rows in which they begin."""
    random = {kind: _stream(truth, amplifier, kind) for kind in _KINDS}
    left = {"point": truth.n_points, "track": truth.n_tracks, "saturated": truth.n_saturated}
    active = truth.active_cols
    for begin in range(0, truth.n_rows, _BAND_ROWS):
        n_rows = min(_BAND_ROWS, truth.n_rows - begin)
        drawn: list[tuple[str, _Deposit]] = []
        for kind, deposit in _KINDS.items():
            source = random[kind]
            # The last band takes what is left, so the total is exact.
            n = int(source.binomial(left[kind], n_rows / (truth.n_rows - begin)))
            left[kind] -= n
            for _ in range(n):
                x = source.uniform(active.start - 0.5, active.stop - 0.5)
                y = source.uniform(begin - 0.5, begin + n_rows - 0.5)
                drawn.append((kind, deposit(truth, source, x, y)))
        kept = [(kind, deposit) for kind, deposit in drawn if len(deposit.charge)]
        kept.sort(key=lambda one: (int(one[1].row[0]), int(one[1].col[0])))
        table = np.array([_event(kind, amplifier, deposit) for kind, deposit in kept], EVENT_DTYPE)
        yield _Band(table, [deposit for _, deposit in kept])


def _event(kind: str, amplifier: int, deposit: _Deposit) -> tuple[Any, ...]:
    row, col, charge = deposit
    total = int(charge.sum())
    return (
        0, kind, amplifier + 1, float(charge @ col / total), float(charge @ row / total), total,
        total * ENERGY_PER_ELECTRON / 1000, charge.max(), len(charge), col.min(), col.max(),
        row.min(), row.max(),
    )  # fmt: skip


# -------------------------------------------------------------------------------------- charge


class _Step(NamedTuple):
    """Consecutive rows, complete but for the noise."""

    first_row: int
    charge: NDArray[np.int32]  # (n, n_cols), e-
    charge_after: NDArray[np.int32]  # the same from charge_loss_skip on
    pedestal: NDArray[np.float64]  # (n,), ADU
    gaps: NDArray[np.int64]  # (n_gaps, 2), half-open ranges of missing samples from the first
    events: NDArray[np.void]  # those newly drawn


def _hot_columns(truth: Truth, amplifier: int) -> NDArray[np.int64]:
    active = truth.active_cols
    random = _stream(truth, amplifier, "hot_column_places")
    chosen = random.choice(active.stop - active.start, truth.n_hot_columns, replace=False)
    columns: NDArray[np.int64] = np.sort(chosen).astype(np.int64) + active.start
    return columns


def _steps(truth: Truth, amplifier: int, step_pixels: int = _STEP_PIXELS) -> Iterator[_Step]:
    dark, hot, loss, counts, places = (
        _stream(truth, amplifier, name)
        for name in (
            "dark_current",
            "hot_columns",
            "charge_loss",
            "missing_counts",
            "missing_places",
        )
    )
    hot_columns = _hot_columns(truth, amplifier)
    pedestals = _pedestals(truth, amplifier)
    bands = _bands(truth, amplifier)
    n_active = truth.active_cols.stop - truth.active_cols.start
    row_samples = truth.n_cols * truth.n_skips
    drawn_rows = 0
    waiting: list[_Deposit] = []
    step_rows = max(1, step_pixels // truth.n_cols)
    for first_row in range(0, truth.n_rows, step_rows):
        n = min(step_rows, truth.n_rows - first_row)
        end_row = first_row + n
        charge = np.zeros((n, truth.n_cols), np.int32)
        if truth.dark_current:
            charge[:, truth.active_cols] = dark.poisson(truth.dark_current, (n, n_active))
        if truth.hot_column_charge and len(hot_columns):
            charge[:, hot_columns] += hot.poisson(
                truth.hot_column_charge, (n, len(hot_columns))
            ).astype(np.int32)
        new: list[NDArray[np.void]] = []
        while drawn_rows < min(truth.n_rows, end_row + _MARGIN_ROWS):
            band = next(bands)
            drawn_rows += _BAND_ROWS
            new.append(band.events)
            waiting += band.deposits
        for row, col, electrons in waiting:
            here = slice(*np.searchsorted(row, (first_row, end_row)))
            # Pixels of one event are distinct, so plain indexing adds each.
            charge[row[here] - first_row, col[here]] += electrons[here].astype(np.int32)
        waiting = [deposit for deposit in waiting if deposit.row[-1] >= end_row]
        after = charge
        if truth.charge_loss:
            after = charge.copy()
            filled = np.flatnonzero(charge)
            after.flat[filled] = loss.binomial(charge.flat[filled], 1 - truth.charge_loss)
        yield _Step(
            first_row,
            charge,
            after,
            np.fromiter(pedestals, np.float64, n),
            _gaps(truth, counts, places, n, row_samples),
            np.concatenate(new) if new else np.empty(0, EVENT_DTYPE),
        )


def _gaps(
    truth: Truth,
    counts: np.random.Generator,
    places: np.random.Generator,
    n_rows: int,
    row_samples: int,
) -> NDArray[np.int64]:
    if truth.missing_fraction == 0:
        return np.empty((0, 2), np.int64)
    if truth.missing_fraction == 1:
        return np.array([[0, n_rows * row_samples]])
    # Runs may overlap: that many leave a sample untouched with probability 1 - missing_fraction.
    rate = -math.log1p(-truth.missing_fraction) * row_samples / truth.missing_run
    parts = []
    for row, n in enumerate(counts.poisson(rate, n_rows)):
        begin = places.integers(0, row_samples, n)
        end = np.minimum(begin + places.geometric(1 / truth.missing_run, n), row_samples)
        parts.append(np.sort(np.column_stack((begin, end)) + row * row_samples, axis=0))
    return np.concatenate(parts)


# ------------------------------------------------------------------------------------- samples


class _Converter:
    """From charge to the samples of one amplifier, block after block.

    A block is a whole number of pixels, or a part of one pixel where a pixel is longer.
    """

    def __init__(self, truth: Truth, amplifier: int, block_samples: int) -> None:
        self.truth = truth
        self.noise = _stream(truth, amplifier, "read_noise")
        self.pixels_per_block = max(1, block_samples // truth.n_skips)
        self.skips_per_block = min(truth.n_skips, block_samples)
        size = self.pixels_per_block * self.skips_per_block
        self.values = np.empty(size, np.float32)
        self.samples = np.empty(size, np.int32)
        self.sigma = np.float32(truth.read_noise * truth.gain)
        # uint16 is kept as FITS stores it: signed, less 32768.
        self.shift = 32768 if truth.dtype == np.uint16 else 0
        self.low = truth.adc_min - self.shift
        self.high = truth.adc_max - self.shift
        self.pool: NDArray[np.float32] | None = None
        if truth.noise_pool:
            source = _stream(truth, amplifier, "noise_pool")
            pool = source.standard_normal(_POOL_SAMPLES, dtype=np.float32)
            pool *= self.sigma
            self.pool = np.lib.stride_tricks.sliding_window_view(pool, truth.n_skips)

    def blocks(self, step: _Step) -> Iterator[NDArray[np.int32]]:
        """Yield the samples of a step, flat, less `shift`; a block is valid until the next."""
        truth = self.truth
        n_skips = truth.n_skips
        n_pixels = step.charge.size
        blank = None if truth.blank is None else truth.blank - self.shift
        levels = [self._levels(step, charge) for charge in (step.charge, step.charge_after)]
        for first in range(0, n_pixels, self.pixels_per_block):
            pixels = slice(first, min(first + self.pixels_per_block, n_pixels))
            n = pixels.stop - pixels.start
            offsets = None
            if self.pool is not None:
                offsets = self.noise.integers(0, len(self.pool), n)
            for first_skip in range(0, n_skips, self.skips_per_block):
                end_skip = min(first_skip + self.skips_per_block, n_skips)
                size = n * (end_skip - first_skip)
                values = self.values[:size].reshape(n, -1)
                samples = self.samples[:size].reshape(n, -1)
                if offsets is None or self.pool is None:
                    self.noise.standard_normal(out=values, dtype=np.float32)
                    values *= self.sigma
                else:
                    values[:] = self.pool[offsets, first_skip:end_skip]
                change = min(max(truth.charge_loss_skip, first_skip), end_skip) - first_skip
                for skips, (level, near_limit) in zip(
                    (slice(0, change), slice(change, None)), levels, strict=True
                ):
                    self._convert(
                        values[:, skips], samples[:, skips], level[pixels], near_limit[pixels]
                    )
                flat = self.samples[:size]
                if blank is not None:
                    begin = first * n_skips + first_skip
                    for gap in _overlaps(step.gaps, begin, begin + size):
                        flat[gap] = blank
                yield flat

    def _levels(
        self, step: _Step, charge: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Level of each pixel without noise, and whether noise may take it out of range."""
        level = (step.pedestal[:, None] + self.truth.gain * charge).ravel() - self.shift
        reach = 64 * float(self.sigma) + 2  # the noise never reaches this far
        return level, (level > self.high - reach) | (level < self.low + reach)

    def _convert(
        self,
        values: NDArray[np.float32],
        samples: NDArray[np.int32],
        level: NDArray[np.float64],
        near_limit: NDArray[np.bool_],
    ) -> None:
        if values.size == 0:
            return
        # Whole ADU are added as integers: float32 holds only 24 bits.
        whole = np.rint(level)
        values += (level - whole).astype(np.float32)[:, None]
        np.rint(values, out=values)
        np.copyto(samples, values, casting="unsafe")
        samples += np.where(near_limit, 0, whole).astype(np.int32)[:, None]
        for pixel in np.flatnonzero(near_limit):
            wide = samples[pixel] + np.int64(whole[pixel])
            samples[pixel] = np.clip(wide, self.low, self.high)


def _overlaps(gaps: NDArray[np.int64], begin: int, end: int) -> Iterator[slice]:
    """Parts of the gaps that lie in [begin, end), relative to it. Both columns are sorted."""
    first = int(np.searchsorted(gaps[:, 1], begin, side="right"))
    last = int(np.searchsorted(gaps[:, 0], end, side="left"))
    for gap_begin, gap_end in gaps[first:last].tolist():
        yield slice(max(gap_begin, begin) - begin, min(gap_end, end) - begin)


# --------------------------------------------------------------------------------------- files


def truth_path(path: str | os.PathLike[str]) -> Path:
    """Name of the table of events beside a simulated image."""
    path = Path(path)
    return path.with_name(f"{path.stem}_truth.ecsv")


def _rows_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_truth_rows.ecsv")


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name only when it is complete and on the disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _card(keyword: str, value: bool | int | float | str, comment: str = "") -> bytes:
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = value.replace("'", "''").ljust(8)
        text = f"'{quoted}'".ljust(20)
    else:
        number = repr(value).upper() if isinstance(value, float) else str(value)
        text = f"{number:>20}"
    name = f"{keyword:<8}" if len(keyword) <= 8 else f"HIERARCH {keyword}"
    card = f"{name}= {text}" if len(keyword) <= 8 else f"{name} = {text}"
    if comment:
        card += f" / {comment}"
    return card[:80].ljust(80).encode("ascii")


def _header(cards: Iterable[bytes]) -> bytes:
    text = b"".join(cards) + b"END".ljust(80)
    return text + b" " * (-len(text) % 2880)


_BEGIN_EXPOSURE: Final = datetime(2025, 1, 1, tzinfo=UTC)  # fixed: files depend on the seed alone


def _cards(truth: Truth, amplifier: int) -> Iterator[bytes]:
    n_samples_row = truth.n_cols * truth.n_skips
    if amplifier == 0:
        yield _card("SIMPLE", True, "conforms to the FITS standard")
    else:
        yield _card("XTENSION", "IMAGE", "image extension")
    yield _card("BITPIX", 8 * truth.dtype.itemsize, "bits of a sample")
    yield _card("NAXIS", 2)
    yield _card("NAXIS1", n_samples_row, "columns times samples")
    yield _card("NAXIS2", truth.n_rows, "rows")
    if amplifier > 0:
        yield _card("PCOUNT", 0)
        yield _card("GCOUNT", 1)
    elif len(truth.amplifiers) > 1:
        yield _card("EXTEND", True)
    if truth.dtype == np.uint16:
        yield _card("BZERO", 32768, "samples are unsigned")
        yield _card("BSCALE", 1)
    if truth.blank is not None:
        shift = 32768 if truth.dtype == np.uint16 else 0
        yield _card("BLANK", truth.blank - shift, "stored value of a missing sample")
    readout = truth.n_rows * n_samples_row * truth.sample_time * 1e-6
    begin_readout = _BEGIN_EXPOSURE + timedelta(seconds=truth.exposure)
    end_readout = begin_readout + timedelta(seconds=readout)
    cards = {"leach": _leach_cards, "lta": _lta_cards, "acm": _acm_cards}
    yield from cards[LAYOUTS[truth.layout].keys](truth, amplifier, begin_readout, end_readout)
    for name, (keyword, comment) in _SIM_CARDS.items():
        value = getattr(truth, name)
        if isinstance(value, tuple):
            yield _card(f"{keyword}1", value[0], f"{comment}, from")
            yield _card(f"{keyword}2", value[1], f"{comment}, to")
        else:
            yield _card(keyword, value, comment)
    for number, column in enumerate(truth.hot_columns[amplifier][:99], 1):
        yield _card(f"SIMHOT{number}", int(column), "simulated: hot column, from 0")


def _leach_cards(
    truth: Truth, amplifier: int, begin_readout: datetime, end_readout: datetime
) -> Iterator[bytes]:
    readout = (end_readout - begin_readout).total_seconds()
    yield _card("NDCMS", truth.n_skips, "samples of each pixel")
    yield _card("NPBIN", 1, "row binning")
    yield _card("NSBIN", 1, "column binning")
    yield _card("AMPL", truth.amplifiers[amplifier], "amplifier")
    yield _card("MEXP", round(truth.exposure * 1000), "ms exposure")
    yield _card("MREAD", round(readout * 1000), "ms readout")
    yield _card("ITGTIME", truth.sample_time / 4, "us integration")
    yield _card("EXPSTART", _BEGIN_EXPOSURE.ctime())
    yield _card("RDSTRT", begin_readout.ctime())
    yield _card("RDEND", end_readout.ctime())


def _lta_cards(
    truth: Truth, amplifier: int, begin_readout: datetime, end_readout: datetime
) -> Iterator[bytes]:
    n_active = truth.active_cols.stop - truth.active_cols.start
    # The board's own keywords are strings, numbers too.
    for keyword, value, comment in (
        ("CCDNCOL", 2 * n_active, "columns of the sensor, read by two amplifiers"),
        ("CCDNROW", 2 * truth.n_rows, "rows of the sensor"),
        ("CCDNPRES", truth.prescan_cols, "prescan columns"),
        ("NCOL", truth.n_cols, "columns read"),
        ("NROW", truth.n_rows, "rows read"),
        ("NSAMP", truth.n_skips, "samples of each pixel"),
        ("NBINROW", 1, "row binning"),
        ("NBINCOL", 1, "column binning"),
        ("EXPOSURE", f"{truth.exposure:g}", "s"),
        ("LTANAME", "simulated", "name of the board"),
        ("RUNID", truth.seed, "number of the run"),
        ("CHID", truth.amplifiers[amplifier], "channel"),
        ("DATESTART", begin_readout.strftime("%Y-%m-%dT%H:%M:%S"), "start of readout"),
        ("DATEEND", end_readout.strftime("%Y-%m-%dT%H:%M:%S"), "end of readout"),
    ):
        yield _card(keyword, str(value), comment)


def _acm_cards(
    truth: Truth, amplifier: int, begin_readout: datetime, end_readout: datetime
) -> Iterator[bytes]:
    yield _card("ACMID", 109, "number of the board")
    yield _card("NDCM", truth.n_skips, "samples of each pixel")
    yield _card("NCOL", truth.n_cols, "columns read")
    yield _card("NROW", truth.n_rows, "rows read")
    yield _card("NPBIN", 1, "row binning")
    yield _card("NSBIN", 1, "column binning")
    yield _card("PRESCAN", truth.prescan_cols, "prescan columns")
    yield _card("PHYSCOL", truth.active_cols.stop - truth.active_cols.start, "active columns")
    yield _card("EXPOSURE", truth.exposure, "s")
    yield _card("MREAD", (end_readout - begin_readout).total_seconds(), "s readout")
    yield _card("TINTEGR", truth.sample_time / 4, "us integration")
    yield _card("DATEINI", begin_readout.strftime("%Y-%m-%dT%H:%M:%S"))
    yield _card("DATEEND", end_readout.strftime("%Y-%m-%dT%H:%M:%S"))


_SIM_CARDS: Final = {
    "seed": ("SIMSEED", "simulated: seed"),
    "prescan_cols": ("SIMPRE", "simulated: prescan columns"),
    "overscan_cols": ("SIMOVER", "simulated: overscan columns"),
    "gain": ("SIMGAIN", "simulated: ADU/e-"),
    "offset": ("SIMOFFS", "simulated: mean pedestal, ADU"),
    "pedestal_drift": ("SIMDRIFT", "simulated: pedestal step per row, ADU"),
    "pedestal_memory": ("SIMMEMO", "simulated: rows until the pedestal forgets"),
    "read_noise": ("SIMNOISE", "simulated: noise of a sample, e-"),
    "noise_pool": ("SIMPOOL", "simulated: noise taken from a pool"),
    "dark_current": ("SIMDARK", "simulated: e-/pixel"),
    "n_points": ("SIMNPNT", "simulated: point events"),
    "point_energy_kev": ("SIMPKEV", "simulated: keV of points"),
    "point_diffusion": ("SIMPDIF", "simulated: pixels, of points"),
    "n_tracks": ("SIMNTRK", "simulated: tracks"),
    "track_length": ("SIMTLEN", "simulated: mean length, pixels"),
    "track_charge": ("SIMTCHG", "simulated: e-/pixel of a track"),
    "track_diffusion": ("SIMTDIF", "simulated: diffusion of a track, pixels"),
    "n_hot_columns": ("SIMNHOT", "simulated: hot columns"),
    "hot_column_charge": ("SIMHCHG", "simulated: e-/pixel of a hot column"),
    "n_saturated": ("SIMNSAT", "simulated: saturated pixels"),
    "charge_loss": ("SIMLOSS", "simulated: fraction of charge lost"),
    "charge_loss_skip": ("SIMLSKIP", "simulated: first skip without it, from 0"),
    "missing_fraction": ("SIMMISS", "simulated: fraction of samples missing"),
    "missing_run": ("SIMMRUN", "simulated: mean run of missing samples"),
    "adc_min": ("SIMAMIN", "simulated: lower limit of the converter"),
    "adc_max": ("SIMAMAX", "simulated: upper limit of the converter"),
    "sample_time": ("SIMTIME", "simulated: us for a sample"),
}


def _ecsv_header(columns: dict[str, tuple[str, str, str]], meta: dict[str, Any]) -> bytes:
    lines = ["# %ECSV 1.0", "# ---", "# datatype:"]
    for name, (kind, unit, text) in columns.items():
        known_unit = f", unit: {unit}" if unit else ""
        lines.append(
            f"# - {{name: {name}{known_unit}, datatype: {kind}, description: {json.dumps(text)}}}"
        )
    if meta:
        lines.append("# meta: !!omap")
    # JSON values are YAML as well.
    lines += [f"# - {{{key}: {json.dumps(value)}}}" for key, value in meta.items()]
    lines += ["# schema: astropy-2.0", " ".join(columns)]
    return ("\n".join(lines) + "\n").encode()


def _meta(truth: Truth) -> dict[str, Any]:
    return {field.name: getattr(truth, field.name) for field in fields(truth)}


def _event_header(truth: Truth) -> bytes:
    columns = {}
    for name, (unit, text) in _EVENT_COLUMNS.items():
        kind = {"i": "int64", "f": "float64", "U": "string"}[EVENT_DTYPE[name].kind]
        columns[name] = (kind, unit, text)
    return _ecsv_header(columns, _meta(truth) | {"hot_columns": truth.hot_columns.tolist()})


def read_truth(path: str | os.PathLike[str]) -> Truth:
    """Read the truth of a simulated image back from its table of events.

    Parameters
    ----------
    path
        The image, or the table ``<stem>_truth.ecsv`` beside it.

    Raises
    ------
    FileNotFoundError
        There is no such table.
    ConfigError
        The file is not a table written by `simulate`.
    """
    path = Path(path)
    table = path if path.name.endswith("_truth.ecsv") else truth_path(path)
    values: dict[str, Any] = {}
    with table.open(encoding="utf-8") as file:
        in_meta = False
        for line in file:
            if not line.startswith("#"):
                break
            in_meta = in_meta or line.startswith("# meta:")
            match = re.fullmatch(r"# - \{(\w+): (.*)\}\n", line)
            if in_meta and match:
                values[match[1]] = json.loads(match[2])
    names = {field.name for field in fields(Truth)}
    if missing := sorted(names - values.keys()):
        raise ConfigError(f"{table}: not a table of truth; it does not state {missing[0]!r}")
    return _truth({name: values[name] for name in names})


# --------------------------------------------------------------------------------- entry points


def simulate(
    path: str | os.PathLike[str],
    *,
    n_rows: int,
    n_cols: int,
    n_skips: int,
    seed: int = 0,
    layout: str = "leach",
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    **components: Any,
) -> Truth:
    """Write a raw skipper image, and what is true of it.

    The file is written as it is made, a block of samples at a time: memory does not depend on its
    size. Beside ``<stem>.fits`` stand ``<stem>_truth.ecsv``, the events with all parameters, and
    ``<stem>_truth_rows.ecsv``, the pedestal of each row. A name always means a whole file.

    Parameters
    ----------
    path
        The FITS file to write.
    n_rows, n_cols, n_skips
        Rows, columns (with prescan and overscan) and samples of each pixel, per amplifier.
    seed
        The same seed and parameters give the same file, bit for bit.
    layout
        ``"leach"``: one uint16 primary HDU with ``NDCMS``; ``"lta"``: four int32 HDUs with
        ``NSAMP`` as a string. The samples of a pixel follow each other along NAXIS1 in both.
    overwrite
        Replace files that exist.
    progress
        Called now and then with the number of samples made so far; see `Truth.n_samples`.
    **components
        The parameters of the noise, the charge and the faults; see `Truth` for all of them.
        None stands for the default.

    Returns
    -------
    Truth
        What the image was made from.

    Raises
    ------
    FileExistsError
        A file exists and `overwrite` is not asked for. Nothing is written.
    ConfigError
        A parameter is unknown or impossible. Nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate(f"{folder}/raw.fits", n_rows=32, n_cols=64, n_skips=10, n_points=3)
    >>> len(truth.events), truth.gain
    (4, 5.0)
    """
    path = Path(path)
    truth = _truth(
        {
            "n_rows": n_rows,
            "n_cols": n_cols,
            "n_skips": n_skips,
            "seed": seed,
            "layout": layout,
            **components,
        }
    )
    targets = (path, truth_path(path), _rows_path(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it first")
    for target in targets:
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target}: exists; choose another name or ask to overwrite it")
    arrangement = LAYOUTS[truth.layout].arrangement
    with (
        _whole_file(targets[0]) as image,  # named last: an image never stands without its truth
        _whole_file(targets[1]) as events,
        _whole_file(targets[2]) as rows,
    ):
        _write(truth, image, events, rows, progress)
    if arrangement != "columns":
        _rearrange(path, arrangement, truth.n_skips)
    return truth


def _rearrange(path: Path, arrangement: str, n_skips: int) -> None:
    """Replace a file by the same samples in another arrangement."""
    from .arrange import arrange

    partial = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        arrange(path, partial, arrangement, n_skips)
        if partial.exists():
            partial.replace(path)
            return
        first = f".{path.name}.{os.getpid()}.part_"
        for part in sorted(path.parent.glob(f"{first}*")):
            part.replace(path.with_name(f"{path.stem}_{part.name.removeprefix(first)}"))
        path.unlink()
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _write(
    truth: Truth,
    image: IO[bytes],
    events: IO[bytes],
    rows: IO[bytes],
    progress: Callable[[int], None] | None,
    block_samples: int = _BLOCK_SAMPLES,
) -> None:
    events.write(_event_header(truth))
    rows.write(
        _ecsv_header(
            {
                "amplifier": ("int64", "", "number of the amplifier, from 1"),
                "row": ("int64", "pix", "row, 0-based"),
                "pedestal": ("float64", "adu", "level of a sample without charge and noise"),
            },
            {},
        )
    )
    stored = np.dtype(">i2") if truth.dtype == np.uint16 else np.dtype(">i4")
    n_events = 0
    n_written = 0
    for amplifier in range(len(truth.amplifiers)):
        image.write(_header(_cards(truth, amplifier)))
        converter = _Converter(truth, amplifier, block_samples)
        for step in _steps(truth, amplifier):
            for samples in converter.blocks(step):
                image.write(samples.astype(stored).data)
                n_written += len(samples)
                if progress is not None:
                    progress(n_written)
            for row, pedestal in enumerate(step.pedestal.tolist(), step.first_row):
                rows.write(f"{amplifier + 1} {row} {pedestal!r}\n".encode())
            for event in step.events:
                _, *values = event.item()
                line = " ".join(str(value) for value in (n_events, *values))
                events.write(line.encode() + b"\n")
                n_events += 1
        n_bytes = truth.n_rows * truth.n_cols * truth.n_skips * stored.itemsize
        image.write(bytes(-n_bytes % 2880))


def simulate_samples(
    *,
    n_rows: int,
    n_cols: int,
    n_skips: int,
    seed: int = 0,
    layout: str = "leach",
    amplifier: int = 0,
    dtype: DTypeLike | None = None,
    **components: Any,
) -> tuple[NDArray[Any], Truth]:
    """Make the samples of one amplifier as an array: those that `simulate` would write.

    Parameters
    ----------
    n_rows, n_cols, n_skips, seed, layout
        As for `simulate`.
    amplifier
        Counted from 0.
    dtype
        Type of the array. Default: that of the layout. In floating types missing samples are NaN,
        in integers they are `Truth.blank`.
    **components
        See `Truth`.

    Returns
    -------
    samples
        ``(n_rows, n_cols, n_skips)``, ADU.
    truth
        What they were made from.

    Raises
    ------
    ConfigError
        A parameter is unknown or impossible, or `dtype` cannot hold the samples.

    Examples
    --------
    >>> samples, truth = simulate_samples(n_rows=4, n_cols=20, n_skips=50, seed=1)
    >>> samples.shape, samples.dtype
    ((4, 20, 50), dtype('uint16'))
    """
    truth = _truth(
        {
            "n_rows": n_rows,
            "n_cols": n_cols,
            "n_skips": n_skips,
            "seed": seed,
            "layout": layout,
            **components,
        }
    )
    if not 0 <= amplifier < len(truth.amplifiers):
        raise ConfigError(
            f"simulate: amplifier: must be 0 to {len(truth.amplifiers) - 1} for layout "
            f"{layout!r}; got {amplifier}"
        )
    kind = truth.dtype if dtype is None else np.dtype(dtype)
    lowest = truth.adc_min if truth.blank is None else truth.blank
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        if lowest < limits.min or truth.adc_max > limits.max:
            raise ConfigError(
                f"simulate: dtype: {kind} cannot hold {lowest} to {truth.adc_max} ADU; use a wider "
                "type or set adc_min and adc_max"
            )
    elif kind.kind != "f":
        raise ConfigError(f"simulate: dtype: must be an integer or floating type; got {kind}")
    flat = np.empty(n_rows * n_cols * n_skips, kind)
    converter = _Converter(truth, amplifier, _BLOCK_SAMPLES)
    done = 0
    for step in _steps(truth, amplifier):
        for samples in converter.blocks(step):
            part = flat[done : done + len(samples)]
            np.add(samples, np.int64(converter.shift), out=part, casting="unsafe")
            if kind.kind == "f" and truth.blank is not None:
                part[samples == truth.blank - converter.shift] = np.nan
            done += len(samples)
    return flat.reshape(n_rows, n_cols, n_skips), truth
