"""Another process that loads data sets for the checks, in which sets have another order.

It is started once and asked for each loader, since its imports take far longer than its answers.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any, cast

from moekit.json_text import parse_json, to_json
from moekit.testing.child import child_command, child_environment, lines_of
from moekit.testing.verdicts import ConformanceError

SECONDS = 120
"""How long one answer may take."""
# The order of sets of strings follows it; that of this process is arbitrary.
_HASH_SEED = "12345"


class Elsewhere:
    """The other process; it starts when it is first asked, and again if a loader ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def load(self, name: str, path: Path | None) -> list[Any]:
        """What a loader gives there, as of `moekit.plugins.contents.contents`.

        Args:
            name: Full name of the loader.
            path: What it is given.

        Raises:
            ConformanceError: The process did not come back with an answer.
        """
        if self._process is None:
            self._start()
        assert self._process is not None
        asked = [name, str(path or ""), os.environ.get("MOEKIT_CACHE_DIR", "")]
        try:
            print(to_json(asked), file=self._process.stdin, flush=True)
            line = self._lines.get(timeout=SECONDS)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            self._stop()
            raise ConformanceError(f"the other process did not end within {SECONDS} s") from None
        if line:
            found: list[Any] = parse_json(line)
            return found
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        self._stop()
        last = f" ({said[-1]})" if said else ""
        raise ConformanceError(f"the other process ended with code {code}{last}")

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of our own
            child_command("-m", "moekit.plugins.contents"),
            env=child_environment(PYTHONHASHSEED=_HASH_SEED),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._lines = lines_of(cast(IO[str], self._process.stdout))
        self._end = weakref.finalize(self, _ended, self._process, self._errors)

    def _stop(self) -> None:
        self._end()
        self._process = None


def _ended(process: subprocess.Popen[str], errors: IO[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was asked last was not read
                stream.close()
