"""ROS nodes: parameters, topics, lifecycle, diagnostics around the other rooms. The only room that imports rclpy."""
