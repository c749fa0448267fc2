"""The perception node: images and sound of one human become `speaker/features`, 25 times a second."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from react_ros.clock import ClockConfig, ClockFrame, FrameClock
from react_ros.msg import AudioChunk, SpeakerFeatures
from react_ros.nodes.base import OUTPUT_QOS, SENSOR_QOS, SOUND_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import (
    Chunk,
    ForeignAudio,
    StampLimits,
    chunk_from_message,
    image_from_message,
    nanoseconds,
    speaker_message,
)
from react_ros.perception.pipeline import Perception, PerceptionConfig

FOREIGN_AUDIO = {
    "audio_common_msgs/msg/AudioData": "AudioData",
    "audio_common_msgs/msg/AudioDataStamped": "AudioDataStamped",
    "audio_common_msgs/msg/AudioStamped": "AudioStamped",
}
"""Sound of other drivers, subscribed to where that package is installed and somebody publishes it."""


class PerceptionNode(RobotNode):
    """Hears `audio` and sees `image_raw` (or `image_raw/compressed`), publishes `speaker/features`."""

    NAME = "perception"
    PARAMETERS = (
        Parameter("model", "", "path of face_landmarker.task; empty: the one that `react-ros assets fetch` brought"),
        Parameter("max_faces", 4, "faces looked for in an image, one of which is listened to", 1, 16),
        Parameter("landmarks", False, "publish the 478 landmarks with the features"),
        Parameter("wav2vec2", "", "path of wav2vec 2.0 base weights (.pt or .safetensors); empty: no speech embedding"),
        Parameter("sound_lag", 0.04, "how far the sound of a frame lies behind its image, s", 0.0, 1.0),
        Parameter("stale_after", 0.5, "a sensor silent for so long is stale, s", 0.1, 10.0),
        Parameter("max_stamp_age", 5.0, "a message whose stamp is older is dropped, s", 0.1, 1e9, live=True),
        Parameter("max_stamp_ahead", 0.5, "a message whose stamp lies further in the future is dropped, s", 0.0, 1e9,
                  live=True),
    )  # fmt: skip

    def configure(self) -> None:
        self.changed({name: self.value(name) for name in ("max_stamp_age", "max_stamp_ahead")})
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
            self._frame_clock = FrameClock(
                ClockConfig(
                    sound_lag_ns=round(self.value("sound_lag") * 1e9), stale_ns=round(self.value("stale_after") * 1e9)
                )
            )
        except (FileNotFoundError, ValueError) as error:
            raise ConfigurationError(f"perception: {str(error).rstrip('.')}.") from None
        if not embedding:
            self.facts["speech embedding"] = "none: no wav2vec 2.0 weights were given"
        self._features = self.create_lifecycle_publisher(SpeakerFeatures, "speaker/features", OUTPUT_QOS)
        self._foreign = ForeignAudio()
        self._image_inputs = {
            "image_raw": self.create_subscription(Image, "image_raw", partial(self._on_image, "image_raw"), SENSOR_QOS),
        }
        self._audio_input = self.create_subscription(AudioChunk, "audio", self._on_chunk, SOUND_QOS)
        self.create_timer(0.01, self._advance)
        self.create_timer(0.5, self._look_for_other_drivers)
        self._replaced: set[tuple[str, str]] = set()

    def changed(self, values: dict[str, Any]) -> None:
        current = {name: self.value(name) for name in ("max_stamp_age", "max_stamp_ahead")} | values
        self._limits = StampLimits(current["max_stamp_age"], current["max_stamp_ahead"])

    def cleanup(self) -> None:
        if perception := getattr(self, "_perception", None):
            perception.close()
            self._perception = None

    # Input

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_image(self, topic: str, message: Image | CompressedImage) -> None:
        if not self.active:
            return
        now, stamp = self._now(), nanoseconds(message.header.stamp)
        try:
            self._limits.check(stamp, now)
            image = image_from_message(message)
        except ValueError as error:
            self.reject(topic, str(error))
            return
        # How long the image was under way travels with it, for the lineage.
        self._answer(self._frame_clock.push_image(stamp, (image, (stamp, (now - stamp) / 1e9)), now))

    def _on_chunk(self, message: AudioChunk) -> None:
        self._hear(message, nanoseconds(message.header.stamp), chunk_from_message)

    def _on_foreign(self, message: Any) -> None:
        stamp = nanoseconds(message.header.stamp) if hasattr(message, "header") else None
        self._hear(message, stamp, self._foreign.chunk)

    def _hear(self, message: Any, stamp: int | None, read: Any) -> None:
        if not self.active:
            return
        now = self._now()
        try:
            chunk: Chunk = read(message if hasattr(message, "header") else _Wrapped(message))
            if stamp is None:  # a message without a stamp was captured its own length ago, at the latest
                stamp = now - round(len(chunk.samples) / chunk.rate * 1e9)
            self._limits.check(stamp, now)
        except ValueError as error:
            self.reject("audio", str(error))
            return
        first = chunk.first_sample if read is chunk_from_message else None
        self._answer(self._frame_clock.push_sound(stamp, chunk.samples, chunk.rate, first, now))

    def _on_audio_info(self, message: Any) -> None:
        try:
            self._foreign.info(message)
        except ValueError as error:
            self.reject("audio_info", str(error))

    def _advance(self) -> None:
        if self.active:
            self._answer(self._frame_clock.advance(self._now()))

    def _look_for_other_drivers(self) -> None:
        """Subscribe to whichever of the known types somebody publishes: it is not ours to choose."""
        compressed = "image_raw/compressed"
        if compressed not in self._image_inputs and not self.count_publishers("image_raw"):
            kinds = {p.topic_type for p in self.get_publishers_info_by_topic(compressed)}
            if "sensor_msgs/msg/CompressedImage" in kinds:
                self._image_inputs[compressed] = self.create_subscription(
                    CompressedImage, compressed, partial(self._on_image, compressed), SENSOR_QOS
                )
        for topic, message_type, callback in (
            ("image_raw", "sensor_msgs/msg/CompressedImage", partial(self._on_image, "image_raw")),
            *(("audio", kind, self._on_foreign) for kind in FOREIGN_AUDIO),
        ):
            kinds = {p.topic_type for p in self.get_publishers_info_by_topic(topic)}
            if kinds != {message_type} or (topic, message_type) in self._replaced:
                continue
            self._replaced.add((topic, message_type))
            try:
                package, name = message_type.split("/msg/")
                cls = getattr(import_module(f"{package}.msg"), name)
            except (ImportError, AttributeError):
                self.warning = f"{topic} carries {message_type}, which is not installed here"
                continue
            if topic == "audio":
                self.destroy_subscription(self._audio_input)
                self._audio_input = self.create_subscription(cls, topic, callback, SOUND_QOS)
                if name != "AudioStamped":  # the other package carries its AudioInfo within each chunk
                    info = import_module("audio_common_msgs.msg").AudioInfo
                    self._info_input = self.create_subscription(info, "audio_info", self._on_audio_info, OUTPUT_QOS)
            else:
                self.destroy_subscription(self._image_inputs[topic])
                self._image_inputs[topic] = self.create_subscription(cls, topic, callback, SENSOR_QOS)
            self.facts[f"type of {topic}"] = message_type

    # Output

    def _answer(self, frames: list[ClockFrame]) -> None:
        for frame in frames:
            arrival = None
            if frame.image is not None:
                frame.image, arrival = frame.image
            assert self._perception is not None
            speaker, stages = self._perception.process(frame)
            source = frame.stamp_ns
            if frame.image_new and arrival is not None:
                source, under_way = arrival
                stages = {"image": (source, under_way), **stages}
            self._features.publish(speaker_message(speaker, stages, source, self.value("landmarks")))
            self.counts["frames"] += 1
            self.facts["face"] = speaker.face.state.name.lower()
            self.facts["sound"] = speaker.sound.state.name.lower()

    def diagnose(self) -> None:
        if not self.active:
            return
        for name, count in asdict(self._frame_clock.counters).items():
            self.counts[name] = count
        face = self.facts.get("face", "missing")
        self.warning = "no images come in" if face == "missing" and self.counts["frames"] else ""


class _Wrapped:
    """AudioData alone, as if it were stamped."""

    def __init__(self, audio: Any) -> None:
        self.audio = audio


def main() -> None:
    raise SystemExit(run(PerceptionNode))


if __name__ == "__main__":
    main()
