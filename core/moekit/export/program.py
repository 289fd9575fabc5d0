"""A trained kit and its backbone as one module from images to scores and maps.

Shapes: B images or stacks, T frames of a stack, V views, h and w rows and columns of the patch
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.data.views import view
from moekit.export.forms import in_export_form
from moekit.export.positions import fix_positions
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor


class ProgramOutput(NamedTuple):
    """What the program gives, and the graphs made from it, under these names.

    Attributes:
        score: (B,) float32 probability of the positive class.
        logit: (B,) float32 its log-odds, which tell more near 0 and 1.
        map: (B, h, w) float32 in [0, 1], evidence of each patch, or None.
        kind: (B,) int64 number of the kind of image, -1 for none that was trained on, or None.
    """

    score: Tensor
    logit: Tensor
    map: Tensor | None
    kind: Tensor | None


class KitProgram(nn.Module):
    """What `Predictor` computes in float32 on a CPU, the average over views included.

    The views of an image go through the backbone as one batch of V * B, and their log-odds are
    averaged inside: who calls a graph made from it gives the images as they are.

    Args:
        backbone: The shared backbone.
        kit: The trained kit. Of both the export form is taken, which shares their weights.
        views: V.
        shape: Of one sample: (3, H, W), or (T, 3, H, W) of a stack.
    """

    def __init__(
        self, *, backbone: MoEBackbone, kit: KitModules, views: int, shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.backbone = cast(MoEBackbone, in_export_form(backbone))
        fix_positions(self.backbone.stem, *(side // backbone.patch for side in shape[-2:]))
        self.kit = cast(KitModules, in_export_form(kit))
        self.views = views
        self.eval()

    @classmethod
    def of(cls, predictor: Predictor, shape: Sequence[int]) -> KitProgram:
        """The program of a predictor, for samples of one shape."""
        return cls(
            backbone=predictor.backbone, kit=predictor.kit, views=predictor.views, shape=shape
        )

    def forward(self, images: Tensor) -> ProgramOutput:
        """Scores normalised images (B, 3, H, W) or stacks (B, T, 3, H, W), float32."""
        seen = images
        if self.views > 1:
            seen = torch.cat([view(images, number) for number in range(self.views)])
        x_BND, grid = self.backbone.embed(seen)
        x_BND, kept = self.backbone.run_blocks(
            x_BND, grid, stop=self.kit.prefix_end, keep=self.kit.prefix_keep
        )
        output = self.kit(self.backbone, x_BND, kept, grid)
        logit_B, map_BHW, kind_B = output.logit_B, self._of_first(output.map_BHW), output.kind_B
        if self.views > 1:
            logit_B = logit_B.unflatten(0, (self.views, -1)).mean(0)
        return ProgramOutput(
            score=logit_B.sigmoid(), logit=logit_B, map=map_BHW, kind=self._of_first(kind_B)
        )

    def _of_first(self, values: Tensor | None) -> Tensor | None:
        """Of (V * B, ...) what belongs to the images as they are."""
        if values is None or self.views == 1:
            return values
        first: Tensor = torch.unflatten(values, 0, (self.views, -1))[0]
        return first
