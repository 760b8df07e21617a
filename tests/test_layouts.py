"""Files of every layout and packing: the same samples give the same bits."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

import skipstream as sk
from skipstream.arrange import skip_path
from skipstream.simulate import LAYOUTS, simulate, simulate_samples

SHAPE: dict[str, Any] = {
    "n_rows": 24, "n_cols": 60, "n_skips": 20, "prescan_cols": 6, "overscan_cols": 14, "seed": 5,
}  # fmt: skip
STATISTICS = ("mean", "median", "std", "count")
STAGES = [
    {"kind": "compress_skips", "statistics": list(STATISTICS)},
    {"kind": "subtract_pedestal"},
    {"kind": "find_clusters", "threshold": 4, "seed": 6},
]
WHOLE = ["leach", "leach_ul", "lta", "lta_primary", "cube", "samples_in_hdus"]


def config_for(_name: str, **more: Any) -> sk.Config:
    return sk.load_config({"input": more, "stage": STAGES[:1]})


def expected(layout: str, amplifier: int) -> dict[str, NDArray[Any]]:
    samples, truth = simulate_samples(**SHAPE, layout=layout, amplifier=amplifier)
    assert truth.blank is None
    planes = sk.compress_skips(samples, STATISTICS)
    return {name: plane.astype(np.float32) for name, plane in planes.items() if name != "mask"}


def same(result: sk.ImageResult, planes: dict[str, NDArray[Any]]) -> None:
    assert result.status == "done", result.message
    for name, plane in planes.items():
        assert np.array_equal(result.planes[name], plane, equal_nan=True), name


@pytest.mark.parametrize("layout", WHOLE)
def test_every_layout_of_whole_samples_gives_the_planes_of_the_array(
    layout: str, tmp_path: Path
) -> None:
    path = tmp_path / "raw.fits"
    simulate(path, **SHAPE, layout=layout)
    results = list(sk.run(config_for(layout), [path]))
    assert len(results) == len(LAYOUTS[layout].amplifiers)
    for number, result in enumerate(results):
        same(result, expected(layout, number))


def test_layouts_are_recognised_and_say_why(tmp_path: Path) -> None:
    found = {}
    for name in LAYOUTS:
        if name in ("samples_in_files", "lta_packets"):
            continue
        path = tmp_path / f"{name}.fits"
        simulate(path, **SHAPE, layout=name)
        found[name] = sk.read_layout(path, config_for(name).input).layout.name
    assert found == {
        "leach": "leach", "leach_ul": "leach", "lta": "lta", "lta_primary": "lta",
        "lta_smart": "lta_smart", "lta_average": "lta", "acm": "acm", "cube": "leach",
        "samples_in_hdus": "samples_in_hdus", "regions": "regions",
    }  # fmt: skip


def test_the_halves_of_a_frame_are_images_of_their_own(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout="leach_ul")
    layout = sk.read_layout(tmp_path / "raw.fits", config_for("leach_ul", overscan_cols=14).input)
    assert [(i.amplifier, i.n_cols, i.is_reversed) for i in layout.images] == [
        ("L", 60, False), ("U", 60, True),
    ]  # fmt: skip
    # The overscan of each is at the middle of the frame, at the end of its own rows.
    config = sk.load_config({"input": {"overscan_cols": 14}, "stage": STAGES})
    for number, result in enumerate(sk.run(config, [tmp_path / "raw.fits"])):
        mean = expected("leach_ul", number)["mean"].astype(float)
        flat = mean - np.median(mean[:, -14:], axis=1, keepdims=True)
        assert np.allclose(result.planes["mean"], flat, atol=1e-3)  # the expected is float32


def test_a_part_of_the_image_is_the_part_of_its_planes(tmp_path: Path) -> None:
    part = {"begin_row": 3, "end_row": -2, "begin_col": 4, "end_col": 50}
    for layout in ("leach", "leach_ul", "lta"):
        path = tmp_path / f"{layout}.fits"
        simulate(path, **SHAPE, layout=layout)
        for number, result in enumerate(sk.run(config_for(layout, **part), [path])):
            whole = expected(layout, number)
            same(result, {name: plane[3:-2, 4:50] for name, plane in whole.items()})
    image = sk.read_layout(path, config_for("lta", **part).input).images[0]
    assert (image.prescan_cols, image.overscan_cols) == (2, 4)
    (bad,) = list(sk.run(config_for("leach", begin_row=30), [tmp_path / "leach.fits"]))
    assert "input.begin_row = 30 and input.end_row = None leave none of 24 rows" in bad.message


def test_one_file_per_sample(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout="samples_in_files")
    paths = [skip_path(tmp_path / "raw.fits", skip) for skip in range(20)]
    assert all(path.exists() for path in paths)
    config = config_for("samples_in_files", layout="samples_in_files")
    (result,) = sk.run(config, paths)
    same(result, expected("samples_in_files", 0))
    (again,) = sk.run(config, paths[::-1])  # the number in the name is the order
    same(again, expected("samples_in_files", 0))


def test_samples_that_do_not_exist_are_left_out(tmp_path: Path) -> None:
    simulate(tmp_path / "smart.fits", **SHAPE, layout="lta_smart")
    for number, result in enumerate(sk.run(config_for("lta_smart"), [tmp_path / "smart.fits"])):
        samples, _ = simulate_samples(**SHAPE, layout="lta_smart", amplifier=number)
        inside = np.zeros(60, bool)
        inside[15:45] = True
        few = sk.compress_skips(samples[:, ~inside, :5], STATISTICS)
        many = sk.compress_skips(samples[:, inside], STATISTICS)
        for name in STATISTICS:
            assert np.array_equal(result.planes[name][:, ~inside], few[name].astype("f4"))
            assert np.array_equal(result.planes[name][:, inside], many[name].astype("f4"))


def test_regions_have_many_samples_inside_and_one_outside(tmp_path: Path) -> None:
    simulate(tmp_path / "roi.fits", **SHAPE, layout="regions")
    (result,) = sk.run(config_for("regions"), [tmp_path / "roi.fits"])
    samples, _ = simulate_samples(**SHAPE, layout="regions")
    inside = np.zeros((24, 60), bool)
    inside[6:18, 15:45] = True
    assert result.status == "done", result.message
    assert np.array_equal(result.planes["count"], np.where(inside, 20, 1))
    mean = np.where(inside, samples.mean(axis=2), samples[..., 0])
    assert np.array_equal(result.planes["mean"], mean.astype("f4"))


def test_averages_keep_their_number_of_samples(tmp_path: Path) -> None:
    for layout, names in (
        ("lta_average", "EXT0 EXT1 EXT2 EXT3"),
        ("acm", "CCD_A CCD_B CCD_D CCD_C"),
    ):
        path = tmp_path / f"{layout}.fits"
        simulate(path, **SHAPE, layout=layout)
        images = sk.read_layout(path).images
        assert [image.amplifier for image in images] == names.split()
        assert {(image.n_skips, image.averaged) for image in images} == {(1, 20)}
        assert {image.overscan_cols for image in images} == {14}
        for number, result in enumerate(sk.run(sk.load_config({"stage": STAGES[:1]}), [path])):
            same(result, {"mean": expected(layout, number)["mean"]})


def test_own_outputs_are_inputs(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    simulate(path, **SHAPE, layout="lta")
    gain = {"kind": "calibrate", "gain": 200.0}
    config = sk.load_config({"stage": [STAGES[0], gain]})
    done = list(sk.run(config, [path], output=tmp_path / "out"))
    layout = sk.read_layout(done[0].outputs[0])
    assert layout.layout.name == "planes"
    assert [i.amplifier for i in layout.images] == ["EXT0", "EXT1", "EXT2", "EXT3"]
    assert {image.unit for image in layout.images} == {"electron"}
    plain = list(sk.run(config, [path]))
    again = list(sk.run(sk.load_config({"stage": STAGES[:1]}), [done[0].outputs[0]]))
    for first, second in zip(plain, again, strict=True):
        same(second, {"mean": first.planes["mean"]})


@pytest.mark.parametrize("layout", ["leach", "lta", "leach_ul"])
@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_compressed_tiles_give_the_bits_of_the_plain_file(
    codec: str, layout: str, tmp_path: Path
) -> None:
    if codec == "HCOMPRESS_1" and layout == "leach_ul":
        pytest.skip("a rare codec in a rare layout")
    simulate(tmp_path / "raw.fits", **SHAPE, layout=layout)
    with fits.open(tmp_path / "raw.fits", do_not_scale_image_data=False) as file:
        hdus = [fits.PrimaryHDU()]
        hdus += [
            fits.CompImageHDU(
                hdu.data, hdu.header, compression_type=codec,
                tile_shape=(4, hdu.data.shape[1]) if codec == "HCOMPRESS_1" else (1, 100),
            )
            for hdu in file
        ]  # fmt: skip
        fits.HDUList(hdus).writeto(tmp_path / "raw.fits.fz")
    results = list(sk.run(config_for(layout), [tmp_path / "raw.fits.fz"]))
    assert len(results) == len(LAYOUTS[layout].amplifiers)
    for number, result in enumerate(results):
        same(result, expected(layout, number))


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_packed_files_give_the_bits_of_the_plain_file(
    ending: str, pack: Any, tmp_path: Path
) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout="lta")
    packed = tmp_path / f"raw.fits{ending}"
    packed.write_bytes(pack((tmp_path / "raw.fits").read_bytes()))
    results = list(sk.run(sk.load_config({"stage": STAGES}), [packed], output=tmp_path / "out"))
    plain = list(sk.run(sk.load_config({"stage": STAGES}), [tmp_path / "raw.fits"]))
    assert results[0].outputs[0].name == "raw_planes.fits"
    with fits.open(results[0].outputs[0], checksum=True) as planes:
        for number, result in enumerate(plain, 1):
            for name in ("mean", "median", "std"):
                assert np.array_equal(planes[name, number].data, result.planes[name])
    assert np.array_equal(results[1].clusters["x"], plain[1].clusters["x"])  # type: ignore[index]


def test_a_pipe_is_read_and_its_errors_are_named(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE)
    (tmp_path / "cfg.toml").write_text('[[stage]]\nkind = "compress_skips"\n')
    command = [
        sys.executable,
        "-m",
        "skipstream",
        "run",
        tmp_path / "cfg.toml",
        "-",
        "-o",
        tmp_path,
    ]
    data = (tmp_path / "raw.fits").read_bytes()
    done = subprocess.run(command, input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    with fits.open(tmp_path / "stdin_planes.fits", checksum=True) as planes:
        assert np.array_equal(planes["MEAN"].data, expected("leach", 0)["mean"])
    broken = subprocess.run([*command, "--overwrite"], input=b"nothing", capture_output=True)
    assert broken.returncode == 1
    assert b"failed: -: not a FITS file: 7 bytes" in broken.stderr


def test_info_and_layouts_say_what_was_understood(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout="leach_ul")
    with fitsio.FITS(str(tmp_path / "raw.fits")) as file:
        samples = file[0].read()
    with fitsio.FITS(str(tmp_path / "raw.fits.fz"), "rw") as file:
        file.write(samples, compress="RICE_1", header={"NDCMS": 20, "AMPL": "UL", "NROW": 25})
    done = subprocess.run(
        [sys.executable, "-m", "skipstream", "info", tmp_path / "raw.fits.fz"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for text in (
        "layout leach (has NDCMS)", "amplifier U, 24 rows x 60 columns x 20 skips", "mirrored",
        "core, RICE_1", "NROW = 25, but the HDU has 24 rows",
    ):  # fmt: skip
        assert text in done.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "skipstream", "layouts"], capture_output=True, text=True
    )
    assert "samples_in_hdus" in listed.stdout


def test_keywords_of_the_config_go_before_the_known_ones(tmp_path: Path) -> None:
    data = np.arange(4 * 12, dtype="i2").reshape(4, 12)
    header = fits.Header()
    header["NDCMS"], header["MYSKIPS"] = 6, "3"
    fits.PrimaryHDU(data, header).writeto(tmp_path / "raw.fits")
    config = config_for("", keywords={"n_skips": "MYSKIPS"})
    assert sk.read_layout(tmp_path / "raw.fits", config.input).images[0].n_cols == 4
    with pytest.raises(sk.ConfigError, match="keywords: no role 'skips'; known: n_skips"):
        config_for("", keywords={"skips": "MYSKIPS"})
    with pytest.raises(sk.ConfigError, match='did you mean "leach"'):
        config_for("", layout="leech")


@pytest.mark.parametrize(
    ("keywords", "regions"),
    [
        ({"DATASEC": "[3:9,2:4]"}, (2, 3, 1, 1)),
        ({"BIASSEC": "[10:12,1:5]"}, (0, 3, 0, 0)),
        ({"PRESCAN": 4, "PHYSCOL": 12, "NSBIN": 2}, (2, 4, 0, 0)),
        ({"CCDNPRES": "2", "CCDNCOL": "14"}, (2, 3, 0, 0)),
        ({"DATASEC": "[3:90,2:4]"}, (0, 0, 0, 0)),
    ],
)
def test_regions_come_from_the_header(
    keywords: dict[str, Any], regions: tuple[int, ...], tmp_path: Path
) -> None:
    header = fits.Header(list(keywords.items()))
    fits.PrimaryHDU(np.zeros((5, 12), "i2"), header).writeto(tmp_path / "raw.fits")
    (image,) = sk.read_layout(tmp_path / "raw.fits").images
    assert regions == (
        image.prescan_cols, image.overscan_cols, image.prescan_rows, image.overscan_rows
    )  # fmt: skip
    if "90" in str(keywords.values()):
        assert "outside of the image" in image.notes[0]


@pytest.mark.parametrize("layout", ["leach", "leach_ul", "lta", "cube"])
@pytest.mark.parametrize("packing", ["", "RICE_1", "gz"])
def test_a_file_that_is_cut_off_gives_its_whole_rows(
    layout: str, packing: str, tmp_path: Path
) -> None:
    if packing == "RICE_1" and layout == "cube":
        pytest.skip("cubes of tiles go through fitsio, which needs the whole file")
    path = tmp_path / "raw.fits"
    simulate(path, **SHAPE, layout=layout)
    if packing == "RICE_1":
        with fits.open(path) as file:
            hdus = [
                fits.CompImageHDU(
                    hdu.data, hdu.header, compression_type="RICE_1",
                    tile_shape=(1, hdu.data.shape[1]),
                )
                for hdu in file
            ]  # fmt: skip
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    size = path.stat().st_size
    hdu = sk.read_layout(path, config_for(layout).input).images[0].hdu
    keep = hdu.data_offset + hdu.data_bytes * 29 // 30 if packing != "RICE_1" else size
    if packing == "RICE_1":
        keep = hdu.data_offset + hdu.data_bytes * 3 // 4
    path.write_bytes(path.read_bytes()[:keep])
    if packing == "gz":
        path = tmp_path / "raw.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "raw.fits").read_bytes()))
    result = next(iter(sk.run(config_for(layout), [path])))
    assert result.status == "partial", result.message
    there = result.report["rows_there"]
    assert {"": 20, "RICE_1": 12, "gz": 20}[packing] <= there + 12 < 24 + 12
    assert result.message == f"the last {24 - there} of 24 rows are missing"
    whole = expected(layout, 0)
    assert result.mask is not None
    assert np.all(result.mask[there:] == sk.MaskBit.NODATA)
    assert not result.mask[:there].any()
    for name in ("mean", "median", "std"):
        assert np.array_equal(result.planes[name][:there], whole[name][:there])
        assert np.isnan(result.planes[name][there:]).all()
    assert np.all(result.planes["count"][there:] == 0)


def test_the_exit_code_tells_of_a_cut_file_unless_it_is_allowed(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout="lta")
    whole = (tmp_path / "raw.fits").read_bytes()
    (tmp_path / "raw.fits").write_bytes(whole[: len(whole) - 50_000])
    (tmp_path / "cfg.toml").write_text('[[stage]]\nkind = "compress_skips"\n')
    command = [sys.executable, "-m", "skipstream", "run", tmp_path / "cfg.toml"]
    command += [tmp_path / "raw.fits", "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "partial: " in done.stderr
    with fits.open(tmp_path / "out" / "raw_planes.fits", checksum=True) as planes:
        assert np.isnan(planes["MEAN", 4].data[-1]).all()
        assert np.isfinite(planes["MEAN", 3].data).all()
    allowed = [*command, "--allow-partial", "--overwrite"]
    assert subprocess.run(allowed, capture_output=True).returncode == 0


@pytest.mark.parametrize("codec", ["", "RICE_1"])
def test_sums_that_do_not_match_are_named(codec: str, tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 99, (20, 40)).astype("i2")
    path = tmp_path / "raw.fits"
    hdu = fits.CompImageHDU(data, compression_type=codec) if codec else fits.ImageHDU(data)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum=True)
    config = config_for("", n_skips=4)
    assert [r.status for r in sk.run(config, [path], verify=True)] == ["done"]
    found = sk.read_layout(path).images[0].hdu
    good = bytearray(path.read_bytes())
    bad = good.copy()
    bad[found.data_offset + found.data_bytes - 1] ^= 1
    path.write_bytes(bad)
    (result,) = sk.run(config, [path], verify=True)
    assert f"raw.fits[1]: DATASUM = {fits.getheader(path, 1).get('DATASUM')}" in result.message or (
        codec and "raw.fits[1]: DATASUM" in result.message
    )
    if not codec:  # a plain image is always checked
        (result,) = sk.run(config, [path])
        assert "raw.fits[1]: DATASUM" in result.message
    header = good.copy()
    where = header.index(b"GCOUNT", found.header_offset)
    header[where + 40] = ord("!")
    path.write_bytes(header)
    (result,) = sk.run(config, [path], verify=True)
    assert "raw.fits[1]: CHECKSUM does not match" in result.message


@pytest.mark.parametrize("layout", ["leach", "lta"])
def test_a_file_is_followed_while_it_is_written(layout: str, tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", **SHAPE, layout=layout)
    whole = (tmp_path / "raw.fits").read_bytes()
    path = tmp_path / "growing.fits"
    path.touch()
    seen: list[int] = []
    step = len(whole) // 20

    def write(n_bytes: int) -> None:
        for begin in range(0, n_bytes, step):
            with path.open("ab") as file:
                file.write(whole[begin : min(begin + step, n_bytes)])
            time.sleep(0.01)

    for n_bytes, status in ((len(whole), "done"), (len(whole) * 9 // 10, "partial")):
        path.write_bytes(b"")
        writer = threading.Thread(target=write, args=(n_bytes,))
        writer.start()
        results = list(
            sk.run(
                config_for(layout), [path], follow=0.5,
                progress=lambda _path, _bytes, rows: seen.append(rows),
            )
        )  # fmt: skip
        writer.join()
        assert [r.status for r in results] == ["done"] * (len(results) - 1) + [status]
        assert len(results) == len(LAYOUTS[layout].amplifiers)
        for number, result in enumerate(results):
            there = result.report["rows_there"]
            assert (there == 24) == (result.status == "done")
            for name, plane in expected(layout, number).items():
                assert np.array_equal(result.planes[name][:there], plane[:there])
    assert len(set(seen)) > 2


def test_packets_that_did_not_arrive_are_told(tmp_path: Path) -> None:
    header = fits.Header({"NSAMP": "3", "NCOL": "4", "NPIX": "23"})
    fits.PrimaryHDU(np.ones((2, 12), "i4"), header).writeto(tmp_path / "raw.fits")
    (result,) = sk.run(sk.load_config({"stage": STAGES[:1]}), [tmp_path / "raw.fits"])
    assert result.report["notes"] == ["NPIX = 23 samples arrived, but the shape has 24"]


def test_the_overscan_of_a_real_image_is_where_its_header_says(shared_data: Path) -> None:
    layout = sk.read_layout(shared_data / "lta/image_lta_2_ave.fits")
    for image in layout.images:
        assert (image.prescan_cols, image.overscan_cols) == (7, 5000 - 7 - 3072)
        data = fits.getdata(layout.path, image.hdu.index)
        noise = data.std(axis=0)
        # No light and no tracks in the overscan: its columns vary by less than half.
        assert np.median(noise[-image.overscan_cols + 20 :]) < np.mean(noise[7 : 7 + 3072]) / 2
