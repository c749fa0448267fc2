"""Why a bag cannot be read or written, in one sentence."""

from __future__ import annotations

import sqlite3

import apsw
from rosbags.rosbag2.errors import ReaderError, WriterError
from rosbags.serde import SerdeError


class BagError(Exception):
    """A bag cannot be written or read; the message is one sentence for people."""


class BagFull(BagError):
    """The disk has no more room; what came before lies in the bag, which is closed."""


_SAID = (OSError, ReaderError, WriterError, SerdeError, sqlite3.Error, apsw.Error)
"""What speaks in sentences; anything else comes from inside a parser in front of damaged bytes."""


def explain(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    text = " ".join(str(error).split()).rstrip(".")  # parsers quote what they could not read, over many lines
    text = text if len(text) <= 160 else f"{text[:160]}…"
    return text if isinstance(error, _SAID) else f"it is damaged ({type(error).__name__}: {text})"
