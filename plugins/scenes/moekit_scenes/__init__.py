"""A kit that outlines the parts of a scene, for moekit."""
