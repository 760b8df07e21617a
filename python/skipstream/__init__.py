"""Skipper-CCD images reduced in one streaming pass: raw samples to clusters, in bounded memory.

Loads NumPy and the compiled core only; what needs more is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._core import ConfigError, Error, FitsError, ImageInfo, IoError, PacketError, __version__
from .pipeline import (
    MaskBit,
    Pipeline,
    PipelineOutput,
    SlowStatisticWarning,
    compress_skips,
    find_clusters,
)
from .stages import *  # noqa: F403  (their names come from the core)
from .stages import __all__ as _stage_classes
from .tables import Table

if TYPE_CHECKING:
    from .alarms import Alarm
    from .background import add_background
    from .calibrating import AmplifierCalibration, calibrate, write_calibration
    from .charge import (
        dark_current_rate,
        fit_calibration,
        fit_dark_current,
        fit_dark_current_slices,
    )
    from .combine import combine_amplifiers
    from .config import Config, OutputConfig, init_config, load_config
    from .correlation import correlated_noise, subtract_correlated_noise
    from .exposure import ImageResult, LiveUpdate
    from .fitting import FitResult, Histogram
    from .gaussian import fit_gaussian
    from .image_quality import Quality, SampleCounts, quality, quality_of
    from .inputs import InputConfig
    from .layout import FileLayout, ImageLayout, read_layout
    from .looks import quick_look
    from .masking import DefectMap, crosstalk_masks, find_defects, read_mask, write_mask
    from .monitoring import Comparison, compare_runs
    from .panaskimg import import_panaskimg
    from .patterns import Patterns, correct_crosstalk, find_patterns, measure_crosstalk
    from .profiles import (
        ChargeProfile,
        charge_per_axis,
        correct_column_transient,
        fit_column_transient,
        measure_halo,
    )
    from .report import write_report
    from .results import read_results
    from .running import run
    from .selection import CutFlow, select_clusters
    from .serving import RowSender, serve
    from .simulate import Truth
    from .skips import charge_loss, noise_vs_skips
    from .spectrum import NoiseSpectrum, Spectrum, noise_spectrum
    from .transfer import measure_cti
    from .watching import watch

__all__ = [
    "Alarm",
    "AmplifierCalibration",
    "ChargeProfile",
    "Comparison",
    "Config",
    "ConfigError",
    "CutFlow",
    "DefectMap",
    "Error",
    "FileLayout",
    "FitResult",
    "FitsError",
    "Histogram",
    "ImageInfo",
    "ImageLayout",
    "ImageResult",
    "InputConfig",
    "IoError",
    "LiveUpdate",
    "MaskBit",
    "NoiseSpectrum",
    "OutputConfig",
    "PacketError",
    "Patterns",
    "Pipeline",
    "PipelineOutput",
    "Quality",
    "RowSender",
    "SampleCounts",
    "SlowStatisticWarning",
    "Spectrum",
    "Table",
    "Truth",
    "__version__",
    "add_background",
    "calibrate",
    "charge_loss",
    "charge_per_axis",
    "combine_amplifiers",
    "compare_runs",
    "compress_skips",
    "correct_column_transient",
    "correct_crosstalk",
    "correlated_noise",
    "crosstalk_masks",
    "dark_current_rate",
    "find_clusters",
    "find_defects",
    "find_patterns",
    "fit_calibration",
    "fit_column_transient",
    "fit_dark_current",
    "fit_dark_current_slices",
    "fit_gaussian",
    "import_panaskimg",
    "init_config",
    "load_config",
    "measure_crosstalk",
    "measure_cti",
    "measure_halo",
    "noise_spectrum",
    "noise_vs_skips",
    "quality",
    "quality_of",
    "quick_look",
    "read_layout",
    "read_mask",
    "read_results",
    "run",
    "select_clusters",
    "serve",
    "subtract_correlated_noise",
    "watch",
    "write_calibration",
    "write_mask",
    "write_report",
    *_stage_classes,
]

_LAZY = {
    "Alarm": "alarms",
    **dict.fromkeys(["AmplifierCalibration", "calibrate", "write_calibration"], "calibrating"),
    **dict.fromkeys(["Config", "OutputConfig", "init_config", "load_config"], "config"),
    "InputConfig": "inputs",
    **dict.fromkeys(["FileLayout", "ImageLayout", "read_layout"], "layout"),
    **dict.fromkeys(["ImageResult", "LiveUpdate"], "exposure"),
    "run": "running",
    **dict.fromkeys(
        ["dark_current_rate", "fit_calibration", "fit_dark_current", "fit_dark_current_slices"],
        "charge",
    ),
    **dict.fromkeys(
        ["Patterns", "correct_crosstalk", "find_patterns", "measure_crosstalk"], "patterns"
    ),
    **dict.fromkeys(["NoiseSpectrum", "Spectrum", "noise_spectrum"], "spectrum"),
    **dict.fromkeys(["Quality", "SampleCounts", "quality", "quality_of"], "image_quality"),
    **dict.fromkeys(["charge_loss", "noise_vs_skips"], "skips"),
    **dict.fromkeys(["FitResult", "Histogram"], "fitting"),
    **dict.fromkeys(
        ["DefectMap", "crosstalk_masks", "find_defects", "read_mask", "write_mask"], "masking"
    ),
    **dict.fromkeys(
        [
            "ChargeProfile",
            "charge_per_axis",
            "correct_column_transient",
            "fit_column_transient",
            "measure_halo",
        ],
        "profiles",
    ),
    **dict.fromkeys(["correlated_noise", "subtract_correlated_noise"], "correlation"),
    "fit_gaussian": "gaussian",
    **dict.fromkeys(["CutFlow", "select_clusters"], "selection"),
    "add_background": "background",
    "combine_amplifiers": "combine",
    **dict.fromkeys(["Comparison", "compare_runs"], "monitoring"),
    "quick_look": "looks",
    "read_results": "results",
    "write_report": "report",
    "import_panaskimg": "panaskimg",
    "measure_cti": "transfer",
    "watch": "watching",
    **dict.fromkeys(["RowSender", "serve"], "serving"),
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
