"""Published definitions of the two packages named audio_common_msgs, message name to text; and how tests write them."""

from __future__ import annotations

from typing import Any

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


def send_to(writer: Any, store: Any, topic: str, time_ns: int, message: Any) -> None:
    """Write a message with rosbags' Writer; its connection is added with the topic's first message."""
    kind = message.__msgtype__
    known = [c for c in writer.connections if c.topic == topic]
    connection = known[0] if known else writer.add_connection(topic, kind, typestore=store)
    writer.write(connection, time_ns, store.serialize_cdr(message, kind))
