"""Images with a stated truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import one_clear_message


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--rows", "n_rows", type=click.IntRange(1), default=512, show_default=True)
@click.option(
    "--cols",
    "n_cols",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Pixels of a row, with prescan and overscan.",
)
@click.option("--skips", "n_skips", type=click.IntRange(1), default=500, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--layout", default="leach", show_default=True, help="One of: skipstream layouts.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@one_clear_message
def simulate(path: Path, **options: Any) -> None:
    """Write a raw image with a stated truth to PATH, and the truth as a table beside it."""
    from ..simulate import simulate as simulate_image

    truth = simulate_image(path, **options)
    click.echo(f"{path}: {len(truth.events)} events")


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("skipstream-demo"),
    show_default=True,
    help="Folder for the image, the results and the picture.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo.")
@one_clear_message
def demo(output: Path, overwrite: bool) -> None:
    """Simulate a raw image, run the whole chain on it, and compare with the truth."""
    from ..demo import demo as run_demo

    run_demo(output, overwrite=overwrite)
