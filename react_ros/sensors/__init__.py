"""Stamped images and sound from devices, files and addresses."""
