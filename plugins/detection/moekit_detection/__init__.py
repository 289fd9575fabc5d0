"""Detection for moekit: boxes around objects, small ones too."""
