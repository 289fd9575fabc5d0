"""Sizes of the backbone: the base tier and its narrow twin.

Shapes: D width, E experts, H hidden neurons of an expert, K chosen.
"""

from __future__ import annotations

import pydantic
import torch
from timm.models.vision_transformer import VisionTransformer

from moekit.backbone.carve import carve
from moekit.backbone.model import MoEBackbone, Provenance
from moekit.moe.gates import TopKSigmoid

_UNTRAINED = "Not trained: random numbers."
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Tier(pydantic.BaseModel):
    """A size of the backbone. Without arguments it is the base tier, 14.8 billion parameters.

    With H = D and K = 4 a token's experts are as wide as the FFN of a plain vision transformer
    (4 D): the base tier costs a token what a dense model of 4.9 billion parameters would. Its width
    is the multiple of 256, which kernels and shards like, that comes nearest to 15 billion
    parameters: blocks * (4 D^2 + 2 E D H) = 128 * 36 * 1792^2.

    Attributes:
        blocks: Transformer blocks.
        width: D.
        heads: Attention heads; 64 channels each in the base tier.
        experts: E, in each block.
        top_k: K, experts of a token.
        hidden: H, neurons of one expert.
        patch: Side of a patch in pixels.
        image_size: Side of the images that the position table is for, in pixels.
        layer_scale: First value of the scale on each branch; small, so that a deep stack starts
            near the identity (CaiT, Touvron et al. 2021, arXiv:2103.17239).
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    blocks: int = pydantic.Field(default=128, ge=1)
    width: int = pydantic.Field(default=1792, ge=1)
    heads: int = pydantic.Field(default=28, ge=1)
    experts: int = pydantic.Field(default=16, ge=1)
    top_k: int = pydantic.Field(default=4, ge=1)
    hidden: int = pydantic.Field(default=1792, ge=1)
    patch: int = pydantic.Field(default=14, ge=1)
    image_size: int = pydantic.Field(default=224, ge=1)
    layer_scale: float = pydantic.Field(default=1e-5, gt=0)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Tier:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")
        if self.top_k > self.experts:
            raise ValueError(f"top_k {self.top_k} is more than {self.experts} experts")
        if self.image_size % self.patch:
            raise ValueError(f"image_size {self.image_size} is no multiple of patch {self.patch}")
        return self

    def twin(self, width: int = 32) -> Tier:
        """The same blocks, experts and choice at a small width: what a laptop can train.

        Args:
            width: D and H; a multiple of 16. Images are 4 x 4 patches of 8 pixels.
        """
        return self.model_copy(
            update={
                "width": width,
                "heads": width // 16,
                "hidden": width,
                "patch": 8,
                "image_size": 32,
            }
        )

    def tokens(self, image_size: int | None = None) -> int:
        """Tokens of one image: its patches and the class token."""
        return ((image_size or self.image_size) // self.patch) ** 2 + 1

    def build(self, device: str | torch.device = "meta", *, seed: int = 0) -> MoEBackbone:
        """The backbone of this size: the same classes that run pretrained weights.

        Args:
            device: "meta" gives shapes without memory; any other device random weights.
            seed: Of the random weights.

        Returns:
            A backbone whose parameters require gradients and whose gate, `TopKSigmoid`, is balanced
            by `Router.balance`. Its provenance says that it is not trained.
        """
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            vit = VisionTransformer(
                img_size=self.image_size,
                patch_size=self.patch,
                embed_dim=self.width,
                depth=self.blocks,
                num_heads=self.heads,
                # timm rounds the product down.
                mlp_ratio=(self.experts * self.hidden + 0.5) / self.width,
                init_values=self.layer_scale,
                num_classes=0,
                dynamic_img_size=True,
                weight_init="skip" if torch.device(device).type == "meta" else "",
            )
            backbone = carve(
                vit,
                provenance=Provenance(
                    architecture=f"tier of {self.blocks} blocks, width {self.width}",
                    source="none",
                    origin=f"random numbers, seed {seed}",
                    sha256="0" * 64,
                    licence="Apache-2.0",
                    note=_UNTRAINED,
                ),
                mean=_MEAN,
                std=_STD,
                experts=self.experts,
                top_k=self.top_k,
                gate=TopKSigmoid(),
            )
        return backbone.requires_grad_(True)
