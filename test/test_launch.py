"""The launch arguments and processes of bringup.py, and how `react-ros run` and the launch file use them.

The launch file is loaded with the stand-in of launch_stand_in.py, which has the names, arguments and errors of launch
and launch_ros, and starts nothing; and with the real packages where they are installed (PyPI has neither).
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import launch_stand_in as stand_in
import pytest

from react_ros import assets, bringup, dds
from react_ros.package import CONFIGURATION_ERROR, dds_profile, package_environment, share

LAUNCH_FILE = share() / "launch" / "avatar.launch.py"
OTHER = {
    "source": "film.mp4", "microphone": "USB", "generator": "mime", "seed": "7", "samples": "3", "namespace": "lab/two",
    "liveliness": "1.5", "device": "cpu", "rendering": "false", "view_port": "8025", "window": "true", "loop": "true",
    "start_at": "12.5", "record": "my bag", "privacy": "features", "use_sim_time": "true", "config": "parameters.yaml",
    "image": "/camera/image_raw", "audio": "mic/audio", "composed": "true",
}  # fmt: skip
"""For every argument a value other than its default."""


@pytest.fixture
def other(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "parameters.yaml"
    file.write_text("/**/listener: {ros__parameters: {samples: 5}}\n")
    return OTHER | {"config": str(file)}


@pytest.fixture
def description(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, module in stand_in.modules().items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return runpy.run_path(str(LAUNCH_FILE))["generate_launch_description"]()


# The table


def test_every_argument_has_an_effect(other):
    assert set(other) == {a.name for a in bringup.ARGUMENTS}
    assert bringup.processes({}) == bringup.processes({a.name: a.default for a in bringup.ARGUMENTS})
    for name, value in other.items():
        others = {"record": "bag"} if name == "privacy" else {}
        assert bringup.processes({**others, name: value}) != bringup.processes(others), name


def test_each_choice_reaches_the_node_it_is_meant_for(other):
    table = {p.executable: p for p in bringup.processes(other | {"composed": "false"})}
    filed = {"loop": True, "start_at": 12.5}
    assert {name: p.parameters for name, p in table.items()} == {
        name: {**parameters, "use_sim_time": True}
        for name, parameters in {
            "recorder": {"path": "my bag", "privacy": "features", "again": True},
            "avatar": {"render": False, "window": True, "seed": 7, "view_port": 8025},
            "listener": {"generator": "mime", "seed": 7, "samples": 3, "device": "cpu", "liveliness": 1.5},
            "perception": {},
            "microphone": {"source": "USB", **filed},
            "camera": {"source": "film.mp4", **filed},
        }.items()
    }
    assert {p.namespace for p in table.values()} == {"lab/two"}
    assert {p.parameter_files for p in table.values()} == {(other["config"],)}
    assert all(p.remappings == {"image_raw": "/camera/image_raw", "audio": "mic/audio"} for p in table.values())
    assert [*table][::5] == ["recorder", "camera"], "subscribers start before publishers"


def test_none_leaves_a_sensor_to_another_driver():
    names = [p.executable for p in bringup.processes({"source": "none", "microphone": "none"})]
    assert names == ["avatar", "listener", "perception"]


@pytest.mark.parametrize(
    ("chosen", "topic"),
    [
        ({"source": "none"}, "/robot/image_raw"),
        ({"source": "none", "namespace": "lab/two"}, "/lab/two/image_raw"),
        ({"source": "none", "image": "/camera/color/image_raw"}, "/camera/color/image_raw"),
        ({"source": "none", "image": "left/image_raw"}, "/robot/left/image_raw"),
        ({"image": "/camera/color/image_raw"}, ""),
    ],
)
def test_every_process_knows_on_which_topic_a_driver_with_the_default_profile_publishes(chosen, topic):
    expected = {dds.IMAGES_VARIABLE: topic}
    assert all(p.environment == expected for p in bringup.processes(chosen))
    (composed,) = bringup.processes({**chosen, "composed": "true"})
    assert composed.environment == expected


def test_composed_is_one_process_with_the_nodes_of_the_table(other):
    (process,) = bringup.processes(other)
    assert process.executable == "composed" and (share() / "scripts" / "composed").is_file()
    table = bringup.processes(other | {"composed": "false"})
    assert json.loads(*process.arguments) == [[p.executable, p.ros_arguments] for p in table]
    assert process.command[5:7] == [*process.arguments, "--ros-args"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sed", "1", "unknown argument 'sed' (did you mean 'seed'?): there are source,"),
        ("device", "tpu", "device must be one of auto, cpu, cuda, not 'tpu'"),
        ("rendering", "True", "rendering must be one of true, false, not 'True'"),
        ("seed", "-1", "seed must be a whole number, 0 or more, not '-1'"),
        ("seed", "²", "seed must be a whole number, 0 or more, not '²'"),
        ("samples", "", "samples must be a whole number, 0 or more, not ''"),
        ("view_port", "65536", "view_port must be at most 65535"),
        ("liveliness", "2.5", "liveliness must be at most 2, not 2.5"),
        ("start_at", "soon", "start_at must be a number, 0 or more"),
        ("start_at", "nan", "start_at must be a number, 0 or more"),
        ("namespace", "my robot", "namespace must be of letters"),
        ("image", "my camera", "image must be a topic like /camera/image_raw, not 'my camera'"),
        ("audio", "/audio/", "audio must be a topic"),
        ("config", "/no/such.yaml", "config '/no/such.yaml' is no file"),
        ("config", __file__, "is no YAML file"),
    ],
)
def test_an_impossible_value_is_named_in_one_sentence(name, value, expected):
    with pytest.raises(ValueError) as error:
        bringup.processes({name: value})
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_what_the_user_has_set_in_the_environment_stays():
    assert set(bringup.environment({})) == {"OMP_NUM_THREADS"}
    assert bringup.environment({"OMP_NUM_THREADS": "8"}) == {}


@pytest.mark.parametrize(
    ("given", "profile"),
    [
        ({}, "fastdds.xml"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "fastdds.xml"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "fastdds_localhost.xml"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "fastdds_localhost.xml"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_STATIC_PEERS": "gpu-host"}, "fastdds.xml"),
    ],
)
def test_a_robot_that_stays_within_its_machine_listens_on_loopback_only(given, profile):
    chosen = dds_profile(given)
    assert chosen.name == profile and chosen.is_file()


# Command line of a node


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder with files that have the names of modules, and of this package."""
    for name in ("numpy", "yaml", "signal", "typing", "react_ros/__init__", "rclpy/__init__"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} is taken from the current folder')\n")
    return tmp_path


