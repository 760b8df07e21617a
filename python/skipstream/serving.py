"""Rows over ZeroMQ: a server that processes them, and the class with which a DAQ sends them.

The protocol is described in docs/serving.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .cards import card
from .config import Config
from .exposure import Exposure, ImageResult, ImageRun, Live, RunOptions, output_paths
from .inputs import is_packets
from .layout import declared_image, declared_layout
from .ledger import Ledger, locked_folder, reason_of
from .reading import PushedSamples
from .running import begin_run, failed, run_options

__all__ = ["DEFAULT_ADDRESS", "RowSender", "serve"]

DEFAULT_ADDRESS = "tcp://127.0.0.1:5557"
PROTOCOL = 1
MAX_FRAME_BYTES = 16 << 20
MAX_HEADER_BYTES = 1 << 20
HIGH_WATER_MARK = 8  # messages that wait at either end
MAX_EXPOSURES = 64  # open at once
MAX_AMPLIFIERS = 256
_MAX_CARDS = 1000
_MAX_NAME = 200
_LINGER_MS = 2000
_log = logging.getLogger("skipstream")


def serve(
    config: Config,
    *,
    output: str | Path,
    address: str = DEFAULT_ADDRESS,
    patience: float = 600.0,
    overwrite: bool = False,
    threads: int | None = None,
    memory_limit: int | None = None,
    alarm_commands: bool = False,
    live: Live | None = None,
    stop: threading.Event | None = None,
) -> Iterator[ImageResult]:
    """Process exposures whose rows come over ZeroMQ, until it is stopped.

    Several exposures of several amplifiers may be on their way at once. An exposure whose rows
    cannot be processed fails, and its sender is told; what is no message of the protocol is counted
    and told to its sender. Neither ends the server. The log ``"skipstream"`` says what is refused.

    Parameters
    ----------
    config
        What to do; see :func:`load_config`.
    output
        Folder for the outputs; it is made. An exposure has its sender's name for it as its stem.
    address
        Of ZeroMQ, such as ``"tcp://127.0.0.1:5557"`` or ``"ipc:///run/skipstream"``. Whoever
        reaches it may send rows: others than the loopback need a network that is trusted.
    patience
        Seconds without a message after which an exposure counts as ended: what did not come is
        missing.
    overwrite
        Replace outputs that exist; else an exposure that would is refused.
    threads, memory_limit, alarm_commands, live
        As those of :func:`run`, for each image.
    stop
        Ends it, within a second, once it is set. What is on its way is given up.

    Yields
    ------
    ImageResult
        One per amplifier of each exposure, as of :func:`run`.

    Raises
    ------
    ConfigError
        pyzmq is not installed, the config takes parts of images, or the address cannot be used.
    IoError
        The output cannot be written.
    """
    options = run_options(
        output, 1, threads, memory_limit=memory_limit, alarm_commands=alarm_commands
    )
    if not patience > 0:
        raise _core.ConfigError(f"patience: must be above 0 s; got {patience}")
    given = config.input
    parts = (given.begin_row, given.end_row, given.begin_col, given.end_col) != (0, None, 0, None)
    if parts or is_packets(given) or given.layout == "samples_in_files":
        raise _core.ConfigError(
            "serve: takes whole images as they are sent; remove layout, begin_row, end_row, "
            "begin_col and end_col from [input]"
        )
    server = _Server(config, options, patience, overwrite, live)
    return server.run(address, stop or threading.Event())


def _zmq() -> Any:
    try:
        import zmq
    except ModuleNotFoundError:
        raise _core.ConfigError(
            "rows over a socket need pyzmq; pip install 'skipstream[zmq]'"
        ) from None
    return zmq


class _RefusedError(Exception):
    """A message that cannot be taken, and what kind of mistake it is."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class _Image:
    """An amplifier's image on its way."""

    run: ImageRun
    dtype: np.dtype[Any]
    n_samples: int
    n_done: int = 0


