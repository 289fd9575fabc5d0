"""An exported kit, called as `moekit.runtime.predictor.Predictor` is.

Shapes: B images or stacks, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch import Tensor

from moekit.export.sessions import Session
from moekit.runtime.predictor import Scores

ExportPrecision = Literal["fp32", "int8"]


class ExportedPredictor:
    """Scores images by a graph in another runtime.

    Args:
        session: The loaded graph.
        precision: Its arithmetic.
    """

    def __init__(self, session: Session, *, precision: ExportPrecision) -> None:
        self._session = session
        self.arithmetic = precision

    def __call__(self, images: Tensor) -> Scores:
        """Scores normalised images (B, 3, H, W) or stacks (B, T, 3, H, W); there is no baseline."""
        began = time.perf_counter()
        outputs = self._session(images.float().cpu().numpy())
        seconds = time.perf_counter() - began
        map_BHW = outputs.get("map")
        return Scores(
            score_B=torch.from_numpy(outputs["logit"]).double().sigmoid(),
            map_BHW=None if map_BHW is None else torch.from_numpy(map_BHW),
            baseline_B=None,
            baseline_map_BHW=None,
            seconds=seconds,
        )
