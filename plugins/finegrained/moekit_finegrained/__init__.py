"""A kit for classes that look alike, for moekit."""
