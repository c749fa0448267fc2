"""Storage readers that also read files whose writer was killed."""

from __future__ import annotations

import errno
import sqlite3
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader


class RecoveringMcapReader(McapReader):
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


class RecoveringSqliteReader(Sqlite3Reader):
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


class RecoveringDirectoryReader(DirectoryReader):
    STORAGE_PLUGINS: ClassVar[Any] = {"mcap": RecoveringMcapReader, "sqlite3": RecoveringSqliteReader}
