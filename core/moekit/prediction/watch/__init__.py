"""Scoring images as they arrive in a folder, for days: `moekit.prediction.watch.loop.watch`."""
