"""Everything that depends on internals of rosbags 0.11.9; other modules use its public API only.

rosbags has no public way to do the following, which a recording on a robot needs:

- bring what was written to the disk while a bag is open (`DurableWriter.flush`), and after a failed write close the bag
  with what the last flush kept (`DurableWriter.roll_back`);
- read a file whose writer was killed, or that is cut or damaged (`open_folder`, `open_file`);
- read messages in the order in which they were written, where the recorder's clock was set back (`steps_back`);
- decompress with a limit, whatever size the file claims, and single messages without metadata.yaml; recognise the
  storage libraries' exceptions;
- replace a type that a type store already has (`replace_types`), and read the fields of one (`fields_of`).

Its storage classes are not public and may change with any release. requirements.txt therefore pins the version, and
test/bags/test_rosbags_internals.py fails if another one is installed.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import apsw
from lz4.frame import LZ4FrameDecompressor
from rosbags.interfaces.typing import Typesdict
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer, WriterError
from rosbags.rosbag2 import reader as _rosbags_reader
from rosbags.rosbag2.reader import DirectoryReader, zstd
from rosbags.rosbag2.storage_mcap import (
    DECOMPRESSORS,
    ChunkInfo,
    McapReader,
    McapWriter,
    PendingChunk,
    decompress,
)
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader, Sqlite3Writer
from rosbags.typesys.store import Typestore

ROSBAGS_VERSION = "0.11.9"
"""The version whose internals this module is written for."""
STORAGE_ERRORS = (OSError, ReaderError, WriterError, sqlite3.Error, apsw.Error)
"""What reading and writing storage raises with a message fit for users. Damaged bytes may raise anything else too."""

_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEAD = 9
"""Bytes of an mcap record before its content: 1 of opcode, 8 of length."""
_CHUNK_CRC_AT = _RECORD_HEAD + 24
"""Offset of the checksum in a chunk record: after start time, end time and uncompressed size."""
_NO_TIME = 2**63 - 1
MAX_MESSAGE_BYTES = 256_000_000
"""Largest message, and largest chunk of messages, that is decompressed: five of the largest images."""
MAX_FILE_RATIO = 200
"""A compressed file may grow by this factor, plus MAX_MESSAGE_BYTES: sensor data grows tenfold at most."""
STEP_BACK_NS = 1_000_000_000
"""A recorder whose times of one topic step back by more had its clock set: its messages are read as written."""


# Writing -----------------------------------------------------------------------------------------------------------


class _UnbufferedFile:
    """A file without a buffer of its own: bytes that `write` returned from survive a crash of the process."""

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

    def overwrite(self, at: int, data: bytes) -> None:
        os.pwrite(self._fd, data, at)

    def truncate(self, length: int) -> None:
        os.ftruncate(self._fd, length)
        self._at = os.lseek(self._fd, length, os.SEEK_SET)

    def close(self) -> None:
        os.close(self._fd)


class DurableWriter:
    """A rosbags Writer of a new bag whose flushed messages survive a crash, and a failed write.

    All methods raise OSError, sqlite3.Error or rosbags' WriterError.
    """

    def __init__(self, path: Path, storage: str) -> None:
        """storage: mcap or sqlite3."""
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()
        self._storage: Any = self._writer.storage
        self._file: _UnbufferedFile | None = None
        """Of an mcap bag."""
        # metadata.yaml names the file: a fixed name makes equal recordings equal bytes, whatever the folder's name.
        name = path / f"recording{self._storage.path.suffix}"
        if isinstance(self._storage, McapWriter):
            self._storage.bio.close()
            self._storage.path = self._storage.path.rename(name)
            file = _UnbufferedFile(name)
            self._file, self._storage.bio = file, file  # type: ignore[assignment]
            self._storage.close_chunk = partial(_close_chunk, self._storage, file, self._storage.close_chunk)
        elif isinstance(self._storage, Sqlite3Writer):
            self._storage.conn.close()
            self._storage.path = self._storage.path.rename(name)
            self._storage.conn = sqlite3.connect(name)
            self._storage.cursor = self._storage.conn.cursor()
        self._remember()

    def add_connection(self, topic: str, kind: str, store: Typestore, definition: tuple[str, str] | None) -> Any:
        """Begin a topic; returns the handle that `write` takes.

        definition: (text, RIHS01 hash) in place of the store's.
        """
        text, digest = definition or (None, None)
        return self._writer.add_connection(topic, kind, typestore=store, msgdef=text, rihs01=digest)

    def write(self, connection: Any, time_ns: int, data: bytes) -> None:
        self._writer.write(connection, time_ns, data)

    def flush(self) -> None:
        """Bring everything written so far to the disk."""
        if isinstance(self._storage, McapWriter):
            if self._storage.chunk.bio.tell():
                self._storage.close_chunk()
        elif isinstance(self._storage, Sqlite3Writer):
            self._storage.conn.commit()
        if self._file is not None:
            self._file.sync()
        self._remember()

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()

    def roll_back(self) -> None:
        """After a failed write: drop what was written since the last flush, and close the bag.

        The index and metadata.yaml are written if there is room for them; the bag can be read without them.
        """
        storage, writer = self._storage, self._writer
        counts, writer.min_timestamp, writer.max_timestamp = self._flushed
        # Topics that began after the last flush stay listed, with no message.
        writer.counts = {c.id: counts.get(c.id, 0) for c in writer.connections}
        with suppress(OSError, sqlite3.Error, WriterError):
            if isinstance(storage, McapWriter):
                length, stats, storage.message_start_time, storage.message_end_time, chunks = self._flushed_mcap
                self._truncate(length)
                del storage.chunks[chunks:]
                storage.chunk = PendingChunk(_NO_TIME, 0, BytesIO(), defaultdict(list))
                storage.channel_stats = {c.id: stats.get(c.id, 0) for c in storage.channels}
            elif isinstance(storage, Sqlite3Writer):
                storage.conn.rollback()
            try:
                writer.close()
            except (OSError, sqlite3.Error):
                self._truncate(self._flushed_mcap[0])
                raise

    def _remember(self) -> None:
        """Keep the writer's state, to which `roll_back` returns."""
        storage, writer = self._storage, self._writer
        self._flushed = dict(writer.counts), writer.min_timestamp, writer.max_timestamp
        self._flushed_mcap: tuple[int, dict[int, int], int, int, int] = (0, {}, 0, 0, 0)
        if isinstance(storage, McapWriter):
            self._flushed_mcap = (
                storage.bio.tell(), dict(storage.channel_stats), storage.message_start_time, storage.message_end_time,
                len(storage.chunks),
            )  # fmt: skip

    def _truncate(self, length: int) -> None:
        if self._file is not None:
            self._file.truncate(length)


