"""Opens films, sound files and addresses with PyAV."""

from __future__ import annotations

import re
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from react_ros.media.errors import SCHEMES, MediaError, Medium, Unavailable, host_of, reading, unknown_scheme

OPEN_TIMEOUT_S = 5.0
"""Longest time in which an address must be opened."""
_WITH_HOST = {"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "ftp", "mms"}
"""Schemes of addresses that name the host to connect to; others may only listen on a port."""
READ_TIMEOUT_S = 4.0
"""Longest time between two pictures of an address."""
PIPE_TIMEOUT_S = 60.0
"""Longest time between two pictures of a pipe: a program may write slowly, and its stream has one beginning only."""


def is_address(source: str) -> bool:
    """Whether a source is a URL and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def local_path(source: str) -> Path | None:
    """The path that a source names, also as a file:// URL; None for another address."""
    if source.lower().startswith("file://"):
        return Path(unquote(source[7:]))
    return None if is_address(source) else Path(source).expanduser()


def expect_file(path: str | Path, medium: Medium = "film") -> None:
    """Raises MediaError, in one sentence, for anything but a regular file that can be read."""
    with reading(path, medium):
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe (FIFO)" if stat.S_ISFIFO(mode) else "a device"
            raise MediaError(f"{path} cannot be read as {'a film' if medium == 'film' else 'sound'}: it is {kind}")


def open_file(path: str | Path, medium: Medium = "film") -> Any:
    """An open PyAV container of a file; close it. Raises MediaError with one sentence where it cannot be read."""
    import av

    expect_file(path, medium)
    with reading(path, medium):
        # "file:" because FFmpeg would take a path such as "a:b.mp4" for an address.
        return av.open(f"file:{path}", metadata_errors="replace")


def open_address(url: str, shown: str = "", open_s: float = OPEN_TIMEOUT_S) -> Any:
    """An open PyAV container of an address, or of a pipe ("pipe:NUMBER", a file descriptor); close it.

    shown: the name of the source in errors; empty: the URL. open_s: longest time for it. Raises MediaError where the
    address is wrong, Unavailable where it may work later.
    """
    import av

    shown = shown or url
    scheme, _, rest = url.partition(":")
    if scheme.lower() not in (*SCHEMES, "pipe"):
        raise MediaError(unknown_scheme(url))
    if scheme.lower() in _WITH_HOST and not host_of(url):
        raise MediaError(f"{url} names no host: addresses are like rtsp://HOST/PATH")
    silence = longest_silence(url)
    opening = silence if url.startswith("pipe:") else open_s
    begin = time.monotonic()
    try:
        with reading(shown, timeout=opening):
            return av.open(f"{scheme.lower()}:{rest}", timeout=(opening, silence), metadata_errors="replace")
    except Unavailable:
        raise
    except MediaError:
        if time.monotonic() - begin < opening:
            raise
        # FFmpeg's RTSP client reports an interrupted wait as invalid data.
        raise Unavailable(f"{shown} sends nothing that is complete within {opening:g} s") from None


def longest_silence(url: str) -> float:
    """Longest time between two pictures of an address or pipe, s."""
    return PIPE_TIMEOUT_S if url.startswith("pipe:") else READ_TIMEOUT_S
