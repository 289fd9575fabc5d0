"""Scoring images as they arrive in a folder, for days: `moekit.evaluation.watch.loop.watch`."""
