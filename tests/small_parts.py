"""A drawn industrial set, the weights of a small backbone for it, and a kit of colours."""

import io

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from moekit import KitSpec, Recipe
from moekit.tasks.classify import ClassHead

ARCHITECTURE = "vit_tiny_patch16_224"
SIDE = 48
COLOURS = KitSpec(
    name="colours",
    summary="tells colours apart",
    task="classify",
    slots=(),
    head_blocks=(3, 5),
    build_head=ClassHead,
    recipe=Recipe(views=1),
)
"""A kit for the example of the task `classify`."""


def png(seed, *, odd=False):
    """The bytes of a noisy gray picture; odd ones have a bright bar."""
    pixels = np.random.default_rng(seed).integers(40, 80, (SIDE, SIDE), dtype=np.uint8)
    if odd:
        pixels[18:30] = 250
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_parts(home):
    """Writes `weights.safetensors`, and 24 pictures into `parts/good` and `parts/bars`."""
    torch.manual_seed(0)
    model = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    save_file(model.state_dict(), home / "weights.safetensors")
    for number in range(24):
        path = home / "parts" / ("bars" if number % 2 else "good") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number, odd=number % 2))
