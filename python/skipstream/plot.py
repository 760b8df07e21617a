"""Pictures of images, charge distributions and clusters.

Matplotlib is imported when a function is called, and every function draws on the axes that it is
given. Nothing is shown or saved here.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .calibrating import AmplifierCalibration
    from .fitting import FitResult
    from .image_quality import Quality, SampleCounts
    from .masking import DefectMap
    from .monitoring import Comparison, Element
    from .patterns import Patterns
    from .profiles import ChargeProfile
    from .selection import CutFlow
    from .simulate import Truth
    from .spectrum import Spectrum

__all__ = [
    "match_clusters",
    "new_figure",
    "plot_charge_distribution",
    "plot_cluster_charge",
    "plot_cluster_gallery",
    "plot_clusters",
    "plot_comparison",
    "plot_cuts",
    "plot_defects",
    "plot_fit",
    "plot_gains",
    "plot_image",
    "plot_patterns",
    "plot_pedestal",
    "plot_profile",
    "plot_quality",
    "plot_recovered_charge",
    "plot_sample_counts",
    "plot_spectrum",
    "plot_summary",
    "plot_values",
    "settle_layout",
]

# Colours that stay apart in any kind of colour vision (Okabe and Ito), and in print.
BLUE, ORANGE, GREEN, VERMILLION, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#8A8A8A",
)
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, GREY, "#CC79A7", "#000000")
_UNIT_TEXT = {"electron": "e\N{SUPERSCRIPT MINUS}", "adu": "ADU",
              "adu2": "ADU\N{SUPERSCRIPT TWO}"}  # fmt: skip
STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "mathtext.default": "regular",
}


class Result(Protocol):
    """What the plots need of a result of `skipstream.run`."""

    @property
    def planes(self) -> Mapping[str, NDArray[Any]]: ...
    @property
    def mask(self) -> NDArray[Any]: ...
    @property
    def clusters(self) -> NDArray[np.void]: ...


def _image_of(image: Result | ArrayLike) -> NDArray[np.float64]:
    planes = getattr(image, "planes", None)
    array = np.asarray(image if planes is None else next(iter(planes.values())), np.float64)
    if array.ndim != 2:
        raise ValueError(f"plot: image must be (n_rows, n_cols); got shape {array.shape}")
    return array


def unit_text(unit: str) -> str:
    """A unit as it is printed."""
    return "/".join(_UNIT_TEXT.get(part, part) for part in unit.split("/"))


def _labelled(text: str) -> str:
    """A label whose units, in brackets, are as they are printed."""
    return re.sub(r"\(([^()]*)\)", lambda found: f"({unit_text(found[1])})", text)


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle_layout(figure: Figure) -> None:
    """Make room for strips of residuals, which the layout knows the second time."""
    if any(ax.child_axes for ax in figure.axes):
        figure.draw_without_rendering()


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, new = plt.subplots(layout="constrained")
    return new


def _robust_limits(values: NDArray[np.float64], percent: float) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [percent, 100 - percent])
    return float(low), float(high if high > low else low + 1)


def plot_image(
    image: Result | ArrayLike,
    *,
    ax: Axes | None = None,
    unit: str = "electron",
    stretch: Literal["linear", "asinh"] = "linear",
    linear_width: float = 1.0,
    limits: tuple[float, float] | None = None,
    percent: float = 0.5,
    cmap: str | None = None,
    title: str = "",
) -> Axes:
    """Draw a plane, row 0 at the bottom.

    Parameters
    ----------
    image
        A result of `skipstream.run`, of which the first plane is drawn, or ``(n_rows, n_cols)``.
    ax
        Where to draw; default: new axes.
    unit
        Unit of the plane, for the colour bar.
    stretch
        ``"asinh"`` shows single electrons and bright tracks together.
    linear_width
        Values up to which ``"asinh"`` is about linear.
    limits
        Values at the ends of the colour bar. Default: from `percent`; with ``"asinh"`` the upper
        end is the brightest pixel.
    percent
        Percentage of the pixels beyond each end of the colour bar.
    cmap
        Colour map. Default: cividis for linear, inferno for asinh; both keep their order in any
        kind of colour vision.
    title
        Title of the axes.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np
    >>> plot_image(np.arange(12.0).reshape(3, 4), unit="adu").get_xlabel()
    'column'
    """
    from matplotlib import colormaps
    from matplotlib.colors import AsinhNorm, Normalize
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    plane = _image_of(image)
    ax = _axes(ax)
    if limits is None:
        limits = _robust_limits(plane, percent)
        if stretch == "asinh" and np.isfinite(plane).any():
            limits = (limits[0], max(limits[0] + linear_width, float(np.nanmax(plane))))
    low, high = limits
    norm = AsinhNorm(linear_width, low, high) if stretch == "asinh" else Normalize(low, high)
    colours = colormaps[cmap or ("inferno" if stretch == "asinh" else "cividis")]
    drawn = ax.imshow(
        plane,
        norm=norm,
        cmap=colours.with_extremes(bad=GREY),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )
    bar = ax.figure.colorbar(drawn, ax=ax, pad=0.01, aspect=30, extend="both")
    bar.set_label(_UNIT_TEXT.get(unit, unit))
    bar.outline.set_linewidth(0.5)
    if stretch == "asinh":
        # Powers below the linear part would stand on top of one another.
        powers = [0.0, *(10.0**n for n in range(7) if 10.0**n > 0.6 * linear_width)]
        bar.ax.yaxis.set_major_locator(FixedLocator([t for t in powers if low <= t <= high]))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set(xlabel="column", ylabel="row")
    ax.set_title(title, loc="left")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    return ax


def plot_clusters(
    image: Result | ArrayLike,
    clusters: NDArray[np.void] | None = None,
    *,
    truth: Truth | None = None,
    amplifier: int = 0,
    ax: Axes | None = None,
    unit: str = "electron",
    title: str = "",
) -> Axes:
    """Draw a plane with a ring around every cluster, and a cross at every true event.

    Parameters
    ----------
    image
        A result of `skipstream.run`, or ``(n_rows, n_cols)``.
    clusters
        Cluster table; default: that of the result.
    truth
        Of the simulated image; its events are marked.
    amplifier
        Amplifier of the truth, counted from 0.
    ax, unit, title
        As for `plot_image`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.collections import EllipseCollection

    if clusters is None:
        clusters = getattr(image, "clusters", None)
    if clusters is None:
        clusters = np.empty(0, [("x", float)])
    ax = plot_image(image, ax=ax, unit=unit, stretch="asinh", title=title)
    if len(clusters):
        centre, size, angle = _ellipses(clusters)
        rings = EllipseCollection(
            size[0],
            size[1],
            angle,
            units="xy",
            offsets=centre,
            offset_transform=ax.transData,
            facecolors="none",
            edgecolors=SKY,
            linewidths=1.2,
        )
        ax.add_collection(rings)
    handles = _ring_and_cross(len(clusters))[:1]
    if truth is not None:
        events = _events_of(truth, amplifier)
        ax.plot(events["x"], events["y"], "+", color="white", ms=6, mew=1.0)
        handles = _ring_and_cross(len(clusters), len(events))
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
        handletextpad=0.3,
        columnspacing=1.2,
        borderaxespad=0.1,
    )
    return ax


