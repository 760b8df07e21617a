"""Charge transfer inefficiency, against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from figures import x_label

import skipstream as sk


def image_with(cti: float, seed: int, shape: tuple[int, int] = (150, 400)) -> np.ndarray:
    """Hits and tracks in noise; every pixel leaves n * cti of its charge to the next one."""
    random = np.random.default_rng(seed)
    image = np.zeros(shape)
    hits = random.random(shape) < 0.01
    image[hits] = random.uniform(300, 3000, hits.sum())
    for row in random.integers(0, shape[0], 15):  # tracks along rows
        begin = random.integers(0, shape[1] - 30)
        image[row, begin : begin + 20] += 800
    left = image * cti * (np.arange(shape[1]) + 1)
    image -= left
    image[:, 1:] += left[:, :-1]
    return image + random.normal(0, 2, shape)


@pytest.mark.parametrize("axis", ["row", "column"])
def test_pulls_are_unit_gaussians(axis: str) -> None:
    pulls = []
    for seed in range(40):
        image = image_with(2e-5, seed)
        result = sk.measure_cti(image if axis == "row" else image.T, low=300, high=3000, axis=axis)
        pulls.append((result["cti"] - 2e-5) / result.errors["cti"])
    # n * cti of the charge is taken from the pixel itself: the ratio is larger by that much.
    assert abs(np.mean(pulls)) < 5 / np.sqrt(40) + 0.2
    assert 0.6 < np.std(pulls) < 1.5


def test_none_is_none_and_draws() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    result = sk.measure_cti(image_with(0.0, 1), low=300, high=3000)
    assert abs(result["cti"]) < 4 * result.errors["cti"]
    assert result.errors["cti"] < 1e-5
    assert "transfers along the row" in x_label(result.plot())


def test_edges() -> None:
    image = image_with(0.0, 1)
    assert "bright pixels; got 0" in sk.measure_cti(image, low=1e6, high=2e6).reason
    masked = sk.measure_cti(image, low=300, high=3000, mask=np.ones(image.shape))
    assert masked.status == "failed"
    assert sk.measure_cti(np.ones((2, 2)), low=0.5, high=2).status == "failed"
    exact = np.tile([0.0, 0.0, 100.0, 0.0, 0.0], (20, 20))
    assert "do not differ" in sk.measure_cti(exact, low=50, high=200).reason
    with pytest.raises(sk.ConfigError, match=r"measure_cti\.mask"):
        sk.measure_cti(image, low=1, high=2, mask=np.zeros(image.shape[1]))
    with pytest.raises(sk.ConfigError, match="axis"):
        sk.measure_cti(image, low=1, high=2, axis="x")
    with pytest.raises(sk.ConfigError, match="low < high"):
        sk.measure_cti(image, low=2, high=1)
