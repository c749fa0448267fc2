"""The avatar node: `listener/reaction` to a moving face at 25 Hz, also while other nodes are down."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from importlib import import_module, util
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image

from react_ros.avatar.motion import FaceMotion, MotionConfig, Pose
from react_ros.avatar.pacing import OutputPacer
from react_ros.avatar.render import Renderer
from react_ros.avatar.view import ViewError, ViewServer
from react_ros.face import ACTION_UNITS, AU, EXPRESSION_NAMES, EXPRESSIONS, NEUTRAL_ATTRIBUTES, VA, Floats, Reaction
from react_ros.messages.features import reaction_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.stamps import StampLimits, Stopwatch, nanoseconds
from react_ros.msg import Affect, Blendshapes, FaceModel, Lineage, Status
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.base import OUTPUT_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import FACTORY, image_message
from react_ros.nodes.neighbours import Neighbours
from react_ros.nodes.topic_input import FOLLOW_S, ImageInput

HOLD_S = 0.5
"""Time without a reaction after which the status is stale and the face crossfades to idle life."""
OUTPUT_STUCK_S = 3.0
"""Without an output for so long, the output thread hangs."""
STATE_NAMES = {Status.LIVE: "live", Status.IDLE: "idle", Status.OPERATOR: "operator", Status.STALE: "stale",
               Status.LATE: "late"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Latest:
    """The newest reaction with its lineage."""

    reaction: Reaction
    lineage: Lineage
    delay: int
    notice: str


class AvatarNode(RobotNode):
    """Publishes `avatar/blendshapes`, `face_model`, `affect`, `status` at 25 Hz, and `avatar/image`."""

    NAME = "avatar"
    PARAMETERS = (
        Parameter("sample", 0, "index of the sampled listener that is shown", 0, 99, live=True),
        Parameter("seed", 0, "random seed of idle life", 0, 2**31 - 1),
        Parameter("render", True, "render the face and publish avatar/image"),
        Parameter("width", 512, "width of avatar/image, px", 64, 2048),
        Parameter("height", 512, "height of avatar/image, px", 64, 2048),
        Parameter("view_port", 0, "port of the live page with human and avatar; 0: no page", 0, 65535),
        Parameter("view_host", "127.0.0.1", "address that the page is served on; 0.0.0.0: all interfaces"),
        Parameter("view_names", "", "further host names under which the page may be opened, comma-separated"),
        Parameter("window", False, "show the avatar in a window"),
        Parameter("max_stamp_age", 30.0, "a reaction whose stamp is older is dropped, s", 0.1, 1e9, live=True),
        Parameter("max_stamp_ahead", 0.5, "a reaction whose stamp lies further in the future is dropped, s", 0.0, 1e9,
                  live=True),
    )  # fmt: skip

    def configure(self) -> None:
        self.apply_parameters({})
        self._motion = FaceMotion(MotionConfig(), seed=self.value("seed"))
        self._renderer = Renderer(self.value("width"), self.value("height")) if self._renders else None
        self._view: ViewServer | None = None
        if port := self.value("view_port"):
            try:
                names = [name.strip() for name in self.value("view_names").split(",") if name.strip()]
                self._view = ViewServer(self.value("view_host"), port, names)
            except ViewError as error:
                raise ConfigurationError(f"avatar: {str(error).rstrip('.')}.") from None
            images = ImageInput(self, self._on_image)
            self.create_timer(FOLLOW_S, images.follow)
            self._neighbours = Neighbours(self.get_namespace())
            self.create_subscription(DiagnosticArray, "/diagnostics", self._on_neighbours, 50)
        self._blendshapes = self.create_lifecycle_publisher(Blendshapes, "avatar/blendshapes", OUTPUT_QOS)
        self._face_model = self.create_lifecycle_publisher(FaceModel, "avatar/face_model", OUTPUT_QOS)
        self._affect = self.create_lifecycle_publisher(Affect, "avatar/affect", OUTPUT_QOS)
        self._status = self.create_lifecycle_publisher(Status, "avatar/status", OUTPUT_QOS)
        self._image = self.create_lifecycle_publisher(Image, "avatar/image", OUTPUT_QOS)
        self._hri = HriFace(self) if util.find_spec("hri_msgs") else None
        self.create_subscription(ReactionMessage, "listener/reaction", self._on_reaction, OUTPUT_QOS)
        self._answers = self.add_source("reactions", "listener/reaction", "the face shows idle life: ")
        self._trouble = ""
        """What the robot's diagnostics say is wrong, for the page."""
        self._human: np.ndarray | None = None
        self._output = 0

    @property
    def _renders(self) -> bool:
        return self.value("render") or self.value("window") or self.value("view_port") > 0

    def apply_parameters(self, values: dict[str, Any]) -> None:
        current = {n: values.get(n, self.value(n)) for n in ("sample", "max_stamp_age", "max_stamp_ahead")}
        self._sample = current["sample"]
        self._limits = StampLimits(current["max_stamp_age"], current["max_stamp_ahead"])

    def activate(self) -> None:
        self._stop = False
        self._output_at = time.monotonic()
        """When the output thread last ran."""
        self._change = threading.Condition()
        self._pacer = OutputPacer(time.monotonic_ns())
        self._latest: _Latest | None = None
        self._fresh = False
        self._pose: Pose | None = None
        self._pose_change = threading.Condition()
        self._threads = [threading.Thread(target=self._run_output, name="output", daemon=True)]
        if self._renderer is not None:
            self._threads.append(threading.Thread(target=self._run_renderer, name="renderer", daemon=True))
        for thread in self._threads:
            thread.start()

    def deactivate(self) -> None:
        self._stop = True
        for condition in (self._change, self._pose_change):
            with condition:
                condition.notify_all()
        for thread in self._threads:
            thread.join(2.0)

    def cleanup(self) -> None:
        if view := getattr(self, "_view", None):
            view.close()
            self._view = None

    # Input

    def _on_reaction(self, message: ReactionMessage) -> None:
        if not self.active:
            return
        try:
            self._limits.check(nanoseconds(message.header.stamp), self.get_clock().now().nanoseconds)
            reaction = reaction_from_message(message)
        except ValueError as error:
            self.reject("listener/reaction", str(error))
            return
        self._answers.arrived(time.monotonic())
        with self._change:
            if self._fresh:
                self.counts["skipped"] += 1
            self._latest, self._fresh = _Latest(reaction, message.lineage, message.delay, message.notice), True
            self._pacer.arrived(time.monotonic_ns())
            self._change.notify()

    def _on_image(self, topic: str, message: Image | CompressedImage) -> None:
        try:
            self._human = image_from_message(message)
        except ValueError as error:
            self.reject(topic, str(error))

    def _on_neighbours(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        self._neighbours.heard(message.status, now)
        self._trouble = self._neighbours.trouble(now)

    # Output

    def _run_output(self) -> None:
        """Publish the outputs at the times of the pacer."""
        before = time.monotonic_ns()
        last_reaction = 0
        while True:
            with self._change:
                while not self._stop and (wait := self._pacer.due_ns - time.monotonic_ns()) > 0:
                    self._change.wait(wait / 1e9)
                if self._stop:
                    return
                now = time.monotonic_ns()
                self._output_at = now / 1e9
                latest, fresh, self._fresh = self._latest, self._fresh, False
                self._pacer.shown(now)
            last_reaction = now if fresh else last_reaction
            waited = (now - last_reaction) / 1e9 if last_reaction else float("inf")
            self._publish(latest if waited < HOLD_S else None, fresh, (now - before) / 1e9)
            before = now

    def _publish(self, latest: _Latest | None, fresh: bool, dt: float) -> None:
        watch = Stopwatch()
        attributes: Floats = NEUTRAL_ATTRIBUTES
        target, lineage, state, samples, sample = None, Lineage(), Status.STALE, 0, 0
        if latest is not None:
            reaction, lineage = latest.reaction, latest.lineage
            samples = reaction.samples
            sample = min(self._sample, samples - 1)
            target = Pose(reaction.blendshapes[sample], reaction.rotation[sample], reaction.translation[sample])
            attributes = reaction.attributes[sample]
            state = (Status.LIVE if reaction.live else Status.IDLE) if fresh else Status.LATE
            self.counts["late"] += state == Status.LATE
        pose = self._motion.step(target, dt)
        lineage = FACTORY.continued(lineage, {"motion": watch.read()})
        shapes, model, affect = FACTORY.face(pose.blendshapes, pose.rotation, pose.translation, attributes, lineage)
        self._blendshapes.publish(shapes)
        self._face_model.publish(model)
        self._affect.publish(affect)
        latency = (
            (self.get_clock().now().nanoseconds - nanoseconds(lineage.source_stamp)) / 1e9 if fresh else float("nan")
        )
        status = Status(lineage=lineage, state=state, output=self._output, samples=samples, sample=sample)
        status.header.stamp = lineage.source_stamp
        status.latency, status.late, status.rejected = latency, self.counts["late"], self.rejected
        if latest is not None:
            status.delay, status.notice = latest.delay, latest.notice
        self._status.publish(status)
        if self._hri is not None:
            self._hri.publish(attributes, lineage)
        self._output += 1
        self.counts["outputs"] += 1
        self.facts |= {"state": STATE_NAMES[state], "generator": lineage.generator}
        if fresh:
            self.facts["latency"] = f"{latency * 1e3:.0f} ms"
        if self._view is not None:
            facts = {"state": STATE_NAMES[state], "trouble": self._trouble, "generator": lineage.generator,
                     "seed": lineage.seed, "latency_ms": round(latency * 1e3, 1) if fresh else None,
                     "late": self.counts["late"], "notice": status.notice}  # fmt: skip
            self._view.status({name: value for name, value in facts.items() if value not in ("", None)})
        with self._pose_change:
            self._pose, self._pose_lineage = pose, lineage
            self._pose_change.notify()

    def _run_renderer(self) -> None:
        """Render the newest pose; if rendering is slower than the outputs, poses are skipped."""
        assert self._renderer is not None
        window = None
        if self.value("window"):
            import cv2 as window
        while True:
            with self._pose_change:
                while self._pose is None and not self._stop:
                    self._pose_change.wait()
                if self._stop:
                    break
                pose, lineage, self._pose = self._pose, self._pose_lineage, None
            assert pose is not None
            image = self._renderer.draw(pose)
            if self.value("render"):
                self._image.publish(image_message(image, lineage.source_stamp, "avatar"))
            if self._view is not None:
                self._view.show(self._beside(image))
            if window is not None:
                window.imshow("react_ros", image[:, :, ::-1])
                window.waitKey(1)
            self.counts["images"] += 1
        if window is not None:
            window.destroyAllWindows()

    def _beside(self, avatar: np.ndarray) -> np.ndarray:
        from react_ros.media.film_writer import side_by_side

        return avatar if self._human is None else side_by_side(self._human, avatar, avatar.shape[0])

    def present(self) -> str:
        return f"the face is {self.facts.get('state', 'stale')}"

    def described(self) -> str:
        drawn = f"draws {self.value('width')}x{self.value('height')}" if self._renders else "draws nothing"
        page = f", page {self._view.url}" if self._view is not None else ""
        return f"{drawn}{page}, sample {self._sample}"

    def stuck(self) -> str:
        if not self.active:
            return ""
        silent = time.monotonic() - self._output_at
        if silent > OUTPUT_STUCK_S or not self._threads[0].is_alive():
            return f"the thread of the face's output has not run for {silent:.0f} s"
        return ""


def hri_namespace(namespace: str) -> str:
    """Where the face is published as hri_msgs: ROS4HRI's /robot_face for a robot with the usual namespace, and
    /lab/two/robot_face for one in /lab/two, so that several robots do not publish on one topic."""
    return "/robot_face" if namespace in ("/", "/robot") else f"{namespace}/robot_face"


class HriFace:
    """Publishes the face in the messages of ROS4HRI (REP-155), if hri_msgs is installed."""

    def __init__(self, node: RobotNode) -> None:
        messages = import_module("hri_msgs.msg")
        self._expression_type, self._facs_type = messages.Expression, messages.FacialActionUnits
        face = hri_namespace(node.get_namespace())
        self._expression = node.create_lifecycle_publisher(messages.Expression, f"{face}/expression", OUTPUT_QOS)
        self._facs = node.create_lifecycle_publisher(messages.FacialActionUnits, f"{face}/facs", OUTPUT_QOS)

    def publish(self, attributes: Floats, lineage: Lineage) -> None:
        """attributes: (25,)."""
        probabilities = attributes[EXPRESSIONS]
        likeliest = int(probabilities.argmax())
        expression = self._expression_type()
        expression.header.stamp = lineage.source_stamp
        expression.expression = ROS4HRI_NAMES[EXPRESSION_NAMES[likeliest]]
        expression.valence, expression.arousal = (float(v) for v in attributes[VA])
        expression.confidence = float(probabilities[likeliest])
        self._expression.publish(expression)
        facs = self._facs_type()
        facs.header.stamp = lineage.source_stamp
        intensity = np.zeros(99, np.float32)
        intensity[list(ACTION_UNITS)] = attributes[AU]
        facs.intensity = intensity
        facs.confidence = (intensity > 0).astype(np.float32)
        self._facs.publish(facs)


ROS4HRI_NAMES = {"neutral": "neutral", "happy": "happy", "sad": "sad", "surprise": "surprised", "fear": "scared",
                 "disgust": "disgusted", "anger": "angry", "contempt": "skeptical"}  # fmt: skip
"""Our expressions by the names in hri_msgs/Expression."""


def main() -> None:
    raise SystemExit(run(AvatarNode))


if __name__ == "__main__":
    main()
