"""The stages that flag pixels, against slow definitions; the result is the same for any chunks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from astropy.nddata import bitmask
from numpy.typing import NDArray

import skipstream as sk

Image = NDArray[np.float64]
Flags = NDArray[np.bool_]
BIT = sk.MaskBit


def electrons(shape: tuple[int, int], rate: float, seed: int = 1) -> Image:
    """Poisson charge with a little noise, some bright pixels, a missing one."""
    generator = np.random.default_rng(seed)
    image = generator.poisson(rate, shape) + generator.normal(0, 0.1, shape)
    image.flat[:: max(7, image.size // 5)] += 300
    if image.size > 3:
        image.flat[image.size // 2] = np.nan
    return image


def mask_of(image: Image, stages: list[Any], **facts: Any) -> NDArray[np.uint32]:
    masks = []
    for n_together in (1, 3, max(1, len(image))):
        with sk.Pipeline(stages, n_rows=len(image), n_cols=image.shape[1], n_skips=1, dtype="f8",
                         chunk_rows=n_together, **facts) as pipeline:  # fmt: skip
            parts = [
                pipeline.push(image[row : row + n_together, :, None])
                for row in range(0, len(image), n_together)
            ]
            parts.append(pipeline.finish())
        masks.append(np.concatenate([part.mask for part in parts]))
        values = np.concatenate([part.planes["mean"] for part in parts])
        np.testing.assert_array_equal(values, image)  # flags change no value, and lose no row
    assert masks[0].tobytes() == masks[1].tobytes() == masks[2].tobytes()
    return masks[0]


def flags(image: Image, stages: list[Any], bit: int, **facts: Any) -> Flags:
    mask = mask_of(image, stages, **facts)
    other = mask & ~np.uint32(bit | BIT.NODATA | BIT.CLUSTER)
    assert (other == 0).all()
    return np.asarray(mask & bit != 0)


SHAPES = [(12, 15), (1, 9), (9, 1), (1, 1), (2, 30), (40, 37)]


def within(image: Image, radius: float) -> Flags:
    """``(n_rows, n_cols, n_rows, n_cols)``: whether two pixels are that near to each other."""
    row, col = np.indices(image.shape)
    dy, dx = (i[..., None, None] - i[None, None] for i in (row, col))
    return np.asarray(dy**2 + dx**2 <= radius**2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 4, 60])
def test_a_halo_is_every_pixel_within_the_radius_of_a_bright_one(
    shape: tuple[int, int], radius: int
) -> None:
    image = electrons(shape, 0.1)
    bright = image >= 100
    found = flags(image, [sk.MaskHalo(threshold=100, radius=radius)], BIT.HALO)
    np.testing.assert_array_equal(found, (within(image, radius) & bright).any(axis=(2, 3)))
    box = flags(image, [sk.MaskHalo(threshold=100, radius=radius, shape="box")], BIT.HALO)
    expected = np.zeros(shape, bool)
    for y, x in zip(*np.nonzero(bright), strict=True):
        expected[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
    np.testing.assert_array_equal(box, expected)


def test_a_halo_surrounds_the_clusters_that_are_kept() -> None:
    image = np.zeros((20, 20))
    image[5, 5:8], image[15, 15] = [20, 40, 20], 20
    stages = [
        sk.FindClusters(threshold=5, seed=30, noise=1.0, label_image=True),
        sk.MaskHalo(radius=2),
    ]
    mask = mask_of(image, stages)
    clustered = np.zeros(image.shape, bool)
    clustered[5, 5:8] = True
    np.testing.assert_array_equal(mask & BIT.CLUSTER != 0, clustered)
    near = (within(image, 2) & clustered).any(axis=(2, 3))
    np.testing.assert_array_equal(mask & BIT.HALO != 0, near)


def test_a_halo_of_clusters_needs_their_labels() -> None:
    stages = [sk.FindClusters(threshold=5, seed=30, noise=1.0), sk.MaskHalo()]
    with pytest.raises(sk.ConfigError, match=r"mask_halo\.threshold: .*label_image"):
        mask_of(np.zeros((3, 3)), stages)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (0, 4), (4, 0), (100, 100)])
def test_bleeding_goes_to_the_pixels_read_later(
    shape: tuple[int, int], rows: int, columns: int
) -> None:
    image = electrons(shape, 0.1)
    stage = sk.MaskBleeding(threshold=100, rows=rows, columns=columns)
    expected = np.zeros(shape, bool)
    for y, x in zip(*np.nonzero(image >= 100), strict=True):
        expected[y, x + 1 : x + 1 + columns] = True
        expected[y + 1 : y + 1 + rows, x] = True
    np.testing.assert_array_equal(flags(image, [stage], BIT.BLEED), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("min_hits", [2, 3])
def test_serial_hits_are_rows_of_charge_alone(shape: tuple[int, int], min_hits: int) -> None:
    image = electrons(shape, 0.05, seed=4)
    image[len(image) // 2] += np.random.default_rng(1).poisson(0.5, shape[1])
    stage = sk.MaskSerialHits(window=6, min_hits=min_hits, windows_beside=1)
    hits = np.pad(image >= 0.5, ((1, 1), (0, 0)))
    expected = np.zeros(shape, bool)
    for y, x in zip(*np.nonzero(hits), strict=True):
        before, own, after = hits[y - 1 : y + 2, x : x + 6].sum(axis=1)
        if own >= min_hits and before <= 1 and after <= 1:
            expected[y - 1, max(0, x - 6) : min(x + 6, shape[1]) + 6] = True
    np.testing.assert_array_equal(flags(image, [stage], BIT.SERIALHIT), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [1, 4, 13])
def test_a_crowd_is_a_circle_with_many_hits(shape: tuple[int, int], radius: int) -> None:
    image = electrons(shape, 0.1, seed=2)
    hits = (image >= 0.5) & (image < 5)
    near = within(image, radius)
    stage = sk.MaskCrowded(below=5, radius=radius, min_hits=4)
    middle = hits & ((near & hits).sum(axis=(2, 3)) >= 4)
    expected = (near & middle).any(axis=(2, 3))
    assert shape != (40, 37) or radius == 1 or expected.any()
    np.testing.assert_array_equal(flags(image, [stage], BIT.CROWDED), expected)


def test_edges_are_those_of_the_active_region() -> None:
    image = np.zeros((10, 12))
    regions = {"prescan_cols": 2, "overscan_cols": 3, "prescan_rows": 1, "overscan_rows": 2}
    expected = np.zeros(image.shape, bool)
    expected[:, 2:9] = True
    expected[[0, 9, 8], 3:8] = False
    expected[2:7, 3:8] = False
    expected[[1, 7], :] = False
    expected[[1, 7], 2:9] = True
    found = flags(image, [sk.MaskEdges(rows=1, columns=1)], BIT.EDGE, **regions)
    np.testing.assert_array_equal(found, expected)
    assert flags(image, [sk.MaskEdges(rows=100, columns=0)], BIT.EDGE).all()
    assert not flags(image, [sk.MaskEdges(rows=0, columns=0)], BIT.EDGE).any()
    with pytest.raises(sk.ConfigError, match=r"mask_edges\.rows: needs the number of rows"):
        sk.Pipeline([sk.MaskEdges()], n_cols=4, n_skips=1, dtype="f8")


def test_hot_columns_and_rows_are_excluded() -> None:
    image = np.zeros((20, 30))
    image[::3, 4] = 10  # 7 of 20
    image[::5, 5] = 10  # 4 of 20: not more than a fifth
    image[:, 6] = 1000  # tracks
    image[11, ::4] = 10  # 8 of 30
    mask = mask_of(image, [sk.MaskHot(threshold=3, below=100)])
    assert list(np.flatnonzero((mask & BIT.BADCOL != 0).all(axis=0))) == [4]
    assert list(np.flatnonzero((mask & BIT.BADROW != 0).all(axis=1))) == [11]
    assert (mask & BIT.BADCOL != 0).sum() == 20
    streaming = sk.MaskHot(threshold=3, below=100, column_fraction=1)
    assert not (mask_of(image, [streaming]) & BIT.BADCOL).any()
    assert (mask_of(image, [sk.MaskHot()]) & BIT.BADCOL != 0)[:, 6].all()


def test_hot_pixels_in_overscans_do_not_count() -> None:
    image = np.zeros((10, 10))
    image[:, 8:] = 10
    image[:2] = 10
    facts = {"overscan_cols": 2, "prescan_rows": 2}
    assert not mask_of(image, [sk.MaskHot()], **facts).any()


def test_noisy_rows_are_flagged_for_their_width_or_their_outliers() -> None:
    generator = np.random.default_rng(3)
    image = generator.normal(0, 0.15, (12, 400))
    image[3] *= 4
    image[7, ::9] += 5
    wide = flags(image, [sk.MaskNoisyRows(max_noise=0.4)], BIT.NOISYROW)
    assert list(np.flatnonzero(wide.any(axis=1))) == [3]
    assert wide[3].all()
    outside = flags(image, [sk.MaskNoisyRows(max_outside=0.06, window=1.0)], BIT.NOISYROW)
    expected = [
        y for y in range(12) if np.mean(np.abs(image[y] - np.median(image[y])) > 1.0) > 0.06
    ]
    assert list(np.flatnonzero(outside.any(axis=1))) == expected
    assert 7 in expected
    with pytest.raises(sk.ConfigError, match="mask_noisy_rows: flags nothing"):
        flags(image, [sk.MaskNoisyRows()], BIT.NOISYROW)


def test_a_row_without_usable_pixels_is_not_noisy() -> None:
    image = np.full((2, 5), np.nan)
    assert not (mask_of(image, [sk.MaskNoisyRows(max_noise=0.1)]) & BIT.NOISYROW).any()


def test_a_saturated_image_is_all_halo() -> None:
    image = np.full((6, 7), 65535.0)
    assert flags(image, [sk.MaskHalo(threshold=100, radius=3)], BIT.HALO).all()


def test_astropy_reads_the_named_bits() -> None:
    image = np.zeros((5, 6))
    image[2, 2] = 200
    stages = [sk.MaskBleeding(rows=2, columns=2), sk.MaskHalo(threshold=100, radius=1)]
    mask = mask_of(image, stages)
    names = bitmask.extend_bit_flag_map(
        "SkipstreamFlags", **{name: bit.value for name, bit in BIT.__members__.items()}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = bitmask.bitfield_to_boolean_mask(mask, "~HALO", flag_name_map=names)
    np.testing.assert_array_equal(seen, mask & BIT.HALO != 0)
    assert seen.sum() == 5
