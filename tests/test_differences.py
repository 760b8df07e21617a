"""The table "Where we differ from astropy and CFITSIO" of docs/how-it-is-tested.md, row by row."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.io import fits

import skipstream as sk

sys.path.insert(0, str(Path(__file__).parent))
from malformed import DATA, GOOD, PIXELS, card, extension, header, primary

CONFIG = sk.load_config({"input": {"n_skips": 1}, "stage": [{"kind": "compress_skips"}]})


def ours(path: Path) -> sk.ImageResult:
    (result,) = sk.run(CONFIG, [path])
    return result


def theirs(path: Path) -> np.ndarray | None:
    """What astropy takes for the last image, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            return hdus[-1].data


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "raw.fits"
    path.write_bytes(data)
    return path


def test_a_keyword_twice(tmp_path: Path) -> None:
    path = written(tmp_path, header(*primary(), card("BZERO", "1"), card("BZERO", "2")) + DATA)
    assert "BZERO" in ours(path).message
    assert theirs(path) is not None


@pytest.mark.parametrize("value", ["16.0", "'16'", "1.6E1"])
def test_an_integer_that_is_none(value: str, tmp_path: Path) -> None:
    path = written(tmp_path, header(*primary(BITPIX=value)) + DATA)
    assert "BITPIX" in ours(path).message


def test_bytes_behind_the_last_hdu(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + b"abc" * 960)
    assert "does not begin with" in ours(path).message
    assert np.array_equal(fitsio.read(str(path)), PIXELS)


def test_fewer_bytes_than_promised(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD[: 2880 + 130])
    result = ours(path)
    assert result.status == "partial"
    assert np.array_equal(result.planes["mean"][:3], PIXELS[:3])
    assert np.isnan(result.planes["mean"][3:]).all()


def test_a_wrong_datasum(tmp_path: Path) -> None:
    path = written(tmp_path, header(*primary(), card("DATASUM", "'17'")) + DATA)
    assert "DATASUM" in ours(path).message
    assert np.array_equal(theirs(path), PIXELS)


def test_a_broken_table_before_the_image(tmp_path: Path) -> None:
    table = header(*extension("'BINTABLE'", BITPIX="8", TFIELDS="1", TFORM1="'999Z'"))
    path = written(
        tmp_path,
        header(card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0"))
        + table + bytes(2880) + header(*extension()) + DATA,
    )  # fmt: skip
    assert np.array_equal(ours(path).planes["mean"], PIXELS)


def test_blank_in_a_floating_image(tmp_path: Path) -> None:
    values = np.array([[1.0, 5.0, np.nan]], dtype=">f4")
    head = header(*primary(BITPIX="-32", NAXIS1="3", NAXIS2="1"), card("BLANK", "5"))
    path = written(tmp_path, head + values.tobytes().ljust(2880, b"\0"))
    assert np.array_equal(ours(path).planes["mean"], values, equal_nan=True)
    with pytest.warns(Warning, match="BLANK"), fits.open(path) as hdus:
        hdus[0].data  # noqa: B018


def test_room_that_was_only_reserved(tmp_path: Path) -> None:
    path = tmp_path / "raw.fits"
    image = np.ones((300, 300), "i2")
    fits.PrimaryHDU(image).writeto(path)
    os.truncate(path, 2880 + 90_000)
    os.truncate(path, 2880 + 181_440)
    assert ours(path).status == "partial"
    assert theirs(path).shape == (300, 300)
