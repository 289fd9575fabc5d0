"""Making a sparse form from unlabelled images: carve in closed form, recover by distillation."""
