"""A run as one HTML file, and its drawings."""
