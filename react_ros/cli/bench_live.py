"""Measures what the running robot costs on this machine. Figures, not verdicts."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from react_ros import assets, bringup
from react_ros.cli.demo import VOICES
from react_ros.evaluation.metrics.latency import STAGES, Distribution, measure
from react_ros.machine import describe_machine
from react_ros.runner import Runner

if TYPE_CHECKING:
    from react_ros.nodes.probe import Probe

LISTENER = "/robot/listener"


class BenchError(Exception):
    """Nothing could be measured; the message is one sentence for people."""


def steady_film(path: Path, seconds: float) -> Path:
    """Real footage of a face, forth and back, as a 640x480 film of exactly 25 frames a second."""
    import cv2

    from react_ros.media.film_writer import FilmWriter
    from react_ros.sensors.camera import CameraConfig, open_camera

    camera = open_camera(CameraConfig(str(assets.resolve("demo-face")), 0, 0))
    images = []
    for shot, _ in zip(camera, range(375), strict=False):
        h, w = shot.image.shape[:2]
        # The face is in the right half of the wide film.
        images.append(np.asarray(cv2.resize(shot.image[:, w - h * 4 // 3 :], (640, 480)), np.uint8))
    camera.close()
    there_and_back = images + images[-2:0:-1]
    with FilmWriter(path, 25, (640, 480)) as film:
        for k in range(round(seconds * 25)):
            film.add_image(there_and_back[k % len(there_and_back)])
    return path


def live(seconds: float, generator: str) -> None:
    """Run the whole robot for `seconds` and print the latency of each stage, answered frames, jitter and memory."""
    import psutil
    from rich.console import Console
    from rich.progress import track

    from react_ros.msg import Status
    from react_ros.nodes.probe import Probe

    console = Console(highlight=False)
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    voice = str(assets.resolve(VOICES[0]))
    with tempfile.TemporaryDirectory() as folder:
        console.print("preparing 25 frames a second of real footage")
        film = steady_film(Path(folder) / "human.mp4", min(seconds, 28.0))
        chosen = {"source": str(film), "microphone": voice, "generator": generator, "loop": "true",
                  "start_at": repr(time.time() + 8.0)}  # fmt: skip
        processes = bringup.processes(chosen)
        with Probe("/robot", {"avatar/status": Status}) as probe:
            runner = Runner(processes, say=console.print)
            try:
                live_states = (Status.LIVE, Status.IDLE)
                probe.wait(
                    lambda: runner.poll() or any(s.state in live_states for s in probe["avatar/status"]),
                    40.0,
                    "the robot to answer",
                )
                if runner.exit_code:
                    raise BenchError("the robot does not start")
                time.sleep(2.0)  # the first frames load what the rest find loaded
                probe.clear()
                before = _late_plans(probe)
                memory = 0.0
                for _ in track(range(round(seconds)), "measuring", console=console, transient=True):
                    time.sleep(1.0)
                    pss = [psutil.Process(c.popen.pid).memory_full_info().pss for c in runner.children.values()]
                    memory = max(memory, sum(pss) / 2**20)
                statuses = list(probe.messages["avatar/status"])
                late_chunks, protocol = _late_plans(probe) - before, probe.facts(LISTENER).get("protocol", "")
            except TimeoutError as error:
                raise BenchError(str(error)) from None
            finally:
                runner.end()
    report = measure(statuses)
    console.print(f"machine: {describe_machine()}")
    console.print(f"{len(runner.children)} processes, 640x480 at 25 fps, {seconds:g} s, generator {generator}")
    console.print(f"protocol: {protocol}")
    console.print("\n" + "ms".ljust(32) + "".join(h.rjust(8) for h in ("p50", "p95", "p99")))
    _row(console, "sensor stamp to face message", report.total)
    for name, d in report.stages.items():
        _row(console, "  " + STAGES[name], d)
    _row(console, "between two outputs", report.interval)
    console.print(f"\nframes answered: {report.answered} of {report.frames} ({100 * report.answered_share:.1f} %)")
    console.print(f"frames without an answer: {report.frames - report.answered}; late answers: {report.late}")
    console.print(f"late plans: {late_chunks}")
    console.print(f"jitter of the output: {report.jitter_p99:.1f} ms at the 99th percentile")
    console.print(f"memory of the whole robot (PSS, highest): {memory:.0f} MiB")


def _late_plans(probe: Probe) -> int:
    return int(probe.facts(LISTENER).get("late plans", 0))


def perception(seconds: float) -> None:
    """Print what everything costs that a frame needs."""
    from rich.console import Console

    from react_ros.cli.bench_perception import bench_perception

    console = Console(highlight=False)
    console.print(f"machine: {describe_machine()}")
    console.print("everything a frame needs, 640x480, real footage, one process\n")
    console.print("ms".ljust(32) + "".join(h.rjust(8) for h in ("p50", "p95", "p99")))
    for name, times in bench_perception(seconds).items():
        _row(console, name, times)


def _row(console, name: str, d) -> None:
    if d is None:
        return
    p50, p95, p99 = (d.p50, d.p95, d.p99) if isinstance(d, Distribution) else (d["p50"], d["p95"], d["p99"])
    console.print(name.ljust(32) + "".join(f"{v:8.2f}" for v in (p50, p95, p99)))
