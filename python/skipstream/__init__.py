"""Skipper-CCD images reduced in one streaming pass: raw samples to clusters, in bounded memory.

Loads NumPy and the compiled core only; what needs more is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._core import ConfigError, Error, FitsError, ImageInfo, IoError, __version__
from .pipeline import (
    MaskBit,
    Pipeline,
    PipelineOutput,
    SlowStatisticWarning,
    compress_skips,
    find_clusters,
)
from .stages import (
    Calibrate,
    CompressSkips,
    CorrectLeach,
    CorrectPolarity,
    FindClusters,
    MaskColumns,
    MaskRows,
    SubtractPedestal,
)

if TYPE_CHECKING:
    from .config import Config, InputConfig, OutputConfig, init_config, load_config
    from .layout import FileLayout, ImageLayout, read_layout
    from .running import ImageResult, run
    from .simulate import Truth

__all__ = [
    "Calibrate",
    "CompressSkips",
    "Config",
    "ConfigError",
    "CorrectLeach",
    "CorrectPolarity",
    "Error",
    "FileLayout",
    "FindClusters",
    "FitsError",
    "ImageInfo",
    "ImageLayout",
    "ImageResult",
    "InputConfig",
    "IoError",
    "MaskBit",
    "MaskColumns",
    "MaskRows",
    "OutputConfig",
    "Pipeline",
    "PipelineOutput",
    "SlowStatisticWarning",
    "SubtractPedestal",
    "Truth",
    "__version__",
    "compress_skips",
    "find_clusters",
    "init_config",
    "load_config",
    "read_layout",
    "run",
]

_LAZY = {
    **dict.fromkeys(
        ["Config", "InputConfig", "OutputConfig", "init_config", "load_config"], "config"
    ),
    **dict.fromkeys(["FileLayout", "ImageLayout", "read_layout"], "layout"),
    **dict.fromkeys(["ImageResult", "run"], "running"),
    "Truth": "simulate",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
