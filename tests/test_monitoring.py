"""A run against a reference: the same detector is ok, and what changed is bad where it changed."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from click.testing import CliRunner, Result
from numpy.typing import NDArray

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream.cli import main
from skipstream.ledger import Ledger
from skipstream.monitoring import read_thresholds
from skipstream.run_differences import (
    count_test,
    distribution_test,
    mean_test,
    residual_test,
    share_test,
)

GAIN, PRESCAN, OVERSCAN, N_SKIPS = 5.0, 4, 30, 6

CONFIG: dict[str, Any] = {
    "input": {"prescan_cols": PRESCAN, "overscan_cols": OVERSCAN},
    "stage": [
        {"kind": "compress_skips"},
        {"kind": "subtract_pedestal"},
        {"kind": "calibrate", "gain": GAIN},
    ],
    "measure": [{"kind": "fit_gaussian"}],
}


def image(
    random: np.random.Generator,
    *,
    noise: float = 2.0,
    gain: float = GAIN,
    hot: int | None = None,
    shift: float = 0.0,
    shape: tuple[int, int] = (60, 110),
) -> NDArray[np.int32]:
    """Single electrons, a track, pedestals that wander from row to row and from image to image."""
    charge = random.poisson(0.2, shape).astype(float)
    row, col = random.integers(shape[0] - 5), random.integers(8, shape[1] - OVERSCAN - 5)
    charge[row : row + 4, col : col + 3] += random.uniform(50, 500)
    charge[:, :PRESCAN] = charge[:, -OVERSCAN:] = 0
    if hot is not None:
        charge[:, hot] += 3
    pedestal = 1000 + shift + random.normal(0, 2, (shape[0], 1)) + random.normal(0, 0.5)
    samples = (pedestal + gain * charge)[..., None] + random.normal(0, noise, (*shape, N_SKIPS))
    return np.rint(samples).astype("i4")


def run_of(folder: Path, seed: int, n: int = 3, **options: Any) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    paths = []
    for number in range(n):
        samples = image(random, **options)
        paths.append(folder / f"raw_{number}.fits")
        header = fits.Header({"NDCMS": N_SKIPS})
        fits.PrimaryHDU(samples.reshape(len(samples), -1), header).writeto(paths[-1])
    done = list(sk.run(sk.load_config(CONFIG), paths, output=folder / "out"))
    assert [r.status for r in done] == ["done"] * n
    return folder / "out"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("reference") / "run", 1)


def bad_of(found: sk.Comparison) -> set[str]:
    return {e.name for e in found.of("bad")}


def test_the_same_detector_is_ok_as_often_as_it_should_be(tmp_path: Path) -> None:
    # Twelve pairs; every difference matters, and one in twenty may be called a warning.
    every = {name: {"least": 0.0} for name in ("noise", "charge", "row_median", "measures")}
    n_tests = n_warned = 0
    for pair in range(12):
        runs = [run_of(tmp_path / f"{pair}{side}", 100 + 2 * pair + side, 2) for side in (0, 1)]
        found = sk.compare_runs(*runs, thresholds={"warn": 0.05, "bad": 1e-6, **every})
        assert found.of("bad") == [], found
        n_tests += len(found.elements)
        n_warned += len(found.of("warn"))
        assert sk.compare_runs(*runs).verdict == "ok"
        shutil.rmtree(tmp_path / f"{pair}0")
        shutil.rmtree(tmp_path / f"{pair}1")
    # Elements of a run share their pixels: their number varies more than that of independent ones.
    assert n_tests > 150
    assert n_warned / n_tests < 0.05 + 3 * math.sqrt(0.05 / n_tests) * 1.5


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("options", "bad", "untouched"),
    [
        ({"noise": 4.0}, {"noise", "overscan_sigma", "active_mad"}, {"pedestal", "hot_columns"}),
        ({"hot": 50}, {"column_median", "hot_columns"}, {"noise", "overscan_sigma", "pedestal"}),
        ({"shift": 60.0}, {"pedestal"}, {"noise", "charge", "column_median", "hot_columns"}),
        ({"gain": 6.5}, {"charge"}, {"noise", "pedestal", "overscan_sigma", "hot_columns"}),
    ],
    ids=["noise doubled", "hot column", "overscan shifted", "gain changed"],
)
def test_what_changed_is_bad_where_it_changed(
    tmp_path: Path, reference: Path, n: int, options: dict[str, Any], bad: set[str],
    untouched: set[str],
) -> None:  # fmt: skip
    found = sk.compare_runs(run_of(tmp_path / "run", 7, n, **options), reference)
    assert found.verdict == "bad"
    assert bad <= bad_of(found), found
    assert not untouched & bad_of(found), found
    assert untouched <= {e.name for e in found.elements} | {"gain"}
    if "hot" in options:
        for name in ("column_median", "hot_columns"):
            assert found["EXT0", name].where == 50
        assert found["EXT0", "hot_columns"].value > 0.9


def test_the_verdicts_are_kept_beside_the_run(tmp_path: Path, reference: Path) -> None:
    out = run_of(tmp_path / "run", 8, 2, noise=4.0)
    done = compare(out, reference, "--fail-on", "bad", "--table", tmp_path / "v.ecsv")
    assert done.exit_code == 1, done.output
    assert "BAD (" in done.output
    kept = json.loads((out / "dqm.json").read_text())
    found = sk.compare_runs(out, reference)
    assert kept["verdict"] == "bad"
    assert [e["name"] for e in kept["elements"]] == [e.name for e in found.elements]
    element = next(e for e in kept["elements"] if e["name"] == "column_mad")
    assert len(element["series"]) == len(element["reference_series"]) == 110 - PRESCAN - OVERSCAN
    charge = next(e for e in kept["elements"] if e["name"] == "charge")
    assert len(charge["series"]) == len(charge["at"])
    assert charge["series"] == sorted(charge["series"])
    event = [e for e in Ledger(out).entries() if e["event"] == "dqm"][-1]
    assert event["verdict"] == "bad"
    assert "EXT0 noise" in event["bad"]
    assert Ledger(out).counts()["done"] == 2
    table = AstropyTable.read(tmp_path / "v.ecsv", format="ascii.ecsv")
    assert list(table["element"]) == [e.name for e in found.elements]
    assert list(table["verdict"]) == [e.verdict for e in found.elements]


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_the_exit_code_is_that_which_was_asked_for(tmp_path: Path, reference: Path) -> None:
    same = run_of(tmp_path / "same", 9, 2)
    assert compare(same, reference, "--fail-on", "warn").exit_code == 0
    (tmp_path / "dqm.toml").write_text("[dqm]\nwarn = 1\nbad = 0\n[dqm.noise]\nleast = 0\n")
    warned = compare(same, reference, "--config", tmp_path / "dqm.toml", "--fail-on", "warn")
    assert warned.exit_code == 1, warned.output
    quiet = compare(same, reference, "--config", tmp_path / "dqm.toml", "--fail-on", "bad")
    assert quiet.exit_code == 0
    shown = compare(same, reference, "--all").output
    assert shown.count("\n") == len(sk.compare_runs(same, reference).elements) + 1
    as_json = json.loads(compare(same, reference, "--json").output)
    assert as_json["verdict"] == "ok"


def test_a_folder_that_was_moved_is_found(tmp_path: Path, reference: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(reference, moved)
    found = sk.compare_runs(moved, reference)
    assert found.verdict == "ok"
    assert all(e.value == e.reference for e in found.elements if e.name != "hot_pixels")


def test_what_cannot_be_compared_says_why(tmp_path: Path, reference: Path) -> None:
    assert "no run.jsonl" in compare(tmp_path, reference).output
    bare = tmp_path / "bare"
    fits.PrimaryHDU(np.ones((10, 40), "i2")).writeto(tmp_path / "a.fits")
    output = [{"after": "find_clusters", "path": "{stem}_clusters.csv"}]
    stage = {"kind": "find_clusters", "threshold": 3, "seed": 5, "noise": 1.0}
    config = sk.load_config({"stage": [CONFIG["stage"][0], stage], "output": output})
    list(sk.run(config, [tmp_path / "a.fits"], output=bare))
    assert "has no planes and no measures" in compare(bare, reference).output
    (tmp_path / "bad.toml").write_text("[dqm]\nwarm = 1\n[dqm.noisy]\nbad = 2\n")
    wrong = compare(reference, reference, "--config", tmp_path / "bad.toml")
    assert wrong.exit_code == 2
    assert 'no key "warm"; did you mean "warn"?' in wrong.output
    assert 'no element "noisy"; did you mean "noise"?' in wrong.output
    assert "must end in" in compare(reference, reference, "--table", "v.xlsx").output
    (tmp_path / "none.toml").write_text("[input]\n")
    none = compare(reference, reference, "--config", tmp_path / "none.toml")
    assert "has no table [dqm]" in none.output


def test_what_others_changed_is_one_clear_message(tmp_path: Path, reference: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(reference, broken)
    journal = (broken / "run.jsonl").read_text().replace(str(reference), str(broken))
    strange = [[1], ["a", 2, 3, 4], [-1, 2, 3, 4], [5, 2, 3, 1]]
    for region in strange[:3]:
        lines = [json.loads(line) for line in journal.splitlines()]
        for line in lines:
            if line["event"] == "image":
                line["active"] = region
        (broken / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert compare(broken, reference).exit_code == 0
    (broken / "run.jsonl").write_text(journal)
    planes = next(iter(broken.glob("*planes.fits")))
    planes.write_bytes(planes.read_bytes()[:20000])
    done = compare(broken, reference)
    assert done.exit_code == 2, done.output
    assert planes.name in done.output


def test_other_amplifiers_and_units_are_told(tmp_path: Path, reference: Path) -> None:
    path = tmp_path / "two.fits"
    random = np.random.default_rng(3)
    hdus = [
        kind(image(random).reshape(60, -1), fits.Header({"NDCMS": N_SKIPS}))
        for kind in (fits.PrimaryHDU, fits.ImageHDU)
    ]
    fits.HDUList(hdus).writeto(path)
    config = {**CONFIG, "stage": CONFIG["stage"][:2]}
    list(sk.run(sk.load_config(config), [path], output=tmp_path / "out"))
    found = sk.compare_runs(tmp_path / "out", reference)
    assert found["EXT1", "images"].verdict == "bad"
    assert found["EXT0", "images"].note == "planes are in adu, the reference in electron"
    assert found.notes == ("the configs of the runs differ",)


def test_thresholds_stand_in_the_config_of_a_run() -> None:
    dqm = {"warn": 0.01, "charge": {"bad": 1e-9, "least": 0.02}}
    sk.load_config({"stage": CONFIG["stage"], "dqm": dqm})
    found = read_thresholds(dqm)
    assert (found["charge"].warn, found["charge"].bad, found["charge"].least) == (0.01, 1e-9, 0.02)
    for wrong, message in (
        ({"warn": "x"}, "dqm.warn: must be a number from 0 to 1"),
        ({"warn": 1e-9}, "bad must not be above warn"),
        ({"least": 1}, "is in the unit of an element"),
        ({"noise": {"least": -1}}, "must be a number at least 0"),
        (3, r"must be a table, \[dqm\]"),
    ):
        with pytest.raises(sk.ConfigError, match=message):
            sk.load_config({"stage": CONFIG["stage"], "dqm": wrong})


def test_means_are_tested_by_their_errors_where_these_hold() -> None:
    random = np.random.default_rng(4)
    values = [(float(v), 0.1) for v in random.normal(5, 0.1, 8)]
    found = mean_test(values[:4], values[4:])
    assert found is not None
    assert found.test == "z"
    assert found.p_value > 0.01
    drifting = [(float(v), 0.1) for v in random.normal(5, 3.0, 8)]
    found = mean_test(drifting[:4], drifting[4:])
    assert found is not None
    assert found.test == "welch"
    assert mean_test([(1.0, math.nan)], [(2.0, math.nan)]) is None
    constant = mean_test([(5.0, math.nan)] * 2, [(5.0, math.nan)] * 3)
    assert constant is not None
    assert constant.p_value == 1
    changed = mean_test([(5.0, math.nan)] * 2, [(5.2, math.nan)] * 3)
    assert changed is not None
    assert changed.p_value == 0


def test_residuals_find_a_line_and_a_share_of_lines() -> None:
    random = np.random.default_rng(5)
    p_values = []
    for _ in range(200):
        found = residual_test(random.normal(0, 1, 150), random.normal(0, 1, 150), 1.0)
        assert found is not None
        p_values.append(found.p_value)
    assert np.mean(np.array(p_values) < 0.1) < 0.17  # 0.1, and three standard deviations
    line = random.normal(0, 1, 150)
    line[40] += 12
    found = residual_test(line, np.zeros(150), 1.0)
    assert found is not None
    assert (found.where, found.p_value < 1e-6) == (40, True)
    many = random.normal(0, 1, 150)
    many[::8] += 4.5
    found = residual_test(many, np.zeros(150), 1.0)
    assert found is not None
    assert found.p_value < 1e-6
    assert residual_test(np.full(5, 1.0), np.zeros(5), 1.0) is None


def test_pixels_of_a_row_do_not_count_as_independent() -> None:
    random = np.random.default_rng(6)
    edges = np.linspace(-3, 3, 40)

    def blocks(shift: float = 0.0) -> NDArray[np.int64]:
        values = random.normal(shift, 1, (80, 200)) + random.normal(0, 0.5, (80, 1))
        bins = np.searchsorted(edges, values)
        return np.stack([np.bincount(row, minlength=41) for row in bins])

    p_values = []
    for _ in range(60):
        tested = distribution_test(blocks(), blocks())
        assert tested is not None
        p_values.append(tested[0].p_value)
    assert np.mean(np.array(p_values) < 0.05) < 0.14  # 0.05, and three standard deviations
    tested = distribution_test(blocks(0.6), blocks())
    assert tested is not None
    assert tested[0].p_value < 1e-6


def test_shares_and_counts_rise_only() -> None:
    seen = np.full((100, 20), 3)
    hot, reference = np.zeros((100, 20), int), np.zeros((100, 20), int)
    hot[:60, 7] = 3
    found = share_test(hot, seen, reference, seen, 0)
    assert found is not None
    assert (found[0].where, found[0].p_value < 1e-6) == (7, True)
    fewer = share_test(reference, seen, hot, seen, 0)
    assert fewer is not None
    assert fewer[0].p_value == 1
    assert count_test(40, 2).p_value < 1e-6
    assert count_test(2, 40).p_value == 1
