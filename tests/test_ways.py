"""Rows give the same bits whichever way they come: the ways of docs/live.md beside a file."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import skipstream as sk
from skipstream.arrange import write_packets

sys.path.insert(0, str(Path(__file__).parent))
from readouts import config_text

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
NAMES = ("EXT1", "EXT2", "EXT3", "EXT4")
CHAINS = (
    [
        {"kind": "compress_skips", "statistics": ["mean", "median", "std"]},
        {"kind": "subtract_pedestal", "axis": "row"},
        {"kind": "find_clusters", "noise": 30.0, "threshold": 2.0, "seed": 2.5},
    ],
    [
        {"kind": "correct_leach"},
        {"kind": "subtract_baseline"},
        {"kind": "correct_polarity", "method": "max"},
        {"kind": "compress_skips", "statistics": ["median", "count", "quantile(0.2)"]},
        {"kind": "subtract_pedestal", "axis": "both", "rebin_rows": 3},
        {"kind": "mask_noisy_rows", "max_noise": 70.0},
        {"kind": "find_clusters", "noise": 10.0, "threshold": 2.0, "seed": 2.5},
    ],
)
Found = dict[str, dict[str, bytes]]  # amplifier to planes, mask and columns of clusters


class Readout:
    """Samples of four amplifiers, and the ways in which they become results."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], chain: int, seed: int) -> None:
        self.folder = folder
        self.shape = shape
        self.stages = CHAINS[chain]
        self.choose = random.Random(seed)
        values = np.random.default_rng(seed).normal(-4000, 60, (4, *shape))
        self.images = dict(zip(NAMES, values.round().astype("i4"), strict=True))
        self.fits = folder / "raw.fits"
        self.programs = folder  # of programs that push rows
        with fitsio.FITS(str(self.fits), "rw") as out:
            out.write(None)
            for image in self.images.values():
                out.write(image.reshape(len(image), -1))

    def config(self, **given: Any) -> sk.Config:
        if not given:
            given = {"n_skips": self.shape[2]}
        return sk.load_config({"input": {"overscan_cols": 4, **given}, "stage": self.stages})

    def packet_config(self) -> sk.Config:
        sizes = dict(zip(("n_rows", "n_cols", "n_skips"), self.shape, strict=True))
        return self.config(layout="lta_packets", **sizes)

    def cuts(self, size: int, n: int) -> Iterator[tuple[int, int]]:
        edges = sorted(self.choose.randint(0, size) for _ in range(n))
        return itertools.pairwise([0, *edges, size])

    def grow(self, source: Path, target: Path) -> threading.Thread:
        """Write a file in parts, while something else goes on."""
        data = source.read_bytes()
        parts = list(self.cuts(len(data), 12))
        target.touch()

        def write() -> None:
            for begin, end in parts:
                with target.open("ab") as out:
                    out.write(data[begin:end])
                time.sleep(0.002)

        thread = threading.Thread(target=write)
        thread.start()
        return thread


def of_results(results: list[sk.ImageResult]) -> Found:
    found: Found = {}
    for result in results:
        assert result.status == "done", result.message
        assert result.mask is not None
        found[result.amplifier] = of_arrays(result.planes, result.mask, result.clusters)
    return found


def of_arrays(planes: Any, mask: NDArray[Any], clusters: Any) -> dict[str, bytes]:
    found = {name: plane.astype("<f4").tobytes() for name, plane in planes.items()}
    found["mask"] = mask.astype("<i4").tobytes()
    for name in clusters.dtype.names:
        if name != "amplifier":
            kind = clusters.dtype[name].newbyteorder("<")
            found[f"clusters.{name}"] = clusters[name].astype(kind).tobytes()
    return found


