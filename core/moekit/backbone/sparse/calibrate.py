"""What the FFNs of a backbone see on real images.

Shapes: B images, N tokens, T sampled tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone


@torch.inference_mode()
def ffn_inputs(
    backbone: MoEBackbone, batches: Iterable[Tensor], *, tokens_per_image: int, seed: int = 0
) -> list[Tensor]:
    """Inputs of each block's FFN on a random sample of each image's tokens.

    Args:
        backbone: Run as it is, at its own `top_k`.
        batches: (B, 3, H, W) normalised images.
        tokens_per_image: Tokens kept of each image, the same ones in every block.
        seed: Of the sample.

    Returns:
        One (T, D) float32 tensor a block, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(backbone.parameters()).device
    found: list[list[Tensor]] = [[] for _ in backbone.blocks]
    for images in batches:
        tokens_BND, _ = backbone.embed(images.to(device))
        count = tokens_BND.shape[1]
        chosen_BN = torch.rand(tokens_BND.shape[:2], generator=generator).argsort(dim=1)
        picked_BK = chosen_BN[:, : min(tokens_per_image, count)].to(device)
        for index, block in enumerate(backbone.blocks):
            tokens_BND, z_BND = _step(block, tokens_BND, backbone.top_k)  # type: ignore[arg-type]
            wide = picked_BK[..., None].expand(-1, -1, z_BND.shape[2])
            found[index].append(z_BND.gather(1, wide).flatten(0, 1).float().cpu())
    return [torch.cat(parts) for parts in found]


def _step(block: MoEBlock, x_BND: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """One block: its output, and the input of its FFN."""
    middle_BND = block.attend(x_BND)
    z_BND = block.norm2(middle_BND)
    return middle_BND + block.ls2(block.moe(z_BND, top_k=top_k)), z_BND
