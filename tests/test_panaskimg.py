"""Configurations of panaSKImg become configs that run, and nothing in them is passed over."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st

import skipstream as sk
from skipstream import _core, panaskimg
from skipstream.cli import main
from skipstream.cli.panaskimg import OPTIONS, Option, options_markdown
from skipstream.simulate import simulate

ROOT = Path(__file__).resolve().parent.parent
FRAME = {"n_rows": 40, "n_cols": 72, "n_skips": 30, "prescan_cols": 8, "overscan_cols": 16}


def usual() -> dict[str, Any]:
    """A configuration with every table that panaSKImg's own has, for a small sensor."""
    return {
        "input": {
            "image": {
                "extensions": 0, "skip_image": True, "axis_to_compress": 1,
                "correct_leach_bug": False, "correct_polarity": False, "row_binning": 0,
                "id_skip_start": 3, "id_skip_end": -10, "id_row_start": 0, "id_row_end": -1,
                "id_col_start": 0, "id_col_end": -1, "n_rows_prescan": 1, "n_rows_overscan": 0,
                "ccd_rows": 40, "n_cols_prescan": 8, "ccd_cols": 96, "n_amp": 2,
                "save_images": True,
            },
            "datetime": {"exposure_start": "EXPSTART", "readout_start": "RDSTRT",
                         "readout_end": "RDEND"},
            "scp": {"temperature": "TEMP"},
            "convention": {"ampdir": "VCKDIRN", "itgtime": "ITGTIME", "Nskips": "NDCMS",
                           "Ncols": "NAXIS1", "Nrows": "NAXIS2", "Npbin": "NPBIN",
                           "Nsbin": "NSBIN", "ampl": "AMPL", "exposure_time": "MEXP",
                           "read_time": "MREAD"},
        },
        "process": {
            "sequence": "CompressSkipperProcess;PedestalSubtractionProcess;CalibrationProcess;"
                        "ClusterFinder;BuildClusterMask",
            "CompressSkipperProcess": {"func_to_compress": ["mean", "std"], "save_image": False},
            "PedestalSubtractionProcess": {
                "image": "mean_compressed", "method": "mean", "__DEBUG__": False,
                "in_overscan": True, "use_mad": False, "axis": "row", "n_sigma_win_fit": 2,
                "n_sigma_to_mask": 5, "save_image": False},
            "CorrectElectronicColumnTransient": {
                "image": "mean_compressed_pedestal_subtracted", "col_start": 1, "col_end": 10,
                "subtract_median": True, "n_exp": 1, "fit_options": "Q"},
            "CalibrationProcess": {"image": "mean_compressed_pedestal_subtracted",
                                   "gain": {"L": 5.0, "U": 5.5}},
            "FitCalibrationConstant": {
                "image": "mean_compressed_pedestal_subtracted", "n_peaks": 3,
                "calibration": {"L": 5.0, "U": 5.5}, "n_sigma_win_fit": 3},
            "FitDarkCurrentProcess": {
                "image": "mean_compressed_pedestal_subtracted", "__verbose__": False,
                "rows_to_mask": {"L": [[0, 5]], "U": []}, "cols_to_mask": {"L": [], "U": []},
                "mask_clusters": True, "do_calibration": True, "calibration": 5.0, "n_peaks": 3,
                "binning_size": 0.3, "sigma_max": {"L": 2.5, "U": 3.0}, "gain_min": 4.0,
                "gain_max": {"L": 6.0, "U": 6.0}, "x_min": -20, "x_max": 60},
            "FitDarkCurrentPerRow": {
                "image": "mean_compressed_pedestal_subtracted", "row_start": 0, "row_end": 840,
                "row_step": 10, "calibration": 5.0, "rows_to_mask": {}, "cols_to_mask": {},
                "n_peaks": 5, "binning_size": 0.3, "gain_min": 4.0, "gain_max": 6.0,
                "x_min": -20, "x_max": 60},
            "FitDarkCurrentPerCol": {
                "image": "mean_compressed_pedestal_subtracted", "col_start": 0, "col_end": -1,
                "col_step": 16, "calibration": 5.0, "n_peaks": 5, "binning_size": 0.3},
            "ChargeLossPlot": {"skip_id_list": [0, 1, 20], "skip_id_baseline": -1,
                               "histequ": False, "gray_palette": False},
            "ChargeLossSkewnessProcess": {
                "use_overscan": False, "id_skip_reference": 1, "id_skip_start": 2,
                "id_skip_end": -1, "skip_step": 20, "kcl_threshold": 3.2, "kcl_n_sig": 8,
                "display": True},
            "FFTNoisePlot": {},
            "RNvsNskipsPlot": {"n_skips_per_block": -10, "is_blank": False},
            "ClusterFinder": {
                "spr_threshold": {"L": [0.4, 4, 6], "U": [0.5, 4, 6]},
                "spr_image": "mean_compressed_pedestal_subtracted_e", "spr_mask": False,
                "method": 0, "max_nearest_neighbor": 1},
            "BuildClusterMask": {
                "cluster_size_min": 4, "cluster_E_min": 550, "cluster_DY_min": 1,
                "cluster_DX_min": 1, "N_col_pre": 2, "N_col_post": 20, "N_row_pre": 2,
                "N_row_post": 50},
            "ApplySelectionCuts": {"cols": [], "rows": []},
            "GaussianFitProcess": {"image": "mean_compressed_pedestal_subtracted",
                                   "in_overscan": True, "n_sigma": 5},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw file of two amplifiers in a frame."""
    path = tmp_path_factory.mktemp("raw") / "frame.fits"
    simulate(path, layout="leach_ul", seed=3, gain=5.0, dark_current=0.3, **FRAME)
    return path


def imported(tables: dict[str, Any], *sequence: str) -> panaskimg.Imported:
    if sequence:
        tables["process"]["sequence"] = ";".join(sequence)
    return sk.import_panaskimg(tables)


def told(result: panaskimg.Imported, place: str) -> panaskimg.Told:
    return next(t for t in result.told if t.place == place)


def stage(result: panaskimg.Imported, kind: str) -> dict[str, Any]:
    return next(s for s in tomllib.loads(result.toml)["stage"] if s["kind"] == kind)


def measure(result: panaskimg.Imported, kind: str) -> dict[str, Any]:
    return next(m for m in tomllib.loads(result.toml)["measure"] if m["kind"] == kind)


def test_the_usual_configuration_becomes_one_that_runs(frame: Path, tmp_path: Path) -> None:
    result = imported(usual())
    assert not result.wrong
    for amplifier in sk.run(sk.load_config(result.toml), [frame], output=tmp_path):
        assert amplifier.status == "done", amplifier.message
        # 96 columns of the CCD are 48 for each side: behind them and the prescan is overscan.
        assert amplifier.report["n_cols"] == FRAME["n_cols"]
    image = sk.read_layout(frame, sk.load_config(result.toml).input).images[0]
    assert (image.prescan_cols, image.overscan_cols, image.prescan_rows) == (8, 16, 1)
    assert (tmp_path / "frame_clusters.root").exists()
    assert (tmp_path / "frame_planes.fits").exists()


def test_the_numbers_are_those_that_panaskimg_would_find(frame: Path, tmp_path: Path) -> None:
    result = imported(usual(), "CompressSkipperProcess", "PedestalSubtractionProcess")
    left = next(iter(sk.run(sk.load_config(result.toml), [frame], output=tmp_path)))
    from astropy.io import fits

    raw = fits.getdata(frame).astype(float)
    side = raw[:, : raw.shape[1] // 2].reshape(FRAME["n_rows"], FRAME["n_cols"], -1)[..., 3:]
    mean = side.mean(axis=2)
    overscan = mean[:, 56:]
    for row in range(FRAME["n_rows"]):
        values = overscan[row]
        middle = np.median(values)
        near = np.abs(values - middle) <= 5 * np.median(np.abs(values - middle))
        expected = mean[row] - values[near].mean()
        got = np.asarray(fits.getdata(tmp_path / "frame_planes.fits", 1)[row], float)
        # Outputs are float32 of numbers up to some thousands.
        np.testing.assert_allclose(got, expected, atol=2e-3)
    assert left.status == "done"


@pytest.mark.parametrize("process", [p for p in panaskimg.PROCESSES if p in usual()["process"]])
def test_each_process_alone_makes_a_config_that_runs(
    process: str, frame: Path, tmp_path: Path
) -> None:
    before = ["CompressSkipperProcess", "PedestalSubtractionProcess"]
    result = imported(usual(), *dict.fromkeys([*before, process]))
    assert not result.wrong
    for amplifier in sk.run(sk.load_config(result.toml), [frame], output=tmp_path):
        assert amplifier.status == "done", amplifier.message
    alone = imported(usual(), process)
    sk.load_config(alone.toml)


@pytest.mark.parametrize("process", panaskimg.PROCESSES)
def test_every_parameter_of_a_process_is_told(process: str) -> None:
    tables = usual()
    given = {k: r.default for k, r in panaskimg._rules_of(process).items() if r.default is not None}
    tables["process"][process] = given
    result = imported(tables, process)
    assert not result.wrong
    assert {f"{process}.{key}" for key in given} <= {t.place for t in result.told}
    assert all(t.text and t.verdict in panaskimg.VERDICTS for t in result.told)


def test_what_ours_is_called_exists() -> None:
    schema = {s["name"]: {p["name"] for p in s["parameters"]} for s in _core.schema()}
    from skipstream.inputs import INPUT_DOCS, KEYWORDS
    from skipstream.measuring import MEASURES

    general = {"name", "after", "region", "ignored_bits"}
    known = schema | {kind: set(m.parameters()) | general for kind, m in MEASURES.items()}
    known["input"] = set(INPUT_DOCS)
    found = 0
    for rules in panaskimg.RULES.values():
        for rule in rules.values():
            for name in rule.ours.replace(" or ", ", ").split(", "):
                table, dot, key = name.partition(".")
                if dot and table:
                    found += 1
                    assert key.partition(".")[0] in known[table], name
                    if "keywords." in key:
                        assert key.partition(".")[2] in KEYWORDS
                elif name.startswith(("stage ", "measure ")):
                    assert name.split()[1] in known, name
    assert found > 40


@pytest.mark.parametrize(
    ("section", "key", "value", "kind", "ours", "expected"),
    [
        ("PedestalSubtractionProcess", "method", "gaus_fit", "subtract_pedestal", "method",
         "gaussian_fit"),
        ("PedestalSubtractionProcess", "in_overscan", False, "subtract_pedestal", "region",
         "active"),
        ("PedestalSubtractionProcess", "axis", "col", "subtract_pedestal", "axis", "column"),
        ("PedestalSubtractionProcess", "axis", "none", "subtract_pedestal", "rebin_rows", 1000000),
        ("PedestalSubtractionProcess", "is_highDC", True, "subtract_pedestal", "method",
         "lowest_peak"),
        ("PedestalSubtractionProcess", "is_highT", {"L": False, "U": True}, "subtract_pedestal",
         "method", "lowest_peak"),
        ("PedestalSubtractionProcess", "cut_left_tail", False, "subtract_pedestal", "mask_left",
         False),
        ("PedestalSubtractionProcess", "in_rawskipimage", True, "subtract_baseline", "method",
         "mean"),
        ("PedestalSubtractionProcess", "image", "median_compressed", "compress_skips",
         "statistics", ["median", "mean", "std"]),
        ("CompressSkipperProcess", "id_skip_start", 5, "compress_skips", "begin_skip", 5),
        ("CalibrationProcess", "gain", 4.5, "calibrate", "gain", 4.5),
        ("ClusterFinder", "spr_threshold", [None, 3, 8], "find_clusters", "seed", 8),
        ("ClusterFinder", "method", 1, "find_clusters", "link_distance", 1.4143),
        ("ClusterFinder", "skip_cols", [3, [5, 9]], "mask_columns", "columns", [3, [5, 9]]),
        ("BuildClusterMask", "circular_mask", True, "mask_halo", "shape", "circle"),
        ("BuildClusterMask", "cluster_E_min", 0, "mask_halo", "threshold", 100),
    ],
)  # fmt: skip
def test_a_value_is_translated(
    section: str, key: str, value: Any, kind: str, ours: str, expected: Any
) -> None:
    tables = usual()
    tables["process"][section][key] = value
    result = imported(tables)
    assert not result.wrong
    assert stage(result, kind)[ours] == expected


def test_stages_on_samples_come_first() -> None:
    tables = usual()
    tables["input"]["image"] |= {"correct_leach_bug": True, "correct_polarity": True}
    kinds = [s["kind"] for s in tomllib.loads(imported(tables).toml)["stage"]]
    assert kinds[:3] == ["correct_leach", "correct_polarity", "compress_skips"]


def test_a_gain_from_the_dark_current_fit_is_fitted_in_the_run() -> None:
    tables = usual()
    tables["process"]["CalibrationProcess"]["from_dc_fit"] = True
    assert stage(imported(tables), "calibrate")["gain"] == {"L": 5.0, "U": 5.5}
    chain = ["CompressSkipperProcess", "PedestalSubtractionProcess", "FitDarkCurrentProcess"]
    result = imported(tables, *chain, "CalibrationProcess")
    assert stage(result, "calibrate")["gain"] == "fit"
    assert told(result, "CalibrationProcess.gain").verdict == "meaningless"


def test_ends_of_ranges_are_those_of_panaskimg() -> None:
    tables = usual()
    tables["input"]["image"] |= {"id_skip_end": 20, "id_row_start": 2, "id_row_end": -7}
    given = tomllib.loads(imported(tables).toml)["input"]
    assert (given["begin_skip"], given["end_skip"], given["begin_row"]) == (3, 20, 2)
    assert "end_row" not in given  # any negative end means to the last one


def test_the_prescan_is_counted_in_pixels_as_they_are_read(frame: Path, tmp_path: Path) -> None:
    from astropy.io import fits

    for binning, expected in ((1, 8), (4, 2), (10, 1)):
        path = tmp_path / f"{binning}.fits"
        path.write_bytes(frame.read_bytes())
        fits.setval(path, "NSBIN", value=binning)
        given = tomllib.loads(sk.import_panaskimg(usual(), image=path).toml)["input"]
        assert given["prescan_cols"] == expected


def test_amplifiers_have_their_names_of_the_file(shared_data: Path, tmp_path: Path) -> None:
    (path,) = (shared_data / "damicm").glob("*.fz")
    tables = usual()
    tables["input"]["image"] |= {"ACM_multi_extension": True, "extensions": [1, 2, 3, 4],
                                 "skip_image": False, "n_cols_prescan": 0, "ccd_cols": 640,
                                 "n_rows_prescan": 0, "n_amp": 1, "id_skip_start": 0}  # fmt: skip
    gains = {f"EXT{n}": 1.3 + n / 100 for n in range(1, 5)}
    tables["process"]["CalibrationProcess"]["gain"] = gains
    tables["process"]["ClusterFinder"]["spr_threshold"] = {
        f"EXT{n}": [0.2, 4 + n, 8] for n in range(1, 5)
    }
    result = sk.import_panaskimg(tables, image=path)
    assert stage(result, "calibrate")["gain"] == {
        "CCD_A": 1.31, "CCD_B": 1.32, "CCD_D": 1.33, "CCD_C": 1.34}  # fmt: skip
    done = list(sk.run(sk.load_config(result.toml), [path], output=tmp_path))
    assert [r.status for r in done] == ["done"] * 4


def test_keywords_of_seconds_are_handed_on_and_those_of_milliseconds_are_not() -> None:
    tables = usual()
    chain = ("CompressSkipperProcess", "PedestalSubtractionProcess", "FitDarkCurrentProcess")
    result = imported(tables, *chain)
    assert "exposure_s" not in measure(result, "fit_dark_current")
    assert told(result, "convention.exposure_time").verdict == "no counterpart"
    tables["input"]["convention"] |= {"exposure_time": "EXPOSURE", "Nskips": "MYSKIPS"}
    result = imported(tables, *chain)
    assert measure(result, "fit_dark_current")["exposure_s"] == "EXPOSURE"
    assert tomllib.loads(result.toml)["input"]["keywords"] == {"n_skips": "MYSKIPS"}


@pytest.mark.parametrize(
    ("where", "key", "value", "text"),
    [
        (("process", "PedestalSubtractionProcess"), "axs", "row", 'did you mean "axis"'),
        (("process", "PedestalSubtractionProcess"), "method", "meadian", 'did you mean "median"'),
        (("process",), "ClusterFindr", {}, 'did you mean "ClusterFinder"'),
        (("process",), "sequence", "CompressSkiperProcess", 'mean "CompressSkipperProcess"'),
        (("input",), "imge", {}, 'did you mean "image"'),
        (("input", "image"), "id_skip_strat", 4, 'did you mean "id_skip_start"'),
        (("input", "image"), "id_skip_start", "4", "must be a number"),
        (("input", "convention"), "Nskips", 7, "must be a header keyword"),
        (("process", "CalibrationProcess"), "gain", 0, "must be above 0"),
        (("process", "ClusterFinder"), "spr_threshold", [1, 2], "must be [sigma, n_min, n_seed]"),
        (("process", "CompressSkipperProcess"), "func_to_compress", "mean", "must be a list"),
        (("process", "ClusterFinder"), "only_cls_seed", "yes", "must be true or false"),
    ],
)
def test_a_typo_is_told_and_the_default_taken(
    where: tuple[str, ...], key: str, value: Any, text: str
) -> None:
    tables = usual()
    table = tables
    for name in where:
        table = table[name]
    table[key] = value
    result = imported(tables)
    assert len(result.wrong) == 1
    assert text in str(result.wrong[0])
    assert text in result.toml
    sk.load_config(result.toml)


def test_a_typo_of_an_unused_process_is_told_too() -> None:
    tables = usual()
    tables["process"]["RNvsNskipsPlot"]["n_skips_per_blok"] = 3
    assert "n_skips_per_block" in str(imported(tables).wrong[0])


def test_a_key_that_stands_twice_is_told_and_the_last_one_taken(tmp_path: Path) -> None:
    source = tmp_path / "pana.json"
    source.write_text('{"input": {"image": {"id_skip_start": 4, "id_skip_start": 5}}}')
    result = sk.import_panaskimg(source)
    assert str(result.wrong[0]).startswith("image.id_skip_start: wrong: stands twice")
    assert tomllib.loads(result.toml)["input"]["begin_skip"] == 5


def test_the_command_writes_the_config_and_says_what_became_of_it(tmp_path: Path) -> None:
    source, config = tmp_path / "pana.json", tmp_path / "cfg.toml"
    source.write_text(json.dumps(usual()))
    command = ["config", "import", str(source), "-o", str(config)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "PedestalSubtractionProcess.n_sigma_to_mask = 5: renamed" in done.stdout
    assert len(sk.load_config(config).stages) == 5
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 2
    assert str(config) in again.stderr
    tables = copy.deepcopy(usual())
    tables["input"]["image"]["n_ampl"] = 2
    source.write_text(json.dumps(tables))
    done = CliRunner().invoke(main, [*command, "--overwrite"])
    assert done.exit_code == 1
    assert 'skipstream: image.n_ampl = 2: wrong: no parameter "n_ampl"' in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"input": ', "not JSON"),
        ("[1]", "must be tables"),
        ("[" * 100000, "nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_refused(text: str, message: str, tmp_path: Path) -> None:
    source = tmp_path / "pana.json"
    source.write_text(text)
    done = CliRunner().invoke(main, ["config", "import", str(source), "-o", "-"])
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(source) in done.stderr


def panaskimg_of(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["panaskimg", *map(str, arguments)])


CHAIN = "CompressSkipperProcess,PedestalSubtractionProcess,CalibrationProcess,ClusterFinder"


def test_a_command_line_of_panaskimg_runs(frame: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = panaskimg_of(frame, "-s", CHAIN, "--skip-start", 3, "--skip-end", 20, "--calL", 5,
                        "--calU", 5.5, "--func-to-compress", "mean", "median", "-o", out,
                        "--axis", "both")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"skipstream run {out}/panaskimg.toml {frame} -o {out}" in done.stdout
    config = sk.load_config(out / "panaskimg.toml")
    assert (config.input.begin_skip, config.input.end_skip) == (3, 20)
    by_kind = {s["kind"]: s for s in config.stages}
    assert by_kind["compress_skips"]["statistics"] == ["mean", "median"]
    assert by_kind["subtract_pedestal"]["axis"] == "both"
    assert by_kind["calibrate"]["gain"] == {"L": 5.0, "U": 5.5}
    assert (out / "frame_clusters.root").exists()
    # The same again: outputs that exist stop the run, as they do everywhere.
    again = panaskimg_of(frame, "-s", CHAIN, "-o", out)
    assert again.exit_code == 2


def test_the_command_line_wins_over_the_json_and_zero_counts(frame: Path, tmp_path: Path) -> None:
    source = tmp_path / "pana.json"
    source.write_text(json.dumps(usual()))
    done = panaskimg_of("-j", source, frame, "--skip-start", 0, "--method", "median",
                        "--in-overscan", "-o", tmp_path / "out", "--no-run")  # fmt: skip
    assert done.exit_code == 0, done.output
    config = sk.load_config(tmp_path / "out" / "panaskimg.toml")
    assert config.input.begin_skip == 0
    pedestal = next(s for s in config.stages if s["kind"] == "subtract_pedestal")
    assert (pedestal["method"], pedestal["region"]) == ("median", "active")
    assert not list((tmp_path / "out").glob("*.fits"))


def test_files_are_patterns_of_which_some_are_left_out(frame: Path, tmp_path: Path) -> None:
    for name in ("a.fits", "b.fits", "c_old.fits"):
        (tmp_path / name).write_bytes(frame.read_bytes())
    done = panaskimg_of(tmp_path / "*.fits", "--skip", "_old", "--ncpus", 2, "--no-run",
                        "-o", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "a.fits" in done.stdout and "b.fits" in done.stdout and "c_old" not in done.stdout
    assert "--jobs 2" in done.stdout


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.refused], ids=lambda o: o.flags[-1])
def test_an_option_without_counterpart_is_refused_with_the_reason(
    option: Option, frame: Path, tmp_path: Path
) -> None:
    value = [] if option.kind is bool else ["3"]
    done = panaskimg_of(frame, option.flags[-1], *value, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert f"skipstream: {option.flags[-1]}: no counterpart: {option.here}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.keys], ids=lambda o: o.flags[-1])
def test_an_option_for_the_json_is_a_parameter_of_it(option: Option) -> None:
    for key in option.keys:
        section, _, parameter = key.partition(".")
        assert parameter in panaskimg._rules_of(section), key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--skip-start", "three"], "invalid int value: 'three'"),
        (["-j", "none.json"], "none.json: cannot read"),
        (["-s", "CompressSkiperProcess", "--no-run"], 'did you mean "CompressSkipperProcess"'),
    ],
)
def test_mistakes_on_the_command_line_are_told(
    arguments: list[str], message: str, frame: Path, tmp_path: Path
) -> None:
    done = panaskimg_of(frame, "-o", tmp_path, *arguments)
    assert done.exit_code in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_no_file_and_no_such_file_are_told() -> None:
    assert panaskimg_of("--acm").exit_code == 2
    done = panaskimg_of("none_*.fits")
    assert (done.exit_code, done.stderr) == (2, "skipstream: none_*.fits: no such file\n")


def test_the_processes_are_listed() -> None:
    done = panaskimg_of("--list-processes")
    assert done.stdout.split() == list(panaskimg.PROCESSES)


PAGE = ROOT / "docs/coming-from-panaskimg.md"


def test_the_page_has_the_tables_that_the_importer_knows() -> None:
    text = PAGE.read_text()
    for name, fresh in (
        ("parameters", panaskimg.panaskimg_markdown()),
        ("options", options_markdown()),
        ("columns", panaskimg.columns_markdown()),
    ):
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
        assert text[text.index(begin) + len(begin) : text.index(end)] == fresh, name


def test_the_columns_of_our_own_exist_and_every_process_has_its_line() -> None:
    image = np.zeros((8, 8))
    image[3, 3] = 50
    names = sk.find_clusters(image, threshold=4.0, seed=5.0, noise=1.0).dtype.names
    assert {name.split()[0] for name in panaskimg.COLUMNS.values()} <= set(names)
    lines = PAGE.read_text().partition("## Processes")[2].partition("## Header")[0]
    assert all(process in lines for process in panaskimg.PROCESSES)


def test_the_commands_of_the_page_run(
    frame: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("panaSKImg_configuration.json").write_text(json.dumps(usual()))
    for name in ("raw.fits", "raw2.fits"):
        Path(name).write_bytes(frame.read_bytes())
    text = PAGE.read_text().replace("\\\n", " ")
    lines = re.findall(r"^skipstream (.*)$", text, re.M)
    assert len(lines) == 5
    for line in lines:
        words = [
            found
            for word in line.split()
            for found in (sorted(map(str, Path().glob(word))) if "*.fits" in word else [])
            or [word.strip("'")]
        ]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, f"{line}\n{done.output}"
    assert Path("out/raw2_clusters.root").exists() and Path("out2/raw_planes.fits").exists()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@hypothesis.settings(max_examples=300)
@hypothesis.given(st.data())
def test_whatever_a_configuration_says_it_is_translated_or_refused(data: st.DataObject) -> None:
    sequence = data.draw(st.lists(st.sampled_from(panaskimg.PROCESSES), unique=True))
    tables: dict[str, Any] = {"input": {}, "process": {"sequence": ";".join(sequence)}}
    for name in ("image", "convention", *sequence):
        keys = sorted(panaskimg._rules_of(name))
        table = data.draw(st.dictionaries(st.sampled_from(keys), ANYTHING, max_size=4))
        (tables["process"] if name in sequence else tables["input"])[name] = table
    try:
        result = sk.import_panaskimg(tables)
    except sk.ConfigError as error:
        assert "make no config" in str(error)
    else:
        given = sum(len(tables["process"].get(name, ())) for name in sequence)
        assert len(result.told) >= given
