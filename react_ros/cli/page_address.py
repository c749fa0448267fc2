"""Prints the live page's address once the robot runs, after the errors of its start."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

QUIET_S = 1.5
"""Time for which the page must have been there: a node with an invalid configuration ends the robot before."""
_POLL_S = 0.3


class PageAddress:
    """A condition that never holds, for `Runner.run`; prints the address, once, after the page has been there."""

    def __init__(self, port: int, sentence: str, now: Callable[[], float] = time.monotonic) -> None:
        """port: 0: there is no page. sentence: what is printed."""
        self._port, self._sentence, self._now = port, sentence, now
        self._there_since: float | None = None
        self._next = 0.0

    def __call__(self) -> bool:
        now = self._now()
        if self._port and now >= self._next:
            self._next = now + _POLL_S
            if not self._answers():
                self._there_since = None
            elif self._there_since is None:
                self._there_since = now
            elif now - self._there_since >= QUIET_S:
                self._port = 0
                print(self._sentence, flush=True)
        return False

    def watch(self) -> None:
        """Poll from a thread of its own until the address is printed."""

        def poll() -> None:
            while self._port:
                self()
                time.sleep(_POLL_S)

        threading.Thread(target=poll, daemon=True, name="page address").start()

    def _answers(self) -> bool:
        with socket.socket() as caller:
            caller.settimeout(0.2)
            return caller.connect_ex(("127.0.0.1", self._port)) == 0
