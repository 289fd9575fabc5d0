"""An exported kit, called as `moekit.runtime.predictor.Predictor` is.

Shapes: B images or stacks, h and w rows and columns of the patch grid.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from moekit.export.sessions import Session
from moekit.runtime.predictor import Scores
from moekit.tasks.score.output import kind_names

ExportPrecision = Literal["fp32", "int8"]


class ExportedPredictor:
    """Scores images by a graph in another runtime.

    Args:
        session: The loaded graph.
        precision: Its arithmetic.
        kinds: Names of the kinds of image that the kit tells apart; empty for none.
    """

    def __init__(
        self, session: Session, *, precision: ExportPrecision, kinds: Sequence[str] = ()
    ) -> None:
        self._session = session
        self._kinds = tuple(kinds)
        self.arithmetic = precision

    def __call__(self, images: Tensor) -> Scores:
        """Scores normalised images (B, 3, H, W) or stacks (B, T, 3, H, W); there is no baseline."""
        began = time.perf_counter()
        outputs = self._session(images.float().cpu().numpy())
        seconds = time.perf_counter() - began
        map_BHW, kind_B = outputs.get("map"), outputs.get("kind")
        return Scores(
            score_B=torch.from_numpy(outputs["logit"]).double().sigmoid(),
            map_BHW=None if map_BHW is None else torch.from_numpy(map_BHW),
            baseline_B=None,
            baseline_map_BHW=None,
            seconds=seconds,
            kinds=None if kind_B is None else kind_names(kind_B.tolist(), self._kinds),
        )
