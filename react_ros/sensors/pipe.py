"""A named pipe (FIFO) as a source of video: waits for somebody to write to it."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from react_ros.media.errors import MediaError, Unavailable

WAIT_S = 2.0
"""Longest wait of one `wait`."""


def is_pipe(path: Path) -> bool:
    """Whether a path is a FIFO."""
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False


class Pipe:
    """The reading end of a FIFO. It stays open from one writer to the next, so that none gets SIGPIPE between them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def wait(self) -> int:
        """Wait for data. Returns the file descriptor, which the pipe keeps. Raises Unavailable where nobody writes."""
        try:
            if self._fd is None:
                # Without O_NONBLOCK, opening blocks until there is a writer.
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            poll, end = select.poll(), time.monotonic() + WAIT_S
            poll.register(self._fd, select.POLLIN)
            while (left := end - time.monotonic()) > 0:
                events = poll.poll(left * 1000)
                if events and events[0][1] & select.POLLIN:
                    return self._fd
                if events:  # POLLHUP: the last writer has closed it
                    time.sleep(min(0.05, left))
        except OSError as error:
            raise MediaError(f"the pipe {self._path} cannot be read: {error.strerror or error}") from None
        raise Unavailable(f"waiting for data: nobody writes to the pipe (FIFO) {self._path}", waited=True)

    def close(self) -> None:
        """Close the reading end."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
