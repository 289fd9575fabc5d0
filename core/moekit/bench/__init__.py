"""Performance beside the peers and the limit, as ratios."""
