"""Corrections over HTTP, and the images that people are asked to look at."""
