"""Tables and images for the tests of the loaders."""

import numpy as np
from PIL import Image

SECRET = "Doe_Jane"
"""Stands for a name that no message and no output may repeat."""


def write_table(folder, header, rows):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def edit_table(folder, change):
    """Changes the lines of the table, the header among them."""
    path = folder / "labels.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")


def write_image(path, number):
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def pixels_of(sample):
    with Image.open(sample.path) as image:
        return np.asarray(image).astype(int)


def text_of(dataset):
    """All that a command writes of a data set."""
    parts = [dataset.name, dataset.source, dataset.split_note, dataset.licence, *dataset.classes]
    parts += [f"{skip.id} {skip.reason}" for skip in dataset.skipped]
    parts += [f"{s.id} {s.group} {s.subtype} {s.split}" for s in dataset.samples]
    return "\n".join(parts)
