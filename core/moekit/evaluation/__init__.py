"""From answers to results: a pass over a split, metrics, intervals, the worst cases."""
