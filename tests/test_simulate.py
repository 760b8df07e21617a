"""The simulator: the file is what the truth says, whatever way it was made."""

from __future__ import annotations

import io
import math
import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstream import ConfigError
from skipstream import simulate as module
from skipstream.demo import demo
from skipstream.plot import match_clusters, plot_summary
from skipstream.simulate import (
    LAYOUTS,
    Truth,
    read_truth,
    simulate,
    simulate_samples,
    truth_path,
)

SHAPE: dict[str, Any] = {"n_rows": 40, "n_cols": 200, "n_skips": 6}
QUIET: dict[str, Any] = {
    "read_noise": 0, "dark_current": 0, "n_points": 0, "n_tracks": 0, "n_hot_columns": 0,
    "pedestal_drift": 0,
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "n_points": 5, "n_tracks": 3, "n_hot_columns": 2, "n_saturated": 4, "charge_loss": 0.1,
    "charge_loss_skip": 2, "missing_fraction": 0.05,
}  # fmt: skip


def written(truth: Truth, block_samples: int) -> bytes:
    image = io.BytesIO()
    module._write(truth, image, io.BytesIO(), io.BytesIO(), None, block_samples)
    return image.getvalue()


@pytest.mark.parametrize("layout", ["leach", "lta"])
def test_the_file_holds_the_samples_of_the_array(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    simulate(path, **SHAPE, seed=3, layout=layout)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert len(hdus) == len(LAYOUTS[layout].amplifiers)
        for number, hdu in enumerate(hdus):
            samples, truth = simulate_samples(**SHAPE, seed=3, layout=layout, amplifier=number)
            assert hdu.data.dtype.newbyteorder("=") == truth.dtype
            np.testing.assert_array_equal(hdu.data, samples.reshape(SHAPE["n_rows"], -1))


@pytest.mark.parametrize("layout", ["leach", "lta"])
def test_missing_samples_are_blank_in_the_file(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    truth = simulate(path, **SHAPE, seed=3, layout=layout, missing_fraction=0.1)
    samples, _ = simulate_samples(**SHAPE, seed=3, layout=layout, missing_fraction=0.1)
    floats, _ = simulate_samples(
        **SHAPE, seed=3, layout=layout, missing_fraction=0.1, dtype="float64"
    )
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        stored = hdus[0].data.reshape(samples.shape)
        np.testing.assert_array_equal(stored == hdus[0].header["BLANK"], np.isnan(floats))
    np.testing.assert_array_equal(samples == truth.blank, np.isnan(floats))
    np.testing.assert_array_equal(samples[~np.isnan(floats)], floats[~np.isnan(floats)])


def test_the_leach_header_says_what_a_leach_controller_says(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, seed=3)
    header = fits.getheader(tmp_path / "raw.fits")
    assert (header["BITPIX"], header["BZERO"], header["NAXIS1"]) == (16, 32768, 1200)
    assert (header["NDCMS"], header["AMPL"], header["MEXP"]) == (6, "L", 600_000)
    assert header["EXPSTART"] == "Wed Jan  1 00:00:00 2025"
    assert "BLANK" not in header


def test_the_lta_header_has_numbers_as_strings(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, seed=3, layout="lta")
    for number in range(4):
        header = fits.getheader(tmp_path / "raw.fits", number)
        assert (header["BITPIX"], header["NAXIS1"], header["NAXIS2"]) == (32, 1200, 40)
        assert (header["NSAMP"], header["NCOL"], header["NROW"]) == ("6", "200", "40")
        assert (header["CCDNPRES"], header["CCDNCOL"], header["CHID"]) == (
            "8", "324", str(number + 1),
        )  # fmt: skip
        assert header["DATESTART"] == "2025-01-01T00:10:00"


def test_the_header_states_the_truth(tmp_path: Path) -> None:
    truth = simulate(tmp_path / "raw.fits", **SHAPE, seed=3)
    header = fits.getheader(tmp_path / "raw.fits")
    for name, (keyword, _) in module._SIM_CARDS.items():
        value = getattr(truth, name)
        if isinstance(value, tuple):
            assert (header[f"{keyword}1"], header[f"{keyword}2"]) == value
        else:
            assert header[keyword] == value
    assert [header["SIMHOT1"], header["SIMHOT2"]] == truth.hot_columns[0].tolist()


@pytest.mark.parametrize("layout", ["leach", "lta"])
@pytest.mark.parametrize("noise_pool", [False, True])
@pytest.mark.parametrize("block_samples", [1, 4, 6, 35, 1 << 13])
def test_the_size_of_the_blocks_does_not_matter(
    layout: str, noise_pool: bool, block_samples: int
) -> None:
    shape = {"n_rows": 5, "n_cols": 40, "n_skips": 6}
    _, truth = simulate_samples(
        **shape, seed=1, layout=layout, noise_pool=noise_pool, **EVERYTHING | {"n_hot_columns": 1}
    )
    assert written(truth, block_samples) == written(truth, 1 << 17)


@pytest.mark.parametrize("step_pixels", [1, 600, 1 << 20])
def test_the_number_of_rows_at_a_time_does_not_matter(step_pixels: int) -> None:
    _, truth = simulate_samples(**SHAPE, seed=1, **EVERYTHING)
    whole = list(module._steps(truth, 0, 1 << 30))
    steps = list(module._steps(truth, 0, step_pixels))
    for name in ("charge", "charge_after", "pedestal", "events"):
        joined = np.concatenate([getattr(step, name) for step in steps])
        np.testing.assert_array_equal(joined, getattr(whole[0], name))
    row_samples = truth.n_cols * truth.n_skips
    gaps = [step.gaps + step.first_row * row_samples for step in steps]
    np.testing.assert_array_equal(np.concatenate(gaps), whole[0].gaps)


def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        simulate(tmp_path / f"{name}.fits", **SHAPE, seed=seed)
    a, b, c = ((tmp_path / f"{name}.fits").read_bytes() for name in "abc")
    assert a == b
    assert a[-len(a) // 2 :] != c[-len(c) // 2 :]


def test_amplifiers_differ() -> None:
    first, _ = simulate_samples(**SHAPE, layout="lta", amplifier=0)
    second, _ = simulate_samples(**SHAPE, layout="lta", amplifier=1)
    assert np.mean(first == second) < 0.01


@pytest.mark.parametrize("layout", ["leach", "lta"])
def test_without_noise_a_sample_is_the_pedestal_and_the_charge(layout: str) -> None:
    samples, truth = simulate_samples(**SHAPE, seed=2, layout=layout, read_noise=0)
    level = truth.pedestal[0][:, None] + truth.gain * truth.charge_image()
    expected = np.rint(level).clip(0 if layout == "leach" else None, truth.adc_max)
    np.testing.assert_array_equal(samples, np.repeat(expected[..., None], 6, axis=2))


def test_the_noise_is_as_stated() -> None:
    samples, truth = simulate_samples(
        n_rows=50, n_cols=200, n_skips=100, seed=1, **QUIET | {"read_noise": 3.0}
    )
    sigma = math.hypot(3.0 * truth.gain, math.sqrt(1 / 12))
    # The standard deviation of n values is uncertain by 1/sqrt(2n); five times that is allowed.
    assert samples.std() == pytest.approx(sigma, rel=5 / math.sqrt(2 * samples.size))
    pixels = samples.mean(axis=2) / truth.gain
    assert pixels.std() == pytest.approx(truth.pixel_noise, rel=5 / math.sqrt(2 * pixels.size))


def test_noise_from_the_pool_falls_with_the_number_of_skips_too() -> None:
    samples, truth = simulate_samples(
        n_rows=50, n_cols=200, n_skips=100, seed=1, noise_pool=True, **QUIET | {"read_noise": 3.0}
    )
    pixels = samples.mean(axis=2) / truth.gain
    # A few pixels share a part of the pool with another: twice the usual allowance.
    assert pixels.std() == pytest.approx(truth.pixel_noise, rel=10 / math.sqrt(2 * pixels.size))


def test_dark_current_is_poisson_in_active_columns_and_absent_elsewhere() -> None:
    _, truth = simulate_samples(
        n_rows=500, n_cols=200, n_skips=1, seed=1, **QUIET | {"dark_current": 0.3}
    )
    charge = truth.charge_image()
    active = charge[:, truth.active_cols]
    # Five times the uncertainty of a mean and of a variance of n Poisson values.
    assert active.mean() == pytest.approx(0.3, abs=5 * math.sqrt(0.3 / active.size))
    assert active.var() == pytest.approx(0.3, abs=5 * math.sqrt((0.3 + 2 * 0.09) / active.size))
    assert not charge[:, : truth.prescan_cols].any()
    assert not charge[:, truth.active_cols.stop :].any()


def test_events_are_all_the_charge_where_nothing_else_is() -> None:
    _, truth = simulate_samples(
        n_rows=300, n_cols=400, n_skips=1, seed=5, **QUIET | {"n_points": 20, "n_tracks": 15}
    )
    charge = truth.charge_image()
    assert charge.sum() == truth.events["charge"].sum() > 0
    assert not charge[:, : truth.prescan_cols].any()
    assert not charge[:, truth.active_cols.stop :].any()
    inside = np.zeros(charge.shape, bool)
    for event in truth.events:
        box = np.s_[event["y_min"] : event["y_max"] + 1, event["x_min"] : event["x_max"] + 1]
        inside[box] = True
        assert charge[box].sum() >= event["charge"]
        assert charge[box].max() >= event["peak_charge"]
        assert event["x_min"] <= event["x"] <= event["x_max"]
        assert event["y_min"] <= event["y"] <= event["y_max"]
    assert not charge[~inside].any()


def test_one_event_is_described_by_its_pixels() -> None:
    _, truth = simulate_samples(n_rows=60, n_cols=100, n_skips=1, seed=4, **QUIET | {"n_tracks": 1})
    (event,) = truth.events
    charge = truth.charge_image()
    row, col = np.nonzero(charge)
    weight = charge[row, col]
    assert event["n_pixels"] == len(row)
    assert event["charge"] == weight.sum()
    assert event["x"] == weight @ col / weight.sum()
    assert event["y"] == weight @ row / weight.sum()
    assert (event["x_min"], event["x_max"]) == (col.min(), col.max())
    assert (event["y_min"], event["y_max"]) == (row.min(), row.max())


def test_as_many_events_as_asked_for() -> None:
    _, truth = simulate_samples(
        n_rows=200, n_cols=300, n_skips=1, seed=1, n_points=37, n_tracks=0, n_saturated=5
    )
    kinds, counts = np.unique(truth.events["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {"point": 37, "saturated": 5}


def test_points_have_the_energy_stated() -> None:
    _, truth = simulate_samples(
        n_rows=400, n_cols=400, n_skips=1, seed=1, **QUIET | {"n_points": 200}
    )
    active = truth.active_cols
    whole = truth.events[
        (truth.events["x"] > active.start + 8)
        & (truth.events["x"] < active.stop - 8)
        & (truth.events["y"] > 8)
        & (truth.events["y"] < 392)
    ]
    n_electrons = 5900 / 3.74
    fano = math.sqrt(0.12 * n_electrons)
    # Five times the uncertainty of the mean.
    assert whole["charge"].mean() == pytest.approx(
        n_electrons, abs=5 * fano / math.sqrt(len(whole))
    )
    assert np.abs(whole["charge"] - n_electrons).max() < 6 * fano


def test_a_component_switched_off_leaves_the_others_as_they_were() -> None:
    _, all_on = simulate_samples(**SHAPE, seed=6)
    _, no_dark = simulate_samples(**SHAPE, seed=6, dark_current=0)
    _, no_tracks = simulate_samples(**SHAPE, seed=6, n_tracks=0)
    np.testing.assert_array_equal(all_on.events, no_dark.events)
    points = all_on.events[all_on.events["kind"] == "point"]
    for name in ("x", "y", "charge"):
        np.testing.assert_array_equal(points[name], no_tracks.events[name])
    np.testing.assert_array_equal(all_on.pedestal, no_tracks.pedestal)
    np.testing.assert_array_equal(all_on.hot_columns, no_dark.hot_columns)
    one, _ = simulate_samples(**SHAPE, seed=6, **QUIET | {"read_noise": 2})
    two, _ = simulate_samples(**SHAPE, seed=6, **QUIET | {"read_noise": 2, "offset": 500})
    np.testing.assert_array_equal(one - np.uint16(9500), two)


def test_hot_columns_are_where_the_truth_says() -> None:
    _, truth = simulate_samples(
        **SHAPE, seed=1, **QUIET | {"n_hot_columns": 3, "hot_column_charge": 20}
    )
    hot = np.flatnonzero(truth.charge_image().any(axis=0))
    np.testing.assert_array_equal(hot, truth.hot_columns[0])


def test_saturated_pixels_sit_at_the_limit_of_the_converter() -> None:
    for layout in ("leach", "lta"):
        samples, truth = simulate_samples(
            **SHAPE, seed=1, layout=layout, n_saturated=6, n_tracks=0, n_points=0
        )
        full = (samples == truth.adc_max).all(axis=2)
        assert np.argwhere(full).tolist() == sorted(
            [int(event["y"]), int(event["x"])] for event in truth.events if event["amplifier"] == 1
        )
        assert (samples[~full] < truth.adc_max).all()


def test_samples_never_leave_the_range_of_the_converter() -> None:
    samples, _ = simulate_samples(
        **SHAPE, seed=1, offset=1000, read_noise=100, adc_min=900, adc_max=1100
    )
    assert (samples.min(), samples.max()) == (900, 1100)


def test_charge_is_lost_at_the_skip_stated() -> None:
    kept = QUIET | {"dark_current": 50.0}
    before, truth = simulate_samples(**SHAPE, seed=1, **kept)
    after, _ = simulate_samples(**SHAPE, seed=1, **kept, charge_loss=0.2, charge_loss_skip=4)
    np.testing.assert_array_equal(before[..., :4], after[..., :4])
    lost = (before[..., 4:].astype(int) - after[..., 4:]) / truth.gain
    n_electrons = truth.charge_image().sum()
    assert (lost[..., 0] == lost[..., 1]).all()
    # Five times the uncertainty of a binomial fraction.
    assert lost[..., 0].sum() / n_electrons == pytest.approx(
        0.2, abs=5 * math.sqrt(0.2 * 0.8 / n_electrons)
    )


def test_the_missing_fraction_is_as_stated() -> None:
    samples, truth = simulate_samples(
        n_rows=200, n_cols=100, n_skips=50, seed=1, missing_fraction=0.1
    )
    missing = np.mean(samples == truth.blank)
    # Runs of 8 samples: 10^6 samples hold the information of 10^6 / 16 independent ones.
    assert missing == pytest.approx(0.1, abs=5 * math.sqrt(0.1 * 0.9 * 16 / samples.size))


def test_everything_may_be_missing() -> None:
    samples, truth = simulate_samples(**SHAPE, missing_fraction=1)
    assert (samples == truth.blank).all()


def test_missing_samples_leave_the_others_as_they_were() -> None:
    whole, _ = simulate_samples(**SHAPE, seed=1)
    holed, truth = simulate_samples(**SHAPE, seed=1, missing_fraction=0.2)
    present = holed != truth.blank
    np.testing.assert_array_equal(whole[present], holed[present])


def test_a_file_that_exists_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    simulate(path, **SHAPE, seed=1)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"raw\.fits: exists; choose another name"):
        simulate(path, **SHAPE, seed=2)
    assert path.read_bytes() == before
    simulate(path, **SHAPE, seed=2, overwrite=True)
    assert path.read_bytes() != before


def test_a_table_of_truth_is_not_overwritten_either(tmp_path: Path) -> None:
    truth_path(tmp_path / "raw.fits").write_text("precious")
    with pytest.raises(FileExistsError, match=r"raw_truth\.ecsv: exists"):
        simulate(tmp_path / "raw.fits", **SHAPE)
    assert [path.name for path in tmp_path.iterdir()] == ["raw_truth.ecsv"]


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_samples: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "raw.fits", **SHAPE, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_number_of_samples(tmp_path: Path) -> None:
    seen: list[int] = []
    truth = simulate(tmp_path / "raw.fits", **SHAPE, layout="lta", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == truth.n_samples == 4 * 40 * 200 * 6


def test_the_table_of_truth_holds_the_events_and_the_parameters(tmp_path: Path) -> None:
    truth = simulate(tmp_path / "raw.fits", **SHAPE, seed=1, layout="lta", n_saturated=2)
    table = Table.read(truth_path(tmp_path / "raw.fits"))
    assert len(table) == len(truth.events) > 0
    for name in truth.events.dtype.names:
        np.testing.assert_array_equal(table[name], truth.events[name])
    assert table["charge"].unit == "electron"
    assert table.meta["gain"] == truth.gain
    assert table.meta["hot_columns"] == truth.hot_columns.tolist()
    assert read_truth(tmp_path / "raw.fits") == truth


def test_the_table_of_rows_holds_the_pedestal(tmp_path: Path) -> None:
    truth = simulate(tmp_path / "raw.fits", **SHAPE, seed=1, layout="lta")
    table = Table.read(tmp_path / "raw_truth_rows.ecsv")
    np.testing.assert_array_equal(np.reshape(table["pedestal"], (4, -1)), truth.pedestal)
    np.testing.assert_array_equal(np.reshape(table["row"], (4, -1)), [np.arange(40)] * 4)


def test_an_image_without_events_has_an_empty_table(tmp_path: Path) -> None:
    truth = simulate(tmp_path / "raw.fits", **SHAPE, n_points=0, n_tracks=0)
    assert len(truth.events) == len(Table.read(truth_path(tmp_path / "raw.fits"))) == 0


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other_truth.ecsv").write_text("a b\n1 2\n")
    with pytest.raises(ConfigError, match="not a table of truth; it does not state 'adc_max'"):
        read_truth(tmp_path / "other_truth.ecsv")


@pytest.mark.parametrize(
    "shape",
    [
        {"n_rows": 40_000, "n_cols": 100, "n_skips": 2},
        {"n_rows": 2, "n_cols": 100_000, "n_skips": 20},
        {"n_rows": 1, "n_cols": 3, "n_skips": 2_000_000},
    ],
)
def test_memory_does_not_grow_with_the_image(shape: dict[str, int], tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        simulate(tmp_path / "raw.fits", **shape, missing_fraction=0.001, charge_loss=0.1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "raw.fits").stat().st_size >= 8_000_000
    assert peak < 16 << 20


@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 30), st.integers(1, 5)),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 2**64),
)
def test_any_shape_makes_a_whole_number_of_fits_blocks(
    shape: tuple[int, int, int], layout: str, seed: int
) -> None:
    n_rows, n_cols, n_skips = shape
    samples, truth = simulate_samples(
        n_rows=n_rows, n_cols=n_cols, n_skips=n_skips, seed=seed, layout=layout
    )
    assert samples.shape == shape
    with fits.open(io.BytesIO(written(truth, 64))) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data.reshape(shape), samples)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_skips": 0}, "n_skips: must be at least 1; got 0"),
        ({"gain": 0}, "gain: must be above 0; got 0"),
        ({"read_noise": -1}, "read_noise: must not be negative; got -1"),
        ({"dark_current": math.nan}, "dark_current: must be a finite number; got nan"),
        ({"layout": "lsst"}, "layout: 'lsst' is not one of leach, leach_ul, lta"),
        ({"gian": 5}, "no parameter 'gian'; did you mean 'gain'"),
        ({"overscan_cols": 200}, "must be at most n_cols = 200; got 8 \\+ 200"),
        ({"n_hot_columns": 500}, "n_hot_columns: must be at most the 162 active columns; got 500"),
        ({"missing_fraction": 2}, "missing_fraction: must be at most 1; got 2"),
        ({"adc_max": 70_000}, "must ascend within 0 to 65535; got 0, 70000"),
        ({"point_diffusion": (2, 1)}, "must be a number or an ascending range"),
        ({"prescan_cols": 100, "overscan_cols": 100, "n_points": 1}, "n_points: must be 0 where"),
    ],
)
def test_an_impossible_parameter_is_named(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(tmp_path / "raw.fits", **SHAPE | wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_type_too_narrow_for_the_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype: int16 cannot hold 0 to 65535 ADU"):
        simulate_samples(**SHAPE, dtype="int16")
    samples, _ = simulate_samples(**SHAPE, dtype="int16", adc_max=32767)
    assert samples.dtype == np.int16


def cluster_table(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Clusters of charge 100 that fill their boxes (x_min, x_max, y_min, y_max)."""
    names = ["x", "y", "charge", "x_min", "x_max", "y_min", "y_max"]
    rows = [((a + b) / 2, (c + d) / 2, 100.0, a, b, c, d) for a, b, c, d in boxes]
    return np.array(rows, [(name, float) for name in names])


def test_an_event_is_matched_with_the_nearest_cluster_that_overlaps_it() -> None:
    events = cluster_table((10, 14, 10, 14), (50, 52, 50, 52), (80, 81, 80, 81), (20, 20, 90, 90))
    clusters = cluster_table((9, 13, 11, 13), (14, 40, 14, 40), (84, 84, 80, 80), (22, 22, 90, 90))
    assert match_clusters(events, clusters).tolist() == [0, -1, -1, 3]
    assert match_clusters(events, clusters[:0]).tolist() == [-1] * 4


def test_the_demonstration_finds_what_it_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = demo(tmp_path, n_rows=80, n_cols=160, n_skips=400, seed=2)
    assert picture.read_bytes().startswith(b"\x89PNG")
    truth = read_truth(tmp_path / "demo_raw.fits")
    lines = dict(
        re.split(r"  +", line, maxsplit=1)
        for line in capsys.readouterr().out.splitlines()
        if re.search(r"\S  +\S", line)
    )
    noise, expected = re.findall(r"[\d.]+", lines["noise after 400 skips"])[:2]
    assert float(expected) == pytest.approx(truth.pixel_noise, abs=1e-4)
    # 80 rows of 24 overscan columns: a MAD is uncertain by 2.7 %, the median takes out 4 %.
    assert float(noise) == pytest.approx(truth.pixel_noise, rel=0.15)
    dark, error = re.findall(r"[\d.]+", lines["dark current by peaks"])[:2]
    # Five times the uncertainty that is stated.
    assert float(dark) == pytest.approx(truth.dark_current, abs=5 * float(error))
    found, true = lines["points found"].split()
    assert (found, true) == ("16", "16")


def test_the_demonstration_overwrites_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "demo.png").write_text("precious")
    with pytest.raises(FileExistsError, match=r"demo\.png: exists"):
        demo(tmp_path, n_rows=20, n_cols=40, n_skips=2)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]


@pytest.mark.parametrize("value", [math.nan, 0.0, 3.0])
def test_an_image_without_clusters_can_be_drawn(value: float) -> None:
    result = SimpleNamespace(
        planes={"mean": np.full((3, 4), value)},
        mask=np.zeros((3, 4), np.uint32),
        clusters=cluster_table(),
    )
    figure = plot_summary(result)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")
