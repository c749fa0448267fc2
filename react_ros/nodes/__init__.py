"""ROS glue and nothing else: parameters, topics, lifecycle, diagnostics. The only room that imports rclpy."""
