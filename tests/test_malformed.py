"""Every malformed or odd file has its expected outcome, alone and among good ones."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import skipstream as sk

sys.path.insert(0, str(Path(__file__).parent))
from malformed import GOOD, Case, cases

CASES = list(cases())
CONFIG = sk.load_config({"stage": [{"kind": "compress_skips"}]})


def outcome(results: list[sk.ImageResult]) -> str:
    statuses = {result.status for result in results}
    if "failed" in statuses:
        return next(result.message for result in results if result.status == "failed")
    return "partial" if "partial" in statuses else "done"


def is_right(case: Case, found: str) -> bool:
    if case.outcome in ("done", "partial"):
        return found == case.outcome
    return case.outcome in found and found not in ("done", "partial")


def test_there_are_enough_distinct_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.data for case in CASES}) >= 300


def test_each_alone_has_its_outcome_quickly_and_in_little_memory(tmp_path: Path) -> None:
    list(sk.run(CONFIG, [path_of(CASES[0], tmp_path)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong = []
    times = []
    for case in CASES:
        path = path_of(case, tmp_path)
        begin = time.perf_counter()
        found = outcome(
            list(sk.run(CONFIG, [path], threads=1, output=tmp_path / "out", overwrite=True))
        )
        times.append(time.perf_counter() - begin)
        if not is_right(case, found) or "internal" in found:
            wrong.append(f"{case.name}: expected {case.outcome!r}, found {found!r}")
    assert not wrong, f"{len(wrong)} of {len(CASES)}:\n" + "\n".join(wrong)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"median {np.median(times) * 1e3:.1f} ms, largest {max(times):.2f} s, {grown:.0f} MiB")
    assert grown < 64


def path_of(case: Case, folder: Path) -> Path:
    path = folder / f"case{CASES.index(case)}.fits"
    path.write_bytes(case.data)
    return path


@pytest.mark.parametrize("jobs", [1, 2])
def test_among_good_files_all_have_their_outcomes(jobs: int, tmp_path: Path) -> None:
    paths = []
    for number, case in enumerate(CASES):
        good = tmp_path / f"good{number}.fits"
        good.write_bytes(GOOD)
        paths.append(good)
        paths.append(path_of(case, tmp_path))
    if jobs == 2:
        paths = paths[:400]
    results: dict[Path, list[sk.ImageResult]] = {}
    for result in sk.run(CONFIG, paths, output=tmp_path / "out", jobs=jobs, threads=1):
        results.setdefault(result.path, []).append(result)
    planes = {
        path.read_bytes().replace(name.encode().ljust(30), b"")
        for name in ("INFILE",)
        for path in (tmp_path / "out").glob("good*_planes.fits")
    }
    assert len(planes) == sum(path.name.startswith("good") for path in paths)
    for path in paths:
        if path.name.startswith("good"):
            assert outcome(results[path]) == "done"
        else:
            case = CASES[int(path.stem.removeprefix("case"))]
            assert is_right(case, outcome(results[path])), case.name
