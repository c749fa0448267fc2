"""What was set on a node while it ran, kept by its supervisor's folder for the node that replaces it after a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from react_ros.io import atomic_write
from react_ros.supervision.heartbeats import supervisor_folder

ATTEMPTS = 3
"""Starts in a row with the same settings; if none of them lasts, the settings are taken for the reason of the crash."""


class KeptSettings:
    """The settings of one node. Without a supervisor nothing is kept, and nothing restored."""

    def __init__(self, node: str) -> None:
        """node: its fully qualified name."""
        folder = supervisor_folder()
        self._file = None if folder is None else folder / "settings" / f"{node.strip('/').replace('/', '.')}.json"
        self._attempts = 0
        self._values: dict[str, Any] = {}
        self.suspected: dict[str, Any] = {}
        """Settings that `restore` gave up, because no node lasted with them."""

    def restore(self) -> dict[str, Any]:
        """The settings kept by the node before this one; empty where there are none, or they may have ended it."""
        if self._file is None:
            return {}
        with suppress(OSError, ValueError, TypeError):
            kept = json.loads(self._file.read_text("utf-8"))
            values, self._attempts = dict(kept["values"]), int(kept["attempts"]) + 1
            if self._attempts > ATTEMPTS:
                self.suspected = values
                self._file.unlink(missing_ok=True)
                return {}
            self._write(values)
            self._values = values
            return values
        return {}

    def keep(self, values: dict[str, Any]) -> None:
        """Keep settings, in place of those before. Raises OSError."""
        self._attempts, self._values = 0, values
        self._write(values)

    def settled(self) -> None:
        """The node has run for a while with its settings: they end no node. Raises OSError."""
        if self._attempts:
            self.keep(self._values)

    def _write(self, values: dict[str, Any]) -> None:
        if self._file is not None:
            content = json.dumps({"values": values, "attempts": self._attempts})
            atomic_write(self._file, content)


def listed(values: dict[str, Any]) -> str:
    """Settings for a sentence: "generator mime, delay 0.4"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
