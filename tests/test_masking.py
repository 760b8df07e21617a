"""Defects over a run, crosstalk, and masks in files that runs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import skipstream as sk
from skipstream.cli import main

BIT = sk.MaskBit
STAGES: dict[str, Any] = {"input": {"n_skips": 1}, "stage": [{"kind": "compress_skips"}]}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Ten images of two amplifiers: a pixel hot in five, one in four, a column, tracks."""
    paths = []
    for number in range(10):
        random = np.random.default_rng(number)
        hdus: list[fits.PrimaryHDU | fits.ImageHDU] = [fits.PrimaryHDU()]
        for name in ("L", "U"):
            image = random.normal(0, 0.2, (12, 15))
            if name == "L":
                image[3, 4] += 6 * (number < 5)
                image[5, 6] += 6 * (number < 4)
                image[::4, 9] += 6  # 3 of 12
                image[random.integers(12), random.integers(15)] = 500
                image[7] = 500
            hdus.append(fits.ImageHDU(image.astype("f4"), name=name))
        path = tmp_path / f"run{number}.fits"
        fits.HDUList(hdus).writeto(path)
        paths.append(path)
    return paths


def test_what_is_hot_in_too_many_images_is_a_defect(files: list[Path]) -> None:
    found = sk.find_defects(files, sk.load_config(STAGES), threshold=3, below=100)
    left = found["L"]
    hot = {(3, 4), (0, 9), (4, 9), (8, 9)}
    assert set(zip(*map(list, np.nonzero(left.mask & BIT.HOTPIXEL)), strict=True)) == hot
    assert left.columns == (9,)
    assert left.rows == ()
    assert (left.mask[:, 9] & BIT.BADCOL != 0).all()
    assert left.frequency[3, 4] == 0.5
    assert left.frequency[5, 6] == 0.4  # not more than the limit
    assert repr(left) == "defects in 10 images: 4 hot pixels, 1 columns, 0 rows"
    assert not found["U"].mask.any()


def test_tracks_count_unless_they_are_left_out(files: list[Path]) -> None:
    left = sk.find_defects(files, sk.load_config(STAGES), threshold=3)["L"]
    assert left.rows == (7,)


def test_a_mask_file_reaches_every_stage_of_a_run(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "pixels.toml").write_text(
        '[input]\nn_skips = 1\n[[stage]]\nkind = "compress_skips"'
    )
    mask = tmp_path / "defects.fits"
    command = ["defects", *map(str, files), "-o", str(mask), "--threshold", "3", "--below", "100",
               "--config", str(tmp_path / "pixels.toml")]  # fmt: skip
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "L: defects in 10 images: 4 hot pixels" in done.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 2
    assert "exists; use --overwrite" in again.output
    (tmp_path / "run.toml").write_text(
        '[input]\nn_skips = 1\nmask = "defects.fits"\n[[stage]]\nkind = "compress_skips"\n'
        '[[stage]]\nkind = "find_clusters"\nthreshold = 3\nseed = 3\nthreshold_unit = "absolute"\n'
    )
    results = list(sk.run(sk.load_config(tmp_path / "run.toml"), files[:1]))
    assert [r.status for r in results] == ["done", "done"], results[0].message
    assert results[0].mask is not None
    assert results[0].clusters is not None
    np.testing.assert_array_equal(results[0].mask, sk.read_mask(mask, "L", (12, 15)))
    places = set(zip(results[0].clusters["peak_y"], results[0].clusters["peak_x"], strict=True))
    assert (5, 6) in places  # not a defect
    assert not places & {(3, 4), (0, 9)}


