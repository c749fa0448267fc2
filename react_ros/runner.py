"""Runs the robot's processes without `ros2 launch`: starts, restarts after a crash or hang, and ends them together."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from react_ros.bringup import SENSORS, Process, environment
from react_ros.package import CONFIGURATION_ERROR, package_environment
from react_ros.supervision.heartbeats import VARIABLE, HeartbeatSocket, end_with_parent
from react_ros.supervision.restarts import Restarts
from react_ros.supervision.stop_signals import STOP_SIGNALS, StopSignals
from react_ros.supervision.supervisor import SupervisorFolder
from react_ros.supervision.watch import Watch

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL."""
POLL_S = 0.1
SETTLED_S = 30.0
"""From this age of the run on, an invalid configuration does not end it: a device may be missing that was there."""
ATTEMPTS = 6
"""Starts in a row of a process that is no sensor and has never been configured, until the run is given up."""


class Child:
    """A process of the robot: its present or last run, and its restarts."""

    def __init__(self, process: Process, popen: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.popen = popen
        self.history = Restarts()
        self.restart_at: float | None = None
        """When it is started again, by time.monotonic(); None while it runs."""
        self.hangs = ""
        """Why it was ended as hanging; empty if it was not."""

    @property
    def restarts(self) -> int:
        """Restarts so far."""
        return self.history.total


class Runner:
    """Runs processes until one cannot be configured at the start, `stop` is called, or SIGINT or SIGTERM arrives.

    A process that ends or hangs is restarted: at once, then after ever longer delays, as long as it keeps ending. A
    sensor never ends the run; neither does any process that has been configured before.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        extra_environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] = print,
        *,
        watch_hangs: bool = True,
    ) -> None:
        """watch_hangs: whether processes that hang are restarted; False leaves a stopped process as it is."""
        # By default, ROS is restricted to this machine.
        given = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **os.environ, **(extra_environment or {})}
        self._folder = SupervisorFolder()
        self._env = {**given, **environment(given), **package_environment(given), VARIABLE: str(self._folder.path)}
        self._log = log
        self._signals = StopSignals()
        self._heartbeats = HeartbeatSocket(self._folder.path)
        self._watch = Watch(self._heartbeats)
        self._watch_hangs = watch_hangs
        self._over = False
        self._began = time.monotonic()
        self.exit_code = 0
        self.children: dict[str, Child] = {}
        for process in processes:
            self.children[process.executable] = Child(process, self._start(process))

    def _start(self, process: Process) -> subprocess.Popen[bytes]:
        # start_new_session: Ctrl-C reaches the children only through this process, not also through the terminal.
        # Signals are blocked until exec: a Ctrl-C before it would end the forked Python with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            popen = subprocess.Popen(
                process.command,
                env={**self._env, **process.environment},
                start_new_session=True,
                preexec_fn=partial(_become_child, before),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._watch.started(popen.pid)
        return popen

    def stop(self) -> None:
        """End the run; `run` returns once all processes have ended. Thread-safe."""
        self._signals.request()

    def run(self, until: Callable[[], bool] = lambda: False, handle_signals: bool = True) -> int:
        """Supervise the processes until the end. Returns the exit code: 0, 130 after Ctrl-C, or CONFIGURATION_ERROR.

        until: polled ten times a second; True ends the run.
        """
        if not handle_signals or threading.current_thread() is not threading.main_thread():
            return self._run(until)
        with self._signals:
            return self._run(until)

    def _run(self, until: Callable[[], bool]) -> int:
        try:
            while not self._signals.is_set() and not until() and not self.poll():
                select.select([self._signals, self._heartbeats], [], [], POLL_S)
        finally:
            self.end()
        if self._signals.last == signal.SIGINT and not self.exit_code:
            self.exit_code = 128 + signal.SIGINT
        return self.exit_code

    def poll(self) -> bool:
        """Restart processes that have ended or hang. True once the run is over; then `exit_code` is valid."""
        hung = self._watch.hung()
        now = time.monotonic()
        for name, child in self.children.items():
            if child.restart_at is not None:
                if now >= child.restart_at:
                    child.popen, child.restart_at, child.hangs = self._start(child.process), None, ""
                continue
            code = child.popen.poll()
            if code is not None:
                if self._died(name, child, code, now):
                    self._over = True
                    break
                continue
            if self._watch.ready(child.popen.pid):
                child.history.ready(now)
            if self._watch_hangs and not child.hangs and child.popen.pid in hung:
                child.hangs = hung[child.popen.pid]
                _signal(child.popen, signal.SIGKILL)
        return self._over

    def _died(self, name: str, child: Child, code: int, now: float) -> bool:
        """Schedule the restart of a process that has ended; True if this ends the run."""
        ready = self._watch.ended(child.popen.pid)
        if ready:
            child.history.ready(now)
        known = child.history.was_ready or (child.restarts > 0 and now - self._began > SETTLED_S)
        if code == CONFIGURATION_ERROR and not known:
            self.exit_code = code
            return True
        delay = child.history.died(now)
        attempts = child.history.in_a_row
        if attempts >= ATTEMPTS and not child.history.was_ready and name not in SENSORS:
            self._log(f"{name} ends before it is ready, {attempts} times in a row ({_exit_text(code)}): giving up")
            self.exit_code = 1
            return True
        how = f"hung: {child.hangs}" if child.hangs else f"ended with {_exit_text(code)}"
        row = f", {attempts} times in a row" if attempts > 1 else ""
        self._log(f"{name} {how}{row}; restarting it{f' in {delay:g} s' if delay else ''}")
        child.restart_at = now + delay
        if not delay:
            child.popen, child.restart_at, child.hangs = self._start(child.process), None, ""
        return False

    def end(self) -> None:
        """SIGTERM, then SIGKILL after `GRACE_S` or a further signal; returns when all processes have ended."""
        first = self._signals.count
        for child in self.children.values():
            # Not SIGINT: Python would print a traceback during its imports.
            _signal(child.popen, signal.SIGTERM)
            _signal(child.popen, signal.SIGCONT)  # a stopped process would not see it
        deadline = time.monotonic() + GRACE_S
        while any(child.popen.poll() is None for child in self.children.values()):
            if time.monotonic() > deadline or self._signals.count > first + 1:
                break
            time.sleep(0.02)
        for child in self.children.values():
            if child.popen.poll() is None:
                _signal(child.popen, signal.SIGKILL)
            child.popen.wait()
        self._heartbeats.close()
        self._folder.close()


def _signal(popen: subprocess.Popen[bytes], number: int) -> None:
    if popen.poll() is None:
        popen.send_signal(number)


def _exit_text(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _become_child(mask: Iterable[int]) -> None:
    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    # SIGINT stays blocked until the node's first line (nodes/__main__.py): Python's own start would print a traceback.
    signal.pthread_sigmask(signal.SIG_SETMASK, {*mask, signal.SIGINT})
    end_with_parent()
