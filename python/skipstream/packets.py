"""Packets of an LTA board from the files that its daemon writes, also while it does."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import _core
from .exposure import ImageRun
from .inputs import InputConfig
from .layout import packet_number

__all__ = ["PacketFiles", "feed_packets"]

_BLOCK = 1 << 20


class PacketFiles:
    """The bytes of the files of a readout, in their order.

    Parameters
    ----------
    names
        The files, for messages; those that follow are added, where they are waited for.
    opened
        What has their bytes, where they had to be unpacked.
    patience
        Seconds without a new byte after which the readout counts as ended; None: it has ended.
    """

    def __init__(
        self, names: list[Path], opened: Sequence[Path], patience: float | None = None
    ) -> None:
        self.names = names
        self._opened = list(opened)
        self._patience = patience

    def blocks(self) -> Iterator[tuple[Path, bytes]]:
        """Give each file with its next bytes; with none of them, where nothing is new yet."""
        number = 0
        changed = time.monotonic()
        while number < len(self._opened):
            name = self.names[number]
            with open(_checked(self._opened[number], name), "rb") as file:
                is_last = False
                while True:
                    try:
                        block = file.read(_BLOCK)
                    except OSError as error:
                        raise _core.IoError(f"{name}: cannot read: {error.strerror}") from None
                    if block:
                        changed = time.monotonic()
                        yield name, block
                    elif is_last or self._patience is None:
                        break
                    elif self._next_is_there(number):
                        is_last = True  # read once more: what came before the next file was made
                    elif time.monotonic() - changed >= self._patience:
                        return
                    else:
                        yield name, b""
                        time.sleep(min(0.1, self._patience / 4))
            number += 1

    def _next_is_there(self, number: int) -> bool:
        if number + 1 < len(self._opened):
            return True
        name = self.names[number]
        mine = packet_number(name)
        if mine is None:
            return False
        stem, _, ending = name.name.rpartition(f"_{mine}.")
        following = name.with_name(f"{stem}_{mine + 1}.{ending}")
        if not following.exists():
            return False
        self.names.append(following)
        self._opened.append(following)
        return True


def _checked(path: Path, name: Path) -> int:
    """A file descriptor; of a regular file only, which no reading waits for."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _core.IoError(f"{name}: cannot open: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _core.IoError(f"{name}: must be a regular file")
    return file


def feed_packets(
    files: PacketFiles, config: InputConfig, runs: Mapping[int, ImageRun]
) -> dict[str, int]:
    """Send the rows of all channels through their pipelines as they become whole.

    Parameters
    ----------
    files
        Where the packets are.
    config
        Says the shape.
    runs
        By channel, counted from 0 in ascending order of their numbers; others are left out.

    Returns
    -------
    dict
        What came and what was lost; see ``PacketCounts`` of the core.

    Raises
    ------
    PacketError
        They are no packets of CDS samples of four channels; names file and place.
    """
    reader: _core.LtaPackets | None = None
    head = b""
    last: Path | None = None

    def push(rows: list[tuple[int, NDArray[np.int32]]]) -> None:
        for channel, part in rows:
            if channel in runs:
                runs[channel].push(part)

    name = files.names[0]
    try:
        for name, block in files.blocks():
            if reader is None:
                head += block
                channels = _core.LtaPackets.channels_in(head)
                if len(channels) < _core.LtaPackets.n_channels and len(head) < _BLOCK:
                    continue
                reader = _reader(channels, config)
                block, head = head, b""
            elif last is not None and name != last:
                reader.end_file()
            last = name
            push(reader.push(block) if block else reader.flush())
            if reader.is_complete and not block:
                break  # a readout that is followed
        if reader is None:
            reader = _reader(_core.LtaPackets.channels_in(head), config)
        push(reader.finish())
    except _core.PacketError as error:
        raise _core.PacketError(f"{name}: {error}") from None
    return reader.counts


def _reader(channels: list[int], config: InputConfig) -> _core.LtaPackets:
    n_rows, n_cols, n_skips = config.n_rows, config.n_cols, config.n_skips
    assert n_rows is not None and n_cols is not None and isinstance(n_skips, int)
    if len(channels) < _core.LtaPackets.n_channels:
        found = ", ".join(map(str, sorted(channels))) or "none"
        raise _core.PacketError(
            f"channels {found}, but a board has {_core.LtaPackets.n_channels}: no readout of an LTA"
        )
    return _core.LtaPackets(channels, n_rows=n_rows, n_cols=n_cols, n_skips=n_skips)


def packet_notes(counts: dict[str, int]) -> list[str]:
    """What was lost, in words."""
    words = {
        "n_lost_samples": "samples were lost",
        "n_lost_packets": "numbers of packets were skipped",
        "n_unsure_gaps": "gaps of unsure length: rows behind them may be shifted",
        "n_late_packets": "packets came late or twice",
        "n_excess_samples": "samples came behind the last row",
        "n_cut_packets": "packets were cut off",
    }
    return [f"{counts[name]} {text}" for name, text in words.items() if counts[name]]
