"""A texture expert for moekit."""
