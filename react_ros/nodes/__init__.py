"""ROS glue and nothing else: parameters, topics, lifecycle, diagnostics. The only room that imports rclpy."""

import os

# onnxruntime reports to its maker from Linux as well (since 1.29), unless told otherwise before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
