"""The sparse form of a backbone: which neurons make an expert, what stands in for others."""
