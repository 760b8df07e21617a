"""Pages and pictures of what a run has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import one_clear_message, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "-o",
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the page goes; default: report.html in OUT.",
)
@click.option(
    "--images",
    "n_images",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    help="So many are shown with pictures and plots, first those that want a look.",
)
@one_clear_message
def report(output: Path, page: Path | None, n_images: int) -> None:
    """Write one HTML page about the run in OUT: what was done and refused, numbers, pictures, fits.

    The page holds all that it shows: it opens from the disk, without a network, and prints well.
    """
    from ..report import write_report

    path = write_report(output, page, n_images=n_images)
    click.echo(f"{printable(str(path))}: {path.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the picture of one file goes: .png, .pdf or .svg; default: NAME_look.png here.",
)
@click.option("--display", is_flag=True, help="Show windows; without a screen, save.")
@click.option(
    "--amplifier", "amplifiers", multiple=True, help="Only these of a raw file; may be repeated."
)
@one_clear_message
def show(
    files: tuple[Path, ...], save: Path | None, display: bool, amplifiers: tuple[str, ...]
) -> None:
    """Draw FILES at a glance: pixels, histogram and profiles, clusters, results of measures.

    Raw images in any layout, planes, tables of clusters, _measures.json, .npy arrays.
    """
    from .. import _core
    from ..layout import stem_of
    from ..looks import quick_look
    from ..outputs import whole_file

    if save is not None and len(files) > 1:
        raise _core.ConfigError(f"--save: names one picture; leave it out with {len(files)} files")
    if save is not None and save.suffix not in _PICTURES:
        raise _core.ConfigError(f"--save: must end in {', '.join(_PICTURES)}; got {save.name!r}")
    if display and not _has_screen():
        click.echo("skipstream: there is no screen, or matplotlib has no toolkit for it", err=True)
        display = False
    if display and save is None:
        _show_windows(files, list(amplifiers) or "all")
        return
    for path in files:
        stem = path.stem if path.suffix == ".json" else stem_of(path)
        target = save or Path(f"{stem.lstrip('.')}_look.png")
        figure = quick_look(path, amplifiers=list(amplifiers) or "all")
        with whole_file(target) as temporary:
            figure.savefig(temporary, format=target.suffix[1:], dpi=110)
        click.echo(printable(str(target)))
    if display:
        _show_windows(files, list(amplifiers) or "all")


_PICTURES = (".png", ".pdf", ".svg")


def _has_screen() -> bool:
    from matplotlib import pyplot as plt

    return plt.get_backend().lower() not in ("agg", "pdf", "svg", "ps", "cairo", "template")


def _show_windows(files: Sequence[Path], amplifiers: Any) -> None:
    from matplotlib import pyplot as plt

    from ..looks import quick_look

    for path in files:
        quick_look(path, amplifiers=amplifiers, figure=plt.figure(printable(path.name)))
    plt.show()