@pytest.mark.ros
def test_a_number_as_text_stays_a_text_whatever_the_current_folder_holds(domain, shadows):
    (camera,) = [p for p in bringup.processes({"source": "63"}) if p.executable == "camera"]
    given = os.pathsep.join(["", *filter(os.path.isabs, sys.path), "."])  # its ends mean the current folder
    env = {**os.environ, **package_environment({"PYTHONPATH": given})}
    done = subprocess.run(camera.command, capture_output=True, text=True, timeout=30, cwd=shadows, env=env)
    assert done.returncode == CONFIGURATION_ERROR, done.stderr
    assert "there is no camera 63" in done.stderr


def test_the_command_line_takes_nothing_from_the_current_folder(shadows):
    shutil.rmtree(shadows / "react_ros")  # python -m would run it
    for name in ("signal", "typing"):  # Python's own start would
        (shadows / f"{name}.py").unlink()
    env = {**os.environ, "PYTHONPATH": str(Path(bringup.__file__).parents[1])}
    env.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, "-m", "react_ros", "run", "--seed", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=shadows, env=env)
    assert done.returncode == 2 and "seed must be a whole number" in done.stderr, done.stderr


def test_a_child_process_runs_the_package_of_its_parent():
    own = str(Path(bringup.__file__).parents[1])
    entries = package_environment({"PYTHONPATH": os.pathsep.join(["", ".", "lib", "/opt/ros", ""])})["PYTHONPATH"]
    installed = "site-packages" in own or "dist-packages" in own
    assert entries.split(os.pathsep) == (["/opt/ros"] if installed else [own, "/opt/ros"])


def test_an_installed_package_knows_the_commit_it_was_built_from(tmp_path):
    from react_ros.package import COMMIT_FILE, _commit

    assert _commit(tmp_path) == ""
    (tmp_path / COMMIT_FILE).write_text("66bde41-dirty\n")
    assert _commit(tmp_path) == "66bde41-dirty"


@pytest.mark.ros
def test_a_path_with_spaces_quotes_and_signs_arrives_whole_and_a_config_file_has_the_last_word(start_robot, tmp_path):
    film, voice = (tmp_path / f'it\'s a "film" – {{1}}: #😀 \\ of ünï${{HOME}}.{kind}' for kind in ("mp4", "wav"))
    shutil.copy(assets.resolve("footage-single-face-video"), film)
    shutil.copy(assets.resolve("demo-voice-2"), voice)
    config = tmp_path / "my parameters.yaml"
    config.write_text("/**/camera: {ros__parameters: {loop: false}}\n")
    robot = start_robot(only=("camera", "microphone"), source=str(film), microphone=str(voice), config=str(config))
    facts = robot.probe.facts
    robot.wait(lambda: facts("/robot/camera").get("end") and facts("/robot/microphone").get("chunks"), 20, "both files")
    assert facts("/robot/camera")["source"] == str(film)
    assert facts("/robot/microphone")["source"] == str(voice)
    assert robot.lines == []


# The launch file


def declared(description: Any) -> dict[str, tuple[Any, Any, Any]]:
    return {
        e.name: (e.default_value, e.description, e.choices)
        for e in description.entities
        if isinstance(e, stand_in.DeclareLaunchArgument)
    }


