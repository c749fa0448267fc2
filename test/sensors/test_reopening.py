"""Live sources are opened again for as long as they are read, whatever happens to them, and say what they wait for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from network_camera import NetworkCamera

from react_ros.media import film_reader, opening
from react_ros.media.errors import MediaError, Unavailable
from react_ros.sensors import camera as cameras
from react_ros.sensors import reopening
from react_ros.sensors.camera import CameraConfig, camera_opener, open_camera
from react_ros.sensors.reopening import Reopening


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting times a tenth as long."""
    monkeypatch.setattr(opening, "READ_TIMEOUT_S", 0.4)
    monkeypatch.setattr(cameras, "OPEN_TIMEOUT_S", 0.5)
    monkeypatch.setattr(film_reader, "UNDECODABLE_S", 0.6)
    monkeypatch.setattr(reopening, "DELAYS_S", (0.05, 0.1, 0.2))
    monkeypatch.setattr(reopening, "SILENT_S", 0.2)


@pytest.fixture
def camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera(login="ann:geheim")
    yield camera
    camera.unplug()


class Reader:
    """Reads a source in a thread, as a node does."""

    def __init__(self, opener: Callable[[], cameras.Camera], name: str) -> None:
        self.log: list[tuple[str, bool]] = []
        self.items = 0
        self.stop = threading.Event()
        self.source = Reopening(name, opener, lambda sentence, lost: self.log.append((sentence, lost)))
        self.source.connect(0.2)
        self.thread = threading.Thread(target=self.source.run, args=(self.stop, self._use), daemon=True)
        self.thread.start()

    def _use(self, camera: cameras.Camera) -> None:
        for _ in camera:
            self.source.delivered()
            self.items += 1
            if self.stop.is_set():
                return

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end and self.thread.is_alive(), (what, self.log, self.source.trouble())
            time.sleep(0.01)

    def close(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def read() -> Iterator[Callable[..., Reader]]:
    running: list[Reader] = []

    def start(source: str) -> Reader:
        running.append(Reader(camera_opener(CameraConfig(source, 0, 0)), source))
        return running[-1]

    yield start
    for reader in running:
        reader.close()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("401", "refuses the login (401): check USER:PASSWORD@"),
        ("403", "refuses access (403)"),
        ("404", "does not exist on that host (404): check the path"),
        ("410", "refuses the request"),
        ("429", "is busy (429)"),
        ("503", "is out of service"),
        ("silent", "sends nothing that is complete within 0.5 s"),
        ("drip", "sends nothing that is complete within 0.5 s"),
        ("empty", "answers, but not with a video stream"),
        ("page", "answers, but not with a video stream"),
        ("garbage", "answers, but not with a video stream"),
        ("ends", "cannot be reached: input/output error"),
    ],
)
def test_a_network_camera_that_misbehaves_at_the_start_is_named_in_one_sentence(camera, behaviour, says) -> None:
    camera.behaviour = behaviour
    with pytest.raises(MediaError) as caught:
        open_camera(CameraConfig(camera.url))
    sentence = str(caught.value)
    assert (
        says in sentence
        and "\n" not in sentence
        and "geheim" not in sentence
        and f"***@127.0.0.1:{camera.port}" in sentence
    )
    later = behaviour in ("429", "503", "silent", "drip", "ends")
    assert isinstance(caught.value, Unavailable) == later, "whether waiting may help"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("rstp://ann:geheim@10.0.0.1/x", "unknown scheme 'rstp' (did you mean rtsp://?)"),
        ("htpp://10.0.0.1/x", "did you mean http://?"),
        ("http://", "names no host"),
        ("rtsp:/10.0.0.1/x", "addresses are like rtsp://HOST/PATH"),
        ("http://no.such.host.invalid/x", "the host no.such.host.invalid is unknown"),
        ("rtsp://ann:geheim@127.0.0.1:9/x", "refuses the connection: is the camera on, and is the port right?"),
        ("RTSP://127.0.0.1:9/x", "refuses the connection"),
    ],
)
def test_an_address_that_cannot_be_right_is_named_with_what_would_be(address: str, says: str) -> None:
    with pytest.raises(MediaError) as caught:
        open_camera(CameraConfig(address))
    assert says in str(caught.value) and "\n" not in str(caught.value) and "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "behaviour", ["401", "404", "503", "silent", "drip", "empty", "page", "garbage", "broken", "ends"]
)
def test_a_camera_that_hiccups_is_read_again_and_meanwhile_its_trouble_is_named(camera, read, behaviour) -> None:
    reader = read(camera.url)
    reader.wait(lambda: reader.items > 3 and not reader.source.trouble(), "the camera")
    if behaviour.isdecimal() or behaviour in ("empty", "page"):
        camera.behaviour = "ends"
        reader.wait(lambda: bool(reader.source.trouble()), "the connection to end")
    camera.behaviour = behaviour
    asked = camera.requests
    reader.wait(lambda: camera.requests > asked + 1 and bool(reader.source.trouble()), "further attempts")
    trouble = reader.source.trouble()
    assert "retrying" in trouble and "geheim" not in trouble and "\n" not in trouble
    camera.behaviour, seen = "good", reader.items
    reader.wait(lambda: reader.items > seen + 3, "the camera to be back")
    assert not reader.source.trouble()
    assert reader.log[-1] == (f"http://***@127.0.0.1:{camera.port}/video is back", False)


