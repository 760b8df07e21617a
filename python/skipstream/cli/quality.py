"""The table of quality of a folder of images."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import EXIT_FAILED, one_clear_message, printable, set_option, stopped_by_signals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from ..config import Config
    from ..quality_table import QualityRow


@click.command()
@click.argument("files", nargs=-1, metavar="[FILES...]")
@click.option(
    "-f",
    "--filenames",
    multiple=True,
    metavar="NAME",
    help="As FILES, which may follow.",
)
@click.option(
    "-d",
    "--directory",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder of the images and of the table. Default: the current one.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("image_preproc_out.txt"),
    show_default=True,
    help="The table; its ending picks the format: .txt, .csv, .ecsv, .parquet, .fits or .root.",
)
@click.option(
    "-r",
    "--recursive",
    is_flag=True,
    help="Search the folders below, too. Each gets its own table; all one, if -o is absolute.",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Process images that are done, too.")
@click.option("-p", "--print", "printed", is_flag=True, help="Print the table, and save nothing.")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Its [input] and its stages up to compress_skips are used. Default: compress_skips alone.",
)
@set_option
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="Mark values outside, such as skNoise=0:3 or dSdskip=-10:; may be repeated.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Files in work at once, each in its own process.",
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@one_clear_message
def quality(
    files: tuple[str, ...],
    filenames: tuple[str, ...],
    directory: Path,
    output: Path,
    recursive: bool,
    everything: bool,
    printed: bool,
    config_path: Path | None,
    overrides: tuple[str, ...],
    ranges: tuple[str, ...],
    jobs: int,
    quiet: bool,
) -> None:
    """Judge images by nine numbers, a row each; those that have a row already are skipped.

    FILES are names, wildcards or regular expressions of names. Default: Img_[0-9]+.fits. The table
    is replaced as a whole after every file. A file that cannot be read has a row of -1, and is
    tried again the next time.

    Exit code 0: all done; 1: some files failed, the others are done; 2: wrong usage or config.
    """
    from ..config import load_config
    from ..quality_table import DEFAULT_STAGES, RANGES, find_images, quality_config

    limits = {**RANGES, **dict(_range(text) for text in ranges)}
    config = quality_config(load_config(config_path or DEFAULT_STAGES, overrides))
    found = find_images([*filenames, *files], directory, recursive=recursive)
    tables: dict[Path, list[Path]] = {}
    for folder, paths in found.items():
        target = folder.absolute() / output
        tables.setdefault(target, []).extend(path for path in paths if path != target)
    failed = False
    for target, paths in tables.items():
        rows = _fill(target, paths, config, everything, printed, jobs, quiet)
        failed = failed or any(row.n_skips < 0 for row in rows)
        if sys.stdout.isatty():
            _show(rows, limits)
        elif printed:
            from ..quality_table import text_table

            click.echo(text_table(rows), nl=False)
    if failed:
        raise SystemExit(EXIT_FAILED)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    from .. import _core
    from ..image_quality import NAMES
    from ..reference import unknown_name

    name, _, limits = text.partition("=")
    low, colon, high = limits.partition(":")
    if name not in NAMES:
        raise _core.ConfigError(f"--range {text}: no number {unknown_name(name, NAMES)}")
    try:
        if not colon:
            raise ValueError
        return name, (float(low or -math.inf), float(high or math.inf))
    except ValueError:
        raise _core.ConfigError(f"--range {text}: must be NAME=LOW:HIGH, as skNoise=0:3") from None


def _fill(
    target: Path,
    paths: Sequence[Path],
    config: Config,
    everything: bool,
    printed: bool,
    jobs: int,
    quiet: bool,
) -> list[QualityRow]:
    """Judge what is not yet in a table; rows of all the files."""
    from ..ledger import locked_folder
    from ..quality_table import QualityTable, judge_images
    from ..running import exposures
    from .runs import Progress

    with contextlib.ExitStack() as stack:
        if not printed:
            stack.enter_context(locked_folder(target.parent, [target]))
        table = QualityTable(None if printed else target)
        names = exposures(config, paths)
        todo = {name: parts for name, parts in names.items() if everything or not table.has(name)}
        if len(todo) < len(names) and not quiet:
            click.echo(
                f"{printable(str(target))}: {len(names) - len(todo)} of {len(names)} files are "
                "done; --all does them again",
                err=True,
            )
        total = sum(part.stat().st_size for parts in todo.values() for part in parts)
        stack.enter_context(stopped_by_signals("the rows of what is done are kept"))
        progress = stack.enter_context(Progress(len(todo), total, quiet))
        for results in judge_images(config, todo, jobs=jobs, progress=progress.rows_done):
            for result in results:
                progress.result(result)
            table.put(results)
            table.write()
        return table.of(names)


# Headings; a narrow terminal shows those that catch the eye, and the first ones.
_SHOWN = {
    "skNoise": "skNoise\nADU",
    "imgNoise": "imgNoise\nADU",
    "darkCurrent": "dark\nCurrent\ne-/pixel",
    "aduConversion": "adu\nConversion\nADU/e-",
    "dSdskip": "dSdskip\n1/1000",
    "tailRatio": "tail\nRatio",
    "aveImgS": "aveImgS",
    "pixVar": "pixVar\nADU²",
    "clustVar": "clustVar\nADU²",
}


def _show(rows: Sequence[QualityRow], ranges: Mapping[str, tuple[float, float]]) -> None:
    """A table for a person; what is out of range is marked by sign and colour."""
    from rich.console import Console

    from ..quality_table import out_of_range

    console = Console(highlight=False)
    marked = out_of_range(rows, ranges)
    telling = set().union(*marked)
    names, errors = list(_SHOWN), True
    table = _readable(rows, marked, names, errors)
    wide = console.options.update(max_width=1000)
    while names and console.measure(table, options=wide).maximum > console.width:
        if errors:
            errors = False
        else:
            names.remove(next((n for n in reversed(names) if n not in telling), names[-1]))
        table = _readable(rows, marked, names, errors)
    console.print(table)
    if hidden := [name for name in _SHOWN if name not in names]:
        console.print(f"more in the file, or in a wider terminal: {', '.join(hidden)}")
    n_wrong = sum(bool(wrong) for wrong in marked)
    if n_wrong:
        words = ", ".join(f"{n} {low:g} to {high:g}" for n, (low, high) in ranges.items())
        console.print(
            f"! in {n_wrong} of {len(rows)} images: outside of its range ({words}), or more than 5 "
            "sigma from the other images",
            style="bold red",
        )


def _readable(
    rows: Sequence[QualityRow], marked: Sequence[set[str]], names: Sequence[str], errors: bool
) -> Table:
    """Some of the numbers, with or without their errors."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = len({row.amplifier for row in rows if row.amplifier}) > 1
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("image", no_wrap=True)
    if several:
        table.add_column("amplifier", no_wrap=True)
    table.add_column("skips", justify="right")
    for name in names:
        table.add_column(_SHOWN[name], justify="right", no_wrap=True)
    for row, wrong in zip(rows, marked, strict=True):
        cells = [Text(Path(row.filename).name), *([Text(row.amplifier)] * several)]
        if row.n_skips < 0:
            table.add_row(*cells, Text("bad", style="bold red"))
            continue
        cells.append(Text(str(row.n_skips)))
        for name in names:
            value, error = row.values[name], row.errors[name]
            shown = "-" if value == -1 else f"{value:#.3g}".rstrip(".")
            if errors and value != -1 and error >= 0:
                shown += f" ± {error:.1g}"
            if name in wrong:
                cells.append(Text(f"{shown}!", style="bold red"))
            elif any(name in others for others in marked):
                cells.append(Text(f"{shown}\N{NO-BREAK SPACE}"))
            else:
                cells.append(Text(shown))
        table.add_row(*cells)
    return table