def test_the_launch_file_declares_the_arguments_of_the_table(description):
    assert declared(description) == {
        a.name: (a.default, a.description, list(a.choices) or None) for a in bringup.ARGUMENTS
    }


@pytest.mark.parametrize(("chosen", "count"), [("none", 5), ("all", 6), ("composed", 1)])
def test_the_launch_file_starts_the_processes_of_the_table(description, other, chosen, count):
    given = {"none": {}, "all": other | {"composed": "false"}, "composed": other}[chosen]
    context, run = description.start(given)
    nodes = [action for action in run if isinstance(action, stand_in.Node)]
    assert len(nodes) == len(bringup.processes(given)) == count
    for node, process in zip(nodes, bringup.processes(given), strict=True):
        assert (node.package, node.executable, node.name) == ("react_ros", process.executable, None)
        assert (share() / "scripts" / node.executable).is_file(), "the executable exists"
        assert node.namespace == process.namespace
        values, *files = node.parameters
        assert {n: (v.value, v.value_type) for n, v in values.items()} == {
            n: (v, type(v)) for n, v in process.parameters.items()
        }
        assert tuple(files) == process.parameter_files
        assert dict(node.remappings) == process.remappings
        assert tuple(node.arguments) == process.arguments
        assert node.additional_env is not None and process.environment.items() <= node.additional_env.items()
        assert node.output == "screen"
        assert node.respawn and node.respawn_delay and node.watched, "a killed node is restarted"
    assert context.environment == bringup.environment()


def test_a_node_that_cannot_be_configured_ends_the_launch_and_a_killed_one_does_not(description):
    _, run = description.start({})
    handlers = [a.handler for a in run if isinstance(a, stand_in.RegisterEventHandler)]
    assert len(handlers) == 5
    for handler in handlers:
        event = SimpleNamespace(returncode=CONFIGURATION_ERROR, process_name="camera-1", pid=1)
        (shutdown,) = handler.on_exit(event, None)
        assert isinstance(shutdown, stand_in.Shutdown) and "camera-1" in shutdown.reason
        assert handler.on_exit(SimpleNamespace(returncode=-9, process_name="camera-1", pid=2), None) is None


def test_under_launch_a_node_that_was_configured_before_does_not_end_it(description, monkeypatch):
    """As a microphone that is unplugged."""
    from react_ros.supervision.heartbeats import VARIABLE, Heartbeat

    _, run = description.start({})
    nodes = [a for a in run if isinstance(a, stand_in.Node)]
    handlers = [a.handler for a in run if isinstance(a, stand_in.RegisterEventHandler)]
    assert nodes[0].additional_env and nodes[0].additional_env["PYTHONSAFEPATH"] == "1"
    monkeypatch.setenv(VARIABLE, nodes[0].additional_env[VARIABLE])
    Heartbeat().ready()  # as this process
    died = SimpleNamespace(returncode=-9, process_name="camera-1", pid=os.getpid())
    again = SimpleNamespace(returncode=CONFIGURATION_ERROR, process_name="camera-1", pid=1)
    assert handlers[0].on_exit(died, None) is None and handlers[0].on_exit(again, None) is None
    assert handlers[1].on_exit(again, None), "another node"


def test_an_impossible_value_ends_the_launch_with_its_sentence(description):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        description.start({"seed": "x"})
    with pytest.raises(RuntimeError, match="device must be one of"):
        description.start({"device": "tpu"})


@pytest.mark.skipif(not stand_in.installed(), reason="launch and launch_ros are not installed (PyPI has neither)")
def test_the_real_launch_reads_the_file():
    description = runpy.run_path(str(LAUNCH_FILE))["generate_launch_description"]()
    assert [a.name for a in description.get_launch_arguments()] == [a.name for a in bringup.ARGUMENTS]


# The command line


def test_the_command_line_has_an_option_for_every_argument_with_its_default_and_help():
    from typer.main import get_command

    from react_ros.cli.main import app

    command: Any = get_command(app)
    options = {p.name: p for p in command.commands["run"].params}
    for a in bringup.ARGUMENTS:
        if a.flag is None:
            assert a.name not in options
            continue
        option = options[a.name]
        assert option.default == (a.value if a.run_value is None else a.run_value)
        assert option.help == a.description
        assert (a.flag or f"--{a.name.replace('_', '-')}") in option.opts


def test_the_flags_of_the_command_line_stay():
    from typer.main import get_command

    from react_ros.cli.main import app

    command: Any = get_command(app)
    flags = {flag for p in command.commands["run"].params for flag in (*p.opts, *p.secondary_opts)}
    assert flags == {
        "--camera", "--mic", "--generator", "--seed", "--samples", "--namespace", "--device", "--rendering",
        "--no-rendering", "--view-port", "--window", "--loop", "--record", "--privacy", "--sim-time", "--config",
        "--composed", "--liveliness", "--image", "--audio",
    }  # fmt: skip
