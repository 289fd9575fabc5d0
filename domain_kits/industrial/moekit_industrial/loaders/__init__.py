"""Loaders of inspection data without defect labels: good images to learn from, others to test on.

| `--data` | what it reads |
| --- | --- |
| `mvtec=PATH[?products=a,b]` | products in the layout of MVTec AD |
| `good=PATH[?defective=PATH&masks=PATH&good_test=PATH]` | a folder of good images |
| `visa=PATH[?products=a,b]` | VisA |
| `btad=PATH[?products=a,b]` | BTAD |
| `anomalib=PATH?format=NAME[&category=a,b]` | other sets that anomalib knows, see `formats` |

All take `shots=N`, to keep N good training images of each product, and `groups=FILE`, a CSV of path
and tile_group or group, so that pictures of one part never lie on both sides of a split.
"""

from __future__ import annotations

from moekit import DatasetSpec
from moekit_industrial.loaders.good import GOOD_FOLDER
from moekit_industrial.loaders.named import ANOMALIB, BTAD, MVTEC, VISA

DATASETS: tuple[DatasetSpec, ...] = (MVTEC, GOOD_FOLDER, VISA, BTAD, ANOMALIB)

__all__ = ["ANOMALIB", "BTAD", "DATASETS", "GOOD_FOLDER", "MVTEC", "VISA"]
