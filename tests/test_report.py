"""The page about a run, and results that come back from files."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import skipstream as sk
from skipstream.cli import main
from skipstream.monitoring import write_comparison
from skipstream.report import _reduced
from skipstream.results import write_results
from skipstream.simulate import simulate

CONFIG: dict[str, Any] = {
    "input": {"overscan_cols": 60, "prescan_cols": 8},
    "stage": [
        {"kind": "compress_skips", "statistics": ["mean", "std", "sample(0)"]},
        {"kind": "subtract_pedestal", "region": "overscan"},
        {"kind": "calibrate", "gain": 5.0},
        {"kind": "mask_edges", "columns": 2},
        {"kind": "find_clusters", "threshold": 4.0, "seed": 10.0},
    ],
    "measure": [
        {"kind": "noise_vs_skips"},
        {"kind": "charge_loss"},
        {"kind": "noise_spectrum"},
        {"kind": "fit_dark_current", "after": "subtract_pedestal"},
        {"kind": "find_patterns"},
        {"kind": "charge_per_axis"},
        {"kind": "quality"},
    ],
}
HOSTILE = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Elements, addresses and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    paths = []
    for seed in (1, 2, 3):
        paths.append(folder / f"Img_{seed}.fits")
        simulate(paths[-1], n_rows=120, n_cols=160, n_skips=60, seed=seed)
    paths.append(folder / f"{HOSTILE}.fits")
    paths[-1].write_bytes(b"SIMPLE")
    results = list(sk.run(sk.load_config(CONFIG), paths, output=folder / "out"))
    assert [r.status for r in results] == ["done", "done", "done", "failed"]
    return folder / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    path = sk.write_report(out, out.parent / "page.html", n_images=1)
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_says_what_was_done_refused_and_found(page: Page) -> None:
    assert "3 done, 1 refused" in page.text
    assert "a header alone has 2880" in page.text
    for name in ("Img_1.fits", "dark current", "sigma 1", "imgNoise", "stage[2] calibrate"):
        assert name in page.text
    shown = [image["alt"] for image in page.having("img")]
    for name in ("dark_current of each file", "charge of all clusters of the run", "noise_spectrum",
                 "picture of the pixels", "picture of the mask", "median of each row",
                 "fit_dark_current", "find_patterns", "charge_loss"):  # fmt: skip
        assert name in shown
    assert "EDGE" in page.text


def test_the_page_needs_nothing_else(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:image/", "#")) or not value, (tag, name, value[:50])
    (policy,) = (m for m in page.having("meta") if "http-equiv" in m)
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")


def test_texts_of_anybody_stay_texts(page: Page) -> None:
    assert HOSTILE in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert len(page.having("script")) == 1


def test_every_table_can_be_sorted_with_the_keyboard(page: Page) -> None:
    assert len(page.having("button")) > 10
    assert all(button.get("type") == "button" for button in page.having("button"))
    assert all(image.get("alt") for image in page.having("img"))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_click_sorts_the_table_in_a_browser(out: Path, tmp_path: Path) -> None:
    path = sk.write_report(out, tmp_path / "page.html", n_images=0)
    click = """<script>
        var buttons = Array.from(document.querySelectorAll("th button"));
        var button = buttons.find(b => b.textContent === "sigma last");
        var cells = () => Array.from(document.querySelectorAll("table.sortable tbody tr")).map(
            row => row.cells[button.closest("th").cellIndex].dataset.value).join(" ");
        button.click(); var up = cells();
        button.click(); document.title = up + ";" + cells() + ";"
            + button.closest("th").getAttribute("aria-sort");
        </script></body>"""
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", click), encoding="utf-8")
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    up, down, sorting = title[1].split(";")
    numbers = [float(x) for x in up.split()]
    assert len(numbers) == 3
    assert numbers == sorted(numbers)
    assert [float(x) for x in down.split()] == numbers[::-1]
    assert sorting == "descending"


def test_a_page_of_many_images_is_small(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    from astropy.io import fits

    sizes = []
    for n in (20, 60):
        paths = []
        for i in range(n):
            paths.append(tmp_path / f"{n}_{i}.fits")
            samples = random.normal(1000, 10, (6, 40 * 4)).astype("i2")
            fits.PrimaryHDU(samples, fits.Header({"NDCMS": 4})).writeto(paths[-1])
        config = {
            "stage": [{"kind": "compress_skips", "statistics": ["mean", "std"]},
                      {"kind": "subtract_pedestal"}],
            "measure": [{"kind": "quality"}, {"kind": "charge_loss"}],
        }  # fmt: skip
        out = tmp_path / f"out{n}"
        assert all(r.status == "done" for r in sk.run(sk.load_config(config), paths, output=out))
        sizes.append(sk.write_report(out, n_images=1).stat().st_size)
    # 1,000 of them, and six with their pictures, are below 10 MB.
    assert sizes[1] - sizes[0] < 40 * 4000


def test_outputs_that_cannot_be_read_are_told(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out/Img_1_measures.json").write_text("{")
    planes = tmp_path / "out/Img_2_planes.fits"
    planes.write_bytes(planes.read_bytes()[:9000])
    (tmp_path / "out/dqm.json").write_text("[]")
    moved = (tmp_path / "out/run.jsonl").read_text().replace(str(out), str(tmp_path / "out"))
    (tmp_path / "out/run.jsonl").write_text(moved)
    page = Page(sk.write_report(tmp_path / "out").read_text(encoding="utf-8"))
    assert "3 cannot be read" in page.text
    for name in ("Img_1_measures.json: holds no results", "Img_2_planes.fits",
                 "dqm.json: is no comparison of runs"):  # fmt: skip
        assert name in page.text
    assert "picture of the pixels" in [image["alt"] for image in page.having("img")]


def test_pixels_that_are_all_flagged_are_told(tmp_path: Path) -> None:
    simulate(tmp_path / "raw.fits", n_rows=20, n_cols=30, n_skips=4)
    config = {"stage": [{"kind": "compress_skips"}, {"kind": "mask_edges", "rows": 10}]}
    list(sk.run(sk.load_config(config), [tmp_path / "raw.fits"], output=tmp_path / "out"))
    page = Page(sk.write_report(tmp_path / "out").read_text(encoding="utf-8"))
    assert "every pixel is flagged" in page.text
    shown = [image["alt"] for image in page.having("img")]
    assert shown == ["picture of the pixels", "picture of the mask"]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [(10021.94, math.nan, "10022"), (0.07588, 0.0113, "0.076 \u00b1 0.011"), (5.0, 0.0, "5"),
     (math.nan, 1.0, ""), (3.2e7, 1.2e5, "3.2e+07 \u00b1 1.2e+05"),
     (-0.5, 0.4, "-0.50 \u00b1 0.40")],
)  # fmt: skip
def test_numbers_have_the_digits_of_their_errors(value: float, error: float, text: str) -> None:
    from skipstream.report import _Number, _shown

    assert _shown(_Number(value, error)) == text


def test_a_fit_that_fails_is_told(tmp_path: Path) -> None:
    from astropy.io import fits

    samples = np.random.default_rng(1).normal(1000, 10, (40, 60 * 9)).astype("i2")
    fits.PrimaryHDU(samples, fits.Header({"NDCMS": 9})).writeto(tmp_path / "raw.fits")
    config = {
        "stage": [{"kind": "compress_skips"}, {"kind": "subtract_pedestal"}],
        "measure": [{"kind": "fit_dark_current"}],
    }
    list(sk.run(sk.load_config(config), [tmp_path / "raw.fits"], output=tmp_path / "out"))
    page = Page(sk.write_report(tmp_path / "out").read_text(encoding="utf-8"))
    assert "a fit failed in 1 of 1" in page.text
    assert "no single-electron peak" in page.text


def test_the_command_writes_the_page_into_the_folder(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    done = CliRunner().invoke(main, ["report", str(tmp_path / "out"), "--images", "0"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out/report.html").stat().st_size > 10_000
    none = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert none.exit_code == 2
    assert "no run.jsonl: no run has written here" in none.output


def equal(one: Any, other: Any) -> bool:
    if is_dataclass(one):
        assert type(one) is type(other)
        return all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, np.ndarray):
        names = one.dtype.names
        if names:
            return names == other.dtype.names and all(equal(one[n], other[n]) for n in names)
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other or (one != one and other != other))


def test_results_come_back_as_they_were(out: Path, tmp_path: Path) -> None:
    path = out.parent / "Img_1.fits"
    (result,) = sk.run(sk.load_config(CONFIG), [path])
    read = sk.read_results(out / "Img_1_measures.json")
    (measures,) = read.values()
    assert list(measures) == list(result.measures)
    for name, measure in measures.items():
        assert equal(result.measures[name], measure), name
        assert repr(measure) == repr(result.measures[name])
        assert measure.plot() is not None


PACKED = (
    '{"skipstream_results": 1, "results": [{"amplifier": "U", "measure": "m", "result": {"is": '
    '"packed", "dtype": "<f8", "stored": "|u1", "shape": [3], "base64": "AAAA"}}]}'
)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("no json", "no JSON"),
        ("[]", "skipstream_results must be 1"),
        ('{"skipstream_results": 2}', "got 2"),
        ('{"skipstream_results": 1}', "results that are none"),
        ('{"skipstream_results": 1, "results": [{"amplifier": "U", "measure": "m", "result": 5}]}',
         "a int is no result"),
        ('{"skipstream_results": 1, "results": [{"amplifier": "U", "measure": "m", "result": '
         '{"is": "Popen", "args": "x"}}]}', "Popen"),
        ('{"skipstream_results": 1, "results": [{"amplifier": "U", "measure": "m", "result": '
         '{"is": "FitResult"}}]}', "notes"),
        *((PACKED.replace("<f8", text), "no array has the type")
          for text in ("O", "<U999", "U0", "M8[s]", "<f16", "V8", "S3")),
        (PACKED.replace('"<f8"', "null"), "no array has the type"),
        (PACKED.replace("|u1", "M8[s]"), "no array has the type"),
        (PACKED.replace("<f8", "<U9"), "|u1 holds no <U9"),
        *((PACKED.replace("[3]", text), "no array has the shape")
          for text in ("null", "[-3]", "3", "[true, 3]")),
        *((PACKED.replace('"packed"', '"array"').replace('"base64"', '"values"').replace("<f8", t),
           "no array has the type") for t in ("O", "S2000000000", "U500000000")),
        (PACKED[: PACKED.index('{"is')] + '{"is": "table", "columns": {"a": {"is": "array", '
         '"dtype": "<f8", "values": [1, 2]}, "b": {"is": "array", "dtype": "<U9", "values": ["x"]}}'
         "}}]}", "differ in length"),
        (PACKED, "a ndarray is no result"),
        (PACKED.replace("AAAA", "AAA"), "results that are none"),
        (PACKED.replace("[3]", "[4]"), "reshape"),
    ],
)  # fmt: skip
def test_results_that_are_none_are_refused(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "x_measures.json"
    path.write_text(text)
    with pytest.raises(sk.ConfigError, match=re.escape(wrong)):
        sk.read_results(path)


def test_large_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    n = 1200
    whole = random.integers(-5, 300, n)
    arrays = [
        random.normal(size=n), random.normal(size=(30, 40)).astype("f4"), random.random(n) < 0.5,
        whole, whole.reshape(40, 30)[:, ::2].repeat(3, axis=0), whole.astype("i2"),
        np.where(whole < 0, whole, 2**62), np.where(whole < 0, 0, 2**64 - 1).astype("u8"),
        np.full(n, np.nan), np.array(["1", "111", "21", "", "\u00e9"] * 240), whole.astype(">i4"),
        np.array(["1", "111", "21", ""] * 300), np.array(["12"] * n).astype(">U2"),
    ]  # fmt: skip
    places = np.zeros(n, [("pattern", "U3"), ("row", "i8"), ("column", "i8")])
    places["pattern"], places["row"] = arrays[-2], whole
    results = [
        ("U", f"m{i}", sk.FitResult("x", {}, {}, {}, model=array)) for i, array in enumerate(arrays)
    ]
    results.append(("U", "p", sk.Patterns({"1": 3}, places, "row", 5)))
    write_results(tmp_path / "x_measures.json", results)
    read = sk.read_results(tmp_path / "x_measures.json")["U"]
    for i, array in enumerate(arrays):
        model = read[f"m{i}"].model
        assert model.dtype == array.dtype and model.shape == array.shape
        assert np.array_equal(model, array, equal_nan=array.dtype.kind == "f"), i
    assert np.array_equal(read["p"].positions, places)
    assert len((tmp_path / "x_measures.json").read_bytes()) < 150_000


def test_results_are_plain_json(out: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (out / "Img_2_measures.json").read_text()
    content = json.loads(text, parse_constant=refuse)
    assert {line["measure"] for line in content["results"]} >= {"quality", "fit_dark_current"}


def test_pictures_of_large_planes_keep_their_last_pixels() -> None:
    plane = np.zeros((1303, 5))
    plane[1302, 4] = 7
    plane[0, 0] = np.nan
    small = _reduced(plane, np.fmax)
    assert small.shape == (435, 5)
    assert small[-1, -1] == 7
    assert small[0, 0] == 0
    assert np.array_equal(_reduced(plane[:600], np.fmax), plane[:600], equal_nan=True)


def test_verdicts_of_a_comparison_are_on_the_page(out: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"Img_{seed}.fits" for seed in (4, 5, 6)]
    for seed, path in enumerate(paths, start=4):
        simulate(path, n_rows=120, n_cols=160, n_skips=60, seed=seed, read_noise=12.0)
    run = tmp_path / "run"
    assert all(r.status == "done" for r in sk.run(sk.load_config(CONFIG), paths, output=run))
    comparison = sk.compare_runs(run, out)
    write_comparison(comparison)
    text = Page(sk.write_report(run).read_text(encoding="utf-8")).text
    bad = [e for e in comparison.elements if e.verdict == "bad"]
    n_ok = sum(e.verdict == "ok" for e in comparison.elements)
    assert "active_mad" in {e.name for e in bad}
    for element in bad:
        assert f"bad {element.amplifier} {element.name}" in text
    assert f"bad : against {out} ; {n_ok} elements are ok." in text


def test_names_of_amplifiers_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    simulate(path, n_rows=20, n_cols=40, n_skips=5, seed=1)
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus:
            if hdu.data is not None:
                hdu.header["EXTNAME"] = HOSTILE
    config = sk.load_config({"stage": CONFIG["stage"][:1]})
    (result,) = sk.run(config, [path], output=tmp_path / "out")
    assert result.status == "done"
    page = Page(sk.write_report(tmp_path / "out").read_text(encoding="utf-8"))
    assert HOSTILE.upper() in page.text.upper()
    assert not any(str(i.get("src", "")).startswith("x") for i in page.having("img"))
