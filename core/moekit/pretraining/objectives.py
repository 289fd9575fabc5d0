"""What is asked of features without labels: two objectives, each a few functions.

Shapes: B images, V large crops of an image (2), S small ones, K outputs, D width, M hidden patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from moekit.moe.specialists import Grid
from moekit.pretraining.learner import FeatureHead, Learner, OverTrunk, PrototypeHead
from moekit.pretraining.recipe import PretrainRecipe

LARGE = 2
"""Large crops of an image in a step."""
Outputs = dict[str, Tensor]
Mean = Callable[[Tensor], Tensor]
"""The mean of a tensor over all processes."""


class Target(Protocol):
    """An objective.

    Attributes:
        centres: What it keeps from step to step; part of a checkpoint.
    """

    centres: nn.Module

    def head(self, width: int) -> nn.Module:
        """A head for features of that width."""
        ...

    def taught(self, average: Learner, large: Tensor, grid: Grid, hidden_RP: Tensor) -> Outputs:
        """What the learner is to foretell, without gradients.

        Args:
            average: The averaged copy of the learner.
            large: Inputs of large crops, the first of all images before the second of all.
            grid: Their patches.
            hidden_RP: The patches that are asked for.
        """
        ...

    def begin(self, taught: Outputs, mean: Mean) -> None:
        """Takes note of the targets of the first step, before its loss."""
        ...

    def loss(self, outputs: Outputs, taught: Outputs) -> Tensor:
        """The loss () of a learner's outputs."""
        ...

    def follow(self, taught: Outputs, mean: Mean) -> None:
        """Takes note of a step's targets, after its loss."""
        ...


class SelfDistillation:
    """A learner foretells what its averaged copy says of other crops of the same image.

    DINO (Caron et al. 2021, arXiv:2104.14294) for the class token, with centring against collapse,
    and iBOT (Zhou et al. 2022, arXiv:2111.07832) for hidden patches. KoLeo keeps images apart
    (Sablayrolles et al. 2019, arXiv:1806.03198), as in DINOv2 (arXiv:2304.07193).

    Args:
        recipe: Temperatures, weights and the number of outputs.
    """

    def __init__(self, recipe: PretrainRecipe) -> None:
        self._recipe = recipe
        self.centres: nn.Module = nn.Module()
        for name in ("large_IK", "patch_MK"):
            self.centres.register_buffer(name, torch.zeros(recipe.prototypes))

    def head(self, width: int) -> nn.Module:
        """See `Target`."""
        return PrototypeHead(width, self._recipe.prototypes)

    @torch.no_grad()
    def taught(self, average: Learner, large: Tensor, grid: Grid, hidden_RP: Tensor) -> Outputs:
        """See `Target`."""
        del grid
        outputs: Outputs = average(large, None, hidden_RP, sees_all=True)
        return {name: outputs[name].float() for name in ("large_IK", "patch_MK")}

    @torch.no_grad()
    def begin(self, taught: Outputs, mean: Mean) -> None:
        """See `Target`; the centre is the mean, since else all images would be told one thing."""
        for name, centre_K in self.centres.named_buffers():
            if len(taught[name]):
                centre_K.copy_(mean(taught[name].mean(0)))

    def loss(self, outputs: Outputs, taught: Outputs) -> Tensor:
        """See `Target`."""
        recipe = self._recipe
        goal_VBK = _by_crop(self._goal("large_IK", taught))
        told_VBK = _by_crop(self._told(outputs["large_IK"]))
        terms = [
            _crossed(goal_VBK[crop], told_VBK[other])
            for crop in range(LARGE)
            for other in range(LARGE)
            if crop != other
        ]
        if "small_IK" in outputs:
            small_SBK = _by_crop(self._told(outputs["small_IK"]), goal_VBK.shape[1])
            terms += [_crossed(goal_BK, small_BK) for goal_BK in goal_VBK for small_BK in small_SBK]
        loss = torch.stack(terms).mean()
        if recipe.patch_weight and outputs["patch_MK"].numel():
            told_MK = self._told(outputs["patch_MK"])
            loss = loss + recipe.patch_weight * _crossed(self._goal("patch_MK", taught), told_MK)
        if recipe.spread:
            feature_VBD = _by_crop(outputs["feature_ID"].float())
            loss = loss + recipe.spread * torch.stack([_koleo(one) for one in feature_VBD]).mean()
        return loss

    @torch.no_grad()
    def follow(self, taught: Outputs, mean: Mean) -> None:
        """See `Target`."""
        for name, centre_K in self.centres.named_buffers():
            if len(taught[name]):
                centre_K.lerp_(mean(taught[name].mean(0)), 1 - self._recipe.centre_decay)

    def _goal(self, name: str, taught: Outputs) -> Tensor:
        centre_K = cast(Tensor, getattr(self.centres, name))
        return ((taught[name] - centre_K) / self._recipe.teacher_temperature).softmax(-1)

    def _told(self, output: Tensor) -> Tensor:
        return (output.float() / self._recipe.student_temperature).log_softmax(-1)


