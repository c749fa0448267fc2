"""Where action chunks are made: in the step itself, in another thread, or as recorded."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from react_ros.face import Floats
from react_ros.generators.chunk_model import ChunkModel, make_chunks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """A chunk that is to be made."""

    name: int
    """As `Reaction.action_chunk`."""
    begin: int
    """The first frame that it speaks of."""
    due: int
    """The frame at which it is to take effect."""
    window: Floats  # (1, W, D)
    noise: Floats  # (1, S, …)


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """A chunk that has been made."""

    name: int
    begin: int
    answers: Floats  # (S, W, 83)


def make_chunk(chunk_model: ChunkModel, task: ChunkRequest) -> ActionChunk:
    return ActionChunk(task.name, task.begin, make_chunks(chunk_model, task.window, task.noise)[0])


class SynchronousWorker:
    """Chunks are made when they are due, and waited for."""

    late, trouble = 0, ""

    def __init__(self, chunk_model: ChunkModel) -> None:
        self._chunk_model = chunk_model
        self._tasks: deque[ChunkRequest] = deque()

    def ask(self, task: ChunkRequest) -> None:
        self._tasks.append(task)

    def take(self, k: int, index: int) -> ActionChunk | None:
        """The chunk that takes effect at frame k, which the speaker's frame calls `index`."""
        return make_chunk(self._chunk_model, self._tasks.popleft()) if self._tasks and self._tasks[0].due <= k else None


class RecordedWorker:
    """Chunks take effect where it was recorded, and are waited for; those that never did are not made."""

    late, trouble = 0, ""

    def __init__(self, chunk_model: ChunkModel, effects: Mapping[int, int]) -> None:
        self._chunk_model, self._effects = chunk_model, dict(effects)
        self._tasks: deque[ChunkRequest] = deque()

    def ask(self, task: ChunkRequest) -> None:
        if task.name in self._effects:
            self._tasks.append(task)

    def take(self, k: int, index: int) -> ActionChunk | None:
        if not self._tasks or self._effects[self._tasks[0].name] > index:
            return None
        return make_chunk(self._chunk_model, self._tasks.popleft())


@dataclass(slots=True)
class _Asked:
    """A chunk that is being made in the other thread."""

    task: ChunkRequest
    future: Future[ActionChunk]
    late: bool = False


class AsynchronousWorker:
    """Chunks are made in one other thread and never waited for; of those that wait for it the newest counts.

    The thread ends with this object, after the chunk that it is making.
    """

    def __init__(self, chunk_model: ChunkModel) -> None:
        self.late, self.trouble = 0, ""
        self._chunk_model = chunk_model
        self._asked: list[_Asked] = []
        self._thread = ThreadPoolExecutor(1, "chunks")

    def ask(self, task: ChunkRequest) -> None:
        for asked in self._asked:
            asked.future.cancel()  # where its turn has not come yet: the thread is behind
        self._asked.append(_Asked(task, self._thread.submit(make_chunk, self._chunk_model, task)))

    def take(self, k: int, index: int) -> ActionChunk | None:
        chunk = None
        for asked in [a for a in self._asked if a.task.due <= k]:
            done = asked.future.done()
            made = self._result(asked.future) if done else None
            if made is None and not asked.late:
                asked.late = True
                self.late += 1
            chunk = made or chunk
            if done:
                self._asked.remove(asked)
        return chunk

    def _result(self, future: Future[ActionChunk]) -> ActionChunk | None:
        if future.cancelled():
            return None
        if (error := future.exception()) is None:
            self.trouble = ""
            return future.result()
        if not self.trouble:
            _log.warning("a chunk failed; the face lives on, and the next chunks are tried", exc_info=error)
        self.trouble = f"chunks fail: {' '.join(str(error).split()) or type(error).__name__}"
        return None
