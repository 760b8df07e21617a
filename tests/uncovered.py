"""Tell the branches of the core that no test takes, but for those that a page explains.

    llvm-cov export ... > branches.json
    python tests/uncovered.py branches.json docs/uncovered.md

A branch is a condition of the source with one of its outcomes, whatever the compiler makes of it;
a template, and a source that is compiled for several SIMD levels, counts as one. Prints those that
the page's table does not have, which is an error, and rows of the table that are covered by now.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Branch = tuple[str, str, str]  # file, condition, outcome that never is


def text_at(lines: list[str], place: tuple[int, int, int, int]) -> str:
    first, begin, last, end = place
    part = lines[first - 1 : last]
    part[-1] = part[-1][: end - 1]
    part[0] = part[0][begin - 1 :]
    return " ".join(" ".join(part).split())


def measured(export: Path, root: Path) -> tuple[dict[Branch, list[int]], int]:
    """Lines of the branches that were never taken, and the number of all branches."""
    data = json.loads(export.read_text())["data"][0]
    core = str(root / "cpp")
    taken: Counter[tuple[str, tuple[int, int, int, int], str]] = Counter()
    for file in data["files"]:
        if not file["filename"].startswith(core):
            continue
        for *place, n_true, n_false, _file, _expanded, _kind in file["branches"]:
            for outcome, n in (("true", n_true), ("false", n_false)):
                taken[file["filename"], tuple(place), outcome] += n
    for function in data["functions"]:
        name, place = function["filenames"][0], tuple(function["regions"][0][:4])
        if name.startswith(core):
            taken[name, place, "called"] += function["count"]
    sources: dict[str, list[str]] = {}
    missing: dict[Branch, list[int]] = {}
    n_constant = 0
    for (name, place, outcome), n in sorted(taken.items()):
        if n > 0:
            continue
        lines = sources.setdefault(name, Path(name).read_text().splitlines())
        if is_constant(lines, place, outcome):
            n_constant += 1
            continue
        text = lines[place[0] - 1].strip() if outcome == "called" else text_at(lines, place)
        branch = (str(Path(name).relative_to(root)), text, outcome)
        missing.setdefault(branch, []).append(place[0])
    return missing, len(taken) - n_constant


def is_constant(lines: list[str], place: tuple[int, int, int, int], outcome: str) -> bool:
    """Decided by the compiler, which keeps one outcome or neither."""
    return ("constexpr" if outcome == "called" else "if constexpr") in lines[place[0] - 1]


def explained(page: Path) -> Counter[Branch]:
    rows: Counter[Branch] = Counter()
    for line in page.read_text().splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].startswith("`"):
            file, condition, outcome, times, _why = cells
            rows[file.strip("`"), condition.strip("`").strip(), outcome] += int(times)
    return rows


def main() -> int:
    missing, n_branches = measured(Path(sys.argv[1]), ROOT)
    known = explained(Path(sys.argv[2]))
    n_missing = sum(map(len, missing.values()))
    n_unexplained = 0
    for (file, text, outcome), places in missing.items():
        if len(places) > known[file, text, outcome]:
            n_unexplained += len(places) - known[file, text, outcome]
            print(f"{file}:{','.join(map(str, places))}: `{text}` is never {outcome}")
    for (file, text, outcome), n in known.items():
        if n > len(missing.get((file, text, outcome), [])):
            print(f"{file}: `{text}` is {outcome} by now; take it off the list")
    print(
        f"{n_branches - n_missing} of {n_branches} branches taken, {n_missing} not, "
        f"{n_unexplained} of them unexplained"
    )
    return int(n_unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
