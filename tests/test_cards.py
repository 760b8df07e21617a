"""Headers and checksums, read back by astropy."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

import skipstream as sk
from skipstream import _core
from skipstream.cards import BLOCK, card, comment_cards, header, n_blocks, with_checksum, word_sum

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400)
PRIMARY = [*card("SIMPLE", True), *card("BITPIX", 8), *card("NAXIS", 0)]


def read_back(cards: list[str]) -> fits.Header:
    assert all(len(line) == 80 for line in cards)
    return fits.Header.fromstring("".join(cards))


def string_by_definition(cards: list[str]) -> str:
    """FITS 4.2.1: quotes in a string are doubled, and `&` at its end goes on in a CONTINUE card."""
    found = [re.match(r"(?:KEY     = |CONTINUE  )'((?:[^']|'')*)'", line) for line in cards]
    parts = [match[1].replace("''", "'").rstrip() for match in found if match]
    assert len(parts) == len(cards)
    assert all(part.endswith("&") for part in parts[:-1])
    return "".join([*(part[:-1] for part in parts[:-1]), parts[-1]])


@given(TEXTS, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
@example("it's 'a'/b", "c")
def test_a_string_comes_back_whatever_its_length_and_quotes(text: str, comment: str) -> None:
    cards = card("KEY", text, comment)
    assert string_by_definition(cards) == text.rstrip()
    if "'/" not in text:  # astropy takes that for the end of the string
        assert read_back(cards)["KEY"] == text.rstrip()


@given(st.one_of(st.integers(-(2**63), 2**63), st.booleans(), st.floats(allow_nan=False)))
def test_a_number_comes_back_exactly(value: float) -> None:
    found = read_back(card("KEY", value, "a comment"))["KEY"]
    if isinstance(value, float) and np.isinf(value):
        assert found is None
    else:
        assert found == value
        assert type(found) is type(value)


def test_other_characters_are_escaped() -> None:
    assert read_back(card("KEY", "µ\n\x1b"))["KEY"] == r"\xb5\x0a\x1b"
    assert "".join(comment_cards("HISTORY", "x" * 100)).count("HISTORY") == 2


@given(st.lists(TEXTS, max_size=40), st.integers(0, 2**32 - 1))
def test_the_sum_over_header_and_data_is_all_ones(texts: list[str], datasum: int) -> None:
    cards = PRIMARY + [line for i, text in enumerate(texts) for line in card(f"KEY{i}", text)]
    block = with_checksum(cards, datasum, n_blocks(len(cards) + 2) + 1)
    assert len(block) % BLOCK == 0
    assert block[-80:].rstrip() == b"END"
    assert word_sum([block], datasum) == 0xFFFFFFFF


def test_cards_that_have_no_room_are_refused() -> None:
    with pytest.raises(sk.Error, match="36 cards does not fit 1 blocks"):
        header([" " * 80] * 36, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_planes_written_in_pieces_verify(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(1).normal(1e3, 1e3, (50, 331))
    values[3, 5], values[3, 6] = np.nan, np.inf
    writer = _core.PlaneWriter(str(tmp_path / "planes.fits"))
    writer.add_image(BLOCK, "float32", 0, 0)
    image = writer.add_image(BLOCK, dtype, *values.shape)
    pipeline = _core.Pipeline(
        [{"kind": "compress_skips"}],
        _core.ImageInfo(n_cols=values.shape[1], n_skips=1, dtype="<f8", n_rows=len(values)),
    )
    pipeline.add_writer(0, writer, [(-1 if dtype == "int32" else 0, image)])
    for rows in (values[:1], values[1:31], values[31:]):
        pipeline.push(np.ascontiguousarray(rows))
    pipeline.finish()
    writer.write_header(0, with_checksum(PRIMARY, 0))
    cards = [
        *card("XTENSION", "IMAGE"),
        *card("BITPIX", {"float32": -32, "float64": -64, "int32": 32}[dtype]),
        *card("NAXIS", 2),
        *card("NAXIS1", values.shape[1]),
        *card("NAXIS2", values.shape[0]),
        *card("PCOUNT", 0),
        *card("GCOUNT", 1),
    ]
    writer.write_header(image, with_checksum(cards, writer.datasum(image)))
    writer.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(tmp_path / "planes.fits", checksum=True) as file:
            data = file[1].data
    if dtype == "int32":
        assert set(np.unique(data)) <= {0, 1}  # the pixel without data has its bit
        assert data[3, 5] == 1
    else:
        assert np.array_equal(data, values.astype(dtype), equal_nan=True)


def test_a_file_that_is_not_complete_is_not_closed(tmp_path: Path) -> None:
    writer = _core.PlaneWriter(str(tmp_path / "planes.fits"))
    writer.add_image(BLOCK, "float32", 7, 3)
    with pytest.raises(sk.FitsError, match="0 of 7 rows, and no header"):
        writer.close()
    with pytest.raises(sk.FitsError, match="2880 bytes was reserved; got 5760"):
        writer.write_header(0, bytes(2 * BLOCK))
    with pytest.raises(sk.FitsError, match="no file holds"):
        writer.add_image(BLOCK, "float64", 2**40, 2**30)
    with pytest.raises(sk.IoError, match="cannot make the file: File exists"):
        _core.PlaneWriter(str(tmp_path / "planes.fits"))
