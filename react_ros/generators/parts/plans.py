"""Listeners that plan: windows of the speaker in, windows of reactions out, played frame by frame beside the clock.

Frames are counted from a stream's first one, 0. Plans begin at fixed frames; each knows the speaker's last `window`
frames and says what the listener does in the next `window`.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats, Reaction, SpeakerFrame
from react_ros.generators.checks import trusted, whole_in_range
from react_ros.generators.contract import Stream, sample_rngs
from react_ros.generators.parts.device import one_thread
from react_ros.generators.parts.living import Living

_log = logging.getLogger(__name__)

ANSWER = FACE_MODEL + ATTRIBUTES
"""Width of a plan's rows: the 58 of the face model, then the 25 attributes."""
TOGETHER = 256
"""Windows times listeners that are planned at once offline, so that memory does not grow with the clip."""


@dataclass(frozen=True, slots=True)
class Planning:
    """When plans begin, take effect and give way, in frames. Raises ValueError where they would leave a gap.

    A plan is begun after each frame k with (k + 1) % stride == 0, from the speaker's last `window` frames (zeros
    before the first), for the listener's frames from k + 1 on. It takes effect at k + 1 + lead, and over `blend` frames
    it replaces the former plan. The first one is begun before frame 0, from an empty window, and takes effect at once.
    """

    window: int = 50
    stride: int = 50
    lead: int = 0
    blend: int = 0

    def __post_init__(self) -> None:
        whole_in_range("window", self.window, 1, 1000, "frames")
        whole_in_range("stride", self.stride, 1, self.window, "frames")
        whole_in_range("lead", self.lead, 0, self.window, "frames")
        whole_in_range("blend", self.blend, 0, self.window, "frames")
        if self.stride + self.lead + self.blend > self.window:
            raise ValueError(
                f"stride {self.stride}, lead {self.lead} and blend {self.blend} are longer together than a plan of "
                f"{self.window} frames: it would end before the next one replaces it"
            )

    @property
    def delay(self) -> float:
        """Frames from what is heard until half of what is shown knows of it, in the mean."""
        return (self.stride + 1) / 2 + self.lead + self.blend / 2

    def __str__(self) -> str:
        text = f"plans of {self.window} frames, begun every {self.stride}, in effect after {self.lead}"
        return f"{text}, blended over {self.blend}" if self.blend else text


WINDOWS = Planning(50, 50, 0, 0)
"""The papers' online protocol: the speaker's frames [t - 50, t) give the listener's [t, t + 50)."""


# Noise --------------------------------------------------------------------------------------------------------------


class Noise(ABC):
    """The chance in a stream's plans. Plans that overlap share it as far as they do, else the face would jump."""

    @abstractmethod
    def draw(self, position: int) -> Floats:
        """(S, …) float32, standard normal, for the plan whose first frame is `position`.

        The first position is 0; each of the next lies at most a window after the one before.
        """


class FieldNoise(Noise):
    """For latents with a time axis: a window on one field of white noise over a stream's frames.

    Wherever two plans overlap, the same frame has the same noise. With `lasting` all plans have the same mean over
    their frames besides, which is as likely as any: each is white noise still, but a listener keeps its character.
    """

    def __init__(
        self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int], *, lasting: bool = False
    ) -> None:
        """rngs: one a listener. shape: of one frame's noise; draws are (S, window, *shape)."""
        self._rngs = rngs
        self._field = np.zeros((len(rngs), window, *shape), np.float32)
        self._mean: Floats | None = None
        if lasting:
            own = [rng.standard_normal((1, *shape), np.float32) for rng in rngs]
            self._mean = np.stack(own) / np.float32(math.sqrt(window))
        self._end = 0
        """The first frame that has no noise yet."""

    def draw(self, position: int) -> Floats:
        window = self._field.shape[1]
        new = position + window - self._end
        for i, rng in enumerate(self._rngs):
            fresh = rng.standard_normal((new, *self._field.shape[2:]), np.float32)
            self._field[i] = np.concatenate([self._field[i, new:], fresh])
        self._end = position + window
        if self._mean is None:
            return self._field.copy()
        return self._field - self._field.mean(axis=1, keepdims=True) + self._mean


class LatentNoise(Noise):
    """For one latent vector a window: a stationary first-order autoregressive process over a stream's frames.

    Two plans that begin d frames apart correlate by exp(-d / window), and not at all where they do not overlap.
    """

    def __init__(self, rngs: Sequence[np.random.Generator], window: int, shape: Sequence[int]) -> None:
        """rngs: one a listener. shape: of one plan's noise; draws are (S, *shape)."""
        self._rngs, self._window = rngs, window
        self._last = np.zeros((len(rngs), *shape), np.float32)
        self._at: int | None = None

    def draw(self, position: int) -> Floats:
        apart = self._window if self._at is None else position - self._at
        kept = math.exp(-apart / self._window) if apart < self._window else 0.0
        fresh = np.stack([rng.standard_normal(self._last.shape[1:], np.float32) for rng in self._rngs])
        self._last = (kept * self._last + math.sqrt(1.0 - kept * kept) * fresh).astype(np.float32)
        self._at = position
        return self._last.copy()


# What a system gives ------------------------------------------------------------------------------------------------


