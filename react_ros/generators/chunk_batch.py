"""Whole clips by action chunks: the batch path, and the papers' offline protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from react_ros.face import Floats, Reaction, SpeakerFrame
from react_ros.generators.action_chunks import ChunkPlayer
from react_ros.generators.chunk_model import ChunkModel, chunk_rngs, make_chunks
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunk_workers import ActionChunk
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize

BATCH = 256
"""Windows times listeners in one offline batch, so that memory does not grow with the clip."""


def generate(
    chunk_model: ChunkModel, schedule: ChunkSchedule, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The batch path over a clip: the reactions of a synchronous `ChunkedStream`, to the bit.

    Chunks are computed one at a time. Batches would take a third of the time, but matrix products of other sizes round
    differently, and where a chunk takes the nearest of some codes a rounding error can select another code.
    """
    speaker = [sanitize(frame) for frame in frames]
    firsts = [b for b in range(0, len(speaker), schedule.hop) if b == 0 or b + schedule.inference_delay < len(speaker)]
    rows = _rows(chunk_model, speaker)
    padded = np.concatenate([np.zeros((schedule.window, chunk_model.width), np.float32), rows])  # row t + W is frame t
    windows = [padded[b : b + schedule.window] for b in firsts]
    chunks = zip(firsts, _chunks(chunk_model, windows, firsts, schedule.window, samples, seed, 1), strict=True)
    blending = IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head)
    player: ChunkPlayer | None = None
    following = next(chunks, None)
    out = []
    for k, frame in enumerate(speaker):
        if following is not None and k == following[0] + (schedule.inference_delay if following[0] else 0):
            first, reactions = following
            chunk = ActionChunk(speaker[first - 1].index if first else -1, first, reactions)
            if player is None:
                player = ChunkPlayer(schedule.crossfade, chunk, inertial=chunk_model.inertial)
            else:
                player.begin(chunk, k)
            following = next(chunks, None)
        assert player is not None
        shown, covered = player.play(k)
        out.append(blending.step(frame, chunk_model.finish(shown), current=covered, action_chunk=player.newest))
    return out


def generate_offline(
    chunk_model: ChunkModel, window: int, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The papers' offline protocol: the speaker's frames [t, t + window) give the listener's frames of the same times.

    Windows do not overlap; the last one is padded with zeros. Reactions name no action chunk, since offline chunks
    depend on the future.
    """
    speaker = [sanitize(frame) for frame in frames]
    firsts = range(0, len(speaker), window)
    rows = _rows(chunk_model, speaker)
    padded = np.concatenate([rows, np.zeros((window, chunk_model.width), np.float32)])
    windows = [padded[b : b + window] for b in firsts]
    blending = IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head)
    out = []
    chunks = _chunks(chunk_model, windows, firsts, window, samples, seed, max(1, BATCH // samples))
    for first, reactions in zip(firsts, chunks, strict=True):
        for k, frame in enumerate(speaker[first : first + window]):
            out.append(blending.step(frame, chunk_model.finish(reactions[:, k])))
    return out


def _rows(chunk_model: ChunkModel, frames: Sequence[SpeakerFrame]) -> Floats:
    """(T, D)."""
    inputs = chunk_model.inputs()
    rows = np.zeros((len(frames), chunk_model.width), np.float32)
    for row, frame in zip(rows, frames, strict=True):
        row[:] = inputs.step(frame)
    return rows


def _chunks(
    chunk_model: ChunkModel,
    windows: Sequence[Floats],
    firsts: Sequence[int],
    window: int,
    samples: int,
    seed: int,
    batch: int,
) -> Iterator[Floats]:
    """The (S, W, 83) of one chunk after the other, computed in batches of `batch`."""
    noise = chunk_model.noise(chunk_rngs(seed, samples), window)
    for i in range(0, len(firsts), batch):
        noises = np.stack([noise.at(first) for first in firsts[i : i + batch]])
        yield from make_chunks(chunk_model, np.stack(windows[i : i + batch]), noises)
