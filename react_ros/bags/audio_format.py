"""Sample rate and channels of ros-drivers' audio in a bag, whose messages do not hold them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np

from react_ros.bags.errors import UnknownAudioFormat
from react_ros.bags.reader import Bag
from react_ros.clock.types import MAX_RATE, MIN_RATE
from react_ros.messages.audio import MAX_CHANNELS, ThirdPartyAudio
from react_ros.messages.types import AUDIO_DATA_TYPES

USUAL_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
"""Hz."""
MEASURED = 2_000
"""Messages from which the number of samples a second is measured."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """The format that a user names for audio without an AudioInfo. 0: not named. Raises ValueError out of range."""

    rate: int = 0
    """Hz."""
    channels: int = 0

    def __post_init__(self) -> None:
        if self.rate and not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"the audio's rate is {self.rate} Hz: it must be between {MIN_RATE} and {MAX_RATE}")
        if not 0 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"the audio has {self.channels} channels: it must have 1 to {MAX_CHANNELS}")


UNNAMED = AudioFormat()


def third_party_audio(bag: Bag, audio: str, info: str, named: AudioFormat) -> ThirdPartyAudio:
    """A reader of a topic's third-party audio, with its format known before the first message.

    The format is the one named, else that of the first AudioInfo in the bag, however late it was recorded. Without
    either it is 16 kHz mono where the samples per second agree; raises UnknownAudioFormat, which names the formats that
    would agree, where they do not. audio, info: topics; empty: none.
    """
    out = ThirdPartyAudio()
    if not audio or bag.topics[audio].kind not in AUDIO_DATA_TYPES:
        return out
    if named.rate and named.channels:
        out.rate, out.channels, out.given = named.rate, named.channels, True
        return out
    if info and not (named.rate or named.channels):
        for m in bag.messages([info]):
            with suppress(ValueError, AttributeError):  # of a coded format: its messages are refused one by one
                out.info(m.message)
            return out
    measured = _values_per_second(bag, audio)
    if named.rate or named.channels:
        out.rate, out.channels = _completed(named, measured)
        out.given = True
    elif measured and abs(measured / 16_000 - 1) > 0.15:
        fitting = [(r, c) for c in (1, 2, 4, 6, 8) for r in USUAL_RATES if abs(measured / (r * c) - 1) < 0.05]
        formats = " or ".join(f"{r} Hz with {c} channel{'s' * (c > 1)}" for r, c in fitting[:4]) or "no usual format"
        raise UnknownAudioFormat(
            f"the format of {audio} in bag {bag.path} is not known: there is no AudioInfo, and {measured:.0f} audio "
            f"samples a second are {formats}, not 16000 Hz with 1 channel; name it with --audio-rate and "
            "--audio-channels"
        )
    else:
        bag.notices.append(f"there is no AudioInfo for {audio}: it is read as 16000 Hz with 1 channel")
    return out


def _completed(named: AudioFormat, measured: float) -> tuple[int, int]:
    """(rate, channels) where one of them is named and the other follows from the samples per second."""
    if named.rate:
        return named.rate, max(1, round(measured / named.rate)) if measured else 1
    nearest = min(USUAL_RATES, key=lambda rate: abs(measured / named.channels / rate - 1)) if measured else 16_000
    return nearest, named.channels


def _values_per_second(bag: Bag, audio: str) -> float:
    """16-bit values per second of a topic, of all channels; 0 where there are too few messages to tell."""
    times, values = [], []
    for m in islice(bag.messages([audio]), MEASURED):
        data = m.message.audio.data if hasattr(m.message, "audio") else m.message.data
        times.append(m.time_ns)
        values.append(len(data) / 2)
    if len(times) < 5:
        return 0.0
    pauses = np.diff(times) / 1e9
    # Without the pauses in which messages were lost, and steps of the clock.
    usual = (pauses >= 0) & (pauses < 5 * max(float(np.median(pauses)), 1e-3) + 0.2)
    seconds = float(pauses[usual].sum())
    return float(np.array(values[1:])[usual].sum()) / seconds if seconds > 0 else 0.0
