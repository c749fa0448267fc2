"""Backchannel cues in the speaker's voice: a region of low pitch, and a pause, each after some speech."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from react_ros.face import FPS, Sound, SoundState
from react_ros.generators.backchannel_cues import LOW_PITCH_PERCENTILE, LOW_PITCH_S, PAUSE_S, TALK_S

LOW_PITCH_FRAMES = math.ceil(LOW_PITCH_S * FPS)
TALK_FRAMES = math.ceil(TALK_S * FPS)
PAUSE_FRAMES = round(PAUSE_S * FPS)
PAUSE_TALK_FRAMES = FPS
"""Speech that must come before a pause that is a cue: 1 s."""
LONG_TALK_FRAMES = 4 * FPS
"""Speech after which a cue is as strong as it gets."""
_LOW_SHARE = LOW_PITCH_PERCENTILE / 100.0
_END_FRAMES = 12
"""Voiced frames at the end of a phrase whose tune is looked at: .5 s."""
_RISE = 2.0 / 12.0 * math.log(2.0)
"""Rise of ln f0 over the end of a phrase that is a question's: 2 semitones."""


class CueDetector:
    """Detects cues frame by frame, relative to the speaker's own pitch range, in constant memory."""

    BINS = 64
    F0_LOW, F0_HIGH = 60.0, 500.0

    def __init__(self) -> None:
        # A histogram of log f0 with exponential forgetting: the speaker's own pitch range.
        self._histogram = np.zeros(self.BINS)
        self.talk = 0
        """Frames of speech since the last second of silence."""
        self.phrase = 0
        """Frames of speech since the last pause."""
        self.pause = FPS
        """Frames since speech."""
        self.strength = 0.0
        """Of the cue in this frame, where there is one: 0.7 a weak one, 1.2 the low end of a long phrase."""
        self.rising = False
        """Whether the phrase that this pause ends has risen at its end, as a question does."""
        self._low_run = 0
        self._gap = 0
        self._since_low = FPS
        self._tune: deque[float] = deque(maxlen=_END_FRAMES)

    def step(self, sound: Sound) -> tuple[bool, bool]:
        """Whether a region of low pitch, and whether a pause, becomes a cue in this frame."""
        if sound.state == SoundState.SPEECH:
            if self.pause >= PAUSE_FRAMES:
                self.phrase = 0
                self._tune.clear()
            self.talk += 1
            self.phrase += 1
            self.pause = 0
        else:
            self.pause = min(self.pause + 1, 10 * FPS)
            if self.pause > FPS:
                self.talk = 0
        self._since_low = min(self._since_low + 1, FPS)
        low = self._step_pitch(sound) and self.talk >= TALK_FRAMES
        pause = self.pause == PAUSE_FRAMES and self.phrase >= PAUSE_TALK_FRAMES
        self.rising = pause and self._rises()
        long = min(self.phrase / LONG_TALK_FRAMES, 1.0)
        self.strength = 0.7 + 0.25 * long + (0.25 if pause and self._since_low < 15 else 0.0)
        return low, pause

    def _rises(self) -> bool:
        if len(self._tune) < 6:
            return False
        tune = np.array(self._tune)
        return bool(tune[-3:].mean() - np.median(tune[:-3]) > _RISE)

    def _step_pitch(self, sound: Sound) -> bool:
        voiced = sound.state == SoundState.SPEECH and self.F0_LOW < sound.f0 < self.F0_HIGH
        if not voiced:
            # A consonant does not end a region of low pitch; a pause does.
            self._gap += 1
            if self._gap > 2:
                self._low_run = 0
            return False
        self._gap = 0
        self._tune.append(math.log(sound.f0))
        position = np.log(sound.f0 / self.F0_LOW) / np.log(self.F0_HIGH / self.F0_LOW)
        bin_ = int(position * self.BINS)
        self._histogram *= 0.998  # forgets over 20 s of voice
        self._histogram[bin_] += 1.0
        total = self._histogram.sum()
        below = self._histogram[:bin_].sum() + 0.5 * self._histogram[bin_]
        is_low = total > FPS and below < _LOW_SHARE * total
        self._low_run = self._low_run + 1 if is_low else 0
        if self._low_run >= LOW_PITCH_FRAMES:
            self._since_low = 0
        return self._low_run == LOW_PITCH_FRAMES
