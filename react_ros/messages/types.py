"""The message types that the package reads or writes, "package/msg/Name"."""

from __future__ import annotations

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
"""What `image_raw` may carry."""

OUR_AUDIO = "react_ros/msg/AudioChunk"
AUDIO_TYPES = (
    OUR_AUDIO,
    "audio_common_msgs/msg/AudioData",
    "audio_common_msgs/msg/AudioDataStamped",
    "audio_common_msgs/msg/AudioStamped",
)
"""What `audio` may carry. Live, the first is subscribed to until a publisher of another type appears."""
AUDIO_DATA_TYPES = AUDIO_TYPES[1:3]
"""Of ros-drivers: sound without its format."""
AUDIO_INFO = "audio_common_msgs/msg/AudioInfo"
"""Format of ros-drivers' AudioData and AudioDataStamped, on a topic of its own."""

FEATURES_TYPE = "react_ros/msg/SpeakerFeatures"
REACTION_TYPE = "react_ros/msg/Reaction"
STREAM_TYPE = "react_ros/msg/ListenerStream"
LINEAGE_TYPE = "react_ros/msg/Lineage"
STAGE_TYPE = "react_ros/msg/Stage"
BLENDSHAPES_TYPE = "react_ros/msg/Blendshapes"
FACE_MODEL_TYPE = "react_ros/msg/FaceModel"
AFFECT_TYPE = "react_ros/msg/Affect"
STATUS_TYPE = "react_ros/msg/Status"
RECORDING_TYPE = "react_ros/msg/Recording"

HEADER_TYPE = "std_msgs/msg/Header"
TIME_TYPE = "builtin_interfaces/msg/Time"
DIAGNOSTICS_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
