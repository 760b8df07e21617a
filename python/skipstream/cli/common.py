"""What the commands share: options, messages, exit codes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

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


def complain(text: str) -> None:
    """Say what is wrong, on stderr."""
    for line in text.splitlines():
        click.echo(f"skipstream: {printable(line)}", err=True)


def printable(text: str) -> str:
    """Escape control characters, which a file name or header may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


files_argument = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES..."
)


config_argument = click.argument("config_path", type=click.Path(path_type=Path), metavar="CONFIG")
