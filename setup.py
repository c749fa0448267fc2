"""Build react_ros where ROS 2 comes from PyPI's wheels rather than from a ROS machine.

On a ROS machine colcon reads package.xml and CMakeLists.txt and never runs this file. Here pip runs the same
CMakeLists.txt into a staging folder, and what it installs there becomes the wheel.
"""

import os
import shutil
import subprocess
import sys
from distutils.command.install_data import install_data  # setuptools' own copy: setuptools is imported below first
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build" / f"cmake-{sys.implementation.cache_tag}"
STAGE = HERE / "build" / f"stage-{sys.implementation.cache_tag}"


def ros_prefix() -> Path:
    """The folder whose share/ and lib/ the ROS wheels were installed in."""
    import rosidl_adapter

    return Path(rosidl_adapter.__file__).resolve().parents[4]


class BuildWithCMake(build_py):
    """Run CMake where setuptools would copy modules."""

    def run(self) -> None:
        prefix = str(ros_prefix())
        env = dict(os.environ, AMENT_PREFIX_PATH=prefix, CMAKE_PREFIX_PATH=prefix)
        # An isolated build gets a new environment each time: what CMake remembers of the last one is wrong.
        for folder in (BUILD, STAGE):
            shutil.rmtree(folder, ignore_errors=True)
        for command in (
            [
                "cmake", "-S", str(HERE), "-B", str(BUILD), "-DBUILD_TESTING=OFF",
                f"-DCMAKE_INSTALL_PREFIX={STAGE}", f"-DPython3_EXECUTABLE={sys.executable}",
                f"-DCMAKE_PROJECT_INCLUDE={HERE / 'cmake' / 'wheel_paths.cmake'}",
            ],
            ["cmake", "--build", str(BUILD), "--parallel", str(os.cpu_count() or 1)],
            ["cmake", "--install", str(BUILD)],
        ):  # fmt: skip
            subprocess.run(command, env=env, check=True)
        site = next(STAGE.glob("lib/python3*/site-packages"))
        self.copy_tree(str(site / "react_ros"), os.path.join(self.build_lib, "react_ros"))


class InstallStaged(install_data):
    """Install what CMake staged beside the modules: libraries, the ament index, launch files, executables."""

    def run(self) -> None:
        self.data_files = [
            (str(path.parent.relative_to(STAGE)), [str(path)])
            for path in sorted(STAGE.rglob("*"))
            if path.is_file() and "site-packages" not in path.parts
        ]
        super().run()


class CompiledDistribution(Distribution):
    """The wheel holds compiled messages, so it belongs to one platform and one Python."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    packages=["react_ros"],
    data_files=[("share/react_ros", ["package.xml"])],
    cmdclass={"build_py": BuildWithCMake, "install_data": InstallStaged},
    distclass=CompiledDistribution,
)
