"""Replays a recorded session: perception and listener run on a bag without ROS, faster than real time, reproducibly.

Perception and generators are the code of the live nodes. All times are the bag's; the machine's clock is read only to
report how long the replay took.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from react_ros.bags import manifest
from react_ros.bags.audio_format import AudioFormat
from react_ros.bags.errors import BagError
from react_ros.bags.person_topics import find_person
from react_ros.bags.reader import Bag
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import BagWriter, Storage
from react_ros.face import Reaction
from react_ros.generators.stream_settings import parameters_text
from react_ros.messages.listener_stream import ListenerSettings
from react_ros.messages.namespace import join_namespace, namespace_of
from react_ros.messages.types import FEATURES_TYPE, LINEAGE_TYPE, REACTION_TYPE, STREAM_TYPE
from react_ros.package import code_version
from react_ros.replay.listeners import Comparison, ReplayListeners, ReplayRequest
from react_ros.replay.speaker_frames import BagFrame, Progress, UnusableData, bag_frames

FLUSH_FRAMES = 250
"""Frames between two flushes of the new bag. Counted in frames, so that equal replays write equal chunks."""


@dataclass(slots=True)
class ReplayReport:
    """The results of a replay."""

    frames: int = 0
    reactions: int = 0
    seconds: float = 0.0
    """Length of the recording, from its first message to its last."""
    took: float = 0.0
    """Duration of the replay, s."""
    perceiving: float = 0.0
    """The part of it spent on perceiving camera and microphone, s; 0 from recorded features."""
    comparison: Comparison = field(default_factory=Comparison)
    notices: list[str] = field(default_factory=list)
    """For users, one sentence each."""
    lost: list[str] = field(default_factory=list)
    """Sensors of which most could not be used, one sentence each; the replay is then no success."""

    @property
    def speed(self) -> float:
        """Real-time factor."""
        return self.seconds / self.took if self.took else float("inf")


def replay(
    path: Path,
    out: Path,
    request: ReplayRequest | None = None,
    *,
    source: Literal["auto", "features", "raw"] = "auto",
    features: str = "",
    image: str = "",
    audio: str = "",
    audio_format: AudioFormat | None = None,
    storage: Storage = "mcap",
    progress: Progress = lambda done, total: None,
) -> ReplayReport:
    """Replay a bag into a new bag: speaker/features, listener/stream, listener/reaction and a manifest.

    The same bag, request and machine give the same bytes. source: auto takes recorded features if there are any, else
    raw sensors; features, image, audio name topics where there are several. audio_format: of ros-drivers' audio
    without an AudioInfo. progress: called with (ns done, ns in total). Raises BagError, ValueError or
    FileNotFoundError, with one sentence.
    """
    start = time.perf_counter()
    report, losses = ReplayReport(), UnusableData()
    with Bag(path) as bag:
        speaker = find_person(bag, source, features=features, image=image, audio=audio, audio_format=audio_format)
        listeners = ReplayListeners(bag, request or ReplayRequest(), speaker)
        use_one_torch_thread()
        frames = bag_frames(bag, speaker, losses, progress)
        before = time.perf_counter()
        bag_frame = next(frames, None)
        if bag_frame is None:
            reasons = "; ".join([*losses.sentences(), *bag.notices]) or "no message gives a frame"
            raise BagError(f"bag {path} has no frame to listen to: {reasons}")
        writer = BagWriter(out, storage)
        namespace = namespace_of(speaker.first)
        features_topic, stream_topic, reaction_topic = (
            join_namespace(namespace, name) for name in ("speaker/features", "listener/stream", "listener/reaction")
        )
        streams: list[dict[str, Any]] = []
        try:
            while bag_frame is not None:
                report.perceiving += time.perf_counter() - before
                report.frames += 1
                if report.frames % FLUSH_FRAMES == 0:
                    writer.flush()
                writer.write(
                    features_topic, FEATURES_TYPE, bag_frame.time_ns, bag_frame.data or serialise(bag_frame.message)
                )
                begun, answer = listeners.step(bag_frame)
                if begun is not None:
                    message = _stream_message(begun, listeners, bag_frame)
                    writer.write(stream_topic, STREAM_TYPE, bag_frame.time_ns, serialise(message))
                    streams.append(manifest.of_stream(message))
                if answer is not None:
                    message = _reaction_message(*answer, listeners)
                    writer.write(reaction_topic, REACTION_TYPE, bag_frame.time_ns, serialise(message))
                    report.reactions += 1
                before = time.perf_counter()
                bag_frame = next(frames, None)
            writer.close()
        finally:
            with suppress(BagError):
                writer.close()
        report.notices = [*bag.notices, *listeners.sentences(), *losses.sentences()]
        report.lost = losses.lost
        report.seconds, report.comparison = bag.seconds, listeners.comparison
        if not speaker.raw:
            report.perceiving = 0.0
        # Without the time of day and durations, so that equal replays write equal manifests.
        entries = manifest.begin(
            recorded="replay", of=str(path), source="raw" if speaker.raw else "features",
            of_manifest=manifest.read_manifest(path) or None, start=manifest.moment(bag.start_ns),
            end=manifest.moment(bag.end_ns), namespace=namespace, storage=storage, streams=streams,
            topics=dict(sorted(writer.counts.items())), notices=[*report.lost, *report.notices],
        )  # fmt: skip
        del entries["command"]  # it names the output folder
        manifest.write_manifest(out, entries)
    report.took = time.perf_counter() - start
    return report


def use_one_torch_thread() -> None:
    """Let torch, if a generator has imported it, use one thread, as the robot's processes do.

    With more threads, matrix products may round differently.
    """
    import sys

    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _stream_message(settings: ListenerSettings, listeners: ReplayListeners, bag_frame: BagFrame) -> Any:
    generator = listeners.generator
    return new_message(
        STREAM_TYPE, header=bag_frame.message.header, first_frame=settings.first_frame, generator=generator.info.name,
        parameters=parameters_text(generator), weights=generator.info.weights, seed=settings.seed,
        samples=settings.samples, delay=settings.delay, schedule=listeners.schedule, notice=generator.info.notice,
        code=code_version(),
    )  # fmt: skip


def _reaction_message(reaction: Reaction, source_ns: int, listeners: ReplayListeners) -> Any:
    info, settings = listeners.generator.info, listeners.settings
    lineage = new_message(
        LINEAGE_TYPE, frame=reaction.index, source_stamp=FACTORY.time(source_ns), generator=info.name,
        seed=settings.seed,
    )  # fmt: skip
    return FACTORY.reaction(reaction, lineage, info.delay_frames + settings.delay, info.notice)
