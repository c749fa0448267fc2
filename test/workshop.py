"""Compiles ROS packages for tests: an environment with the build requirements of pyproject.toml, and colcon."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRA = ("colcon-common-extensions==0.3.0",)
_LEADS_TO_OTHERS = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "PYTHONPATH", "CI")


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what its own ROS put there: another Python's ROS would trip over it."""
    return {name: value for name, value in os.environ.items() if name not in _LEADS_TO_OTHERS} | more


def run(command: Sequence[str | Path], folder: Path, env: Mapping[str, str]) -> str:
    """Run a command and return what it said. Raises AssertionError with the end of that where it fails."""
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout + done.stderr


def build_python() -> Path:
    """The Python of a virtual environment that can compile ROS packages; made on first use, in build/."""
    requirements = [*tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"], *EXTRA]
    name = hashlib.sha256("\n".join([sys.version, *requirements]).encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"workshop-{name}"
    folder.parent.mkdir(exist_ok=True)
    # Other test processes may want it at the same moment.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            run([sys.executable, "-m", "venv", "--clear", folder], ROOT, environment())
            pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, *requirements], ROOT, environment())
            (folder / "complete").touch()
    return folder / "bin" / "python"


def ros_prefix(python: Path) -> Path:
    """Where that Python's ROS wheels keep share/ and lib/."""
    return python.parents[1]


def compile_interfaces(
    python: Path, folder: Path, name: str, messages: Mapping[str, str], dependencies: Sequence[str]
) -> Path:
    """Compile a package of messages (file name without .msg to its text) and return the prefix it is installed in."""
    (folder / "msg").mkdir(parents=True)
    for message, text in messages.items():
        (folder / "msg" / f"{message}.msg").write_text(text)
    depends = "".join(f"<depend>{d}</depend>" for d in dependencies)
    (folder / "package.xml").write_text(
        f'<package format="3"><name>{name}</name><version>1.0.0</version><description>for a test</description>'
        '<maintainer email="nobody@example.org">nobody</maintainer><license>Apache-2.0</license>'
        f"<buildtool_depend>ament_cmake</buildtool_depend>{depends}"
        "<member_of_group>rosidl_interface_packages</member_of_group></package>"
    )
    files = " ".join(f'"msg/{message}.msg"' for message in messages)
    found = "".join(
        f"find_package({d} REQUIRED)\n" for d in ("ament_cmake", *dependencies, "rosidl_default_generators")
    )
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject({name})\n{found}"
        f"rosidl_generate_interfaces({name} {files} DEPENDENCIES {' '.join(dependencies)})\nament_package()\n"
    )
    ros, prefix, build = ros_prefix(python), folder / "install", folder / "build"
    env = environment(AMENT_PREFIX_PATH=str(ros), CMAKE_PREFIX_PATH=str(ros))
    env["PATH"] = f"{python.parent}:{env['PATH']}"
    run(
        ["cmake", "-S", folder, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={python}",
         "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake' / 'wheel_paths.cmake'}"],
        folder, env,
    )  # fmt: skip
    run(["cmake", "--build", build, "--parallel", "2", "--target", "install"], folder, env)
    return prefix


def with_package(prefix: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What makes a process with this environment find the package in `prefix`, as sourcing its setup file does."""
    site = next(prefix.glob("lib/python3*/site-packages"))
    added = {"AMENT_PREFIX_PATH": prefix, "LD_LIBRARY_PATH": prefix / "lib", "PYTHONPATH": site}
    return {name: ":".join(filter(None, (str(path), env.get(name, "")))) for name, path in added.items()}
