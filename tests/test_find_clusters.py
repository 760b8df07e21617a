"""find_clusters on arrays: labelling against scipy, columns against the slow definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csgraph

import skipstream as sk

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: np.ones((3, 3), int)}


def clusters_of(
    binary: NDArray[np.bool_],
    connectivity: int,
    link_distance: float | None = None,
    **options: int,
) -> NDArray[np.void]:
    pipeline = sk.Pipeline(
        [
            sk.FindClusters(
                threshold=0.5,
                seed=0.5,
                noise=1.0,
                connectivity=connectivity,
                link_distance=link_distance,
            )
        ],
        n_cols=binary.shape[1], n_skips=1, dtype="u1", n_rows=len(binary), **options,
    )  # fmt: skip
    with pipeline:
        step = options.get("chunk_rows", len(binary))
        for row in range(0, len(binary), step):
            pipeline.push(binary[row : row + step].astype("u1")[..., None])
        pipeline.finish()
    return pipeline.table("clusters")


def expected_clusters(
    binary: NDArray[np.bool_], connectivity: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel (flat index + 1) and number of pixels of each component, in raster order."""
    labels, n = ndimage.label(binary, STRUCTURE[connectivity])
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    # Labels count from 1 in raster order of nothing in particular: sort by the first pixel.
    first = np.full(n + 1, flat.size, np.int64)
    np.minimum.at(first, flat[inside], inside)
    order = np.argsort(first[1:])
    return first[1:][order] + 1, np.bincount(flat, minlength=n + 1)[1:][order]


