"""The trunk of a pass: blocks that several models share, run once and no further than needed.

Shapes: B images (or the frames of stacks), N tokens, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from torch import Tensor

from moekit.backbone.block import BareBlock, MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.errors import MoekitError
from moekit.moe.specialists import Grid
from moekit.moe.stats import RoutingTrace
from moekit.moe.tokens import TokenRouting
from moekit.runtime.side import SideKit, run_sides


class OnTrunk(Protocol):
    """What `walk` asks of a model; see `moekit.runtime.kit.KitModules` for each part."""

    @property
    def start(self) -> int:
        """The first block that is not the bare trunk's."""
        ...

    @property
    def trunk_end(self) -> int:
        """Number of blocks whose bare form is wanted."""
        ...

    @property
    def reads_of_trunk(self) -> list[int]:
        """Earlier blocks whose output is wanted too."""
        ...

    @property
    def reads_picture(self) -> bool:
        """Whether the input is wanted too."""
        ...

    @property
    def is_side(self) -> bool:
        """Whether its specialists act in a side stream."""
        ...

    @property
    def reads(self) -> list[int]:
        """The blocks whose output such a model reads."""
        ...

    @property
    def side(self) -> SideKit:
        """What such a model has in the side stream."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """A model that only looks at the tokens after some blocks.

    Attributes:
        start: How many.
    """

    start: int
    reads_picture: bool = False
    is_side: bool = False

    @property
    def trunk_end(self) -> int:
        """As many."""
        return self.start

    @property
    def reads_of_trunk(self) -> list[int]:
        """No others."""
        return []

    @property
    def reads(self) -> list[int]:
        """None."""
        return []

    @property
    def side(self) -> SideKit:
        """Nothing."""
        return SideKit({}, [])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stop:
    """A point of the trunk from which a model goes on by itself.

    Attributes:
        model: The model, by its place among those of the pass.
        start: Block before which the trunk stands.
        x_BND: (B, N, D) the tokens there.
        bare: What block `start` computes without specialists; None if the model has none there.
        kept: (B, N, D) the outputs of the earlier blocks that the model's head reads, by block.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
        picture: The pass's input, (B, 3, H, W) or (B, T, 3, H, W); None if the model's head does
            not read it.
        read: (B, N, D) what the head of a model reads whose specialists act in the side stream, by
            block; None for other models.
        failed: The error of these specialists.
    """

    model: int
    start: int
    x_BND: Tensor
    bare: BareBlock | None
    kept: Mapping[int, Tensor]
    grid: Grid
    picture: Tensor | None
    read: Mapping[int, Tensor] | None = None
    failed: MoekitError | None = None

    def copied(self) -> Stop:
        """The same with tensors of its own, as far as plugins see them."""
        bare = self.bare
        if bare is not None:
            bare = bare._replace(normal_BND=bare.normal_BND.clone())
        return dataclasses.replace(
            self,
            x_BND=self.x_BND.clone(),
            bare=bare,
            kept={block: value.clone() for block, value in self.kept.items()},
            picture=None if self.picture is None else self.picture.clone(),
        )

    def taken(self, rows: Sequence[int]) -> Stop:
        """Of some of the images, or stacks, by their places."""
        every = [
            row * self.grid.frames + frame for row in rows for frame in range(self.grid.frames)
        ]
        bare = self.bare
        return dataclasses.replace(
            self,
            x_BND=self.x_BND[every],
            bare=None if bare is None else BareBlock(*(part[every] for part in bare)),
            kept={block: value[every] for block, value in self.kept.items()},
            picture=None if self.picture is None else self.picture[list(rows)],
            read=None
            if self.read is None
            else {block: value[every] for block, value in self.read.items()},
        )


def walk(
    backbone: MoEBackbone,
    images: Tensor,
    models: Sequence[OnTrunk],
    *,
    top_k: int,
    tokens: TokenRouting | None = None,
    trace: RoutingTrace | None = None,
) -> Iterator[Stop]:
    """Runs the bare backbone from stop to stop; each model is met once, the earliest first.

    The first block of a model's specialists belongs to the trunk too: they are added to what it
    computes without them.

    A model gets tensors of its own as long as others wait, so that nothing that it does to them
    changes what those others see. Features are dropped as soon as no waiting model reads them.
    Models with a side stream wait for each other and run theirs together: none has blocks of its
    own.

    Args:
        backbone: The shared backbone.
        images: (B, 3, H, W) normalised, or (B, T, 3, H, W).
        models: Kits and baselines; those that start at the same block come in this order.
        top_k: Generic experts a token has.
        tokens: Which tokens are computed before the first stop; all if None.
        trace: Collects the routing up to the first stop if one is given.

    Raises:
        UsageError: The images have another shape, or `top_k` is out of range.
    """
    x_BND, grid = backbone.embed(images)
    kept: dict[int, Tensor] = {}
    at, bare = 0, None  # the next block, and what it computes if that is known
    joint = max((model.start for model in models if model.is_side), default=0)

    def order(place: int) -> tuple[int, bool]:
        model = models[place]
        return joint if model.is_side else model.start, not model.is_side

    waiting = sorted(range(len(models)), key=order)
    while waiting:
        place = waiting[0]
        model, start = models[place], order(place)[0]
        read = {block for one in waiting for block in _reads(models[one])}
        if bare is not None and at < start:
            x_BND, bare, at = bare.output_BND, None, at + 1
            kept[at - 1] = x_BND
        how: dict[str, Any] = {"stop": start, "keep": read, "top_k": top_k, "trace": trace}
        x_BND, new, _ = backbone.run_routed(x_BND, grid, images, tokens=tokens, start=at, **how)
        kept = {block: value for block, value in {**kept, **new}.items() if block in read}
        at = start
        if model.is_side:
            sides = [one for one in waiting if models[one].is_side]
            waiting = waiting[len(sides) :]
            found = run_sides(
                [models[one].side for one in sides],
                {**kept, at - 1: x_BND},
                backbone,
                grid,
                shared=bool(waiting),
                trace=trace,
            )
            trace = None
            for side in found:
                yield Stop(
                    model=sides[side.place],
                    start=at,
                    x_BND=x_BND,
                    bare=None,
                    kept={},
                    grid=grid,
                    picture=images.clone() if models[sides[side.place]].reads_picture else None,
                    read=side.tokens,
                    failed=side.failed,
                )
            continue
        if bare is None and model.trunk_end > at:
            block = cast(MoEBlock, backbone.blocks[at])
            bare = block.bare(x_BND, top_k=top_k, trace=trace)
        trace, waiting = None, waiting[1:]
        stop = Stop(
            model=place,
            start=at,
            x_BND=x_BND,
            bare=bare if model.trunk_end > at else None,
            kept={block: kept[block] for block in model.reads_of_trunk},
            grid=grid,
            picture=images if model.reads_picture else None,
        )
        yield stop.copied() if waiting else stop


def _reads(model: OnTrunk) -> list[int]:
    """The blocks whose output must be kept for a model that waits."""
    return model.reads if model.is_side else model.reads_of_trunk
