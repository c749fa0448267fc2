"""Writes rosbag2 bags (mcap or sqlite3) of which a crash costs at most what was written since the last flush."""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from rosbags.rosbag2 import WriterError

from react_ros.bags.errors import BagError, BagFull, explain
from react_ros.bags.rosbags_internals import DurableWriter
from react_ros.bags.types import typestore
from react_ros.io import keep_private

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = get_args(Storage)


class BagWriter:
    """Writes serialised messages into a new bag. What was written before a `flush` survives any end of the process.

    If the disk is full, `write` or `flush` raises BagFull, once: the bag is then closed and holds everything up to its
    last flush.
    """

    def __init__(self, path: Path, storage: Storage = "mcap") -> None:
        """path: the bag's folder. Raises BagError where it exists already or cannot be made."""
        self.path = path
        try:
            self._writer = DurableWriter(path, storage)
        except (WriterError, OSError, sqlite3.Error) as error:
            raise BagError(f"bag {path} cannot be written: {explain(error)}") from None
        keep_private(path)  # a recording shows people
        self._connections: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        """Number of messages written, by topic."""
        self._flushed_counts: Counter[str] = Counter()
        self.closed = False

    def write(
        self, topic: str, kind: str, time_ns: int, data: bytes, definition: tuple[str, str] | None = None
    ) -> None:
        """Append one message.

        kind: its type, "package/msg/Name". time_ns: when it was received, ns since the epoch. data: its CDR bytes.
        definition: (text, RIHS01 hash) of a type that is neither of this package nor of ROS 2 Jazzy.
        """
        with self._closing_on_failure():
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, kind, typestore(), definition)
            self._writer.write(self._connections[topic], time_ns, data)
        self.counts[topic] += 1

    def flush(self) -> None:
        """Bring everything written so far to the disk."""
        with self._closing_on_failure():
            self._writer.flush()
            self._flushed_counts = Counter(self.counts)

    def close(self) -> None:
        """Write the index and metadata.yaml. Safe to call twice."""
        if self.closed:
            return
        self.flush()
        with self._closing_on_failure():
            self._writer.close()
        self.closed = True
        keep_private(self.path)

    @contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        if self.closed:
            raise BagError(f"bag {self.path} is closed")
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            self.closed = True
            self.counts = self._flushed_counts
            self._writer.roll_back()
            keep_private(self.path)
            full = isinstance(error, sqlite3.Error) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            sentence = f"bag {self.path} ends here: {explain(error)}; all but its last second can be read"
            raise (BagFull if full else BagError)(sentence) from None
