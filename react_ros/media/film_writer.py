"""Writes pictures and sound to a fragmented MP4 file, which stays readable if the process is killed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from react_ros.media.film_reader import Image

Pcm = npt.NDArray[np.int16]

_AAC_FRAME = 1024
_AAC_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)


class FilmError(Exception):
    """A film cannot be written; the message is one sentence for users."""


class FilmWriter:
    """Writes H.264 pictures and, with a sample rate, AAC mono sound to an MP4 file. A context manager.

    Picture k is shown at k / fps s and audio sample n plays at n / sample_rate s; pictures and sound may be added in
    any order. The file is fragmented (ISO/IEC 14496-12, 8.8): a picture is safe on disk one second after it was added,
    even if the process is killed. Raises FilmError for an invalid path, size, rate, picture or sound.
    """

    def __init__(
        self, path: str | Path, fps: int = 25, size: tuple[int, int] = (512, 512), sample_rate: int | None = None
    ):
        """size: (width, height) in px, both even. sample_rate: Hz; None for a film without sound."""
        self.path, self.size = Path(path), size
        if min(size) < 16 or size[0] % 2 or size[1] % 2:
            raise FilmError(
                f"a film of {size[0]}x{size[1]} px cannot be encoded: width and height must be even and at least 16"
            )
        if fps < 1:
            raise FilmError(f"a film of {fps} pictures a second cannot be encoded: use 1 or more")
        if sample_rate is not None and sample_rate not in _AAC_RATES:
            raise FilmError(
                f"sound of {sample_rate} Hz cannot be encoded as AAC: use one of {', '.join(map(str, _AAC_RATES))}"
            )
        if not self.path.parent.is_dir():
            raise FilmError(f"cannot write {self.path}: the folder {self.path.parent} does not exist")
        # delay_moov: the edit list can then skip the encoder's priming samples at the start of the sound.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof+delay_moov", "flush_packets": "1"}
        try:
            # PyAV reports a path that cannot be written only at the first packet.
            self.path.open("wb").close()
            self._file = av.open(str(self.path), "w", format="mp4", options=options)
        except (OSError, FFmpegError) as error:
            raise FilmError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._video: Any = self._file.add_stream("libx264", rate=fps)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.gop_size = fps
        self._video.options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency", "threads": "1"}
        self._rate = sample_rate
        self._audio: Any = None
        if sample_rate is not None:
            self._audio = self._file.add_stream("aac", rate=sample_rate, layout="mono")
            self._audio.bit_rate = 96_000
        self._fps = fps
        self._pictures = 0
        self._audio_samples = 0
        self._pending: list[Pcm] = []
        self._open = True

    def add_image(self, rgb: Image) -> None:
        """Append a picture: (height, width, 3) uint8 RGB of the film's size."""
        width, height = self.size
        if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
            raise FilmError(
                f"picture is {rgb.shape} {rgb.dtype}, but {self.path.name} takes ({height}, {width}, 3) uint8"
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = self._pictures, Fraction(1, self._fps)
        self._pictures += 1
        self._file.mux(self._video.encode(frame))

    def add_sound(self, pcm: Pcm) -> None:
        """Append audio samples: (n,) int16 at the film's sample rate."""
        if self._audio is None:
            raise FilmError(f"{self.path.name} was opened without sound: give it a sample_rate")
        if pcm.ndim != 1 or pcm.dtype != np.int16:
            raise FilmError(f"sound is {pcm.shape} {pcm.dtype}, but {self.path.name} takes (n,) int16")
        self._pending.append(pcm)
        if sum(map(len, self._pending)) >= _AAC_FRAME:
            sound = np.concatenate(self._pending)
            whole = len(sound) // _AAC_FRAME * _AAC_FRAME
            for start in range(0, whole, _AAC_FRAME):
                self._encode(sound[start : start + _AAC_FRAME])
            self._pending = [sound[whole:]]

    def _encode(self, pcm: Pcm) -> None:
        plane = (pcm.astype(np.float32) / 32768.0)[None]
        frame: Any = av.AudioFrame.from_ndarray(plane, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._audio_samples, Fraction(1, self._rate or 1)
        self._audio_samples += len(pcm)
        self._file.mux(self._audio.encode(frame))

    def close(self) -> None:
        """Finish the file. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            rest = np.concatenate(self._pending) if self._pending else np.zeros(0, np.int16)
            if len(rest):
                self._encode(rest)
            if self._pictures:
                self._file.mux(self._video.encode(None))
            if self._audio is not None and self._audio_samples:
                self._file.mux(self._audio.encode(None))
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def side_by_side(left: Image, right: Image, height: int = 512, captions: Sequence[str] = ("human", "avatar")) -> Image:
    """Two RGB pictures of any size, scaled to one height and set next to each other, each with a small caption.

    Returns (height, width, 3) uint8 with even height and width, as FilmWriter requires. Raises ValueError for a height
    below 32 px.
    """
    if height < 32:
        raise ValueError(f"height is {height} px: 32 or more are needed")
    height += height % 2
    panes = []
    for image, caption in zip((left, right), captions, strict=True):
        h, w = image.shape[:2]
        width = max(2, round(w * height / h / 2) * 2)
        shrink = cv2.INTER_AREA if height < h else cv2.INTER_LINEAR
        # A copy: resize may return its input, and the caption must not be drawn into the caller's picture.
        pane = np.array(cv2.resize(image, (width, height), interpolation=shrink), np.uint8)
        if caption:
            _caption(pane, caption)
        panes.append(pane)
    return np.concatenate(panes, axis=1)


def _caption(pane: Image, text: str) -> None:
    scale = max(0.35, pane.shape[0] / 1000)
    (w, h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    pad = max(3, h // 2)
    top = pane.shape[0] - h - base - 3 * pad
    box = pane[top : pane.shape[0] - pad, pad : 3 * pad + w]
    box[:] = (box * 0.4).astype(np.uint8)
    at = (2 * pad, pane.shape[0] - 2 * pad - base // 2)
    cv2.putText(pane, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (236, 240, 242), 1, cv2.LINE_AA)
