"""Published definitions of the two packages named audio_common_msgs: message name to text."""

from __future__ import annotations

HEADER = "std_msgs/Header header\n"
ROS_DRIVERS = {
    "AudioData": "uint8[] data\n",
    "AudioDataStamped": HEADER + "audio_common_msgs/AudioData audio\n",
    "AudioInfo": "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\nstring coding_format\n",
}
MGONZS13 = {
    "AudioData": "".join(f"{kind}[] {kind}_data\n" for kind in ("float32", "int32", "int16", "int8", "uint8")),
    "AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk\n",
    "Audio": "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info\n",
    "AudioStamped": HEADER + "audio_common_msgs/Audio audio\n",
}
