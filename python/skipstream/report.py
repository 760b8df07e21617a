"""One page about a run: what was done and refused, numbers, pictures, fits, and what stands out.

Everything on it comes from the files of the run's folder. Texts of headers, names and messages are
anybody's: the template escapes them, and pictures are data that run nothing.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .fitting import FitResult
from .image_quality import NAMES, UNITS, Quality
from .ledger import Ledger
from .monitoring import DQM_FILE
from .outputs import whole_file
from .patterns import Patterns
from .plot import (
    COLOURS,
    STYLE,
    new_figure,
    plot_charge_distribution,
    plot_cluster_gallery,
    plot_image,
    settle_layout,
    unit_text,
)
from .profiles import ChargeProfile
from .quality_table import QualityRow, out_of_range
from .results import read_results
from .run_files import Plane, RunFile, plane_file, planes_of, read_run
from .table_files import read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["REPORT", "write_report"]

#: Name of the page in the folder of the run.
REPORT = "report.html"
_SIGNS = {"ok": "\N{CHECK MARK}", "look": "\N{BLACK UP-POINTING TRIANGLE}",
          "bad": "\N{BALLOT X}"}  # fmt: skip
_MOST_SIDE = 600  # pixels of a picture of an image; larger ones are reduced
_MOST_POINTS = 300  # beyond which a plot is smaller as pixels than as lines
_N_GALLERY = 12
# Numbers whose course over the images is drawn, where they are there.
_TRENDS = ("noise", "gain", "pedestal", "dark_current", "sigma_1", "sigma_last", "coefficient",
           "n_clusters", *NAMES)  # fmt: skip


@dataclass
class _Number:
    """A value with what stands beside it: error and unit."""

    value: float
    error: float = math.nan
    unit: str = ""


@dataclass
class _Image:
    """One amplifier of a file."""

    file: RunFile
    amplifier: str
    numbers: dict[str, _Number] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    plane_file: Path | None = None
    cluster_file: Path | None = None
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return Path(self.file.path).name

    @property
    def light(self) -> str:
        is_whole = self.file.status == "done" and not self.failed and not self.marked
        return "ok" if is_whole else "look"


def write_report(folder: str | Path, path: str | Path | None = None, *, n_images: int = 6) -> Path:
    """Write one HTML page about the run in a folder. It needs no network, and no other file.

    Parameters
    ----------
    folder
        Output folder of a run.
    path
        Of the page; default: ``report.html`` in the folder.
    n_images
        Amplifiers that are shown with pictures and plots: those that want a look first.

    Returns
    -------
    pathlib.Path
        Of the page, which is whole or absent.

    Raises
    ------
    IoError
        The folder has no journal, or the page cannot be written.
    """
    import jinja2

    folder = Path(folder)
    files = list(read_run(folder).values())
    clusters: dict[str, list[NDArray[np.float64]]] = {}
    problems: list[str] = []
    images = [image for file in files for image in _images(file, clusters, problems)]
    _mark(images)
    shown = sorted(images, key=lambda image: image.light == "ok")[: max(0, n_images)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("skipstream", "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    comparison = _comparison(folder, problems)
    numbers = {path: i for i, path in enumerate(dict.fromkeys(i.file.path for i in images), 1)}
    page = environment.get_template("report.html").render(
        version=_core.__version__,
        folder=str(folder.absolute()),
        summary=_summary(folder, files, images, comparison, problems),
        problems=problems,
        signs=_SIGNS,
        refused=[file for file in files if file.status == "failed"],
        images=images,
        numbers=numbers,
        columns=_columns(images),
        trends=_trends(images, numbers),
        spectrum=_cluster_spectrum(clusters, images),
        details=[_details(image) for image in shown],
        n_left=len(images) - len(shown),
        comparison=comparison,
        history=_history(images),
        number=_shown,
        unit=unit_text,
    )
    target = folder / REPORT if path is None else Path(path)
    try:
        with whole_file(target) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise _core.IoError(f"{target}: cannot write: {error.strerror}") from None
    return target


# --- what the files say -------------------------------------------------------------------------


def _images(
    file: RunFile, clusters: dict[str, list[NDArray[np.float64]]], problems: list[str]
) -> Iterator[_Image]:
    """Every amplifier of a file that is done; the charges of its clusters are added up.

    An output that cannot be read is told among the problems.
    """
    if file.status not in ("done", "partial"):
        return
    images: dict[str, _Image] = {}
    try:
        planes = plane_file(file.outputs)
        for plane in planes_of(planes) if planes is not None else ():
            image = images.setdefault(plane.amplifier, _Image(file, plane.amplifier))
            image.plane_file = planes
            _take_header(image, plane)
    except _core.Error as error:
        problems.append(str(error))
        for image in images.values():
            image.plane_file = None
    for output in file.outputs:
        try:
            if output.suffix == ".json" and "measures" in output.stem:
                for amplifier, results in read_results(output).items():
                    image = images.setdefault(amplifier, _Image(file, amplifier))
                    image.results = results
                    _take_results(image)
            elif "clusters" in output.stem:
                for amplifier, charges in _cluster_charges(output).items():
                    image = images.setdefault(amplifier, _Image(file, amplifier))
                    image.cluster_file = output
                    image.numbers["n_clusters"] = _Number(len(charges))
                    clusters.setdefault(amplifier, []).append(charges)
        except _core.Error as error:
            problems.append(str(error))
    yield from images.values()


def _take_header(image: _Image, plane: Plane) -> None:
    unit = str(plane.header.get("BUNIT", ""))
    for keyword, name in (("NOISE", "noise"), ("GAIN", "gain"), ("PEDMEAN", "pedestal")):
        value = plane.header.get(keyword)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            units = {"noise": unit, "gain": "adu/electron", "pedestal": "adu"}
            image.numbers[name] = _Number(float(value), unit=units[name])
    n_masked = np.count_nonzero(plane.mask)
    image.numbers["masked"] = _Number(100 * n_masked / max(plane.mask.size, 1), unit="%")


def _take_results(image: _Image) -> None:
    for name, result in image.results.items():
        if isinstance(result, FitResult):
            if result.status != "ok":
                image.failed.append(f"{name}: {result.reason}")
                continue
            for quantity in result:
                if quantity in _TRENDS and quantity not in image.numbers:
                    image.numbers[quantity] = _Number(
                        result[quantity], result.errors[quantity], result.units.get(quantity, "")
                    )
        elif isinstance(result, Quality):
            for quantity, value in result.values.items():
                if value != -1:
                    error = result.errors[quantity]
                    image.numbers[quantity] = _Number(
                        value, error if error >= 0 else math.nan, UNITS.get(quantity, "")
                    )
        elif getattr(result, "status", "ok") != "ok":
            image.failed.append(f"{name}: {result.reason}")


def _cluster_charges(path: Path) -> dict[str, NDArray[np.float64]]:
    """Charge of the clusters of each amplifier; none of a table of other columns."""
    try:
        rows = read_rows(path)
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise _core.IoError(f"{path}: cannot read its clusters: {error}") from None
    found: dict[str, list[float]] = {}
    for row in rows:
        if not {"amplifier", "charge"} <= row.keys():
            break
        found.setdefault(str(row["amplifier"]), []).append(float(row["charge"]))
    return {amplifier: np.array(charges) for amplifier, charges in found.items()}


def _mark(images: Sequence[_Image]) -> None:
    """Numbers of quality that catch the eye."""
    judged = [image for image in images if any(name in image.numbers for name in NAMES)]
    rows = []
    for image in judged:
        values = {n: image.numbers[n].value if n in image.numbers else -1.0 for n in NAMES}
        errors = {n: image.numbers[n].error if n in image.numbers else -1.0 for n in NAMES}
        errors = {n: error if math.isfinite(error) else -1.0 for n, error in errors.items()}
        rows.append(QualityRow(image.name, image.amplifier, 1, values, errors))
    for image, marked in zip(judged, out_of_range(rows), strict=True):
        image.marked = marked


def _comparison(folder: Path, problems: list[str]) -> dict[str, Any] | None:
    """What `skipstream compare` has found, if it has; the worst first."""
    path = folder / DQM_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        order = ("bad", "warn", "ok")
        elements = sorted(found["elements"], key=lambda e: order.index(e["verdict"]))
        return {"verdict": str(found["verdict"]), "reference": str(found["reference"]),
                "elements": [e for e in elements if e["verdict"] != "ok"],
                "n_ok": sum(e["verdict"] == "ok" for e in elements)}  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        problems.append(f"{path}: is no comparison of runs: {error}")
        return None


def _history(images: Sequence[_Image]) -> list[str]:
    """How the planes were made, as their header tells."""
    from astropy.io import fits

    path = next((image.plane_file for image in images if image.plane_file is not None), None)
    if path is None:
        return []
    header = fits.getheader(path, 1)
    facts = [f"{k} = {header[k]}" for k in ("SKIPSTRV", "SKCFG", "INFILE", "INSUM") if k in header]
    lines: list[str] = []
    for part in map(str, header.get("HISTORY", [])):  # long ones were cut into cards
        if lines and not re.match(r"(input|stage\[\d+\]|measure\[\d+\]) ", part):
            lines[-1] += part
        else:
            lines.append(part)
    return [*facts, *lines]


def _summary(
    folder: Path,
    files: Sequence[RunFile],
    images: Sequence[_Image],
    comparison: Mapping[str, Any] | None,
    problems: Sequence[str],
) -> list[tuple[str, str, str]]:
    """Light, heading and text of each thing that a person asks first."""
    count = {s: sum(f.status == s for f in files) for s in ("done", "partial", "failed", "waiting")}
    light = "bad" if count["failed"] else "look" if count["partial"] + count["waiting"] else "ok"
    texts = {"done": "done", "partial": "in part", "failed": "refused", "waiting": "not finished"}
    lines = [
        (light, "files", ", ".join(f"{count[s]} {texts[s]}" for s in texts if count[s]) or "none")
    ]
    if problems:
        lines.append(("bad", "outputs", f"{len(problems)} cannot be read"))
    n_failed = sum(bool(image.failed) for image in images)
    n_marked = sum(bool(image.marked) for image in images)
    if any(image.results for image in images):
        text = f"a fit failed in {n_failed} of {len(images)}" if n_failed else "all fits went well"
        lines.append(("look" if n_failed else "ok", "measures", text))
    if any(name in image.numbers for image in images for name in NAMES):
        text = f"{n_marked} of {len(images)} have a number out of range"
        lines.append(("look" if n_marked else "ok", "quality", text if n_marked else "in range"))
    if comparison is not None:
        lights = {"ok": "ok", "warn": "look", "bad": "bad"}
        light = lights.get(comparison["verdict"], "look")
        lines.append(
            (light, "compared", f"{comparison['verdict']}, with {comparison['reference']}")
        )
    times = [e["time"] for e in Ledger(folder).entries() if isinstance(e.get("time"), str)]
    if times:
        first, last = min(times), max(times)
        lines.append(("", "run", first if first == last else f"{first} to {last}"))
    return lines


# --- numbers and pictures -----------------------------------------------------------------------


def _shown(number: _Number | None) -> str:
    """A value to two digits of its error, or to five of its own."""
    if number is None or not math.isfinite(number.value):
        return ""
    if not 0 < number.error < math.inf:
        return f"{number.value:.5g}"
    places = 1 - math.floor(math.log10(number.error))
    if not 0 <= places <= 8:
        return f"{number.value:.4g} \N{PLUS-MINUS SIGN} {number.error:.2g}"
    return f"{number.value:.{places}f} \N{PLUS-MINUS SIGN} {number.error:.{places}f}"


def _columns(images: Sequence[_Image]) -> list[tuple[str, str]]:
    """Names and units of the numbers that some image has."""
    units: dict[str, str] = {}
    for image in images:
        for name, number in image.numbers.items():
            units.setdefault(name, number.unit)
    order = [*(n for n in _TRENDS if n in units), *(n for n in units if n not in _TRENDS)]
    return [(name, units[name]) for name in order]


def _as_data(figure: Figure, *, is_pixels: bool) -> str:
    """A figure as the address of an image that holds itself."""
    from matplotlib import rc_context

    kind, mime = ("png", "image/png") if is_pixels else ("svg", "image/svg+xml")
    content = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "skipstream"}):
        metadata = None if is_pixels else {"Date": None, "Creator": None}
        settle_layout(figure)
        figure.savefig(content, format=kind, dpi=110, metadata=metadata)
    if is_pixels:
        content = _with_few_colours(content)
    return f"data:{mime};base64,{base64.b64encode(content.getvalue()).decode()}"


def _with_few_colours(content: io.BytesIO) -> io.BytesIO:
    """A PNG of at most 128 colours, which takes a third of the bytes."""
    from PIL import Image

    smaller = io.BytesIO()
    Image.open(content).convert("RGB").quantize(128).save(smaller, format="png", optimize=True)
    return smaller


@dataclass
class _Picture:
    """An image of the page: its address, and what it shows for those who do not see it."""

    data: str
    text: str
    is_wide: bool = False


def _drawn(
    text: str,
    draw: Callable[[Axes], Any],
    *,
    size: tuple[float, float] = (5.2, 3.6),
    is_pixels: bool = False,
) -> _Picture:
    from matplotlib import rc_context

    with rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure = new_figure(*size)
        draw(figure.subplots())
        return _Picture(_as_data(figure, is_pixels=is_pixels), text, is_wide=size[0] > 6)


_MARKERS = "osD^vPX*"


def _trends(images: Sequence[_Image], numbers: Mapping[str, int]) -> list[_Picture]:
    """The course of each number over the images, one line for each amplifier."""
    from matplotlib.ticker import MaxNLocator

    if len(numbers) < 2:
        return []
    amplifiers = list(dict.fromkeys(image.amplifier for image in images))
    pictures = []
    for name, unit in _columns(images):
        if name not in _TRENDS:
            continue

        def draw(ax: Axes, name: str = name, unit: str = unit) -> None:
            for number, amplifier in enumerate(amplifiers):
                points = [
                    (numbers[i.file.path], i.numbers[name].value, i.numbers[name].error)
                    for i in images
                    if i.amplifier == amplifier and name in i.numbers
                ]
                if not points:
                    continue
                x, y, error = np.array(points, dtype=float).T
                marker, colour = _MARKERS[number % len(_MARKERS)], COLOURS[number % len(COLOURS)]
                ax.errorbar(x, y, np.nan_to_num(error), fmt=marker, ms=3.5, lw=0.8, color=colour,
                            label=amplifier)  # fmt: skip
            shown = f" ({unit_text(unit)})" if unit else ""
            ax.set(xlabel="number of the file", ylabel=f"{name.replace('_', ' ')}{shown}")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            if 1 < len(amplifiers) <= 8:
                ax.legend(ncols=2)

        many = len(images) > _MOST_POINTS
        pictures.append(_drawn(f"{name} of each file", draw, size=(4.6, 2.6), is_pixels=many))
    return pictures


def _cluster_spectrum(
    clusters: Mapping[str, Sequence[NDArray[np.float64]]], images: Sequence[_Image]
) -> _Picture | None:
    charges = {a: np.concatenate(parts) for a, parts in clusters.items()}
    positive = np.concatenate([[], *(c[c > 0] for c in charges.values())])
    if not len(positive):
        return None
    low, high = math.log10(positive.min()), math.log10(positive.max())
    edges = np.logspace(low - 0.05, high + 0.05, 60)
    units = {i.numbers["noise"].unit for i in images if "noise" in i.numbers}
    unit = f" ({unit_text(units.pop())})" if len(units) == 1 else ""

    def draw(ax: Axes) -> None:
        for number, (amplifier, charge) in enumerate(charges.items()):
            counts, _ = np.histogram(charge, edges)
            colour = COLOURS[number % len(COLOURS)]
            ax.stairs(counts, edges, color=colour, label=f"{amplifier}: {len(charge)} clusters")
        ax.set(
            xscale="log", xlabel=f"charge of a cluster{unit}", ylabel="clusters", ylim=(0.5, None)
        )
        ax.set_yscale("log")
        if len(charges) <= 8:
            ax.legend()

    return _drawn("charge of all clusters of the run", draw, size=(7.0, 3.0))


def _reduced(plane: NDArray[Any], of: np.ufunc) -> NDArray[Any]:
    """A plane of at most `_MOST_SIDE` rows and columns: each is a block of pixels, joined by `of`.

    Blocks at the ends may be smaller.
    """
    for axis, n in enumerate(plane.shape):
        plane = of.reduceat(plane, np.arange(0, n, -(-n // _MOST_SIDE)), axis=axis)
    return plane


def _details(image: _Image) -> dict[str, Any]:
    """Pictures and plots of one amplifier."""
    pictures: list[_Picture] = []
    bits: list[tuple[str, int, str]] = []
    gallery: list[_Picture] = []
    notes: list[str] = []
    planes = planes_of(image.plane_file) if image.plane_file is not None else ()
    for plane in planes:
        if plane.amplifier == image.amplifier:
            pictures += _plane_pictures(plane)
            if not np.isfinite(_kept(plane)).any():
                notes.append("every pixel is flagged: neither histogram nor profiles")
            bits = [
                (name, int(np.count_nonzero(plane.mask & bit)), doc)
                for bit, name, doc in _core.mask_names()
                if np.any(plane.mask & bit)
            ]
            gallery = _gallery(image, plane)
    for name, result in image.results.items():
        if isinstance(result, Patterns) and not result.counts:
            notes.append(f"{name}: no pattern was found")
            continue
        fit = result.line if isinstance(result, ChargeProfile) else result
        if isinstance(fit, FitResult) and fit.data is None and fit.series is None:
            continue  # why is told among what failed
        if isinstance(result, Quality) and not len(result.entropies):
            continue  # its numbers are in the table
        try:
            pictures.append(_drawn(name, result.plot, size=(5.2, 4.2)))
        except ValueError as error:  # nothing to draw, which it says
            notes.append(f"{name}: {error}")
    return {"image": image, "pictures": pictures, "bits": bits, "gallery": gallery, "notes": notes}


def _plane_pictures(plane: Plane) -> Iterator[_Picture]:
    unit = str(plane.header.get("BUNIT", ""))
    kept = _kept(plane)
    spread = np.nanmedian(np.abs(kept - np.nanmedian(kept))) if np.isfinite(kept).any() else 1.0
    with np.errstate(all="ignore"):
        shown = _reduced(plane.values, np.fmax)
    extent = (-0.5, plane.values.shape[1] - 0.5, -0.5, plane.values.shape[0] - 0.5)

    def draw(ax: Axes) -> None:
        width = max(5 * float(spread), 1e-6)
        plot_image(shown, ax=ax, unit=unit, stretch="asinh", linear_width=width, title="pixels")
        ax.images[0].set_extent(extent)

    yield _drawn("picture of the pixels", draw, size=(5.6, 4.2), is_pixels=True)
    if np.any(plane.mask):

        def draw_mask(ax: Axes) -> None:
            from matplotlib.colors import ListedColormap
            from matplotlib.patches import Patch

            there = [(bit, name) for bit, name, _ in _core.mask_names() if np.any(plane.mask & bit)]
            first = np.zeros(plane.mask.shape, np.uint8)
            for number, (bit, _) in reversed([*enumerate(there, 1)]):
                first[plane.mask & bit != 0] = number
            colours = [COLOURS[i % len(COLOURS)] for i in range(len(there))]
            ax.imshow(_reduced(first, np.maximum), origin="lower", vmin=0, vmax=len(there),
                      cmap=ListedColormap(["white", *colours]), extent=extent, aspect="auto",
                      interpolation="nearest")  # fmt: skip
            ax.legend(handles=[Patch(color=c, label=name) for c, (_, name) in
                               zip(colours, there, strict=True)], fontsize=7.5,
                      loc="upper left", bbox_to_anchor=(1.01, 1))  # fmt: skip
            ax.set(xlabel="column", ylabel="row", title="flags of pixels, the first of each")

        yield _drawn("picture of the mask", draw_mask, size=(5.6, 4.2), is_pixels=True)
    if not np.isfinite(kept).any():
        return
    if unit == "electron":

        def draw_charge(ax: Axes) -> None:
            plot_charge_distribution(kept, ax=ax, select=np.isfinite(kept), title="pixel charge")

        yield _drawn("histogram of the charge of pixels", draw_charge)
    for axis, name in ((1, "row"), (0, "column")):

        def draw_profile(ax: Axes, axis: int = axis, name: str = name) -> None:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # lines that are masked as a whole
                ax.plot(np.nanmedian(kept, axis=axis), lw=0.7)
            ax.set(
                xlabel=name, ylabel=f"median ({unit_text(unit)})", title=f"median of each {name}"
            )

        many = kept.shape[1 - axis] > 4 * _MOST_POINTS
        yield _drawn(f"median of each {name}", draw_profile, size=(5.2, 2.6), is_pixels=many)


def _kept(plane: Plane) -> NDArray[np.float64]:
    """Pixels that no flag speaks against; NaN elsewhere."""
    good = sum(bit for bit, name, _ in _core.mask_names() if name in ("MISSKIPS", "CLUSTER"))
    return np.where(plane.mask & ~good == 0, plane.values, np.nan)


def _gallery(image: _Image, plane: Plane) -> list[_Picture]:
    """The clusters of the most charge, each with its surroundings."""
    if image.cluster_file is None:
        return []
    wanted = {"amplifier", "charge", "x_min", "x_max", "y_min", "y_max"}
    rows = [row for row in read_rows(image.cluster_file) if wanted <= row.keys()]
    rows = [row for row in rows if str(row["amplifier"]) == image.amplifier]
    rows.sort(key=lambda row: -float(row["charge"]))
    if not rows:
        return []
    boxes = [
        (int(row["y_min"]), int(row["y_max"]), int(row["x_min"]), int(row["x_max"])) for row in rows
    ]
    charges = [float(row["charge"]) for row in rows]
    from matplotlib import rc_context

    with rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure = new_figure(9.0, 3.4)
        unit = unit_text(str(plane.header.get("BUNIT", "")))
        plot_cluster_gallery(
            figure, plane.values, boxes[:_N_GALLERY], charges[:_N_GALLERY], unit=unit
        )
        text = f"the {min(len(rows), _N_GALLERY)} clusters of the most charge"
        return [_Picture(_as_data(figure, is_pixels=True), text, True)]
