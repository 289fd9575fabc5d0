"""Sparse forms that ship with moekit, one file for each set of dense weights."""
