"""What is trained: an encoder with heads that read it.

Shapes: R rows (crops, or the frames of stacks one after the other), I items (crops, or stacks), N
tokens, P patches, D width, K outputs of a head, M hidden patches of all rows together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from moekit.backbone.model import MoEBackbone
from moekit.moe.specialists import Grid, SpecialistSet
from moekit.moe.stats import RoutingTrace


class Encoder(Protocol):
    """Turns inputs into features."""

    def __call__(
        self, inputs: Tensor, grid: Grid, hidden_RP: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features of some crops.

        Args:
            inputs: Of the crops.
            grid: Rows and columns of their patches, and the frames of a stack.
            hidden_RP: (R, P) which patches it may not see; None for none.

        Returns:
            (I, D) of the class token, of stacks the mean over their frames, and (R, P, D) of the
            patches.
        """
        ...


class OverTrunk(nn.Module):
    """A kit's specialists in the blocks behind a stored prefix. The trunk is frozen.

    What is hidden is replaced at the end of the prefix, so that the blocks before it run once for
    each stored crop. A hidden patch is a learned vector plus a map of its place.

    Args:
        sets: The specialist sets by block; they alone are kept of a training.
        backbone: Frozen; it is used but is no part of this module's state.
        start: First block behind the prefix.
        stop: The block after the last that is run.
        top_k: Generic experts a token has.
    """

    def __init__(
        self, sets: nn.ModuleDict, *, backbone: MoEBackbone, start: int, stop: int, top_k: int
    ) -> None:
        super().__init__()
        self.sets = sets
        self.hidden_D = nn.Parameter(torch.zeros(backbone.width))
        self.place = nn.Linear(backbone.width, backbone.width)
        self._backbone = (backbone,)
        self._start, self._stop, self._top_k = start, stop, top_k
        self._places: dict[Grid, Tensor] = {}

    def forward(
        self, x_RND: Tensor, grid: Grid, hidden_RP: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Encoder`; the inputs are the tokens at the end of the prefix."""
        if hidden_RP is not None:
            stand_in_PD = self.hidden_D + self.place(self._places_of(grid))
            prefix = x_RND.shape[1] - grid.patches
            patches = torch.where(hidden_RP[..., None], stand_in_PD, x_RND[:, prefix:])
            x_RND = torch.cat([x_RND[:, :prefix], patches.to(x_RND.dtype)], dim=1)
        branches = {int(block): cast(SpecialistSet, one) for block, one in self.sets.items()}
        return self._run(x_RND, grid, branches)

    @torch.no_grad()
    def bare(self, x_RND: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """The same features by the frozen model, without specialists."""
        return self._run(x_RND, grid, {})

    def _run(
        self, x_RND: Tensor, grid: Grid, branches: dict[int, SpecialistSet]
    ) -> tuple[Tensor, Tensor]:
        backbone = self._backbone[0]
        y_RND, _ = backbone.run_blocks(
            x_RND, grid, start=self._start, stop=self._stop, branches=branches, top_k=self._top_k
        )
        return _parted(backbone.stem.norm(y_RND), grid)

    def _places_of(self, grid: Grid) -> Tensor:
        """(P, D) what the trunk says of places: its tokens of a picture of the mean colour."""
        if grid not in self._places:
            backbone = self._backbone[0]
            weight = next(backbone.parameters())
            sides = (grid.rows * backbone.patch, grid.columns * backbone.patch)
            with torch.no_grad():
                x_1ND, _ = backbone.embed(torch.zeros(1, 3, *sides, device=weight.device))
            self._places[grid] = x_1ND[0, -grid.patches :].float()
        return self._places[grid]


class Whole(nn.Module):
    """A whole backbone, which is trained. Hidden patches have the mean colour.

    Args:
        backbone: Its parameters require gradients.
    """

    def __init__(self, backbone: MoEBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.trace: RoutingTrace | None = None

    def forward(
        self, images: Tensor, grid: Grid, hidden_RP: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Encoder`; the inputs are normalised images (R, 3, H, W)."""
        if hidden_RP is not None:
            plane = torch.unflatten(hidden_RP, 1, (grid.rows, grid.columns))[:, None]
            patch = self.backbone.patch
            wide = plane.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
            images = images.masked_fill(wide, 0)
        features = self.backbone(images, trace=self.trace)
        return _parted(features.final_BND, grid)


class PrototypeHead(nn.Module):
    """Cosines with learned prototypes, behind a bottleneck: the head of DINO (arXiv:2104.14294).

    Args:
        width: D.
        prototypes: K.
        hidden: Neurons of the layer between.
        bottleneck: Numbers that are compared with a prototype.
    """

    def __init__(
        self, width: int, prototypes: int, *, hidden: int = 512, bottleneck: int = 128
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., K), in [-1, 1]."""
        directions = nn.functional.normalize(self.prototypes.weight, dim=1)
        return nn.functional.linear(nn.functional.normalize(self.body(x), dim=-1), directions)


class FeatureHead(nn.Sequential):
    """Foretells features from features.

    Args:
        width: D.
        hidden: Neurons of the layer between.
    """

    def __init__(self, width: int, *, hidden: int = 512) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Learner(nn.Module):
    """An encoder with a head for the class token and one for hidden patches.

    Args:
        encoder: As of `Encoder`.
        head: Builds a head.
        large: The patches of large crops.
        small: Those of small crops.
    """

    def __init__(
        self, encoder: nn.Module, *, head: Callable[[], nn.Module], large: Grid, small: Grid
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_head, self.patch_head = head(), head()
        # Not handed to `forward`: what wraps modules makes named tuples without their attributes.
        self._large, self._small = large, small

    def forward(
        self,
        large: Tensor,
        small: Tensor | None,
        hidden_RP: Tensor | None,
        sees_all: bool = False,
    ) -> dict[str, Tensor]:
        """Outputs for the crops of a step.

        Args:
            large: Inputs of the large crops.
            small: Those of the small crops; None for none.
            hidden_RP: (R, P) the patches of large crops that are asked for; None for none.
            sees_all: Whether these are not hidden.

        Returns:
            `feature_ID` and `large_IK` of large crops, `small_IK` of small ones, `patch_MK`.
        """
        shown = None if sees_all else hidden_RP
        class_ID, patch_RPD = self.encoder(large, self._large, shown)
        outputs = {"feature_ID": class_ID, "large_IK": self.class_head(class_ID)}
        if hidden_RP is not None:
            outputs["patch_MK"] = self.patch_head(patch_RPD[hidden_RP])
        if small is not None:
            outputs["small_IK"] = self.class_head(self.encoder(small, self._small, None)[0])
        return outputs


def _parted(x_RND: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """The class token, of stacks its mean over the frames, and the patches."""
    class_RD, patch_RPD = x_RND[:, 0], x_RND[:, -grid.patches :]
    if grid.frames == 1:
        return class_RD, patch_RPD
    return torch.unflatten(class_RD, 0, (-1, grid.frames)).mean(1), patch_RPD
