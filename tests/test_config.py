"""Configs: every mistake at once, each with its line and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

import skipstream as sk

GOOD = """
[input]
overscan_cols = 15

[[stage]]
kind = "compress_skips"
statistics = ["mean", "median"]

[[stage]]
kind = "calibrate"
gain = {EXT1 = 5.3, EXT2 = 4.9}

[[output]]
after = "compress_skips"
path = "{stem}_compressed.fits"
"""


def problems_of(text: str, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(sk.ConfigError) as caught:
        sk.load_config(text, overrides)
    return str(caught.value).splitlines()


def test_a_good_config_has_every_default() -> None:
    config = sk.load_config(GOOD)
    assert config.input.overscan_cols == 15
    assert config.stages[0]["ddof"] == 0
    assert config.stages[1]["gain"] == {"EXT1": 5.3, "EXT2": 4.9}
    assert [output.path for output in config.outputs] == ["{stem}_compressed.fits"]


def test_without_outputs_planes_and_clusters_are_written() -> None:
    config = sk.load_config(
        {"stage": [{"kind": "compress_skips"}, {"kind": "find_clusters", "noise": 0.2}]}
    )
    assert [(o.after, o.table) for o in config.outputs] == [
        ("find_clusters", None),
        ("find_clusters", "clusters"),
    ]


def test_every_mistake_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cfg.toml"
    path.write_text(
        '[input]\nprescan = 8\noverscan_cols = -1\n\n[[stage]]\nkind = "compress_skips"\n'
        'statistics = ["mode"]\nddof = -2\n\n[[stage]]\nkind = "subtract_pedestal"\naxs = "row"\n\n'
        '[[stage]]\nkind = "calibrat"\n\n[[output]]\nafter = "calibrate"\npath = "../x.fits"\n'
        "[outptu]\n"
    )
    with pytest.raises(sk.ConfigError) as caught:
        sk.load_config(path)
    text = str(caught.value)
    for expected in (
        'cfg.toml:20: no table "outptu"; did you mean "output"?',
        'cfg.toml:2: input: no key "prescan"; did you mean "prescan_cols"?',
        "cfg.toml:3: input.overscan_cols: must be an integer of at least 0; got -1",
        "cfg.toml:8: stage[0] compress_skips.ddof: must be at least 0; got -2",
        'cfg.toml:7: stage[0] compress_skips.statistics: no statistic "mode"',
        'cfg.toml:12: stage[1] subtract_pedestal: no key "axs"; did you mean "axis"?',
        'cfg.toml:15: stage[2].kind: no stage "calibrat"; did you mean "calibrate"?',
        'cfg.toml:18: output[0].after: no stage "calibrate"; did you mean "calibrat"?',
        "cfg.toml:19: output[0].path: must hold {stem}",
    ):
        assert expected in text, expected + "\n" + text
    assert len(text.splitlines()) == 9


def test_a_pedestal_before_the_compression_names_the_stage() -> None:
    (problem,) = problems_of(
        '[[stage]]\nkind = "subtract_pedestal"\n[[stage]]\nkind = "compress_skips"\n'
    )
    assert "stage[0] subtract_pedestal: works on pixels" in problem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("calibrate.gain=5.2", 5.2),
        ("calibrate.gain=MEGAIN", "MEGAIN"),
        ("calibrate.gain = {A = 1}", {"A": 1.0}),
    ],
)
def test_overrides_win(override: str, expected: object) -> None:
    assert sk.load_config(GOOD, [override]).stages[1]["gain"] == expected


def test_overrides_reach_the_input() -> None:
    assert sk.load_config(GOOD, ["input.overscan_cols=0"]).input.overscan_cols == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("calibrat.gain=1", 'did you mean "calibrate"'),
        ("calibrate.gian=1", 'no key "gian"; did you mean "gain"'),
        ("calibrate", "must be stage.key=value"),
        ("calibrate.gain=0", "must be above 0 ADU/e-; got 0"),
    ],
)
def test_wrong_overrides_are_errors(override: str, message: str) -> None:
    assert message in "\n".join(problems_of(GOOD, (override,)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[stage]\nkind = 1\n", "not TOML"),
        ("x = 1\nx = 2\n", "not TOML"),
        ("\n\n", "no [[stage]]"),
        ("stage = 3\n\n", "no [[stage]]"),
        ('[[stage]]\nkind = "compress_skips"\nsaturation = nan\n', "must be a finite number"),
        ('[[stage]]\nkind = "compress_skips"\nddof = true\n', "must be an integer; got true"),
    ],
)
def test_texts_that_are_no_config_are_errors(text: str, message: str) -> None:
    assert message in "\n".join(problems_of(text))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("input = 3", "input: must be a table, [input]"),
        ("output = 3", "output: must be tables, [[output]]"),
        ("output = [3]", "output: must be tables, [[output]]"),
        ("[input]\nn_skipz = 3", 'no key "n_skipz"; did you mean "n_skips"'),
        ('[input]\nlayout = "leech"', 'did you mean "leach"'),
        ("[input]\nlayout = 7", "must be one of"),
        ("[input]\nkeywords = 7", "must be a table of header keywords"),
        ('[input]\nkeywords = {x = "A"}', "no role 'x'"),
        ('[[output]]\npath = "{stem}.fits"', 'output[0]: no key "after"'),
        ('[[output]]\nafter = "compress_skips"', 'output[0]: no key "path"'),
        ("[[output]]\nafter = 1\npath = 2", "output[0].path: must be a string; got 2"),
        ('[[output]]\nafter = "compres_skips"\npath = "{stem}.fits"', "did you mean"),
        ('[[output]]\nafter = "compress_skips"\npath = "{stem}.fits"\nplane = 1', "planes"),
        ('[[output]]\nafter = "compress_skips"\npath = "{stem}.fits"\nplanes = 1', "a list"),
        ('[[output]]\nafter = "compress_skips"\npath = "{stem}.fits"\ntable = "x"', "clusters"),
        ('[[output]]\nafter = "compress_skips"\npath = "{stem}.csv"', "come from find_clusters"),
        ('[[output]]\nafter = "compress_skips"\npath = "{stem}{x}.fits"', "only {stem}"),
        ("[extra]\nx = 1", 'no table "extra"'),
    ],
)
def test_tables_around_the_stages_are_checked(lines: str, message: str) -> None:
    if lines.startswith("["):
        text = '[[stage]]\nkind = "compress_skips"\n' + lines + "\n"
    else:
        text = lines + '\n[[stage]]\nkind = "compress_skips"\n'
    assert message in "\n".join(problems_of(text))


def test_a_config_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match=r"nowhere.toml: cannot read: No such file"):
        sk.load_config("nowhere.toml")


def test_the_commented_config_loads() -> None:
    text = sk.init_config()
    kinds = [stage["kind"] for stage in sk.load_config(text).stages]
    assert kinds == ["compress_skips", "subtract_pedestal", "calibrate", "find_clusters"]
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and not line.endswith("= ") else line
        for line in text.splitlines()
    )
    assert 'statistics = ["mean", "median", "std"]' in uncommented
