"""What is in a file, as a picture: raw samples, planes, masks, clusters, results of measures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .outputs import whole_file
from .run_files import holds_planes, planes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["quick_look", "save_plots"]

_WIDTH, _HEIGHT = 12.0, 3.6  # inches of a line, most often of one amplifier
_MOST_LINES = 8
Drawing = Callable[["Axes"], Any]


def quick_look(
    path: str | Path,
    *,
    amplifiers: str | list[str] | list[int] = "all",
    figure: Figure | None = None,
) -> Figure:
    """Draw a file at a glance.

    Of raw samples the mean is taken; of planes the first one. Each amplifier is a line: the pixels,
    their histogram, and the medians of its rows and columns. Of a table of clusters the charges are
    drawn, of ``_measures.json`` every result.

    Parameters
    ----------
    path
        Raw images, outputs of a run, or ``.npy`` files of ``(n_rows, n_cols)`` pixels.
    amplifiers
        As ``amplifiers`` of ``[input]``; at most eight are drawn.
    figure
        Empty one to draw on; default: a new one, which belongs to no window.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig`` writes it.

    Raises
    ------
    IoError, FitsError
        The file cannot be read, or is not understood; the message names it.
    ConfigError
        Nothing in it can be drawn, or no such amplifier is there.
    """
    from matplotlib import rc_context

    from .plot import STYLE, new_figure, settle_layout

    path = Path(path)
    lines = list(_lines_of(path, amplifiers))
    if not lines:
        raise _core.ConfigError(f"{path}: there is nothing to draw in it")
    left_out = len(lines) - _MOST_LINES
    lines = lines[:_MOST_LINES]
    with rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
        figure = figure or new_figure(_WIDTH, _HEIGHT)
        n_across = max(map(len, lines))
        ratios = [1.5, 1, 1] if n_across == 3 else [1] * n_across
        figure.set_size_inches(_WIDTH, (_HEIGHT + 0.4 * (n_across < 3)) * len(lines) + 0.4)
        figure.set_layout_engine("constrained")
        more = f", and {left_out} more" if left_out > 0 else ""
        figure.suptitle(f"{path.name!a}"[1:-1] + more, x=0.01, ha="left", fontsize=11)
        grid = figure.subplots(len(lines), n_across, squeeze=False, width_ratios=ratios)
        for axes, drawings in zip(grid, lines, strict=True):
            for ax, draw in zip(axes, drawings, strict=False):
                draw(ax)
            for ax in axes[len(drawings) :]:
                ax.set_axis_off()
        settle_layout(figure)
    return figure


def save_plots(folder: Path, stem: str, amplifier: str, measures: Mapping[str, Any]) -> list[Path]:
    """Draw results of measures into PNG and PDF files of a folder, which is made.

    Parameters
    ----------
    folder, stem, amplifier
        The files are ``{folder}/{stem}_{amplifier}_{measure}.png`` and ``.pdf``. What does not
        belong into a name is written as ``%`` and its number.
    measures
        Name to result.

    Returns
    -------
    list of pathlib.Path
        What was written; a result that has nothing to draw is left out.
    """
    from matplotlib import rc_context

    from .plot import STYLE, new_figure, settle_layout

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, result in measures.items():
        with rc_context(STYLE):  # type: ignore[arg-type,unused-ignore]
            figure = new_figure(6.4, 5.0)
            try:
                result.plot(figure.subplots())
            except ValueError:
                continue  # neither histogram nor points
            settle_layout(figure)
            for ending in ("png", "pdf"):
                target = folder / f"{stem}_{_plain(amplifier)}_{_plain(name)}.{ending}"
                with whole_file(target) as temporary:
                    figure.savefig(temporary, format=ending, dpi=150)
                written.append(target)
    return written


def _plain(text: str) -> str:
    """A text as part of a file's name; two texts never give the same."""
    return re.sub(r"[^\w-]|[^\x00-\x7f]", lambda found: f"%{ord(found[0]):02x}", text)


def _lines_of(path: Path, amplifiers: Any) -> Iterator[list[Drawing]]:
    if path.suffix == ".json":
        from .results import read_results

        for amplifier, results in read_results(path).items():
            plots = [_titled(result.plot, f"{amplifier}: {name}") for name, result in
                     results.items() if _has_plot(result)]  # fmt: skip
            for begin in range(0, len(plots), 2):
                yield plots[begin : begin + 2]
        return
    if path.suffix == ".npy":
        try:
            pixels = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _core.IoError(f"{path}: cannot read: {error}") from None
        if pixels.ndim != 2 or pixels.dtype.kind not in "iuf":
            raise _core.ConfigError(f"{path}: must hold (n_rows, n_cols) pixels; got "
                                    f"{pixels.dtype} {pixels.shape}")  # fmt: skip
        yield _pixels(pixels.astype(np.float64), "", "")
        return
    if path.suffix in (".csv", ".ecsv", ".parquet", ".root"):
        yield from _clusters(path)
        return
    if path.suffix == ".fits" and holds_planes(path):
        for plane in planes_of(path):
            kept = np.where(plane.mask == 0, plane.values, np.nan)
            yield _pixels(plane.values, plane.amplifier, str(plane.header.get("BUNIT", "")), kept)
    elif path.suffix == ".fits" and _is_table(path):
        yield from _clusters(path)
    else:
        yield from _raw(path, amplifiers)


