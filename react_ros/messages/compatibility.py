"""The one rule for messages of earlier versions of this package: fields that were renamed are read by either name."""

from __future__ import annotations

from typing import Any

FORMER_NAMES = {"action_chunk": "plan", "schedule": "protocol", "pcm": "samples"}
"""A field's name to the one it had up to version 0.1: Reaction.action_chunk, ListenerStream.schedule, AudioChunk.pcm.

Bags of version 0.1 define their messages so.
"""


def read_field(message: Any, name: str) -> Any:
    """A message's field, also where the message has its former name. Raises AttributeError for neither."""
    former = FORMER_NAMES.get(name)
    if former is not None and not hasattr(message, name) and hasattr(message, former):
        return getattr(message, former)
    return getattr(message, name)
