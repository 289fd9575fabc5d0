"""A kit's modules for one backbone: its specialists by block, and its task head.

Shapes: B images (or the frames of stacks), N tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from moekit.backbone.block import BareBlock, MoEBlock
from moekit.backbone.model import MoEBackbone
from moekit.contract.experts import SpecialistSlot
from moekit.contract.kits import KitSpec
from moekit.contract.outputs import HeadOutput, HeadSite, Outputs
from moekit.errors import PluginError, UsageError, is_nobodys
from moekit.moe.gates import Gate
from moekit.moe.owned import owned
from moekit.moe.routing import is_traced
from moekit.moe.specialists import Grid, SpecialistSet
from moekit.moe.stats import RoutingTrace
from moekit.plugins.faults import owner_in_words
from moekit.plugins.registry import Registry
from moekit.runtime.side import SideKit, run_sides


class KitModules(nn.Module):
    """What a kit trains: specialist sets with their routers, and a head.

    Before training the specialists put out zero. The blocks before the first specialist are the
    kit's frozen prefix: their activations depend on the backbone only and can be kept. Of a kit
    whose specialists act in the side stream these are all blocks that its head reads.

    Args:
        spec: The kit.
        registry: Provides the experts and gates that the kit names.
        backbone: Gives the width and the number of blocks; it is not kept.
        classes: How many classes the data have.
        frames: Frames of a sample; 1 for images.
        members: Networks by whose mean the head answers.

    Raises:
        UsageError: The kit names a block that the backbone does not have, or one block twice, or
            its head cannot have several members.
        PluginError: An expert, a gate or the head cannot be built, the head reads no block, or a
            slot lets a token take more options than it has.
    """

    def __init__(
        self,
        *,
        spec: KitSpec,
        registry: Registry,
        backbone: MoEBackbone,
        classes: int = 2,
        frames: int = 1,
        members: int = 1,
    ) -> None:
        super().__init__()
        depth = len(backbone.blocks)
        self.name = spec.name
        self.classes = classes
        self.slots = tuple(spec.slots)
        self.is_side = spec.placement == "side" and bool(spec.slots)
        if not spec.head_blocks:
            raise _fault("its head reads no block", f"kit {spec.name}", code="plugin/bad-head")
        self.head_blocks = sorted(_resolve(block, depth, spec.name) for block in spec.head_blocks)
        self.sets = nn.ModuleDict()
        for slot in spec.slots:
            key = str(_resolve(slot.block, depth, spec.name))
            if key in self.sets:
                raise UsageError(
                    f"two specialist slots lie in block {key}",
                    whose=f"kit {spec.name}",
                    fix="put all experts of a block into one slot",
                    code="usage/slot-conflict",
                )
            self.sets[key] = _build_set(slot, spec.name, registry, backbone.width)
        site = HeadSite(
            width=backbone.width,
            blocks=len(self.head_blocks),
            classes=classes,
            frames=frames,
            members=members,
        )
        head = functools.partial(spec.build_head, site)
        self.head = cast(nn.Module, _build(head, f"the head of kit {spec.name}"))
        if members > 1 and getattr(self.head, "members", 1) != members:
            raise UsageError(
                f"the recipe asks for {members} head members, but its head has one",
                whose=f"kit {spec.name}",
                fix="set head_members to 1, or use a head that has members, such as PooledHead",
                code="usage/no-head-members",
            )

    @property
    def branches(self) -> dict[int, SpecialistSet]:
        """The specialist sets by block."""
        return {int(block): cast(SpecialistSet, chosen) for block, chosen in self.sets.items()}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of image that the head distinguishes; empty if there are none."""
        return tuple(getattr(self.head, "kinds", ()))

    @property
    def reads_picture(self) -> bool:
        """Whether the head asks for the normalised input next to its tokens."""
        return bool(getattr(self.head, "reads_picture", False))

    @property
    def reads(self) -> list[int]:
        """The blocks whose output the head or the side stream reads."""
        last = self.head_blocks[-1]
        sides = [block for block in self.branches if block < last] if self.is_side else []
        return sorted({*self.head_blocks, *sides})

    @property
    def in_trunk(self) -> dict[int, SpecialistSet]:
        """The specialist sets by block that act in the trunk."""
        return {} if self.is_side else self.branches

    @property
    def prefix_end(self) -> int:
        """Number of blocks in the frozen prefix."""
        return min(self.in_trunk, default=self.head_blocks[-1] + 1)

    @property
    def prefix_keep(self) -> list[int]:
        """What is read inside the prefix, less its last block, which ends it anyway."""
        return [block for block in self.reads if block < self.prefix_end - 1]

    @property
    def start(self) -> int:
        """The first block with specialists, or the one behind the head's last block."""
        return min(self.prefix_end, self.head_blocks[-1] + 1)

    @property
    def trunk_end(self) -> int:
        """Number of blocks whose bare form is all that the kit needs of them.

        The first block with specialists is one of them: these are added to what it computes without
        them.
        """
        return self.start + (self.start <= self.head_blocks[-1])

    @property
    def own_blocks(self) -> int:
        """How many blocks the kit runs by itself."""
        return self.head_blocks[-1] + 1 - self.trunk_end

    @property
    def reads_of_trunk(self) -> list[int]:
        """What is read before `start`, less the last block, after which the tokens are given."""
        return [block for block in self.reads if block < self.start - 1]

    @property
    def side(self) -> SideKit:
        """What the kit has in the side stream."""
        return SideKit(self.branches if self.is_side else {}, self.head_blocks)

    def forward(
        self,
        backbone: MoEBackbone,
        x_BND: Tensor,
        kept: Mapping[int, Tensor],
        grid: Grid,
        *,
        start: int | None = None,
        bare: BareBlock | None = None,
        top_k: int | None = None,
        trace: RoutingTrace | None = None,
        picture: Tensor | None = None,
        targets: Outputs | None = None,
        read: Mapping[int, Tensor] | None = None,
    ) -> Outputs:
        """Runs the blocks after the prefix, with the specialists, and the head.

        Args:
            backbone: The shared backbone.
            x_BND: Tokens before block `start`.
            kept: The outputs of the blocks of `reads` before that, less the last.
            grid: Rows and columns of the patch tokens, and the frames of a stack.
            start: First block to run; the end of the prefix if None. An earlier start than the
                prefix's end gives the same result.
            bare: What block `start` computes without specialists, if that is known.
            top_k: Generic experts a token has; as the backbone says if None.
            trace: Collects the routing if one is given.
            picture: The normalised input, (B, 3, H, W) or (B, T, 3, H, W), for heads that read it.
            targets: In training what the task's `Learn.targets` returned, for heads that read them.
            read: What the head reads, by block, if that is known: then no block is run.

        Raises:
            PluginError: The head returns something other than named tensors, or not one row for
                each image or stack.
        """
        if read is None:
            read = self._read(backbone, x_BND, kept, grid, start, bare, top_k, trace)
        given: dict[str, Any] = {}
        if self.reads_picture:
            given["picture"] = picture
        if self.training and targets is not None and getattr(self.head, "reads_targets", False):
            given["targets"] = targets
        output = self._answer([read[block] for block in self.head_blocks], grid, given)
        outputs: Outputs = output.as_outputs() if isinstance(output, HeadOutput) else output
        if is_traced():  # in a graph the comparison would fix the number of items
            return outputs
        wrong = _wrong_outputs(outputs, len(x_BND) // grid.frames)
        if wrong:
            raise PluginError(
                f"its head {wrong}",
                whose=f"kit {self.name}",
                fix="return named tensors with one row an image; of stacks pool the frames, as "
                "moekit.PooledHead does, or give images only",
                code="plugin/bad-head",
            )
        return outputs

    def _read(
        self,
        backbone: MoEBackbone,
        x_BND: Tensor,
        kept: Mapping[int, Tensor],
        grid: Grid,
        start: int | None,
        bare: BareBlock | None,
        top_k: int | None,
        trace: RoutingTrace | None,
    ) -> dict[int, Tensor]:
        """What the head reads, by block; arguments as of `forward`."""
        first = self.prefix_end if start is None else start
        tokens = {**kept, first - 1: x_BND}
        if bare is not None:
            block = cast(MoEBlock, backbone.blocks[first])
            x_BND = tokens[first] = block.add(bare, self.in_trunk[first], grid, trace)
            first += 1
        _, later = backbone.run_blocks(
            x_BND,
            grid,
            start=first,
            stop=self.head_blocks[-1] + 1,
            branches=self.in_trunk,
            keep=self.reads,
            top_k=top_k,
            trace=trace,
        )
        tokens.update(later)
        if not self.is_side:
            return tokens
        (found,) = run_sides([self.side], tokens, backbone, grid, trace=trace)
        if found.failed is not None:
            raise found.failed
        return found.tokens

    def _answer(self, tokens: list[Tensor], grid: Grid, given: Mapping[str, Any]) -> Any:
        """What the head returns; an error names the kit and the plugin of the head."""
        try:
            return owned(
                f"kit {self.name}", lambda: self.head(tokens, grid, **given), part="its head"
            )
        except PluginError as error:
            owner = owner_in_words(self.head)
            error.whose += f" ({owner})" if owner and owner not in error.whose else ""
            raise


def _wrong_outputs(outputs: object, items: int) -> str:
    """What is wrong with a head's outputs; empty if nothing is."""
    if not isinstance(outputs, Mapping) or not outputs:
        return f"returns a {type(outputs).__name__}, not named tensors"
    for name, value in outputs.items():
        if not isinstance(value, Tensor) or value.ndim < 1:
            return f"returns {name!r}, which is no tensor with rows"
        if len(value) != items:
            return f"gives {len(value)} rows of {name} for {items} images or stacks"
    return ""


def _build_set(slot: SpecialistSlot, kit: str, registry: Registry, width: int) -> SpecialistSet:
    if not 1 <= slot.top_k <= len(slot.experts) + 1:
        raise _fault(
            f"a slot in block {slot.block} has top_k {slot.top_k}, but {len(slot.experts)} experts",
            f"kit {kit}",
            code="plugin/bad-slot",
        )
    names = slot.experts * slot.sites
    experts = [
        _build(functools.partial(registry.expert(name).build, width), f"expert {name}")
        for name in names
    ]
    soft = slot.top_k == len(slot.experts) + 1
    return SpecialistSet(
        width=width,
        experts=cast(list[nn.Module], experts),
        gate=cast(Gate, _build(registry.gate(slot.gate).build, f"gate {slot.gate}")),
        top_k=len(names) + slot.sites if soft else slot.top_k,
        kit=kit,
        names=(*names, slot.gate),
        nones=slot.sites,
    )


def _build(build: Callable[[], object], what: str) -> object:
    """What a plugin's function builds; whatever it raises becomes an error that names it."""
    try:
        return build()
    except BaseException as error:  # a plugin may raise anything, SystemExit included
        if is_nobodys(error):
            raise
        raise _fault(
            f"building it failed: {type(error).__name__}: {error}", what, code="plugin/build-failed"
        ) from error


def _fault(what: str, whose: str, *, code: str) -> PluginError:
    return PluginError(
        what,
        whose=whose,
        fix="check its plugin with `moekit plugins check`, or choose another",
        code=code,
    )


def _resolve(block: int, depth: int, kit: str) -> int:
    resolved = block + depth if block < 0 else block
    if not 0 <= resolved < depth:
        raise UsageError(
            f"block {block} does not exist: the backbone has {depth} blocks",
            whose=f"kit {kit}",
            fix="choose a backbone of the depth that the kit is made for",
            code="usage/out-of-range",
        )
    return resolved
