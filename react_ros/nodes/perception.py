"""The perception node: images and audio of one human to `speaker/features`, 25 times a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import SOUND_LAG_MAX_NS, ClockConfig
from react_ros.messages.stamps import StampLimits
from react_ros.messages.types import AUDIO_INFO, AUDIO_TYPES, IMAGE_TYPES, OUR_AUDIO
from react_ros.msg import AudioChunk, SpeakerFeatures
from react_ros.nodes.base import (
    DURABLE_QOS,
    LATCHED_QOS,
    OUTPUT_QOS,
    SENSOR_QOS,
    SOUND_QOS,
    ConfigurationError,
    Parameter,
    RobotNode,
    run,
)
from react_ros.nodes.messages import FACTORY, message_class
from react_ros.perception.front_end import Perceived, SensorFrontEnd
from react_ros.perception.hearing import Hearing
from react_ros.perception.pipeline import Perception, PerceptionConfig


class PerceptionNode(RobotNode):
    """Subscribes to `audio` and `image_raw` (or `image_raw/compressed`), publishes `speaker/features`."""

    NAME = "perception"
    PARAMETERS = (
        Parameter("model", "", "path of face_landmarker.task; empty: the file from `react-ros assets fetch`"),
        Parameter("max_faces", 4, "most faces detected in an image; one of them is the speaker", 1, 16),
        Parameter("landmarks", False, "publish the 478 face landmarks, too"),
        Parameter("wav2vec2", "", "path of wav2vec 2.0 base weights (.pt or .safetensors); empty: no speech embedding"),
        Parameter("sound_lag", 0.04, "least lag of a frame's sound behind its image, s", 0.0, 1.0),
        Parameter("sound_lag_max", SOUND_LAG_MAX_NS / 1e9,
                  "where sound arrives later, the lag grows up to this, s; 0: it never changes", 0.0, 1.0),
        Parameter("stale_after", 0.5, "a stream without messages for so long is stale, s", 0.1, 10.0),
        Parameter("max_stamp_age", 5.0, "a message whose stamp is older is dropped, s", 0.1, 1e9, live=True),
        Parameter("max_stamp_ahead", 0.5, "a message whose stamp lies further in the future is dropped, s", 0.0, 1e9,
                  live=True),
    )  # fmt: skip

    def configure(self) -> None:
        model, embedding = self.value("model"), self.value("wav2vec2")
        try:
            self._perception: Perception | None = Perception(
                PerceptionConfig(
                    model=Path(model) if model else None,
                    max_faces=self.value("max_faces"),
                    landmarks=self.value("landmarks"),
                    wav2vec2=Path(embedding) if embedding else None,
                )
            )
            clock = FrameClock(
                ClockConfig(
                    sound_lag_ns=round(self.value("sound_lag") * 1e9),
                    sound_lag_max_ns=round(self.value("sound_lag_max") * 1e9),
                    stale_ns=round(self.value("stale_after") * 1e9),
                )
            )
        except (FileNotFoundError, ValueError) as error:
            raise ConfigurationError(f"perception: {str(error).rstrip('.')}.") from None
        self._heard = Hearing(clock)
        self._front_end = SensorFrontEnd(self._perception, clock, self._limits({}), self._heard.frame)
        if not embedding:
            self.facts["speech embedding"] = "none: no wav2vec 2.0 weights given"
        self._features = self.create_lifecycle_publisher(SpeakerFeatures, "speaker/features", DURABLE_QOS)
        self._types = {"image_raw": "", "audio": ""}
        self._inputs: dict[str, Any] = {}
        self._uninstalled: dict[str, str] = {}
        self._use_type("image_raw", IMAGE_TYPES[0])
        self._use_type("audio", AUDIO_TYPES[0])
        self.create_timer(0.01, self._advance)
        self.create_timer(0.5, self._find_publishers)

    def apply_parameters(self, values: dict[str, Any]) -> None:
        self._front_end.limits = self._limits(values)

    def _limits(self, values: dict[str, Any]) -> StampLimits:
        current = {name: self.value(name) for name in ("max_stamp_age", "max_stamp_ahead")} | values
        return StampLimits(current["max_stamp_age"], current["max_stamp_ahead"])

    def cleanup(self) -> None:
        if perception := getattr(self, "_perception", None):
            perception.close()
            self._perception = None

    # Input

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_image(self, topic: str, message: Image | CompressedImage) -> None:
        self._take_sound()
        self._push(topic, lambda now: self._front_end.push_image(message, now))

    def _on_sound(self, message: Any) -> None:
        self._heard.arrived()
        self._push("audio", lambda now: self._front_end.push_audio(message, isinstance(message, AudioChunk), now))

    def _take_sound(self) -> None:
        """Take the sound that has arrived but whose callback is still to come: a frame that is due must not be emitted
        without it, also when there is more to do than time (the face then becomes slow, but the sound stays whole)."""
        subscription = self._inputs.get("audio")
        while subscription is not None and (taken := subscription.handle.take_message(subscription.msg_type, False)):
            self._on_sound(taken[0])

    def _push(self, topic: str, push: Callable[[int], list[Perceived]]) -> None:
        if not self.active:
            return
        try:
            perceived = push(self._now())
        except ValueError as error:
            self.reject(topic, str(error))
            return
        self._publish_features(perceived)

    def _on_audio_info(self, message: Any) -> None:
        try:
            self._front_end.set_audio_info(message)
        except ValueError as error:
            self.reject("audio_info", str(error))

    def _advance(self) -> None:
        if self.active:
            self._take_sound()
            self._publish_features(self._front_end.advance(self._now()))

    def _find_publishers(self) -> None:
        """Switch subscriptions to the supported message types that are actually published."""
        compressed = "image_raw/compressed"
        if compressed not in self._inputs and not self.count_publishers("image_raw"):
            kinds = {p.topic_type for p in self.get_publishers_info_by_topic(compressed)}
            if kinds == {IMAGE_TYPES[1]}:
                self._subscribe(compressed, CompressedImage, partial(self._on_image, compressed), SENSOR_QOS)
        for topic, known in (("image_raw", IMAGE_TYPES), ("audio", AUDIO_TYPES)):
            kinds = {p.topic_type for p in self.get_publishers_info_by_topic(topic)}
            if len(kinds) == 1 and (kind := kinds.pop()) in known and kind != self._types[topic]:
                self._use_type(topic, kind)

    def _use_type(self, topic: str, kind: str) -> None:
        try:
            cls = message_class(kind)
        except (ImportError, AttributeError):
            self._uninstalled[topic] = f"{topic} carries {kind}, which is not installed here"
            return
        if old := self._inputs.pop(topic, None):
            # One participant cannot have a topic with two types, and the old subscription is destroyed only after this
            # callback: the next call creates the new one.
            self.destroy_subscription(old)
            self._types[topic] = ""
            return
        self._types[topic] = kind
        self._uninstalled.pop(topic, None)
        if topic == "image_raw":
            self._subscribe(topic, cls, partial(self._on_image, topic), SENSOR_QOS)
        else:
            self._subscribe(topic, cls, self._on_sound, SOUND_QOS)
            # AudioStamped (mgonzs13) contains its AudioInfo.
            if kind != OUR_AUDIO and not kind.endswith("AudioStamped") and "audio_info" not in self._inputs:
                info = message_class(AUDIO_INFO)
                self._subscribe("audio_info", info, self._on_audio_info, OUTPUT_QOS)
                # audio_capture of ros-drivers publishes it once, latched.
                self.create_subscription(info, "audio_info", self._on_audio_info, LATCHED_QOS)
        if kind not in (IMAGE_TYPES[0], AUDIO_TYPES[0]):
            self.facts[f"type of {topic}"] = kind

    def _subscribe(self, topic: str, cls: Any, callback: Any, qos: Any) -> None:
        self._inputs[topic] = self.create_subscription(cls, topic, callback, qos)

    # Output

    def _publish_features(self, perceived: list[Perceived]) -> None:
        for p in perceived:
            self._features.publish(FACTORY.speaker(p.frame, p.stages, p.source_ns, self.value("landmarks")))
            self.counts["frames"] += 1
            self.facts["face"] = p.frame.face.state.name.lower()
            self.facts["sound"] = p.frame.sound.state.name.lower()

    def diagnose(self) -> None:
        if not self.active:
            return
        for name, count in asdict(self._front_end.clock.counters).items():
            self.counts[name] = count
        face = self.facts.get("face", "missing")
        missing = "no images arrive" if face == "missing" and self.counts["frames"] else ""
        lag = self._front_end.clock.lag
        self.facts["sound lag"] = f"{lag.ns / 1e6:.0f} ms"
        self.facts["age of arriving sound"] = f"{lag.age_ns / 1e6:.0f} ms"
        deaf = self._heard.missing(self.count_publishers("audio")) or self._heard.unusable()
        self.warning = "; ".join([*self._uninstalled.values(), *(text for text in (missing, deaf) if text)])


def main() -> None:
    raise SystemExit(run(PerceptionNode))


if __name__ == "__main__":
    main()
