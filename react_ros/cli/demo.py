"""The demo: a human, real or filmed, in front of the whole robot; leaves a film, a bag and a page."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from react_ros import assets, bringup
from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag, read_bag
from react_ros.bags.timeline import Timeline
from react_ros.evaluation.metrics.latency import measure
from react_ros.evaluation.report.demo_page import FaceTrack, SessionFacts, write_page
from react_ros.evaluation.sessions.health import STATES
from react_ros.face import ARKIT_INDEX, FRAME_NS
from react_ros.generators import registry
from react_ros.machine import describe_machine
from react_ros.replay.session_film import Pictures, read_sound, write_film
from react_ros.runner import Runner

FACE, VOICES = "demo-face", [f"demo-voice-{n}" for n in range(1, 6)]
NOTICE = (
    "The human is filmed footage (one person, from a film whose sound is silence) and the voice is another person's, "
    "reading aloud: what they show and say does not belong together. Action units, valence, arousal and expressions "
    "are derived from blendshapes and landmarks by rule, not by a trained detector."
)
SMILES = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
CAMERA, AVATAR = "/image_raw/compressed", "/avatar/image/compressed"
LEFT = {"avatar.mp4", "report.html", "bag", "voice.wav"}
"""What a demo, whole or broken off, leaves: a folder with nothing else may be made anew."""
START_S = 8.0
"""Until the film begins: time for every node to be there, also on a slow machine's first start."""


class DemoError(Exception):
    """The demo cannot be shown; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What is shown and where it is left."""

    out: Path
    camera: str = ""
    """Empty: the filmed human."""
    microphone: str = ""
    """Empty: the recorded voice."""
    generator: str = registry.DEFAULT
    seed: int = 0
    seconds: float = 0.0
    """How long; 0: the film's length, or until Ctrl-C for a live human."""
    view_port: int = 0
    window: bool = False


Progress = Callable[[str, float, float], None]
"""Called with what is being done, how much of it is done, and of how much."""


