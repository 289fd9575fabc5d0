"""Judging of found objects."""
