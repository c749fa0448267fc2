"""The perception node: images and audio of one human to `speaker/features`, 25 times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import SOUND_LAG_MAX_NS, ClockConfig
from react_ros.messages.stamp_source import STAMPS
from react_ros.messages.stamps import StampLimits, nanoseconds
from react_ros.messages.types import AUDIO_INFO, AUDIO_TYPES, IMAGE_TYPES, OUR_AUDIO
from react_ros.msg import SpeakerFeatures
from react_ros.nodes.base import DURABLE_QOS, LATCHED_QOS, OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.health import Source
from react_ros.nodes.image_rate import ImageRate
from react_ros.nodes.messages import FACTORY, message_class
from react_ros.nodes.topic_input import (
    FOLLOW_S,
    SOUND_DEPTH,
    ImageInput,
    TopicInput,
    audio_info_topic,
    serialized_stamp,
)
from react_ros.perception.front_end import Perceived, SensorFrontEnd
from react_ros.perception.hearing import Hearing
from react_ros.perception.pipeline import Perception, PerceptionConfig


class PerceptionNode(RobotNode):
    """Subscribes to `audio` and `image_raw` (or `image_raw/compressed`), publishes `speaker/features`.

    Where `image_raw` is remapped, so is its compressed form; where `audio` is, `audio_info` lies beside it.
    """

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
        Parameter("stamps", "auto", "which times images and audio have: sensor: those of their stamps; arrival; auto: "
                  "the stamps, unless they are 0 or of another clock", choices=STAMPS),
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
        self._hearing = Hearing(clock)
        self._front_end = SensorFrontEnd(
            self._perception, clock, self._limits({}), self._hearing.frame, stamps=self.value("stamps")
        )
        if not embedding:
            self.facts["speech embedding"] = "none: no wav2vec 2.0 weights given"
        self._features = self.create_lifecycle_publisher(SpeakerFeatures, "speaker/features", DURABLE_QOS)
        self._seeing = self.add_source("images", "image_raw", "it sees nothing: ")
        self._listening = self.add_source("sound messages", "audio", "it hears nothing: ")
        self._images = ImageInput(self, self._on_image)
        self._images.superseded = self._on_superseded
        self._image_rate = ImageRate()
        audio = self.resolve_topic_name("audio")
        self._audio = TopicInput(self, audio, AUDIO_TYPES, self._on_audio, depth=SOUND_DEPTH)
        self._info_topic = ""
        self.create_timer(0.01, self._advance)
        self.create_timer(FOLLOW_S, self._follow_publishers)

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
        self._image_rate.add(nanoseconds(message.header.stamp), self._now(), len(message.data))
        self._push(topic, self._seeing, lambda now: self._front_end.push_image(message, now))

    def _on_superseded(self, data: bytes) -> None:
        self._image_rate.add(serialized_stamp(data), self._now(), len(data))
        self.counts["superseded images"] += self.active

    def _on_audio(self, kind: str, message: Any) -> None:
        self._push("audio", self._listening, lambda now: self._front_end.push_audio(message, kind == OUR_AUDIO, now))

    def _take_sound(self) -> None:
        """Take the sound that has arrived but whose callback is still to come: a frame that is due must not be emitted
        without it, also when there is more to do than time (the face then becomes slow, but the sound stays whole)."""
        self._audio.take_waiting()

    def _push(self, topic: str, source: Source, push: Callable[[int], list[Perceived]]) -> None:
        if not self.active:
            return
        try:
            perceived = push(self._now())
        except ValueError as error:
            self.reject(topic, str(error))
            return
        source.arrived(time.monotonic())
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

    def _follow_publishers(self) -> None:
        """Subscribe to what is actually published."""
        self._images.follow()
        self._audio.follow()
        kind = self._audio.kind
        # AudioStamped (mgonzs13) contains its AudioInfo.
        if kind not in ("", OUR_AUDIO) and not kind.endswith("AudioStamped") and not self._info_topic:
            self._subscribe_info()
        for name, used, usual in (("image_raw", self._images.kind, IMAGE_TYPES[0]), ("audio", kind, AUDIO_TYPES[0])):
            if used not in ("", usual):
                self.facts[f"type of {name}"] = used

    def _subscribe_info(self) -> None:
        self._info_topic = audio_info_topic(self)
        cls = message_class(AUDIO_INFO)
        self.create_subscription(cls, self._info_topic, self._on_audio_info, OUTPUT_QOS)
        # audio_capture of ros-drivers publishes it once, latched.
        self.create_subscription(cls, self._info_topic, self._on_audio_info, LATCHED_QOS)

    # Output

    def _publish_features(self, perceived: list[Perceived]) -> None:
        for p in perceived:
            self._features.publish(FACTORY.speaker(p.frame, p.stages, p.source_ns, self.value("landmarks"), p.frame_id))
            self.counts["frames"] += 1
            self.facts["face"] = p.frame.face.state.name.lower()
            self.facts["sound"] = p.frame.sound.state.name.lower()

    def diagnose(self) -> None:
        if not self.active:
            return
        for name, count in asdict(self._front_end.clock.counters).items():
            self.counts[name] = count
        now, front_end = self._now(), self._front_end
        self.facts["image stamps"] = front_end.image_stamps.used
        self.facts["audio stamps"] = front_end.sound_stamps.used
        self.facts["images per second"] = self._image_rate.text(now)
        lag = front_end.clock.lag
        self.facts["sound lag"] = f"{lag.ns / 1e6:.0f} ms"
        self.facts["age of arriving sound"] = f"{lag.age_ns / 1e6:.0f} ms"
        troubles = (
            front_end.image_stamps.trouble(now),
            front_end.sound_stamps.trouble(now),
            self._audio.uninstalled,
            self._image_rate.trouble(self._images, now),
            self._hearing.unusable(),
        )
        self.warning = "; ".join(filter(None, troubles))

    def present(self) -> str:
        return f"face {self.facts.get('face', 'missing')}, sound {self.facts.get('sound', 'missing')}"

    def described(self) -> str:
        model, embedding = self.value("model") or "from the cache", self.value("wav2vec2") or "none"
        faces = f"at most {self.value('max_faces')} faces"
        return f"face landmarker {model}, {faces}, speech embedding {embedding}, device cpu"


def main() -> None:
    raise SystemExit(run(PerceptionNode))


if __name__ == "__main__":
    main()
