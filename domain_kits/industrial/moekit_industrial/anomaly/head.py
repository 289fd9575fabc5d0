"""The head that learns from normal images only: what no normal image has shown is abnormal.

It compares each patch with a routed memory of normal patches (see `memory`), tells the products of
a run apart and leaves the background out. If there is none, as on textures, it leaves the light
of the whole image out and adds up what lies along lines, as cracks and edges of uneven fields do.
It says how far the worst patches lie from what is normal, on a scale that the validation images
set.

Shapes: B images, N tokens of an image (prefix tokens first, then the patch grid row by row), P
patches, D width, L blocks that the head reads, F = L * D, C kept components, Q products, R
prototypes of all products.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moekit import Grid, HeadSite, Outputs, PluginError
from moekit_industrial.anomaly.foreground import on_part
from moekit_industrial.anomaly.lines import along_lines
from moekit_industrial.anomaly.memory import RoutedMemory
from moekit_industrial.anomaly.sizes import SizedByState

WORST = 0.005
"""Share of an image's patches whose mean distance is its score: 5 of 1,024."""
COMPONENTS = 128
UNKNOWN = -1


class MemoryHead(SizedByState):
    """Scores an image by its patches' distances to normal ones.

    Before it has learned it scores nothing.

    Args:
        site: Where it sits: D and L.
        components: C, at most F.
        asked: Cells that a patch is compared with.
    """

    centre_QF: Tensor
    basis_QFC: Tensor
    prototypes_RF: Tensor
    product_R: Tensor
    reach_Q: Tensor
    axis_QF: Tensor
    cut_Q: Tensor
    texture_Q: Tensor
    scale_Q: Tensor
    spread_Q: Tensor
    seen_Q: Tensor
    names: Tensor

    def __init__(self, site: HeadSite, *, components: int = COMPONENTS, asked: int = 8) -> None:
        super().__init__()
        features = site.width * site.blocks
        kept = min(components, features)
        self.memory = RoutedMemory(kept, asked=asked)
        self.register_buffer("centre_QF", torch.zeros(0, features))
        self.register_buffer("basis_QFC", torch.zeros(0, features, kept))
        self.register_buffer("prototypes_RF", torch.zeros(0, features))
        self.register_buffer("product_R", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("axis_QF", torch.zeros(0, features))
        for name in ("reach_Q", "cut_Q", "scale_Q", "spread_Q"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("texture_Q", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("seen_Q", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("names", torch.zeros(0, dtype=torch.uint8))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The products' names; empty before it has learned."""
        return tuple(json.loads(bytes(self.names.tolist()))) if len(self.names) else ()

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """One (B, N, D) tensor a block to (B,) logits, (B, h, w) maps and (B,) products.

        Raises:
            PluginError: Samples are stacks.
        """
        if grid.frames > 1:
            raise PluginError(
                "a memory of normal images takes no stacks",
                whose="the industrial kit",
                fix="give images of one frame",
                code="plugin/no-stacks",
            )
        with torch.autocast(tokens[0].device.type, enabled=False):
            x_BPF = patch_features(tokens, grid)
            if not len(self.scale_Q):
                blank = x_BPF.new_zeros(len(x_BPF))
                return {"logit_B": blank}
            product_B, known_B = self.recognise(x_BPF)
            far_BP = self.distances(x_BPF, product_B, grid)
            scaled_BP = self._log_odds(far_BP, product_B)
            return {
                "logit_B": self._log_odds(worst(far_BP)[:, None], product_B)[:, 0],
                "map_BHW": scaled_BP.sigmoid().view(-1, grid.rows, grid.columns),
                "kind_B": torch.where(known_B, product_B, UNKNOWN),
            }

    def recognise(self, x_BPF: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) the nearest product of each image, and (B,) whether it is near enough."""
        # torch.cdist chooses its way by the number of images, which a graph must not know.
        far_BR = (x_BPF.mean(1)[:, None] - self.prototypes_RF).square().sum(2).sqrt()
        nearest = far_BR.min(1)
        product_B = self.product_R[nearest.indices]
        return product_B, nearest.values <= self.reach_Q[product_B]

    def distances(self, x_BPF: Tensor, product_B: Tensor, grid: Grid) -> Tensor:
        """(B, P) distance of each patch to the normal ones of its product; 0 in the background.

        On textures it is the mean of the patch's own and of its best line's.
        """
        part_BP = self.part(x_BPF, product_B, grid)
        kind_BP = product_B[:, None].expand_as(part_BP)
        texture_B = self.texture_Q[product_B]
        x_BPF = torch.where(texture_B[:, None, None], centred(x_BPF), x_BPF)
        x_BPC = (x_BPF - self.centre_QF[product_B, None]) @ self.basis_QFC[product_B]
        far_T: Tensor = self.memory(x_BPC.flatten(0, 1), kind_BP.flatten(), part_BP.flatten())
        far_BP = far_T.view_as(part_BP)
        return torch.where(texture_B[:, None], (far_BP + along_lines(far_BP, grid)) / 2, far_BP)

    def part(self, x_BPF: Tensor, product_B: Tensor, grid: Grid) -> Tensor:
        """(B, P) whether each patch shows the part; all do if a product has no background.

        Those that the pass over the backbone did not compute never do.
        """
        along_BP = torch.einsum("bpf,bf->bp", x_BPF, self.axis_QF[product_B])
        return on_part(x_BPF, along_BP > self.cut_Q[product_B][:, None], grid)

    def _log_odds(self, far_BP: Tensor, product_B: Tensor) -> Tensor:
        """(B, P) how far beyond the usual of normal images, whose own lie around 0.

        It rises with the distance without an end, so nothing is clamped; products whose normal
        images scatter more are stretched less.
        """
        typical = self.spread_Q.mean()
        slope_B = typical / self.spread_Q[product_B]
        above_BP = far_BP.clamp_min(1e-6).log() - self.scale_Q[product_B].log()[:, None]
        return slope_B[:, None] * above_BP


def patch_features(tokens: Sequence[Tensor], grid: Grid) -> Tensor:
    """(B, P, F) float32 patch tokens of each block, each normalised to mean 0 and variance 1.

    A patch that the blocks did not compute has the same value behind all of them; its features are
    0, see `is_computed`.
    """
    patches = [x_BND[:, -grid.patches :].float() for x_BND in tokens]
    x_BPF = torch.cat([nn.functional.layer_norm(x, x.shape[2:]) for x in patches], dim=2)
    if len(patches) == 1:
        return x_BPF
    changed_BP = torch.stack([(x != patches[0]).any(2) for x in patches[1:]]).any(0)
    return torch.where(changed_BP[:, :, None], x_BPF, 0.0)


def centred(x_BPF: Tensor) -> Tensor:
    """(B, P, F) what each patch differs by from the mean of its image: the light is left out."""
    return x_BPF - x_BPF.mean(1, keepdim=True)


def worst(far_BP: Tensor) -> Tensor:
    """(B,) mean of the greatest distances of each image."""
    count = max(1, round(WORST * far_BP.shape[1]))
    return far_BP.topk(count, dim=1).values.mean(1)
