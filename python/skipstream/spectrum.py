"""Amplitude spectra of the readout noise, over the samples of a pixel and the pixels of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .fitting import median_and_sigma

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["NoiseSpectrum", "Spectrum", "noise_spectrum"]

_BLOCK_SAMPLES = 1 << 16  # transformed at a time: they and their transforms fit the L2


@dataclass(frozen=True)
class Spectrum:
    """Mean amplitude at each frequency.

    Attributes
    ----------
    frequency
        ``(n,)``, Hz, without 0; in cycles per sample where no read time is known.
    amplitude
        ``(n,)``: mean of ``|FFT| / n_values`` over all series, in the unit of the samples.
    lines
        Frequency and amplitude of what stands out of its neighbours by more than 5 sigma, the
        strongest first.
    n_series
        Pixels, or rows, that took part.
    frequency_unit
        ``"Hz"`` or ``"1/sample"``.
    """

    frequency: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    lines: list[tuple[float, float]]
    n_series: int
    frequency_unit: str

    def __repr__(self) -> str:
        text = [f"spectrum of {self.n_series} series, {len(self.frequency)} frequencies"]
        unit = self.frequency_unit
        text += [f"  line at {f:.6g} {unit}, amplitude {a:.3g}" for f, a in self.lines[:10]]
        return "\n".join(text)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the spectrum, with its lines marked."""
        from .plot import plot_spectrum

        return plot_spectrum(self, ax)


class NoiseSpectrum:
    """Averages the spectra of rows as they come; memory does not grow with their number.

    Parameters
    ----------
    over
        ``"skips"``: of the samples of each pixel, around their mean; ``"row"``: of the means of the
        pixels along each row, around the row's mean.
    sample_time_s
        Time between two samples of a pixel (``over="skips"``) or two pixels (``"row"``); None:
        frequencies are in cycles per sample.
    """

    def __init__(self, over: str = "skips", sample_time_s: float | None = None) -> None:
        if over not in ("skips", "row"):
            raise _core.ConfigError(f'noise_spectrum.over: must be "skips" or "row"; got {over!r}')
        if sample_time_s is not None and not sample_time_s > 0:
            raise _core.ConfigError(
                f"noise_spectrum.sample_time_s: must be above 0; got {sample_time_s}"
            )
        self.over = over
        self.sample_time_s = sample_time_s
        self._sum: NDArray[np.float64] | None = None
        self._length = 0
        self._n_series = 0

    def consume(self, rows: ArrayLike) -> None:
        """Add rows, ``(n_rows, n_cols, n_skips)``.

        Left out are the series of a pixel with a missing sample, and rows with a pixel that has
        none.

        Raises
        ------
        ConfigError
            The shape is another one than that of the rows before.
        """
        samples = np.asarray(rows)
        if samples.ndim != 3:
            raise _core.ConfigError(
                f"noise_spectrum: rows must be (n_rows, n_cols, n_skips); got {samples.shape}"
            )
        if samples.size == 0:
            return
        length = samples.shape[2 if self.over == "skips" else 1]
        if self._length not in (0, length):
            raise _core.ConfigError(
                f"noise_spectrum: rows of {length} values after rows of {self._length}"
            )
        self._length = length
        step = max(1, _BLOCK_SAMPLES // max(1, samples[0].size)) if len(samples) else 1
        for begin in range(0, len(samples), step):
            part = samples[begin : begin + step]
            series = part.reshape(-1, length) if self.over == "skips" else _means(part)
            if series.dtype.kind == "f":
                series = series[np.isfinite(series).all(axis=1)]
            values = series.astype(np.float64)
            if len(values):
                values -= values[0, 0]  # the mean has a line of its own, which is left out
            amplitude = np.abs(np.fft.rfft(values, axis=1))[:, 1:].sum(axis=0)
            self._sum = amplitude if self._sum is None else self._sum + amplitude
            self._n_series += len(series)

    def merge(self, other: Self) -> None:
        """Add what another one, of other rows, has consumed."""
        if other._sum is None:
            return
        if self._length not in (0, other._length) or self.over != other.over:
            raise _core.ConfigError("noise_spectrum: these are spectra of different series")
        self._sum = other._sum.copy() if self._sum is None else self._sum + other._sum
        self._length = other._length
        self._n_series += other._n_series

    def finalize(self) -> Spectrum:
        """The spectrum of all rows so far."""
        unit = "1/sample" if self.sample_time_s is None else "Hz"
        if self._sum is None or self._n_series == 0:
            return Spectrum(np.empty(0), np.empty(0), [], 0, unit)
        n = self._length
        frequency = np.arange(1, n // 2 + 1, dtype=np.float64) / (n * (self.sample_time_s or 1.0))
        amplitude = self._sum / (self._n_series * self._length)
        lines = _lines(frequency, amplitude)
        return Spectrum(frequency, amplitude, lines, self._n_series, unit)


def _means(samples: NDArray[Any]) -> NDArray[Any]:
    """Of the samples of each pixel that are there; NaN where none is."""
    if samples.dtype.kind != "f" or np.isfinite(samples).all():
        return np.asarray(samples.mean(axis=2))
    there = np.isfinite(samples)
    n = np.count_nonzero(there, axis=2)
    sums = np.where(there, samples, 0).sum(axis=2, dtype=np.float64)
    means = np.full(n.shape, np.nan)
    np.divide(sums, n, out=means, where=n > 0)
    return means


def _lines(
    frequency: NDArray[np.float64], amplitude: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """What stands out of a running median by more than 5 sigma, and is the top of its place."""
    n = len(amplitude)
    reach = max(3, n // 40)
    if n < 8:
        return []
    padded = np.pad(amplitude, reach, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    ground = _core.medians(windows)
    above = amplitude - ground
    _, sigma = median_and_sigma(above)
    higher = np.ones(n, bool)
    higher[1:] &= amplitude[1:] >= amplitude[:-1]
    higher[:-1] &= amplitude[:-1] > amplitude[1:]
    found = np.flatnonzero(higher & (above > 5 * sigma) & (above > 0.02 * ground))
    found = found[np.argsort(-amplitude[found], kind="stable")]
    return [(float(frequency[i]), float(amplitude[i])) for i in found]


def noise_spectrum(
    samples: ArrayLike, *, over: str = "skips", sample_time_s: float | None = None
) -> Spectrum:
    """Mean amplitude spectrum of the noise of an image.

    Parameters
    ----------
    samples
        ``(n_rows, n_cols, n_skips)``.
    over
        ``"skips"``: of the samples of each pixel; ``"row"``: of the means along each row.
    sample_time_s
        Seconds from sample to sample; default: frequencies are in cycles per sample, or pixel.

    Raises
    ------
    ConfigError
        The shape or a parameter is impossible.

    Notes
    -----
    `NoiseSpectrum` does the same for rows as they come.
    """
    spectrum = NoiseSpectrum(over, sample_time_s)
    spectrum.consume(samples)
    return spectrum.finalize()
