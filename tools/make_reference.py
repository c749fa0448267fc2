"""Writes docs/reference.md: every launch argument, parameter, topic and message, from the code.

.venv/bin/python tools/make_reference.py          # after a change of any of them; a test fails until then
.venv/bin/python tools/make_reference.py --check  # exit code 1 where the page is not current
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from react_ros import bringup
from react_ros.generators import registry
from react_ros.generators.description import describe_parameters
from react_ros.nodes.base import AUTOSTART
from react_ros.nodes.composed import CLASSES
from react_ros.nodes.remote import tables

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"


def main() -> int:
    text = reference()
    if "--check" in sys.argv[1:]:
        return int(not PAGE.is_file() or PAGE.read_text("utf-8") != text)
    PAGE.write_text(text, "utf-8")
    print(PAGE)
    return 0


def reference() -> str:
    """The page."""
    parts = [
        "# Reference",
        "Made from the code by `tools/make_reference.py`; a test fails where it is not current. Words:"
        " [glossary.md](glossary.md).",
        "## Launch arguments",
        "`ros2 launch react_ros avatar.launch.py NAME:=VALUE`, and options of `react-ros run`.",
        table(("argument", "option", "default", "allowed", "what it is"), arguments()),
        "## Nodes and their parameters",
        "Set at the start in a parameter file (`config`), those that are live also while the robot runs: `react-ros set"
        " NAME VALUE`, `ros2 param set /robot/NODE NAME VALUE`. Topics are relative to the namespace.",
    ]
    for node, parameters in tables().items():
        parts += [f"### {node}", topics(node)]
        rows = [
            (f"`{p.name}`", shown(p.default), limits(p), "yes" if p.live else "", p.description)
            for p in (*parameters, AUTOSTART)
        ]
        parts.append(table(("parameter", "default", "allowed", "live", "what it is"), rows))
    parts += ["## Messages", *messages(), "## Generators", "`--generator NAME[,parameter=value…]`."]
    for name in registry.names():
        if not registry.system(name).generator.startswith("react_ros."):  # of a package that is installed here
            continue
        info = registry.info(name)
        parts += [
            f"### {name}",
            f"{info.summary}. Uses {', '.join(info.inputs) or 'nothing'} of the speaker.",
            table(
                ("parameter", "default", "allowed", "what it is"),
                [(f"`{p.name}`", shown(p.default), p.allowed, p.meaning) for p in describe_parameters(name)],
            ),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def arguments() -> Iterator[tuple[str, ...]]:
    for a in bringup.ARGUMENTS:
        flag = "" if a.flag is None else f"`{a.flag or '--' + a.name.replace('_', '-')}`"
        default = shown(a.value) + (f"; run: {shown(a.run_value)}" if a.run_value is not None else "")
        high = f"at most {a.high}" if isinstance(a.value, (int, float)) and a.high < 2**31 - 1 else ""
        choices = " ".join(f"`{c}`" for c in a.choices)
        yield (
            f"`{a.name}`",
            flag,
            default,
            choices if not isinstance(a.value, bool) else "",
            a.description + (f" ({high})" if high and not isinstance(a.value, bool) else ""),
        )


def limits(p: object) -> str:
    """The allowed values of a node's parameter."""
    if p.choices:  # type: ignore[attr-defined]
        return " ".join(f"`{c}`" for c in p.choices)  # type: ignore[attr-defined]
    low, high = p.low, p.high  # type: ignore[attr-defined]
    return f"{low:.12g} to {high:.12g}" if low is not None and high is not None else ""


def topics(node: str) -> str:
    """The topics that a node's source publishes and subscribes to, as literals."""
    tree = ast.parse((ROOT / "react_ros/nodes" / f"{node}.py").read_text("utf-8"))
    found: dict[str, dict[str, None]] = {"publishes": {}, "subscribes to": {}}
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        what = call.func.attr
        texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if "publisher" in what and what.startswith("create") and texts:
            kind = call.args[0].id if isinstance(call.args[0], ast.Name) else ""
            found["publishes"][f"`{texts[0]}`" + (f" ({kind})" if kind else "")] = None
        elif ("subscribe" in what or "subscription" in what or what == "_use_type") and texts:
            found["subscribes to"][f"`{texts[0]}`"] = None
    said = [f"{verb} {', '.join(sorted(names))}" for verb, names in found.items() if names]
    return f"{'; '.join(said)}." if said else ""


def messages() -> Iterator[str]:
    for path in sorted((ROOT / "msg").glob("*.msg")):
        yield f"### {path.stem}"
        yield f"```\n{path.read_text('utf-8').strip()}\n```"


def shown(value: object) -> str:
    """A default, for a table."""
    return "none" if value is None else '""' if value == "" else bringup.as_text(value)  # type: ignore[arg-type]


def table(head: tuple[str, ...], rows: object) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]  # type: ignore[attr-defined]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    assert set(CLASSES) == set(tables())
    raise SystemExit(main())
