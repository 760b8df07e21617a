"""The reader of configs in the core takes what Python's takes, and makes the same of it."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import skipstream as sk

ROOT = Path(__file__).resolve().parent.parent
NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))


class Reader:
    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, text: str | bytes) -> Any:
        data = text.encode() if isinstance(text, str) else text
        to, back = self.process.stdin, self.process.stdout
        assert to is not None
        assert back is not None
        to.write(b"%d\n" % len(data) + data)
        to.flush()
        line = back.readline()
        assert line, f"the reader ended with {self.process.wait()} at {data!r}"
        return json.loads(line)


@pytest.fixture(scope="module")
def read(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("toml")
    for arguments in (
        ["-S", ROOT / "tests/cpp", "-B", folder, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={installed}"],
        ["--build", folder, "--target", "print_toml"],
    ):
        done = subprocess.run(["cmake", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    reader = Reader(folder / "print_toml")
    yield reader
    reader.process.communicate()
    assert reader.process.returncode == 0


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return max((1 + depth(one) for one in inner), default=0)


# What Python reads and the core refuses, by its message.
LEFT_OUT = {
    "no parameter needs a string over several lines": r"\"\"\"|'''",
    "no parameter is a date or a time": r"\d\d\d\d-\d\d-\d\d|\d\d:\d\d",
    "must fit 64 bits": r"\d{19}|0x[\da-fA-F_]{16}|0o[0-7_]{21}|0b[01_]{64}|[\d_]{19}",
    "must fit double precision": r"[eE][-+]?\d|\d{300}",
    "nested too deeply": r"[\[{.]",
}


def check(read: Reader, data: bytes) -> None:
    found = read(data)
    refused = isinstance(found, dict) and list(found) == ["error"]
    try:
        text = data.decode("utf-8-sig")
        expected = tomllib.loads(text)
    except (ValueError, RecursionError):
        assert refused, data
        return
    if not refused:
        assert same(found, expected), data
        return
    if found == expected:  # a text that says error = "..."
        return
    reason = next((why for why in LEFT_OUT if why in found["error"]), None)
    assert reason is not None, (data, found["error"])
    assert re.search(LEFT_OUT[reason], text), (data, found["error"])


CONFIGS = (
    sk.init_config().encode(),
    b"""\xef\xbb\xbf[input]\r\nn_skips = "NDCMS" # a word\r\nkeywords = {n_cols = 'X', "b c".d = 1}
[input.more]\nx.y.z = 1\nx.y.q = [1, [2, 3], {a = [ ]}]
'quoted key' = "\\u00e9\\U0001F600\\t\\"\\\\"
[[stage]]\nkind = "calibrate"\n[stage.gain]\nEXT1 = +5.3\nEXT2 = 5_000e-3\n[[stage]]
numbers = [0x1F, 0o17, 0b1_01, -0, 1_000, 0.5, -1e6, 6.02E+23, inf, -inf, nan, true, false,
  # in between
  1.7976931348623157e308, 5e-324,\n]\n[[stage.inner]]\na = ""\n[[stage.inner]]\na = ''\n""",
)
PIECES = [
    b"a", b"b", b"a.b", b'"a"', b"'b'", b"=", b" = ", b"\n", b"\n", b"\n[a]\n", b"\n[a.b]\n",
    b"\n[[a]]\n", b"\n[[a.b]]\n", b"[b]\n", b"\n[a.b.c]\n", b"{", b"}", b"[", b"]", b",", b", ",
    b"a = 1\n", b"b = 2\n", b"a.b = 3\n", b"a.b.c = 4\n", b"a = {b = 1}\n", b"a = [{}, {b = 2}]\n",
    b"1", b"0", b"-", b"+", b"_", b".", b"e", b"E5", b"0x", b"0b1", b"0o7", b"inf", b"nan", b"true",
    b"false", b'"', b"'", b"\\", b"\\n", b"\\u00e9", b"\\U0010ffff", b"#", b" ", b"\t", b"\r\n",
    b"\r", b"\x00", b"\x7f", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"2026-11-26", b"07:32",
    b"9223372036854775807", b"9223372036854775808", b"1e999", b"1e-999",
]  # fmt: skip


@settings(max_examples=20000 if NIGHTLY else 2000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
@example(b"[a]\nb.c = 1\n[a.b]\n")
@example(b"[a.b]\n[a]\n[a]\n")
@example(b"a = {b = {c = 1}, b.d = 2}")
@example(b"a = {b = 1,}")
@example(b"a = [1,]")
@example(b"[[a]]\n[a.b]\n[[a]]\n[a.b]\nc.d=1\nc.e=2\n[a.b.c.f]\n")
@example(b"[a]\n[[a.b]]\n[a]\nb.c = 1\n")
def test_any_pieces_are_read_as_python_reads_them(read: Reader, data: bytes) -> None:
    check(read, data)


@settings(max_examples=20000 if NIGHTLY else 1000, deadline=None)
@given(st.integers(0, len(CONFIGS) - 1), st.integers(0, 10**9))
def test_configs_with_slips_are_read_as_python_reads_them(
    read: Reader, number: int, seed: int
) -> None:
    choose = random.Random(seed)
    data = CONFIGS[number]
    for _ in range(choose.randint(0, 3)):
        at = choose.randrange(len(data))
        end = at + choose.choice([0, 0, 1, 3, 20])
        data = data[:at] + choose.choice([b"", *PIECES]) + data[end:]
    check(read, data)


def test_whole_configs_are_taken(read: Reader) -> None:
    for data in CONFIGS:
        found = read(data)
        assert "error" not in found
        assert same(found, tomllib.loads(data.decode("utf-8-sig")))
    assert math.isnan(read("a = -nan")["a"])


def test_depth_ends_where_that_of_a_run_does(read: Reader) -> None:
    for n in range(10, 20):
        for text in ("a = " + "[" * n + "]" * n, ".".join("a" * n) + " = 1",
                     "a = " + "{b = " * n + "1" + "}" * n):  # fmt: skip
            found = read(text)
            assert ("error" in found) == (depth(tomllib.loads(text)) > 16), text