def _ellipses(
    clusters: NDArray[np.void],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres (n, 2), full axes (2, n) and angles (n,) of ellipses with room around the pixels."""
    names = clusters.dtype.names or ()
    if {"x", "y", "std_x", "std_y", "cov_xy"} <= set(names):
        # A straight track of length L has a standard deviation of L / sqrt(12).
        var_x, var_y, cov = clusters["std_x"] ** 2, clusters["std_y"] ** 2, clusters["cov_xy"]
        half_sum, half_difference = (var_x + var_y) / 2, (var_x - var_y) / 2
        root = np.hypot(half_difference, cov)
        angle = np.degrees(np.arctan2(cov, half_difference)) / 2
        size = np.sqrt(12 * np.maximum([half_sum + root, half_sum - root], 0)) * 1.15 + 8
        return np.column_stack([clusters["x"], clusters["y"]]), size, angle
    low = np.column_stack([clusters["x_min"], clusters["y_min"]]).astype(float)
    high = np.column_stack([clusters["x_max"], clusters["y_max"]]).astype(float)
    return (low + high) / 2, 1.4 * (high - low + 1).T + 6, np.zeros(len(clusters))


def _ring_and_cross(n_clusters: int, n_events: int = 0) -> list[Any]:
    from matplotlib.lines import Line2D

    ring: dict[str, Any] = {"marker": "o", "mfc": "none", "mec": SKY, "mew": 1.2, "ms": 7}
    cross: dict[str, Any] = {"marker": "+", "color": "0.2", "mew": 1.2, "ms": 7}
    return [
        Line2D([], [], ls="none", label=f"{n_clusters} clusters found", **ring),
        Line2D([], [], ls="none", label=f"{n_events} true events (white)", **cross),
    ]


def _events_of(truth: Truth, amplifier: int) -> NDArray[np.void]:
    events: NDArray[np.void] = truth.events[truth.events["amplifier"] == amplifier + 1]
    return events


def plot_charge_distribution(
    image: Result | ArrayLike,
    *,
    noise: float | None = None,
    dark_current: float | None = None,
    select: NDArray[np.bool_] | None = None,
    charge_range: tuple[float, float] = (-1.0, 6.0),
    bin_width: float = 0.02,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw the histogram of pixel charge, where single electrons stand apart.

    Parameters
    ----------
    image
        A result of `skipstream.run`, or ``(n_rows, n_cols)``, in electrons.
    noise, dark_current
        Where both are given: the curve that Gaussian noise (e-) and Poisson charge (e-/pixel) make.
    select
        ``(n_rows, n_cols)``, pixels to count. Default: those whose mask is 0, or all.
    charge_range, bin_width
        Of the histogram, e-.
    ax, title
        As for `plot_image`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    plane = _image_of(image)
    ax = _axes(ax)
    if select is None:
        mask = getattr(image, "mask", None)
        select = np.ones(plane.shape, bool) if mask is None else np.asarray(mask) == 0
    values = plane[select & np.isfinite(plane)]
    low, high = charge_range
    n_bins = max(1, round((high - low) / bin_width))
    counts, edges = np.histogram(values, n_bins, charge_range)
    for n in range(math.ceil(low), math.floor(high) + 1):
        ax.axvline(n, color="0.88", lw=0.8, zorder=0)
    ax.stairs(counts, edges, fill=True, color=SKY, alpha=0.55, label=f"{len(values)} pixels")
    ax.stairs(counts, edges, color=BLUE, lw=0.7)
    if noise is not None and dark_current is not None and noise > 0:
        x = np.linspace(low, high, 2000)
        curve = len(values) * (edges[1] - edges[0]) * _peaks(x, noise, dark_current)
        label = f"Poisson({dark_current:.3g}) \N{ASTERISK OPERATOR} Gauss({noise:.3f})"
        ax.plot(x, curve, color=VERMILLION, lw=1.2, label=label)
    # Limits before the scale: an empty histogram has none of its own on a logarithmic axis.
    ax.set_ylim(0.5, 3 * max(1, int(counts.max())))
    ax.set_yscale("log")
    ax.set(
        xlim=charge_range,
        xlabel=f"pixel charge ({_UNIT_TEXT['electron']})",
        ylabel=f"pixels per {edges[1] - edges[0]:.2g} {_UNIT_TEXT['electron']}",
        title=title,
    )
    ax.legend(loc="upper right")
    return ax


def plot_fit(result: FitResult, ax: Axes | None = None) -> Axes:
    """Draw the histogram of a fit, its expected counts, and their residuals below.

    Parameters
    ----------
    result
        A fit with data, such as that of `skipstream.fit_dark_current`.
    ax
        Axes for the histogram; the residuals take a strip off its lower end.

    Returns
    -------
    matplotlib.axes.Axes
        The histogram's.

    Raises
    ------
    ValueError
        The result has no histogram.
    """
    if result.series is not None:
        return _plot_series(result, _axes(ax))
    if result.data is None:
        raise ValueError(f"plot: {result.name} has neither histogram nor points")
    data, ax = result.data, _axes(ax)
    unit = unit_text(data.unit)
    ax.stairs(data.counts, data.edges, fill=True, color=SKY, alpha=0.55)
    ax.stairs(data.counts, data.edges, color=BLUE, lw=0.7, label=f"{result.n_values} pixels")
    # Room above the peaks for the numbers.
    ax.set_ylim(0.5, 0.5 * (2 * max(2.0, float(data.counts.max()))) ** 1.5)
    ax.set_yscale("log")
    ax.set(xlim=(data.edges[0], data.edges[-1]), title=result.name)
    ax.set_ylabel(f"pixels per {data.edges[1] - data.edges[0]:.2g} {unit}".rstrip())
    if result.model is None:
        is_ok = result.status == "ok"
        lines = [*_shown_values(result), *result.notes] if is_ok else [result.status, result.reason]
        lines = [part for line in lines for part in textwrap.wrap(line, 36)]
        ax.text(0.98, 0.97, "\n".join(lines), transform=ax.transAxes, ha="right", va="top",
                fontsize=7.5, color="black" if is_ok else VERMILLION)  # fmt: skip
        ax.set_xlabel(f"pixel value ({unit})")
        return ax
    ax.stairs(result.model, data.edges, color=VERMILLION, lw=1.3, baseline=None, label="fit")
    shown = _shown_values(result)
    ax.legend(loc="upper right", title="\n".join(shown), title_fontsize=7.5, alignment="left")
    ax.tick_params(labelbottom=False)
    below = _residuals_below(ax, f"pixel value ({unit})")
    pulls = (data.counts - result.model) / np.sqrt(np.maximum(result.model, 1.0))
    _plot_residuals(below, data.centres, pulls)
    return ax


def _residuals_below(ax: Axes, x_label: str) -> Axes:
    """A strip below the axes, with the same x."""
    ax.tick_params(axis="x", which="both", labelbottom=False)
    ax.set_xlabel("")
    below: Axes = ax.inset_axes((0.0, -0.32, 1.0, 0.26), sharex=ax)
    below.set(xlabel=x_label, ylabel="residual (\u03c3)")
    return below


def _plot_residuals(ax: Axes, x: NDArray[Any], pulls: NDArray[Any], size: float = 2.5) -> None:
    """Residuals in units of their errors; a mark at the edge stands for one beyond it."""
    finite = np.isfinite(pulls)
    x, pulls = x[finite], pulls[finite]
    reach = max(4.0, min(10.0, float(np.max(np.abs(pulls), initial=0)) * 1.1))
    is_inside = np.abs(pulls) <= reach
    ax.axhline(0, color=GREY, lw=0.8)
    ax.plot(x[is_inside], pulls[is_inside], ".", ms=size, color=BLUE)
    for sign, mark in ((1, "^"), (-1, "v")):
        beyond = ~is_inside & (sign * pulls > 0)
        ax.plot(x[beyond], np.full(np.count_nonzero(beyond), sign * 0.93 * reach), mark, ms=3,
                color=VERMILLION)  # fmt: skip
    ax.set_ylim(-reach, reach)


def plot_spectrum(spectrum: Spectrum, ax: Axes | None = None) -> Axes:
    """Draw a noise spectrum, and the strongest of its lines.

    Parameters
    ----------
    spectrum
        From `skipstream.noise_spectrum`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    ax.plot(spectrum.frequency, spectrum.amplitude, color=BLUE, lw=0.9)
    for frequency, amplitude in spectrum.lines[:5]:
        ax.plot(frequency, amplitude, "v", color=VERMILLION, ms=5)
        ax.annotate(f"{frequency:.5g}", (frequency, amplitude), (0, 6), ha="center",
                    textcoords="offset points", fontsize=7.5)  # fmt: skip
    ax.set(xlabel=f"frequency ({spectrum.frequency_unit})", title="noise spectrum",
           ylabel="mean amplitude (unit of samples)")  # fmt: skip
    low, high = np.min(spectrum.amplitude, initial=0), np.max(spectrum.amplitude, initial=0)
    if low > 0 and high > 10 * low:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.25 * high if high > 0 else 1)
    return ax


