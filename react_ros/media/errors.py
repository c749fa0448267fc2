"""The error of media that cannot be opened or read."""

from __future__ import annotations


class MediaError(Exception):
    """A film, sound file, video stream or device cannot be opened or read. The message is one sentence for users."""


def error_text(error: Exception) -> str:
    """The reason of an exception of PyAV or the operating system: lower case, no file name, no final stop."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").lower() or type(error).__name__
