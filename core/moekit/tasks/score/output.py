"""What a task head and a kit return.

Shapes: B images or stacks, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from torch import Tensor

from moekit.moe.stats import RoutingTrace


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadOutput:
    """What a task head returns.

    Attributes:
        logit_B: (B,) log-odds of the positive class.
        map_BHW: (B, h, w) in [0, 1], how strongly each patch speaks for the positive class, or
            None. Of stacks the patches of the middle frame.
        kind_B: (B,) int64 number of the kind of image that it is, by the order of the head's
            `kinds` (its names, a tuple of strings), -1 where it is of none that was trained on;
            None where the head does not tell kinds apart.
    """

    logit_B: Tensor
    map_BHW: Tensor | None
    kind_B: Tensor | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class KitOutput:
    """What a kit returns for a batch.

    Attributes:
        score_B: (B,) float32 probability of the positive class.
        map_BHW: (B, h, w) float32 in [0, 1], evidence of each patch, or None. Of stacks the
            patches of the middle frame.
        kinds: (B) names of the kinds, "unknown" for none of them; None where the kit does not tell.
        trace: The routing, where it was asked for.
    """

    score_B: Tensor
    map_BHW: Tensor | None
    kinds: tuple[str, ...] | None
    trace: RoutingTrace | None


UNKNOWN = "unknown"
"""What an image is called that is of no kind that the kit was trained on."""


def kind_names(kind_B: Iterable[int], kinds: Sequence[str]) -> tuple[str, ...]:
    """(B) names of kinds by their numbers, `UNKNOWN` for negative ones."""
    return tuple(kinds[kind] if kind >= 0 else UNKNOWN for kind in kind_B)
