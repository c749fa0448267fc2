"""Writes rosbag2 bags (mcap or sqlite3) such that a crash costs at most what was written since the last flush."""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from react_ros.bags.errors import BagError, BagFull, explain
from react_ros.bags.types import typestore

Storage = Literal["mcap", "sqlite3"]


STORAGES: tuple[Storage, ...] = get_args(Storage)


class _File:
    """A file without a buffer: what `write` has returned from, a crash of the process does not take back."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY)
        self._at = os.lseek(self._fd, 0, os.SEEK_END)

    def write(self, data: bytes | memoryview) -> int:
        rest = memoryview(data).cast("B")
        while rest:
            written = os.write(self._fd, rest)
            self._at += written
            rest = rest[written:]
        return len(data)

    def tell(self) -> int:
        return self._at

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def correct(self, at: int, data: bytes) -> None:
        os.pwrite(self._fd, data, at)

    def cut(self, length: int) -> None:
        os.ftruncate(self._fd, length)
        self._at = os.lseek(self._fd, length, os.SEEK_SET)

    def close(self) -> None:
        os.close(self._fd)


class BagWriter:
    """Writes serialised messages into a new bag. After `flush` what was written survives any end of the process.

    Where the disk is full, `write` or `flush` raises BagFull, once: the bag is closed by then, and holds everything
    up to its last flush.
    """

    def __init__(self, path: Path, storage: Storage = "mcap") -> None:
        """Raises BagError where the folder exists or cannot be made."""
        self.path = path
        try:
            self._writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
            self._writer.open()
            self._storage: Any = self._writer.storage
            self._file: _File | None = None
            """Of an mcap bag."""
            # The name lies in the file: one of its own would make the same bag other bytes in another folder.
            name = path / f"recording{self._storage.path.suffix}"
            if isinstance(self._storage, McapWriter):
                self._storage.bio.close()
                self._storage.path = self._storage.path.rename(name)
                file = _File(name)
                self._file, self._storage.bio = file, file  # type: ignore[assignment]
                self._storage.close_chunk = partial(self._close_chunk, self._storage, file, self._storage.close_chunk)
            elif isinstance(self._storage, Sqlite3Writer):
                self._storage.conn.close()
                self._storage.path = self._storage.path.rename(name)
                self._storage.conn = sqlite3.connect(name)
                self._storage.cursor = self._storage.conn.cursor()
        except (WriterError, OSError, sqlite3.Error) as error:
            raise BagError(f"bag {path} cannot be written: {explain(error)}") from None
        self._connections: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        """Messages written, by topic."""
        self.closed = False
        self._keep()

    def write(
        self, topic: str, kind: str, time_ns: int, data: bytes, definition: tuple[str, str] | None = None
    ) -> None:
        """One message: its type as "package/msg/Name", when it came (ns since the epoch), its CDR bytes.

        definition: the type's text and its hash, where it is none of ours or of ROS 2 Jazzy.
        """
        with self._full_disk():
            if topic not in self._connections:
                text, digest = definition or (None, None)
                self._connections[topic] = self._writer.add_connection(
                    topic, kind, typestore=typestore(), msgdef=text, rihs01=digest
                )
            self._writer.write(self._connections[topic], time_ns, data)
        self.counts[topic] += 1

    def flush(self) -> None:
        """Bring to the disk what was written so far."""
        with self._full_disk():
            if isinstance(self._storage, McapWriter):
                if self._storage.chunk.bio.tell():
                    self._storage.close_chunk()
            elif isinstance(self._storage, Sqlite3Writer):
                self._storage.conn.commit()
            if self._file is not None:
                self._file.sync()
            self._keep()

    def close(self) -> None:
        """Write the index and metadata.yaml. Safe to call twice."""
        if self.closed:
            return
        self.flush()
        with self._full_disk():
            self._writer.close()
        self.closed = True

    @staticmethod
    def _close_chunk(storage: McapWriter, file: _File, close: Callable[[], None]) -> None:
        """As the library does, and with a checksum, so that a reader knows a damaged chunk."""
        at, checksum = file.tell(), zlib.crc32(storage.chunk.bio.getbuffer())
        close()
        file.correct(at + 9 + 24, struct.pack("<I", checksum))

    def _keep(self) -> None:
        """Remember what is safe on the disk."""
        storage, writer = self._storage, self._writer
        self._safe_file: tuple[int, dict[int, int], int, int, int] = (0, {}, 0, 0, 0)
        self._safe = dict(writer.counts), writer.min_timestamp, writer.max_timestamp, Counter(self.counts)
        if isinstance(storage, McapWriter):
            self._safe_file = (
                storage.bio.tell(), dict(storage.channel_stats), storage.message_start_time, storage.message_end_time,
                len(storage.chunks),
            )  # fmt: skip

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        if self.closed:
            raise BagError(f"bag {self.path} is closed")
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            self.closed = True
            self._give_up()
            full = isinstance(error, sqlite3.Error) or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            sentence = f"bag {self.path} ends here: {explain(error)}; all but its last second can be read"
            raise (BagFull if full else BagError)(sentence) from None

    def _give_up(self) -> None:
        """Close what is safe, as well as can be: an index and metadata where there is room for them."""
        storage, writer = self._storage, self._writer
        writer.counts, writer.min_timestamp, writer.max_timestamp, self.counts = self._safe
        with suppress(OSError, sqlite3.Error, WriterError):
            if isinstance(storage, McapWriter):
                length, stats, start, end, chunks = self._safe_file
                self._cut(length)
                storage.channel_stats, storage.message_start_time, storage.message_end_time = stats, start, end
                del storage.chunks[chunks:]
                storage.chunk = type(storage.chunk)(2**63 - 1, 0, BytesIO(), defaultdict(list))
                # Whoever came since the last flush has no message: the index knows none of them.
                storage.channel_stats = {c.id: stats.get(c.id, 0) for c in storage.channels}
            elif isinstance(storage, Sqlite3Writer):
                storage.conn.rollback()
            writer.counts = {c.id: writer.counts.get(c.id, 0) for c in writer.connections}
            try:
                writer.close()
            except (OSError, sqlite3.Error):
                self._cut(self._safe_file[0])
                raise

    def _cut(self, length: int) -> None:
        if self._file is not None:
            self._file.cut(length)
