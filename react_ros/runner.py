"""Runs the robot's processes without `ros2 launch`: starts, restarts after a crash, and ends them together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from react_ros.bringup import Process, environment
from react_ros.package import CONFIGURATION_ERROR

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL."""
_PR_SET_PDEATHSIG = 1
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Child:
    """A running process, its restarts, and the time of its last start."""

    def __init__(self, process: Process, popen: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.popen = popen
        self.restarts = 0
        self.started = time.monotonic()


class Runner:
    """Runs processes until one of them has an invalid configuration, `stop` is called, or SIGINT or SIGTERM arrives."""

    def __init__(
        self,
        processes: Sequence[Process],
        extra_environment: Mapping[str, str] | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        # By default, ROS is restricted to this machine.
        given = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **os.environ, **(extra_environment or {})}
        self._env = {**given, **environment(given)}
        self._log = log
        self._ended = threading.Event()
        self._signals = 0
        self.exit_code = 0
        self.children: dict[str, Child] = {}
        for process in processes:
            self.children[process.executable] = Child(process, self._start(process))

    def _start(self, process: Process) -> subprocess.Popen[bytes]:
        # start_new_session: Ctrl-C reaches the children only through this process, not also through the terminal.
        # Signals are blocked until exec: a Ctrl-C before it would end the forked Python with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
        try:
            return subprocess.Popen(
                process.command,
                env={**self._env, **process.environment},
                start_new_session=True,
                preexec_fn=partial(_become_child, before),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """End the run; `run` returns once all processes have ended. Thread-safe."""
        self._ended.set()

    def run(self, until: Callable[[], bool] = lambda: False, handle_signals: bool = True) -> int:
        """Supervise the processes until the end. Returns the exit code: 0, 130 after Ctrl-C, or CONFIGURATION_ERROR.

        until: polled ten times a second; True ends the run.
        """
        previous = {}
        if handle_signals:
            previous = {n: signal.signal(n, self._on_signal) for n in _END_SIGNALS}
        try:
            while not self._ended.wait(0.1) and not until() and not self.poll():
                pass
        finally:
            self.end()
            for number, handler in previous.items():
                signal.signal(number, handler)
        return self.exit_code

    def _on_signal(self, number: int, _: object) -> None:
        self._signals += 1
        self.exit_code = 128 + number if number == signal.SIGINT else 0
        self._ended.set()

    def poll(self) -> bool:
        """Restart processes that have ended. True once the run is over; then `exit_code` is valid."""
        for name, child in self.children.items():
            code = child.popen.poll()
            if code is None:
                continue
            if code == CONFIGURATION_ERROR:
                self.exit_code = code
                self._ended.set()
                break
            if time.monotonic() - child.started < 1.0 and child.restarts >= 5:
                self._log(f"{name} ends right after its start (exit code {code}): giving up")
                self.exit_code = 1
                self._ended.set()
                break
            self._log(f"{name} ended with {_exit_text(code)}; restarting it")
            child.popen, child.started = self._start(child.process), time.monotonic()
            child.restarts += 1
        return self._ended.is_set()

    def end(self) -> None:
        """SIGTERM, then SIGKILL after `GRACE_S` or a further signal; returns when all processes have ended."""
        first = self._signals
        for child in self.children.values():
            # Not SIGINT: Python would print a traceback during its imports.
            _signal(child.popen, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while any(child.popen.poll() is None for child in self.children.values()):
            if time.monotonic() > deadline or self._signals > first + 1:
                break
            time.sleep(0.02)
        for child in self.children.values():
            if child.popen.poll() is None:
                _signal(child.popen, signal.SIGKILL)
            child.popen.wait()


def _signal(popen: subprocess.Popen[bytes], number: int) -> None:
    if popen.poll() is None:
        popen.send_signal(number)


def _exit_text(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _become_child(mask: Iterable[int]) -> None:
    for number in _END_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # Linux: the children get SIGTERM when this process dies.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
