"""Answers over HTTP: several kits on one backbone, and the client for them."""
