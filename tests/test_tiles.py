"""Tile-compressed images: the core's decoders against fitsio and astropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

import skipstream as sk
from skipstream.reading import open_samples

REAL = Path(__file__).resolve().parents[2] / "shared/data"
CHAIN = sk.load_config({"stage": [{"kind": "compress_skips", "statistics": ["mean", "std"]}]})


def noise(shape: tuple[int, ...], dtype: str, sigma: float = 20.0) -> NDArray[Any]:
    values = np.random.default_rng(7).normal(1000, sigma, shape)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def write(path: Path, data: NDArray[Any], codec: str, tile: tuple[int, int], **more: Any) -> Path:
    """Tiles are (rows, columns)."""
    header = fits.Header()
    header["NDCMS"] = 4
    hdu = fits.CompImageHDU(data, header, compression_type=codec, tile_shape=tile, **more)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def samples_of(path: Path, **settings: Any) -> NDArray[Any]:
    """What the core reads, as float64, one sample per pixel."""
    output = {"after": "compress_skips", "path": "{stem}.fits", "dtype": "float64"}
    stage = {"kind": "compress_skips"}
    tables = {"input": {"n_skips": 1, **settings}, "stage": [stage], "output": [output]}
    config = sk.load_config(tables)
    (result,) = sk.run(config, [path], output=path.parent / "out", overwrite=True)
    assert result.status == "done", result.message
    return np.asarray(fits.getdata(result.outputs[0], 1))


TILES = [(1, 40), (1, 17), (3, 40), (10, 40), (4, 13), (1, 1), (10, 1)]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4"])
@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "GZIP_2", "NOCOMPRESS"])
def test_integers_come_out_as_they_went_in(
    codec: str, dtype: str, tile: tuple[int, int], tmp_path: Path
) -> None:
    data = noise((10, 40), dtype)
    path = write(tmp_path / "raw.fits", data, codec, tile)
    (image,) = sk.read_layout(path).images
    assert image.reader == "core"
    assert np.array_equal(samples_of(path), data)
    if codec in ("RICE_1", "GZIP_1") and tile == (3, 40):
        part = samples_of(path, begin_row=2, end_row=9, begin_col=5, end_col=-3)
        assert np.array_equal(part, data[2:9, 5:-3])


@pytest.mark.parametrize("sigma", [0, 0.6, 5, 300, 2e4, 1e6, 1e9])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4"])
def test_rice_of_any_width_of_noise(dtype: str, sigma: float, tmp_path: Path) -> None:
    data = noise((7, 331), dtype, sigma)
    data[3, 100:180] = np.iinfo(dtype).max
    data[3, 180:190] = np.iinfo(dtype).min
    path = write(tmp_path / "raw.fits", data, "RICE_1", (1, 331))
    assert np.array_equal(samples_of(path), data)


@pytest.mark.parametrize("n_skips", [1, 4, 2000])
def test_a_quantised_tile_is_read_to_its_end(n_skips: int, tmp_path: Path) -> None:
    data = noise((3, 40_000), "f4")
    path = tmp_path / "raw.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(data, compress="RICE", qlevel=4)
    samples = fits.getdata(path, 1).reshape(3, -1, n_skips)
    config = sk.load_config({"input": {"n_skips": n_skips}, "stage": [{"kind": "compress_skips"}]})
    (result,) = sk.run(config, [path])
    assert result.status == "done", result.message
    # The core sums in double, as NumPy does here in the same order up to rounding.
    expected = samples.astype("f8").mean(axis=2)
    assert np.allclose(result.planes["mean"], expected, rtol=2**-23, atol=0)


def test_a_large_tile_is_read_through_a_window(tmp_path: Path) -> None:
    data = noise((200, 4000), "i4", 3e5)
    path = write(tmp_path / "raw.fits", data, "RICE_1", (200, 4000))
    assert np.array_equal(samples_of(path), data)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("method", [-1, 1, 2])
@pytest.mark.parametrize("tile", [(1, 600), (2, 100)])
def test_quantised_floats_are_those_of_other_readers_to_the_bit(
    method: int, codec: str, dtype: str, tile: tuple[int, int], tmp_path: Path
) -> None:
    data = noise((30, 600), dtype)
    data[4, 5:9] = np.nan
    data[6, 7] = 0
    data[20:22] = 3.5  # cannot be quantised
    path = write(tmp_path / "raw.fits", data, codec, tile, quantize_method=method, dither_seed=77)
    (image,) = sk.read_layout(path).images
    assert image.reader == "core"
    assert "quantised" in image.lossy
    expected = fits.getdata(path, 1)
    assert np.array_equal(samples_of(path), expected.astype("f8"), equal_nan=True)


@pytest.mark.parametrize("codec", ["GZIP_1", "GZIP_2"])
def test_floats_without_quantisation_are_lossless(codec: str, tmp_path: Path) -> None:
    data = noise((30, 60), "f4")
    path = write(tmp_path / "raw.fits", data, codec, (1, 60), quantize_level=0)
    (image,) = sk.read_layout(path).images
    assert (image.reader, image.lossy) == ("core", "")
    assert np.array_equal(samples_of(path), data.astype("f8"))


def test_rare_compressions_go_through_fitsio(tmp_path: Path) -> None:
    data = noise((20, 40), "i4")
    path = write(tmp_path / "raw.fits", data, "HCOMPRESS_1", (10, 40))
    (image,) = sk.read_layout(path).images
    assert image.reader == "fitsio row slices"
    assert np.array_equal(samples_of(path), data)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_tiles_give_the_planes_of_the_plain_file(threads: int, tmp_path: Path) -> None:
    data = noise((301, 4 * 50), "i4")
    header = fits.Header()
    header["NDCMS"] = 4
    fits.PrimaryHDU(data, header).writeto(tmp_path / "plain.fits")
    (plain,) = sk.run(CHAIN, [tmp_path / "plain.fits"])
    for number, tile in enumerate([(1, 200), (7, 200), (301, 200), (5, 33)]):
        path = write(tmp_path / f"{number}.fits", data, "RICE_1", tile)
        (result,) = sk.run(CHAIN, [path], threads=threads)
        assert result.status == "done", result.message
        for name in ("mean", "std"):
            assert np.array_equal(result.planes[name], plain.planes[name])


def test_damaged_tiles_are_refused_whatever_is_damaged(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    data = noise((20, 100), "i2")
    n_failed = 0
    for codec in ("RICE_1", "GZIP_2"):
        good = write(tmp_path / f"{codec}.fits", data, codec, (1, 100)).read_bytes()
        with fits.open(tmp_path / f"{codec}.fits", disable_image_compression=True) as file:
            begin = file[1].fileinfo()["datLoc"]
        for number in range(60):
            bad = bytearray(good)
            for _ in range(1 + number % 3):
                bad[int(random.integers(begin, len(bad)))] = int(random.integers(256))
            path = tmp_path / f"{codec}_{number}.fits"
            path.write_bytes(bad)
            (result,) = sk.run(CHAIN, [path])
            n_failed += result.status == "failed"
            assert result.status == "done" or f"{path.name}[1]: tile" in result.message
            assert "internal" not in result.message
    assert n_failed > 20


def test_samples_know_their_format(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.fits", noise((4, 40), "u2"), "RICE_1", (2, 40))
    samples = open_samples(sk.read_layout(path).images[0])
    assert (samples.dtype, samples.zero, samples.piece_rows) == ("<i2", 32768, 2)


@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
@pytest.mark.parametrize("tile", [(1, 60), (6, 20), (40, 60), (7, 60)])
def test_files_of_cfitsio_are_read_to_the_bit(
    codec: str, tile: tuple[int, int], tmp_path: Path
) -> None:
    if codec == "HCOMPRESS_1" and min(tile) < 4:
        pytest.skip("HCOMPRESS needs tiles of at least 4 x 4")
    data = noise((40, 60), "i4")
    with fitsio.FITS(str(tmp_path / "raw.fits"), "rw") as file:
        file.write(data, compress=codec, tile_dims=list(tile))
    assert np.array_equal(samples_of(tmp_path / "raw.fits"), data)


def test_the_real_image_is_that_of_other_readers_to_the_bit(tmp_path: Path) -> None:
    path = REAL / "damicm/avg_Image_5_Low_Temp_109_20250807_170213_15.fz"
    if not path.exists():
        pytest.skip("no ../shared/data beside the checkout")
    (tmp_path / "raw.fz").write_bytes(path.read_bytes())
    output = {"after": "compress_skips", "path": "{stem}.fits", "dtype": "float64"}
    config = sk.load_config({"stage": [{"kind": "compress_skips"}], "output": [output]})
    results = list(sk.run(config, [tmp_path / "raw.fz"], output=tmp_path))
    assert [r.amplifier for r in results] == ["CCD_A", "CCD_B", "CCD_D", "CCD_C"]
    with fits.open(path) as astropy, fitsio.FITS(str(path)) as cfitsio:
        for number in range(1, 5):
            ours = fits.getdata(results[0].outputs[0], ("MEAN", number))
            assert np.array_equal(ours, astropy[number].data)
            assert np.array_equal(ours, cfitsio[number].read())