def _close_chunk(storage: McapWriter, file: _UnbufferedFile, close: Callable[[], None]) -> None:
    """McapWriter.close_chunk, plus the chunk's checksum, which it leaves 0: with it, readers detect a damaged chunk."""
    at, checksum = file.tell(), zlib.crc32(storage.chunk.bio.getbuffer())
    close()
    file.overwrite(at + _CHUNK_CRC_AT, struct.pack("<I", checksum))


# Types -------------------------------------------------------------------------------------------------------------


def fields_of(store: Typestore, kind: str) -> list[tuple[str, Any]] | None:
    """(name, description) of a type's fields, in order; None for an unknown type.

    A description is (1, (basic type, bound)), (2, message type), (3, (description, length)) for an array, or
    (4, (description, bound)) for a sequence.
    """
    definition = store.fielddefs.get(kind)
    return None if definition is None else list(definition[1])


def replace_types(store: Typestore, types: Typesdict) -> None:
    """Register types in a store, which must not have read any message yet, in place of those with the same names."""
    for name in types:
        store.fielddefs.pop(name, None)
        store.types.pop(name, None)
    store.register(types)


# Reading -----------------------------------------------------------------------------------------------------------

StorageFile = McapReader | Sqlite3Reader
"""An open file of a bag: `connections`, `metadata`, `messages(connections)`, `close()`."""


