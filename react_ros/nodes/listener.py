"""The listener node: each `speaker/features` is answered with a `listener/reaction` by the generator of choice."""

from __future__ import annotations

import threading
import traceback
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy

from react_ros.config import DEVICES
from react_ros.face import Reaction
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.generators.stream_settings import MAX_DELAY, Delay, delay_frames, parameters_from, parameters_text
from react_ros.messages.features import frame_from_message
from react_ros.messages.stamps import StampLimits, Stopwatch, nanoseconds
from react_ros.msg import Lineage, ListenerStream, SpeakerFeatures
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.base import KEPT_QOS, LATCHED_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import FACTORY
from react_ros.package import code_version

FEATURES_QOS = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
"""Two seconds: while another thread imports a learned system's library, nothing else runs for up to half a second."""


class ListenerNode(RobotNode):
    """Steps one stream of a generator: frame k in, reaction k out; its plans are made beside the clock."""

    NAME = "listener"
    PARAMETERS = (
        Parameter("generator", registry.DEFAULT, "which system listens: see `react-ros generators`", live=True),
        Parameter("generator_parameters", "", "further parameters of the generator, as YAML: {expressiveness: 0.8}",
                  live=True),
        Parameter("seed", 0, "seed of the stream: the same seed and input give the same face", 0, 2**31 - 1, live=True),
        Parameter("samples", 1, "how many listeners are drawn at once", 1, 100, live=True),
        Parameter("temperature", 1.0, "how freely the generator draws, where it has such a parameter", 0.0, 10.0,
                  live=True),
        Parameter("device", "auto", "where a learned generator runs", choices=DEVICES),
        Parameter("delay", 0.0, "deliberate delay of every reaction, for experiments, s", 0.0, MAX_DELAY, live=True),
        Parameter("delay_spread", 0.0, "standard deviation of that delay, drawn once per stream from its seed, s",
                  0.0, MAX_DELAY, live=True),
        Parameter("max_stamp_age", 5.0, "a frame whose stamp is older is dropped, s", 0.1, 1e9, live=True),
        Parameter("max_stamp_ahead", 0.5, "a frame whose stamp lies further in the future is dropped, s", 0.0, 1e9,
                  live=True),
    )  # fmt: skip

    LIVE = ("generator", "generator_parameters", "seed", "samples", "temperature", "delay", "delay_spread",
            "max_stamp_age", "max_stamp_ahead")  # fmt: skip
    SYSTEM = ("generator", "generator_parameters", "temperature")
    """Those that make another generator; the others only begin another stream of it."""

    def configure(self) -> None:
        self._wanted = {name: self.value(name) for name in self.LIVE}
        self._code = code_version()
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: tuple[dict[str, Any], Generator] | None = None
        self._coming: tuple[Generator, Stream, dict[str, Any]] | None = None
        self._heard: int | None = None
        self._refusal = ""
        """Why the system that was last asked for does not listen."""
        try:
            self._begin(*self._prepare(self._wanted), self._wanted)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"listener: {str(error).rstrip('.')}.") from None
        self._reactions = self.create_lifecycle_publisher(ReactionMessage, "listener/reaction", KEPT_QOS)
        self._streams = self.create_lifecycle_publisher(ListenerStream, "listener/stream", LATCHED_QOS)
        self.create_subscription(SpeakerFeatures, "speaker/features", self._on_features, FEATURES_QOS)

    def activate(self) -> None:
        self._waiting.clear()
        self._heard = None

    def _load(self, wanted: dict[str, Any]) -> Generator:
        name, parameters = wanted["generator"], parameters_from(wanted["generator_parameters"])
        known = registry.parameters(name)
        shared = {"temperature": wanted["temperature"], "device": self.value("device")}
        return registry.create(name, **{k: v for k, v in shared.items() if k in known} | parameters)

    def _prepare(self, wanted: dict[str, Any]) -> tuple[Generator, Stream]:
        """All that may take long: weights are read only where the system changes, or its parameters."""
        system = {name: wanted[name] for name in self.SYSTEM}
        if self._loaded is None or self._loaded[0] != system:
            self._loaded = system, self._load(wanted)
        generator = self._loaded[1]
        stream = generator.start(samples=wanted["samples"], seed=wanted["seed"])
        stream.run_asynchronously()
        return generator, stream

    def _begin(self, generator: Generator, stream: Stream, wanted: dict[str, Any]) -> None:
        seed = wanted["seed"]
        self._stream = stream
        self._late_before = self.counts["late plans"]
        self._generator = generator
        self._seed = seed
        self._announced = False
        self._delay = delay_frames(wanted["delay"], wanted["delay_spread"], seed)
        self._waiting: Delay[tuple[Reaction, Lineage]] = Delay(self._delay)
        self._limits = StampLimits(wanted["max_stamp_age"], wanted["max_stamp_ahead"])
        info = generator.info
        self.facts |= {
            "generator": info.name,
            "seed": str(seed),
            "samples": str(wanted["samples"]),
            "schedule": stream.schedule,
            "generator's delay": f"{info.delay_frames} frames",
            "deliberate delay": f"{self._delay} frames",
            "notice": info.notice,
        }

    def changed(self, values: dict[str, Any]) -> None:
        wanted = self._wanted | values
        if wanted["generator"] not in registry.names():
            registry.info(wanted["generator"])  # raises the sentence that lists the names
        if wanted["generator_parameters"] != self._wanted["generator_parameters"]:
            parameters_from(wanted["generator_parameters"])
            info = self._generator.info
            if wanted["generator"] == info.name and not info.learned:
                self._load(wanted)  # in no time; others would hold up the clock, and are told of once they load
        self._wanted = wanted
        threading.Thread(target=self._prepare_beside, args=(wanted,), name="loader", daemon=True).start()

    def _prepare_beside(self, wanted: dict[str, Any]) -> None:
        # A learned system may take seconds to load: the present one goes on listening until it is there.
        with self._loading:
            if wanted is not self._wanted:
                return  # something else has been asked for meanwhile
            try:
                generator, stream = self._prepare(wanted)
            except Exception as error:
                known = isinstance(error, (ValueError, OSError))
                self._refusal = str(error) if known else f"{wanted['generator']} cannot be loaded: {error!r}"
                self.warning = self._refusal
                reason = self._refusal if known else traceback.format_exc()
                self.get_logger().error(f"{reason}; {self._generator.info.name} goes on")
                return
            with self._lock:
                if wanted is self._wanted:
                    self._coming = generator, stream, wanted

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
        with self._lock:
            coming, self._coming = self._coming, None
        if coming is not None:
            self._begin(*coming)
            self._refusal = ""
        if self._heard is not None and frame.index > self._heard + 1:
            self.counts["frames that never came"] += frame.index - self._heard - 1
        self._heard = frame.index
        if not self._announced:
            self._announce(message)
        reaction = self._stream.step(frame)
        if late := self._stream.late_chunks:
            self.counts["late plans"] = self._late_before + late
        self.warning = self._refusal or self._stream.warning
        lineage = FACTORY.continued(message.lineage, {"listener": watch.read()}, self._generator.info.name, self._seed)
        info = self._generator.info
        self._reactions.publish(
            FACTORY.reaction(*self._waiting.step((reaction, lineage)), info.delay_frames + self._delay, info.notice)
        )
        self.counts["reactions"] += 1

    def _announce(self, message: SpeakerFeatures) -> None:
        """Say who answers from this frame on: a replay needs all of it."""
        info = self._generator.info
        told = ListenerStream(
            first_frame=message.lineage.frame, generator=info.name, weights=info.weights, seed=self._seed,
            parameters=parameters_text(self._generator), samples=self._stream.samples, delay=self._delay,
            schedule=self._stream.schedule, notice=info.notice, code=self._code,
        )  # fmt: skip
        told.header.stamp = message.header.stamp
        self._streams.publish(told)
        self._announced = True


def main() -> None:
    raise SystemExit(run(ListenerNode))


if __name__ == "__main__":
    main()
