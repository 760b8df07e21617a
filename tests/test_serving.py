"""Rows over ZeroMQ: the results of a file, and nothing that comes over a socket does harm."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

import skipstream as sk
from skipstream import serving
from skipstream.exposure import resident_bytes

CONFIG: dict[str, Any] = {
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "median"]},
        {"kind": "subtract_pedestal"},
        {"kind": "find_clusters", "noise": 20.0, "threshold": 2.0, "seed": 2.5},
    ]
}
SHAPE = (12, 30, 8)
DEADLINE = 60.0  # s, for what takes a part of one


def samples(seed: int = 0, dtype: str = "<u2") -> NDArray[Any]:
    return np.random.default_rng(seed).normal(5000, 60, SHAPE).round().astype(dtype)


def facts(dtype: str = "<u2", **more: Any) -> dict[str, Any]:
    return {"n_rows": SHAPE[0], "n_cols": SHAPE[1], "n_skips": SHAPE[2], "dtype": dtype, **more}


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Server:
    """A server in a thread, and what it yields."""

    def __init__(self, output: Path, config: dict[str, Any] = CONFIG, **options: Any) -> None:
        self.address = free_address()
        self.output = output
        self.results: list[sk.ImageResult] = []
        self.stop = threading.Event()
        self.error: BaseException | None = None
        served = sk.serve(
            sk.load_config(config), output=output, address=self.address, stop=self.stop, **options
        )

        def run() -> None:
            try:
                self.results.extend(served)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output / "run.jsonl").read_text().splitlines()]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(**options: Any) -> Server:
        servers.append(Server(tmp_path / "out", **options))
        return servers[-1]

    yield begin
    for server in servers:
        server.end()


def expected(folder: Path, images: dict[str, NDArray[Any]]) -> list[sk.ImageResult]:
    """Results of a file with the same samples."""
    path = folder / "expected.fits"
    with fitsio.FITS(str(path), "rw", clobber=True) as out:
        for name, image in images.items():
            out.write(image.reshape(len(image), -1), extname=name)
    config = {**CONFIG, "input": {"n_skips": SHAPE[2]}}
    return list(sk.run(sk.load_config(config), [path], output=folder / "expected", overwrite=True))


def assert_same_files(output: Path, folder: Path, name: str) -> None:
    """The planes and clusters are those of the file."""
    with (
        fitsio.FITS(str(output / f"{name}_planes.fits")) as mine,
        fitsio.FITS(str(folder / "expected" / "expected_planes.fits")) as theirs,
    ):
        assert len(mine) == len(theirs)
        for one, other in zip(mine[1:], theirs[1:], strict=True):
            assert one.get_extname() == other.get_extname()
            assert one.read().tobytes() == other.read().tobytes()
    mine = fitsio.read(str(output / f"{name}_clusters.fits"))
    theirs = fitsio.read(str(folder / "expected" / "expected_clusters.fits"))
    assert mine.tobytes() == theirs.tobytes()
    assert len(mine) > 3


@pytest.mark.parametrize("dtype", ["<u2", ">i4", "|u1", "<f4"])
def test_rows_of_several_amplifiers_give_what_a_file_gives(
    dtype: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    images = {name: samples(seed) for seed, name in enumerate(("L", "U", "EXT3"))}
    if dtype == "|u1":
        images = {name: image % 200 for name, image in images.items()}
    images = {name: image.astype(dtype) for name, image in images.items()}
    theirs = expected(tmp_path, images)
    server = serve()
    choose = random.Random(dtype)
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", dict.fromkeys(images, facts(dtype)), cards={"EXPOSURE": 600.0})
        left = {name: image.tobytes() for name, image in images.items()}
        while left:  # parts of rows and many rows, of one amplifier and another
            name = choose.choice(list(left))
            n = choose.choice([1, 7, 240, 1000, 3000]) * np.dtype(dtype).itemsize
            sender.send(name, left[name][:n])
            left[name] = left[name][n:]
            left = {name: part for name, part in left.items() if part}
        answer = sender.end()
    assert [image["status"] for image in answer["images"]] == ["done"] * 3
    assert [image["n_clusters"] for image in answer["images"]] == [
        result.report["n_clusters"] for result in theirs
    ]
    assert answer["outputs"] == [
        str(server.output / f"run7_{what}.fits") for what in ("planes", "clusters")
    ]
    assert_same_files(server.output, tmp_path, "run7")
    with fitsio.FITS(str(server.output / "run7_planes.fits")) as out:
        assert out[1].read_header()["EXPOSURE"] == 600.0
        assert [out[n].read_header()["AMPNAME"] for n in (1, 4, 7)] == ["L", "U", "EXT3"]
    until(lambda: len(server.results) == 3)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


def test_lost_samples_are_flagged_and_the_rest_is_right(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    image = samples()
    server = serve(config={"stage": CONFIG["stage"][:1]})
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        flat = image.reshape(-1)
        sender.send("L", flat[:500])
        sender.lose("L", 300)
        sender.send("L", flat[800 : -2 * 240 - 5])
        answer = sender.end()
    (told,) = answer["images"]
    assert told["status"] == "partial"
    assert told["text"] == "the last 3 of 12 rows are missing"
    samples_sent = image.astype(float).reshape(-1)
    samples_sent[500:800] = np.nan
    samples_sent[-2 * 240 - 5 :] = np.nan
    with fitsio.FITS(str(server.output / "run7_planes.fits")) as out:
        means, mask = out[1].read(), out[3].read()
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        mean = np.nanmean(samples_sent.reshape(SHAPE), axis=-1)
    assert np.array_equal(means, mean.astype("f4"), equal_nan=True)
    assert np.array_equal(mask & sk.MaskBit.NODATA > 0, np.isnan(mean))


def test_messages_that_are_lost_or_come_again_are_noticed(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    image = samples()
    server = serve()
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        sender.send("L", image[:6])
        sender._next["L"] -= 3 * 240
        sender.send("L", image[3:8])  # as after a connection that broke
        sender._next["L"] += 240
        sender.send("L", image[9:])
        sender.end()
    expected(tmp_path, {"L": image})
    with (
        fitsio.FITS(str(server.output / "run7_planes.fits")) as mine,
        fitsio.FITS(str(tmp_path / "expected/expected_planes.fits")) as theirs,
    ):
        rows = [n for n in range(12) if n != 8]
        assert np.array_equal(mine[1].read()[rows], theirs[1].read()[rows])
        assert np.all(np.isnan(mine[1].read()[8]))
    until(lambda: bool(server.results))
    assert server.results[0].report["notes"] == ["720 samples came again"]


def test_two_senders_at_once_and_one_that_gives_up(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    image = samples()
    server = serve()
    with sk.RowSender(server.address) as one, sk.RowSender(server.address) as other:
        one.begin("one", {"L": facts()})
        other.begin("other", {"L": facts()})
        with pytest.raises(sk.Error, match="one: "):
            third = sk.RowSender(server.address)
            with third:
                third.begin("one", {"L": facts()})
        for row in range(12):
            one.send("L", image[row : row + 1])
            other.send("L", image[row : row + 1])
        other.abort()
        one.end()
    expected(tmp_path, {"L": image})
    assert_same_files(server.output, tmp_path, "one")
    assert not list(server.output.glob("other*"))
    with sk.RowSender(server.address) as again:
        again.begin("other", {"L": facts()})
        again.send("L", image)
        assert again.end()["images"][0]["status"] == "done"
    entries = [e for e in server.journal() if e["event"] == "file"]
    assert [(Path(e["path"]).name, e["status"], e.get("reason")) for e in entries] == [
        ("one", "failed", "config"), ("other", "failed", "aborted"), ("one", "done", None),
        ("other", "done", None),
    ]  # fmt: skip


def test_a_sender_that_falls_silent_leaves_what_it_sent(serve: Callable[..., Server]) -> None:
    server = serve(patience=0.3)
    sender = sk.RowSender(server.address)
    sender.begin("run7", {"L": facts()})
    sender.send("L", samples()[:5])
    until(lambda: bool(server.results))
    sender.close()
    assert server.results[0].status == "partial"
    assert server.results[0].message == "the last 7 of 12 rows are missing"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"amplifiers": {"L": facts(dtype="<u2", n_rows=0)}}, "n_rows: must be a whole number"),
        ({"amplifiers": {"L": facts(dtype="<c8")}}, "dtype must be such as"),
        ({"amplifiers": {"L": facts(n_cols=2**47)}}, "too many samples"),
        ({"amplifiers": {"L": facts(blank=70000)}}, "blank must be a number of its dtype"),
        ({"amplifiers": {"L": facts(blank="no")}}, "blank must be a whole number"),
        ({"amplifiers": {"": facts()}}, "need names"),
        ({"amplifiers": {}}, "must be a list of 1 to 256"),
        ({"amplifiers": {"L": facts()}, "cards": {"low": 1}}, "'low' is no keyword of FITS"),
        ({"amplifiers": {"L": facts()}, "cards": {"LONG": "x" * 2000}}, "a string or a number"),
        ({"amplifiers": {"L": facts()}, "cards": {"NAXIS1": 3}}, "run7"),
        ({"amplifiers": {"L": facts()}, "cards": {"AMPL": "UL"}}, "another image of its samples"),
        ({"amplifiers": {"L": facts()}, "cards": {"NSAMP": "5"}}, "run7"),
        ({"amplifiers": {"L": facts(n_cols=2**20, n_rows=1)}}, "MiB"),
    ],
)
def test_an_exposure_that_cannot_be_is_refused_with_its_reason(
    given: dict[str, Any], message: str, serve: Callable[..., Server]
) -> None:
    config = {**CONFIG, "input": {"prescan_cols": 3}}
    server = serve(config=config, memory_limit=resident_bytes() + (100 << 20))
    with sk.RowSender(server.address) as sender:
        with pytest.raises(sk.Error, match=message):
            sender.begin("run7", given["amplifiers"], cards=given.get("cards"))
        sender.begin("run7", {"L": facts()})
        sender.send("L", samples())
        assert sender.end()["images"][0]["status"] == "done"


def test_outputs_that_exist_are_kept(serve: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run7_planes.fits").write_text("mine")
    server = serve()
    with (
        sk.RowSender(server.address) as sender,
        pytest.raises(sk.Error, match=r"run7_planes\.fits exists"),
    ):
        sender.begin("run7", {"L": facts()})
    assert (tmp_path / "out/run7_planes.fits").read_text() == "mine"
    server.end()
    server = serve(overwrite=True)
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        sender.end()
    assert fitsio.read(str(tmp_path / "out/run7_planes.fits"), 1).shape == SHAPE[:2]


@pytest.mark.filterwarnings("ignore::skipstream.SlowStatisticWarning")
def test_an_exposure_that_fails_on_its_way_is_told_and_leaves_nothing(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(values: NDArray[np.float64], axis: int) -> Any:
        return values.mean(axis=axis) if values.shape != (30, 8) else values.mean()

    monkeypatch.setattr(np, "own_mean", broken, raising=False)
    server = serve(config={"stage": [{"kind": "compress_skips", "statistics": ["own_mean"]}]})
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        with pytest.raises(sk.Error, match="does not reduce the skips"):
            for row in range(12):
                sender.send("L", samples()[row : row + 1])
            sender.end()
    until(lambda: bool(server.results))
    assert server.results[0].status == "failed"
    assert not list(server.output.glob("*.fits"))


HEADER = {"skipstream": 1, "message": "rows", "exposure": "run7", "amplifier": "L"}


def hostile_messages() -> list[list[bytes]]:
    choose = random.Random(3)
    good = {**HEADER, "first_sample": 0}
    values = [None, -1, 2**70, "x", [], {}, 1.5, True, "\x1b[2J" * 50, "../../etc", "a\nb"]
    changed = [{**good, key: value} for key in good for value in values]
    begin = {**HEADER, "message": "begin", "amplifiers": [{"name": "L", **facts()}]}
    changed += [{**begin, "exposure": "x", "amplifiers": value} for value in values]
    changed += [
        {**begin, "exposure": f"x{n}", "amplifiers": [{"name": "L", **facts(), key: value}]}
        for n, (key, value) in enumerate((k, v) for k in ("name", *facts()) for v in values)
    ]
    changed += [{**begin, "exposure": "y", "cards": value} for value in values[1:5]]
    return [
        [],
        [b""],
        [b"\xff" * 100],
        [b"[" * 100_000],
        [b"9" * 5000],
        [b'"' + b"a" * (2 << 20) + b'"'],
        [json.dumps(good).encode()] * 2,
        [json.dumps(good).encode(), b"abc"],
        [json.dumps({**good, "first_sample": 2879}).encode(), b"abcd"],
        [json.dumps(good).encode(), b"", b"", b""],
        *([json.dumps(message).encode(), b"ab"] for message in changed),
        *([choose.randbytes(choose.randint(0, 300))] for _ in range(300)),
    ]


def test_hostile_frames_are_counted_and_do_no_harm(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = samples()
    caplog.set_level(logging.INFO, "skipstream")
    server = serve()
    context = zmq.Context()
    hostile = context.socket(zmq.DEALER)
    hostile.setsockopt(zmq.LINGER, 0)
    hostile.connect(server.address)
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        messages = hostile_messages()
        answers = 0
        for number, message in enumerate(messages):
            hostile.send_multipart([*message] or [b""])
            if number % 60 == 0:
                sender.send("L", image[number // 60 : number // 60 + 1])
            while hostile.poll(0):
                assert json.loads(hostile.recv())["message"] in ("refused", "failed", "ready")
                answers += 1
        rows = (len(messages) - 1) // 60 + 1
        sender.send("L", image[rows:])
        assert sender.end()["images"][0]["status"] == "done"
    while answers < len(messages):
        assert hostile.poll(int(DEADLINE * 1000))
        hostile.recv()
        answers += 1
    hostile.close()
    context.term()
    # No ZeroMQ at all.
    with raw_connection(server.address) as raw, contextlib.suppress(ConnectionError):
        raw.sendall(random.Random(1).randbytes(1 << 20))
    server.end()
    expected(tmp_path, {"L": image})
    assert_same_files(server.output, tmp_path, "run7")
    refused = server.journal()[-1]["refused_messages"]
    assert refused["malformed"] > 300
    assert refused["not_expected"] > 10
    assert "refused 100 messages: malformed: " in caplog.text
    assert "\x1b" not in caplog.text
    assert {path.name for path in server.output.iterdir()} == {
        "run.jsonl", "run7_planes.fits", "run7_clusters.fits",
    }  # fmt: skip


@contextlib.contextmanager
def raw_connection(address: str) -> Iterator[socket.socket]:
    host, port = address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        yield raw


def test_a_frame_that_is_too_long_does_not_reach_the_server(serve: Callable[..., Server]) -> None:
    server = serve()
    context = zmq.Context()
    hostile = context.socket(zmq.DEALER)
    hostile.setsockopt(zmq.LINGER, 0)
    hostile.connect(server.address)
    hostile.send_multipart([json.dumps(HEADER).encode(), bytes(serving.MAX_FRAME_BYTES + 1)])
    with sk.RowSender(server.address) as sender:
        sender.begin("run7", {"L": facts()})
        sender.send("L", samples())
        sender.end()
    assert not hostile.poll(0)
    hostile.close()
    context.term()


def test_a_server_that_is_behind_makes_its_senders_wait(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_update: sk.LiveUpdate) -> None:
        entered.set()
        go_on.wait(DEADLINE)

    server = serve(live=slow)
    rows = np.zeros((4, 1000, 1000), "<u2")
    with sk.RowSender(server.address, timeout=0.5) as sender:
        sender.begin("run7", {"L": {**facts(), "n_rows": 4000, "n_cols": 1000, "n_skips": 1000}})
        sent = 0
        with pytest.raises(sk.IoError, match=r"takes nothing for 0\.5 s"):
            for _ in range(1000):
                sender.send("L", rows)
                sent += rows.nbytes
        assert entered.is_set()
        # Two high-water marks of messages of 4 MiB, and what TCP holds.
        assert sent < 2.5 * serving.HIGH_WATER_MARK * serving.MAX_FRAME_BYTES
        go_on.set()
        sender._timeout = DEADLINE
        sender._socket.setsockopt(zmq.SNDTIMEO, int(DEADLINE * 1000))
        sender.abort()


def test_a_sender_without_a_server_says_so() -> None:
    with sk.RowSender(free_address(), timeout=0.1) as sender:
        with pytest.raises(sk.IoError, match=r"no answer for 0\.1 s"):
            sender.begin("run7", {"L": facts()})
        sender._socket.setsockopt(zmq.LINGER, 0)


def test_what_cannot_be_served_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = sk.load_config({**CONFIG, "input": {"begin_row": 3}})
    with pytest.raises(sk.ConfigError, match="takes whole images"):
        sk.serve(parts, output=tmp_path)
    config = sk.load_config(CONFIG)
    with pytest.raises(sk.ConfigError, match="patience: must be above 0 s"):
        sk.serve(config, output=tmp_path, patience=0)
    with pytest.raises(sk.ConfigError, match="cannot bind tcp://nowhere"):
        next(sk.serve(config, output=tmp_path, address="tcp://nowhere"))
    with pytest.raises(sk.ConfigError, match="cannot connect nowhere"):
        sk.RowSender("nowhere")
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(sk.ConfigError, match=r"pip install 'skipstream\[zmq\]'"):
        next(sk.serve(config, output=tmp_path))


def test_a_server_ends_by_a_signal_and_leaves_no_half_file(tmp_path: Path) -> None:
    (tmp_path / "cfg.toml").write_text('[[stage]]\nkind = "compress_skips"\n')
    address = free_address()
    process = subprocess.Popen(
        [sys.executable, "-m", "skipstream", "serve", "--config", "cfg.toml", "-o", "out",
         "--bind", address],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with sk.RowSender(address) as sender:
        sender.begin("whole", {"L": facts()})
        sender.send("L", samples())
        sender.end()
        sender.begin("half", {"L": facts()})
        sender.send("L", samples()[:6])
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE)
        sender._timeout = 0.1
    assert process.returncode == 0, said
    assert f"listening on {address}" in said
    assert "done: whole L, 12 rows x 30 columns x 8 skips" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "run.jsonl", "whole_planes.fits",
    }  # fmt: skip
