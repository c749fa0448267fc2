"""Health of a recorded session: message rates, gaps, losses, latency, unanswered frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.person_topics import topics_of
from react_ros.bags.reader import Bag
from react_ros.evaluation.metrics.latency import LatencyReport, measure
from react_ros.messages.namespace import nearest
from react_ros.messages.types import DIAGNOSTICS_TYPE, STATUS_TYPE
from react_ros.replay.recorded_session import RecordedSession

STATES = ("live", "idle", "operator", "stale", "late")
USUAL = ("images", "chunks", "frames", "reactions", "outputs", "messages", "generator's delay", "seed", "samples")
"""Counters in the nodes' diagnostics that are not losses."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rate:
    """Message rate of a topic."""

    topic: str
    kind: str
    messages: int
    hertz: float | None
    """Mean rate from the first to the last message; None with fewer than 10."""
    longest_pause: float | None
    """Longest interval between two messages, s; None with fewer than 2."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Speaker frames with and without a reaction, from the first answered one to the last."""

    frames: int
    unanswered: int
    longest: int
    """Most successive frames without a reaction."""
    rejected: int
    """Reactions in the bag that failed validation."""


@dataclass(frozen=True, slots=True)
class Health:
    """Health of one session; None where the bag lacks the topics."""

    rates: list[Rate]
    gaps: list[tuple[float, float]]
    """Gaps in the speaker's frames: (start in s from the bag's start, length in s)."""
    dropped: dict[str, int]
    """Number of the speaker's messages that could not be used, by reason."""
    answers: Answers | None
    latency: LatencyReport | None
    """Computed from avatar/status."""
    states: dict[str, int]
    """Number of avatar outputs by state: live, idle, …"""
    counted: dict[str, dict[str, int]]
    """By node, the final values of its diagnostics counters, summed over restarts."""
    diagnosed: bool
    """Whether diagnostics were recorded."""
    not_written: dict[str, int]
    """Number of messages that the recorder could not write, by reason."""

    @property
    def late_chunks(self) -> int | None:
        """Action chunks that were late; None where no diagnostics were recorded."""
        if not self.diagnosed:
            return None
        # Until version 0.1 the counter was called "late plans".
        return sum(c.get("late chunks", 0) + c.get("late plans", 0) for c in self.counted.values())

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {**asdict(self), "late_chunks": self.late_chunks}


@dataclass(slots=True)
class _Arrivals:
    count: int = 0
    first: int = 0
    last: int = 0
    longest: int = 0

    def add(self, time_ns: int) -> None:
        if self.count:
            self.longest = max(self.longest, time_ns - self.last)
        else:
            self.first = time_ns
        self.count += 1
        self.last = time_ns


@dataclass(slots=True)
class _Counts:
    """A node's counters, which restart at 0 when the node restarts."""

    before: Counter[str] = field(default_factory=Counter)
    now: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, value: int) -> None:
        if value < self.now.get(name, 0):
            self.before[name] += self.now[name]
        self.now[name] = value

    def all(self) -> dict[str, int]:
        return {name: self.before[name] + value for name, value in sorted(self.now.items())}


def examine(session: RecordedSession, progress: Progress = lambda done, total: None) -> Health:
    """Read the bag again for message times and diagnostics. Messages after a damaged place are not counted."""
    with Bag(session.path) as bag:
        seen = {name: _Arrivals() for name in bag.topics}
        nodes: dict[str, _Counts] = {}
        length = max(bag.end_ns - bag.start_ns, 1)
        with suppress(BagError):
            for k, (topic, time_ns, data) in enumerate(bag.raw(list(bag.topics))):
                seen[topic].add(time_ns)
                if bag.topics[topic].kind == DIAGNOSTICS_TYPE:
                    _count(bag.read(topic, data), nodes)
                if k % 500 == 0:
                    progress(time_ns - bag.start_ns, length)
        progress(length, length)
        states: Counter[str] = Counter()
        latency = None
        if topic := _status_topic(bag, session):
            latency = measure(_statuses(bag, topic, states))
        return Health(
            [
                Rate(name, bag.topics[name].kind, s.count,
                     (s.count - 1) * 1e9 / (s.last - s.first) if s.count >= 10 and s.last > s.first else None,
                     s.longest / 1e9 if s.count > 1 else None)
                for name, s in seen.items()
            ],
            list(session.losses.gaps), dict(session.losses.dropped), _answers(session), latency, dict(states),
            {name: all_ for name, counts in sorted(nodes.items()) if (all_ := counts.all())},
            bool(nodes), manifest.read_manifest(session.path).get("lost") or {},
        )  # fmt: skip


def _count(message: Any, nodes: dict[str, _Counts]) -> None:
    for status in message.status:
        counts = nodes.setdefault(status.name, _Counts())
        for pair in status.values:
            if pair.value.isdecimal() and pair.key not in USUAL:
                counts.add(pair.key, int(pair.value))


def _status_topic(bag: Bag, session: RecordedSession) -> str:
    names = topics_of(bag, STATUS_TYPE)
    near = session.reactions.topic if session.reactions else session.inputs.features
    return next(iter(nearest(names, near) or names), "")


def _statuses(bag: Bag, topic: str, states: Counter[str]) -> Iterator[tuple[int, Any]]:
    with suppress(BagError):
        for m in bag.messages([topic]):
            if m.message.state < len(STATES):
                states[STATES[m.message.state]] += 1
                yield m.time_ns, m.message


def _answers(session: RecordedSession) -> Answers | None:
    if session.reactions is None or not session.inputs.features:
        return None
    answered = np.isin(session.speaker.indices, session.reactions.frames)
    at = np.flatnonzero(answered)
    if not len(at):
        return None
    between = answered[at[0] : at[-1] + 1]
    runs = np.diff(np.flatnonzero(between)) - 1
    return Answers(len(between), int((~between).sum()), int(runs.max(initial=0)), session.reactions.dropped)
