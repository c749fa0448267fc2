"""Keeps a camera or microphone open: opens it again, with back-off, whenever it fails, ends or cannot be opened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from react_ros.media.errors import MediaError, Unavailable
from react_ros.redaction import redact

DELAYS_S = (0.5, 1.0, 2.0, 4.0)
"""Delays before the 1st, 2nd, … attempt in a row to open a source again; the last one for all further attempts."""
HEALTHY_S = 3.0
"""A source that has delivered for so long is healthy: its earlier failures no longer count."""
SILENT_S = 1.8
"""A source without data for longer is in trouble."""
STUCK_S = 90.0
"""A thread that has neither got data nor failed for longer hangs."""


class Source(Protocol):
    """An open camera or microphone."""

    live: bool
    """False for a file: it is not opened again."""

    @property
    def close(self) -> Callable[[], None]: ...


S = TypeVar("S", bound=Source)


class Reopening(Generic[S]):
    """A source that is opened as often as needed. `run` belongs to one thread, everything else to any."""

    def __init__(self, name: str, open_source: Callable[[], S], log: Callable[[str, bool], None]) -> None:
        """name: of the source, in sentences. log: called with a sentence whenever the source is lost (True) or back
        (False).
        """
        self._name = redact(name)
        self._open_source = open_source
        self._log = log
        self._first: Future[S] | None = None
        self._failure = ""
        self._again = True
        self._attempts = 0
        self._lost_at = self._last_at = self._moved_at = time.monotonic()
        self._delivering_since: float | None = None
        self._running = False

    def connect(self, seconds: float) -> S | None:
        """Open the source for the first time. None: it is unavailable, or not open after so many seconds; `run` then
        goes on trying. Raises MediaError where it is wrong.
        """
        first: Future[S] = Future()

        def work() -> None:
            try:
                first.set_result(self._open_source())
            except BaseException as error:
                first.set_exception(error)

        self._first = first
        threading.Thread(target=work, name="opening", daemon=True).start()
        try:
            return first.result(seconds)
        except NotYet:
            if not first.done():
                self._fail(f"waiting for {self._name}, which does not answer yet")
                return None
            raise MediaError(f"{self._name} does not open: timed out") from None
        except Unavailable as error:
            self._first = None
            self._fail(str(error))
            return None
        except MediaError:
            raise
        except Exception as error:  # whatever a device or driver raises
            raise MediaError(self._failed(error)) from None

    def run(self, stop: threading.Event, use: Callable[[S], None]) -> None:
        """Open the source, call `use` with it, and again from the beginning, until `stop` is set or a file has ended.

        use: reads the source and calls `delivered` for each item. Nothing that happens in it ends this loop.
        """
        self._running = True
        now = time.monotonic()
        self._last_at = self._moved_at = now
        try:
            while not stop.is_set() and self._once(stop, use):
                pass
        finally:
            self._running = False

    def _once(self, stop: threading.Event, use: Callable[[S], None]) -> bool:
        """Open, use, close. Returns whether to do so again."""
        source: S | None = None
        waited = False
        try:
            source = self._open(stop)
            if source is None:
                return False
            self._moved_at = time.monotonic()
            use(source)
            if stop.is_set() or not source.live:
                return False
            reason = f"{self._name} ended"
        except MediaError as error:
            reason = str(error)
            waited = isinstance(error, Unavailable) and error.waited
        except Exception as error:  # whatever a device, decoder or driver raises
            reason = self._failed(error)
        finally:
            if source is not None:
                with suppress(Exception):
                    source.close()
        if stop.is_set():
            return False
        delivering, self._delivering_since = self._delivering_since, None
        if delivering is not None and time.monotonic() - delivering >= HEALTHY_S:
            self._attempts = 0
        again = source is None or source.live
        self._fail(reason, again)
        if not again:
            return False
        delay = 0.0 if waited else DELAYS_S[min(self._attempts, len(DELAYS_S)) - 1]
        return not stop.wait(delay)

    def _open(self, stop: threading.Event) -> S | None:
        """Raises MediaError and whatever else opening it raises. None: stopped."""
        first, self._first = self._first, None
        if first is None:
            return self._open_source()
        while not first.done():
            if stop.wait(0.05):
                _close_when_open(first)
                return None
        return first.result()

    def _failed(self, error: Exception) -> str:
        return redact(f"{self._name} failed: {type(error).__name__}: {' '.join(str(error).split())}")

    def _fail(self, reason: str, again: bool = True) -> None:
        now = time.monotonic()
        if not self._failure:
            self._lost_at = now
        self._attempts += 1
        self._moved_at = now
        if reason != self._failure:
            self._log(f"{reason}; retrying" if again else reason, True)
        self._failure, self._again = reason, again

    def delivered(self) -> None:
        """Note that an item has been read."""
        self._last_at = self._moved_at = now = time.monotonic()
        if self._delivering_since is None:
            self._delivering_since = now
        if self._failure:
            self._failure = ""
            self._log(f"{self._name} is back", False)

    def trouble(self) -> str:
        """Why there is no data at present and what is waited for, in one sentence; empty while there is."""
        now = time.monotonic()
        if self._failure and not self._again:
            return self._failure
        if self._failure:
            return f"{self._failure}; retrying, {now - self._lost_at:.0f} s without data"
        silent = now - self._last_at
        if self._running and silent > SILENT_S:
            return f"{self._name} has sent nothing for {silent:.0f} s"
        return ""

    def stuck(self) -> bool:
        """Whether the reading thread hangs inside a library."""
        return self._running and time.monotonic() - self._moved_at > STUCK_S

    def close(self) -> None:
        """Close a source that was opened by `connect` and is not used; `run` closes its own."""
        first, self._first = self._first, None
        if first is not None:
            _close_when_open(first)


def _close_when_open(opening: Future[Any]) -> None:
    def close(done: Future[Any]) -> None:
        if done.exception() is None:
            with suppress(Exception):
                done.result().close()

    opening.add_done_callback(close)
