"""Self-supervised pretraining: specialists on a frozen trunk, or a whole backbone."""
