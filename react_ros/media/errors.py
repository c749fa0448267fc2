"""The errors of media that cannot be opened or read, and what errors of PyAV mean in one sentence."""

from __future__ import annotations

import difflib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from react_ros.redaction import redact

Medium = Literal["film", "sound"]
SCHEMES = ("http", "https", "rtsp", "rtsps", "rtp", "rtmp", "rtmps", "udp", "tcp", "srt", "mms", "ftp")
"""Schemes of addresses."""


class MediaError(Exception):
    """A film, sound file, video stream or device cannot be opened or read. The message is one sentence for users, with
    passwords in addresses redacted."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class Unavailable(MediaError):
    """A source that may be back later: a network camera that does not answer, a pipe without a writer, …"""

    def __init__(self, message: str, *, waited: bool = False) -> None:
        """waited: whether the attempt has itself waited for the source, so that the next one may follow at once."""
        super().__init__(message)
        self.waited = waited


def error_text(error: BaseException) -> str:
    """The reason of an exception of PyAV or the operating system: lower case, no file name, no final stop."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".").lower() or type(error).__name__


def sentence(text: object) -> str:
    """The text with a final stop, if it has none."""
    return text if (text := str(text)).endswith((".", "?", "!", "…")) else f"{text}."


@contextmanager
def reading(source: str | Path, medium: Medium = "film", timeout: float | None = None) -> Iterator[None]:
    """Turns whatever PyAV raises inside into a MediaError about the source.

    timeout: s, of an address; None for a file.
    """
    from av.error import FFmpegError

    try:
        yield
    except MediaError:
        raise
    # PyAV's errors are FFmpegErrors, of which some are also OSError, ValueError, LookupError, EOFError, …; it raises
    # plain ones of these as well.
    except (FFmpegError, OSError, ValueError, LookupError, EOFError, ArithmeticError, RuntimeError) as error:
        raise explain(str(source), error, medium, timeout) from None


def explain(source: str, error: BaseException, medium: Medium = "film", timeout: float | None = None) -> MediaError:
    """What an exception of PyAV means for whoever named the source. timeout: see `reading`."""
    if timeout is None:
        reason = incomplete(Path(source)) or f"cannot be read as {_article(medium)}: {error_text(error)}"
        return MediaError(f"{source} {reason}")
    return _explain_address(source, error, timeout)


def _article(medium: Medium) -> str:
    return "a film" if medium == "film" else "sound"


def _explain_address(source: str, error: BaseException, timeout: float) -> MediaError:
    import av.error as e

    name = type(error).__name__
    if isinstance(error, e.HTTPUnauthorizedError):
        return MediaError(f"{source} refuses the login (401): check USER:PASSWORD@ before the host in the address")
    if isinstance(error, e.HTTPForbiddenError):
        return MediaError(f"{source} refuses access (403): check user, password and path")
    if isinstance(error, e.HTTPNotFoundError):
        return MediaError(f"{source} does not exist on that host (404): check the path")
    if isinstance(error, e.HTTPServerError):
        return Unavailable(f"{source} is out of service (HTTP 5xx)")
    if isinstance(error, e.HTTPTooManyRequestsError):
        return Unavailable(f"{source} is busy (429)")
    if isinstance(error, (e.HTTPError, e.HTTPClientError)):
        return MediaError(f"{source} refuses the request: {error_text(error)}")
    if isinstance(error, e.ProtocolNotFoundError):
        return MediaError(unknown_scheme(source))
    if isinstance(error, e.ExitError):  # PyAV's timeout
        return Unavailable(f"{source} sends nothing that is complete within {timeout:g} s")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"{source} refuses the connection: is the camera on, and is the port right?")
    if isinstance(error, EOFError):
        return Unavailable(f"{source} ended")
    if name == "OSError" and (unknown := _unknown_host(source)):
        return Unavailable(unknown)
    if isinstance(error, e.InvalidDataError):
        return MediaError(f"{source} answers, but not with a video stream")
    return Unavailable(f"{source} cannot be reached: {error_text(error)}")


def unknown_scheme(source: str) -> str:
    """A sentence about an address whose scheme is not known."""
    scheme = source.partition(":")[0].lower()
    near = [s for s in SCHEMES if sorted(s) == sorted(scheme)] or difflib.get_close_matches(scheme, SCHEMES, 1)
    hint = f" (did you mean {near[0]}://?)" if near else ""
    return f"{source} has an unknown scheme {scheme!r}{hint}: addresses begin with {'://, '.join(SCHEMES[:4])}://, …"


def host_of(url: str) -> str:
    """The host that a URL names; empty for none."""
    host = re.match(r"[a-z0-9+.-]+:/+(?:[^/?#]*@)?(\[[^\]]*\]|[^:/?#]*)", url, re.IGNORECASE)
    return host[1].strip("[]") if host else ""


def _unknown_host(source: str) -> str:
    try:
        socket.getaddrinfo(host_of(source), None)
    except (OSError, UnicodeError):
        return f"{source}: the host {host_of(source)} is unknown, or the network is down"
    return ""


def incomplete(path: Path) -> str:
    """Says of an MP4 or MOV file (ISO/IEC 14496-12) that is cut off that it is; empty for any other file."""
    try:
        size = path.stat().st_size
        if not size:
            return "is empty (0 bytes)"
        with path.open("rb") as file:
            at, kinds = 0, []
            while at + 8 <= size and len(kinds) < 10_000:
                file.seek(at)
                head = file.read(16)
                length, kind = int.from_bytes(head[:4]), head[4:8]
                if not kinds and kind not in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
                    return ""
                if length == 1 and len(head) == 16:
                    length = int.from_bytes(head[8:])
                kinds.append(kind)
                if length == 0:
                    length = size - at
                if length < 8:
                    return ""
                at += length
    except OSError:
        return ""
    if not kinds or (b"moov" in kinds and not (at > size and kinds[-1] == b"moov")):
        return ""
    missing = f"it has {size} bytes of {at} or more" if at > size else "its index (the moov box) is missing"
    return f"is cut off: {missing}; copy or record it again"
