"""Reads rosbag2 bags of either storage, compressed or not, split or not, whole or damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from react_ros.bags.errors import BagError, explain
from react_ros.bags.recovery import RecoveringDirectoryReader, RecoveringMcapReader, RecoveringSqliteReader
from react_ros.bags.types import BagTypes

_SUFFIXES = (".mcap", ".db3")


_ZSTD = b"\x28\xb5\x2f\xfd"


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
class BagMessage:
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
            self._types = BagTypes(self._storages)
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

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """The messages of these topics, in the order they came. Raises BagError for a damaged place or unknown type."""
        for name in topics:
            topic = self._topics.get(name)
            if topic is not None and not topic.known:
                raise BagError(f"{name} in bag {self.path} cannot be read: its type {topic.kind} is unknown")
        for topic, time_ns, data in self.raw(topics):
            yield BagMessage(topic, time_ns, self.read(topic, data))

    def read(self, topic: str, data: bytes) -> Any:
        """The message in CDR bytes of a topic. Raises BagError where they are damaged."""
        kind = self._topics[topic].kind
        try:
            return self._types.store(kind).deserialize_cdr(data, kind)
        except Exception as error:  # whatever a parser thinks of damaged bytes
            raise BagError(f"{topic} in bag {self.path} holds a message that is no {kind}: {explain(error)}") from None

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
                directory = RecoveringDirectoryReader(path)
                directory.open()
                self._close = directory.close
                return list(directory.storages)
            except Exception as error:  # whatever a parser thinks of damaged bytes
                reason = f"its metadata.yaml does not help: {explain(error)}"
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
            storage = (RecoveringMcapReader if file.suffix == ".mcap" else RecoveringSqliteReader)(file)
            try:
                storage.open()
            except Exception as error:  # whatever a parser thinks of damaged bytes
                failed.append(f"{file.name}: {explain(error)}")
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
            raise BagError(f"bag {self.path} cannot be read: {explain(error)}") from None


def _unpacked(data: bytes) -> bytes:
    from rosbags.rosbag2.reader import zstd

    return zstd.decompress(data)


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def read_bag(path: Path, *endings: str) -> Iterator[BagMessage]:
    """The messages of a bag in the order they came, of topics that end in one of `endings` (of all without any).

    Raises BagError where the bag cannot be read.
    """
    with Bag(path) as bag:
        chosen = [name for name in bag.topics if not endings or name.endswith(endings)]
        yield from bag.messages(chosen)
