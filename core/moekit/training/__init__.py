"""The gating fine-tune."""
