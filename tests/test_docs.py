"""Every block of code in the README and the pages is run, loaded or parsed; the site builds.

The programs of docs/embedding.md have a test of their own.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import skipstream as sk
from skipstream.cli import main
from skipstream.simulate import simulate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of a language; "" is a block without one."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```([\w{}-]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def shown(page: Path) -> str:
    return page.name


# --- Python -------------------------------------------------------------------------------------


class Board:
    """Rows of a small readout, as a board would hand them over."""

    async def rows(self) -> Any:
        random = np.random.default_rng(1)
        for _ in range(4):
            yield random.normal(0, 1, (40, 6)).astype("<i4").tobytes()


def smaller(text: str, **numbers: int) -> str:
    """The same program on a small image."""
    for old, new in {"4000": 4, "3200": 40, "500": 6, **numbers}.items():
        text = re.sub(rf"\b{old}\b", str(new), text)
    return text


def prepare_readme() -> dict[str, Any]:
    random = np.random.default_rng(1)
    pixels = 5.0 * (random.poisson(0.1, (100, 200)) + random.normal(0, 0.15, (100, 200)))
    pixels[0, :3] = 5000
    samples = random.normal(0, 10, (50, 8, 30))
    return {"sk": sk, "image_in_adu": pixels, "mask": pixels > 1000, "overscan_samples": samples}


def run_readme(texts: list[str]) -> None:
    names = prepare_readme()
    for text in texts:
        exec(compile(text, "README.md", "exec"), names)
    assert names["charge"].status == names["peaks"].status == "ok"
    assert set(names["planes"]) >= {"mean", "median", "std"}


def run_fits(texts: list[str]) -> None:
    simulate("raw.fits", n_rows=20, n_cols=100, n_skips=500, seed=1)
    names = {"sk": sk}
    for text in texts:
        exec(compile(text, "fits.md", "exec"), names)
    assert names["result"].status == "done"  # type: ignore[attr-defined]


def run_live(texts: list[str]) -> None:
    names: dict[str, Any] = {}
    for text in texts:
        exec(compile(smaller(text), "live.md", "exec"), names)
    asyncio.run(names["reduce"](Board()))


def run_report(texts: list[str]) -> None:
    simulate("raw.fits", n_rows=40, n_cols=120, n_skips=30, seed=1, layout="lta")
    measure = [{"kind": "fit_dark_current"}]
    stages = [{"kind": "compress_skips"}, {"kind": "subtract_pedestal"}]
    config = sk.load_config({"stage": stages, "measure": measure})
    list(sk.run(config, ["raw.fits"], output="out"))
    for text in texts:
        exec(compile(text, "report.md", "exec"), {})


def run_serving(texts: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    config = {"stage": [{"kind": "compress_skips"}, {"kind": "find_clusters", "noise": 1.0}]}
    stop = threading.Event()

    def answers() -> None:
        for _ in sk.serve(sk.load_config(config), address=address, output="out", stop=stop):
            pass

    server = threading.Thread(target=answers)
    server.start()
    samples = np.zeros((4, 40, 6), "<u2")
    board = [("L", samples), ("U", samples[:1]), ("U", samples[1:].ravel()[: 3 * 240 - 182])]
    names: dict[str, Any] = {"board": board}
    try:
        for text in texts:
            exec(compile(smaller(text).replace("tcp://127.0.0.1:5557", address), "serving.md",
                         "exec"), names)  # fmt: skip
    finally:
        stop.set()
        server.join()
    assert len(names["answer"]["images"]) == 2


RUNS = {
    "README.md": run_readme,
    "fits.md": run_fits,
    "live.md": run_live,
    "report.md": run_report,
    "serving.md": run_serving,
}
ELSEWHERE = {"embedding.md", "tutorial.md"}  # test_embedding.py, and below


def test_no_page_with_python_is_left_out() -> None:
    assert {page.name for page in pages_with("python")} == {*RUNS, *ELSEWHERE}


@pytest.mark.parametrize("name", RUNS)
def test_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "serving.md":
        pytest.importorskip("zmq")
    monkeypatch.chdir(tmp_path)
    (page,) = (page for page in PAGES if page.name == name)
    RUNS[name](blocks(page, "python"))


# --- configs ------------------------------------------------------------------------------------

CHAIN = """
[[stage]]
kind = "compress_skips"

[[stage]]
kind = "subtract_pedestal"

[[stage]]
kind = "calibrate"
gain = 5.0

