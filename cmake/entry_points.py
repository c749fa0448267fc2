"""Writes pyproject.toml's entry points as setuptools would: `entry_points.py pyproject.toml entry_points.txt`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text("utf-8"))["project"]
groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
lines = []
for group, entries in groups.items():
    lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()), ""]
Path(sys.argv[2]).write_text("\n".join(lines), "utf-8")