class Inputs(Protocol):
    """What a listener is told of the speaker, one object a stream."""

    def step(self, frame: SpeakerFrame) -> Floats:
        """(D,) float32 row of the next frame."""
        ...


class Planner(ABC):
    """A windowed system's networks, shared by all its streams and changed by none."""

    width: int
    """D, of a row of the speaker."""
    eyeless: bool = False
    """Whether its answers know neither of blinks and gaze nor of the head: idle life then lends its own."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """Begin to turn a stream's speaker frames into rows."""

    @abstractmethod
    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        """Begin a stream's noise, one listener a generator: a `FieldNoise` or a `LatentNoise`."""

    @abstractmethod
    def plan(self, windows: Floats, noise: Floats) -> Floats:
        """(P, S, W, 83) answers to P windows (P, W, D) with the noise (P, S, …) of S listeners; all float32.

        Rows are the 58 of the face model, then the 25 attributes within their ranges. Called in inference mode on one
        CPU thread, and from several threads at once: it must not change the planner.
        """

    def finish(self, shown: Floats) -> Floats:
        """What is shown (…, 83) of plans that have been blended: for action units that are to stay 0 or 1.

        It must not change its argument.
        """
        return shown


def make_plans(planner: Planner, windows: Floats, noise: Floats) -> Floats:
    """(P, S, W, 83): `Planner.plan` as it is always called."""
    with torch.inference_mode(), one_thread():
        return planner.plan(windows, noise)


def one_plan(planner: Planner, window: int, samples: int) -> Callable[[], object]:
    """What makes the same plan of that many listeners each time it is called, for those who time it."""
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((1, window, planner.width), np.float32)
    noise = planner.noise(_rngs(0, samples), window).draw(0)[None]
    return lambda: make_plans(planner, windows, noise)


# Plans, played frame by frame ----------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class _Task:
    """A plan that is to be made."""

    name: int
    """As `Reaction.plan`."""
    begin: int
    """The first frame that it speaks of."""
    due: int
    """The frame at which it is to take effect."""
    window: Floats  # (1, W, D)
    noise: Floats  # (1, S, …)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A plan that has been made."""

    name: int
    begin: int
    answers: Floats  # (S, W, 83)


def _make(planner: Planner, task: _Task) -> _Plan:
    return _Plan(task.name, task.begin, make_plans(planner, task.window, task.noise)[0])


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


class _Punctual:
    """Plans are made when they are due, and waited for."""

    late, trouble = 0, ""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._tasks: deque[_Task] = deque()

    def ask(self, task: _Task) -> None:
        self._tasks.append(task)

    def take(self, k: int, index: int) -> _Plan | None:
        """The plan that takes effect at frame k, which the speaker's frame calls `index`."""
        return _make(self._planner, self._tasks.popleft()) if self._tasks and self._tasks[0].due <= k else None


class _Following:
    """Plans take effect where it was recorded, and are waited for; those that never did are not made."""

    late, trouble = 0, ""

    def __init__(self, planner: Planner, effects: Mapping[int, int]) -> None:
        self._planner, self._effects = planner, dict(effects)
        self._tasks: deque[_Task] = deque()

    def ask(self, task: _Task) -> None:
        if task.name in self._effects:
            self._tasks.append(task)

    def take(self, k: int, index: int) -> _Plan | None:
        if not self._tasks or self._effects[self._tasks[0].name] > index:
            return None
        return _make(self._planner, self._tasks.popleft())


@dataclass(slots=True)
class _Asked:
    """A plan that is being made in the other thread."""

    task: _Task
    future: Future[_Plan]
    late: bool = False


class _Beside:
    """Plans are made in one other thread and never waited for; of those that wait for it the newest counts.

    The thread ends with this object, after the plan that it is making.
    """

    def __init__(self, planner: Planner) -> None:
        self.late, self.trouble = 0, ""
        self._planner = planner
        self._asked: list[_Asked] = []
        self._thread = ThreadPoolExecutor(1, "plans")

    def ask(self, task: _Task) -> None:
        for asked in self._asked:
            asked.future.cancel()  # where its turn has not come yet: the thread is behind
        self._asked.append(_Asked(task, self._thread.submit(_make, self._planner, task)))

    def take(self, k: int, index: int) -> _Plan | None:
        plan = None
        for asked in [a for a in self._asked if a.task.due <= k]:
            done = asked.future.done()
            made = self._result(asked.future) if done else None
            if made is None and not asked.late:
                asked.late = True
                self.late += 1
            plan = made or plan
            if done:
                self._asked.remove(asked)
        return plan

    def _result(self, future: Future[_Plan]) -> _Plan | None:
        if future.cancelled():
            return None
        if (error := future.exception()) is None:
            self.trouble = ""
            return future.result()
        if not self.trouble:
            _log.warning("a plan failed; the face lives on, and the next plans are tried", exc_info=error)
        self.trouble = f"plans fail: {' '.join(str(error).split()) or type(error).__name__}"
        return None


# Whole clips --------------------------------------------------------------------------------------------------------


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


def _rngs(seed: int, samples: int) -> list[np.random.Generator]:
    return sample_rngs(seed, samples, purpose=6)


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
