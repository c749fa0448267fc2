"""Streams of chunked systems: windows of the speaker in, action chunks out, played frame by frame.

Frames are counted from the stream's first one, 0. Action chunks begin at fixed frames; each is computed from the
speaker's last `window` frames and covers the listener's next `window` frames.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.face import ARKIT, FACE_MODEL, Floats, Reaction, SpeakerFrame
from react_ros.generators.chunk_model import ChunkModel, chunk_rngs
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunk_workers import (
    ActionChunk,
    BackgroundWorker,
    ChunkRequest,
    ReplayWorker,
    SynchronousWorker,
    make_chunk,
)
from react_ros.generators.contract import Stream
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize


class _SpeakerWindow:
    """Ring of the last `window` rows of the speaker; zeros before the first."""

    def __init__(self, window: int, width: int) -> None:
        self._rows = np.zeros((window, width), np.float32)
        self._next = 0

    def add(self, row: Floats) -> None:
        self._rows[self._next] = row
        self._next = (self._next + 1) % len(self._rows)

    def copy(self) -> Floats:
        """(W, D), oldest first."""
        return np.roll(self._rows, -self._next, axis=0)


class ChunkPlayer:
    """Plays action chunks frame by frame; a new one replaces the former over `crossfade` frames.

    With `inertial`, head and eyes are not crossfaded, see `_Movement`.
    """

    def __init__(self, crossfade: int, first: ActionChunk, *, inertial: bool = False) -> None:
        self._crossfade = crossfade
        self._chunks = [(first, 0)]
        """Chunks with the frames at which they took effect; all but the first are still being faded in."""
        self._movements = (
            [_Movement(columns, rest, frames, first) for columns, rest, frames in MOVEMENTS] if inertial else []
        )

    @property
    def newest(self) -> int:
        """The id of the newest chunk in effect, as `Reaction.action_chunk`."""
        return self._chunks[-1][0].id

    def begin(self, chunk: ActionChunk, k: int) -> None:
        """Let a chunk take effect at frame k, which must be the next one that is played."""
        self._chunks.append((chunk, k))

    def play(self, k: int) -> tuple[Floats, bool]:
        """(S, 83) of frame k, read-only, and whether the newest chunk covers it.

        After a chunk's end its last frame is repeated.
        """
        while len(self._chunks) > 1 and k - self._chunks[1][1] >= self._crossfade:
            del self._chunks[0]
        shown: Floats = _row(self._chunks[0][0], k)
        for chunk, effect in self._chunks[1:]:
            share = (k - effect + 1) / (self._crossfade + 1)
            shown = (shown + share * (_row(chunk, k) - shown)).astype(np.float32)
        newest = self._chunks[-1][0]
        if self._movements:
            shown = shown.copy()
            for movement in self._movements:
                shown[:, movement.columns] = movement.step(newest, k)
        return shown, k - newest.first_frame < newest.reactions.shape[1]


def _row(chunk: ActionChunk, k: int) -> Floats:
    return chunk.reactions[:, min(k - chunk.first_frame, chunk.reactions.shape[1] - 1)]


MOVEMENTS: tuple[tuple[list[int], float, int], ...] = (
    (list(range(len(ARKIT), FACE_MODEL)), 0.01, 10),
    ([i for i, name in enumerate(ARKIT) if name.startswith(("eyeBlink", "eyeLook"))], 0.1, 3),
)
"""Columns that move together; the largest change in rad (m, weights) that counts as rest; and frames of a transition:
the head, and the eyes."""
_BEFORE, _AFTER = 2, 6
"""Frames around the current one within which a movement is looked for."""
_PATIENCE = 10
"""Frames of a chunk in which what counts as rest grows by its first value, so that a head that always sways a little
does not follow one chunk to its end. A nod of 4 degrees is finished nevertheless."""


class _Movement:
    """The head or the eyes of S listeners, each following one chunk at a time.

    A listener passes to the newest chunk where the one it follows is at rest, so that a movement that has begun is
    finished, and the newest one is not within a movement; at the latest where the followed chunk ends. What the new
    chunk differs by at that moment is added to it, and fades over some frames (inertialization, Bollo 2018): the shape
    of its movement stays.
    """

    def __init__(self, columns: list[int], rest: float, frames: int, first: ActionChunk) -> None:
        self.columns = columns
        self._rest, self._frames = rest, frames
        self._followed = [first] * len(first.reactions)
        self._offset = np.zeros((len(first.reactions), len(columns)), np.float32)
        self._since = np.full(len(first.reactions), frames)
        """Frames since the transition."""

    def step(self, newest: ActionChunk, k: int) -> Floats:
        """(S, columns) of frame k."""
        out = np.empty_like(self._offset)
        self._since += 1
        for s, followed in enumerate(self._followed):
            if followed is not newest and self._may_pass(followed, newest, s, k):
                self._offset[s] = self._value(followed, s, k) + self._faded(s) - self._value(newest, s, k)
                self._since[s] = 0
                self._followed[s] = newest
            out[s] = self._value(self._followed[s], s, k) + self._faded(s)
        return out

    def _value(self, chunk: ActionChunk, s: int, k: int) -> Floats:
        return chunk.reactions[s, min(k - chunk.first_frame, chunk.reactions.shape[1] - 1), self.columns]

    def _faded(self, s: int) -> Floats:
        """(columns,) what is left of the offset."""
        left = max(1.0 - self._since[s] / (self._frames + 1), 0.0)
        return (left * left * (3.0 - 2.0 * left)) * self._offset[s]

    def _may_pass(self, followed: ActionChunk, newest: ActionChunk, s: int, k: int) -> bool:
        at = k - followed.first_frame
        if at + 1 >= followed.reactions.shape[1]:
            return True
        rest = self._rest * (1.0 + at / _PATIENCE)
        return self._change(followed, s, k, _AFTER) < rest and self._change(newest, s, k, 1) < rest

    def _change(self, chunk: ActionChunk, s: int, k: int, after: int) -> float:
        """The largest change of a column from `_BEFORE` frames ago until `after` frames ahead."""
        at = k - chunk.first_frame
        near = chunk.reactions[s, max(at - _BEFORE, 0) : at + after + 1][:, self.columns]
        return float((near.max(0) - near.min(0)).max()) if len(near) else 0.0


class ChunkedStream(Stream):
    """S listeners of one speaker, played from action chunks; idle life where nobody is present or no chunk is left.

    By default chunks are synchronous: `step` computes the chunk that takes effect and waits for it.
    `run_asynchronously` and `follow` change that.
    """

    def __init__(self, chunk_model: ChunkModel, schedule: ChunkSchedule, samples: int, seed: int) -> None:
        """Computes the first chunk, from an empty window. Raises ValueError for samples < 1 or seed < 0."""
        self.samples, self.seed, self.schedule = samples, seed, str(schedule)
        self._chunk_model, self._schedule = chunk_model, schedule
        self._noise = chunk_model.noise(chunk_rngs(seed, samples), schedule.window)
        self._inputs = chunk_model.inputs()
        self._blending = IdleBlending(seed, samples, idle_eyes_and_head=chunk_model.idle_eyes_and_head)
        self._speaker = _SpeakerWindow(schedule.window, chunk_model.width)
        self._k = 0
        self._worker: SynchronousWorker | BackgroundWorker | ReplayWorker = SynchronousWorker(chunk_model)
        self._player = ChunkPlayer(
            schedule.crossfade, make_chunk(chunk_model, self._request(-1)), inertial=chunk_model.inertial
        )

    def run_asynchronously(self) -> None:
        self._worker = BackgroundWorker(self._chunk_model)

    def follow(self, starts: Mapping[int, int]) -> None:
        self._worker = ReplayWorker(self._chunk_model, starts)

    @property
    def late_chunks(self) -> int:
        return self._worker.late_chunks

    @property
    def warning(self) -> str:
        return self._worker.warning

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = sanitize(frame)
        if (chunk := self._worker.poll(self._k, frame.index)) is not None:
            self._player.begin(chunk, self._k)
        shown, covered = self._player.play(self._k)
        reaction = self._blending.step(
            frame, self._chunk_model.finish(shown), current=covered, action_chunk=self._player.newest
        )
        self._speaker.add(self._inputs.step(frame))
        self._k += 1
        if self._k % self._schedule.hop == 0:
            self._worker.submit(self._request(frame.index))
        return reaction

    def _request(self, id: int) -> ChunkRequest:
        effect_frame = self._k + self._schedule.inference_delay
        return ChunkRequest(id, self._k, effect_frame, self._speaker.copy()[None], self._noise.at(self._k)[None])
