"""Recording files (rosbag2): write, read, recover, and read sessions from them."""
