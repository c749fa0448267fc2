"""Fast DDS on this machine: shared memory and socket buffers, and the profile of a process that fits them.

Fast DDS's own shared-memory segment (0.5 MB) does not hold a 640x480 image (0.9 MB): a driver with the default profile
loses most of its images on the way, unless they are sent again (rmw_fastrtps issue 739). Our processes have larger
segments; images of a third-party driver, whose segment we cannot choose, are received on a socket of their own instead,
with a buffer that holds several of them.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from react_ros.package import dds_profile

SHARED_MEMORY = Path("/dev/shm")
SMALL_SHARED_MEMORY = 64 * 2**20
"""Docker's default, bytes: with no more than this, images may be lost."""
PROFILES_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
IMAGES_VARIABLE = "REACT_ROS_THIRD_PARTY_IMAGES"
"""Environment variable with the image topics, full names separated by commas, that a third-party driver publishes.

Empty: none. Where it is not set, a node takes `image_raw` in its namespace, after remapping, for one."""
SEGMENT, MESSAGE = 32 * 2**20, 8 * 2**20
"""Shared-memory segment and largest message in config/fastdds.xml, bytes."""
SMALLEST_SEGMENT = 2**20
SOCKET_BUFFER = 8 * 2**20
"""Asked for, bytes; the kernel grants twice net.core.rmem_max at most, of which half is its own bookkeeping."""
ENOUGH_BUFFER = 4 * 2**20
"""Socket buffer, as the kernel counts it, that takes the images of a best-effort driver without loss."""
_PORTS = range(61_000, 65_000)
"""Above the ports that Linux gives out by itself and those of Fast DDS in domains up to 213."""
_LOCALHOST = "127.0.0.1"
_DEAD_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """Room in /dev/shm, bytes."""

    total: int
    free: int

    @property
    def small(self) -> bool:
        return self.total <= SMALL_SHARED_MEMORY

    @property
    def segment(self) -> int:
        """Size of a process's segment: 32 MB, or what leaves room for 16 of them; 0: too little for any."""
        size = min(SEGMENT, self.total // 16, self.free // 2) // 4096 * 4096
        return size if size >= SMALLEST_SEGMENT else 0

    def __str__(self) -> str:
        return f"{self.total / 2**20:.0f} MB, {self.free / 2**20:.0f} MB free"


def shared_memory() -> SharedMemory:
    """Of this machine or container; nothing where /dev/shm does not exist."""
    try:
        stat = os.statvfs(SHARED_MEMORY)
    except OSError:
        return SharedMemory(0, 0)
    return SharedMemory(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)


SHARED_MEMORY_REMEDY = "docker run --shm-size=1g …, or on the host: mount -o remount,size=1g /dev/shm"
BUFFER_REMEDY = f"sysctl -w net.core.rmem_max={SOCKET_BUFFER}"


def socket_buffer() -> int:
    """The receive buffer that the kernel grants, in bytes as it counts them (twice the limit)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def third_party_images(environment: Mapping[str, str], arguments: Sequence[str] = ()) -> list[str]:
    """The topics in IMAGES_VARIABLE; without it, the one that a node with these ROS arguments reads images from."""
    if IMAGES_VARIABLE in environment:
        return [topic for topic in environment[IMAGES_VARIABLE].split(",") if topic]
    if not arguments:
        return []
    rules = dict(a.split(":=", 1) for a in arguments if ":=" in a)
    namespace = "/" + rules.get("__ns", "").strip("/")
    topic = rules.get("image_raw", "image_raw")
    return [topic if topic.startswith("/") else f"{namespace.rstrip('/')}/{topic}"]


def own_camera(environment: Mapping[str, str]) -> bool:
    """Whether the images are known to be of this package's camera node."""
    return environment.get(IMAGES_VARIABLE) == ""


def driver_profile() -> Path:
    """The profile for a third-party driver's process, whose images then fit into its shared-memory segment."""
    return dds_profile({})


def process_profile(
    environment: Mapping[str, str], memory: SharedMemory, buffer: int, arguments: Sequence[str] = ()
) -> str:
    """The text of the Fast DDS profile for a process of this package.

    memory: the segment shrinks to fit. buffer: from `socket_buffer`; if it is large enough, the images of third-party
    drivers are received on a socket of their own. arguments: ROS arguments of the process.
    """
    path = dds_profile(environment)
    text = _sized(path.read_text("utf-8"), memory.segment)
    topics = third_party_images(environment, arguments) if buffer >= ENOUGH_BUFFER else []
    address = f"<address>{_LOCALHOST}</address>" if path.stem.endswith("localhost") else ""
    readers = "".join(_reader(topic, free_port(), address) for topic in topics)
    return text.replace("  </profiles>", f"{readers}  </profiles>")


def _sized(text: str, segment: int) -> str:
    if segment == SEGMENT:
        return text
    if not segment:
        begin, end = text.index("      <transport_descriptor>\n"), text.index("</transport_descriptor>\n")
        assert "<type>SHM</type>" in text[begin:end]
        text = text[:begin] + text[end + len("</transport_descriptor>\n") :]
        return text.replace("          <transport_id>large_shm</transport_id>\n", "")
    message = min(MESSAGE, segment // 4)
    return text.replace(f">{SEGMENT}<", f">{segment}<").replace(f">{MESSAGE}</maxM", f">{message}</maxM")


def _reader(topic: str, port: int, address: str) -> str:
    """rmw_fastrtps applies the profile with a topic's name to the readers of that topic."""
    return (
        f'    <data_reader profile_name="{topic}">\n      <unicastLocatorList>\n'
        f"        <locator><udpv4><port>{port}</port>{address}</udpv4></locator>\n"
        "      </unicastLocatorList>\n    </data_reader>\n"
    )


def free_port(among: Sequence[int] = _PORTS) -> int:
    """A UDP port that nobody uses. Raises OSError if none of 100 is free."""
    for port in random.SystemRandom().sample(among, min(100, len(among))):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no UDP port between {among[0]} and {among[-1]} is free")


_own: list[Path] = []
"""The profile file of this process, while it is there."""


def use_profile(arguments: Sequence[str] = ()) -> None:
    """Set this process's Fast DDS profile before its first participant, unless the user has set another one.

    arguments: ROS arguments of the process, from which its image topic is known where IMAGES_VARIABLE is not set.
    """
    if PROFILES_VARIABLE in os.environ:
        return
    with tempfile.NamedTemporaryFile("w", prefix="react_ros-", suffix=".xml", delete=False, encoding="utf-8") as file:
        file.write(process_profile(os.environ, shared_memory(), socket_buffer(), arguments))
    _own.append(Path(file.name))
    os.environ[PROFILES_VARIABLE] = file.name


def forget_profile() -> None:
    """Undo `use_profile` once the first participant has read it: processes started from here choose their own."""
    while _own:
        path = _own.pop()
        path.unlink(missing_ok=True)
        if os.environ.get(PROFILES_VARIABLE) == str(path):
            del os.environ[PROFILES_VARIABLE]


def dead_segments(folder: Path = SHARED_MEMORY) -> list[Path]:
    """Fast DDS's shared-memory files of processes that were killed, as `fastdds shm clean` finds them."""
    dead: list[Path] = []
    for lock in folder.glob("fastrtps_*_el"):
        try:
            with lock.open("rb") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime < _DEAD_AFTER_S:
                    continue
                # Its process holds the lock as long as it lives.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        dead += [lock, *(p for p in [lock.with_name(lock.name.removesuffix("_el"))] if p.exists())]
    return dead


def remove_dead_segments() -> None:
    """Free the shared memory of processes that were killed."""
    for path in dead_segments():
        path.unlink(missing_ok=True)


def notices() -> list[str]:
    """What on this machine makes images get lost, with the remedy, one sentence each."""
    memory = shared_memory()
    if not memory.small:
        return []
    return [f"/dev/shm has {memory}: images may be lost with so little ({SHARED_MEMORY_REMEDY})"]
