"""The options of panaSKImg: translated, printed as commands of ours, and run."""

from __future__ import annotations

import argparse
import copy
import glob
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .common import EXIT_USAGE, complain, one_clear_message, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Option:
    """One option of panaSKImg.

    Attributes
    ----------
    flags
        As they are typed.
    kind
        ``int``, ``float``, ``str``, or ``bool`` of one without a value.
    keys
        Where its value goes in the JSON: ``"Section.parameter"``.
    here
        What becomes of it, in words.
    many
        It takes several values.
    refused
        It changes the results in a way that no command of ours does.
    """

    flags: tuple[str, ...]
    kind: type
    keys: tuple[str, ...] = ()
    here: str = ""
    many: bool = False
    refused: bool = False


_PEDESTAL = "PedestalSubtractionProcess"
_DARK = "FitDarkCurrentProcess"

OPTIONS: tuple[Option, ...] = (
    Option(("-j", "--json"), str, here="the configuration; without it, panaSKImg's own numbers"),
    Option(("-s", "--sequence"), str, here="processes with , or ; between them"),
    Option(("-o", "--output", "--ouptut"), str, here="-o of skipstream run; it is made"),
    Option(("--ncpus",), int, here="--jobs of skipstream run"),
    Option(("--skip",), str, here="files whose names hold one of these are left out", many=True),
    Option(("--list-processes",), bool, here="lists their names"),
    Option(("-e", "--ext"), int, ("image.extensions",), many=True),
    Option(("--acm",), bool, ("image.ACM_multi_extension",)),
    Option(("--invert",), bool, ("image.correct_polarity",)),
    *(
        Option((f"--{axis}-{end}", f"--id-{axis}-{end}"), int, (f"image.id_{axis}_{end}",))
        for axis in ("skip", "row", "col")
        for end in ("start", "end")
    ),
    Option(("--func-to-compress",), str, ("CompressSkipperProcess.func_to_compress",), many=True),
    Option(("--method",), str, (f"{_PEDESTAL}.method",)),
    Option(
        ("--in-overscan",),
        bool,
        (f"{_PEDESTAL}.in_overscan",),
        "as there, it turns the overscan off",
    ),
    Option(("--axis",), str, (f"{_PEDESTAL}.axis",)),
    Option(
        ("--n-sigma-win-fit",),
        float,
        (f"{_PEDESTAL}.n_sigma_win_fit", "FitCalibrationConstant.n_sigma_win_fit"),
    ),
    Option(("--n-sigma-to-mask",), float, (f"{_PEDESTAL}.n_sigma_to_mask",)),
    Option(("--adu2e",), float, ("CalibrationProcess.gain",)),
    Option(("--calL",), float, here="CalibrationProcess.gain of amplifier L"),
    Option(("--calU",), float, here="CalibrationProcess.gain of amplifier U"),
    Option(("--skip-id-list",), int, ("ChargeLossPlot.skip_id_list",), many=True),
    Option(("--skip-id-baseline",), int, ("ChargeLossPlot.skip_id_baseline",)),
    Option(("--n-skips",), int, ("RNvsNskipsPlot.n_skips_per_block",)),
    Option(("--is-blank",), bool, ("RNvsNskipsPlot.is_blank",)),
    Option(("--n-peaks",), int, ("FitCalibrationConstant.n_peaks",)),
    Option(
        ("--calibration",),
        float,
        ("FitCalibrationConstant.calibration", f"{_DARK}.calibration"),
    ),
    Option(("--cal",), float, ("FitCalibrationConstant.calibration",)),
    Option(("--n-elec",), int, (f"{_DARK}.n_peaks",)),
    Option(("--do-calibration",), bool, (f"{_DARK}.do_calibration",)),
    Option(("--dc-axis",), str, (f"{_DARK}.dc_axis",)),
    Option(("--n-sigma-fit",), float, (f"{_DARK}.n_sigma_fit",)),
    Option(("--mu-gauss",), float, (f"{_DARK}.mu_gauss",)),
    Option(("--sigma-gauss",), float, (f"{_DARK}.sigma_gauss",)),
    Option(("--lambda-poisson",), float, (f"{_DARK}.lambda_poisson",)),
    Option(("--fit-options",), str, (f"{_DARK}.fit_options",)),
    Option(("--save-img",), bool, here="save_image of every process of the sequence"),
    Option(("--save-plots",), bool, here="--save-plots of skipstream run"),
    Option(("--display",), bool, here="skipstream show --display, on what the run has written"),
    Option(("--hext",), int, here="unneeded: keywords are looked for in all headers", many=True),
    Option(("--amp-name",), str, here="unneeded: amplifiers are named by the file"),
    Option(("--histequ",), bool, here="unneeded: pictures have robust limits"),
    Option(("--gray-palette",), bool, here="unneeded: pictures have one colour map"),
    Option(("--show-fit",), bool, here="unneeded: skipstream report OUT draws every fit"),
    Option(("--verbose",), bool, here="unneeded: messages are the same for all"),
    Option(("--debug",), bool, here="unneeded: of its own debugging"),
    Option(("--run",), int, here="unneeded: RUNID of the header"),
    Option(("--ccd",), int, here="unneeded: the amplifier of the file"),
    Option(
        ("--mask",),
        str,
        here="[input] mask takes a file of skipstream defects or write_mask; set it in the config",
        refused=True,
    ),
    Option(
        ("--oroot",),
        str,
        here="every image has a table of its own; ROOT's TChain and uproot.concatenate join them",
        refused=True,
    ),
    Option(
        ("--MCT",), int, here="no table joins clusters with those of a simulation", refused=True
    ),
    Option(("--halo-radius",), int, here="the measure measure_halo does it", refused=True),
    Option(("--halo-radius-min",), int, here="the measure measure_halo does it", refused=True),
    Option(("--bz2",), bool, here="outputs are not packed; bzip2 packs them", refused=True),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        complain(f"panaskimg: {message}")
        raise SystemExit(EXIT_USAGE)


def _dest(option: Option) -> str:
    return option.flags[1 if len(option.flags[0]) == 2 else 0].strip("-").replace("-", "_")


def parser() -> argparse.ArgumentParser:
    """The options as panaSKImg has them, and --no-run, --overwrite."""
    made = _Parser(
        prog="skipstream panaskimg",
        usage="skipstream panaskimg [options of panaSKImg] [--no-run] [--overwrite] FILES...",
        description="Understand the options of panaSKImg: write the config that they mean, print "
        "the command that runs it, and run it.",
        epilog="Exit code 0: all done; 1: some files failed, or a name in the JSON is wrong; "
        "2: wrong usage, or an option without a counterpart.",
    )
    made.add_argument("infile", nargs="*", help="files, or patterns in quotation marks")
    for option in OPTIONS:
        words = option.here or "the same as " + " and ".join(option.keys) + " of the JSON"
        if option.kind is bool:
            made.add_argument(*option.flags, dest=_dest(option), action="store_true", help=words)
        else:
            made.add_argument(
                *option.flags,
                dest=_dest(option),
                type=option.kind,
                nargs="+" if option.many else None,
                help=words,
            )
    made.add_argument("--no-run", action="store_true", help="write the config, print the command")
    made.add_argument("--overwrite", action="store_true", help="replace what exists")
    return made


def _files(patterns: Sequence[str], left_out: Sequence[str]) -> list[Path]:
    from .. import _core

    found = []
    for pattern in patterns:
        names = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern))  # noqa: PTH207
        if not names:
            raise _core.IoError(f"{pattern}: no such file")
        found += names
    words = []
    for word in left_out:
        words += Path(word).read_text().split() if word.endswith(".txt") else [word]
    kept = [Path(name) for name in found if not any(word in name for word in words)]
    if not kept:
        raise _core.ConfigError(f"--skip {' '.join(left_out)}: leaves no file")
    return kept


