"""`skipstream quality`: the table of a folder, whole at any moment, in every format."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner, Result

pytest.importorskip("iminuit")

import skipstream as sk
from skipstream.cli import main
from skipstream.image_quality import NAMES
from skipstream.quality_table import QualityRow, find_images, out_of_range, text_table

TEXT = "image_preproc_out.txt"


def samples_of(seed: int, noise: float = 4.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    charge = random.poisson(0.3, (40, 60, 1)) * 10
    return np.rint(500 + charge + random.normal(0, noise, (40, 60, 16))).astype("i2")


def write(path: Path, seed: int = 1, noise: float = 4.0) -> Path:
    header = fits.Header({"NDCMS": 16})
    fits.PrimaryHDU(samples_of(seed, noise).reshape(40, -1), header).writeto(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write(tmp_path / f"Img_{number}.fits", number)
    return tmp_path


def quality(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["quality", *map(str, arguments)])


def lines_of(path: Path) -> dict[str, dict[str, str]]:
    """A text table, read as a script of another program would."""
    header, dashes, *lines = path.read_text().splitlines()
    assert set(dashes) == {"-", " "}
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    return {Path(row[0]).name: dict(zip(header.split(), row, strict=False)) for row in rows}


def numbers_of(path: Path) -> dict[str, Any]:
    (result,) = sk.run(
        sk.load_config(
            {
                "stage": [
                    {"kind": "compress_skips", "statistics": ["mean", "var", "sample(0)"]},
                ],
                "measure": [{"kind": "quality"}],
            }
        ),
        [path],
    )
    return result.measures["quality"]


def test_the_text_is_that_of_the_peer(folder: Path) -> None:
    done = quality("-d", folder)
    assert done.exit_code == 0, done.output
    lines = (folder / TEXT).read_text().splitlines()
    assert lines[0].split() == [
        "filename", "nskips", "aveImgS", "dSdskip", "imgNoise", "skNoise", "tailRatio",
        "darkCurrent", "aduConversion", "pixVar", "clustVar", "amplifier",
    ]  # fmt: skip
    rows = lines_of(folder / TEXT)
    assert list(rows) == ["Img_1.fits", "Img_2.fits", "Img_10.fits"]
    for name, row in rows.items():
        expected = numbers_of(folder / name)
        assert lines[2].split()[0] == str(folder / "Img_1.fits")
        assert row["nskips"] == "16"
        for number in NAMES:
            text = f"{expected[number]:.4g}"
            if number in ("dSdskip", "skNoise", "darkCurrent", "aduConversion"):
                text += f" +/- {expected.errors[number]:.2g}"
            assert row[number] == text


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".parquet", ".fits", ".root"])
def test_other_formats_hold_every_digit(folder: Path, ending: str) -> None:
    target = folder / f"q{ending}"
    assert quality("-d", folder, "-o", target).exit_code == 0
    rows: list[Any]
    if ending == ".csv":
        rows = list(csv.DictReader(target.read_text().splitlines()))
    elif ending == ".parquet":
        rows = pq.read_table(target).to_pylist()
    elif ending == ".root":
        rows = uproot.open(target)["quality"].arrays().tolist()
    elif ending == ".fits":
        rows = list(fits.getdata(target, "QUALITY"))
    else:
        rows = list(Table.read(target, format="ascii.ecsv"))
    assert [Path(str(row["filename"])).name for row in rows] == [
        "Img_1.fits",
        "Img_2.fits",
        "Img_10.fits",
    ]
    for row in rows:
        expected = numbers_of(Path(str(row["filename"])))
        assert int(row["nskips"]) == 16
        assert {name: float(row[name]) for name in NAMES} == dict(expected.values)
        assert float(row["skNoise_error"]) == expected.errors["skNoise"]
    before = target.read_bytes()
    again = quality("-d", folder, "-o", target)
    assert "3 of 3 files are done" in again.output
    assert target.read_bytes() == before


def test_done_files_are_skipped_unless_all_is_said(folder: Path) -> None:
    quality("-d", folder, "Img_1.fits")
    first = lines_of(folder / TEXT)
    (folder / "Img_1.fits").unlink()
    write(folder / "Img_1.fits", 1, noise=8.0)
    done = quality("-d", folder)
    assert "1 of 3 files are done" in done.output
    assert lines_of(folder / TEXT)["Img_1.fits"] == first["Img_1.fits"]
    assert quality("-d", folder, "--all", "Img_1.fits").exit_code == 0
    rows = lines_of(folder / TEXT)
    assert len(rows) == 3
    assert float(rows["Img_1.fits"]["imgNoise"]) > 1.5 * float(first["Img_1.fits"]["imgNoise"])


def test_a_bad_file_has_a_row_of_its_own_and_is_tried_again(folder: Path) -> None:
    (folder / "Img_2.fits").write_text("nothing")
    done = quality("-d", folder)
    assert done.exit_code == 1
    assert "Img_2.fits: not a FITS file" in done.output
    row = lines_of(folder / TEXT)["Img_2.fits"]
    assert row["nskips"] == "-1"
    assert all(row[name] in ("-1", "-1 +/- -1") for name in NAMES)
    (folder / "Img_2.fits").unlink()
    write(folder / "Img_2.fits", 2)
    assert quality("-d", folder).exit_code == 0
    assert lines_of(folder / TEXT)["Img_2.fits"]["nskips"] == "16"


def test_a_killed_process_leaves_the_rows_of_what_was_done(folder: Path) -> None:
    script = (
        "import os, signal, skipstream.quality_table as q\n"
        "before = q.judge_images\n"
        "def judge(*a, **k):\n"
        "    for n, results in enumerate(before(*a, **k)):\n"
        "        if n == 2:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield results\n"
        "q.judge_images = judge\n"
        f"from skipstream.cli import main\nmain(['quality', '-d', {str(folder)!r}])\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert list(lines_of(folder / TEXT)) == ["Img_1.fits", "Img_2.fits"]
    assert quality("-d", folder).exit_code == 0
    assert list(lines_of(folder / TEXT)) == ["Img_1.fits", "Img_2.fits", "Img_10.fits"]
    assert not list(folder.glob(".*skipstream*"))


def test_a_table_that_cannot_be_written_keeps_its_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality("-d", folder, "Img_1.fits")
    before = (folder / TEXT).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = quality("-d", folder)
    assert done.exit_code == 2
    assert "No space left" in done.output
    assert (folder / TEXT).read_bytes() == before


def test_names_wildcards_and_expressions_find_images(tmp_path: Path) -> None:
    names = ["Img_1.fits", "Img_2.fits.fz", "Img_10.fits.gz", "Img_x.fits", "run_3.fits", "a.txt"]
    (tmp_path / "inner").mkdir()
    for name in [*names, "Img_1_planes.fits", "Img_3.fits.part", "inner/Img_5.fits"]:
        (tmp_path / name).touch()

    def found(*patterns: str, recursive: bool = False) -> list[str]:
        groups = find_images(patterns, tmp_path, recursive=recursive)
        return [str(p.relative_to(tmp_path)) for paths in groups.values() for p in paths]

    assert found() == ["Img_1.fits", "Img_2.fits.fz", "Img_10.fits.gz"]
    assert found(recursive=True) == [*names[:3], "inner/Img_5.fits"]
    assert found("Img_?.fits") == ["Img_1.fits", "Img_2.fits.fz", "Img_x.fits"]
    assert found(r"(run|Img)_\d\.fits") == ["Img_1.fits", "Img_2.fits.fz", "run_3.fits"]
    assert found("run_3.fits", "inner/Img_5.fits") == ["inner/Img_5.fits", "run_3.fits"]
    with pytest.raises(sk.ConfigError, match="no file is named 'Img_9"):
        found("Img_9[0-9].fits")
    with pytest.raises(sk.ConfigError, match="no regular expression"):
        found("(run")


def test_each_folder_has_its_table_unless_one_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "Img_1.fits")
    assert quality("-d", tmp_path, "-r").exit_code == 0
    assert not (tmp_path / TEXT).exists()
    assert len(lines_of(tmp_path / "a" / TEXT)) == len(lines_of(tmp_path / "b" / TEXT)) == 1
    assert quality("-d", tmp_path, "-r", "-o", tmp_path / "all.csv").exit_code == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3


def test_print_shows_the_table_and_saves_nothing(folder: Path) -> None:
    done = quality("-d", folder, "-p", "--quiet")
    assert done.exit_code == 0
    assert not (folder / TEXT).exists()
    quality("-d", folder)
    assert done.stdout == (folder / TEXT).read_text()


def test_several_jobs_make_the_same_table(folder: Path) -> None:
    quality("-d", folder)
    quality("-d", folder, "--jobs", 2, "-o", "two.txt")
    assert (folder / "two.txt").read_bytes() == (folder / TEXT).read_bytes()


def test_a_table_of_the_peer_is_gone_on_with(folder: Path) -> None:
    # As that program writes it, with a line that was added later.
    (folder / TEXT).write_text(
        "filename                nskips    aveImgS  dSdskip     tailRatio  darkCurrent\n"
        "--------------------  --------  ---------  ----------  ---------  ---------------\n"
        f"{folder}/Img_1.fits         1       2.14   -1 +/- -1     249.7  0.14 +/- 0.0011\n"
        f"{folder}/Img_7.fits  16  4.526  -1 +/- -1  9596  0.5 +/- 0.0088\n"
    )
    assert quality("-d", folder).exit_code == 0
    rows = lines_of(folder / TEXT)
    assert list(rows) == ["Img_1.fits", "Img_7.fits", "Img_2.fits", "Img_10.fits"]
    assert rows["Img_7.fits"]["tailRatio"] == "9596"
    assert rows["Img_1.fits"]["darkCurrent"] == "0.14 +/- 0.0011"
    assert rows["Img_1.fits"]["pixVar"] == "-1"


@pytest.mark.parametrize("ending", ["", ".txt", ".csv", ".ecsv", ".parquet", ".fits", ".root"])
def test_any_file_name_keeps_to_its_row(tmp_path: Path, ending: str) -> None:
    names = ["a\nb.fits", "\x1b[31m.fits", " two  spaces .fits", "\\x20.fits", "é.fits",
             os.fsdecode(b"\xff.fits"), "=1+1.fits", "1e5.fits"]  # fmt: skip
    for number, name in enumerate(names):
        write(tmp_path / name, number)
    target = tmp_path / f"table{ending}"
    assert quality("-d", tmp_path, "-o", target, ".*fits").exit_code == 0
    before = target.read_bytes()
    assert b"\x1b[31m" not in before
    again = quality("-d", tmp_path, "-o", target, "*.fits")
    assert f"{len(names)} of {len(names)} files are done" in again.output
    assert target.read_bytes() == before


def test_what_is_no_table_is_left_alone(folder: Path) -> None:
    for name, content in [
        (TEXT, "notes of the shift\n"),
        ("q.csv", "a,b\n1,2\n"),
        ("q.ecsv", "nothing"),
        ("q.parquet", "nothing"),
        ("q.fits", "nothing"),
        ("q.root", "nothing"),
    ]:
        (folder / name).write_text(content)
        done = quality("-d", folder, "-o", name)
        assert done.exit_code == 2, done.output
        assert "not a table of quality" in done.output
        assert (folder / name).read_text() == content
    assert "must end in" in quality("-d", folder, "-o", "table.xlsx").output


def test_a_config_gives_input_and_stages(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cfg.toml").write_text(
        '[input]\nbegin_skip = 2\n[[stage]]\nkind = "correct_polarity"\n'
        '[[stage]]\nkind = "compress_skips"\n[[stage]]\nkind = "subtract_pedestal"\n'
    )
    assert quality("-d", folder, "--config", tmp_path / "cfg.toml", "Img_1.fits").exit_code == 0
    row = lines_of(folder / TEXT)["Img_1.fits"]
    samples = samples_of(1).astype(float)[..., 2:]
    _, counts = np.unique(np.floor(-samples.mean(axis=-1)), return_counts=True)
    p = counts / counts.sum()
    assert row["aveImgS"] == f"{-(p * np.log(p)).sum():.4g}"
    (tmp_path / "bad.toml").write_text('[[stage]]\nkind = "correct_polarity"\n')
    done = quality("-d", folder, "--config", tmp_path / "bad.toml")
    assert "quality needs the stage compress_skips" in done.output


def row_of(number: float, amplifier: str = "A", slope: float = 0.0) -> QualityRow:
    values = dict.fromkeys(NAMES, number) | {"dSdskip": slope}
    return QualityRow("x", amplifier, 16, values, dict.fromkeys(NAMES, -1.0))


def test_what_catches_the_eye_is_outside_of_its_range_or_far_from_the_others() -> None:
    rows = [row_of(10 + 0.1 * n) for n in range(6)]
    rows += [row_of(20.0), row_of(20.0, "B"), row_of(10.2, slope=-11.0), QualityRow("bad")]
    marked = out_of_range(rows)
    assert marked[:6] == [set()] * 6
    assert marked[6] == set(NAMES) - {"dSdskip"}
    assert marked[7] == set()  # alone with its amplifier
    assert marked[8] == {"dSdskip"}
    assert marked[9] == set()
    assert "skNoise" in out_of_range(rows, {"skNoise": (0, 15)})[7]
    assert text_table([rows[9]]).splitlines()[2].split()[1] == "-1"


def test_a_range_says_what_is_wrong_with_it(folder: Path) -> None:
    assert 'did you mean "skNoise"' in quality("-d", folder, "--range", "skNoise_=1:2").output
    for text in ("skNoise", "skNoise=3", "skNoise=a:b"):
        assert "must be NAME=LOW:HIGH" in quality("-d", folder, "--range", text).output


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_marks_what_catches_the_eye(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from skipstream.cli.quality import _show

    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [row_of(10 + 0.1 * n) for n in range(6)]
    rows[2] = QualityRow(
        "Img_2.fits", "A", 16, {**rows[2].values, "clustVar": 99.0}, rows[2].errors
    )
    _show([*rows, QualityRow("/data/[red]bad.fits")], {"pixVar": (0, 11)})
    shown = capsys.readouterr().out
    assert "99.0!" in shown
    assert shown.count("!") == 2  # and the line that explains it
    assert re.search(r"\[red\]bad\.fits +bad\b", shown)
    assert max(map(len, shown.splitlines())) <= columns
    assert ("more in the file" in shown) == (columns == 80)
