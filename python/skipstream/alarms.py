"""What alarms of a config come to: an event, a line of the log and the journal, a command."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import _core

__all__ = ["Alarm", "alarms_markdown", "start_command", "tell", "wrong_alarms"]


@dataclass(frozen=True)
class Alarm:
    """An ``[[alarm]]`` whose condition has come true.

    Attributes
    ----------
    name
        Of the config, or the condition.
    when
        The condition, such as ``"noise_e > 0.25 for 5 rows"``.
    first_row, row
        Since which row it holds, and the last one so far; of the whole image, 0 and its last row.
    value
        Of that row, or of the image.
    """

    name: str
    when: str
    first_row: int
    row: int
    value: float

    def __str__(self) -> str:
        text = self.name if self.name == self.when else f"{self.name} ({self.when})"
        alone = self.first_row == self.row
        rows = f"row {self.row}" if alone else f"rows {self.first_row} to {self.row}"
        return f"{text}: {self.value:.6g} in {rows}"


def wrong_alarms(tables: Any) -> list[str]:
    """All that is wrong with ``[[alarm]]`` tables, each with the number of the alarm."""
    if not isinstance(tables, list):
        return ["alarm: must be tables, [[alarm]]"]
    problems = list(_core.check_alarms(tables))
    for number, table in enumerate(tables):
        for key in ("name", "when"):
            word = table.get(key, "") if isinstance(table, Mapping) else ""
            if isinstance(word, str) and not word.isprintable():
                problems.append(f"alarm[{number}].{key}: must not hold control characters")
        command = table.get("command", []) if isinstance(table, Mapping) else []
        words = [command] if isinstance(command, str) else command
        if isinstance(words, list) and any(isinstance(w, str) and "\0" in w for w in words):
            problems.append(f"alarm[{number}].command: must not hold the character 0")
    return problems


def _warn(text: str, *values: object) -> None:
    import logging  # with what tells an alarm: not with the package

    logging.getLogger("skipstream").warning(text, *values)


def tell(alarm: Alarm, path: Path, amplifier: str, folder: Path | None) -> None:
    """Write an alarm to the log, and to the journal of a folder."""
    _warn("alarm: %s %s: %s", path, amplifier, alarm)
    if folder is not None:
        from .ledger import Ledger

        entry = {"event": "alarm", "path": str(path.absolute()), "amplifier": amplifier}
        Ledger(folder).write({**entry, **asdict(alarm)}, sync=False)


def start_command(command: Sequence[str], alarm: Alarm, path: Path, amplifier: str) -> None:
    """Start a program without a shell, and do not wait for it; the log says how it fails."""
    import subprocess
    import threading

    told = {
        "SKIPSTREAM_ALARM": alarm.name,
        "SKIPSTREAM_PATH": str(path),
        "SKIPSTREAM_AMPLIFIER": amplifier,
        "SKIPSTREAM_ROW": str(alarm.row),
        "SKIPSTREAM_VALUE": repr(alarm.value),
    }
    try:
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError) as error:
        _warn("alarm: %s: cannot start %s: %s", alarm.name, command[0], error)
        return

    def wait() -> None:
        if code := process.wait():
            _warn("alarm: %s: %s ended with %s", alarm.name, command[0], code)

    threading.Thread(target=wait, daemon=True).start()


def alarms_markdown() -> str:
    """The tables of the page on alarms: keys, and statistics."""
    schema = _core.alarm_schema()
    lines = ["| key | meaning |", "|---|---|"]
    lines += [f"| `{p['name']}` | {p['doc']} |" for p in schema["parameters"]]
    lines += ["", "| statistic | meaning | known |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {doc} | {'when the image has ended' if of_image else 'by row'} |"
        for name, doc, of_image in schema["statistics"]
    ]
    return "\n".join(lines) + "\n"
