"""What a program calls: adapt, evaluate, predict, watch and export, by the names of kits."""
