"""Data quality monitoring: a run compared with a reference run, element by element."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core
from .ledger import Ledger
from .outputs import whole_file
from .reference import unknown_name
from .run_differences import (
    SIGMA,
    Found,
    count_test,
    distribution_test,
    mean_line,
    mean_test,
    residual_test,
    share_test,
)
from .run_files import Plane, holds_planes, plane_file, planes_of, read_run
from .table_files import read_rows
from .tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DQM_FILE",
    "ELEMENTS",
    "VERDICTS",
    "Comparison",
    "Element",
    "Thresholds",
    "compare_runs",
    "read_thresholds",
    "write_comparison",
]

Floats = NDArray[np.float64]

#: Kept in the output folder of the run that was compared.
DQM_FILE = "dqm.json"
VERDICTS = ("ok", "warn", "bad")

_N_BINS = 64
_HOT_SIGMA = 5.0
_HOT_IMAGES = 0.4
_MIN_IMAGES = 5  # to tell a hot pixel from one that was hit twice
# Bits of pixels that are judged all the same.
_JUDGED = ("MISSKIPS", "CLUSTER", "HALO", "BLEED", "CROWDED", "SERIALHIT", "CROSSTALK", "NOISYROW")
_CARDS = {"PEDMEAN": "pedestal", "PEDSIGMA": "pedestal_sigma", "GAIN": "gain"}
_DEFECTS = ("HOTPIXEL", "BADCOL", "BADROW")


class _Kind(NamedTuple):
    """An element: its test, the smallest difference that matters and its unit, what it is."""

    test: str
    least: float
    unit: str
    doc: str


#: What is compared, for each amplifier.
ELEMENTS: dict[str, _Kind] = {
    "images": _Kind("count", 1, "", "amplifiers that are in one of the runs alone"),
    "noise": _Kind("mean", 0.05, "of the reference", "1.4826 MAD of the overscan of a row"),
    "overscan_mean": _Kind("mean", 0.2, "noise", "mean of the overscan"),
    "overscan_sigma": _Kind("mean", 0.05, "of the reference", "standard deviation of the overscan"),
    "active_median": _Kind("mean", 0.2, "noise", "median of a row's active pixels"),
    "active_mad": _Kind("mean", 0.05, "of the reference", "MAD of a row's active pixels"),
    "pedestal": _Kind("mean", 1.0, "pedestal_sigma", "mean pedestal of the rows, in ADU"),
    "pedestal_sigma": _Kind("mean", 0.05, "of the reference", "mean width of the rows' overscan"),
    "gain": _Kind("mean", 0.01, "of the reference", "by which pixels were divided"),
    "row_median": _Kind("residuals", 0.5, "noise", "median of each row, over images"),
    "row_mad": _Kind("residuals", 0.5, "noise", "MAD of each row, over images"),
    "column_median": _Kind("residuals", 0.5, "noise", "median of each column, over images"),
    "column_mad": _Kind("residuals", 0.5, "noise", "MAD of each column, over images"),
    "charge": _Kind("distribution", 0.01, "", "values of the active pixels"),
    "hot_columns": _Kind("share", 0.2, "", "pixels of each column 5 sigma above the overscan"),
    "hot_rows": _Kind("share", 0.2, "", "pixels of each row 5 sigma above the overscan"),
    "hot_pixels": _Kind("count", 5, "pixel", "pixels hot in more than 40 % of the images"),
    "measures": _Kind("mean", 0.05, "of the reference", "every number of the measures"),
}


@dataclass(frozen=True)
class Thresholds:
    """When an element is not ok.

    Attributes
    ----------
    warn, bad
        Probabilities that runs of the same detector differ as much, below which an element is.
    least
        Smallest difference that matters, in the unit of the element: what is smaller is ok,
        however certain. None: that of `ELEMENTS`.
    """

    warn: float = 1e-3
    bad: float = 1e-6
    least: float | None = None


@dataclass(frozen=True)
class Element:
    """The verdict on one element of an amplifier.

    Attributes
    ----------
    amplifier, name
        What was compared: a name of `ELEMENTS`, or ``measure.quantity``.
    verdict
        ``"ok"``, ``"warn"`` or ``"bad"``.
    test
        Which test: ``"z"``, ``"welch"``, ``"residuals"``, ``"ks"``, ``"share"`` or ``"count"``.
    p_value
        Probability that runs of the same detector differ as much, for all of the element.
    statistic
        Of the test: z, t, the largest residual in sigma, the KS distance times the root of the
        effective number, ...
    value, reference
        Of the two runs: means over images; of profiles the values where they differ most.
    effect, least, effect_unit
        Size of the difference, and the smallest that matters.
    where
        Row or column of the image where they differ most, counted from 0; None: of the whole image.
    note
        More, in words.
    series, reference_series
        What was compared: values of images, of rows, of columns, or cumulative shares.
    at
        Of ``charge``: upper ends of the bins of the two series.
    """

    amplifier: str
    name: str
    verdict: str
    test: str
    p_value: float
    statistic: float
    value: float
    reference: float
    effect: float
    least: float
    effect_unit: str
    where: int | None = None
    note: str = ""
    series: tuple[float, ...] = field(default=(), repr=False)
    reference_series: tuple[float, ...] = field(default=(), repr=False)
    at: tuple[float, ...] = field(default=(), repr=False)


#: Columns of the table of verdicts.
COLUMNS: list[dict[str, str]] = [
    {"name": "amplifier", "unit": "", "doc": "name of the amplifier"},
    {"name": "element", "unit": "", "doc": "what was compared"},
    {"name": "verdict", "unit": "", "doc": "ok, warn or bad"},
    {"name": "test", "unit": "", "doc": "kind of test"},
    {"name": "p_value", "unit": "", "doc": "chance that the same detector differs as much"},
    {"name": "statistic", "unit": "", "doc": "of the test"},
    {"name": "value", "unit": "", "doc": "of the run"},
    {"name": "reference", "unit": "", "doc": "of the reference"},
    {"name": "effect", "unit": "", "doc": "size of the difference"},
    {"name": "least", "unit": "", "doc": "smallest difference that matters"},
    {"name": "effect_unit", "unit": "", "doc": "unit of effect and least"},
    {"name": "where", "unit": "", "doc": "row or column of the image, counted from 0; -1: none"},
    {"name": "note", "unit": "", "doc": "more, in words"},
]


@dataclass(frozen=True)
class Comparison:
    """A run against a reference; made by `compare_runs`.

    Attributes
    ----------
    run, reference
        The output folders.
    n_images, n_reference
        Files of each that were taken.
    elements
        The verdicts, amplifier by amplifier.
    notes
        What else differs, in words.
    """

    run: str
    reference: str
    n_images: int
    n_reference: int
    elements: tuple[Element, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of all."""
        worst = max((VERDICTS.index(e.verdict) for e in self.elements), default=0)
        return VERDICTS[worst]

    def of(self, verdict: str) -> list[Element]:
        """Elements with a verdict."""
        return [element for element in self.elements if element.verdict == verdict]

    def __getitem__(self, key: tuple[str, str]) -> Element:
        """The element of an amplifier, by (amplifier, name)."""
        for element in self.elements:
            if (element.amplifier, element.name) == key:
                return element
        raise KeyError(key)

    def table(self) -> Table:
        """Verdicts, an element per row."""
        rows = [
            (e.amplifier, e.name, e.verdict, e.test, e.p_value, e.statistic, e.value, e.reference,
             e.effect, e.least, e.effect_unit, -1 if e.where is None else e.where, e.note)
            for e in self.elements
        ]  # fmt: skip
        kinds: list[tuple[str, str]] = []
        for i, column in enumerate(COLUMNS):
            texts = [str(row[i]) for row in rows if isinstance(row[i], str)]
            if column["name"] == "where":
                kinds.append(("where", "i8"))
            elif texts:
                kinds.append((column["name"], f"U{max([1, *(len(text) for text in texts)])}"))
            else:
                kinds.append((column["name"], "f8"))
        return Table(np.array(rows, dtype=kinds), COLUMNS)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.of(v))} {v}" for v in VERDICTS)
        lines = [f"{self.run} against {self.reference}: {self.verdict} ({counts})"]
        for verdict in ("bad", "warn"):
            for e in self.of(verdict):
                place = "" if e.where is None else f" at {e.where}"
                lines.append(
                    f"  {verdict:<5}{e.amplifier} {e.name}{place}: {e.value:.5g}, reference "
                    f"{e.reference:.5g} (p = {e.p_value:.1g})"
                )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it: NaN is None."""
        made = dataclasses.asdict(self)
        return {"version": _core.__version__, "verdict": self.verdict, **_plain(made)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw how far the elements are from the reference."""
        from .plot import plot_comparison

        return plot_comparison(self, ax)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value


