"""The way over from other programs: their configurations."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import EXIT_FAILED, complain, one_clear_message, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..panaskimg import Imported, Told

_STYLES = {"wrong": "bold red", "no counterpart": "yellow", "kept": "green", "renamed": "green"}


@click.group()
def config() -> None:
    """Configs of other programs."""


@config.command("import", short_help="Translate a JSON of panaSKImg.")
@click.argument("source", type=click.Path(path_type=Path), required=False, metavar="JSON")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The config; - is stdout.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="One of the files: it tells the serial binning, and the names of amplifiers.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@click.option("--markdown", is_flag=True, help="Print the tables of all parameters.")
@one_clear_message
def import_config(
    source: Path | None, output: Path | None, image: Path | None, overwrite: bool, markdown: bool
) -> None:
    """Translate JSON, a configuration of panaSKImg, and say what became of every parameter.

    Exit code 0: translated; 1: translated, but for names and values that are wrong; 2: no config.
    """
    from ..panaskimg import import_panaskimg, panaskimg_markdown

    if markdown:
        click.echo(panaskimg_markdown(), nl=False)
        return
    if source is None:
        raise click.UsageError("Missing argument 'JSON'.")
    if output is None:
        raise click.UsageError("Missing option '-o': the config, such as cfg.toml.")
    imported = import_panaskimg(source, image=image)
    if str(output) == "-":
        click.echo(imported.toml, nl=False)
    else:
        write_config(output, imported, overwrite=overwrite)
    tell(imported, to_stderr=str(output) == "-")
    if imported.wrong:
        raise SystemExit(EXIT_FAILED)


def write_config(path: Path, imported: Imported, *, overwrite: bool) -> None:
    """Write the config; a file that exists stays, unless it may be replaced."""
    with path.open("w" if overwrite else "x", encoding="utf-8") as file:
        file.write(imported.toml)


def tell(imported: Imported, *, to_stderr: bool, only_open: bool = False) -> None:
    """Say what became of every parameter: a table on a terminal, lines elsewhere.

    `only_open`: of those without a counterpart, and of what is wrong.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    verdicts = {told.verdict for told in imported.told} - {"wrong"}
    verdicts &= {"no counterpart"} if only_open else verdicts
    shown = [told for told in imported.told if told.verdict in verdicts]
    if shown and stream.isatty():
        _table(shown, to_stderr=to_stderr)
    else:
        for told in shown:
            click.echo(printable(str(told)), err=to_stderr)
    for told in imported.wrong:
        complain(str(told))
    if imported.needs:
        extras = ",".join(imported.needs)
        click.echo(f"a run of it needs: pip install 'skipstream[{extras}]'", err=to_stderr)


def _table(shown: Sequence[Told], *, to_stderr: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head, ratio in (("panaSKImg", 4), ("", None), ("skipstream", 6)):
        table.add_column(head, overflow="fold", ratio=ratio, no_wrap=ratio is None)
    before = ""
    for told in shown:
        section, _, key = told.place.partition(".")
        if section != before and key:
            table.add_row(Text(section, style="bold"))
        before = section
        text = told.name.removeprefix(f"{section}.")
        table.add_row(
            Text(("  " if key else "") + printable(text if len(text) <= 46 else text[:43] + "...")),
            Text(told.verdict, style=_STYLES.get(told.verdict, "dim")),
            Text(printable(told.text)),
        )
    console = Console(stderr=to_stderr)
    console.print(table)
    counts = Counter(told.verdict for told in shown)
    console.print(", ".join(f"{n} {verdict}" for verdict, n in counts.items()), highlight=False)
