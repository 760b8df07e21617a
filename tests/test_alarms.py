"""Statistics of rows, and alarms: the same from every way in which rows come."""

from __future__ import annotations

import itertools
import json
import logging
import operator
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import skipstream as sk
from skipstream import _core, alarms
from skipstream.cli import main

sys.path.insert(0, str(Path(__file__).parent))
import reference

ROOT = Path(__file__).resolve().parent.parent
STAGES = [
    {"kind": "compress_skips"},
    {"kind": "subtract_pedestal"},
    {"kind": "calibrate", "gain": 5.0},
    {"kind": "find_clusters", "noise": 1.0},
]
ALARMS = [
    {"when": "noise_e > 2 for 3 rows", "name": "noisy"},
    {"when": "mean_noise > 5"},
    {"when": "n_clusters < 0"},
]


def noisy_image() -> NDArray[np.uint16]:
    """Rows 8 to 13 and 17 to 19 scatter 40 ADU, the others 1 ADU; 5 ADU are an electron."""
    rng = np.random.default_rng(3)
    pixels = rng.normal(1000, 1, (20, 60))
    for rows in (slice(8, 14), slice(17, 20)):
        pixels[rows] += rng.normal(0, 40, pixels[rows].shape)
    return np.rint(pixels[..., None] + rng.normal(0, 1, (20, 60, 4))).astype("u2")


def write_image(path: Path) -> Path:
    with fitsio.FITS(str(path), "rw") as out:
        out.write(noisy_image().reshape(20, -1))
    return path


def config(**changes: Any) -> sk.Config:
    tables = {"input": {"n_skips": 4, "overscan_cols": 20}, "stage": STAGES, "alarm": ALARMS}
    return sk.load_config({**tables, **changes})


def pushed(samples: NDArray[Any], cuts: list[int], **given_: Any) -> list[sk.PipelineOutput]:
    n_rows, n_cols, n_skips = samples.shape
    pipeline = sk.Pipeline(
        STAGES, n_cols=n_cols, n_skips=n_skips, dtype=samples.dtype, overscan_cols=20,
        row_statistics=True, **given_,
    )  # fmt: skip
    parts = [
        pipeline.push(samples[begin:end])
        for begin, end in itertools.pairwise([0, *sorted(cuts), n_rows])
    ]
    return [*parts, pipeline.finish()]


@pytest.mark.parametrize("cuts", [[], [7], list(range(1, 20))])
def test_statistics_of_rows_are_their_definition(cuts: list[int]) -> None:
    samples = noisy_image()
    samples[4, :3] = 65535  # saturated
    outputs = pushed(samples, cuts, blank=1000)
    found = np.concatenate([output.row_statistics for output in outputs])
    mask = np.concatenate([output.mask for output in outputs])
    values = sk.compress_skips(samples, ["mean"], blank=1000)
    expected = reference.row_statistics(values["mean"], values["mask"], 40, 60, gain=5.0)
    assert found["row"].tolist() == list(range(20))
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column, err_msg=name)
    assert expected["n_missing"].sum() == np.count_nonzero(mask & 0b11) > 0


def test_rows_that_did_not_come_have_no_noise_and_count_as_missing() -> None:
    pipeline = sk.Pipeline(
        STAGES, n_cols=60, n_skips=4, dtype="u2", overscan_cols=20, row_statistics=True,
        alarms=[{"when": "n_missing >= 60"}, {"when": "noise < 1e9 for 2 rows"}],
    )  # fmt: skip
    pipeline.push(noisy_image()[:1])
    output = pipeline.push_missing(1)
    assert np.isnan(output.row_statistics["noise"][0])
    assert output.row_statistics["n_missing"][0] == 60
    assert [(a.when, a.row, a.value) for a in output.alarms] == [("n_missing >= 60", 1, 60.0)]
    assert pipeline.push(noisy_image()[:1]).alarms == ()


@given(
    values=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    sign=st.sampled_from([">", ">=", "<", "<="]),
    n_rows=st.integers(1, 4),
    threads=st.integers(1, 2),
)
def test_an_alarm_comes_once_until_a_row_is_fine(
    values: list[int], sign: str, n_rows: int, threads: int
) -> None:
    pipeline = sk.Pipeline(
        [{"kind": "compress_skips"}], n_cols=5, n_skips=1, dtype="u2", threads=threads,
        alarms=[{"when": f"pedestal {sign} 2 for {n_rows} rows", "name": "a"}],
    )  # fmt: skip
    samples = np.repeat(np.array(values, "u2"), 5).reshape(-1, 5, 1)
    came = [*pipeline.push(samples).alarms, *pipeline.finish().alarms]
    holds = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}[sign]
    expected = []
    for good, rows in itertools.groupby(range(len(values)), lambda row: not holds(values[row], 2)):
        bad = [] if good else list(rows)
        if len(bad) >= n_rows:
            expected.append((bad[0], bad[n_rows - 1], float(values[bad[n_rows - 1]])))
    assert [(a.first_row, a.row, a.value) for a in came] == expected


