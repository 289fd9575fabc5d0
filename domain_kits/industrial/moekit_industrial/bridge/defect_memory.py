r"""The memory of normal patches as a model of anomalib, for its Engine and its command line.

```
anomalib train --model moekit_industrial.bridge.defect_memory.DefectMemory \
    --data anomalib.data.MVTecAD --data.category screw
```

Shapes: B images, H and W their sides in pixels, P patches, F features, h and w rows and columns of
the patch grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision.transforms.v2 import Compose, Normalize, Resize

from moekit import DataError, Grid, HeadSite, MoEBackbone, build_backbone
from moekit_industrial.anomaly.head import MemoryHead, patch_features
from moekit_industrial.anomaly.learning import MemoryLearner
from moekit_industrial.bridge.library import (
    AnomalibModule,
    ImageBatch,
    InferenceBatch,
    LearningType,
    MemoryBankMixin,
    PostProcessor,
    PreProcessor,
)
from moekit_industrial.kit import GOOD_ALONE

_HELD_OUT = 5
"""Of this many training images one is kept from the memory and sets the scale of its scores."""
_FEWEST = 4


class DefectMemoryModel(nn.Module):
    """The backbone as far as the head reads it, and the head.

    In training mode it collects features, in float16 on the CPU; in eval mode it scores.

    Args:
        backbone: Frozen.
        blocks: Those that the head reads.
    """

    def __init__(
        self, backbone: MoEBackbone, *, blocks: tuple[int, ...] = GOOD_ALONE.head_blocks
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        self.blocks = blocks
        self.head = MemoryHead(HeadSite(width=backbone.width, blocks=len(blocks)))
        self._seen: list[Tensor] = []
        self._grid: Grid | None = None

    def train(self, mode: bool = True) -> DefectMemoryModel:
        """As of a module; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> InferenceBatch:
        """Normalised (B, 3, H, W) images to (B,) scores and (B, H, W) maps in [0, 1).

        Scores and maps are not clamped: a half is what normal images have on average, and what lies
        further from them lies higher.
        """
        with torch.no_grad():
            tokens, grid = self._tokens(images)
            if self.training:
                self._seen += patch_features(tokens, grid).half().cpu()
                self._grid = grid
                return InferenceBatch(pred_score=images.new_zeros(len(images)))
            outputs = self.head(tokens, grid)
        size = images.shape[-2:]
        evidence = outputs.get("map_BHW")
        large = None
        if evidence is not None:
            large = nn.functional.interpolate(evidence[:, None], size=size, mode="bilinear")
        return InferenceBatch(pred_score=outputs["logit_B"].sigmoid(), anomaly_map=large)

    def learn(self, *, seed: int) -> None:
        """Fills the memory from the images that were collected; what it knew before stays.

        Raises:
            DataError: Fewer than 4 images were collected.
        """
        if len(self._seen) < _FEWEST or self._grid is None:
            raise DataError(
                f"{len(self._seen)} training images are too few to learn from",
                whose="DefectMemory",
                fix=f"give at least {_FEWEST} normal images",
                code="data/too-few",
            )
        number = torch.arange(len(self._seen))
        held_out = number % _HELD_OUT == _HELD_OUT - 1
        held_out[-1] = True
        device = self.head.scale_Q.device
        train, val = (
            _Collected([self._seen[row] for row in rows.nonzero()[:, 0]], self._grid, device)
            for rows in (~held_out, held_out)
        )
        MemoryLearner(self.head, train, val, seed=seed).run()
        self._seen = []

    def _tokens(self, images: Tensor) -> tuple[list[Tensor], Grid]:
        x_BND, grid = self.backbone.embed(images)
        last = self.blocks[-1]
        x_BND, kept = self.backbone.run_blocks(x_BND, grid, stop=last + 1, keep=self.blocks[:-1])
        return [*(kept[block] for block in self.blocks[:-1]), x_BND], grid


class _Collected:
    """Features that lie in memory, as `Patches`."""

    def __init__(self, features: list[Tensor], grid: Grid, device: torch.device) -> None:
        self._features, self._device = features, device
        self.products = ("",) * len(features)
        self.views = 1
        self.grid = grid

    def read(self, rows: np.ndarray, view: int) -> Tensor:
        """See `Patches`; there is one view."""
        return torch.stack([self._features[row] for row in rows]).to(self._device).float()


class DefectMemory(MemoryBankMixin, AnomalibModule):  # type: ignore[misc]
    """moekit's memory of normal patches on its shared backbone, as a model of anomalib.

    Args:
        weights: Of the backbone, as `moekit.build_backbone` takes them.
        seed: Decides what is drawn into the memory.
        pre_processor: As of an `AnomalibModule`.
        post_processor: The same.
        evaluator: The same.
        visualizer: The same.
    """

    def __init__(
        self,
        weights: str = "auto",
        seed: int = 0,
        pre_processor: Any = True,
        post_processor: Any = True,
        evaluator: Any = True,
        visualizer: Any = True,
    ) -> None:
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.seed = seed
        self.model: DefectMemoryModel = DefectMemoryModel(build_backbone(weights=weights))

    @classmethod
    def configure_pre_processor(cls, image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Square images of 448 pixels, normalised as the backbone was trained.

        Args:
            image_size: Another height and width, multiples of the backbone's patch of 14 pixels.
        """
        side = GOOD_ALONE.recipe.image_size
        size = image_size or (side, side)
        return PreProcessor(
            transform=Compose(
                [
                    Resize(size, antialias=True),
                    Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
                ]
            )
        )

    @staticmethod
    def configure_post_processor() -> PostProcessor:
        """That of models which learn from one class."""
        return PostProcessor()

    @staticmethod
    def configure_optimizers() -> None:
        """Nothing is trained by gradients."""

    def training_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> Tensor:
        """Collects the features of a batch; the loss is none."""
        self.model(batch.image)
        return torch.tensor(0.0, requires_grad=True, device=self.device)

    def fit(self) -> None:
        """Fills the memory."""
        self.model.learn(seed=self.seed)

    def validation_step(self, batch: ImageBatch, *args: Any, **kwargs: Any) -> Any:
        """The batch with its scores and maps."""
        return batch.update(**self.model(batch.image)._asdict())

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """One pass over the training images."""
        return {
            "gradient_clip_val": 0,
            "max_epochs": 1,
            "num_sanity_val_steps": 0,
            "devices": 1,
        }

    @property
    def learning_type(self) -> LearningType:
        """One class."""
        return LearningType.ONE_CLASS
