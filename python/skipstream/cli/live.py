"""While the data comes: follow a file that is written, watch a folder, serve a socket."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from .common import (
    EXIT_FAILED,
    alarm_commands_option,
    bytes_of,
    complain,
    jobs_option,
    memory_option,
    one_clear_message,
    printable,
    result_line,
    set_option,
    show_log,
    stopped_by_signals,
    threads_option,
    verify_option,
)

if TYPE_CHECKING:
    from ..exposure import ImageResult, LiveUpdate

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="What to do with the rows.",
)


@click.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@config_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for the outputs. Default: none."
)
@click.option(
    "--patience",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="The file has ended when it has not grown for so long.",
)
@threads_option
@set_option
@alarm_commands_option
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@one_clear_message
def follow(
    path: Path,
    config_path: Path,
    output: Path | None,
    patience: float,
    threads: int | None,
    overrides: tuple[str, ...],
    alarm_commands: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show what is in FILE while it is being written: rows and clusters as they come.

    Exit code 0: the file came to its end; 1: rows are missing, or it cannot be read.
    """
    from ..config import load_config
    from ..running import run

    config = load_config(config_path, overrides)
    show_log(logging.WARNING)
    kind = _JsonLines if as_json else _Screen if sys.stdout.isatty() else _Lines
    bad = False
    with stopped_by_signals("the file may go on growing"), kind() as shown:
        for result in run(
            config,
            [path],
            output=output,
            threads=threads,
            overwrite=overwrite,
            follow=patience,
            keep_planes=False,
            alarm_commands=alarm_commands,
            live=shown.update,
        ):
            shown.result(result)
            bad = bad or result.status != "done"
    if bad:
        raise SystemExit(EXIT_FAILED)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@config_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the outputs."
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    metavar="NAME",
    help="Files to take, such as 'run*.fits'; may be repeated. Default: FITS endings.",
)
@click.option(
    "--poll",
    type=float,
    metavar="SECONDS",
    help="Look so often, where no events come, as on network file systems.",
)
@click.option(
    "--settle",
    type=float,
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="A file that did not change for so long counts as closed.",
)
@click.option(
    "--patience",
    type=float,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="A file that is not whole is processed as it is when it did not change for so long.",
)
@jobs_option
@threads_option
@set_option
@verify_option
@memory_option
@alarm_commands_option
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@one_clear_message
def watch(
    folder: Path,
    config_path: Path,
    output: Path,
    patterns: tuple[str, ...],
    poll: float | None,
    settle: float,
    patience: float,
    jobs: int,
    threads: int | None,
    overrides: tuple[str, ...],
    verify: bool,
    memory: str | None,
    alarm_commands: bool,
    quiet: bool,
) -> None:
    """Process the files of DIR, those that are there and those that come, each once.

    Ends by SIGINT or SIGTERM, with exit code 0. Begun again, it goes on where it ended.
    """
    from ..config import load_config
    from ..watching import watch as watch_folder

    config = load_config(config_path, overrides)
    show_log(logging.WARNING if quiet else logging.INFO)
    with stopped_by_signals("what is done is kept, and a new watch goes on", is_the_end=True):
        for result in watch_folder(
            config,
            folder,
            output=output,
            patterns=patterns,
            poll=poll,
            settle=settle,
            patience=patience,
            jobs=jobs,
            threads=threads,
            verify=verify,
            memory_limit=bytes_of(memory),
            alarm_commands=alarm_commands,
        ):
            if result.status == "failed":
                complain(result_line(result))
            elif not quiet:
                click.echo(result_line(result), err=True)


