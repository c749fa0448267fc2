"""Reads rosbag2 bags: mcap or sqlite3, compressed or not, in one or several files, complete or damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from react_ros.bags.errors import BagError, explain
from react_ros.bags.rosbags_internals import (
    STEP_BACK_NS,
    decompress_message,
    incompleteness,
    messages_as_written,
    open_file,
    open_folder,
    steps_back,
)
from react_ros.bags.types import BagTypes

_SUFFIXES = (".mcap", ".db3")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a bag."""

    name: str
    kind: str
    """Message type, "package/msg/Name"."""
    count: int
    """Number of messages."""
    known: bool
    """Whether its messages can be read: the type's definition is known, or in the bag."""
    definition: tuple[str, str] | None = None
    """(text, RIHS01 hash) of the type in the bag, if it differs from this package's and ROS 2 Jazzy's definitions."""


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message of a bag."""

    topic: str
    time_ns: int
    """When the recorder received it, ns since the epoch."""
    message: Any


class Bag:
    """An open bag: a folder, or one .mcap or .db3 file. A context manager.

    Everything that can be read of a damaged bag is; `notices` names the rest.
    """

    def __init__(self, path: Path) -> None:
        """Raises BagError where nothing can be read."""
        self.path = path
        self.notices: list[str] = []
        """What is missing or unusual in this bag, one sentence each; to be shown beside any result."""
        self.lost: list[str] = []
        """Sensors of this bag of which most cannot be used, one sentence each: a result without them is no success."""
        self._close: Callable[[], None] = lambda: None
        with self._bag_errors():
            self._files = self._open()
        try:
            self._types = BagTypes(self._files)
            self._topics = self._list_topics()
        except BaseException:
            self.close()
            raise
        self.notices += [reason for file in self._files if (reason := incompleteness(file))]
        self.notices += self._types.notices
        filled = [file.metadata for file in self._files if file.metadata.message_count]
        self.start_ns = min((m.start_time for m in filled), default=0)
        """When the first message was received, ns since the epoch."""
        self.end_ns = max((m.end_time - 1 for m in filled), default=0)
        """When the last message was received, ns since the epoch."""
        self.messages_count = sum(m.message_count for m in filled)
        if not filled:
            self.notices.append(f"bag {path} holds no message")
        self.stepped_back = False
        """Whether the recorder's clock was set back while it recorded."""
        self._as_written: set[int] = set()
        """Numbers of the files that are read as written, because their times step back."""
        self._find_steps()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its files. Safe to call twice."""
        close, self._close = self._close, lambda: None
        close()

    @property
    def topics(self) -> dict[str, Topic]:
        """By name."""
        return dict(self._topics)

    @property
    def seconds(self) -> float:
        """Time from the first message to the last, s."""
        return (self.end_ns - self.start_ns) / 1e9

    def raw(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of receipt in ns, CDR bytes) of these topics, by time within each file; of a file in which the
        recorder's clock was set back, in the order written.

        Raises BagError at a damaged place.
        """
        with self._bag_errors():
            for number, file in enumerate(self._files):
                chosen = [c for c in file.connections if c.topic in topics and c.msgtype == self._topics[c.topic].kind]
                if not chosen:
                    continue
                read = messages_as_written if number in self._as_written else type(file).messages
                for connection, time_ns, data in read(file, chosen):
                    # That messages are compressed is recorded in metadata.yaml only, which may be missing.
                    compressed = data[:4] == _ZSTD_MAGIC
                    yield connection.topic, time_ns, decompress_message(data) if compressed else data

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """The messages of these topics, by time within each file.

        Raises BagError at a damaged place, and for a topic of unknown type.
        """
        for name in topics:
            topic = self._topics.get(name)
            if topic is not None and not topic.known:
                raise BagError(f"{name} in bag {self.path} cannot be read: its type {topic.kind} is unknown")
        for topic, time_ns, data in self.raw(topics):
            yield BagMessage(topic, time_ns, self.read(topic, data))

    def read(self, topic: str, data: bytes) -> Any:
        """Deserialise the CDR bytes of a topic's message. Raises BagError where they are damaged."""
        kind = self._topics[topic].kind
        try:
            return self._types.store(kind).deserialize_cdr(data, kind)
        except Exception as error:  # parsers of damaged bytes raise anything
            raise BagError(
                f"{topic} in bag {self.path} holds a message that is not a {kind}: {explain(error)}"
            ) from None

    def _find_steps(self) -> None:
        for number, file in enumerate(self._files):
            with suppress(Exception):  # a damaged place: it is named where its messages are read
                if steps_back(file):
                    self._as_written.add(number)
        between = [(a.metadata.end_time, b.metadata.start_time) for a, b in pairwise(self._files)]
        self.stepped_back = bool(self._as_written) or any(begin < end - STEP_BACK_NS for end, begin in between)
        if self.stepped_back:
            self.notices.append(
                f"the recorder's clock was set back while it recorded bag {self.path}: its messages are read in the "
                "order in which they were written"
            )

    def _open(self) -> list[Any]:
        path = self.path
        if not path.exists():
            raise BagError(f"bag {path} cannot be read: it does not exist")
        if path.is_file():
            if path.suffix.lower() not in _SUFFIXES:
                raise BagError(f"bag {path} cannot be read: it must be a folder, or a file .mcap or .db3")
            return self._open_files([path])
        reason = "metadata.yaml is missing"
        if (path / "metadata.yaml").exists():
            try:
                opened, self._close = open_folder(path)
                return opened
            except Exception as error:  # parsers of damaged bytes raise anything
                reason = f"its metadata.yaml does not help: {explain(error)}"
        files = sorted((f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES), key=_numbers_in_order)
        if not files:
            compressed = [f.name for f in path.iterdir() if f.name.endswith(".zstd")]
            if compressed:
                unpack = f"unpack its files first (zstd -d {compressed[0]})"
                raise BagError(f"bag {path} cannot be read: {reason}; {unpack}")
            raise BagError(f"bag {path} cannot be read: {reason}, and no .mcap or .db3 file is in it")
        self.notices.append(f"bag {path}: {reason}; its {len(files)} file{'s' * (len(files) > 1)} are read as they are")
        return self._open_files(files)

    def _open_files(self, files: list[Path]) -> list[Any]:
        opened: list[Any] = []

        def close() -> None:
            for file in opened:
                file.close()

        self._close = close
        failed = []
        for path in files:
            try:
                opened.append(open_file(path))
            except Exception as error:  # parsers of damaged bytes raise anything
                failed.append(f"{path.name}: {explain(error)}")
        if not opened:
            raise BagError(f"bag {self.path} cannot be read: {'; '.join(failed)}")
        self.notices += [f"left out: {reason}" for reason in failed]
        return opened

    def _list_topics(self) -> dict[str, Topic]:
        counts: Counter[str] = Counter()
        kinds: dict[str, str] = {}
        for file in self._files:
            for c in file.connections:
                if kinds.setdefault(c.topic, c.msgtype) != c.msgtype:
                    self.notices.append(f"{c.topic} carries {kinds[c.topic]} and {c.msgtype}: the second is left out")
                    continue
                counts[c.topic] += c.msgcount
        return {
            name: Topic(name, kind, counts[name], self._types.knows(kind), self._types.definitions.get(kind))
            for name, kind in sorted(kinds.items())
        }

    @contextmanager
    def _bag_errors(self) -> Iterator[None]:
        try:
            yield
        except BagError:
            raise
        except Exception as error:  # parsers of damaged bytes raise anything
            raise BagError(f"bag {self.path} cannot be read: {explain(error)}") from None


def _numbers_in_order(path: Path) -> list[Any]:
    """Sort key that puts part_2 before part_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def read_bag(path: Path, *endings: str) -> Iterator[BagMessage]:
    """The messages of a bag, of the topics that end in one of `endings` (all topics without any).

    Raises BagError where the bag cannot be read.
    """
    with Bag(path) as bag:
        chosen = [name for name in bag.topics if not endings or name.endswith(endings)]
        yield from bag.messages(chosen)
