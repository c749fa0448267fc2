"""Supervision of the robot's processes: stop signals, heartbeats, hang detection, restarts, settings that survive."""
