"""`react-ros doctor`: checks this machine, with a command that installs or fixes whatever is missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module, metadata, util
from pathlib import Path

from react_ros import assets, dds
from react_ros.cli.doctor_devices import listen, look
from react_ros.machine import describe_machine


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    text: str
    remedy: str = ""
    """Command that installs or fixes it."""
    required: bool = True
    """Whether the robot cannot run without it."""


def run_checks(as_json: bool = False) -> int:
    """Print the results of all checks. Returns 1 where something required is missing, else 0."""
    from rich.console import Console

    if as_json:
        found = [finding for check in CHECKS for finding in check()]
        told = {"machine": describe_machine(), "checks": [asdict(finding) for finding in found]}
        print(json.dumps(told, indent=1, ensure_ascii=False))
        return int(any(finding.required and not finding.ok for finding in found))
    console = Console(highlight=False)
    console.print(describe_machine(), style="dim")
    code = 0
    for check in CHECKS:
        for found in check():
            mark = "[green]ok  [/]" if found.ok else ("[red]MISS[/]" if found.required else "[yellow]none[/]")
            console.print(f"{mark} {found.name}: ", end="")
            console.print(found.text, markup=False, soft_wrap=True)
            if not found.ok and found.remedy:
                console.print(f"     → {found.remedy}", markup=False, soft_wrap=True)
            code = code or int(found.required and not found.ok)
    return code


def ros() -> list[Finding]:
    """ROS 2, its middleware, the compiled messages, optional interface packages."""
    findings = []
    try:
        from react_ros.nodes.middleware import middleware, rclpy_folder

        distribution = os.environ.get("ROS_DISTRO") or "Jazzy, from PyPI"
        findings.append(Finding("ROS 2", True, f"{distribution}, rclpy at {rclpy_folder()}"))
        findings.append(Finding("middleware", True, middleware()))
    except ImportError as error:
        findings.append(Finding("ROS 2", False, str(error), "pip install ros-jazzy-rclpy ros-jazzy-rmw-fastrtps-cpp"))
    try:
        import_module("react_ros.msg")
        findings.append(Finding("react_ros messages", True, "compiled"))
    except ImportError as error:
        findings.append(
            Finding("react_ros messages", False, f"not compiled ({error})", "pip install . (or colcon build)")
        )
    for package in ("hri_msgs", "audio_common_msgs"):
        installed = util.find_spec(package) is not None
        text = "installed" if installed else "not installed (optional)"
        remedy = f"on a ROS machine: apt-get install ros-$ROS_DISTRO-{package.replace('_', '-')}"
        findings.append(Finding(package, installed, text, remedy, required=False))
    return findings


def transport() -> list[Finding]:
    """Room for images on their way between processes: shared memory and socket buffers."""
    memory, dead, buffer = dds.shared_memory(), dds.dead_segments(), dds.socket_buffer()
    text = str(memory)
    if dead:
        held = sum(path.stat().st_blocks * 512 for path in dead if path.exists()) / 2**20
        text += f"; {held:.0f} MB are of processes that were killed, which react-ros run frees"
    return [
        Finding("/dev/shm", not memory.small, text, dds.SHARED_MEMORY_REMEDY, required=False),
        Finding(
            "socket buffers", buffer >= dds.ENOUGH_BUFFER,
            f"{buffer / 2**20:.1f} MB; the images of another package's camera driver need {dds.ENOUGH_BUFFER >> 20} MB",
            dds.BUFFER_REMEDY, required=False,
        ),
    ]  # fmt: skip


def models() -> list[Finding]:
    """The face model and the demo's footage."""
    findings = []
    for name, required in (("face-landmarker", True), ("demo-face", False), ("demo-voice-1", False)):
        try:
            findings.append(Finding(name, True, str(assets.resolve(name))))
        except FileNotFoundError as error:
            findings.append(Finding(name, False, str(error), f"react-ros assets fetch {name}", required))
    return findings


def cameras() -> list[Finding]:
    """Video devices."""
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    remedy = "connect a camera, or react-ros run --camera FILM.mp4"
    if not devices:
        return [Finding("cameras", False, "give a film file as --camera", remedy, required=False)]
    out = []
    for device in devices[:MOST_CAMERAS]:
        good, text = look(device)
        out.append(
            Finding(f"camera {device}", good, text, "react-ros run --camera NUMBER, another one", required=False)
        )
    return out


def microphones() -> list[Finding]:
    """Sound devices."""
    from react_ros.media.errors import MediaError
    from react_ros.sensors.microphone import input_devices

    try:
        names = input_devices()
    except MediaError as error:
        return [Finding("microphones", False, str(error), "apt-get install libportaudio2", required=False)]
    text = ", ".join(names) or "give a sound file as --mic"
    remedy = "connect a microphone, or react-ros run --mic VOICE.wav"
    out = [Finding("microphones", bool(names), text, remedy, required=False)]
    if names:
        good, text = listen("default")
        advice = "choose another one: react-ros run --mic NAME, or in the system's sound settings"
        out.append(Finding("default microphone", good, text, advice, required=False))
    return out


def gpu() -> list[Finding]:
    """torch and CUDA, for learned systems."""
    if util.find_spec("torch") is None:
        return [Finding("torch", False, "not installed (learned systems need it)", "pip install torch==2.13.0", False)]
    import torch

    if torch.cuda.is_available():
        return [Finding("GPU", True, torch.cuda.get_device_name())]
    text = f"none; torch {torch.__version__} runs on the CPU, which is fast enough for every system here"
    return [Finding("GPU", False, text, required=False)]


def films() -> list[Finding]:
    """Reading and writing films: PyAV includes FFmpeg's libraries; the ffmpeg program is optional."""
    findings = [Finding("PyAV", True, f"{metadata.version('av')} (reads and writes films without ffmpeg)")]
    path = shutil.which("ffmpeg")
    remedy = "apt-get install ffmpeg"
    return [*findings, Finding("ffmpeg", path is not None, path or "not installed (optional)", remedy, required=False)]


def ports(port: int = 8025) -> list[Finding]:
    """The port of the live page."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return [Finding(f"port {port}", False, "in use", "react-ros run --view-port 8026", required=False)]
    return [Finding(f"port {port}", True, "free, for the live page")]


def disk() -> list[Finding]:
    """Room for recordings: a minute with images takes about 60 MB."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f"{free:.1f} GB free here, {free * 1000 / 60 / 60:.0f} hours of recording with images"
    return [
        Finding("disk", free >= ENOUGH_DISK_GB, text, "record to another disk, or --privacy features", required=False)
    ]


def screen() -> list[Finding]:
    """A display for --window."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    text = display or "none; the live page shows the avatar in any browser"
    return [Finding("screen", bool(display), text, "react-ros run --view-port 8025", required=False)]


MOST_CAMERAS = 4
"""A camera of a laptop has two devices or more."""
ENOUGH_DISK_GB = 2.0

CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    ros,
    transport,
    models,
    cameras,
    microphones,
    gpu,
    films,
    ports,
    disk,
    screen,
)
