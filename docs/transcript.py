"""Writes `DEMO.md`: what `moekit demo industrial` prints, line by line, and how long it takes.

python docs/transcript.py
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

COMMAND = ("demo", "industrial")
PAGE = """# What the demonstration prints

`make demo` installs moekit into `.venv` and runs `moekit {command}`. Below is all that the command
printed on {date}, with an empty cache, on {cores} cores with {instructions}. It took
{minutes:.1f} minutes (load {load:.1f}). Figures differ a little between processors. On a terminal,
bars take the place of the lines of progress. `python docs/transcript.py` writes this page again.

```text
{printed}
```

[Inspect parts](INSPECT.md) goes on with images of your own.
"""


def main() -> None:
    """Runs the command in a folder of its own and writes the page."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "moekit", *COMMAND],
            cwd=home,
            env={**os.environ, "MOEKIT_CACHE_DIR": str(Path(home) / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    page = PAGE.format(
        command=" ".join(COMMAND),
        date=datetime.datetime.now(datetime.UTC).date(),
        cores=os.cpu_count(),
        instructions=f"{torch.backends.cpu.get_cpu_capability()} ({platform.machine()})",
        load=os.getloadavg()[0],
        minutes=(time.perf_counter() - began) / 60,
        printed="\n".join(line.rstrip() for line in done.stdout.strip().splitlines()),
    )
    (Path(__file__).parent / "DEMO.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
