"""Near-duplicates: pictures of a set that show the same, found by features and by pixels."""
