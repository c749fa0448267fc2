"""Messages without ROS: type names, topic namespaces, checked decoding, and building in any message classes."""
