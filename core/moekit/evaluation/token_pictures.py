"""Where tokens were computed one by one, drawn for a few items: RUN/tokens with an index.

Shapes: H and W rows and columns of the input.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moekit.backbone.model import MoEBackbone
from moekit.data.pictures import LONG_SIDE, reduced, save_jpeg
from moekit.data.samples import Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.data.windows import cut_samples
from moekit.files import write_json
from moekit.moe.tokens import TokenChoice, TokenRouting
from moekit.runtime.device import autocast
from moekit.runtime.predictor import Predictor

PICTURES = 4
_DIM = 0.35
"""Brightness of what is merged or skips."""


@torch.inference_mode()
def draw_tokens(
    folder: Path, samples: Sequence[Sample], predictor: Predictor, preprocess: Preprocess
) -> None:
    """Draws what the backbone saw of a few items, with what is not computed one by one in the dark.

    What an earlier evaluation drew goes. If all tokens are computed, nothing is drawn.

    Args:
        folder: Where the pictures and index.json go.
        samples: What was answered; a few of them are taken, evenly spread. Of a picture that is cut
            it is a window in the middle.
        predictor: Routes their tokens.
        preprocess: How they are read.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if predictor.tokens is None or not samples:
        return
    places = np.unique(np.linspace(0, len(samples) - 1, PICTURES).round().astype(int))
    windows = [cut_samples([samples[place]], preprocess.tiling) for place in places]
    chosen = [parts[len(parts) // 2] for parts in windows]
    batches = image_batches(
        [(one.id, one.path) for one in chosen],
        dataclasses.replace(preprocess, tiling=None),
        batch_size=1,
        windows=[one.window for one in chosen],
    )
    index = []
    for batch in batches:
        for row in batch.rows:
            drawn, share = _drawn(predictor, batch.images)
            name = f"tokens-{row + 1}.jpg"
            save_jpeg(folder / name, drawn)
            caption = f"{share:.0%} of the tokens computed"
            index.append({"id": chosen[row].id, "file": name, "kind": "tokens", "caption": caption})
    write_json(folder / "index.json", index)


def _drawn(predictor: Predictor, images: Tensor) -> tuple[Image.Image, float]:
    """One input, of a stack its middle frame, and the share of tokens that is computed."""
    backbone, tokens = predictor.backbone, cast(TokenRouting, predictor.tokens)
    seen = images.to(predictor.device)
    with autocast(predictor.device, predictor.arithmetic):
        x_BND, grid = backbone.embed(seen)
        *_, choice = backbone.run_routed(
            x_BND, grid, seen, tokens=tokens, stop=tokens.until, top_k=predictor.top_k
        )
    frame = images.flatten(0, -4)[grid.frames // 2]
    choice = cast(TokenChoice, choice)  # a predictor that has a routing routes
    return _shaded(frame, choice, grid.frames // 2, backbone), choice.share


def _shaded(frame_3HW: Tensor, choice: TokenChoice, row: int, backbone: MoEBackbone) -> Image.Image:
    kept_P = choice.kept_BN[row, backbone.prefix_tokens :].cpu().float()
    height, width = frame_3HW.shape[1:]
    kept_RC = kept_P.view(height // backbone.patch, width // backbone.patch)
    light_HW = _DIM + (1 - _DIM) * kept_RC
    light_HW = light_HW.repeat_interleave(backbone.patch, 0).repeat_interleave(backbone.patch, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.mean, backbone.std))
    shaded_3HW = (frame_3HW * std + mean).clamp(0, 1) * light_HW
    pixels = (255 * shaded_3HW).round().byte().permute(1, 2, 0).numpy()
    return reduced(Image.fromarray(pixels), LONG_SIDE)
