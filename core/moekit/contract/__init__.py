"""What a plugin and moekit promise each other: records, hooks, tasks, the recipe."""
