"""What the bridge takes from anomalib, imported without the warnings that it raises on import."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from anomalib import LearningType, models
    from anomalib.data import Folder, ImageBatch, InferenceBatch
    from anomalib.engine import Engine
    from anomalib.models import AnomalibModule
    from anomalib.models.components import MemoryBankMixin
    from anomalib.post_processing import PostProcessor
    from anomalib.pre_processing import PreProcessor

__all__ = [
    "AnomalibModule",
    "Engine",
    "Folder",
    "ImageBatch",
    "InferenceBatch",
    "LearningType",
    "MemoryBankMixin",
    "PostProcessor",
    "PreProcessor",
    "first_line",
    "models",
    "quiet",
]

_LONGEST = 300
"""Characters of an error that are shown."""
_LOGGERS = ("anomalib", "lightning.pytorch", "lightning_fabric", "lightning_utilities")


def first_line(error: Exception) -> str:
    """The first line of what an error of a library says, cut; its type if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps notes and warnings of these libraries off the terminal; errors come through."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
