"""Parts that heads of several tasks are made of."""
