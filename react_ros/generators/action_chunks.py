"""Listeners that chunk: windows of the speaker in, windows of reactions out, played frame by frame beside the clock.

Frames are counted from a stream's first one, 0. Chunks begin at fixed frames; each knows the speaker's last `window`
frames and says what the listener does in the next `window`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.face import Floats, Reaction, SpeakerFrame
from react_ros.generators.chunk_model import ChunkModel, listener_rngs
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunk_workers import (
    ActionChunk,
    AsynchronousWorker,
    ChunkRequest,
    RecordedWorker,
    SynchronousWorker,
    make_chunk,
)
from react_ros.generators.contract import Stream
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize


class _Past:
    """The last `window` rows of the speaker; zeros before the first."""

    def __init__(self, window: int, width: int) -> None:
        self._rows = np.zeros((window, width), np.float32)
        self._next = 0

    def add(self, row: Floats) -> None:
        self._rows[self._next] = row
        self._next = (self._next + 1) % len(self._rows)

    def window(self) -> Floats:
        """(W, D), the oldest first; the caller's to keep."""
        return np.roll(self._rows, -self._next, axis=0)


class ChunkPlayer:
    """What the chunks in effect say at each frame: a new one replaces the former over `crossfade` frames."""

    def __init__(self, crossfade: int, first: ActionChunk) -> None:
        self._crossfade = crossfade
        self._chunks = [(first, 0)]
        """Chunks with the frames at which they took effect; all but the first still replace those before them."""

    @property
    def newest(self) -> int:
        """The newest chunk in effect, as `Reaction.action_chunk`."""
        return self._chunks[-1][0].name

    def take(self, chunk: ActionChunk, k: int) -> None:
        """The chunk takes effect at frame k, which is the next one shown."""
        self._chunks.append((chunk, k))

    def show(self, k: int) -> tuple[Floats, bool]:
        """(S, 83) of frame k, not to be changed, and whether the newest chunk speaks of it: after its end it holds."""
        while len(self._chunks) > 1 and k - self._chunks[1][1] >= self._crossfade:
            del self._chunks[0]
        shown: Floats = _answer(self._chunks[0][0], k)
        for chunk, effect in self._chunks[1:]:
            share = (k - effect + 1) / (self._crossfade + 1)
            shown = (shown + share * (_answer(chunk, k) - shown)).astype(np.float32)
        newest = self._chunks[-1][0]
        return shown, k - newest.begin < newest.answers.shape[1]


def _answer(chunk: ActionChunk, k: int) -> Floats:
    return chunk.answers[:, min(k - chunk.begin, chunk.answers.shape[1] - 1)]


class ChunkedStream(Stream):
    """S listeners that chunk and hear one speaker; idle life takes over where nobody is there or no chunk is left.

    As it begins it is punctual: `step` makes the chunk that is due, however long that takes. `run_asynchronously` and `follow`
    change that.
    """

    def __init__(self, chunk_model: ChunkModel, schedule: ChunkSchedule, samples: int, seed: int) -> None:
        """Makes the first chunk, from an empty window. Raises ValueError for samples < 1 or seed < 0."""
        self.samples, self.seed, self.schedule = samples, seed, str(schedule)
        self._chunk_model, self._schedule = chunk_model, schedule
        self._noise = chunk_model.noise(listener_rngs(seed, samples), schedule.window)
        self._inputs, self._living = (
            chunk_model.inputs(),
            IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head),
        )
        self._past = _Past(schedule.window, chunk_model.width)
        self._k = 0
        self._source: SynchronousWorker | AsynchronousWorker | RecordedWorker = SynchronousWorker(chunk_model)
        self._player = ChunkPlayer(schedule.crossfade, make_chunk(chunk_model, self._task(-1)))

    def run_asynchronously(self) -> None:
        self._source = AsynchronousWorker(self._chunk_model)

    def follow(self, effects: Mapping[int, int]) -> None:
        self._source = RecordedWorker(self._chunk_model, effects)

    @property
    def late_chunks(self) -> int:
        return self._source.late

    @property
    def trouble(self) -> str:
        return self._source.trouble

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = sanitize(frame)
        if (chunk := self._source.take(self._k, frame.index)) is not None:
            self._player.take(chunk, self._k)
        answer, speaks = self._player.show(self._k)
        reaction = self._living.step(
            frame, self._chunk_model.finish(answer), answered=speaks, action_chunk=self._player.newest
        )
        self._past.add(self._inputs.step(frame))
        self._k += 1
        if self._k % self._schedule.hop == 0:
            self._source.ask(self._task(frame.index))
        return reaction

    def _task(self, name: int) -> ChunkRequest:
        due = self._k + self._schedule.inference_delay
        return ChunkRequest(name, self._k, due, self._past.window()[None], self._noise.draw(self._k)[None])
