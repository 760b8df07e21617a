"""Charge that is added is found again; cuts on clusters keep what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import skipstream as sk

NAN = float("nan")


def test_the_truth_says_what_was_added() -> None:
    random = np.random.default_rng(1)
    image = random.normal(100, 2, (150, 200))
    before = image.copy()
    found, truth = sk.add_background(image, rate=0.02, clusters=30, gain=4.0, seed=3)
    np.testing.assert_array_equal(image, before)
    electrons = np.rint((found - image) / 4).astype(int)
    np.testing.assert_allclose(found - image, 4.0 * electrons, rtol=0, atol=1e-12)
    assert electrons.sum() == truth["electrons"].sum()
    points, singles = truth[:30], truth[30:]
    # 0.04 to 0.15 keV at 3.74 eV are 11 to 40 electrons; fewer at an edge.
    assert points["electrons"].max() <= 40
    assert np.median(points["electrons"]) >= 11
    # Poisson: 600 of 30,000 pixels, five standard deviations.
    assert abs(singles["electrons"].sum() - 600) < 5 * np.sqrt(600)
    alone, only = sk.add_background(image, clusters=30, gain=4.0, seed=3)
    np.testing.assert_array_equal(only, points)
    at = singles["y"].astype(int), singles["x"].astype(int)
    np.testing.assert_allclose(found[at] - alone[at], 4.0 * singles["electrons"], atol=1e-12)


def test_the_seed_is_all_that_differs() -> None:
    image = np.zeros((40, 50))
    parameters: dict[str, Any] = {"rate": 0.1, "clusters": 5}
    one, other = (sk.add_background(image, seed=7, **parameters) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one[0], sk.add_background(image, seed=8, **parameters)[0])


def test_no_charge_goes_where_no_pixel_is() -> None:
    image = np.zeros((30, 40))
    image[:, 10:20] = NAN
    found, truth = sk.add_background(image, rate=0.5, clusters=50)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image))
    assert np.nansum(found) == truth["electrons"].sum()
    nothing, empty = sk.add_background(np.full((5, 5), NAN), rate=3.0, clusters=2)
    assert np.isnan(nothing).all()
    assert empty["electrons"].tolist() == [0, 0]
    assert len(sk.add_background(np.empty((0, 9)), rate=1.0)[1]) == 0
    assert len(sk.add_background(np.zeros((2, 2)))[1]) == 0


def test_clusters_are_found_with_their_charge() -> None:
    noise = np.random.default_rng(2).normal(0, 0.15, (400, 500))
    image, truth = sk.add_background(noise, clusters=40, energy_kev=(0.1, 0.15), seed=2)
    table = sk.find_clusters(image, threshold=4, seed=10, noise=0.15, link_distance=2)
    inner, flow = sk.select_clusters(table, {"charge": (5, None), "x": (5, 494), "y": (5, 394)})
    assert flow.n_left[-1] == len(inner)
    n_checked = 0
    for cluster in inner:
        distance = np.hypot(truth["x"] - cluster["x"], truth["y"] - cluster["y"])
        if np.sort(distance)[1] < 10:
            continue  # two that overlap
        true = truth[np.argmin(distance)]
        # The centre of 26 electrons of a cloud of 0.8 pixels is known to 0.16.
        assert distance.min() < 5 * 0.2
        # Noise of 15 pixels is 0.6 electron, 2.4 at most; two electrons may stand apart instead.
        assert abs(cluster["charge"] - true["electrons"]) < 2.6
        n_checked += 1
    assert n_checked >= 25


def test_the_added_rate_is_fitted() -> None:
    pytest.importorskip("iminuit")
    noise = np.random.default_rng(5).normal(0, 0.18 * 6, (200, 200))
    for rate in (0.05, 0.5):
        result = sk.fit_dark_current(sk.add_background(noise, rate=rate, gain=6.0)[0])
        assert abs(result["dark_current"] - rate) < 5 * result.errors["dark_current"]
        assert abs(result["gain"] - 6) < 5 * result.errors["gain"]


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"rate": -1.0}, "rate"),
        ({"rate": NAN}, "rate"),
        ({"rate": 1e30}, "rate"),
        ({"clusters": -1}, "clusters"),
        ({"seed": -1}, "seed"),
        ({"gain": 0.0}, "gain"),
        ({"gain": NAN}, "gain"),
        ({"energy_kev": (0.2, 0.1)}, "energy_kev"),
        ({"energy_kev": (0.0, 0.1)}, "energy_kev"),
        ({"diffusion": (-1.0, 1.0)}, "diffusion"),
        ({"diffusion": (0.0, NAN)}, "diffusion"),
    ],
)
def test_impossible_charge_is_refused(parameters: dict[str, Any], match: str) -> None:
    with pytest.raises(sk.ConfigError, match=match):
        sk.add_background(np.zeros((4, 4)), **parameters)


def test_impossible_images_are_refused() -> None:
    with pytest.raises(sk.ConfigError, match="n_rows"):
        sk.add_background(np.zeros(4))
    with pytest.raises(sk.ConfigError, match="no pixels"):
        sk.add_background(np.zeros((0, 4)), clusters=1)


TABLE = np.array(
    [(1, 10.0, "a"), (2, 20.0, "b"), (3, NAN, "c"), (4, 40.0, "d"), (5, 50.0, "e")],
    dtype=[("n_pixels", "i8"), ("charge", "f8"), ("kind", "U1")],
)


def test_cuts_keep_what_lies_within() -> None:
    rows, flow = sk.select_clusters(TABLE, {"n_pixels": (2, None), "charge": (None, 40)})
    assert rows["n_pixels"].tolist() == [2, 4]
    assert (flow.n_rows, flow.n_left) == (5, (4, 2))
    turned, other = sk.select_clusters(TABLE, {"charge": (None, 40), "n_pixels": (2, None)})
    np.testing.assert_array_equal(turned, rows)
    assert other.n_left == (3, 2)
    assert repr(flow).splitlines() == [
        "5 clusters",
        "  2 <= n_pixels                                    4",
        "  charge <= 40                                     2",
    ]
    exact, _ = sk.select_clusters(TABLE, {"charge": (20, 20)})
    assert exact["kind"].tolist() == ["b"]


def test_no_cut_keeps_all_and_no_row_is_no_error() -> None:
    rows, flow = sk.select_clusters(TABLE, {})
    assert len(rows) == flow.n_rows == 5
    assert repr(flow) == "5 clusters"
    assert len(sk.select_clusters(TABLE, {"charge": (None, None)})[0]) == 5
    none, flow = sk.select_clusters(TABLE[:0], {"charge": (1, 2)})
    assert len(none) == 0
    assert flow.n_left == (0,)


@pytest.mark.parametrize(
    ("cuts", "match"),
    [
        ({"chrage": (1, 2)}, 'no column "chrage"; did you mean "charge"'),
        ({"zzzzzzzz": (1, 2)}, "known: n_pixels, charge, kind"),
        ({"kind": (1, 2)}, "no numbers"),
        ({"charge": (2, 1)}, "above max"),
        ({"charge": (NAN, 1)}, "numbers, or None"),
        ({"charge": ("1", 2)}, "numbers, or None"),
        ({"charge": 3}, "None for an open end"),
        ({"charge": (1, 2, 3)}, "None for an open end"),
    ],
)
def test_impossible_cuts_are_refused(cuts: Any, match: str) -> None:
    with pytest.raises(sk.ConfigError, match=match):
        sk.select_clusters(TABLE, cuts)
    with pytest.raises(sk.ConfigError, match="structured"):
        sk.select_clusters(np.zeros(3), {})
