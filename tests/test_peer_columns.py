"""Tables under the names of WADERS and SENSEI: every column against its formula, in loops."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from astropy.io import fits
from numpy.typing import NDArray
from scipy.optimize import minimize

import skipstream as sk
from skipstream import _core
from skipstream.peer_columns import HITSUMM_MASK, _gaussian_likelihood

KEV = 3.74e-3
NOISE, SEED, THRESHOLD, GAIN = 0.25, 8.0, 4.0, 5.0
SHAPE = (60, 90)
PEDESTAL = 900.0
HALO, BLEED = {"threshold": 60.0, "radius": 9}, {"threshold": 60.0, "columns": 12, "rows": 7}

STAGES: list[dict[str, Any]] = [
    {"kind": "compress_skips", "statistics": ["median", "mean"]},
    {"kind": "mask_columns", "columns": [70]},
    {"kind": "subtract_pedestal", "method": "median"},
    {"kind": "calibrate", "gain": GAIN},
    {"kind": "mask_bleeding", **BLEED},
    {"kind": "find_clusters", "threshold": THRESHOLD, "seed": SEED, "noise": NOISE,
     "keep_pixels": True, "require_seed": False, "energy_per_electron": 3.74},
    {"kind": "mask_halo", **HALO},
]  # fmt: skip


def charges(seed: int) -> NDArray[np.float64]:
    """Tracks, spots, single pixels, and a cluster of more than 64 pixels."""
    random = np.random.default_rng(seed)
    charge = random.normal(0, NOISE, SHAPE)
    for _ in range(12):
        row, col = random.integers(4, SHAPE[0] - 4), random.integers(4, SHAPE[1] - 24)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        spread = random.uniform(0.4, 1.6)
        spot = np.exp(-((x - col) ** 2 + 0.5 * (y - row) ** 2) / (2 * spread**2))
        charge += random.uniform(5, 200) * spot
    for k in range(14):
        charge[20 + k, 10 + k // 2] += 30
    for _ in range(15):
        charge[random.integers(SHAPE[0]), random.integers(SHAPE[1] - 20)] += 1.5
    charge[40:52, 55:66] += 25
    charge[:, -12:] = random.normal(0, NOISE, (SHAPE[0], 12))
    return charge


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "run_0042.fits"
    hdus: list[Any] = []
    for number in range(2):
        image = PEDESTAL + GAIN * charges(number + 1)
        samples = np.stack([image - 1, image, image + 2], axis=2).astype("f4")
        header = fits.Header(
            {"NDCMS": 3, "EXTNAME": f"AMP{number}", "LTANAME": "17", "OHDU": number + 3}
        )
        header["DATEINI"] = "2025-01-02T03:04:05"
        header["DATEEND"] = "2025-01-02T03:10:00"
        header["UTSHUT"] = "2025-01-02T03:03:00"
        header["DATE"] = "2025-01-02T03:13:00"
        header["EXPOSURE"], header["MREAD"] = 500.0, 100_000.0
        hdu = fits.PrimaryHDU if number == 0 else fits.ImageHDU
        hdus.append(hdu(samples.reshape(SHAPE[0], -1), header))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture(scope="module")
def run(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    outputs = [
        {"after": "find_clusters", "path": f"{{stem}}_{columns}_clusters{ending}",
         "table": "clusters", "columns": columns}
        for columns in ("waders", "hitsumm")
        for ending in (".root", ".parquet", ".fits", ".csv", ".ecsv")
    ]  # fmt: skip
    base = {"input": {"overscan_cols": 12}, "stage": STAGES}
    folder = tmp_path_factory.mktemp("out")
    done = list(sk.run(sk.load_config({**base, "output": outputs}), [raw], output=folder))
    assert [r.status for r in done] == ["done", "done"], [r.message for r in done]
    return folder, list(sk.run(sk.load_config(base), [raw]))


def bits(mask: NDArray[np.uint32], *names: str) -> NDArray[np.bool_]:
    return (mask & sum(bit for bit, name, _ in _core.mask_names() if name in names)) != 0


def clusters_of(result: Any) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Columns, rows and charges of the pixels of each cluster, counted from 0."""
    pixels = result.cluster_pixels
    return [
        tuple(pixels[name][pixels["cluster_id"] == c] for name in ("x", "y", "charge"))
        for c in result.clusters["cluster_id"]
    ]  # type: ignore[misc]


