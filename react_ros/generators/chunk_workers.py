"""Where action chunks are made: in the step itself, in another thread, or as recorded."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from react_ros.face import Floats
from react_ros.generators.chunk_model import Planner, make_plans

_log = logging.getLogger(__name__)


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
