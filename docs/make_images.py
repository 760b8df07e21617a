"""Make the pictures of the documentation: python docs/make_images.py. Needs Chromium.

The demo's picture, a page about a run of three simulated images, and quick looks at its files.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
CONFIG = """
[input]
prescan_cols = 8
overscan_cols = 60

[[stage]]
kind = "compress_skips"
statistics = ["mean", "std", "sample(0)"]

[[stage]]
kind = "subtract_pedestal"
region = "overscan"

[[stage]]
kind = "calibrate"
gain = "fit"

[[stage]]
kind = "mask_hot"
threshold = 0.5

[[stage]]
kind = "find_clusters"
threshold = 4.0
seed = 10.0

[[measure]]
kind = "noise_vs_skips"

[[measure]]
kind = "charge_loss"

[[measure]]
kind = "noise_spectrum"

[[measure]]
kind = "fit_calibration"
after = "subtract_pedestal"

[[measure]]
kind = "fit_dark_current"
after = "subtract_pedestal"

[[measure]]
kind = "find_patterns"

[[measure]]
kind = "charge_per_axis"

[[measure]]
kind = "quality"
"""


def skipstream(*words: object, succeeds: bool = True) -> None:
    done = subprocess.run([sys.executable, "-m", "skipstream", *map(str, words)], check=False)
    if succeeds and done.returncode:
        sys.exit(f"skipstream {words[0]} failed")


def screenshot(page: Path, target: Path, width: int, height: int) -> None:
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
             f"--window-size={width},{height}", f"--screenshot={target}", page.as_uri()],
            check=True, capture_output=True,
        )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        skipstream("demo", "-o", folder)
        shutil.copy(folder / "demo.png", IMAGES / "demo.png")
        raw = []
        for seed in (1, 2, 3):
            raw.append(folder / f"Img_{seed}.fits")
            skipstream("simulate", raw[-1], "--rows", 300, "--cols", 400, "--skips", 200,
                       "--seed", seed)  # fmt: skip
        raw.append(folder / "Img_4.fits")
        raw[-1].write_bytes(raw[0].read_bytes()[:2000])
        (folder / "cfg.toml").write_text(CONFIG)
        out = folder / "out"
        skipstream("run", folder / "cfg.toml", *raw, "-o", out, "--quiet", succeeds=False)
        skipstream("report", out)
        screenshot(out / "report.html", IMAGES / "report.png", 1280, 2000)
        skipstream("show", raw[0], "-o", IMAGES / "look.png")


if __name__ == "__main__":
    main()
