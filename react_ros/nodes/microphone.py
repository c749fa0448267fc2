"""The microphone node: publishes the sound of a device or file on `audio`."""

from __future__ import annotations

import threading
import time
from functools import partial

from react_ros.media.errors import MediaError, sentence
from react_ros.msg import AudioChunk
from react_ros.nodes.base import FILE_PARAMETERS, OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import audio_message
from react_ros.redaction import redact
from react_ros.sensors.end_of_file import end_of_file
from react_ros.sensors.microphone import Microphone, MicrophoneConfig, open_microphone
from react_ros.sensors.pace import paced
from react_ros.sensors.reopening import Reopening

CONNECT_S = 2.5
"""Longest time that the node waits for its source when it is configured; afterwards it goes on trying."""
ZEROS_S = 1.8
"""A device whose samples are all 0 for longer is muted, or its sound server has put nothing in its place."""


class MicrophoneNode(RobotNode):
    """Publishes `audio`; chunks are stamped with the capture time of their first sample."""

    NAME = "microphone"
    PARAMETERS = (
        Parameter("source", "default", "'default', number or part of the name of a device, or a sound file"),
        Parameter("rate", 16000, "sample rate of a device's sound, Hz, resampled if it has another; a file has its own",
                  8000, 192_000),
        Parameter("channels", 1, "channels of a device's sound", 1, 2),
        Parameter("channel", "mix", "of a device with more channels: mix (mean of all), a number from 1, or two: 1,2"),
        Parameter("block", 0.02, "length of a chunk, s", 0.005, 0.2),
        *FILE_PARAMETERS,
        Parameter("frame_id", "microphone", "frame_id of the chunks"),
    )  # fmt: skip

    def configure(self) -> None:
        config = MicrophoneConfig(
            self.value("source"), self.value("rate"), self.value("channels"), self.value("block"), self.value("loop"),
            self.value("channel"),
        )  # fmt: skip
        self._shown = redact(config.source)
        self._microphone = Reopening(f"microphone {self._shown!r}", partial(open_microphone, config), self._log)
        self._zeros_since: float | None = None
        try:
            opened = self._microphone.connect(CONNECT_S)
        except MediaError as error:
            raise ConfigurationError(sentence(f"microphone: {error}")) from None
        self._chunks = self.create_lifecycle_publisher(AudioChunk, "audio", OUTPUT_QOS)
        self.facts["source"] = self._shown
        if opened is not None:
            self._describe(opened)

    def activate(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._microphone.run,
            args=(self._stop, partial(self._publish, self._stop)),
            name="microphone",
            daemon=True,
        )
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def cleanup(self) -> None:
        if microphone := getattr(self, "_microphone", None):
            microphone.close()

    def diagnose(self) -> None:
        """Warn where a device delivers no audio, or only zeros; the end of a file is no reason for a warning."""
        if not self.active or "end" in self.facts:
            return
        self.warning = self._microphone.trouble()
        if not self.warning and self._zeros_since is not None:
            silent = time.monotonic() - self._zeros_since
            if silent > ZEROS_S:
                self.warning = f"{self._shown} delivers only zeros for {silent:.0f} s: is it muted or unplugged?"

    def stuck(self) -> str:
        """Which thread hangs, so that only a restart helps; empty: none."""
        return f"the microphone hangs: {self._shown}" if self.active and self._microphone.stuck() else ""

    def _log(self, text: str, lost: bool) -> None:
        if lost:
            self.get_logger().error(sentence(text))
        else:
            self.get_logger().info(sentence(text))

    def _describe(self, microphone: Microphone) -> None:
        self.facts["rate"] = f"{microphone.rate} Hz"
        if microphone.device:
            self.facts["device"] = microphone.device

    def _publish(self, stop: threading.Event, microphone: Microphone) -> None:
        """Publish the sound of an open microphone, until it ends or the node stops."""
        self._describe(microphone)
        self.facts.pop("end", None)
        start_ns = round(self.value("start_at") * 1e9) or time.time_ns()
        block_ns, frame_id = round(self.value("block") * 1e9), self.value("frame_id")
        if microphone.live or not self.value("paced"):
            stamped = ((b.time_ns if microphone.live else start_ns + b.time_ns, b) for b in microphone)
        else:
            stamped = paced(microphone, start_ns, stop, block_ns)
        self._zeros_since = None
        for stamp, block in stamped:
            if stop.is_set():
                return
            self._microphone.delivered()
            if microphone.live:
                self._zeros_since = None if block.pcm.any() else self._zeros_since or time.monotonic()
            message = audio_message(stamp, microphone.rate, block.first_sample, block.pcm)
            message.header.frame_id = frame_id
            self._chunks.publish(message)
            self.counts["chunks"] += 1
        if not stop.is_set() and not microphone.live:
            self.facts["end"] = "end of the sound"
            self.warning = ""
            self.get_logger().warning(end_of_file(self._shown, self.counts["chunks"], "hears"))


def main() -> None:
    raise SystemExit(run(MicrophoneNode))


if __name__ == "__main__":
    main()