def waders_row(x: NDArray[Any], y: NDArray[Any], energy: NDArray[Any]) -> dict[str, float]:
    """What needs a cluster's own pixels alone; x and y count from 1."""
    row: dict[str, float] = {
        "Npix": len(x),
        "Energy": energy.sum(),
        "Qmax": energy.max(),
        "QmaxX": x[energy.argmax()],
        "QmaxY": y[energy.argmax()],
        "STD_XY": math.sqrt(((x - x.mean()) ** 2 + (y - y.mean()) ** 2).sum() / len(x)),
        "sigma_seed_eV": NOISE * 3.74,
        "qmin_cluster_seed": SEED * NOISE * KEV,
        "has_seed": int((energy > SEED * NOISE * KEV).any()),
        "seed_nsig_min": (energy / (NOISE * KEV)).min(),
        "seed_nsig_max": (energy / (NOISE * KEV)).max(),
        "seed_nsig_delta": np.ptp(energy) / (NOISE * KEV),
    }
    for axis, at in (("X", x), ("Y", y)):
        place = np.average(at, weights=energy)
        wstd = math.sqrt((energy * (at - place) ** 2).sum() / energy.sum())
        row |= {
            f"D{axis}": at.max() - at.min() + 1,
            f"min{axis}": at.min(),
            f"max{axis}": at.max(),
            f"mean{axis}": at.mean(),
            f"RMS{axis}": (at**2.0).mean(),
            f"Pos{axis}": place,
            f"STD_{axis}": at.std(),
            f"wSTD_{axis}": wstd,
            f"dwSTD_{axis}": wstd / math.sqrt(len(x)),
        }
    row["wSTD_XY"] = math.sqrt((row["wSTD_X"] ** 2 + row["wSTD_Y"] ** 2) / 2)
    return row


def test_every_column_of_waders_has_its_formula(run: tuple[Path, list[Any]]) -> None:
    folder, results = run
    with uproot.open(folder / "run_0042_waders_clusters.root") as file:
        tree = file["clustersRec"].arrays()
        info = file["info"].arrays()
    seen = {"RUNID", "Nclusters", "Npixels", "NprojectionX", "NprojectionY"}
    assert tree["RUNID"].tolist() == [42, 42]
    assert tree["Nclusters"].tolist() == [len(r.clusters) for r in results]
    begin = datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC).timestamp()
    for entry, result in zip(tree, results, strict=True):
        found = clusters_of(result)
        rows = [waders_row(x + 1, y + 1, q * KEV) for x, y, q in found]
        for name in rows[0]:
            expected = [row[name] for row in rows]
            # Sums in another order, of differences to another origin.
            np.testing.assert_allclose(entry[name], expected, rtol=1e-10, atol=1e-7, err_msg=name)
            seen.add(name)
        n = len(found)
        image = PEDESTAL + GAIN * charges(results.index(result) + 1)
        image = image.astype("f4").astype(float) + 1 / 3  # the mean of its three samples
        pedestal = np.median(image[:, -12:] - 1 / 3, axis=1, keepdims=True)
        mask = result.mask
        defects = np.argwhere(
            bits(mask, *(name for _, name, _ in _core.mask_names()
                         if name not in ("MISSKIPS", "CLUSTER", "HALO")))
        )  # fmt: skip
        hot = bits(mask, "BADCOL", "BADROW")
        seeded = [i for i in range(n) if rows[i]["has_seed"]]
        begin_pixel = 0
        for i, (x, y, q) in enumerate(found):
            at = slice(begin_pixel, begin_pixel + len(x))
            begin_pixel += len(x)
            own = {
                "pixels_x": x + 1,
                "pixels_y": y + 1,
                "pixels_z": 0 * x,
                "pixels_E": q * KEV,
                "pixels_E_AVG": image[y, x],
                "pixels_E_PS": (image - 1 / 3 - pedestal)[y, x],
                "seed_nsig_pixels": q / NOISE,
            }
            for name, values in own.items():
                # The planes are float32 between the stages, of 900 ADU.
                np.testing.assert_allclose(entry[name][at], values, rtol=1e-7, atol=3e-4)
            assert entry["Energy_AVG"][i] == pytest.approx(sum(entry["pixels_E_AVG"][at]))
            assert entry["Energy_PS"][i] == pytest.approx(sum(entry["pixels_E_PS"][at]))
            apart = np.hypot(defects[:, 1, None] - x, defects[:, 0, None] - y)
            assert entry["dist_mask_min"][i] == pytest.approx(apart.min())
            assert entry["dist_mask_max"][i] == pytest.approx(apart.max())
            assert entry["hotreg"][i] == hot[y, x].any()
            assert entry["excluded"][i] == (hot[y, x].any() or i not in seeded)
            assert entry["cluster_id"][i] == i + 1
            others = [k for k in seeded if k != i]
            if i not in seeded:
                assert entry["closest_cls_dist"][i] == entry["closest_cls_id"][i] == -1
                continue
            distance = [
                math.hypot(rows[k]["PosX"] - rows[i]["PosX"], rows[k]["PosY"] - rows[i]["PosY"])
                for k in others
            ]
            nearest = others[int(np.argmin(distance))]
            assert entry["closest_cls_dist"][i] == pytest.approx(min(distance))
            assert entry["closest_cls_id"][i] == nearest + 1
            for axis in "XY":
                step = abs(rows[nearest][f"Pos{axis}"] - rows[i][f"Pos{axis}"])
                assert entry[f"closest_cls_dist_{axis}"][i] == pytest.approx(step, abs=1e-9)
        assert entry["nfile"].tolist() == [42] * n
        assert entry["ccd"].tolist() == [results.index(result)] * n
        assert entry["readout_start"].tolist() == [begin] * n
        assert entry["readout_end"].tolist() == [begin + 355] * n
        seen |= {*own, "Energy_AVG", "Energy_PS", "dist_mask_min", "dist_mask_max", "hotreg",
                 "excluded", "cluster_id", "closest_cls_dist", "closest_cls_id", "nfile", "ccd",
                 "closest_cls_dist_X", "closest_cls_dist_Y", "readout_start",
                 "readout_end"}  # fmt: skip
        seen |= check_projections(entry, found, rows)
    assert set(tree.fields) == seen
    assert info["total_exposure"].tolist() == [600.0, 600.0]
    assert info["idccd"].tolist() == [0, 1]
    assert np.isfinite(info["AMP0_pedestal_mu_row_mean_ADU"]).tolist() == [True, False]


