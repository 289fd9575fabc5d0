"""The loaders of labelled images that moekit itself provides."""
