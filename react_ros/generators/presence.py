"""Whether somebody is there to listen to."""

from __future__ import annotations

from react_ros.face import FPS, FaceState, SoundState, SpeakerFrame


class Presence:
    """Whether somebody is there to listen to: seen, or, without a camera, heard within the last five seconds.

    A camera that sees nobody is believed over a voice: that may be a radio.
    """

    HOLD = 5 * FPS

    def __init__(self) -> None:
        self._since_heard = self.HOLD

    def step(self, frame: SpeakerFrame) -> bool:
        heard = frame.sound.state == SoundState.SPEECH
        self._since_heard = 0 if heard else min(self._since_heard + 1, self.HOLD)
        blind = frame.face.state == FaceState.MISSING
        return frame.face.state.present or (blind and self._since_heard < self.HOLD)
