"""The live page of `react-ros run` in a real browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import browser
import cv2
import numpy as np
import pytest

from react_ros import assets
from react_ros.generators import registry

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.browser]

PICTURE = """(() => {
    const live = document.getElementById("live"), c = document.createElement("canvas");
    [c.width, c.height] = [64, 24];
    if (!live.naturalWidth) return null;
    const g = c.getContext("2d");
    g.drawImage(live, 0, 0, 64, 24);
    return {size: [live.naturalWidth, live.naturalHeight], pixels: [...g.getImageData(0, 0, 64, 24).data]};
})()"""
FACTS = """Object.fromEntries([...document.querySelectorAll("#facts .fact")].map(
    f => [f.querySelector("b").textContent, f.querySelector("span").textContent]))"""


@pytest.fixture
def page(domain: int, tmp_path: Path) -> Iterator[browser.Page]:
    program = browser.chromium()
    if program is None and "CI" not in os.environ:
        pytest.skip("no chromium here: apt-get install chromium")
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    robot = subprocess.Popen(
        [sys.executable, "-m", "react_ros", "run", "--camera", str(assets.resolve("demo-face")), "--mic",
         str(assets.resolve("demo-voice-1")), "--loop", "--view-port", str(port)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert robot.stdout is not None
    try:
        address = next(word for word in robot.stdout.readline().split() if word.startswith("http://"))
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert robot.poll() is None and time.monotonic() < deadline, "the page is never there"
            time.sleep(0.05)
        opened = browser.Page(program, address, tmp_path / "profile")
        try:
            yield opened
        finally:
            opened.close()
    finally:
        robot.send_signal(signal.SIGINT)
        code = robot.wait(20)
    assert code == 130, "an open page does not hold up the end"


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)


def test_the_page_shows_human_and_avatar_live(page, tmp_path):
    facts: dict[str, str] = {}

    def live() -> bool:
        facts.clear()
        facts.update(page.run(FACTS))
        return facts.get("state") == "live" and "latency ms" in facts

    until(live, 40, "the state live")
    assert facts["generator"] == registry.DEFAULT
    assert 0 < float(facts["latency ms"]) < 1000

    pictures: list[np.ndarray] = []

    def another() -> bool:
        # Before the film begins the avatar is alone.
        if (got := page.run(PICTURE)) and got["size"][0] > 1.8 * got["size"][1]:
            now = np.array(got["pixels"], float).reshape(24, 64, 4)[..., :3]
            if not pictures or np.abs(now - pictures[-1]).max() > 2:
                pictures.append(now)
        return len(pictures) > 10

    until(another, 15, "ten pictures of the two side by side, each another one")
    human = [p[:, :32] for p in pictures]
    avatar = [p[:, 32:] for p in pictures]
    for side in (human, avatar):
        assert np.std(side, axis=0).max() > 1, "it moves"
        assert np.std(side[-1]) > 15, "there is something to see"

    shot = Path(os.environ.get("REACT_ROS_SCREENSHOTS", str(tmp_path))) / "live_page.png"
    page.screenshot(shot)
    image = cv2.imread(str(shot))
    assert image is not None and image.shape[1] == 1280
    assert (image[-200:].max(-1) > 200).sum() > 100, "the status line is below the picture"
