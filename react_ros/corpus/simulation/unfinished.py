"""The folder in which a simulated corpus grows: hidden beside its own, continued by the same command."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from react_ros.io import atomic_write

_PLAN, _LOCK, _DONE = ".plan.json", ".lock", ".done"


class UnfinishedCorpus:
    """Sessions of a corpus that is not complete yet. What was begun with another plan is removed."""

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        """out: the corpus when it is complete. plan: all that its sessions depend on."""
        self._out, self._plan = out, json.dumps(dict(plan), sort_keys=True)
        self.folder = out.parent / f".{out.name}-unfinished"

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Make the folder, or continue the one of an interrupted command; held by one process at a time.

        Raises FileExistsError where another process writes it, OSError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(f"{self._out} is being written by another process: wait for it") from None
            if not self._same_plan():
                for path in self.folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != _LOCK:
                        path.unlink()
                atomic_write(self.folder / _PLAN, self._plan)
            yield

    def _same_plan(self) -> bool:
        try:
            return (self.folder / _PLAN).read_text("utf-8") == self._plan
        except OSError:
            return False

    def finished(self) -> dict[int, dict[str, Any]]:
        """Number of each finished session to what `finish` kept of it."""
        out = {}
        for path in (self.folder / _DONE).glob("[0-9]*.json"):
            try:
                out[int(path.stem)] = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
        return out

    def finish(self, number: int, kept: Mapping[str, Any]) -> None:
        """Mark a session as finished, after its files were written. Raises OSError."""
        atomic_write(self.folder / _DONE / f"{number}.json", json.dumps(dict(kept)))

    def complete(self) -> None:
        """Turn the folder into the corpus. Raises OSError."""
        shutil.rmtree(self.folder / _DONE, ignore_errors=True)
        (self.folder / _PLAN).unlink(missing_ok=True)
        (self.folder / _LOCK).unlink(missing_ok=True)
        if self._out.is_dir():
            self._out.rmdir()  # it is empty
        os.rename(self.folder, self._out)
