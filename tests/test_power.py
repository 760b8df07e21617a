"""Power that fails at any moment: every folder that the disk may then hold is whole, or resumed.

The system calls of a real run, taken by `strace`, are replayed up to a moment. What was not yet
synchronised by then is on the disk or not, write by write, perhaps in part; names change in order,
up to some change. Each such folder is then checked and resumed.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import skipstream as sk
from skipstream.ledger import Ledger

sys.path.insert(0, str(Path(__file__).parent))
from test_faults import NIGHTLY, SEED, Case, hashes, needs_strace

N_STATES = 3000 if NIGHTLY else 150
CALLS = "openat,close,write,pwrite64,lseek,fsync,fdatasync,rename,unlink,ftruncate,fallocate"


@dataclass
class Write:
    offset: int
    data: bytes


@dataclass
class File:
    """A file, whatever its name: what was done to it, each with the moment at which it lasts."""

    done: list[tuple[int, Write | int]] = field(default_factory=list)  # an int: its new size
    synced: list[int] = field(default_factory=list)


@dataclass
class Log:
    """All that a run did to a folder."""

    files: list[File] = field(default_factory=list)
    names: list[tuple[int, str, int | None]] = field(default_factory=list)  # None: removed
    names_synced: list[int] = field(default_factory=list)
    n_moments: int = 0


def unescaped(text: str) -> bytes:
    return bytes(int(code, 16) for code in text.split("\\x")[1:])


def read_log(path: Path, folder: Path) -> Log:
    """What the calls in a log of strace did to the files of a folder."""
    log = Log()
    opened: dict[int, int | None] = {}  # descriptor: file, or None for the folder itself
    places: dict[int, int] = {}
    appends: set[int] = set()
    sizes: dict[int, int] = {}
    names: dict[str, int] = {}
    prefix = f"{folder}/"
    call = re.compile(r"\d+\s+(\w+)\((.*)\)\s+= (-?\d+)")
    for moment, line in enumerate(path.read_text().splitlines()):
        found = call.match(line)
        if found is None or int(found[3]) < 0:
            continue
        name, result = found[1], int(found[3])
        texts = [unescaped(t).decode("utf-8", "replace") for t in
                 re.findall(r'"((?:\\x[0-9a-f]{2})*)"', found[2])]  # fmt: skip
        numbers = [int(n) for n in re.findall(r"(?:^|, )(-?\d+)", found[2])]
        log.n_moments = moment + 1
        if name == "openat":
            opened.pop(result, None)
            if texts[0] == str(folder):
                opened[result] = None
            elif texts[0].startswith(prefix):
                short = texts[0].removeprefix(prefix)
                if short not in names:
                    names[short] = len(log.files)
                    sizes[names[short]] = 0
                    log.files.append(File())
                    log.names.append((moment, short, names[short]))
                opened[result] = names[short]
                places[result] = 0
                (appends.add if "O_APPEND" in line else appends.discard)(result)
            continue
        if name in ("rename", "unlink"):
            if texts[0].startswith(prefix):
                short = texts[0].removeprefix(prefix)
                number = names.pop(short)
                if name == "rename":
                    target = texts[1].removeprefix(prefix)
                    names[target] = number
                    log.names.append((moment, f"{short}\0{target}", number))
                else:
                    log.names.append((moment, short, None))
            continue
        descriptor = numbers[0]
        if descriptor not in opened:
            continue
        number = opened[descriptor]
        if name == "close":
            del opened[descriptor]
        elif name in ("fsync", "fdatasync"):
            synced = log.names_synced if number is None else log.files[number].synced
            synced.append(moment)
        elif number is None:
            continue
        elif name == "lseek":
            places[descriptor] = result
        elif name in ("ftruncate", "fallocate"):
            size = numbers[1] if name == "ftruncate" else numbers[-2] + numbers[-1]
            sizes[number] = size if name == "ftruncate" else max(size, sizes[number])
            log.files[number].done.append((moment, sizes[number]))
        else:
            data = unescaped(re.findall(r'"((?:\\x[0-9a-f]{2})*)"', found[2])[0])[:result]
            if name == "pwrite64":
                offset = numbers[-1]
            elif descriptor in appends:
                offset = sizes[number]
            else:
                offset = places[descriptor]
                places[descriptor] += result
            sizes[number] = max(sizes[number], offset + result)
            log.files[number].done.append((moment, Write(offset, data)))
    return log


def on_the_disk(file: File, moment: int, choose: random.Random) -> bytes:
    """Bytes of a file after the power failed at a moment."""
    lasting = max((s for s in file.synced if s <= moment), default=-1)
    content = bytearray()
    for when, change in file.done:
        if when > moment or (when > lasting and choose.random() < 0.5):
            continue
        if isinstance(change, int):
            content = content[:change].ljust(change, b"\0")
            continue
        data = change.data
        if when > lasting and choose.random() < 0.5:
            data = data[: choose.randrange(len(data) + 1)]
        content = content.ljust(change.offset, b"\0")
        content[change.offset : change.offset + len(data)] = data
    return bytes(content)


def write_state(log: Log, moment: int, choose: random.Random, folder: Path) -> None:
    lasting = max((s for s in log.names_synced if s <= moment), default=-1)
    loose = [n for n, (when, _, _) in enumerate(log.names) if lasting < when <= moment]
    fixed = sum(when <= min(lasting, moment) for when, _, _ in log.names)
    names: dict[str, int] = {}
    for _, name, number in log.names[: fixed + choose.randint(0, len(loose))]:
        old, _, new = name.partition("\0")
        names.pop(old, None)
        if number is not None:
            names[new or old] = number
    folder.mkdir()
    for name, number in names.items():
        (folder / name).write_bytes(on_the_disk(log.files[number], moment, choose))


@needs_strace
def test_whatever_the_disk_holds_after_a_power_loss_is_whole_or_resumed(tmp_path: Path) -> None:
    case = Case(tmp_path, 6, "--threads", "1")
    out = tmp_path / "out"
    out.mkdir()
    path = tmp_path / "calls"
    trace = ["strace", "-f", "-xx", "-s", "1000000", "-o", path, "-e", f"trace={CALLS}"]
    done = subprocess.run([*trace, *case.command(out)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"strace cannot trace here: {done.stderr[-200:]}")
    log = read_log(path, out)
    shutil.rmtree(out)
    write_state(log, log.n_moments, random.Random(0), out)
    assert hashes(out) == case.expected, "all that was done makes the outputs"
    shutil.rmtree(out)

    config = sk.load_config(case.folder / "cfg.toml")
    changes = {when for file in log.files for when, _ in file.done}
    changes |= {when for when, _, _ in log.names} | {s for f in log.files for s in f.synced}
    moments = sorted(changes | set(log.names_synced))
    choose = random.Random(SEED)
    states = set()
    n_lost = 0
    for state in range(N_STATES):
        write_state(log, moments[state % len(moments)], choose, out)
        states.add(tuple(sorted((p.name, p.read_bytes()) for p in out.iterdir())))
        found = hashes(out)
        assert found.items() <= case.expected.items(), "a final name holds other bytes"
        n_lost += found != case.expected
        counts = Ledger(out).counts()
        parts = ("done", "partial", "refused", "waiting", "in_hand")
        assert counts["seen"] == sum(counts[part] for part in parts)
        results = list(sk.run(config, case.files, output=out, resume=True, threads=1))
        assert {result.status for result in results} <= {"done", "skipped"}
        assert hashes(out) == case.expected
        assert not list(out.glob(".*"))
        shutil.rmtree(out)
    assert n_lost > N_STATES / 2
    assert len(states) > N_STATES / 2
    print(f"{len(states)} states")
