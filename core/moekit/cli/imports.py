"""How commands import what computes."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Imports modules without looking for cycles of objects that nobody needs.

    Modules stay, so the collector finds nothing, and takes a fifth of the time that torch and timm
    need. What the first imports made is left out of later collections too (`gc.freeze`).
    """
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
            gc.enable()
