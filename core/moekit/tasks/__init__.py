"""The tasks that moekit itself provides, each a folder."""