# --- thresholds ---------------------------------------------------------------------------------


def read_thresholds(table: Any, name: str = "dqm") -> dict[str, Thresholds]:
    """Check a table ``[dqm]``: keys of `Thresholds` for all elements, and a table for each.

    Returns
    -------
    dict
        Name of an element to its thresholds; ``""``: of all others.

    Raises
    ------
    ConfigError
        All mistakes.
    """
    if not isinstance(table, Mapping):
        raise _core.ConfigError(f"{name}: must be a table, [dqm]")
    problems: list[str] = []
    keys = [f.name for f in dataclasses.fields(Thresholds)]

    def read(values: Mapping[str, Any], place: str, base: Thresholds) -> Thresholds:
        good: dict[str, float] = {}
        for key, value in values.items():
            if isinstance(value, Mapping) and place == name:
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if key == "least" and place == name:
                problems.append(f"{place}.least: is in the unit of an element; [dqm.noise] has one")
            elif key not in keys:
                problems.append(f"{place}: no key {unknown_name(key, keys)}")
            elif not is_number or not (value >= 0 if key == "least" else 0 <= value <= 1):
                words = "at least 0" if key == "least" else "from 0 to 1"
                problems.append(f"{place}.{key}: must be a number {words}; got {value!r}")
            else:
                good[key] = float(value)
        made = dataclasses.replace(base, **good)
        if made.bad > made.warn:
            problems.append(f"{place}: bad must not be above warn; got {made.bad}, {made.warn}")
        return made

    common = read(table, name, Thresholds())
    found = {"": common}
    for key, value in table.items():
        if not isinstance(value, Mapping):
            continue
        if key not in ELEMENTS:
            problems.append(f"{name}: no element {unknown_name(key, list(ELEMENTS))}")
        else:
            found[key] = read(value, f"{name}.{key}", common)
    if problems:
        raise _core.ConfigError("\n".join(problems))
    return found


