"""Every malformed or odd file has its expected outcome, alone and among good ones."""

from __future__ import annotations

import os
import random
import re
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

import skipstream as sk

sys.path.insert(0, str(Path(__file__).parent))
from malformed import GOOD, Case, cases

NIGHTLY = bool(os.environ.get("SKIPSTREAM_NIGHTLY"))
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


@pytest.mark.parametrize(("jobs", "n_good"), [(1, 1000), (2, 200)])
def test_among_good_files_all_have_their_outcomes(jobs: int, n_good: int, tmp_path: Path) -> None:
    paths = []
    chosen = CASES if jobs == 1 else random.Random(1).sample(CASES, 200)
    for number in range(max(n_good, len(chosen))):
        if number < n_good:
            paths.append(tmp_path / f"good{number:04}.fits")
            paths[-1].write_bytes(GOOD)
        if number < len(chosen):
            paths.append(path_of(chosen[number], tmp_path))
    results: dict[Path, list[sk.ImageResult]] = {}
    for result in sk.run(CONFIG, paths, output=tmp_path / "out", jobs=jobs, threads=1):
        results.setdefault(result.path, []).append(result)
    assert list(results) == paths or jobs == 2
    for path in paths:
        if path.name.startswith("case"):
            case = CASES[int(path.stem.removeprefix("case"))]
            assert is_right(case, outcome(results[path])), case.name
        else:
            assert outcome(results[path]) == "done"
    # The name of the input stands in INFILE, and in the CHECKSUM of that header.
    made = [path.read_bytes() for path in (tmp_path / "out").glob("good*_planes.fits")]
    assert len(made) == n_good
    assert len({re.sub(rb"(INFILE|CHECKSUM).{72}", b"", content, count=2) for content in made}) == 1


def by_astropy(path: Path) -> NDArray[np.float64] | None:
    """The only image of a file that astropy takes without a warning, with BLANK as NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", AstropyWarning)
        try:
            with fits.open(path, memmap=False, ignore_blank=False) as hdus:
                images = [hdu.data for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0]
        except Exception:
            return None
    if len(images) != 1 or images[0] is None or images[0].size == 0:
        return None
    image = np.asarray(images[0], dtype=np.float64)
    return image.reshape(-1, image.shape[-1])


def mutant(random_numbers: random.Random) -> bytes:
    """A file that is read, with up to three bytes of its headers changed."""
    case = random_numbers.choice([c for c in CASES if c.outcome == "done" and len(c.data) < 50_000])
    data = bytearray(case.data)
    cards = [at for at in range(0, 2880, 80) if data[at : at + 80].strip()]
    for _ in range(random_numbers.randint(1, 2)):
        card = random_numbers.choice(cards if random_numbers.random() < 0.3 else cards[5:] or cards)
        at = card + random_numbers.randrange(10, 32)
        data[at] = random_numbers.choice(b"0123456789+-. ETD'/")
    return bytes(data)


def test_what_astropy_reads_too_is_the_same(tmp_path: Path) -> None:
    """Values differ in nothing, for the cases and for their mutants."""
    random_numbers = random.Random(7)
    sources = [c.data for c in CASES if len(c.data) < 50_000]
    sources += [mutant(random_numbers) for _ in range(20_000 if NIGHTLY else 1500)]
    config = sk.load_config({"input": {"n_skips": 1}, "stage": [{"kind": "compress_skips"}]})
    path = tmp_path / "raw.fits"
    both = 0
    for data in sources:
        path.write_bytes(data)
        results = list(sk.run(config, [path], threads=1))
        if outcome(results) != "done" or len(results) != 1:
            continue
        theirs = by_astropy(path)  # only now: NAXIS = 999999999 keeps it for hours
        if theirs is None:
            continue
        ours = results[0].planes["mean"]
        assert ours.shape == theirs.shape, data[:2880]
        # astropy scales 16-bit samples in 32-bit floats.
        largest = np.max(np.abs(theirs), initial=0, where=np.isfinite(theirs))
        is_scaled = b"BSCALE" in data or b"BZERO" in data
        with np.errstate(over="ignore", invalid="ignore"):  # planes are of 32 bits, too
            close = np.abs(ours - theirs) <= 1e-6 * largest if is_scaled else ours == theirs
            known = np.isfinite(theirs.astype(np.float32))
        assert np.all(close | ~known), data[:2880]
        if not np.isinf(ours).any():  # else astropy's products of 32 bits overflow, even 0 * 1e70
            assert np.array_equal(np.isfinite(ours), known), data[:2880]
        both += 1
    print(f"{both} of {len(sources)} files read by both")
    assert both > len(sources) // 8
