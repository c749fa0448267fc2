"""The Fast DDS profile of a process: fitted to /dev/shm, with a socket of its own for a third-party driver's images."""

from __future__ import annotations

import fcntl
import os
import socket
import time
import xml.etree.ElementTree as ET

import pytest

from react_ros import dds
from react_ros.cli import doctor

MB = 2**20
NAME = "{http://www.eprosima.com}"


def profile(total: int, free: int, buffer: int = dds.ENOUGH_BUFFER, **environment: str) -> ET.Element:
    environment = {dds.IMAGES_VARIABLE: "", **environment}
    return ET.fromstring(dds.process_profile(environment, dds.SharedMemory(total, free), buffer))


def numbers(root: ET.Element, tag: str) -> list[int]:
    return [int(e.text or "") for e in root.iter(NAME + tag)]


@pytest.mark.parametrize(
    ("total", "free", "segment"),
    [(8192, 8000, 32), (512, 500, 32), (256, 250, 16), (64, 64, 4), (64, 5, 2.5), (16, 16, 1)],
)
def test_the_segment_fits_into_shared_memory(total, free, segment):
    root = profile(total * MB, free * MB)
    assert numbers(root, "segment_size") == [segment * MB]
    large, *_ = numbers(root, "maxMessageSize")
    assert large <= segment * MB / 4
    assert [e.text for e in root.iter(NAME + "transport_id")].count("large_shm") == 2


@pytest.mark.parametrize(("total", "free"), [(64, 1), (8, 8), (0, 0)])
def test_without_room_for_a_segment_messages_go_over_sockets(total, free):
    root = profile(total * MB, free * MB)
    assert [e.text for e in root.iter(NAME + "transport_id")] == ["udp", "udp"]
    assert [e.text for e in root.iter(NAME + "type")] == ["UDPv4"]


def test_socket_buffers_are_as_large_as_the_kernel_grants():
    assert numbers(profile(512 * MB, 512 * MB), "receiveBufferSize") == [dds.SOCKET_BUFFER]
    assert dds.socket_buffer() >= 2 * 200_000


@pytest.mark.parametrize(
    ("more", "address"), [({}, None), ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "127.0.0.1")]
)
def test_images_of_a_third_party_driver_have_a_socket_of_their_own(more, address):
    topics = "/camera/image_raw,/robot/image_raw"
    root = profile(512 * MB, 512 * MB, **{dds.IMAGES_VARIABLE: topics}, **more)
    readers = root.findall(f".//{NAME}data_reader")
    assert [r.get("profile_name") for r in readers] == topics.split(",")
    ports = numbers(root, "port")
    assert len(set(ports)) == 2 and all(61_000 <= port < 65_000 for port in ports)
    assert [r.findtext(f".//{NAME}address") for r in readers] == [address, address]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("perception",), "/image_raw"),
        (("--ros-args", "-r", "__ns:=/lab/two"), "/lab/two/image_raw"),
        (("--ros-args", "-r", "__ns:=/lab", "--remap", "image_raw:=left/image_raw"), "/lab/left/image_raw"),
        (("--ros-args", "-r", "image_raw:=/camera/color/image_raw", "-p", "seed:=3"), "/camera/color/image_raw"),
    ],
)
def test_a_node_started_by_hand_takes_its_images_for_those_of_a_third_party_driver(arguments, expected):
    assert dds.third_party_images({}, arguments) == [expected]
    assert dds.third_party_images({dds.IMAGES_VARIABLE: ""}, arguments) == []


def test_with_small_socket_buffers_they_come_through_shared_memory():
    root = profile(512 * MB, 512 * MB, buffer=400_000, **{dds.IMAGES_VARIABLE: "/robot/image_raw"})
    assert not root.findall(f".//{NAME}data_reader")


def test_a_port_that_is_taken_is_not_chosen():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        taken = other.getsockname()[1]
        with pytest.raises(OSError, match="no UDP port"):
            dds.free_port([taken])


def test_the_profile_of_a_process_leaves_nothing_behind_and_the_users_own_stays(monkeypatch):
    monkeypatch.delenv(dds.PROFILES_VARIABLE, raising=False)
    dds.use_profile()
    path = os.environ[dds.PROFILES_VARIABLE]
    assert ET.parse(path).getroot().tag == f"{NAME}dds"
    dds.forget_profile()
    assert not os.path.exists(path) and dds.PROFILES_VARIABLE not in os.environ
    monkeypatch.setenv(dds.PROFILES_VARIABLE, "mine.xml")
    dds.use_profile()
    dds.forget_profile()
    assert os.environ[dds.PROFILES_VARIABLE] == "mine.xml"


def test_the_shared_memory_of_killed_processes_is_found_and_that_of_living_ones_left(tmp_path):
    old = time.time() - 60
    for name in ("dead", "alive", "young"):
        for suffix in ("", "_el"):
            path = tmp_path / f"fastrtps_{name}{suffix}"
            path.write_bytes(b"x")
            if name != "young":
                os.utime(path, (old, old))
    (tmp_path / "fastrtps_port7001").write_bytes(b"x")
    with (tmp_path / "fastrtps_alive_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert {p.name for p in dds.dead_segments(tmp_path)} == {"fastrtps_dead", "fastrtps_dead_el"}


@pytest.mark.parametrize(("total", "small"), [(64, True), (65, False)])
def test_dockers_default_is_too_small(total, small, monkeypatch):
    monkeypatch.setattr(dds, "shared_memory", lambda: dds.SharedMemory(total * MB, 40 * MB))
    assert bool(dds.notices()) == small
    assert not small or "--shm-size" in dds.notices()[0]


def test_doctor_says_what_makes_images_get_lost_and_how_to_mend_it(monkeypatch):
    good = doctor.transport()
    monkeypatch.setattr(dds, "shared_memory", lambda: dds.SharedMemory(64 * MB, 40 * MB))
    monkeypatch.setattr(dds, "socket_buffer", lambda: 425_984)
    memory, sockets = doctor.transport()
    assert not memory.ok and "--shm-size" in memory.remedy and memory.text.startswith("64 MB, 40 MB free")
    assert not sockets.ok and "net.core.rmem_max" in sockets.remedy and sockets.text.startswith("0.4 MB")
    assert [f.name for f in good] == ["/dev/shm", "socket buffers"]
