"""The listener node: a generator answers each `speaker/features` with a `listener/reaction`."""

from __future__ import annotations

import threading
import time
import traceback
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy

from react_ros.config import DEVICES
from react_ros.face import Reaction
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.generators.liveliness import (
    AS_TRAINED,
    LIVELINESS,
    check_liveliness,
    split_liveliness,
    with_liveliness,
)
from react_ros.generators.stream_settings import MAX_DELAY, Delay, delay_frames, parameters_text
from react_ros.messages.features import frame_from_message
from react_ros.messages.listener_stream import parse_parameters
from react_ros.messages.stamps import StampLimits, Stopwatch, nanoseconds
from react_ros.msg import Lineage, ListenerStream, SpeakerFeatures
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.base import DURABLE_QOS, LATCHED_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import FACTORY
from react_ros.package import code_version

FEATURES_QOS = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
"""Depth: two seconds. While another thread imports torch, callbacks do not run for up to half a second."""


class ListenerNode(RobotNode):
    """Steps one stream of a generator: frame k in, reaction k out. Action chunks are computed in another thread."""

    NAME = "listener"
    PARAMETERS = (
        Parameter("generator", registry.DEFAULT, "listener system, see `react-ros generators`", live=True),
        Parameter("generator_parameters", "", "further parameters of the generator as YAML, e.g. {expressiveness: 0.8}",
                  live=True),
        Parameter("seed", 0, "random seed of the stream: the same seed and input give the same reactions", 0, 2**31 - 1,
                  live=True),
        Parameter("samples", 1, "number of sampled listeners", 1, 100, live=True),
        Parameter("temperature", 1.0, "sampling temperature, of generators that have one", 0.0, 10.0,
                  live=True),
        Parameter("liveliness", AS_TRAINED, "how much the face and head move: 0 still, 1 as the system is, 2 lively",
                  *LIVELINESS, live=True),
        Parameter("device", "auto", "device of a learned generator", choices=DEVICES),
        Parameter("delay", 0.0, "deliberate delay of every reaction, for experiments, s", 0.0, MAX_DELAY, live=True),
        Parameter("delay_spread", 0.0, "standard deviation of that delay, sampled once per stream from its seed, s",
                  0.0, MAX_DELAY, live=True),
        Parameter("max_stamp_age", 5.0, "a frame whose stamp is older is dropped, s", 0.1, 1e9, live=True),
        Parameter("max_stamp_ahead", 0.5, "a frame whose stamp lies further in the future is dropped, s", 0.0, 1e9,
                  live=True),
    )  # fmt: skip

    LIVE = ("generator", "generator_parameters", "seed", "samples", "temperature", "liveliness", "delay",
            "delay_spread", "max_stamp_age", "max_stamp_ahead")  # fmt: skip
    SYSTEM = ("generator", "generator_parameters", "temperature")
    """Parameters that need another generator; the others only start another stream of the same generator."""

    def configure(self) -> None:
        self._requested = {name: self.value(name) for name in self.LIVE}
        self._code = code_version()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: tuple[dict[str, Any], Generator] | None = None
        self._next: tuple[Generator, Stream, dict[str, Any]] | None = None
        self._last_frame: int | None = None
        self._load_error = ""
        """Why the generator requested last could not be loaded; empty if it was."""
        try:
            self._begin(*self._prepare(self._requested), self._requested)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"listener: {str(error).rstrip('.')}.") from None
        self._frames = self.add_source("speaker features", "speaker/features")
        self._reactions = self.create_lifecycle_publisher(ReactionMessage, "listener/reaction", DURABLE_QOS)
        self._streams = self.create_lifecycle_publisher(ListenerStream, "listener/stream", LATCHED_QOS)
        self.create_subscription(SpeakerFeatures, "speaker/features", self._on_features, FEATURES_QOS)

    def activate(self) -> None:
        self._delayed.clear()
        self._last_frame = None

    def _load(self, requested: dict[str, Any]) -> Generator:
        name = requested["generator"]
        parameters, _ = split_liveliness(parse_parameters(requested["generator_parameters"]))
        known = registry.parameters(name)
        shared = {"temperature": requested["temperature"], "device": self.value("device")}
        return registry.create(name, **{k: v for k, v in shared.items() if k in known} | parameters)

    def _prepare(self, requested: dict[str, Any]) -> tuple[Generator, Stream]:
        """Load the generator (only if it or its parameters changed) and start a stream. May take seconds."""
        system = {name: requested[name] for name in self.SYSTEM}
        if self._loaded is None or self._loaded[0] != system:
            self._loaded = system, self._load(requested)
        given = parse_parameters(requested["generator_parameters"])
        generator = with_liveliness(self._loaded[1], given.get("liveliness", requested["liveliness"]))
        stream = generator.start(samples=requested["samples"], seed=requested["seed"])
        stream.run_asynchronously()
        return generator, stream

    def _begin(self, generator: Generator, stream: Stream, requested: dict[str, Any]) -> None:
        seed = requested["seed"]
        self._stream = stream
        self._late_before = self.counts["late chunks"]
        self._generator = generator
        self._seed = seed
        self._announced = False
        self._delay = delay_frames(requested["delay"], requested["delay_spread"], seed)
        self._delayed: Delay[tuple[Reaction, Lineage]] = Delay(self._delay)
        self._limits = StampLimits(requested["max_stamp_age"], requested["max_stamp_ahead"])
        info = generator.info
        self.facts |= {
            "generator": info.name,
            "seed": str(seed),
            "samples": str(requested["samples"]),
            "liveliness": f"{generator.liveliness:g}",
            "schedule": stream.schedule,
            "generator's delay": f"{info.delay_frames} frames",
            "deliberate delay": f"{self._delay} frames",
            "notice": info.notice,
        }

    def apply_parameters(self, values: dict[str, Any]) -> None:
        requested = self._requested | values
        if requested["generator"] not in registry.names():
            registry.info(requested["generator"])  # raises ValueError with the list of names
        if requested["generator_parameters"] != self._requested["generator_parameters"]:
            check_liveliness(split_liveliness(parse_parameters(requested["generator_parameters"]))[1])
            info = self._generator.info
            if requested["generator"] == info.name and not info.learned:
                self._load(requested)  # immediate; learned systems are loaded in a thread, and errors reported then
        self._requested = requested
        threading.Thread(target=self._prepare_in_thread, args=(requested,), name="loader", daemon=True).start()

    def settings_changed(self) -> None:
        """They are kept once they are in effect (`_prepare_in_thread`): what cannot be loaded is not restored."""

    def _prepare_in_thread(self, requested: dict[str, Any]) -> None:
        # A learned system may take seconds to load; until then the current one continues.
        with self._loading:
            if requested is not self._requested:
                return  # superseded by a later request
            try:
                generator, stream = self._prepare(requested)
            except Exception as error:
                known = isinstance(error, (ValueError, OSError))
                self._load_error = str(error) if known else f"{requested['generator']} cannot be loaded: {error!r}"
                self.warning = self._load_error
                reason = self._load_error if known else traceback.format_exc()
                self.get_logger().error(f"{reason}; {self._generator.info.name} continues")
                return
            with self._lock:
                if requested is not self._requested:
                    return
                self._next = generator, stream, requested
            self.keep(requested)

    def _on_features(self, message: SpeakerFeatures) -> None:
        if not self.active:
            return
        watch = Stopwatch()
        try:
            self._limits.check(nanoseconds(message.header.stamp), self.get_clock().now().nanoseconds)
            frame = frame_from_message(message)
        except ValueError as error:
            self.reject("speaker/features", str(error))
            return
        self._frames.arrived(time.monotonic())
        with self._lock:
            next_stream, self._next = self._next, None
        if next_stream is not None:
            self._begin(*next_stream)
            self._load_error = ""
        if self._last_frame is not None and frame.index > self._last_frame + 1:
            self.counts["frames that never came"] += frame.index - self._last_frame - 1
        self._last_frame = frame.index
        if not self._announced:
            self._announce(message)
        reaction = self._stream.step(frame)
        if late := self._stream.late_chunks:
            self.counts["late chunks"] = self._late_before + late
        self.warning = self._load_error or self._stream.warning
        lineage = FACTORY.continued(message.lineage, {"listener": watch.read()}, self._generator.info.name, self._seed)
        info = self._generator.info
        self._reactions.publish(
            FACTORY.reaction(
                *self._delayed.step((reaction, lineage), frame.stamp_ns), info.delay_frames + self._delay, info.notice
            )
        )
        self.counts["reactions"] += 1

    def present(self) -> str:
        return f"{self._generator.info.name} answers"

    def described(self) -> str:
        info = self._generator.info
        parts = [info.name, f"seed {self._seed}", f"samples {self._stream.samples}"]
        if info.learned:
            named = getattr(self._generator.config, "weights", "") or "none"
            digest = f" (SHA-256 {info.weights[:12]})" if info.weights else ""
            parts += [f"weights {named}{digest}", f"device {self.value('device')}"]
        return ", ".join([*parts, f"deliberate delay {self._delay} frames"])

    def _announce(self, message: SpeakerFeatures) -> None:
        """Publish which generator and stream answer from this frame on; a replay needs all of these values."""
        info = self._generator.info
        stream = ListenerStream(
            first_frame=message.lineage.frame, generator=info.name, weights=info.weights, seed=self._seed,
            parameters=parameters_text(self._generator), samples=self._stream.samples, delay=self._delay,
            schedule=self._stream.schedule, notice=info.notice, code=self._code,
        )  # fmt: skip
        stream.header.stamp = message.header.stamp
        self._streams.publish(stream)
        self._announced = True


def main() -> None:
    raise SystemExit(run(ListenerNode))


if __name__ == "__main__":
    main()