def open_folder(path: Path) -> tuple[list[Any], Callable[[], None]]:
    """Open a bag's folder by its metadata.yaml: (its files, a function that closes them). Raises anything."""
    directory = _RecoveringDirectoryReader(path)
    directory.open()
    return list(directory.storages), directory.close


def open_file(path: Path) -> StorageFile:
    """Open one .mcap or .db3 file, recovering what can be read of it. Raises anything."""
    file = (_RecoveringMcapReader if path.suffix.lower() == ".mcap" else _RecoveringSqliteReader)(path)
    file.open()
    return file


def incompleteness(file: Any) -> str:
    """Why not all of an open file can be read, in one sentence; empty if all can."""
    return getattr(file, "incompleteness", "")


def decompress_message(data: bytes) -> bytes:
    """A message of a bag that was recorded with compression mode `message` and format zstd.

    Raises ReaderError where it is larger than MAX_MESSAGE_BYTES; no more memory is taken than that.
    """
    return _expand(zstd.ZstdDecompressor(), data, MAX_MESSAGE_BYTES)


def _expand(decompressor: Any, data: bytes, most: int) -> bytes:
    """All frames of compressed data, of `most` bytes in all. Raises ReaderError for more, and for data that ends early.

    decompressor: for the first frame; one of its class is made for each further frame.
    """
    out = bytearray()
    while True:
        out += decompressor.decompress(data, max_length=most + 1 - len(out))
        if len(out) > most:
            raise ReaderError(f"{len(data)} compressed bytes hold more than {most}: they are not expanded")
        if not decompressor.eof:
            raise ReaderError("compressed data ends early")
        data = decompressor.unused_data
        if not data:
            return bytes(out)
        decompressor = type(decompressor)()


