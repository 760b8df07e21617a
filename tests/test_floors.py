"""The floors of the house: nobody reaches upstairs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A floor may include the floors named here, and itself.
FLOORS = {
    "base": set(),
    "kernels": {"base"},
    "config": {"base"},
    "stages": {"base", "kernels", "config"},
    "io": {"base", "kernels", "config"},
    "pipeline": {"base", "kernels", "config", "stages", "io"},
}
INCLUDE = re.compile(r'#include "skipstream/(\w+)/(\w+)\.hpp"')


def cpp_files(floor: str) -> list[Path]:
    return [
        path
        for top in ("cpp/include/skipstream", "cpp/src")
        for path in sorted((ROOT / top / floor).glob("*.[ch]pp"))
    ]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_includes_only_floors_below_it(floor: str) -> None:
    assert cpp_files(floor)
    for path in cpp_files(floor):
        for other, _ in INCLUDE.findall(path.read_text()):
            assert other == floor or other in FLOORS[floor], f"{path} includes floor {other}"


def test_a_stage_knows_no_other_stage() -> None:
    for path in cpp_files("stages"):
        for other, name in INCLUDE.findall(path.read_text()):
            allowed = path.stem in ("all", name)
            assert other != "stages" or allowed, f"{path} includes stage {name}"


def test_the_library_knows_no_python() -> None:
    for path in (ROOT / "cpp").rglob("*.[ch]pp"):
        assert not re.search(r"#include.*(Python\.h|pybind11)", path.read_text()), path


def test_simd_kernels_include_only_plain_headers() -> None:
    for path in (ROOT / "cpp/src/kernels").glob("*.simd.cpp"):
        for header in re.findall(r"#include <(\S+)>", path.read_text()):
            plain = ("cstdint", "cstddef", "cmath", "immintrin.h")
            assert header in plain, f"{path} includes <{header}>"


def imports_at_load(path: Path) -> set[str]:
    """Names of the package's modules that a module imports when it is loaded."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_python_modules_import_each_other_without_a_circle() -> None:
    graph = {path.stem: imports_at_load(path) for path in (ROOT / "python/skipstream").glob("*.py")}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())