def check_projections(
    entry: Any, found: list[tuple[Any, Any, Any]], rows: list[dict[str, float]]
) -> set[str]:
    seen = set()
    n_fitted = 0
    for axis, along, which in (("X", "cols", 0), ("Y", "rows", 1)):
        begin = 0
        for i, cluster in enumerate(found):
            at, energy = cluster[which] + 1, cluster[2] * KEV
            n = int(at.max() - at.min()) + 3
            counts, _ = np.histogram(at, n, (at.min() - 1.5, at.max() + 1.5), weights=energy)
            counts = counts / energy.max()
            part = slice(begin, begin + n)
            begin += n
            np.testing.assert_allclose(entry[f"projection{axis}"][part], counts, atol=1e-12)
            np.testing.assert_allclose(
                entry[f"projection{axis}_{along}"][part],
                np.linspace(at.min() - 1.5, at.max() + 1.5, n),
            )
            bins = np.arange(at.min() - 1, at.max() + 2)
            place, sigma = entry[f"fPos{axis}"][i], entry[f"fSTD_{axis}"][i]
            if np.count_nonzero(counts) < 3:
                assert (place, sigma) == (entry[f"Pos{axis}"][i], entry[f"wSTD_{axis}"][i])
                continue

            def cost(v: NDArray[Any], bins: Any = bins, counts: Any = counts) -> float:
                expected = np.exp(v[0] - (bins - v[1]) ** 2 / (2 * v[2] ** 2))
                return float((expected - counts * np.log(np.maximum(expected, 1e-300))).sum())

            height = math.log(counts.sum() / (sigma * math.sqrt(2 * math.pi)))
            best = minimize(cost, [height, place, sigma], method="Nelder-Mead",
                            options={"xatol": 1e-7, "fatol": 1e-13, "maxiter": 4000})  # fmt: skip
            is_moment = sigma == entry[f"wSTD_{axis}"][i]
            if not is_moment:
                n_fitted += 1
                # The simplex ends where the likelihood is flat to 1e-13 of its value.
                assert place == pytest.approx(best.x[1], abs=1e-4)
                assert sigma == pytest.approx(abs(best.x[2]), abs=1e-4)
        seen |= {f"fPos{axis}", f"fSTD_{axis}", f"projection{axis}", f"projection{axis}_{along}"}
    assert n_fitted > 15
    return seen


