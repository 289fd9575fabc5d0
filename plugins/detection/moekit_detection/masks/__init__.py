"""Masks of objects: runs of pixels, outlines, overlaps, length and width."""
