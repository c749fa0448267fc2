"""The camera node: publishes the images of a device, film or address on `image_raw`."""

from __future__ import annotations

import threading
import time
from functools import partial

from sensor_msgs.msg import Image

from react_ros.media.errors import MediaError, sentence
from react_ros.nodes.base import FILE_PARAMETERS, OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import FACTORY, image_message
from react_ros.redaction import redact
from react_ros.sensors.camera import Camera, CameraConfig, camera_opener
from react_ros.sensors.end_of_file import end_of_file
from react_ros.sensors.pace import paced
from react_ros.sensors.reopening import Reopening

CONNECT_S = 2.5
"""Longest time that the node waits for its source when it is configured; afterwards it goes on trying."""


class CameraNode(RobotNode):
    """Publishes `image_raw` (rgb8), stamped with the capture time."""

    NAME = "camera"
    PARAMETERS = (
        Parameter("source", "0", "device number, device path, film file or address (rtsp://, http://)"),
        Parameter("width", 640, "pixels that images are scaled to fit in, uncropped; 0: size of the source", 0, 4096),
        Parameter("height", 480, "pixels; 0: size of the source", 0, 4096),
        Parameter("fps", 25.0, "frame rate requested from a device; a film has its own", 1.0, 120.0),
        *FILE_PARAMETERS,
        Parameter("frame_id", "camera", "frame_id of the images"),
    )

    def configure(self) -> None:
        config = CameraConfig(
            self.value("source"), self.value("width"), self.value("height"), self.value("fps"), self.value("loop")
        )
        self._shown = redact(config.source)
        self._camera = Reopening(self._shown, camera_opener(config), self._log)
        try:
            self._camera.connect(CONNECT_S)
        except MediaError as error:
            raise ConfigurationError(sentence(f"camera: {error}")) from None
        self._images = self.create_lifecycle_publisher(Image, "image_raw", OUTPUT_QOS)
        self.facts["source"] = self._shown

    def activate(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._camera.run, args=(self._stop, partial(self._publish, self._stop)), name="camera", daemon=True
        )
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def cleanup(self) -> None:
        if camera := getattr(self, "_camera", None):
            camera.close()

    def diagnose(self) -> None:
        if self.active and "end" not in self.facts:
            self.warning = self._camera.trouble()

    def stuck(self) -> str:
        """Which thread hangs, so that only a restart helps; empty: none."""
        return f"the camera hangs: {self._shown}" if self.active and self._camera.stuck() else ""

    def _log(self, text: str, lost: bool) -> None:
        if lost:
            self.get_logger().error(sentence(text))
        else:
            self.get_logger().info(sentence(text))

    def _publish(self, stop: threading.Event, camera: Camera) -> None:
        """Publish the images of an open camera, until it ends or the node stops."""
        self.facts.pop("end", None)
        start_ns = round(self.value("start_at") * 1e9) or time.time_ns()
        frame_id = self.value("frame_id")
        if camera.live or not self.value("paced"):
            stamped = ((shot.time_ns if camera.live else start_ns + shot.time_ns, shot) for shot in camera)
        else:
            stamped = paced(camera, start_ns, stop)
        for stamp, shot in stamped:
            if stop.is_set():
                return
            self._camera.delivered()
            self._images.publish(image_message(shot.image, FACTORY.time(stamp), frame_id))
            self.counts["images"] += 1
        if not stop.is_set() and not camera.live:
            self.get_logger().warning(end_of_file(self._shown, self.counts["images"], "sees"))
            self.facts["end"] = camera.damage() or "end of the film"
            if damage := camera.damage():
                self.get_logger().warning(sentence(damage))
            self.warning = ""


def main() -> None:
    raise SystemExit(run(CameraNode))


if __name__ == "__main__":
    main()
