"""A recorded session again: perceived and answered without ROS, shown as a film, or played in real time."""
