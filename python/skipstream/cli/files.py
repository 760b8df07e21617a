"""Say how files are understood, and combine the amplifiers of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import EXIT_FAILED, complain, files_argument, one_clear_message, printable, size_text

if TYPE_CHECKING:
    from ..layout import FileLayout


@click.command()
@files_argument
@click.option("--skips", "n_skips", help="Samples per pixel, or the keyword that holds them.")
@one_clear_message
def info(files: tuple[Path, ...], n_skips: str | None) -> None:
    """Say how FILES are understood, and where each number came from."""
    from .. import _core
    from ..inputs import InputConfig
    from ..layout import read_layout
    from ..reading import plain_file

    skips = int(n_skips) if n_skips is not None and n_skips.isdigit() else n_skips
    failed = False
    for path in files:
        try:
            with plain_file(path) as plain:
                _print_layout(read_layout(path, InputConfig(n_skips=skips), plain=[plain]))
        except (_core.Error, OSError) as error:
            complain(str(error))
            failed = True
    if failed:
        raise SystemExit(EXIT_FAILED)


def _print_layout(layout: FileLayout) -> None:
    click.echo(printable(str(layout.path)))
    click.echo(f"  layout {layout.layout.name} ({layout.why}): {layout.layout.doc}")
    if layout.cut:
        click.echo(f"  cut off: {printable(layout.cut)}")
    for hdu, why in layout.others:
        name = printable(hdu.name)
        click.echo(f"  HDU {hdu.index}: {name or hdu.kind}, {printable(why)}; no samples")
    for image in layout.images:
        hdu = image.hdu
        scaled = (
            f", value = {hdu.scale:g} * stored + {hdu.zero:g}"
            if (hdu.scale != 1 or hdu.zero != 0)
            else ""
        )
        click.echo(
            f"  HDU {hdu.index}: amplifier {printable(image.amplifier)}, {image.n_rows} rows x "
            f"{image.n_cols} columns x {image.n_skips} skips"
        )
        where = {"planes": ", on NAXIS3", "hdus": ", one in each HDU", "columns": ""}
        mirrored = ", mirrored" if image.is_reversed else ""
        click.echo(f"    skips      {image.n_skips_from}{where.get(image.skips, '')}{mirrored}")
        click.echo(f"    prescan    {image.prescan_cols} columns ({image.prescan_from})")
        click.echo(f"    overscan   {image.overscan_cols} columns ({image.overscan_from})")
        padded = "" if image.pad is None else f", {image.pad} where there is no sample"
        click.echo(f"    samples    {hdu.dtype}{scaled}{padded}, {size_text(image.n_bytes)}")
        compression = f", {hdu.compression}" if hdu.compression else ""
        click.echo(f"    reader     {image.reader}{compression}")
        if image.lossy:
            click.echo(f"    lossy      {image.lossy}")
        for note in image.notes:
            click.echo(f"    note       {printable(note)}")


@click.command()
@one_clear_message
def layouts() -> None:
    """List the layouts of files that are known, and those that can be simulated."""
    from ..inputs import LAYOUTS
    from ..simulate import LAYOUTS as SIMULATED

    click.echo("read, the first one that fits a file:")
    for layout in LAYOUTS:
        needs = ", ".join(filter(None, layout.has))
        click.echo(f"  {layout.name:<17} {layout.doc}" + (f" (has {needs})" if needs else ""))
    click.echo("\nsimulated: " + ", ".join(SIMULATED))


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--sigma", "sigmas", type=float, multiple=True, help="Noise of each amplifier.")
@click.option("--shift", "shifts", type=int, multiple=True, help="Columns that each reads later.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@one_clear_message
def combine(
    path: Path, output: Path, sigmas: tuple[float, ...], shifts: tuple[int, ...], overwrite: bool
) -> None:
    """Average the amplifiers of PATH, planes of a run, that read the same pixels, to OUTPUT.

    Weights are those of the noise in the headers, or of --sigma, given once per amplifier.
    """
    from ..combine import combine_amplifiers

    weights = combine_amplifiers(
        path, output, sigmas=sigmas or None, shifts=shifts or None, overwrite=overwrite
    )
    click.echo(f"{output}: weights " + ", ".join(f"{weight:.4f}" for weight in weights))