def of_files(folder: Path, stem: str) -> Found:
    clusters = fits.getdata(folder / f"{stem}_clusters.fits", 1)
    found: Found = {}
    planes: dict[str, dict[str, NDArray[Any]]] = {}
    with fitsio.FITS(str(folder / f"{stem}_planes.fits")) as opened:
        for hdu in opened[1:]:
            name = hdu.read_header()["AMPNAME"]
            planes.setdefault(name, {})[hdu.get_extname()] = hdu.read()
    for name, arrays in planes.items():
        mask = arrays.pop("MASK")
        mine = clusters[clusters["amplifier"] == name]
        found[name] = of_arrays(arrays, mask, np.asarray(mine))
    return found


def named(arrays: dict[str, bytes]) -> dict[str, bytes]:
    """Planes by their names in FITS files."""
    return {re.sub(r"[^A-Z0-9_]+", "_", key.upper()).strip("_"): a for key, a in arrays.items()}


def by_file(readout: Readout) -> Found:
    return of_results(list(sk.run(readout.config(), [readout.fits])))


def by_push(readout: Readout) -> Found:
    found: Found = {}
    for name, image in readout.images.items():
        pipeline = new_pipeline(readout, name)
        raw = image.tobytes()
        edges = [edge for cut in readout.cuts(image.size, 9) for edge in cut]
        parts = [
            pipeline.push(memoryview(raw)[4 * begin : 4 * end])
            for begin, end in zip(edges[::2], edges[1::2], strict=True)
        ]
        found[name] = of_pipeline(pipeline, [*parts, pipeline.finish()])
    return found


def new_pipeline(readout: Readout, amplifier: str) -> sk.Pipeline:
    n_rows, n_cols, n_skips = readout.shape
    return sk.Pipeline(
        readout.stages, n_cols=n_cols, n_skips=n_skips, dtype="i4", n_rows=n_rows,
        overscan_cols=4, amplifier=amplifier, threads=readout.choose.randint(1, 3),
    )  # fmt: skip


def of_pipeline(pipeline: sk.Pipeline, parts: list[sk.PipelineOutput]) -> dict[str, bytes]:
    planes = {
        name: np.concatenate([part.planes[name] for part in parts]) for name in parts[0].planes
    }
    mask = np.concatenate([part.mask for part in parts])
    return of_arrays(planes, mask, pipeline.table("clusters"))


def by_stream(readout: Readout) -> Found:
    async def reduce(name: str, image: NDArray[Any]) -> dict[str, bytes]:
        async def rows() -> AsyncIterator[NDArray[Any]]:
            for begin, end in readout.cuts(len(image), 4):
                yield image[begin:end]

        pipeline = new_pipeline(readout, name)
        return of_pipeline(pipeline, [part async for part in pipeline.stream(rows())])

    async def all_at_once() -> list[dict[str, bytes]]:
        return await asyncio.gather(*(reduce(*item) for item in readout.images.items()))

    return dict(zip(NAMES, asyncio.run(all_at_once()), strict=True))


def by_follow(readout: Readout) -> Found:
    growing = readout.folder / "growing.fits"
    writer = readout.grow(readout.fits, growing)
    results = list(sk.run(readout.config(), [growing], follow=0.4))
    writer.join()
    return of_results(results)


def by_watch(readout: Readout) -> Found:
    inbox, output = readout.folder / "in", readout.folder / "watched"
    inbox.mkdir()
    writer = readout.grow(readout.fits, inbox / "came.fits")
    watched = sk.watch(readout.config(), inbox, output=output, poll=0.02, settle=0.1)
    for result in itertools.islice(watched, 4):
        assert result.status == "done", result.message
    writer.join()
    watched.close()  # type: ignore[attr-defined]
    return of_files(output, "came")


def by_packets(readout: Readout) -> Found:
    files = packet_files(readout)
    return of_results(list(sk.run(readout.packet_config(), files)))


def packet_files(readout: Readout) -> list[Path]:
    words, size = readout.choose.randint(1, 250), readout.choose.randint(2000, 60_000)
    folder = readout.folder / "packets"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    images = list(readout.images.values())
    return write_packets(images, folder / "run.dat", packet_words=words, file_bytes=size)