def test_a_camera_that_is_off_at_the_start_is_seen_when_it_is_switched_on(read) -> None:
    camera = NetworkCamera()
    camera.unplug()
    reader = read(camera.url)
    reader.wait(lambda: "refuses the connection" in reader.source.trouble(), "its absence to be named")
    camera = NetworkCamera(camera.port)
    reader.wait(lambda: reader.items > 3, "the camera")
    camera.unplug()


def test_a_camera_with_too_little_time_to_open_gets_more(camera, monkeypatch) -> None:
    monkeypatch.setattr(cameras, "OPEN_TIMEOUT_S", 0.2)
    camera.behaviour = "silent"
    opener, took = camera_opener(CameraConfig(camera.url)), []
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"within 0\.[246] s") as caught:
            opener()
        took.append(str(caught.value).rpartition("within ")[2])
    assert took == ["0.2 s", "0.4 s", "0.6 s"]


def test_a_source_may_raise_anything_and_is_opened_again() -> None:
    errors = [
        RuntimeError("driver says\nno"),
        KeyError(3),
        MediaError("the camera fell"),
        OSError(19, "No such device"),
    ]
    opened: list[int] = []

    def opener() -> cameras.Camera:
        opened.append(1)
        if len(opened) == 2:
            raise errors[1]

        def shots():
            if len(opened) <= 4:
                raise errors[len(opened) - 1]
            while True:
                time.sleep(0.01)
                yield film_reader.Shot(0, np.zeros((1, 1, 3), np.uint8))

        return cameras.Camera(True, shots, lambda: None)

    reader = Reader(opener, "a camera")
    reader.wait(lambda: reader.items > 3, "the camera")
    assert [sentence.removesuffix("; retrying") for sentence, lost in reader.log if lost] == [
        "a camera failed: RuntimeError: driver says no", "a camera failed: KeyError: 3", "the camera fell",
        "a camera failed: OSError: [Errno 19] No such device",
    ]  # fmt: skip
    reader.close()


def test_a_pipe_that_nobody_writes_says_so_and_is_read_as_soon_as_somebody_does(
    tmp_path: Path, camera, read, monkeypatch
) -> None:
    from films import gray, write_film

    from react_ros.sensors import pipe

    monkeypatch.setattr(pipe, "WAIT_S", 0.1)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    film = write_film(tmp_path / "a.mkv", [(k / 25, gray(0.5)) for k in range(100)]).read_bytes()
    open_before = len(os.listdir("/proc/self/fd"))
    reader = read(str(path))
    for number in range(2):  # one writer after the other
        reader.wait(lambda: "nobody writes to the pipe" in reader.source.trouble(), "its emptiness to be named")
        seen = reader.items
        with path.open("wb", buffering=0) as end:
            end.write(film)
        reader.wait(lambda seen=seen: reader.items >= seen + 100, f"the pictures of writer {number}")
    reader.wait(lambda: "nobody writes to the pipe" in reader.source.trouble(), "its emptiness to be named")
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1, "a file is left open"


def test_a_file_that_ends_is_not_opened_again(tmp_path: Path) -> None:
    from films import gray, write_film

    film = write_film(tmp_path / "a.mkv", [(k / 25, gray(0.5)) for k in range(5)])
    reader = Reader(camera_opener(CameraConfig(str(film), 0, 0)), "film")
    reader.thread.join(10)
    assert not reader.thread.is_alive() and reader.items == 5 and not reader.log
