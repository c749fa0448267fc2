"""What a node's diagnostics say of the present: rates, rejected messages, sources that are silent. No ROS here.

Times are s of a monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

CLEAR_S = 10.0
"""A rejection or a gap is part of the diagnostics' message for so long afterwards."""
LOST_S = 1.0
"""A source is lost when nothing has arrived for so long."""
EXPECTED_S = 2.0
"""Time from the activation of a node until its sources are expected to have delivered something."""
RATE_S = 3.0
"""Rates are means over so long."""


class Rate:
    """Events a second, from a counter that is read now and then."""

    def __init__(self) -> None:
        self._read: deque[tuple[float, int]] = deque()

    def read(self, now: float, count: int) -> float | None:
        """The mean rate over the last seconds; None at the first reading."""
        if self._read and count < self._read[-1][1]:  # the counter began anew
            self._read.clear()
        self._read.append((now, count))
        while len(self._read) > 2 and self._read[1][0] <= now - RATE_S:
            self._read.popleft()
        (first, before), (last, after) = self._read[0], self._read[-1]
        return (after - before) / (last - first) if last > first else None


@dataclass(slots=True)
class _Rejected:
    reason: str = ""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))


class Rejections:
    """Messages that were rejected lately, by topic."""

    def __init__(self) -> None:
        self._topics: dict[str, _Rejected] = {}

    def add(self, topic: str, reason: str, now: float) -> None:
        """Count one."""
        rejected = self._topics.setdefault(topic, _Rejected())
        rejected.reason = reason
        rejected.times.append(now)

    def sentences(self, now: float) -> list[str]:
        """One for each topic with rejections in the last `CLEAR_S`."""
        out = []
        for topic, rejected in self._topics.items():
            while rejected.times and rejected.times[0] < now - CLEAR_S:
                rejected.times.popleft()
            if count := len(rejected.times):
                messages = "1 message" if count == 1 else f"{count} messages"
                out.append(f"{messages} on {topic} rejected in the last {CLEAR_S:.0f} s: {rejected.reason}")
        return out


class Source:
    """A topic that a node lives on: says when its messages begin, are lost, and are back."""

    def __init__(
        self, what: str, topic: str, why: Callable[[], str], log: Callable[[str, bool], None], needs: str = ""
    ) -> None:
        """what: its messages, in the plural. why: called for the reason when none arrive. log: called with a line, and
        whether it is a warning. needs: what the node cannot do without it."""
        self.what, self.topic = what, topic
        self.count = 0
        """Messages so far."""
        self._why, self._log, self._needs = why, log, needs
        self._began = 0.0
        self._last: float | None = None
        self._gap = 0.0
        self._back: float | None = None
        self._said = False

    def begin(self, now: float) -> None:
        """The node has been activated: from now on, messages are expected."""
        self._began, self._last, self._back, self._said = now, None, None, False

    def arrived(self, now: float, detail: str = "") -> None:
        """A valid message has arrived. detail: of the first one, for the log."""
        self.count += 1
        if self._last is None:
            self._log(f"first {self.what} on {self.topic}{f': {detail}' if detail else ''}", False)
        elif (gap := now - self._last) > LOST_S:
            self._gap, self._back = gap, now
            self._log(f"{self.what} on {self.topic} are back after {gap:.1f} s", False)
        self._last, self._said = now, False

    def trouble(self, now: float) -> str:
        """What is wrong with it at present, or was within the last `CLEAR_S`; empty: nothing."""
        since = self._began + EXPECTED_S - LOST_S if self._last is None else self._last
        if now - since > LOST_S:
            silent = "yet" if self._last is None else f"for {now - self._last:.0f} s"
            sentence = f"{self._needs}no {self.what} on {self.topic} {silent}: {self._why()}"
            if not self._said:
                self._said = True
                self._log(sentence, self._last is not None)
            return sentence
        if self._back is not None and now - self._back <= CLEAR_S:
            return f"{self.what} on {self.topic} are back after {self._gap:.1f} s without any"
        return ""
