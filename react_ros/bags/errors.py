"""Errors of reading and writing bags, each one sentence for users."""

from __future__ import annotations

from rosbags.serde import SerdeError

from react_ros.bags.rosbags_internals import STORAGE_ERRORS


class BagError(Exception):
    """A bag cannot be written or read; the message is one sentence for users."""


class UnknownAudioFormat(BagError):
    """The rate and the channels of a bag's audio are not known."""


class BagFull(BagError):
    """The disk is full; the bag is closed and holds what was written up to its last flush."""


def explain(error: BaseException) -> str:
    """The reason in an exception, without a final full stop.

    Exceptions other than those of the storage libraries come from parsers of damaged bytes, and are named as such.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    text = " ".join(str(error).split()).rstrip(".")  # parsers quote their input, over many lines
    text = text if len(text) <= 160 else f"{text[:160]}…"
    known = isinstance(error, (*STORAGE_ERRORS, SerdeError))
    return text if known else f"it is damaged ({type(error).__name__}: {text})"
