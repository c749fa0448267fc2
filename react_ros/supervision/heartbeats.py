"""Heartbeats of the nodes to their supervisor: datagrams in the format of sd_notify, over a Unix socket."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

VARIABLE = "REACT_ROS_SUPERVISOR"
"""Environment variable with the folder of the supervisor: its socket, and the settings that survive a restart."""
SOCKET = "heartbeats"
PERIOD_S = 0.2
"""Time between two heartbeats."""
BUSY_S = 60.0
"""Time that a node may take to be configured, or for another lifecycle transition."""

_CREDENTIALS = struct.Struct("3i")


def supervisor_folder() -> Path | None:
    """The supervisor's folder; None where no supervisor has started this process."""
    folder = os.environ.get(VARIABLE, "")
    return Path(folder) if folder else None


_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Linux: this process gets SIGTERM when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Heartbeat:
    """A process's heartbeat: tells the supervisor, if there is one, that its main loop runs. Never blocks or fails."""

    def __init__(self) -> None:
        folder = supervisor_folder()
        self._socket: socket.socket | None = None
        self._next = 0.0
        if folder is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._address = str(folder / SOCKET)

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the supervisor has ended, or is itself late
                self._socket.sendto(text.encode(), self._address)

    def busy(self) -> None:
        """The main loop will not run for a while, `BUSY_S` at most: loading, a lifecycle transition."""
        self._send(f"EXTEND_TIMEOUT_USEC={BUSY_S * 1e6:.0f}")
        self._next = 0.0

    def ready(self) -> None:
        """All nodes of the process have been configured."""
        self._send("READY=1")

    def beat(self) -> None:
        """The main loop runs; sends at most one heartbeat in `PERIOD_S`."""
        now = time.monotonic()
        if self._socket is not None and now >= self._next:
            self._next = now + PERIOD_S
            self._send("WATCHDOG=1")

    def stuck(self, reason: str) -> None:
        """A thread of the process hangs, and only a restart can help."""
        self._send(f"STATUS={reason}\nWATCHDOG=trigger")


class HeartbeatSocket:
    """The supervisor's end: heartbeats with the process ids that the kernel attests."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self._socket.bind(str(folder / SOCKET))

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def read(self) -> list[tuple[int, dict[str, str]]]:
        """All messages that have arrived: (process id, fields)."""
        out = []
        while True:
            try:
                data, ancillary, *_ = self._socket.recvmsg(1024, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return out
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
                    lines = data.decode("utf-8", "replace").splitlines()
                    out.append((pid, dict(line.split("=", 1) for line in lines if "=" in line)))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
