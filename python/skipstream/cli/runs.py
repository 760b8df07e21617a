"""Run a config on files; check it first; say what became of the files."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import (
    EXIT_FAILED,
    EXIT_USAGE,
    alarm_commands_option,
    bytes_of,
    complain,
    config_argument,
    files_argument,
    jobs_option,
    memory_option,
    one_clear_message,
    printable,
    result_line,
    set_option,
    show_log,
    size_text,
    stopped_by_signals,
    threads_option,
    verify_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config
    from ..exposure import ImageResult
    from ..layout import ImageLayout


@click.command()
@config_argument
@files_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder for the outputs; it is made.",
)
@jobs_option
@threads_option
@set_option
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--resume", is_flag=True, help="Skip files that an earlier run with the same config finished."
)
@verify_option
@click.option(
    "--follow",
    type=float,
    metavar="SECONDS",
    help="Wait for rows of files that are being written, until they do not grow for so long.",
)
@click.option("--strict", is_flag=True, help="End the run at the first file that is not done.")
@memory_option
@alarm_commands_option
@click.option(
    "--allow-partial", is_flag=True, help="A file that is cut off does not count as failed."
)
@click.option(
    "--save-plots", is_flag=True, help="Draw every measure into plots/ of the folder: PNG and PDF."
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout.")
@one_clear_message
def run(
    config_path: Path,
    files: tuple[Path, ...],
    output: Path,
    jobs: int,
    threads: int | None,
    overrides: tuple[str, ...],
    overwrite: bool,
    resume: bool,
    verify: bool,
    follow: float | None,
    strict: bool,
    memory: str | None,
    alarm_commands: bool,
    allow_partial: bool,
    save_plots: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Process FILES as CONFIG says.

    Exit code 0: all done; 1: some files failed, the others are done; 2: wrong usage or config.
    """
    from ..config import load_config
    from ..running import run as run_files
    from ..running import summary

    config = load_config(config_path, overrides)
    show_log(logging.WARNING)
    total = sum(path.stat().st_size for path in files if path.exists())
    results: list[ImageResult] = []
    begin = time.monotonic()
    with (
        stopped_by_signals("what is done is kept, and --resume goes on"),
        Progress(len(files), total, quiet or as_json) as progress,
    ):
        for result in run_files(
            config,
            files,
            output=output,
            jobs=jobs,
            threads=threads,
            overwrite=overwrite,
            resume=resume,
            verify=verify,
            follow=follow,
            strict=strict,
            memory_limit=bytes_of(memory),
            alarm_commands=alarm_commands,
            progress=progress.rows_done,
        ):
            results.append(result)
            progress.result(result)
            if save_plots and result.measures:
                _save_plots(output / "plots", result)
        progress.summary(results, output, time.monotonic() - begin)
    if as_json:
        click.echo(json.dumps(summary(results), indent=2))
    bad = ("failed",) if allow_partial else ("failed", "partial")
    if any(result.status in bad for result in results):
        raise SystemExit(EXIT_FAILED)


def _save_plots(folder: Path, result: ImageResult) -> None:
    from ..layout import stem_of
    from ..looks import save_plots

    save_plots(folder, stem_of(result.path), result.amplifier, result.measures)


_MOST_LINES = 20  # of a terminal: of more files, those that are not done are told alone
_STYLES = {"failed": "red", "partial": "yellow"}


