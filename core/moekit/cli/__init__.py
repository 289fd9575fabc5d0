"""What a person types. Nothing heavy is imported before a command needs it."""
