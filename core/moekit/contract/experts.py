"""Records of experts, gates and token gates, and where a kit puts specialists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

Placement = Literal["trunk", "side"]
"""Where specialists act; see `KitSpec.placement`."""

if TYPE_CHECKING:
    from moekit.moe.gates import Gate
    from moekit.moe.specialists import SpecialistExpert
    from moekit.moe.token_gates import TokenGate


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertSpec:
    """A specialist that kits can place in the backbone's blocks.

    Attributes:
        name: Short name, unique in its distribution.
        build: Makes one expert for tokens of the given width; its output must be zero at the start.
        summary: One line for lists.
        source: Paper or standard.
    """

    name: str
    build: Callable[[int], SpecialistExpert]
    summary: str
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateSpec:
    """A gating policy: how scores become chosen experts and weights.

    Attributes:
        name: Short name, unique in its distribution.
        build: Makes the gate.
        summary: One line for lists.
        source: Paper or standard.
        weights: `unit`: each chosen expert has weight 1. `normalised`: the weights of a token sum
            to 1. `free`: neither, but none is negative.
        count: Experts that a token gets: `exact` k, `at_most` k, or k in the `mean`.
    """

    name: str
    build: Callable[[], Gate]
    summary: str
    source: str
    weights: Literal["unit", "normalised", "free"] = "normalised"
    count: Literal["exact", "at_most", "mean"] = "exact"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenGateSpec:
    """A token gate: what says which tokens of an image are computed. Recipes name it.

    Attributes:
        name: Short name, unique in its distribution.
        build: Makes the gate for tokens of the given width. Of a learned gate this is a module.
        summary: One line for lists.
        source: Paper or standard.
        learned: Whether the gate is trained in each run, before anything else is, to foretell how
            much each token of the frozen backbone loses if its window is computed as one token. The
            run keeps its weights.
        least_score: Of a gate that knows by itself which tokens need no computing: those with a
            lower score are not computed one by one, however few are left. None: a recipe's share
            decides.
    """

    name: str
    build: Callable[[int], TokenGate]
    summary: str
    source: str
    learned: bool = False
    least_score: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialistSlot:
    """Where a kit puts specialists: one set of experts, with its own router rows, in one block.

    Attributes:
        block: Index of the backbone's block; negative counts from the end.
        experts: Names of registered experts; the same name twice makes two experts.
        gate: Name of a registered gate.
        top_k: How many of the set's options (its experts and "none") a token may take.
        sites: How many runs have their experts side by side here, each with a "none" of its own:
            1 but in what `moekit merge --by route` makes. The options of all compete, `top_k` of
            them or, if a run's token may take every option, all.
    """

    block: int
    experts: tuple[str, ...]
    gate: str
    top_k: int
    sites: int = 1
