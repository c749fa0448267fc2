"""Perception of one human: images and audio to `SpeakerFrame`s, 25 times a second."""
