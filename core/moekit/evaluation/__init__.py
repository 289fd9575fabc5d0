"""From scores to results: thresholds, metrics, intervals, report."""
