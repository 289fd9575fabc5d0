"""Images, labels and splits: what every domain has in common."""
