"""Base of the robot's nodes: described parameters, lifecycle, diagnostics, running nodes in a process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import rclpy
import rclpy.context
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy._rclpy_pybind11 import RCLError, RCLInvalidROSArgsError, UnknownROSArgsError
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from react_ros.config import did_you_mean, excerpt, shown
from react_ros.dds import forget_profile, use_profile
from react_ros.nodes.health import CLEAR_S, Rate, Rejections, Source
from react_ros.package import CONFIGURATION_ERROR
from react_ros.redaction import redact
from react_ros.supervision.heartbeats import Heartbeat
from react_ros.supervision.kept_settings import KeptSettings, listed
from react_ros.supervision.stop_signals import STOP_SIGNALS, StopSignals

OUTPUT_QOS = QoSProfile(depth=10, history=QoSHistoryPolicy.KEEP_LAST, reliability=QoSReliabilityPolicy.RELIABLE)
DURABLE_QOS = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE,
                         durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)  # fmt: skip
"""Transient local, depth 50: a recorder that starts late still gets the last two seconds."""
LATCHED_QOS = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
                         durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)  # fmt: skip
"""Transient local, depth 1: late subscribers get the last message."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A node's parameter, with the description and range that `ros2 param describe` shows."""

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    """Whether it may be set while the node runs."""

    def descriptor(self) -> ParameterDescriptor:
        text = self.description if self.live else f"{self.description} (set before the node is configured)"
        d = ParameterDescriptor(name=self.name, description=text)
        if self.choices:
            d.additional_constraints = "one of: " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                d.floating_point_range = [FloatingPointRange(from_value=float(self.low), to_value=float(self.high))]
            else:
                d.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)]
        return d

    def error(self, value: Any) -> str:
        """The error of a value in one sentence; empty for a valid value."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not {shown(value)}"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"{self.name} must be between {self.low:.12g} and {self.high:.12g}, not {value}"
        return ""


class ConfigurationError(Exception):
    """A node's configuration is invalid; the message is one sentence for users."""


