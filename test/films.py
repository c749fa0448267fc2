"""Writes films for tests, with pictures and sound at given times; a stand-in for perception that reads brightness."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from react_ros.clock.types import ClockFrame
from react_ros.face import Face, FaceState, Sound, SoundState, SpeakerFrame

Image = npt.NDArray[np.uint8]
_TICKS = 90_000


def write_film(
    path: Path,
    pictures: Iterable[tuple[float, Image]],
    sound: npt.NDArray[np.int16] | None = None,
    *,
    rate: int = 16_000,
    sound_from: float = 0.0,
    codec: str = "pcm_s16le",
    turned: int = 0,
) -> Path:
    """Write (s, (H, W, 3) RGB) pictures at their own times, and (n,) sound whose first sample is at `sound_from` s.

    Luma is lossless. turned: display rotation in degrees, counterclockwise.
    """
    container: Any = av.open(str(path), "w")
    video: Any = None
    audio: Any = None
    if sound is not None:
        audio = container.add_stream(codec, rate=rate, layout="mono")
    for time, image in pictures:
        if video is None:
            video = container.add_stream("libx264", rate=30)
            video.width, video.height, video.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, _TICKS)
            if turned:
                video.set_display_rotation(turned)
            video.options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "0"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
        container.mux(video.encode(frame))
    if video is not None:
        container.mux(video.encode(None))
    if sound is not None:
        for at in range(0, len(sound), 1024):
            part = sound[at : at + 1024]
            floats = (part.astype(np.float32) / 32768.0)[None] if codec == "aac" else part[None]
            out: Any = av.AudioFrame.from_ndarray(floats, "fltp" if codec == "aac" else "s16", "mono")
            out.sample_rate, out.time_base = rate, Fraction(1, rate)
            out.pts = round(sound_from * rate) + at
            container.mux(audio.encode(out))
        container.mux(audio.encode(None))
    container.close()
    return path


def gray(value: float, size: tuple[int, int] = (64, 48)) -> Image:
    """A picture in which this fraction of the pixels is white: finer than 8 bits of gray."""
    pixels = np.zeros(size[0] * size[1], np.uint8)
    pixels[: round(value * len(pixels))] = 255
    return np.repeat(pixels.reshape(size).T[..., None], 3, axis=2)


class Seer:
    """Stand-in for perception: an image's brightness gives the first blendshape, the pitch (rad) and the AUs.

    A black image has no face. The face is 0.5 m from the camera.
    """

    def __init__(self) -> None:
        self.resets = 0
        self._face = Face()

    def reset(self) -> None:
        self.resets += 1
        self._face = Face()

    def process(self, frame: ClockFrame) -> tuple[SpeakerFrame, dict[str, tuple[int, float]]]:
        if frame.image is None or frame.video_stale:
            self._face = Face()
        elif frame.image_new:
            self._face = seen(float(frame.image.mean()) / 255.0)
        elif self._face.state == FaceState.TRACKED:
            self._face.state = FaceState.HELD
        return SpeakerFrame(frame.index, frame.stamp_ns, self._face, Sound(SoundState.SILENCE)), {}


def seen(value: float) -> Face:
    """The face that `Seer` returns for a picture of this brightness."""
    if value < 0.02:
        return Face(FaceState.NOBODY)
    shapes, attributes = np.zeros(52, np.float32), Face().attributes.copy()
    shapes[0] = attributes[:15] = value
    pose = np.array([value, 0.0, 0.0], np.float32)
    return Face(FaceState.TRACKED, shapes, pose, np.array([0.0, 0.0, -0.5], np.float32), attributes, count=1)
