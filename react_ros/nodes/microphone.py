"""The microphone node: publishes the sound of a device or file on `audio`."""

from __future__ import annotations

import threading
import time

from react_ros.media.errors import MediaError
from react_ros.msg import AudioChunk
from react_ros.nodes.base import FILE_PARAMETERS, OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import audio_message
from react_ros.sensors.end_of_file import end_of_file
from react_ros.sensors.microphone import Microphone, MicrophoneConfig, open_microphone
from react_ros.sensors.pace import paced


class MicrophoneNode(RobotNode):
    """Publishes `audio`; chunks are stamped with the capture time of their first sample."""

    NAME = "microphone"
    _chunks_before = 0
    PARAMETERS = (
        Parameter("source", "default", "'default', number or part of the name of a device, or a sound file"),
        Parameter("rate", 16000, "sample rate requested from a device, Hz; a file has its own", 8000, 192_000),
        Parameter("channels", 1, "channels requested from a device", 1, 2),
        Parameter("block", 0.02, "length of a chunk, s", 0.005, 0.2),
        *FILE_PARAMETERS,
        Parameter("frame_id", "microphone", "frame_id of the chunks"),
    )

    def configure(self) -> None:
        self._microphone: Microphone | None = self._open()
        self._chunks = self.create_lifecycle_publisher(AudioChunk, "audio", OUTPUT_QOS)
        self.facts |= {"source": self.value("source"), "rate": f"{self._microphone.rate} Hz"}

    def _open(self) -> Microphone:
        config = MicrophoneConfig(
            self.value("source"), self.value("rate"), self.value("channels"), self.value("block"), self.value("loop")
        )
        try:
            return open_microphone(config)
        except MediaError as error:
            raise ConfigurationError(f"microphone: {error}.") from None

    def activate(self) -> None:
        if self._microphone is None:  # a device, closed when the node was deactivated
            self._microphone = self._open()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="microphone", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        if self._microphone is not None and self._microphone.live:
            self.cleanup()  # ends the wait of the reading thread
        self._thread.join(2.0)

    def cleanup(self) -> None:
        if microphone := getattr(self, "_microphone", None):
            microphone.close()
            self._microphone = None

    def diagnose(self) -> None:
        """Warn where a device delivers no audio; the end of a file is no reason for a warning."""
        before, self._chunks_before = self._chunks_before, self.counts["chunks"]
        if self.active and self._microphone is not None and self._microphone.live:
            silent = self.counts["chunks"] == before
            self.warning = "the microphone delivers no audio: is it still connected?" if silent else ""

    def _read(self) -> None:
        microphone = self._microphone
        assert microphone is not None
        start_ns = round(self.value("start_at") * 1e9) or time.time_ns()
        if microphone.live or not self.value("paced"):
            stamped = ((b.time_ns if microphone.live else start_ns + b.time_ns, b) for b in microphone)
        else:
            stamped = paced(microphone, start_ns, self._stop, round(self.value("block") * 1e9))
        for stamp, block in stamped:
            if self._stop.is_set():
                return
            message = audio_message(stamp, microphone.rate, block.first_sample, block.pcm)
            message.header.frame_id = self.value("frame_id")
            self._chunks.publish(message)
            self.counts["chunks"] += 1
        if not self._stop.is_set():
            self.facts["end"] = "end of the sound"
            if microphone.live:
                self.get_logger().error("the microphone stopped: is it still connected?")
            else:
                self.get_logger().warning(end_of_file(self.value("source"), self.counts["chunks"], "hears"))


def main() -> None:
    raise SystemExit(run(MicrophoneNode))


if __name__ == "__main__":
    main()
