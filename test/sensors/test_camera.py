"""Cameras: images with their capture times."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from react_ros import assets
from react_ros.avatar.view import ViewServer
from react_ros.media.errors import MediaError
from react_ros.media.film_reader import fit
from react_ros.media.film_writer import FilmWriter
from react_ros.sensors.camera import CameraConfig, open_camera
from react_ros.sensors.device_time import buffer_time_ns
from react_ros.sensors.pace import paced


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    with FilmWriter(path, 25, (160, 120)) as writer:
        for k in range(10):
            writer.add_image(np.full((120, 160, 3), 20 * k, np.uint8))
    return path


def test_a_film_gives_its_images_in_order_at_its_own_times(film):
    camera = open_camera(CameraConfig(str(film)))
    shots = list(camera)
    assert not camera.live
    assert [shot.time_ns for shot in shots] == [40_000_000 * k for k in range(10)]
    assert (np.diff([int(shot.image.mean()) for shot in shots]) > 10).all()


class FakeCapture:
    """A stand-in for cv2.VideoCapture on a device: there is none here. Its buffers are 70 ms old."""

    def __init__(self, number: int, backend: int) -> None:
        self.left = 2

    def isOpened(self) -> bool:
        return True

    def set(self, name: int, value: float) -> bool:
        return True

    def get(self, name: int) -> float:
        assert name == cv2.CAP_PROP_POS_MSEC
        return (time.monotonic_ns() - 70_000_000) / 1e6

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((120, 160, 3), np.uint8)

    def release(self) -> None: ...


def test_the_image_of_a_device_has_the_time_of_its_buffer(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("pathlib.Path.exists", lambda path: True)
    before = time.time_ns()
    shot = next(iter(open_camera(CameraConfig("0"))))
    assert before - 70_000_000 <= shot.time_ns <= time.time_ns() - 69_000_000


NOW, MONOTONIC = 1_800_000_000_000_000_000, 5_000_000_000_000


@pytest.mark.parametrize(
    ("reported_ns", "captured"),
    [
        (MONOTONIC - 33_000_000, NOW - 33_000_000),
        (NOW - 33_000_000, NOW - 33_000_000),
        (MONOTONIC, NOW),
        (0, NOW),
        (-1_000_000, NOW),
        (MONOTONIC + 5_000_000, NOW),
        (MONOTONIC - 1_500_000_000, NOW),
        (777_000_000, NOW),
    ],
    ids=["monotonic", "since the epoch", "at once", "none", "unknown", "from the future", "too old", "a device's own"],
)
def test_the_time_of_a_buffer_is_used_where_its_clock_is_known(reported_ns, captured):
    assert abs(buffer_time_ns(reported_ns / 1e6, NOW, MONOTONIC) - captured) < 1000


def test_real_footage_keeps_its_24_images_a_second():
    camera = open_camera(CameraConfig(str(assets.resolve("demo-face"))))
    times = np.array([shot.time_ns for shot in itertools.islice(camera, 48)])
    assert times[0] == 0
    assert np.abs(np.diff(times) / 1e9 - 1 / 24).max() < 0.002
    camera.close()


def test_a_looped_film_goes_on_without_a_jump_in_time(film):
    camera = open_camera(CameraConfig(str(film), loop=True))
    times = [shot.time_ns for shot in itertools.islice(camera, 25)]
    assert set(np.diff(times)) == {40_000_000}
    camera.close()


def test_images_are_scaled_uncropped_and_undistorted():
    assert fit(np.zeros((720, 1280, 3), np.uint8), 640, 480).shape == (360, 640, 3)
    assert fit(np.zeros((100, 50, 3), np.uint8), 640, 480).shape == (480, 240, 3)
    assert fit(np.zeros((100, 50, 3), np.uint8), 0, 0).shape == (100, 50, 3)


def test_a_film_behind_an_address_is_a_film(film):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(film.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        camera = open_camera(CameraConfig(f"http://127.0.0.1:{server.server_port}/film.mp4"))
        assert not camera.live
        assert len(list(camera)) == 10
        server.shutdown()


def test_a_camera_behind_an_address_is_live_and_stamped_now():
    server = ViewServer(port=0)
    stop = threading.Event()

    def show():
        level = 0
        while not stop.wait(0.02):
            level = (level + 5) % 256
            server.show(np.full((120, 160, 3), level, np.uint8))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        camera = open_camera(CameraConfig(f"http://127.0.0.1:{server.port}/stream.mjpg", 0, 0))
        assert camera.live
        before = time.time_ns()
        shots = list(itertools.islice(camera, 10))
        assert before - 1_000_000_000 < shots[0].time_ns <= shots[-1].time_ns <= time.time_ns()
        assert shots[0].image.shape == (120, 160, 3)
        camera.close()
    finally:
        stop.set()
        thread.join()
        server.close()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: "77", "no camera 77"),
        (lambda p: str(p / "missing.mp4"), "no existing file"),
        (lambda p: _text(p / "text.mp4"), "cannot be read as a film"),
        (lambda p: str(assets.resolve("demo-voice-1")), "no picture"),
        (lambda p: "http://127.0.0.1:9/stream.mjpg", "refuses the connection: is the camera on"),
    ],
)
def test_a_source_that_cannot_be_opened_is_named_in_one_sentence(tmp_path, make, sentence):
    with pytest.raises(MediaError, match=sentence) as error:
        open_camera(CameraConfig(make(tmp_path)))
    assert "\n" not in str(error.value)


def _text(path):
    path.write_text("this is no film")
    return str(path)


def test_a_truncated_film_gives_what_is_left_of_it(tmp_path):
    with FilmWriter(tmp_path / "long.mp4", 25, (160, 120)) as writer:
        for k in range(100):
            writer.add_image(np.full((120, 160, 3), 2 * k, np.uint8))
    whole = (tmp_path / "long.mp4").read_bytes()
    part = tmp_path / "part.mp4"
    part.write_bytes(whole[: len(whole) * 3 // 4])
    shots = list(open_camera(CameraConfig(str(part))))
    assert 25 <= len(shots) < 100


def test_recorded_images_are_yielded_at_their_own_times(film):
    start = time.time_ns() + 50_000_000
    seen = [
        (stamp, time.time_ns()) for stamp, _ in paced(open_camera(CameraConfig(str(film))), start, threading.Event())
    ]
    assert [stamp for stamp, _ in seen] == [start + 40_000_000 * k for k in range(10)]
    assert all(now >= stamp for stamp, now in seen)


def test_a_late_start_resumes_in_step_with_the_others(film):
    start = time.time_ns() - 730_000_000
    stamps = [stamp for stamp, _ in paced(open_camera(CameraConfig(str(film))), start, threading.Event())]
    assert stamps and stamps[0] >= start + 200_000_000
