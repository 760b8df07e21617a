"""Write the files of tests/malformed.py into a folder: python tests/fuzz/corpus.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from malformed import cases

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for number, case in enumerate(cases()):
    if len(case.data) < 40_000:
        (folder / str(number)).write_bytes(case.data)
