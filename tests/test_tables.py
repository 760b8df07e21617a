"""Tables: to what others work with, and to files of every format, every column with its unit."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.table import Table as AstropyTable

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream.simulate import simulate

STAGES: list[dict[str, Any]] = [
    {"kind": "compress_skips"},
    {"kind": "subtract_pedestal"},
    {"kind": "calibrate", "gain": 5.0},
    {"kind": "find_clusters", "threshold": 4.0, "seed": 8.0, "keep_pixels": True},
]
SHAPE = {"n_rows": 40, "n_cols": 120, "n_skips": 60, "overscan_cols": 30}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "raw.fits"
    simulate(path, **SHAPE, seed=3, gain=5.0, n_points=8, layout="lta")
    return path


@pytest.fixture(scope="module")
def clusters(raw: Path) -> sk.Table:
    config = sk.load_config({"input": {"overscan_cols": 30}, "stage": STAGES})
    found = next(iter(sk.run(config, [raw]))).clusters
    assert found is not None
    assert len(found) > 5
    return found


def test_a_table_is_the_structured_array_that_it_was(clusters: sk.Table) -> None:
    assert isinstance(clusters, np.ndarray)
    plain = clusters.to_numpy()
    assert type(plain) is np.ndarray
    assert np.shares_memory(plain, clusters)
    assert type(clusters["charge"]) is np.ndarray
    assert clusters[0]["charge"] == plain["charge"][0]
    bright = clusters[clusters["charge"] > np.median(clusters["charge"])]
    assert bright.units == clusters.units
    assert bright.units["energy_kev"] == "keV"
    again = pickle.loads(pickle.dumps(clusters))
    assert again.columns == clusters.columns
    assert np.array_equal(again, clusters)
    kept, _ = sk.select_clusters(clusters, {"n_pixels": (2, None)})
    assert len(kept) == (clusters["n_pixels"] >= 2).sum()


def test_each_method_keeps_every_value(clusters: sk.Table) -> None:
    names = clusters.dtype.names or ()
    columns: dict[str, dict[str, list[Any]]] = {
        "pandas": {n: clusters.to_pandas()[n].tolist() for n in names},
        "polars": {n: clusters.to_polars()[n].to_list() for n in names},
        "arrow": clusters.to_arrow().to_pydict(),
        "awkward": {n: ak.to_list(clusters.to_awkward()[n]) for n in names},
        "qtable": {n: getattr(clusters.to_qtable()[n], "value", clusters[n]).tolist()
                   for n in names},
    }  # fmt: skip
    for kind, found in columns.items():
        assert list(found) == list(names), kind
        for name in names:
            assert found[name] == clusters[name].tolist(), (kind, name)


def test_units_go_along(clusters: sk.Table) -> None:
    table = clusters.to_qtable()
    assert isinstance(table, QTable)
    assert table["energy_kev"].unit == u.keV
    assert table["x"].unit == u.pixel
    assert table["charge"].unit == u.electron
    assert table["x"].info.description.startswith("column of the centre")
    field = clusters.to_arrow().schema.field("energy_kev")
    assert field.metadata[b"unit"] == b"keV"
    assert clusters.to_pandas().attrs["units"]["charge"] == "electron"


def test_no_cluster_makes_an_empty_table_everywhere() -> None:
    empty = sk.find_clusters(np.zeros((5, 5)), threshold=4.0, seed=5.0, noise=1.0)
    assert len(empty) == 0
    assert len(empty.to_pandas()) == len(empty.to_polars()) == len(empty.to_awkward()) == 0
    assert empty.to_arrow().num_rows == len(empty.to_qtable()) == 0
    assert empty.units["x"] == "pixel"


@pytest.mark.parametrize(
    ("method", "module", "extra"),
    [
        ("to_pandas", "pandas", "tables"),
        ("to_polars", "polars", "tables"),
        ("to_arrow", "pyarrow", "parquet"),
        ("to_awkward", "awkward", "tables"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    clusters: sk.Table, monkeypatch: pytest.MonkeyPatch, method: str, module: str, extra: str
) -> None:
    before = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return before(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    message = rf"{method} needs {module}; pip install 'skipstream\[{extra}\]'"
    with pytest.raises(sk.ConfigError, match=message):
        getattr(clusters, method)()


MEASURES = [
    {"kind": "find_patterns"},
    {"kind": "fit_dark_current", "after": "subtract_pedestal"},
]
TABLES = ("clusters", "cluster_pixels", "measures", "patterns")


@pytest.fixture(scope="module")
def written(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Every table in every format."""
    endings = (".fits", ".csv", ".ecsv", ".parquet", ".root")
    outputs = [
        {"path": f"{{stem}}_{name}{ending}", "table": name}
        | ({"after": "find_clusters"} if name.startswith("cluster") else {})
        for name in TABLES
        for ending in endings
    ]
    config = sk.load_config(
        {
            "input": {"overscan_cols": 30, "prescan_cols": 8},
            "stage": STAGES,
            "measure": MEASURES,
            "output": outputs,
        }
    )
    folder = tmp_path_factory.mktemp("out")
    return folder, list(sk.run(config, [raw], output=folder))


