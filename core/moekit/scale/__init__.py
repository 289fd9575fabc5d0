"""The backbone on many devices: meshes, parallelism, sharded checkpoints, plans."""
