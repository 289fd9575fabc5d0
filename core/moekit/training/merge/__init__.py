"""Runs of one kit from several sites made one run, without their data."""
