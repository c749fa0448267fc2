"""What the diagnostics of a robot's nodes say is wrong, in one sentence each, for its live page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SILENT_S = 3.0
"""A node whose diagnostics have not arrived for so long is silent: dead, stopped or cut off."""
FORGOTTEN_S = 60.0
"""After so long it is taken to have been ended on purpose."""


class Neighbours:
    """The newest diagnostics of each node in a namespace. Times are s of a monotonic clock."""

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace.rstrip('/')}/"
        self._heard: dict[str, tuple[float, bool, str]] = {}

    def heard(self, statuses: Iterable[Any], now: float) -> None:
        """Take over DiagnosticStatus messages; those of other namespaces are left out."""
        for status in statuses:
            if status.name.startswith(self._prefix):
                self._heard[status.name.removeprefix(self._prefix)] = now, status.level != b"\0", status.message

    def trouble(self, now: float) -> str:
        """What is wrong at present; empty: nothing."""
        out = []
        for name, (last, wrong, message) in sorted(self._heard.items()):
            if SILENT_S < now - last < FORGOTTEN_S:
                out.append(f"{name} has been silent for {now - last:.0f} s")
            elif wrong and now - last <= SILENT_S:
                out.append(f"{name}: {message}")
        return "; ".join(out)
