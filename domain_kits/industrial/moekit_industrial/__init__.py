"""The industrial inspection kit of moekit."""
