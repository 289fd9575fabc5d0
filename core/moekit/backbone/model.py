"""The shared backbone: a timm vision transformer whose FFNs are MoE layers.

Shapes: B images, T frames, N tokens, D width.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from moekit.backbone.block import MoEBlock, Specialists
from moekit.backbone.features import Features
from moekit.backbone.kept import on_kept, run_groups
from moekit.errors import UsageError
from moekit.moe.layer import MoELayer
from moekit.moe.specialists import Grid, SpecialistSet
from moekit.moe.stats import RoutingTrace
from moekit.moe.tokens import TokenChoice, TokenGroup, TokenRouting

Branches = Mapping[int, SpecialistSet]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the backbone's weights come from; part of every result.

    Attributes:
        architecture: timm's model name.
        source: Kind of weight source ("file", "package", "hub").
        origin: File, package with version, or hub repository.
        sha256: Hash of the safetensors file.
        licence: SPDX identifier, or "unknown".
        note: What a reader must know about these weights.
        sparse_form: Where the sparse form comes from: a file's name, or "shipped"; None for none.
        sparse_sha256: Hash of its file.
    """

    architecture: str
    source: str
    origin: str
    sha256: str
    licence: str
    note: str
    sparse_form: str | None = None
    sparse_sha256: str | None = None


def frames_of(images: Tensor) -> Tensor:
    """(B, 3, H, W) images as they are; of (B, T, 3, H, W) stacks the frames, (B * T, 3, H, W)."""
    return images.flatten(0, 1) if images.ndim == 5 else images


