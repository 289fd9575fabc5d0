"""What a request to several kits costs, before it is made: by arithmetic, not measured.

Shapes: N tokens of an image, D width, E generic experts, K of them chosen, H hidden neurons of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

from torch import nn

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.data.stream import Preprocess
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.runtime.together import Trained, passes_of, readings_of

_COLUMNS = ("pass", "input", "view", "top_k", "type", "shared blocks", "own blocks", "share")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A model's own part of a pass.

    Attributes:
        kit: Name of its kit.
        is_baseline: Whether it is the kit's baseline, whose outputs are averaged with the kit's.
        start: The first block that it runs by itself; its specialists may begin one before.
        blocks: How many blocks it runs by itself.
        side_blocks: In how many blocks of the trunk its specialists run in the side stream.
        operations: Of its own blocks, its specialists and its head, one image.
    """

    kit: str
    is_baseline: bool
    start: int
    blocks: int
    side_blocks: int
    operations: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedPass:
    """One pass over the backbone.

    Attributes:
        height: Rows of the input, in pixels.
        width: Columns of the input.
        frames: Frames of an item.
        view: Number of the view of the images.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed before the models' own blocks; all if None.
        arithmetic: fp32 or bf16.
        blocks: Blocks that are run once for all.
        operations: Of these blocks and the patches' embedding, one image.
        models: What each model runs by itself.
    """

    height: int
    width: int
    frames: int
    view: int
    top_k: int
    tokens: TokenRouting | None
    arithmetic: Arithmetic
    blocks: int
    operations: float
    models: tuple[PlannedModel, ...]

    @property
    def total(self) -> float:
        """All operations of one image."""
        return self.operations + sum(one.operations for one in self.models)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequestPlan:
    """The passes of a request; `print` shows them as a table.

    All costs are arithmetic: floating-point operations of matrix products, a multiply-add as two.
    The weights of specialists and heads count once a token, which is too much for heads that pool
    tokens first. A pass is one batch of images, or of windows of a picture that is cut.

    Attributes:
        passes: In the order in which they run.
        alone: Operations of each kit by itself, by name.
    """

    passes: tuple[PlannedPass, ...]
    alone: Mapping[str, float]

    @property
    def share(self) -> float:
        """Expected time of the request as a share of that of one request a kit, 0 to 1."""
        return sum(one.total for one in self.passes) / sum(self.alone.values())

    @property
    def ratio(self) -> float:
        """Expected time as a ratio to the mean time of one kit by itself; 1 is one kit's."""
        return self.share * len(self.alone)

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table, one line for the trunk of a pass and one for each model."""
        whole = sum(one.total for one in self.passes)
        rows: list[tuple[str, ...]] = []
        for number, one in enumerate(self.passes, start=1):
            size = f"{one.height} x {one.width}" + (f" x {one.frames}" * (one.frames > 1))
            told = (size, str(one.view), str(one.top_k), one.arithmetic)
            share = f"{one.operations / whole:.0%}"
            rows.append((str(number), *told, str(one.blocks), "", share))
            for model in one.models:
                name = model.kit + (" (baseline)" if model.is_baseline else "")
                share = f"{model.operations / whole:.0%}"
                own = f"{model.blocks}, {model.side_blocks} side" * (model.side_blocks > 0)
                rows.append((f"  {name}", *[""] * 5, own or str(model.blocks), share))
        return rows

    def __str__(self) -> str:
        table = [_COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        count, kits = len(self.passes), len(self.alone)
        lines.append(
            f"{count} pass{'es' * (count > 1)} for {kits} kit{'s' * (kits > 1)}; by arithmetic "
            f"{self.ratio:.2f} times the time of one kit, {self.share:.0%} of all one by one"
        )
        return "\n".join(lines)


def plan_of(kits: Mapping[str, Trained]) -> RequestPlan:
    """The passes that `answer_together` makes.

    Args:
        kits: By name, all of one backbone.
    """
    return RequestPlan(
        passes=tuple(
            planned
            for reading, group in readings_of(kits).items()
            for planned in plan_passes(
                {name: one.predictor for name, one in group.items()}, reading
            )
        ),
        alone={
            name: sum(
                planned.total
                for planned in plan_passes({name: one.predictor}, one.answerer.preprocess)
            )
            for name, one in kits.items()
        },
    )


def plan_passes(predictors: Mapping[str, Predictor], reading: Preprocess) -> list[PlannedPass]:
    """The passes of kits that read pictures alike.

    Args:
        predictors: The kits, all of one backbone.
        reading: How they read pictures.
    """
    planned: list[PlannedPass] = []
    backbone = next(iter(predictors.values())).backbone
    height, width = reading.frame.height, reading.frame.width
    tokens = (height // backbone.patch) * (width // backbone.patch) + backbone.prefix_tokens
    for one in passes_of(predictors):
        modules = [predictors[name].models[place] for name, place in one.models]
        shared = max(model.trunk_end for model in modules)
        block = block_operations(backbone, tokens, one.top_k)
        trunk = pass_operations(
            *(backbone, tokens - backbone.prefix_tokens),
            blocks=shared,
            top_k=one.top_k,
            tokens=one.tokens,
        )
        own = tuple(
            PlannedModel(
                kit=name,
                is_baseline=place > 0,
                start=model.trunk_end,
                blocks=model.own_blocks,
                side_blocks=len(_running_sets(model)) if model.is_side else 0,
                operations=reading.frames
                * (model.own_blocks * block + 2.0 * tokens * _weights(model)),
            )
            for (name, place), model in zip(one.models, modules, strict=True)
        )
        planned.append(
            PlannedPass(
                height=height,
                width=width,
                frames=reading.frames,
                view=one.view,
                top_k=one.top_k,
                tokens=one.tokens,
                arithmetic=one.arithmetic,
                blocks=shared,
                operations=reading.frames * trunk,
                models=own,
            )
        )
    return planned


def pass_operations(
    backbone: MoEBackbone,
    patches: int,
    *,
    blocks: int,
    top_k: int,
    tokens: TokenRouting | None = None,
) -> float:
    """Operations of the patches' embedding and the first bare blocks for one image or frame.

    Args:
        backbone: Runs them.
        patches: Of the image.
        blocks: How many blocks are run.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed; all if None.
    """
    first = backbone.prefix_tokens
    block = block_operations(backbone, first + patches, top_k)
    total = blocks * block + 2 * 3 * backbone.patch**2 * backbone.width * (first + patches)
    if tokens is not None:
        end = blocks if tokens.until is None else tokens.until
        few = block_operations(backbone, first + tokens.computed(patches), top_k)
        total -= (end - tokens.block) * (block - few)
    return float(total)


def block_operations(backbone: MoEBackbone, tokens: int, top_k: int) -> float:
    """Operations of a bare block for one image.

    8 N D^2 for attention's layers, 4 N^2 D for attention itself, 4 N K D H for the experts and,
    if a token does not have all of them, 2 N D E for the router.
    """
    bank = cast(MoEBlock, backbone.blocks[0]).moe.bank
    width = backbone.width
    router = 2 * tokens * width * bank.experts if top_k < bank.experts else 0
    attention = 8 * tokens * width**2 + 4 * tokens**2 * width
    return float(attention + router + 4 * tokens * top_k * width * bank.hidden)


def _running_sets(modules: KitModules) -> list[nn.Module]:
    """A kit's specialist sets, less those behind the last block that its head reads."""
    last = modules.head_blocks[-1]
    return [one for block, one in modules.branches.items() if block <= last]


def _weights(modules: KitModules) -> int:
    """How many numbers a kit keeps in its specialists that run and in its head."""
    parts: list[nn.Module] = [*_running_sets(modules), modules.head]
    kept = [value for part in parts for value in part.state_dict().values()]
    return sum(value.numel() for value in kept)
