"""Ways to compute a share of the dense backbone's arithmetic, and how much each changes features.

Tokens are what is saved: merged by windows they lose the least quality for their time. Fewer
experts a token are no way here: on a CPU they save arithmetic and little time, see
docs/TOKENS.md.

Shapes: B images (or the frames of stacks), N tokens, P patches, D width.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from moekit.backbone.model import MoEBackbone
from moekit.data.content import Contents
from moekit.data.samples import Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.moe.specialists import Grid
from moekit.moe.token_gates import TokenGate
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic, autocast
from moekit.runtime.plan import pass_operations

_BLOCKS, _WINDOWS = (0, 1), (2, 4)
"""First blocks that are routed, and sides of windows, that are tried."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to route tokens.

    Attributes:
        arithmetic: Share of the dense backbone's arithmetic.
        share: As `Recipe.token_share`.
        block: As `Recipe.token_block`.
        window: As `Recipe.token_window`.
        change: Mean squared change of the normalised tokens that a head reads; 0 for none, about 2
            for tokens that have nothing to do with each other.
    """

    arithmetic: float
    share: float
    block: int
    window: int
    change: float = math.nan

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a recipe."""
        return {
            "token_share": self.share,
            "token_block": self.block,
            "token_window": self.window,
        }

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**self.fields, "arithmetic": round(self.arithmetic, 4), "change": self.change}

    def in_words(self, until: int) -> str:
        """What is computed; `until` is the first block that computes all tokens again."""
        return (
            f"{self.arithmetic:.0%} of the dense backbone's arithmetic: blocks {self.block + 1} "
            f"to {until} compute {self.share:.0%} of the patches one by one, the others by windows "
            f"of {self.window} x {self.window}"
        )


def by_change(setting: Setting) -> float:
    """A key to sort by."""
    return setting.change


def rungs(ways: Sequence[Setting], levels: Sequence[float]) -> list[Setting]:
    """Of each level the setting within it that changes features least, each once.

    Args:
        ways: Settings whose change is known.
        levels: Shares of the dense arithmetic, in rising order.
    """
    within = ([one for one in ways if one.arithmetic <= level] for level in levels)
    return list(dict.fromkeys(min(found, key=by_change) for found in within if found))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk:
    """The blocks that a kit runs, and which of them may be routed.

    Attributes:
        backbone: The shared backbone.
        grid: Of the patches of a frame.
        reads: The blocks that the head reads, in order.
        until: The kit's own first block, before which tokens may be routed.
        top_k: Generic experts a token has.
        gate: Says which tokens are computed one by one.
    """

    backbone: MoEBackbone
    grid: Grid
    reads: Sequence[int]
    until: int
    top_k: int
    gate: TokenGate

    def routing(self, setting: Setting) -> TokenRouting:
        """The routing of a setting."""
        return TokenRouting(
            gate=self.gate,
            block=setting.block,
            until=self.until,
            share=setting.share,
            window=setting.window,
        )

    def ways(self, level: float) -> list[Setting]:
        """The settings of most arithmetic within a share of the dense backbone's, one a kind."""
        kinds = [(block, window) for block in _BLOCKS for window in _WINDOWS]
        found = (self._largest(level, block, window) for block, window in kinds)
        return [one for one in found if one is not None]

    @property
    def least(self) -> float:
        """The smallest share of the dense arithmetic that a setting has; 1 if there is none."""
        smallest = [self._of(1, min(_BLOCKS), window) for window in _WINDOWS if self.until > 0]
        return min((one.arithmetic for one in smallest), default=1.0)

    def _largest(self, level: float, block: int, window: int) -> Setting | None:
        units = self._units(window)
        if block >= self.until or units < 2:
            return None
        count = bisect.bisect_right(
            range(1, units), level, key=lambda kept: self._of(kept, block, window).arithmetic
        )
        return self._of(count, block, window) if count else None

    def _of(self, kept: int, block: int, window: int) -> Setting:
        """The setting that computes the patches of that number of windows one by one."""
        share = math.floor(1e4 * kept / self._units(window)) / 1e4
        setting = Setting(arithmetic=1.0, share=max(share, 1e-4), block=block, window=window)
        return dataclasses.replace(setting, arithmetic=self.arithmetic(self.routing(setting)))

    def arithmetic(self, tokens: TokenRouting | None) -> float:
        """Share of the dense backbone's arithmetic: all tokens, with all experts each."""
        counted = functools.partial(
            pass_operations,
            *(self.backbone, self.grid.rows * self.grid.columns),
            blocks=self.reads[-1] + 1,
        )
        dense = counted(top_k=self.backbone.experts)
        return counted(top_k=self.top_k, tokens=tokens) / dense

    def _units(self, window: int) -> int:
        return math.ceil(self.grid.rows / window) * math.ceil(self.grid.columns / window)


@torch.inference_mode()
def with_changes(
    trunk: Trunk,
    settings: Sequence[Setting],
    *,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    arithmetic: Arithmetic,
    contents: Contents,
    on_progress: Callable[[int, int], None],
) -> list[Setting]:
    """The settings with what each changes of the features that the head reads; no label is read.

    Args:
        trunk: Computes them.
        settings: What is compared.
        samples: A few, not of the test split.
        preprocess: How they are read.
        arithmetic: Of the forward pass.
        contents: Hashes of the files.
        on_progress: Called with the samples computed and their total.
    """
    sums, count = [0.0] * len(settings), 0
    read = ((one.id, one.path) for one in samples)
    batches = image_batches(
        list(read),
        preprocess,
        batch_size=1,
        windows=[one.window for one in samples],
        contents=contents,
    )
    for done, batch in enumerate(batches, start=1):
        if len(batch.rows):
            count += 1
            for place, change in enumerate(_changes(trunk, settings, batch.images, arithmetic)):
                sums[place] += change
        on_progress(done, len(samples))
    return [
        dataclasses.replace(one, change=round(total / count, 5) if count else math.nan)
        for one, total in zip(settings, sums, strict=True)
    ]


def _changes(
    trunk: Trunk, settings: Sequence[Setting], images: Tensor, arithmetic: Arithmetic
) -> Iterator[float]:
    """Of one sample, by setting."""
    backbone = trunk.backbone
    images = images.to(next(backbone.parameters()).device)
    first = backbone.prefix_tokens

    def read(tokens: TokenRouting | None) -> list[Tensor]:
        with autocast(images.device, arithmetic):
            x_BND, grid = backbone.embed(images)
            _, kept, _ = backbone.run_routed(
                x_BND,
                grid,
                images,
                tokens=tokens,
                stop=trunk.reads[-1] + 1,
                keep=trunk.reads,
                top_k=trunk.top_k,
            )
        return [
            functional.layer_norm(kept[block][:, first:].float(), kept[block].shape[-1:])
            for block in trunk.reads
        ]

    whole = read(None)
    for setting in settings:
        routed = read(trunk.routing(setting))
        gaps = [(a - b).square().mean() for a, b in zip(whole, routed, strict=True)]
        yield float(torch.stack(gaps).mean())
