"""One human to `SpeakerFrame`: what the camera sees and the microphone hears, 25 times a second."""