def test_the_fit_of_a_projection_finds_the_greatest_likelihood() -> None:
    x = np.arange(9)
    exact = 7 * np.exp(-((x - 3.3) ** 2) / (2 * 1.2**2))
    mean, sigma = _gaussian_likelihood(np.stack([exact, 3 * exact, np.roll(exact, 1)]))
    np.testing.assert_allclose(mean[:2], 3.3, atol=1e-9)
    np.testing.assert_allclose(sigma[:2], 1.2, atol=1e-9)
    none = np.zeros((3, 5))
    none[0, 2] = 1
    none[1, 2:4] = 1
    none[2] = [1, 0.1, 0.1, 0.1, 1]  # opens upward
    assert np.isnan(_gaussian_likelihood(none)).all()


def hit_row(x: NDArray[Any], y: NDArray[Any], q: NDArray[Any]) -> dict[str, float]:
    """As skExtract's loops compute them, with the variance of a single pixel 0."""
    total = q[q > 0].sum()
    e = sum(0 if v < 0.5 else 1 if v < 1.5 else math.floor(v - 0.5) + 1 for v in q)
    bary_x, bary_y = (sum(a * v for a, v in zip(at, q, strict=True) if v > 0) / total
                      for at in (x, y))  # fmt: skip
    dx, dy = x - bary_x, y - bary_y
    if len(x) == 1:  # in spite of rounding
        dx, dy = 0 * dx, 0 * dy
    w = np.where(q > 0, q, 0)
    x2, y2 = (dx**2 * w).sum(), (dy**2 * w).sum()
    angle = math.atan2(y2, x2)
    a = np.arctan2(dy, dx)
    r2 = dx**2 + dy**2
    sums = [
        (r2 * np.cos(a - math.pi / 4) ** 2 * w).sum() / total,
        (r2 * np.sin(a - math.pi / 4) ** 2 * w).sum() / total,
        x2 / total,
        y2 / total,
    ]
    mean = sum(sums) / 4
    return {
        "xMin": x.min(), "xMax": x.max(), "yMin": y.min(), "yMax": y.max(), "n": len(x),
        "nSavedPix": len(x), "e": e, "eRaw": total, "xBary": bary_x, "yBary": bary_y,
        "xVar": x2 / total, "yVar": y2 / total,
        "xy1Var": (r2 * np.cos(a - angle) ** 2 * w).sum() / total,
        "xy2Var": (r2 * np.sin(a - angle) ** 2 * w).sum() / total,
        "alpha": math.degrees(angle),
        "R": sum((s - mean) ** 2 for s in sums) / 4,
        "xy1Width": np.sqrt(r2 * np.cos(a - angle) ** 2)[q > 0].sum() / len(x),
        "xy2Width": np.sqrt(r2 * np.sin(a - angle) ** 2)[q > 0].sum() / len(x),
        "xCen": (x.min() + x.max()) / 2, "yCen": (y.min() + y.max()) / 2,
        "nSat": 0, "runID": 42, "LTANAME": 17, "expoStart": 600,
    }  # fmt: skip


