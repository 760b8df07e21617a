"""Change one thing in a C++ source, build, run tests; tell which changes no test noticed.

    python tests/mutate.py cpp/src/stages/*.cpp -n 60 --build build/mutate \\
        --programs test_stages test_pipeline --pytest tests/test_stages.py tests/test_run.py

The build folder (CMake with Ninja, C++ tests and Python module; quickest to link with
``-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF``) must be up to date. Nothing in it, and no source, is
changed: a change is made in a copy, compiled with -O1, and linked before the library. Then the C++
tests run, and, where these notice nothing, the Python tests, with a package of its own.

What nothing has noticed so far is compiled once more with the address and undefined behaviour
sanitizers, under which the C++ tests are run anyway.

A change is left out that does not compile or that the compiler turns into the same object code,
with -O1 or with the flags of the folder. The others survive, and are printed to be judged by a
person: those that change nothing that counts, such as another first guess of a search, stand with
their reason in ``equivalent_changes.txt``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SWAPS = [
    (r"<=", "<"), (r">=", ">"), (r"(?<![<\-=])<(?![<=])(?=\s)", "<="),
    (r"(?<![>\-])>(?![>=])(?=\s)", ">="),
    (r"==", "!="), (r"!=", "=="), (r"&&", "||"), (r"\|\|", "&&"),
    (r"(?<=\s)\+(?=\s)", "-"), (r"(?<=\s)-(?=\s)", "+"), (r"(?<=\s)\*(?=\s)", "/"),
    (r"(?<=\s)/(?=\s)", "*"), (r"(?<=\s)%(?=\s)", "*"), (r"(?<=\s)>>(?=\s)", "<<"),
    (r"\+=", "-="), (r"-=", "+="), (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"\bmin\b", "max"), (r"\bmax\b", "min"), (r"(?<=\()!", ""), (r"\b0\b", "1"), (r"\b1\b", "2"),
    (r"\b2\b", "3"), (r"\bcontinue;", ";"), (r"\bbreak;", ";"),
    (r"^(\s+)\w[\w.\->\[\]]*\(.*\);$", r"\1;"),
    (r"^(\s+)[\w.\->\[\]]+ [+\-|&]?= .*;$", r"\1;"),
]  # fmt: skip
SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
SKIPPED = re.compile(
    r"^\s*(//|///|#|using |namespace |template|static_assert|constexpr|inline constexpr)"
)


def changes(text: str) -> list[tuple[int, str]]:
    """Every change of a line: its number and what it becomes."""
    found = []
    for number, line in enumerate(text.splitlines()):
        if SKIPPED.match(line) or "throw " in line:
            continue
        code = line.split("//")[0]
        for pattern, new in SWAPS:
            for hit in re.finditer(pattern, code):
                quotes = code[: hit.start()].count('"')
                if quotes % 2:
                    continue  # within a text
                changed = code[: hit.start()] + hit.expand(new) + code[hit.end() :]
                if changed != code:
                    found.append((number, changed))
    return found


def equivalent_changes() -> set[tuple[str, str, str]]:
    """Source, line and what it becomes, of the changes known to change nothing that counts.

    The file has paragraphs: a reason after ``#``, the source, then pairs of lines.
    """
    found = set()
    for paragraph in (ROOT / "tests/equivalent_changes.txt").read_text().split("\n\n"):
        if not paragraph.strip():
            continue
        source, *rest = [line for line in paragraph.splitlines() if not line.startswith("#")]
        found |= {
            (source, a.strip(), b.strip()) for a, b in zip(rest[::2], rest[1::2], strict=True)
        }
    return found


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command: str, folder: Path, timeout: float = 600, **environment: str) -> bool:
    """Whether a shell command ends well, in time, and without a complaint.

    The C++ tests write each failure to standard error, and go on: the first is enough.
    """
    child = subprocess.Popen(
        ["timeout", "-k", "1", str(timeout), "bash", "-c", f"exec {command}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        preexec_fn=limit_memory if "ASAN_OPTIONS" not in environment else None,
    )
    complaint = child.stderr.read(1) if child.stderr else b""
    if complaint:
        child.terminate()
    child.communicate()
    return child.returncode == 0 and not complaint


@dataclass
class Source:
    """How one source is compiled: a command for each of its objects."""

    path: Path
    commands: list[str]

    def compile(self, text: str, folder: Path, build: Path, flags: str) -> bytes | None:
        """What the objects hold, none if it does not compile."""
        copy = folder / self.path.name
        copy.write_text(text)
        for i, command in enumerate(self.commands):
            command = f"{command} -w {flags} -c {copy} -o {folder}/{i}.o"
            if not run(command, build):
                return None
        return b"".join((folder / f"{i}.o").read_bytes() for i in range(len(self.commands)))


class Build:
    def __init__(self, folder: Path, programs: list[str], pytest: list[str]) -> None:
        self.folder = folder
        self.pytest = pytest
        self.links = {program: self.link_command(program.split()[0]) for program in programs}
        if pytest:
            self.links["_core"] = self.link_command("_core")
        self.seconds: dict[str, float] = {}

    def ask_ninja(self, *words: str) -> str:
        return subprocess.run(
            ["ninja", "-C", self.folder, "-t", *words], capture_output=True, text=True, check=True
        ).stdout

    def link_command(self, target: str) -> str:
        lines = self.ask_ninja("commands", target).splitlines()
        return next(
            line for line in reversed(lines) if " -o " in line and "libskipstream.a" in line
        )

    def source(self, path: Path) -> Source:
        commands = [
            re.sub(r" (-MD|-M[TF] \S+|-o \S+|-c \S+)", "", entry["command"])
            for entry in json.loads(self.ask_ninja("compdb"))
            if entry["file"].endswith(path.as_posix()) and "-c " in entry["command"]
        ]
        return Source(path, commands)

    def notices(self, objects: list[Path], folder: Path, flags: str = "") -> str:
        """The first of the tests that fails, or an empty text."""
        for name, link in self.links.items():
            if flags and name == "_core":
                continue
            program = folder / (Path(link.split(" -o ")[1].split()[0]).name)
            link = re.sub(r" -o \S+", f" -o {program}", link)
            link = link.replace(
                " cpp/libskipstream.a", f" {' '.join(map(str, objects))} cpp/libskipstream.a"
            )
            if name == "_core":
                package = folder / "skipstream"
                package.mkdir(exist_ok=True)
                for path in (ROOT / "python/skipstream").iterdir():
                    (package / path.name).symlink_to(path)
                link = link.replace(str(program), str(package / program.name))
                command = (
                    f"{sys.executable} -m pytest -q -x -p no:cacheprovider "
                    f"--basetemp={folder}/pytest {' '.join(self.pytest)}"
                )
            else:
                command = " ".join([str(program), *name.split()[1:]])
            if not run(f"{link.split(' && ')[1]} {flags}", self.folder):
                raise SystemExit(f"{name}: does not link")
            start = time.monotonic()
            timeout = (20 if flags else 5) * self.seconds.get(name, 60) + 5
            environment = {"PYTHONPATH": str(folder), "TMPDIR": str(folder)}
            if flags:
                environment["ASAN_OPTIONS"] = "hard_rss_limit_mb=4000:detect_leaks=0"
            if not run(command, ROOT, timeout, **environment):
                return name
            self.seconds.setdefault(name, time.monotonic() - start)
        return ""


def judge(
    build: Build,
    source: Source,
    text: str,
    as_is: dict[str, bytes | None],
    change: tuple[int, str],
) -> str:
    """What becomes of a change of the text; prints those that survive."""
    number, changed = change
    lines = text.splitlines()
    original, lines[number] = lines[number], changed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code = source.compile("\n".join(lines) + "\n", folder, build.folder, "-O1")
        if code is None:
            return "does not compile"
        if code == as_is["-O1"]:
            return "same code"
        objects = [folder / f"{i}.o" for i in range(len(source.commands))]
        if build.notices(objects, folder):
            return "noticed"
        if source.compile("\n".join(lines) + "\n", folder, build.folder, "") == as_is[""]:
            return "same code"
        source.compile("\n".join(lines) + "\n", folder, build.folder, SANITIZED)
        if build.notices(objects, folder, SANITIZED):
            return "noticed"
    pair = original.split("//")[0].strip(), changed.strip()
    if (source.path.as_posix(), *pair) in equivalent_changes():
        return "equivalent"
    print(f"{source.path}:{number + 1}\n{pair[0]}\n{pair[1]}", flush=True)
    return "survived"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=60, help="changes of each source at most")
    parser.add_argument("-j", type=int, default=2, help="changes tried at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=Path, required=True, help="folder of CMake, with Ninja")
    parser.add_argument(
        "--programs", nargs="*", default=[], help="C++ tests, with arguments if any"
    )
    parser.add_argument("--pytest", nargs="*", default=[], help="words for pytest")
    parser.add_argument("--lines", help="only changes of these lines, as 12 or 12-30")
    options = parser.parse_args()
    build = Build(options.build.resolve(), options.programs, options.pytest)

    with tempfile.TemporaryDirectory() as folder:
        if failing := build.notices([], Path(folder)):
            raise SystemExit(f"{failing}: fails without any change")
    print({name: round(seconds, 1) for name, seconds in build.seconds.items()})

    total = {"noticed": 0, "survived": 0, "equivalent": 0}
    for path in options.sources:
        source = build.source(path)
        text = path.read_text()
        chosen = changes(text)
        if options.lines:
            first, _, last = options.lines.partition("-")
            chosen = [c for c in chosen if int(first) <= c[0] + 1 <= int(last or first)]
        if len(chosen) > options.n:
            chosen = random.Random(options.seed).sample(chosen, options.n)
        with tempfile.TemporaryDirectory() as folder:
            as_is = {
                flags: source.compile(text, Path(folder), build.folder, flags)
                for flags in ("-O1", "")
            }

        with ThreadPoolExecutor(options.j) as pool:
            fates = list(pool.map(partial(judge, build, source, text, as_is), chosen))
        for fate in total:
            total[fate] += fates.count(fate)
        counts = {fate: fates.count(fate) for fate in sorted(set(fates))}
        print(f"{path}: {counts}", flush=True)
    of = total["noticed"] + total["survived"]
    print(f"{total['noticed']} of {of} noticed, {total['equivalent']} equivalent left out")


if __name__ == "__main__":
    main()
