"""Removes passwords from what is printed, published or recorded: those in URLs, as network cameras take them."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})([^\s\"<>]+)@")
_SECRET = re.compile(
    r"([?&;](?:pass|passwd|password|pwd|pw|token|access_token|auth|secret|key|api_?key)=)[^&;\s#'\"<>]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """The text with the userinfo (RFC 3986, 3.2.1: user:password) of each URL, and the value of query parameters named
    like a password, replaced by ***. Text without a URL is unchanged; `redact` of its own result too.
    """
    if "@" in text:
        text = _USERINFO.sub(_without_userinfo, text)
    return _SECRET.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def redact_all(value: Any) -> Any:
    """`redact` applied to every text in nested dicts, lists and tuples."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_all(k): redact_all(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(redact_all(v) for v in value)
    return value


def _without_userinfo(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    cut = re.search(r"[/?#]", rest)
    if cut is None:  # the usual case: everything before the @ is userinfo
        return f"{scheme}{HIDDEN}@"
    # An @ behind the first slash: userinfo only where the password itself holds a slash, so that what stands before it
    # is no host with a port.
    authority, path = rest[: cut.start()], rest[cut.start() :]
    if "@" in authority:  # and in the path, too
        return f"{scheme}{HIDDEN}@{authority.rpartition('@')[2]}{path}@"
    _, colon, port = authority.partition(":")
    return f"{scheme}{HIDDEN}@" if colon and not port.isdecimal() else match[0]