def plot_patterns(patterns: Patterns, ax: Axes | None = None) -> Axes:
    """Draw how often each of the 20 most frequent patterns is there.

    Parameters
    ----------
    patterns
        From `skipstream.find_patterns`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    counts = dict(list(patterns.counts.items())[:20])
    number = np.array(list(counts.values()), dtype=np.float64)
    ax.bar(list(counts), number, color=SKY, edgecolor=BLUE, lw=0.7)
    ax.errorbar(np.arange(len(number)), number, np.sqrt(number), fmt="none", color=BLUE, lw=1)
    ax.tick_params(axis="x", labelrotation=60)
    ax.set(xlabel="electrons in neighbouring pixels", ylabel="patterns",
           title=f"patterns along {patterns.axis}s, {patterns.n_pixels} pixels")  # fmt: skip
    if len(number):
        ax.set_yscale("log")
    return ax


def plot_defects(defects: DefectMap, ax: Axes | None = None) -> Axes:
    """Draw in which part of the images each pixel was hot.

    Parameters
    ----------
    defects
        Of an amplifier, from `skipstream.find_defects`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    shown = ax.imshow(defects.frequency, origin="lower", cmap="viridis", vmin=0, vmax=1,
                      interpolation="nearest", aspect="auto")  # fmt: skip
    figure = ax.get_figure()
    assert figure is not None
    figure.colorbar(shown, ax=ax, label="part of the images in which a pixel is hot")
    ax.set(xlabel="column", ylabel="row", title=f"{defects.n_images} images")
    return ax