def run_demo(options: DemoOptions, say: Callable[[str], None], progress: Progress) -> int:
    """Run the robot, then make film and page from its bag. Returns the robot's exit code.

    Raises DemoError with one sentence where it cannot be.
    """
    out = options.out
    if out.exists() and not {path.name for path in out.iterdir()} <= LEFT:
        raise DemoError(f"{out} holds other things than a demo: choose another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    filmed = not options.camera
    camera, microphone, seconds = options.camera, options.microphone or "default", options.seconds
    if filmed:
        camera = str(assets.resolve(FACE))
        length = film_seconds(Path(camera))
        seconds = min(seconds, length) if seconds else length
        microphone = options.microphone or str(write_voice(out / "voice.wav", seconds))
    start = time.time() + (START_S if filmed else 0.0)
    processes = bringup.processes(
        {
            "source": camera, "microphone": microphone, "generator": options.generator, "seed": str(options.seed),
            "record": str(out / "bag"), "start_at": repr(start if filmed else 0.0),
            "view_port": str(options.view_port), "window": str(options.window).lower(),
        }
    )  # fmt: skip
    say(f"starting {len(processes)} processes: " + ", ".join(p.executable for p in processes))
    began = time.time()
    end = start + seconds + 0.5 if seconds else float("inf")
    last = 0.0

    def over() -> bool:
        nonlocal last
        now = time.time()
        if seconds and now - last > 0.2:
            progress("the robot runs", min(now, end) - began, end - began)
            last = now
        return now > end

    # A domain of its own, so that a robot beside it is not recorded as well.
    extra = {} if "ROS_DOMAIN_ID" in os.environ else {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}
    runner = Runner(processes, extra, say)
    code = runner.run(over)
    if code not in (0, 130):
        return code
    say("making the film and the page from the bag")
    summarise(out, filmed, options.generator, runner, progress)
    (out / "voice.wav").unlink(missing_ok=True)
    return 0


def film_seconds(path: Path) -> float:
    """Length of a film's picture, s."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / 1e6


def write_voice(path: Path, seconds: float) -> Path:
    """The demo's voice: real sentences read aloud, one after the other with pauses, as long as asked."""
    import soundfile

    parts = []
    rate = 16_000
    for name in VOICES:
        samples, rate = soundfile.read(assets.resolve(name), dtype="int16")
        parts += [samples, np.zeros(round(0.6 * rate), np.int16)]
    soundfile.write(path, np.concatenate(parts)[: round(seconds * rate)], rate)
    return path


def summarise(out: Path, filmed: bool, generator: str, runner: Runner | None, progress: Progress) -> None:
    """Make avatar.mp4 and report.html in `out` from the bag beside them. Raises DemoError where the bag is empty."""
    bag = out / "bag"
    try:
        make_film(bag, out / "avatar.mp4", progress)
        facts = read_facts(bag, filmed, generator, runner)
    except BagError as error:
        raise DemoError(str(error)) from None
    (out / "report.html").write_text(write_page(facts))


def make_film(bag: Path, path: Path, progress: Progress) -> None:
    """Lay what the camera saw and what the avatar showed side by side, each at the time it happened, with the sound."""
    with Bag(bag) as opened:
        topics = {end: name for name in opened.topics for end in (CAMERA, AVATAR, "/audio") if name.endswith(end)}
        seen = [_ns(m.message.header.stamp) for m in opened.messages([topics[CAMERA]])] if CAMERA in topics else []
        if not seen:
            raise DemoError("the bag holds no image of the human: the camera gave none")
        times = seen[0] + np.arange((seen[-1] - seen[0]) // FRAME_NS + 1) * FRAME_NS
        timeline = Timeline(times, np.arange(len(times)), ((0, len(times)),))
        # The human at the time of the sensor, the avatar at the time its picture came: the film shows the true delay.
        write_film(
            path, times, Pictures(opened, topics[CAMERA]).at,
            Pictures(opened, topics.get(AVATAR, ""), by_arrival=True).at,
            read_sound(opened, topics.get("/audio", ""), timeline),
            lambda done, total: progress("the film is made", done, total),
        )  # fmt: skip


def read_facts(bag: Path, filmed: bool, generator: str, runner: Runner | None) -> SessionFacts:
    """What the page says, from the bag."""
    features = [r.message for r in read_bag(bag, "/speaker/features")]
    shapes = {r.message.lineage.frame: r.message for r in read_bag(bag, "/avatar/blendshapes")}
    models = {r.message.lineage.frame: r.message for r in read_bag(bag, "/avatar/face_model")}
    statuses = [(r.time_ns, r.message) for r in read_bag(bag, "/avatar/status")]
    if not features or not shapes:
        raise DemoError(f"bag {bag} holds no face: was a node missing?")
    zero = _ns(features[0].header.stamp)
    shown = sorted((_ns(m.header.stamp), frame) for frame, m in shapes.items() if _ns(m.header.stamp) >= zero)
    watched = [(a, s) for a, s in statuses if zero <= a <= _ns(features[-1].header.stamp)]
    seen = [m for m in features if m.face_state >= 2]

    def seconds(stamps) -> np.ndarray:
        return np.array([(s - zero) / 1e9 for s in stamps])

    notices = [n for n in dict.fromkeys(s.notice for _, s in statuses) if n]
    rows = [("generator", f"{generator}, seed {statuses[-1][1].lineage.seed}"), ("machine", describe_machine())]
    if runner is not None:
        restarts = {name: child.restarts for name, child in runner.children.items() if child.restarts}
        rows.append(("processes", ", ".join(runner.children) + (f"; started again: {restarts}" if restarts else "")))
    return SessionFacts(
        title="react_ros: a face that listens",
        human=FaceTrack(
            seconds(_ns(m.header.stamp) for m in seen),
            np.array([np.asarray(m.blendshapes)[SMILES].mean() for m in seen]),
            np.array([m.rotation for m in seen]),
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
    )


def _ns(stamp) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec
