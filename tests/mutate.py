"""Change one thing in a C++ source, build, run tests; tell which changes no test noticed.

    python tests/mutate.py cpp/src/stages/calibrate.cpp -n 40 --build build/mutate -- ctest ...

The source is put back in the end. A change that does not compile, or that the compiler turns into
the same object code, is left out. Changes that survive are printed, to be judged by a person: some
are equivalent, such as another first guess of a search.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
from pathlib import Path

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


def run(command: list[str], timeout: float) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=40, help="changes of each source")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", required=True, help="a build folder of CMake, with Ninja")
    parser.add_argument("--tests", action="append", required=True, help="a shell command")
    options = parser.parse_args()
    tests = [["bash", "-c", command] for command in options.tests]
    killed = survived = 0
    for source in options.sources:
        text = source.read_text()
        everything = changes(text)
        chosen = random.Random(options.seed).sample(everything, min(options.n, len(everything)))
        try:
            for number, changed in chosen:
                lines = text.splitlines()
                original, lines[number] = lines[number], changed
                source.write_text("\n".join(lines) + "\n")
                if not run(["ninja", "-C", options.build], 600):
                    continue
                if all(run(test, 300) for test in tests):
                    survived += 1
                    print(f"{source}:{number + 1}: {original.strip()}  ->  {changed.strip()}")
                else:
                    killed += 1
                sys.stdout.flush()
        finally:
            source.write_text(text)
        print(f"{source}: so far {killed} of {killed + survived} noticed", flush=True)


if __name__ == "__main__":
    main()
