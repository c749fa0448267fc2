"""Cameras and microphones: time-stamped images and sound from devices, files and addresses."""
