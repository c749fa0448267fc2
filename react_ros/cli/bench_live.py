"""`react-ros bench live` and `bench perception`: latency and cost of the robot on this machine."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from react_ros import assets, bringup
from react_ros.cli.progress import progress
from react_ros.evaluation.metrics.latency import STAGES, Distribution, measure
from react_ros.machine import describe_machine
from react_ros.media.footage import VOICES
from react_ros.runner import Runner

if TYPE_CHECKING:
    from react_ros.nodes.probe import Probe

LISTENER = "/robot/listener"


class BenchError(Exception):
    """The benchmark cannot run; the message is one sentence for users."""


def steady_film(path: Path, seconds: float) -> Path:
    """Write footage of a real face, forwards and backwards, as a 640x480 film at exactly 25 frames a second."""
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
    loop = images + images[-2:0:-1]
    with FilmWriter(path, 25, (640, 480)) as film:
        for k in range(round(seconds * 25)):
            film.add_image(loop[k % len(loop)])
    return path


def live(seconds: float, generator: str) -> None:
    """Run the whole robot and print latency per stage, frames answered, jitter and memory.

    seconds: duration of the measurement. Raises BenchError where the robot does not start.
    """
    import psutil
    from rich.console import Console

    from react_ros.msg import Status
    from react_ros.nodes.probe import Probe

    console = Console(highlight=False)
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    voice = str(assets.resolve(VOICES[0]))
    with tempfile.TemporaryDirectory() as folder:
        console.print("preparing footage at 25 frames a second")
        film = steady_film(Path(folder) / "human.mp4", min(seconds, 28.0))
        chosen = {"source": str(film), "microphone": voice, "generator": generator, "loop": "true",
                  "start_at": repr(time.time() + bringup.START_S)}  # fmt: skip
        processes = bringup.processes(chosen)
        with Probe("/robot", {"avatar/status": Status}) as probe:
            runner = Runner(processes, log=console.print)
            try:
                live_states = (Status.LIVE, Status.IDLE)
                probe.wait(
                    lambda: runner.poll() or any(s.state in live_states for s in probe["avatar/status"]),
                    40.0,
                    "the robot to answer",
                )
                if runner.exit_code:
                    raise BenchError("the robot does not start")
                time.sleep(2.0)  # warm-up: the first frames load models
                probe.clear()
                before = _late_chunks(probe)
                memory = 0.0
                with progress("measuring, s") as show:
                    for second in range(round(seconds)):
                        show(second, round(seconds))
                        time.sleep(1.0)
                        pss = [psutil.Process(c.popen.pid).memory_full_info().pss for c in runner.children.values()]
                        memory = max(memory, sum(pss) / 2**20)
                statuses = list(probe.messages["avatar/status"])
                late_chunks, schedule = _late_chunks(probe) - before, probe.facts(LISTENER).get("schedule", "")
            except TimeoutError as error:
                raise BenchError(str(error)) from None
            finally:
                runner.end()
    report = measure(statuses)
    console.print(f"machine: {describe_machine()}")
    console.print(f"{len(runner.children)} processes, 640x480 at 25 fps, {seconds:g} s, generator {generator}")
    console.print(f"schedule: {schedule}")
    console.print("\n" + "ms".ljust(32) + "".join(h.rjust(8) for h in ("p50", "p95", "p99")))
    _row(console, "sensor stamp to face message", report.total)
    for name, d in report.stages.items():
        _row(console, "  " + STAGES[name], d)
    _row(console, "interval between outputs", report.interval)
    console.print(f"\nframes answered: {report.answered} of {report.frames} ({100 * report.answered_share:.1f} %)")
    console.print(f"frames not answered: {report.frames - report.answered}; answered late: {report.late}")
    console.print(f"late action chunks: {late_chunks}")
    console.print(f"jitter of the output: {report.jitter_p99:.1f} ms at the 99th percentile")
    console.print(f"memory of the whole robot (PSS, highest): {memory:.0f} MiB")


def _late_chunks(probe: Probe) -> int:
    return int(probe.facts(LISTENER).get("late chunks", 0))


def perception(seconds: float) -> None:
    """Print the cost of each part of perception. seconds: of footage."""
    from rich.console import Console

    from react_ros.cli.bench_perception import bench_perception

    console = Console(highlight=False)
    console.print(f"machine: {describe_machine()}")
    console.print("per frame, 640x480, real footage, one process\n")
    console.print("ms".ljust(32) + "".join(h.rjust(8) for h in ("p50", "p95", "p99")))
    for name, times in bench_perception(seconds).items():
        _row(console, name, times)


def _row(console, name: str, d) -> None:
    if d is None:
        return
    p50, p95, p99 = (d.p50, d.p95, d.p99) if isinstance(d, Distribution) else (d["p50"], d["p95"], d["p99"])
    console.print(name.ljust(32) + "".join(f"{v:8.2f}" for v in (p50, p95, p99)))
