"""Message definitions without a ROS installation: this package's own, ROS 2 Jazzy's, and those stored in a bag."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from react_ros.bags.errors import explain
from react_ros.bags.known_definitions import known_definitions
from react_ros.bags.rosbags_internals import fields_of, replace_types
from react_ros.face import Floats
from react_ros.messages.factory import MessageFactory
from react_ros.package import share


@lru_cache(maxsize=1)
def _own_types() -> dict[str, Any]:
    types: dict[str, Any] = {}
    for path in sorted((share() / "msg").glob("*.msg")):
        types |= get_types_from_msg(path.read_text(), f"react_ros/msg/{path.stem}")
    return types


def _new_store() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(_own_types())
    return store


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """ROS 2 Jazzy's types, this package's own, and those that `learn_type` added."""
    return _new_store()


def learn_type(kind: str) -> bool:
    """Make messages of a type writable, from the definition in an installed ROS package (on AMENT_PREFIX_PATH).

    False where there is no such package, or its definition is in a form that rosbags does not support.
    """
    store = typestore()
    if fields_of(store, kind) is not None:
        return True
    if not re.fullmatch(r"\w+/msg/\w+", kind):
        return False
    types: dict[str, Any] = {}
    pending = [kind]
    try:
        while pending:
            name = pending.pop()
            if name in types or fields_of(store, name) is not None:
                continue
            text = _installed_definition(name)
            if text is None:
                return False
            found = get_types_from_msg(text, name)
            types |= found
            pending += [inner for inner in re.findall(r"'(\w+/msg/\w+)'", repr(found)) if inner not in found]
        store.register(types)
    except TypesysError:
        return False
    return True


def _installed_definition(kind: str) -> str | None:
    package, _, name = kind.split("/")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if prefix and path.is_file():
            return path.read_text("utf-8")
    return None


_EMPTY: dict[str, Any] = {"string": "", "wstring": "", "bool": False, "float32": 0.0, "float64": 0.0}
"""Empty values of basic types; of all others it is 0."""


def _empty_value(description: Any) -> Any:
    """The empty value of a field, described as in `fields_of`."""
    nodetype, content = description
    if nodetype == 1:  # a basic type
        return _EMPTY.get(content[0], 0)
    if nodetype == 2:  # a message
        return new_message(content)
    inner, length = content
    count = length if nodetype == 3 else 0  # an array or a sequence
    if inner[0] == 1 and inner[1][0] not in ("string", "wstring"):
        return np.zeros(count, inner[1][0] if inner[1][0] not in ("byte", "char", "octet") else np.uint8)
    return [_empty_value(inner) for _ in range(count)]


@lru_cache(maxsize=256)
def _defaults(kind: str) -> MappingProxyType[str, Any]:
    fields = fields_of(typestore(), kind)
    if fields is None:
        raise KeyError(kind)
    return MappingProxyType({name: _empty_value(description) for name, description in fields})


def new_message(kind: str, **fields: Any) -> Any:
    """A message that a bag can hold, of a type of this package or of ROS 2 Jazzy, "package/msg/Name".

    Fields not given are empty; arrays are numpy arrays of the field's type. Empty values are shared between messages:
    pass fields here rather than changing them afterwards.
    """
    return typestore().types[kind](**{**_defaults(kind), **fields})


def _floats(values: Floats) -> Floats:
    return np.array(values, np.float32)


FACTORY = MessageFactory(new_message, _floats)
"""Builds this package's messages for bags."""


def serialise(message: Any) -> bytes:
    """CDR bytes of a message made by `new_message` or FACTORY."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


class BagTypes:
    """The type definitions of one bag. Types that the bag defines otherwise than `typestore` are read as it defines
    them."""

    def __init__(self, files: list[Any]) -> None:
        """files: the bag's open files."""
        self.notices: list[str] = []
        """One sentence for each definition that differs or cannot be read."""
        self.definitions: dict[str, tuple[str, str]] = {}
        """Types that differ from `typestore` to (text, RIHS01 hash)."""
        self._own: dict[str, Typestore] = {}
        self._common = typestore()
        texts: dict[str, Any] = {}
        digests: dict[str, str] = {}
        for file in files:
            for c in file.connections:
                if c.msgdef.format != MessageDefinitionFormat.NONE:
                    texts.setdefault(c.msgtype, c.msgdef)
                    digests.setdefault(c.msgtype, c.digest)
        for kind, text in texts.items():
            self._add(kind, text, digests[kind])
        self._look_up({c.msgtype for file in files for c in file.connections} - set(texts))

    def _look_up(self, undefined: set[str]) -> None:
        """Find the definitions that the bag lacks: in installed ROS packages, else among those that are carried."""
        unknown = sorted(kind for kind in undefined if fields_of(self._common, kind) is None)
        whose, carried = known_definitions(unknown)
        for kind in unknown:
            if learn_type(kind):
                self.notices.append(f"the bag does not define {kind}: the installed package's definition is used")
            elif kind in carried:
                store = _new_store()
                types: dict[str, Any] = {}
                for name, text in carried.items():
                    types |= get_types_from_msg(text, name)
                store.register(types)
                self._own[kind] = store
                self.definitions[kind] = carried[kind], store.hash_rihs01(kind)
                self.notices.append(f"the bag does not define {kind}: the definition of {whose} is used")

    def _add(self, kind: str, text: Any, digest: str) -> None:
        try:
            is_msg = text.format == MessageDefinitionFormat.MSG
            types = get_types_from_msg(text.data, kind) if is_msg else get_types_from_idl(text.data)
        except Exception as error:  # parsers of unknown text raise anything
            if fields_of(self._common, kind) is None:
                self.notices.append(f"the definition of {kind} in the bag cannot be read: {explain(error)}")
            return
        changed = {name for name in types if not self._is_common(name, types[name])}
        if not changed:
            return
        store = _new_store()
        try:
            replace_types(store, {name: types[name] for name in changed})
            digest = digest or store.hash_rihs01(kind)  # raises where a type within is unknown
        except Exception as error:
            self.notices.append(f"the definition of {kind} in the bag cannot be read: {explain(error)}")
            return
        self._own[kind] = store
        if known := sorted(name for name in changed if fields_of(self._common, name) is not None):
            self.notices.append(f"{kind} was recorded with another definition of {', '.join(known)} than today's")
        self.definitions[kind] = text.data, digest

    def _is_common(self, kind: str, definition: Any) -> bool:
        """Whether a definition has the same fields in the same order as the common one."""
        known = fields_of(self._common, kind)
        return known is not None and [(n.lower(), d) for n, d in definition[1]] == [(n.lower(), d) for n, d in known]

    def knows(self, kind: str) -> bool:
        """Whether messages of a type can be read."""
        return kind in self._own or fields_of(self._common, kind) is not None

    def store(self, kind: str) -> Typestore:
        """The store that reads messages of a type."""
        return self._own.get(kind, self._common)
