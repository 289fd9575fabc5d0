"""An expert, a gate and a kit of one's own, without a package.

A package does the same through a `plugin.toml` and an entry point; see the README.
Run it with `python examples/02_own_expert_and_gate.py`.
"""

import torch
from torch import Tensor, nn

import moekit


class Scale(nn.Module):
    """A specialist that stretches each feature; it begins with zero output."""

    reads_map = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(width))

    def forward(self, x_TD: Tensor) -> Tensor:
        return x_TD * self.amount


class Nearest:
    """A gate: the best option alone, with weight 1."""

    unit_weights = True

    def __call__(
        self, scores_BNE: Tensor, *, k: int, bias_E: Tensor | None = None
    ) -> moekit.Routing:
        best_T1 = scores_BNE.flatten(0, 1).argmax(1, keepdim=True)
        return moekit.Routing.of_choices(
            best_T1, torch.ones_like(best_T1, dtype=scores_BNE.dtype), experts=scores_BNE.shape[2]
        )


class Mean(nn.Module):
    """A head: a linear layer on the mean token."""

    def __init__(self, site: moekit.HeadSite) -> None:
        super().__init__()
        self.linear = nn.Linear(site.width * site.blocks, 1)

    def forward(self, tokens: list[Tensor], grid: moekit.Grid) -> moekit.Outputs:
        pooled = torch.cat([x_BND.mean(1) for x_BND in tokens], dim=1)
        return {"logit_B": self.linear(pooled)[:, 0]}


class Hooks:
    """What a plugin's module of hooks holds, here as an object."""

    @moekit.hookimpl
    def moekit_experts(self) -> list[moekit.ExpertSpec]:
        return [
            moekit.ExpertSpec(name="scale", build=Scale, summary="stretches", source="an example")
        ]

    @moekit.hookimpl
    def moekit_gates(self) -> list[moekit.GateSpec]:
        return [
            moekit.GateSpec(name="nearest", build=Nearest, summary="the best", source="an example")
        ]


registry = moekit.Registry()
registry.register(Hooks(), distribution="my-lab")
kit = moekit.KitSpec(
    name="tiny",
    summary="one specialist in the last block",
    slots=(
        moekit.SpecialistSlot(block=-1, experts=("my-lab/scale",), gate="my-lab/nearest", top_k=1),
    ),
    head_blocks=(-1,),
    build_head=Mean,
    recipe=moekit.Recipe(),
    metrics=("auroc",),
    positive="odd",
    outcome_names={"missed": "miss", "false_alarm": "false alarm"},
    demo_dataset="folder",
)

runtime = moekit.Runtime(moekit.build_backbone(), registry=registry)
modules = runtime.attach(kit)
images = torch.rand(2, 3, 224, 224)

bare = runtime.features(images).final_BND
fresh = runtime.features(images, kit="tiny").final_BND
print("a fresh kit changes nothing:", torch.equal(bare, fresh))

with torch.no_grad():
    modules.branches[11].experts[0].amount.fill_(0.5)
changed = runtime.features(images, kit="tiny").final_BND
print("a trained one does:", not torch.equal(bare, changed))
print(
    "and the bare backbone is what it was:", torch.equal(bare, runtime.features(images).final_BND)
)
