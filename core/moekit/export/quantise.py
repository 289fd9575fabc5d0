"""Post-training quantisation to int8 by NNCF.

Weights become int8 a channel, activations int8 a tensor, from ranges met on calibration images
(Jacob et al. 2018, arXiv:1712.05877), outliers smoothed into the weights first (SmoothQuant, Xiao
et al. 2023, arXiv:2211.10438), which NNCF does for transformers.

Shapes: H = W the side of the input.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from moekit.export.libraries import need

_KIT, _ROUTERS = r"^(kit|baseline)\..*", r".*\.router/.*"
_EXPERTS = r"^backbone\.blocks\.\d+\.moe\.bank/.*"


def kept_in_float(*, sparse: bool) -> list[str]:
    """Patterns of the nodes that stay in float32.

    The kit's specialists and head are a small part of the arithmetic and what the score rests on;
    rounding must not decide which expert runs. If tokens have fewer experts than there are, an
    expert may have no token in a calibration image, and so no range.

    Args:
        sparse: Whether tokens have fewer generic experts than there are.
    """
    return [_KIT, _ROUTERS, *([_EXPERTS] if sparse else [])]


def quantise(
    model: Any,
    images: Sequence[np.ndarray],
    *,
    sparse: bool,
    feed: Callable[[np.ndarray], Any] = lambda image: image,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Any:
    """A quantised copy of a graph.

    Args:
        model: An `openvino.Model`, its nodes named by `write_onnx`.
        images: Calibration samples, each (1, 3, H, W) or (1, T, 3, H, W) float32.
        sparse: See `kept_in_float`.
        feed: Makes the graph's inputs of a sample: an array, or several in their order.
        on_progress: Called with the pass over the images, the images done and their number. NNCF
            decides how many passes there are.

    Raises:
        UsageError: NNCF is not installed.
    """
    nncf = need("nncf")
    nncf.set_log_level(logging.ERROR)
    served = itertools.count()

    def counted(image: np.ndarray) -> Any:
        number, done = divmod(next(served), len(images))
        on_progress(f"quantising, pass {number + 1} over the images", done + 1, len(images))
        return feed(image)

    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(list(images), counted),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            fast_bias_correction=True,
            ignored_scope=nncf.IgnoredScope(patterns=kept_in_float(sparse=sparse), validate=False),
        )
