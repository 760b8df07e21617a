"""What is generated and committed is what a fresh generation gives."""

from __future__ import annotations

import re
from pathlib import Path

from skipstream import _core, measuring, reference

ROOT = Path(__file__).resolve().parent.parent


def test_the_stages_page_is_fresh() -> None:
    assert (ROOT / "docs/stages.md").read_text() == reference.stages_markdown()


def test_the_measures_page_is_fresh_and_says_what_every_parameter_means() -> None:
    assert (ROOT / "docs/measures.md").read_text() == measuring.measures_markdown()
    for kind in measuring.MEASURES:
        doc, parameters = measuring.described(kind)
        assert doc.endswith("."), kind
        assert all(meaning for *_, meaning in parameters), kind


def test_the_stub_of_the_stages_is_fresh() -> None:
    assert (ROOT / "python/skipstream/stages.pyi").read_text() == reference.stages_stub()


def test_the_stub_of_the_core_names_what_the_core_has() -> None:
    stub = (ROOT / "python/skipstream/_core.pyi").read_text()
    named = set(re.findall(r"^(?:def|class) (\w+)", stub, re.M)) | {"__version__"}
    present = {name for name in dir(_core) if not name.startswith("_")} | {"__version__"}
    assert named == present


def test_the_version_is_that_of_the_header() -> None:
    header = (ROOT / "cpp/include/skipstream/version.hpp").read_text()
    assert f'"{_core.__version__}"' in header
