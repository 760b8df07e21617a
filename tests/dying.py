"""A job that kills its own process, for test_trust.py; worker processes import it by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def die_once(marker: str, value: int) -> int:
    """Return the square; but 3 dies the first time, and 5 always."""
    if value == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if value == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    return value * value
