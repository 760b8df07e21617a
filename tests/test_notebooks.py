"""The notebooks run, in Jupyter where it is, and find what was simulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs/notebooks"


def run(name: str) -> dict[str, Any]:
    """Execute the cells of a notebook, which is kept without outputs; its names."""
    names: dict[str, Any] = {}
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), name, "exec"), names)
    plt.close("all")
    return names


def test_calibration_and_dark_current_are_those_of_the_image() -> None:
    names = run("calibration-and-dark-current")
    truth, dark = names["truth"], names["dark"]
    assert dark.status == names["peaks"].status == names["noise"].status == "ok"
    for name in ("gain", "dark_current"):
        pull = (dark.values[name] - getattr(truth, name)) / dark.errors[name]
        assert abs(pull) < 4, name  # once in 16,000
    assert dark.p_value > 1e-4 and names["noise"].p_value > 1e-4


def test_clusters_have_the_energy_of_the_points_and_patterns_are_counted() -> None:
    names = run("clusters-and-patterns")
    assert {result.status for result in names["results"]} == {"done"}
    # 75 points were simulated; a few touch one another, a track or an edge.
    assert np.count_nonzero(np.abs(names["kept"]["energy_kev"] - 5.9) < 0.15) > 55
    counts = names["results"][0].measures["find_patterns"].counts
    # 0.03 electrons a pixel, of some 37,000 pixels: about a thousand single ones.
    assert 700 < counts["1"] < 1300


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_in_jupyter(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("ipykernel")
    pytest.importorskip("nbclient")
    script = (
        "import nbformat, nbclient, sys\n"
        "nbclient.NotebookClient(nbformat.read(sys.argv[1], 4)).execute()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
