"""Messages of version 0.1, whose fields had other names, are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from react_ros.bags.manifest import of_stream
from react_ros.bags.types import FACTORY, new_message
from react_ros.face import Reaction
from react_ros.messages.audio import chunk_from_message
from react_ros.messages.compatibility import FORMER_NAMES, read_field
from react_ros.messages.features import reaction_from_message
from react_ros.messages.types import LINEAGE_TYPE, OUR_AUDIO, STREAM_TYPE


def former(message: Any, name: str) -> SimpleNamespace:
    """The message as version 0.1 defined it: with a field's former name."""
    fields = dict(vars(message))
    fields[FORMER_NAMES[name]] = fields.pop(name)
    return SimpleNamespace(**fields)


def test_audio_chunks_with_samples_give_pcm() -> None:
    pcm = np.arange(640, dtype=np.int16)
    chunk = new_message(OUR_AUDIO, sample_rate=16_000, channels=2, first_sample=7, pcm=pcm)
    for message in (chunk, former(chunk, "pcm")):
        read = chunk_from_message(message)
        assert np.array_equal(read.pcm, pcm.reshape(-1, 2)) and (read.rate, read.first_sample) == (16_000, 7)


def test_reactions_with_a_plan_give_an_action_chunk() -> None:
    zeros = np.zeros((1, 52), np.float32)
    rest = np.zeros((1, 3), np.float32)
    reaction = Reaction(3, 40, zeros, rest, rest, np.zeros((1, 25), np.float32), action_chunk=2)
    message = FACTORY.reaction(reaction, new_message(LINEAGE_TYPE, frame=3))
    assert (
        reaction_from_message(message).action_chunk
        == reaction_from_message(former(message, "action_chunk")).action_chunk
        == 2
    )


def test_streams_with_a_protocol_give_a_schedule() -> None:
    message = new_message(STREAM_TYPE, schedule="live", samples=1)
    assert of_stream(former(message, "schedule")) == of_stream(message)
    assert of_stream(message)["schedule"] == "live"


def test_a_field_of_neither_name_is_missing_under_its_present_name() -> None:
    with pytest.raises(AttributeError, match="action_chunk"):
        read_field(SimpleNamespace(), "action_chunk")
    assert read_field(SimpleNamespace(samples=3), "samples") == 3, "other fields are read as they are"
