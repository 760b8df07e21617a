"""A real image of four CCDs with single electrons, through the whole chain: physical sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("iminuit")

import skipstream as sk

FILE = (
    Path(__file__).parents[2] / "shared/data/damicm/avg_Image_5_Low_Temp_109_20250807_170213_15.fz"
)
CONFIG = """
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "subtract_pedestal"
method = "lowest_peak"
region = "active"
[[stage]]
kind = "calibrate"
gain = "fit"
[[stage]]
kind = "mask_hot"
threshold = 5
below = 100
[[stage]]
kind = "mask_bleeding"
threshold = 100
rows = 10
columns = 10
[[stage]]
kind = "find_clusters"
threshold = 4.5
seed = 10
threshold_unit = "absolute"
noise = 0.16
label_image = true
[[stage]]
kind = "mask_halo"
radius = 5
[[measure]]
kind = "fit_dark_current"
after = "subtract_pedestal"
[[measure]]
kind = "fit_calibration"
after = "subtract_pedestal"
[[measure]]
kind = "find_patterns"
threshold = 0.65
"""


@pytest.fixture(scope="module")
def results() -> list[sk.ImageResult]:
    if not FILE.exists():
        pytest.skip("needs the real image, shared/data beside the checkout")
    return list(sk.run(sk.load_config(CONFIG), [FILE]))


def test_every_amplifier_goes_through_the_whole_chain(results: list[sk.ImageResult]) -> None:
    assert [r.amplifier for r in results] == ["CCD_A", "CCD_B", "CCD_D", "CCD_C"]
    assert [r.status for r in results] == ["done"] * 4
    for result in results:
        gains = [f["value"] for f in result.report["findings"] if f["name"] == "gain"]
        assert 1.3 < gains[0] < 1.45
        charge, peaks = (result.measures[n] for n in ("fit_dark_current", "fit_calibration"))
        assert 0.14 < peaks["noise_electron"] < 0.19
        assert 0.8 < charge["dark_current"] < 1.1
        # The charge between the peaks is no Poisson number of one rate: half a percent.
        assert charge["gain"] == pytest.approx(peaks["gain"], rel=0.005)
        assert len(peaks.data.counts) > 100
        assert abs(peaks["nonlinearity"]) < 0.1


def test_charge_sits_at_whole_numbers_of_electrons(results: list[sk.ImageResult]) -> None:
    for result in results:
        electrons = result.planes["mean"]
        few = electrons[(electrons > 0.5) & (electrons < 4.5)]
        distance = np.abs(few - np.rint(few))
        assert np.median(distance) < 0.15  # 0.67 sigma of 0.16 electrons


def test_clusters_masks_and_patterns_belong_together(results: list[sk.ImageResult]) -> None:
    for result in results:
        assert result.clusters is not None
        assert result.mask is not None
        labels = result.planes["label"]
        assert 80 < len(result.clusters) < 500
        np.testing.assert_array_equal(np.unique(labels)[1:], result.clusters["cluster_id"])
        np.testing.assert_array_equal(labels > 0, result.mask & sk.MaskBit.CLUSTER != 0)
        assert (result.mask[labels > 0] & sk.MaskBit.HALO).all()
        counts = result.measures["find_patterns"].counts
        assert next(iter(counts)) == "1"
        assert counts["1"] > counts["11"] > counts["111"]
        # Chance knows no direction.
        assert abs(counts["12"] - counts["21"]) < 5 * np.sqrt(counts["12"] + counts["21"])
