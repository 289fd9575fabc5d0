"""What a process has used: time and memory."""

from __future__ import annotations

import dataclasses
import sys
import time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Used:
    """Time that something took.

    Attributes:
        seconds: On the wall; on a machine that others use, theirs too.
        cpu_seconds: Of the processor, all threads of this process together.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Used) -> Used:
        return Used(
            seconds=self.seconds + other.seconds, cpu_seconds=self.cpu_seconds + other.cpu_seconds
        )


class Clock:
    """Started when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Used:
        """The time since then."""
        return Used(
            seconds=time.perf_counter() - self._wall,
            cpu_seconds=time.process_time() - self._cpu,
        )


def peak_memory() -> int | None:
    """Bytes of resident memory of this process at its highest; None if the system has no count.

    It counts from the start of the process and never falls, so a figure of one model needs a
    process of its own.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