@dataclass
class _Open:
    """An exposure on its way."""

    exposure: Exposure
    images: dict[str, _Image]
    left_out: set[str]
    heard: float
    n_bytes: int = 0
    n_repeated: int = 0
    results: list[ImageResult] = field(default_factory=list)


class _Server:
    def __init__(
        self,
        config: Config,
        options: RunOptions,
        patience: float,
        overwrite: bool,
        live: Live | None,
    ) -> None:
        assert options.folder is not None
        self.config = config
        self.options = options
        self.folder = options.folder
        self.patience = patience
        self.overwrite = overwrite
        self.live = live
        self.ledger = Ledger(self.folder)
        self.open: dict[tuple[bytes, str], _Open] = {}
        self.refused: Counter[str] = Counter()
        self.socket: Any = None

    def run(self, address: str, stop: threading.Event) -> Iterator[ImageResult]:
        zmq = _zmq()
        context = zmq.Context()
        self.socket = context.socket(zmq.ROUTER)
        try:
            self.socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
            self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
            self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a sender that comes back
            self.socket.setsockopt(zmq.LINGER, _LINGER_MS)
            try:
                self.socket.bind(address)
            except zmq.ZMQError as error:
                raise _core.ConfigError(f"address: cannot bind {address}: {error}") from None
            places = [path for _, path in output_paths(self.config, Path("x"), self.folder)]
            with locked_folder(self.folder, places):
                begin_run(self.ledger, self.config, ())
                _log.info("listening on %s", self.socket.getsockopt_string(zmq.LAST_ENDPOINT))
                try:
                    yield from self.loop(stop)
                finally:
                    for state in self.open.values():
                        state.exposure.abandon(InterruptedError())
                    counts = {**self.ledger.counts(), "refused_messages": dict(self.refused)}
                    self.ledger.write({"event": "end_run", **counts, "open": False})
        finally:
            self.socket.close()
            context.term()

    def loop(self, stop: threading.Event) -> Iterator[ImageResult]:
        tick = min(0.2, self.patience / 4)
        while not stop.is_set():
            if self.socket.poll(int(tick * 1000)):
                frames = self.socket.recv_multipart(copy=False)
                sender = frames[0].bytes
                try:
                    yield from self.take(sender, frames[1:])
                except _RefusedError as error:
                    self.refuse(sender, error)
            now = time.monotonic()
            for key, state in list(self.open.items()):
                if now - state.heard >= self.patience:
                    _log.warning("%s: nothing came for %g s; it ends", key[1], self.patience)
                    yield from self.end(key, state)

    def refuse(self, sender: bytes, error: _RefusedError) -> None:
        """Count a message that is none, and tell its sender."""
        self.refused[error.kind] += 1
        n = self.refused[error.kind]
        if n == 10 ** (len(str(n)) - 1):  # 1, 10, 100, ...
            _log.warning("refused %d messages: %s: %s", n, error.kind, error)
        self.reply(sender, {"message": "refused", "kind": error.kind, "text": str(error)})

    def reply(self, sender: bytes, message: Mapping[str, Any]) -> None:
        """Tell a sender something, if it still listens."""
        zmq = _zmq()
        with contextlib.suppress(zmq.Again):
            self.socket.send_multipart([sender, json.dumps(message).encode()], zmq.NOBLOCK)

    def take(self, sender: bytes, frames: Sequence[Any]) -> Iterator[ImageResult]:
        """Take a message of a sender."""
        message = _header(frames)
        kind = message.get("message")
        name = message.get("exposure")
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise _RefusedError("malformed", "exposure: must be a name of printable characters")
        key = sender, name
        if kind == "begin":
            if key in self.open or len(self.open) >= MAX_EXPOSURES:
                what = "begun already" if key in self.open else "too many are open"
                raise _RefusedError("not_expected", f"{name}: {what}")
            yield from self.begin(key, message)
            return
        if kind not in ("rows", "lost", "end", "abort"):
            raise _RefusedError("malformed", "message: must be begin, rows, lost, end or abort")
        state = self.open.get(key)
        if state is None:
            raise _RefusedError("not_expected", f"{name}: not begun, or failed")
        state.heard = time.monotonic()
        if kind == "end":
            yield from self.end(key, state)
        elif kind == "abort":
            yield from self.give_up(key, state, "", "aborted by its sender")
        else:
            try:
                self.add(state, message, frames[1] if len(frames) > 1 else None)
            except _RefusedError:
                raise
            except Exception as error:
                yield from self.give_up(key, state, reason_of(error), str(error))

    def begin(self, key: tuple[bytes, str], message: Mapping[str, Any]) -> Iterator[ImageResult]:
        """Begin an exposure: everything is checked and all memory taken."""
        sender, name = key
        path = Path(name.replace("/", "%2F"))
        exposure = Exposure(self.config, path, self.options, live=self.live)
        try:
            self.check_outputs(exposure)
            self.ledger.write({"event": "seen", "path": str(path.absolute())}, sync=False)
            self.ledger.write({"event": "take", "path": str(path.absolute())}, sync=False)
            state = self.opened(exposure, message)
        except Exception as error:
            exposure.abandon(error)
            kind = "config" if isinstance(error, _RefusedError) else reason_of(error)
            text = f"{name}: {error}" if name not in str(error) else str(error)
            self.reply(sender, {"message": "failed", "exposure": name, "text": text})
            yield failed(path, text, kind, self.folder)
            return
        self.open[key] = state
        self.reply(sender, {"message": "ready", "exposure": name})

    def check_outputs(self, exposure: Exposure) -> None:
        taken = {target for state in self.open.values() for _, target in state.exposure.targets}
        for _, target in exposure.targets:
            if target in taken:
                raise _core.ConfigError(f"{exposure.path}: {target} is being written")
            if target.exists() and not self.overwrite:
                raise _core.ConfigError(f"{exposure.path}: {target} exists")

    def opened(self, exposure: Exposure, message: Mapping[str, Any]) -> _Open:
        """Understand what is to come, as if it were a file, and begin its images."""
        declared = _amplifiers(message)
        common = _cards(message.get("cards", {}))
        hdus = [
            declared_image(
                exposure.path.name,
                index,
                amplifier.dtype.str,
                amplifier.shape,
                [*card("EXTNAME", amplifier.name), *common, *amplifier.cards],
            )
            for index, amplifier in enumerate(declared, 1)
        ]
        layout = declared_layout(exposure.path, hdus, self.config.input)
        by_index = dict(enumerate(declared, 1))
        for image in layout.images:
            sent = by_index[image.hdu.index]
            if (image.n_rows, image.n_cols, image.n_skips, image.skips, image.is_reversed) != (
                *sent.shape, "columns", False,
            ):  # fmt: skip
                raise _RefusedError(
                    "config", f"{sent.name}: cards and config make another image of its samples"
                )
        exposure.begin(layout)
        images = {}
        for image in layout.images:
            sent = by_index[image.hdu.index]
            samples = PushedSamples(sent.dtype.str, sent.blank)
            run = exposure.begin_image(image, samples)
            images[sent.name] = _Image(run, sent.dtype, math.prod(sent.shape))
        left_out = {amplifier.name for amplifier in declared} - images.keys()
        return _Open(exposure, images, left_out, time.monotonic())

    def add(self, state: _Open, message: Mapping[str, Any], frame: Any) -> None:
        """Add samples to an image, or note that they are lost."""
        name = message.get("amplifier")
        if isinstance(name, str) and name in state.left_out:
            return
        image = state.images.get(name) if isinstance(name, str) else None
        if image is None:
            raise _RefusedError("not_expected", "amplifier: was not declared by begin")
        first = _count(message, "first_sample")
        pipeline = image.run.pipeline
        before = pipeline.rows_pushed
        if message["message"] == "lost":
            n, samples = _count(message, "n_samples"), None
        else:
            if frame is None or len(frame) % image.dtype.itemsize:
                raise _RefusedError("malformed", "rows: needs a second frame of whole samples")
            samples = np.asarray(frame.buffer).view(image.dtype)
            n = len(samples)
        if first + n > image.n_samples:
            raise _RefusedError(
                "malformed", f"{name}: samples {first} to {first + n} of {image.n_samples}"
            )
        if first > image.n_done:  # messages that did not come
            pipeline.push_lost(first - image.n_done)
            image.n_done = first
        skip = min(n, image.n_done - first)  # samples that came before
        state.n_repeated += skip
        if samples is None:
            pipeline.push_lost(n - skip)
        else:
            pipeline.push(samples[skip:])
            state.n_bytes += len(frame)
        image.n_done += n - skip
        if image.run.heard is not None and pipeline.rows_pushed > before:
            image.run.heard(pipeline.rows_pushed)

    def end(self, key: tuple[bytes, str], state: _Open) -> Iterator[ImageResult]:
        """End an exposure with what came."""
        exposure = state.exposure
        try:
            for image in state.images.values():
                n_rows = image.run.image.n_rows
                rows_there = image.n_done // (image.n_samples // n_rows)
                if state.n_repeated:
                    notes = [f"{state.n_repeated} samples came again"]
                    image.run.facts["notes"] = [*image.run.image.notes, *notes]
                state.results.append(image.run.finish(rows_there, None))
            exposure.close(
                state.results,
                cut=next((r.message for r in state.results if r.message), ""),
                n_bytes=state.n_bytes,
                checksum="",
                identity=None,
            )
        except Exception as error:
            yield from self.give_up(key, state, reason_of(error), str(error))
            return
        del self.open[key]
        self.reply(
            key[0],
            {
                "message": "done",
                "exposure": key[1],
                "images": [
                    {
                        "amplifier": result.amplifier,
                        "status": result.status,
                        "text": result.message,
                        "n_clusters": result.report["n_clusters"],
                    }
                    for result in state.results
                ],
                "outputs": [str(target.absolute()) for _, target in exposure.targets],
            },
        )
        yield from state.results

    def give_up(
        self, key: tuple[bytes, str], state: _Open, reason: str, text: str
    ) -> Iterator[ImageResult]:
        """Remove what an exposure has written so far."""
        del self.open[key]
        state.exposure.abandon(InterruptedError(text))
        text = text if key[1] in text else f"{key[1]}: {text}"
        answer = "failed" if reason else "aborted"
        self.reply(key[0], {"message": answer, "exposure": key[1], "text": text})
        yield failed(state.exposure.path, text, reason or "aborted", self.folder)


