"""Pictures of any file at a glance, and plots of measures in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from click.testing import CliRunner

import skipstream as sk
from skipstream.cli import main
from skipstream.image_quality import NAMES as QUALITIES
from skipstream.looks import save_plots
from skipstream.simulate import simulate

CONFIG: dict[str, Any] = {
    "input": {"overscan_cols": 20},
    "stage": [
        {"kind": "compress_skips"},
        {"kind": "subtract_pedestal"},
        {"kind": "calibrate", "gain": 5.0},
        {"kind": "find_clusters", "threshold": 4.0, "seed": 10.0},
    ],
    "measure": [{"kind": "noise_vs_skips"}, {"kind": "find_patterns"}, {"kind": "charge_loss"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    simulate(folder / "raw.fits", n_rows=40, n_cols=90, n_skips=20, layout="lta", overscan_cols=20)
    outputs = [
        {"after": "find_clusters", "path": "{stem}_planes.fits"},
        *({"after": "find_clusters", "path": f"{{stem}}_clusters{ending}"}
          for ending in (".fits", ".csv", ".ecsv", ".parquet")),
        {"path": "{stem}_measures.json"},
    ]  # fmt: skip
    config = sk.load_config({**CONFIG, "output": outputs})
    assert all(r.status == "done" for r in sk.run(config, [folder / "raw.fits"], output=folder))
    return folder


def titles(figure: Any) -> list[str]:
    return [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]


def test_raw_samples_are_drawn_of_every_amplifier(folder: Path) -> None:
    shown = titles(sk.quick_look(folder / "raw.fits"))
    assert sum("mean of 20 samples" in title for title in shown) == 4
    one = titles(sk.quick_look(folder / "raw.fits", amplifiers=["EXT2"]))
    assert [title for title in one if "mean of" in title] == ["EXT2, mean of 20 samples"]


def test_planes_tables_and_results_are_drawn(folder: Path) -> None:
    assert sum("profiles" in t for t in titles(sk.quick_look(folder / "raw_planes.fits"))) == 4
    expected = titles(sk.quick_look(folder / "raw_clusters.fits"))
    assert sum("clusters" in title for title in expected) >= 2
    for ending in (".csv", ".ecsv", ".parquet"):
        assert titles(sk.quick_look(folder / f"raw_clusters{ending}")) == expected
    results = titles(sk.quick_look(folder / "raw_measures.json"))
    assert "EXT1: noise_vs_skips" in results
    assert "EXT1: charge_loss" in results


def test_compressed_raw_samples_are_drawn(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(1000, 10, (30, 40 * 10)).astype("i2")
    with fitsio.FITS(str(tmp_path / "raw.fits"), "rw") as file:
        file.write(samples, compress="RICE", header={"NDCMS": 10})
    assert any("mean of 10 samples" in t for t in titles(sk.quick_look(tmp_path / "raw.fits")))


def test_an_array_is_drawn(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(3, 1, (7, 9))
    pixels[2, 3] = np.nan
    np.save(tmp_path / "pixels.npy", pixels)
    assert "62 pixels" in titles(sk.quick_look(tmp_path / "pixels.npy"))


@pytest.mark.parametrize("pixels", [np.full((3, 4), np.nan), np.zeros((1, 1)), np.zeros((5, 1))])
def test_odd_pixels_are_drawn(pixels: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", pixels)
    sk.quick_look(tmp_path / "odd.npy").savefig(tmp_path / "odd.png")


def test_what_cannot_be_drawn_is_refused_by_its_name(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    with pytest.raises(sk.ConfigError, match=r"cube\.npy: must hold \(n_rows, n_cols\) pixels"):
        sk.quick_look(tmp_path / "cube.npy")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(sk.IoError, match=r"objects\.npy: cannot read"):
        sk.quick_look(tmp_path / "objects.npy")
    (tmp_path / "bad.fits").write_text("no image")
    with pytest.raises(sk.Error, match=r"bad\.fits: not a FITS file"):
        sk.quick_look(tmp_path / "bad.fits")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(sk.ConfigError, match=r"other\.csv: there is nothing to draw"):
        sk.quick_look(tmp_path / "other.csv")
    with pytest.raises(sk.Error, match="EXT9"):
        sk.quick_look(folder / "raw.fits", amplifiers=["EXT9"])


def test_the_command_saves_a_picture_and_says_where(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["show", str(folder / "raw.fits")])
    assert done.exit_code == 0, done.output
    assert done.output == "raw_look.png\n"
    assert (tmp_path / "raw_look.png").read_bytes().startswith(b"\x89PNG")
    for name, begin in (("a.pdf", b"%PDF"), ("a.svg", b"<?xml")):
        saved = CliRunner().invoke(main, ["show", str(folder / "raw_planes.fits"), "-o", name])
        assert saved.exit_code == 0, saved.output
        assert (tmp_path / name).read_bytes().startswith(begin)
    wrong = CliRunner().invoke(main, ["show", str(folder / "raw.fits"), "-o", "a.gif"])
    assert (wrong.exit_code, "must end in .png, .pdf, .svg" in wrong.output) == (2, True)
    (tmp_path / "raw_look.png").unlink()
    screen = CliRunner().invoke(main, ["show", str(folder / "raw.fits"), "--display"])
    assert (screen.exit_code, "there is no screen" in screen.output) == (0, True)
    assert "raw_look.png\n" in screen.output
    assert (tmp_path / "raw_look.png").is_file()


def test_a_run_saves_its_plots(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "cfg.toml"
    config.write_text('[[stage]]\nkind = "compress_skips"\n[[measure]]\nkind = "charge_loss"\n')
    done = CliRunner().invoke(
        main, ["run", str(config), str(folder / "raw.fits"), "-o", str(tmp_path), "--save-plots"]
    )
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == [f"raw_EXT{n}_charge_loss.{e}" for n in range(4) for e in ("pdf", "png")]


def test_calibrations_and_defects_save_their_plots(tmp_path: Path) -> None:
    pytest.importorskip("iminuit")
    raw = tmp_path / "raw.fits"
    simulate(raw, n_rows=80, n_cols=120, n_skips=200, seed=2, dark_current=0.3)
    target = tmp_path / "cal/calibration.toml"
    target.parent.mkdir()
    done = CliRunner().invoke(main, ["calibrate", str(raw), "-o", str(target), "--save-plots"])
    assert done.exit_code == 0, done.output
    names = {path.name for path in (target.parent / "plots").iterdir()}
    kinds = ("gain", "raw_fit_dark_current", "raw_fit_calibration")
    assert names == {f"calibration_EXT0_{kind}.{e}" for kind in kinds for e in ("pdf", "png")}
    config = tmp_path / "cfg.toml"
    config.write_text('[[stage]]\nkind = "compress_skips"\n[[stage]]\nkind = "subtract_pedestal"\n')
    done = CliRunner().invoke(
        main, ["defects", str(raw), "--config", str(config), "--threshold", "50", "-o",
               str(tmp_path / "mask.fits"), "--save-plots"]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "plots/mask_EXT0_defects.png").is_file()


def test_every_fit_shows_its_residuals(tmp_path: Path) -> None:
    pytest.importorskip("iminuit")
    random = np.random.default_rng(3)
    pixels = 5 * random.poisson(0.3, (400, 100)) + random.normal(0, 0.8, (400, 100))
    _, slices = sk.fit_dark_current_slices(pixels, step=100)
    noise = sk.noise_vs_skips(random.normal(0, 1, (500, 20)))
    for result in (sk.fit_dark_current(pixels), sk.fit_calibration(pixels), slices, noise):
        assert result.status == "ok", result
        (below,) = result.plot().child_axes
        assert below.get_ylabel() == "residual (\u03c3)"
        assert sum(len(line.get_xdata()) for line in below.lines) > 3


def test_counts_of_a_sample_are_drawn() -> None:
    from skipstream.image_quality import SampleCounts

    ax = SampleCounts(100.0, np.array([3, 0, 5]), n_above=2).plot()
    assert ax.get_xlim()[0] <= 99.5
    assert "2 above" in ax.get_title()


def test_quality_of_one_sample_is_shown_as_text(tmp_path: Path) -> None:
    result = sk.Quality(
        1, dict.fromkeys(QUALITIES, -1.0), dict.fromkeys(QUALITIES, -1.0), np.zeros(0)
    )
    ax = result.plot()
    assert "makes no sense here" in ax.texts[0].get_text()


def test_names_of_plots_stay_in_their_folder(tmp_path: Path) -> None:
    noise = sk.noise_vs_skips(np.random.default_rng(1).normal(0, 1, (500, 20)))
    empty = sk.find_patterns(np.zeros((3, 3)))
    written = save_plots(tmp_path / "p", "raw", "../\u00fc", {"a:b": noise, "none": empty})
    names = {path.name for path in written}
    assert {"raw_%2e%2e%2f%fc_a%3ab.png", "raw_%2e%2e%2f%fc_a%3ab.pdf"} <= names
    assert {path.parent for path in written} == {tmp_path / "p"}


def test_what_a_run_its_cuts_and_its_calibration_give_can_be_drawn(folder: Path) -> None:
    results = list(sk.run(sk.load_config(CONFIG), [folder / "raw.fits"]))
    drawn = results[0].plot()
    assert drawn.get_title(loc="left") == "raw.fits, EXT0"
    _, flow = sk.select_clusters(results[0].clusters, {"n_pixels": (2, None)})
    bars = flow.plot().patches
    assert [bar.get_width() for bar in bars] == [flow.n_rows, *flow.n_left]
    (written,) = (r for r in sk.run(sk.load_config(CONFIG), [folder / "raw.fits"],
                                    output=folder / "again") if r.amplifier == "EXT0")  # fmt: skip
    with pytest.raises(ValueError, match=r"raw\.fits has no planes here"):
        written.plot()


def test_gains_of_files_are_drawn_around_their_mean(tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        paths.append(tmp_path / f"{seed}.fits")
        simulate(paths[-1], n_rows=100, n_cols=150, n_skips=200, seed=seed, dark_current=0.3)
    (calibration,) = sk.calibrate(paths)
    ax = calibration.plot()
    low, high = ax.get_ylim()
    assert low < calibration.values["gain"] < high
    assert "2 of 2 files" in ax.get_title()


def test_a_comparison_is_drawn_with_its_verdicts(folder: Path) -> None:
    config = sk.load_config(CONFIG)
    for name in ("one", "two"):
        list(sk.run(config, [folder / "raw.fits"], output=folder / name))
    comparison = sk.compare_runs(folder / "one", folder / "two")
    ax = comparison.plot()
    assert len(ax.get_yticklabels()) == min(25, len(comparison.elements))
    assert comparison.verdict in ax.get_title()