def _chunk_decompressor(kind: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """How rosbags expands a chunk: (its bytes, the size that its record claims) to the chunk."""

    def expand(data: bytes, size: int) -> bytes:
        if size > MAX_MESSAGE_BYTES:
            raise ReaderError(f"a chunk claims to hold {size} bytes; at most {MAX_MESSAGE_BYTES} are read")
        return _expand(kind(), data, size)

    return expand


DECOMPRESSORS["zstd"] = _chunk_decompressor(zstd.ZstdDecompressor)
DECOMPRESSORS["lz4"] = _chunk_decompressor(LZ4FrameDecompressor)


class _LimitedZstd:
    """The module zstd as rosbags' directory reader uses it, for files compressed as a whole, with a limit."""

    @staticmethod
    def open(file: Any, _mode: str) -> Any:
        most = MAX_FILE_RATIO * os.fstat(file.fileno()).st_size + MAX_MESSAGE_BYTES
        return _LimitedFile(zstd.open(file, "rb"), most)


class _LimitedFile:
    """A file of which at most `most` bytes are read."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left, self._most = file, most, most

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))
        self._left -= len(data)
        if self._left < 0:
            raise ReaderError(f"a compressed file holds more than {self._most} bytes: it is not expanded")
        return data

    def __enter__(self) -> _LimitedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


_rosbags_reader.zstd = _LimitedZstd  # type: ignore[assignment]


def steps_back(file: Any) -> bool:
    """Whether the times of a topic of an open file, in the order in which its messages were written, step back by more
    than STEP_BACK_NS: the recorder's clock was set back. Raises anything."""
    return bool(file.steps_back())


def _steps_back(times: Iterable[tuple[int, int]]) -> bool:
    """times: (connection's number, ns)."""
    newest: dict[int, int] = {}
    for number, time_ns in times:
        before = newest.get(number, time_ns)
        if time_ns < before - STEP_BACK_NS:
            return True
        newest[number] = max(before, time_ns)
    return False


def messages_as_written(file: Any, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
    """(connection, time in ns, data) in the order in which they were written, and not by time. Raises anything."""
    yield from file.messages_as_written(connections)


class _RecoveringMcapReader(McapReader):
    """Reads a file whose end is missing or damaged up to the last whole record."""

    path: Path
    incompleteness = ""

    def open(self) -> None:
        try:
            super().open()
        except Exception as error:  # parsers of damaged bytes raise anything
            # EINVAL: a seek before the beginning of a short file. Other OSErrors are of the file system.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            self._recover(error)

    def steps_back(self) -> bool:
        return _steps_back(self._times_as_written())

    def _times_as_written(self) -> Iterator[tuple[int, int]]:
        """(connection's number, time in ns) of the messages, those of each connection in the order written."""
        everything = {c.id: c for c in self.connections}
        if not self.chunks:
            yield from ((c.id, time_ns) for c, time_ns, _ in self.messages_scan(self.connections))
        for chunk in sorted(self.chunks, key=lambda c: c.chunk_start_offset):
            if not chunk.message_index_offsets:
                yield from ((c.id, time_ns) for c, time_ns, _ in self._chunk(chunk, everything))
            for number, at in chunk.message_index_offsets.items():
                entries = sorted(self._index_entries(at), key=lambda entry: entry[1])
                yield from ((number, time_ns) for time_ns, _ in entries)

    def _index_entries(self, at: int) -> list[tuple[int, int]]:
        """(time in ns, offset in the chunk) of the messages in a message index record."""
        assert self.bio
        self.bio.seek(at + _RECORD_HEAD + 2)
        (length,) = struct.unpack("<I", self.bio.read(4))
        if length > self.path.stat().st_size:
            raise ReaderError("a message index is longer than the file")
        return [(t, o) for t, o in struct.iter_unpack("<QQ", self.bio.read(length))]

    def messages_as_written(self, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
        if not self.chunks:
            yield from self.messages_scan(connections)
            return
        wanted = {c.id: c for c in connections}
        for chunk in sorted(self.chunks, key=lambda c: c.chunk_start_offset):
            if any(chunk.channel_count.get(number, 0) for number in wanted):
                yield from self._chunk(chunk, wanted)

    def _chunk(self, chunk: ChunkInfo, wanted: dict[int, Any]) -> Iterator[tuple[Any, int, bytes]]:
        """A chunk's messages of the wanted connections, by number, as written."""
        assert self.bio
        self.bio.seek(chunk.chunk_start_offset + _CHUNK_CRC_AT)
        (crc,) = struct.unpack("<I", self.bio.read(4))
        self.bio.seek(chunk.chunk_start_offset + _RECORD_HEAD + 40 + len(chunk.compression))
        data = decompress(self.bio.read(chunk.compressed_size), chunk.compression, chunk.uncompressed_size, crc)
        at = 0
        while at + _RECORD_HEAD <= len(data):
            opcode, (length,) = data[at], struct.unpack_from("<Q", data, at + 1)
            at += _RECORD_HEAD
            if opcode == 0x05:
                channel, _, time_ns, _ = struct.unpack_from("<HIQQ", data, at)
                if channel in wanted:
                    yield wanted[channel], time_ns, data[at + 22 : at + length]
            at += length

    def _recover(self, error: BaseException) -> None:
        reason = str(error)
        self.__init__(self.path)
        self.bio = self.path.open("rb")
        try:
            chunks = self._find_whole_records()
            if not chunks and self.data_end == self.data_start:
                raise ReaderError("it holds nothing" if self.data_start else reason)
            self.meta_scan()
        except BaseException:
            self.bio.close()
            raise
        # The topics of a chunk are listed in the index, which is missing: assume that each chunk has all of them.
        all_topics = {c.id: 1 for c in self.connections}
        self.chunks = [chunk._replace(channel_count=all_topics) for chunk in chunks]
        statistics = self.statistics
        assert statistics is not None
        counts = statistics.channel_message_counts
        self.connections = [c._replace(msgcount=counts.get(c.id, 0)) for c in self.connections]
        if statistics.message_count:
            self.metadata = self.metadata._replace(
                duration=statistics.end_time - statistics.start_time + 1, start_time=statistics.start_time,
                end_time=statistics.end_time + 1, message_count=statistics.message_count,
            )  # fmt: skip
        size = self.path.stat().st_size
        lost = f", its last {size - self.data_end} bytes are lost" if self.data_end < size else ""
        self.incompleteness = f"{self.path.name} was not closed: it is read up to its last whole record{lost}"

    def _find_whole_records(self) -> list[ChunkInfo]:
        """Set data_start and data_end around the whole records; returns the chunks between, [] if messages lie outside
        of chunks, which are read in the order in which they lie."""
        bio = self.bio
        assert bio
        size = self.path.stat().st_size
        if bio.read(8) != _MAGIC:
            raise ReaderError("it is not an mcap file" if size else "it is empty")
        chunks: list[ChunkInfo] = []
        unchunked = False
        at = len(_MAGIC)
        while at + _RECORD_HEAD <= size:
            bio.seek(at)
            opcode, (length,) = bio.read(1)[0], struct.unpack("<Q", bio.read(8))
            end_of_data = opcode in (0x02, 0x0F)
            if not 1 <= opcode <= 0x0F or at + _RECORD_HEAD + length > size or end_of_data:
                break
            if opcode == 0x01:  # header
                self.data_start = at + _RECORD_HEAD + length
            elif opcode == 0x05:  # message
                unchunked = True
            elif opcode == 0x06:  # chunk
                start, end, uncompressed, _ = struct.unpack("<QQQI", bio.read(28))
                (name,) = struct.unpack("<I", bio.read(4))
                compression = bio.read(name).decode("ascii", "replace")
                (compressed,) = struct.unpack("<Q", bio.read(8))
                chunk = ChunkInfo(
                    start, end, at, _RECORD_HEAD + length, {}, 0, compression, compressed, uncompressed, {}
                )
                if not self._can_decompress(chunk):
                    break
                chunks.append(chunk)
            at += _RECORD_HEAD + length
        self.data_end = at
        return [] if unchunked else chunks

    def _can_decompress(self, chunk: ChunkInfo) -> bool:
        assert self.bio
        self.bio.seek(chunk.chunk_start_offset + _CHUNK_CRC_AT)
        (crc,) = struct.unpack("<I", self.bio.read(4))
        self.bio.seek(chunk.chunk_start_offset + _RECORD_HEAD + 40 + len(chunk.compression))
        try:
            decompress(self.bio.read(chunk.compressed_size), chunk.compression, chunk.uncompressed_size, crc)
        except Exception:  # decompressors of damaged bytes raise anything
            return False
        return True


class _RecoveringSqliteReader(Sqlite3Reader):
    """Reads a database whose writer was killed, after SQLite has rolled back its unfinished transaction."""

    path: Path
    incompleteness = ""

    def open(self) -> None:
        if any(self.path.with_name(self.path.name + end).exists() for end in ("-journal", "-wal")):
            self.incompleteness = f"{self.path.name} was not closed: it is read up to what was last committed"
            with suppress(sqlite3.Error):  # rosbags opens it as immutable, which skips the roll-back
                connection = sqlite3.connect(f"file:{self.path}", uri=True)
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                connection.close()
        super().open()

    def steps_back(self) -> bool:
        assert self.dbconn
        return _steps_back(self.dbconn.cursor().execute("SELECT topic_id, timestamp FROM messages ORDER BY id"))

    def messages_as_written(self, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
        assert self.dbconn
        wanted = {c.id: c for c in connections}
        query = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
        for topic, time_ns, data in self.dbconn.cursor().execute(query):
            if topic in wanted:
                yield wanted[topic], time_ns, data


class _RecoveringDirectoryReader(DirectoryReader):
    STORAGE_PLUGINS: ClassVar[Any] = {"mcap": _RecoveringMcapReader, "sqlite3": _RecoveringSqliteReader}