def test_masks_of_outputs_are_mask_files(files: list[Path], tmp_path: Path) -> None:
    config = sk.load_config({**STAGES, "stage": [*STAGES["stage"], {"kind": "mask_edges"}]})
    list(sk.run(config, files[:1], output=tmp_path / "out"))
    mask = sk.read_mask(tmp_path / "out/run0_planes.fits", "U", (12, 15))
    assert (mask[0] == BIT.EDGE).all()
    assert mask[6, 7] == 0


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({"L": np.zeros((12, 15)), "X": np.zeros((2, 2))}, "no mask of amplifier U"),
        ({"L": np.zeros((12, 14))}, r"must be whole numbers, \(12, 15\); got int32, \(12, 14\)"),
    ],
)
def test_masks_that_do_not_fit_refuse_the_file(
    masks: dict[str, Any], words: str, files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "m.fits"
    sk.write_mask(path, masks)
    config = sk.load_config({**STAGES, "input": {"n_skips": 1, "mask": str(path)}})
    (result,) = sk.run(config, files[:1])
    assert result.status == "failed"
    with pytest.raises(sk.ConfigError, match=words):
        raise sk.ConfigError(result.message)


def test_a_mask_that_is_no_file_or_no_fits_is_one_clear_sentence(
    files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.fits").write_text("SIMPLE  = what")
    for name in ("absent.fits", "text.fits", "."):
        config = sk.load_config({**STAGES, "input": {"n_skips": 1, "mask": str(tmp_path / name)}})
        (result,) = sk.run(config, files[:1])
        assert result.status == "failed"
        assert result.reason in ("io", "fits", "config")
        assert name in result.message


def test_a_mask_is_part_of_what_a_resumed_run_compares(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "m.fits"
    empty = {name: np.zeros((12, 15)) for name in ("L", "U")}
    sk.write_mask(path, empty)
    config = sk.load_config({**STAGES, "input": {"n_skips": 1, "mask": str(path)}})
    out = tmp_path / "out"
    list(sk.run(config, files[:1], output=out))
    again = list(sk.run(config, files[:1], output=out, resume=True))
    assert {r.status for r in again} == {"skipped"}
    sk.write_mask(path, {**empty, "U": np.ones((12, 15))}, overwrite=True)
    changed = list(sk.run(config, files[:1], output=out, resume=True))
    assert {r.status for r in changed} == {"done"}


def test_crosstalk_is_flagged_where_and_after_another_amplifier_is_bright() -> None:
    left, right = np.zeros((2, 3, 4))
    left[1, 3] = 900
    right[0, 0] = 900
    masks = sk.crosstalk_masks({"L": left, "U": right}, threshold=700)
    assert list(np.flatnonzero(masks["U"])) == [7, 8]  # the next pixel begins a row
    assert list(np.flatnonzero(masks["L"])) == [0, 1]
    assert masks["U"].max() == BIT.CROSSTALK
    alone = sk.crosstalk_masks({"L": left, "U": right}, threshold=700, reach=0)
    assert list(np.flatnonzero(alone["U"])) == [7]
    with pytest.raises(sk.ConfigError, match="must be of one shape"):
        sk.crosstalk_masks({"L": left, "U": right[1:]}, threshold=700)
    with pytest.raises(sk.ConfigError, match="reach: must be at least 0"):
        sk.crosstalk_masks({"L": left}, threshold=700, reach=-1)


@pytest.mark.parametrize("fractions", [(0.0, 0.2), (0.4, 1.5)])
def test_fractions_that_cannot_be_are_refused(fractions: tuple[float, float]) -> None:
    with pytest.raises(sk.ConfigError, match="_fraction: must be above 0 and at most 1"):
        sk.find_defects([], sk.load_config(STAGES), threshold=3, pixel_fraction=fractions[0],
                        line_fraction=fractions[1])  # fmt: skip


def test_files_that_cannot_be_read_leave_the_others(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"no")
    config = sk.load_config(STAGES)
    found = sk.find_defects([*files, tmp_path / "bad.fits"], config, threshold=3, below=100)
    assert found["L"].n_images == 10
    with pytest.raises(sk.FitsError, match=r"bad\.fits"):
        sk.find_defects([tmp_path / "bad.fits"], config, threshold=3)


def test_defects_are_drawn_as_frequencies(files: list[Path]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    axes = sk.find_defects(files, sk.load_config(STAGES), threshold=3, below=100)["L"].plot()
    assert axes.get_title() == "10 images"
    assert axes.images[0].get_array()[3, 4] == 0.5
