"""The command line: every command is a few lines around the package."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

__all__ = ["main"]

# A command stands in a module of this folder, which is loaded when the command is used. The line
# says what it does, in less than 60 characters.
_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "demo": ("simulations", "Simulate an image, reduce it, compare with the truth."),
        "init": ("pages", "Print a commented config."),
        "info": ("files", "Say how files are understood, and why."),
        "check": ("runs", "Check a config, and print the plan for files."),
        "run": ("runs", "Process files as a config says."),
        "status": ("runs", "Say what became of the files of a run."),
    },
    "Look at results": {
        "show": ("reporting", "Draw files at a glance."),
        "report": ("reporting", "Write one HTML page about a run."),
        "compare": ("comparing", "Compare a run with one that was good: ok, warn or bad."),
        "quality": ("quality", "Judge images by nine numbers, in a table."),
    },
    "Make what runs need": {
        "calibrate": ("calibrations", "Fit gains to single electrons: calibration.toml."),
        "defects": ("calibrations", "Find hot pixels and lines: a mask."),
        "combine": ("files", "Average amplifiers that read the same pixels."),
        "simulate": ("simulations", "Write a raw image with a stated truth."),
    },
    "While it is read out": {
        "follow": ("live", "Show what is in a file that is being written."),
        "watch": ("live", "Process every file that comes into a folder."),
        "serve": ("live", "Process rows that come over ZeroMQ."),
    },
    "Look up": {
        "stages": ("pages", "List the stages, or the parameters of one."),
        "measures": ("pages", "List what a run can measure, or its parameters."),
        "layouts": ("files", "List the layouts of files that are known."),
    },
    "Come from panaSKImg": {
        "config": ("peers", "Translate a configuration: config import."),
        "panaskimg": ("panaskimg", "Understand its options, and run what they mean."),
    },
}
_COMMANDS = {name: module for part in _SECTIONS.values() for name, (module, _) in part.items()}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = getattr(import_module(f".{_COMMANDS[name]}", __name__), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from ..reference import unknown_name

            context.fail(f"no command {unknown_name(args[0], list(_COMMANDS))}")
        return super().resolve_command(context, args)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                # The same width in all sections.
                formatter.write_dl([(f"{n:<9}", text) for n, (_, text) in commands.items()])


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


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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
