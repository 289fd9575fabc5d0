"""Cameras: frames of folders, files, network streams and devices, answered as they come."""
