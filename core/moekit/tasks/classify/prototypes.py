"""A head that needs no training: the nearest class mean, for a few examples a class.

Shapes: B images or stacks, D width, L blocks, S summaries of a block, F = S * D * L features, C
classes, M training images.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from moekit.contract.jobs import FitJob, FitResult, StoredPrefix
from moekit.contract.outputs import HeadSite, Outputs
from moekit.errors import DataError
from moekit.moe.specialists import Grid
from moekit.tasks.classify.head import pool
from moekit.tasks.parts.given import head_inputs
from moekit.tasks.parts.summaries import SummaryName

TEMPERATURES = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Factors of the cosine that are tried on the validation split."""
_BATCH = 16


class PrototypeHead(nn.Module):
    """Log-odds of classes by the cosine between an item and the mean of each class.

    Each summary of each block is scaled to length one, the mean over the training images is taken
    off, and the whole is scaled to length one again (SimpleShot, Wang et al. 2019,
    arXiv:1911.04623). The logits are the cosines with the class means times a temperature
    (prototypical networks, Snell et al. 2017, arXiv:1703.05175). All of it is buffers, which
    `fit_prototypes` fills. Before that all logits are 0.

    Args:
        site: Width, blocks and classes.
        summaries: What is taken of each block, as of `ClassHead`.
    """

    def __init__(
        self, site: HeadSite, *, summaries: Sequence[SummaryName] = ("class", "mean")
    ) -> None:
        super().__init__()
        self.summaries = tuple(summaries)
        features = len(self.summaries) * site.width * site.blocks
        self.register_buffer("centre_F", torch.zeros(features))
        self.register_buffer("prototype_CF", torch.zeros(site.classes, features))
        self.register_buffer("temperature", torch.tensor(TEMPERATURES[2]))
        self.centre_F: Tensor
        self.prototype_CF: Tensor
        self.temperature: Tensor

    def pooled(self, tokens: Sequence[Tensor], grid: Grid) -> Tensor:
        """(B, F) float32 features, each summary of length one."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            parts = pool(tokens, grid, self.summaries)
            return torch.cat([nn.functional.normalize(part_BD, dim=1) for part_BD in parts], dim=1)

    def cosine(self, pooled_BF: Tensor) -> Tensor:
        """(B, C) in [-1, 1], of pooled features with the class means."""
        unit_BF = nn.functional.normalize(pooled_BF - self.centre_F, dim=1)
        return unit_BF @ self.prototype_CF.T

    def forward(self, tokens: Sequence[Tensor], grid: Grid) -> Outputs:
        """One (B * T, N, D) tensor a block to `logit_BC` and `unlike_B`, 1 less the cosine."""
        with torch.autocast(tokens[0].device.type, enabled=False):
            cosine_BC = self.cosine(self.pooled(tokens, grid))
            return {"logit_BC": cosine_BC * self.temperature, "unlike_B": 1 - cosine_BC.amax(1)}

    def fill(self, pooled_MF: Tensor, member_MC: Tensor) -> None:
        """Sets the centre and the class means.

        Args:
            pooled_MF: (M, F) pooled features of training images.
            member_MC: (M, C) 1 if the image is of the class, else 0.

        Raises:
            DataError: A class has no image.
        """
        count_C = member_MC.sum(0)
        if not bool((count_C > 0).all()):
            empty = int((count_C == 0).nonzero()[0])
            raise DataError(
                f"class number {empty} has no training image, so it has no mean",
                whose="the train split",
                fix="add an image of it, or remove the class",
                code="data/missing-class",
            )
        self.centre_F.copy_(pooled_MF.mean(0))
        unit_MF = nn.functional.normalize(pooled_MF - self.centre_F, dim=1)
        mean_CF = member_MC.to(unit_MF).T @ unit_MF / count_C[:, None].to(unit_MF)
        self.prototype_CF.copy_(nn.functional.normalize(mean_CF, dim=1))


def fit_prototypes(job: FitJob) -> FitResult:
    """Fills a `PrototypeHead` from the training split; a kit passes it as its `fit`.

    The temperature is the one of `TEMPERATURES` with the least cross entropy on the validation
    images of known classes, or the middle one if there are none.

    Raises:
        DataError: A class has no training image that can be read.
    """
    began = time.perf_counter()
    job.kit.eval()
    head = cast(PrototypeHead, job.kit.head)
    classes = len(head.prototype_CF)
    pooled = [_pooled(job, job.train, view) for view in range(job.train.views)]
    member_MC = _members(job.train, classes).to(pooled[0].device)
    head.fill(torch.cat(pooled), member_MC.repeat(job.train.views, 1))
    figures: dict[str, float] = {"epoch": 1.0, "images": float(len(job.train))}
    if len(job.val):
        figures |= _choose_temperature(head, _pooled(job, job.val, 0), job.val)
    figures |= {"temperature": float(head.temperature), "seconds": time.perf_counter() - began}
    job.on_epoch(figures)
    return FitResult(epochs=1, best_epoch=1, seconds=figures["seconds"], history=(figures,))


def _members(store: StoredPrefix, classes: int) -> Tensor:
    member_MC = torch.zeros(len(store.samples), classes)
    for row, sample in enumerate(store.samples):
        member_MC[row, list(sample.all_labels)] = 1
    return member_MC


@torch.inference_mode()
def _pooled(job: FitJob, store: StoredPrefix, view: int) -> Tensor:
    """(M, F) pooled features of a split in one view."""
    head = cast(PrototypeHead, job.kit.head)
    batches = head_inputs(job, store, view, batch_size=_BATCH)
    return torch.cat([head.pooled(*given) for _, given in batches]).clone()


def _choose_temperature(
    head: PrototypeHead, pooled_MF: Tensor, store: StoredPrefix
) -> dict[str, float]:
    """Sets the temperature; the share of right answers and the loss on known classes."""
    with torch.no_grad():
        cosine_MC = head.cosine(pooled_MF).double().cpu()
    member_MC = _members(store, cosine_MC.shape[1]).double()
    known_M = member_MC.sum(1) > 0
    if not bool(known_M.any()):
        return {}
    cosine_MC, member_MC = cosine_MC[known_M], member_MC[known_M]
    share_MC = member_MC / member_MC.sum(1, keepdim=True)
    losses = [
        float(-(share_MC * (cosine_MC * factor).log_softmax(1)).sum(1).mean())
        for factor in TEMPERATURES
    ]
    best = int(np.argmin(losses))
    head.temperature.fill_(TEMPERATURES[best])
    right_M = member_MC.gather(1, cosine_MC.argmax(1, keepdim=True))[:, 0]
    return {"val_top1": float(right_M.mean()), "val_loss": losses[best]}
