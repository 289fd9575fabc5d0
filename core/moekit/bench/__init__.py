"""Performance next to the peers and the limit, as ratios."""