class MaskedFeatures:
    """A learner foretells the frozen model's features: of hidden patches, and of the whole crop.

    Masked feature prediction (Wei et al. 2022, arXiv:2112.09133) towards a frozen model, as EVA
    does (Fang et al. 2023, arXiv:2211.07636). The class token of every crop foretells that of the
    image's large crops, so that small crops learn what lies around them. Nothing can collapse.

    Args:
        recipe: The weight of the patches.
    """

    def __init__(self, recipe: PretrainRecipe) -> None:
        self._recipe = recipe
        self.centres: nn.Module = nn.Module()

    def head(self, width: int) -> nn.Module:
        """See `Target`."""
        return FeatureHead(width)

    @torch.no_grad()
    def taught(self, average: Learner, large: Tensor, grid: Grid, hidden_RP: Tensor) -> Outputs:
        """See `Target`."""
        class_ID, patch_RPD = cast(OverTrunk, average.encoder).bare(large, grid)
        found = {"large_IK": class_ID, "patch_MK": patch_RPD[hidden_RP]}
        return {
            name: nn.functional.layer_norm(value.float(), value.shape[-1:])
            for name, value in found.items()
        }

    def begin(self, taught: Outputs, mean: Mean) -> None:
        """See `Target`; nothing is kept."""

    def loss(self, outputs: Outputs, taught: Outputs) -> Tensor:
        """See `Target`."""
        goal_VBD = _by_crop(taught["large_IK"])
        told = [*_by_crop(outputs["large_IK"].float())]
        if "small_IK" in outputs:
            told += [*_by_crop(outputs["small_IK"].float(), goal_VBD.shape[1])]
        goal_BD = goal_VBD.mean(0)
        loss = torch.stack([_apart(one_BD, goal_BD) for one_BD in told]).mean()
        if self._recipe.patch_weight and outputs["patch_MK"].numel():
            near = nn.functional.smooth_l1_loss(outputs["patch_MK"].float(), taught["patch_MK"])
            loss = loss + self._recipe.patch_weight * near
        return loss

    def follow(self, taught: Outputs, mean: Mean) -> None:
        """See `Target`; nothing is kept."""


def target_of(recipe: PretrainRecipe) -> SelfDistillation | MaskedFeatures:
    """The objective that a recipe names."""
    if recipe.objective == "masked-features":
        return MaskedFeatures(recipe)
    return SelfDistillation(recipe)


def hide(count: int, grid: Grid, share: float, generator: torch.Generator) -> Tensor:
    """(count, P) which patches are hidden: as many in each row, in spots of about 2 x 2.

    Args:
        count: Rows.
        grid: The patches of a row.
        share: Of them that are hidden.
        generator: Draws them.
    """
    half = (-(-grid.rows // 2), -(-grid.columns // 2))
    spots = torch.rand(count, 1, *half, generator=generator)
    wide = spots.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : grid.rows, : grid.columns]
    score_RP = wide.flatten(1) + 0.5 * torch.rand(count, grid.patches, generator=generator)
    chosen = score_RP.topk(round(share * grid.patches), dim=1).indices
    return torch.zeros(count, grid.patches, dtype=torch.bool).scatter_(1, chosen, True)


def _by_crop(value: Tensor, images: int | None = None) -> Tensor:
    """(crops * B, ...) to (crops, B, ...): large crops if the number of images is not given."""
    return torch.unflatten(value, 0, (LARGE, -1) if images is None else (-1, images))


def _crossed(goal: Tensor, told: Tensor) -> Tensor:
    return -(goal * told).sum(-1).mean()


def _apart(told_BD: Tensor, goal_BD: Tensor) -> Tensor:
    return (1 - nn.functional.cosine_similarity(told_BD, goal_BD, dim=1)).mean()


def _koleo(feature_BD: Tensor) -> Tensor:
    """The negative mean log distance to the nearest other image; 0 for a single one."""
    if len(feature_BD) < 2:
        return feature_BD.sum() * 0
    unit_BD = nn.functional.normalize(feature_BD, dim=1)
    near_BB = unit_BD.detach() @ unit_BD.detach().T
    nearest_B = near_BB.fill_diagonal_(-2).argmax(1)
    apart_B = (unit_BD - unit_BD[nearest_B]).square().sum(1)
    return -0.5 * (apart_B + 1e-8).log().mean()