def all_small_images() -> NDArray[np.bool_]:
    """Every binary 4 x 5 image, apart from each other on one large sheet."""
    codes = np.arange(1 << 20, dtype=np.uint32).reshape(1024, 1024)
    sheet = np.zeros((1024, 5, 1024, 6), bool)
    for bit in range(20):
        sheet[:, bit // 5, :, bit % 5] = codes >> bit & 1
    return sheet.reshape(1024 * 5, 1024 * 6)


@pytest.mark.parametrize(("connectivity", "n_components"), [(4, 3_160_507), (8, 1_809_744)])
@pytest.mark.parametrize("chunk_rows", [1, 7, 640])
def test_every_small_image_is_labelled_as_scipy_does(
    connectivity: int, n_components: int, chunk_rows: int
) -> None:
    found = 0
    for sheet in np.split(all_small_images(), 8):  # an image ends with an empty row
        table = clusters_of(sheet, connectivity, chunk_rows=chunk_rows)
        first, n_pixels = expected_clusters(sheet, connectivity)
        assert np.array_equal(table["cluster_id"], first)
        assert np.array_equal(table["n_pixels"], n_pixels)
        found += len(table)
    assert found == n_components


def read_arrays(path: Path) -> list[NDArray[np.int64]]:
    blocks = path.read_text().split("\n\n")
    rows = [[line.split() for line in block.splitlines() if line.strip()] for block in blocks]
    return [np.array(block, dtype=np.int64) for block in rows if block]


def test_scipys_own_label_vectors_hold(shared_data: Path) -> None:
    folder = shared_data / "scipy_label"
    images = np.loadtxt(folder / "label_inputs.txt", dtype=int).reshape(-1, 7, 7)
    structures = np.loadtxt(folder / "label_strels.txt", dtype=int).reshape(-1, 3, 3)
    results = np.loadtxt(folder / "label_results.txt", dtype=int).reshape(-1, 7, 7)
    checked = 0
    for image in images:
        for structure in structures:
            labels = results[checked]
            checked += 1
            connectivity = next(
                (c for c, s in STRUCTURE.items() if np.array_equal(s, structure)), None
            )
            if connectivity is None:
                continue
            table = clusters_of(image > 0, connectivity)
            n_pixels = np.bincount(labels.ravel())[1:]
            assert sorted(table["n_pixels"]) == sorted(n_pixels)
    assert checked == len(results)


def spiral(n: int) -> NDArray[np.bool_]:
    image = np.zeros((n, n), bool)
    row, col, step = 0, 0, (0, 1)
    image[0, 0] = True
    for length in [n - 1, *[k for k in range(n - 1, 0, -2) for _ in (0, 1)]]:
        for _ in range(length):
            row, col = row + step[0], col + step[1]
            if not (0 <= row < n and 0 <= col < n):
                return image
            image[row, col] = True
        step = (step[1], -step[0])
    return image


def shapes() -> dict[str, NDArray[np.bool_]]:
    u_shape = np.zeros((9, 9), bool)
    u_shape[:, [1, 7]] = True
    u_shape[8, 1:8] = True
    comb = np.zeros((6, 41), bool)
    comb[:, ::2] = True
    comb[5] = True
    checkers = np.indices((11, 12)).sum(axis=0) % 2 == 0
    noise = np.random.default_rng(3).random((60, 17)) < 0.45
    return {
        "U": u_shape,
        "comb": comb,
        "spiral": spiral(21),
        "checkers": checkers,
        "noise": noise,
        "full": np.ones((5, 6), bool),
        "empty": np.zeros((5, 6), bool),
        "one row": noise[:, :1].T.copy(),
        "one column": noise[:, :1].copy(),
    }


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("name", shapes())
def test_shapes_that_merge_late_are_one_cluster(name: str, connectivity: int) -> None:
    binary = shapes()[name]
    first, n_pixels = expected_clusters(binary, connectivity)
    for chunk_rows in (1, 2, 100):
        table = clusters_of(binary, connectivity, chunk_rows=chunk_rows)
        assert np.array_equal(table["cluster_id"], first)
        assert np.array_equal(table["n_pixels"], n_pixels)


def test_columns_follow_their_definition() -> None:
    image = np.zeros((6, 8))
    image[2, 3:6] = [8.0, 30.0, 12.0]
    image[3, 4] = 10.0
    (row,) = sk.find_clusters(image, threshold=4, seed=10, noise=2.0)
    ys, xs = np.nonzero(image)
    q = image[ys, xs]
    x = (q * xs).sum() / q.sum()
    y = (q * ys).sum() / q.sum()
    std_x = np.sqrt((q * (xs - x) ** 2).sum() / q.sum())
    std_y = np.sqrt((q * (ys - y) ** 2).sum() / q.sum())
    expected = {
        "cluster_id": 2 * 8 + 3 + 1, "n_pixels": 4, "charge": 60.0, "energy_kev": 60 * 3.74e-3,
        "peak_charge": 30.0, "peak_x": 4, "peak_y": 2, "x": x, "y": y, "mean_x": xs.mean(),
        "mean_y": ys.mean(), "x_min": 3, "x_max": 5, "y_min": 2, "y_max": 3, "width_x": 3,
        "width_y": 2, "std_x": std_x, "std_y": std_y,
        "std_xy": np.sqrt((std_x**2 + std_y**2) / 2), "spread_x": xs.std(), "spread_y": ys.std(),
        "cov_xy": (q * (xs - x) * (ys - y)).sum() / q.sum(), "has_seed": 1, "n_sigma_min": 4.0,
        "n_sigma_max": 15.0, "touches_edge": 0, "flags": 0,
    }  # fmt: skip
    for name, value in expected.items():
        # Sums run in another order here than in the core.
        assert row[name] == pytest.approx(value, rel=1e-14, abs=1e-15), name
    assert np.isnan(row["nearest_distance"])


def test_nearest_distance_is_that_of_all_pairs() -> None:
    generator = np.random.default_rng(4)
    image = np.where(generator.random((120, 90)) < 0.01, 20.0, 0.0)
    table = sk.find_clusters(image, threshold=4, seed=10)
    dx = table["x"][:, None] - table["x"]
    dy = table["y"][:, None] - table["y"]
    distance = np.hypot(dx, dy)
    np.fill_diagonal(distance, np.inf)
    # hypot and the root of a sum of squares differ in the last place
    np.testing.assert_allclose(table["nearest_distance"], distance.min(axis=1), rtol=4e-16)


@pytest.mark.parametrize(("row", "col"), [(0, 3), (4, 3), (2, 0), (2, 6)])
def test_a_cluster_at_each_edge_says_so(row: int, col: int) -> None:
    image = np.zeros((5, 7))
    image[row, col] = 20.0
    (cluster,) = sk.find_clusters(image, threshold=4, seed=10)
    assert cluster["touches_edge"] == 1
    assert (cluster["peak_y"], cluster["peak_x"]) == (row, col)


def test_a_cluster_without_seed_is_left_out() -> None:
    image = np.zeros((5, 7))
    image[1, 1] = 9.0
    image[3, 5] = 11.0
    table = sk.find_clusters(image, threshold=4, seed=10)
    assert table["peak_charge"].tolist() == [11.0]


def test_masked_and_missing_pixels_belong_to_no_cluster() -> None:
    image = np.full((3, 5), 20.0)
    image[:, 2] = np.nan
    mask = np.zeros((3, 5), bool)
    mask[0] = True
    table = sk.find_clusters(image, threshold=4, seed=10, mask=mask)
    assert table["n_pixels"].tolist() == [4, 4]
    assert table["x_min"].tolist() == [0, 3]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_has_no_clusters(shape: tuple[int, int]) -> None:
    assert len(sk.find_clusters(np.zeros(shape), threshold=4, seed=10)) == 0


def test_a_cube_is_refused() -> None:
    with pytest.raises(sk.ConfigError, match=r"must be \(n_rows, n_cols\)"):
        sk.find_clusters(np.zeros((2, 3, 4)), threshold=4, seed=10)


def linked(
    binary: NDArray[np.bool_], distance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel (flat index + 1) and number of pixels of each group, by all pairs."""
    rows, cols = np.nonzero(binary)
    places = np.stack([rows, cols], axis=1)
    near = ((places[:, None] - places[None]) ** 2).sum(axis=-1) <= distance**2
    _, group = csgraph.connected_components(near)
    _, first, counts = np.unique(group, return_index=True, return_counts=True)
    order = np.argsort(first)
    flat = rows * binary.shape[1] + cols
    return flat[first][order] + 1, counts[order]


@pytest.mark.parametrize("distance", [1, 1.5, 2, 2.3, 3, 5.1, 40])
@pytest.mark.parametrize("shape", [(40, 50), (1, 60), (60, 1), (2, 2), (3, 17)])
@pytest.mark.parametrize("chunk_rows", [1, 7, 640])
def test_pixels_within_the_link_distance_belong_together(
    distance: float, shape: tuple[int, int], chunk_rows: int
) -> None:
    random_numbers = np.random.default_rng(round(10 * distance) + shape[1])
    for density in (0.0, 0.3 / distance**2, 0.15, 0.4, 1.0):
        binary = random_numbers.random(shape) < density
        table = clusters_of(binary, 8, chunk_rows=chunk_rows, link_distance=distance)
        ids, counts = linked(binary, distance)
        np.testing.assert_array_equal(table["cluster_id"], ids)
        np.testing.assert_array_equal(table["n_pixels"], counts)


def test_moments_and_edges_of_linked_clusters_are_those_of_their_pixels() -> None:
    image = np.zeros((12, 10))
    image[2, 3], image[4, 5], image[6, 4] = 20, 30, 50
    image[11, 9] = 20
    table = sk.find_clusters(image, threshold=4, seed=10, link_distance=3)
    assert list(table["n_pixels"]) == [3, 1]
    first = table[0]
    assert (first["x_min"], first["x_max"], first["y_min"], first["y_max"]) == (3, 5, 2, 6)
    assert (first["charge"], first["y"], first["x"]) == (100, 4.6, 4.1)
    assert list(table["touches_edge"]) == [0, 1]


@pytest.mark.parametrize("distance", [1, 2.3, 5])
def test_labels_and_pixels_of_linked_clusters_agree(distance: float) -> None:
    random_numbers = np.random.default_rng(3)
    image = (random_numbers.random((50, 40)) < 0.08).astype("f4")
    stage = sk.FindClusters(threshold=0.5, seed=0.5, noise=1.0, link_distance=distance,
                            label_image=True, keep_pixels=True)  # fmt: skip
    with sk.Pipeline([stage], n_cols=40, n_skips=1, dtype="f4", n_rows=50) as pipeline:
        pipeline.push(image[..., None])
        labels = pipeline.finish().planes["label"]
    pixels = pipeline.table("cluster_pixels")
    expected = np.zeros(image.shape)
    expected[pixels["y"], pixels["x"]] = pixels["cluster_id"]
    np.testing.assert_array_equal(labels, expected)
    assert (labels > 0).sum() == image.sum()


def test_a_threshold_may_differ_between_amplifiers() -> None:
    image = np.array([[[5.0], [0.0], [7.0]]])
    stage = sk.FindClusters(threshold={"EXT1": 4.0, "EXT2": 6.0}, seed={"EXT1": 4.0, "EXT2": 6.0},
                            noise=1.0)  # fmt: skip
    found = {}
    for amplifier in ("EXT1", "EXT2"):
        pipeline = sk.Pipeline([stage], n_cols=3, n_skips=1, dtype="f8", amplifier=amplifier)
        pipeline.push(image)
        pipeline.finish()
        found[amplifier] = len(pipeline.table("clusters"))
    assert found == {"EXT1": 2, "EXT2": 1}
    with pytest.raises(sk.ConfigError, match=r"find_clusters\.threshold: .*EXT3"):
        sk.Pipeline([stage], n_cols=3, n_skips=1, dtype="f8", amplifier="EXT3")
