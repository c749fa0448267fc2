"""Bags (rosbag2: mcap or sqlite3), written so that a crash costs a second at most, and read whatever their state.

Everything here goes through the rosbags library and needs no ROS installation.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import apsw
import numpy as np
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError, WriterError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader, Sqlite3Writer
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from react_ros.face import Floats
from react_ros.package import share
from react_ros.session.messages import Wire

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
_SUFFIXES = (".mcap", ".db3")
_ZSTD = b"\x28\xb5\x2f\xfd"


class BagError(Exception):
    """A bag cannot be written or read; the message is one sentence for people."""


class BagFull(BagError):
    """The disk has no more room; what came before lies in the bag, which is closed."""


# Types ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _own_types() -> dict[str, Any]:
    types: dict[str, Any] = {}
    for path in sorted((share() / "msg").glob("*.msg")):
        types |= get_types_from_msg(path.read_text(), f"react_ros/msg/{path.stem}")
    return types


def _new_store() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(_own_types())
    return store


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """ROS 2 Jazzy's types and the package's own."""
    return _new_store()


def know(kind: str) -> bool:
    """Whether messages of a type can be written: learns it from the installed packages where it is none of ours."""
    store = typestore()
    if kind in store.fielddefs:
        return True
    types: dict[str, Any] = {}
    wanted = [kind]
    try:
        while wanted:
            name = wanted.pop()
            if name in types or name in store.fielddefs:
                continue
            text = _installed(name)
            if text is None:
                return False
            found = get_types_from_msg(text, name)
            types |= found
            wanted += [inner for inner in re.findall(r"'(\w+/msg/\w+)'", repr(found)) if inner not in found]
        store.register(types)
    except TypesysError:  # written in a way that the library does not understand
        return False
    return True


def _installed(kind: str) -> str | None:
    package, _, name = kind.split("/")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if prefix and path.is_file():
            return path.read_text("utf-8")
    return None


_EMPTY: dict[str, Any] = {"string": "", "wstring": "", "bool": False, "float32": 0.0, "float64": 0.0}


def _nothing(description: Any) -> Any:
    """The empty value of a field."""
    kind, told = description
    if kind == 1:  # a basic type
        return _EMPTY.get(told[0], 0)
    if kind == 2:  # a message
        return new_message(told)
    inner, length = told
    count = length if kind == 3 else 0  # an array or a sequence
    if inner[0] == 1 and inner[1][0] not in ("string", "wstring"):
        return np.zeros(count, inner[1][0] if inner[1][0] not in ("byte", "char", "octet") else np.uint8)
    return [_nothing(inner) for _ in range(count)]


@lru_cache(maxsize=256)
def _defaults(kind: str) -> MappingProxyType[str, Any]:
    _, fields = typestore().fielddefs[kind]
    return MappingProxyType({name: _nothing(description) for name, description in fields})


def new_message(kind: str, **fields: Any) -> Any:
    """A message of the package or of ROS 2 Jazzy, "package/msg/Name", that a bag can hold; what is not given is empty.

    Arrays are numpy's, of the field's type. What is empty is shared: give fields, do not fill them.
    """
    return typestore().types[kind](**{**_defaults(kind), **fields})


def _floats(values: Floats) -> Floats:
    return np.array(values, np.float32)


WIRE = Wire(new_message, _floats)
"""Builds the project's messages for bags."""


