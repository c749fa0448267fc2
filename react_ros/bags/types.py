"""Message definitions without a ROS installation: the package's own, ROS 2 Jazzy's, and those stored in a bag."""

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
    """ROS 2 Jazzy's types and the package's own."""
    return _new_store()


def know(kind: str) -> bool:
    """Whether messages of a type can be written: learns it from the installed packages where it is none of ours."""
    store = typestore()
    if kind in store.fielddefs:
        return True
    types: dict[str, Any] = {}
    wanted = [kind]
    try:
        while wanted:
            name = wanted.pop()
            if name in types or name in store.fielddefs:
                continue
            text = _installed(name)
            if text is None:
                return False
            found = get_types_from_msg(text, name)
            types |= found
            wanted += [inner for inner in re.findall(r"'(\w+/msg/\w+)'", repr(found)) if inner not in found]
        store.register(types)
    except TypesysError:  # written in a way that the library does not understand
        return False
    return True


def _installed(kind: str) -> str | None:
    package, _, name = kind.split("/")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        path = Path(prefix) / "share" / package / "msg" / f"{name}.msg"
        if prefix and path.is_file():
            return path.read_text("utf-8")
    return None


_EMPTY: dict[str, Any] = {"string": "", "wstring": "", "bool": False, "float32": 0.0, "float64": 0.0}


def _nothing(description: Any) -> Any:
    """The empty value of a field."""
    kind, told = description
    if kind == 1:  # a basic type
        return _EMPTY.get(told[0], 0)
    if kind == 2:  # a message
        return new_message(told)
    inner, length = told
    count = length if kind == 3 else 0  # an array or a sequence
    if inner[0] == 1 and inner[1][0] not in ("string", "wstring"):
        return np.zeros(count, inner[1][0] if inner[1][0] not in ("byte", "char", "octet") else np.uint8)
    return [_nothing(inner) for _ in range(count)]


@lru_cache(maxsize=256)
def _defaults(kind: str) -> MappingProxyType[str, Any]:
    _, fields = typestore().fielddefs[kind]
    return MappingProxyType({name: _nothing(description) for name, description in fields})


def new_message(kind: str, **fields: Any) -> Any:
    """A message of the package or of ROS 2 Jazzy, "package/msg/Name", that a bag can hold; what is not given is empty.

    Arrays are numpy's, of the field's type. What is empty is shared: give fields, do not fill them.
    """
    return typestore().types[kind](**{**_defaults(kind), **fields})


def _floats(values: Floats) -> Floats:
    return np.array(values, np.float32)


FACTORY = MessageFactory(new_message, _floats)
"""Builds the project's messages for bags."""


def serialise(message: Any) -> bytes:
    """CDR bytes of a message of `new_message`."""
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


class BagTypes:
    """Which definition each of a bag's types is read with: the bag's own, where it has one."""

    def __init__(self, storages: list[Any]) -> None:
        self.notices: list[str] = []
        self.definitions: dict[str, tuple[str, str]] = {}
        self._own: dict[str, Typestore] = {}
        self._common = typestore()
        texts: dict[str, Any] = {}
        digests: dict[str, str] = {}
        for storage in storages:
            for c in storage.connections:
                if c.msgdef.format != MessageDefinitionFormat.NONE:
                    texts.setdefault(c.msgtype, c.msgdef)
                    digests.setdefault(c.msgtype, c.digest)
        for kind, text in texts.items():
            try:
                parse = get_types_from_msg if text.format == MessageDefinitionFormat.MSG else None
                types = parse(text.data, kind) if parse else get_types_from_idl(text.data)
            except Exception as error:  # a parser in front of anybody's text
                if kind not in self._common.fielddefs:
                    self.notices.append(f"the definition of {kind} in the bag cannot be read: {explain(error)}")
                continue
            changed = {name for name in types if not _same(types[name], self._common.fielddefs.get(name))}
            if not changed:
                continue
            store = _new_store()
            for name in changed:
                store.fielddefs.pop(name, None)
                store.types.pop(name, None)
            try:
                store.register({name: types[name] for name in changed})
                digest = digests[kind] or store.hash_rihs01(kind)  # fails where a type within is unknown
            except Exception as error:
                self.notices.append(f"the definition of {kind} in the bag cannot be read: {explain(error)}")
                continue
            self._own[kind] = store
            if known := sorted(changed & self._common.fielddefs.keys()):
                self.notices.append(f"{kind} was recorded with another definition of {', '.join(known)} than today's")
            self.definitions[kind] = text.data, digest

    def knows(self, kind: str) -> bool:
        return kind in self._own or kind in self._common.fielddefs

    def store(self, kind: str) -> Typestore:
        return self._own.get(kind, self._common)


def _same(new: Any, known: Any) -> bool:
    """Whether two definitions have the same fields in the same order."""
    return known is not None and [(n.lower(), d) for n, d in new[1]] == [(n.lower(), d) for n, d in known[1]]
