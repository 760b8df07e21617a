"""The command line: every command is a few lines around the package."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

__all__ = ["main"]

# A command stands in a module of this folder, which is loaded when the command is used.
_COMMANDS = {
    "run": "runs",
    "check": "runs",
    "status": "runs",
    "follow": "live",
    "watch": "live",
    "serve": "live",
    "info": "files",
    "layouts": "files",
    "combine": "files",
    "init": "pages",
    "stages": "pages",
    "measures": "pages",
    "calibrate": "calibrations",
    "defects": "calibrations",
    "quality": "quality",
    "compare": "comparing",
    "report": "reporting",
    "show": "reporting",
    "config": "peers",
    "panaskimg": "panaskimg",
    "simulate": "simulations",
    "demo": "simulations",
}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = getattr(import_module(f".{_COMMANDS[name]}", __name__), name)
        assert isinstance(command, click.Command)
        return command


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from .. import _core

        click.echo(f"skipstream {_core.__version__} (SIMD level {_core.simd_level()})")
        context.exit()


def _cmakedir(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from .. import _core

        click.echo(Path(_core.__file__).parent / "lib" / "cmake" / "skipstream")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    callback=_version,
    expose_value=False,
    is_eager=True,
    help="Show the version and exit.",
)
@click.option(
    "--cmakedir",
    is_flag=True,
    callback=_cmakedir,
    expose_value=False,
    is_eager=True,
    help="Show where CMake finds the C and C++ library, and exit.",
)
def main() -> None:
    """Skipper-CCD images, from raw samples to clusters, in one streaming pass."""