def plot_quality(quality: Quality, ax: Axes | None = None) -> Axes:
    """Draw the entropy of each sample against its number, with the line through them.

    Parameters
    ----------
    quality
        From `skipstream.quality`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    if not len(quality.entropies):  # of one value per pixel
        ax.set_axis_off()
        ax.set_title("quality")
        ax.text(0, 0.95, repr(quality), transform=ax.transAxes, va="top")
        return ax
    number = np.arange(len(quality.entropies))
    ax.plot(number, quality.entropies, "o", ms=3, color=BLUE, label="a sample of all pixels")
    if len(number) >= 3:
        slope, start = np.polyfit(number, quality.entropies, 1)
        ax.plot(number, start + slope * number, color=VERMILLION, lw=1.2, label="line")
    ax.set(xlabel="sample", ylabel="entropy", title="quality")
    lines = repr(quality).splitlines()[1:]
    ax.legend(title="\n".join(line.strip() for line in lines), title_fontsize=7.5,
              alignment="left", loc="center left", bbox_to_anchor=(1.02, 0.5))  # fmt: skip
    return ax


def plot_sample_counts(sample: SampleCounts, ax: Axes | None = None) -> Axes:
    """Draw how often each number was read in one sample of all pixels.

    Parameters
    ----------
    sample
        Counts of whole ADU.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    edges = sample.first - 0.5 + np.arange(len(sample.counts) + 1)
    ax.stairs(sample.counts, edges, fill=True, color=SKY, ec=BLUE, lw=0.7)
    ax.set_yscale("log")
    ax.set_ylim(0.5, 3 * max(1, int(np.max(sample.counts, initial=0))))
    title = f"one sample, entropy {sample.entropy:.4g}"
    if sample.n_below or sample.n_above:
        title += f"; {sample.n_below} below, {sample.n_above} above"
    ax.set(xlabel="sample (ADU)", ylabel="pixels per ADU", title=title)
    return ax


