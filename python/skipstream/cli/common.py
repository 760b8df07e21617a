"""What the commands share: options, messages, exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..exposure import ImageResult

EXIT_FAILED = 1


EXIT_USAGE = 2


def one_clear_message(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of the package into lines on stderr and exit code 2."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from .. import _core

        told: set[str] = set()

        def warn(message: Warning | str, *_: Any) -> None:
            if str(message) not in told:
                complain(f"warning: {message}")
            told.add(str(message))

        warnings.showwarning = warn  # type: ignore[assignment]
        try:
            command(*args, **kwargs)
        except (_core.Error, OSError) as error:
            complain(str(error))
            raise SystemExit(EXIT_USAGE) from None

    return wrapped


class _StoppedError(BaseException):
    """A signal asks the run to end."""


@contextlib.contextmanager
def stopped_by_signals(then: str, *, is_the_end: bool = False) -> Iterator[None]:
    """End work by SIGINT or SIGTERM with its journal complete; a second one ends it at once.

    `then` says what is to be known after that. The exit code is 0 where `is_the_end`: where nothing
    else would end the work; else that of the signal.
    """
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        raise _StoppedError

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    except _StoppedError:
        name = signal.Signals(came[0]).name
        complain(f"stopped by {name}; {then}")
        raise SystemExit(0 if is_the_end else 128 + came[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def complain(text: str) -> None:
    """Say what is wrong, on stderr."""
    for line in text.splitlines():
        click.echo(f"skipstream: {printable(line)}", err=True)


def show_log(level: int) -> None:
    """Show what the package logs as what else the command says."""
    import logging

    class Complain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complain(record.getMessage())

    logger = logging.getLogger("skipstream")
    logger.addHandler(Complain())
    logger.setLevel(level)


def printable(text: str) -> str:
    """Escape control characters, which a file name or header may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def result_line(result: ImageResult) -> str:
    """What became of an image, in a line."""
    if result.status == "failed":
        return f"failed: {printable(result.message)}"
    line = f"{result.status}: {printable(str(result.path))} {printable(result.amplifier)}"
    report = result.report
    if report:
        clusters = report["n_clusters"]
        speed = report["raw_bytes"] / max(report["seconds"], 1e-9) / 1e6
        line += f", {report['n_rows']} rows x {report['n_cols']} columns x "
        line += f"{report['n_skips']} skips, {speed:.0f} MB/s"
        line += "" if clusters is None else f", {clusters} clusters"
    if result.message:
        line += f": {printable(result.message)}"
    for note in report.get("notes", ()):
        line += f"; {printable(note)}"
    return line


def size_text(n_bytes: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024 or unit == "GiB":
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError


def bytes_of(size: str | None) -> int | None:
    """Bytes that a text such as 256M means."""
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kMGT]?)i?B?", size.strip())
    if not found:
        raise click.BadParameter(f"{size!r} is not a size such as 256M or 2G")
    return int(float(found[1]) * 1024 ** " kMGT".index(found[2] or " "))


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="STAGE.KEY=VALUE",
    help="Override the config, such as calibrate.gain=5.2; may be repeated.",
)


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Files in work at once, each in its own process.",
)


threads_option = click.option(
    "--threads", type=click.IntRange(1), help="Threads per file. Default: cores / jobs."
)


verify_option = click.option(
    "--verify", is_flag=True, help="Check CHECKSUM and DATASUM before a file is read."
)


memory_option = click.option(
    "--memory-limit",
    "memory",
    metavar="SIZE",
    help="Refuse images whose plan needs more, such as 256M.",
)


alarm_commands_option = click.option(
    "--alarm-commands",
    is_flag=True,
    help="Alarms may start the commands of the config; it runs programs then.",
)


files_argument = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES..."
)


config_argument = click.argument("config_path", type=click.Path(path_type=Path), metavar="CONFIG")
