"""What a program calls: adapt, evaluate, predict, watch, export."""