def read(path: Path) -> dict[str, list[Any]]:
    """Columns of a file, by somebody else's reader."""
    if path.suffix == ".fits":
        data = fits.getdata(path, 1)
        return {n: [v.strip() if isinstance(v, str) else v for v in data[n].tolist()]
                for n in data.names}  # fmt: skip
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    if path.suffix == ".root":
        with uproot.open(path) as file:
            tree = file[path.stem.removeprefix("raw_")]
            assert file["header"].startswith('{"EXTNAME"')
            columns = json.loads(file["columns"])
            assert [c["name"] for c in columns] == tree.keys()
            return {n: ak.to_list(tree[n].array()) for n in tree.keys()}  # noqa: SIM118
    kind = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}[path.suffix]
    table = AstropyTable.read(path, format=kind, fill_values=[])
    return {n: table[n].tolist() for n in table.colnames}


@pytest.mark.parametrize("name", TABLES)
def test_every_format_holds_the_same_table(written: tuple[Path, list[Any]], name: str) -> None:
    folder, results = written
    reference = read(folder / f"raw_{name}.parquet")
    assert len(next(iter(reference.values()))) > 3
    for ending in (".fits", ".csv", ".ecsv", ".root"):
        found = read(folder / f"raw_{name}{ending}")
        assert list(found) == list(reference)
        for column, values in reference.items():
            if isinstance(values[0], str):
                values = ["" if v is None else v for v in values]
                assert [str(v) for v in found[column]] == values, (ending, column)
            else:
                assert np.array_equal(found[column], values, equal_nan=True), (ending, column)
    if name.startswith("cluster"):
        expected = np.concatenate([getattr(r, name)["charge"] for r in results])
        assert reference["charge"] == expected.tolist()


def test_patterns_stand_where_they_are_in_the_image(written: tuple[Path, list[Any]]) -> None:
    folder, results = written
    found = read(folder / "raw_patterns.parquet")
    assert set(found["amplifier"]) == {r.amplifier for r in results}
    assert set(found["measure"]) == {"find_patterns"}
    config = sk.load_config({"input": {"overscan_cols": 30, "prescan_cols": 8}, "stage": STAGES})
    image = next(iter(sk.run(config, [str(results[0].path)]))).planes["mean"]
    first = [i for i, a in enumerate(found["amplifier"]) if a == results[0].amplifier]
    for i in first:
        electrons = int(found["pattern"][i][0])
        charge = image[found["row"][i], found["column"][i]]
        assert electrons - 0.5 <= charge < electrons + 0.5
    assert min(found["column"]) >= 8


def test_a_table_of_patterns_needs_its_measure() -> None:
    output = [{"path": "{stem}_patterns.root"}]
    with pytest.raises(sk.ConfigError, match=r"no \[\[measure\]\] of the kind"):
        sk.load_config({"stage": STAGES, "output": output})


def test_root_is_asked_for_before_a_row_is_read(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = [{"path": "{stem}_clusters.root", "after": "find_clusters"}]
    config = sk.load_config({"stage": STAGES, "output": output})
    monkeypatch.setitem(sys.modules, "uproot", None)
    (result,) = sk.run(config, [raw], output=tmp_path)
    assert result.status == "failed"
    assert "pip install 'skipstream[root]'" in result.message
    assert not list(tmp_path.glob("*clusters*"))
