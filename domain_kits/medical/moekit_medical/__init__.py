"""The medical kit of moekit: a lesion expert on CT. Research software, not for clinical use."""
