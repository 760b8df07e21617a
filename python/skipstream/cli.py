"""The command line: every command is a few lines around the package."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .config import Config
    from .layout import FileLayout, ImageLayout
    from .running import ImageResult

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_USAGE = 2


def _one_clear_message(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an error of the package into lines on stderr and exit code 2."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        from . import _core

        told: set[str] = set()

        def warn(message: Warning | str, *_: Any) -> None:
            if str(message) not in told:
                _complain(f"warning: {message}")
            told.add(str(message))

        warnings.showwarning = warn  # type: ignore[assignment]
        try:
            command(*args, **kwargs)
        except (_core.Error, OSError) as error:
            _complain(str(error))
            raise SystemExit(EXIT_USAGE) from None

    return wrapped


def _complain(text: str) -> None:
    for line in text.splitlines():
        click.echo(f"skipstream: {_printable(line)}", err=True)


def _printable(text: str) -> str:
    """Escape control characters, which a file name or header may hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _size(n_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024 or unit == "GiB":
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    raise AssertionError


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from . import _core

        click.echo(f"skipstream {_core.__version__} (SIMD level {_core.simd_level()})")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    callback=_version,
    expose_value=False,
    is_eager=True,
    help="Show the version and exit.",
)
def main() -> None:
    """Skipper-CCD images, from raw samples to clusters, in one streaming pass."""


_set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="STAGE.KEY=VALUE",
    help="Override the config, such as calibrate.gain=5.2; may be repeated.",
)
_files = click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES..."
)
_config = click.argument("config_path", type=click.Path(path_type=Path), metavar="CONFIG")