def serialise(message: Any) -> bytes:
    """CDR bytes of a message of `new_message`."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


# Writing ----------------------------------------------------------------------------------------------------------


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
            raise BagError(f"bag {path} cannot be written: {_reason(error)}") from None
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
            sentence = f"bag {self.path} ends here: {_reason(error)}; all but its last second can be read"
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


_SAID = (OSError, ReaderError, WriterError, SerdeError, sqlite3.Error, apsw.Error)
"""What speaks in sentences; anything else comes from inside a parser in front of damaged bytes."""


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    text = " ".join(str(error).split()).rstrip(".")  # parsers quote what they could not read, over many lines
    text = text if len(text) <= 160 else f"{text[:160]}…"
    return text if isinstance(error, _SAID) else f"it is damaged ({type(error).__name__}: {text})"


# Reading ----------------------------------------------------------------------------------------------------------


class _Mcap(McapReader):
    """Reads also a file whose end is missing or damaged: up to the last record that is whole."""

    path: Path
    torn = ""
    """Why not all of it can be read; empty where it can."""

    def open(self) -> None:
        try:
            super().open()
        except Exception as error:  # whatever a parser thinks of damaged bytes
            # Seeking before the beginning of a short file is an OSError with this number; others are real.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            self._mend(error)

    def _mend(self, error: BaseException) -> None:
        reason = str(error)
        self.__init__(self.path)
        self.bio = self.path.open("rb")
        try:
            chunks = self._whole_records()
            if not chunks and self.data_end == self.data_start:
                raise ReaderError("it holds nothing" if self.data_start else reason)
            self.meta_scan()
        except BaseException:
            self.bio.close()
            raise
        # Which topics a chunk has lies in the index that is lost: any of them.
        any_of_them = {c.id: 1 for c in self.connections}
        self.chunks = [chunk._replace(channel_count=any_of_them) for chunk in chunks]
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
        self.torn = f"{self.path.name} was not closed: it is read up to its last whole record{lost}"

    def _whole_records(self) -> list[ChunkInfo]:
        """Find data_start and data_end; the chunks between."""
        bio = self.bio
        assert bio
        size = self.path.stat().st_size
        if bio.read(8) != b"\x89MCAP0\r\n":
            raise ReaderError("it is no mcap file" if size else "it is empty")
        chunks: list[ChunkInfo] = []
        loose = False
        at = 8
        while at + 9 <= size:
            bio.seek(at)
            code, (length,) = bio.read(1)[0], struct.unpack("<Q", bio.read(8))
            if not 1 <= code <= 0x0F or at + 9 + length > size or code in (0x02, 0x0F):
                break
            if code == 0x01:
                self.data_start = at + 9 + length
            elif code == 0x05:
                loose = True
            elif code == 0x06:
                start, end, whole, _ = struct.unpack("<QQQI", bio.read(28))
                (name,) = struct.unpack("<I", bio.read(4))
                compression = bio.read(name).decode("ascii", "replace")
                (packed,) = struct.unpack("<Q", bio.read(8))
                info = ChunkInfo(start, end, at, 9 + length, {}, 0, compression, packed, whole, {})
                if not self._sound(info):
                    break
                chunks.append(info)
            at += 9 + length
        self.data_end = at
        # Messages outside of chunks are read in the order in which they lie.
        return [] if loose else chunks

    def _sound(self, info: ChunkInfo) -> bool:
        """Whether a chunk can be unpacked."""
        from rosbags.rosbag2.storage_mcap import decompress

        assert self.bio
        self.bio.seek(info.chunk_start_offset + 9 + 24)
        (crc,) = struct.unpack("<I", self.bio.read(4))
        self.bio.seek(info.chunk_start_offset + 9 + 40 + len(info.compression))
        try:
            decompress(self.bio.read(info.compressed_size), info.compression, info.uncompressed_size, crc)
        except Exception:  # whatever a decompressor thinks of damaged bytes
            return False
        return True


class _Sqlite(Sqlite3Reader):
    """Reads also a database whose writer was killed: SQLite itself first undoes what was not finished."""

    path: Path
    torn = ""

    def open(self) -> None:
        if any(self.path.with_name(self.path.name + end).exists() for end in ("-journal", "-wal")):
            self.torn = f"{self.path.name} was not closed: it is read up to what was last committed"
            with suppress(sqlite3.Error):
                connection = sqlite3.connect(f"file:{self.path}", uri=True)
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                connection.close()
        super().open()


class _Directory(DirectoryReader):
    STORAGE_PLUGINS: ClassVar[Any] = {"mcap": _Mcap, "sqlite3": _Sqlite}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a bag."""

    name: str
    kind: str
    """Its type, "package/msg/Name"."""
    count: int
    known: bool
    """Whether its messages can be read: the type's definition is known, or in the bag."""
    definition: tuple[str, str] | None = None
    """The definition that the bag has of it, and its hash, where it is none of ours or of ROS 2 Jazzy."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a bag."""

    topic: str
    time_ns: int
    """When the recorder got it, ns since the epoch."""
    message: Any


