"""Corrections of answers: how they are checked, kept as labels, and read from annotation tools."""
