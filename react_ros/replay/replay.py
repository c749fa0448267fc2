"""Listens to a recorded session again: without ROS, faster than real time, the same bytes every time.

The perception and the generator are the robot's own code. Time is the bag's: nothing here reads a clock, but to say at
the end what took how long.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.inputs import find_inputs, namespace_of
from react_ros.bags.reader import Bag
from react_ros.bags.streams import ListenerSettings
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import BagWriter, Storage
from react_ros.face import Reaction
from react_ros.generators.stream_settings import parameters_text
from react_ros.messages.types import FEATURES_TYPE, REACTION_TYPE, STREAM_TYPE
from react_ros.replay.listeners import Comparison, Listeners, ReplayRequest
from react_ros.replay.speaker_frames import BagFrame, Progress, UnusableData, heard_frames

FLUSHED_FRAMES = 250
"""How often a replay brings its bag to the disk: by frames, so that the same bag gives the same chunks."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay did."""

    frames: int = 0
    reactions: int = 0
    seconds: float = 0.0
    """Of the recording, from its first message to its last."""
    took: float = 0.0
    """s of this machine."""
    perceiving: float = 0.0
    """s of it for camera and microphone; 0 from features."""
    comparison: Comparison = field(default_factory=Comparison)
    notices: list[str] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Times real time."""
        return self.seconds / self.took if self.took else float("inf")


def replay(
    path: Path,
    out: Path,
    wanted: ReplayRequest | None = None,
    *,
    source: Literal["auto", "features", "raw"] = "auto",
    features: str = "",
    image: str = "",
    audio: str = "",
    storage: Storage = "mcap",
    progress: Progress = lambda done, total: None,
) -> ReplayReport:
    """Listen to a bag again, into a new bag: speaker/features, listener/stream, listener/reaction and a manifest.

    The same bag, parameters, seed and machine give the same bytes. Raises BagError, ValueError or FileNotFoundError,
    in one sentence.
    """
    wanted = wanted or ReplayRequest()
    began = time.perf_counter()
    report, losses = ReplayReport(), UnusableData()
    with Bag(path) as bag:
        inputs = find_inputs(bag, source, features=features, image=image, audio=audio)
        listeners = Listeners(bag, wanted, inputs)
        one_thread()
        frames = heard_frames(bag, inputs, losses, progress)
        before = time.perf_counter()
        heard = next(frames, None)
        if heard is None:
            why = "; ".join([*losses.sentences(), *bag.notices]) or "nothing that a frame could be made of"
            raise BagError(f"bag {path} has no frame to listen to: {why}")
        writer = BagWriter(out, storage)
        space = namespace_of(inputs.features or inputs.image or inputs.audio)
        names = [f"{space}/{end}" for end in ("speaker/features", "listener/stream", "listener/reaction")]
        streams: list[dict[str, Any]] = []
        try:
            while heard is not None:
                report.perceiving += time.perf_counter() - before
                report.frames += 1
                if report.frames % FLUSHED_FRAMES == 0:
                    writer.flush()
                writer.write(names[0], FEATURES_TYPE, heard.time_ns, heard.data or serialise(heard.message))
                listening, answer = listeners.step(heard)
                if listening is not None:
                    message = _stream_message(listening, listeners, heard)
                    writer.write(names[1], STREAM_TYPE, heard.time_ns, serialise(message))
                    streams.append(manifest.of_stream(message))
                if answer is not None:
                    message = _reaction_message(*answer, listeners)
                    writer.write(names[2], REACTION_TYPE, heard.time_ns, serialise(message))
                    report.reactions += 1
                before = time.perf_counter()
                heard = next(frames, None)
            writer.close()
        finally:
            with suppress(BagError):
                writer.close()
        report.notices = [*bag.notices, *listeners.sentences(), *losses.sentences()]
        report.seconds, report.comparison = bag.seconds, listeners.comparison
        if not inputs.raw:
            report.perceiving = 0.0
        # No time of day and no duration: the folder, too, is the same the next time.
        told = manifest.begin(
            recorded="replay", of=str(path), source="raw" if inputs.raw else "features",
            of_manifest=manifest.read_manifest(path) or None, start=manifest.moment(bag.start_ns),
            end=manifest.moment(bag.end_ns), namespace=space + "/", storage=storage, streams=streams,
            topics=dict(sorted(writer.counts.items())), notices=report.notices,
        )  # fmt: skip
        del told["command"]  # it names the folder
        manifest.write_manifest(out, told)
    report.took = time.perf_counter() - began
    return report


def one_thread() -> None:
    """Once a generator is loaded: the robot's processes have one thread each, and a matrix product may round otherwise
    with two."""
    import sys

    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _stream_message(listening: ListenerSettings, listeners: Listeners, heard: BagFrame) -> Any:
    from react_ros.package import code_version

    generator = listeners.generator
    return new_message(
        STREAM_TYPE, header=heard.message.header, first_frame=listening.first_frame, generator=generator.info.name,
        parameters=parameters_text(generator), weights=generator.info.weights, seed=listening.seed,
        samples=listening.samples, delay=listening.delay, schedule=listeners.schedule, notice=generator.info.notice,
        code=code_version(),
    )  # fmt: skip


def _reaction_message(reaction: Reaction, source_ns: int, listeners: Listeners) -> Any:
    info, listening = listeners.generator.info, listeners.listening
    lineage = new_message(
        "react_ros/msg/Lineage", frame=reaction.index, source_stamp=FACTORY.time(source_ns), generator=info.name,
        seed=listening.seed,
    )  # fmt: skip
    return FACTORY.reaction(reaction, lineage, info.delay_frames + listening.delay, info.notice)
