"""A robot under test: real processes over real DDS, with a probe."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from react_ros import assets, bringup
from react_ros.face import FPS
from react_ros.msg import Reaction, SpeakerFeatures, Status
from react_ros.nodes.probe import Probe
from react_ros.runner import Runner

TOPICS = {"speaker/features": SpeakerFeatures, "listener/reaction": Reaction, "avatar/status": Status}


class Robot:
    """The processes of bringup.py, all or `only` some, with a probe that is subscribed before they start.

    parameters: by executable, in addition to those of bringup. chosen: launch arguments, e.g. source="film.mp4".
    Default source: the demo's film in a loop. Default microphone: none. watch_hangs: as Runner's.
    """

    def __init__(
        self,
        only: Sequence[str] = (),
        parameters: dict[str, dict[str, Any]] | None = None,
        topics: dict[str, Any] | None = None,
        watch_hangs: bool = True,
        **chosen: str,
    ) -> None:
        self.lines: list[str] = []
        chosen = {"source": str(assets.resolve("demo-face")), "loop": "true", "microphone": "none",
                  "rendering": "false", **chosen}  # fmt: skip
        table = [p for p in bringup.processes(chosen) if not only or p.executable in only]
        table = [replace(p, parameters={**p.parameters, **(parameters or {}).get(p.executable, {})}) for p in table]
        self.probe = Probe("/robot", {**TOPICS, **(topics or {})})
        self.probe.__enter__()
        self.runner = Runner(table, log=self.lines.append, watch_hangs=watch_hangs)

    def pid(self, executable: str) -> int:
        return self.runner.children[executable].popen.pid

    def kill(self, executable: str, number: signal.Signals = signal.SIGKILL) -> float:
        """Send a node a signal, SIGKILL or SIGSTOP. Returns the time, as time.time()."""
        os.kill(self.pid(executable), number)
        if number == signal.SIGKILL:
            self.runner.children[executable].popen.wait()
        return time.time()

    def wait(self, condition: Any, seconds: float, what: str) -> Any:
        """Wait for a condition; killed nodes are restarted meanwhile."""
        return self.probe.wait(lambda: (self.runner.poll() and False) or condition(), seconds, what)

    def wait_live(self, frames: int = FPS, seconds: float = 40.0) -> None:
        """Wait until the avatar has shown so many live frames."""
        self.probe.clear()
        self.wait(
            lambda: sum(s.state == Status.LIVE for s in self.probe["avatar/status"]) >= frames,
            seconds,
            f"{frames} live frames",
        )

    def close(self) -> None:
        self.runner.end()
        self.probe.__exit__(None, None, None)
