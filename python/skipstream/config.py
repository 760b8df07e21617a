"""The config file: read, checked as a whole, every mistake with its line."""

from __future__ import annotations

import datetime
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .inputs import INPUT_DOCS, PACKETS, InputConfig, is_packets, wrong_input
from .reference import bounds, sample_stages, toml_value, unknown_name

if TYPE_CHECKING:
    from .measuring import MeasureConfig

__all__ = ["Config", "InputConfig", "OutputConfig", "init_config", "load_config"]

_OUTPUT_FORMATS = {
    "planes": (".fits",),
    "table": (".fits", ".csv", ".ecsv", ".parquet", ".root"),
    "measures": (".csv", ".json", ".fits", ".ecsv", ".parquet", ".root"),
}


_OF_MEASURES = ("measures", "patterns")
_TABLES = ("clusters", "cluster_pixels", *_OF_MEASURES)
_COLUMNS = ("skipstream", "waders", "hitsumm")
_MAX_BYTES = 1 << 24
_MAX_DEPTH = 16
_MAX_NAME_BYTES = 255  # of most file systems


@dataclass(frozen=True)
class OutputConfig:
    """One ``[[output]]`` table: what is written after a stage.

    Attributes
    ----------
    after
        Name of the stage; the last one of that name. Empty: a table of the measures.
    path
        File name with ``{stem}``, the input's name; the ending picks the format: planes go to
        ``.fits``; a path of the stage's table ends in ``clusters.fits``, ``.csv``, ``.ecsv``,
        ``.parquet`` or ``.root``.
    table
        ``"clusters"``, ``"cluster_pixels"``, ``"measures"`` or ``"patterns"``; None: planes.
    planes
        Names of the planes, or None for all.
    dtype
        ``"float32"`` or ``"float64"``.
    columns
        Names, units and conventions of a table of clusters: ``"skipstream"``, ``"waders"`` or
        ``"hitsumm"``.
    """

    after: str
    path: str
    table: str | None = None
    planes: list[str] | None = None
    dtype: str = "float32"
    columns: str = "skipstream"


@dataclass(frozen=True)
class Config:
    """What to do with every file; made by `load_config`."""

    input: InputConfig
    stages: tuple[dict[str, Any], ...]
    outputs: tuple[OutputConfig, ...]
    measures: tuple[MeasureConfig, ...] = ()
    source: str = field(default="config", compare=False)
    alarms: tuple[dict[str, Any], ...] = ()

    def stage_number(self, name: str) -> int:
        """Number of the last stage of that name."""
        return max(n for n, stage in enumerate(self.stages) if stage["kind"] == name)


