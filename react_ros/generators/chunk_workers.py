"""Where action chunks are computed: in the step itself, in a background thread, or as a recording prescribes."""

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
    """The inputs of an action chunk that is to be computed."""

    id: int
    """As `Reaction.action_chunk`."""
    first_frame: int
    """The first frame of the stream that it covers."""
    effect_frame: int
    """The frame at which it is to take effect."""
    window: Floats  # (1, W, D)
    noise: Floats  # (1, S, …)


@dataclass(frozen=True, slots=True)
class ActionChunk:
    """An action chunk that has been computed."""

    id: int
    first_frame: int
    reactions: Floats  # (S, W, 83)


def make_chunk(chunk_model: ChunkModel, request: ChunkRequest) -> ActionChunk:
    """Compute the action chunk of a request."""
    return ActionChunk(request.id, request.first_frame, make_chunks(chunk_model, request.window, request.noise)[0])


class SynchronousWorker:
    """Computes each chunk in the step at which it takes effect; the step waits for it."""

    late_chunks, warning = 0, ""

    def __init__(self, chunk_model: ChunkModel) -> None:
        self._chunk_model = chunk_model
        self._requests: deque[ChunkRequest] = deque()

    def submit(self, request: ChunkRequest) -> None:
        """Queue a chunk."""
        self._requests.append(request)

    def poll(self, k: int, index: int) -> ActionChunk | None:
        """The chunk that takes effect at frame k of the stream, or None. index: the speaker frame's own index."""
        if not self._requests or self._requests[0].effect_frame > k:
            return None
        return make_chunk(self._chunk_model, self._requests.popleft())


class ReplayWorker:
    """Lets chunks take effect at the recorded frames, and waits for them; those that never did are not computed."""

    late_chunks, warning = 0, ""

    def __init__(self, chunk_model: ChunkModel, starts: Mapping[int, int]) -> None:
        """starts: for the id of each chunk, the index of the speaker frame at which it took effect."""
        self._chunk_model, self._starts = chunk_model, dict(starts)
        self._requests: deque[ChunkRequest] = deque()

    def submit(self, request: ChunkRequest) -> None:
        """Queue a chunk."""
        if request.id in self._starts:
            self._requests.append(request)

    def poll(self, k: int, index: int) -> ActionChunk | None:
        """As `SynchronousWorker.poll`."""
        if not self._requests or self._starts[self._requests[0].id] > index:
            return None
        return make_chunk(self._chunk_model, self._requests.popleft())


@dataclass(slots=True)
class _Pending:
    """A chunk that is queued or being computed in the background."""

    request: ChunkRequest
    future: Future[ActionChunk]
    late: bool = False


class BackgroundWorker:
    """Computes chunks in one background thread; steps never wait. When it lags, only the newest chunk is computed.

    The thread ends when this object is collected, after the chunk that it is computing.
    """

    def __init__(self, chunk_model: ChunkModel) -> None:
        self.late_chunks, self.warning = 0, ""
        self._chunk_model = chunk_model
        self._pending: list[_Pending] = []
        self._thread = ThreadPoolExecutor(1, "chunks")

    def submit(self, request: ChunkRequest) -> None:
        """Queue a chunk; it replaces those whose computation has not begun."""
        for pending in self._pending:
            pending.future.cancel()
        self._pending.append(_Pending(request, self._thread.submit(make_chunk, self._chunk_model, request)))

    def poll(self, k: int, index: int) -> ActionChunk | None:
        """The newest chunk that is finished and due at frame k of the stream, or None; counts those that are late."""
        chunk = None
        for pending in [p for p in self._pending if p.request.effect_frame <= k]:
            done = pending.future.done()
            made = self._result(pending.future) if done else None
            if made is None and not pending.late:
                pending.late = True
                self.late_chunks += 1
            chunk = made or chunk
            if done:
                self._pending.remove(pending)
        return chunk

    def _result(self, future: Future[ActionChunk]) -> ActionChunk | None:
        if future.cancelled():
            return None
        if (error := future.exception()) is None:
            self.warning = ""
            return future.result()
        if not self.warning:
            _log.warning("an action chunk failed; idle life takes over, and the next chunks are tried", exc_info=error)
        self.warning = f"action chunks fail: {' '.join(str(error).split()) or type(error).__name__}"
        return None
