"""The structure of the package: rooms import downwards, nothing imports in circles, systems are named in one place."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from react_ros.generators import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "react_ros"

FLOORS = (
    "face", "config", "io", "redaction", "package", "dds", "machine", "assets", "clock", "messages", "pages", "media",
    "sensors", "perception", "nn", "generators", "systems", "testing", "avatar", "bringup", "supervision", "runner",
    "nodes", "bags", "replay", "corpus", "evaluation", "training", "cli",
)  # fmt: skip
"""Rooms, ground floor first. A module imports from lower floors and from its own room only."""
LIVE = ("clock", "messages", "sensors", "perception", "media", "nn", "generators", "systems", "avatar", "bringup",
        "supervision", "runner", "nodes")  # fmt: skip
OFFLINE = ("bags", "replay", "corpus", "training", "evaluation")

OFFLINE_MODULES = (
    (r"systems\.\w+\.training", "training"),
    (r"systems\.\w+\.table", "evaluation"),
    (r"systems\.fsq\.ablation", "training"),
)
"""Modules in systems/ that are part of an offline room: they are named as "module:object" and imported on use."""

ALLOWED = {
    ("nodes.recorder", "bags"),  # writes bags
    ("nodes.player", "bags"),  # reads them
    ("nodes.player", "replay"),  # paces them as they were recorded
}
"""Imports, module to room, that are right although they do not go downwards."""

NAMES = {
    "generators/registry.py": {"attentive"},  # DEFAULT, the one system that is chosen for everybody
    "nn/quantizers.py": {"fsq"},  # finite scalar quantization, a kind of quantizer
    "cli/ablation.py": {"fsq"},  # the command that ablates this one system
}
"""Files outside systems/ with string literals that are systems' names."""


def modules() -> dict[str, Path]:
    """The modules of the package by dotted name, without "react_ros."; its own __init__ is ""."""
    out = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


MODULES = modules()


def room(module: str) -> str:
    """The room of a module; the package's own __init__ and __main__ are part of the command line."""
    for pattern, name in OFFLINE_MODULES:
        if re.fullmatch(pattern, module):
            return name
    first = module.split(".")[0]
    return "cli" if first in ("", "__main__") else first


@cache
def syntax(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imported(module: str) -> Iterator[str]:
    """Every module that a module imports, by its full name; inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("react_ros.") in MODULES else str(node.module)


@cache
def imports() -> dict[str, set[str]]:
    """For each module, the modules of this package that it imports."""
    out: dict[str, set[str]] = {}
    for module in MODULES:
        names = {n for n in imported(module) if n == "react_ros" or n.startswith("react_ros.")}
        own = {n.removeprefix("react_ros").removeprefix(".") for n in names}
        out[module] = {n for n in own if n in MODULES and n != module}
    return out


def allowed(module: str, other: str) -> bool:
    return (module, room(other)) in ALLOWED


def test_every_module_has_a_room() -> None:
    assert {room(module) for module in MODULES} <= set(FLOORS)


def test_imports_go_downwards_or_stay_in_their_room() -> None:
    wrong = set()
    for module, others in imports().items():
        for other in others - {""}:
            downwards = FLOORS.index(room(other)) < FLOORS.index(room(module))
            if not (downwards or room(other) == room(module) or allowed(module, other)):
                wrong.add(f"{module} -> {other}")
    assert wrong == set(), "\n".join(sorted(wrong))


def test_nothing_live_imports_an_offline_room() -> None:
    wrong = {
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in others
        if room(module) in LIVE and room(other) in OFFLINE and not allowed(module, other)
    }
    assert wrong == set(), "\n".join(sorted(wrong))


def test_rclpy_is_imported_in_nodes_only() -> None:
    importing = {m for m in MODULES for n in imported(m) if n.split(".")[0] == "rclpy" and room(m) != "nodes"}
    assert {f"{module} -> rclpy" for module in importing} == set()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles(imports()) == []


def test_no_module_outside_systems_names_a_system() -> None:
    """As a string literal: whoever needs a list of systems asks the registry."""
    names = set(registry.names()) - {"random"}  # a word of its own: not a system wherever it is written
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module.split(".")[0] == "systems":
            continue
        for node in ast.walk(syntax(module)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
                found.setdefault(str(path.relative_to(PACKAGE)), set()).add(node.value)
    found = {file: more for file, names in found.items() if (more := names - NAMES.get(file, set()))}
    assert found == {}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_no_tracked_file_is_over_8_mb_and_models_stay_under_40() -> None:
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked()}
    assert {str(path): size for path, size in sizes.items() if size > 8e6} == {}
    assert sum(size for path, size in sizes.items() if path.parts[0] == "models") < 40e6


def test_a_system_is_one_folder_and_one_line_of_pyproject() -> None:
    """Every system's declaration, generator, stages, table and training configurations are in its own folder."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["react_ros.systems"]
    folders = {p.name for p in (PACKAGE / "systems").iterdir() if (p / "__init__.py").is_file()}
    assert {value.partition(":")[0].removeprefix("react_ros.systems.") for value in entries.values()} == folders
    for name, value in entries.items():
        declared, module = registry.system(name), value.partition(":")[0]
        folder = PACKAGE / "systems" / module.rpartition(".")[2]
        for part in (declared.generator, *declared.stages, *filter(None, [declared.table]), declared.Config.__module__):
            assert part.startswith(f"{module}."), f"{part} is not in the folder of {name}"
        assert {path.parent.parent for path in declared.training_configs().values()} <= {folder}
        assert (folder / "README.md").is_file(), f"{name} has no README.md"
