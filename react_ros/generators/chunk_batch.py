"""Whole clips by action chunks: the batch path, and the papers' offline protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from react_ros.face import Floats, Reaction, SpeakerFrame
from react_ros.generators.action_chunks import _Player
from react_ros.generators.chunk_model import Planner, _rngs, make_plans
from react_ros.generators.chunk_schedule import Planning
from react_ros.generators.chunk_workers import _Plan
from react_ros.generators.idle_blending import Living
from react_ros.generators.sanitize import trusted

TOGETHER = 256
"""Windows times listeners that are planned at once offline, so that memory does not grow with the clip."""


def generate(
    planner: Planner, planning: Planning, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The batch path over a clip: what a punctual `PlannedStream` answers, to the bit.

    So plans are made one at a time: many at once take a third of the time, but matrix products round otherwise where
    they are of other sizes, and where a plan takes the nearest of some codes a rounding may become another face.
    """
    heard = [trusted(frame) for frame in frames]
    begins = [b for b in range(0, len(heard), planning.stride) if b == 0 or b + planning.lead < len(heard)]
    rows = _rows(planner, heard)
    padded = np.concatenate([np.zeros((planning.window, planner.width), np.float32), rows])  # row t + W is frame t
    windows = [padded[b : b + planning.window] for b in begins]
    answers = _answers(planner, windows, begins, planning.window, samples, seed, 1)
    living = Living(seed, samples, lent=planner.eyeless)
    player: _Player | None = None
    coming = zip(begins, answers, strict=True)
    following = next(coming, None)
    out = []
    for k, frame in enumerate(heard):
        if following is not None and k == following[0] + (planning.lead if following[0] else 0):
            begin, answer = following
            plan = _Plan(heard[begin - 1].index if begin else -1, begin, answer)
            if player is None:
                player = _Player(planning.blend, plan)
            else:
                player.take(plan, k)
            following = next(coming, None)
        assert player is not None
        shown, speaks = player.show(k)
        out.append(living.step(frame, planner.finish(shown), answered=speaks, plan=player.plan))
    return out


def generate_offline(
    planner: Planner, window: int, frames: Iterable[SpeakerFrame], *, samples: int, seed: int
) -> list[Reaction]:
    """The papers' offline protocol: the speaker's frames [t, t + window) give the listener's same ones.

    Windows do not overlap; the last one is filled up with zeros. No reaction names a plan: each knows its future.
    """
    heard = [trusted(frame) for frame in frames]
    begins = range(0, len(heard), window)
    rows = _rows(planner, heard)
    padded = np.concatenate([rows, np.zeros((window, planner.width), np.float32)])
    windows = [padded[b : b + window] for b in begins]
    living = Living(seed, samples, lent=planner.eyeless)
    out = []
    answers = _answers(planner, windows, begins, window, samples, seed, max(1, TOGETHER // samples))
    for begin, answer in zip(begins, answers, strict=True):
        for k, frame in enumerate(heard[begin : begin + window]):
            out.append(living.step(frame, planner.finish(answer[:, k])))
    return out


def _rows(planner: Planner, frames: Sequence[SpeakerFrame]) -> Floats:
    """(T, D)."""
    inputs = planner.inputs()
    rows = np.zeros((len(frames), planner.width), np.float32)
    for row, frame in zip(rows, frames, strict=True):
        row[:] = inputs.step(frame)
    return rows


def _answers(
    planner: Planner, windows: Sequence[Floats], begins: Sequence[int], window: int, samples: int, seed: int, many: int
) -> Iterator[Floats]:
    """The (S, W, 83) of one plan after the other, made `many` at once."""
    noise = planner.noise(_rngs(seed, samples), window)
    for i in range(0, len(begins), many):
        drawn = np.stack([noise.draw(begin) for begin in begins[i : i + many]])
        yield from make_plans(planner, np.stack(windows[i : i + many]), drawn)