def load_thresholds(path: Path) -> dict[str, Thresholds]:
    """Read the table ``[dqm]`` of a TOML file, such as the config of the run."""
    from .config import read_text

    try:
        tables = tomllib.loads(read_text(path, str(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _core.ConfigError(f"{path}: not TOML: {error}") from None
    if "dqm" not in tables:
        raise _core.ConfigError(f"{path}: has no table [dqm]")
    return read_thresholds(tables["dqm"], f"{path}: dqm")


# --- what a run has -----------------------------------------------------------------------------


@dataclass
class _Amplifier:
    """What the images of one amplifier have in common: sums and series, image by image."""

    region: tuple[int, int, int, int]  # active: first row, row after the last; columns
    unit: str
    scalars: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    profiles: dict[str, list[Floats]] = field(default_factory=dict)
    blocks: list[NDArray[np.int64]] = field(default_factory=list)
    hot: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    n_images: int = 0
    n_other: int = 0

    def put(self, name: str, value: float, error: float = math.nan) -> None:
        if math.isfinite(value):
            self.scalars.setdefault(name, []).append((value, error))


@dataclass
class _Run:
    """What a run has written, by amplifier."""

    folder: Path
    configs: set[str]
    files: list[tuple[str, list[Path], dict[str, list[int]]]]
    amplifiers: dict[str, _Amplifier] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def _open_run(folder: Path) -> _Run:
    done = [file for file in read_run(folder).values() if file.status == "done"]
    if not done:
        raise _core.ConfigError(f"{folder}: no file of this run is done")
    files = [(file.path, file.outputs, file.active) for file in done]
    return _Run(folder, {file.config for file in done}, files)


def _bits(names: Iterable[str]) -> int:
    wanted = set(names)
    return sum(bit for bit, name, _ in _core.mask_names() if name in wanted)


def _row_means(values: Floats) -> tuple[float, float]:
    """Mean over rows, and its error from their scatter: pixels of a row share its pedestal."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return math.nan, math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _median_and_mad(values: Floats, axis: int) -> tuple[Floats, Floats]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines without a pixel are NaN
        median = np.nanmedian(values, axis=axis)
        mad = np.nanmedian(np.abs(values - np.expand_dims(median, axis)), axis=axis)
    return median, mad


def _region(plane: Plane, region: list[int] | None) -> tuple[int, int, int, int]:
    """Active pixels of a plane, if the journal says it; else all."""
    n_rows, n_cols = plane.values.shape
    if region is not None:
        begin_row, end_row, begin, end = region
        if begin_row < end_row <= n_rows and begin < end <= n_cols:
            return begin_row, end_row, begin, end
    return 0, n_rows, 0, n_cols


def _parts(plane: Plane, region: tuple[int, int, int, int]) -> tuple[Floats, Floats]:
    """Active pixels and overscan, NaN where they are left out."""
    begin_row, end_row, begin, end = region
    bits = _bits(name for _, name, _ in _core.mask_names() if name not in _JUDGED)
    values = np.where((plane.mask & bits & ~_bits(["EDGE"])) == 0, plane.values, np.nan)
    return values[begin_row:end_row, begin:end], values[begin_row:end_row, end:]


def _take_image(of: _Amplifier, plane: Plane, edges: Floats) -> None:
    active, overscan = _parts(plane, of.region)
    header = plane.header
    median, mad = _median_and_mad(active, 1)
    of.put("active_median", *_row_means(median))
    of.put("active_mad", *_row_means(mad))
    of.profiles.setdefault("row_median", []).append(median)
    of.profiles.setdefault("row_mad", []).append(mad)
    for name, line in zip(("column_median", "column_mad"), _median_and_mad(active, 0), strict=True):
        of.profiles.setdefault(name, []).append(line)
    quiet, centre = SIGMA * mad, median
    if overscan.shape[1] >= 3:
        centre, spread = _median_and_mad(overscan, 1)
        quiet = SIGMA * spread
        of.put("overscan_mean", *_row_means(overscan.mean(axis=1)))
        of.put("overscan_sigma", *_row_means(overscan.std(axis=1, ddof=1)))
    of.put("noise", *_row_means(quiet))
    found = {
        name: float(header[keyword])
        for keyword, name in _CARDS.items()
        if isinstance(header.get(keyword), (int, float))
    }
    # How far images drift is not known from one; that they stay within the width of rows is asked.
    errors = {"pedestal": found.get("pedestal_sigma", math.nan)}
    for name, value in found.items():
        of.put(name, value, errors.get(name, math.nan))
    of.blocks.append(_row_counts(active, edges))
    finite = np.isfinite(active)
    limit = np.nanmedian(centre) + _HOT_SIGMA * np.nanmedian(quiet)
    begin_row, end_row, begin, end = of.region
    flagged = (plane.mask[begin_row:end_row, begin:end] & _bits(_DEFECTS)) != 0
    hot = (finite & (np.nan_to_num(active, nan=-np.inf) >= limit)) | flagged
    there = finite | flagged
    if of.n_images == 0:
        of.hot, of.seen = np.zeros(hot.shape, np.int64), np.zeros(hot.shape, np.int64)
    of.hot += hot
    of.seen += there
    of.n_images += 1


def _row_counts(active: Floats, edges: Floats) -> NDArray[np.int64]:
    """Pixels of each row in the bins between edges, below and above them."""
    n_bins = len(edges) + 1
    rows, cols = np.nonzero(np.isfinite(active))
    bins = np.searchsorted(edges, active[rows, cols], side="right")
    counts = np.bincount(rows * n_bins + bins, minlength=len(active) * n_bins)
    return counts.reshape(len(active), n_bins)


def _edges(planes: Iterable[tuple[Plane, list[int] | None]]) -> dict[str, Floats]:
    """Edges of bins that hold about as many pixels each, by amplifier."""
    found: dict[str, list[Floats]] = {}
    for plane, region in planes:
        active, _ = _parts(plane, _region(plane, region))
        values = active[np.isfinite(active)]
        found.setdefault(plane.amplifier, []).append(values)
    edges = {}
    for amplifier, parts in found.items():
        n = min(len(part) for part in parts)
        pooled = np.concatenate([part[:: max(1, len(part) // max(n, 1))] for part in parts])
        if len(pooled):
            at = np.quantile(pooled, np.arange(1, _N_BINS) / _N_BINS)
            # The tails, where single electrons are.
            tails = np.quantile(pooled, [0.001, 0.003, 0.99, 0.995, 0.997, 0.999])
            edges[amplifier] = np.unique(np.concatenate([at, tails]))
    return edges


def _take_measures(run: _Run, outputs: Sequence[Path]) -> None:
    for path in outputs:
        if path.suffix not in (".csv", ".ecsv", ".parquet", ".fits", ".root"):
            continue
        if path.suffix == ".fits" and holds_planes(path):
            continue
        try:
            rows = read_rows(path)
        except (KeyError, ValueError, TypeError, IndexError, OSError):
            continue  # of another kind
        for row in rows:
            if not {"amplifier", "measure", "quantity", "value", "error"} <= row.keys():
                break
            amplifier, quantity = str(row["amplifier"]), str(row["quantity"])
            if row["status"] != "ok" or quantity.startswith(("outlier_", "line_")):
                continue
            of = run.amplifiers.get(amplifier)
            if of is None:
                of = run.amplifiers[amplifier] = _Amplifier((0, 0, 0, 0), "")
            name = f"{row['measure']}.{quantity}"
            of.put(name, float(row["value"]), float(row["error"]))


def _take_run(run: _Run, edges: Mapping[str, Floats]) -> None:
    for _, outputs, active in run.files:
        path = plane_file(outputs)
        for plane in planes_of(path) if path is not None else ():
            if plane.amplifier not in edges:
                continue
            region = _region(plane, active.get(plane.amplifier))
            unit = str(plane.header.get("BUNIT", ""))
            of = run.amplifiers.setdefault(plane.amplifier, _Amplifier(region, unit))
            if of.region != region:
                of.n_other += 1
                continue
            _take_image(of, plane, edges[plane.amplifier])
        _take_measures(run, outputs)


# --- the comparison -----------------------------------------------------------------------------


def compare_runs(
    run: str | Path,
    reference: str | Path,
    *,
    thresholds: Mapping[str, Thresholds] | Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare what a run has written with a reference run, amplifier by amplifier.

    Parameters
    ----------
    run, reference
        Output folders. Files that are done are taken: the last output of planes of each, and its
        table of measures.
    thresholds
        A table ``[dqm]``; see `read_thresholds`. Default: warn below a probability of 1e-3, bad
        below 1e-6, for differences that matter.

    Returns
    -------
    Comparison
        A verdict per element: see `ELEMENTS`. Elements that cannot be tested are not there.

    Raises
    ------
    ConfigError
        Nothing can be compared, or a threshold is impossible.
    IoError
        A folder has no journal.

    Notes
    -----
    Means over images: z from the errors within images where these explain the scatter between
    images, else Welch's t. Rows and columns: residuals in units of 1.4826 MAD of all of them, the
    largest (Sidak) and the share beyond 3 sigma, if that is above 5 %. Charge: Kolmogorov-Smirnov
    with an effective number of pixels, from shuffled rows. Defects: Fisher's exact test of the
    share of hot pixels. After the elements of pysimdamicm's monitoring.
    """
    limits = _limits(thresholds)
    runs = [_open_run(Path(run)), _open_run(Path(reference))]
    edges = _edges(_first_planes(runs))
    for one in runs:
        _take_run(one, edges)
    ours, theirs = (one.amplifiers for one in runs)
    if not ours or not theirs:
        bare = runs[0] if not ours else runs[1]
        raise _core.ConfigError(
            f"{bare.folder}: has no planes and no measures to compare; write planes with [[output]]"
        )
    elements: list[Element] = []
    for amplifier in dict.fromkeys([*theirs, *ours]):
        if amplifier in ours and amplifier in theirs:
            elements += _elements(amplifier, ours[amplifier], theirs[amplifier], edges, limits)
        else:
            n, m = (int(amplifier in of) for of in (ours, theirs))
            note = f"is in {runs[0 if n else 1].folder} alone"
            found = Found("count", 0.0, float(n - m), float(n), float(m), note=note)
            elements.append(_judge(amplifier, "images", found, 1.0, limits))
    notes = []
    if runs[0].configs != runs[1].configs:
        notes.append("the configs of the runs differ")
    notes += [
        f"{one.folder}: {of.n_other} images of {amplifier} have other active pixels than the first"
        for one in runs
        for amplifier, of in one.amplifiers.items()
        if of.n_other
    ]
    return Comparison(
        str(run), str(reference), len(runs[0].files), len(runs[1].files), tuple(elements),
        tuple(notes),
    )  # fmt: skip


def _limits(thresholds: Mapping[str, Any] | None) -> dict[str, Thresholds]:
    if thresholds and all(isinstance(value, Thresholds) for value in thresholds.values()):
        return dict(thresholds)
    return read_thresholds(thresholds or {})


def _first_planes(runs: Sequence[_Run]) -> Iterator[tuple[Plane, list[int] | None]]:
    """Of the first file with planes of each run."""
    for run in runs:
        for _, outputs, active in run.files:
            path = plane_file(outputs)
            if path is not None:
                for plane in planes_of(path):
                    yield plane, active.get(plane.amplifier)
                break


def _judge(
    amplifier: str,
    name: str,
    found: Found,
    effect: float,
    limits: Mapping[str, Thresholds],
    series: Iterable[float] = (),
    reference_series: Iterable[float] = (),
    at: Iterable[float] = (),
) -> Element:
    kind = name if name in ELEMENTS else "measures"
    limit = limits.get(kind, limits[""])
    # A number for all elements would not be in the unit of each.
    own = limits[kind].least if kind in limits else None
    least = ELEMENTS[kind].least if own is None else own
    verdict = "ok"
    if effect >= least:
        verdict = (
            "bad" if found.p_value < limit.bad else "warn" if found.p_value < limit.warn else "ok"
        )
    return Element(
        amplifier, name, verdict, found.test, found.p_value, found.statistic, found.value,
        found.reference, effect, least, ELEMENTS[kind].unit, found.where, found.note,
        tuple(map(float, series)), tuple(map(float, reference_series)), tuple(map(float, at)),
    )  # fmt: skip


def _elements(
    amplifier: str,
    ours: _Amplifier,
    theirs: _Amplifier,
    edges: Mapping[str, Floats],
    limits: Mapping[str, Thresholds],
) -> Iterator[Element]:
    scale: dict[str, float] = {
        name: float(np.mean([v for v, _ in theirs.scalars[name]]))
        for name in ("noise", "pedestal_sigma")
        if name in theirs.scalars
    }
    noise = scale.get("noise", math.nan)
    names = [n for n in ELEMENTS if n in theirs.scalars]
    names += [n for n in theirs.scalars if n not in ELEMENTS]
    for name in names:
        if name not in ours.scalars:
            continue
        found = mean_test(ours.scalars[name], theirs.scalars[name])
        if found is None:
            continue
        unit = ELEMENTS.get(name, ELEMENTS["measures"]).unit
        by = scale.get(unit, abs(found.reference))
        apart = abs(found.value - found.reference)
        effect = apart / by if by > 0 else (math.inf if apart else 0.0)
        series = ([v for v, _ in of.scalars[name]] for of in (ours, theirs))
        yield _judge(amplifier, name, found, effect, limits, *series)
    if not ours.n_images or not theirs.n_images:
        return
    note = ""
    if ours.region != theirs.region:
        note = f"active pixels are {ours.region}, of the reference {theirs.region}"
    elif ours.unit != theirs.unit:
        note = f"planes are in {ours.unit or 'no unit'}, the reference in {theirs.unit or 'none'}"
    if note:
        yield _judge(amplifier, "images", Found("count", 0.0, 1, 1, 1, note=note), 1.0, limits)
        return
    for name in ("row_median", "row_mad", "column_median", "column_mad"):
        line, other = (mean_line(of.profiles[name]) for of in (ours, theirs))
        found = residual_test(line, other, noise)
        if found is not None:
            found = found.moved(ours.region[2 * name.startswith("column")])
            size = abs(found.value - found.reference - float(np.nanmedian(line - other)))
            yield _judge(amplifier, name, found, size / noise if noise > 0 else math.inf, limits,
                         line, other)  # fmt: skip
    tested = distribution_test(np.concatenate(ours.blocks), np.concatenate(theirs.blocks))
    if tested is not None:
        found, one, other = tested
        gap = float(np.abs(one - other).max())
        yield _judge(amplifier, "charge", found, gap, limits, one, other, edges[amplifier])
    for name, axis in (("hot_columns", 0), ("hot_rows", 1)):
        shared = share_test(ours.hot, ours.seen, theirs.hot, theirs.seen, axis)
        if shared is not None:
            found, one, other = shared
            found = found.moved(ours.region[2 - 2 * axis])
            yield _judge(amplifier, name, found, found.statistic, limits, one, other)
    if min(ours.n_images, theirs.n_images) >= _MIN_IMAGES:
        count, other_count = (
            int((of.hot > _HOT_IMAGES * np.maximum(of.seen, 1)).sum()) for of in (ours, theirs)
        )
        pixels = count_test(count, other_count)
        yield _judge(amplifier, "hot_pixels", pixels, pixels.statistic, limits)


def write_comparison(comparison: Comparison) -> Path:
    """Write ``dqm.json`` into the folder of the run, and its verdict into the journal.

    Returns
    -------
    Path
        Of the file.
    """
    folder = Path(comparison.run)
    target = folder / DQM_FILE
    with whole_file(target) as temporary:
        temporary.write_text(json.dumps(comparison.to_json()) + "\n", encoding="utf-8")
    names = {
        verdict: [f"{e.amplifier} {e.name}" for e in comparison.of(verdict)]
        for verdict in ("warn", "bad")
    }
    Ledger(folder).write(
        {
            "event": "dqm",
            "reference": str(Path(comparison.reference).absolute()),
            "verdict": comparison.verdict,
            **names,
        }
    )
    return target