class _Lines:
    """Finds the line of a key in a TOML text, for messages."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.where: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, number = "", 0
        for line, content in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*(\[\[?)\s*([\w.-]+)", content):
                table = header[2]
                number = counts.get(table, -1) + 1
                counts[table] = number
                self.where[table, number, ""] = line
            elif key := re.match(r"\s*([\w-]+)\s*=", content):
                self.where.setdefault((table, number, key[1]), line)

    def place(self, table: str, number: int = 0, key: str = "") -> str:
        line = self.where.get((table, number, key), self.where.get((table, number, "")))
        return f"{self.source}:{line}: " if line else f"{self.source}: "

    def place_of_problem(self, problem: str) -> str:
        """Place of a problem of the core: ``stage[1] name.key: ...``."""
        found = re.match(
            r"(stage|alarm)\[(\d+)\](?: \w+)?(?:\.(\w+)|: no key \"([^\"]*)\")?", problem
        )
        if not found:
            return f"{self.source}: "
        return self.place(found[1], int(found[2]), found[3] or found[4] or "")


def _shown(value: Any) -> str:
    return toml_value(value) if isinstance(value, (str, bool, list)) else repr(value)


def _read_input(table: Any, lines: _Lines, problems: list[str]) -> InputConfig:
    if not isinstance(table, Mapping):
        problems.append(f"{lines.source}: input: must be a table, [input]")
        return InputConfig()
    names = [f.name for f in fields(InputConfig)]
    good: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            problems.append(
                f"{lines.place('input', 0, key)}input: no key {unknown_name(key, names)}"
            )
        elif wrong := wrong_input(key, value):
            place = lines.place("input", 0, key)
            problems.append(f"{place}input.{key}: {wrong}; got {_shown(value)}")
        else:
            good[key] = value
    config = InputConfig(**good)
    problems += [f"{lines.place('input')}{wrong}" for wrong in _wrong_together(config)]
    return config


def _wrong_together(config: InputConfig) -> list[str]:
    """What is wrong with keys of ``[input]`` beside each other."""
    if not is_packets(config):
        return [] if config.n_rows is None else [f"input.n_rows: only layout {PACKETS} needs it"]
    needed = {"n_skips": config.n_skips, "n_cols": config.n_cols, "n_rows": config.n_rows}
    return [
        f"input.{name}: layout {PACKETS} needs a number: packets do not say it"
        for name, value in needed.items()
        if not isinstance(value, int)
    ]


def _read_outputs(
    tables: Any,
    stages: Sequence[Mapping[str, Any]],
    measures: Sequence[MeasureConfig],
    is_charge: bool,
    lines: _Lines,
    problems: list[str],
) -> tuple[OutputConfig, ...]:
    if not isinstance(tables, list) or not all(isinstance(t, Mapping) for t in tables):
        problems.append(f"{lines.source}: output: must be tables, [[output]]")
        return ()
    names = [f.name for f in fields(OutputConfig)]
    kinds = [str(stage.get("kind")) for stage in stages if isinstance(stage, Mapping)]
    outputs = []
    for number, table in enumerate(tables):
        found = len(problems)

        def complain(key: str, wrong: str, n: int = number) -> None:
            problems.append(f"{lines.place('output', n, key)}output[{n}]{wrong}")

        for key, value in table.items():
            if key not in names:
                complain(key, f": no key {unknown_name(key, names)}")
            elif key == "planes":
                if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                    complain(key, f".planes: must be a list of names; got {_shown(value)}")
                elif len(set(value)) < len(value):
                    complain(key, f".planes: a name is there twice; got {_shown(value)}")
            elif not isinstance(value, str):
                complain(key, f".{key}: must be a string; got {_shown(value)}")
        after, path, name = table.get("after"), table.get("path"), table.get("table")
        if name is None and isinstance(path, str):
            name = next((word for word in _OF_MEASURES if word in Path(path).stem), None)
        for key in ("after", "path"):
            if key not in table and not (key == "after" and name in _OF_MEASURES):
                complain("", f': no key "{key}"')
        if isinstance(after, str) and after not in kinds:
            complain("after", f".after: no stage {unknown_name(after, kinds)}")
        if table.get("dtype", "float32") not in ("float32", "float64"):
            complain("dtype", f".dtype: {_shown(table['dtype'])} is not one of float32, float64")
        if isinstance(name, str) and name not in _TABLES:
            complain("table", f".table: {_shown(name)} is not one of {', '.join(_TABLES)}")
        if name == "measures" and not measures:
            complain("path", ": there is no [[measure]]")
        columns = table.get("columns", "skipstream")
        if isinstance(columns, str) and columns not in _COLUMNS:
            complain("columns", f".columns: {_shown(columns)} is not one of {', '.join(_COLUMNS)}")
        elif columns != "skipstream" and isinstance(columns, str):
            wrong = _columns_need(name, path, stages, is_charge)
            if wrong:
                complain("columns", f'.columns: "{columns}" {wrong}')
        if name == "patterns" and not any(m.kind == "find_patterns" for m in measures):
            complain("path", ': there is no [[measure]] of the kind "find_patterns"')
        if name in _OF_MEASURES and after is not None:
            complain("after", f".after: {name} are of the whole image; remove the key")
        if isinstance(path, str):
            ending = Path(path).suffix
            if name is None and (ending != ".fits" or "clusters" in Path(path).stem):
                name = "clusters"
            kind = "planes" if name is None else name if name == "measures" else "table"
            formats = _OUTPUT_FORMATS[kind]
            if ending not in formats:
                complain("path", f".path: must end in {', '.join(formats)}; got {_shown(path)}")
            if "{stem}" not in path:
                complain("path", f".path: must hold {{stem}}, the input's name; got {_shown(path)}")
            elif re.search(r"[{}]", path.replace("{stem}", "")):
                complain("path", f".path: only {{stem}} is replaced; got {_shown(path)}")
            elif Path(path).is_absolute() or ".." in Path(path).parts:
                complain("path", f".path: must stay in the output folder; got {_shown(path)}")
            elif not path.isprintable():
                complain("path", f".path: must not hold control characters; got {_shown(path)}")
            elif any(part.startswith(".") for part in Path(path).parts):
                complain("path", f".path: no part may begin with a dot; got {_shown(path)}")
            elif any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in Path(path).parts):
                complain("path", f".path: a name is longer than {_MAX_NAME_BYTES} bytes")
            of_clusters = name in ("clusters", "cluster_pixels")
            if of_clusters and isinstance(after, str) and after != "find_clusters":
                complain("after", f".after: {name} come from find_clusters; got {_shown(after)}")
        if len(problems) == found:
            outputs.append(OutputConfig(**{"after": "", **table, "table": name}))
    paths = [str(Path(output.path)) for output in outputs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            problems.append(
                f"{lines.place('output', number, 'path')}output[{number}].path: "
                f"{_shown(path)} is written by output[{paths.index(path)}] already"
            )
    return tuple(outputs)


def _columns_need(
    name: str | None, path: Any, stages: Sequence[Mapping[str, Any]], is_charge: bool
) -> str:
    """What is wrong with the names of another program for a table; empty: nothing."""
    file = Path(str(path))
    are_planes = name is None and file.suffix == ".fits" and "clusters" not in file.stem
    if name not in (None, "clusters") or are_planes:
        return "is for tables of clusters"
    stages = [stage for stage in stages if isinstance(stage, Mapping)]
    finder = next((stage for stage in stages if stage.get("kind") == "find_clusters"), None)
    if finder is None or finder.get("keep_pixels") is not True:
        return "needs the pixels of clusters; set keep_pixels = true of find_clusters"
    if not is_charge and not any(stage.get("kind") == "calibrate" for stage in stages):
        return "needs electrons; put the stage calibrate before find_clusters"
    return ""


def _default_outputs(
    stages: Sequence[Mapping[str, Any]], measures: Sequence[MeasureConfig]
) -> tuple[OutputConfig, ...]:
    kinds = [stage["kind"] for stage in stages]
    pixel = [kind for kind in kinds if kind not in sample_stages()]
    outputs = []
    if pixel:
        outputs.append(OutputConfig(after=pixel[-1], path="{stem}_planes.fits"))
    if "find_clusters" in kinds:
        outputs.append(
            OutputConfig(after="find_clusters", path="{stem}_clusters.fits", table="clusters")
        )
    if measures:
        outputs += [
            OutputConfig(after="", path=f"{{stem}}_measures{ending}", table="measures")
            for ending in (".csv", ".json")
        ]
    return tuple(outputs)


def _read_measures(
    tables: Any, stages: Sequence[Mapping[str, Any]], lines: _Lines, problems: list[str]
) -> tuple[MeasureConfig, ...]:
    if tables == []:
        return ()
    from .measuring import read_measures

    def complain(number: int, key: str, wrong: str) -> None:
        place = lines.place("measure", max(number, 0), key)
        problems.append(f"{place}measure[{number}]{wrong}" if number >= 0 else f"{place}{wrong}")

    return read_measures(tables, stages, complain)


def _read_alarms(tables: Any, lines: _Lines, problems: list[str]) -> tuple[dict[str, Any], ...]:
    if tables == []:
        return ()
    from .alarms import wrong_alarms

    wrong = wrong_alarms(tables)
    problems += [lines.place_of_problem(problem) + problem for problem in wrong]
    return () if wrong else tuple(dict(table) for table in tables)


def _check_dqm(table: Any, name: str, problems: list[str]) -> None:
    """Thresholds of `skipstream compare`, which has them in the config of the run."""
    from .monitoring import read_thresholds

    try:
        read_thresholds(table, f"{name}: dqm")
    except _core.ConfigError as error:
        problems.append(str(error))


def _override(tables: dict[str, Any], override: str, lines: _Lines, problems: list[str]) -> None:
    """Apply ``stage.key=value``; a value that is no TOML is a string."""
    place = f"--set {override}: "
    target, equals, text = override.partition("=")
    name, dot, key = target.strip().partition(".")
    if not equals or not dot or not key:
        problems.append(f"{place}must be stage.key=value, such as calibrate.gain=5.2")
        return
    try:
        value = _from_toml(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    if name == "input":
        tables.setdefault("input", {})[key] = value
        return
    stages = [s for s in tables.get("stage", []) if isinstance(s, dict)]
    matching = [stage for stage in stages if stage.get("kind") == name]
    if not matching:
        kinds = ["input", *(str(stage.get("kind")) for stage in stages)]
        problems.append(f"{place}no stage {unknown_name(name, kinds)}")
    for stage in matching:
        stage[key] = value


def _from_toml(text: str) -> dict[str, Any]:
    """Tables of a TOML text. Raises ValueError where it is none, RecursionError where too deep."""
    import tomllib  # not for a config that is a dict

    return tomllib.loads(text)


def read_text(path: Path, name: str) -> str:
    try:
        # Without O_NONBLOCK a FIFO would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _core.IoError(f"{name}: must be a regular file")
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        if isinstance(error, _core.Error):
            raise
        raise _core.IoError(f"{name}: cannot read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise _core.ConfigError(f"{name}: a config has at most {_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _core.ConfigError(f"{name}: not UTF-8 text at byte {error.start}") from None


def _check_values(value: Any, name: str, place: str = "", depth: int = 0) -> None:
    """Refuse what TOML can say but no parameter means."""
    if depth > _MAX_DEPTH:
        raise _core.ConfigError(f"{name}: {place[:80]}: nested too deeply")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_values(inner, name, f"{place}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            _check_values(inner, name, f"{place}[{number}]", depth + 1)
    elif isinstance(value, (datetime.date, datetime.time)):
        raise _core.ConfigError(f"{name}: {place}: no parameter is a date; got {value}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _core.ConfigError(f"{name}: {place}: must fit 64 bits; got {value:.3e}")


def _read_gains(path: Path) -> dict[str, float]:
    """Amplifier to gain (adu/electron), of a file that `skipstream calibrate` wrote."""
    try:
        tables = _from_toml(read_text(path, str(path)))
    except (ValueError, RecursionError) as error:
        raise _core.ConfigError(f"{path}: no calibration file: {error}") from None
    gains = tables.get("gain")
    if not isinstance(gains, dict) or not gains:
        raise _core.ConfigError(f"{path}: no calibration file: it has no table [gain]")
    for amplifier, gain in gains.items():
        if isinstance(gain, bool) or not isinstance(gain, (int, float)) or not 0 < gain < math.inf:
            raise _core.ConfigError(f"{path}: gain of {amplifier}: must be above 0; got {gain!r}")
    return {str(amplifier): float(gain) for amplifier, gain in gains.items()}


def _fill_gains(stages: Sequence[Any], folder: Path, problems: list[str]) -> None:
    """Put the gains of a calibration file, where one is named, into the stage ``calibrate``."""
    for number, stage in enumerate(stages):
        if not isinstance(stage, dict) or stage.get("kind") != "calibrate":
            continue
        gain = stage.get("gain")
        if isinstance(gain, str) and gain.endswith(".toml"):
            try:
                stage["gain"] = _read_gains(folder / gain)
            except _core.Error as error:
                problems.append(f"stage[{number}] calibrate.gain: {error}")


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Read and check a config.

    Parameters
    ----------
    source
        Path of a TOML file, TOML text (of more than one line), or the same as a mapping.
    overrides
        ``"stage.key=value"`` or ``"input.key=value"``; they win over the file.

    Raises
    ------
    ConfigError
        All mistakes, one per line, each with file, line, key and what would be right.
    IoError
        The file cannot be read.
    """
    name, text = "config", ""
    if isinstance(source, Mapping):
        tables: dict[str, Any] = {
            key: [dict(t) if isinstance(t, Mapping) else t for t in value]
            if isinstance(value, (list, tuple))
            else dict(value)
            if isinstance(value, Mapping)
            else value
            for key, value in source.items()
        }
    else:
        if isinstance(source, str) and "\n" in source:
            text = source
        else:
            name = str(source)
            text = read_text(Path(source), name)
        try:
            tables = _from_toml(text)
        except RecursionError:
            raise _core.ConfigError(f"{name}: nested too deeply") from None
        except ValueError as error:  # of a number too long to read, too
            raise _core.ConfigError(f"{name}: not TOML: {error}") from None
    lines = _Lines(name, text)
    problems: list[str] = []
    _check_values(tables, name)
    known = ["input", "stage", "alarm", "measure", "output", "dqm"]
    problems += [
        f"{lines.place(key)}no table {unknown_name(key, known)}"
        for key in tables
        if key not in known
    ]
    for override in overrides:
        _override(tables, override, lines, problems)
    input_config = _read_input(tables.get("input", {}), lines, problems)
    if input_config.mask is not None:
        input_config = replace(input_config, mask=str(Path(name).parent / input_config.mask))
    stages = tables.get("stage", [])
    if not isinstance(stages, list) or not stages:
        problems.append(f"{name}: no [[stage]]; the shortest config has one: compress_skips")
        stages = []
    foreign = _numpy_names(stages)
    n_before = len(problems)
    _fill_gains(stages, Path(name).parent, problems)
    if len(problems) == n_before:
        problems += [
            lines.place_of_problem(problem) + problem
            for problem in _core.check_stages(stages, foreign)
        ]
    measures = _read_measures(tables.get("measure", []), stages, lines, problems)
    alarms = _read_alarms(tables.get("alarm", []), lines, problems)
    if "dqm" in tables:
        _check_dqm(tables["dqm"], name, problems)
    outputs = _read_outputs(
        tables.get("output", []), stages, measures, input_config.unit == "electron", lines, problems
    )
    if problems:
        raise _core.ConfigError("\n".join(problems))
    filled = tuple(_core.fill_stages(stages, foreign))
    return Config(
        input_config, filled, outputs or _default_outputs(filled, measures), measures, name, alarms
    )


