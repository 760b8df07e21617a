"""A run against a reference run."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import EXIT_FAILED, one_clear_message, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..monitoring import Comparison, Element

_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


@click.command()
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@click.argument("reference", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="A TOML file with thresholds in its table [dqm], such as the config of the run.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["warn", "bad"]),
    help="Exit code 1 if an element is so, or worse. Default: never.",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Show elements that are ok, too.")
@click.option(
    "--table",
    "table_path",
    type=click.Path(path_type=Path),
    help="Write the verdicts as a table: .csv, .ecsv, .parquet, .fits or .root.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON on stdout.")
@one_clear_message
def compare(
    output: Path,
    reference: Path,
    config_path: Path | None,
    fail_on: str | None,
    everything: bool,
    table_path: Path | None,
    as_json: bool,
) -> None:
    """Compare the run in OUT with one that was good, in REFERENCE: ok, warn or bad, by element.

    Noise, overscan, pedestal, gain, every row and column, the charge, defects and all measures of
    each amplifier are tested. The verdicts are kept in OUT, in dqm.json and in the journal.

    Exit code 0: compared; 1: an element is as --fail-on says; 2: wrong usage, nothing to compare.
    """
    from .. import _core
    from ..cards import card
    from ..monitoring import VERDICTS, compare_runs, load_thresholds, write_comparison
    from ..table_files import FORMATS, load_writer, write_table

    if table_path is not None:
        if table_path.suffix not in FORMATS:
            raise _core.ConfigError(f"{table_path}: must end in {', '.join(FORMATS)}")
        load_writer(table_path)
    thresholds = None if config_path is None else load_thresholds(config_path)
    found = compare_runs(output, reference, thresholds=thresholds)
    write_comparison(found)
    if table_path is not None:
        header = card("EXTNAME", "DQM", "what the rows are")
        write_table(table_path, found.table(), header)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    else:
        _show(found, everything)
    if fail_on and VERDICTS.index(found.verdict) >= VERDICTS.index(fail_on):
        raise SystemExit(EXIT_FAILED)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _effect(e: Element) -> str:
    if e.effect_unit == "of the reference":
        return f"{100 * e.effect:.3g} %"
    return f"{e.effect:.3g} {e.effect_unit.replace('pedestal_', '')}".strip()


# Heading, justification, cell; a narrow terminal leaves out the last ones.
_COLUMNS: list[tuple[str, str, Callable[[Element], str]]] = [
    ("", "left", lambda e: e.verdict),
    ("amplifier", "left", lambda e: printable(e.amplifier)),
    ("element", "left", lambda e: printable(e.name)),
    ("at", "right", lambda e: "" if e.where is None else str(e.where)),
    ("value", "right", lambda e: _number(e.value)),
    ("reference", "right", lambda e: _number(e.reference)),
    ("differs by", "right", _effect),
    ("p", "right", lambda e: f"{e.p_value:.1g}"),
    ("", "left", lambda e: printable(e.note)),
]


def _show(found: Comparison, everything: bool) -> None:
    """The elements that are not ok, the worst first."""
    from ..monitoring import VERDICTS

    shown = [e for v in reversed(VERDICTS) for e in found.of(v) if everything or v != "ok"]
    if not sys.stdout.isatty():
        for e in shown:
            click.echo("\t".join(cell(e) for _, _, cell in _COLUMNS))
    elif shown:
        _show_table(shown)
    for note in found.notes:
        click.echo(f"note: {printable(note)}")
    counts = ", ".join(f"{len(found.of(verdict))} {verdict}" for verdict in VERDICTS)
    click.echo(
        f"{printable(found.run)} ({found.n_images} files) against {printable(found.reference)} "
        f"({found.n_reference}): {found.verdict.upper()} ({counts})"
    )


def _show_table(shown: Sequence[Element]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    wide = console.options.update(max_width=1000)
    for n in range(len(_COLUMNS), 5, -1):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
        for heading, justify, _ in _COLUMNS[:n]:
            table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for e in shown:
            verdict, *others = (cell(e) for _, _, cell in _COLUMNS[:n])
            style = _STYLES[e.verdict]
            table.add_row(Text(verdict, style=style), *(Text(text) for text in others))
        if console.measure(table, options=wide).maximum <= console.width:
            break
    console.print(table)
