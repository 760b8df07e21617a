"""Runs over files: layouts, outputs, failures, resumption."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table

import skipstream as sk
from skipstream import _core
from skipstream.simulate import simulate, simulate_samples

CONFIG: dict[str, Any] = {
    "input": {"overscan_cols": 30},
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "median", "std"]},
        {"kind": "subtract_pedestal"},
        {"kind": "calibrate", "gain": 5.0},
        {"kind": "find_clusters", "threshold": 4.0, "seed": 8.0},
    ],
}
SHAPE = {"n_rows": 40, "n_cols": 120, "n_skips": 60, "overscan_cols": 30}


@pytest.fixture(scope="module")
def leach(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("leach") / "raw.fits"
    simulate(path, **SHAPE, seed=3, gain=5.0, n_points=8)
    return path


@pytest.fixture(scope="module")
def lta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lta") / "lta.fits"
    simulate(path, **SHAPE, seed=4, layout="lta")
    return path


def write_image(path: Path, data: np.ndarray, **keywords: object) -> Path:
    header = fits.Header()
    for keyword, value in keywords.items():
        header[keyword] = value
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skipstream", *map(str, arguments)], capture_output=True, text=True
    )


def test_a_leach_file_gives_what_the_array_gives(leach: Path) -> None:
    samples, _ = simulate_samples(**SHAPE, seed=3, gain=5.0, n_points=8)
    (result,) = sk.run(sk.load_config({"stage": CONFIG["stage"][:1]}), [leach])
    expected = sk.compress_skips(samples, ("mean", "median", "std"))
    assert result.status == "done"
    for name in ("mean", "median", "std"):
        assert np.array_equal(result.planes[name], expected[name].astype(np.float32))
    assert np.array_equal(result.mask, expected["mask"])


def test_an_lta_file_has_four_amplifiers(lta: Path) -> None:
    layout = sk.read_layout(lta)
    assert [(i.n_rows, i.n_cols, i.n_skips) for i in layout.images] == [(40, 120, 60)] * 4
    assert {i.n_skips_from[:5] for i in layout.images} == {"NSAMP"}
    results = list(sk.run(sk.load_config(CONFIG), [lta]))
    assert [result.status for result in results] == ["done"] * 4
    for amplifier, result in enumerate(results):
        samples, _ = simulate_samples(**SHAPE, seed=4, layout="lta", amplifier=amplifier)
        mean = sk.compress_skips(samples)["mean"]
        expected = (mean - np.median(mean[:, -30:], axis=1, keepdims=True)) / 5.0
        assert np.array_equal(result.planes["mean"], expected.astype(np.float32))


def test_the_chain_finds_the_simulated_events(leach: Path) -> None:
    (result,) = sk.run(sk.load_config(CONFIG), [leach])
    assert result.clusters is not None
    _, truth = simulate_samples(**SHAPE, seed=3, gain=5.0, n_points=8)
    bright = [e for e in truth.events if e["charge"] > 100 and e["kind"] == "point"]
    assert len(bright) >= 5
    for event in bright:
        distance = np.hypot(result.clusters["x"] - event["x"], result.clusters["y"] - event["y"])
        assert distance.min() < 2
    assert result.report["findings"]


# The FITS standard has no word for the electron; astropy reads it, and says so.
@pytest.mark.filterwarnings("ignore:'electron' did not parse as fits unit")
def test_outputs_are_planes_tables_and_provenance(leach: Path, tmp_path: Path) -> None:
    outputs = [
        {"after": "compress_skips", "path": "{stem}_compressed.fits", "dtype": "float64"},
        {"after": "find_clusters", "path": "{stem}_planes.fits"},
        *(
            {"after": "find_clusters", "path": "{stem}_clusters" + ending}
            for ending in (".fits", ".csv", ".ecsv", ".parquet")
        ),
    ]
    config = sk.load_config({**CONFIG, "output": outputs})
    (result,) = sk.run(config, [leach], output=tmp_path)
    assert {path.name for path in result.outputs} == {
        path.name for path in tmp_path.iterdir() if path.name != "run.jsonl"
    }
    (plain,) = sk.run(sk.load_config(CONFIG), [leach])
    with fits.open(tmp_path / "raw_planes.fits", checksum=True) as planes:
        assert [(h.name, h.ver) for h in planes[1:]] == [
            ("MEAN", 1), ("MEDIAN", 1), ("STD", 1), ("MASK", 1)
        ]  # fmt: skip
        assert np.array_equal(planes["MEAN"].data, plain.planes["mean"])
        assert np.array_equal(planes["MASK"].data, plain.mask)
        header = planes["MEAN"].header
        assert header["BUNIT"] == "electron"
        assert (header["NSTART"], header["NEND"], header["NUSED"]) == (1, 60, 60)
        assert header["AMPNAME"] == "EXT0"
        assert planes[0].header["INFILE"] == "raw.fits"
        assert planes[0].header["INSIZE"] == leach.stat().st_size
        assert planes[0].header["NDCMS"] == 60
        text = "".join(str(line) for line in planes[0].header["HISTORY"])
        assert '"gain":5.0' in text
        datasum = int(planes[0].header["INSUM"].removeprefix("DATASUM "))
    with fits.open(leach, do_not_scale_image_data=True) as raw:
        assert datasum == int(raw[0]._calculate_datasum())
    with fits.open(tmp_path / "raw_compressed.fits") as compressed:
        assert compressed["MEAN"].data.dtype == np.dtype(">f8")
        assert compressed["MEAN"].header["BUNIT"] == "adu"
    for ending in ("fits", "ecsv", "csv", "parquet"):
        written = tmp_path / f"raw_clusters.{ending}"
        table = (
            Table(pq.read_table(written).to_pydict())
            if ending == "parquet"
            else Table.read(written)
        )
        assert plain.clusters is not None
        assert table.colnames == list(plain.clusters.dtype.names or ())
        assert np.array_equal(table["charge"], plain.clusters["charge"])
    assert str(Table.read(tmp_path / "raw_clusters.fits")["charge"].unit) == "electron"


@pytest.mark.filterwarnings("ignore")  # astropy tells which HDU it picked
def test_ccddata_opens_a_plane_with_unit_and_mask(leach: Path, tmp_path: Path) -> None:
    config = sk.load_config({**CONFIG, "stage": [*CONFIG["stage"][:3], {
        "kind": "mask_columns", "columns": [5]}]})  # fmt: skip
    list(sk.run(config, [leach], output=tmp_path))
    image = CCDData.read(tmp_path / "raw_planes.fits")
    assert image.unit == "electron"
    assert image.mask[:, 5].all()
    assert image.data.shape == (40, 120)


def test_a_failing_file_does_not_stop_the_run(leach: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"SIMPLE  = nonsense " * 1000)
    config = sk.load_config(CONFIG)
    results = list(sk.run(config, [bad, leach, tmp_path / "none.fits"], output=tmp_path / "out"))
    assert [result.status for result in results] == ["failed", "done", "failed"]
    assert re.search(r"bad.fits\[0\]: card 2: keyword", results[0].message)
    assert "none.fits: cannot open" in results[2].message
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"raw_planes.fits", "raw_clusters.fits", "run.jsonl"}


def test_jobs_do_not_matter(leach: Path, lta: Path, tmp_path: Path) -> None:
    config = sk.load_config(CONFIG)
    one = list(sk.run(config, [leach, lta], output=tmp_path / "1"))
    two = list(sk.run(config, [leach, lta], output=tmp_path / "2", jobs=2))
    assert [(r.path, r.amplifier) for r in one] == [(r.path, r.amplifier) for r in two]
    for name in ("raw_planes.fits", "lta_planes.fits"):
        with fits.open(tmp_path / "1" / name) as a, fits.open(tmp_path / "2" / name) as b:
            for left, right in zip(a[1:], b[1:], strict=True):
                assert np.array_equal(left.data, right.data, equal_nan=True)


def test_resume_keeps_what_is_done_and_does_the_rest(leach: Path, tmp_path: Path) -> None:
    config = sk.load_config(CONFIG)
    list(sk.run(config, [leach], output=tmp_path))
    before = (tmp_path / "raw_planes.fits").stat().st_mtime_ns
    with pytest.raises(sk.ConfigError, match=r"raw_planes.fits exists; use --overwrite"):
        sk.run(config, [leach], output=tmp_path)
    (again,) = sk.run(config, [leach], output=tmp_path, resume=True)
    assert again.status == "skipped"
    assert (tmp_path / "raw_planes.fits").stat().st_mtime_ns == before
    other = sk.load_config(CONFIG, ["calibrate.gain=4"])
    (changed,) = sk.run(other, [leach], output=tmp_path, resume=True)
    assert changed.status == "done"


def test_two_inputs_for_one_output_are_refused(leach: Path, tmp_path: Path) -> None:
    copy = tmp_path / "raw.fits"
    copy.write_bytes(leach.read_bytes())
    with pytest.raises(sk.ConfigError, match=r"would write .*raw_planes.fits, as"):
        sk.run(sk.load_config(CONFIG), [leach, copy], output=tmp_path / "out")


@pytest.mark.parametrize("compression", ["RICE", "GZIP"])
def test_a_compressed_image_gives_the_same_bits(
    compression: str, leach: Path, tmp_path: Path
) -> None:
    samples, _ = simulate_samples(**SHAPE, seed=3, gain=5.0, n_points=8)
    path = tmp_path / "raw.fits.fz"
    with fitsio.FITS(str(path), "rw") as out:
        out.write(samples.reshape(40, -1), compress=compression, header={"NDCMS": 60})
    (plain,) = sk.run(sk.load_config(CONFIG), [leach])
    (packed,) = sk.run(sk.load_config(CONFIG), [path])
    assert packed.status == "done", packed.message
    for name in plain.planes:
        assert np.array_equal(plain.planes[name], packed.planes[name])


@pytest.mark.parametrize("axis", ["NAXIS1", "NAXIS3"])
def test_cubes_hold_the_skips_on_their_first_or_last_axis(axis: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).integers(0, 999, (5, 7, 3)).astype(">i4")
    cube = samples if axis == "NAXIS1" else np.ascontiguousarray(samples.transpose(2, 0, 1))
    path = write_image(tmp_path / "cube.fits", cube, NDCMS=3)
    (result,) = sk.run(sk.load_config({"stage": CONFIG["stage"][:1]}), [path])
    assert result.status == "done", result.message
    expected = sk.compress_skips(samples)["mean"].astype(np.float32)
    assert np.array_equal(result.planes["mean"], expected)


@pytest.mark.parametrize(
    ("shape", "keywords", "message"),
    [
        ((4, 10), {"NDCMS": 3}, "NAXIS1 = 10 is not a multiple of n_skips = 3"),
        ((4, 10), {"NDCMS": 0}, "NDCMS = 0 must be a positive whole number"),
        ((4, 10), {"NSAMP": "5", "NCOL": "3"}, "NAXIS1 = 10 is not NCOL = 3 times n_skips = 5"),
        ((4, 10), {"NSAMP": "5", "NCOL": "10"}, "averaged already, or NCOL counts them"),
        ((3, 4, 3), {"NSAMP": 3}, "both are 3"),
        ((2, 2, 2, 2), {}, "NAXIS = 4"),
    ],
)
def test_disagreement_in_a_file_is_an_error_that_names_it(
    shape: tuple[int, ...], keywords: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = write_image(tmp_path / "odd.fits", np.zeros(shape, ">i2"), **keywords)
    with pytest.raises(sk.FitsError, match=re.escape(message)) as caught:
        sk.read_layout(path)
    assert "odd.fits[0]" in str(caught.value)


def test_the_real_images_run_to_clusters(shared_data: Path, tmp_path: Path) -> None:
    files = [*(shared_data / "damicm").glob("*.fz"), *sorted((shared_data / "lta").glob("*"))]
    config = sk.load_config(
        {
            "input": {"overscan_cols": 100},
            "stage": [
                {"kind": "compress_skips"},
                {"kind": "subtract_pedestal"},
                {"kind": "calibrate", "gain": 1.35},
                {"kind": "find_clusters"},
            ],
        }
    )
    results = list(sk.run(config, files, output=tmp_path))
    assert [result.status for result in results] == ["done"] * 12
    assert [r.amplifier for r in results[:4]] == ["CCD_A", "CCD_B", "CCD_D", "CCD_C"]
    assert all(result.clusters is not None and len(result.clusters) for result in results)
    with fitsio.FITS(str(files[0])) as packed, fits.open(next(tmp_path.glob("avg*planes*"))) as out:
        raw = packed["CCD_B"].read()
        pedestal = np.median(raw[:, -100:], axis=1, keepdims=True)
        expected = ((raw - pedestal) / 1.35).astype(np.float32)
        assert np.array_equal(out["MEAN", 2].data, expected)


def test_the_command_line_runs_checks_and_explains(leach: Path, tmp_path: Path) -> None:
    config = tmp_path / "cfg.toml"
    config.write_text(command("init").stdout)
    checked = command("check", config, leach)
    assert checked.returncode == 0, checked.stderr
    assert "find_clusters" in checked.stdout
    assert "a barrier" in checked.stdout
    out = tmp_path / "out"
    done = command("run", config, leach, "-o", out, "--json", "--set", "calibrate.gain=5")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["done"], facts["failed"]) == (1, 0)
    assert "NDCMS" in command("info", leach).stdout
    assert "quantile" not in command("stages").stdout
    assert "begin_skip" in command("stages", "compress_skips").stdout
    refused = command("run", config, leach, "-o", out)
    assert refused.returncode == 2
    assert "use --overwrite" in refused.stderr
    failed = command("run", config, tmp_path / "none.fits", "-o", tmp_path / "o2", "--quiet")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    wrong = command("run", config, leach, "--set", "calibrate.gian=5")
    assert wrong.returncode == 2
    assert 'did you mean "gain"?' in wrong.stderr
    assert "Traceback" not in refused.stderr + failed.stderr + wrong.stderr


def test_the_demo_finds_what_it_simulated(tmp_path: Path) -> None:
    done = command("demo", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"points found\s+16\s+16", done.stdout)
    assert (tmp_path / "demo.png").stat().st_size > 10_000


def test_importing_loads_numpy_and_the_core_only() -> None:
    program = "import sys, skipstream; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"numpy", "skipstream"} <= loaded
    heavy = {
        "astropy",
        "fitsio",
        "matplotlib",
        "rich",
        "click",
        "scipy",
        "pyarrow",
        "tomllib",
        "logging",
    }
    assert not loaded & heavy


def test_memory_does_not_grow_with_rows_or_skips(tmp_path: Path) -> None:
    program = (
        "import re, sys; import skipstream as sk\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = peak()\n"
        "(r,) = sk.run(sk.load_config({'stage': [{'kind': 'compress_skips', 'statistics':"
        " ['mean', 'median', 'std']}, {'kind': 'subtract_pedestal'}, {'kind': 'find_clusters',"
        " 'threshold': 9e9, 'seed': 9e9}]}), [sys.argv[1]], output=sys.argv[2])\n"
        "assert r.status == 'done', r.message\n"
        "print(peak() - before, r.report['plan']['total_bytes'])\n"
    )
    for n_rows, n_skips in ((100, 10), (20_000, 10), (50, 5000)):
        path = tmp_path / f"{n_rows}_{n_skips}.fits"
        with fitsio.FITS(str(path), "rw") as out:
            out.write(np.zeros((n_rows, 100 * n_skips), "i2"), header={"NDCMS": n_skips})
        done = subprocess.run(
            [sys.executable, "-c", program, path, tmp_path / "out"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        kib, planned = map(int, done.stdout.split())
        # fitsio and astropy, loaded by the run, take about 30 MiB themselves
        assert kib * 1024 < 64 << 20
        assert planned < 56 << 20  # a barrier keeps 48 MiB of rows, more are in a file


def test_mask_bits_have_the_names_of_the_core() -> None:
    assert {bit.name: bit.value for bit in sk.MaskBit} == {
        name: bit for bit, name, _ in _core.mask_names()
    }


def test_a_label_image_and_the_pixels_agree_with_the_table(leach: Path, tmp_path: Path) -> None:
    stages = [dict(stage) for stage in CONFIG["stage"]]
    stages[-1] |= {"noise": 0.4, "keep_pixels": True, "label_image": True}
    outputs = [
        {"after": "find_clusters", "path": "{stem}_planes.fits"},
        {"after": "find_clusters", "path": "{stem}_clusters.csv"},
        {"after": "find_clusters", "path": "{stem}_pixels.parquet", "table": "cluster_pixels"},
    ]
    config = sk.load_config({**CONFIG, "stage": stages, "output": outputs})
    (result,) = sk.run(config, [leach], output=tmp_path)
    (plain,) = sk.run(config, [leach])
    with fits.open(tmp_path / "raw_planes.fits", checksum=True) as planes:
        label = planes["LABEL"].data
        mean = planes["MEAN"].data
    assert label.dtype == ">i4"
    assert np.array_equal(label, plain.planes["label"])
    assert result.clusters is not None
    assert np.array_equal(np.unique(label)[1:], result.clusters["cluster_id"])
    pixels = pq.read_table(tmp_path / "raw_pixels.parquet")
    x, y = pixels["x"].to_numpy(), pixels["y"].to_numpy()
    assert np.array_equal(label[y, x], pixels["cluster_id"].to_numpy())
    assert np.array_equal(mean[y, x], pixels["charge"].to_numpy().astype(np.float32))
    assert np.count_nonzero(label) == len(x)


def test_a_numpy_reducer_runs_and_says_once_that_it_is_slow(leach: Path, tmp_path: Path) -> None:
    config = tmp_path / "cfg.toml"
    config.write_text('[[stage]]\nkind = "compress_skips"\nstatistics = ["mean", "nanvar"]\n')
    done = command("run", config, leach, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("computed by NumPy") == 1
    with fits.open(tmp_path / "raw_planes.fits") as planes:
        samples, _ = simulate_samples(**SHAPE, seed=3, gain=5.0, n_points=8)
        assert np.allclose(planes["NANVAR"].data, samples.var(axis=2), rtol=1e-5)
