"""A supervisor's folder, and the thread that ends hanging processes where something else restarts them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from react_ros.supervision.heartbeats import HeartbeatSocket
from react_ros.supervision.watch import Watch

_LONGEST_PARENT = 70
"""Longest path of the folder's parent: the path of a Unix socket has at most 107 bytes."""


_PREFIX = "react_ros-"


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders of supervisors that were killed."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):
            if pid.isdecimal() and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)


class SupervisorFolder:
    """A private folder for one run of a robot; removed by `close`."""

    def __init__(self) -> None:
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        usable = [p for p in (runtime, tempfile.gettempdir()) if os.access(p, os.W_OK) and len(p) <= _LONGEST_PARENT]
        parent = Path(usable[0] if usable else "/tmp")
        _remove_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


class HangGuard:
    """For `ros2 launch`, which restarts what ends but does not notice what hangs: ends hanging processes.

    It watches, in a thread of its own, all processes whose environment names its folder (heartbeats.VARIABLE).
    """

    PERIOD_S = 0.2

    def __init__(self, log: Callable[[str], None]) -> None:
        """log: called with a line about each process that is ended."""
        self.folder = SupervisorFolder()
        self._log = log
        self._heartbeats = HeartbeatSocket(self.folder.path)
        self._watch = Watch(self._heartbeats)
        self._killed: set[int] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang guard", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self.PERIOD_S):
            with self._lock:
                for pid, reason in self._watch.hung().items():
                    if pid in self._killed:
                        continue
                    self._killed.add(pid)
                    self._log(f"process {pid} hangs ({reason}): it is ended, to be restarted")
                    with suppress(OSError):
                        os.kill(pid, signal.SIGKILL)

    def ended(self, pid: int) -> bool:
        """Forget a process that has ended. Returns whether it had been configured. Thread-safe."""
        with self._lock:
            self._killed.discard(pid)
            return self._watch.ended(pid)

    def close(self) -> None:
        """Stop watching, and remove the folder."""
        self._stopping.set()
        self._thread.join(2.0)
        self._heartbeats.close()
        self.folder.close()