class RobotNode(LifecycleNode):
    """A lifecycle node with described parameters and diagnostics at 1 Hz.

    Subclasses define NAME and PARAMETERS; load and connect in `configure`, start threads in `activate`, stop them in
    `deactivate`, free resources in `cleanup`, and take over parameters set at run time in `apply_parameters`.
    """

    NAME: ClassVar[str]
    PARAMETERS: ClassVar[Sequence[Parameter]] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(self.NAME, **options)
        self.counts: Counter[str] = Counter()
        """Counters in the diagnostics, by name."""
        self.facts: dict[str, str] = {}
        """Further values in the diagnostics, by name."""
        self.warning = ""
        """What is wrong at present, for the diagnostics; empty: nothing."""
        self.sources: list[Source] = []
        """Topics that the node lives on; see `add_source`."""
        self._rejections = Rejections()
        self._rates: dict[str, Rate] = {}
        self._instance = uuid.uuid4().hex[:12]
        """Tells this node from another one of the same name."""
        self._twin: float | None = None
        """When another node of this name was last heard."""
        self._others: Any = None
        self.active = False
        self.configuration_error = ""
        self._secrets: dict[str, str] = {}
        """Values with a password, by parameter: the parameter itself, which anybody may read, has them redacted."""
        for name, given in self._parameter_overrides.items():
            self._parameter_overrides[name] = self._redacted(given)
        self.add_pre_set_parameters_callback(lambda parameters: [self._redacted(p) for p in parameters])
        self.heartbeat: Heartbeat | None = None
        """Of the process; None while there is none."""
        self.reported_stuck = False
        self._table = {p.name: p for p in (AUTOSTART, *self.PARAMETERS)}
        for parameter in self._table.values():
            try:
                value = self.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
            except (InvalidParameterTypeException, InvalidParameterValueException):
                raise ConfigurationError(self._type_error(parameter)) from None
            if error := parameter.error(value):
                raise ConfigurationError(f"{self.NAME}: {error}.")
        self.add_on_set_parameters_callback(self._on_set)
        self._launched = {name: self.value(name) for name, declared in self._table.items() if declared.live}
        self._kept = KeptSettings(self.get_fully_qualified_name())
        self.restored: dict[str, Any] = {}
        """What was set on the node before this one, which ended, and is set on this one again."""
        self._set({n: v for n, v in self._kept.restore().items() if n in self._launched})
        self.add_post_set_parameters_callback(lambda _: self.settings_changed())
        self._born = time.monotonic()
        self._unknown = self._unknown_parameters()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._report_at = 0.0
        self._own_entities = {*self.publishers, *self.subscriptions, *self.timers}
        if service := getattr(self, "_service_change_state", None):
            self._change_state = service.callback
            service.callback = self._on_change_state

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return self._change_state(request, response)
        except RCLError:
            # Without this, rclpy ends the process on a transition that is invalid in the present state.
            state = self._state_machine.current_state[1]
            self.get_logger().warning(f"transition {request.transition.id} is invalid in the state {state}")
            response.success = False
            return response

    def _type_error(self, parameter: Parameter) -> str:
        kinds = {str: "a text", bool: "true or false", int: "a whole number", float: "a number with a point"}
        kind = kinds.get(type(parameter.default), "a value")
        span = f" between {parameter.low:.12g} and {parameter.high:.12g}" if parameter.low is not None else ""
        given = self._parameter_overrides[parameter.name].value
        return f"{self.NAME}: {parameter.name} must be {kind}{span}, not {shown(given)} ({parameter.description})."

    def value(self, name: str) -> Any:
        """The current value of a parameter."""
        return self._secrets.get(name, self.get_parameter(name).value)

    # Hooks of the subclasses
    def configure(self) -> None:
        """Load models, create publishers and subscriptions. Raises ConfigurationError."""

    def activate(self) -> None: ...

    def deactivate(self) -> None: ...

    def cleanup(self) -> None: ...

    def apply_parameters(self, values: dict[str, Any]) -> None:
        """Apply new values of live parameters before they are set. Raises ValueError to reject them."""

    def _redacted(self, parameter: RosParameter) -> RosParameter:
        """The parameter without passwords in URLs; `value` still gives them."""
        given, known = parameter.value, self._secrets.get(parameter.name)
        if not isinstance(given, str) or (known is not None and given == redact(known)):
            return parameter  # no text, or what a client has read before: the password stays
        self._secrets.pop(parameter.name, None)
        if (shown := redact(given)) == given:
            return parameter
        self._secrets[parameter.name] = given
        return RosParameter(parameter.name, value=shown)

    def stuck(self) -> str:
        """Which thread of the node hangs or has ended, so that only a restart helps; empty: none."""
        return ""

    # Lifecycle
    def _begin_transition(self) -> None:
        if self.heartbeat is not None:
            self.heartbeat.busy()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._begin_transition()
        self.configuration_error = ""
        try:
            self.configure()
        except ConfigurationError as error:
            reason = str(error)
        except Exception:
            # rclpy would log only that the transition failed.
            reason = traceback.format_exc()
        else:
            self.get_logger().info(f"configured: {excerpt(self.described(), 600)}")
            return super().on_configure(state)
        self._release()
        return self._fail(reason)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._begin_transition()
        outcome = super().on_activate(state)
        self.active = True
        for source in self.sources:
            source.begin(time.monotonic())
        try:
            self.activate()
        except Exception as error:
            self.active = False
            known = isinstance(error, ConfigurationError)
            return self._fail(str(error) if known else traceback.format_exc())
        return outcome

    def _fail(self, reason: str) -> TransitionCallbackReturn:
        self.configuration_error = reason
        self.get_logger().fatal(reason)
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._begin_transition()
        self.active = False
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._begin_transition()
        outcome = super().on_cleanup(state)
        self._release()
        return outcome

    def _release(self) -> None:
        """Undo `configure`: destroy its subscriptions, timers and publishers, and call `cleanup`."""
        for subscription in {*self.subscriptions} - self._own_entities:
            self.destroy_subscription(subscription)
        for timer in {*self.timers} - self._own_entities:
            self.destroy_timer(timer)
        for publisher in {*self.publishers} - self._own_entities:
            if isinstance(publisher, LifecyclePublisher):
                self.destroy_lifecycle_publisher(publisher)
            else:
                self.destroy_publisher(publisher)
        self.cleanup()

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        return super().on_shutdown(state)

    def stop(self) -> None:
        """Deactivate and clean up, from any state; may be called twice."""
        if self.active:
            self.active = False
            self.deactivate()
        self.cleanup()

    # Settings that survive a restart
    def _set(self, values: dict[str, Any]) -> None:
        results = self.set_parameters([RosParameter(name, value=value) for name, value in values.items()])
        self.restored = {n: v for (n, v), done in zip(values.items(), results, strict=True) if done.successful}

    def settings_changed(self) -> None:
        """Live parameters have been set: keep them for a node that replaces this one."""
        self.keep({name: self.value(name) for name in self._launched})

    def keep(self, values: dict[str, Any]) -> None:
        """Keep these values of live parameters, as far as they are not those of the launch."""
        try:
            self._kept.keep({n: v for n, v in values.items() if n in self._launched and v != self._launched[n]})
        except OSError as error:
            self.get_logger().warning(f"what was set would be lost in a restart: {error}")

    def _say_restored(self) -> None:
        if self._kept.suspected:
            lost = listed(self._kept.suspected)
            self.get_logger().error(f"restarted without what was set, as no node lasted with it: {lost}")
            self.facts["not restored"] = lost
        if self.restored:
            self.facts["restored"] = listed(self.restored)
            self.get_logger().warning(f"restarted with what was set before: {self.facts['restored']}")

    def start(self) -> bool:
        """Configure and activate (`autostart`). Returns False where that failed."""
        self.trigger_configure()
        if self.configuration_error and self.restored:
            self._kept.suspected = self.restored
            self._set({name: self._launched[name] for name in self.restored})
            self.restored = {}
            self.trigger_configure()
        self._say_restored()
        if not self.configuration_error:
            self.trigger_activate()
        return not self.configuration_error

    def _on_set(self, parameters: list[RosParameter]) -> SetParametersResult:
        values = {}
        configured = self._state_machine.current_state[1] not in ("unconfigured", "unknown")
        for parameter in parameters:
            declared = self._table.get(parameter.name)
            if declared is None:
                continue
            if not declared.live and configured:
                reason = f"{parameter.name} cannot change while the node runs: clean it up first"
                return SetParametersResult(successful=False, reason=reason)
            if error := declared.error(parameter.value):
                return SetParametersResult(successful=False, reason=excerpt(error))
            values[parameter.name] = parameter.value
        try:
            if configured and values:
                self.apply_parameters(values)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=excerpt(str(error)))
        return SetParametersResult(successful=True)

    # Diagnostics
    def add_source(self, what: str, topic: str, needs: str = "") -> Source:
        """Watch a topic of this node: its silence is named in the diagnostics and in the log.

        what, needs: as in `Source`. Call `arrived` of the result with each valid message.
        """
        full = self.resolve_topic_name(topic)
        source = Source(what, full, lambda: self._why_silent(full), self._log_source, needs)
        self.sources = [s for s in self.sources if s.topic != full] + [source]
        return source

    def _log_source(self, line: str, warns: bool) -> None:
        if warns:
            self.get_logger().warning(line)
        else:
            self.get_logger().info(line)

    def _why_silent(self, topic: str) -> str:
        """Why nothing arrives on a topic, as far as the ROS graph and the rejections tell."""
        if any(f" on {name} " in s for s in self._rejections.sentences(time.monotonic()) for name in _names(topic)):
            return "all were rejected"
        publishers = self.get_publishers_info_by_topic(topic)
        names = sorted({f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers})
        return f"{', '.join(names)} sends none" if names else "nothing publishes them"

    def reject(self, topic: str, reason: str) -> None:
        """Count a message that failed validation, and log it at most once a second."""
        reason = excerpt(reason)
        self.counts[f"rejected {topic}"] += 1
        self.facts[f"last rejected {topic}"] = reason
        self._rejections.add(topic, reason, time.monotonic())
        self.get_logger().warning(f"dropped a message on {topic}: {reason}", throttle_duration_sec=1.0)

    @property
    def rejected(self) -> int:
        """Number of messages that failed validation."""
        return sum(count for name, count in self.counts.items() if name.startswith("rejected "))

    def diagnose(self) -> None:
        """Update `facts` and `warning` before they are published."""

    def present(self) -> str:
        """What the node does at present, in a few words, for the diagnostics."""
        return ""

    def described(self) -> str:
        """How the node is configured (weights, device, model), for the log."""
        return ", ".join(f"{name} {value}" for name, value in self.facts.items() if value)

    def report(self) -> None:
        """Publish the diagnostics if they are due: once a second.

        Called between any two callbacks, rather than by a timer: timers starve where messages arrive faster than they
        are processed, and just then the diagnostics matter.
        """
        now = time.monotonic()
        if now >= self._report_at:
            self._report_at = max(self._report_at + REPORT_S, now + 0.5 * REPORT_S)
            self.publish_diagnostics(now)

    def publish_diagnostics(self, now: float) -> None:
        self.diagnose()
        self._measure(now)
        self._listen_for_twin()
        if self.active and now - self._born > CLEAR_S:
            with suppress(OSError):
                self._kept.settled()
        problems = [*self._rejections.sentences(now), *self._own_troubles(now)]
        if self.active:
            problems += filter(None, (source.trouble(now) for source in self.sources))
        problems += filter(None, [self.warning])
        state = self._state_machine.current_state[1]
        doing = "; ".join(filter(None, [self.present(), *self._rate_texts()])) if self.active else ""
        status = DiagnosticStatus(name=self.get_fully_qualified_name(), hardware_id=self.get_namespace())
        status.level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
        status.message = "; ".join(problems) or (f"{state}: {doing}" if doing else state)
        entries = {
            "lifecycle": state, **{k: str(v) for k, v in sorted(self.counts.items())}, **self.facts,
            "instance": self._instance,
        }  # fmt: skip
        status.values = [KeyValue(key=k, value=v) for k, v in entries.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _own_troubles(self, now: float) -> list[str]:
        """What concerns every node: a second one of its name, parameters that nobody knows."""
        out = []
        if self._twin is not None and now - self._twin < TWIN_S:
            out.append(self._twin_sentence())
        if self.restored and now - self._born < CLEAR_S:
            out.append(f"restarted {now - self._born:.0f} s ago with what was set before: {self.facts['restored']}")
        if "not restored" in self.facts:
            out.append(f"restarted without what was set: {self.facts['not restored']}")
        return out + self._unknown

    def _measure(self, now: float) -> None:
        """Update the rates of sources and of what the node publishes."""
        counted = {s.what: s.count for s in self.sources} | {n: self.counts[n] for n in RATED if n in self.counts}
        for name, count in counted.items():
            rate = self._rates.setdefault(name, Rate()).read(now, count)
            if rate is not None:
                self.facts[f"{name} a second"] = f"{rate:.1f}"

    def _rate_texts(self) -> list[str]:
        return [f"{self.facts[f'{n} a second']} {n} a second" for n in self._rates if f"{n} a second" in self.facts]

    def _listen_for_twin(self) -> None:
        """Listen for the diagnostics of another node of the same name, once the graph shows one.

        The graph alone does not tell: a node that was killed stays in it for some seconds.
        """
        name = (self.get_name(), self.get_namespace())
        if self._others is None and self.get_node_names_and_namespaces().count(name) > 1:
            self._others = self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
            self._own_entities.add(self._others)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self.get_fully_qualified_name():
                instances = [v.value for v in status.values if v.key == "instance"]
                if instances and instances != [self._instance]:
                    if self._twin is None or time.monotonic() - self._twin > TWIN_S:
                        self.get_logger().warning(self._twin_sentence())
                    self._twin = time.monotonic()

    def _twin_sentence(self) -> str:
        name = self.get_fully_qualified_name()
        return f"another node is called {name}, too: end one of the two robots, or start it in another namespace"

    def _unknown_parameters(self) -> list[str]:
        """Sentences on given parameters that this node does not have but that look like ones it has."""
        out = []
        for name in self._parameter_overrides:
            if not self.has_parameter(name) and (near := did_you_mean(name, self._table)):
                out.append(f"{self.NAME} has no parameter {excerpt(name, 60)!r}{near}")
                self.get_logger().warning(out[-1])
        return out


def _names(topic: str) -> tuple[str, ...]:
    """The forms in which a topic is named: in full, and its last one and two parts."""
    parts = topic.strip("/").split("/")
    return topic, "/".join(parts[-2:]), parts[-1]


REPORT_S = 1.0
"""Period of the diagnostics."""
TWIN_S = 5.0
"""Time for which a node of the same name is remembered."""
RATED = ("images", "chunks", "frames", "reactions", "outputs", "messages")
"""Counters of which the diagnostics also give the rate."""

AUTOSTART = Parameter("autostart", True, "configure and activate the node at the start of its process")

FILE_PARAMETERS = (
    Parameter("loop", False, "restart a film or sound file when it ends"),
    Parameter("paced", True, "play a file at its own speed; false: as fast as it can be read"),
    Parameter("start_at", 0.0, "when a file starts, s since the epoch, for picture and sound in step; 0: at once"),
)
"""Parameters of sensors whose source may be a file."""


def _report_arguments(error: Exception) -> int:
    """Print that the ROS arguments are invalid. Returns the exit code."""
    reason = excerpt(str(error).split(", at /")[0]).rstrip(".")
    print(f"the ROS arguments or the parameter file cannot be read: {reason}.", file=sys.stderr)
    return CONFIGURATION_ERROR


def _run(classes: Sequence[type[RobotNode]], node_arguments: Sequence[list[str]], stop: StopSignals) -> int:
    """Run nodes until `stop` is requested, and end them. Returns the exit code."""
    context = rclpy.context.Context()
    try:
        rclpy.init(args=[] if node_arguments else None, context=context, signal_handler_options=SignalHandlerOptions.NO)
    except (RCLError, RCLInvalidROSArgsError, UnknownROSArgsError) as error:
        forget_profile()
        return _report_arguments(error)
    executor = EventsExecutor(context=context)
    heartbeat = Heartbeat()
    nodes: list[RobotNode] = []
    code = 0
    try:
        for i, cls in enumerate(classes):
            own = {"cli_args": node_arguments[i], "use_global_arguments": False} if node_arguments else {}
            node = cls(context=context, **own)
            forget_profile()
            node.heartbeat = heartbeat
            nodes.append(node)
            executor.add_node(node)
            if node.value("autostart") and not node.start():
                code = CONFIGURATION_ERROR
                break
            if stop.is_set():
                break
        else:
            heartbeat.ready()
            # Not spin(): Python's signal handlers do not run inside it, and stopping it from another thread hangs.
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
                for node in nodes:
                    node.report()
                _beat(heartbeat, nodes)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        code = CONFIGURATION_ERROR
    except (RCLInvalidROSArgsError, UnknownROSArgsError) as error:
        code = _report_arguments(error)
    finally:
        forget_profile()
        heartbeat.busy()
        for node in nodes:
            node.stop()
        context.try_shutdown()
    return code


def _beat(heartbeat: Heartbeat, nodes: Sequence[RobotNode]) -> None:
    """Send a heartbeat, or which of the nodes' threads hangs."""
    for node in nodes:
        if reason := node.stuck():
            if not node.reported_stuck:
                node.get_logger().error(reason)
                node.reported_stuck = True
            heartbeat.stuck(reason)
            return
    heartbeat.beat()


def run(
    *classes: type[RobotNode], node_arguments: Sequence[list[str]] = (), then: Callable[[], None] = lambda: None
) -> int:
    """Run nodes in this process until SIGINT or SIGTERM; further signals are ignored. Returns the exit code.

    node_arguments: `--ros-args …` for each node; empty: all nodes read the process's command line.
    then: called after a run that ended without an error.
    """
    use_profile(sys.argv)
    # The default switch interval of 5 ms would delay threads with deadlines beside a thread that computes.
    sys.setswitchinterval(0.001)
    with StopSignals() as stop:
        code = _run(classes, node_arguments, stop)
        for number in STOP_SIGNALS:  # everything has ended: ignore further ones, also once their handlers are restored
            signal.signal(number, signal.SIG_IGN)
        stop.keep_handlers()
    if code == 0:
        then()
    if any(thread.daemon for thread in threading.enumerate()):
        # A daemon thread may hang in C++ code of a device or decoder; a normal exit would then abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
