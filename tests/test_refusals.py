"""What cannot be carried out is refused, each with what would be right instead."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import skipstream as sk
from skipstream import _core, exposure, ledger, workers
from skipstream.simulate import simulate

MEAN = {"kind": "compress_skips"}


def write(path: Path, *hdus: Any, **header: Any) -> Path:
    """An image of 6 x 20 samples, unless HDUs are given."""
    if not hdus:
        hdus = (fits.PrimaryHDU(np.arange(120, dtype="i2").reshape(6, 20)),)
    for keyword, value in header.items():
        hdus[0].header[keyword] = value
    fits.HDUList(list(hdus)).writeto(path)
    return path


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"kind": "calibrate", "gain": False}, "table of amplifier = number; got false"),
        ({"kind": "calibrate", "gain": [1, 2.5, 3.0]}, "amplifier = number; got [1, 2.5, 3.0]"),
        ({"kind": "calibrate", "gain": float("inf")}, "amplifier = number; got inf"),
        ({"kind": "calibrate", "gain": float("-inf")}, "amplifier = number; got -inf"),
        ({"kind": "calibrate", "gain": float("nan")}, "amplifier = number; got nan"),
        ({"kind": "calibrate", "gain": {"A": "x"}}, 'A must be a number; got "x"'),
        ({"kind": "calibrate", "gain": {"A": {}}}, "A must be a number; got {}"),
        ({"kind": "calibrate", "gain": {"A": {"b": 1, "c": []}}}, "got {b = 1, c = []}"),
        ({"kind": "calibrate", "gain": {"A": 1, "B": -1}}, "B must be above 0 ADU/e-; got -1"),
        ({"kind": "calibrate", "gain": 0}, "must be above 0"),
        ({"kind": "mask_rows", "rows": 3}, "must be a list of indices and inclusive pairs"),
        ({"kind": "mask_rows", "rows": [[1]]}, "got [[1]]"),
        ({"kind": "mask_rows", "rows": [["x", 1]]}, 'got [["x", 1]]'),
        ({"kind": "mask_rows", "rows": [[1, 2.0]]}, "got [[1, 2.0]]"),
        ({"kind": "mask_rows", "rows": [True]}, "got [true]"),
        ({"kind": "mask_rows", "rows": [[5, 2]]}, "0 <= first <= last; got [5, 2]"),
        ({"kind": "mask_rows", "rows": [-1]}, "0 <= first <= last; got -1"),
        ({"kind": "compress_skips", "ddof": 1.0}, "must be an integer; got 1.0"),
        ({"kind": "compress_skips", "statistics": [1]}, "must be a string; got 1"),
        ({"kind": "compress_skips", "trim_fraction": 0.75}, "at most 0.499999; got 0.75"),
        ({"kind": "compress_skips", "clip_sigma": -1e300}, "must be above 0 sigma; got -1e+300"),
        ({"kind": "find_clusters", "label_image": 1}, "must be true or false; got 1"),
        ({"kind": "find_clusters", "min_charge": "x"}, 'must be a number; got "x"'),
        ({"kind": "find_clusters", "max_pixels": 1 << 40}, "at most 1000000000 pixel; got"),
        ({"kind": "subtract_pedestal", "method": 'a"\\'}, '"a\\"\\\\" is not one of mean'),
        ({"kind": "subtract_pedestal", "method": 7}, "7 is not one of mean"),
    ],
)
def test_values_that_a_stage_does_not_take_are_shown(stage: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.ConfigError) as caught:
        sk.load_config({"stage": [MEAN, stage] if stage["kind"] != "compress_skips" else [stage]})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([MEAN, MEAN], "compressed already by stage[0]; keep one of the two"),
        ([MEAN, {"kind": "correct_leach"}], "works on samples; move it before compress_skips"),
        ([{"kind": "calibrate", "gain": 2.0}, MEAN], "move it behind stage[1]"),
    ],
)
def test_stages_that_cannot_follow_each_other_are_refused(stages: Any, message: str) -> None:
    with pytest.raises(sk.ConfigError) as caught:
        sk.load_config({"stage": stages})
    assert message in str(caught.value)


def core(stages: Any, **changes: Any) -> _core.Pipeline:
    return _core.Pipeline(
        stages, _core.ImageInfo(**({"n_cols": 4, "n_skips": 2, "dtype": "<u2"} | changes))
    )


@pytest.mark.parametrize(
    ("stages", "image", "message"),
    [
        ([MEAN], {"n_cols": 0}, "at least 1 column and 1 skip; got 0 and 2"),
        ([MEAN], {"n_skips": 0}, "at least 1 column and 1 skip; got 4 and 0"),
        ([MEAN], {"prescan_cols": -1}, "do not fit into 4 columns"),
        ([MEAN], {"overscan_cols": -1}, "do not fit into 4 columns"),
        ([MEAN], {"prescan_rows": -1}, "do not fit"),
        ([MEAN], {"overscan_rows": -1}, "do not fit"),
        ([MEAN], {"prescan_cols": 3, "overscan_cols": 2}, "do not fit into 4 columns"),
        ([], {}, "stage: the image has 2 skips; put compress_skips first"),
        ([{"kind": "calibrate", "gain": 2.0}], {}, "stage[0] calibrate: works on pixels, but the"),
        (7, {}, "stage: must be a list of tables; got an integer"),
        ([{"kind": "correct_leach", "shift": 9}, MEAN], {}, "at most the 8 samples of a row"),
        ([MEAN, {"kind": "calibrate", "gain": "G"}], {"header": {"G": -1.0}}, "gain"),
        (
            [MEAN, {"kind": "calibrate", "gain": 1.0}, {"kind": "calibrate", "gain": 2.0}],
            {},
            "electron",
        ),
        ([MEAN, {"kind": "subtract_pedestal", "axis": "both"}], {}, "rows must be known"),
        ([MEAN, {"kind": "find_clusters"}], {"n_cols": 2**31, "n_skips": 1}, "2147483583 columns"),
    ],
)
def test_images_that_stages_cannot_take_are_refused(
    stages: Any, image: dict[str, Any], message: str
) -> None:
    with pytest.raises(sk.ConfigError) as caught:
        core(stages, **image)
    assert message in str(caught.value)


def test_a_pipeline_that_is_finished_takes_nothing_more(tmp_path: Path) -> None:
    rows = np.zeros((3, 4, 2), "<u2")
    pipeline = core([{"kind": "correct_leach"}, MEAN])
    pipeline.push(rows)
    pipeline.push(rows[:0])
    pipeline.push_missing(0)
    with pytest.raises(sk.ConfigError, match="got -1 rows"):
        pipeline.push_missing(-1)
    pipeline.push_missing(2)
    pipeline.push(rows.reshape(-1)[:2])
    with pytest.raises(sk.Error, match="a row was begun"):
        pipeline.push_missing(1)
    with pytest.raises(sk.ConfigError, match="got -1 samples"):
        pipeline.push_lost(-1)
    pipeline.finish()
    pipeline.finish()
    assert pipeline.rows_pushed == 6
    with pytest.raises(sk.Error, match="push after finish"):
        pipeline.push(rows)
    with pytest.raises(sk.Error, match="push after finish"):
        pipeline.push_missing(1)
    (image,) = sk.read_layout(write(tmp_path / "raw.fits")).images
    with pytest.raises(sk.Error, match="after finish"):
        pipeline.run(sk.reading.open_samples(image)._samples)  # type: ignore[attr-defined]
    with pytest.raises(sk.ConfigError, match="makes no pixels"):
        pipeline.planes_after(0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"jobs": 0}, sk.ConfigError, "jobs: must be at least 1; got 0"),
        ({"threads": 0}, sk.ConfigError, "threads: must be at least 1; got 0"),
        ({"jobs": 2}, sk.ConfigError, "several jobs need an output folder"),
        ({"follow": 0.0}, sk.ConfigError, "follow: must be above 0 s"),
        ({"output": "/dev/null/out"}, sk.IoError, "cannot make the folder"),
    ],
)
def test_a_run_that_cannot_be_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        sk.run(sk.load_config({"stage": [MEAN]}), [write(tmp_path / "raw.fits")], **options)


def test_an_output_must_not_be_its_input(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.fits")
    config = sk.load_config(
        {"stage": [MEAN], "output": [{"after": "compress_skips", "path": "{stem}.fits"}]}
    )
    with pytest.raises(sk.ConfigError, match=r"raw\.fits is the input itself"):
        sk.run(config, [path], output=tmp_path, overwrite=True)


def test_a_table_that_no_stage_makes_is_named(tmp_path: Path) -> None:
    output = {"after": "find_clusters", "path": "{stem}.csv", "table": "cluster_pixels"}
    stage = {"kind": "find_clusters", "noise": 1.0}
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN, stage], "output": [output]})
    (result,) = sk.run(config, [write(tmp_path / "raw.fits")], output=tmp_path / "out")
    assert "no table 'cluster_pixels'" in result.message


def test_the_name_of_a_sample_needs_its_number(tmp_path: Path) -> None:
    config = sk.load_config({"input": {"layout": "samples_in_files"}, "stage": [MEAN]})
    with pytest.raises(sk.ConfigError, match="needs the number of the sample"):
        sk.run(config, [write(tmp_path / "raw.fits")])


def test_a_strict_run_in_memory_ends_with_the_file_that_fails(tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"x")
    good = write(tmp_path / "good.fits")
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN]})
    paths = [good, tmp_path / "bad.fits", good]
    assert [r.status for r in sk.run(config, paths, strict=True)] == ["done", "failed"]


def test_an_output_that_changed_is_made_again(tmp_path: Path) -> None:
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN]})
    path = write(tmp_path / "raw.fits")
    (first,) = sk.run(config, [path], output=tmp_path / "out")
    (target,) = first.outputs
    whole = target.read_bytes()
    target.write_bytes(whole[:-1])
    (again,) = sk.run(config, [path], output=tmp_path / "out", resume=True)
    assert again.status == "done"
    assert target.read_bytes() == whole
    (kept,) = sk.run(config, [path], output=tmp_path / "out", resume=True)
    assert kept.status == "skipped"


def test_only_plain_images_are_followed(tmp_path: Path) -> None:
    tiles = fits.CompImageHDU(np.zeros((3, 4), "i2"))
    path = write(tmp_path / "raw.fits", fits.PrimaryHDU(), tiles)
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN]})
    (result,) = sk.run(config, [path], output=tmp_path / "out", follow=0.1)
    assert "only plain images with the skips in columns can be followed" in result.message


def test_memory_that_is_not_there_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(exposure, "image_info", no_memory)
    (result,) = sk.run(sk.load_config({"stage": [MEAN]}), [write(tmp_path / "raw.fits")])
    assert (result.status, result.reason) == ("failed", "memory")
    assert "needs more memory than there is" in result.message


def test_a_worker_ends_with_its_parent() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=workers._serve, args=(there, abs))
    process.start()
    there.close()
    here.send((-3,))
    assert here.recv() == 3
    here.close()
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3, "the worker process ended with exit code 3, twice"),
        (None, "the worker process ended with exit code 0, twice"),
        (-9, "the worker process died by SIGKILL, twice"),
        (-99, "the worker process died by signal 99, twice"),
    ],
)
def test_how_a_worker_died_is_told(code: int | None, text: str) -> None:
    assert str(workers.Died(code)) == text


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ({"NDCMS": 2.5}, {}, "NDCMS = 2.5 must be a positive whole number"),
        ({"NDCMS": 3}, {}, "NAXIS1 = 20 is not a multiple of n_skips = 3 (NDCMS of HDU 0)"),
        ({"NDCMS": 2, "ROWS": 1}, {"n_skips": "NDCMX"}, 'no number "NDCMX" in the header; nearest'),
        ({}, {"n_skips": "Q"}, 'no number "Q" in the header'),
        ({"ROISEC1": "[1,2]"}, {"layout": "regions", "n_skips": 2}, "set n_cols in [input]"),
        (
            {"ROISEC1": "[1,2]"},
            {"layout": "regions", "n_skips": 2, "n_cols": 4},
            "ROISEC1 is not [x1:x2,y1:y2]",
        ),
        (
            {"ROISEC1": "[1:9,1:6]"},
            {"layout": "regions", "n_skips": 9, "n_cols": 9},
            "samples in and outside of its regions, but NAXIS1 = 20",
        ),
        ({"AMPL": "UL"}, {"n_skips": 4}, "puts two amplifiers into a row"),
        ({}, {"amplifiers": ["EXT9"]}, "no amplifier 'EXT9'; known: 0, EXT0"),
    ],
)
def test_headers_that_disagree_are_refused(
    header: dict[str, Any], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "raw.fits", **header)
    (result,) = sk.run(sk.load_config({"input": settings, "stage": [MEAN]}), [path])
    assert result.status == "failed"
    assert message in result.message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"amplifiers": 3}, 'must be "all" or a list of HDU numbers and names'),
        ({"n_cols": 0}, "must be an integer of at least 1"),
        ({"begin_row": "x"}, "must be an integer"),
        ({"unit": 3}, "must be a string"),
        ({"keywords": {"n_skips": 3}}, "must be a table of header keywords"),
        ({"keywords": {"n_skips": "\x01"}}, "is no header keyword"),
        ({"keywords": {"n_skip": "X"}}, "no role 'n_skip'"),
        ({"n_skips": 0}, "must be an integer of at least 1 or a header keyword"),
    ],
)
def test_settings_of_the_input_are_checked(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(sk.ConfigError, match=re.escape(message)):
        sk.load_config({"input": setting, "stage": [MEAN]})


def test_samples_of_one_image_are_of_one_shape(tmp_path: Path) -> None:
    names = []
    for number, shape in enumerate([(5, 4), (5, 4), (4, 4)]):
        data = fits.PrimaryHDU(np.zeros(shape, "i2"))
        names.append(write(tmp_path / f"run_{number}.fits", data))
    config = sk.load_config({"input": {"layout": "samples_in_files"}, "stage": [MEAN]})
    (result,) = sk.run(config, names)
    assert "is not of the type and shape of the first sample" in result.message
    more = fits.ImageHDU(np.zeros((5, 4), "i2"))
    names[2].unlink()
    write(names[2], fits.PrimaryHDU(np.zeros((5, 4), "i2")), more)
    (result,) = sk.run(config, names)
    assert "run_2.fits: 2 images, but 1 in run_0.fits" in result.message


def test_a_number_of_samples_that_is_not_that_of_the_hdus_is_told(tmp_path: Path) -> None:
    simulate(
        tmp_path / "raw.fits", n_rows=4, n_cols=20, n_skips=3, layout="samples_in_hdus", seed=1
    )
    image, *_ = sk.read_layout(
        tmp_path / "raw.fits", sk.load_config({"input": {"n_skips": 5}, "stage": [MEAN]}).input
    ).images
    assert "config = 5, but there are 3 samples" in image.notes


def test_an_overscan_that_does_not_end_the_row_is_not_used(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.fits", NDCMS=2, BIASSEC="[3:5,1:6]")
    (image,) = sk.read_layout(path).images
    assert image.overscan_cols == 0
    assert "BIASSEC = [3:5,1:6] does not end the row; not used" in image.notes


def test_missing_samples_are_not_lost_in_fitsio(tmp_path: Path) -> None:
    data = np.arange(120, dtype="i4").reshape(6, 20)
    hdu = fits.CompImageHDU(data, compression_type="HCOMPRESS_1", tile_shape=(6, 20))
    hdu.header["BLANK"] = 7
    path = write(tmp_path / "raw.fits", fits.PrimaryHDU(), hdu)
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN]})
    (result,) = sk.run(config, [path])
    assert "cannot be read through fitsio without losing the missing samples" in result.message


@pytest.mark.parametrize(
    ("entry", "is_sound"),
    [
        ([], False),
        ({"event": "end_run"}, True),
        ({"event": "begin_run", "files": ["a"]}, True),
        ({"event": "begin_run", "files": [1]}, False),
        ({"event": "x", "path": "a"}, False),
        ({"event": "take", "path": 1}, False),
        ({"event": "file", "path": "a", "status": "skipped"}, True),
        ({"event": "file", "path": "a", "status": "done"}, False),
    ],
)
def test_entries_of_a_journal_have_what_their_event_needs(entry: Any, is_sound: bool) -> None:
    assert ledger._is_sound(entry) is is_sound


def test_a_disk_that_takes_half_a_line_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda _file, line: len(line) // 2)
    with pytest.raises(OSError, match="No space left"):
        ledger.Ledger(tmp_path).write({"event": "end_run"})


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / ledger.LOCK).symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(sk.IoError, match="cannot write"),
        ledger.locked_folder(tmp_path, []),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigmas": [1.0]}, "2 amplifiers, but 1 sigmas and 2 shifts"),
        ({"sigmas": [1.0, 0.0]}, "every noise must be above 0"),
        ({}, "no NOISE or PEDSIGMA in the header; give the sigmas"),
    ],
)
def test_amplifiers_cannot_be_combined_without_noise(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    config = sk.load_config({"input": {"n_skips": 2}, "stage": [MEAN]})
    image = fits.ImageHDU(np.arange(40, dtype="i2").reshape(4, 10))
    path = write(tmp_path / "raw.fits", fits.PrimaryHDU(), image, image.copy())
    result = next(iter(sk.run(config, [path], output=tmp_path / "out")))
    with pytest.raises(sk.ConfigError, match=message):
        sk.combine_amplifiers(result.outputs[0], tmp_path / "sum.fits", **given)
    (tmp_path / "sum.fits").touch()
    with pytest.raises(sk.ConfigError, match="exists; use --overwrite"):
        sk.combine_amplifiers(result.outputs[0], tmp_path / "sum.fits", sigmas=[1.0, 1.0])


def test_a_stage_is_a_table() -> None:
    stage = sk.Calibrate(gain=2.0)
    assert len(stage) == 2
    assert repr(stage) == "Calibrate(gain=2.0)"
    assert dict(stage) == {"kind": "calibrate", "gain": 2.0}
    assert "run" in dir(sk)


def test_a_numpy_function_that_reduces_no_skips_is_no_statistic() -> None:
    for name in ("cumsum", "load", "float64", "array2string"):
        with pytest.raises(sk.ConfigError, match=f'no statistic "{name}"'):
            sk.load_config({"stage": [{"kind": "compress_skips", "statistics": [name]}]})


def test_clusters_are_found_in_images_of_numbers() -> None:
    image = np.zeros((5, 6), bool)
    image[2, 3] = True
    (cluster,) = sk.find_clusters(image, threshold=0.5, seed=0.5, threshold_unit="absolute")
    assert (cluster["peak_x"], cluster["peak_y"], cluster["charge"]) == (3, 2, 1.0)
    with pytest.raises(sk.ConfigError, match="image must be"):
        sk.find_clusters(np.zeros(5), threshold=0.5, seed=0.5, noise=1.0)
    with pytest.raises(sk.ConfigError, match=r"mask must be \(5, 6\)"):
        sk.find_clusters(image, threshold=0.5, seed=0.5, noise=1.0, mask=image[:2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"missing_run": 0}, "missing_run"),
        ({"n_points": 1, "point_energy_kev": (0.0, 1.0)}, "must be above 0"),
        ({"track_diffusion": 1e9}, "track_diffusion"),
        ({"read_noise": 1e9}, "read_noise"),
    ],
)
def test_a_simulation_that_cannot_be_is_refused(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(sk.ConfigError, match=message):
        simulate(tmp_path / "raw.fits", n_rows=4, n_cols=20, n_skips=3, seed=1, **given)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        simulate(tmp_path / "none" / "raw.fits", n_rows=4, n_cols=20, n_skips=3, seed=1)


def test_fits_of_charge_refuse_what_they_cannot_fit() -> None:
    image = np.random.default_rng(1).normal(0, 0.2, (40, 50))
    with pytest.raises(sk.ConfigError, match="axis 0 or 1"):
        sk.fit_dark_current_slices(image, axis=2, step=10)
    with pytest.raises(sk.ConfigError, match="n_peaks must be at least 2"):
        sk.fit_calibration(image, n_peaks=1)
    empty = sk.fit_calibration(image)
    assert empty.status != "ok"
    assert np.isnan(empty["gain"])


def test_a_pipeline_for_whole_rows_takes_no_part_of_one() -> None:
    info = _core.ImageInfo(n_cols=4, n_skips=2, dtype="<u2", n_rows=3)
    whole = _core.Pipeline([MEAN], info, whole_rows=True)
    parts = _core.Pipeline([MEAN], info)
    assert parts.plan["total_bytes"] - whole.plan["total_bytes"] == 4 * 2 * 2
    with pytest.raises(sk.ConfigError, match="push_lost: 3 samples are not whole rows of 8"):
        whole.push_lost(3)
    whole.push(np.ones((1, 4, 2), "<u2"))
    whole.push_lost(8)
    whole.push_missing(1)
    whole.finish()


def raw_pipeline(**options: Any) -> _core.Pipeline:
    size = {"n_rows": 3, "n_cols": 4, "n_skips": 2, "dtype": "<i2", **options.pop("size", {})}
    return _core.Pipeline([MEAN], _core.ImageInfo(**size), **options)


@pytest.mark.parametrize(
    ("n_rows", "region", "message"),
    [
        (-1, (0, 4, 1), "need the number of rows before"),
        (3, (-1, 4, 1), "columns -1 to 4 of every row 1 are not in the image"),
        (3, (2, 2, 1), "columns 2 to 2"),
        (3, (0, 5, 1), "columns 0 to 5"),
        (3, (0, 4, 0), "of every row 0"),
        (3, (0, 4, 1, ["mena"]), 'no statistic "mena"; did you mean "mean"'),
    ],
)
def test_what_a_pipeline_cannot_keep_is_refused(
    n_rows: int, region: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(sk.ConfigError, match=message):
        raw_pipeline(size={"n_rows": n_rows}).keep_samples(*region)


def test_what_comes_too_late_is_refused() -> None:
    with pytest.raises(sk.ConfigError, match="mask: must have the 3 x 4 pixels of the image"):
        raw_pipeline(mask=np.zeros((3, 5), "u4"))
    for pushed in (np.zeros((1, 4, 2), "<i2"), np.zeros(3, "<i2")):
        pipeline = raw_pipeline()
        pipeline.push(pushed)
        with pytest.raises(sk.Error, match="keep comes before push"):
            pipeline.keep_samples(0, 4, 1)


def test_rows_and_samples_must_be_whole() -> None:
    pipeline = raw_pipeline(whole_rows=True)
    with pytest.raises(sk.ConfigError, match="whole rows"):
        pipeline.push(np.zeros(9, "<i2"))
    with pytest.raises(sk.Error, match="the image has 3 rows; got 0 and 4 more"):
        raw_pipeline().push_lost(25)
    assert raw_pipeline().plan["record_bytes"] == 0
