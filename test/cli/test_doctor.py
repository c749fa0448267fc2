"""The doctor opens devices, and says what they give."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from react_ros import assets
from react_ros.cli import doctor
from react_ros.cli.doctor_devices import judge_pictures, judge_sound, listen, look, read_for
from react_ros.cli.main import app
from react_ros.media.errors import MediaError

NOISE = np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "seconds", "good", "says"),
    [
        ([NOISE] * 26, 1.0, True, "64 x 48, 25 pictures a second"),
        ([NOISE] * 4, 1.0, False, "3 pictures a second: too few"),
        ([np.zeros_like(NOISE)] * 26, 1.0, False, "is its lens covered?"),
        ([np.full_like(NOISE, 200)] * 26, 1.0, False, "all of one colour: is it another program's"),
        ([], 0.0, False, "no picture"),
    ],
)
def test_pictures_are_judged(images: Any, seconds: float, good: bool, says: str) -> None:
    found, text = judge_pictures(images, seconds)
    assert found == good and says in text


@pytest.mark.parametrize(
    ("level", "good", "says"),
    [(1000, True, "mono, -3"), (0, False, "digital silence"), (60_000, False, "overdriven")],
)
def test_sound_is_judged(level: int, good: bool, says: str) -> None:
    tone = np.clip(level * np.sin(np.arange(16_000) / 5), -32768, 32767).astype(np.int16)[:, None]
    found, text = judge_sound([tone[:8000], tone[8000:]], 1.0)
    assert found == good and says in text


class Device:
    def __init__(self, items: Iterator[Any]) -> None:
        self._items, self.closed = items, threading.Event()

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def close(self) -> None:
        self.closed.set()


def test_a_device_that_blocks_or_fails_is_one_sentence() -> None:
    stuck = threading.Event()

    def blocking() -> Iterator[Any]:
        stuck.wait(30)
        yield from ()

    def broken() -> Iterator[Any]:
        raise RuntimeError("the driver is broken")
        yield

    def missing() -> Any:
        raise MediaError("there is no camera 7")

    assert read_for(lambda: Device(blocking()), wait=0.2) == ([], "it opens, but gives nothing within 0.2 s")
    stuck.set()
    assert read_for(lambda: Device(broken())) == ([], "the driver is broken")
    assert read_for(missing) == ([], "there is no camera 7")
    device = Device(iter(range(10**9)))
    items, error = read_for(lambda: device, seconds=0.1)
    assert not error and len(items) > 10 and device.closed.wait(5)


def test_real_pictures_and_real_sound_are_recognised() -> None:
    """A film stands for a camera, a recording for a microphone."""
    assert look(str(assets.resolve("demo-face")))[0]
    assert listen(str(assets.resolve("demo-voice-1")))[0]
    assert look("/dev/video77") == (
        False, "there is no camera 77 (/dev/video77): connect one, or give a film file"
    )  # fmt: skip


def test_the_findings_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.Finding("disk", False, "full", "buy one", required=True)
    monkeypatch.setattr(doctor, "CHECKS", (lambda: [finding], doctor.disk))
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    told = json.loads(result.output)
    assert result.exit_code == 1 and told["machine"]
    assert told["checks"][0] == {"name": "disk", "ok": False, "text": "full", "remedy": "buy one", "required": True}
    assert "GB free here" in told["checks"][1]["text"]
