"""The side streams of kits: what their specialists add next to a trunk that nobody changes.

A stream begins at zero. At each block with specialists they read the sum of the bare block's output
and the stream, normalised as the block normalises what its own experts read, and what they give is
added to the stream. A head reads the sum too. So nothing of the trunk depends on a kit, and a kit's
training needs no block of it (ladder side-tuning, Sung et al. 2022, arXiv:2206.06522).

Kits whose specialists have one form go from block to block together; see `moekit.moe.side`.

Shapes: G kits, B images (or the frames of stacks), N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from torch import Tensor

from moekit.backbone.block import MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.errors import MoekitError
from moekit.moe.side import form_of, run_sets
from moekit.moe.specialists import Grid, SpecialistSet
from moekit.moe.stats import RoutingTrace

_MOST_BYTES = 64 * 2**20
"""Of the tokens that kits which go together hand to their heads."""


class SideKit(NamedTuple):
    """What a kit has in the side stream.

    Attributes:
        sets: Its specialists by block.
        head_blocks: The blocks that its head reads, in order.
    """

    sets: Mapping[int, SpecialistSet]
    head_blocks: Sequence[int]


class SideTokens(NamedTuple):
    """What the head of a kit reads.

    Attributes:
        place: The kit, by its place among those that were given.
        tokens: (B, N, D) by block.
        failed: The error of the kit's specialists; its tokens then mean nothing.
    """

    place: int
    tokens: dict[int, Tensor]
    failed: MoekitError | None


def run_sides(
    kits: Sequence[SideKit],
    bare: Mapping[int, Tensor],
    backbone: MoEBackbone,
    grid: Grid,
    *,
    shared: bool = False,
    trace: RoutingTrace | None = None,
) -> Iterator[SideTokens]:
    """Runs the side streams of kits; yields each kit once.

    Args:
        kits: In any order.
        bare: (B, N, D) the outputs of the bare blocks that a kit's specialists or head read.
        backbone: Has the norms.
        grid: Rows and columns of the patch tokens, and the frames of a stack.
        shared: Whether somebody else reads `bare` later.
        trace: Collects the routing if one is given.

    Yields:
        What each head reads; in tensors of its own if somebody else reads something.
    """
    some = next(iter(bare.values()))
    for places in _together(kits, some):
        found, failed = _run([kits[place] for place in places], bare, backbone, grid, trace)
        for number, place in enumerate(places):
            tokens = {
                block: value_GBND[number] if value_GBND.ndim == some.ndim + 1 else value_GBND
                for block, value_GBND in found.items()
            }
            if shared or len(kits) > 1:
                tokens = {
                    block: value.clone() if value is bare[block] else value
                    for block, value in tokens.items()
                }
            yield SideTokens(place, tokens, failed.get(number))


def _together(kits: Sequence[SideKit], some_BND: Tensor) -> Iterator[list[int]]:
    """The places of kits that go together: of one form, and no more than memory is meant for."""
    if len(kits) == 1:
        yield [0]
        return
    alike: dict[object, list[int]] = {}
    for place, kit in enumerate(kits):
        forms = {block: form_of(chosen) for block, chosen in kit.sets.items()}
        grouped = None not in forms.values()
        key = (tuple(sorted(forms.items())), tuple(kit.head_blocks)) if grouped else place
        alike.setdefault(key, []).append(place)
    for places in alike.values():
        a_kit = some_BND.nbytes * len(kits[places[0]].head_blocks)
        most = max(1, _MOST_BYTES // max(1, a_kit))
        yield from (places[first : first + most] for first in range(0, len(places), most))


def _run(
    kits: Sequence[SideKit],
    bare: Mapping[int, Tensor],
    backbone: MoEBackbone,
    grid: Grid,
    trace: RoutingTrace | None,
) -> tuple[dict[int, Tensor], dict[int, MoekitError]]:
    """What the heads of kits of one form read, and the errors of kits by their place.

    Returns:
        By block (G, B, N, D), or (B, N, D) the bare block's output if no stream has begun.
    """
    first = kits[0]
    found: dict[int, Tensor] = {}
    failed: dict[int, MoekitError] = {}
    side_GBND: Tensor | None = None
    for block in sorted({*first.sets, *first.head_blocks}):
        if block > first.head_blocks[-1]:
            break  # nobody reads what specialists behind the head's last block give
        x_BND = bare[block]
        if block in first.sets:
            norm = cast(MoEBlock, backbone.blocks[block]).norm2
            if side_GBND is None:
                x_GBND = norm(x_BND)[None].expand(len(kits), *x_BND.shape)
            else:
                x_GBND = norm(x_BND + side_GBND)
            sets = [kit.sets[block] for kit in kits]
            y_GBND, wrong = run_sets(sets, x_GBND, grid, trace=trace, block=block)
            y_GBND = y_GBND.to(x_BND.dtype)
            side_GBND = y_GBND if side_GBND is None else side_GBND + y_GBND
            failed = {**wrong, **failed}
        if block in first.head_blocks:
            found[block] = x_BND if side_GBND is None else x_BND + side_GBND
    return found, failed
