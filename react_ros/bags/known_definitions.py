"""Definitions of third-party messages that a robot records often, for bags that hold no definitions.

rosbag2 stores definitions in sqlite3 files since ROS 2 Iron only. Two packages are called audio_common_msgs; a bag in
which one of its topics is an AudioStamped is of the second one.
Sources: https://github.com/ros-drivers/audio_common (BSD) and https://github.com/mgonzs13/audio_common (MIT).
"""

from __future__ import annotations

from collections.abc import Collection

_HEADER = "std_msgs/Header header\n"
_ROS_DRIVERS = {
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioDataStamped": _HEADER + "audio_common_msgs/AudioData audio\n",
    "audio_common_msgs/msg/AudioInfo":
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format\n",
}  # fmt: skip
_MGONZS13 = {
    "audio_common_msgs/msg/AudioData":
        "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\nint8[] int8_data\nuint8[] uint8_data\n",
    "audio_common_msgs/msg/AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk\n",
    "audio_common_msgs/msg/Audio":
        "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info\n",
    "audio_common_msgs/msg/AudioStamped": _HEADER + "audio_common_msgs/Audio audio\n",
}  # fmt: skip


def known_definitions(kinds: Collection[str]) -> tuple[str, dict[str, str]]:
    """(whose they are, type to .msg text) of the definitions that fit a bag with topics of these types."""
    if "audio_common_msgs/msg/AudioStamped" in kinds:
        return "mgonzs13/audio_common", _MGONZS13
    return "ros-drivers/audio_common", _ROS_DRIVERS
