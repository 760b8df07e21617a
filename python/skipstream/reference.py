"""The reference of the stages, as text: for the command line, the documentation and type checkers.

``skipstream stages --markdown`` and ``... --stub`` print the two generated files.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from . import _core

__all__ = [
    "class_name",
    "parameter_line",
    "sample_stages",
    "stages_markdown",
    "stages_stub",
    "unknown_name",
]

_TYPES = {
    "bool": "bool",
    "int": "int",
    "float": "float",
    "str": "str",
    "quantity": "float | str | Mapping[str, float]",
    "ranges": "Sequence[int | Sequence[int]]",
    "list of str": "str | Sequence[str]",
}


@functools.cache
def sample_stages() -> frozenset[str]:
    """Stages that take samples, before the skips are reduced, and make no pixels."""
    return frozenset(stage["name"] for stage in _core.schema() if stage["takes_samples"])


def class_name(stage: str) -> str:
    """Python class of a stage: ``compress_skips`` gives ``CompressSkips``."""
    return "".join(word.capitalize() for word in stage.split("_"))


def bounds(parameter: dict[str, Any]) -> str:
    """Allowed values of a parameter, in words; empty when there is no bound."""
    if "choices" in parameter:
        return ", ".join(parameter["choices"])
    parts = []
    if "minimum" in parameter:
        sign = ">" if parameter["minimum_excluded"] else "≥"
        parts.append(f"{sign} {parameter['minimum']:g}")
    if "maximum" in parameter:
        parts.append(f"≤ {parameter['maximum']:g}")
    return ", ".join(parts)


def unknown_name(word: str, names: Sequence[str]) -> str:
    """A name that is none of `names`, with the nearest one or all of them, for messages."""
    nearest = _core.nearest_name(word, list(names))
    shown = toml_value(word)
    return (
        f'{shown}; did you mean "{nearest}"?' if nearest else f"{shown}; known: {', '.join(names)}"
    )


def toml_value(value: Any) -> str:
    """Write a default as TOML does."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(element) for element in value) + "]"
    return repr(value)


def parameter_line(parameter: dict[str, Any]) -> str:
    """One line on a parameter: type, unit, bounds."""
    parts = [parameter["type"], parameter["unit"], bounds(parameter)]
    return ", ".join(part for part in parts if part)


def stages_markdown() -> str:
    """The reference page of all stages."""
    lines = [
        "# Stages",
        "",
        "Made from the stages' own descriptions by `skipstream stages --markdown`.",
        "The order is the usual one; each stage is one `[[stage]]` table of the config, its name",
        "is the `kind`.",
    ]
    for stage in _core.schema():
        lines += ["", f"## {stage['name']}", "", stage["doc"]]
        if not stage["parameters"]:
            continue
        lines += ["", "| parameter | default | values | unit | meaning |", "|---|---|---|---|---|"]
        for p in stage["parameters"]:
            default = f"`{toml_value(p['default'])}`" if p["default"] is not None else ""
            values = bounds(p) or p["type"]
            doc = p["doc"].replace("|", "\\|")
            lines.append(f"| `{p['name']}` | {default} | {values} | {p['unit']} | {doc} |")
    return "\n".join(lines) + "\n"


def stages_stub() -> str:
    """The type stub of ``skipstream.stages``."""
    lines = [
        "# Made by: skipstream stages --stub",
        "from collections.abc import Iterator, Mapping, Sequence",
        "from typing import Any, Literal",
        "",
        "STAGES: dict[str, type[Stage]]",
        "__all__ = [",
        '    "Stage",',
        *(f'    "{class_name(stage["name"])}",' for stage in _core.schema()),
        "]",
        "",
        "class Stage(Mapping[str, Any]):",
        "    kind: str",
        "    def __init__(self, **parameters: Any) -> None: ...",
        "    def __getitem__(self, key: str) -> Any: ...",
        "    def __iter__(self) -> Iterator[str]: ...",
        "    def __len__(self) -> int: ...",
        "",
        "def stage_classes() -> dict[str, type[Stage]]: ...",
    ]
    for stage in _core.schema():
        lines += ["", f"class {class_name(stage['name'])}(Stage):"]
        if not stage["parameters"]:
            lines.append("    def __init__(self) -> None: ...")
            continue
        lines += ["    def __init__(", "        self,", "        *,"]
        for p in stage["parameters"]:
            if "choices" in p:
                kind = "Literal[" + ", ".join(f'"{choice}"' for choice in p["choices"]) + "]"
            else:
                kind = _TYPES[p["type"]]
            optional = " | None" if p["default"] is None else ""
            lines.append(f"        {p['name']}: {kind}{optional} = ...,")
        lines.append("    ) -> None: ...")
    return "\n".join(lines) + "\n"
