"""What a process has used."""

from __future__ import annotations

import sys


def peak_memory() -> int | None:
    """Bytes of resident memory of this process at its highest; None where the system has no count.

    It counts from the start of the process and never falls, so a figure of one model needs a
    process of its own.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
