"""`react-ros doctor`: whether camera and microphone give real pictures and real sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LISTEN_S = 1.0
"""Time for which a device is read, s."""
WAIT_S = 5.0
"""Longest time until a device that opens gives something, s."""
_FLAT = 2.0
"""Standard deviation of the pixels of a picture that shows nothing."""
_DARK = 8.0
"""Mean brightness, 0 to 255, of a picture from a covered camera."""


def look(source: str) -> tuple[bool, str]:
    """(whether a camera gives pictures of something, one sentence). source: as `react-ros run --camera` takes it."""
    from react_ros.sensors.camera import CameraConfig, open_camera

    items, error = read_for(lambda: open_camera(CameraConfig(source)))
    return (False, error) if error else judge_pictures([shot.image for _, shot in items], duration(items))


def listen(source: str) -> tuple[bool, str]:
    """(whether a microphone gives sound, one sentence). source: as `react-ros run --mic` takes it."""
    from react_ros.sensors.microphone import MicrophoneConfig, open_microphone

    items, error = read_for(lambda: open_microphone(MicrophoneConfig(source)))
    return (False, error) if error else judge_sound([block.pcm for _, block in items], duration(items))


def read_for(open_device: Callable[[], Any], seconds: float = LISTEN_S, wait: float = WAIT_S) -> tuple[list[Any], str]:
    """What a device gives in `seconds` after its first item, each with its time of arrival, and why it gives nothing.

    It is read in a thread of its own: a driver may block for ever.
    """
    from react_ros.media.errors import MediaError

    items: list[tuple[float, Any]] = []
    problem: list[str] = []
    over = threading.Event()

    def read() -> None:
        try:
            device = open_device()
        except MediaError as error:
            problem.append(str(error))
            over.set()
            return
        try:
            for item in _until(iter(device), over):
                items.append((time.monotonic(), item))
        except Exception as error:  # drivers and decoders raise anything
            problem.append(str(error) or type(error).__name__)
        finally:
            over.set()
            device.close()

    threading.Thread(target=read, name="doctor", daemon=True).start()
    deadline = time.monotonic() + wait
    while not over.wait(0.05):
        now = time.monotonic()
        if (items and now - items[0][0] > seconds) or (not items and now > deadline):
            over.set()
    if items:
        return list(items), ""
    return [], problem[0] if problem else f"it opens, but gives nothing within {wait:g} s"


def _until(items: Iterator[Any], over: threading.Event) -> Iterator[Any]:
    for item in items:
        if over.is_set():
            return
        yield item


def duration(items: Sequence[tuple[float, Any]]) -> float:
    """Time from the first item to the last, s."""
    return items[-1][0] - items[0][0] if items else 0.0


def judge_pictures(images: Sequence[npt.NDArray[np.uint8]], seconds: float) -> tuple[bool, str]:
    """(whether the pictures, (H, W, 3), show something, one sentence). seconds: from the first to the last."""
    if not images:
        return False, "it sends no picture"
    h, w = images[-1].shape[:2]
    rate = (len(images) - 1) / seconds if seconds > 0 and len(images) > 1 else 0.0
    text = f"{w} x {h}, {rate:.0f} pictures a second"
    last = images[-1].astype(np.float32)
    if last.std() < _FLAT:
        covered = "is its lens covered?" if last.mean() < _DARK else "is it another program's virtual camera?"
        return False, f"{text}, but all of one colour: {covered}"
    if rate and rate < 10:
        return False, f"{text}: too few for a face that moves; more light or a smaller picture helps"
    return True, text


def judge_sound(blocks: Sequence[npt.NDArray[np.int16]], seconds: float) -> tuple[bool, str]:
    """(whether the blocks, (n, channels) int16, hold sound, one sentence). seconds: from the first to the last."""
    if not blocks:
        return False, "it sends no sound"
    pcm = np.concatenate(blocks).astype(np.float64)
    level = 20 * np.log10(max(float(np.sqrt((pcm**2).mean())), 1e-9) / 32768)
    channels = pcm.shape[1] if pcm.ndim > 1 else 1
    if not pcm.any():
        return False, "it sends digital silence: is it muted, or not allowed for this program?"
    if np.abs(pcm).max() >= 32767 and (np.abs(pcm) >= 32767).mean() > 0.01:
        return False, f"it is overdriven ({level:.0f} dB of full scale): lower its gain"
    kind = "mono" if channels == 1 else f"{channels} channels"
    return True, f"{kind}, {level:.0f} dB of full scale while this was checked"
