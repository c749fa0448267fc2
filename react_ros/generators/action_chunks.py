"""Listeners that plan: windows of the speaker in, windows of reactions out, played frame by frame beside the clock.

Frames are counted from a stream's first one, 0. Plans begin at fixed frames; each knows the speaker's last `window`
frames and says what the listener does in the next `window`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from react_ros.face import Floats, Reaction, SpeakerFrame
from react_ros.generators.chunk_model import Planner, _rngs
from react_ros.generators.chunk_schedule import Planning
from react_ros.generators.chunk_workers import _Beside, _Following, _make, _Plan, _Punctual, _Task
from react_ros.generators.contract import Stream
from react_ros.generators.idle_blending import Living
from react_ros.generators.sanitize import trusted


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


class _Player:
    """What the plans in effect say at each frame: a new one replaces the former over `blend` frames."""

    def __init__(self, blend: int, first: _Plan) -> None:
        self._blend = blend
        self._plans = [(first, 0)]
        """Plans with the frames at which they took effect; all but the first still replace those before them."""

    @property
    def plan(self) -> int:
        """The newest plan in effect, as `Reaction.plan`."""
        return self._plans[-1][0].name

    def take(self, plan: _Plan, k: int) -> None:
        """The plan takes effect at frame k, which is the next one shown."""
        self._plans.append((plan, k))

    def show(self, k: int) -> tuple[Floats, bool]:
        """(S, 83) of frame k, not to be changed, and whether the newest plan speaks of it: after its end it holds."""
        while len(self._plans) > 1 and k - self._plans[1][1] >= self._blend:
            del self._plans[0]
        shown: Floats = _answer(self._plans[0][0], k)
        for plan, effect in self._plans[1:]:
            share = (k - effect + 1) / (self._blend + 1)
            shown = (shown + share * (_answer(plan, k) - shown)).astype(np.float32)
        newest = self._plans[-1][0]
        return shown, k - newest.begin < newest.answers.shape[1]


def _answer(plan: _Plan, k: int) -> Floats:
    return plan.answers[:, min(k - plan.begin, plan.answers.shape[1] - 1)]


class PlannedStream(Stream):
    """S listeners that plan and hear one speaker; idle life takes over where nobody is there or no plan is left.

    As it begins it is punctual: `step` makes the plan that is due, however long that takes. `run_beside` and `follow`
    change that.
    """

    def __init__(self, planner: Planner, planning: Planning, samples: int, seed: int) -> None:
        """Makes the first plan, from an empty window. Raises ValueError for samples < 1 or seed < 0."""
        self.samples, self.seed, self.protocol = samples, seed, str(planning)
        self._planner, self._planning = planner, planning
        self._noise = planner.noise(_rngs(seed, samples), planning.window)
        self._inputs, self._living = planner.inputs(), Living(seed, samples, lent=planner.eyeless)
        self._past = _Past(planning.window, planner.width)
        self._k = 0
        self._source: _Punctual | _Beside | _Following = _Punctual(planner)
        self._player = _Player(planning.blend, _make(planner, self._task(-1)))

    def run_beside(self) -> None:
        self._source = _Beside(self._planner)

    def follow(self, effects: Mapping[int, int]) -> None:
        self._source = _Following(self._planner, effects)

    @property
    def late_plans(self) -> int:
        return self._source.late

    @property
    def trouble(self) -> str:
        return self._source.trouble

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = trusted(frame)
        if (plan := self._source.take(self._k, frame.index)) is not None:
            self._player.take(plan, self._k)
        answer, speaks = self._player.show(self._k)
        reaction = self._living.step(frame, self._planner.finish(answer), answered=speaks, plan=self._player.plan)
        self._past.add(self._inputs.step(frame))
        self._k += 1
        if self._k % self._planning.stride == 0:
            self._source.ask(self._task(frame.index))
        return reaction

    def _task(self, name: int) -> _Task:
        due = self._k + self._planning.lead
        return _Task(name, self._k, due, self._past.window()[None], self._noise.draw(self._k)[None])
