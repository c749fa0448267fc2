"""The demo: the whole robot on a live or filmed human; leaves a film, a bag and a report page."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from react_ros import assets, bringup
from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag, BagMessage, read_bag
from react_ros.bags.timeline import Timeline
from react_ros.evaluation.behaviour.responsiveness import Moment, Responsiveness
from react_ros.evaluation.metrics.latency import measure
from react_ros.evaluation.report.demo_page import FaceTrack, SessionFacts, write_page
from react_ros.evaluation.responsiveness.recorded import recorded_responsiveness
from react_ros.evaluation.sessions.health import STATES
from react_ros.face import ARKIT_INDEX, FRAME_NS, FaceState
from react_ros.generators import registry
from react_ros.io import private_folder
from react_ros.machine import describe_machine
from react_ros.media.footage import DISTRESS, FACE, write_voice
from react_ros.messages.features import frame_from_message
from react_ros.replay.session_film import Pictures, read_sound, write_film
from react_ros.runner import Runner

NOTICE = (
    "The human is footage of one person without sound, and the voice is that of another person reading aloud: face and "
    "voice do not belong together. Action units, valence, arousal and expressions are derived from blendshapes and "
    "landmarks by rule, not by a trained detector."
)
SMILES = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
CAMERA, AVATAR = "/image_raw/compressed", "/avatar/image/compressed"
FILES = {"avatar.mp4", "report.html", "bag", "voice.wav"}
"""Files of a complete or interrupted demo: a folder with nothing else may be overwritten."""


class DemoError(Exception):
    """The demo cannot run; the message is one sentence for users."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Input and output of the demo."""

    out: Path
    camera: str = ""
    """Camera number or address; empty: filmed footage."""
    microphone: str = ""
    """Microphone; empty: the recorded voice."""
    generator: str = registry.DEFAULT
    seed: int = 0
    seconds: float = 0.0
    """Duration, s; 0: that of the film, or until Ctrl-C with a camera."""
    view_port: int = 0
    window: bool = False


Progress = Callable[[str, float, float], None]
"""Called with the name of the task, its progress, and the total."""


