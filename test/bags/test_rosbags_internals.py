"""Internals of rosbags are used in one file, written for one version."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from react_ros.bags import rosbags_internals

PACKAGE = Path(rosbags_internals.__file__).parents[1]
PUBLIC = {
    "rosbags.interfaces", "rosbags.interfaces.typing", "rosbags.rosbag2", "rosbags.serde", "rosbags.typesys",
    "rosbags.typesys.store",
}  # fmt: skip


def test_the_installed_version_of_rosbags_is_the_one_whose_internals_are_used() -> None:
    installed, expected = version("rosbags"), rosbags_internals.ROSBAGS_VERSION
    assert installed == expected, (
        f"rosbags {installed} is installed, but react_ros/bags/rosbags_internals.py uses internals of rosbags "
        f"{expected}: compare the functions that it replaces, run test/bags, then change ROSBAGS_VERSION and "
        "requirements.txt"
    )


def test_requirements_pin_that_version() -> None:
    requirements = (PACKAGE.parent / "requirements.txt").read_text()
    assert re.search(r"^rosbags==(\S+)", requirements, re.M)[1] == rosbags_internals.ROSBAGS_VERSION  # type: ignore[index]


def test_no_other_module_imports_internals_of_rosbags() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path == Path(rosbags_internals.__file__):
            continue
        imported = set(re.findall(r"^\s*(?:from|import) (rosbags[\w.]*)", path.read_text(), re.M))
        assert imported <= PUBLIC, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(imported - PUBLIC))}"
