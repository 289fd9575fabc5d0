"""Keeping the libraries from telling what they read: their words hold names, dates and paths."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced(*libraries: str) -> Iterator[None]:
    """Keeps in all warnings, and the log lines of some loggers, within the block.

    Args:
        libraries: Names of the loggers.
    """
    loggers = [logging.getLogger(name) for name in libraries]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