def _raw(path: Path, amplifiers: Any) -> Iterator[list[Drawing]]:
    from .config import load_config
    from .running import run

    config = load_config(
        {"input": {"amplifiers": amplifiers}, "stage": [{"kind": "compress_skips"}]}
    )
    for result in run(config, [path]):
        if result.status == "failed":
            raise _core.IoError(result.message)
        (plane,) = result.planes.values()
        assert result.mask is not None
        kept = np.where(result.mask == 0, plane, np.nan)
        n_skips = result.report["n_skips"]
        of = f"mean of {n_skips} samples" if n_skips > 1 else "one value per pixel"
        yield _pixels(plane.astype(np.float64), f"{result.amplifier}, {of}", "adu", kept)


def _is_table(path: Path) -> bool:
    hdus = _core.scan_fits(str(path), path.name)
    # A compressed image is a table, too, for the standard.
    return any(hdu.kind == "bintable" and not hdu.compression for hdu in hdus)


def _clusters(path: Path) -> Iterator[list[Drawing]]:
    from .table_files import read_rows

    try:
        rows = read_rows(path)
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise _core.IoError(f"{path}: cannot read its table: {error}") from None
    by_amplifier: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if not {"charge", "n_pixels", "x", "y"} <= row.keys():
            break
        by_amplifier.setdefault(str(row.get("amplifier", "")), []).append(row)
    for amplifier, of in by_amplifier.items():
        column = {n: np.array([float(r[n]) for r in of]) for n in ("charge", "n_pixels", "x", "y")}
        yield _of_clusters(amplifier, column)


def _of_clusters(amplifier: str, column: Mapping[str, NDArray[np.float64]]) -> list[Drawing]:
    from .plot import BLUE, plot_cluster_charge

    size = np.clip(4 * np.sqrt(column["n_pixels"]), 4, 200)

    def where(ax: Axes) -> None:
        ax.scatter(column["x"], column["y"], size, facecolors="none", edgecolors=BLUE, lw=0.8)
        title = f"{amplifier}: {len(size)} clusters" if amplifier else f"{len(size)} clusters"
        ax.set(xlabel="column", ylabel="row", title=title)

    def sizes(ax: Axes) -> None:
        positive = column["charge"] > 0
        ax.plot(column["n_pixels"][positive], column["charge"][positive], ".", ms=3, color=BLUE)
        ax.set(xscale="log", yscale="log", xlabel="pixels", ylabel="charge", title="size")

    return [where, lambda ax: plot_cluster_charge(column["charge"], ax), sizes]


def _has_plot(result: Any) -> bool:
    return getattr(result, "data", True) is not None or getattr(result, "series", None) is not None


def _titled(plot: Callable[[Axes], Any], title: str) -> Drawing:
    def draw(ax: Axes) -> None:
        plot(ax)
        ax.set_title(title)

    return draw


def _pixels(
    plane: NDArray[np.float64], title: str, unit: str, kept: NDArray[Any] | None = None
) -> list[Drawing]:
    """The pixels, their histogram, and the medians of rows and columns."""
    from .plot import BLUE, VERMILLION, plot_image, plot_values, unit_text

    good = plane if kept is None else np.asarray(kept, np.float64)
    finite = good[np.isfinite(good)]
    middle = float(np.median(finite)) if len(finite) else 0.0
    spread = 1.4826 * float(np.median(np.abs(finite - middle))) if len(finite) else 1.0

    def image(ax: Axes) -> None:
        width = max(3 * spread, 1e-6)
        shown, shift = unit, 0.0
        if unit == "adu":
            shown, shift = f"{unit_text(unit)} above the median, {middle:.6g}", middle
        plot_image(plane - shift, ax=ax, unit=shown, stretch="asinh", linear_width=width,
                   title=title)  # fmt: skip

    def profiles(ax: Axes) -> None:
        ends = []
        for axis, name, colour in ((0, "columns", VERMILLION), (1, "rows", BLUE)):
            there = np.asarray(np.isfinite(good).any(axis=axis))
            medians = np.full(len(there), np.nan)
            lines = good[there] if axis == 1 else good[:, there]
            if lines.size:
                medians[there] = np.nanmedian(lines, axis=axis)
                ends += np.nanpercentile(medians, [1, 99]).tolist()
            ax.plot(medians, lw=0.8, color=colour, label=f"medians of {name}")
        if ends and max(ends) > min(ends):  # a few bad lines leave the picture
            room = max(ends) - min(ends)
            ax.set_ylim(min(ends) - 0.5 * room, max(ends) + 0.8 * room)
        ax.set(xlabel="row or column", title="profiles")
        ax.legend()

    return [image, lambda ax: plot_values(finite, ax, unit=unit), profiles]
