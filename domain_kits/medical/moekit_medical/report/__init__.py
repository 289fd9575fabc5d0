"""Sections that the medical kit adds to a run's report."""
