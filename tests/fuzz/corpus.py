"""Write what a fuzz target starts from into a folder: python tests/fuzz/corpus.py TARGET FOLDER.

Those are the inputs that earlier runs found to reach new code (corpus.zip), and the files of
tests/malformed.py.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from malformed import cases

HERE = Path(__file__).resolve().parent
target, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(HERE / "corpus.zip") as found:
    for name in found.namelist():
        if name.startswith(f"{target}/"):
            (folder / Path(name).name).write_bytes(found.read(name))
if target != "rice":
    for number, case in enumerate(cases()):
        if len(case.data) < 40_000:
            (folder / str(number)).write_bytes(case.data)
