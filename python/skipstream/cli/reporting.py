"""Pages and pictures of what a run has written."""

from __future__ import annotations

from pathlib import Path

import click

from .common import one_clear_message, printable


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