class Progress:
    """A bar where there is a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, n_files: int, total: int, quiet: bool) -> None:
        self.quiet = quiet
        self.n_files = n_files
        self.total = total
        self.done: dict[Path, tuple[int, int]] = {}
        self.files: set[Path] = set()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )  # fmt: skip

            self.bar = Progress(
                TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
                TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True),
                transient=True,
            )  # fmt: skip
            self.task = self.bar.add_task(self._counts(), total=self.total)
            self.bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def rows_done(self, path: Path, n_bytes: int, n_rows: int) -> None:
        """Show how far the run is; a terminal that is gone does not stop it."""
        with contextlib.suppress(OSError):
            self._rows_done(path, n_bytes, n_rows)

    def _rows_done(self, path: Path, n_bytes: int, n_rows: int) -> None:
        self.done[path] = n_bytes, n_rows
        if self.bar is not None:
            # A compressed file has more samples than bytes.
            done = min(sum(n for n, _ in self.done.values()), self.total)
            self.bar.update(self.task, completed=done, description=self._counts())

    def _counts(self) -> str:
        n_rows = sum(n for _, n in self.done.values())
        return f"{len(self.files)}/{self.n_files} files, {n_rows} rows"

    def result(self, result: ImageResult) -> None:
        """Show what became of an image."""
        with contextlib.suppress(OSError):
            self._result(result)

    def _result(self, result: ImageResult) -> None:
        self.files.add(result.path)
        line = result_line(result)
        if self.bar is not None:
            style = _STYLES.get(result.status)
            if style or self.n_files <= _MOST_LINES:
                self._print(line, style)
            self.bar.update(self.task, description=self._counts())
            if len(self.files) == self.n_files:
                # Files that fail leave bytes unread.
                self.bar.update(self.task, completed=self.total)
        elif result.status == "failed":
            click.echo(f"skipstream: {line}", err=True)
        elif not self.quiet:
            click.echo(line, err=True)

    def _print(self, line: str, style: str | None = None) -> None:
        self.bar.console.print(line, style=style, markup=False, highlight=False)

    def summary(self, results: Sequence[ImageResult], output: Path, seconds: float) -> None:
        """Say in a line what became of all files, where there are several."""
        if self.quiet or self.n_files < 2:
            return
        names = ("done", "skipped", "partial", "failed")
        worst: dict[Path, int] = {}  # of the amplifiers of a file
        for result in results:
            rank = names.index(result.status)
            worst[result.path] = max(rank, worst.get(result.path, 0))
        counts = Counter(names[rank] for rank in worst.values())
        line = f"{len(worst)} files in {seconds:.1f} s: "
        line += ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
        line += f"; in {printable(str(output))}"
        if counts["failed"] or counts["partial"]:
            line += f"\nwhy: skipstream status {printable(shlex.quote(str(output)))}"
        with contextlib.suppress(OSError):
            if self.bar is not None:
                self._print(line, "bold")
            else:
                click.echo(line, err=True)


@click.command()
@config_argument
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILES...]")
@set_option
@one_clear_message
def check(config_path: Path, files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check CONFIG, and print the plan for FILES: stages, shapes, delay, memory."""
    from .. import _core
    from ..config import load_config
    from ..exposure import plan_image
    from ..layout import read_layout
    from ..reading import plain_file

    config = load_config(config_path, overrides)
    _print_config(config)
    failed = False
    for path in files:
        try:
            with plain_file(path) as plain:
                for image in read_layout(path, config.input, plain=[plain]).images:
                    _print_plan(path, image, plan_image(image, config))
        except (_core.Error, OSError) as error:
            message = str(error)
            complain(message if path.name in message else f"{path}: {message}")
            failed = True
    if failed:
        raise SystemExit(EXIT_USAGE)


def _print_config(config: Config) -> None:
    click.echo(f"{config.source}: {len(config.stages)} stages, {len(config.outputs)} outputs")
    for output in config.outputs:
        after = f" after {output.after}" if output.after else ""
        click.echo(f"  {output.table or 'planes'}{after} -> {output.path}")


def _print_plan(path: Path, image: ImageLayout, plan: dict[str, Any]) -> None:
    click.echo(
        f"\n{printable(str(path))} {printable(image.amplifier)}: {image.n_rows} rows x "
        f"{image.n_cols} columns x {image.n_skips} skips of {image.hdu.dtype}, "
        f"{size_text(image.n_bytes)}; skips {plan['first_used_skip']} to "
        f"{plan['first_used_skip'] + plan['n_used_skips'] - 1} used"
    )
    click.echo(f"  {'stage':<20} {'delay':>6} {'memory':>11}  planes")
    for stage in plan["stages"]:
        planes = ", ".join(
            f"{plane['name']} [{plane['unit']}]" if plane["unit"] else plane["name"]
            for plane in stage["planes"]
        )
        delay = "image" if stage["barrier"] else stage["delay_rows"]
        click.echo(
            f"  {stage['name']:<20} {delay:>6} {size_text(stage['state_bytes']):>11}  {planes}"
        )
    if any(stage["barrier"] for stage in plan["stages"]):
        click.echo("  delay image: a barrier, before which all rows wait")
    measured = plan["measure_bytes"]
    click.echo(
        f"  chunks of {plan['chunk_rows']} rows; {size_text(plan['buffer_bytes'])} of buffers; "
        + (f"{size_text(measured)} for measures; " if measured else "")
        + f"{size_text(plan['total_bytes'])} in all"
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@one_clear_message
def status(folder: Path) -> None:
    """Say what became of the files of the last run into FOLDER: the sum of its journal."""
    from .. import _core
    from ..ledger import JOURNAL, Ledger

    if not (folder / JOURNAL).is_file():
        raise _core.IoError(f"{folder}: no {JOURNAL}: no run has written here")
    ledger = Ledger(folder)
    counts = ledger.counts()
    for name in ("seen", "done", "partial", "refused", "waiting", "in_hand"):
        click.echo(f"{name.replace('_', ' '):<8} {counts[name]:>8}")
    if counts["open"]:
        click.echo("the run has not ended by itself; --resume goes on")
    last: dict[str, dict[str, Any]] = {}
    for entry in ledger.entries():
        if entry.get("event") == "begin_run":
            last = {}
        elif entry.get("event") == "file":
            last[entry["path"]] = entry
    for entry in last.values():
        if entry["status"] in ("failed", "partial"):
            reason = f" ({entry['reason']})" if entry.get("reason") else ""
            click.echo(f"{entry['status']}{reason}: {printable(entry['message'])}")
