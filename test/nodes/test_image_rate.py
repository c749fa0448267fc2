"""What is said where few images arrive depends on why: lost on the way, a slow driver, our own camera."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from react_ros import dds
from react_ros.nodes import image_rate
from react_ros.nodes.image_rate import ImageRate

START = 1_800_000_000_000_000_000
VGA, JPEG = 640 * 480 * 3, 40_000


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dds.IMAGES_VARIABLE, "/robot/image_raw")
    monkeypatch.setattr(dds, "socket_buffer", lambda: dds.SOCKET_BUFFER)
    monkeypatch.setattr(dds, "shared_memory", lambda: dds.SharedMemory(2**30, 2**30))


def said(fps: float, size: int = VGA, every: tuple[int, ...] = (0,), of: int = 1, reliable: bool = False) -> str:
    """The sentence after 4 s of a camera of which images k with k % of in `every` arrive. The last 2 s count."""
    rate, images = ImageRate(), SimpleNamespace(topic="/robot/image_raw", reliable=reliable)
    now = START
    for k in range(round(4 * fps)):
        now = START + round(k * 1e9 / fps)
        if k % of in every:
            rate.add(now, now, size)
    return rate.trouble(images, now)  # type: ignore[arg-type]


def test_nothing_is_said_where_perception_has_enough():
    assert said(30) == said(15) == said(60, every=(0, 1, 3), of=6) == ""


def test_lost_images_are_counted_and_the_drivers_profile_named():
    text = said(30, every=(0, 1, 4), of=6)
    assert text.startswith("15 of about 30 images a second arrive on /robot/image_raw: start the driver with ")
    assert f"{dds.PROFILES_VARIABLE}={dds.driver_profile()}" in text and text.endswith("or let it publish reliable")
    assert "publish reliable" not in said(30, every=(0, 1, 4), of=6, reliable=True)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("socket_buffer", 400_000, "sysctl -w net.core.rmem_max="),
        ("shared_memory", dds.SharedMemory(64 * 2**20, 2**20), "--shm-size=1g"),
    ],
)
def test_what_this_machine_lacks_is_named(name: str, value: Any, named: str, monkeypatch: pytest.MonkeyPatch):
    assert named not in said(30, every=(0, 1, 4), of=6)
    monkeypatch.setattr(dds, name, lambda: value)
    assert named in said(30, every=(0, 1, 4), of=6)


def test_a_slow_driver_may_also_lose_images():
    text = said(5)
    assert text.startswith("only 5.5 images a second arrive") and text.endswith("or check its frame rate")


def test_small_images_are_not_lost_for_their_size():
    assert said(5, JPEG).endswith("check the driver's frame rate and its exposure time")
    assert said(30, JPEG, every=(0, 1, 4), of=6).endswith("check the network to the driver")


def test_our_own_camera_is_slow_in_the_dark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(dds.IMAGES_VARIABLE, "")
    assert said(7.5).endswith("many cameras expose for longer where it is dark")


def test_another_middleware_has_no_profile_of_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_rate, "middleware", lambda: "rmw_cyclonedds_cpp")
    assert dds.PROFILES_VARIABLE not in said(5)
