"""Print the reports of a sanitizer that have a frame of ours; an error if there is any.

    python tests/reports.py build/thread/report.*

The interpreter and NumPy are not built with it: what only they do, such as memory that they keep
until the process ends, is no concern of ours, and neither are the types that our module registers
when it is imported.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OURS = re.compile(r"skipstream::|(?<!iminuit)/_core\.|/cpp/(src|include)/|/src/\w+\.cpp")
AT_IMPORT = "PyInit__core"


def reports(text: str) -> list[str]:
    """One text per data race, leak or bad access."""
    parts = re.split(r"^=+\n|\n(?=(?:Direct|Indirect) leak of)", text, flags=re.MULTILINE)
    return [part for part in parts if re.search(r"^\s+#\d+ ", part, re.MULTILINE)]


def main() -> int:
    n_reports, ours = 0, []
    for name in sys.argv[1:]:
        found = reports(Path(name).read_text(errors="replace"))
        n_reports += len(found)
        ours += [part for part in found if OURS.search(part) and AT_IMPORT not in part]
    print(*ours, sep="\n")
    print(f"{n_reports} reports, {len(ours)} with a frame of ours")
    return int(bool(ours))


if __name__ == "__main__":
    sys.exit(main())
