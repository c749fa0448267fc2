"""SIGINT and SIGTERM as a counter and a file descriptor to wait on: their handlers take no lock."""

from __future__ import annotations

import os
import select
import signal
import threading
import weakref
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Counts requests to stop: signals that arrive while it is entered as a context, and calls of `request`.

    A handler runs between any two bytecodes of the main thread, also inside `threading.Event.set` or `wait`: an Event
    that its handler sets may deadlock for good. Here handlers only count; `signal.set_wakeup_fd` ends a `wait`.
    Outside of the main thread, entering it installs nothing, and only `request` counts.
    """

    def __init__(self, *, only_first: bool = False) -> None:
        """only_first: a signal restores the handler before it, so that a second signal acts as usual."""
        self.count = 0
        """Signals and requests so far."""
        self.last: int | None = None
        """Number of the newest signal; None before the first."""
        self._only_first = only_first
        self._before: dict[int, Any] = {}
        self._wakeup: int | None = None
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
            weakref.finalize(self, os.close, end)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if self._wakeup is not None:
            signal.set_wakeup_fd(self._wakeup)
            self._wakeup = None

    def keep_handlers(self) -> None:
        """Leave the handlers that are installed now, also after the context."""
        self._before = {}

    def _restore(self) -> None:
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.last = number
        self.count += 1
        if self._only_first:
            self._restore()

    def request(self) -> None:
        """Count a request to stop. Thread-safe."""
        self.count += 1
        with suppress(OSError):  # full: a wait ends anyway
            os.write(self._write, b"\0")

    def is_set(self) -> bool:
        """Whether a stop has been requested."""
        return self.count > 0

    def fileno(self) -> int:
        """The file descriptor that becomes readable with a request."""
        return self._read

    def wait(self, seconds: float) -> bool:
        """Wait until a stop is requested, `seconds` at most. Returns whether one has been, now or before."""
        if not self.is_set():
            select.select([self._read], [], [], max(seconds, 0.0))
        with suppress(OSError):
            os.read(self._read, 512)
        return self.is_set()