@main.command()
@_config
@_files
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Folder for the outputs; it is made.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Files in work at once, each in its own process.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads per file. Default: cores / jobs.")
@_set_option
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option(
    "--resume", is_flag=True, help="Skip files that an earlier run with the same config finished."
)
@click.option("--verify", is_flag=True, help="Check CHECKSUM and DATASUM before a file is read.")
@click.option(
    "--follow",
    type=float,
    metavar="SECONDS",
    help="Wait for rows of files that are being written, until they do not grow for so long.",
)
@click.option("--strict", is_flag=True, help="End the run at the first file that is not done.")
@click.option(
    "--memory-limit",
    "memory",
    metavar="SIZE",
    help="Refuse images whose plan needs more, such as 256M.",
)
@click.option(
    "--allow-partial", is_flag=True, help="A file that is cut off does not count as failed."
)
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON on stdout.")
@_one_clear_message
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
    allow_partial: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Process FILES as CONFIG says.

    Exit code 0: all done; 1: some files failed, the others are done; 2: wrong usage or config.
    """
    from .config import load_config
    from .running import run as run_files
    from .running import summary

    config = load_config(config_path, overrides)
    total = sum(path.stat().st_size for path in files if path.exists())
    results: list[ImageResult] = []
    with _stopped_by_signals(), _Progress(len(files), total, quiet or as_json) as progress:
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
            memory_limit=_bytes_of(memory),
            progress=progress.rows_done,
        ):
            results.append(result)
            progress.result(result)
    if as_json:
        click.echo(json.dumps(summary(results), indent=2))
    bad = ("failed",) if allow_partial else ("failed", "partial")
    if any(result.status in bad for result in results):
        raise SystemExit(EXIT_FAILED)


def _bytes_of(size: str | None) -> int | None:
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kMGT]?)i?B?", size.strip())
    if not found:
        raise click.BadParameter(f"{size!r} is not a size such as 256M or 2G")
    return int(float(found[1]) * 1024 ** " kMGT".index(found[2] or " "))


class _StoppedError(BaseException):
    """A signal asks the run to end."""


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End a run by SIGINT or SIGTERM with its journal complete; a second one ends it at once."""
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
        _complain(f"stopped by {name}; what is done is kept, and --resume goes on")
        raise SystemExit(128 + came[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """A bar where there is a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, n_files: int, total: int, quiet: bool) -> None:
        self.quiet = quiet
        self.n_files = n_files
        self.total = total
        self.done: dict[Path, tuple[int, int]] = {}
        self.files: set[Path] = set()
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> _Progress:
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
        name = _printable(str(result.path))
        if result.status == "failed":
            line = f"failed: {_printable(result.message)}"
            if self.bar is not None:
                self.bar.console.print(line, style="red", markup=False, highlight=False)
            else:
                click.echo(f"skipstream: {line}", err=True)
        elif not self.quiet:
            line = f"{result.status}: {name} {_printable(result.amplifier)}"
            report = result.report
            if report:
                clusters = report["n_clusters"]
                speed = report["raw_bytes"] / max(report["seconds"], 1e-9) / 1e6
                line += f", {report['n_rows']} rows x {report['n_cols']} columns x "
                line += f"{report['n_skips']} skips, {speed:.0f} MB/s"
                line += "" if clusters is None else f", {clusters} clusters"
            if result.message:
                line += f": {_printable(result.message)}"
            for note in result.report.get("notes", ()):
                line += f"; {_printable(note)}"
            if self.bar is not None:
                self.bar.console.print(line, markup=False, highlight=False)
            else:
                click.echo(line, err=True)
        if self.bar is not None:
            self.bar.update(self.task, description=self._counts())


@main.command()
@_config
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILES...]")
@_set_option
@_one_clear_message
def check(config_path: Path, files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Check CONFIG, and print the plan for FILES: stages, shapes, delay, memory."""
    from . import _core
    from .config import load_config
    from .layout import read_layout
    from .reading import plain_file
    from .running import plan_image

    config = load_config(config_path, overrides)
    _print_config(config)
    failed = False
    for path in files:
        try:
            with plain_file(path, tempfile.gettempdir()) as plain:
                for image in read_layout(path, config.input, plain=[plain]).images:
                    _print_plan(path, image, plan_image(image, config))
        except (_core.Error, OSError) as error:
            message = str(error)
            _complain(message if path.name in message else f"{path}: {message}")
            failed = True
    if failed:
        raise SystemExit(EXIT_USAGE)


def _print_config(config: Config) -> None:
    click.echo(f"{config.source}: {len(config.stages)} stages, {len(config.outputs)} outputs")
    for output in config.outputs:
        click.echo(f"  {output.table or 'planes'} after {output.after} -> {output.path}")


def _print_plan(path: Path, image: ImageLayout, plan: dict[str, Any]) -> None:
    click.echo(
        f"\n{_printable(str(path))} {_printable(image.amplifier)}: {image.n_rows} rows x "
        f"{image.n_cols} columns x {image.n_skips} skips of {image.hdu.dtype}, "
        f"{_size(image.n_bytes)}; skips {plan['first_used_skip']} to "
        f"{plan['first_used_skip'] + plan['n_used_skips'] - 1} used"
    )
    click.echo(f"  {'stage':<20} {'delay':>6} {'memory':>11}  planes")
    for stage in plan["stages"]:
        planes = ", ".join(
            f"{plane['name']} [{plane['unit']}]" if plane["unit"] else plane["name"]
            for plane in stage["planes"]
        )
        barrier = "; a barrier: waits for the whole image" if stage["barrier"] else ""
        click.echo(
            f"  {stage['name']:<20} {stage['delay_rows']:>6} {_size(stage['state_bytes']):>11}  "
            f"{planes}{barrier}"
        )
    click.echo(
        f"  chunks of {plan['chunk_rows']} rows; {_size(plan['buffer_bytes'])} of buffers; "
        f"{_size(plan['total_bytes'])} in all"
    )


@main.command()
@_files
@click.option("--skips", "n_skips", help="Samples per pixel, or the keyword that holds them.")
@_one_clear_message
def info(files: tuple[Path, ...], n_skips: str | None) -> None:
    """Say how FILES are understood, and where each number came from."""
    from . import _core
    from .inputs import InputConfig
    from .layout import read_layout
    from .reading import plain_file

    skips = int(n_skips) if n_skips is not None and n_skips.isdigit() else n_skips
    failed = False
    for path in files:
        try:
            with plain_file(path, tempfile.gettempdir()) as plain:
                _print_layout(read_layout(path, InputConfig(n_skips=skips), plain=[plain]))
        except (_core.Error, OSError) as error:
            _complain(str(error))
            failed = True
    if failed:
        raise SystemExit(EXIT_FAILED)


def _print_layout(layout: FileLayout) -> None:
    click.echo(_printable(str(layout.path)))
    click.echo(f"  layout {layout.layout.name} ({layout.why}): {layout.layout.doc}")
    if layout.cut:
        click.echo(f"  cut off: {_printable(layout.cut)}")
    for hdu, why in layout.others:
        name = _printable(hdu.name)
        click.echo(f"  HDU {hdu.index}: {name or hdu.kind}, {_printable(why)}; no samples")
    for image in layout.images:
        hdu = image.hdu
        scaled = (
            f", value = {hdu.scale:g} * stored + {hdu.zero:g}"
            if (hdu.scale != 1 or hdu.zero != 0)
            else ""
        )
        click.echo(
            f"  HDU {hdu.index}: amplifier {_printable(image.amplifier)}, {image.n_rows} rows x "
            f"{image.n_cols} columns x {image.n_skips} skips"
        )
        where = {"planes": ", on NAXIS3", "hdus": ", one in each HDU", "columns": ""}
        mirrored = ", mirrored" if image.is_reversed else ""
        click.echo(f"    skips      {image.n_skips_from}{where.get(image.skips, '')}{mirrored}")
        click.echo(f"    prescan    {image.prescan_cols} columns ({image.prescan_from})")
        click.echo(f"    overscan   {image.overscan_cols} columns ({image.overscan_from})")
        padded = "" if image.pad is None else f", {image.pad} where there is no sample"
        click.echo(f"    samples    {hdu.dtype}{scaled}{padded}, {_size(image.n_bytes)}")
        compression = f", {hdu.compression}" if hdu.compression else ""
        click.echo(f"    reader     {image.reader}{compression}")
        if image.lossy:
            click.echo(f"    lossy      {image.lossy}")
        for note in image.notes:
            click.echo(f"    note       {_printable(note)}")


@main.command()
@_one_clear_message
def init() -> None:
    """Print a commented config, made from the stages themselves."""
    from .config import init_config

    click.echo(init_config(), nl=False)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--sigma", "sigmas", type=float, multiple=True, help="Noise of each amplifier.")
@click.option("--shift", "shifts", type=int, multiple=True, help="Columns that each reads later.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@_one_clear_message
def combine(
    path: Path, output: Path, sigmas: tuple[float, ...], shifts: tuple[int, ...], overwrite: bool
) -> None:
    """Average the amplifiers of PATH, planes of a run, that read the same pixels, to OUTPUT.

    Weights are those of the noise in the headers, or of --sigma, given once per amplifier.
    """
    from .combine import combine_amplifiers

    weights = combine_amplifiers(
        path, output, sigmas=sigmas or None, shifts=shifts or None, overwrite=overwrite
    )
    click.echo(f"{output}: weights " + ", ".join(f"{weight:.4f}" for weight in weights))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_one_clear_message
def status(folder: Path) -> None:
    """Say what became of the files of the last run into FOLDER: the sum of its journal."""
    from . import _core
    from .ledger import JOURNAL, Ledger

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
            click.echo(f"{entry['status']}{reason}: {_printable(entry['message'])}")


@main.command()
@_one_clear_message
def layouts() -> None:
    """List the layouts of files that are known, and those that can be simulated."""
    from .inputs import LAYOUTS
    from .simulate import LAYOUTS as SIMULATED

    click.echo("read, the first one that fits a file:")
    for layout in LAYOUTS:
        needs = ", ".join(filter(None, layout.has))
        click.echo(f"  {layout.name:<17} {layout.doc}" + (f" (has {needs})" if needs else ""))
    click.echo("\nsimulated: " + ", ".join(SIMULATED))


@main.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the reference page of all stages.")
@click.option("--stub", is_flag=True, help="Print the type stub of the stage classes.")
@_one_clear_message
def stages(name: str | None, markdown: bool, stub: bool) -> None:
    """List the stages, or the parameters of the stage NAME."""
    from . import _core
    from .reference import class_name, parameter_line, stages_markdown, stages_stub, toml_value

    if markdown or stub:
        click.echo(stages_markdown() if markdown else stages_stub(), nl=False)
        return

    schema = {stage["name"]: stage for stage in _core.schema()}
    if name is None:
        for stage in schema.values():
            click.echo(f"{stage['name']:<20} {stage['doc']}")
        return
    if name not in schema:
        nearest = _core.nearest_name(name, list(schema))
        hint = f'did you mean "{nearest}"?' if nearest else "known: " + ", ".join(schema)
        raise _core.ConfigError(f'no stage "{name}"; {hint}')
    click.echo(f"{name} (in Python: skipstream.{class_name(name)})\n{schema[name]['doc']}")
    for parameter in schema[name]["parameters"]:
        default = toml_value(parameter["default"])
        click.echo(f"\n  {parameter['name']}" + (f" = {default}" if default else ""))
        if facts := parameter_line(parameter):
            click.echo(f"      {facts}")
        click.echo(click.wrap_text(parameter["doc"], 90, "      ", "      "))


@main.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the reference page of all measures.")
@_one_clear_message
def measures(name: str | None, markdown: bool) -> None:
    """List what runs can measure, or the parameters of the measure NAME."""
    from . import _core
    from .measuring import MEASURES, described, measures_markdown
    from .reference import unknown_name

    if markdown:
        click.echo(measures_markdown(), nl=False)
    elif name is None:
        for kind in MEASURES:
            click.echo(f"{kind:<24} {described(kind)[0]}")
    elif name not in MEASURES:
        raise _core.ConfigError(f"no measure {unknown_name(name, list(MEASURES))}")
    else:
        doc, parameters = described(name)
        click.echo(f"{name}\n{doc}")
        for parameter, default, kind, meaning in parameters:
            click.echo(f"\n  {parameter}" + (f" = {default}" if default else ""))
            click.echo(f"      {kind}")
            click.echo(click.wrap_text(meaning, 90, "      ", "      "))


@main.command()
@_files
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("calibration.toml"),
    show_default=True,
    help="The calibration file.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Stages up to pixels in ADU. Default: compress_skips, and subtract_pedestal to the "
    "lowest peak.",
)
@_set_option
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@_one_clear_message
def calibrate(
    files: tuple[Path, ...],
    output: Path,
    config_path: Path | None,
    overrides: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Fit the gain of every amplifier of FILES, and write it for runs: calibrate.gain.

    Exit code 1: an amplifier has no gain.
    """
    from .calibrating import DEFAULT_STAGES, write_calibration
    from .calibrating import calibrate as calibrate_files
    from .config import load_config

    config = load_config(config_path or DEFAULT_STAGES, overrides)
    amplifiers = calibrate_files(files, config)
    click.echo(f"{'amplifier':<12} {'gain':>20} {'noise':>18} {'dark current':>22}  files  drift")
    click.echo(f"{'':<12} {'ADU/e-':>20} {'e-':>18} {'e-/pixel':>22}         p")
    for a in amplifiers:
        numbers = [
            f"{a.values[name]:.5g} +- {a.errors[name]:.1g}"
            for name in ("gain", "noise_electron", "dark_current")
        ]
        drift = f"{a.p_value:.2g}" if a.n_dof else "-"
        click.echo(
            f"{_printable(a.amplifier):<12} {numbers[0]:>20} {numbers[1]:>18} {numbers[2]:>22}  "
            f"{len(a.fits):>5}  {drift:>5}"
        )
        for problem in a.problems:
            click.echo(f"skipstream: {_printable(problem)}", err=True)
    write_calibration(output, amplifiers, overwrite=overwrite)
    if any(a.problems for a in amplifiers):
        raise SystemExit(EXIT_FAILED)


@main.command()
@_files
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("defects.fits"),
    show_default=True,
    help="The mask file.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="Stages up to the pixels that are judged.",
)
@click.option("--threshold", type=float, required=True, help="A pixel at or above this is hot.")
@click.option("--below", type=float, help="Pixels at or above this are tracks, and not counted.")
@click.option(
    "--pixel-fraction",
    type=float,
    default=0.4,
    show_default=True,
    help="A pixel is a defect if it is hot in more than this part of the images.",
)
@click.option(
    "--line-fraction",
    type=float,
    default=0.2,
    show_default=True,
    help="A column or row is bad if more than this part of it are defects.",
)
@_set_option
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@_one_clear_message
def defects(
    files: tuple[Path, ...],
    output: Path,
    config_path: Path,
    threshold: float,
    below: float | None,
    pixel_fraction: float,
    line_fraction: float,
    overrides: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Find what is hot in too many of FILES, and write it as a mask for runs: input.mask."""
    from .config import load_config
    from .masking import find_defects, write_mask

    found = find_defects(
        files,
        load_config(config_path, overrides),
        threshold=threshold,
        below=below,
        pixel_fraction=pixel_fraction,
        line_fraction=line_fraction,
    )
    write_mask(output, {name: of.mask for name, of in found.items()}, overwrite=overwrite)
    for name, of in found.items():
        click.echo(f"{_printable(name)}: {of}")


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--rows", "n_rows", type=click.IntRange(1), default=512, show_default=True)
@click.option(
    "--cols",
    "n_cols",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Pixels of a row, with prescan and overscan.",
)
@click.option("--skips", "n_skips", type=click.IntRange(1), default=500, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--layout", default="leach", show_default=True, help="One of: skipstream layouts.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@_one_clear_message
def simulate(path: Path, **options: Any) -> None:
    """Write a raw image with a stated truth to PATH, and the truth as a table beside it."""
    from .simulate import simulate as simulate_image

    truth = simulate_image(path, **options)
    click.echo(f"{path}: {len(truth.events)} events")


@main.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("skipstream-demo"),
    show_default=True,
    help="Folder for the image, the results and the picture.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo.")
@_one_clear_message
def demo(output: Path, overwrite: bool) -> None:
    """Simulate a raw image, run the whole chain on it, and compare with the truth."""
    from .demo import demo as run_demo

    run_demo(output, overwrite=overwrite)
