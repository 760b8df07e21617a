"""The way over from panaSKImg (pysimdamicm): its JSON configuration becomes a config of ours."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import _core
from .config import load_config, read_text
from .inputs import KEYWORDS
from .layout import read_layout
from .reference import toml_value, unknown_name

__all__ = ["Imported", "Told", "import_panaskimg", "panaskimg_markdown"]

VERDICTS: Final = {
    "kept": "the same name and meaning",
    "renamed": "another name, unit or convention",
    "defaulted": "not in the file; what panaSKImg takes then is written down",
    "meaningless": "nothing to say here",
    "no counterpart": "panaSKImg does it, a run of skipstream does not",
    "unused": "the sequence does not name the process",
    "wrong": "panaSKImg ignores it or fails; the default is taken",
}


@dataclass(frozen=True)
class Told:
    """What became of one parameter.

    Attributes
    ----------
    place
        Such as ``"PedestalSubtractionProcess.method"``.
    value
        In the JSON; of a default, what panaSKImg takes; None of a table as a whole.
    verdict
        A key of `VERDICTS`.
    text
        The key of ours, and why.
    """

    place: str
    value: Any
    verdict: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.verdict}: {self.text}"

    @property
    def name(self) -> str:
        """The parameter with its value."""
        return self.place if self.value is None else f"{self.place} = {_shown(self.value)}"


@dataclass(frozen=True)
class Imported:
    """A translated configuration.

    Attributes
    ----------
    toml
        The text of the config, which `load_config` accepts.
    told
        What became of every parameter, in the order of the file; then the defaults.
    needs
        Optional parts of this package that a run of it needs, such as ``"fits"``.
    """

    toml: str
    told: tuple[Told, ...]
    needs: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[Told, ...]:
        """Names that panaSKImg does not know, and values that it cannot mean."""
        return tuple(told for told in self.told if told.verdict == "wrong")


@dataclass(frozen=True)
class _Rule:
    """What becomes of a parameter; `ours` is empty where there is none."""

    default: Any
    verdict: str
    ours: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        return ": ".join(part for part in (self.ours, self.note) if part)


def _to(default: Any, ours: str, note: str = "", *, same: bool = False) -> _Rule:
    return _Rule(default, "kept" if same else "renamed", ours, note)


def _moot(default: Any, note: str) -> _Rule:
    return _Rule(default, "meaningless", note=note)


def _none(default: Any, note: str) -> _Rule:
    return _Rule(default, "no counterpart", note=note)


_PLOT = "of its plots; results here have .plot(), and `skipstream report` draws all of a run"
_FREE = "the fits here need no first values and no limits"
_ROOT = "of ROOT's fits"
_ORDER = "stages follow one another; the image is the stage that stands before"
_SLICES = "the bands are of the whole image; begin_row, end_row of [input] choose a part"
_REGION = "one part for all stages: begin_row, end_row, begin_col, end_col of [input]"

_COMMON: Final[dict[str, _Rule]] = {
    "image": _moot("", _ORDER),
    "save_image": _moot(False, "without a file of its own here; [[output]] names what is written"),
    "id_skip_start": _none(None, "one range for all: [input] begin_skip"),
    "id_skip_end": _none(None, "one range for all: [input] end_skip"),
    **{f"id_{axis}_{end}": _none(None, _REGION)
       for axis in ("row", "col") for end in ("start", "end")},
    "save_plots": _moot(False, _PLOT),
    "format_figures": _moot(["pdf"], _PLOT),
    "display": _moot(False, _PLOT),
    "__display__": _moot(False, _PLOT),
    "__verbose__": _moot(False, "messages are the same for all"),
    "__DEBUG__": _moot(False, "of its own debugging"),
}  # fmt: skip

_DARK: Final[dict[str, _Rule]] = {
    "n_peaks": _to(5, "fit_dark_current.n_peaks", same=True),
    "calibration": _to(10.0, "fit_dark_current.gain", "held without do_calibration, else unneeded"),
    "do_calibration": _to(True, "fit_dark_current.gain", "true: no gain is given, it is fitted"),
    "binning_size": _to(0.5, "fit_dark_current.bin_width", "none where it is not above 0"),
    "in_overscan": _to(False, "fit_dark_current.region", "overscan or active"),
    "mask_clusters": _none(False, "pixels beyond the last peak are left out of the fit anyway"),
    "rows_to_mask": _none([], "stage mask_rows, or [input] mask, which differs by amplifier"),
    "cols_to_mask": _none([], "stage mask_columns, or [input] mask, which differs by amplifier"),
    "add_linear_DQ": _none(False, "no linear part of the charge"),
    "CRx": _none(0.0, "no linear part of the charge"),
    "CR0": _none(0.0, "no linear part of the charge"),
    "apply_mask_from_fits": _none(False, "[input] mask takes a mask of skipstream defects"),
    "data_as_csv": _moot(False, "measures are tables: {stem}_measures.csv"),
    **{f"{name}_{end}": _moot(None, _FREE)
       for name in ("mu", "sigma", "gain", "dc") for end in ("min", "max")},
    "x_min": _moot(-10, "the range comes from the pixels"),
    "x_max": _moot(50, "the range comes from the pixels"),
    "fit_options": _moot("QR S L EM", _ROOT),
    "ratio_plot": _moot(False, _PLOT),
    **{name: _moot(None, "of older versions: " + _FREE)
       for name in ("method", "n_sigma_fit", "mu_gauss", "sigma_gauss", "lambda_poisson",
                    "save_as", "dc_axis")},
}  # fmt: skip


def _slices(axis: str, step: str) -> dict[str, _Rule]:
    rules = {name: _moot(rule.default, _FREE) if rule.verdict == "renamed" else rule
             for name, rule in _DARK.items()}  # fmt: skip
    return rules | {
        "n_peaks": _moot(2, _FREE),
        f"{axis}_start": _none(0, _SLICES),
        f"{axis}_end": _none(-1, _SLICES),
        step: _to(10, "fit_dark_current_slices.step"),
        "binning": _moot(-1, _FREE),
        "q_threshold": _moot(None, _FREE),
        "degree_pol": _moot(1, "a straight line is fitted to the bands"),
    }


#: Section of the JSON to its parameters. Sections of processes begin with a capital.
RULES: Final[dict[str, dict[str, _Rule]]] = {
    "image": {
        "extensions": _to(0, "input.amplifiers", "numbers of HDUs"),
        "ext_header": _moot(0, "keywords are looked for in the HDU, then in the primary one"),
        "ACM_multi_extension": _moot(False, "skipstream layouts: acm is known by its header"),
        "skip_image": _to(True, "input.n_skips", "false: 1, an image that is averaged already"),
        "axis_to_compress": _none(1, "only 1: samples lie along the rows of a file"),
        "correct_leach_bug": _to(False, "stage correct_leach"),
        "correct_polarity": _to(False, "stage correct_polarity",
                                'method "max", as there, waits for the whole image; '
                                '"negate" gives the same behind a pedestal, and streams'),
        "row_binning": _none(0, "rows are not summed"),
        "id_skip_start": _to(10, "input.begin_skip"),
        "id_skip_end": _to(-10, "input.end_skip", "any negative number there means to the last"),
        "id_row_start": _to(0, "input.begin_row", "rows of results count from it"),
        "id_row_end": _to(-1, "input.end_row", "any negative number there means to the last"),
        "id_col_start": _to(0, "input.begin_col", "columns of results count from it"),
        "id_col_end": _to(-1, "input.end_col", "any negative number there means to the last"),
        "n_rows_prescan": _to(1, "input.prescan_rows"),
        "n_rows_overscan": _to(0, "input.overscan_rows"),
        "n_cols_prescan": _to(8, "input.prescan_cols", "pixels as read: divided by the binning"),
        "n_cols_overscan": _to(None, "input.overscan_cols", "of older versions"),
        "ccd_cols": _to(6144, "input.physical_cols",
                        "columns of the CCD, without the prescan: behind them is overscan"),
        "ccd_rows": _moot(4128, "not used there, nor here"),
        "n_amp": _moot(2, "AMPL of the header says whether two amplifiers share a frame"),
        "amp_name": _moot("", "amplifiers are named by the file: skipstream info"),
        "save_images": _to(True, "[[output]]", "the last planes, with the mask"),
        "save_image": _to(True, "[[output]]", "the last planes, with the mask"),
        "bz2": _none(False, "outputs are not packed"),
        "active_region_rows": _none(None, "of older versions: prescan_rows, overscan_rows"),
        "active_region_cols": _none(None, "of older versions: prescan_cols, overscan_cols"),
    },
    "datetime": {
        "exposure_start": _moot("EXPSTART", "all cards of the acquisition are carried over"),
        "readout_start": _moot("RDSTRT", "columns of WADERS take DATEINI, RDSTRT, DATESTART or "
                               "DATE-OBS, whichever is there"),
        "readout_end": _moot("RDEND", "all cards of the acquisition are carried over"),
    },
    "convention": {
        "Nskips": _to("NDCMS", "input.keywords.n_skips"),
        "Ncols": _to("NAXIS1", "input.keywords.n_cols", "none for NAXIS1, which is always read"),
        "Nrows": _to("NAXIS2", "input.keywords.n_rows", "none for NAXIS2, which is always read"),
        "Npbin": _to("NPBIN", "input.keywords.parallel_binning"),
        "Nsbin": _to("NSBIN", "input.keywords.serial_binning"),
        "ampl": _to("AMPL", "input.keywords.amplifiers"),
        "ampdir": _moot("VCKDIRN", "all cards of the acquisition are carried over"),
        "itgtime": _moot("ITGTIME", "all cards of the acquisition are carried over"),
        "exposure_time": _to("MEXP", "fit_dark_current.exposure_s",
                             "a keyword of seconds; MEXP has milliseconds, so write the number"),
        "read_time": _to("MREAD", "fit_dark_current.read_s, noise_spectrum.read_s",
                         "a keyword of seconds; MREAD has milliseconds, so write the number"),
    },
    "CompressSkipperProcess": {
        "func_to_compress": _to(["mean", "std"], "compress_skips.statistics",
                                "the first flows on; NumPy's other reducers work, slowly"),
        "id_skip_start": _to(None, "compress_skips.begin_skip"),
        "id_skip_end": _to(None, "compress_skips.end_skip"),
        "save_image": _to(False, "[[output]] after compress_skips"),
        "saturation": _moot(True, "pixels at the limit of the converter are always flagged"),
        "xtalk": _none(False, "crosstalk_masks in Python"),
        "n_sig_xtalk": _none(5, "crosstalk_masks in Python"),
        "histequ": _moot(False, _PLOT),
        "create_ttree": _none(False, "planes are FITS; tables can be ROOT"),
    },
    "CrossTalkProcess": {
        "n_sig": _none(5, "crosstalk_masks in Python"),
        "percentile": _none([5, 95], "crosstalk_masks in Python"),
        "std_pattern": _none([], "crosstalk_masks in Python takes both planes"),
    },
    "AddBKGComponent": {
        name: _none(None, "add_background in Python, for closure tests")
        for name in ("value", "Ncls", "Emin", "Emax")
    },
    "PedestalSubtractionProcess": {
        "image": _to("mean_compressed", "compress_skips.statistics", "this one comes first"),
        "method": _to("gauss_fit", "subtract_pedestal.method", "gauss_fit is gaussian_fit here"),
        "in_overscan": _to(True, "subtract_pedestal.region",
                           "true: auto, the overscan from 3 columns on, as there; false: active"),
        "axis": _to("row", "subtract_pedestal.axis",
                    "col is column here; none or any other word: rebin_rows for the whole image"),
        "n_sigma_win_fit": _to(10, "subtract_pedestal.fit_window", "of gauss_fit alone"),
        "n_sigma_to_mask": _to(-1, "subtract_pedestal.n_sigma_to_mask",
                               "divided by 1.4826, as there in plain MAD; around the median of the "
                               "row, there of the image"),
        "cut_left_tail": _to(True, "subtract_pedestal.mask_left"),
        "cut_right_tail": _to(True, "subtract_pedestal.mask_right"),
        "skip_cols": _to([], "subtract_pedestal.skip_columns"),
        "skip_rows": _to([], "subtract_pedestal.skip_rows", same=True),
        "rebin_rows": _to(1, "subtract_pedestal.rebin_rows", same=True),
        "is_highDC": _to(False, "subtract_pedestal.method", 'true: "lowest_peak"'),
        "highT": _to(False, "subtract_pedestal.method", 'true: "lowest_peak"'),
        "is_highT": _to(False, "subtract_pedestal.method", 'true of any amplifier: "lowest_peak"'),
        "in_rawskipimage": _to(False, "stage subtract_baseline", "sample by sample, in overscan"),
        "save_image": _to(False, "[[output]] after subtract_pedestal"),
        "use_mad": _moot(True, "the width of a row is 1.4826 MAD"),
        "hist_nbins_method": _moot("default", "bins come from the width of the pixels"),
        "hist_nbins": _moot(None, "bins come from the width of the pixels"),
        "save_pcd": _moot(False, _PLOT),
        "show_fit": _moot(False, _PLOT),
        "histequ": _moot(False, _PLOT),
        "DEBUG_ROWS": _moot([], "of its own debugging"),
    },
    "GaussianNoiseProcess": {
        "sigma": _none(0.2758, "no noise is added; skipstream simulate makes images with noise"),
    },
    "GaussianFitProcess": {
        "image": _to("mean_compressed", "fit_gaussian.after"),
        "in_overscan": _to(True, "fit_gaussian.region", "overscan or active"),
        "n_sigma_win_fit": _to(2, "fit_gaussian.n_sigma"),
        "in_trim_mean": _moot(True, "the window comes from the median and the MAD"),
        "n_sigma": _moot(3, "the window comes from the median and the MAD"),
        "hist_nbins_method": _moot("freedman", "a fifth of sigma, by the integral over each bin"),
        "skip_cols": _none([], "stage mask_columns, before"),
        "skip_rows": _none([], "stage mask_rows, before"),
        "show_outliers": _moot(False, _PLOT),
    },
    "CalibrationProcess": {
        "gain": _to(5.3, "calibrate.gain", "of every amplifier alike, or of each", same=True),
        "from_dc_fit": _to(False, "calibrate.gain", 'true: "fit", from single electrons'),
        "create_ttree": _none(False, "planes are FITS; tables can be ROOT"),
    },
    "TwoDGaussProcess": {
        "do_fit": _to(True, "measure correlated_noise"),
        "do_decorrelation": _none(True, "subtract_correlated_noise in Python"),
        "do_calibration": _none(True, 'calibrate.gain = "fit", each amplifier by itself'),
        **{name: _moot(None, _FREE) for name in (
            "q_min_ADU", "q_max_ADU", "bin_size", "col_start", "row_start", "theta", "theta_range",
            "dc_L", "dc_L_range", "dc_U", "dc_U_range", "cal_L", "cal_L_range", "cal_U",
            "cal_U_range", "sig_L", "sig_L_range", "sig_U", "sig_U_range", "xoff", "xoff_range",
            "yoff", "yoff_range", "NpX", "NpY")},
        "fit_opt": _moot("Q R LEM", _ROOT),
        "mask_clusters": _moot(True, "pixels with charge are left out"),
    },
    "CorrectElectronicColumnTransient": {
        "col_start": _moot(1, "from the first active column on"),
        "col_end": _moot(50, "to where it has settled"),
        "n_exp": _moot(1, "one exponential"),
        "mu": _moot([0.12], _FREE),
        "amplitude": _moot([0.013], _FREE),
        "fit_options": _moot("QSMER", _ROOT),
        "subtract_median": _moot(True, "always"),
        "correct_image": _none(True, "the run measures it; correct_column_transient in Python"),
    },
    "FitDarkCurrentProcess": _DARK | {"image": _to("", "fit_dark_current.after")},
    "FitDarkCurrentPerRow": _slices("row", "row_step")
    | {"image": _to("", "fit_dark_current_slices.after")},
    "FitDarkCurrentPerCol": _slices("col", "col_step")
    | {"image": _to("", "fit_dark_current_slices.after")},
    "ChargeLossPlot": {
        "skip_id_list": _to([0, 1, 2], "charge_loss.sample", "a measure for each"),
        "skip_id_baseline": _to(-1, "charge_loss.reference"),
        "pcd_nbins": _moot(-1, _PLOT),
        "pcd_charge_range": _moot([-100, 100], _PLOT),
        "histequ": _moot(False, _PLOT),
        "gray_palette": _moot(False, _PLOT),
    },
    "ChargeLossSkewnessProcess": {
        "id_skip_start": _to(0, "charge_loss.sample", "one measure; more of them make the series"),
        "id_skip_reference": _to(1, "charge_loss.reference"),
        "kcl_threshold": _to(3.2, "charge_loss.n_sigma"),
        "use_overscan": _to(False, "charge_loss.region", "overscan or active"),
        "id_skip_end": _none(-1, "one pair of samples; repeat the [[measure]]"),
        "skip_step": _none(50, "one pair of samples; repeat the [[measure]]"),
        "kcl_n_sig": _moot(8, "of the skewness, which is not needed for the numbers of pixels"),
    },
    "FFTNoisePlot": {},
    "RNvsNskipsPlot": {
        "n_skips_per_block": _to(-100, "noise_vs_skips.n_points",
                                 "negative: so many, evenly in the logarithm; positive: 30"),
        "is_blank": _to(False, "noise_vs_skips.region, noise_vs_skips.robust",
                        "true: all pixels by their standard deviation"),
        "include_row_dependency": _none(False, "of older versions"),
    },
    "FitCalibrationConstant": {
        "image": _to("", "fit_calibration.after"),
        "n_peaks": _to(100, "fit_calibration.n_peaks", same=True),
        "calibration": _to(None, "fit_calibration.gain", "a first guess; by amplifier: none"),
        "n_sigma_win_fit": _moot(3, "windows come from the noise"),
        "pcd_bin_width": _moot(0.05, "peaks are fitted without bins of a given width"),
        "use_pcd": _moot(False, "peaks are fitted without bins of a given width"),
    },
    "ClusterFinder": {
        "spr_threshold": _to(None, "find_clusters.noise, .threshold, .seed",
                             "[sigma, n_min, n_seed], for each amplifier or alike; sigma null: "
                             '"measured"'),
        "method": _to(1, "find_clusters.connectivity or .link_distance",
                      "0: 8 neighbours; 1: linked up to sqrt(2) max_nearest_neighbor"),
        "max_nearest_neighbor": _to(2, "find_clusters.link_distance", "times sqrt(2); of method 1"),
        "only_cls_seed": _to(False, "find_clusters.require_seed"),
        "skip_rows": _to([], "stage mask_rows", "before find_clusters"),
        "skip_cols": _to([], "stage mask_columns", "before find_clusters"),
        "get_fitted_STD": _moot(True, "columns of WADERS have fPosX, fSTD_X, ..."),
        "spr_image": _moot("", _ORDER),
        "spr_mask": _moot(False, "of older versions"),
        "spr_sigma_mean": _moot(True, "the mean over rows is taken"),
        "ismoskita": _moot(False, "layouts are known by their headers"),
        **{name: _moot(None, "images of any number of rows are taken whole, in bounded memory")
           for name in ("split_image_in_rows", "min_length", "consecutive_ones",
                        "qmax_to_split_in_rows", "hot_cols_tosplit")},
        "halo_radius": _none(None, "of older versions: measure_halo"),
        "halo_radius_min": _none(None, "of older versions: measure_halo"),
    },
    "BuildClusterMask": {
        "cluster_E_min": _to(0, "mask_halo.threshold",
                             "electrons of a pixel, there of a cluster; 0: cluster_box_E_min"),
        "cluster_box_E_min": _to(100, "mask_halo.threshold", "where cluster_E_min is 0"),
        "N_col_pre": _to(5, "mask_halo.radius", "the largest of the four, on all sides"),
        "N_col_post": _to(5, "mask_halo.radius", "mask_bleeding flags what is read after alone"),
        "N_row_pre": _to(5, "mask_halo.radius", "the largest of the four, on all sides"),
        "N_row_post": _to(5, "mask_halo.radius", "mask_bleeding flags what is read after alone"),
        "circular_mask": _to(False, "mask_halo.shape", "circle or box"),
        "radius": _to(None, "mask_halo.radius", "with circular_mask"),
        "hot_cols": _to([], "stage mask_columns", "behind find_clusters"),
        "hot_rows": _to([], "stage mask_rows", "behind find_clusters"),
        "cluster_size_min": _none(2, "pixels have halos, whatever their cluster"),
        "cluster_DX_min": _none(1, "pixels have halos, whatever their cluster"),
        "cluster_DY_min": _none(1, "pixels have halos, whatever their cluster"),
        "mask_cluster_column": _none(False, "mask_bleeding flags what is read after"),
        "mask_cluster_row": _none(False, "mask_bleeding flags what is read after"),
        "mask_below_threshold": _none(False, "select pixels by their values in Python"),
        "add_cluster_id": _none(False, "find_clusters.label_image adds the plane label"),
        "qmax_threshold": _none(0.5, "find_clusters.label_image adds the plane label"),
    },
    "ApplySelectionCuts": {
        "cols": _none([], "select_clusters in Python, or a stage mask_columns"),
        "rows": _none([], "select_clusters in Python, or a stage mask_rows"),
    },
    "EvalCTI": {
        name: _none(None, "measure_cti, with bounds of the charge of bright pixels")
        for name in ("Qrange_e", "VCTI", "HCTI")
    },
    "EvalHalo": {
        name: _none(None, "measure_halo, with the charge of bright pixels")
        for name in ("Qrange_e", "radius")
    },
    "MeanPixelChargePerAxis": {
        "axis": _to("row", "charge_per_axis.axis"),
        "charge_cut": _to(100, "charge_per_axis.max_charge"),
    },
    "SignalPatternRecognition": {
        name: _moot(None, "of older versions, and ignored by newer ones")
        for name in ("method", "isdata", "threshold", "units")
    },
    "MaskImageProcess": {},
}  # fmt: skip

INPUTS: Final = ("image", "datetime", "scp", "convention")
PROCESSES: Final = tuple(name for name in RULES if name[0].isupper())

#: What panaSKImg does without a JSON: the numbers of the file that it brings along.
USUAL: Final[dict[str, Any]] = {
    "input": {"image": {}, "convention": {}},
    "process": {
        "sequence": "CompressSkipperProcess;PedestalSubtractionProcess;CalibrationProcess;"
        "ClusterFinder;BuildClusterMask",
        "PedestalSubtractionProcess": {"method": "mean", "n_sigma_to_mask": 5},
        "CalibrationProcess": {"gain": {"L": 10.0, "U": 10.7}},
        "ClusterFinder": {"spr_threshold": {"L": [0.19, 3, 4], "U": [0.21, 3, 4]}, "method": 0},
        "BuildClusterMask": {"cluster_size_min": 4, "cluster_E_min": 550, "N_col_pre": 2,
                             "N_col_post": 20, "N_row_pre": 2, "N_row_post": 50},
    },
}  # fmt: skip

_METHODS: Final = {
    "mean": "mean", "median": "median", "gauss_fit": "gaussian_fit", "gaussian_fit": "gaussian_fit",
    "gaus_fit": "gaussian_fit",
}  # fmt: skip
_WHOLE_IMAGE = 1_000_000  # rows of one pedestal: more than an image has
_MAD = 1.4826  # of a standard deviation
_LARGEST = 2.0**53  # of whole numbers that a float can be


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    return toml_value(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _rules_of(section: str) -> dict[str, _Rule]:
    own = RULES[section]
    return {**_COMMON, **own} if section[0].isupper() else own


class _Translation:
    """Reads the JSON once, and writes the tables of the config."""

    def __init__(
        self, tables: Mapping[str, Any], serial_binning: int, names: Mapping[str, str]
    ) -> None:
        self.told: dict[str, Told] = {}
        self.defaults: dict[str, Told] = {}
        self.sections: dict[str, Mapping[str, Any]] = {}
        self.serial_binning = serial_binning
        self.names = names
        self.sequence = self._read(tables)
        self.input: dict[str, Any] = {}
        self.stages: list[dict[str, Any]] = []
        self.measures: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.needs: list[str] = []

    # What there is.

    def _wrong(self, place: str, value: Any, text: str) -> None:
        self.told[place] = Told(place, value, "wrong", text)

    def _table(self, tables: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
        value = tables.get(key, {})
        if isinstance(value, Mapping):
            for name in getattr(value, "twice", ()):
                at = f"{place.removeprefix('input.')}.{name}"
                text = "stands twice in its table; the last one is taken, as there"
                self.told[f"{at} twice"] = Told(at, None, "wrong", text)
            return value
        self._wrong(place, value, "must be a table, {...}")
        return {}

    def _read(self, tables: Mapping[str, Any]) -> list[str]:
        for key in tables:
            if key not in ("input", "process"):
                self._wrong(key, None, f"no table {unknown_name(key, ['input', 'process'])}")
        given = self._table(tables, "input", "input")
        for key in given:
            if key not in INPUTS:
                self._wrong(f"input.{key}", given[key], f"no table {unknown_name(key, INPUTS)}")
        for section in INPUTS:
            self._read_section(section, self._table(given, section, f"input.{section}"))
        processes = self._table(tables, "process", "process")
        sequence = self._read_sequence(processes.get("sequence", ""))
        for key in processes:
            if key == "sequence":
                continue
            if key not in PROCESSES:
                self._wrong(key, None, f"no process {unknown_name(key, PROCESSES)}")
                continue
            used = key in sequence
            self._read_section(key, self._table(processes, key, key), used=used)
            if not used:
                self.told[key] = Told(key, None, "unused", "the sequence does not name it")
        return sequence

    def _read_sequence(self, value: Any) -> list[str]:
        if not isinstance(value, str):
            self._wrong("process.sequence", value, 'must be names with ";" between them')
            return []
        names = [name.strip() for name in value.replace(",", ";").split(";") if name.strip()]
        for name in names:
            if name not in PROCESSES:
                self._wrong("process.sequence", name, f"no process {unknown_name(name, PROCESSES)}")
        return [name for name in names if name in PROCESSES]

    def _read_section(self, section: str, given: Mapping[str, Any], *, used: bool = True) -> None:
        if section == "scp":
            for key, value in given.items():
                self.told[f"scp.{key}"] = Told(
                    f"scp.{key}", value, "meaningless", "all cards are carried over"
                )
            return
        self.sections[section] = given
        rules = _rules_of(section)
        for key, value in given.items():
            place = f"{section}.{key}"
            if key not in rules:
                self._wrong(place, value, f"no parameter {unknown_name(key, list(rules))}")
            elif used:
                self.told[place] = Told(place, value, rules[key].verdict, rules[key].text)

    def value(self, section: str, key: str, *, write: bool = True) -> Any:
        """What the JSON says, else the default; `write`: the config says it, too."""
        rule = _rules_of(section)[key]
        given = self.sections.get(section, {})
        if key in given and self.told[f"{section}.{key}"].verdict != "wrong":
            return given[key]
        if write and key not in given and rule.default is not None:
            place = f"{section}.{key}"
            self.defaults[place] = Told(place, rule.default, "defaulted", rule.text)
        return rule.default

    def tell(self, section: str, key: str, verdict: str, text: str) -> None:
        """Say what became of a parameter that is in the JSON."""
        place = f"{section}.{key}"
        if place in self.told:
            self.told[place] = Told(place, self.told[place].value, verdict, text)

    def number(self, section: str, key: str, *, write: bool = True) -> Any:
        """A number, or None; anything else is wrong, and the default is taken."""
        value = self.value(section, key, write=write)
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        default = _rules_of(section)[key].default
        if (value is None and default is None) or (good and abs(value) < _LARGEST):
            return value
        self._wrong(f"{section}.{key}", value, "must be a number")
        return default

    def whole(self, section: str, key: str, *, write: bool = True) -> Any:
        """A whole number, or None; else as `number`."""
        value = self.number(section, key, write=write)
        if value is None or value == int(value):
            return None if value is None else int(value)
        self._wrong(f"{section}.{key}", value, "must be a whole number")
        return _rules_of(section)[key].default

    def flag(self, section: str, key: str, *, write: bool = True) -> bool:
        """Whether; else as `number`."""
        value = self.value(section, key, write=write)
        if isinstance(value, bool) or value in (0, 1):
            return bool(value)
        self._wrong(f"{section}.{key}", value, "must be true or false")
        return bool(_rules_of(section)[key].default)

    def _by_amplifier(self, value: Any) -> Any:
        """A number alike, or of each amplifier by its name here."""
        if isinstance(value, Mapping):
            value = {self.names.get(str(name), str(name)): n for name, n in value.items()}
        return _alike(value)

    def lines(self, section: str, key: str) -> list[Any]:
        """Numbers of lines, each alone or as [first, last]; else as `number`."""
        value = self.value(section, key, write=False)
        if isinstance(value, list) and all(
            isinstance(v, int) or (isinstance(v, list) and len(v) == 2
                                   and all(isinstance(x, int) for x in v))
            for v in value
        ):  # fmt: skip
            return value
        self._wrong(f"{section}.{key}", value, "must be a list of numbers and [first, last]")
        return []

    # What becomes of it.

    def translate(self) -> None:
        self._input()
        known = [name for name in self.sequence if name in _STAGES]
        if "CompressSkipperProcess" not in known:
            self._compress(stated=False)
        for name in _STAGES:
            if name in known:
                getattr(self, _STAGES[name])()
        asked = [name for name in self.sequence if name in ("AddBKGComponent", "CrossTalkProcess",
                 "GaussianNoiseProcess", "ApplySelectionCuts", "EvalCTI", "EvalHalo")]  # fmt: skip
        for name in asked:
            note = next(iter(RULES[name].values())).text
            self.told[name] = Told(name, None, "no counterpart", note)
        for name in self.sequence:
            if name in _MEASURES:
                getattr(self, _MEASURES[name])()
        self._outputs()

    def _input(self) -> None:
        put = self.input
        extensions = self.value("image", "extensions")
        extensions = extensions if isinstance(extensions, list) else [extensions]
        if not extensions or not all(type(e) is int and 0 <= e < _LARGEST for e in extensions):
            self._wrong("image.extensions", extensions, "must be the numbers of HDUs")
            extensions = [0]
        put["amplifiers"] = extensions
        if not self.flag("image", "skip_image", write=False):
            put["n_skips"] = 1
        if self.value("image", "axis_to_compress", write=False) == 1:
            self.tell("image", "axis_to_compress", "meaningless", "the way of every layout")
        if not self.value("image", "row_binning", write=False):
            self.tell("image", "row_binning", "meaningless", "0: nothing is asked for")
        for axis, name in (("skip", "skip"), ("row", "row"), ("col", "col")):
            begin = self.whole("image", f"id_{axis}_start")
            end = self.whole("image", f"id_{axis}_end", write=False)
            if begin:
                put[f"begin_{name}"] = begin
            if end is not None and end >= 0:
                put[f"end_{name}"] = end
        for theirs, ours in (("n_rows_prescan", "prescan_rows"), ("n_rows_overscan",
                             "overscan_rows")):  # fmt: skip
            put[ours] = self.whole("image", theirs)
        prescan = self.whole("image", "n_cols_prescan")
        binning = self.serial_binning
        # A bin wider than the prescan takes columns of the CCD along.
        put["prescan_cols"] = 1 if 0 < prescan < binning else prescan // binning
        if (overscan := self.whole("image", "n_cols_overscan", write=False)) is not None:
            put["overscan_cols"] = overscan
        elif (physical := self.whole("image", "ccd_cols")) is not None:
            of_one = self.whole("image", "n_amp", write=False) == 1
            put["physical_cols"] = max(1, physical - prescan if of_one else physical)
        self._keywords()
        if self.flag("image", "correct_leach_bug", write=False):
            self.stages.append({"kind": "correct_leach"})
        if self.flag("image", "correct_polarity", write=False):
            self.stages.append({"kind": "correct_polarity", "method": "max"})

    def _keywords(self) -> None:
        roles = {"Nskips": "n_skips", "Ncols": "n_cols", "Nrows": "n_rows",
                 "Npbin": "parallel_binning", "Nsbin": "serial_binning",
                 "ampl": "amplifiers"}  # fmt: skip
        keywords = {}
        for key, role in roles.items():
            word = self.value("convention", key, write=False)
            if not isinstance(word, str):
                self._wrong(f"convention.{key}", word, "must be a header keyword")
            elif word.startswith("NAXIS"):
                self.tell("convention", key, "meaningless", f"{word} is always read")
            elif word in KEYWORDS[role]:
                self.tell("convention", key, "kept", f"{word} is one of those that are known")
            else:
                keywords[role] = word
        if keywords:
            self.input["keywords"] = keywords

    def _seconds(self, key: str) -> str | None:
        """A header keyword of seconds; MEXP and MREAD have milliseconds."""
        if key not in self.sections.get("convention", {}):
            return None
        word = self.value("convention", key)
        if isinstance(word, str) and not word.startswith("M"):
            return word
        self.tell("convention", key, "no counterpart",
                  f"{word} has milliseconds; write the seconds into the [[measure]]")  # fmt: skip
        return None

    def _compress(self, *, stated: bool = True) -> None:
        section = "CompressSkipperProcess"
        stage: dict[str, Any] = {"kind": "compress_skips"}
        statistics = self.value(section, "func_to_compress") if stated else ["mean"]
        if not isinstance(statistics, list) or not all(isinstance(s, str) for s in statistics):
            self._wrong(f"{section}.func_to_compress", statistics, "must be a list of names")
            statistics = ["mean", "std"]
        if "PedestalSubtractionProcess" in self.sequence:
            image = str(self.value("PedestalSubtractionProcess", "image", write=False))
            first = image.removesuffix("_compressed") or "mean"
            statistics = [first, *(s for s in statistics if s != first)]
        stage["statistics"] = statistics
        if stated:
            for theirs, ours in (("id_skip_start", "begin_skip"), ("id_skip_end", "end_skip")):
                number = self.whole(section, theirs)
                if number is not None and (ours == "begin_skip" or number >= 0):
                    stage[ours] = number
        self.stages.append(stage)

    def _pedestal(self) -> None:
        section = "PedestalSubtractionProcess"
        stage: dict[str, Any] = {"kind": "subtract_pedestal"}
        method = self.value(section, "method")
        if not isinstance(method, str) or method not in _METHODS:
            self._wrong(f"{section}.method", method,
                        f"no method {unknown_name(str(method), list(_METHODS))}")  # fmt: skip
            method = "gauss_fit"
        stage["method"] = _METHODS[method]
        by_amplifier = self.value(section, "is_highT", write=False)
        is_high = any(
            by_amplifier.values() if isinstance(by_amplifier, Mapping) else [by_amplifier]
        )
        if is_high or any(self.flag(section, k, write=False) for k in ("is_highDC", "highT")):
            stage["method"] = "lowest_peak"
        in_overscan = self.flag(section, "in_overscan")
        stage["region"] = "auto" if in_overscan else "active"
        axis = str(self.value(section, "axis"))
        stage["axis"] = {"col": "column", "both": "both"}.get(axis, "row")
        rows = self.whole(section, "rebin_rows", write=False)
        if axis not in ("row", "col", "both"):
            rows = _WHOLE_IMAGE
            self.tell(section, "axis", "renamed", "subtract_pedestal.rebin_rows: one for the image")
        if rows > 1:
            stage["rebin_rows"] = rows
        if stage["method"] == "gaussian_fit":
            stage["fit_window"] = float(self.number(section, "n_sigma_win_fit"))
        else:
            self.tell(section, "n_sigma_win_fit", "meaningless", "of gauss_fit alone")
        n_sigma = self.number(section, "n_sigma_to_mask")
        if n_sigma <= 0 and not in_overscan:
            n_sigma = 100
        if n_sigma > 0:
            stage["n_sigma_to_mask"] = round(n_sigma / _MAD, 4)
            for theirs, ours in (("cut_left_tail", "mask_left"), ("cut_right_tail", "mask_right")):
                if not self.flag(section, theirs, write=False):
                    stage[ours] = False
        if not in_overscan:
            for theirs, ours in (("skip_cols", "skip_columns"), ("skip_rows", "skip_rows")):
                if lines := self.lines(section, theirs):
                    stage[ours] = lines
        else:
            for key in ("skip_cols", "skip_rows"):
                self.tell(section, key, "meaningless", "used there only without in_overscan")
        if self.flag(section, "in_rawskipimage", write=False):
            baseline = "mean" if stage["method"] == "mean" else "median"
            place = next(n for n, s in enumerate(self.stages) if s["kind"] == "compress_skips")
            self.stages.insert(place, {"kind": "subtract_baseline", "method": baseline})
        self.stages.append(stage)

    def _calibrate(self) -> None:
        section = "CalibrationProcess"
        gain = self.value(section, "gain")
        numbers = gain.values() if isinstance(gain, Mapping) else [gain]
        if not all(isinstance(g, (int, float)) and 0 < g < math.inf for g in numbers) or not gain:
            self._wrong(f"{section}.gain", gain, "must be above 0, alike or {amplifier: gain}")
            gain = 5.3
        from_fit = self.flag(section, "from_dc_fit", write=False)
        if from_fit and "FitDarkCurrentProcess" in self.sequence:
            self.tell(section, "gain", "meaningless", 'from_dc_fit wins: calibrate.gain = "fit"')
            gain = "fit"
        elif from_fit:
            self.tell(section, "from_dc_fit", "meaningless", "no FitDarkCurrentProcess is before")
        self.stages.append({"kind": "calibrate", "gain": self._by_amplifier(gain)})

    def _clusters(self) -> None:
        section = "ClusterFinder"
        for theirs, kind, ours in (("skip_rows", "mask_rows", "rows"),
                                   ("skip_cols", "mask_columns", "columns")):  # fmt: skip
            if lines := self.lines(section, theirs):
                self.stages.append({"kind": kind, ours: lines})
        stage: dict[str, Any] = {"kind": "find_clusters"}
        stage |= self._thresholds(section)
        linked = self.number(section, "method") == 1
        distance = math.sqrt(2) * self.number(section, "max_nearest_neighbor", write=linked)
        if linked:
            stage["link_distance"] = math.ceil(distance * 1e4) / 1e4
        else:
            self.tell(section, "max_nearest_neighbor", "meaningless", "of method 1 alone")
        stage["require_seed"] = self.flag(section, "only_cls_seed")
        stage["keep_pixels"] = True
        self.stages.append(stage)

    def _thresholds(self, section: str) -> dict[str, Any]:
        value = self.value(section, "spr_threshold")
        if value is None:
            return {}
        by_amplifier = value if isinstance(value, Mapping) else {"": value}
        columns: dict[str, dict[str, Any]] = {"noise": {}, "threshold": {}, "seed": {}}
        for amplifier, three in by_amplifier.items():
            if not isinstance(three, list) or len(three) != 3 or not all(
                isinstance(t, (int, float)) and t > 0 for t in three[1:]
            ):  # fmt: skip
                self._wrong(f"{section}.spr_threshold", value, "must be [sigma, n_min, n_seed]")
                return {}
            for column, number in zip(columns.values(), three, strict=True):
                column[str(amplifier)] = number
        noise = columns["noise"]
        if not all(isinstance(n, (int, float)) for n in noise.values()):
            if any(isinstance(n, str) for n in noise.values()):
                self.tell(section, "spr_threshold", "renamed", 'find_clusters: noise = "measured": '
                          "a keyword has ADU there, the unit of the pixels here")  # fmt: skip
            return {name: self._by_amplifier(columns[name]) for name in ("threshold", "seed")}
        return {name: self._by_amplifier(column) for name, column in columns.items()}

    def _halo(self) -> None:
        section = "BuildClusterMask"
        for theirs, kind, ours in (("hot_rows", "mask_rows", "rows"),
                                   ("hot_cols", "mask_columns", "columns")):  # fmt: skip
            if lines := self.lines(section, theirs):
                self.stages.append({"kind": kind, ours: lines})
        least = self.number(section, "cluster_E_min", write=False)
        threshold = least or self.number(section, "cluster_box_E_min")
        sides = [self.whole(section, f"N_{axis}_{side}")
                 for axis in ("col", "row") for side in ("pre", "post")]  # fmt: skip
        circle = self.flag(section, "circular_mask", write=False)
        radius = self.number(section, "radius") if circle else None
        radius = max(sides) if radius is None else math.ceil(radius)
        self.stages.append({"kind": "mask_halo", "threshold": threshold,
                            "shape": "circle" if circle else "box",
                            "radius": max(1, radius)})  # fmt: skip

    # Measures.

    def _after(self, section: str) -> str | None:
        """The stage whose pixels the image of a process is."""
        image = self.value(section, "image", write=False)
        wanted = ("calibrate" if str(image).endswith("_e") else "subtract_pedestal"
                  if "pedestal" in str(image) else "compress_skips" if image else "")  # fmt: skip
        kinds = [stage["kind"] for stage in self.stages]
        if wanted and wanted not in kinds:
            self.tell(section, "image", "renamed", "the last stage: no process makes this image")
        return wanted if wanted in kinds else None

    def _measure(self, kind: str, section: str = "", **keys: Any) -> None:
        table = {"kind": kind, **{key: value for key, value in keys.items() if value is not None}}
        if section and (after := self._after(section)):
            table["after"] = after
        names = [measure.get("name", measure["kind"]) for measure in self.measures]
        if table.get("name", kind) in names:
            table["name"] = f"{table.get('name', kind)}_{len(names)}"
        self.measures.append(table)

    def _measure_dark_current(self) -> None:
        section = "FitDarkCurrentProcess"
        free = self.flag(section, "do_calibration", write=False)
        gain = self.value(section, "calibration", write=False)
        if free:
            self.tell(section, "calibration", "meaningless", "the fit needs no first value")
        width = self.number(section, "binning_size", write=False)
        seconds = self._seconds("exposure_time")
        for key in ("rows_to_mask", "cols_to_mask"):
            lines = self.value(section, key, write=False)
            if not (any(lines.values()) if isinstance(lines, Mapping) else lines):
                self.tell(section, key, "meaningless", "empty: nothing is asked for")
        for key in ("mask_clusters", "add_linear_DQ"):
            if not self.value(section, key, write=False):
                self.tell(section, key, "meaningless", "false: nothing is asked for")
        given = self.sections.get(section, {})
        self._measure(
            "fit_dark_current", section,
            n_peaks=self.whole(section, "n_peaks") if "n_peaks" in given else None,
            bin_width=float(width) if "binning_size" in given and width > 0 else None,
            gain=float(gain) if not free and isinstance(gain, (int, float)) else None,
            exposure_s=seconds, read_s=self._seconds("read_time") if seconds else None,
            region="overscan" if self.flag(section, "in_overscan", write=False) else None,
        )  # fmt: skip
        self.needs.append("fits")

    def _measure_rows(self) -> None:
        self._measure("fit_dark_current_slices", "FitDarkCurrentPerRow", axis="row",
                      step=self.whole("FitDarkCurrentPerRow", "row_step"))  # fmt: skip
        self.needs.append("fits")

    def _measure_columns(self) -> None:
        self._measure("fit_dark_current_slices", "FitDarkCurrentPerCol", axis="column",
                      step=self.whole("FitDarkCurrentPerCol", "col_step"),
                      name="fit_dark_current_columns")  # fmt: skip
        self.needs.append("fits")

    def _measure_transient(self) -> None:
        self._measure("fit_column_transient")
        self.needs.append("fits")

    def _measure_gaussian(self) -> None:
        section = "GaussianFitProcess"
        region = "overscan" if self.flag(section, "in_overscan") else "active"
        n_sigma = float(self.number(section, "n_sigma_win_fit"))
        self._measure("fit_gaussian", section, region=region, n_sigma=n_sigma)
        self.needs.append("fits")

    def _measure_calibration(self) -> None:
        section = "FitCalibrationConstant"
        gain = self.value(section, "calibration")
        alike = _alike(gain)
        alike = alike if isinstance(alike, (int, float)) and 0 < alike < _LARGEST else None
        if gain is not None and not isinstance(alike, (int, float)):
            self.tell(section, "calibration", "meaningless", "the fit needs no first value")
        self._measure("fit_calibration", section, n_peaks=self.whole(section, "n_peaks"),
                      gain=float(alike) if isinstance(alike, (int, float)) else None)  # fmt: skip
        self.needs.append("fits")

    def _measure_loss(self) -> None:
        samples = self.value("ChargeLossPlot", "skip_id_list")
        if not isinstance(samples, list) or not all(isinstance(s, int) for s in samples):
            self._wrong("ChargeLossPlot.skip_id_list", samples, "must be a list of numbers")
            samples = [0, 1, 2]
        reference = self.whole("ChargeLossPlot", "skip_id_baseline")
        for sample in samples:
            word = f"charge_loss_{sample}".replace("-", "last")
            self._measure("charge_loss", sample=sample, reference=reference, name=word)

    def _measure_skewness(self) -> None:
        section = "ChargeLossSkewnessProcess"
        region = "overscan" if self.flag(section, "use_overscan", write=False) else None
        self._measure("charge_loss", sample=self.whole(section, "id_skip_start"),
                      reference=self.whole(section, "id_skip_reference"), name="charge_loss_kcl",
                      n_sigma=float(self.number(section, "kcl_threshold")),
                      region=region)  # fmt: skip

    def _measure_spectrum(self) -> None:
        seconds = self._seconds("read_time")
        self._measure("noise_spectrum", over="skips", read_s=seconds)
        self._measure("noise_spectrum", over="row", read_s=seconds, name="noise_spectrum_row")

    def _measure_noise(self) -> None:
        block = self.whole("RNvsNskipsPlot", "n_skips_per_block")
        blank = self.flag("RNvsNskipsPlot", "is_blank")
        self._measure("noise_vs_skips", n_points=-block if block < 0 else None,
                      region="all" if blank else "overscan",
                      robust=False if blank else None)  # fmt: skip
        self.needs.append("fits")

    def _measure_axis(self) -> None:
        section = "MeanPixelChargePerAxis"
        axis = {"col": "column"}.get(str(self.value(section, "axis")), "row")
        cut = float(self.number(section, "charge_cut"))
        self._measure("charge_per_axis", axis=axis, max_charge=cut)

    def _measure_correlation(self) -> None:
        self._measure("correlated_noise")
        self.needs.append("fits")

    def _outputs(self) -> None:
        def put(after: str, path: str, **more: Any) -> None:
            self.outputs.append({"after": after, "path": path, **more})

        kinds = [stage["kind"] for stage in self.stages]
        for section, kind, word in (
            ("CompressSkipperProcess", "compress_skips", "compressed"),
            ("PedestalSubtractionProcess", "subtract_pedestal", "pedestal"),
        ):
            if section in self.sequence and self.flag(section, "save_image", write=False):
                put(kind, f"{{stem}}_{word}.fits")
        keys = [key for key in ("save_images", "save_image") if key in self.sections["image"]]
        wanted = all(self.flag("image", key) for key in keys or ["save_images"])
        if wanted or not (self.outputs or self.measures or "find_clusters" in kinds):
            put(kinds[-1], "{stem}_planes.fits")
        if "find_clusters" in kinds:
            columns = {"columns": "waders"} if "calibrate" in kinds else {}
            root = importlib.util.find_spec("uproot") is not None
            put("find_clusters", f"{{stem}}_clusters.{'root' if root else 'fits'}", **columns)
        if self.measures:
            self.outputs += [{"path": f"{{stem}}_measures{end}"} for end in (".csv", ".json")]

    def toml(self, source: str) -> str:
        """The text of the config."""
        lines = [f"# Made by skipstream config import, from {source} of panaSKImg."]
        open_ends = [t for t in self.told.values() if t.verdict in ("no counterpart", "wrong")]
        if open_ends:
            lines.append("# What it says and this config does not:")
            lines += [f"# {_one_line(str(told))}" for told in open_ends]
        heads = [("[input]", [self.input]), ("[[stage]]", self.stages),
                 ("[[measure]]", self.measures), ("[[output]]", self.outputs)]  # fmt: skip
        for head, tables in heads:
            for table in tables:
                lines += ["", head]
                lines += [f"{key} = {_toml(value)}" for key, value in table.items()]
        return "\n".join(lines) + "\n"


# In the order in which stages stand; measures in that of the sequence.
_STAGES: Final = {
    "CompressSkipperProcess": "_compress",
    "PedestalSubtractionProcess": "_pedestal",
    "CalibrationProcess": "_calibrate",
    "ClusterFinder": "_clusters",
    "BuildClusterMask": "_halo",
}
_MEASURES: Final = {
    "GaussianFitProcess": "_measure_gaussian",
    "TwoDGaussProcess": "_measure_correlation",
    "CorrectElectronicColumnTransient": "_measure_transient",
    "FitDarkCurrentProcess": "_measure_dark_current",
    "FitDarkCurrentPerRow": "_measure_rows",
    "FitDarkCurrentPerCol": "_measure_columns",
    "ChargeLossPlot": "_measure_loss",
    "ChargeLossSkewnessProcess": "_measure_skewness",
    "FFTNoisePlot": "_measure_spectrum",
    "RNvsNskipsPlot": "_measure_noise",
    "FitCalibrationConstant": "_measure_calibration",
    "MeanPixelChargePerAxis": "_measure_axis",
}


def _alike(value: Any) -> Any:
    """One number where all amplifiers have the same."""
    if isinstance(value, Mapping):
        numbers = list(value.values())
        if numbers and all(n == numbers[0] for n in numbers):
            return numbers[0]
        return {str(k): v for k, v in value.items()}
    return value


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


class _Object(dict[str, Any]):
    """A table of the JSON, and its keys that stand there twice."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.twice = tuple(key for key, n in counts.items() if n > 1)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON configuration; of a key that stands twice the last one is taken.

    Raises
    ------
    ConfigError
        It is not JSON; the message has the line where it can.
    IoError
        The file cannot be read.
    """
    name = str(path)
    try:
        tables = json.loads(read_text(Path(path), name), object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        place = f"{name}:{error.lineno}: column {error.colno}"
        raise _core.ConfigError(f"{place}: not JSON: {error.msg.lower()}") from None
    except RecursionError:
        raise _core.ConfigError(f"{name}: nested too deeply") from None
    if not isinstance(tables, dict):
        raise _core.ConfigError(f"{name}: must be tables, {{...}}")
    return tables


def import_panaskimg(
    source: str | Path | Mapping[str, Any], *, image: str | Path | None = None
) -> Imported:
    """Translate a configuration of panaSKImg.

    Parameters
    ----------
    source
        Path of its JSON file, or the same as a mapping.
    image
        One of the files: panaSKImg counts the prescan in columns of the CCD, here they are pixels,
        of this file's serial binning; and its EXT1 is the amplifier of HDU 1, which may have a
        name.

    Returns
    -------
    Imported
        The text of a config, and what became of every parameter. What is wrong is told, and its
        default is taken.

    Raises
    ------
    ConfigError
        The file is no JSON, or what it says makes no config: the message says why.
    FitsError
        The image cannot be understood.
    IoError
        A file cannot be read.
    """
    name = "a configuration" if isinstance(source, Mapping) else Path(source).name
    tables = source if isinstance(source, Mapping) else read_json(source)
    binning, names = (1, {}) if image is None else _facts_of(Path(image))
    translation = _Translation(tables, binning, names)
    translation.translate()
    text = translation.toml(_one_line(name))
    try:
        load_config(text)
    except _core.ConfigError as error:
        raise _core.ConfigError(f"{name}: its numbers make no config:\n{error}") from None
    told = (*translation.told.values(), *translation.defaults.values())
    needs = dict.fromkeys(translation.needs)
    if ".root" in text:
        needs["root"] = None
    return Imported(text, told, tuple(needs))


def _facts_of(path: Path) -> tuple[int, dict[str, str]]:
    """Serial binning of a file; and EXT1, ... of panaSKImg to its amplifiers."""
    images = read_layout(path).images
    cards = {card[0]: card[1] for image in images for card in image.hdu.cards}
    texts = [cards.get(keyword, "").strip("' ") for keyword in KEYWORDS["serial_binning"]]
    binning = next((int(t) for t in texts if t.isdecimal() and int(t) >= 1), 1)
    alone = [i for i in images if sum(i.hdu.index == j.hdu.index for j in images) == 1]
    return binning, {f"EXT{image.hdu.index}": image.amplifier for image in alone}


def _rows(section: str) -> Iterator[str]:
    for key, rule in RULES[section].items():
        default = "" if rule.default in (None, "") else f"`{_shown(rule.default)}`"
        text = rule.text.replace("|", "\\|")
        yield f"| `{key}` | {default} | {rule.verdict} | {text} |"


def panaskimg_markdown() -> str:
    """The tables of every parameter, for the page of the documentation."""
    lines: list[str] = []
    heads = ["| parameter | default there | verdict | here |", "|---|---|---|---|"]
    for section in RULES:
        head = section if section[0].isupper() else f"input.{section}"
        lines += [f"### {head}", ""]
        if not RULES[section]:
            lines += ["No parameters of its own.", ""]
            continue
        lines += [*heads, *_rows(section), ""]
    lines += ["### Common to all processes", "", *heads]
    for key, rule in _COMMON.items():
        default = "" if rule.default in (None, "") else f"`{_shown(rule.default)}`"
        lines.append(f"| `{key}` | {default} | {rule.verdict} | {rule.text} |")
    return "\n".join(lines) + "\n"


#: Columns of WADERS' clustersRec to those of our own tables; coordinates count from 0 in ours.
COLUMNS: Final = {
    "cluster_id": "cluster_id",
    "Npix": "n_pixels",
    "Energy": "energy_kev",
    "Qmax": "peak_charge (e-)",
    "QmaxX": "peak_x",
    "QmaxY": "peak_y",
    "DX": "width_x",
    "DY": "width_y",
    "minX": "x_min",
    "maxX": "x_max",
    "minY": "y_min",
    "maxY": "y_max",
    "meanX": "mean_x",
    "meanY": "mean_y",
    "PosX": "x",
    "PosY": "y",
    "STD_X": "spread_x",
    "STD_Y": "spread_y",
    "wSTD_X": "std_x",
    "wSTD_Y": "std_y",
    "has_seed": "has_seed",
    "seed_nsig_min": "n_sigma_min",
    "seed_nsig_max": "n_sigma_max",
    "closest_cls_dist": "nearest_distance",
    "hotreg": "flags",
    "excluded": "flags",
}


def columns_markdown() -> str:
    """The table of the columns of clustersRec, for the page of the documentation."""
    from .peer_columns import WADERS_DOCS

    lines = ["| clustersRec | unit | meaning | our own tables |", "|---|---|---|---|"]
    for name, (unit, doc) in WADERS_DOCS.items():
        ours = f"`{COLUMNS[name].split()[0]}`" if name in COLUMNS else ""
        unit_here = " (e-)" if "(e-)" in COLUMNS.get(name, "") else ""
        lines.append(f"| `{name}` | {unit} | {doc} | {ours}{unit_here} |")
    return "\n".join(lines) + "\n"