@dataclass(frozen=True)
class _Declared:
    """An amplifier as its sender declares it."""

    name: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    blank: int | None
    cards: list[str]


def _header(frames: Sequence[Any]) -> dict[str, Any]:
    """The first frame of a message: JSON with the protocol's number."""
    if not 1 <= len(frames) <= 2:
        raise _RefusedError("malformed", f"a message has 1 or 2 frames; got {len(frames)}")
    if len(frames[0]) > MAX_HEADER_BYTES:
        raise _RefusedError("malformed", f"its header has more than {MAX_HEADER_BYTES} bytes")
    try:
        message = json.loads(frames[0].bytes)
    except (ValueError, RecursionError):
        raise _RefusedError("malformed", "its header is no JSON") from None
    if not isinstance(message, dict):
        raise _RefusedError("malformed", "its header must be a JSON object")
    if message.get("skipstream") != PROTOCOL:
        raise _RefusedError("malformed", f"skipstream: must be {PROTOCOL}, the protocol's number")
    return message


def _count(message: Mapping[str, Any], name: str, least: int = 0) -> int:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**48:
        raise _RefusedError("malformed", f"{name}: must be a whole number of at least {least}")
    return value


def _amplifiers(message: Mapping[str, Any]) -> list[_Declared]:
    tables = message.get("amplifiers")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_AMPLIFIERS:
        raise _RefusedError("malformed", f"amplifiers: must be a list of 1 to {MAX_AMPLIFIERS}")
    declared: list[_Declared] = []
    for table in tables:
        if not isinstance(table, dict):
            raise _RefusedError("malformed", "amplifiers: must be objects")
        name, dtype, blank = table.get("name"), table.get("dtype"), table.get("blank")
        if not isinstance(name, str) or any(name == other.name for other in declared):
            raise _RefusedError("malformed", "amplifiers: need names, each its own")
        if not 0 < len(name) <= _MAX_NAME or not name.isprintable():
            raise _RefusedError("malformed", "amplifiers: need names, each its own")
        if not isinstance(dtype, str) or not re.fullmatch(r"[<>|=]?([iu][1248]|f[48])", dtype):
            raise _RefusedError("malformed", f"{name}: dtype must be such as <u2, >i4, <f4")
        if blank is not None and (isinstance(blank, bool) or not isinstance(blank, int)):
            raise _RefusedError("malformed", f"{name}: blank must be a whole number")
        if blank is not None and (dtype[-2] == "f" or not _fits(blank, np.dtype(dtype))):
            raise _RefusedError("malformed", f"{name}: blank must be a number of its dtype")
        n_rows, n_cols, n_skips = (_count(table, key, 1) for key in ("n_rows", "n_cols", "n_skips"))
        shape = n_rows, n_cols, n_skips
        if math.prod(shape) >= 2**48:
            raise _RefusedError("malformed", f"{name}: too many samples")
        cards = _cards(table.get("cards", {}))
        declared.append(_Declared(name, shape, np.dtype(dtype), blank, cards))
    return declared


