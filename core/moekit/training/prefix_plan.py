"""What a stored prefix depends on, which names its folder.

Shapes: T frames of a stack (1 for images).
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from moekit.backbone.model import MoEBackbone
from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.data.views import ViewOrder, check_views, view_numbers
from moekit.errors import UsageError
from moekit.files import to_json
from moekit.moe.specialists import Grid
from moekit.moe.tokens import TokenRouting
from moekit.runtime.device import Arithmetic
from moekit.runtime.kit import KitModules
from moekit.training.activation_cache import ActivationCache


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixPlan:
    """What a stored prefix depends on, apart from the images themselves.

    Attributes:
        end: Number of blocks in the prefix.
        keep: Earlier blocks whose output is stored next to that of the last one.
        views: Views of each image.
        arithmetic: Arithmetic of the forward pass.
        preprocess: How images are read.
        backbone_sha256: Hash of the backbone's weights, and of its sparse form if it is used.
        top_k: Generic experts a token has.
        release: Version of moekit, since another one may compute otherwise.
        order: Which views there are.
        tokens: Which tokens are computed; all if None.
    """

    end: int
    keep: tuple[int, ...]
    views: int
    arithmetic: Arithmetic
    preprocess: Preprocess
    backbone_sha256: str
    top_k: int
    release: str
    order: ViewOrder = "dihedral"
    tokens: TokenRouting | None = None

    @classmethod
    def of(
        cls,
        kit: KitModules,
        backbone: MoEBackbone,
        *,
        views: int,
        arithmetic: Arithmetic,
        size: int | None = None,
        frame: Frame | None = None,
        frames: int = 1,
        top_k: int | None = None,
        order: ViewOrder = "dihedral",
        bits: int | None = None,
        tokens: TokenRouting | None = None,
    ) -> PrefixPlan:
        """The plan for a kit on a backbone, for images, or stacks of them.

        Args:
            kit: Says where the prefix ends and which blocks are kept.
            backbone: Computes the prefix.
            views: Views of each image.
            arithmetic: Arithmetic of the forward pass.
            size: Side of square inputs, in pixels, over which pictures are stretched.
            frame: The inputs' size and fit, in place of `size`.
            frames: T, the frames of a sample; 1 for images.
            top_k: Generic experts a token has; the backbone's own if None.
            order: Which views are kept.
            bits: As of `Preprocess`.
            tokens: Which tokens are computed; all if None.

        Raises:
            UsageError: Neither or both of size and frame are given, or the frame has fewer views.
        """
        if (size is None) == (frame is None):
            raise UsageError(
                "a prefix needs a size or a frame, and not both",
                whose="PrefixPlan.of",
                fix="give size= for squares, or frame=",
                code="usage/no-size",
            )
        preprocess = Preprocess(
            size=size,
            frame=frame,
            mean=backbone.mean,
            std=backbone.std,
            frames=frames,
            bits=bits,
        )
        check_views(preprocess.frame, views, order=order, whose="views")
        top_k = backbone.top_k if top_k is None else top_k
        return cls(
            end=kit.prefix_end,
            keep=tuple(kit.prefix_keep),
            views=views,
            arithmetic=arithmetic,
            preprocess=preprocess,
            backbone_sha256=backbone.computes_at(top_k),
            top_k=top_k,
            release=importlib.metadata.version("moekit"),
            order=order,
            tokens=tokens,
        )

    @property
    def name(self) -> str:
        """A hash of the plan, which names its folder."""
        content = dataclasses.asdict(dataclasses.replace(self, tokens=None))
        del content["tokens"]  # names are older than routed tokens
        if self.tokens is not None:
            content["tokens"] = self.tokens.as_json()
        reading = content["preprocess"]
        del reading["tiling"]  # a window is a picture of its own, see `_names`
        if self.preprocess.bits is None:
            del reading["bits"]  # names are older than bits
        if self.order == "dihedral":
            del content["order"]  # names are older than orders
        if self.preprocess.frames == 1:
            del reading["frames"]  # names of images are older than stacks
        frame = self.preprocess.frame
        if frame == Frame(height=frame.height, width=frame.height):
            del reading["frame"]  # names of squares are older than frames
            reading["size"] = frame.height
        text = to_json(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def in_place_of(self, other: PrefixPlan) -> PrefixPlan:
        """This plan if it has all that the other has, so nothing is stored twice; else that."""
        same = dataclasses.replace(self, keep=other.keep) == other
        return self if same and {*self.keep} >= {*other.keep} else other

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the views, in their order."""
        return view_numbers(self.views, self.order)

    def cache(
        self,
        folder: Path,
        backbone: MoEBackbone,
        *,
        limit: int,
        kept: Iterable[PrefixPlan] = (),
    ) -> ActivationCache:
        """Where activations of this plan lie, next to those of plans that are needed too."""
        grid = self.grid(backbone)
        tokens = (backbone.prefix_tokens + grid.patches) * grid.frames
        return ActivationCache(
            folder,
            self.name,
            (self.views, len(self.keep) + 1, tokens, backbone.width),
            limit=limit,
            kept=[plan.name for plan in kept],
        )

    def grid(self, backbone: MoEBackbone) -> Grid:
        """Rows and columns of the patch tokens, and the frames of a sample."""
        frame, patch = self.preprocess.frame, backbone.patch
        return Grid(frame.height // patch, frame.width // patch, self.preprocess.frames)
