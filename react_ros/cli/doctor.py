"""Tells what this machine has and, for each thing missing, the one command that mends it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path

from react_ros import assets
from react_ros.machine import describe_machine


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    fine: bool
    text: str
    mend: str = ""
    needed: bool = True
    """Whether the robot cannot run without it."""


def examine() -> int:
    """Print the findings. Returns 1 where something that the robot needs is missing, else 0."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print(describe_machine(), style="dim")
    code = 0
    for check in CHECKS:
        for found in check():
            mark = "[green]ok  [/]" if found.fine else ("[red]MISS[/]" if found.needed else "[yellow]none[/]")
            console.print(f"{mark} {found.name}: ", end="")
            console.print(found.text, markup=False, soft_wrap=True)
            if not found.fine and found.mend:
                console.print(f"     → {found.mend}", markup=False, soft_wrap=True)
            code = code or int(found.needed and not found.fine)
    return code


def ros() -> list[Finding]:
    """ROS 2, its middleware and our messages."""
    findings = []
    try:
        import rclpy

        distribution = os.environ.get("ROS_DISTRO") or "Jazzy, from PyPI"
        findings.append(Finding("ROS 2", True, f"{distribution}, rclpy at {Path(rclpy.__file__ or '').parent}"))
        from rclpy.utilities import get_rmw_implementation_identifier

        findings.append(Finding("middleware", True, get_rmw_implementation_identifier()))
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
        there = util.find_spec(package) is not None
        text = "installed: used as well" if there else "not installed (optional)"
        mend = f"on a ROS machine: apt-get install ros-$ROS_DISTRO-{package.replace('_', '-')}"
        findings.append(Finding(package, there, text, mend, needed=False))
    return findings


def models() -> list[Finding]:
    """The face model and what the demo needs."""
    findings = []
    for name, needed in (("face-landmarker", True), ("demo-face", False), ("demo-voice-1", False)):
        try:
            findings.append(Finding(name, True, str(assets.resolve(name))))
        except FileNotFoundError as error:
            findings.append(Finding(name, False, str(error), f"react-ros assets fetch {name}", needed))
    return findings


def cameras() -> list[Finding]:
    """Video devices."""
    devices = sorted(str(p) for p in Path("/dev").glob("video*"))
    text = ", ".join(devices) or "give a film file as --camera"
    return [
        Finding("cameras", bool(devices), text, "plug a camera in, or react-ros run --camera FILM.mp4", needed=False)
    ]


def microphones() -> list[Finding]:
    """Sound devices."""
    from react_ros.sensors.camera import SensorError
    from react_ros.sensors.microphone import input_devices

    try:
        names = input_devices()
    except SensorError as error:
        return [Finding("microphones", False, str(error), "apt-get install libportaudio2", needed=False)]
    text = ", ".join(names) or "give a sound file as --mic"
    mend = "plug a microphone in, or react-ros run --mic VOICE.wav"
    return [Finding("microphones", bool(names), text, mend, needed=False)]


def gpu() -> list[Finding]:
    """CUDA, for learned listeners."""
    if util.find_spec("torch") is None:
        return [
            Finding("torch", False, "not installed (learned listeners need it)", "pip install torch==2.13.0", False)
        ]
    import torch

    if torch.cuda.is_available():
        return [Finding("GPU", True, torch.cuda.get_device_name())]
    text = f"torch {torch.__version__} runs on the processor, which every listener here is made for"
    return [Finding("GPU", False, text, needed=False)]


def films() -> list[Finding]:
    """Reading and writing films: PyAV carries FFmpeg's libraries, so the program itself is a convenience."""
    findings = [Finding("PyAV", True, f"{metadata.version('av')} (reads and writes films, no ffmpeg needed)")]
    path = shutil.which("ffmpeg")
    mend = "apt-get install ffmpeg"
    return [*findings, Finding("ffmpeg", path is not None, path or "not installed (optional)", mend, needed=False)]


def ports(port: int = 8025) -> list[Finding]:
    """The port of the live page."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return [Finding(f"port {port}", False, "in use", "react-ros run --view-port 8026", needed=False)]
    return [Finding(f"port {port}", True, "free, for the live page")]


def screen() -> list[Finding]:
    """Where a window could be shown."""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    text = display or "the live page shows the avatar in any browser"
    return [Finding("screen", bool(display), text, "react-ros run --view-port 8025", needed=False)]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (ros, models, cameras, microphones, gpu, films, ports, screen)
