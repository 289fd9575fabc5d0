"""Other Pythons like this one, in which the checks do what must not happen in this process."""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import IO


def child_command(*arguments: str) -> list[str]:
    """Another Python like this one, which does not look for modules in the working folder."""
    return [sys.executable, "-P", *arguments]


def child_environment(**changes: str) -> dict[str, str]:
    """The environment in which another Python finds the modules that this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **changes}


def lines_of(stream: IO[str]) -> queue.Queue[str]:
    """The lines of a stream as they come; an empty one at its end."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines
