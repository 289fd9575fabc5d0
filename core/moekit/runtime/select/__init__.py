"""Which of several kits a picture belongs to, or none, by the shared trunk's features."""