def check_alarms(report: list[dict[str, Any]]) -> None:
    assert [(a["name"], a["first_row"], a["row"]) for a in report] == [
        ("noisy", 8, 10), ("noisy", 17, 19), ("mean_noise > 5", 0, 19),
    ]  # fmt: skip


def grow(source: Path, target: Path) -> threading.Thread:
    data = source.read_bytes()
    target.touch()

    def write() -> None:
        for begin in range(0, len(data), 1501):
            with target.open("ab") as out:
                out.write(data[begin : begin + 1501])
            time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def journal(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "run.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == "alarm"]


def test_a_run_reports_logs_and_notes_alarms(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image(tmp_path / "raw.fits")
    updates: list[sk.LiveUpdate] = []
    (result,) = sk.run(config(), [path], output=tmp_path / "out", live=updates.append)
    check_alarms(result.report["alarms"])
    check_alarms(journal(tmp_path / "out"))
    assert [str(a) for u in updates for a in u.alarms] == [
        record.getMessage().split(": ", 2)[2] for record in caplog.records
    ]
    message = caplog.records[0].getMessage()
    assert re.fullmatch(rf"alarm: {path} \w+: noisy \(noise_e > 2 for 3 rows\): [\d.]+ in "
                        "rows 8 to 10", message)  # fmt: skip


def test_a_file_that_is_followed_raises_them(tmp_path: Path) -> None:
    raw = write_image(tmp_path / "raw.fits")
    writer = grow(raw, tmp_path / "growing.fits")
    (result,) = sk.run(config(), [tmp_path / "growing.fits"], follow=0.4)
    writer.join()
    check_alarms(result.report["alarms"])


def test_the_command_follow_prints_them(tmp_path: Path) -> None:
    raw = write_image(tmp_path / "raw.fits")
    text = "[input]\nn_skips = 4\noverscan_cols = 20\n" + "".join(
        "[[stage]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in stage.items())
        for stage in STAGES
    )
    (tmp_path / "cfg.toml").write_text(text + '[[alarm]]\nwhen = "noise_e > 2 for 3 rows"\n')
    words = ["follow", str(raw), "--config", str(tmp_path / "cfg.toml"), "--patience", "0.2"]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["row"] for e in events if e["event"] == "alarm"] == [10, 19]
    assert "skipstream: alarm: " in done.stderr
    logging.getLogger("skipstream").handlers.clear()


def test_a_folder_that_is_watched_raises_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in/raw.fits")
    watched = sk.watch(config(), tmp_path / "in", output=tmp_path / "out", poll=0.02, settle=0.05)
    check_alarms(next(iter(watched)).report["alarms"])
    check_alarms(journal(tmp_path / "out"))
    watched.close()  # type: ignore[attr-defined]


def test_rows_over_a_socket_raise_them(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    stop = threading.Event()
    served = sk.serve(
        config(input={"overscan_cols": 20}), output=tmp_path, address=address, stop=stop
    )
    server = threading.Thread(target=lambda: list(served))
    server.start()
    facts = {"n_rows": 20, "n_cols": 60, "n_skips": 4, "dtype": "<u2"}
    try:
        with sk.RowSender(address) as sender:
            sender.begin("sent", {"L": facts})
            for row in noisy_image():
                sender.send("L", row)
            sender.end()
    finally:
        stop.set()
        server.join()
    check_alarms(journal(tmp_path))


@pytest.mark.parametrize("allowed", [False, True])
def test_a_command_starts_only_where_it_is_allowed(tmp_path: Path, allowed: bool) -> None:
    path = write_image(tmp_path / "raw.fits")
    code = (
        "import os, sys; open(sys.argv[1], 'a').write(' '.join("
        "os.environ['SKIPSTREAM_' + k] for k in ('ALARM', 'PATH', 'ROW')) + sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "told"), "; $HOME `id`"]
    wanted = config(alarm=[{"when": "noise_e > 2 for 6 rows", "command": command}])
    (result,) = sk.run(wanted, [path], alarm_commands=allowed)
    assert len(result.report["alarms"]) == 1
    end = time.monotonic() + (20 if allowed else 0.5)
    while time.monotonic() < end and not (allowed and (tmp_path / "told").exists()
                                          and (tmp_path / "told").read_text()):  # fmt: skip
        time.sleep(0.02)
    told = tmp_path / "told"
    assert told.exists() == allowed
    if allowed:
        assert told.read_text() == f"noise_e > 2 for 6 rows {path} 13; $HOME `id`"


def test_a_command_that_fails_is_told_and_nothing_else_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image(tmp_path / "raw.fits")
    for command in ([str(tmp_path / "none")], [sys.executable, "-c", "raise SystemExit(3)"]):
        wanted = config(alarm=[{"when": "noise_e > 2 for 6 rows", "command": command}])
        (result,) = sk.run(wanted, [path], alarm_commands=True)
        assert result.status == "done"
    end = time.monotonic() + 20
    while time.monotonic() < end and "ended with 3" not in caplog.text:
        time.sleep(0.02)
    assert "cannot start" in caplog.text
    assert "ended with 3" in caplog.text


def test_mistakes_are_told_with_their_line() -> None:
    text = '[[stage]]\nkind = "compress_skips"\n[[alarm]]\nname = "a"\nwhen = "nose > 2"\n'
    with pytest.raises(sk.ConfigError) as error:
        sk.load_config(text + '[[alarm]]\nwhne = "noise > 2"\n')
    assert str(error.value).splitlines() == [
        'config:5: alarm[0].when: no statistic "nose"; did you mean "noise"?',
        'config:7: alarm[1]: no key "whne"; did you mean "when"?',
        'config:6: alarm[1].when: is missing; such as "noise_e > 0.25 for 5 rows"',
    ]
    for when, part in (
        ("noise_e > 2", "alarm[0].when: noise_e needs a gain that is known before the first row"),
        ("n_clusters > 2", "alarm[0].when: n_clusters needs the stage find_clusters"),
        ("noise > 2 for 0 rows", 'alarm[0].when: must be such as "noise_e > 0.25"'),
        *(
            (when, "alarm[0].when: must be such as")
            for when in (
                "noise > nan",
                "noise > x",
                "noise >",
                "noise = 2",
                "noise > 2 of 3 rows",
                "",
                "noise > 2 for 3 cols",
                "noise > 2 for x rows",
                "noise > 2 for 3",
            )
        ),
        ("total_missing > 5 for 2 rows", 'is of the whole image; remove "for 2 rows"'),
    ):
        with pytest.raises(sk.ConfigError, match=re.escape(part)):
            sk.Pipeline([{"kind": "compress_skips"}], n_cols=4, n_skips=2, dtype="u2",
                        alarms=[{"when": when}])  # fmt: skip
    for bad in ({"when": "noise > 2", "name": "\x1b[2J"}, {"when": "noise > 2", "command": ["\0"]}):
        with pytest.raises(sk.ConfigError, match="must not hold"):
            config(alarm=[bad])
    assert alarms.wrong_alarms([3])[0] == "alarm[0]: must be a table, [[alarm]]"
    assert alarms.wrong_alarms([{"when": 3}]) == ["alarm[0].when: must be a string; got 3"]
    with pytest.raises(sk.ConfigError, match=re.escape("alarm: must be tables, [[alarm]]")):
        config(alarm={"when": "noise > 2"})


def test_samples_that_lack_their_largest_have_a_noise_but_no_pedestal() -> None:
    stages = [{"kind": "correct_polarity", "method": "max"}, {"kind": "compress_skips"}]
    given_: dict[str, Any] = {"n_cols": 60, "n_skips": 4, "dtype": "i4", "overscan_cols": 20}
    with pytest.raises(sk.ConfigError, match="mean_pedestal is not known before the last row"):
        sk.Pipeline(stages, **given_, alarms=[{"when": "mean_pedestal > 2"}])
    pipeline = sk.Pipeline(stages, **given_, row_statistics=True, alarms=[{"when": "noise > 9"}])
    output = pipeline.push(noisy_image().astype("i4"))
    assert np.isnan(output.row_statistics["pedestal"]).all()
    assert [alarm.row for alarm in output.alarms] == [8, 17]


def test_pixels_without_an_end_are_left_out() -> None:
    samples = np.ones((1, 4, 1))
    samples[0, 1] = np.inf
    pipeline = sk.Pipeline(
        [{"kind": "compress_skips"}], n_cols=4, n_skips=1, dtype="f8", row_statistics=True
    )
    assert pipeline.push(samples).row_statistics["pedestal"].tolist() == [1.0]


def test_the_page_says_what_the_core_says() -> None:
    assert alarms.alarms_markdown() in (ROOT / "docs/live.md").read_text()
    assert "# [[alarm]]" in sk.init_config()
    active = re.sub(r"(?m)^# (\[\[alarm\]\]|when = )", r"\1", sk.init_config())
    assert sk.load_config(active).alarms == ({"when": "noise > 8.0 for 5 rows"},)
    assert {name for name, _, _ in _core.alarm_schema()["statistics"]} >= {"noise_e", "n_clusters"}