@click.command()
@config_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the outputs."
)
@click.option(
    "--bind",
    "address",
    default="tcp://127.0.0.1:5557",
    show_default=True,
    metavar="ADDRESS",
    help="Address of ZeroMQ; whoever reaches it may send rows.",
)
@click.option(
    "--patience",
    type=float,
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="An exposure has ended when nothing came for so long.",
)
@threads_option
@set_option
@memory_option
@alarm_commands_option
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@one_clear_message
def serve(
    config_path: Path,
    output: Path,
    address: str,
    patience: float,
    threads: int | None,
    overrides: tuple[str, ...],
    memory: str | None,
    alarm_commands: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Process exposures whose rows come over ZeroMQ; see docs/serving.md.

    Ends by SIGINT or SIGTERM, with exit code 0.
    """
    from ..config import load_config
    from ..serving import serve as serve_rows

    config = load_config(config_path, overrides)
    show_log(logging.WARNING if quiet else logging.INFO)
    with stopped_by_signals("what is done is kept", is_the_end=True):
        for result in serve_rows(
            config,
            output=output,
            address=address,
            patience=patience,
            overwrite=overwrite,
            threads=threads,
            memory_limit=bytes_of(memory),
            alarm_commands=alarm_commands,
        ):
            if result.status == "failed":
                complain(result_line(result))
            elif not quiet:
                click.echo(result_line(result), err=True)


class _Shown:
    """Shows what is new, and what became of an image."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def update(self, update: LiveUpdate) -> None:
        raise NotImplementedError

    def result(self, result: ImageResult) -> None:
        raise NotImplementedError


class _JsonLines(_Shown):
    """Every event as a line of JSON, for programs."""

    def update(self, update: LiveUpdate) -> None:
        place = {"path": str(update.path), "amplifier": update.amplifier}
        self._print("rows", place, rows_done=update.rows_done, n_rows=update.n_rows)
        for cluster in update.clusters if update.clusters is not None else ():
            values = zip(cluster.dtype.names, cluster.item(), strict=True)
            self._print("cluster", place, **dict(values))
        for alarm in update.alarms:
            self._print("alarm", place, **asdict(alarm))

    def result(self, result: ImageResult) -> None:
        place = {"path": str(result.path), "amplifier": result.amplifier}
        self._print("image", place, status=result.status, message=result.message)

    def _print(self, event: str, place: dict[str, Any], **values: Any) -> None:
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        click.echo(json.dumps({"event": event, **place, **finite}))


class _Image:
    """What is known of an amplifier's image so far."""

    def __init__(self, update: LiveUpdate) -> None:
        self.name = printable(f"{update.path.name} {update.amplifier}")
        self.n_rows = update.n_rows
        self.rows_done = 0
        self.n_clusters: int | None = None
        self.brightest: tuple[float, str] = (-math.inf, "")

    def add(self, update: LiveUpdate) -> None:
        self.rows_done = update.rows_done
        if update.clusters is None:
            return
        self.n_clusters = (self.n_clusters or 0) + len(update.clusters)
        for cluster in update.clusters:
            self.brightest = max(
                self.brightest, (float(cluster["charge"]), _cluster_text(cluster, update))
            )


def _cluster_text(cluster: Any, update: LiveUpdate) -> str:
    energy = float(cluster["energy_kev"])
    text = f"{cluster['charge']:.5g} {update.units['charge']}"
    text += f" ({energy:.4g} keV)" if math.isfinite(energy) else ""
    n_pixels = "1 pixel" if cluster["n_pixels"] == 1 else f"{cluster['n_pixels']} pixels"
    return f"{text} in {n_pixels} at x {cluster['x']:.1f}, y {cluster['y']:.1f}"


class _Lines(_Shown):
    """A line a second, where there is no terminal."""

    def __init__(self) -> None:
        self.images: dict[str, _Image] = {}
        self.said = -math.inf

    def update(self, update: LiveUpdate) -> None:
        self.images.setdefault(update.amplifier, _Image(update)).add(update)
        if time.monotonic() - self.said >= 1.0:
            self.said = time.monotonic()
            self._say(self.images[update.amplifier])

    def _say(self, image: _Image, end: str = "") -> None:
        line = f"{image.name}: {image.rows_done} of {image.n_rows} rows"
        if image.n_clusters is not None:
            line += f", {image.n_clusters} clusters"
        if image.brightest[1]:
            line += f", the brightest {image.brightest[1]}"
        click.echo(line + end)

    def result(self, result: ImageResult) -> None:
        end = printable(f"{result.status}: {result.message}" if result.message else result.status)
        if result.amplifier in self.images:
            self._say(self.images[result.amplifier], f"; {end}")
        else:
            click.echo(f"{printable(str(result.path))}: {end}")


class _Screen(_Shown):
    """The images and their latest clusters, on a terminal."""

    def __init__(self) -> None:
        from rich.live import Live

        self.images: dict[str, _Image] = {}
        self.ends: dict[str, str] = {}
        self.latest: deque[tuple[str, str]] = deque(maxlen=8)
        self.live = Live(get_renderable=self._render, auto_refresh=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.live.refresh()
        self.live.stop()

    def update(self, update: LiveUpdate) -> None:
        self.images.setdefault(update.amplifier, _Image(update)).add(update)
        for cluster in update.clusters[-8:] if update.clusters is not None else ():
            self.latest.append((update.amplifier, _cluster_text(cluster, update)))

    def result(self, result: ImageResult) -> None:
        end = f"{result.status}: {result.message}" if result.message else result.status
        self.ends[result.amplifier] = end
        if not result.amplifier:
            self.live.console.print(end, style="red", markup=False, highlight=False)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        images = Table(box=None, pad_edge=False)
        for name, justify in (("image", "left"), ("rows", "right"), ("", "left"),
                              ("clusters", "right"), ("", "left")):  # fmt: skip
            images.add_column(name, justify=justify)  # type: ignore[arg-type]
        for amplifier, image in dict(self.images).items():
            images.add_row(
                Text(image.name),
                f"{image.rows_done}/{image.n_rows}",
                ProgressBar(total=image.n_rows, completed=image.rows_done, width=20),
                "" if image.n_clusters is None else str(image.n_clusters),
                Text(printable(self.ends.get(amplifier, ""))),
            )
        latest = Table(box=None, pad_edge=False)
        latest.add_column("latest clusters")
        latest.add_column()
        for amplifier, text in list(self.latest):
            latest.add_row(Text(printable(amplifier)), Text(text))
        return Group(images, Text(), latest) if self.latest else images
