"""Features of the domains of `selector_sets` by the frozen trunk, kept in a folder.

`python -m tests.benchmarks.selector_features FOLDER NAME...` makes those of some domains; several
such processes share the work. The benchmark makes what is missing.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

from moekit import build_backbone
from moekit.data.geometry import Frame
from moekit.data.tensors import image_tensor
from moekit.runtime.cells import cells_of
from tests.benchmarks.selector_sets import MOST, domains
from tests.conftest import SHARED

BLOCKS = (3, 6, 7, 9)
"""After how many blocks features are read; kits' specialists begin at 6 to 11."""
SIDE, BATCH = 224, 8
LEVELS = 16
_KEY = hashlib.sha256(repr((BLOCKS, SIDE, sorted(MOST.items()))).encode()).hexdigest()[:12]


def features_of_domain(name: str, sides: dict[str, list], folder: Path, backbone=None):
    """By split (n, blocks, C, D) cells of the pictures, and their colours.

    Args:
        name: Of the domain.
        sides: Functions that read its pictures, by split.
        folder: Where they are kept.
        backbone: Computes them if they are not there; built if None.
    """
    path = folder / f"{name}-{_KEY}.npz"
    if not path.exists():
        model = build_backbone() if backbone is None else backbone
        found = {}
        for split, reads in sides.items():
            found[f"{split} cells"], found[f"{split} colours"] = _computed(reads, model)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"part-{path.name}", **found)
        (folder / f"part-{path.name}").rename(path)
    with np.load(path) as kept:
        return {key: kept[key] for key in kept.files}


@torch.inference_mode()
def _computed(reads, backbone) -> tuple[np.ndarray, np.ndarray]:
    frame, cells, colours = Frame(height=SIDE, width=SIDE), [], []
    for first in range(0, len(reads), BATCH):
        pictures = [read() for read in reads[first : first + BATCH]]
        colours += [_colours(picture) for picture in pictures]
        images = [
            image_tensor(one, frame=frame, mean=backbone.mean, std=backbone.std) for one in pictures
        ]
        x_BND, grid = backbone.embed(torch.stack(images))
        after = []
        for start, stop in zip((0, *BLOCKS), BLOCKS, strict=False):
            x_BND, _ = backbone.run_blocks(x_BND, grid, start=start, stop=stop)
            after.append(cells_of(x_BND, grid))
        cells.append(np.stack(after, axis=1))
    return np.concatenate(cells), np.array(colours)


def _colours(picture) -> np.ndarray:
    """Mean and spread of each colour, and the histogram of greys: what needs no network."""
    pixels = np.asarray(picture.resize((64, 64)), dtype=np.float64) / 255
    greys, _ = np.histogram(pixels.mean(2), LEVELS, (0, 1))
    return np.concatenate([pixels.mean((0, 1)), pixels.std((0, 1)), greys / greys.sum()])


if __name__ == "__main__":
    torch.set_num_threads(1)
    every = domains(SHARED.resolve())
    for wanted in sys.argv[2:] or every:
        features_of_domain(wanted, every[wanted], Path(sys.argv[1]))
        print(wanted, flush=True)  # noqa: T201
