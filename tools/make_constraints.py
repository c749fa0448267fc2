"""Writes constraints.txt: the exact version of everything that the dependencies bring, as installed here.

Run with the Python of an environment in which `pip install ".[test]"` has just been tried:
    .venv/bin/python tools/make_constraints.py > constraints.txt
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

root = Path(__file__).parents[1]
queue = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
for file in ("requirements-ros.txt", "requirements.txt"):
    queue += [line for line in (root / file).read_text().splitlines() if line and not line.startswith("#")]
seen: dict[str, str] = {}
while queue:
    requirement = queue.pop()
    if "extra ==" in requirement:
        continue
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched, requirement
    name = re.sub(r"[-_.]+", "-", matched[0]).lower()
    if name in seen:
        continue
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue  # wanted on other systems only
    seen[name] = found.version.split("+")[0]
    queue += found.requires or []
print("# Made by tools/make_constraints.py; used by make as `pip install --constraint`.")
for name in sorted(seen):
    print(f"{name}=={seen[name]}")