def pixel_maps(result: Any, charge: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Columns of calPixTree, pixel by pixel."""
    n_rows, n_cols = SHAPE
    bright = np.argwhere(charge >= HALO["threshold"])
    full = charge >= 0.5
    own = np.full(SHAPE, -1)
    pixels = result.cluster_pixels
    own[pixels["y"], pixels["x"]] = pixels["cluster_id"]
    taken = np.argwhere(own >= 0)
    taken_own = own[tuple(taken.T)]
    maps = {name: np.zeros(SHAPE) for name in ("distance", "azimuth", "bleedX", "bleedY",
                                               "clusterDist", "mask")}  # fmt: skip
    for y in range(n_rows):
        for x in range(n_cols):
            apart = np.hypot(bright[:, 0] - y, bright[:, 1] - x)
            nearest = bright[apart.argmin()]
            is_near = apart.min() < HALO["radius"]
            maps["distance"][y, x] = apart.min() if is_near else HALO["radius"] + 1
            angle = math.atan2(abs(nearest[0] - y), abs(nearest[1] - x))
            same = bright[apart == apart.min()]
            angles = [math.atan2(abs(b[0] - y), abs(b[1] - x)) for b in same]
            maps["azimuth"][y, x] = (angles if len(angles) > 1 else [angle])[0] if is_near else 0
            before = [x - b for a, b in bright if a == y and 0 < x - b <= BLEED["columns"]]
            above = [y - a for a, b in bright if b == x and 0 < y - a <= BLEED["rows"]]
            maps["bleedX"][y, x] = min(before, default=BLEED["columns"] + 1)
            maps["bleedY"][y, x] = min(above, default=BLEED["rows"] + 1)
            others = taken[taken_own != own[y, x]] if own[y, x] >= 0 else taken
            apart = np.hypot(others[:, 0] - y, others[:, 1] - x)
            maps["clusterDist"][y, x] = apart.min() if apart.min() <= 100 else 101
            around = full[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].sum() - full[y, x]
            maps["mask"][y, x] = 2 * full[y, x] + (around > 0)
    for bit, name, _ in _core.mask_names():
        if name in HITSUMM_MASK:
            some = (result.mask & bit) != 0
            maps["mask"][some] = maps["mask"][some].astype(int) | HITSUMM_MASK[name]
    return maps


def test_every_column_of_sensei_has_its_formula(run: tuple[Path, list[Any]]) -> None:
    folder, results = run
    with uproot.open(folder / "run_0042_hitsumm_clusters.root") as file:
        hits = file["hitSumm"].arrays()
        cells = file["calPixTree"].arrays(library="np")
        assert file["hitSumm"]["xPix"].typename == "int32_t[]"
        assert file["hitSumm"]["nSavedPix"].typename == "int32_t"
        assert file["hitSumm"]["ePix"].typename == "float[]"
    seen: set[str] = set()
    begin = 0
    for number, result in enumerate(results):
        found = clusters_of(result)
        some = hits[begin : begin + len(found)]
        begin += len(found)
        rows = [hit_row(*cluster) for cluster in found]
        for name in rows[0]:
            # The branches are float32.
            expected = [row[name] for row in rows]
            np.testing.assert_allclose(some[name], expected, rtol=3e-6, atol=2e-5, err_msg=name)
        assert some["ohdu"].tolist() == [number + 3] * len(found)
        for hit, (x, y, q) in zip(some, found, strict=True):
            assert hit["xPix"].tolist() == x.tolist()
            assert hit["yPix"].tolist() == y.tolist()
            assert hit["ePix"].tolist() == q.astype("f4").tolist()
        pixels = slice(number * SHAPE[0] * SHAPE[1], (number + 1) * SHAPE[0] * SHAPE[1])
        charge = cells["ePix"][pixels].reshape(SHAPE)
        (x, y, q) = (result.cluster_pixels[name] for name in ("x", "y", "charge"))
        assert np.array_equal(charge[y, x], q)
        maps = pixel_maps(result, charge)
        for name, expected in maps.items():
            values = cells[name][pixels].reshape(SHAPE)
            if name == "azimuth":  # of equally near ones any
                values, expected = np.sin(2 * values), np.sin(2 * expected)
                assert (np.abs(values - expected) < 1e-5).mean() > 0.95
            else:
                np.testing.assert_allclose(values, expected, rtol=1e-6, err_msg=name)
        for name in ("distance", "bleedX", "bleedY", "clusterDist"):
            expected = [maps[name][y, x].min() for x, y, _ in found]
            np.testing.assert_allclose(some[name], expected, rtol=1e-6)
        flags = [np.bitwise_or.reduce(maps["mask"][y, x].astype(int)) for x, y, _ in found]
        assert some["flag"].tolist() == flags
        seen |= {*rows[0], "ohdu", "xPix", "yPix", "ePix", "distance", "bleedX", "bleedY",
                 "clusterDist", "flag"}  # fmt: skip
        assert (cells["ohdu"][pixels] == number + 3).all()
    assert set(hits.fields) == seen
    assert (cells["RUNID"] == 42).all()
    assert (cells["LTANAME"] == 17).all()
    n = SHAPE[0] * SHAPE[1]
    assert np.array_equal(cells["y"][:n] * SHAPE[1] + cells["x"][:n], np.arange(n))
    assert set(cells) == {"x", "y", "ePix", "mask", "distance", "azimuth", "bleedX", "bleedY",
                          "clusterDist", "ohdu", "RUNID", "LTANAME"}  # fmt: skip


@pytest.mark.parametrize(("columns", "name"), [("waders", "clustersRec"), ("hitsumm", "hitSumm")])
def test_other_formats_have_a_row_per_cluster(
    run: tuple[Path, list[Any]], columns: str, name: str
) -> None:
    folder, results = run
    stem = f"run_0042_{columns}_clusters"
    with uproot.open(folder / f"{stem}.root") as file:
        tree = file[name].arrays()
        texts = {c["name"]: c for c in json.loads(file["columns"])}
    parquet = pq.read_table(folder / f"{stem}.parquet")
    n = sum(len(r.clusters) for r in results)
    assert parquet.num_rows == n
    scalars = fits.getdata(folder / f"{stem}.fits", 1)
    for column in scalars.names:
        values = ak.flatten(tree[column], axis=None) if column in tree.fields else []
        if len(values) == n:
            assert np.array_equal(parquet[column].to_numpy(), ak.to_numpy(values), equal_nan=True)
        assert np.array_equal(scalars[column], parquet[column].to_numpy(), equal_nan=True)
        assert texts[column]["doc"]
    lists = [c for c in parquet.column_names if c not in scalars.names]
    assert lists
    for column in lists:
        flat = [v for row in parquet[column].to_pylist() for v in row]
        assert flat == ak.flatten(tree[column], axis=None).tolist()
    text = (folder / f"{stem}.csv").read_text().splitlines()
    assert text[0].split(",") == scalars.names
    assert len(text) == n + 1


def test_an_image_without_clusters_is_an_entry(tmp_path: Path) -> None:
    samples = np.full((10, 40 * 3), 100, "i2")
    fits.PrimaryHDU(samples, fits.Header({"NDCMS": 3})).writeto(tmp_path / "dark.fits")
    outputs = [
        {"after": "find_clusters", "path": f"{{stem}}_{columns}_clusters{ending}",
         "table": "clusters", "columns": columns}
        for columns in ("waders", "hitsumm")
        for ending in (".root", ".parquet")
    ]  # fmt: skip
    config = sk.load_config(
        {"input": {"overscan_cols": 12}, "stage": STAGES[:1] + STAGES[2:], "output": outputs}
    )
    (result,) = sk.run(config, [tmp_path / "dark.fits"], output=tmp_path / "out")
    assert result.status == "done", result.message
    with uproot.open(tmp_path / "out" / "dark_waders_clusters.root") as file:
        assert file["clustersRec"].arrays()["Nclusters"].tolist() == [0]
        assert file["clustersRec"].arrays()["RUNID"].tolist() == [-1]
    with uproot.open(tmp_path / "out" / "dark_hitsumm_clusters.root") as file:
        assert file["hitSumm"].num_entries == 0
        assert file["calPixTree"].num_entries == 400
    assert pq.read_table(tmp_path / "out" / "dark_hitsumm_clusters.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("output", "stages", "message"),
    [
        ({"columns": "root"}, STAGES, "is not one of skipstream, waders, hitsumm"),
        ({"columns": 3}, STAGES, "must be a string"),
        ({"table": "cluster_pixels", "columns": "waders"}, STAGES, "is for tables of clusters"),
        ({"columns": "waders"}, [*STAGES[:5], {**STAGES[5], "keep_pixels": False}],
         "set keep_pixels = true"),
        ({"columns": "hitsumm"}, [*STAGES[:3], *STAGES[4:]], "put the stage calibrate before"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_had_are_refused(
    output: dict[str, Any], stages: list[dict[str, Any]], message: str
) -> None:
    output = {"after": "find_clusters", "path": "{stem}_clusters.root", **output}
    with pytest.raises(sk.ConfigError, match=message):
        sk.load_config({"stage": stages, "output": [output]})


def test_lost_pixels_are_an_error(tmp_path: Path, raw: Path) -> None:
    output = {"after": "find_clusters", "path": "{stem}_clusters.root", "columns": "waders"}
    stages = [*STAGES[:5], {**STAGES[5], "max_pixels": 20}]
    config = sk.load_config({"input": {"overscan_cols": 12}, "stage": stages, "output": [output]})
    (result,) = sk.run(config, [raw], output=tmp_path)
    assert result.status == "failed"
    assert "raise max_pixels" in result.message
