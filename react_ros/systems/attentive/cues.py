"""Backchannel cues in the speaker's voice: a region of low pitch, and a pause, each after some speech."""

from __future__ import annotations

import math

import numpy as np

from react_ros.face import FPS, Sound, SoundState
from react_ros.generators.backchannel_cues import LOW_PITCH_PERCENTILE, LOW_PITCH_S, PAUSE_S, TALK_S

LOW_PITCH_FRAMES = math.ceil(LOW_PITCH_S * FPS)
TALK_FRAMES = math.ceil(TALK_S * FPS)
PAUSE_FRAMES = round(PAUSE_S * FPS)
_LOW_SHARE = LOW_PITCH_PERCENTILE / 100.0


class CueDetector:
    """Detects cues frame by frame, relative to the speaker's own pitch range, in constant memory."""

    BINS = 64
    F0_LOW, F0_HIGH = 60.0, 500.0

    def __init__(self) -> None:
        # A histogram of log f0 with exponential forgetting: the speaker's own pitch range.
        self._histogram = np.zeros(self.BINS)
        self.talk = 0
        """Frames of speech since the last second of silence."""
        self.pause = FPS
        """Frames since speech."""
        self._low_run = 0
        self._gap = 0

    def step(self, sound: Sound) -> tuple[bool, bool]:
        """Whether a region of low pitch, and whether a pause, becomes a cue in this frame."""
        if sound.state == SoundState.SPEECH:
            self.talk += 1
            self.pause = 0
        else:
            self.pause = min(self.pause + 1, 10 * FPS)
            if self.pause > FPS:
                self.talk = 0
        talked = self.talk >= TALK_FRAMES
        low = self._step_pitch(sound) and talked
        return low, talked and self.pause == PAUSE_FRAMES

    def _step_pitch(self, sound: Sound) -> bool:
        voiced = sound.state == SoundState.SPEECH and self.F0_LOW < sound.f0 < self.F0_HIGH
        if not voiced:
            # A consonant does not end a region of low pitch; a pause does.
            self._gap += 1
            if self._gap > 2:
                self._low_run = 0
            return False
        self._gap = 0
        position = np.log(sound.f0 / self.F0_LOW) / np.log(self.F0_HIGH / self.F0_LOW)
        bin_ = int(position * self.BINS)
        self._histogram *= 0.998  # forgets over 20 s of voice
        self._histogram[bin_] += 1.0
        total = self._histogram.sum()
        below = self._histogram[:bin_].sum() + 0.5 * self._histogram[bin_]
        is_low = total > FPS and below < _LOW_SHARE * total
        self._low_run = self._low_run + 1 if is_low else 0
        return self._low_run == LOW_PITCH_FRAMES
