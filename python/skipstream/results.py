"""Results of measures in files, with the data behind every number."""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .fitting import FitResult, Histogram, Series
from .image_quality import Quality
from .outputs import whole_file
from .patterns import Patterns
from .profiles import ChargeProfile
from .spectrum import Spectrum

__all__ = ["read_results", "write_results"]

_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (ChargeProfile, FitResult, Histogram, Patterns, Quality, Series, Spectrum)
}
_FORMAT = 1
_MOST_LETTERS = 64  # of a text in an array
_LONG = 1000  # values of an array that nobody reads one by one: it is packed


def _plain(value: Any) -> Any:
    """As JSON has it. Numbers that JSON does not know are texts of one key."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {"is": type(value).__name__, **inner}
    if isinstance(value, np.ndarray):
        if value.dtype.names:
            inner = {name: _plain(value[name]) for name in value.dtype.names}
            return {"is": "table", "columns": inner}
        if value.size >= _LONG and (packed := _packed(value)) is not None:
            return {"is": "packed", "dtype": value.dtype.str, "shape": value.shape, **packed}
        values = value.tolist()
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            values = _plain(values)  # a look at each number, which others need not
        return {"is": "array", "dtype": value.dtype.str, "values": values}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping):
        return {"is": "map", "names": [str(n) for n in value], "values": _plain([*value.values()])}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"is": "float", "text": repr(value)}
    return value


def _packed(value: NDArray[Any]) -> dict[str, str] | None:
    """Bytes of an array, of the smallest type that holds what is in it; None: of no such."""
    values = np.ascontiguousarray(value)
    if value.dtype.kind in "iu":
        small = np.result_type(*map(np.min_scalar_type, (value.min(), value.max())))
        values = values if small.kind == "f" else values.astype(small)
    elif value.dtype.kind == "U":
        letters = values.view(np.uint32)
        if value.dtype.isnative and letters.max() < 128:
            values = letters.astype(np.uint8).view(f"S{value.dtype.itemsize // 4}")
    elif value.dtype.kind not in "fb":
        return None
    text = binascii.b2a_base64(values.tobytes(), newline=False).decode()
    return {"stored": values.dtype.str, "base64": text}


def _dtype(text: Any, kinds: str = "biufU") -> np.dtype[Any]:
    """Of numbers or short texts; nothing else is in an array here."""
    dtype = np.dtype(text) if isinstance(text, str) else None
    if dtype is None or dtype.kind not in kinds:
        raise ValueError(f"no array has the type {text!r}")
    if not 0 < dtype.itemsize <= (8 if dtype.kind in "biuf" else 4 * _MOST_LETTERS):
        raise ValueError(f"no array has the type {text!r}")
    return dtype


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kind = value["is"]
    if kind == "float":
        return float(value["text"])
    if kind == "map":
        return dict(zip(value["names"], _restored(value["values"]), strict=True))
    if kind == "array":
        return np.array(_restored(value["values"]), dtype=_dtype(value["dtype"]))
    if kind == "packed":
        dtype, stored = _dtype(value["dtype"]), _dtype(value["stored"], "biufUS")
        if dtype.itemsize > 8 * stored.itemsize:
            raise ValueError(f"{stored.str} holds no {dtype.str}")
        shape = value["shape"]
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"no array has the shape {shape}")
        packed = binascii.a2b_base64(value["base64"], strict_mode=True)
        return np.frombuffer(packed, stored).astype(dtype).reshape(shape)
    if kind == "table":
        columns = {name: _restored(column) for name, column in value["columns"].items()}
        shapes = {column.shape for column in columns.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError("the columns of a table differ in length")
        rows = np.empty(shapes.pop(), [(n, c.dtype.str) for n, c in columns.items()])
        for name, column in columns.items():
            rows[name] = column
        return rows
    inner = {name: _restored(v) for name, v in value.items() if name != "is"}
    if kind == "FitResult":
        inner["notes"] = tuple(inner["notes"])
    return _KINDS[kind](**inner)


def write_results(path: Path, results: Sequence[tuple[str, str, Any]]) -> None:
    """Write results of measures as JSON; see `read_results`.

    Parameters
    ----------
    path
        Ends in .json. It is whole or absent.
    results
        Amplifier, name of the measure, result.
    """
    content = {
        "skipstream_results": _FORMAT,
        "results": [
            {"amplifier": amplifier, "measure": name, "result": _plain(result)}
            for amplifier, name, result in results
        ],
    }
    with whole_file(path) as temporary:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: str | Path) -> dict[str, dict[str, Any]]:
    """Results of the measures of a run, as they were, from a ``_measures.json`` of its outputs.

    Returns
    -------
    dict
        By amplifier, then by the name of the measure: `FitResult`, `Spectrum`, ...; all have
        ``.plot()``. A pair of amplifiers is ``first>second``.

    Raises
    ------
    IoError
        The file cannot be read.
    ConfigError
        It holds no results, or those of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _core.IoError(f"{path}: cannot read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _core.ConfigError(f"{path}: holds no results of measures: no JSON") from None
    found = content.get("skipstream_results") if isinstance(content, dict) else None
    if found != _FORMAT:
        raise _core.ConfigError(
            f"{path}: holds no results of measures: skipstream_results must be {_FORMAT}; "
            f"got {found!r}"
        )
    results: dict[str, dict[str, Any]] = {}
    try:
        for line in content["results"]:
            result = _restored(line["result"])
            if type(result) not in _KINDS.values():
                raise TypeError(f"a {type(result).__name__} is no result")
            results.setdefault(str(line["amplifier"]), {})[str(line["measure"])] = result
    except (
        AttributeError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise _core.ConfigError(f"{path}: holds results that are none: {error}") from None
    return results