[[stage]]
kind = "find_clusters"
keep_pixels = true
"""


def complete(block: str) -> str:
    """A config with the stages and measures that a part of one needs."""
    if "[[stage]]" not in block:
        block = CHAIN + block
    if "measures" in block and "[[measure]]" not in block:
        block += '[[measure]]\nkind = "charge_loss"\n'
    return block


@pytest.mark.parametrize(
    ("page", "number"),
    [(page, i) for page in pages_with("toml") for i in range(len(blocks(page, "toml")))],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)
def test_configs_load(page: Path, number: int, tmp_path: Path) -> None:
    block = blocks(page, "toml")[number]
    path = tmp_path / "cfg.toml"
    path.write_text(complete(block), encoding="utf-8")
    assert sk.load_config(path).stages


# --- commands -----------------------------------------------------------------------------------


def commands() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for block in [*blocks(page, ""), *blocks(page, "sh")]:
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"\s+#.*", "", line)
                line = re.sub(r"\s*(>|\||&&).*", "", line)
                if line.startswith("skipstream "):
                    yield page, line


@pytest.mark.parametrize(("page", "line"), list(dict.fromkeys(commands())), ids=lambda v: str(v))
def test_commands_are_understood(page: Path, line: str) -> None:
    _, name, *words = shlex.split(line)
    words = [word for word in words if not re.fullmatch(r"\[.*\]?|\.\.\.|.*\]", word)]
    command = main.get_command(click.Context(main), name)
    assert command is not None, f"{page.name}: no command {name}"
    command.make_context(name, words)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user who follows the README: raw files, a config, a run, a reference."""
    folder = tmp_path_factory.mktemp("user")
    (config,) = blocks(ROOT / "docs/tutorial.md", "toml")
    (folder / "cfg.toml").write_text(config, encoding="utf-8")
    (folder / "pana.json").write_text("{}", encoding="utf-8")
    for name, seed in (("raw", 1), ("raw2", 2), ("Img_1", 3)):
        simulate(folder / f"{name}.fits", n_rows=200, n_cols=300, n_skips=60, seed=seed)
    (folder / "incoming").mkdir()
    for output in ("out", "reference"):
        results = sk.run(sk.load_config(folder / "cfg.toml"), [folder / "raw.fits"],
                         output=folder / output)  # fmt: skip
        assert [r.status for r in results] == ["done"]
    return folder


def words_of(line: str) -> list[str]:
    """Words of a command, for smaller images, and for files that are there already."""
    line = line.replace("--rows 512 --cols 1024 --skips 500", "--rows 200 --cols 300 --skips 60")
    line = line.replace("-o cfg.toml", "-o imported.toml")
    words = shlex.split(line)[1:]
    if words[0] in ("run", "simulate"):
        words.append("--overwrite")
    if words[0] == "follow":
        words += ["--patience", "1"]
    found = [sorted(map(str, Path().glob(w))) if "*" in w else [w] for w in words]
    return [word for names in found for word in names]


def stop_when_ready(words: list[str]) -> int:
    """Start what waits for files or rows, interrupt it, and say how it ended."""
    command = [sys.executable, "-m", "skipstream", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not catches(process.pid, signal.SIGTERM):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        return process.wait(60)


def catches(process: int, number: int) -> bool:
    """Whether a process has a handler of a signal: it is ready to be stopped."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


TO_RUN = [line for page, line in commands() if page.name in ("README.md", "report.md")]


@pytest.mark.parametrize("line", list(dict.fromkeys(TO_RUN)))
def test_commands_run(line: str, sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sandbox)
    words = words_of(line)
    if words[0] == "serve":
        pytest.importorskip("zmq")
    if words[0] in ("watch", "serve"):
        assert stop_when_ready(words) == 0
        return
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output


# --- the tutorial -------------------------------------------------------------------------------


def without_times(text: str) -> str:
    text = re.sub(r"\d+(\.\d+)? MB/s", "# MB/s", text)
    text = re.sub(r"\d+(\.\d+)? s\b", "# s", text)
    text = re.sub(r"\d+\.\d+ MB$", "# MB", text, flags=re.MULTILINE)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip()


def test_the_tutorial_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs/tutorial.md"
    monkeypatch.chdir(tmp_path)
    (config,) = blocks(page, "toml")
    Path("cfg.toml").write_text(config, encoding="utf-8")
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            words = shlex.split(line)
            assert words[0] == "skipstream"
            done = subprocess.run(
                [sys.executable, "-m", *words], capture_output=True, text=True, timeout=300
            )
            assert without_times(done.stdout + done.stderr) == without_times(expected), line
    for text in blocks(page, "python"):
        exec(compile(text, "tutorial.md", "exec"), {})


# --- the site -----------------------------------------------------------------------------------


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for module in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", tmp_path],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in PAGES[1:]:
        assert (tmp_path / f"{page.stem}.html").is_file()
    assert "fit_dark_current" in (tmp_path / "api.html").read_text(encoding="utf-8")
