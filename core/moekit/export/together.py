"""Exports of several kits that compute the same images, those of one prefix from one pass of it.

Shapes: B images or stacks.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from torch import Tensor

from moekit.errors import MoekitError
from moekit.export.split.predictor import Shared, SplitPredictor
from moekit.moe.owned import owned
from moekit.runtime.predictor import Compute, Computed


def compute_exports(
    exports: Mapping[str, Compute], images: Tensor, failed: dict[str, MoekitError]
) -> dict[str, Computed]:
    """Computes normalised images, (B, 3, H, W) or (B, T, 3, H, W), for several kits.

    Args:
        exports: The kits by name.
        images: On any device.
        failed: Takes the errors of kits that fail; those in it already are left out.

    Returns:
        What each of the others gives by itself, bitwise.
    """
    shared: Shared = {}
    computed: dict[str, Computed] = {}
    for name, one in exports.items():
        if name in failed:
            continue
        call = functools.partial(one, images)
        if isinstance(one, SplitPredictor):
            call = functools.partial(one.computed, images, shared)
        try:
            computed[name] = owned(f"kit {name}", call)
        except MoekitError as error:
            failed[name] = error
    return computed