def plot_profile(profile: ChargeProfile, ax: Axes | None = None) -> Axes:
    """Draw the charge of rows or columns, the line through it, and what stands out.

    Parameters
    ----------
    profile
        From `skipstream.charge_per_axis`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no line.
    """
    ax = plot_fit(profile.line, ax)
    for number, _ in profile.outliers[:10]:
        ax.plot(number, profile.mean[number], "v", color=VERMILLION, ms=5)
        ax.annotate(f"{number}", (number, profile.mean[number]), (0, 6), ha="center",
                    textcoords="offset points", fontsize=7.5)  # fmt: skip
    return ax


def _shown_values(result: FitResult) -> list[str]:
    shown = [
        f"{name.replace('_', ' ')} {value:.4g} \N{PLUS-MINUS SIGN} {result.errors[name]:.1g} "
        f"{unit_text(result.units[name])}"
        for name, value in result.values.items()
        if math.isfinite(value)
    ]
    if result.n_dof > 0:
        shown.append(f"$\\chi^2$/dof = {result.chi2:.0f}/{result.n_dof}")
    return shown


def _plot_series(result: FitResult, ax: Axes) -> Axes:
    series = result.series
    assert series is not None
    many = len(series.x) > 100  # errors of so many points would hide all else
    bars = {"ecolor": SKY, "elinewidth": 0.5, "ms": 2} if many else {"ms": 3}
    ax.errorbar(series.x, series.y, series.errors, fmt="o", color=BLUE, lw=1, zorder=1, **bars)
    styles = [(VERMILLION, "-"), (GREY, "--"), (GREEN, ":")]
    for (name, values), (color, style) in zip(series.curves.items(), styles, strict=False):
        ax.plot(series.x, values, style, color=color, lw=1.2, label=name)
    if series.is_log:
        ax.set(xscale="log", yscale="log")
    else:  # room above the points for the numbers
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.4 * (high - low))
    x_label = _labelled(series.x_label)
    ax.set(xlabel=x_label, ylabel=_labelled(series.y_label), title=result.name)
    lines = _shown_values(result)
    if result.status != "ok":
        lines += textwrap.wrap(f"{result.status}: {result.reason}", 40)
    ax.legend(title="\n".join(lines), title_fontsize=7.5, alignment="left")
    fitted = next(iter(series.curves.values()), None)
    errors = np.asarray(series.errors, float)
    if fitted is not None and len(series.x) and np.any(errors > 0):
        below = _residuals_below(ax, x_label)
        with np.errstate(all="ignore"):
            pulls = (np.asarray(series.y) - np.asarray(fitted)) / errors
        _plot_residuals(below, np.asarray(series.x, float), pulls, 4)
    return ax


def _peaks(x: NDArray[np.float64], noise: float, rate: float) -> NDArray[np.float64]:
    """Density of pixel charge: a Gaussian at every whole number of electrons."""
    density = np.zeros_like(x)
    for n in range(int(rate + 10 * math.sqrt(rate) + 10)):
        weight = math.exp(-rate + (n * math.log(rate) if n else 0.0) - math.lgamma(n + 1))
        density += weight * np.exp(-0.5 * ((x - n) / noise) ** 2)
        if rate == 0:
            break
    scaled: NDArray[np.float64] = density / (noise * math.sqrt(2 * math.pi))
    return scaled


