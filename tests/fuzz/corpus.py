"""Write what a fuzz target starts from into a folder: python tests/fuzz/corpus.py TARGET FOLDER.

Those are the inputs that earlier runs found to reach new code (corpus.zip), and the files of
tests/malformed.py; of packets, a few readouts; of configs, the parts of one.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
from malformed import cases

import skipstream as sk
from skipstream.arrange import write_packets

HERE = Path(__file__).resolve().parent
target, folder = sys.argv[1], Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(HERE / "corpus.zip") as found:
    for name in found.namelist():
        if name.startswith(f"{target}/"):
            (folder / Path(name).name).write_bytes(found.read(name))
if target == "packets":
    images = [np.full((5, 12, 4), number * 1000, "i4") for number in range(4)]
    for words in (1, 6, 13, 100):
        for made in folder.glob(f"{words}[_.]*"):  # by an earlier call
            made.unlink()
        (path,) = write_packets(images, folder / f"{words}.dat", packet_words=words)
        data = path.read_bytes()
        path.write_bytes(bytes([4, 11 + 3 * 16, 6]) + data)
        packet = 3 + 8 * words
        lost = data[: 22 * packet] + data[25 * packet :] + data[3 * packet : 5 * packet]
        path.with_suffix(".lost").write_bytes(bytes([4, 11 + 3 * 16, 40]) + lost)
elif target == "toml":
    text = sk.init_config()
    for number, part in enumerate([text[:400], *text.split("[[stage]]")]):
        (folder / str(number)).write_text("[[stage]]" * (number > 1) + part)
elif target != "rice":
    for number, case in enumerate(cases()):
        if len(case.data) < 40_000:
            (folder / str(number)).write_bytes(case.data)
