"""The package under colcon, as on a ROS machine: built from a copy of the tree, and run from where it was installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoints
from pathlib import Path

import pytest
import workshop

from react_ros import assets, bringup

# On one worker: two would compile the same workspace.
pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.xdist_group("colcon")]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colcon workspace that holds nothing but this package, built."""
    folder = tmp_path_factory.mktemp("workspace")
    python = workshop.build_python()
    source = folder / "src" / "react_ros"
    source.mkdir(parents=True)
    # What git holds, and what it would: a copy without this tree's own build.
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if (workshop.ROOT / ".git").exists():
        said = subprocess.run(listing, cwd=workshop.ROOT, check=True, capture_output=True, text=True).stdout
        files = said.split("\0")
    else:
        skipped = {"build", "install", "log", "demo", "__pycache__"}
        files = [str(p.relative_to(workshop.ROOT)) for p in workshop.ROOT.rglob("*")
                 if p.is_file() and not skipped & set(p.relative_to(workshop.ROOT).parts)]  # fmt: skip
    for name in filter(None, files):
        if (workshop.ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((workshop.ROOT / name).read_bytes())
            (source / name).chmod((workshop.ROOT / name).stat().st_mode)
    ros = str(workshop.ros_prefix(python))
    env = workshop.environment(AMENT_PREFIX_PATH=ros, CMAKE_PREFIX_PATH=ros, COLCON_HOME=str(folder / "colcon"))
    env["PATH"] = f"{python.parent}:{env['PATH']}"
    # On a ROS machine `colcon build` is enough: the two arguments are for ROS out of PyPI's wheels.
    workshop.run(
        [python.parent / "colcon", "build", "--cmake-args", f"-DPython3_EXECUTABLE={python}",
         f"-DCMAKE_PROJECT_INCLUDE={source / 'cmake' / 'wheel_paths.cmake'}", "-DBUILD_TESTING=OFF"],
        folder, env,
    )  # fmt: skip
    return folder


@pytest.fixture
def sourced(workspace: Path, domain: int) -> Iterator[list[str]]:
    """Begins a command in a shell that has sourced the workspace, where python3 is the one that has ROS."""
    setup = workspace / "install" / "setup.bash"
    yield ["bash", "-c", f'export PATH="{Path(sys.executable).parent}:$PATH"; source {setup} && exec "$0" "$@"']


def test_colcon_installs_executables_launch_files_parameters_models_and_messages(workspace):
    package = workspace / "install" / "react_ros"
    executables = package / "lib" / "react_ros"
    names = {p.executable for p in bringup.processes({"record": "bag"})} | {"react-ros", "composed"}
    assert {p.name for p in executables.iterdir()} == names
    assert all(p.stat().st_mode & 0o111 for p in executables.iterdir())
    share = package / "share" / "react_ros"
    for folder in ("launch", "config", "models", "msg"):
        here = {p.name for p in (workshop.ROOT / folder).iterdir() if p.is_file()}
        assert here and here <= {p.name for p in (share / folder).iterdir()}, folder
    assert (share / "package.xml").is_file()
    assert (package / "share" / "ament_index" / "resource_index" / "packages" / "react_ros").is_file()
    modules = next(package.glob("lib/python3*/site-packages")) / "react_ros"
    written = {str(p.relative_to(workshop.ROOT)) for p in (workshop.ROOT / "react_ros").rglob("*.py")}
    assert {str(p.relative_to(modules.parent)) for p in modules.rglob("*.py") if "msg" not in p.parts} == written
    assert (modules / "msg" / "_status.py").is_file()
    project = tomllib.loads((workshop.ROOT / "pyproject.toml").read_text())["project"]
    (info,) = modules.parent.glob("react_ros-*.egg-info")
    found = EntryPoints(e for e in Distribution.at(info).entry_points if e.group == "react_ros.systems")
    assert {e.name: e.value for e in found} == project["entry-points"]["react_ros.systems"]


def test_a_node_runs_from_where_colcon_installed_it(workspace, sourced, tmp_path):
    from react_ros.msg import Status
    from react_ros.nodes.probe import Probe

    executables = workspace / "install" / "react_ros" / "lib" / "react_ros"
    with Probe("/robot", {"avatar/status": Status}) as probe:
        # Run elsewhere than in the source tree, whose modules would be found first.
        node = subprocess.Popen(
            [*sourced, executables / "avatar", "--ros-args", "-r", "__ns:=/robot", "-p", "render:=false"], cwd=tmp_path
        )
        try:
            probe.wait(lambda: node.poll() is not None or len(probe["avatar/status"]) > 25, 30, "the installed avatar")
        finally:
            node.terminate()
        assert node.wait(10) == 0
    ask = "import react_ros.msg, react_ros.package as p; print(react_ros.msg.__file__, p.share())"
    where = subprocess.run(
        [*sourced, "python3", "-c", ask],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env=workshop.environment(REACT_ROS_CACHE=str(assets.cache_dir())),
    )  # fmt: skip
    assert where.stdout.count(str(workspace / "install")) == 2, where.stdout