def _tables(options: argparse.Namespace) -> dict[str, Any]:
    """The JSON, with what the options say in its place."""
    from ..panaskimg import USUAL, read_json

    tables = read_json(options.json) if options.json else copy.deepcopy(USUAL)
    processes = tables.setdefault("process", {})
    image = tables.setdefault("input", {}).setdefault("image", {})

    def section(name: str) -> dict[str, Any]:
        found = image if name == "image" else processes.setdefault(name, {})
        assert isinstance(found, dict)
        return found

    for option in OPTIONS:
        value = getattr(options, _dest(option))
        if value is None or value is False:
            continue
        for key in option.keys:
            name, _, parameter = key.partition(".")
            section(name)[parameter] = False if parameter == "in_overscan" else value
    if options.sequence:
        processes["sequence"] = options.sequence
    gains = {"L": options.calL, "U": options.calU}
    if any(gain is not None for gain in gains.values()):
        section("CalibrationProcess")["gain"] = {k: g for k, g in gains.items() if g is not None}
    if options.save_img:
        for name in str(processes.get("sequence", "")).replace(",", ";").split(";"):
            section(name.strip())["save_image"] = True
    return tables


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    short_help="Understand the options of panaSKImg, and run what they mean.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
@one_clear_message
def panaskimg(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Understand the options of panaSKImg: write a config, print the command, run it."""
    from .. import _core
    from ..panaskimg import PROCESSES, import_panaskimg
    from .peers import tell, write_config
    from .runs import run

    made = parser()
    options = made.parse_args(list(arguments) or ["--help"])
    if options.list_processes:
        for name in PROCESSES:
            click.echo(name)
        return
    if not options.infile:
        made.error("no file is given")
    refused = [o for o in OPTIONS if o.refused and getattr(options, _dest(o)) not in (None, False)]
    if refused:
        raise _core.ConfigError(
            "\n".join(f"{o.flags[-1]}: no counterpart: {o.here}" for o in refused)
        )
    files = _files(options.infile, options.skip or [])
    output = Path(options.output or ".")
    imported = import_panaskimg(_tables(options), image=files[0])
    output.mkdir(parents=True, exist_ok=True)
    config = output / "panaskimg.toml"
    write_config(config, imported, overwrite=options.overwrite or _is_ours(config, imported.toml))
    tell(imported, to_stderr=True, only_open=True)
    command = ["run", str(config), *map(str, files), "-o", str(output)]
    if options.ncpus and options.ncpus > 1:
        command += ["--jobs", str(options.ncpus)]
    command += ["--save-plots"] * options.save_plots + ["--overwrite"] * options.overwrite
    click.echo(printable(shlex.join(["skipstream", *command])))
    if options.display:
        click.echo(f"skipstream show --display {printable(shlex.quote(str(output)))}/*_planes.fits")
    wrong = bool(imported.wrong)
    if not options.no_run:
        run.main(args=command[1:], standalone_mode=False, parent=context.parent)
    if wrong:
        raise SystemExit(1)


def _is_ours(path: Path, text: str) -> bool:
    """The config of the same options is there already."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def options_markdown() -> str:
    """The table of the options, for the page of the documentation."""
    lines = ["| option | here |", "|---|---|"]
    for option in OPTIONS:
        flags = ", ".join(f"`{flag}`" for flag in option.flags)
        keys = " and ".join(f"`{key}`" for key in option.keys)
        words = "; ".join(part for part in (keys, option.here) if part)
        lines.append(f"| {flags} | {'refused: ' if option.refused else ''}{words} |")
    return "\n".join(lines) + "\n"
