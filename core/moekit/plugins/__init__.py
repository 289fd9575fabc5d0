"""Plugins: manifests, discovery, hooks, records, registry."""
