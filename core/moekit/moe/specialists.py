"""Specialists: the experts that a kit adds to a block, next to the generic ones.

A set of specialists has a router of its own, whose rows compete among themselves and with a learned
"none". Its output is added to the block's, so no generic expert is evicted and, since every
specialist starts with zero output, nothing changes before training.

Shapes: B images, N tokens an image (class tokens first, then the patch grid row by row), D width,
S specialists, E options: these and "none", T dispatched tokens. Of stacks the frames are the
images, those of one stack one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from moekit.moe.dispatch import dispatch_loop
from moekit.moe.gates import Gate
from moekit.moe.owned import expert_output, gate_output, owned
from moekit.moe.router import Router
from moekit.moe.routing import Routing, is_traced
from moekit.moe.stats import RoutingTrace


class _Pair(NamedTuple):
    rows: int
    columns: int


class Grid(_Pair):
    """Rows and columns of the patch grid, and how many frames a stack has.

    It is the pair (rows, columns): it unpacks to two numbers and can be handed to
    `Tensor.unflatten`. A grid of one frame equals that pair; grids of stacks are equal if their
    frames are too.

    Attributes:
        rows: Rows of patches.
        columns: Columns of patches.
        frames: Frames of a stack (a clip, or neighbouring slices of a volume); 1 for images. If
            there are more, the rows of a (B, N, D) tensor are the frames, those of one stack one
            after the other: `x_BND.unflatten(0, (-1, grid.frames))` separates the stacks.
    """

    frames: int = 1

    def __new__(cls, rows: int, columns: int, frames: int = 1) -> Grid:
        """A grid; of images if `frames` is left out."""
        grid = super().__new__(cls, rows, columns)
        grid.frames = frames
        return grid

    def __eq__(self, other: object) -> bool:
        same = tuple.__eq__(self, other)
        return same is True and self.frames == getattr(other, "frames", 1)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple(self) if self.frames == 1 else (*self, self.frames))

    def __repr__(self) -> str:
        frames = f", frames={self.frames}" if self.frames != 1 else ""
        return f"Grid(rows={self.rows}, columns={self.columns}{frames})"

    @property
    def patches(self) -> int:
        """How many patches the grid has."""
        return self.rows * self.columns

    def plane(self, patch_BPR: Tensor) -> Tensor:
        """Patches as a plane that a convolution takes.

        Bfloat16 planes are laid out again: from permuted ones oneDNN's gradient of a depthwise
        convolution with gaps reads memory that nobody wrote (torch 2.14 on a CPU with AVX512-BF16,
        about one call in seventy).

        Args:
            patch_BPR: (B, P, R) features of the patches row by row, without prefix tokens.

        Returns:
            (B, R, rows, columns).
        """
        plane_BRHW = torch.unflatten(patch_BPR.transpose(1, 2), 2, self)
        return plane_BRHW.contiguous() if plane_BRHW.dtype == torch.bfloat16 else plane_BRHW


@runtime_checkable
class SpecialistExpert(Protocol):
    """A module that a kit places in a block.

    Attributes:
        reads_map: False: it is called as `expert(x_TD)` with just the tokens routed to it. True:
            it needs the neighbours of a token, is called as `expert(x_BND, grid)` with whole
            images, and its output counts only for the tokens routed to it. With stacks it gets
            whole stacks, whose frames `grid.frames` counts; an expert that does not ask for them
            sees images.
    """

    reads_map: bool

    def __call__(self, *inputs: Tensor | Grid) -> Tensor:
        """Returns a tensor of the shape of its first input; zero before training."""
        ...


@runtime_checkable
class BottleneckExpert(Protocol):
    """A specialist that is two linear maps with something between them.

    In the side stream of kits the maps of many such experts run as grouped products. Any other
    expert may act there too, by itself. The expert's own `forward` gives the same to rounding.

    Attributes:
        down: (D) to (R), applied to each token.
        up: (F) to (D), applied to each token; zero before training.
    """

    down: nn.Linear
    up: nn.Linear

    def between(self, hidden: Tensor, *grid: Grid) -> Tensor:
        """(T, R) to (T, F), or (B, N, R) and the grid to (B, N, F) if the expert reads maps."""
        ...


class SpecialistSet(nn.Module):
    """The specialists of one kit in one block.

    Args:
        width: D.
        experts: The specialists, as modules that satisfy `SpecialistExpert`.
        gate: Chooses among the S specialists and "none", which comes last.
        top_k: Options a token may take, 1 to E. E is soft routing: each specialist runs on every
            token, weighted.
        nones: How many options are "none", the last ones: one for each run whose specialists lie
            side by side here.
        kit: Name under which a trace files the routing.
        names: Full names of the experts and then of the gate, for errors; those of their classes
            if there are none.
    """

    def __init__(
        self,
        *,
        width: int,
        experts: Sequence[nn.Module],
        gate: Gate,
        top_k: int,
        kit: str,
        names: Sequence[str] = (),
        nones: int = 1,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = Router(width, len(experts) + nones)
        self.options = len(experts) + nones
        self.gate = gate
        self.top_k = top_k
        self.kit = kit
        known = names or [type(one).__name__ for one in (*experts, gate)]
        self._owners = [f"expert {name}" for name in known[:-1]]
        self._gate_owner = f"gate {known[-1]}"

    @property
    def reads_map(self) -> bool:
        """Whether an expert reads whole planes."""
        return any(cast(SpecialistExpert, expert).reads_map for expert in self.experts)

    def forward(
        self, x_BND: Tensor, grid: Grid, *, trace: RoutingTrace | None = None, block: int = 0
    ) -> Tensor:
        """The branch's output (B, N, D), to be added to the block's.

        Raises:
            PluginError: The gate or an expert raises, or returns something else than it must.
        """
        routing = self.route(x_BND, trace=trace, block=block)
        whole = [index for index in range(len(self.experts)) if self._sees_all_tokens(index)]
        # What a gate chose wrongly fails if it is followed.
        output_BND: Tensor = owned(
            self._gate_owner, lambda: self._sparse(x_BND, routing, skip=whole)
        )
        weight_BNE = self.weights_of(routing, x_BND)
        for index in whole:
            y_BND = self.on_all(index, x_BND, grid)
            output_BND = output_BND + y_BND * weight_BNE[..., index, None].to(y_BND.dtype)
        return output_BND

    def route(self, x_BND: Tensor, *, trace: RoutingTrace | None = None, block: int = 0) -> Routing:
        """What the gate chooses for (B, N, D) tokens; see `forward`."""
        scores_BNE = self.router(x_BND)
        routing = gate_output(
            self._gate_owner,
            owned(
                self._gate_owner,
                lambda: self.gate(scores_BNE, k=self.top_k, bias_E=self.router.bias_E),
            ),
        )
        if trace is not None:
            trace.add(block=block, kit=self.kit, routing=routing, scores_BNE=scores_BNE)
        return routing

    def weights_of(self, routing: Routing, x_BND: Tensor) -> Tensor:
        """(B, N, E) the weights of a routing of `x_BND`, zero for options that are not chosen."""
        shape = (*x_BND.shape[:2], -1)
        weight_BNE: Tensor = owned(self._gate_owner, lambda: routing.weight_TE().view(shape))
        return weight_BNE

    def on_all(self, index: int, x_BND: Tensor, grid: Grid) -> Tensor:
        """(B, N, D) an expert's output for all tokens, whatever was chosen."""
        if cast(SpecialistExpert, self.experts[index]).reads_map:
            return self._expert(index, x_BND, grid)
        return self._expert(index, x_BND.flatten(0, 1)).view_as(x_BND)

    def between(self, index: int, hidden_BNR: Tensor, grid: Grid) -> Tensor:
        """(B, N, F) what a `BottleneckExpert` does between its linear maps."""
        expert, whose = cast(BottleneckExpert, self.experts[index]), self._owners[index]
        reads_map = cast(SpecialistExpert, expert).reads_map
        hidden = hidden_BNR if reads_map else hidden_BNR.flatten(0, 1)
        given = (grid,) if reads_map else ()
        found = owned(whose, lambda: expert.between(hidden, *given), part=f"{whose}, between")
        like = hidden[..., :1].expand(*hidden.shape[:-1], expert.up.in_features)
        return expert_output(whose, found, like).view(*hidden_BNR.shape[:2], -1)

    def _expert(self, index: int, x: Tensor, *grid: Grid) -> Tensor:
        """An expert's output; x is (T, D), or (B, N, D) with the grid."""
        whose = self._owners[index]
        return expert_output(whose, owned(whose, lambda: self.experts[index](x, *grid)), x)

    def _sees_all_tokens(self, index: int) -> bool:
        soft = self.top_k == self.options or is_traced()
        return soft or cast(SpecialistExpert, self.experts[index]).reads_map

    def _sparse(self, x_BND: Tensor, routing: Routing, *, skip: Sequence[int]) -> Tensor:
        chosen = [index for index in range(len(self.experts)) if index not in skip]
        if not chosen:
            return torch.zeros_like(x_BND)
        y_TD = dispatch_loop(
            x_BND.flatten(0, 1),
            routing.restricted_to(chosen),
            self._expert,
        )
        return y_TD.view_as(x_BND)
