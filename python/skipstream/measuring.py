"""What a run measures beside its outputs: processes on pixels and samples of the same single read.

A measure is declared once, as a function with keyword-only parameters: from its signature come the
keys of ``[[measure]]``, their defaults and their checks.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .charge import (
    dark_current_rate,
    fit_calibration,
    fit_dark_current,
    fit_dark_current_slices,
    fit_gain,
)
from .correlation import correlated_noise
from .fitting import FitResult
from .gaussian import fit_gaussian
from .image_quality import N_HISTOGRAMS, UNITS, Quality, SampleCounts, quality
from .layout import ImageLayout
from .patterns import Patterns, find_patterns, measure_crosstalk
from .profiles import ChargeProfile, charge_per_axis, fit_column_transient, measure_halo
from .reading import Samples
from .reference import sample_stages, toml_value, unknown_name
from .skips import charge_loss, noise_vs_skips, planes_by_skips, skips_to_show
from .spectrum import Spectrum, noise_spectrum
from .transfer import measure_cti

__all__ = [
    "COLUMNS",
    "MEASURES",
    "PATTERN_COLUMNS",
    "Measure",
    "MeasureConfig",
    "Taken",
    "described",
    "measure_table",
    "measures_markdown",
    "pair_results",
    "pattern_table",
    "read_measures",
]

#: Samples of an image that a measure takes, at most: rows are left out evenly.
KEPT_BYTES = 16 << 20
#: Pixels whose spectra are averaged, about; and samples kept for that, unless so many need more.
MOST_SERIES = 4096
SERIES_BYTES = 4 << 20
_GENERAL = {
    "kind": "what is measured",
    "name": "of the results; the default is the kind",
    "after": "the stage whose pixels are measured; the last one of that name",
    "region": "active, overscan or all columns",
    "ignored_bits": "names of mask bits that exclude no pixel",
}
_INNER = ("mask", "unit", "n_skips", "n_read", "whole")  # that a run gives
# Measures that begin with the fit of the charge, unless one of these parameters is given.
_SHARED = {
    "fit_calibration": {"gain"},
    "fit_dark_current": {"gain", "n_peaks", "bin_width"},
    "fit_dark_current_slices": {"gain"},
}
_REGIONS = ("auto", "active", "overscan", "all")


def _means(first: int, n_skips: int, parameters: Mapping[str, Any]) -> list[str]:
    """What `_noise` takes of the samples in use."""
    return [f"mean({n})" for n in skips_to_show(n_skips, parameters["n_points"])]


def _noise(
    planes: Mapping[str, NDArray[np.float64]],
    *,
    n_points: int = 30,
    robust: bool = True,
    gain: float | None = None,
    subtract_rows: bool = True,
) -> FitResult:
    """Noise of the mean of the first N samples, and its departure from 1 / sqrt(N).

    Parameters
    ----------
    n_points
        Numbers of samples, from 1 to all, evenly in the logarithm.
    robust
        1.4826 MAD, else the standard deviation.
    gain
        ADU per electron: the noise is then in electrons.
    subtract_rows
        Around the median of each row, whose pedestal is no noise of a pixel.
    """
    means = np.stack(list(planes.values()))
    n_cols = means.shape[2]
    if subtract_rows and n_cols > 1:
        means -= _core.medians(means.reshape(-1, n_cols)).reshape(means.shape[:2])[..., None]
        # A value less the median of n values has this part of its variance, for a Gaussian.
        means /= math.sqrt(1 - (2 - math.pi / 2) / n_cols)
    of_means = planes_by_skips(dict(zip(planes, means, strict=True)))
    return noise_vs_skips(of_means, robust=robust, gain=gain)


def _spectrum(
    samples: NDArray[Any],
    *,
    over: str = "skips",
    read_s: float | str | None = None,
    n_read: int,
) -> Spectrum:
    """Mean amplitude spectrum of the noise of an image.

    Parameters
    ----------
    over
        `"skips"`: of the samples of each pixel; `"row"`: of the means along each row.
    read_s
        Seconds of the readout, or a header keyword of them: frequencies are then in Hz.
    """
    if over == "skips":  # of as many pixels, evenly, as settle each line to less than 1 %
        step = samples.shape[0] * samples.shape[1] // MOST_SERIES
        if step > 1:
            samples = samples.reshape(-1, 1, samples.shape[-1])[::step]
    if read_s is None:
        return noise_spectrum(samples, over=over)
    assert not isinstance(read_s, str)  # a keyword is looked up before
    sample_time_s = read_s / n_read * (samples.shape[-1] if over == "row" else 1)
    return noise_spectrum(samples, over=over, sample_time_s=sample_time_s)


def _two_samples(first: int, n_skips: int, parameters: Mapping[str, Any]) -> list[str]:
    """What `_charge_loss` takes of the samples in use."""
    found = []
    for name in ("sample", "reference"):
        number = parameters[name]
        if not -n_skips <= number < n_skips:
            raise _core.ConfigError(
                f"charge_loss.{name}: must be from {-n_skips} to {n_skips - 1}, of {n_skips} "
                f"samples in use; got {number}"
            )
        found.append(f"sample({first + number % n_skips})")
    return found


def _charge_loss(
    planes: Mapping[str, NDArray[np.float64]],
    *,
    sample: int = 0,
    reference: int = -1,
    n_sigma: float = 3.2,
    unit: str = "adu",
) -> FitResult:
    """Charge that is lost between two samples of a pixel.

    Parameters
    ----------
    sample, reference
        Numbers of the two samples; negative ones count from the end.
    n_sigma
        A pixel beyond so many widths of the core has lost or gained charge.
    """
    both = list(planes.values())
    return charge_loss(both[0], both[-1], n_sigma=n_sigma, unit=unit)


def _slices(
    pixels: NDArray[Any],
    *,
    axis: str = "row",
    step: int = 10,
    mask: NDArray[np.bool_] | None = None,
    gain: float | None = None,
    unit: str = "adu",
    whole: FitResult | None = None,
) -> FitResult:
    """Dark current in bands of rows or columns: the exposure's part and the readout's.

    Parameters
    ----------
    axis
        ``"row"``: bands of rows; ``"column"``: of columns.
    step
        Rows or columns of a band.
    gain
        ADU per electron, held; default: fitted once, to the whole image.
    """
    if axis not in ("row", "column"):
        raise _core.ConfigError(
            f'fit_dark_current_slices.axis: must be "row" or "column"; got {axis!r}'
        )
    number = ("row", "column").index(axis)
    _, line = fit_dark_current_slices(
        pixels, axis=number, step=step, mask=mask, gain=gain, unit=unit, whole=whole
    )
    return line


def _dark_current(
    pixels: NDArray[Any],
    *,
    mask: NDArray[np.bool_],
    gain: float | None = None,
    n_peaks: int | None = None,
    bin_width: float | None = None,
    exposure_s: float | str | None = None,
    read_s: float | str = 0.0,
    serial_binning: int = 1,
    parallel_binning: int = 1,
    unit: str = "adu",
    whole: FitResult | None = None,
) -> FitResult:
    """Gain, noise and dark current: a Poisson number of electrons with Gaussian noise.

    Parameters
    ----------
    gain
        ADU per electron, held; default: fitted.
    n_peaks
        Peaks of the fit; default: as many as hold pixels.
    bin_width
        Of the histogram, in the unit of the pixels; default: a fifth of the noise.
    exposure_s, read_s
        Seconds, or header keywords of them: with the exposure the dark current of a day is told,
        too. A pixel waits half of the readout on average.
    serial_binning, parallel_binning
        Physical columns and rows of a pixel, for the dark current of a day.
    """
    result = whole or fit_dark_current(
        pixels, mask=mask, gain=gain, n_peaks=n_peaks, bin_width=bin_width, unit=unit
    )
    if exposure_s is None:
        return result
    assert not isinstance(exposure_s, str)  # a keyword is looked up before
    assert not isinstance(read_s, str)
    name = "dark_current_day"
    values, errors = (
        {
            **of,
            name: dark_current_rate(
                of["dark_current"],
                exposure_s=exposure_s,
                read_s=read_s,
                serial_binning=serial_binning,
                parallel_binning=parallel_binning,
            ),
        }
        for of in (result.values, result.errors)
    )
    units = {**result.units, name: "electron/pixel/day"}
    return replace(result, values=values, errors=errors, units=units)


def _quality(
    planes: Mapping[str, NDArray[np.float32]],
    histograms: Mapping[int, SampleCounts],
    *,
    n_skips: int,
    mask: NDArray[np.bool_],
    seed: int = 1,
) -> Quality:
    """Nine numbers by which an image is judged; compress_skips makes mean, var and sample(0).

    Parameters
    ----------
    seed
        Of the random pixels and blocks: the same file gives the same numbers.
    """
    singles = [plane for name, plane in planes.items() if name.startswith("sample(")]
    variance: NDArray[Any] | None = planes.get("var")
    if variance is None and "std" in planes:
        variance = np.square(planes["std"])
    return quality(
        planes["mean"],
        variance=variance,
        sample=singles[0] if singles else None,
        histograms=histograms,
        n_skips=n_skips,
        mask=mask,
        seed=seed,
    )


@dataclass(frozen=True)
class Measure:
    """A process of a run.

    Attributes
    ----------
    function
        Of the pixels ``(n_rows, n_cols)`` with the keyword ``mask``, of the samples ``(n_rows,
        n_cols, n_skips)`` or planes of their statistics, of the pixels of two amplifiers, or of all
        planes of compress_skips and the histograms of samples.
    takes
        ``"pixels"``, ``"samples"``, ``"pairs"`` or ``"quality"``.
    region
        The columns that it takes unless told.
    statistics
        Those of the samples that it takes, of the first one in use, how many are, and the
        parameters; None: all samples.
    """

    function: Callable[..., Any]
    takes: str
    region: str = "active"
    statistics: Callable[[int, int, Mapping[str, Any]], list[str]] | None = None

    def parameters(self) -> dict[str, inspect.Parameter]:
        """Keyword-only parameters that a config may give."""
        return {
            name: parameter
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind == parameter.KEYWORD_ONLY and name not in _INNER
        }


#: Kind to process.
MEASURES: dict[str, Measure] = {
    "noise_vs_skips": Measure(_noise, "samples", "auto", _means),
    "charge_loss": Measure(_charge_loss, "samples", statistics=_two_samples),
    "noise_spectrum": Measure(_spectrum, "samples", "all"),
    "fit_calibration": Measure(fit_calibration, "pixels"),
    "fit_dark_current": Measure(_dark_current, "pixels"),
    "fit_dark_current_slices": Measure(_slices, "pixels"),
    "fit_gaussian": Measure(fit_gaussian, "pixels", "auto"),
    "find_patterns": Measure(find_patterns, "pixels"),
    "measure_cti": Measure(measure_cti, "pixels"),
    "charge_per_axis": Measure(charge_per_axis, "pixels"),
    "fit_column_transient": Measure(fit_column_transient, "pixels"),
    "measure_halo": Measure(measure_halo, "pixels"),
    "measure_crosstalk": Measure(measure_crosstalk, "pairs"),
    "correlated_noise": Measure(correlated_noise, "pairs", "auto"),
    "quality": Measure(_quality, "quality"),
}


def described(kind: str) -> tuple[str, list[tuple[str, str, str, str]]]:
    """What a measure is, and name, default, type and meaning of its parameters."""
    measure = MEASURES[kind]
    text = inspect.cleandoc(measure.function.__doc__ or "")
    meanings: dict[str, str] = {}
    section = re.search(r"\nParameters\n-+\n(.*?)(?=\n\n\w[\w ]*\n-+\n|\Z)", text, re.DOTALL)
    for names, meaning in re.findall(
        r"^(\w[\w, ]*)\n((?:[ ]{4}.*\n?|\n)+)", section[1] if section else "", re.MULTILINE
    ):
        for name in names.split(", "):
            meanings[name] = " ".join(meaning.replace("``", "`").split())
    lines = []
    for name, parameter in measure.parameters().items():
        has_default = parameter.default is not parameter.empty
        default = toml_value(parameter.default) if has_default else ""
        lines.append((name, default, str(parameter.annotation), meanings.get(name, "")))
    return text.split("\n\n")[0].replace("\n", " "), lines


def measures_markdown() -> str:
    """The reference page of all measures."""
    lines = [
        "# Measures",
        "",
        "Made from the measures' own descriptions by `skipstream measures --markdown`. Each",
        "measure is one `[[measure]]` table of the config, its name is the `kind`. Its numbers are",
        "rows of the table of measures, and `ImageResult.measures` holds the whole result. They",
        "come from the same single read of the file. All have these keys:",
        "",
        "| key | meaning |",
        "|---|---|",
        *(f"| `{key}` | {doc} |" for key, doc in _GENERAL.items()),
    ]
    for kind, measure in MEASURES.items():
        doc, parameters = described(kind)
        lines += ["", f"## {kind}", "", f"{doc} It takes {_TAKES[measure.takes]}."]
        if parameters:
            lines += ["", "| parameter | default | type | meaning |", "|---|---|---|---|"]
        for name, default, annotation, meaning in parameters:
            shown = f"`{default}`" if default else ""
            kinds = annotation.replace(" | None", "").replace("|", "or")
            lines.append(f"| `{name}` | {shown} | {kinds} | {meaning} |")
    return "\n".join(lines) + "\n"


_TAKES = {
    "pixels": "the pixels after a stage",
    "samples": "samples of rows spread evenly over the image, at most 16 MiB of them",
    "pairs": "the pixels of two amplifiers of a file, every pair in both orders",
    "quality": "all planes of compress_skips, and histograms of the first 30 samples",
}


@dataclass(frozen=True)
class MeasureConfig:
    """One ``[[measure]]`` table.

    Attributes
    ----------
    kind, name
        What is measured, and what the result is called.
    after
        Stage whose pixels are taken; None where samples are.
    region
        ``"active"``, ``"overscan"``, ``"all"``, or ``"auto"``: the overscan where it has at least
        3 columns, else the active columns.
    ignored_bits
        Bits of the mask that exclude no pixel.
    parameters
        Of the function.
    """

    kind: str
    name: str
    after: str | None = None
    region: str = "active"
    ignored_bits: tuple[str, ...] = ("MISSKIPS",)
    parameters: Mapping[str, Any] = field(default_factory=dict)


def _wrong(parameter: inspect.Parameter, value: Any) -> str:
    """What is wrong with the type of a value; empty: nothing."""
    kinds = {part.strip() for part in str(parameter.annotation).split("|")}
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = (
        ("float" in kinds and is_number and math.isfinite(value))
        or ("int" in kinds and is_number and isinstance(value, int))
        or ("str" in kinds and isinstance(value, str))
        or ("bool" in kinds and isinstance(value, bool))
        or (
            any(kind.startswith("tuple") for kind in kinds)
            and isinstance(value, (list, tuple))
            and len(value) == 2
            and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
        )
    )
    words = {
        "float": "a number",
        "int": "a whole number",
        "str": "a string",
        "bool": "true or false",
    }
    wanted = " or ".join(words.get(kind, "two whole numbers") for kind in sorted(kinds - {"None"}))
    return "" if right else f"must be {wanted}; got {toml_value(value)}"


def read_measures(
    tables: Any,
    stages: Sequence[Mapping[str, Any]],
    complain: Callable[[int, str, str], None],
) -> tuple[MeasureConfig, ...]:
    """Check the ``[[measure]]`` tables; `complain(number, key, wrong)` hears every mistake."""
    if not isinstance(tables, list) or not all(isinstance(t, Mapping) for t in tables):
        complain(-1, "", "measure: must be tables, [[measure]]")
        return ()
    kinds = [str(s.get("kind")) for s in stages if isinstance(s, Mapping)]
    pixel_kinds = [kind for kind in kinds if kind not in sample_stages()]
    found: list[MeasureConfig] = []
    for number, table in enumerate(tables):
        kind = table.get("kind")
        measure = MEASURES.get(kind) if isinstance(kind, str) else None
        if measure is None:
            named = unknown_name(kind, list(MEASURES)) if isinstance(kind, str) else "nothing"
            complain(number, "kind", f".kind: no measure {named}")
            continue
        before = len(found)
        good = True
        parameters = measure.parameters()
        allowed = [*_GENERAL, *parameters]
        given: dict[str, Any] = {}
        for key, value in table.items():
            wrong = ""
            if key not in allowed:
                complain(number, key, f" {kind}: no key {unknown_name(key, allowed)}")
                good = False
                continue
            if key in parameters:
                wrong = _wrong(parameters[key], value)
                given[key] = tuple(value) if isinstance(value, list) else value
            elif key == "ignored_bits":
                names = [name for _, name, _ in _core.mask_names()]
                if not isinstance(value, list) or not set(map(str, value)) <= set(names):
                    wrong = f"must be a list of {', '.join(names)}; got {toml_value(value)}"
            elif not isinstance(value, str):
                wrong = f"must be a string; got {toml_value(value)}"
            elif key == "region" and value not in _REGIONS:
                wrong = f"{toml_value(value)} is not one of {', '.join(_REGIONS)}"
            elif key == "name" and not re.fullmatch(r"\w{1,64}", value):
                wrong = f"must be of letters, digits and _; got {toml_value(value)}"
            elif key == "after" and measure.takes == "quality":
                wrong = "it takes the planes of compress_skips; remove the key"
            elif key == "after" and measure.takes == "samples":
                wrong = "samples are taken before any stage; remove the key"
            elif key == "after" and value not in pixel_kinds:
                wrong = f"no stage on pixels {unknown_name(value, pixel_kinds)}"
            if wrong:
                complain(number, key, f" {kind}.{key}: {wrong}")
                good = False
        for key, parameter in parameters.items():
            if parameter.default is parameter.empty and key not in table:
                complain(number, "kind", f' {kind}: no key "{key}"')
                good = False
        if measure.takes != "samples" and not pixel_kinds:
            complain(number, "kind", f" {kind}: there are no pixels; put compress_skips first")
            good = False
        if not good:
            continue
        name = table.get("name", kind)
        if any(other.name == name for other in found[:before]):
            complain(
                number, "name", f" {kind}.name: {toml_value(name)} is another measure's; give one"
            )
            continue
        after = None if measure.takes == "samples" else table.get("after", pixel_kinds[-1])
        if measure.takes == "quality":
            after = "compress_skips"
            if _mean_is_missing(stages):
                complain(number, "kind", " quality: compress_skips must make the mean")
                continue
        found.append(
            MeasureConfig(
                kind,
                name,
                after,
                table.get("region", measure.region),
                tuple(table.get("ignored_bits", MeasureConfig.ignored_bits)),
                given,
            )
        )
    return tuple(found)


def _mean_is_missing(stages: Sequence[Mapping[str, Any]]) -> bool:
    for stage in stages:
        if isinstance(stage, Mapping) and stage.get("kind") == "compress_skips":
            statistics = stage.get("statistics", ["mean"])
            return "mean" not in ([statistics] if isinstance(statistics, str) else statistics)
    return True


@dataclass(frozen=True)
class _GainFit:
    """Pixels that gave a run its gain, the fit of their charge, and the fit that counted."""

    pixels: NDArray[np.float32]
    charge: FitResult
    found: FitResult


class _Work:
    """What the measures of an image compute, beside one another in so many threads.

    The thread that asks for the results takes part.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._begun: dict[str, tuple[Future[Any], Callable[[], Any]]] = {}

    def begin(self, name: str, function: Callable[..., Any], *of: Any, **parameters: Any) -> None:
        work = partial(function, *of, **parameters)
        self._begun[name] = Future() if self._pool is None else self._pool.submit(work), work

    def __contains__(self, name: str) -> bool:
        return name in self._begun

    def results(self) -> dict[str, Any]:
        """Of everything, by name."""
        mine = {n: work() for n, (begun, work) in reversed(self._begun.items()) if begun.cancel()}
        return {
            n: mine[n] if n in mine else begun.result() for n, (begun, _) in self._begun.items()
        }

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class Taken:
    """What the measures of one image take from its pass: samples, and planes after stages."""

    def __init__(
        self,
        measures: Sequence[MeasureConfig],
        image: ImageLayout,
        samples: Samples,
        *,
        fits_gain: bool = False,
    ) -> None:
        self.measures = measures
        self._fits_gain = fits_gain
        self.image = image
        # Of each measure of samples: the number of its region, row step and statistics.
        self._regions: dict[str, tuple[int, int, list[str]]] = {}
        dtype = np.dtype(samples.dtype)
        self._has_histograms = dtype.kind != "f" and samples.scale == 1
        self._zero = samples.zero
        self._planes: dict[str, dict[str, NDArray[np.float32]]] = {}
        self._units: dict[str, str] = {}
        self._charge: dict[Any, tuple[FitResult, FitResult | None]] = {}
        self._gain: _GainFit | None = None
        self._numbers: dict[str, int] = {}
        self._left_out: dict[tuple[str, tuple[str, ...]], NDArray[np.bool_]] = {}
        self._takes_all = any(MEASURES[m.kind].takes == "quality" for m in measures)

    def _columns(self, measure: MeasureConfig) -> tuple[int, int]:
        _, _, begin, end = self.image.active
        n_overscan = self.image.overscan_cols
        n_cols = self.image.n_cols
        region = measure.region
        if region == "auto":
            region = "overscan" if n_overscan >= 3 else "active"
        if region == "overscan" and n_overscan == 0:
            raise _core.ConfigError(
                f"measure {measure.name}.region: the image has no overscan; set overscan_cols in "
                '[input], or use "active"'
            )
        return {"active": (begin, end), "overscan": (n_cols - n_overscan, n_cols)}.get(
            region, (0, n_cols)
        )

    def keep_samples(self, pipeline: _core.Pipeline) -> None:
        """Let the core keep what the measures need of the samples."""
        shared: dict[tuple[int, int, int], int] = {}
        first, n_used = pipeline.plan["first_used_skip"], pipeline.plan["n_used_skips"]
        dtype, _, _ = pipeline.records_format()
        pixel_bytes = np.dtype(dtype).itemsize * self.image.n_skips
        for measure in self.measures:
            kind = MEASURES[measure.kind]
            if kind.takes != "samples":
                continue
            begin, end = self._columns(measure)
            n_rows, width = self.image.n_rows, end - begin
            step = max(1, -(-n_rows * width * pixel_bytes // KEPT_BYTES))
            if kind.statistics is not None:
                statistics = kind.statistics(first, n_used, self._all_parameters(measure))
                number = pipeline.keep_samples(begin, end, step, list(dict.fromkeys(statistics)))
                self._regions[measure.name] = number, step, statistics
                continue
            if measure.parameters.get("over", "skips") == "skips":  # a spectrum of each pixel
                most = -(-n_rows * width * pixel_bytes // SERIES_BYTES)
                step = max(step, min(most, n_rows // -(-MOST_SERIES // max(width, 1))))
            region = begin, end, step
            if region not in shared:
                shared[region] = pipeline.keep_samples(*region)
            self._regions[measure.name] = shared[region], step, []

    @property
    def takes_pairs(self) -> bool:
        """Whether there are measures between amplifiers."""
        return any(MEASURES[measure.kind].takes == "pairs" for measure in self.measures)

    @property
    def n_histograms(self) -> int:
        """First samples of which the core takes histograms."""
        return min(N_HISTOGRAMS, self.image.n_skips) if self._takes_all else 0

    @property
    def stages(self) -> list[str]:
        """Stages after which planes are taken."""
        return list(dict.fromkeys(m.after for m in self.measures if m.after is not None))

    def _wanted(self, stage: str, names: Sequence[str]) -> Sequence[str]:
        if stage != "compress_skips" or not self._takes_all:
            return names[:1]
        singles = [name for name in names if name.startswith("sample(")][:1]
        return [names[0], *(n for n in ("mean", "var", "std") if n in names[1:]), *singles]

    def keep_planes(
        self,
        pipeline: _core.Pipeline,
        number: int,
        stage: str,
        kept_anyway: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Make room for the rows that leave a stage, and let the core fill it.

        `kept_anyway` are planes for which this has been done already.
        """
        planes = pipeline.planes_after(number)
        shape = (self.image.n_rows, self.image.n_cols)
        names = [plane["name"] for plane in planes]
        chosen = self._wanted(stage, names)
        self._units[stage] = planes[0]["unit"]
        self._numbers[stage] = number
        for ignored_bits in self._ignored_after(stage):
            ignored = sum(bit for bit, name, _ in _core.mask_names() if name in ignored_bits)
            left_out = self._left_out[stage, ignored_bits] = np.empty(shape, np.bool_)
            pipeline.keep_left_out(number, ignored, left_out)
        if kept_anyway is not None:
            self._planes[stage] = {name: kept_anyway[name] for name in chosen}
            return
        # At once: of large arrays NumPy asks for large pages, which are there sooner.
        room = np.empty((len(chosen), *shape), np.float32)
        kept = self._planes[stage] = dict(zip(chosen, room, strict=True))
        wanted = [(names.index(name), plane) for name, plane in kept.items()]
        pipeline.keep_planes(number, wanted)

    def _ignored_after(self, stage: str) -> list[tuple[str, ...]]:
        """What measures of the pixels after a stage ignore."""
        return list(dict.fromkeys(m.ignored_bits for m in self.measures if m.after == stage))

    def fit_gain(self, pixels: NDArray[np.float32]) -> float:
        """The gain of a run that fits it; measures of the same pixels need no other fit."""
        found, charge = fit_gain(pixels)
        self._gain = _GainFit(pixels, charge, found)
        return found["gain"]

    def n_bytes(self, pipeline: _core.Pipeline, number_of: Callable[[str], int]) -> int:
        """Memory of all planes; that of the samples is in the core's plan.

        `number_of` a stage, by its name.
        """
        pixel_bytes = 4 if self._fits_gain and self.stages else 0
        for stage in self.stages:
            planes = pipeline.planes_after(number_of(stage))
            wanted = self._wanted(stage, [plane["name"] for plane in planes])
            pixel_bytes += 4 * len(wanted) + len(self._ignored_after(stage))
        return pixel_bytes * self.image.n_rows * self.image.n_cols

    def pixels(self, measure: MeasureConfig) -> tuple[NDArray[np.float32], NDArray[np.bool_], str]:
        """Pixels of a measure, which of them are left out, and their unit."""
        assert measure.after is not None
        pixels = next(iter(self._planes[measure.after].values()))
        left_out = self._left_out[measure.after, measure.ignored_bits]
        unit = _UNITS.get(self._units[measure.after], "")
        begin_row, end_row, _, _ = self.image.active
        region = slice(begin_row, end_row), slice(*self._columns(measure))
        return pixels[region], left_out[region], unit

    def samples(
        self, measure: MeasureConfig, pipeline: _core.Pipeline
    ) -> NDArray[Any] | dict[str, NDArray[np.float64]]:
        """Samples of a measure, of the active rows that were kept; or planes of its statistics."""
        number, step, statistics = self._regions[measure.name]
        begin_row, end_row, _, _ = self.image.active
        rows: Any = slice(-(-begin_row // step), -(-end_row // step))
        there = pipeline.rows_there(number)[rows]
        if not there.all():
            rows = rows.start + np.flatnonzero(there)
        kept = pipeline.kept_samples(number)
        if statistics:
            names = dict.fromkeys(statistics)
            return dict(zip(names, kept[:, rows], strict=True))
        first, n_used = pipeline.plan["first_used_skip"], pipeline.plan["n_used_skips"]
        samples = kept[rows, :, first : first + n_used]
        _, scale, blank = pipeline.records_format()
        if scale == 1 and blank is None:
            return samples
        values = samples * abs(scale)  # where the signal falls has no meaning here
        return values if blank is None else np.where(samples == blank, np.nan, values)

    def finish(self, pipeline: _core.Pipeline, threads: int) -> dict[str, Any]:
        """Finish the image and measure it: result of every measure of one amplifier, by name.

        What needs no more than is there begins before the image is finished, in other threads.
        """
        work = _Work(threads)
        try:
            self._begin_quality(pipeline, work)  # what takes longest comes first
            self._begin_samples(pipeline, work)
            pipeline.finish()
            self._begin_quality(pipeline, work)
            return self._results(work)
        finally:
            work.close()

    def _begin_samples(self, pipeline: _core.Pipeline, work: _Work) -> None:
        for measure in self.measures:
            kind = MEASURES[measure.kind]
            if kind.takes != "samples":
                continue
            parameters = self._parameters(measure)
            if measure.kind == "noise_spectrum":
                image = self.image
                parameters["n_read"] = image.n_rows * image.n_cols * image.n_skips
            work.begin(measure.name, kind.function, self.samples(measure, pipeline), **parameters)

    def _begin_quality(self, pipeline: _core.Pipeline, work: _Work) -> None:
        """Begin what has all of its rows, and has not begun yet."""
        for measure in self.measures:
            if MEASURES[measure.kind].takes != "quality" or measure.name in work:
                continue
            assert measure.after is not None
            if pipeline.rows_kept(self._numbers[measure.after]) == self.image.n_rows:
                work.begin(measure.name, self._quality, measure, pipeline)

    def _results(self, work: _Work) -> dict[str, Any]:
        for measure in self.measures:
            kind = MEASURES[measure.kind]
            if kind.takes == "pixels" and measure.kind not in _SHARED:
                pixels, left_out, unit = self.pixels(measure)
                work.begin(
                    measure.name,
                    kind.function,
                    pixels,
                    mask=left_out,
                    **self._pixel_parameters(measure, unit),
                )
        found: dict[str, Any] = {}
        for measure in self.measures:  # those that share a fit, one after another
            if measure.kind in _SHARED:
                found[measure.name] = self._of_charge(measure)
        found |= work.results()
        for measure in self.measures:
            result = found.get(measure.name)
            if isinstance(result, Patterns):
                found[measure.name] = self._in_image(result, measure)
        return {m.name: found[m.name] for m in self.measures if m.name in found}

    def _in_image(self, patterns: Patterns, measure: MeasureConfig) -> Patterns:
        """Positions of the image, not of the region that was measured."""
        positions = patterns.positions.copy()
        positions["row"] += self.image.active[0]
        positions["column"] += self._columns(measure)[0]
        return replace(patterns, positions=positions)

    def _pixel_parameters(self, measure: MeasureConfig, unit: str) -> dict[str, Any]:
        parameters = self._parameters(measure)
        if "unit" in inspect.signature(MEASURES[measure.kind].function).parameters:
            parameters["unit"] = unit
        return parameters

    def _of_charge(self, measure: MeasureConfig) -> FitResult:
        """A measure that begins with the fit of the charge, unless its parameters forbid it."""
        pixels, left_out, unit = self.pixels(measure)
        parameters = self._pixel_parameters(measure, unit)
        if _SHARED[measure.kind].isdisjoint(parameters):
            parameters["whole"], peaks = self._whole(measure)
            if peaks is not None and measure.kind == "fit_calibration" and not measure.parameters:
                return peaks
        result = MEASURES[measure.kind].function(pixels, mask=left_out, **parameters)
        assert isinstance(result, FitResult)
        return result

    def _whole(self, measure: MeasureConfig) -> tuple[FitResult, FitResult | None]:
        """The fit of the charge, which several measures of the same pixels begin with.

        And that of the peaks, where both were made for the gain of the run.
        """
        key = (measure.after, measure.region, measure.ignored_bits)
        if key in self._charge:
            return self._charge[key]
        pixels, left_out, unit = self.pixels(measure)
        if self._gain is not None and unit == "adu":
            values = pixels[~left_out] if left_out.any() else pixels
            if values.size != len(self._gain.pixels):
                values = values[np.isfinite(values)]
            if values.size == len(self._gain.pixels) and np.array_equal(
                values, self._gain.pixels.reshape(values.shape)
            ):
                is_of_peaks = self._gain.found is not self._gain.charge
                self._charge[key] = self._gain.charge, self._gain.found if is_of_peaks else None
                return self._charge[key]
        self._charge[key] = fit_dark_current(pixels, mask=left_out, unit=unit), None
        return self._charge[key]

    def _all_parameters(self, measure: MeasureConfig) -> dict[str, Any]:
        """Those of the config, and the others' defaults."""
        known = MEASURES[measure.kind].parameters()
        return {**{name: of.default for name, of in known.items()}, **measure.parameters}

    def _parameters(self, measure: MeasureConfig) -> dict[str, Any]:
        """Those of the config, with the numbers of the header that they name."""
        parameters = dict(measure.parameters)
        for key in ("exposure_s", "read_s"):
            keyword = parameters.get(key)
            if not isinstance(keyword, str):
                continue
            if keyword not in self.image.header:
                known = unknown_name(keyword, list(self.image.header))
                raise _core.ConfigError(
                    f"measure {measure.name}.{key}: the header has no number {known}"
                )
            parameters[key] = self.image.header[keyword]
        return parameters

    def _quality(self, measure: MeasureConfig, pipeline: _core.Pipeline) -> Quality:
        _, left_out, _ = self.pixels(measure)
        begin_row, end_row, _, _ = self.image.active
        region = slice(begin_row, end_row), slice(*self._columns(measure))
        planes = {n: plane[region] for n, plane in self._planes["compress_skips"].items()}
        first = pipeline.plan["first_used_skip"]
        histograms = {}
        if self._has_histograms:
            low, counts, n_below, n_above = pipeline.sample_histograms()
            for s in range(first, len(low)):
                place = float(low[s] + self._zero)
                histograms[s] = SampleCounts(place, counts[s], int(n_below[s]), int(n_above[s]))
        return _quality(
            planes,
            histograms,
            n_skips=pipeline.plan["n_used_skips"],
            mask=left_out,
            **measure.parameters,
        )


_UNITS = {"adu": "adu", "electron": "electron"}


def pair_results(taken: Mapping[str, Taken]) -> Iterator[tuple[str, str, Any]]:
    """Measures between amplifiers of one file: name, amplifier and result of every pair."""
    for first, one in taken.items():
        for second, other in taken.items():
            if first == second:
                continue
            for measure in one.measures:
                kind = MEASURES[measure.kind]
                if kind.takes != "pairs":
                    continue
                source, left_out, unit = one.pixels(measure)
                target, others_left_out, _ = other.pixels(measure)
                if source.shape != target.shape:
                    continue  # not read at the same time
                parameters = dict(measure.parameters)
                if "unit" in inspect.signature(kind.function).parameters:
                    parameters["unit"] = unit
                result = kind.function(
                    np.where(left_out, np.nan, source),
                    target,
                    mask=others_left_out,
                    **parameters,
                )
                yield measure.name, f"{first}>{second}", result


#: Columns of the table of measures.
COLUMNS: list[dict[str, str]] = [
    {"name": "amplifier", "unit": "", "doc": "name of the amplifier; of two: first>second"},
    {"name": "measure", "unit": "", "doc": "name of the measure"},
    {"name": "quantity", "unit": "", "doc": "name of the number"},
    {"name": "value", "unit": "", "doc": "NaN where it is not known"},
    {"name": "error", "unit": "", "doc": "standard deviation of the value"},
    {"name": "value_unit", "unit": "", "doc": "unit of value and error"},
    {"name": "status", "unit": "", "doc": "ok or failed"},
    {"name": "reason", "unit": "", "doc": "why it failed"},
    {"name": "chi2", "unit": "", "doc": "goodness of the fit"},
    {"name": "n_dof", "unit": "", "doc": "degrees of freedom"},
    {"name": "p_value", "unit": "", "doc": "probability of a larger chi2"},
    {"name": "n_values", "unit": "", "doc": "values that took part"},
]  # fmt: skip


def _rows(result: Any) -> Iterator[tuple[str, float, float, str, str, str, float, int, float, int]]:
    """Quantity, value, error, unit, status, reason, chi2, n_dof, p_value, n_values."""
    nan = math.nan
    if isinstance(result, FitResult):
        tail = (result.status, result.reason, result.chi2, result.n_dof, result.p_value,
                result.n_values)  # fmt: skip
        for name in result:
            yield name, result[name], result.errors[name], result.units.get(name, ""), *tail
    elif isinstance(result, Patterns):
        for name, count in result.counts.items():
            yield name, count, math.sqrt(count), "", "ok", "", nan, 0, nan, result.n_pixels
    elif isinstance(result, Spectrum):
        if result.n_series == 0:
            reason = "every series lacks a sample"
            yield "line_1_amplitude", nan, nan, "adu", "failed", reason, nan, 0, nan, 0
        for number, (frequency, amplitude) in enumerate(result.lines, 1):
            tail = ("ok", "", nan, 0, nan, result.n_series)
            yield f"line_{number}_frequency", frequency, nan, result.frequency_unit, *tail
            yield f"line_{number}_amplitude", amplitude, nan, "adu", *tail
    elif isinstance(result, ChargeProfile):
        yield from _rows(result.line)
        for number, (i, _) in enumerate(result.outliers, 1):
            tail = ("ok", "", nan, 0, nan, int(result.n_pixels[i]))
            yield f"outlier_{number}_{result.axis}", i, nan, "", *tail
            yield f"outlier_{number}_mean", result.mean[i], result.error[i], result.unit, *tail
    elif isinstance(result, Quality):
        for name, value in result.values.items():
            tail = ("ok" if value != -1 else "failed", "", nan, 0, nan, result.n_skips)
            yield name, value, result.errors[name], UNITS.get(name, ""), *tail
    else:
        raise TypeError(f"no rows of {type(result).__name__}")


def measure_table(results: Sequence[tuple[str, str, Any]]) -> NDArray[np.void]:
    """All numbers of a file, one per row: amplifier, measure, quantity, value, error, ...

    Parameters
    ----------
    results
        Amplifier, name of the measure, result.
    """
    rows = [(amplifier, name, *row) for amplifier, name, result in results for row in _rows(result)]
    texts = ("amplifier", "measure", "quantity", "value_unit", "status", "reason")
    kinds: list[tuple[str, str]] = []
    for i, column in enumerate(COLUMNS):
        width = max((len(str(row[i])) for row in rows), default=1) if column["name"] in texts else 0
        whole = column["name"] in ("n_dof", "n_values")
        kinds.append((column["name"], f"U{max(1, width)}" if column["name"] in texts
                      else "i8" if whole else "f8"))  # fmt: skip
    return np.array(rows, dtype=kinds)


#: Columns of the table of patterns.
PATTERN_COLUMNS: list[dict[str, str]] = [
    {"name": "amplifier", "unit": "", "doc": "name of the amplifier"},
    {"name": "measure", "unit": "", "doc": "name of the measure"},
    {"name": "pattern", "unit": "", "doc": "electrons of each of its pixels"},
    {"name": "row", "unit": "pixel", "doc": "of its first pixel, 0-based"},
    {"name": "column", "unit": "pixel", "doc": "of its first pixel, 0-based"},
]


def pattern_table(results: Sequence[tuple[str, str, Any]]) -> NDArray[np.void]:
    """Where all patterns of a file are, one per row.

    Parameters
    ----------
    results
        Amplifier, name of the measure, result; those that are no `Patterns` are left out.
    """
    found = [(a, m, r.positions) for a, m, r in results if isinstance(r, Patterns)]
    texts = [
        (name, f"U{max([1, *(len(row[i]) for row in found)])}")
        for i, name in enumerate(("amplifier", "measure"))
    ]
    kinds = [*texts, ("pattern", "U16"), ("row", "i8"), ("column", "i8")]
    table = np.empty(sum(len(positions) for _, _, positions in found), dtype=kinds)
    begin = 0
    for amplifier, measure, positions in found:
        rows = table[begin : begin + len(positions)]
        rows["amplifier"], rows["measure"] = amplifier, measure
        for name in ("pattern", "row", "column"):
            rows[name] = positions[name]
        begin += len(positions)
    return table