def by_packets_followed(readout: Readout) -> Found:
    files = packet_files(readout)
    live = readout.folder / "run_0.dat"
    writer = readout.grow(files[0], live)
    rest = threading.Thread(
        target=lambda: [
            readout.grow(path, readout.folder / path.name).join()
            for path in (writer.join() or files)[1:]
        ]
    )
    rest.start()
    results = list(sk.run(readout.packet_config(), [live], follow=2.0))
    rest.join()
    return of_results(results)


def by_socket(readout: Readout) -> Found:
    output = readout.folder / "served"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    stop = threading.Event()
    config = sk.load_config({"input": {"overscan_cols": 4}, "stage": readout.stages})
    served = sk.serve(config, output=output, address=address, stop=stop)
    server = threading.Thread(target=lambda: list(served))
    server.start()
    n_rows, n_cols, n_skips = readout.shape
    facts = {"n_rows": n_rows, "n_cols": n_cols, "n_skips": n_skips, "dtype": "i4"}
    try:
        with sk.RowSender(address) as sender:
            sender.begin("sent", dict.fromkeys(NAMES, facts))
            left = {name: list(readout.cuts(i.size, 7)) for name, i in readout.images.items()}
            while left:
                name = readout.choose.choice(list(left))
                begin, end = left[name].pop(0)
                sender.send(name, readout.images[name].reshape(-1)[begin:end])
                left = {name: parts for name, parts in left.items() if parts}
            sender.end()
    finally:
        stop.set()
        server.join()
    return of_files(output, "sent")


def by_program(readout: Readout, program: str) -> Found:
    (readout.folder / "cfg.toml").write_text(config_text(readout.stages, overscan_cols=4))
    found: Found = {}
    for name, image in readout.images.items():
        (readout.folder / "samples").write_bytes(image.tobytes())
        pieces = [readout.choose.randint(1, 2 * image[0].nbytes) for _ in range(5)]
        given = ["cfg.toml", "samples", "i4", *readout.shape, "result", *pieces]
        subprocess.run(
            [readout.programs / program, *map(str, given)], cwd=readout.folder, check=True
        )
        pipeline = new_pipeline(readout, name)
        names = [plane["name"] for plane in pipeline.plan["stages"][-1]["planes"]]
        n_rows, n_cols, _ = readout.shape
        row = np.dtype([(key, "f8", n_cols) for key in names] + [("mask", "u4", n_cols)])
        result = (readout.folder / "result").read_bytes()
        rows = np.frombuffer(result, row, n_rows)
        clusters = np.frombuffer(result[rows.nbytes :], pipeline.table("clusters").dtype)
        found[name] = of_arrays({key: rows[key] for key in names}, rows["mask"], clusters)
    return found


def by_c(readout: Readout) -> Found:
    return by_program(readout, "readout_c")


def by_cpp(readout: Readout) -> Found:
    return by_program(readout, "readout_cpp")


WAYS: list[Callable[[Readout], Found]] = [
    by_push, by_stream, by_follow, by_watch, by_packets, by_packets_followed, by_socket,
    by_c, by_cpp,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@settings(max_examples=200 if NIGHTLY else 6, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 14), st.integers(5, 40), st.integers(1, 12)),
    chain=st.integers(0, len(CHAINS) - 1),
    seed=st.integers(0, 10**6),
)
def test_rows_give_the_bits_of_the_file(
    way: Callable[[Readout], Found],
    shape: tuple[int, int, int],
    chain: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    readout = Readout(tmp_path_factory.mktemp("ways"), shape, chain, seed)
    if way in (by_c, by_cpp):
        readout.programs = request.getfixturevalue("readouts")
    expected = by_file(readout)
    assert sorted(expected) == list(NAMES)
    found = way(readout)
    assert found.keys() == expected.keys()
    for name in NAMES:
        assert named(found[name]) == named(expected[name])
    shutil.rmtree(readout.folder)
