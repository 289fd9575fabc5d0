"""An entropy-adaptive gate for moekit."""
