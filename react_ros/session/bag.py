"""Bags (rosbag2, mcap) with our own message types, written and read without a ROS installation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.errors import ReaderError, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from react_ros.package import share


class BagError(Exception):
    """A bag cannot be written or read; the message is one sentence for people."""


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """ROS 2 Jazzy's types and the package's own."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted((share() / "msg").glob("*.msg")):
        types |= get_types_from_msg(path.read_text(), f"react_ros/msg/{path.stem}")
    store.register(types)
    return store


class BagWriter:
    """Writes serialised messages into a new mcap bag."""

    def __init__(self, path: Path) -> None:
        """Raises BagError where the folder exists or cannot be made."""
        try:
            self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"bag {path} cannot be written: {str(error).rstrip('.')}") from None
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """One message: its type as "package/msg/Name", when it came (ns since the epoch), its CDR bytes."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, message_type, typestore=typestore())
        self._writer.write(self._connections[topic], time_ns, data)

    def close(self) -> None:
        """Write the index and metadata.yaml."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a bag."""

    topic: str
    time_ns: int
    """When the recorder got it, ns since the epoch."""
    message: Any


def read_bag(path: Path, *endings: str) -> Iterator[Recorded]:
    """The messages of a bag in the order they came, of topics that end in one of `endings` (of all without any).

    Raises BagError where the bag cannot be read.
    """
    store = typestore()
    try:
        with Reader(path) as reader:
            chosen = [c for c in reader.connections if not endings or c.topic.endswith(endings)]
            if not chosen:
                return
            for connection, time_ns, data in reader.messages(connections=chosen):
                yield Recorded(connection.topic, time_ns, store.deserialize_cdr(data, connection.msgtype))
    except (ReaderError, OSError) as error:
        raise BagError(f"bag {path} cannot be read: {str(error).rstrip('.')}") from None
