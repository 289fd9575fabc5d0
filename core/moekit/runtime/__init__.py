"""The backbone with kits attached."""
