"""CONTRIBUTING.md's worked example is a package that works: its files are taken from the page itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
(ENTRY_POINTS,) = re.findall(r"```toml\n\[project\.(entry-points\..*?)```", PAGE, re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the example is installed: its files, and the metadata that pip would leave."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    metadata = tmp_path / "smiler-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: smiler\nVersion: 1.0\n")
    group = ENTRY_POINTS.removeprefix("entry-points.").replace('"', "")
    (metadata / "entry_points.txt").write_text(f"[{group}")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


def ran(installed: dict[str, str], folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=installed, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_example_is_listed_and_keeps_the_streaming_contract(installed: dict[str, str], tmp_path: Path) -> None:
    assert set(FILES) == {"smiler/__init__.py", "smiler/config.py", "smiler/generator.py"}
    assert "example: returns smiles" in ran(installed, tmp_path, "react_ros", "generators")
    said = ran(
        installed, tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "react_ros.testing", "-k", "smiler"
    )
    assert re.search(r"\d\d passed", said), said[-500:]
