"""What tests of plots share."""

from __future__ import annotations

from typing import Any


def x_label(ax: Any) -> str:
    """Label of the horizontal axis, which the residuals have where there are any."""
    below = ax.child_axes[-1] if ax.child_axes else ax
    return str(below.get_xlabel())
