"""The stage classes, made from what the core says of its stages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from . import _core
from .reference import class_name

__all__ = ["STAGES", "Stage", "stage_classes"]


class Stage(Mapping[str, Any]):
    """One configured stage: a read-only mapping of its ``kind`` and the parameters given."""

    kind: str

    def __init__(self, **parameters: Any) -> None:
        given = {"kind": self.kind, **{k: v for k, v in parameters.items() if v is not None}}
        problems = _core.check_parameters(given)
        if problems:
            raise _core.ConfigError("\n".join(problems))
        self._table = given

    def __getitem__(self, key: str) -> Any:
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self._table.items() if k != "kind")
        return f"{type(self).__name__}({given})"


def _signature(parameters: list[dict[str, Any]]) -> inspect.Signature:
    return inspect.Signature(
        [
            inspect.Parameter(p["name"], inspect.Parameter.KEYWORD_ONLY, default=p["default"])
            for p in parameters
        ]
    )


def _docstring(schema: dict[str, Any]) -> str:
    lines = [schema["doc"], "", "Parameters", "----------"]
    for p in schema["parameters"]:
        kind = "{" + ", ".join(p["choices"]) + "}" if "choices" in p else p["type"]
        unit = f", {p['unit']}" if p["unit"] else ""
        default = "" if p["default"] is None else f", default {p['default']!r}"
        lines += [f"{p['name']} : {kind}{unit}{default}", f"    {p['doc']}"]
    lines += ["", "Raises", "------", "ConfigError", "    A parameter is unknown or out of bounds."]
    return "\n".join(lines)


def stage_classes() -> dict[str, type[Stage]]:
    """Make a class for every stage of the core: ``compress_skips`` gives ``CompressSkips``."""
    classes: dict[str, type[Stage]] = {}
    for schema in _core.schema():
        name = class_name(schema["name"])
        classes[name] = type(
            name,
            (Stage,),
            {
                "kind": schema["name"],
                "__doc__": _docstring(schema),
                "__signature__": _signature(schema["parameters"]),
                "__module__": "skipstream",
            },
        )
    return classes


STAGES = stage_classes()
globals().update(STAGES)
__all__ = ["Stage", *STAGES]
