"""Times perception per frame and stage, on footage of a real face and voice."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

import av
import cv2
import numpy as np
import numpy.typing as npt
import soundfile

from react_ros import assets
from react_ros.clock.types import ClockFrame
from react_ros.face import FPS, FRAME_NS, FRAME_SAMPLES
from react_ros.perception.pipeline import Perception, PerceptionConfig

WIDTH, HEIGHT = 640, 480


def bench_perception(seconds: float = 10.0, config: PerceptionConfig | None = None) -> dict[str, dict[str, float]]:
    """Time every stage of perception on the demo face (fitted into 640x480) and voice, with a new image every frame.

    seconds: of footage, at least 1, after one second of warm-up.
    Returns for each stage, and "total", its "p50", "p95" and "p99" in ms over the frames in which it ran, and "n".
    Raises ValueError for less than 1 s, MissingAsset where footage or a model is missing.
    """
    if seconds < 1:
        raise ValueError(f"{seconds} s is too short for a benchmark: at least 1 s")
    count = round((seconds + 1) * FPS)
    images = list(itertools.islice(_face(), count))
    voice = _voice(count)
    perception = Perception(config)
    times: dict[str, list[float]] = defaultdict(list)
    try:
        for k in range(count):
            stamp_ns = k * FRAME_NS
            frame = ClockFrame(k, stamp_ns, images[k % len(images)], stamp_ns, True, voice[k], 1.0, False, False)
            _, stages = perception.process(frame)
            if k < FPS:
                continue
            for name, (_, duration) in stages.items():
                times[name].append(duration)
            times["total"].append(sum(duration for _, duration in stages.values()))
    finally:
        perception.close()
    return {
        name: {f"p{q}": round(float(np.percentile(t, q)) * 1e3, 3) for q in (50, 95, 99)} | {"n": float(len(t))}
        for name, t in times.items()
    }


def _face() -> Iterator[npt.NDArray[np.uint8]]:
    with av.open(str(assets.resolve("demo-face"))) as film:
        for frame in film.decode(video=0):
            yield _fit(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))


def _fit(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image letterboxed into 640x480: a change of aspect ratio would change the blendshapes."""
    height, width = image.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    inside = cv2.resize(image, (round(width * scale), round(height * scale)))
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = (HEIGHT - inside.shape[0]) // 2, (WIDTH - inside.shape[1]) // 2
    out[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return out


def _voice(frames: int) -> npt.NDArray[np.float32]:
    """(frames, 640) audio samples of the demo voice, looped."""
    pcm, _ = soundfile.read(assets.resolve("demo-voice-1"), dtype="float32")
    return np.resize(np.asarray(pcm, np.float32), (frames, FRAME_SAMPLES))


if __name__ == "__main__":
    for stage, figures in bench_perception().items():
        print(f"{stage:10s}", "  ".join(f"{name} {value:8.3f}" for name, value in figures.items()))
