"""The task `score`: one probability an item, and where its evidence lies."""
