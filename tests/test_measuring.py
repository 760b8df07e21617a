"""Measures of a run: the same numbers as the functions alone, from one read, in planned memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from numpy.typing import NDArray

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream.cli import main
from skipstream.measuring import MOST_SERIES

N_ROWS, N_COLS, N_SKIPS, OVERSCAN = 120, 200, 40, 40
GAIN = 8.0

CONFIG: dict[str, Any] = {
    "input": {"n_skips": N_SKIPS, "overscan_cols": OVERSCAN},
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "std"]},
        {"kind": "subtract_pedestal"},
        {"kind": "calibrate", "gain": "fit"},
    ],
    "measure": [
        {"kind": "noise_vs_skips"},
        {"kind": "noise_vs_skips", "name": "noise_active", "region": "active", "robust": False},
        {"kind": "charge_loss", "sample": 1},
        {"kind": "noise_spectrum"},
        {"kind": "fit_dark_current", "after": "subtract_pedestal"},
        {"kind": "fit_calibration", "after": "subtract_pedestal"},
        {"kind": "fit_dark_current_slices", "step": 40},
        {"kind": "find_patterns"},
        {"kind": "measure_cti", "low": 50, "high": 500, "n_groups": 2},
        {"kind": "measure_crosstalk", "low": 50.0, "high": 500.0},
        {"kind": "charge_per_axis", "axis": "column", "max_charge": 20},
        {"kind": "fit_column_transient", "after": "subtract_pedestal"},
        {"kind": "measure_halo", "threshold": 50, "max_radius": 10, "n_rings": 10},
        {"kind": "fit_gaussian", "after": "subtract_pedestal"},
        {"kind": "correlated_noise", "after": "subtract_pedestal"},
    ],
}


def samples_with(seed: int) -> NDArray[np.int32]:
    """Single electrons, some bright pixels, noise of 4 ADU a sample, pedestal 1000 by rows."""
    random = np.random.default_rng(seed)
    charge = random.poisson(0.3, (N_ROWS, N_COLS)).astype(float)
    charge[random.random(charge.shape) < 0.01] += 100
    charge[:, 50] += 5
    charge[:, -OVERSCAN:] = 0
    pedestal = 1000 + random.normal(0, 20, (N_ROWS, 1))
    noise = random.normal(0, 4, (N_ROWS, N_COLS, N_SKIPS))
    return np.rint((pedestal + GAIN * charge)[..., None] + noise).astype(np.int32)


@pytest.fixture(scope="module")
def raw() -> dict[str, NDArray[np.int32]]:
    return {"L": samples_with(1), "U": samples_with(2)}


@pytest.fixture(scope="module")
def path(raw: dict[str, NDArray[np.int32]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "raw.fits"
    hdus = [fits.ImageHDU(s.reshape(N_ROWS, -1), name=name) for name, s in raw.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


@pytest.fixture(scope="module")
def results(path: Path) -> dict[str, sk.ImageResult]:
    found = list(sk.run(sk.load_config(CONFIG), [path]))
    assert [r.status for r in found] == ["done", "done"], [r.message for r in found]
    return {r.amplifier: r for r in found}


def values_of(result: Any) -> list[float]:
    return [result[name] for name in result]


def test_a_run_measures_what_the_functions_measure(
    raw: dict[str, NDArray[np.int32]], results: dict[str, sk.ImageResult]
) -> None:
    overscans = {}
    for amplifier, samples in raw.items():
        measures = results[amplifier].measures
        mean = sk.compress_skips(samples)["mean"]
        pixels = mean - np.median(mean[:, -OVERSCAN:], axis=1, keepdims=True)
        active = pixels[:, :-OVERSCAN].astype(np.float32)
        alone = sk.fit_dark_current(active)
        assert values_of(measures["fit_dark_current"]) == values_of(alone)
        assert values_of(measures["fit_calibration"]) == values_of(sk.fit_calibration(active))
        overscans[amplifier] = pixels[:, -OVERSCAN:].astype(np.float32)
        alone = sk.fit_gaussian(overscans[amplifier])
        assert values_of(measures["fit_gaussian"]) == values_of(alone)
        loss = sk.charge_loss(samples[:, :-OVERSCAN, 1], samples[:, :-OVERSCAN, -1])
        assert values_of(measures["charge_loss"]) == values_of(loss)
        every = samples.shape[0] * samples.shape[1] // MOST_SERIES
        assert every > 1
        spectrum = sk.noise_spectrum(samples.reshape(-1, 1, samples.shape[2])[::every])
        np.testing.assert_array_equal(measures["noise_spectrum"].amplitude, spectrum.amplitude)
        electrons = results[amplifier].planes["mean"][:, :-OVERSCAN]
        assert measures["find_patterns"].counts == sk.find_patterns(electrons).counts
        profile = measures["charge_per_axis"]
        alone = sk.charge_per_axis(electrons, axis="column", max_charge=20)
        np.testing.assert_array_equal(profile.mean, alone.mean)
        assert [number for number, _ in profile.outliers] == [50]
        assert values_of(profile.line) == values_of(alone.line)
        transient = sk.fit_column_transient(active)
        assert measures["fit_column_transient"].reason == transient.reason != ""
        halo = sk.measure_halo(electrons, threshold=50, max_radius=10, n_rings=10)
        assert measures["measure_halo"]["background"] == halo["background"]
    left, right = (r.planes["mean"][:, :-OVERSCAN] for r in results.values())
    alone = sk.measure_crosstalk(left, right, low=50, high=500)
    assert values_of(results["L"].measures["measure_crosstalk:U"]) == values_of(alone)
    alone = sk.correlated_noise(overscans["L"], overscans["U"])
    assert alone.status == "ok"
    found = results["L"].measures["correlated_noise:U"]
    assert values_of(found) == values_of(alone)
    assert found.units == alone.units
    only = set(results["U"].measures) - set(results["L"].measures)
    assert only == {"measure_crosstalk:L", "correlated_noise:L"}


def test_the_numbers_are_those_of_the_truth(results: dict[str, sk.ImageResult]) -> None:
    for result in results.values():
        noise = result.measures["noise_vs_skips"]
        assert noise["sigma_1"] == pytest.approx(4, rel=0.05)  # 1.2 % of 4,800 pixels' MAD
        assert noise["exponent"] == pytest.approx(0.5, abs=0.05)
        assert result.measures["fit_calibration"]["gain"] == pytest.approx(GAIN, rel=0.01)
        assert result.measures["fit_dark_current"]["dark_current"] == pytest.approx(0.3, abs=0.02)
        (gain,) = (f["value"] for f in result.report["findings"] if f["name"] == "gain")
        # The measure takes float32 pixels: counts move between bins.
        assert gain == pytest.approx(result.measures["fit_calibration"]["gain"], rel=1e-4)


def test_the_table_holds_every_number(path: Path, tmp_path: Path) -> None:
    config = sk.load_config({**CONFIG, "output": [
        {"path": "{stem}_measures.ecsv"}, {"path": "{stem}_m.fits", "table": "measures"},
        {"path": "{stem}_measures.csv"}]})  # fmt: skip
    found = list(sk.run(config, [path], output=tmp_path))
    assert [r.status for r in found] == ["done", "done"]
    table = Table.read(tmp_path / "raw_measures.ecsv")
    for result in found:
        for name, measure in result.measures.items():
            if not isinstance(measure, sk.FitResult):
                continue
            name, _, other = name.partition(":")
            amplifier = f"{result.amplifier}>{other}" if other else result.amplifier
            rows = table[(table["amplifier"] == amplifier) & (table["measure"] == name)]
            assert list(rows["quantity"]) == list(measure)
            np.testing.assert_array_equal(rows["value"], values_of(measure))
            np.testing.assert_array_equal(rows["error"], [measure.errors[q] for q in measure])
            assert list(rows["value_unit"].filled("")) == [measure.units[q] for q in measure]
        profile = result.measures["charge_per_axis"]
        of_profile = (table["amplifier"] == result.amplifier) & (
            table["measure"] == "charge_per_axis"
        )
        rows = table[of_profile]
        names = ["constant", "slope", "outlier_1_column", "outlier_1_mean"]
        assert list(rows["quantity"]) == names
        assert list(rows["value"]) == [*values_of(profile.line), 50, profile.mean[50]]
    assert len(Table.read(tmp_path / "raw_m.fits")) == len(table)
    assert len(Table.read(tmp_path / "raw_measures.csv")) == len(table)


def test_measures_do_not_depend_on_threads(path: Path, results: dict[str, sk.ImageResult]) -> None:
    for result in sk.run(sk.load_config(CONFIG), [path], threads=3):
        for name, measure in results[result.amplifier].measures.items():
            if isinstance(measure, sk.FitResult):
                np.testing.assert_array_equal(values_of(result.measures[name]), values_of(measure))


def check_histograms(pipeline: Any, samples: NDArray[Any], blank: int | None = None) -> None:
    """Compare with all bins around the first pixel; bins at the ends are there if one is filled."""
    firsts, counts, below, above = pipeline.sample_histograms()
    assert len(firsts) == samples.shape[2]
    assert not counts.size or (counts[:, 0].any() and counts[:, -1].any())
    for skip, first in enumerate(firsts):
        values = samples[..., skip].astype(np.int64).ravel()
        low = values[0] - 8192
        values = values[values != blank]
        inside = values[(values >= low) & (values < low + 16384)]
        expected = np.bincount(inside - low, minlength=16384)
        found = np.zeros(16384, np.int64)
        found[first - low : first - low + counts.shape[1]] = counts[skip]
        np.testing.assert_array_equal(found, expected)
        assert below[skip] == (values < low).sum()
        assert above[skip] == (values >= low + 16384).sum()


def test_kept_samples_are_those_of_the_rows(raw: dict[str, NDArray[np.int32]]) -> None:
    from skipstream import _core

    samples = raw["L"][:17, :, :5]
    for dtype in ("<i4", ">i2", "<u2", ">f4"):
        array = np.ascontiguousarray(samples.astype(dtype))
        for chunk_rows, step in [(1, 1), (3, 4), (0, 17), (5, 2)]:
            pipeline = _core.Pipeline(
                [{"kind": "compress_skips"}],
                _core.ImageInfo(n_cols=N_COLS, n_skips=5, dtype=dtype, n_rows=17),
                threads=2, chunk_rows=chunk_rows, n_histograms=5,
            )  # fmt: skip
            for number, region in enumerate([(0, 200, step), (7, 8, 1)]):
                assert pipeline.keep_samples(*region) == number
            names = ["mean(3)", "sample(-1)"]
            assert pipeline.keep_samples(3, 90, step, names) == 2
            room = pipeline.plan["record_bytes"]
            for row in range(0, 17, 6):
                pipeline.push(array[row : row + 6])
            pipeline.finish()
            np.testing.assert_array_equal(pipeline.kept_samples(0), array[::step])
            np.testing.assert_array_equal(pipeline.kept_samples(1), array[:, 7:8])
            part = np.ascontiguousarray(array[::step, 3:90])
            planes = sk.compress_skips(part, names)
            kept = pipeline.kept_samples(2)
            assert kept.shape == (2, *part.shape[:2])
            np.testing.assert_array_equal(kept, [planes[name] for name in names])
            assert room > sum(pipeline.kept_samples(number).nbytes for number in range(3))
            if "f" in dtype:
                continue
            check_histograms(pipeline, array)


@pytest.mark.parametrize("dtype", ["u1", "i1", ">i2", "<u2", "<i4", ">u4", ">i8"])
def test_histograms_of_any_samples_leave_blank_ones_out(dtype: str) -> None:
    from skipstream import _core

    n_skips = 70  # more than are counted side by side
    kind = np.dtype(dtype)
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.itemsize < 4 else (-9000, 90_000)
    low = max(low, np.iinfo(kind).min)
    random = np.random.default_rng(1)
    samples = random.integers(low, high, (9, 11, n_skips), endpoint=True).astype(kind)
    samples[0, 0, :] = 7
    samples[:, ::3] = 5
    info = _core.ImageInfo(n_cols=11, n_skips=n_skips, dtype=dtype, n_rows=9, blank=5)
    pipeline = _core.Pipeline([{"kind": "compress_skips"}], info, threads=2, n_histograms=100)
    pipeline.push(samples)
    pipeline.finish()
    check_histograms(pipeline, samples, blank=5)


@pytest.mark.parametrize(("sample", "wrong"), [(99, "from -16 to 15"), (-17, "got -17")])
def test_a_check_hears_what_a_run_would(sample: int, wrong: str, tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", np.zeros((4, 5 * 16), "i2"))
    (tmp_path / "c.toml").write_text(
        "[input]\nn_skips = 16\n[[stage]]\nkind = 'compress_skips'\n"
        f"[[measure]]\nkind = 'charge_loss'\nsample = {sample}\n"
    )
    done = CliRunner().invoke(main, ["check", str(tmp_path / "c.toml"), str(tmp_path / "a.fits")])
    assert done.exit_code != 0
    assert wrong in done.output
    (result,) = sk.run(sk.load_config(tmp_path / "c.toml"), [tmp_path / "a.fits"])
    assert (result.status, wrong in result.message) == ("failed", True)


def test_rows_that_are_missing_are_not_among_the_kept_ones() -> None:
    from skipstream import _core

    pipeline = _core.Pipeline(
        [{"kind": "compress_skips"}],
        _core.ImageInfo(n_cols=2, n_skips=3, dtype="<i4", n_rows=5),
    )
    pipeline.keep_samples(0, 2, 2)
    pipeline.keep_samples(0, 1, 2, ["mean"])
    pipeline.push(np.ones((3, 2, 3), "<i4"))
    pipeline.push_missing(2)
    pipeline.finish()
    for number in (0, 1):
        assert pipeline.rows_there(number).tolist() == [True, True, False]
    assert pipeline.kept_samples(0)[:, 0, 0].tolist() == [1, 1, 0]
    np.testing.assert_array_equal(pipeline.kept_samples(1), [[[1], [1], [np.nan]]])
    with pytest.raises(sk.ConfigError, match="no region 2"):
        pipeline.kept_samples(2)


@pytest.mark.parametrize("stages", [[], [{"kind": "subtract_baseline"}]])
@pytest.mark.parametrize("threads", [1, 2])
def test_lost_rows_are_no_samples(stages: list[dict[str, str]], threads: int) -> None:
    from skipstream import _core

    samples = np.random.default_rng(1).normal(100, 3, (12, 40, 20)).astype("<f4")
    if not stages:
        samples = np.rint(samples).astype("<i4")
    dtype = samples.dtype.str
    info = _core.ImageInfo(n_cols=40, n_skips=20, dtype=dtype, n_rows=12, overscan_cols=9)
    made = []
    for lost in ((), (0, 4, 5, 6, 11)):
        pipeline = _core.Pipeline(
            [*stages, {"kind": "compress_skips"}], info, threads=threads, n_histograms=20
        )
        whole = pipeline.keep_samples(0, 40, 1)
        every = pipeline.keep_samples(3, 30, 2, ["mean(2)", "sample(5)"])
        huge = pipeline.keep_samples(0, 1, 2**63 - 1, ["mean"])
        for row in range(12):
            if row in lost:
                pipeline.push_lost(40 * 20)
            else:
                pipeline.push(samples[row : row + 1])
        pipeline.finish()
        there = np.array([row not in lost for row in range(12)])
        assert pipeline.rows_there(whole).tolist() == there.tolist()
        assert pipeline.rows_there(every).tolist() == there[::2].tolist()
        assert pipeline.kept_samples(huge).shape == (1, 1, 1)
        made.append((pipeline.kept_samples(whole), pipeline.kept_samples(every), there))
        if not stages:
            check_histograms(pipeline, samples[there])
    (all_rows, planes, _), (some_rows, some_planes, there) = made
    np.testing.assert_array_equal(some_rows[there], all_rows[there])
    assert not some_rows[~there].any()
    np.testing.assert_array_equal(some_planes[:, there[::2]], planes[:, there[::2]])
    assert np.isnan(some_planes[:, ~there[::2]]).all()


def test_large_images_keep_a_part_of_their_rows(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(0, 3, (300, 100, 400))
    fits.writeto(tmp_path / "a.fits", samples.astype(np.float32).reshape(300, -1))
    config = sk.load_config({
        "input": {"n_skips": 400, "prescan_rows": 5},
        "stage": [{"kind": "compress_skips"}],
        "measure": [{"kind": "noise_vs_skips"}],
    })  # fmt: skip
    (result,) = sk.run(config, [tmp_path / "a.fits"])
    # 48 MB of samples: every third row is taken, from row 6 on, and its means are kept.
    n_kept = 8 * 100 * 100 * len(result.measures["noise_vs_skips"].series.x)
    assert n_kept < result.report["plan"]["record_bytes"] < n_kept + 200_000
    assert result.measures["noise_vs_skips"].n_values == 98 * 100
    assert result.measures["noise_vs_skips"]["sigma_1"] == pytest.approx(3, rel=0.03)


BASE = {"kind": "subtract_baseline"}


def test_samples_are_measured_in_adu_and_without_those_that_are_missing(tmp_path: Path) -> None:
    samples = np.rint(np.random.default_rng(1).normal(1000, 20, (60, 80, 50))).astype("<i2")
    samples[..., 0] += 5
    missing = samples.copy()
    missing[::4, 7, 20] = -32768
    config = {
        "input": {"n_skips": 50, "overscan_cols": 20},
        "stage": [{"kind": "compress_skips"}],
        "measure": [
            {"kind": "noise_vs_skips", "region": "all"},
            {"kind": "charge_loss", "region": "all"},
            {"kind": "noise_spectrum"},
        ],
    }  # fmt: skip
    found = {}
    for name, stored, cards, stages in (
        ("plain", samples, {}, []),
        ("scaled", samples, {"BSCALE": 0.5, "BZERO": 100.0}, []),
        ("blank", missing, {"BLANK": -32768}, []),
        ("inverted", samples, {}, [{"kind": "correct_polarity"}]),
        ("based", samples, {}, [BASE]),
        ("scaled and based", samples, {"BSCALE": 0.5, "BZERO": 100.0}, [BASE]),
        ("based, none is blank", samples, {"BLANK": 0}, [BASE]),
    ):
        hdu = fits.ImageHDU(stored.reshape(60, -1))
        hdu.header.update(cards)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(
            tmp_path / f"{name}.fits", output_verify="ignore"
        )
        whole = sk.load_config({**config, "stage": [*stages, *config["stage"]]})
        (result,) = sk.run(whole, [tmp_path / f"{name}.fits"])
        assert result.status == "done", result.message
        found[name] = result.measures
    plain, based = found["plain"], found["based"]
    for name, factor in (("scaled and based", 0.5), ("based, none is blank", 1.0)):
        noise, loss, spectrum = found[name].values()
        assert noise["sigma_1"] == pytest.approx(factor * based["noise_vs_skips"]["sigma_1"])
        expected = factor * based["charge_loss"]["mean_difference"]
        assert loss["mean_difference"] == pytest.approx(expected)
        assert spectrum.amplitude == pytest.approx(factor * based["noise_spectrum"].amplitude)
        assert spectrum.n_series == based["noise_spectrum"].n_series
    assert plain["noise_vs_skips"]["sigma_1"] == pytest.approx(20, rel=0.03)
    assert plain["charge_loss"]["mean_difference"] == pytest.approx(5, abs=2)
    for name, factor in (("scaled", 0.5), ("inverted", -1.0), ("blank", 1.0)):
        close = {"rel": 1e-9} if name != "blank" else {"rel": 0.01}
        noise, loss, spectrum = found[name].values()
        for quantity in ("sigma_1", "sigma_last"):
            expected = abs(factor) * plain["noise_vs_skips"][quantity]
            assert noise[quantity] == pytest.approx(expected, **close), name
        expected = factor * plain["charge_loss"]["mean_difference"]
        assert loss["mean_difference"] == pytest.approx(expected, **close), name
        expected = abs(factor) * plain["noise_spectrum"].amplitude
        assert spectrum.amplitude == pytest.approx(expected, **close), name
        n_without = plain["noise_spectrum"].n_series - spectrum.n_series
        assert n_without == (15 if name == "blank" else 0)


def test_the_raw_file_is_read_once(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys, tomllib, skipstream as sk\n"
        "def n_read():\n"
        "    lines = dict(line.split(': ') for line in open('/proc/self/io').read().splitlines())\n"
        "    return int(lines['rchar'])\n"
        f"config = sk.load_config({CONFIG!r})\n"
        "from skipstream import charge, running, measuring\n"
        "import iminuit, scipy.stats, scipy.optimize\n"
        "list(sk.run(config, sys.argv[1:2]))\n"  # what is imported late is there
        "before = n_read()\n"
        "list(sk.run(config, sys.argv[1:2]))\n"
        "print(n_read() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_read, size = int(done.stdout), path.stat().st_size
    assert size <= n_read < size * 1.02  # headers are looked at a few times


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ({"kind": "fit_dark_curent"}, r'measure\[0\]\.kind: no measure .*"fit_dark_current"'),
        ({}, r"measure\[0\]\.kind: no measure nothing"),
        ({"kind": "charge_loss", "sampel": 3}, r'no key "sampel"; did you mean "sample"\?'),
        ({"kind": "charge_loss", "sample": "x"}, r'charge_loss\.sample: must be a whole number'),
        ({"kind": "charge_loss", "sample": True}, r"must be a whole number; got true"),
        ({"kind": "charge_loss", "after": "calibrate"}, "samples are taken before any stage"),
        ({"kind": "fit_dark_current", "after": "calibrat"}, r'did you mean "calibrate"\?'),
        ({"kind": "fit_dark_current", "gain": "x"}, "gain: must be a number"),
        ({"kind": "fit_dark_current", "region": "all of it"}, "is not one of auto, active"),
        ({"kind": "fit_dark_current", "name": "a b"}, "must be of letters"),
        ({"kind": "fit_dark_current", "ignored_bits": ["X"]}, "must be a list of NODATA"),
        ({"kind": "measure_cti", "low": 3}, 'measure_cti: no key "high"'),
    ],
)  # fmt: skip
def test_mistakes_of_a_measure_say_what_would_be_right(measure: dict[str, Any], words: str) -> None:
    with pytest.raises(sk.ConfigError, match=words):
        sk.load_config({**CONFIG, "measure": [measure]})


def test_mistakes_of_measures_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[[stage]]\nkind = "compress_skips"\n\n[[measure]]\nkind = "fit_dark_current"\n'
                    'gian = 3\n[[measure]]\nkind = "fit_dark_current"\n')  # fmt: skip
    with pytest.raises(sk.ConfigError, match=r'c\.toml:6: measure\[0\] .*did you mean "gain"'):
        sk.load_config(path)
    path.write_text(path.read_text().replace("gian = 3", "gain = 3"))
    with pytest.raises(sk.ConfigError, match=r"c\.toml:\d: measure\[1\] .*another measure's"):
        sk.load_config(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measure": []}, "there is no"),
        ({"output": [{"path": "{stem}_measures.csv", "after": "calibrate"}]}, "remove the key"),
    ],
)
def test_mistakes_of_the_table_of_measures(change: dict[str, Any], words: str) -> None:
    output = [{"path": "{stem}_measures.csv"}]
    with pytest.raises(sk.ConfigError, match=words):
        sk.load_config({**CONFIG, "output": output, **change})


def test_an_overscan_that_is_not_there_cannot_be_measured(path: Path) -> None:
    measure = [{"kind": "noise_vs_skips", "region": "overscan"}]
    config = sk.load_config({
        "input": {"n_skips": N_SKIPS}, "stage": [{"kind": "compress_skips"}], "measure": measure,
    })  # fmt: skip
    (result,) = sk.run(config, [path])
    assert result.status == "failed"
    assert "noise_vs_skips.region: the image has no overscan" in result.message


def test_a_gain_that_cannot_be_fitted_fails_the_image_and_no_other(tmp_path: Path) -> None:
    image = np.random.default_rng(1).normal(0, 1, (30, 40)).astype(np.float32)
    fits.writeto(tmp_path / "noise.fits", image * 0)
    charge = np.random.default_rng(1).poisson(0.5, (80, 90)) * 5 + np.resize(image, (80, 90))
    fits.writeto(tmp_path / "good.fits", charge.astype(np.float32))
    config = sk.load_config({
        "input": {"n_skips": 1},
        "stage": [{"kind": "compress_skips"}, {"kind": "calibrate", "gain": "fit"}],
    })  # fmt: skip
    bad, good = sk.run(config, [tmp_path / "noise.fits", tmp_path / "good.fits"])
    assert (bad.status, bad.reason) == ("failed", "fit")
    assert 'calibrate.gain: "fit" found no gain' in bad.message
    assert good.status == "done"
    electrons = good.planes["mean"]
    assert abs(np.median(electrons[(electrons > 0.5) & (electrons < 1.5)]) - 1) < 0.02


def test_memory_of_measures_is_in_the_plan_that_a_limit_refuses(path: Path) -> None:
    config = sk.load_config(CONFIG)
    results = list(sk.run(config, [path], memory_limit=1 << 20))
    assert [r.status for r in results] == ["failed"]
    assert "the limit leaves" in results[0].message


def test_the_dark_current_of_a_day_comes_with_the_exposure(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    image = 5 * random.poisson(0.4, (100, 200)) + random.normal(0, 0.6, (100, 200))
    header = fits.Header({"EXPTIME": 3600.0, "READTIME": 7200.0})
    fits.writeto(tmp_path / "a.fits", image.astype("f4"), header)
    measure = {"kind": "fit_dark_current", "exposure_s": "EXPTIME", "read_s": "READTIME",
               "serial_binning": 2}  # fmt: skip
    config: dict[str, Any] = {"input": {"n_skips": 1}, "stage": [{"kind": "compress_skips"}]}
    (result,) = sk.run(sk.load_config({**config, "measure": [measure]}), [tmp_path / "a.fits"])
    fit = result.measures["fit_dark_current"]
    assert fit["dark_current_day"] == fit["dark_current"] / 2 * 86400 / 7200
    assert fit.errors["dark_current_day"] == fit.errors["dark_current"] / 2 * 86400 / 7200
    assert fit.units["dark_current_day"] == "electron/pixel/day"
    wrong = {**measure, "exposure_s": "EXPTIM"}
    (result,) = sk.run(sk.load_config({**config, "measure": [wrong]}), [tmp_path / "a.fits"])
    assert result.status == "failed"
    assert 'exposure_s: the header has no number "EXPTIM"; did you mean "EXPTIME"' in result.message


@pytest.mark.parametrize(("over", "n_before"), [("skips", 1), ("row", 10)])
def test_a_spectrum_has_the_frequencies_of_the_readout(
    over: str, n_before: int, tmp_path: Path
) -> None:
    samples = np.random.default_rng(6).normal(0, 1, (20, 30, 10)).astype("f4")
    fits.writeto(tmp_path / "a.fits", samples.reshape(20, -1), fits.Header({"READTIME": 6.0}))
    config = sk.load_config({
        "input": {"n_skips": 10}, "stage": [{"kind": "compress_skips"}],
        "measure": [{"kind": "noise_spectrum", "over": over, "read_s": "READTIME"}],
    })  # fmt: skip
    (result,) = sk.run(config, [tmp_path / "a.fits"])
    spectrum = result.measures["noise_spectrum"]
    assert spectrum.frequency_unit == "Hz"
    # Half of the rate of samples, or of pixels.
    assert spectrum.frequency[-1] == pytest.approx(0.5 * 6000 / 6 / n_before)
