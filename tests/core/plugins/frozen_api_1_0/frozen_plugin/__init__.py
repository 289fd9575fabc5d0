"""A plugin as it was written for API 1.0. It must go on working: change moekit, never this."""
