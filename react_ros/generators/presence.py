"""Whether a speaker is present, by camera or, without one, by voice."""

from __future__ import annotations

from react_ros.face import FPS, FaceState, SoundState, SpeakerFrame


class Presence:
    """Presence of the speaker: a face is seen, or, without a camera, speech was heard within the last 5 s.

    A camera that sees nobody outweighs a voice, which may come from a radio.
    """

    HOLD = 5 * FPS

    def __init__(self) -> None:
        self._since_speech = self.HOLD

    def step(self, frame: SpeakerFrame) -> bool:
        """Whether a speaker is present in this frame."""
        speech = frame.sound.state == SoundState.SPEECH
        self._since_speech = 0 if speech else min(self._since_speech + 1, self.HOLD)
        no_camera = frame.face.state == FaceState.MISSING
        return frame.face.state.present or (no_camera and self._since_speech < self.HOLD)
