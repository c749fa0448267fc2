"""The message types that the robot reads and writes, by name."""

from __future__ import annotations

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


OUR_AUDIO = "react_ros/msg/AudioChunk"


AUDIO_TYPES = (
    OUR_AUDIO,
    "audio_common_msgs/msg/AudioData",
    "audio_common_msgs/msg/AudioDataStamped",
    "audio_common_msgs/msg/AudioStamped",
)
"""What `image_raw` and `audio` may carry. The first is awaited live; others are turned to once somebody publishes."""


AUDIO_INFO = "audio_common_msgs/msg/AudioInfo"

FEATURES_TYPE = "react_ros/msg/SpeakerFeatures"


REACTION_TYPE = "react_ros/msg/Reaction"


STREAM_TYPE = "react_ros/msg/ListenerStream"
