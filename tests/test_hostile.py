"""Configs, file names and header texts of somebody who means harm: text stays text."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import skipstream as sk
from skipstream.cli import main
from skipstream.exposure import safe_name

CHAIN = """
[input]
n_skips = 4
[[stage]]
kind = "compress_skips"
[[stage]]
kind = "find_clusters"
threshold = 100
threshold_unit = "absolute"
require_seed = false
"""


def raw_file(path: Path, **cards: object) -> Path:
    """Two amplifiers of 20 x 30 pixels of 4 samples, with a cluster."""
    data = np.zeros((20, 30 * 4), "i2")
    data[5:7, 40:48] = 500
    hdus: list[fits.PrimaryHDU | fits.ImageHDU] = [fits.PrimaryHDU(data), fits.ImageHDU(data)]
    for hdu in hdus:
        for keyword, value in cards.items():
            hdu.header[keyword] = value
    fits.HDUList(hdus).writeto(path)
    return path


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def skipstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Run:
    """The command line in this process: any exception but its end fails the test."""

    def call(*words: str, cwd: Path = tmp_path) -> tuple[int, str]:
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as end:
            main(words, prog_name="skipstream")
        shown = capfd.readouterr()
        return end.value.code, shown.out + shown.err

    return call


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def stage(line: str, kind: str = "compress_skips") -> bytes:
    return f'[input]\nn_skips = 4\n[[stage]]\nkind = "{kind}"\n{line}\n'.encode()


def output(path: str, more: str = "") -> bytes:
    text = f'[[output]]\nafter = "compress_skips"\npath = {path}\n{more}\n'
    return CHAIN.encode() + text.encode("utf-8", "surrogateescape")


# Each with a part of the one message that it must get.
CONFIGS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no [[stage]]"),
    "no toml": (b"stage: [compress_skips]\n", "not TOML"),
    "json": (b'{"stage": [{"kind": "compress_skips"}]}', "not TOML"),
    "nul bytes": (b"\0" * 100, "not TOML"),
    "not utf-8": (b"\xff\xfe[[stage]]", "not UTF-8"),
    "utf-16": ("[[stage]]\n".encode("utf-16"), "not UTF-8"),
    "deep lists": (b"x = " + b"[" * 100_000, "nested too deeply"),
    "deep tables": (b"x = " + b"{a=" * 100_000, "nested too deeply"),
    "deep but closed": (
        b"[input]\nn_skips = " + b"[" * 5000 + b"]" * 5000 + b"\n", "nested too deeply"),
    "deep dotted key": (b".".join([b"a"] * 20_000) + b" = 1", "nested too deeply"),
    "table twice": (CHAIN.encode() + b"[input]\n", "not TOML"),
    "key twice": (stage("start = 1\nstart = 2"), "not TOML"),
    "stage is a table": (b'[stage]\nkind = "compress_skips"', "no [[stage]]"),
    "stage is a number": (b"stage = 7", "no [[stage]]"),
    "stages are numbers": (b"stage = [1, 2]", "must name a stage"),
    "a thousand mistakes": (stage("\n".join(f"k{i} = 1" for i in range(1000))), "no key"),
    "kind is code": (stage("", "__import__('os').system('touch hacked')"), "no stage"),
    "kind is a module": (stage("", "os.system"), "no stage"),
    "kind is a path": (stage("", "../../evil"), "no stage"),
    "kind is a number": (b"[[stage]]\nkind = 3", "kind"),
    "statistics are code": (stage("statistics = ['__import__(\"os\")']"), "statistics"),
    "statistics write": (stage("statistics = ['np.save']"), "statistics"),
    "statistics load": (stage("statistics = ['numpy.load']"), "statistics"),
    "statistics leave numpy": (stage("statistics = ['np.lib.npyio.os.getcwd']"), "statistics"),
    "statistics of pickle": (stage("statistics = ['np.core.multiarray.pickle']"), "statistics"),
    "whole number too large": (stage("start = 99999999999999999999"), "start"),
    "number of a million digits": (stage("start = " + "9" * 1_000_000), ""),
    "negative": (stage("start = -5"), "start"),
    "not a number": (stage("threshold = nan", "find_clusters"), "threshold"),
    "infinite": (stage("threshold = inf", "find_clusters"), "threshold"),
    "truth for a number": (stage("start = true"), "start"),
    "text for a number": (stage("start = '1; rm -rf /'"), "start"),
    "list for a number": (stage("start = [1]"), "start"),
    "date for a number": (stage("start = 1979-05-27T07:32:00Z"), "start"),
    "skips beyond 64 bits": (
        stage("").replace(b"n_skips = 4", b"n_skips = 18446744073709551617"), "n_skips"),
    "skips negative": (stage("").replace(b"n_skips = 4", b"n_skips = -1"), "n_skips"),
    "keyword with a newline": (
        stage("").replace(b"n_skips = 4", b'keywords = {n_skips = "A\\nB"}'), "no header keyword"),
    "output above": (output("'../{stem}.fits'"), "must stay in the output folder"),
    "output hidden above": (output("'a/../../{stem}.fits'"), "must stay in the output folder"),
    "output absolute": (output("'/tmp/{stem}.fits'"), "must stay in the output folder"),
    "output with NUL": (output('"{stem}\\u0000.fits"'), "control character"),
    "output with a newline": (output('"{stem}\\n.fits"'), "control character"),
    "output with an escape": (output('"{stem}\\u001b[2J.fits"'), "control character"),
    "output of attributes": (output("'{stem.__class__}.fits'"), "{stem}"),
    "output of a format": (output("'{stem!r:>1000000}.fits'"), "{stem}"),
    "output of a shell": (output("'$(touch hacked).fits'"), "{stem}"),
    "output of another kind": (output("'{stem}.py'"), "must end in"),
    "output pickled": (output("'{stem}.pkl'"), "must end in"),
    "output is the journal": (output("'run.jsonl'"), "must end in"),
    "output hidden": (output("'.{stem}.fits'"), "begin with a dot"),
    "output too long": (output("'" + "x" * 300 + "{stem}.fits'"), "longer than"),
    "output twice": (output("'{stem}.fits'") + output("'{stem}.fits'")[len(CHAIN):], "already"),
    "output differs by dots": (
        output("'{stem}.fits'") + output("'./{stem}.fits'")[len(CHAIN):], "already"),
    "planes twice": (output("'{stem}.fits'", "planes = ['mean', 'mean']"), "twice"),
    "plane is a path": (output("'{stem}.fits'", "planes = ['../mean']"), "no plane"),
    "type is code": (output("'{stem}.fits'", "dtype = 'O'"), "dtype"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_only_configures(name: str, tmp_path: Path, skipstream: Run) -> None:
    text, told = CONFIGS[name]
    raw_file(tmp_path / "raw.fits")
    (tmp_path / "cfg.toml").write_bytes(text)
    before = tree(tmp_path)
    code, shown = skipstream("run", "cfg.toml", "raw.fits", "-o", "out")
    assert code in (1, 2)
    assert told in shown
    assert all(c == "\n" or c.isprintable() for c in shown)
    assert len(shown) < 200_000
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {Path(path).parts[0] for path in after.keys() - before.keys()} <= {"out"}
    assert not any(path.endswith((".fits", ".part")) for path in after.keys() - before.keys())


@pytest.mark.parametrize("path", ["folder", "/dev/zero", "/dev/null", "pipe", "missing", "loop"])
def test_a_config_is_a_file(path: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    raw_file(tmp_path / "raw.fits")
    done = subprocess.run(
        [sys.executable, "-m", "skipstream", "run", path, "raw.fits", "-o", "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert path in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "cfg.toml").write_bytes(b"\xef\xbb\xbf" + CHAIN.encode())
    assert len(sk.load_config(tmp_path / "cfg.toml").stages) == 2


NAMES = [
    "a b.fits", "x[1].fits", "x[1:5,2:3].fits", "x[col A=1].fits", "x[events][pha > 3].fits",
    "y|z.fits", "--jobs.fits", "-o.fits", "$(touch hacked).fits", "`touch hacked`.fits",
    "ü.fits", "日本.fits", "u\u0308.fits", "\u202egnp.fits", "line\nbreak.fits", "tab\t.fits",
    "cr\r.fits", "%41.fits", "%2e%2e%2fup.fits", "%s%n.fits", "!mem.fits", "mem:.fits",
    "shmem:h0.fits", "root:.fits", "http:x.fits", "ftp:x.fits", "stdin.fits", "a;b.fits",
    "a&b.fits", "a>b.fits", "\x1b[31mred.fits", "\x1b]0;title\x07.fits", "(x).fits",
    "x.gz(y).fits", "+3.fits", "x+1.fits", "'q'.fits", '"d".fits', "*.fits", "?.fits",
    "a\\b.fits", "{stem}.fits", "{0.__class__}.fits", "~root.fits", "<script>.fits", ".fits.fits",
    "=cmd().fits", "#.fits", "CON.fits", "run.jsonl.fits", "x.part.fits", "n" * 200 + ".fits",
    b"\xff\xfe.fits".decode("utf-8", "surrogateescape"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_a_name(name: str, tmp_path: Path, skipstream: Run) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    raw_file(tmp_path / "raw.fits").replace(folder / name)
    (tmp_path / "cfg.toml").write_text(CHAIN)
    code, shown = skipstream("run", "../cfg.toml", "-o", "../out", "--", name, cwd=folder)
    assert code == 0, shown
    safe = safe_name(name.removesuffix(".fits"))
    assert os.fsencode(unquote(safe, errors="surrogateescape")) == os.fsencode(name[:-5])
    names = {f"{safe}_planes.fits", f"{safe}_clusters.fits", "run.jsonl"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out", "cfg.toml"}
    assert {path.name for path in folder.iterdir()} == {name}
    for command in (["info"], ["check", "../cfg.toml"]):
        code, more = skipstream(*command, "--", name, cwd=folder)
        assert code == 0, more
        shown += more
    assert all(c == "\n" or c.isprintable() for c in shown)


def test_names_that_differ_stay_apart(tmp_path: Path) -> None:
    assert len({safe_name(name) for name in NAMES}) == len(NAMES)


TEXTS = {
    "escape": "\x1b[31mred", "title": "\x1b]0;x\x07", "newline": "a\nEND", "nul": "a\0b",
    "formula": "=cmd|' /C calc'!A0", "plus": "+1+1", "minus": "-2+3", "at": "@SUM(A1)",
    "tab": "\t=1", "script": "<script>alert(1)</script>", "entity": "&lt;b&gt;",
    "image": "<img src=x onerror=alert(1)>", "rich": "[bold red]x[/bold red]",
    "link": "[link=file:///etc/passwd]x[/link]", "format": "{0.__class__}", "percent": "%s%n%d",
    "path": "../../../etc/passwd", "absolute": "/etc/passwd", "shell": "$(touch hacked)",
    "backtick": "`touch hacked`", "quote": "it''s", "quotes": "'''''", "sql": "'; DROP TABLE x;--",
    "jinja": "{{ 7*7 }}", "yaml": "!!python/object/apply:os.system ['touch hacked']",
    "long": "x" * 3000, "blank": "   ", "comma": 'a,b;c"d', "code": "__import__('os')",
    "template": "{stem}", "file": "mem://x[1]", "slash": "a / b",
}  # fmt: skip


def with_text(path: Path, text: str) -> None:
    """The text as EXTNAME of both HDUs and as OBJECT, byte for byte, as no writer would do it."""
    raw_file(path, EXTNAME="@" * 60, OBJECT="#" * 60)
    whole = path.read_bytes()
    for filler in (b"@" * 60, b"#" * 60):
        value = text[:60].encode("latin-1").replace(b"'", b"''")
        value = value[:60] if value[:60].count(b"'") % 2 == 0 else value[:59]
        whole = whole.replace(filler, value.ljust(60))
    path.write_bytes(whole)


@pytest.mark.parametrize("name", TEXTS)
def test_a_header_says_what_it_says(name: str, tmp_path: Path, skipstream: Run) -> None:
    text = TEXTS[name]
    with_text(tmp_path / "raw.fits", text)
    paths = {"clusters": "{stem}_clusters.fits", "csv": "{stem}_clusters.csv",
             "ecsv": "{stem}_clusters.ecsv", "parquet": "{stem}_clusters.parquet"}  # fmt: skip
    more = [f'[[output]]\nafter = "find_clusters"\npath = "{path}"' for path in paths.values()]
    more.append('[[output]]\nafter = "compress_skips"\npath = "{stem}_planes.fits"')
    (tmp_path / "cfg.toml").write_text(CHAIN + "\n".join(more))
    before = set(tree(tmp_path))
    for command in (["run", "cfg.toml", "raw.fits", "-o", "out"], ["info", "raw.fits"],
                    ["check", "cfg.toml", "raw.fits"], ["status", "out"]):  # fmt: skip
        _, shown = skipstream(*command)
        assert all(c == "\n" or c.isprintable() for c in shown)
    made = set(tree(tmp_path)) - before
    assert {Path(path).parts[0] for path in made} <= {"out"}
    if any(ord(c) < 32 for c in text):  # FITS allows no control characters: refused
        assert made <= {"out", "out/run.jsonl"}
        assert "printable ASCII" in (tmp_path / "out" / "run.jsonl").read_text()
        return
    assert len(made) == 7
    with fits.open(tmp_path / "out" / "raw_planes.fits", checksum=True) as planes:
        planes.verify("exception")
        assert [hdu.name for hdu in planes[1:]] == ["MEAN", "MASK"] * 2
    tables = [Table.read(tmp_path / "out" / f"raw_clusters.{kind}") for kind in ("fits", "ecsv")]
    assert [len(table) for table in tables] == [2, 2]
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(tmp_path / "out" / "raw_clusters.parquet").num_rows == 2
    with (tmp_path / "out" / "raw_clusters.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(rows[0])}
    numbers = set("0123456789.-+enai")
    for cell in (cell for row in rows[1:] for cell in row):
        assert cell[:1] not in tuple("=+@\t\r") or set(cell) <= numbers
        assert not cell.startswith("-") or set(cell) <= numbers
