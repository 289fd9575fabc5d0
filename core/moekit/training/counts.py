"""Counts that the record of a run holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from moekit.data.samples import Sample


def image_counts(splits: Mapping[str, Sequence[Sample]]) -> dict[str, Any]:
    """Images by split and, if some were cut, the windows that were learned from."""
    images = {name: len({one.id for one in samples}) for name, samples in splits.items()}
    windows = {name: len(samples) for name, samples in splits.items()}
    return {"images": images, **({} if windows == images else {"windows": windows})}


def parameter_count(module: nn.Module) -> int:
    """Parameters of a module, trained or not."""
    return sum(parameter.numel() for parameter in module.parameters())
