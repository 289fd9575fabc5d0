"""What a training from random weights is asked to do."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from moekit.data.samples import Dataset
from moekit.errors import UsageError
from moekit.pretraining.recipe import PretrainRecipe
from moekit.runs.pretrained import Pretrained
from moekit.scale.processes import processes
from moekit.scale.tier import Tier


@dataclasses.dataclass(frozen=True, kw_only=True)
class TierJob:
    """What a training from random weights is asked to do.

    Attributes:
        tier: The size of the backbone.
        dataset: Split data; labels are for the curves only.
        out: Where everything goes.
        seed: Decides weights, crops, order and what is hidden.
        recipe: How to train; `rate` is that of all parameters.
        device: Where this process computes.
        expert_axis: Processes that the experts are spread over.
        resume: Whether to go on with what is there.
        every: Steps between two checkpoints.
        command: The command line, for the record.
    """

    tier: Tier
    dataset: Dataset
    out: Pretrained
    seed: int
    recipe: PretrainRecipe
    device: torch.device
    expert_axis: int = 1
    resume: bool = False
    every: int = 500
    command: str = ""

    def check(self) -> None:
        """Refuses what cannot be trained.

        Raises:
            UsageError: The objective needs a frozen model, the data are stacks, or the processes do
                not fit the expert axis.
        """
        if self.recipe.objective != "self-distillation":
            raise UsageError(
                "from random weights there is no frozen model whose features could be foretold",
                whose=f"--objective {self.recipe.objective}",
                fix="leave it out: the objective is self-distillation",
                code="usage/option-conflict",
            )
        if self.dataset.frames != 1:
            raise UsageError(
                "the data are stacks; a backbone is trained on single images",
                whose=self.dataset.name,
                fix="load them as images",
                code="usage/frame-count",
            )
        if processes() % self.expert_axis:
            raise UsageError(
                f"{processes()} processes cannot be dealt into rows of {self.expert_axis}",
                whose="--expert-axis",
                fix="choose a divisor of the number of processes",
                code="usage/not-divisible",
            )

    def request(self) -> dict[str, Any]:
        """What decides the result, for the record."""
        return {
            "tier": self.tier.model_dump(),
            "dataset": self.dataset.name,
            "split_note": self.dataset.split_note,
            "seed": self.seed,
            "recipe": self.recipe.model_dump(mode="json"),
        }
