"""Patterns of electrons and crosstalk, against obvious definitions and simulated truth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import skipstream as sk

DAMIC = Path(__file__).parents[2] / "shared/data/damicm"


def slowly(image: np.ndarray, mask: np.ndarray) -> dict[str, int]:
    """Every row as a text: digits of electrons, x for pixels that are not there."""
    counts: dict[str, int] = {}
    for row, bits in zip(image, mask, strict=True):
        text = "".join(
            "x" if bad or np.isnan(q) else str(min(9, max(0, int(np.floor(q - 0.5)) + 1)))
            for q, bad in zip(row, bits, strict=True)
        )
        for found in re.finditer(r"(?<=0)[1-8]{1,3}(?=0)", text):
            counts[found[0]] = counts.get(found[0], 0) + 1
    return counts


@pytest.mark.parametrize("rate", [0.05, 0.5, 2.0])
def test_patterns_are_those_of_a_text(rate: float) -> None:
    random = np.random.default_rng(int(rate * 100))
    image = random.poisson(rate, (60, 70)) + random.normal(0, 0.15, (60, 70))
    mask = random.random((60, 70)) < 0.05
    image[random.random((60, 70)) < 0.02] = np.nan
    along_rows = sk.find_patterns(image, mask=mask, max_electrons=8)
    assert along_rows.counts == slowly(image, mask)
    along_columns = sk.find_patterns(image, axis="column", mask=mask, max_electrons=8)
    assert along_columns.counts == slowly(image.T, mask.T)
    electrons = np.floor(image - 0.5) + 1
    for axis, found in (("row", along_rows), ("column", along_columns)):
        for pattern, row, column in found.positions.tolist():
            for k, digit in enumerate(pattern):
                at = (row, column + k) if axis == "row" else (row + k, column)
                assert electrons[at] == int(digit)
    assert "patterns along rows" in repr(along_rows)


def test_patterns_at_the_edges() -> None:
    assert sk.find_patterns(np.ones((3, 5))).counts == {}
    assert sk.find_patterns(np.zeros((3, 5))).counts == {}
    assert sk.find_patterns([[0, 1, 0]]).counts == {"1": 1}
    assert sk.find_patterns([[1], [0]]).counts == {}
    assert sk.find_patterns(np.zeros((0, 4))).counts == {}
    assert sk.find_patterns([[0, 1, 0]], mask=[[1, 0, 0]]).counts == {}
    everything = sk.find_patterns([[0, 12, 0, 2, 0, 1, 1, 0, 1, 1, 1, 1, 0]])
    assert everything.counts == {"11": 1, "2": 1}
    with pytest.raises(sk.ConfigError, match="axis"):
        sk.find_patterns(np.zeros((3, 3)), axis="diagonal")
    with pytest.raises(sk.ConfigError, match="mask"):
        sk.find_patterns(np.zeros((3, 3)), mask=np.zeros(3))
    with pytest.raises(sk.ConfigError, match="threshold"):
        sk.find_patterns(np.zeros((3, 3)), threshold=0)


def test_the_real_image_has_patterns() -> None:
    path = DAMIC / "avg_Image_5_Low_Temp_109_20250807_170213_15.fz"
    if not path.exists():
        pytest.skip("the DAMIC-M image is not there")
    pytest.importorskip("iminuit")
    pedestal = {"kind": "subtract_pedestal", "method": "lowest_peak"}
    config = sk.load_config({"stage": [{"kind": "compress_skips"}, pedestal]})
    result = next(iter(sk.run(config, [path])))
    plane = result.planes["mean"]
    fit = sk.fit_dark_current(plane, mask=result.mask)
    found = sk.find_patterns((plane - fit["offset"]) / fit["gain"], mask=result.mask)
    assert next(iter(found.counts)) == "1"
    assert found.counts["1"] > found.counts["2"] > found.counts["3"]


def amplifiers(coefficient: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    source = random.normal(0, 3, (200, 300))
    hit = random.random(source.shape) < 0.005
    source[hit] += random.uniform(400, 5000, hit.sum())
    target = random.normal(0, 3, source.shape)
    tracks = random.random(source.shape) < 0.01
    target[tracks] += random.exponential(1000, tracks.sum())
    return source, target + coefficient * source


def test_crosstalk_is_measured_and_corrected() -> None:
    pulls = []
    covered = 0
    for seed in range(30):
        source, target = amplifiers(0.002, seed)
        result = sk.measure_crosstalk(source, target, low=400, high=5000, n_resamplings=300)
        pulls.append((result["coefficient"] - 0.002) / result.errors["coefficient"])
        covered += result["low_95"] <= 0.002 <= result["high_95"]
        assert abs(result["null"]) < 5 * result.errors["null"]
    assert abs(np.mean(pulls)) < 5 / np.sqrt(30)
    assert 0.5 < np.std(pulls) < 1.5
    assert covered >= 24
    clean = sk.correct_crosstalk(source, target, result["coefficient"])
    after = sk.measure_crosstalk(source, clean, low=400, high=5000, n_resamplings=100)
    assert abs(after["coefficient"]) < 1e-9
    again = sk.measure_crosstalk(source, target, low=400, high=5000, n_resamplings=300)
    assert again.values == result.values


def test_crosstalk_that_comes_later() -> None:
    source, target = amplifiers(0.0, 1)
    target[2:, 1:] += 0.003 * source[:-2, :-1]
    late = sk.measure_crosstalk(source, target, low=400, high=5000, shift=(2, 1))
    assert late["coefficient"] == pytest.approx(0.003, rel=0.15)
    clean = sk.correct_crosstalk(source, target, 0.003, shift=(2, 1))
    assert np.allclose(clean[2:, 1:], target[2:, 1:] - 0.003 * source[:-2, :-1])
    assert np.array_equal(clean[:2], target[:2])


def test_crosstalk_at_the_edges() -> None:
    source, target = amplifiers(0.0, 1)
    none = sk.measure_crosstalk(source, target, low=1e6, high=2e6)
    assert "got 0" in none.reason
    masked = sk.measure_crosstalk(source, target, low=400, high=5000, mask=np.ones(source.shape))
    assert masked.status == "failed"
    with pytest.raises(sk.ConfigError, match="low < high"):
        sk.measure_crosstalk(source, target, low=5, high=4)
    with pytest.raises(sk.ConfigError, match=r"measure_crosstalk\.mask"):
        sk.measure_crosstalk(source, target, low=400, high=5000, mask=np.zeros(source.shape[1]))
    with pytest.raises(sk.ConfigError, match="one shape"):
        sk.measure_crosstalk(source, target[:5], low=4, high=5)
    with pytest.raises(sk.ConfigError, match="one shape"):
        sk.correct_crosstalk(source, target[:5], 0.1)


def test_patterns_are_drawn_by_frequency() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    axes = sk.find_patterns(np.array([[0.0, 1, 0, 1, 1, 0, 1, 0]])).plot()
    assert [bar.get_height() for bar in axes.patches] == [2, 1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "11"]
    assert not sk.find_patterns(np.zeros((2, 3))).plot().patches
