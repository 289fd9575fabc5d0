"""The shared backbone: any timm vision transformer, carved into experts, with real weights."""
