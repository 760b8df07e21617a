"""Files that runs need: gains, and masks of defects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import EXIT_FAILED, files_argument, one_clear_message, printable, set_option


@click.command()
@files_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("calibration.toml"),
    show_default=True,
    help="The calibration file.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Stages up to pixels in ADU. Default: compress_skips, and subtract_pedestal to the "
    "lowest peak.",
)
@set_option
@click.option(
    "--save-plots",
    is_flag=True,
    help="Draw gains and fits into plots/ beside the file: PNG and PDF.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@one_clear_message
def calibrate(
    files: tuple[Path, ...],
    output: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    save_plots: bool,
    overwrite: bool,
) -> None:
    """Fit the gain of every amplifier of FILES, and write it for runs: calibrate.gain.

    Exit code 1: an amplifier has no gain.
    """
    from ..calibrating import DEFAULT_STAGES, write_calibration
    from ..calibrating import calibrate as calibrate_files
    from ..config import load_config

    config = load_config(config_path or DEFAULT_STAGES, overrides)
    amplifiers = calibrate_files(files, config)
    click.echo(f"{'amplifier':<10} {'gain':>16} {'noise':>18} {'dark current':>20} files drift")
    click.echo(f"{'':<10} {'ADU/e-':>16} {'e-':>18} {'e-/pixel':>20}           p")
    for a in amplifiers:
        numbers = [
            f"{a.values[name]:.5g} +- {a.errors[name]:.1g}"
            for name in ("gain", "noise_electron", "dark_current")
        ]
        drift = f"{a.p_value:.2g}" if a.n_dof else "-"
        click.echo(
            f"{printable(a.amplifier):<10} {numbers[0]:>16} {numbers[1]:>18} {numbers[2]:>20} "
            f"{len(a.fits):>5} {drift:>5}"
        )
        for problem in a.problems:
            click.echo(f"skipstream: {printable(problem)}", err=True)
    write_calibration(output, amplifiers, overwrite=overwrite)
    if save_plots:
        from .. import looks
        from ..layout import stem_of

        for a in amplifiers:
            of: dict[str, Any] = {"gain": a}
            for path, charge, peaks in a.fits:
                of[f"{stem_of(path)}_fit_dark_current"] = charge
                of[f"{stem_of(path)}_fit_calibration"] = peaks
            looks.save_plots(output.parent / "plots", output.stem, a.amplifier, of)
    if any(a.problems for a in amplifiers):
        raise SystemExit(EXIT_FAILED)


@click.command()
@files_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("defects.fits"),
    show_default=True,
    help="The mask file.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Stages up to the pixels that are judged.",
)
@click.option("--threshold", type=float, required=True, help="A pixel at or above this is hot.")
@click.option("--below", type=float, help="Pixels at or above this are tracks, and not counted.")
@click.option(
    "--pixel-fraction",
    type=float,
    default=0.4,
    show_default=True,
    help="A pixel is a defect if it is hot in more than this part of the images.",
)
@click.option(
    "--line-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="A column or row is bad if more than this part of it are defects.",
)
@set_option
@click.option(
    "--save-plots", is_flag=True, help="Draw each map into plots/ beside the file: PNG and PDF."
)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@one_clear_message
def defects(
    files: tuple[Path, ...],
    output: Path,
    config_path: Path,
    threshold: float,
    below: float | None,
    pixel_fraction: float,
    line_fraction: float,
    overrides: tuple[str, ...],
    save_plots: bool,
    overwrite: bool,
) -> None:
    """Find what is hot in too many of FILES, and write it as a mask for runs: input.mask."""
    from ..config import load_config
    from ..masking import find_defects, write_mask

    found = find_defects(
        files,
        load_config(config_path, overrides),
        threshold=threshold,
        below=below,
        pixel_fraction=pixel_fraction,
        line_fraction=line_fraction,
    )
    write_mask(output, {name: of.mask for name, of in found.items()}, overwrite=overwrite)
    for name, of in found.items():
        click.echo(f"{printable(name)}: {of}")
        if save_plots:
            from .. import looks

            looks.save_plots(output.parent / "plots", output.stem, name, {"defects": of})
