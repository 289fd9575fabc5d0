"""Options of the small fits, for the fixtures and the tests."""

OPTIONS = {"image_size": 56, "threshold_rule": "max-false-alarm=0.25", "device": "cpu"}
PATCHCORE = ("layers=['blocks.5','blocks.8']", "coreset_sampling_ratio=0.2")
PADIM = ("layers=['blocks.2','blocks.5']", "n_features=20")
