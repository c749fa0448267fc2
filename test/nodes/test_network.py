"""Images and audio of the robot do not leave the machine unless the user allows it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import network_calls
import pytest
from sensor_msgs.msg import Image

from react_ros import assets, bringup
from react_ros.msg import Status
from react_ros.nodes.probe import Probe
from react_ros.runner import Runner

pytestmark = [pytest.mark.ros, pytest.mark.slow]

OTHERS = "10.231.7"
"""Network between this machine and the one that tries to receive."""


def needs(*programs: str) -> None:
    missing = [p for p in programs if shutil.which(p) is None]
    if missing and "CI" not in os.environ:
        pytest.skip(f"no {', '.join(missing)} here: apt-get install strace iproute2")


@pytest.fixture
def users_environment(domain: int) -> dict[str, str]:
    """The environment of a user's terminal: without CI variables, which disable the telemetry of some libraries."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"ROS_DOMAIN_ID": str(domain), "REACT_ROS_CACHE": str(assets.cache_dir())}


def test_a_running_robot_connects_to_no_other_machine(users_environment, domain):
    needs("strace")
    run = ["run", "--camera", str(assets.resolve("demo-face")), "--mic", str(assets.resolve("demo-voice-1")), "--loop",
           "--view-port", "0"]  # fmt: skip
    robot = network_calls.Traced([sys.executable, "-m", "react_ros", *run], users_environment)
    with Probe("/robot", {"avatar/status": Status}) as probe:
        try:
            probe.wait(
                lambda: sum(s.state == Status.LIVE for s in probe["avatar/status"]) > 250, 90, "ten seconds of answers"
            )
        finally:
            robot.popen.send_signal(signal.SIGINT)
            code = robot.wait(30)
    assert code == 130
    calls = list(network_calls.calls(robot.lines))
    seen = Counter((c.name, c.family, c.address) for c in calls)
    assert seen["sendto", "AF_INET", "127.0.0.1"] > 100, f"the trace holds the robot's own talk: {seen}"
    assert {c for c in calls if network_calls.leaves(c)} == set()


def test_the_trace_shows_dns_queries_and_connections_to_other_machines(users_environment):
    needs("strace")
    talk = """if True:
        import socket
        def udp(family, address): s = socket.socket(family, socket.SOCK_DGRAM); return s, address
        s, a = udp(socket.AF_INET, ("192.0.2.1", 9)); s.connect(a)
        s, a = udp(socket.AF_INET, ("127.0.0.53", 53)); s.connect(a)
        s, a = udp(socket.AF_INET, ("127.0.0.1", 9)); s.sendto(b"here", a)
        for family, a in ((socket.AF_INET, ("192.0.2.3", 9)), (socket.AF_INET6, ("2001:db8::1", 9))):
            try: socket.socket(family, socket.SOCK_DGRAM).sendmsg([b""], [], 0, a)
            except OSError: pass
    """
    traced = network_calls.Traced([sys.executable, "-c", talk], users_environment)
    assert traced.wait(20) == 0
    found = {(c.address, c.port) for c in network_calls.calls(traced.lines) if network_calls.leaves(c)}
    assert found >= {("192.0.2.1", 9), ("127.0.0.53", 53), ("192.0.2.3", 9), ("2001:db8::1", 9)}
    assert ("127.0.0.1", 9) not in found


@pytest.fixture
def other_machine() -> Iterator[list[str]]:
    """Starts a command on another machine: a network namespace behind a pair of veth devices."""
    needs("ip")
    name = f"rr{os.getpid() % 100_000}"

    def ip(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ip", *words], capture_output=True, text=True)

    made = ip("netns", "add", name)
    if made.returncode and "CI" not in os.environ:
        pytest.skip(f"network namespaces are not allowed here: {made.stderr.strip()}")
    try:
        for line in (
            f"link add {name}a type veth peer name {name}b netns {name}",
            f"addr add {OTHERS}.1/24 dev {name}a", f"link set {name}a up",
            f"-n {name} addr add {OTHERS}.2/24 dev {name}b", f"-n {name} link set {name}b up",
            f"-n {name} link set lo up",
        ):  # fmt: skip
            done = ip(*line.split())
            assert done.returncode == 0, f"ip {line}: {done.stderr}"
        yield ["ip", "netns", "exec", name]
    finally:
        ip("link", "del", f"{name}a")
        ip("netns", "del", name)


WATCHER = """
import sys, time, json, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("watcher")
seen = []
node.create_subscription(Image, "/robot/image_raw", lambda m: seen.append(m.width), qos_profile_sensor_data)
end = time.monotonic() + float(sys.argv[1])
while not seen and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
print(json.dumps({"images": len(seen), "publishers": node.count_publishers("/robot/image_raw")}))
"""


def test_another_machine_receives_images_only_if_the_user_allows_it(users_environment, other_machine, monkeypatch):
    def watch(seconds: float) -> dict[str, int]:
        watcher = subprocess.run(
            [*other_machine, sys.executable, "-c", WATCHER, str(seconds)],
            # It names this machine, and has no shared memory with it.
            env={**users_environment, "ROS_STATIC_PEERS": f"{OTHERS}.1", "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return json.loads(watcher.stdout)

    camera = [
        p
        for p in bringup.processes({"source": str(assets.resolve("demo-face")), "loop": "true"})
        if p.executable == "camera"
    ]
    with Probe("/robot", {"image_raw": Image}) as probe:
        for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
            monkeypatch.delenv(name, raising=False)
        for extra, seconds in (({}, 6), ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, 30)):
            probe.clear()
            runner = Runner(camera, extra)
            try:
                probe.wait(lambda: len(probe["image_raw"]) > 5, 20, "the camera's images on this machine")
                found = watch(seconds)
            finally:
                runner.end()
            if extra:
                assert found["images"] > 0, "the watcher itself works"
            else:
                assert found == {"images": 0, "publishers": 0}
