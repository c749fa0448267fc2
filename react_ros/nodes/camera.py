"""The camera node: publishes the images of a device, film or address on `image_raw`."""

from __future__ import annotations

import threading
import time

from sensor_msgs.msg import Image

from react_ros.media.errors import MediaError
from react_ros.nodes.base import FILE_PARAMETERS, OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import FACTORY, image_message
from react_ros.sensors.camera import Camera, CameraConfig, open_camera
from react_ros.sensors.end_of_file import end_of_file
from react_ros.sensors.pace import paced


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
        self._config = CameraConfig(
            self.value("source"), self.value("width"), self.value("height"), self.value("fps"), self.value("loop")
        )
        try:
            self._camera: Camera | None = open_camera(self._config)
        except MediaError as error:
            raise ConfigurationError(f"camera: {error}.") from None
        self._images = self.create_lifecycle_publisher(Image, "image_raw", OUTPUT_QOS)
        self.facts["source"] = self._config.source

    def activate(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def cleanup(self) -> None:
        if camera := getattr(self, "_camera", None):
            camera.close()
            self._camera = None

    def _read(self) -> None:
        while not self._stop.is_set():
            camera = self._camera
            assert camera is not None
            try:
                self._publish(camera)
                return
            except MediaError as error:
                self.warning = f"{error}; retrying every second" if camera.live else str(error)
                self.get_logger().error(f"{self.warning}.")
                if not camera.live:
                    return
            self._reopen(camera)

    def _publish(self, camera: Camera) -> None:
        start_ns = round(self.value("start_at") * 1e9) or time.time_ns()
        frame_id = self.value("frame_id")
        if camera.live or not self.value("paced"):
            stamped = ((shot.time_ns if camera.live else start_ns + shot.time_ns, shot) for shot in camera)
        else:
            stamped = paced(camera, start_ns, self._stop)
        for stamp, shot in stamped:
            if self._stop.is_set():
                return
            self._images.publish(image_message(shot.image, FACTORY.time(stamp), frame_id))
            self.counts["images"] += 1
        if not self._stop.is_set():
            self.get_logger().warning(end_of_file(self.value("source"), self.counts["images"], "sees"))
            self.facts["end"] = "end of the film"

    def _reopen(self, camera: Camera) -> None:
        """Reopen the camera, once a second, until it succeeds or the node stops."""
        camera.close()
        while not self._stop.wait(1.0):
            try:
                self._camera = open_camera(self._config)
            except MediaError:
                continue
            self.warning = ""
            self.get_logger().info(f"{self.value('source')} is available again")
            return


def main() -> None:
    raise SystemExit(run(CameraNode))


if __name__ == "__main__":
    main()
