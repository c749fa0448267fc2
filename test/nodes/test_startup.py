"""Starting and stopping the robot from the command line, and errors of its configuration."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from typer.testing import CliRunner

from react_ros import assets, bringup
from react_ros.cli.main import app
from react_ros.media.errors import MediaError
from react_ros.msg import Status
from react_ros.nodes.probe import Probe
from react_ros.sensors.microphone import input_devices

pytestmark = [pytest.mark.ros, pytest.mark.slow]

FACE = str(assets.resolve("demo-face"))


class Terminal:
    """`react-ros run …` as a shell starts it: in its own process group, all of which gets Ctrl-C."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.file = folder / "output.txt"
        with self.file.open("w") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "react_ros", "run", "--view-port", "0", "--no-rendering", *arguments],
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment},
            )  # fmt: skip
        self.process = psutil.Process(self.popen.pid)

    def children(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def press_ctrl_c(self) -> None:
        os.killpg(self.popen.pid, signal.SIGINT)

    @property
    def out(self) -> str:
        return self.file.read_text()


def wait(condition: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.01)


@pytest.fixture
def terminal(domain: int, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> Terminal:
        started.append(Terminal(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.popen.poll() is None:
            for process in (*one.children(), one.process):
                process.kill()
            one.popen.wait()


FILES = ("--camera", FACE, "--mic", str(assets.resolve("demo-voice-1")), "--loop")


def wait_live() -> None:
    with Probe("/robot", {"avatar/status": Status}) as probe:
        probe.wait(lambda: any(s.state == Status.LIVE for s in probe["avatar/status"]), 40, "a live face")


# The end


@pytest.mark.parametrize("composed", [False, True], ids=["processes", "composed"])
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_a_live_robot_and_leaves_no_process_behind(terminal, composed: bool, presses: int):
    robot = terminal(*FILES, *(["--composed"] if composed else []))
    wait_live()
    children = robot.children()
    assert len(children) == (1 if composed else 5)
    for _ in range(presses):
        robot.press_ctrl_c()
    assert robot.popen.wait(6.0) in (0, 130)
    assert not psutil.wait_procs(children, 1.0)[1], "a process was left behind"
    assert "Traceback" not in robot.out and "rror" not in robot.out, robot.out


def a_first_process(robot: Terminal) -> bool:
    return len(robot.children()) >= 1


def all_processes(robot: Terminal) -> bool:
    return len(robot.children()) == 5


@pytest.mark.parametrize("moment", [a_first_process, all_processes])
def test_ctrl_c_during_the_start_leaves_no_process_behind(terminal, moment: Callable[[Terminal], bool]):
    robot = terminal(*FILES)
    wait(lambda: moment(robot), 20, moment.__name__)
    children = robot.children()
    robot.press_ctrl_c()
    robot.press_ctrl_c()
    assert robot.popen.wait(6.0) in (0, 130)
    assert not psutil.wait_procs(children, 3.0)[1], "a process was left behind"
    assert "Traceback" not in robot.out, robot.out


def test_when_the_runner_is_killed_all_nodes_end(terminal):
    robot = terminal(*FILES)
    wait(lambda: all_processes(robot), 20, "five processes")
    children = robot.children()
    wait_live()
    robot.popen.kill()
    assert not psutil.wait_procs(children, 6.0)[1], "a process was left behind"


# Invalid parameters


def sentence(out: str) -> str:
    """The single line of the output but for what nodes are configured as, without the prefix of the ROS log."""
    assert "Traceback" not in out, out
    lines = [line for line in out.splitlines() if line.strip() and not line.startswith("[INFO]")]
    lines = [re.sub(r"^\[FATAL\] \[[\d.]+\] \[[\w.]+\]: ", "", line) for line in lines]
    assert len(lines) == 1, f"not one sentence but: {lines}"
    assert lines[0].endswith("."), lines[0]
    return lines[0]


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_one_invalid_configuration_ends_the_whole_robot_with_one_sentence(terminal, tmp_path: Path):
    robot = terminal("--camera", FACE, "--mic", "none", REACT_ROS_CACHE=str(tmp_path))
    wait(lambda: len(robot.children()) == 4 or robot.popen.poll() is not None, 20, "four processes")
    children = robot.children()
    assert robot.popen.wait(30.0) == 2
    assert not psutil.wait_procs(children, 1.0)[1], "a process was left behind"
    out = sentence(robot.out)
    assert "perception" in out and "react-ros assets fetch face-landmarker" in out


def test_composed_nodes_print_the_same_sentence(terminal):
    robot = terminal("--camera", FACE, "--mic", "none", "--generator", "atentive", "--composed")
    assert robot.popen.wait(30.0) == 2
    assert "unknown generator 'atentive' (did you mean 'attentive'?): there are attentive," in sentence(robot.out)


def _files(folder: Path) -> dict[str, str]:
    import av

    (folder / "text.mp4").write_text("this is no film\n")
    (folder / "model.task").write_bytes(b"PK\x03\x04 not a model")
    soundfile.write(folder / "voice.wav", np.zeros(1600, np.int16), 16_000)
    soundfile.write(folder / "empty.wav", np.zeros(0, np.int16), 16_000)
    with av.open(str(folder / "voice.mp4"), "w") as container:  # a film with sound alone, and one with pictures alone
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(folder / "silent.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 64
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(video.encode(None))
    return {"f": str(folder)}


# node, its parameters ({f}: a folder of bad files), what its sentence says
INVALID = [
    ("camera", {"source": "7"}, "there is no camera 7 (/dev/video7): connect one, or give a film"),
    ("camera", {"source": "{f}/none.mp4"}, "{f}/none.mp4"),
    ("camera", {"source": "{f}/text.mp4"}, "{f}/text.mp4 cannot be read as a film: invalid data"),
    ("camera", {"source": "{f}/voice.mp4"}, "{f}/voice.mp4 has no picture in it"),
    ("camera", {"width": 5000}, "width must be a whole number between 0 and 4096, not 5000"),
    ("camera", {"fps": "fast"}, "fps must be a number with a point between 1 and 120, not 'fast'"),
    ("microphone", {"source": "{f}/none.wav"}, "sound file {f}/none.wav does not exist"),
    ("microphone", {"source": "{f}/text.mp4"}, "{f}/text.mp4 cannot be read as sound: invalid data"),
    ("microphone", {"source": "{f}/silent.mp4"}, "{f}/silent.mp4 has no sound in it"),
    ("microphone", {"source": "{f}/empty.wav"}, "{f}/empty.wav has no sound in it"),
    ("microphone", {"source": "Nonesuch"}, "no microphone"),
    ("microphone", {"source": "default"}, "no microphone"),
    ("perception", {"model": "{f}/model.task"}, "{f}/model.task cannot be read: expected a face_landmarker.task"),
    ("perception", {"model": "{f}/none.task"}, "{f}/none.task"),
    ("perception", {"wav2vec2": "{f}/none.pt"}, "{f}/none.pt"),
    ("perception", {"max_faces": 0}, "max_faces must be a whole number between 1 and 16, not 0"),
    ("listener", {"generator": "mimee"}, "unknown generator 'mimee' (did you mean 'mime'?): there are attentive, "),
    ("listener", {"generator_parameters": "{{livelyness: 2}}"}, "attentive has no parameter 'livelyness'"),
    ("listener", {"generator_parameters": "just text"}, "generator_parameters must be a YAML mapping"),
    ("listener", {"samples": 0}, "samples must be a whole number between 1 and 100, not 0"),
    ("listener", {"device": "tpu"}, "device must be one of auto, cpu, cuda, not 'tpu'"),
    ("avatar", {"view_port": 0.5}, "view_port must be a whole number between 0 and 65535, not 0.5"),
    ("avatar", {"view_port": "{port}"}, "cannot serve the view on 127.0.0.1 port {port} (Address already in use)"),
    ("recorder", {"path": ""}, "path must name the folder of the new bag"),
    ("recorder", {"path": "{f}"}, "{f}"),
    ("recorder", {"images": "gif"}, "images must be one of raw, jpeg, none, not 'gif'"),
]


def test_every_invalid_parameter_gets_one_sentence_that_names_it_and_exit_code_2(
    domain: int, tmp_path: Path, busy_port: int
):
    _files(tmp_path)
    try:
        has_microphone = bool(input_devices())
    except MediaError:
        has_microphone = False
    names: dict[str, str] = {"f": str(tmp_path), "port": str(busy_port)}
    # No sound server: what ALSA alone finds.
    quiet = {**os.environ, "PULSE_SERVER": "unix:/nonexistent", "JACK_NO_START_SERVER": "1"}

    def start(node: str, parameters: dict[str, Any]) -> subprocess.Popen[str]:
        filled = {
            name: value.format(**names) if isinstance(value, str) else value for name, value in parameters.items()
        }
        if "view_port" in filled and isinstance(filled["view_port"], str):
            filled["view_port"] = int(filled["view_port"])
        return subprocess.Popen(
            bringup.Process(node, "robot", filled).command,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=quiet,
        )  # fmt: skip

    problems = []
    cases = [w for w in INVALID if not (has_microphone and w[1].get("source") == "default")]
    for i in range(0, len(cases), 4):  # four at a time: most of a start is waiting
        running = [(case, start(case[0], case[1])) for case in cases[i : i + 4]]
        for (node, parameters, wanted), popen in running:
            try:
                out = popen.communicate(timeout=30)[0]
                assert popen.returncode == 2, f"exit code {popen.returncode}, out: {out}"
                line = sentence(out)
                assert line.startswith(f"{node}: "), line
                if has_microphone and parameters.get("source") == "Nonesuch":
                    wanted = "'Nonesuch' does not open"
                assert wanted.format(**names) in line, line
            except (AssertionError, subprocess.TimeoutExpired) as error:
                popen.kill()
                problems.append(f"{node} {parameters}: {error}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--config", "nofile.yaml"], "config 'nofile.yaml' is no file"),
        (["--config", FACE], f"config '{FACE}' is no YAML file"),
        (["--config", str(bringup.__file__)], "is no YAML file"),
        (["--device", "tpu"], "device must be one of auto, cpu, cuda, not 'tpu'"),
        (["--seed", "-1"], "seed must be a whole number, 0 or more, not '-1'"),
        (["--namespace", "a-b"], "namespace must be of letters, digits and _, like robot or lab/robot_2, not 'a-b'"),
        (["--namespace", "1st"], "namespace must be of letters"),
    ],
)
def test_invalid_command_line_values_start_no_process(arguments: list[str], wanted: str):
    outcome = CliRunner().invoke(app, ["run", *arguments])
    assert outcome.exit_code == 2
    assert wanted in sentence(outcome.stderr)


# What a newcomer types first


def test_the_first_commands_of_a_new_user_explain_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def typed(*arguments: str) -> tuple[int, str]:
        outcome = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
        assert outcome.exception is None or isinstance(outcome.exception, SystemExit), outcome.exception
        return outcome.exit_code, outcome.output

    code, out = typed("--help")
    assert code == 0
    assert all(command in out for command in ("run", "demo", "generators", "doctor", "assets", "bench", "version"))
    code, out = typed("run", "--help")
    assert code == 0
    assert all(argument.description.split(":")[0][:20] in out for argument in bringup.ARGUMENTS if argument.name not in
               ("start_at",)), out  # fmt: skip
    code, out = typed("generators")
    assert code == 0 and "attentive" in out and "mime" in out
    code, out = typed("assets", "list")
    assert code == 0 and "face-landmarker" in out and "Apache-2.0" in out and "missing" not in out.split("demo-")[0]
    code, out = typed("doctor")
    assert code == 0 and "rmw_fastrtps_cpp" in out and "MISS" not in out
    monkeypatch.setenv("REACT_ROS_CACHE", str(tmp_path))
    code, out = typed("doctor")
    assert code == 1 and re.search(r"MISS face-landmarker.*\n.*react-ros assets fetch face-landmarker", out), out
    code, out = typed("assets", "list")
    assert code == 0 and "missing" in out
    code, out = typed("assets", "fetch", "face-landmark")
    assert code == 2 and "there is no asset 'face-landmark'" in out
