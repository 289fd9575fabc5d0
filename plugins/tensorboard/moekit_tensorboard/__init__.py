"""A TensorBoard tracker for moekit."""