def _fits(value: int, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return int(limits.min) <= value <= int(limits.max)


def _cards(given: Any) -> list[str]:
    """Header cards of keywords and values."""
    if not isinstance(given, dict) or len(given) > _MAX_CARDS:
        raise _RefusedError("malformed", f"cards: must be an object of at most {_MAX_CARDS}")
    cards: list[str] = []
    for keyword, value in given.items():
        if not re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword):
            raise _RefusedError("malformed", f"cards: {keyword[:20]!r} is no keyword of FITS")
        if not isinstance(value, (str, bool, int, float)) or len(str(value)) > 1000:
            raise _RefusedError("malformed", f"cards: {keyword}: must be a string or a number")
        cards += card(keyword, value)
    return cards


class RowSender:
    """Sends the rows of exposures to ``skipstream serve``.

    Sending waits while the server is behind, up to `timeout`. Rows are not copied but by ZeroMQ.

    Parameters
    ----------
    address
        Of the server.
    timeout
        Seconds after which a server that takes nothing, or does not answer, is an `IoError`.

    Examples
    --------
    ::

        with RowSender() as sender:
            sender.begin("run7", {"L": {"n_rows": 4000, "n_cols": 3200, "n_skips": 500,
                                        "dtype": "<u2"}}, cards={"EXPOSURE": 600.0})
            for rows in board:
                sender.send("L", rows)
            print(sender.end()["outputs"])
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout: float = 60.0) -> None:
        zmq = self._zmq = _zmq()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, os.urandom(16).hex().encode())
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.SNDTIMEO, int(timeout * 1000))
        self._timeout = timeout
        self._address = address
        self._exposure = ""
        self._types: dict[str, np.dtype[Any]] = {}
        self._next: dict[str, int] = {}
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise _core.ConfigError(f"address: cannot connect {address}: {error}") from None

    def begin(
        self,
        exposure: str,
        amplifiers: Mapping[str, Mapping[str, Any]],
        *,
        cards: Mapping[str, str | bool | int | float] | None = None,
    ) -> None:
        """Begin an exposure, and wait until the server is ready for its rows.

        Parameters
        ----------
        exposure
            Its name, which the outputs get as their stem.
        amplifiers
            Name to ``n_rows``, ``n_cols``, ``n_skips``, ``dtype``, and perhaps ``blank`` (the
            sample that stands for a missing one) and ``cards``, for each amplifier.
        cards
            Header cards of the exposure: keyword to value.

        Raises
        ------
        skipstream.Error
            The server refuses the exposure; with its reason.
        """
        if self._exposure:
            raise _core.Error(f"{self._exposure}: end or abort it before another one begins")
        declared = []
        for name, facts in amplifiers.items():
            self._types[name] = np.dtype(facts["dtype"])
            self._next[name] = 0
            declared.append({**facts, "name": name, "dtype": self._types[name].str})
        message = {"amplifiers": declared, "cards": dict(cards or {})}
        self._exposure = exposure
        try:
            self._send("begin", message)
            self._wait("ready")
        except _core.Error:
            self._exposure = ""
            raise

    def send(self, amplifier: str, rows: ArrayLike) -> None:
        """Send the next samples of an amplifier: an array, or a buffer of any number of samples.

        Raises
        ------
        skipstream.Error
            The exposure has failed at the server; with its reason.
        """
        dtype = self._types[amplifier]
        if isinstance(rows, bytes):
            rows = memoryview(rows)
        array = np.ascontiguousarray(rows)
        if array.dtype.itemsize == 1:
            array = array.reshape(-1).view(dtype)
        elif array.dtype != dtype:
            raise _core.ConfigError(
                f"{amplifier}: its samples are {dtype.str}; got {array.dtype.str}"
            )
        flat = array.reshape(-1)
        step = MAX_FRAME_BYTES // 4 // dtype.itemsize
        for begin in range(0, len(flat), step):
            self._hear()
            part = flat[begin : begin + step]
            self._send("rows", self._place(amplifier), part)
            self._next[amplifier] += len(part)

    def lose(self, amplifier: str, n_samples: int) -> None:
        """Declare that the next samples of an amplifier are lost."""
        self._hear()
        self._send("lost", {**self._place(amplifier), "n_samples": n_samples})
        self._next[amplifier] += n_samples

    def end(self) -> dict[str, Any]:
        """End the exposure: what was not sent is missing. Waits for the results.

        Returns
        -------
        dict
            ``images``: amplifier, status, text and n_clusters of each; ``outputs``: the files.
        """
        self._send("end", {})
        try:
            return self._wait("done")
        finally:
            self._exposure = ""

    def abort(self) -> None:
        """Give the exposure up: nothing of it stays."""
        self._send("abort", {})
        try:
            self._wait("aborted")
        finally:
            self._exposure = ""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._exposure:
                with contextlib.suppress(_core.Error):
                    self.abort()
        finally:
            self.close()

    def _place(self, amplifier: str) -> dict[str, Any]:
        return {"amplifier": amplifier, "first_sample": self._next[amplifier]}

    def _send(self, kind: str, message: Mapping[str, Any], samples: Any = None) -> None:
        full = {"skipstream": PROTOCOL, "message": kind, "exposure": self._exposure, **message}
        frames = [json.dumps(full).encode(), *([] if samples is None else [samples])]
        try:
            self._socket.send_multipart(frames)
        except self._zmq.Again:
            raise _core.IoError(
                f"{self._address}: takes nothing for {self._timeout:g} s: no server, or one that "
                "is far behind"
            ) from None

    def _hear(self) -> None:
        """Whether the server has refused something meanwhile."""
        while self._socket.poll(0):
            self._check(json.loads(self._socket.recv()))

    def _check(self, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["message"] in ("failed", "refused"):
            failed_exposure, self._exposure = self._exposure, ""
            raise _core.Error(f"{self._address}: {failed_exposure}: {answer['text']}")
        return answer

    def _wait(self, kind: str) -> dict[str, Any]:
        end = time.monotonic() + self._timeout
        while (left := end - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                answer = self._check(json.loads(self._socket.recv()))
                if answer["message"] == kind and answer["exposure"] == self._exposure:
                    return answer
        raise _core.IoError(f"{self._address}: no answer for {self._timeout:g} s")