def run_demo(options: DemoOptions, log: Callable[[str], None], progress: Progress) -> int:
    """Run the robot, then make film and report from its bag. Returns the robot's exit code.

    log: prints a line. Raises DemoError where the demo cannot run.
    """
    out = options.out
    if out.exists() and not {path.name for path in out.iterdir()} <= FILES:
        raise DemoError(f"{out} holds other files than a demo's: choose another folder")
    shutil.rmtree(out, ignore_errors=True)
    private_folder(out)
    filmed = not options.camera
    camera, microphone, seconds = options.camera, options.microphone or "default", options.seconds
    if filmed:
        camera = str(assets.resolve(FACE))
        length = film_seconds(Path(camera))
        seconds = min(seconds, length) if seconds else length
        microphone = options.microphone or str(write_voice(out / "voice.wav", seconds))
    start = time.time() + (bringup.START_S if filmed else 0.0)
    processes = bringup.processes(
        {
            "source": camera, "microphone": microphone, "generator": options.generator, "seed": str(options.seed),
            "record": str(out / "bag"), "start_at": repr(start if filmed else 0.0),
            "view_port": str(options.view_port), "window": str(options.window).lower(),
        }
    )  # fmt: skip
    log(f"starting {len(processes)} processes: " + ", ".join(p.executable for p in processes))
    launched = time.time()
    end = start + seconds + 0.5 if seconds else float("inf")
    last = 0.0

    def over() -> bool:
        nonlocal last
        now = time.time()
        if seconds and now - last > 0.2:
            progress("running the robot", min(now, end) - launched, end - launched)
            last = now
        return now > end

    # A separate ROS domain, so that another robot on this machine is not recorded.
    extra = {} if "ROS_DOMAIN_ID" in os.environ else {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    runner = Runner(processes, extra, log)
    code = runner.run(over)
    if code not in (0, 130):
        return code
    log("writing film and report from the bag")
    write_results(out, filmed, options.generator, runner, progress)
    (out / "voice.wav").unlink(missing_ok=True)
    return 0


def film_seconds(path: Path) -> float:
    """Duration of a film's video stream, s."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / 1e6


def write_results(out: Path, filmed: bool, generator: str, runner: Runner | None, progress: Progress) -> None:
    """Write avatar.mp4 and report.html into `out` from the bag in it. Raises DemoError for an empty bag."""
    bag = out / "bag"
    try:
        make_film(bag, out / "avatar.mp4", progress)
        facts = read_facts(bag, filmed, generator, runner)
    except BagError as error:
        raise DemoError(str(error)) from None
    (out / "report.html").write_text(write_page(facts))


def make_film(bag: Path, path: Path, progress: Progress) -> None:
    """Write the camera's and the avatar's images side by side, each at its own time, with the sound."""
    with Bag(bag) as opened:
        topics = {end: name for name in opened.topics for end in (CAMERA, AVATAR, "/audio") if name.endswith(end)}
        stamps = [_ns(m.message.header.stamp) for m in opened.messages([topics[CAMERA]])] if CAMERA in topics else []
        if not stamps:
            raise DemoError("the bag holds no image of the human: the camera published none")
        times = stamps[0] + np.arange((stamps[-1] - stamps[0]) // FRAME_NS + 1) * FRAME_NS
        timeline = Timeline(times, np.arange(len(times)), ((0, len(times)),))
        # The human by sensor stamp, the avatar by arrival of its image: the film shows the true latency.
        write_film(
            path, times, Pictures(opened, topics[CAMERA]).at,
            Pictures(opened, topics.get(AVATAR, ""), by_arrival=True).at,
            read_sound(opened, topics.get("/audio", ""), timeline),
            lambda done, total: progress("writing the film", done, total),
        )  # fmt: skip


def read_facts(bag: Path, filmed: bool, generator: str, runner: Runner | None) -> SessionFacts:
    """The facts for the report, from the bag."""
    features = [r.message for r in read_bag(bag, "/speaker/features")]
    outputs = list(read_bag(bag, "/avatar/blendshapes"))
    shapes = {r.message.lineage.frame: r.message for r in outputs}
    models = {r.message.lineage.frame: r.message for r in read_bag(bag, "/avatar/face_model")}
    statuses = [(r.time_ns, r.message) for r in read_bag(bag, "/avatar/status")]
    if not features or not shapes:
        raise DemoError(f"bag {bag} holds no speaker features or no blendshapes: was a node missing?")
    zero = _ns(features[0].header.stamp)
    shown = sorted((_ns(m.header.stamp), frame) for frame, m in shapes.items() if _ns(m.header.stamp) >= zero)
    watched = [(a, s) for a, s in statuses if zero <= a <= _ns(features[-1].header.stamp)]
    visible = [m for m in features if m.face_state >= 2]

    def seconds(stamps) -> np.ndarray:
        return np.array([(s - zero) / 1e9 for s in stamps])

    notices = [n for n in dict.fromkeys(s.notice for _, s in statuses) if n]
    rows = [("generator", f"{generator}, seed {statuses[-1][1].lineage.seed}"), ("machine", describe_machine())]
    if runner is not None:
        restarts = {name: child.restarts for name, child in runner.children.items() if child.restarts}
        rows.append(("processes", ", ".join(runner.children) + (f"; restarts: {restarts}" if restarts else "")))
    return SessionFacts(
        title="react_ros: a face that listens",
        human=FaceTrack(
            seconds(_ns(m.header.stamp) for m in visible),
            np.array([np.asarray(m.blendshapes)[SMILES].mean() for m in visible]),
            np.array([m.rotation for m in visible]),
        ),
        avatar=FaceTrack(
            seconds(s for s, _ in shown),
            np.array([np.asarray(shapes[f].weights)[SMILES].mean() for _, f in shown]),
            np.array([models[f].rotation if f in models else np.zeros(3) for _, f in shown]),
        ),
        speech=(
            seconds(_ns(m.header.stamp) for m in features),
            np.array([m.speech_probability for m in features]),
        ),
        latency=measure(watched),
        states=Counter(STATES[s.state] for _, s in watched),
        facts=rows,
        notices=([NOTICE] if filmed else []) + notices,
        files=[
            ("avatar.mp4", "human and avatar, side by side, with sound"),
            ("bag/", "every topic (mcap), images as JPEG"),
        ],
        film="avatar.mp4",
        answers=_answers(features, outputs, models, filmed),
    )


def _answers(
    features: Sequence[Any], outputs: Sequence[BagMessage], models: Mapping[int, Any], filmed: bool
) -> tuple[Responsiveness, list[Moment]] | None:
    """Responsiveness of the faces that were shown. models: face model messages by frame."""
    frames = [frame_from_message(m) for m in features]
    seen = next((k for k, f in enumerate(frames) if f.face.state != FaceState.MISSING), 0)
    begin = (frames[seen].stamp_ns - frames[0].stamp_ns) / 1e9
    still = np.zeros(3, np.float32)
    rotation = [models[f].rotation if (f := r.message.lineage.frame) in models else still for r in outputs]
    return recorded_responsiveness(
        frames,
        np.array([r.time_ns for r in outputs]),
        np.array([r.message.weights for r in outputs], np.float32),
        np.array(rotation, np.float32),
        distress=[(begin + a, begin + b) for a, b in DISTRESS] if filmed else None,
    )


def _ns(stamp) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec
