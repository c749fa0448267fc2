"""Faults injected into the whole running robot, one after the other, and what each costs: `react-ros soak`."""

from __future__ import annotations

import itertools
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from react_ros import assets, bringup
from react_ros.generators import registry
from react_ros.machine import describe_machine
from react_ros.supervision.stop_signals import StopSignals

if TYPE_CHECKING:
    from react_ros.nodes.probe import Probe
    from react_ros.runner import Runner

HEALTHY_S = 12.0
"""Health before a fault: restarts are then counted from zero."""
NOTICED_S = 4.0
"""A fault of which nothing shows for so long has cost nothing."""
WAIT_S = 60.0
"""Longest wait for the robot to listen again."""
NODES = ("camera", "microphone", "perception", "listener", "avatar", "recorder")


class SoakError(Exception):
    """The robot cannot be tested; the message is one sentence for users."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the signal that is it."""

    node: str
    number: signal.Signals

    @property
    def name(self) -> str:
        return f"{self.node} {'killed' if self.number == signal.SIGKILL else 'stopped'} ({self.number.name})"


FAULTS = tuple(Fault(node, number) for number in (signal.SIGKILL, signal.SIGSTOP) for node in NODES)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault has cost."""

    fault: Fault
    gap_s: float
    """Longest time without an output of the face."""
    listens_s: float
    """Until the robot sees, hears and reacts again; 0 where it never ceased, infinite where it does not."""
    said: tuple[str, ...]
    """The runner's lines, then what diagnostics warned of."""


def soak(minutes: float, say: Callable[[str], None]) -> list[Outcome]:
    """Run the robot on a film and inject faults in turn until the time is over, each at least once, or until Ctrl-C.

    Raises SoakError where the robot does not come up.
    """
    from react_ros.msg import SpeakerFeatures, Status
    from react_ros.nodes.probe import Probe
    from react_ros.runner import Runner

    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # another robot here is left alone
    out: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        processes = bringup.processes(
            {
                "source": str(assets.resolve("demo-face")), "microphone": str(assets.resolve("demo-voice-1")),
                "loop": "true", "generator": registry.DEFAULT, "record": str(Path(folder) / "bag"),
            }
        )  # fmt: skip
        lines: list[str] = []
        topics = {"avatar/status": Status, "speaker/features": SpeakerFeatures}
        with StopSignals() as stop, Probe("/robot", topics) as probe:
            runner = Runner(processes, log=lines.append)
            try:
                session = _Session(probe, runner, lines, stop)
                if not session.wait(lambda: session.listens_since(0.0) > 0.0, WAIT_S) and not stop.is_set():
                    raise SoakError(f"the robot does not listen after {WAIT_S:.0f} s: try react-ros doctor")
                began = time.monotonic()
                for fault in _in_turn(lambda: time.monotonic() - began > 60.0 * minutes):
                    last = session.inject(fault)
                    if stop.is_set():
                        break
                    out.append(last)
                    say(
                        f"{(time.monotonic() - began) / 60.0:5.1f} min  {fault.name}: longest gap of the face "
                        f"{last.gap_s:.2f} s, listens again after {last.listens_s:.1f} s"
                    )
            finally:
                runner.end()
    return out


def _in_turn(over: Callable[[], bool]) -> Iterator[Fault]:
    for n, fault in enumerate(itertools.cycle(FAULTS)):
        if n >= len(FAULTS) and over():
            return
        yield fault


class _Session:
    """A running robot that is watched through its topics. Times are s since the epoch."""

    def __init__(self, probe: Probe, runner: Runner, lines: list[str], stop: StopSignals) -> None:
        self._probe, self._runner, self._lines, self._stop = probe, runner, lines, stop
        self._warned: dict[str, None] = {}

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Supervise until the condition holds. Returns whether it does in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stop.is_set():
            if self._runner.poll():
                raise SoakError("the robot has ended: " + (self._lines[-1] if self._lines else "no reason is known"))
            for name, status in list(self._probe.diagnostics.items()):
                if name.startswith("/robot/") and status.level != b"\0":
                    self._warned[f"{name.removeprefix('/robot/')}: {_without_numbers(status.message)}"] = None
            if condition():
                return True
            time.sleep(0.02)
        return False

    def _moments(self) -> list[tuple[float, bool]]:
        """(arrival, whether the robot sees, hears or waits in silence, and reacts), in order."""
        from react_ros.face import FaceState, SoundState
        from react_ros.msg import Status

        sees = hears = False
        events = [(at, 0, m) for at, m in list(self._probe.messages["speaker/features"])]
        events += [(at, 1, m) for at, m in list(self._probe.messages["avatar/status"])]
        out = []
        for at, kind, m in sorted(events, key=lambda event: event[:2]):
            if kind == 0:
                sees, hears = m.face_state >= FaceState.LOST, m.sound_state != SoundState.MISSING
            elif m.state != Status.LATE:
                out.append((at / 1e9, bool(sees and hears and m.state == Status.LIVE)))
        return out

    def listens_since(self, begin: float) -> float:
        """When the robot first listened after it had ceased to, since `begin`; 0 if it has not."""
        ceased = not begin
        for at, good in self._moments():
            if at < begin:
                continue
            if ceased and good:
                return at
            ceased = ceased or not good
        return 0.0

    def ceased_since(self, begin: float) -> bool:
        """Whether the robot has ceased to listen since `begin`, or its face has stood still for half a second."""
        moments = [(at, good) for at, good in self._moments() if at >= begin]
        return any(not good for _, good in moments) or time.time() - (moments[-1][0] if moments else begin) > 0.5

    def inject(self, fault: Fault) -> Outcome:
        healthy = time.time()
        self.wait(lambda: self.healthy_for(healthy), 2.0 * HEALTHY_S)
        self._probe.clear()
        self._warned.clear()
        said = len(self._lines)
        begin = time.time()
        os.kill(self._runner.children[fault.node].popen.pid, fault.number)
        listens = 0.0
        if self.wait(lambda: self.ceased_since(begin), NOTICED_S):
            back = self.wait(lambda: self.listens_since(begin) > 0.0, WAIT_S)
            listens = self.listens_since(begin) - begin if back else math.inf
        self.wait(lambda: False, 2.0)
        arrivals = [begin, *(at / 1e9 for at, _ in list(self._probe.messages["avatar/status"]) if at / 1e9 > begin)]
        gap = max((b - a for a, b in itertools.pairwise(arrivals)), default=math.inf)
        return Outcome(fault, gap, listens, (*self._lines[said:], *self._warned))

    def healthy_for(self, since: float) -> bool:
        """Whether the robot has listened for `HEALTHY_S`, interruptions of a frame or two aside."""
        moments = [good for at, good in self._moments() if at > max(since, time.time() - HEALTHY_S)]
        return time.time() - since >= HEALTHY_S and bool(moments) and sum(moments) >= 0.5 * len(moments)


def _without_numbers(message: str) -> str:
    """A message in which the seconds that pass do not make another message."""
    import re

    return re.sub(r"\d+(\.\d+)? s\b", "n s", message)


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown page: the worst case of each fault."""
    lines = [
        "# Faults of a running robot",
        "",
        "Written by `react-ros soak --out docs/robustness.md`: each fault is injected into the whole robot, which runs",
        "on a film and a recorded voice; of repeated faults the worst case is given.",
        f"Machine: {describe_machine()}.",
        "",
        "| fault | times | longest gap of the face, s | listens again after, s | what was said |",
        "|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        own = [o for o in outcomes if o.fault == fault]
        if own:
            said = "; ".join(dict.fromkeys(line for o in own for line in o.said)).replace("|", "/")
            listens = max(o.listens_s for o in own)
            lines.append(
                f"| {fault.name} | {len(own)} | {max(o.gap_s for o in own):.2f} | "
                f"{listens:.1f} | {said if len(said) < 400 else said[:398] + ' …'} |"
            )
    return "\n".join([*lines, ""])
