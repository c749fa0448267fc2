"""The live page shows the newest picture and status, and slow browsers never block the robot."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from react_ros.avatar.gallery import POSES
from react_ros.avatar.render import Renderer
from react_ros.avatar.view import ViewError, ViewServer
from react_ros.media.film_writer import side_by_side


@pytest.fixture
def view():
    server = ViewServer(port=0)
    yield server
    server.close()


def picture(level: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def next_jpeg(stream) -> np.ndarray:
    while not (line := stream.readline()).lower().startswith(b"content-length"):
        assert line, "the stream ended"
    length = int(line.split(b":")[1])
    stream.readline()
    image = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def get(url: str):
    return urllib.request.urlopen(url, timeout=5)


def test_the_page_loads_nothing_from_other_hosts(view):
    with get(view.url) as answer:
        page = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/html")
    assert "/stream.mjpg" in page and "/events" in page
    assert not re.search(r"https?://|//[a-z]", page)


def test_the_stream_shows_pictures_in_their_colours(view):
    red = picture(0)
    red[..., 0] = 220
    view.show(red)
    with get(view.url + "stream.mjpg") as stream:
        got = next_jpeg(stream)
        assert got.shape == (64, 64, 3)
        assert np.abs(got.astype(int) - red).max() < 6
        view.show(picture(128))
        assert abs(int(next_jpeg(stream).mean()) - 128) < 3


def test_a_shown_picture_may_be_painted_over_afterwards(view):
    image = picture(200)
    view.show(image)
    image[:] = 0
    with get(view.url + "stream.mjpg") as stream:
        assert next_jpeg(stream).mean() > 190


def test_the_status_is_sent_as_events_and_a_late_client_gets_the_newest(view):
    view.status({"state": "old"})
    view.status({"state": "listening", "generator": "rule", "latency": "41 ms", "late": 0})
    with get(view.url + "events") as events:
        assert events.headers["Content-Type"] == "text/event-stream"
        line = events.readline()
        assert json.loads(line.removeprefix(b"data: ")) == {
            "state": "listening", "generator": "rule", "latency": "41 ms", "late": 0
        }  # fmt: skip
        events.readline()
        view.status({"state": "nobody there"})
        assert json.loads(events.readline().removeprefix(b"data: ")) == {"state": "nobody there"}


def test_a_browser_that_stops_reading_does_not_hold_up_the_robot_or_other_browsers(view):
    stuck = socket.create_connection((view.host, view.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: x\r\n\r\n")
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    view.show(noise)
    with get(view.url + "stream.mjpg") as stream:
        for _ in range(60):
            view.show(noise)
            next_jpeg(stream)
        view.show(picture(7))
        while next_jpeg(stream).mean() > 20:
            pass
    stuck.close()


def test_a_slow_browser_gets_the_newest_picture_and_those_in_between_are_skipped(view):
    pictures = view._latest.pictures()

    def level() -> float:
        image = cv2.imdecode(np.frombuffer(next(pictures), np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        return float(image.mean())

    view.show(picture(10))
    assert abs(level() - 10) < 3
    for shown in (60, 120, 240):
        view.show(picture(shown))
    assert abs(level() - 240) < 3
    view.show(picture(30))
    assert abs(level() - 30) < 3


def test_unknown_addresses_are_not_found(view):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(view.url + "etc/passwd")
    assert error.value.code == 404


def test_a_busy_port_is_named_with_what_to_do(view):
    with pytest.raises(ViewError, match=rf"port {view.port} .*choose another"):
        ViewServer(port=view.port)


def test_closing_ends_the_streams_and_frees_the_port():
    server = ViewServer(port=0)
    server.show(picture(3))
    ended = threading.Event()
    first = threading.Event()

    def watch() -> None:
        with get(server.url + "stream.mjpg") as stream:
            next_jpeg(stream)
            first.set()
            while stream.read(1024):
                pass
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    assert first.wait(5)
    server.close()
    server.close()
    assert ended.wait(5)
    ViewServer(port=server.port).close()


def test_invalid_pictures_are_refused_in_one_sentence(view):
    with pytest.raises(ValueError, match=r"not \(4, 4\) uint8"):
        view.show(np.zeros((4, 4), np.uint8))


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_shows_the_picture_and_the_status(view, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None and "CI" not in os.environ:
        pytest.skip("no chromium here: apt-get install chromium")
    assert chromium is not None, "CI installs chromium"
    face = Renderer().draw(POSES["smile"])
    human = np.tile(np.linspace(30, 120, 640).astype(np.uint8)[None, :, None], (480, 1, 3))
    image = side_by_side(human, face, 512)
    facts = {"state": "listening", "generator": "rule", "latency": "41 ms", "late": 0}
    done = threading.Event()

    def feed() -> None:
        while not done.wait(0.04):
            view.show(image)
            view.status(facts)

    threading.Thread(target=feed, daemon=True).start()
    shot = tmp_path / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,800", "--timeout=4000",
             f"--screenshot={shot}"]  # fmt: skip
    try:
        subprocess.run([chromium, *flags, view.url], check=True, timeout=60, capture_output=True)
    finally:
        done.set()
    page = cv2.imread(str(shot))
    assert page is not None
    skin = (page[..., 2].astype(int) - page[..., 0] > 60) & (page[..., 2] > 190)
    assert skin.sum() > 5000, "the avatar's face is on the page"
    assert (page[-200:].max(-1) > 200).sum() > 100, "so is the line of text below it"


def status_of(view: ViewServer, path: str = "/", **headers: str) -> int:
    """The HTTP status of a request to the page with these headers."""
    asked = http.client.HTTPConnection("127.0.0.1", view.port, timeout=5)
    asked.request("GET", path, headers={"Host": f"127.0.0.1:{view.port}", **headers})
    try:
        return asked.getresponse().status
    finally:
        asked.close()


@pytest.mark.parametrize("path", ["/", "/stream.mjpg", "/events"])
def test_other_sites_get_nothing(view: ViewServer, path: str) -> None:
    view.show(picture(1))
    view.status({"state": "live"})
    own = f"http://127.0.0.1:{view.port}"
    for good in (
        {}, {"Host": "localhost"}, {"Host": f"localhost:{view.port}"}, {"Host": "[::1]:80"}, {"Origin": own},
        {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
    ):  # fmt: skip
        assert status_of(view, path, **good) == 200, good
    for bad in (
        {"Host": "evil.example"}, {"Host": f"evil.example:{view.port}"}, {"Host": ""},
        {"Host": "127.0.0.1.evil.example"}, {"Host": "192.168.0.7:8025"}, {"Origin": "http://evil.example"},
        {"Origin": "null"}, {"Origin": f"http://localhost:{view.port + 1}"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"},
    ):  # fmt: skip
        assert status_of(view, path, **bad) == 403, bad
    link = status_of(view, path, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"})
    assert link == (200 if path == "/" else 403), "a link to the page may be followed"
    with get(f"{own}{path}") as answer:
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_on_other_interfaces_addresses_and_given_names_are_answered() -> None:
    server = ViewServer("0.0.0.0", 0, ("Robot.Lab",))
    try:
        for host in ("192.168.0.7:8025", "robot.lab", "localhost", socket.gethostname(), "[fe80::1]"):
            assert status_of(server, Host=host) == 200, host
        assert status_of(server, Host="evil.example") == 403
    finally:
        server.close()