class Bag:
    """An open bag: rosbag2's, of either storage, compressed or not, split or not; whole or torn.

    A folder, or one .mcap or .db3 file. What cannot be read of it is said in `notices`. A context manager.
    """

    def __init__(self, path: Path) -> None:
        """Raises BagError, in one sentence, where nothing can be read."""
        self.path = path
        self.notices: list[str] = []
        """What a reader of any result must know of this bag's state."""
        self._close: Callable[[], None] = lambda: None
        with self._sentences():
            self._storages = self._open()
        try:
            self._types = _Types(self._storages)
            self._topics = self._list_topics()
        except BaseException:
            self.close()
            raise
        self.notices += [s.torn for s in self._storages if getattr(s, "torn", "")]
        self.notices += self._types.notices
        whole = [s.metadata for s in self._storages if s.metadata.message_count]
        self.start_ns = min((m.start_time for m in whole), default=0)
        """When its first message came, ns since the epoch."""
        self.end_ns = max((m.end_time - 1 for m in whole), default=0)
        self.messages_count = sum(m.message_count for m in whole)
        if not whole:
            self.notices.append(f"bag {path} holds no message")

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of its files. Safe to call twice."""
        close, self._close = self._close, lambda: None
        close()

    @property
    def topics(self) -> dict[str, Topic]:
        """By name."""
        return dict(self._topics)

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return (self.end_ns - self.start_ns) / 1e9

    def raw(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time in ns, CDR bytes) of these topics, as they came. Raises BagError at a damaged place."""
        with self._sentences():
            for storage in self._storages:
                chosen = [
                    c for c in storage.connections if c.topic in topics and c.msgtype == self._topics[c.topic].kind
                ]
                if not chosen:
                    continue
                for connection, time_ns, data in storage.messages(chosen):
                    # Whether messages were packed is known from metadata.yaml only, which may be missing.
                    yield connection.topic, time_ns, _unpacked(data) if data[:4] == _ZSTD else data

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of these topics, in the order they came. Raises BagError for a damaged place or unknown type."""
        for name in topics:
            topic = self._topics.get(name)
            if topic is not None and not topic.known:
                raise BagError(f"{name} in bag {self.path} cannot be read: its type {topic.kind} is unknown")
        for topic, time_ns, data in self.raw(topics):
            yield Recorded(topic, time_ns, self.read(topic, data))

    def read(self, topic: str, data: bytes) -> Any:
        """The message in CDR bytes of a topic. Raises BagError where they are damaged."""
        kind = self._topics[topic].kind
        try:
            return self._types.store(kind).deserialize_cdr(data, kind)
        except Exception as error:  # whatever a parser thinks of damaged bytes
            raise BagError(f"{topic} in bag {self.path} holds a message that is no {kind}: {_reason(error)}") from None

    def _open(self) -> list[Any]:
        path = self.path
        if not path.exists():
            raise BagError(f"bag {path} cannot be read: it does not exist")
        if path.is_file():
            if path.suffix not in _SUFFIXES:
                raise BagError(f"bag {path} cannot be read: it must be a folder, or a file .mcap or .db3")
            return self._open_files([path])
        reason = "metadata.yaml is missing"
        if (path / "metadata.yaml").exists():
            try:
                directory = _Directory(path)
                directory.open()
                self._close = directory.close
                return list(directory.storages)
            except Exception as error:  # whatever a parser thinks of damaged bytes
                reason = f"its metadata.yaml does not help: {_reason(error)}"
        files = sorted((f for f in path.iterdir() if f.suffix in _SUFFIXES), key=_natural)
        if not files:
            packed = [f.name for f in path.iterdir() if f.name.endswith(".zstd")]
            if packed:
                raise BagError(f"bag {path} cannot be read: {reason}; unpack its files first (zstd -d {packed[0]})")
            raise BagError(f"bag {path} cannot be read: {reason}, and no .mcap or .db3 file is in it")
        self.notices.append(f"bag {path}: {reason}; its {len(files)} file{'s' * (len(files) > 1)} are read as they are")
        return self._open_files(files)

    def _open_files(self, files: list[Path]) -> list[Any]:
        opened: list[Any] = []

        def close() -> None:
            for storage in opened:
                storage.close()

        self._close = close
        failed = []
        for file in files:
            storage = (_Mcap if file.suffix == ".mcap" else _Sqlite)(file)
            try:
                storage.open()
            except Exception as error:  # whatever a parser thinks of damaged bytes
                failed.append(f"{file.name}: {_reason(error)}")
                continue
            opened.append(storage)
        if not opened:
            raise BagError(f"bag {self.path} cannot be read: {'; '.join(failed)}")
        self.notices += [f"left out: {reason}" for reason in failed]
        return opened

    def _list_topics(self) -> dict[str, Topic]:
        counts: Counter[str] = Counter()
        kinds: dict[str, str] = {}
        for storage in self._storages:
            for c in storage.connections:
                if kinds.setdefault(c.topic, c.msgtype) != c.msgtype:
                    self.notices.append(f"{c.topic} carries {kinds[c.topic]} and {c.msgtype}: the second is left out")
                    continue
                counts[c.topic] += c.msgcount
        return {
            name: Topic(name, kind, counts[name], self._types.knows(kind), self._types.definitions.get(kind))
            for name, kind in sorted(kinds.items())
        }

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except BagError:
            raise
        except Exception as error:  # whatever a parser thinks of damaged bytes
            raise BagError(f"bag {self.path} cannot be read: {_reason(error)}") from None


class _Types:
    """Which definition each of a bag's types is read with: the bag's own, where it has one."""

    def __init__(self, storages: list[Any]) -> None:
        self.notices: list[str] = []
        self.definitions: dict[str, tuple[str, str]] = {}
        self._own: dict[str, Typestore] = {}
        self._common = typestore()
        texts: dict[str, Any] = {}
        digests: dict[str, str] = {}
        for storage in storages:
            for c in storage.connections:
                if c.msgdef.format != MessageDefinitionFormat.NONE:
                    texts.setdefault(c.msgtype, c.msgdef)
                    digests.setdefault(c.msgtype, c.digest)
        for kind, text in texts.items():
            try:
                parse = get_types_from_msg if text.format == MessageDefinitionFormat.MSG else None
                types = parse(text.data, kind) if parse else get_types_from_idl(text.data)
            except Exception as error:  # a parser in front of anybody's text
                if kind not in self._common.fielddefs:
                    self.notices.append(f"the definition of {kind} in the bag cannot be read: {_reason(error)}")
                continue
            changed = {name for name in types if not _same(types[name], self._common.fielddefs.get(name))}
            if not changed:
                continue
            store = _new_store()
            for name in changed:
                store.fielddefs.pop(name, None)
                store.types.pop(name, None)
            try:
                store.register({name: types[name] for name in changed})
                digest = digests[kind] or store.hash_rihs01(kind)  # fails where a type within is unknown
            except Exception as error:
                self.notices.append(f"the definition of {kind} in the bag cannot be read: {_reason(error)}")
                continue
            self._own[kind] = store
            if known := sorted(changed & self._common.fielddefs.keys()):
                self.notices.append(f"{kind} was recorded with another definition of {', '.join(known)} than today's")
            self.definitions[kind] = text.data, digest

    def knows(self, kind: str) -> bool:
        return kind in self._own or kind in self._common.fielddefs

    def store(self, kind: str) -> Typestore:
        return self._own.get(kind, self._common)


def _same(new: Any, known: Any) -> bool:
    """Whether two definitions have the same fields in the same order."""
    return known is not None and [(n.lower(), d) for n, d in new[1]] == [(n.lower(), d) for n, d in known[1]]


def _unpacked(data: bytes) -> bytes:
    from rosbags.rosbag2.reader import zstd

    return zstd.decompress(data)


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def read_bag(path: Path, *endings: str) -> Iterator[Recorded]:
    """The messages of a bag in the order they came, of topics that end in one of `endings` (of all without any).

    Raises BagError where the bag cannot be read.
    """
    with Bag(path) as bag:
        chosen = [name for name in bag.topics if not endings or name.endswith(endings)]
        yield from bag.messages(chosen)