def plot_cluster_gallery(
    figure: Figure,
    image: ArrayLike,
    boxes: Sequence[tuple[int, int, int, int]],
    charges: Sequence[float],
    *,
    unit: str = "",
) -> None:
    """Draw parts of a plane, one for each cluster, in two lines.

    Parameters
    ----------
    figure
        Of which the axes are made.
    image
        ``(n_rows, n_cols)``.
    boxes
        First and last row, first and last column of each cluster, inclusive.
    charges, unit
        Of the clusters.
    """
    plane = _image_of(image)
    n_across = max(1, -(-len(boxes) // 2))
    grid = figure.subplots(2 if len(boxes) > 1 else 1, n_across, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    for ax, (y_min, y_max, x_min, x_max), charge in zip(grid.ravel(), boxes, charges, strict=False):
        half = max(y_max - y_min, x_max - x_min) // 2 + 4
        y, x = (y_min + y_max) // 2, (x_min + x_max) // 2
        rows = slice(max(0, y - half), y + half + 1)
        cols = slice(max(0, x - half), x + half + 1)
        part = plane[rows, cols]
        top = float(np.nanmax(part)) if np.isfinite(part).any() else 1.0
        ax.imshow(part, origin="lower", cmap="inferno", vmin=min(0.0, top / 2), vmax=top,
                  interpolation="nearest")  # fmt: skip
        ax.set_title(f"{charge:.4g} {unit}\nrow {y}, column {x}", fontsize=7.5, loc="center",
                     fontweight="normal")  # fmt: skip


def plot_comparison(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw how far a run is from its reference: the 25 elements that differ most, one bar each.

    Parameters
    ----------
    comparison
        From `skipstream.compare_runs`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.patches import Patch

    ax = _axes(ax)
    colours = {"ok": GREEN, "warn": ORANGE, "bad": VERMILLION}
    hatches = {"ok": "", "warn": "//", "bad": "xx"}

    def strength(element: Element) -> float:
        return min(50.0, -math.log10(max(element.p_value, 1e-50))) if element.p_value < 1 else 0.0

    chosen = sorted(comparison.elements, key=strength)[-25:]
    for place, element in enumerate(chosen):
        ax.barh(place, strength(element), color=colours[element.verdict], edgecolor="white",
                hatch=hatches[element.verdict], lw=0.5)  # fmt: skip
    ax.set_yticks(
        range(len(chosen)), [f"{e.amplifier} {e.name.replace('_', ' ')}" for e in chosen],
        fontsize=7.5,
    )  # fmt: skip
    ax.set(
        xlabel="-log10 of the probability that the same detector differs as much",
        title=f"{comparison.n_images} files against {comparison.n_reference}: {comparison.verdict}",
    )
    handles = [
        Patch(fc=colours[v], hatch=hatches[v], ec="white", label=f"{len(comparison.of(v))} {v}")
        for v in colours
    ]
    ax.legend(handles=handles, loc="lower right")
    return ax


def plot_gains(calibration: AmplifierCalibration, ax: Axes | None = None) -> Axes:
    """Draw the gain of every file of a calibration, and their mean.

    Parameters
    ----------
    calibration
        From `skipstream.calibrate`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax)
    fits = [peaks if peaks.status == "ok" else charge for _, charge, peaks in calibration.fits]
    good = [(i, f["gain"], f.errors["gain"]) for i, f in enumerate(fits) if f.status == "ok"]
    if good:
        number, gain, error = np.array(good).T
        ax.errorbar(number, gain, error, fmt="o", ms=4, color=BLUE, lw=1, label="files")
    mean, error_of_mean = calibration.values["gain"], calibration.errors["gain"]
    if math.isfinite(mean):
        label = f"mean {mean:.5g} \N{PLUS-MINUS SIGN} {error_of_mean:.1g}"
        ax.axhline(mean, color=VERMILLION, lw=1.2, label=label)
        ax.axhspan(mean - error_of_mean, mean + error_of_mean, color=VERMILLION, alpha=0.15, lw=0)
        ax.legend()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    title = f"{calibration.amplifier}: {len(good)} of {len(fits)} files"
    if calibration.n_dof > 0:
        title += f", p = {calibration.p_value:.2g}"
    ax.set(xlabel="file", ylabel=f"gain (ADU/{_UNIT_TEXT['electron']})", title=title)
    return ax


def plot_cuts(flow: CutFlow, ax: Axes | None = None) -> Axes:
    """Draw how many clusters are left after each cut.

    Parameters
    ----------
    flow
        From `skipstream.select_clusters`.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    names = ["all", *flow.conditions]
    left = [flow.n_rows, *flow.n_left]
    places = np.arange(len(left))[::-1]
    ax.barh(places, left, color=SKY, edgecolor=BLUE, lw=0.7)
    for place, n in zip(places, left, strict=True):
        ax.annotate(f"{n}", (n, place), (4, 0), textcoords="offset points", va="center",
                    fontsize=8)  # fmt: skip
    ax.set_yticks(places, names)
    ax.set_xlim(0, 1.12 * max(1, flow.n_rows))
    ax.set(xlabel="clusters", title="cuts, one after another")
    return ax


def plot_pedestal(
    found: ArrayLike,
    true: ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Draw the pedestal of each row (ADU), as found and as it is.

    Parameters
    ----------
    found, true
        ``(n_rows,)``, ADU.
    ax, title
        As for `plot_image`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    values = np.asarray(found, float)
    rows = np.arange(len(values))
    if true is not None:
        ax.plot(np.asarray(true), rows, color=ORANGE, lw=3.0, alpha=0.8, label="truth")
    ax.plot(values, rows, color=BLUE, lw=0.9, label="found")
    ax.set(xlabel="pedestal (ADU)", ylabel="row", title=title)
    ax.margins(y=0)
    ax.legend(loc="best")
    return ax


def match_clusters(
    events: NDArray[np.void], clusters: NDArray[np.void], *, distance: float = 3.0
) -> NDArray[np.int64]:
    """Find the cluster of each event by position.

    An event's cluster is the one with the nearest centre of those whose box of pixels overlaps the
    event's; where none does, the nearest one within `distance`.

    Parameters
    ----------
    events
        Truth of one amplifier, of `skipstream.simulate.EVENT_DTYPE`.
    clusters
        Cluster table of the same amplifier.
    distance
        Pixels.

    Returns
    -------
    numpy.ndarray
        Index into `clusters` for each event; -1 where there is none. Two events may share one.
    """
    matched = np.full(len(events), -1, np.int64)
    if len(clusters) == 0:
        return matched
    for number, event in enumerate(events):
        apart = np.hypot(clusters["x"] - event["x"], clusters["y"] - event["y"])
        overlaps = (
            (clusters["x_min"] <= event["x_max"])
            & (clusters["x_max"] >= event["x_min"])
            & (clusters["y_min"] <= event["y_max"])
            & (clusters["y_max"] >= event["y_min"])
        )
        apart = np.where(overlaps, apart, np.where(apart <= distance, apart + 1e6, np.inf))
        nearest = int(np.argmin(apart))
        if np.isfinite(apart[nearest]):
            matched[number] = nearest
    return matched


def plot_recovered_charge(
    events: NDArray[np.void],
    clusters: NDArray[np.void],
    *,
    axes: Sequence[Axes] | None = None,
    title: str = "",
) -> Sequence[Axes]:
    """Draw the charge of clusters against that of the true events, and their ratio.

    Parameters
    ----------
    events, clusters
        As for `match_clusters`.
    axes
        Two axes: charge, and ratio below it. Default: new ones.
    title
        Title of the upper axes.

    Returns
    -------
    sequence of matplotlib.axes.Axes
    """
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(
            2, 1, sharex=True, layout="constrained", gridspec_kw={"height_ratios": [3, 1]}
        )
    upper, lower = axes
    matched = match_clusters(events, clusters)
    found = matched >= 0
    n_events = np.bincount(matched[found], minlength=len(clusters))
    shared = found & (n_events[matched] > 1) if len(clusters) else found
    true = events["charge"].astype(float)
    measured = np.where(found, clusters["charge"][matched] if len(clusters) else 0.0, np.nan)
    for kind, marker, colour in (
        ("point", "o", BLUE),
        ("track", "^", ORANGE),
        ("saturated", "s", GREY),
    ):
        which = found & (events["kind"] == kind)
        if not which.any():
            continue
        for part, face in ((which & ~shared, colour), (which & shared, "none")):
            style: dict[str, Any] = {
                "marker": marker,
                "ls": "none",
                "mfc": face,
                "mec": colour,
                "ms": 5,
            }
            name = kind if face != "none" else f"{kind}, shared cluster"
            upper.plot(true[part], measured[part], label=name if part.any() else None, **style)
            lower.plot(true[part], measured[part] / true[part], **style)
    if (~found).any():
        lower.plot(true[~found], np.ones((~found).sum()), "x", color=VERMILLION, ms=6)
        upper.plot([], [], "x", color=VERMILLION, label=f"{int((~found).sum())} not found")
    ends = np.array([true.min() * 0.7, true.max() * 1.4]) if len(true) else np.array([1.0, 10.0])
    upper.plot(ends, ends, color="0.6", lw=0.8, zorder=0)
    lower.axhline(1, color="0.6", lw=0.8, zorder=0)
    upper.set(xscale="log", yscale="log", xlim=ends, title=title)
    upper.set_ylabel(f"charge found ({_UNIT_TEXT['electron']})")
    lower.set(xscale="log", xlim=ends, ylabel="found / true")
    lower.set_xlabel(f"true charge ({_UNIT_TEXT['electron']})")
    alone = found & ~shared
    spread = np.abs(measured[alone] / true[alone] - 1).max() if alone.any() else 0.0
    reach = min(0.5, max(0.02, 1.3 * spread))
    lower.set_ylim(1 - reach, 1 + reach)
    upper.tick_params(labelbottom=False)
    upper.legend(loc="upper left")
    return axes


def plot_summary(
    result: Result,
    truth: Truth | None = None,
    *,
    raw: ArrayLike | None = None,
    pedestal: ArrayLike | None = None,
    noise: float | None = None,
    dark_current: float | None = None,
    select: NDArray[np.bool_] | None = None,
    amplifier: int = 0,
    title: str = "",
) -> Figure:
    """Draw a result on one page: before, after, single electrons, and clusters beside the truth.

    Parameters
    ----------
    result
        Of `skipstream.run`, with planes in electrons and clusters.
    truth
        Of the simulated image, if it is one.
    raw
        ``(n_rows, n_cols)``, mean of the skips before the pedestal is subtracted, ADU.
    pedestal
        ``(n_rows,)``, as found, ADU.
    noise, dark_current, select
        As for `plot_charge_distribution`.
    amplifier
        Amplifier of the truth, counted from 0.
    title
        Title of the page.

    Returns
    -------
    matplotlib.figure.Figure
        It belongs to no window; save it with ``figure.savefig``.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure = new_figure(12.0, 8.0)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        pages: Any = figure.subfigures(2, 2)
        (left, right), (bottom_left, bottom_right) = pages
        if raw is not None and pedestal is not None:
            side, image = left.subplots(1, 2, sharey=True, width_ratios=[1, 3.4])
            true = None if truth is None else truth.pedestal[amplifier]
            plot_pedestal(pedestal, true, ax=side, title="pedestal")
            plot_image(raw, ax=image, unit="adu", percent=2, title="mean of the skips, raw")
            image.set_ylabel("")
        else:
            image = left.subplots()
            plane = result if raw is None else raw
            unit = "electron" if raw is None else "adu"
            title_left = "pixels" if raw is None else "mean of the skips, raw"
            plot_image(plane, ax=image, unit=unit, percent=2, title=title_left)
        plot_clusters(
            result,
            truth=truth,
            amplifier=amplifier,
            ax=right.subplots(),
            title="calibrated",
        )
        plot_charge_distribution(
            result,
            noise=noise,
            dark_current=dark_current,
            select=select,
            ax=bottom_left.subplots(),
            title="pixel charge" if select is None else "pixel charge outside clusters",
        )
        if truth is None:
            plot_cluster_charge(result.clusters["charge"], bottom_right.subplots())
        else:
            axes = bottom_right.subplots(2, 1, sharex=True, height_ratios=[3, 1])
            plot_recovered_charge(
                _events_of(truth, amplifier), result.clusters, axes=axes, title="cluster charge"
            )
    return figure


def plot_cluster_charge(charge: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw how often clusters have which charge.

    Parameters
    ----------
    charge
        ``(n,)``, e-; what is not above 0 is left out.
    ax
        Default: new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax)
    every = np.asarray(charge, np.float64)
    positive = every[every > 0]
    if len(positive):
        low, high = math.log10(positive.min()), math.log10(positive.max())
        edges = np.logspace(low - 0.1, high + 0.1, 40)
        ax.stairs(np.histogram(positive, edges)[0], edges, fill=True, color=SKY, ec=BLUE, lw=0.6)
    if len(positive) > 200:  # single ones are seen beside many
        ax.set_yscale("log")
        ax.set_ylim(0.5, None)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(
        xscale="log",
        xlabel=f"cluster charge ({_UNIT_TEXT['electron']})",
        ylabel="clusters",
        title=f"{len(every)} clusters",
    )
    return ax


def plot_values(values: ArrayLike, ax: Axes | None = None, *, unit: str = "") -> Axes:
    """Draw the histogram of pixel values, around where most of them are.

    Parameters
    ----------
    values
        Any shape; NaN is left out.
    ax
        Default: new ones.
    unit
        Of the values.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    finite = np.asarray(values, np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    low, high = _robust_limits(finite, 0.2)
    reach = (high - low) / 4
    counts, edges = np.histogram(finite, 200, (low - reach, high + reach))
    ax.stairs(counts, edges, fill=True, color=SKY, alpha=0.55)
    ax.stairs(counts, edges, color=BLUE, lw=0.7)
    ax.set_ylim(0.5, 3 * max(1, int(counts.max())))
    ax.set_yscale("log")
    shown = f" ({unit_text(unit)})" if unit else ""
    ax.set(
        xlim=(edges[0], edges[-1]),
        xlabel=f"pixel value{shown}",
        ylabel="pixels",
        title=f"{len(finite)} pixels",
    )
    return ax
