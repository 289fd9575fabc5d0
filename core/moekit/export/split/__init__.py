"""Exports in two graphs: the blocks that kits share, and what is a kit's own."""