class MoEBackbone(nn.Module):
    """A frozen vision transformer with 16 generic experts a block.

    Made by `moekit.build_backbone`. It holds no state of any kit: specialists are handed to each
    call, so no kit can change what another computes.

    Args:
        vit: The timm model; its patch embedding, position table and final norm are kept.
        layers: One MoE layer a block.
        provenance: Where the weights come from.
        mean: Per-channel mean that images are normalised with.
        std: Per-channel standard deviation.
        top_k: Generic experts a token has.
    """

    def __init__(
        self,
        *,
        vit: VisionTransformer,
        layers: Collection[MoELayer],
        provenance: Provenance,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        top_k: int,
    ) -> None:
        super().__init__()
        blocks = [
            MoEBlock(block=block, moe=layer, index=index)
            for index, (block, layer) in enumerate(zip(vit.blocks, layers, strict=True))
        ]
        vit.blocks = nn.Sequential()
        self.stem = vit
        self.blocks = nn.ModuleList(blocks)
        self.provenance = provenance
        self.mean = mean
        self.std = std
        self.width: int = vit.embed_dim
        self.prefix_tokens: int = vit.num_prefix_tokens
        self.patch: int = vit.patch_embed.patch_size[0]
        self.top_k = top_k
        self.requires_grad_(False)
        self.eval()

    @property
    def top_k(self) -> int:
        """Generic experts a token has: all of them is exact, fewer is faster."""
        return self._top_k

    @top_k.setter
    def top_k(self, value: int) -> None:
        self._top_k = self._checked(value)

    @property
    def experts(self) -> int:
        """E, the generic experts of a block."""
        first: MoEBlock = self.blocks[0]  # type: ignore[assignment]
        return first.moe.bank.experts

    @contextlib.contextmanager
    def at_top_k(self, value: int) -> Iterator[None]:
        """Sets `top_k` within the block only."""
        before, self.top_k = self.top_k, value
        try:
            yield
        finally:
            self.top_k = before

    @property
    def computes(self) -> str:
        """A name of what the backbone computes: its weights, and its form if that matters."""
        return self.computes_at(self.top_k)

    def computes_at(self, top_k: int) -> str:
        """The same for a pass with another `top_k`."""
        provenance = self.provenance
        if top_k == self.experts or provenance.sparse_sha256 is None:
            return provenance.sha256
        return f"{provenance.sha256}+{provenance.sparse_sha256}"

    def train(self, mode: bool = True) -> MoEBackbone:
        """Stays in eval mode whatever is asked: the trunk is frozen."""
        del mode
        return super().train(False)

    def forward(
        self,
        images: Tensor,
        *,
        branches: Branches | None = None,
        keep: Collection[int] = (),
        trace: RoutingTrace | None = None,
        top_k: int | None = None,
        tokens: TokenRouting | None = None,
    ) -> Features:
        """Features of normalised images.

        Args:
            images: (B, 3, H, W) float, or clips and volumes (B, T, 3, H, W); H and W are multiples
                of the patch size.
            branches: The active kit's specialists by block.
            keep: Blocks whose output is wanted too.
            trace: Collects the routing if one is given.
            top_k: Generic experts a token has in this pass; the backbone's own if None.
            tokens: Which tokens are computed in this pass; all if None.

        Raises:
            UsageError: The images have another shape, `top_k` is out of range, or tokens are routed
                from a block that the backbone does not have.
            PluginError: The token gate fails.
        """
        x_BND, grid = self.embed(images)
        x_BND, kept, chosen = self.run_routed(
            x_BND,
            grid,
            images,
            tokens=tokens,
            branches=branches,
            keep=keep,
            trace=trace,
            top_k=top_k,
        )
        return Features(
            final_BND=self.stem.norm(x_BND),
            blocks=kept,
            grid=grid,
            prefix_tokens=self.prefix_tokens,
            frames=grid.frames if images.ndim == 5 else None,
            trace=trace,
            tokens=chosen,
        )

    def embed(self, images: Tensor) -> tuple[Tensor, Grid]:
        """Images to tokens before the first block, and their grid.

        Args:
            images: (B, 3, H, W), or stacks of frames (B, T, 3, H, W).

        Returns:
            (B, N, D) tokens and a grid of one frame, or (B * T, N, D), the frames of a stack one
            after the other, and a grid of T frames.

        Raises:
            UsageError: The images have another shape.
        """
        self._check_shape(images)
        frames = images.shape[1] if images.ndim == 5 else 1
        rows, columns = images.shape[-2] // self.patch, images.shape[-1] // self.patch
        x = self.stem.patch_embed(frames_of(images))
        x_BND = self.stem.norm_pre(self.stem._pos_embed(x))
        return x_BND, Grid(rows, columns, frames)

    def run_routed(
        self,
        x_BND: Tensor,
        grid: Grid,
        images: Tensor | None,
        *,
        tokens: TokenRouting | None,
        start: int = 0,
        stop: int | None = None,
        **how: Any,
    ) -> tuple[Tensor, dict[int, Tensor], TokenChoice | None]:
        """Runs blocks `start` to `stop` (not included) with tokens routed as a pass asks.

        Args:
            x_BND: Tokens before block `start`.
            grid: Rows and columns of the patch tokens, and the frames of a stack.
            images: What they were made of, as of `forward`; needed from block 0 on only.
            tokens: Which tokens are computed; all if None.
            start: First block to run: 0, or one from which all tokens are computed again.
            stop: The block after the last one. It must not lie between the first block that is
                routed and the block from which all tokens are computed again.
            how: Further arguments of `run_blocks`.

        Returns:
            What `run_blocks` returns, and which tokens were computed; None if all were.

        Raises:
            UsageError: As of `run_blocks`, or the routing does not fit the blocks.
            PluginError: The token gate fails.
        """
        last = len(self.blocks) if stop is None else stop
        if tokens is None or tokens.keeps_all or start >= (tokens.until or 1):
            return *self.run_blocks(x_BND, grid, start=start, stop=last, **how), None
        until = last if tokens.until is None else tokens.until
        if start or images is None or not tokens.block < until <= last:
            raise UsageError(
                f"tokens are routed from block {tokens.block} to {until}, but blocks {start} to "
                f"{last} are run{'' if images is not None else ' without images'}",
                whose="token routing",
                fix="choose blocks that are run",
                code="usage/out-of-range",
            )
        x_BND, first = self.run_blocks(x_BND, grid, stop=tokens.block, **how)
        chosen = tokens.choose(x_BND, grid, frames_of(images))
        x_BND, routed = self.run_blocks(
            x_BND, grid, start=tokens.block, stop=until, tokens=chosen, **how
        )
        x_BND, later = self.run_blocks(x_BND, grid, start=until, stop=last, **how)
        return x_BND, {**first, **routed, **later}, chosen

    def run_blocks(
        self,
        x_BND: Tensor,
        grid: Grid,
        *,
        start: int = 0,
        branches: Branches | None = None,
        keep: Collection[int] = (),
        trace: RoutingTrace | None = None,
        stop: int | None = None,
        top_k: int | None = None,
        tokens: TokenChoice | None = None,
        seen_BN: Tensor | None = None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Runs blocks `start` to `stop` (not included; None is the end).

        Args:
            x_BND: Tokens before block `start`.
            grid: Rows and columns of the patch tokens, and the frames of a stack.
            start: First block to run.
            branches: The active kit's specialists by block.
            keep: Blocks whose output is wanted too.
            trace: Collects the routing if one is given.
            stop: The block after the last one.
            top_k: Generic experts a token has in this pass; the backbone's own if None.
            tokens: Which tokens these blocks compute; the others keep their value. All if None.
            seen_BN: (B, N) bool, in place of `tokens`: what attention sees, for graphs, in which
                images that compute fewer tokens are filled up; all if None.

        Returns:
            The tokens after the last block run, and the outputs of the blocks in `keep`.

        Raises:
            UsageError: `top_k` is out of range.
        """
        chosen = self.top_k if top_k is None else self._checked(top_k)
        blocks = range(start, len(self.blocks) if stop is None else stop)
        if tokens is None:
            return self._run(x_BND, grid, blocks, branches or {}, keep, trace, chosen, seen_BN)
        norms = [cast(MoEBlock, block).norm2 for block in self.blocks]

        def run(
            group: TokenGroup, part_RCD: Tensor, own: RoutingTrace | None
        ) -> tuple[Tensor, dict[int, Tensor]]:
            sets = {
                index: on_kept(branch, group, x_BND, norms[index])
                for index, branch in (branches or {}).items()
            }
            return self._run(part_RCD, grid, blocks, sets, keep, own, chosen)

        return run_groups(
            tokens, x_BND, run, keep=[one for one in keep if one in blocks], trace=trace
        )

    def _run(
        self,
        x_BND: Tensor,
        grid: Grid,
        blocks: range,
        branches: Mapping[int, Specialists],
        keep: Collection[int],
        trace: RoutingTrace | None,
        top_k: int,
        seen_BN: Tensor | None = None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Runs blocks on all tokens that are given."""
        kept: dict[int, Tensor] = {}
        how: dict[str, Any] = {"top_k": top_k, "trace": trace, "seen_BN": seen_BN}
        for index in blocks:
            x_BND = self.blocks[index](x_BND, grid, specialists=branches.get(index), **how)
            if index in keep:
                kept[index] = x_BND
        return x_BND, kept

    def _checked(self, top_k: int) -> int:
        if not 1 <= top_k <= self.experts:
            raise UsageError(
                f"top_k is {top_k}, but each block has {self.experts} experts",
                whose="top_k",
                fix=f"choose a value from 1 to {self.experts}",
                code="usage/out-of-range",
            )
        return top_k

    def _check_shape(self, images: Tensor) -> None:
        whole = images.ndim == 4 or (images.ndim == 5 and images.shape[1] > 0)
        good = whole and images.shape[-3] == 3 and min(images.shape[-2:]) >= self.patch
        if not good or any(side % self.patch for side in images.shape[-2:]):
            raise UsageError(
                f"images have the shape {tuple(images.shape)}",
                whose="the backbone's input",
                fix=f"give (B, 3, H, W) or (B, T, 3, H, W), H and W multiples of {self.patch}",
                code="usage/image-shape",
            )
