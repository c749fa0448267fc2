"""Which processes hang: by their heartbeats, and by what the kernel says of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from react_ros.supervision.heartbeats import BUSY_S, HeartbeatSocket

HUNG_S = 2.0
"""A main loop without a heartbeat for longer hangs. Time in which it waited for a processor does not count."""
STOPPED_S = 0.5
"""A process that has been stopped (SIGSTOP) for longer hangs."""
_OVERDUE_S = 0.6
"""Age of a heartbeat from which a process is looked at more closely: three heartbeats."""


@dataclass(slots=True)
class _Watched:
    beat: float
    """Time of the last heartbeat."""
    busy_until: float
    ready: bool = False
    stuck: str = ""
    """What the process says hangs in it."""
    overdue: tuple[float, dict[str, float]] | None = None
    """Since when it has been looked at more closely, and how long its threads had waited for a processor by then."""
    stopped: float | None = None
    """Since when it has been stopped."""


class Watch:
    """Watches processes by their heartbeats. Times are of time.monotonic(); not thread-safe.

    A busy machine is not mistaken for a hang: the time that a process's threads, or this process itself, waited for a
    processor is left out.
    """

    def __init__(self, heartbeats: HeartbeatSocket, clock: Callable[[], float] = time.monotonic) -> None:
        self._heartbeats, self._clock = heartbeats, clock
        self._watched: dict[int, _Watched] = {}
        self._looked = clock()

    def started(self, pid: int) -> None:
        """Watch a process from its start on; others are watched from their first message on."""
        now = self._clock()
        self._watched[pid] = _Watched(now, now + BUSY_S)

    def ended(self, pid: int) -> bool:
        """Forget a process that has ended. Returns whether it had been ready."""
        self._read()
        watched = self._watched.pop(pid, None)
        return watched is not None and watched.ready

    def ready(self, pid: int) -> bool:
        """Whether a process has reported that all of its nodes are configured."""
        return pid in self._watched and self._watched[pid].ready

    def _read(self) -> None:
        now = self._clock()
        for pid, fields in self._heartbeats.read():
            if pid not in self._watched:
                self.started(pid)
            watched = self._watched[pid]
            if microseconds := fields.get("EXTEND_TIMEOUT_USEC"):
                with suppress(ValueError):
                    watched.busy_until = now + min(int(microseconds) / 1e6, BUSY_S)
            else:
                watched.busy_until = 0.0
            watched.ready = watched.ready or "READY" in fields
            watched.beat, watched.overdue = now, None
            watched.stuck = fields.get("STATUS", "it hangs") if fields.get("WATCHDOG") == "trigger" else ""

    def hung(self) -> dict[int, str]:
        """Process id to what is wrong with it, for those that hang; call it several times a second."""
        self._read()
        now = self._clock()
        lag, self._looked = now - self._looked - 1.0, now
        if lag > 0.0:  # this process itself did not run
            for watched in self._watched.values():
                watched.beat, watched.overdue, watched.stopped = now, None, None
            return {}
        return {pid: reason for pid, watched in self._watched.items() if (reason := self._reason(pid, watched, now))}

    def _reason(self, pid: int, watched: _Watched, now: float) -> str:
        if watched.stuck:
            return watched.stuck
        if now - watched.beat < min(_OVERDUE_S, STOPPED_S):
            watched.stopped = None
            return ""
        state = _state(pid)
        if state in ("", "Z", "X"):  # it has ended
            return ""
        if state == "T":
            watched.stopped = watched.stopped or now
            return "it was stopped (SIGSTOP)" if now - watched.stopped >= STOPPED_S else ""
        watched.stopped = None
        if now < watched.busy_until:
            return ""
        if watched.overdue is None:
            watched.overdue = now, _run_delays(pid)
        since, before = watched.overdue
        starved = max((d - before.get(thread, d) for thread, d in _run_delays(pid).items()), default=0.0)
        silent = now - since - starved + _OVERDUE_S
        return f"its main loop has not run for {silent:.0f} s" if silent >= HUNG_S else ""


def _state(pid: int) -> str:
    """A process's state as in /proc/PID/stat; empty if there is no such process."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _run_delays(pid: int) -> dict[str, float]:
    """Thread id to the time that it has waited for a processor, s (/proc/PID/task/TID/schedstat)."""
    out = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, IndexError, ValueError):
                out[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return out