def _numpy_names(stages: Sequence[Any]) -> list[str]:
    from .pipeline import reducers_of

    return list(reducers_of([s for s in stages if isinstance(s, Mapping)]))


_USUAL = ("compress_skips", "subtract_pedestal", "calibrate", "find_clusters")
_INIT_VALUES = {("compress_skips", "statistics"): ["mean", "median", "std"]}


def init_config() -> str:
    """Write a commented config, made from what the stages say of themselves.

    Parameters at their default are comments, so a new default reaches old configs; the stages of
    the usual chain are active.
    """
    lines = ["# A skipstream config. Lines that begin with # show the defaults.", "", "[input]"]
    for f in fields(InputConfig):
        default = "" if f.default in (None, MISSING) else toml_value(f.default)
        if f.name == "keywords":
            default = "{}"
        lines.append(f"# {f.name} = {default}".rstrip().ljust(40) + f"  # {INPUT_DOCS[f.name]}")
    for stage in _core.schema():
        mark = "" if stage["name"] in _USUAL else "# "
        lines += ["", f"# {stage['doc']}", f"{mark}[[stage]]", f'{mark}kind = "{stage["name"]}"']
        for p in stage["parameters"]:
            value = _INIT_VALUES.get((stage["name"], p["name"]))
            begin = mark if value is not None else "# "
            shown = toml_value(p["default"] if value is None else value)
            notes = ", ".join(part for part in (p["unit"], bounds(p)) if part)
            lines.append(
                f"{begin}{p['name']} = {shown}".rstrip().ljust(40)
                + f"  # {p['doc']}"
                + (f" ({notes})" if notes else "")
            )
    alarm = _core.alarm_schema()
    lines += ["", f"# {alarm['doc']}", "# [[alarm]]", '# when = "noise > 8.0 for 5 rows"']
    lines += [f"# {p['name']} =".ljust(40) + f"  # {p['doc']}" for p in alarm["parameters"][1:]]
    lines += [
        "",
        "# Fits and noise from the same read; skipstream measures lists them.",
        "# [[measure]]",
        '# kind = "fit_dark_current"',
        '# after = "subtract_pedestal"',
        "",
        "# Without [[output]], the last planes and the clusters are written. The ending picks the",
        "# format: .fits for planes; .fits, .csv, .ecsv, .parquet or .root for tables.",
        "# [[output]]",
        '# after = "compress_skips"',
        '# path = "{stem}_compressed.fits"',
        '# planes = ["mean", "std"]',
        '# dtype = "float32"',
    ]
    return "\n".join(lines) + "\n"
