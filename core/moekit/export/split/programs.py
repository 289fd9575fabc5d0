"""A kit's program in two parts: the shared prefix of the backbone, and the kit's own blocks.

What the prefix puts out is named by the blocks it comes from: `block_7` is the output of block 7,
and `normal_7` are the normalised tokens that this block's experts, and specialists, read. As in
torch, the block of a kit's first specialists is computed without them in the prefix.

Shapes: B images or stacks, T frames of a stack, V views, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from moekit.backbone.block import BareBlock, MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.contract.outputs import Outputs
from moekit.export.graph import INPUT
from moekit.export.program import KitProgram
from moekit.moe.specialists import Grid
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor

_BLOCK, _NORMAL = "block_", "normal_"
_Run = Callable[[Tensor, Grid, int, Collection[int]], tuple[Tensor, dict[int, Tensor]]]
"""Runs blocks from the first one: tokens, grid, the block to stop before, and what is kept."""


def models_of(predictor: Predictor) -> tuple[KitModules, ...]:
    """The models whose answers a graph gives: the kit, and the baseline if the mean of both."""
    averaged = predictor.averaged
    return (predictor.kit,) if averaged is None else (predictor.kit, averaged)


def tokens_read(models: Sequence[KitModules], blocks: int) -> tuple[str, ...]:
    """What models read of a prefix of that number of blocks, which none of them may begin before.

    Args:
        models: The kit, and its baseline if that answers too.
        blocks: At most the kit's `trunk_end`.
    """
    last = blocks - 1
    read = {block for one in models for block in one.reads if block < last} | {last}
    names = [f"{_BLOCK}{block}" for block in sorted(read)]
    if any(last in one.in_trunk for one in models):
        names.append(f"{_NORMAL}{last}")
    return tuple(names)


@torch.inference_mode()
def tokens_in_torch(
    predictor: Predictor, images: Tensor, blocks: int, names: Sequence[str]
) -> dict[str, Tensor]:
    """What a prefix must give for a view of images, computed by the backbone itself."""
    backbone = predictor.backbone

    def run(
        x_BND: Tensor, grid: Grid, stop: int, keep: Collection[int]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        how: dict[str, Any] = {"stop": stop, "keep": keep, "top_k": predictor.top_k}
        return backbone.run_routed(x_BND, grid, images, tokens=predictor.tokens, **how)[:2]

    return _tokens(backbone, images, run, blocks, names, top_k=predictor.top_k)


def _tokens(
    backbone: MoEBackbone,
    images: Tensor,
    run: _Run,
    blocks: int,
    names: Sequence[str],
    *,
    top_k: int,
) -> dict[str, Tensor]:
    """(B * T, N, D) each of the named tokens."""
    x_BND, grid = backbone.embed(images)
    last = blocks - 1
    keep = {int(name.removeprefix(_BLOCK)) for name in names if name.startswith(_BLOCK)}
    if f"{_NORMAL}{last}" not in names:
        x_BND, kept = run(x_BND, grid, blocks, keep)
        return _named({**kept, last: x_BND}, None, names)
    x_BND, kept = run(x_BND, grid, last, keep)
    if last - 1 in keep:
        kept[last - 1] = x_BND
    bare = cast(MoEBlock, backbone.blocks[last]).bare(x_BND, top_k=top_k)
    return _named({**kept, last: bare.output_BND}, bare.normal_BND, names)


def _named(
    blocks: Mapping[int, Tensor], normal_BND: Tensor | None, names: Sequence[str]
) -> dict[str, Tensor]:
    found = {f"{_BLOCK}{block}": value for block, value in blocks.items()}
    if normal_BND is not None:
        found[f"{_NORMAL}{max(blocks)}"] = normal_BND
    return {name: found[name] for name in names}


class PrefixProgram(nn.Module):
    """From images of one view to the tokens of a prefix.

    Args:
        program: Of a kit that has the prefix. It is changed, so it must be nobody else's.
        blocks: Blocks of the prefix.
        names: What it puts out; see the top of the module.
    """

    def __init__(self, program: KitProgram, blocks: int, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.routed = program.backbone, program.routed
        del self.backbone.blocks[blocks:]
        self._blocks, self._names, self._top_k = blocks, tuple(names), program.top_k
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images (B, 3, H, W) or stacks (B, T, 3, H, W), float32."""

        def run(
            x_BND: Tensor, grid: Grid, stop: int, keep: Collection[int]
        ) -> tuple[Tensor, dict[int, Tensor]]:
            how: dict[str, Any] = {"keep": keep, "top_k": self._top_k}
            if self.routed is None:
                return self.backbone.run_blocks(x_BND, grid, stop=stop, **how)
            made: tuple[Tensor, dict[int, Tensor]]
            made = self.routed(self.backbone, x_BND, grid, images, **how)
            return made

        found = _tokens(self.backbone, images, run, self._blocks, self._names, top_k=self._top_k)
        return tuple(found.values())


class OwnProgram(nn.Module):
    """From the tokens of a prefix to a kit's outputs.

    Args:
        program: Of the kit. It is changed, so it must be nobody else's.
        blocks: Blocks of the prefix.
        names: The tokens that are read, in their order.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
    """

    def __init__(self, program: KitProgram, blocks: int, names: Sequence[str], grid: Grid) -> None:
        super().__init__()
        self.backbone, self.kit, self.baseline = program.backbone, program.kit, program.baseline
        del self.backbone.stem
        self._blocks, self._names, self._grid = blocks, tuple(names), grid
        self._top_k, self._seen, self._merged = program.top_k, program.seen, program.merged
        self.eval()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what `forward` takes, in their order."""
        return (*self._names, *((INPUT,) if self.kit.reads_picture else ()))

    def forward(self, *given: Tensor) -> tuple[Tensor | None, ...]:
        """Tokens (V, B, T, N, D) and, if the head reads them, the images to `KitProgram.fields`."""
        tokens = {name: one.flatten(0, 2) for name, one in zip(self._names, given, strict=False)}
        picture = self._seen(given[-1]) if self.kit.reads_picture else None
        models = [self.kit] if self.baseline is None else [self.kit, self.baseline]
        return self._merged([self._outputs(model, tokens, picture) for model in models])

    def _outputs(
        self, model: KitModules, tokens: Mapping[str, Tensor], picture: Tensor | None
    ) -> Outputs:
        """A model's outputs for all views."""
        last = self._blocks - 1
        x_BND, normal_BND = tokens[f"{_BLOCK}{last}"], tokens.get(f"{_NORMAL}{last}")
        kept = {
            int(name.removeprefix(_BLOCK)): value
            for name, value in tokens.items()
            if name.startswith(_BLOCK)
        }
        how = {"top_k": self._top_k, "picture": picture}
        outputs: Outputs
        if normal_BND is None or last not in model.in_trunk:
            outputs = model(self.backbone, x_BND, kept, self._grid, start=self._blocks, **how)
            return outputs
        bare = BareBlock(x_BND, normal_BND)
        before_BND = kept.get(last - 1, x_BND)  # whoever reads it has it
        del kept[last]
        outputs = model(self.backbone, before_BND, kept, self._grid, start=last, bare=bare, **how)
        return outputs
