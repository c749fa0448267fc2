"""Whole clips by action chunks: the batch path, and the papers' offline protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from react_ros.face import Floats, Reaction, SpeakerFrame
from react_ros.generators.action_chunks import ChunkPlayer
from react_ros.generators.chunk_model import ChunkModel, listener_rngs, make_chunks
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunk_workers import ActionChunk
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize

TOGETHER = 256
"""Windows times listeners that are chunked at once offline, so that memory does not grow with the clip."""


def generate(
    chunk_model: ChunkModel, schedule: ChunkSchedule, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The batch path over a clip: what a punctual `ChunkedStream` answers, to the bit.

    So chunks are made one at a time: many at once take a third of the time, but matrix products round otherwise where
    they are of other sizes, and where a chunk takes the nearest of some codes a rounding may become another face.
    """
    heard = [sanitize(frame) for frame in frames]
    begins = [b for b in range(0, len(heard), schedule.hop) if b == 0 or b + schedule.inference_delay < len(heard)]
    rows = _rows(chunk_model, heard)
    padded = np.concatenate([np.zeros((schedule.window, chunk_model.width), np.float32), rows])  # row t + W is frame t
    windows = [padded[b : b + schedule.window] for b in begins]
    answers = _answers(chunk_model, windows, begins, schedule.window, samples, seed, 1)
    living = IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head)
    player: ChunkPlayer | None = None
    coming = zip(begins, answers, strict=True)
    following = next(coming, None)
    out = []
    for k, frame in enumerate(heard):
        if following is not None and k == following[0] + (schedule.inference_delay if following[0] else 0):
            begin, answer = following
            chunk = ActionChunk(heard[begin - 1].index if begin else -1, begin, answer)
            if player is None:
                player = ChunkPlayer(schedule.crossfade, chunk)
            else:
                player.take(chunk, k)
            following = next(coming, None)
        assert player is not None
        shown, speaks = player.show(k)
        out.append(living.step(frame, chunk_model.finish(shown), answered=speaks, action_chunk=player.newest))
    return out


def generate_offline(
    chunk_model: ChunkModel, window: int, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The papers' offline protocol: the speaker's frames [t, t + window) give the listener's same ones.

    Windows do not overlap; the last one is filled up with zeros. No reaction names a chunk: each knows its future.
    """
    heard = [sanitize(frame) for frame in frames]
    begins = range(0, len(heard), window)
    rows = _rows(chunk_model, heard)
    padded = np.concatenate([rows, np.zeros((window, chunk_model.width), np.float32)])
    windows = [padded[b : b + window] for b in begins]
    living = IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head)
    out = []
    answers = _answers(chunk_model, windows, begins, window, samples, seed, max(1, TOGETHER // samples))
    for begin, answer in zip(begins, answers, strict=True):
        for k, frame in enumerate(heard[begin : begin + window]):
            out.append(living.step(frame, chunk_model.finish(answer[:, k])))
    return out


def _rows(chunk_model: ChunkModel, frames: Sequence[SpeakerFrame]) -> Floats:
    """(T, D)."""
    inputs = chunk_model.inputs()
    rows = np.zeros((len(frames), chunk_model.width), np.float32)
    for row, frame in zip(rows, frames, strict=True):
        row[:] = inputs.step(frame)
    return rows


def _answers(
    chunk_model: ChunkModel,
    windows: Sequence[Floats],
    begins: Sequence[int],
    window: int,
    samples: int,
    seed: int,
    many: int,
) -> Iterator[Floats]:
    """The (S, W, 83) of one chunk after the other, made `many` at once."""
    noise = chunk_model.noise(listener_rngs(seed, samples), window)
    for i in range(0, len(begins), many):
        drawn = np.stack([noise.draw(begin) for begin in begins[i : i + many]])
        yield from make_chunks(chunk_model, np.stack(windows[i : i + many]), drawn)
