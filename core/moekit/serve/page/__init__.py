"""The page at `/`: hand-written files, and the routes that hand them out."""
