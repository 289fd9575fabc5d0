"""What most commands begin with: plugins, device, backbone."""

from __future__ import annotations

import logging
import os
import warnings

import torch

from moekit.backbone.build import build_backbone
from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import DEFAULT_ARCHITECTURE
from moekit.runtime.device import pick_device


def open_backbone(
    *,
    device: str,
    weights: str,
    architecture: str = DEFAULT_ARCHITECTURE,
    top_k: int | None = None,
    form: str = "auto",
) -> MoEBackbone:
    """The backbone on a device.

    Raises:
        UsageError: The device or the architecture cannot be used.
        WeightsError: There are no weights.
    """
    quiet_libraries()
    backbone = build_backbone(architecture, weights=weights, top_k=top_k, form=form)
    return backbone.to(pick_device(device))


def quiet_libraries() -> None:
    """Keeps notes of libraries that say nothing about the task off the terminal."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
    torch.set_float32_matmul_precision("highest")
