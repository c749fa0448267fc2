"""SHA-256 of the source code that a computation depends on, found by following imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = __name__.partition(".")[0]


def source_digest(*modules: str, without: Collection[str] = ()) -> str:
    """SHA-256 over the files of these modules and of all modules of the same packages that they import.

    Imports inside functions count, those under `if TYPE_CHECKING:` do not. Followed are this package and the top-level
    packages of `modules`; other libraries are not. without: modules that are neither hashed nor followed. Raises
    ModuleNotFoundError for a module that does not exist.
    """
    packages = frozenset({PACKAGE, *(name.partition(".")[0] for name in modules)})
    todo, seen = list(modules), set(without)
    found: dict[str, bytes] = {}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        source = read_source(name)
        if source is None:
            if name in modules:
                raise ModuleNotFoundError(f"there is no module {name}", name=name)
            continue  # "from module import name": the name is no module
        found[name] = source
        todo += imported_modules(name, source, packages)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
    return digest.hexdigest()


def read_source(module: str) -> bytes | None:
    """The file of a module (of a package, its __init__); None where there is none of that name. Imports nothing."""
    file = _file_of(module)
    return None if file is None else file.read_bytes() if file.is_file() else b""


@lru_cache(maxsize=8192)
def _file_of(module: str) -> Path | None:
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin) if spec.origin and not parts else None
    for location in map(Path, spec.submodule_search_locations):
        folder = location.joinpath(*parts)
        if (init := folder / "__init__.py").is_file():
            return init
        if parts and (file := folder.with_suffix(".py")).is_file():
            return file
        if folder.is_dir():
            return folder  # a namespace package has no file of its own
    return None


@lru_cache(maxsize=4096)
def imported_modules(module: str, source: bytes, packages: frozenset[str]) -> tuple[str, ...]:
    """What a module's source imports from these packages, the packages above each included; may name non-modules."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    names: set[str] = set(_with_parents(module))
    file = _file_of(module)
    parent = module if file is not None and file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _runtime_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.update(_with_parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parent.split(".")[: len(parent.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, [base, node.module]))
            names.update(_with_parents(base))
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return tuple(sorted(n for n in names - {module} if n.partition(".")[0] in packages))


def _runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, but not those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _runtime_nodes(other)
            continue
        yield child
        yield from _runtime_nodes(child)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]
